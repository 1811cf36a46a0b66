//! What the guards said, for people; and the question before a guard is overridden.

use std::io::IsTerminal as _;

use super::context::Context;
use super::print::{self, counted, grouped, styled};
use crate::diagnostic::did_you_mean;
use crate::error::Error;
use crate::release::{Job, Moved, MovedUnit, Report, TemplateReport, Verdict};
use crate::template::guard::{EVERY, Guard, Level};

/// The guards of a template in a line, for a plan; none where none applies.
pub fn line(template: &TemplateReport) -> Option<String> {
    let word = |verdict: &Verdict| {
        let word = match verdict.level {
            Level::Ok => "ok".to_owned(),
            Level::Warn => styled(print::YELLOW, "warns"),
            Level::Error if verdict.accepted => styled(print::YELLOW, "accepted"),
            Level::Error => styled(print::RED, "refuses"),
        };
        format!("{} {word}", verdict.guard)
    };
    let words: Vec<String> = template.verdicts.iter().map(word).collect();
    (!words.is_empty()).then(|| format!("guards  {}", words.join("  ")))
}

/// Tells what refuses templates, and unless `quiet` what else is worth a look.
pub fn tell(report: &Report, job: &Job, quiet: bool) {
    for template in &report.templates {
        for verdict in &template.verdicts {
            match verdict.level {
                Level::Error if !verdict.accepted => refused(template, verdict),
                Level::Ok => {}
                _ if quiet => {}
                Level::Error => warn(template, verdict, "lets pass what was accepted"),
                Level::Warn => warn(template, verdict, "warns"),
            }
        }
    }
    if report.templates.iter().any(TemplateReport::is_refused) {
        for hint in hints(report, job) {
            print::note(&format!("  {}: {hint}", styled(print::CYAN, "hint")));
        }
    }
}

fn refused(template: &TemplateReport, verdict: &Verdict) {
    let (word, name, guard) = (styled(print::RED, "refused"), &template.name, &verdict.guard);
    print::note(&format!("{word}: {name}: the guard {guard} refuses it: {}", verdict.message));
    // What several guards say of one loss is about the same documents.
    let is_first = template.verdicts.iter().find(|other| other.refuses()) == Some(verdict);
    for moved in verdict.keys.iter().filter(|_| is_first) {
        print::note(&format!("  {}", self::moved(moved)));
    }
}

fn warn(template: &TemplateReport, verdict: &Verdict, word: &str) {
    let name = &template.name;
    let text = format!("{name}: the guard {} {word}: {}", verdict.guard, verdict.message);
    print::note(&format!("{}: {text}", styled(print::YELLOW, "warning")));
}

fn moved(moved: &Moved) -> String {
    match moved.unit {
        MovedUnit::Rows => {
            format!("{}  rows {} → {}", moved.path, grouped(moved.before), grouped(moved.after))
        }
        MovedUnit::Bytes => {
            format!("{}  {} → {}", moved.path, counted(moved.before, "byte"), counted(moved.after, "byte"))
        }
    }
}

/// What is live, where the refused documents are, and how they are published all the same.
fn hints(report: &Report, job: &Job) -> Vec<String> {
    let names: Vec<&str> =
        report.templates.iter().filter(|template| template.is_refused()).map(|template| template.name.as_str()).collect();
    let names = names.join(", ");
    let kept = match &report.release {
        Some(release) => format!("of {names} the last good documents stay live, in release {release}"),
        None => format!("nothing of {names} is published"),
    };
    let accept = accept_flags(report);
    let Some(staged) = &report.staged else {
        let what = if job.commit { "could be staged" } else { "is staged, because this is a plan" };
        return vec![format!("{kept}; nothing {what}. If the data is right: tintype publish {accept}")];
    };
    vec![
        format!("{kept}; what was refused is staged as {staged}: `tintype releases {staged}` lists what it would change, \
                 `tintype get KEY --release {staged}` prints a document"),
        format!("if the data is right: tintype publish --release {staged} {accept}"),
    ]
}

/// The flags that would let everything pass that refuses something.
fn accept_flags(report: &Report) -> String {
    let verdicts = report.templates.iter().flat_map(|template| &template.verdicts);
    let mut names: Vec<String> = Vec::new();
    for verdict in verdicts.filter(|verdict| verdict.refuses()) {
        let is_plain = verdict.guard.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let name = if is_plain { verdict.guard.clone() } else { format!("'{}'", verdict.guard.replace('\'', "'\\''")) };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.iter().map(|name| format!("--accept-guard {name}")).collect::<Vec<_>>().join(" ")
}
