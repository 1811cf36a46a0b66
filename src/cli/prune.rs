//! `prune`: removes old releases, and the blobs that no release names any more.

use clap::Args;
use serde_json::{Value, json};

use super::Outcome;
use super::confirm::confirm;
use super::context::{Context, Project};
use super::metrics_file::MetricsFile;
use super::print::{self, counted, styled};
use super::progress::Bar;
use crate::error::Error;
use crate::release::ReleaseId;
use crate::release::prune::{self, Plan, Pruned, Tally};

/// How many releases and failures the document lists.
const LISTED: usize = 1000;
/// How many failures a person is shown.
const SHOWN: usize = 10;

/// Options of `prune`.
#[derive(Debug, Args)]
pub struct Prune {
    /// Show what would go; remove nothing.
    #[arg(short = 'n', long)]
    dry_run: bool,
    #[command(flatten)]
    pub metrics: MetricsFile,
}

impl Prune {
    pub async fn run(self, context: &Context) -> Result<Outcome, Error> {
        let project = context.published_project()?;
        if let Some(lost) = project.lost().await.ok().flatten() {
            return Err(lost);
        }
        let retention = &project.config.retention;
        let plan = prune::plan(&project.store, retention, None).await?;
        if self.dry_run || plan.is_empty() {
            announce(context, &project, &plan, self.dry_run);
            return Ok(Outcome::Done);
        }
        if context.is_talkative() && !context.is_json() {
            print::note(&text(&plan.tally, plan.kept));
        }
        confirm(context, &format!("remove {}", counted(plan.tally.objects(), "object")))?;
        let bar = Bar::follow(context);
        let pruned = prune::execute(&project.store, retention, plan, None, &context.progress).await?;
        drop(bar);
        show(context, &project, &pruned);
        Ok(if pruned.swept.failures == 0 { Outcome::Done } else { Outcome::Behind })
    }
}

/// What is or would be removed, and what stays.
fn text(tally: &Tally, kept: usize) -> String {
    format!(
        "{}, {}, {}: {}; {}",
        counted(tally.releases, "release"),
        counted(tally.lists, "list"),
        counted(tally.blobs, "blob"),
        bytesize::ByteSize(tally.bytes).display().iec(),
        staying(kept),
    )
}

fn staying(kept: usize) -> String {
    let verb = if kept == 1 { "stays" } else { "stay" };
    format!("{} {verb}", counted(kept as u64, "release"))
}

/// What would go.
fn announce(context: &Context, project: &Project, plan: &Plan, is_dry_run: bool) {
    let outcome = if plan.is_empty() { "unchanged" } else { "planned" };
    if context.is_json() {
        let releases = plan.releases.iter().map(|(id, _)| id.to_string());
        print::json(&document(project, outcome, releases.collect(), &plan.tally, plan.floor.as_ref(), plan.kept));
    } else if plan.is_empty() {
        if is_dry_run || context.is_talkative() {
            print::line(&format!("nothing to prune; {}", staying(plan.kept)));
        }
    } else {
        print::line(&format!("prune would remove {}", text(&plan.tally, plan.kept)));
        for (id, _) in &plan.releases {
            print::line(&format!("  {} {id}", styled(print::RED, "-")));
        }
    }
}

/// What went.
fn show(context: &Context, project: &Project, pruned: &Pruned) {
    let swept = &pruned.swept;
    let releases: Vec<String> = pruned.releases.iter().map(ToString::to_string).collect();
    let outcome = if swept.failures == 0 { "pruned" } else { "unfinished" };
    let mut document = document(project, outcome, releases, &swept.tally, pruned.floor.as_ref(), pruned.kept);
    let failed = swept.failed.iter().take(LISTED);
    let failed = failed.map(|(object, error)| json!({ "object": object, "error": error.to_string() }));
    document["failures"] = json!(swept.failures);
    document["failed"] = failed.collect();
    document["given_up"] = json!(swept.is_given_up);
    if context.is_json() {
        print::json(&document);
    } else if context.is_talkative() {
        print::line(&format!("{} {}", styled(print::GREEN, "Removed"), text(&swept.tally, pruned.kept)));
    }
    if swept.failures > 0 && !context.is_json() {
        for (_, error) in swept.failed.iter().take(SHOWN) {
            print::note(&format!("{}: {error}", styled(print::YELLOW, "warning")));
        }
        let rest = if swept.is_given_up { ", and the rest wasn't tried" } else { "" };
        print::note(&format!(
            "{}: {} couldn't be removed{rest}",
            styled(print::RED, "error"),
            counted(swept.failures, "object")
        ));
        let hint = "readers don't notice; mend the permission (s3:DeleteObject) and prune again";
        print::note(&format!("  {}: {hint}", styled(print::CYAN, "hint")));
    }
    context.tell(document);
}

fn document(
    project: &Project,
    outcome: &str,
    mut releases: Vec<String>,
    tally: &Tally,
    floor: Option<&ReleaseId>,
    kept: usize,
) -> Value {
    releases.truncate(LISTED);
    json!({
        "version": 1,
        "command": "prune",
        "outcome": outcome,
        "floor": floor.map(ToString::to_string),
        "kept": kept,
        "removed": { "releases": tally.releases, "lists": tally.lists, "blobs": tally.blobs, "bytes": tally.bytes },
        "releases": releases,
        "store": project.store_json(),
    })
}
