//! `resume`: finishes what an interrupted publish has committed, from the store alone.

use chrono::Utc;
use clap::Args;
use serde_json::json;

use super::Outcome;
use super::confirm::confirm;
use super::context::{Context, Project, warn_of_single_publisher};
use super::print::{self, counted, grouped, styled};
use super::progress::Bar;
use super::purge::{purge_json, tell};
use super::status::debt_json;
use super::{report, table};
use crate::error::Error;
use crate::release::head::HeadRead;
use crate::release::manifest::Kind;
use crate::release::{self, Resumed, debt, standing};

/// How many paths that couldn't be changed are listed.
const LISTED: usize = 20;

/// Options of `resume`.
#[derive(Debug, Args)]
pub struct Resume {
    /// Take the lease even if it hasn't expired: only if its holder is known to be dead.
    #[arg(long)]
    take_over: bool,
    /// Say whether there is something to finish; write nothing.
    #[arg(short = 'n', long)]
    dry_run: bool,
}

impl Resume {
    pub async fn run(self, context: &Context) -> Result<Outcome, Error> {
        let project = context.published_project()?;
        if self.dry_run {
            return plan(context, &project).await;
        }
        warn_of_single_publisher(context, &project);
        if self.take_over
            && let Some(lease) = HeadRead::read(&project.store).await?.head.lease
        {
            let age = print::duration((Utc::now() - lease.taken_at).num_seconds().max(0) as f64);
            confirm(context, &format!("take the lease from {}, which took it {age} ago", lease.holder))?;
        }
        let job = project.job(Kind::Publish);
        let bar = Bar::follow(context);
        let resumed = release::resume(&job, &project.store, self.take_over, &context.progress).await?;
        drop(bar);
        show(context, &resumed);
        let is_settled = resumed.settled.as_ref().is_none_or(|settled| settled.activated.is_complete());
        let is_done = resumed.activated.is_complete()
            && is_settled
            && resumed.purge.error.is_none()
            && !resumed.table.is_pending();
        Ok(if is_done { Outcome::Done } else { Outcome::Behind })
    }
}

/// What there is to finish.
async fn plan(context: &Context, project: &Project) -> Result<Outcome, Error> {
    let head = HeadRead::read(&project.store).await?.head;
    if let Some(lost) = if head.desired.is_none() { project.lost().await.ok().flatten() } else { None } {
        return Err(lost);
    }
    let is_unfinished = head.active != head.desired;
    let debt = debt(&project.store, &project.config.cdn.purge, &head).await?;
    let release = head.desired.as_ref().map(ToString::to_string);
    let table = standing(&project.store, project.table()?.as_ref()).await;
    if context.is_json() {
        print::json(&json!({
            "version": 1,
            "command": "resume",
            "outcome": "planned",
            "release": release,
            "pending": is_unfinished,
            "purge": debt_json(project, debt.as_ref()),
            "table": table::table_json(&table),
        }));
    } else {
        let release = release.unwrap_or_else(|| "none".to_owned());
        print::line(&print::as_typed(&match is_unfinished {
            true => format!("release {release} is committed and not every path shows it; `tintype resume` finishes it"),
            false if debt.is_some() => format!("release {release} is what every path shows"),
            false => format!("nothing to resume: release {release} is what every path shows"),
        }));
        if let Some(debt) = debt {
            let paths = debt.paths.map_or_else(|| "everything".to_owned(), |paths| counted(paths, "path"));
            let line = format!("the edges weren't told of {paths}; `tintype resume` tells them");
            print::line(&print::as_typed(&line));
        }
        if let Some(line) = table::line(&table) {
            print::line(&print::as_typed(&line));
        }
    }
    Ok(Outcome::Done)
}

fn show(context: &Context, resumed: &Resumed) {
    let activated = &resumed.activated;
    let is_complete = activated.is_complete();
    let is_settled = resumed.settled.as_ref().is_none_or(|settled| settled.activated.is_complete());
    let release = resumed.release.as_ref().map(ToString::to_string);
    if context.is_json() {
        let failed = activated.failed.iter().map(|(path, error)| json!({ "path": path, "error": error.to_string() }));
        let outcome = match (resumed.was_unfinished, is_complete) {
            (false, _) if !is_settled => "unfinished",
            (false, _) => "unchanged",
            (true, true) => "finished",
            (true, false) => "unfinished",
        };
        print::json(&json!({
            "version": 1,
            "command": "resume",
            "outcome": outcome,
            "release": release,
            "settled": resumed.settled.as_ref().map(report::settled_json),
            "activated": {
                "shown": activated.shown,
                "removed": activated.removed,
                "failed": failed.collect::<Vec<_>>(),
                "skipped": activated.skipped,
            },
            "purge": purge_json(&resumed.purge),
            "table": table::table_json(&resumed.table),
            "unfinished": resumed.purge.error.as_ref().map(ToString::to_string),
        }));
    }
    report::settled(context, resumed.settled.as_ref());
    for (path, error) in activated.failed.iter().take(LISTED) {
        let warning = styled(print::YELLOW, "warning");
        print::note(&format!("{warning}: {path} still shows what it showed before: {error}"));
    }
    if let Some(error) = &resumed.purge.error {
        report::unpurged(error);
    }
    table::warn(&resumed.table);
    if context.is_talkative() && !context.is_json() {
        table::written(&resumed.table);
    }
    let release = release.unwrap_or_else(|| "none".to_owned());
    if !is_complete {
        let left = activated.failed.len() as u64 + activated.skipped;
        print::note(&format!("Release {release} is still unfinished: {} to go", counted(left, "path")));
    } else if context.is_talkative() && !context.is_json() {
        print::note(&match resumed.was_unfinished {
            true => format!(
                "{} release {release}: {} written, {} removed",
                styled(print::GREEN, "Finished"),
                counted(activated.shown, "path"),
                grouped(activated.removed)
            ),
            false => format!("Nothing to resume: release {release} is what every path shows"),
        });
        tell(&resumed.purge);
    }
}
