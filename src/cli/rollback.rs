//! `rollback`: an older release again, from the store alone.

use clap::Args;

use super::confirm::confirm;
use super::context::{Context, Project, warn_of_single_publisher};
use super::metrics_file::MetricsFile;
use super::print::{self, counted, styled};
use super::progress::Bar;
use super::publish::{Why, outcome, show};
use super::{Outcome, releases};
use crate::error::Error;
use crate::release::head::HeadRead;
use crate::release::manifest::Kind;
use crate::release::{self, Job, Report, Rollback as Order, is_kept, previous};

/// Options of `rollback`.
#[derive(Debug, Args)]
pub struct Rollback {
    /// The release to show again, by id or serial number. Default: the one before the last; after a rollback, the one
    /// before what that restored.
    #[arg(value_name = "RELEASE")]
    release: Option<String>,
    /// Keep later publishes off the keys that change, until they are republished by name or by `publish --unhold`.
    #[arg(long)]
    hold: bool,
    /// Show what would change; write nothing.
    #[arg(short = 'n', long)]
    dry_run: bool,
    #[command(flatten)]
    why: Why,
    #[command(flatten)]
    pub metrics: MetricsFile,
}

impl Rollback {
    pub async fn run(self, context: &Context) -> Result<Outcome, Error> {
        let project = context.published_project()?;
        let order = self.order(&project).await?;
        let plan = Job { commit: false, ..self.job(&project) };
        let expected = release::roll_back(&plan, &project.store, &order, &context.progress).await?;
        if self.dry_run || !expected.is_pending {
            show(context, &plan, &expected, &project);
            return Ok(Outcome::Done);
        }
        warn_of_single_publisher(context, &project);
        announce(context, &order, &expected);
        confirm(context, &format!("roll back to the release {}", order.target))?;
        let job = self.job(&project);
        let bar = Bar::follow(context);
        let report = release::roll_back(&job, &project.store, &order, &context.progress).await?;
        drop(bar);
        show(context, &job, &report, &project);
        Ok(outcome(&report))
    }

    /// What is meant, fixed before anybody is asked.
    async fn order(&self, project: &Project) -> Result<Order, Error> {
        let head = HeadRead::read(&project.store).await?.head;
        let replaces = head.desired.clone().ok_or(Error::Unpublished)?;
        let target = match &self.release {
            Some(id) => {
                let all = release::releases(&project.store).await?;
                let found = releases::find(&all, id)?;
                if !found.committed {
                    return Err(Error::usage(
                        format!("the release {} was never committed, so there is nothing to go back to", found.root.id),
                        "`tintype releases` lists those that were",
                    ));
                }
                found.root.id.clone()
            }
            None => previous(&project.store, &replaces).await?.ok_or_else(|| {
                Error::usage(
                    format!("no release before {replaces} showed other documents"),
                    "`tintype releases` lists all; name one by its number to show exactly that one",
                )
            })?,
        };
        if !is_kept(&head, &target) {
            return Err(Error::usage(
                format!("the release {target} has been pruned"),
                "`tintype releases` lists those that are kept, and [retention] says how many",
            ));
        }
        Ok(Order { target, replaces, hold: self.hold })
    }

    fn job(&self, project: &Project) -> Job {
        Job { author: self.why.author.clone(), note: self.why.note.clone(), ..project.job(Kind::Rollback) }
    }
}

/// Current and target, before the question.
fn announce(context: &Context, order: &Order, expected: &Report) {
    if context.is_json() || !context.is_talkative() {
        return;
    }
    let total = |of: fn(&release::Counts) -> u64| expected.templates.iter().map(|template| of(&template.counts)).sum();
    print::note(&format!(
        "{} → {}: {} to change, {} to add, {} to remove{}",
        order.replaces,
        styled(print::CYAN, &order.target),
        counted(total(|counts| counts.changed), "document"),
        print::grouped(total(|counts| counts.added)),
        print::grouped(total(|counts| counts.removed)),
        if order.hold { ", and held" } else { "" },
    ));
}
