//! `--metrics-file`: what a run did, for Prometheus's textfile collector.

use std::path::PathBuf;
use std::time::Duration;

use chrono::Utc;
use clap::Args;

use super::Outcome;
use super::context::Context;
use super::print::{self, styled};
use crate::error::Error;
use crate::metrics::{self, Ended, Site};
use crate::release::head::HeadRead;

/// How long the head may take that a run ends with.
const PATIENCE: Duration = Duration::from_secs(10);

/// The option.
#[derive(Debug, Clone, Args)]
pub struct MetricsFile {
    /// Write metrics of the run to this file, for Prometheus's textfile collector.
    #[arg(long = "metrics-file", value_name = "FILE")]
    pub file: Option<PathBuf>,
}

/// Runs a command and writes its metrics, if that was asked for; the command is none the worse if that fails.
pub async fn measured(
    context: &Context,
    file: Option<PathBuf>,
    command: impl Future<Output = Result<Outcome, Error>>,
) -> Result<Outcome, Error> {
    let result = command.await;
    let Some(file) = file else { return result };
    let code = result.as_ref().map_or_else(Error::exit_code, |outcome| outcome.exit_code());
    let site = tokio::time::timeout(PATIENCE, site(context)).await.unwrap_or_default();
    let document = context.told();
    let (document, tried) = (document.as_ref(), context.tried());
    let run = Ended { command: context.command, schedule: None, code, document, tried, at: Utc::now() };
    if let Err(error) = metrics::write(&file, &run, &site) {
        print::note(&format!("{}: {error}", styled(print::YELLOW, "warning")));
    }
    result
}

/// The site as it is after the run, as far as it can be read.
async fn site(context: &Context) -> Site {
    let Ok((project, _)) = context.readable_project() else { return Site::default() };
    let head = HeadRead::read(&project.store).await.ok().map(|read| read.head);
    let cdn = &project.config.cdn.purge;
    Site { is_owed: head.as_ref().is_some_and(|head| head.is_owed(cdn)), head, schedules: project.schedule_names() }
}
