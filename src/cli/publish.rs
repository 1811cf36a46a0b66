//! `plan`, `publish` and `republish`: one job with different endings.

use std::collections::BTreeSet;

use clap::Args;
use serde_json::{Value, json};

use super::confirm::confirm;
use super::context::{Context, Project, warn_of_single_publisher};
use super::guards::{self, Accept, asserts_in, asserts_of};
use super::metrics_file::MetricsFile;
use super::progress::Bar;
use super::purge::purge_json;
use super::releases::find;
use super::retire::{failed_templates, nothing_failed, retired};
use super::status::instant;
use super::{Outcome, print, report, table};
use crate::database::Database;
use crate::error::Error;
use crate::release::manifest::Kind;
use crate::release::{self, Job, Report};
use crate::template::select::{SelectError, Where, selectors};

/// Which documents are meant.
#[derive(Debug, Clone, Args)]
pub struct Keys {
    /// A template, template/seg/seg, an object path (globs allowed), or a URL pasted from the browser.
    #[arg(value_name = "KEY")]
    pub keys: Vec<String>,
    /// Only keys with this value or slug: topic=crispr, or topic=crispr,cancer. Repeated, all must hold. A value may hold
    /// commas: the whole text is tried as one value first.
    #[arg(long = "where", value_name = "COLUMN=VALUE")]
    pub conditions: Vec<String>,
}

/// Options of `plan`.
#[derive(Debug, Args)]
pub struct Plan {
    #[command(flatten)]
    keys: Keys,
    /// Exit with 10 if a publish would change anything.
    #[arg(long)]
    exit_code: bool,
}

/// Options of `publish`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct Publish {
    #[command(flatten)]
    keys: Keys,
    /// Read every template, whatever its refresh query answers, and write every document again, even if it didn't change.
    #[arg(long)]
    force: bool,
    /// Only the templates whose last run failed.
    #[arg(long, conflicts_with_all = ["keys", "conditions", "retire"])]
    failed: bool,
    /// Take a template whose file is gone out of the site, with all its documents. May be given several times.
    #[arg(long, value_name = "NAME")]
    retire: Vec<String>,
    /// Publish also the keys that a rollback holds, which ends that.
    #[arg(long)]
    unhold: bool,
    /// Make the first release of a store that has lost all of them, although the fallback table still shows one. Its number
    /// follows the table's. All templates or none: the table is the only copy of what they showed. Asks first; without a
    /// terminal it needs --yes.
    #[arg(long, conflicts_with_all = ["keys", "conditions", "failed", "retire", "stage_only", "release"])]
    begin_anew: bool,
    #[command(flatten)]
    accept: Accept,
    /// Stage the release to be looked at and print its id; commit nothing.
    #[arg(long, conflicts_with = "retire")]
    stage_only: bool,
    /// Publish a release that was staged, by its id, without a query.
    #[arg(long, value_name = "ID", conflicts_with_all = ["keys", "conditions", "force", "failed", "retire", "stage_only"])]
    release: Option<String>,
    /// Show what would change; write nothing.
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Leave it to a later run, or to `purge --resume`, to tell the CDN what has changed.
    #[arg(long)]
    no_purge: bool,
    #[command(flatten)]
    why: Why,
    #[command(flatten)]
    pub metrics: MetricsFile,
}

/// Options of `republish`.
#[derive(Debug, Args)]
pub struct Republish {
    #[command(flatten)]
    keys: Keys,
    /// Read a replica, as publish does, instead of the primary: what was just changed may not be there yet.
    #[arg(long)]
    replica: bool,
    #[command(flatten)]
    accept: Accept,
    /// Show what would be written; write nothing.
    #[arg(short = 'n', long)]
    dry_run: bool,
    #[command(flatten)]
    why: Why,
    #[command(flatten)]
    pub metrics: MetricsFile,
}

/// Who and why, for the list of releases.
#[derive(Debug, Clone, Args)]
pub struct Why {
    /// Why, for the list of releases.
    #[arg(long, value_name = "TEXT", value_parser = printable)]
    pub note: Option<String>,
    /// Who, for the list of releases.
    #[arg(long, value_name = "NAME", env = "TINTYPE_AUTHOR", value_parser = printable)]
    pub author: Option<String>,
}

/// What others read on their terminals can't hold what a terminal obeys.
fn printable(text: &str) -> Result<String, String> {
    match text.chars().any(char::is_control) {
        true => Err("it holds line breaks or other control characters".to_owned()),
        false => Ok(text.to_owned()),
    }
}

