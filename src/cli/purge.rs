//! `purge`: the edges forget documents, without a publish.

use std::sync::Arc;

use clap::Args;
use serde_json::{Value, json};

use super::Outcome;
use super::confirm::confirm;
use super::context::{Context, Project};
use super::named::{Unknown, named};
use super::print::{self, counted, grouped, styled};
use super::progress::Bar;
use super::publish::Keys;
use crate::cdn::{Plan, Request};
use crate::error::Error;
use crate::release::{self, PurgeOutcome, Purged, Wanted};

/// How many paths of a plan are listed unless `-v` asks for all.
const LISTED: usize = 20;

/// Options of `purge`.
#[derive(Debug, Args)]
pub struct Purge {
    #[command(flatten)]
    keys: Keys,
    /// Only what the edges weren't told yet, because a purge failed or was left to later.
    #[arg(long, conflicts_with_all = ["keys", "conditions"])]
    resume: bool,
    /// Also purge a path at which nothing is known to have been published.
    #[arg(long, requires = "keys")]
    force: bool,
    /// Show what would be sent; send nothing.
    #[arg(short = 'n', long)]
    dry_run: bool,
}

impl Purge {
    pub async fn run(self, context: &Context) -> Result<Outcome, Error> {
        let project = context.published_project()?;
        let cdn = &project.config.cdn.purge;
        if cdn.is_none() {
            let hint = "[cdn] purge says who keeps documents at the edge: cloudfront, cloudflare, fastly or webhook";
            return Err(Error::usage("there is no CDN to purge", hint));
        }
        let wanted = self.wanted(&project).await?;
        if matches!(wanted, Wanted::Everything) && !self.dry_run {
            confirm(context, "purge every document from the edges")?;
        }
        let bar = Bar::follow(context);
        let purged = release::purge(&project.store, cdn, &wanted, !self.dry_run, &context.progress).await?;
        drop(bar);
        self.show(context, &purged);
        Ok(match purged.outcome {
            PurgeOutcome::Pending if !self.dry_run => Outcome::Behind,
            _ => Outcome::Done,
        })
    }

    async fn wanted(&self, project: &Project) -> Result<Wanted, Error> {
        if self.resume {
            return Ok(Wanted::Owed);
        }
        if self.keys.keys.is_empty() && self.keys.conditions.is_empty() {
            return Ok(Wanted::Everything);
        }
        let unknown = if self.force { Unknown::Taken } else { Unknown::Refused };
        Ok(Wanted::Paths(named(project, &self.keys, unknown).await?.into_iter().map(Arc::from).collect()))
    }

    fn show(&self, context: &Context, purged: &Purged) {
        if context.is_json() {
            let mut purge = purge_json(purged);
            if self.dry_run && purged.outcome == PurgeOutcome::Pending {
                purge["outcome"] = "planned".into();
            }
            let outcome = if self.dry_run { "planned" } else { outcome(purged) };
            let requests = purged.plan.iter().flat_map(|plan| &plan.requests).map(request_json);
            print::json(&json!({
                "version": 1,
                "command": context.command,
                "outcome": outcome,
                "purge": purge,
                "plan": requests.collect::<Vec<_>>(),
            }));
        }
        if let Some(error) = &purged.error {
            print::error(error);
        } else if self.dry_run && !context.is_json() {
            plan(purged, context.global.verbose > 0);
        } else if context.is_talkative() && !context.is_json() {
            tell(purged);
        }
    }
}

/// What would be sent, a line for each path, folder or tag.
fn plan(purged: &Purged, all: bool) {
    let none = Plan::default();
    let plan = purged.plan.as_ref().unwrap_or(&none);
    let lines: Vec<String> = plan.requests.iter().flat_map(lines).collect();
    let listed = if all { lines.len() } else { LISTED };
    lines.iter().take(listed).for_each(|line| print::line(line));
    if lines.len() > listed {
        let more = grouped((lines.len() - listed) as u64);
        print::line(&styled(print::DIM, format!("… and {more} more; -v lists them")));
    }
    print::line(&match plan.is_empty() {
        true => "Nothing to purge: the edges know everything".to_owned(),
        false => format!("Plan: {}", summary(plan)),
    });
}

fn lines(request: &Request) -> Vec<String> {
    match request {
        Request::Paths(paths) => paths.iter().map(|path| format!("path    {path}")).collect(),
        Request::Folders(folders) => folders.iter().map(|folder| format!("folder  {folder}")).collect(),
        Request::Tags(tags) => tags.iter().map(|tag| format!("tag     {tag}")).collect(),
        Request::Everything => vec!["everything".to_owned()],
    }
}

/// What the edges were told.
pub fn tell(purged: &Purged) {
    let plan = purged.plan.as_ref().filter(|plan| !plan.is_empty());
    match (purged.outcome, plan) {
        (PurgeOutcome::Done, Some(plan)) => {
            print::note(&format!("{} {}", styled(print::GREEN, "Purged"), summary(plan)));
        }
        (PurgeOutcome::Pending, Some(plan)) => {
            let left = format!("{}; `tintype purge --resume` sends it, and so does the next publish", summary(plan));
            print::note(&format!("{}: {left}", styled(print::YELLOW, "Left to purge")));
        }
        _ => {}
    }
}

/// What a purge comes to, in words.
fn summary(plan: &Plan) -> String {
    let requests = counted(plan.requests.len() as u64, "request");
    let paths = plan.paths.map_or_else(|| "everything".to_owned(), |paths| counted(paths, "path"));
    match plan.besides {
        Some(besides) if besides > 0 => {
            format!("{paths} in {requests}, with {} that didn't change", counted(besides, "document"))
        }
        _ => format!("{paths} in {requests}"),
    }
}

/// What came of a purge, for programs.
pub fn purge_json(purged: &Purged) -> Value {
    let plan = purged.plan.as_ref();
    json!({
        "outcome": outcome(purged),
        "paths": plan.and_then(|plan| plan.paths),
        "besides": plan.and_then(|plan| plan.besides),
        "requests": plan.map(|plan| plan.requests.len()),
        "error": purged.error.as_ref().map(ToString::to_string),
    })
}

fn outcome(purged: &Purged) -> &'static str {
    match purged.outcome {
        PurgeOutcome::None => "none",
        PurgeOutcome::Done => "done",
        PurgeOutcome::Pending => "pending",
    }
}

fn request_json(request: &Request) -> Value {
    match request {
        Request::Paths(paths) => json!({ "paths": paths }),
        Request::Folders(folders) => json!({ "folders": folders }),
        Request::Tags(tags) => json!({ "tags": tags }),
        Request::Everything => json!({ "everything": true }),
    }
}
