//! What `verify --cdn` tells, to a person and to a program.

use serde_json::{Value, json};
use url::Url;

use super::super::super::context::Context;
use super::super::super::print::{self, counted, styled};
use super::Report;
use crate::release::verify::edge::{Choice, Finding, Flaw, Looks};

/// So many of each kind are listed; the counts tell of all.
const LISTED: usize = 1000;

/// Shows what was found and done.
pub fn report(context: &Context, base: &Url, report: &Report) {
    if context.is_json() {
        print::json(&document(base, report));
        return;
    }
    lines(report.last_looks());
    origins(report);
    summary(context, base, report);
}

impl Report {
    /// The looks that tell how it stands now.
    fn last_looks(&self) -> &Looks {
        self.again.as_ref().map_or(&self.survey.looks, |again| &again.remaining)
    }

    fn count(&self, flaw: Flaw) -> usize {
        self.survey.looks.findings.iter().filter(|finding| finding.flaw == flaw).count()
    }
}

fn document(base: &Url, report: &Report) -> Value {
    let survey = &report.survey;
    let looks = &survey.looks;
    let scope = match report.scope.choice {
        Choice::Changed => "changed",
        Choice::All => "all",
        Choice::Paths(_) => "keys",
    };
    json!({
        "version": 1,
        "command": "verify",
        "of": "cdn",
        "outcome": report.word(),
        "url": base.as_str(),
        "release": survey.release.to_string(),
        "moved_to": survey.moved_to.as_ref().map(ToString::to_string),
        "scope": scope,
        "paths": survey.in_scope,
        "looked_at": looks.looked_at,
        "counts": {
            "stale": report.count(Flaw::Stale),
            "missing": report.count(Flaw::Missing),
            "lingering": report.count(Flaw::Lingering),
            "garbled": report.count(Flaw::Garbled),
            "unreadable": looks.unreadable.len(),
            "skipped": looks.skipped,
            "moving": survey.moving,
        },
        "findings": listed(&looks.findings),
        "unreadable": unreadable(looks),
        "purge": report.again.as_ref().map(|again| json!({
            "paths": again.paths,
            "purges": again.purges,
            "seconds": again.took.as_secs_f64(),
            "error": again.error.as_ref().map(|error| json!({ "message": error.to_string(), "hint": error.hint() })),
            "remaining": listed(&again.remaining.findings),
            "unreadable": unreadable(&again.remaining),
        })),
    })
}

fn listed(findings: &[Finding]) -> Vec<&Finding> {
    findings.iter().take(LISTED).collect()
}

fn unreadable(looks: &Looks) -> Vec<Value> {
    looks.unreadable.iter().take(LISTED).map(|(path, reason)| json!({ "path": path, "error": reason })).collect()
}

/// One line a path.
fn lines(looks: &Looks) {
    for finding in looks.findings.iter().take(LISTED) {
        print::line(&line(finding));
    }
    for (path, reason) in looks.unreadable.iter().take(LISTED) {
        print::line(&format!("{}  {path}  {reason}", styled(print::RED, "unknown  ")));
    }
    let hidden = looks.findings.len().saturating_sub(LISTED) + looks.unreadable.len().saturating_sub(LISTED);
    if hidden > 0 {
        print::line(&format!("… and {} more", print::grouped(hidden as u64)));
    }
}

fn line(finding: &Finding) -> String {
    let word = format!("{:9}", format!("{:?}", finding.flaw).to_lowercase());
    let short = |digest: crate::snapshot::Digest| digest.to_string()[..12].to_owned();
    let mut line = format!("{}  {}", styled(print::RED, word), finding.path);
    match finding.edge {
        Some(digest) => line += &format!("  edge {}", short(digest)),
        None => line += &format!("  edge answers {}", finding.status),
    }
    if let Some(digest) = finding.release {
        line += &format!("  release {}", short(digest));
    }
    if let Some(age) = finding.age {
        line += &format!("  kept for {age} s");
    }
    line
}

/// What was left out of the purge.
fn origins(report: &Report) {
    if report.again.is_some() {
        let of_origin = report.survey.looks.findings.iter().filter(|finding| finding.origin);
        of_origin.take(LISTED).for_each(|finding| print::line(&line(finding)));
    }
}

fn summary(context: &Context, base: &Url, report: &Report) {
    let survey = &report.survey;
    let looks = &survey.looks;
    if let Some(moved_to) = survey.moved_to.as_ref().filter(|_| !context.global.quiet) {
        print::note(&format!(
            "{}: the release {moved_to} isn't active yet, or has become so meanwhile; {} that it changes were left out",
            styled(print::YELLOW, "warning"),
            counted(survey.moving, "path")
        ));
    }
    let seen = match survey.in_scope > looks.looked_at {
        true => format!("{} of {}", print::grouped(looks.looked_at), counted(survey.in_scope, "path")),
        false => counted(looks.looked_at, "path"),
    };
    if let Some(failed) = report.again.as_ref().and_then(|again| again.error.as_ref()).filter(|_| !report.is_stale()) {
        let text = format!("{}: the edge shows the release by now, and {failed}", styled(print::YELLOW, "warning"));
        print::note(&text);
        if let Some(text) = failed.hint() {
            hint(&text);
        }
    }
    match report.word() {
        "fresh" if context.is_talkative() => {
            let good = styled(print::GREEN, "show the release");
            print::line(&format!("{seen} at {base} {good} {}", survey.release));
        }
        "purged" if !context.global.quiet => {
            let purged = counted(report.again.as_ref().map_or(0, |again| again.paths), "stale path");
            let good = styled(print::GREEN, "Purged again");
            print::line(&format!("{good}: {purged}, which now show the release {}", survey.release));
        }
        "stale" => {
            error(&format!("{seen} at {base} were looked at, and these don't show the release {}", survey.release));
            stale_hints(report);
        }
        "unknown" => {
            error(&format!("{seen} at {base} were looked at, and these couldn't be fetched"));
            if report.last_looks().skipped > 0 {
                print::note(&format!("  {} more weren't tried", print::grouped(report.last_looks().skipped)));
            }
            hint("`tintype doctor --cdn` looks at one document closely");
        }
        _ => {}
    }
}

fn stale_hints(report: &Report) {
    let findings = &report.survey.looks.findings;
    if findings.iter().any(|finding| finding.origin) {
        hint("the store shows something else, too, for some of them: `tintype verify --repair` mends them");
    }
    match &report.again {
        Some(again) => match &again.error {
            Some(failed) => {
                print::note(&format!("  {failed}"));
                if let Some(text) = failed.hint() {
                    hint(&text);
                }
            }
            None => hint(
                "they were purged again, and the edge still shows them: does [cdn] url lead through the CDN that is \
                 purged, and does it keep documents by the same host and path?",
            ),
        },
        None if report.is_dry_run => hint("without --dry-run they are purged again"),
        None if !report.has_driver => {
            hint("[cdn] purge names nobody who could be told; an edge forgets by itself after edge_ttl");
        }
        None => {}
    }
    if findings.iter().any(|finding| finding.flaw == Flaw::Garbled) {
        hint("what is garbled was packed or unpacked on its way without its Content-Encoding: `tintype doctor --cdn`");
    }
}

fn error(text: &str) {
    print::note(&format!("{}: {text}", styled(print::RED, "error")));
}

fn hint(text: &str) {
    print::note(&format!("  {}: {text}", styled(print::CYAN, "hint")));
}
