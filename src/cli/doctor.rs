//! `doctor`: is everything there that a publish needs, and does it do what tintype stands on?
//!
//! A table of checks for the store, the database, the templates and the CDN. Only what publishing or its safety depends on
//! makes the command fail; what tintype does without, or somebody should look at some day, is told and leaves it at 0.

use clap::Args;
use serde_json::{Value, json};
use url::Url;

use super::Outcome;
use super::context::{Context, run_id};
use super::print::{self, styled};
use crate::error::Error;
use crate::release::head::{Head, HeadRead};
use crate::store::probe::{self, Check, Subject, Verdict};

mod database;
mod edge;
mod table;
mod templates;

/// Options of `doctor`.
#[derive(Debug, Args)]
pub struct Doctor {
    /// Look at the CDN alone, and closely: what it does with the document at this URL, or with one of the active release.
    #[arg(long, value_name = "URL", value_parser = web_url)]
    #[expect(clippy::option_option, reason = "the option may come without a URL")]
    cdn: Option<Option<Url>>,
}

fn web_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        other => Err(format!("readers fetch over http or https, and this is {other}")),
    }
}

const HEAD: Subject = Subject { name: "head", means: "it is known which release is live" };

/// The checks of one thing.
struct Section {
    /// Its name in JSON.
    key: &'static str,
    /// What was looked at, by name.
    title: String,
    checks: Vec<Check>,
    /// What JSON has besides.
    more: Value,
}

impl Doctor {
    pub async fn run(self, context: &Context) -> Result<Outcome, Error> {
        context.warn_of_database_url();
        let (project, findings) = context.readable_project()?;
        if let Some(url) = &self.cdn {
            return Ok(report(context, &[edge::close_look(&project, url.as_ref()).await?]));
        }
        let run = run_id();
        let application = format!("tintype/doctor/{run}");
        let asked = database::section(&project, &application);
        let (checks, database) = tokio::join!(probe::examine(&project.store, run.as_str()), asked);
        let mut checks = checks;
        if checks.iter().all(|check| check.outcome != Verdict::Skipped) {
            checks.push(match (head(HeadRead::read(&project.store).await), project.lost().await) {
                (_, Ok(Some(lost))) => Check { hint: lost.hint(), ..HEAD.broken(lost.to_string()) },
                (head, _) => head,
            });
        }
        let store = Section {
            key: "store",
            title: project.store.describe(),
            checks,
            more: json!({ "kind": if project.store.public_directory().is_some() { "directory" } else { "s3" } }),
        };
        let table = table::section(&project).await;
        let templates = templates::section(&project, &findings);
        // Last, because what it looks for may only just have been written.
        let cdn = edge::section(&project).await;
        let sections = [store, database, table, templates, cdn];
        if !context.is_json() && !context.global.quiet {
            findings.iter().for_each(print::finding);
        }
        Ok(report(context, &sections))
    }
}

/// Shows what was found.
fn report(context: &Context, sections: &[Section]) -> Outcome {
    let is_sound = sections.iter().all(|section| probe::is_sound(&section.checks));
    match context.is_json() {
        true => print::json(&document(sections, is_sound)),
        false => show(sections, context.global.verbose > 0),
    }
    if is_sound { Outcome::Done } else { Outcome::Failed }
}

/// Whether the head can be read, wherever it is kept, and understood.
fn head(read: Result<HeadRead, Error>) -> Check {
    let Head { desired, active, .. } = match read {
        Ok(read) => read.head,
        Err(error) => return Check { hint: error.hint(), ..HEAD.broken(error.to_string()) },
    };
    let is_finished = active == desired;
    match desired {
        None => HEAD.ok("nothing is published yet"),
        Some(release) if is_finished => HEAD.ok(format!("the release {release} is live")),
        Some(release) => HEAD
            .check(Verdict::Warning, format!("the release {release} is committed, and not every path shows it"))
            .hint("`tintype resume` finishes it, and so does the next publish"),
    }
}

fn document(sections: &[Section], is_sound: bool) -> Value {
    let mut document =
        json!({ "version": 1, "command": "doctor", "outcome": if is_sound { "ok" } else { "problems" } });
    for section in sections {
        let mut value = json!({ "name": section.title, "checks": section.checks });
        if let (Some(value), Some(more)) = (value.as_object_mut(), section.more.as_object()) {
            value.extend(more.clone());
        }
        document[section.key] = value;
    }
    document
}

fn show(sections: &[Section], everything: bool) {
    let all = || sections.iter().flat_map(|section| &section.checks);
    let width = all().map(|check| check.name.len()).max().unwrap_or(0);
    for section in sections {
        print::line(&format!("{}  {}", section.key, styled(print::CYAN, &section.title)));
        for check in &section.checks {
            let (style, word) = told(check.outcome);
            let word = styled(style, format!("{word:7}"));
            print::line(&format!("  {word}  {:width$}  {}", check.name, check.means));
            if everything || check.outcome != Verdict::Ok {
                let line = format!("  {:7}  {:width$}  {}", "", "", styled(print::DIM, &check.detail));
                print::line(&print::as_typed(&line));
            }
            if let Some(hint) = &check.hint {
                let line = format!("  {:7}  {:width$}  {}: {hint}", "", "", styled(print::CYAN, "hint"));
                print::line(&print::as_typed(&line));
            }
        }
    }
    let count = |outcome| all().filter(|check| check.outcome == outcome).count() as u64;
    let counts = [Verdict::Broken, Verdict::Warning, Verdict::Missing, Verdict::Skipped].map(|outcome| {
        let (style, word) = told(outcome);
        (count(outcome) > 0).then(|| styled(style, format!("{} {word}", count(outcome))))
    });
    let counts: Vec<String> = counts.into_iter().flatten().collect();
    let ok = format!("{} ok", print::counted(count(Verdict::Ok), "check"));
    print::line(&std::iter::once(ok).chain(counts).collect::<Vec<_>>().join(", "));
}

fn told(outcome: Verdict) -> (anstyle::Style, &'static str) {
    match outcome {
        Verdict::Ok => (print::GREEN, "ok"),
        Verdict::Skipped => (print::DIM, "skipped"),
        Verdict::Missing => (print::YELLOW, "missing"),
        Verdict::Warning => (print::YELLOW, "warning"),
        Verdict::Broken => (print::RED, "broken"),
    }
}