impl From<SelectError> for Error {
    fn from(error: SelectError) -> Error {
        Error::Usage { message: error.message, hint: error.hint }
    }
}

impl Plan {
    pub async fn run(self, context: &Context) -> Result<Outcome, Error> {
        let project = context.project()?;
        let job = Job { commit: false, ..job(&project, &self.keys)? };
        let report = execute(context, &project, &job, &project.database()?).await?;
        show(context, &job, &report, &project);
        let failed = report.templates.iter().any(|template| template.failure.is_some());
        Ok(match report.is_pending {
            _ if report.has_refused() => Outcome::Refused,
            _ if failed => Outcome::Failed,
            true if self.exit_code => Outcome::Changes,
            _ => Outcome::Done,
        })
    }
}

impl Publish {
    pub async fn run(self, context: &Context) -> Result<Outcome, Error> {
        if let Some(id) = &self.release {
            return self.staged(context, id).await;
        }
        let project = context.project()?;
        let begin_anew = self.begins_anew(context, &project).await?;
        let keys = match self.failed {
            true => failed_templates(&project).await?,
            false => self.keys,
        };
        let job = Job {
            rewrite: self.force,
            unhold: self.unhold,
            retire: retired(context, &project, self.retire, !self.dry_run).await?,
            accept: self.accept.names(context, &asserts_of(&project), !self.dry_run && !self.stage_only)?,
            stage_only: self.stage_only,
            begin_anew,
            purge: !self.no_purge,
            commit: !self.dry_run,
            author: self.why.author,
            note: self.why.note,
            ..job(&project, &keys)?
        };
        if self.failed && keys.keys.is_empty() {
            return Ok(nothing_failed(context));
        }
        let report = execute(context, &project, &job, &project.database()?).await?;
        show(context, &job, &report, &project);
        Ok(outcome(&report))
    }

    /// Whether the site is to begin anew, once somebody has said yes to that, if it was there and anything is to be committed.
    async fn begins_anew(&self, context: &Context, project: &Project) -> Result<bool, Error> {
        let will_commit = !self.dry_run && !self.stage_only;
        if self.begin_anew
            && will_commit
            && let Some(lost) = project.lost().await?
        {
            confirm(context, &format!("begin the site anew, although {lost},"))?;
        }
        Ok(self.begin_anew)
    }

    /// Publishes what is staged already.
    async fn staged(&self, context: &Context, id: &str) -> Result<Outcome, Error> {
        let project = context.published_project()?;
        let all = release::releases(&project.store).await?;
        let found = find(&all, id)?;
        let job = Job {
            templates: project.templates.clone(),
            unhold: self.unhold,
            accept: self.accept.names(context, &asserts_in(&found.root), !self.dry_run)?,
            purge: !self.no_purge,
            commit: !self.dry_run,
            author: self.why.author.clone(),
            note: self.why.note.clone(),
            ..project.job(Kind::Publish)
        };
        let bar = Bar::follow(context);
        let report = release::publish_staged(&job, &project.store, &found.root.id, &context.progress).await?;
        drop(bar);
        show(context, &job, &report, &project);
        Ok(outcome(&report))
    }
}

impl Republish {
    pub async fn run(self, context: &Context) -> Result<Outcome, Error> {
        if self.keys.keys.is_empty() && self.keys.conditions.is_empty() {
            return Err(Error::usage(
                "republish needs to know what",
                "name a KEY such as 'world-map/crispr/*', or paste a URL; everything is `tintype publish --force`",
            ));
        }
        let project = context.project()?;
        let job = Job {
            kind: Kind::Republish,
            rewrite: true,
            unhold: true,
            accept: self.accept.names(context, &asserts_of(&project), !self.dry_run)?,
            commit: !self.dry_run,
            author: self.why.author,
            note: self.why.note,
            ..job(&project, &self.keys)?
        };
        let report = execute(context, &project, &job, &project.editors_database(self.replica)?).await?;
        show(context, &job, &report, &project);
        Ok(outcome(&report))
    }
}

/// A publish of the given keys.
pub fn job(project: &Project, keys: &Keys) -> Result<Job, Error> {
    let conditions = keys.conditions.iter().map(|text| Where::parse(text)).collect::<Result<Vec<_>, _>>()?;
    let selectors = selectors(&keys.keys, &conditions, &project.template_list(), project.base_url())?;
    Ok(Job { templates: project.templates.clone(), selectors, ..project.job(Kind::Publish) })
}

