//! `verify --cdn`: what readers get from the edge, compared with the active release, and purged again where it is stale.

use std::time::Duration;

use clap::Args;

use super::super::Outcome;
use super::super::context::{Context, Project};
use super::super::progress::Bar;
use crate::error::Error;
use crate::release::verify::edge::{Again, Choice, Edge, Looks, Scope, Survey, purge_again, survey};

mod show;

/// So many paths are looked at where nobody names a number: some seconds' work for an edge that is near.
const SAMPLE: usize = 1000;

/// Options of `verify --cdn`.
#[derive(Debug, Args)]
pub struct Options {
    /// Compare what readers get through [cdn] url instead: of what the last release changed and removed, and of what the
    /// edges weren't told yet, 1,000 paths. Those that are stale are purged again.
    #[arg(long, conflicts_with_all = ["deep", "repair", "parity"])]
    pub cdn: bool,
    /// With --cdn: look at no more than so many paths, picked by chance.
    #[arg(long, value_name = "N", requires = "cdn", value_parser = clap::value_parser!(u32).range(1..))]
    sample: Option<u32>,
    /// With --cdn: every document of the release; without --sample, all of them.
    #[arg(long, requires = "cdn", conflicts_with_all = ["keys", "conditions"])]
    all: bool,
    /// With --cdn: after a purge, wait at most so long for the edge to show the release's documents.
    #[arg(long, value_name = "TIME", requires = "cdn", default_value = "30s", value_parser = humantime::parse_duration)]
    wait: Duration,
}

/// Everything that came of it.
struct Report {
    scope: Scope,
    survey: Survey,
    again: Option<Again>,
    /// True if there is somebody who can be told to forget.
    has_driver: bool,
    is_dry_run: bool,
}

impl Options {
    /// What is looked at: KEYs are all looked at, and so is all of --all, unless a number is given.
    fn scope(&self, paths: Option<Vec<String>>) -> Scope {
        let given = self.sample.map(|most| most as usize);
        let (choice, most) = match paths {
            Some(paths) => (Choice::Paths(paths), given),
            None if self.all => (Choice::All, given),
            None => (Choice::Changed, given.or(Some(SAMPLE))),
        };
        Scope { choice, most, seed: getrandom::u64().unwrap_or_default() }
    }
}

/// Looks at the edge, and purges what is stale.
pub async fn run(
    context: &Context,
    project: &Project,
    options: &Options,
    paths: Option<Vec<String>>,
    is_dry_run: bool,
) -> Result<Outcome, Error> {
    let base = project.base_url().ok_or_else(|| {
        Error::usage(
            "no [cdn] url is configured",
            "set it, or TINTYPE_CDN_URL, to the URL below which readers fetch documents",
        )
    })?;
    let cdn = &project.config.cdn.purge;
    let edge = Edge { store: &project.store, cdn, base, progress: &context.progress };
    let scope = options.scope(paths);
    let bar = Bar::follow(context);
    let survey = survey(edge, &scope).await?;
    let again = match is_dry_run {
        true => None,
        false => purge_again(edge, &survey, options.wait).await?,
    };
    drop(bar);
    let report = Report { scope, survey, again, has_driver: !cdn.is_none(), is_dry_run };
    show::report(context, base, &report);
    Ok(report.outcome())
}

impl Report {
    /// What is stale, by now.
    fn is_stale(&self) -> bool {
        let Some(again) = &self.again else { return !self.survey.looks.findings.is_empty() };
        again.error.is_some() && !again.remaining.is_fresh()
            || !again.remaining.findings.is_empty()
            || self.survey.looks.findings.iter().any(|finding| finding.origin)
    }

    /// True if some paths couldn't be looked at, so that nobody knows.
    fn is_blind(&self) -> bool {
        let is_blind = |looks: &Looks| !looks.unreadable.is_empty() || looks.skipped > 0;
        is_blind(&self.survey.looks) || self.again.as_ref().is_some_and(|again| is_blind(&again.remaining))
    }

    fn word(&self) -> &'static str {
        match (self.is_stale(), self.is_blind(), &self.again) {
            (true, ..) => "stale",
            (false, true, _) => "unknown",
            // What became fresh by itself, although the CDN couldn't be told, wasn't purged.
            (false, false, Some(again)) if again.error.is_none() => "purged",
            (false, false, _) => "fresh",
        }
    }

    fn outcome(&self) -> Outcome {
        match self.word() {
            "stale" => Outcome::Behind,
            "unknown" => Outcome::Failed,
            _ => Outcome::Done,
        }
    }
}
