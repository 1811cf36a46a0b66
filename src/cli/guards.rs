//! What the guards said, for people; and the question before a guard is overridden.

use clap::Args;

use super::confirm::confirm;
use super::context::{Context, Project};
use super::print::{self, counted, grouped, styled};
use crate::diagnostic::did_you_mean;
use crate::error::Error;
use crate::release::manifest::{Kind, Root};
use crate::release::{Job, Moved, MovedUnit, Report, TemplateReport, Verdict};
use crate::template::guard::{EVERY, Guard, Level};

/// Which guards may be overridden.
#[derive(Debug, Clone, Args)]
pub struct Accept {
    /// Let a guard or an assert warn where it would refuse; TEMPLATE/NAME for one template, `all` for every guard. May be
    /// given several times. Asks first; without a terminal it needs --yes.
    #[arg(long = "accept-guard", value_name = "NAME")]
    accept_guard: Vec<String>,
}

impl Accept {
    /// The names, once somebody has said yes to them if anything is to be committed.
    pub fn names(&self, context: &Context, asserts: &[String], commit: bool) -> Result<Vec<String>, Error> {
        let names = &self.accept_guard;
        for name in names {
            let known: Vec<&str> = known(asserts).collect();
            // A template's name holds no slash, but the name of an assert may.
            let guard = name.split_once('/').map_or(name.as_str(), |(_, guard)| guard);
            if !known.contains(&name.as_str()) && !known.contains(&guard) {
                let hint = match did_you_mean(guard, known.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("known are {}", known.join(", ")),
                };
                return Err(Error::usage(format!("there is no guard `{name}`"), hint));
            }
        }
        if !names.is_empty() && commit {
            let which =
                if names.iter().any(|name| name == EVERY) { "every guard".to_owned() } else { names.join(", ") };
            confirm(context, &format!("let pass what {which} would refuse"))?;
        }
        Ok(names.clone())
    }
}

fn known(asserts: &[String]) -> impl Iterator<Item = &str> {
    let guards = Guard::ALL.iter().map(|guard| guard.name());
    guards.chain([EVERY]).chain(asserts.iter().map(String::as_str))
}

/// The asserts of every template.
pub fn asserts_of(project: &Project) -> Vec<String> {
    let asserts = project.templates.iter().flat_map(|template| &template.guards.asserts);
    asserts.map(|assert| assert.name.clone()).collect()
}

/// The asserts that a staged release was measured by.
pub fn asserts_in(root: &Root) -> Vec<String> {
    let templates = root.staged.iter().flat_map(|staged| staged.templates.values());
    templates.flat_map(|template| &template.answers.asserts).map(|assert| assert.name.clone()).collect()
}

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
    let refused = || report.templates.iter().filter(|template| template.is_refused());
    let named = |were_there: bool| {
        let names = refused().filter(|template| template.has_documents() == were_there);
        names.map(|template| template.name.as_str()).collect::<Vec<_>>().join(", ")
    };
    let (kept, new) = (named(true), named(false));
    let mut said = Vec::new();
    if !kept.is_empty() {
        said.push(format!("the last good documents of {kept} stay live"));
    }
    if !new.is_empty() {
        said.push(format!("nothing of {new} is published"));
    }
    let accept = accept_flags(report);
    let Some(staged) = &report.staged else {
        said.push(format!("if the data is right: tintype {} {accept}", republished(job)));
        return said;
    };
    said.push(format!("it is staged as {staged}: tintype get KEY --release {staged}"));
    said.push(format!("if the data is right: tintype publish --release {staged} {accept}"));
    said
}

/// The command whose guards were judged, without a release.
fn republished(job: &Job) -> &'static str {
    match job.kind {
        Kind::Republish => "republish",
        _ if job.begin_anew => "publish --begin-anew",
        _ => "publish",
    }
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
