//! `verify`: what is at the stable paths, compared with the active release, and on request mended.

use clap::Args;

use super::Outcome;
use super::confirm::confirm;
use super::context::{Context, Project};
use super::get::paths;
use super::named::{Unknown, named};
use super::print::counted;
use super::progress::Bar;
use super::publish::{Keys, job};
use crate::error::Error;
use crate::release::head::HeadRead;
use crate::release::manifest::{Kind, Manifest};
use crate::release::verify::{Mended, Scope, Survey, mend, survey};
use crate::release::{PurgeOutcome, Purged, Wanted, purge};

mod edge;
mod parity;
mod show;
mod table;

use parity::Parity;

/// Options of `verify`.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct Verify {
    #[command(flatten)]
    keys: Keys,
    /// Read every document and every blob, and compute their digests.
    #[arg(long)]
    deep: bool,
    /// Show again from their blobs the documents that aren't what they should be, and remove leftovers.
    #[arg(long)]
    repair: bool,
    /// With --repair: show what it would mend; write nothing. With --cdn: purge nothing.
    #[arg(short = 'n', long)]
    dry_run: bool,
    #[command(flatten)]
    edge: edge::Options,
    /// Compare the fallback table with the active release instead; with --deep down to the bodies' bytes, with --repair
    /// writing what differs.
    #[arg(long, conflicts_with_all = ["keys", "conditions", "cdn", "parity"])]
    table: bool,
    /// Build so many keys, picked by chance, from the database, and compare them with the release.
    #[arg(long, value_name = "N", conflicts_with_all = ["keys", "conditions"])]
    parity: Option<usize>,
    /// What --parity picks by; the same number picks the same keys of the same release.
    #[arg(long, value_name = "NUMBER", requires = "parity")]
    seed: Option<u64>,
}

/// Everything that came of it.
struct Report {
    scope: Scope,
    survey: Survey,
    mended: Option<Mended>,
    /// What the edges were told of what was mended.
    purged: Purged,
    /// What is still wrong after mending.
    remaining: Option<Survey>,
    parity: Option<Parity>,
}

impl Verify {
    pub async fn run(self, context: &Context) -> Result<Outcome, Error> {
        if self.edge.cdn {
            let project = context.published_project()?;
            let is_all = self.keys.keys.is_empty() && self.keys.conditions.is_empty();
            let paths = if is_all { None } else { Some(named(&project, &self.keys, Unknown::Doubted).await?) };
            return edge::run(context, &project, &self.edge, paths, self.dry_run).await;
        }
        if self.table {
            let look = table::Look { deep: self.deep, repair: self.repair && !self.dry_run };
            return Box::pin(table::run(context, &context.published_project()?, &look)).await;
        }
        let project = match self.parity {
            Some(_) => context.project()?,
            None => context.published_project()?,
        };
        let scope = Scope { deep: self.deep, paths: self.paths(&project).await? };
        let bar = Bar::follow(context);
        let survey = survey(&project.store, &scope, &context.progress).await?;
        let parity = match self.parity {
            Some(count) => Some(parity::compare(&project, &survey.release, count, self.seed).await?),
            None => None,
        };
        drop(bar);
        let mut report = Report { scope, survey, mended: None, purged: Purged::default(), remaining: None, parity };
        if self.repair && !self.dry_run && (!report.survey.is_intact() || report.survey.is_stuck) {
            repair(context, &project, &mut report).await?;
        }
        show::report(context, &project, &report);
        Ok(report.outcome())
    }

    /// The documents that are meant; none for all of them.
    async fn paths(&self, project: &Project) -> Result<Option<Vec<String>>, Error> {
        if self.keys.keys.is_empty() && self.keys.conditions.is_empty() {
            return Ok(None);
        }
        let selectors = job(project, &self.keys)?.selectors;
        let active = HeadRead::read(&project.store).await?.head.active;
        let manifest = Manifest::read(&project.store, &active.ok_or(Error::Unpublished)?).await?;
        paths(project, &manifest, &selectors).map(Some)
    }
}

/// Mends what was found, and looks again.
async fn repair(context: &Context, project: &Project, report: &mut Report) -> Result<(), Error> {
    let leftovers = report.survey.leftovers.len() as u64;
    let question = format!("remove {} that the release doesn't name", counted(leftovers, "object"));
    // Without a yes everything else is mended all the same.
    let with_leftovers = leftovers > 0 && confirm(context, &question).is_ok();
    let bar = Bar::follow(context);
    let job = project.job(Kind::Publish);
    let mended = mend(&job, &project.store, &report.survey, with_leftovers, &context.progress).await?;
    // Before the second look, which may take long. Every path that was mended is owed by now.
    let cdn = &project.config.cdn.purge;
    if !cdn.is_none() && !mended.touched.is_empty() {
        let told = purge(&project.store, cdn, &Wanted::Owed, true, &context.progress).await;
        report.purged = told.unwrap_or_else(Purged::failed);
    }
    let looked_at = report.survey.flaws.iter().map(|(row, _)| row.path.to_string()).collect();
    let again = Scope { deep: report.scope.deep, paths: Some(looked_at) };
    report.remaining = Some(survey(&project.store, &again, &context.progress).await?);
    report.mended = Some(mended);
    drop(bar);
    Ok(())
}

impl Report {
    /// True if everything is as it should be by now.
    fn is_well(&self) -> bool {
        match (&self.mended, &self.remaining) {
            (Some(mended), Some(remaining)) => {
                let is_told = self.purged.outcome != PurgeOutcome::Pending;
                mended.is_complete() && remaining.is_intact() && !remaining.is_stuck && is_told
            }
            _ => self.survey.is_intact() && !self.survey.is_stuck,
        }
    }

    fn has_parity(&self) -> bool {
        self.parity.as_ref().is_none_or(Parity::is_equal)
    }

    fn outcome(&self) -> Outcome {
        match (self.is_well(), self.has_parity(), &self.mended) {
            (true, true, _) => Outcome::Done,
            (false, _, Some(_)) => Outcome::Behind,
            _ => Outcome::Failed,
        }
    }
}