/// Runs a job with a progress bar.
pub async fn execute(context: &Context, project: &Project, job: &Job, database: &Database) -> Result<Report, Error> {
    if job.commit {
        warn_of_single_publisher(context, project);
        let named = job.selectors.iter().map(|selector| selector.template.clone());
        context.try_templates(named.collect::<BTreeSet<_>>().into_iter().collect());
    }
    let _bar = Bar::follow(context);
    release::run(job, &project.store, database, &project.settings, &context.progress).await
}

/// How a run ended.
pub fn outcome(report: &Report) -> Outcome {
    if report.has_refused() {
        return Outcome::Refused;
    }
    let failed = report.templates.iter().any(|template| template.failure.is_some());
    let is_settled = report.settled.as_ref().is_none_or(|settled| settled.activated.is_complete());
    let is_finished =
        report.activated.failed.is_empty() && report.setback().is_none() && is_settled && !report.table.is_pending();
    match (report.committed, failed, is_finished) {
        (false, true, _) => Outcome::Failed,
        (_, true, _) | (_, _, false) => Outcome::Behind,
        _ => Outcome::Done,
    }
}

/// Tells what a job did, or would do.
pub fn show(context: &Context, job: &Job, report: &Report, project: &Project) {
    let is_plan = !job.commit;
    for template in &report.templates {
        if let Some(failure) = &template.failure {
            print::finding(failure);
        }
    }
    guards::tell(report, job, context.global.quiet);
    if !context.global.quiet {
        report::settled(context, report.settled.as_ref());
        report::warnings(report);
        table::warn(&report.table);
    }
    let document = document(context, job, report, project);
    if context.is_json() {
        print::json(&document);
    } else if is_plan {
        report::plan(report, context.global.verbose > 0);
    } else if job.stage_only {
        report::staged(report, context);
    } else if context.is_talkative() {
        report::published(report, job, project);
    }
    context.tell(document);
}

/// The document of `--format json`.
pub fn document(context: &Context, job: &Job, report: &Report, project: &Project) -> Value {
    let templates: Vec<Value> =
        report.templates.iter().map(|template| report::template_json(template, job.commit)).collect();
    let failed = report.templates.iter().any(|template| template.failure.is_some());
    let outcome = match (job.commit, report.committed) {
        (false, _) => "planned",
        (true, _) if job.stage_only && report.staged.is_some() => "staged",
        (true, true) => "published",
        (true, false) if report.has_refused() => "refused",
        (true, false) if failed => "failed",
        (true, false) => "unchanged",
    };
    let behind: Vec<Value> = report
        .activated
        .failed
        .iter()
        .map(|(path, error)| json!({ "path": path, "error": error.to_string() }))
        .collect();
    let seconds = &report.seconds;
    let round = |seconds: f64| (seconds * 1000.0).round() / 1000.0;
    json!({
        "version": 1,
        "command": context.command,
        "outcome": outcome,
        "release": report.release.as_ref().map(ToString::to_string),
        "serial": report.release.as_ref().map(|release| release.serial),
        "staged": report.staged.as_ref().map(ToString::to_string),
        "run": job.run.as_str(),
        "as_of": report.as_of.map(instant),
        "connections": report.source.as_ref().map_or(0, |source| source.connections),
        "source": report.source.as_ref().map(report::source_json),
        "templates": templates,
        "rolled_forward": report.rolled_forward.as_ref().map(ToString::to_string),
        "settled": report.settled.as_ref().map(report::settled_json),
        "pending": report.is_pending,
        "unfinished": report.setback().map(ToString::to_string),
        "orphans": report.orphans,
        "activated": { "shown": report.activated.shown, "removed": report.activated.removed, "failed": behind, "skipped": report.activated.skipped },
        "purge": purge_json(&report.purge),
        "table": table::table_json(&report.table),
        "store": project.store_json(),
        "seconds": {
            "query": round(seconds.query),
            "wait": round(seconds.wait),
            "hold": round(seconds.hold),
            "encode": round(seconds.encode),
            "compress": round(seconds.compress),
            "write": round(seconds.write),
            "stage": round(seconds.compress + seconds.write),
            "commit": round(seconds.commit),
            "activate": round(seconds.activate),
            "purge": round(seconds.purge),
            "table": round(seconds.table),
            "total": round(seconds.total),
        },
    })
}
