//! `schedule`: publishes when schedules say so, shows what is due next, and writes schedules for cron and systemd.

use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta, Utc};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use url::Url;

use super::Outcome;
use super::context::{Context, Project, run_id, warn_of_single_publisher};
use super::metrics_file::MetricsFile;
use super::print::{self, styled};
use super::signals::Signals;
use super::status::instant;
use crate::config::{HeadConfig, NotifyConfig};
use crate::error::{Error, LeftBehind};
use crate::notify::Notifier;
use crate::release::Phase;
use crate::release::head::claim::RunOutcome;
use crate::schedule::{self, Command, Daemon, Due, Kind, Last, Schedule as Planned, Setup, Starter};

/// How many due times `--list` names for programs.
const NEXT: usize = 5;
/// For how long it looks for changes of the clocks.
const AHEAD: TimeDelta = TimeDelta::days(366);

/// Options of `schedule`.
#[derive(Debug, Args)]
pub struct Schedule {
    /// Show what is due next, and what happens when the clocks change.
    #[arg(long, group = "what")]
    list: bool,
    /// Run this schedule now, retries included, and end as its run ended.
    #[arg(long, value_name = "NAME", group = "what")]
    once: Option<String>,
    /// Write the schedules for another program to run.
    #[arg(long, value_name = "FOR", group = "what")]
    export: Option<Export>,
    /// Write the units of `--export systemd` into this folder.
    #[arg(long, value_name = "DIR", requires = "export")]
    into: Option<PathBuf>,
    #[command(flatten)]
    metrics: MetricsFile,
}

/// Who runs schedules instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Export {
    /// Lines of a crontab.
    Crontab,
    /// A service and a timer for each.
    Systemd,
}

impl Schedule {
    pub async fn run(self, context: &Context) -> Result<Outcome, Error> {
        if self.list && self.metrics.file.is_some() {
            return Err(Error::usage("--list runs nothing that there could be metrics of", "leave --metrics-file out"));
        }
        let project = context.published_project()?;
        let schedules = project.schedules()?;
        if schedules.is_empty() {
            return Err(Error::usage(
                format!("there is no schedule in {}", project.config.paths.schedules_shown.display()),
                "write one, for example nightly.toml with the line cron = \"30 2 * * *\"; `tintype init DIR` writes two",
            ));
        }
        match (self.once, self.export) {
            (Some(name), _) => once(context, project, schedules, &name, self.metrics.file).await,
            (None, Some(export)) => {
                let metrics_file = self.metrics.file.as_deref().map(absolute).transpose()?;
                write(context, &schedules, export, (self.into.as_deref(), metrics_file))
            }
            (None, None) if self.list => Ok(list(context, &schedules)),
            (None, None) => serve(context, project, schedules, self.metrics.file).await,
        }
    }
}

/// A daemon that starts this program with this configuration.
fn daemon(
    context: &Context,
    project: Project,
    schedules: Vec<Planned>,
    metrics_file: Option<PathBuf>,
) -> Result<Daemon, Error> {
    warn_of_single_publisher(context, &project);
    let known = project.schedule_names().unwrap_or_default();
    let NotifyConfig { webhook, on } = &project.config.notify;
    // It was understood as a URL before.
    let webhook = webhook.as_ref().and_then(|webhook| Url::parse(webhook.expose()).ok());
    let setup = Setup {
        run: run_id(),
        starter: Starter { config: absolute(&context.global.config)?, author: author() },
        is_alone: project.config.store.head == HeadConfig::SinglePublisher,
        notifier: Notifier::new(webhook, on.clone()),
        metrics_file,
        cdn: project.config.cdn.purge.clone(),
        known,
        store: project.store,
    };
    Ok(Daemon::new(setup, schedules))
}

fn absolute(path: &Path) -> Result<PathBuf, Error> {
    std::path::absolute(path).map_err(|error| Error::Local {
        action: "find",
        object: path.display().to_string(),
        reason: error.to_string(),
    })
}

fn author() -> Option<String> {
    std::env::var("TINTYPE_AUTHOR").ok().filter(|author| !author.is_empty())
}

async fn serve(
    context: &Context,
    project: Project,
    schedules: Vec<Planned>,
    metrics_file: Option<PathBuf>,
) -> Result<Outcome, Error> {
    if context.is_talkative() {
        let now = Utc::now();
        for schedule in &schedules {
            print::note(&line(schedule, now));
        }
    }
    let daemon = daemon(context, project, schedules, metrics_file)?;
    let mut signals = Signals::new()?;
    context.progress.enter(Phase::Serve, 0);
    daemon.serve(async || signals.next().await).await?;
    Ok(Outcome::Done)
}

async fn once(
    context: &Context,
    project: Project,
    schedules: Vec<Planned>,
    name: &str,
    metrics_file: Option<PathBuf>,
) -> Result<Outcome, Error> {
    let known: Vec<String> = schedules.iter().map(|schedule| schedule.name.clone()).collect();
    let Some(schedule) = schedules.into_iter().find(|schedule| schedule.name == name) else {
        let near = crate::diagnostic::did_you_mean(name, known.iter().map(String::as_str));
        let hint =
            near.map_or_else(|| format!("there are {}", known.join(", ")), |near| format!("did you mean {near}?"));
        return Err(Error::usage(format!("there is no schedule `{name}`"), hint));
    };
    let daemon = daemon(context, project, vec![schedule], metrics_file)?;
    let mut signals = Signals::new()?;
    context.progress.enter(Phase::Serve, 0);
    let last = daemon.once(name, async || signals.next().await).await?;
    let Some(last) = last else { return Err(signals.error(LeftBehind::Nothing)) };
    if last.outcome == RunOutcome::Stopped {
        return Err(signals.error(LeftBehind::Unknown));
    }
    let outcome = outcome(last.outcome);
    show(context, &last, outcome);
    Ok(outcome)
}

fn outcome(outcome: RunOutcome) -> Outcome {
    match outcome {
        RunOutcome::Done => Outcome::Done,
        RunOutcome::Invalid => Outcome::Invalid,
        RunOutcome::Refused => Outcome::Refused,
        RunOutcome::Behind => Outcome::Behind,
        RunOutcome::Locked => Outcome::Locked,
        RunOutcome::Failed | RunOutcome::Stopped | RunOutcome::Lost | RunOutcome::Missed | RunOutcome::Other => {
            Outcome::Failed
        }
    }
}

/// Tells how a run ended that was asked for.
fn show(context: &Context, last: &Last, outcome: Outcome) {
    if context.is_json() {
        print::json(&json!({
            "version": 1,
            "command": "schedule",
            "schedule": last.schedule,
            "outcome": last.outcome,
            "exit_code": outcome.exit_code(),
            "attempts": last.attempts,
            "due": last.due.map(instant),
            "run": last.ended.document,
        }));
    } else if context.is_talkative() {
        let release = last.ended.document.as_ref().and_then(|document| document["release"].as_str());
        let release = release.map(|release| format!(", release {release}")).unwrap_or_default();
        let attempts = print::counted(u64::from(last.attempts), "attempt");
        print::note(&format!("{}: {} after {attempts}{release}", last.schedule, last.outcome));
    }
}

/// Shows what is due next.
fn list(context: &Context, schedules: &[Planned]) -> Outcome {
    let now = Utc::now();
    if context.is_json() {
        let all: Vec<Value> = schedules.iter().map(|schedule| document(schedule, now)).collect();
        print::json(&json!({ "version": 1, "command": "schedule", "outcome": "listed", "schedules": all }));
        return Outcome::Done;
    }
    for schedule in schedules {
        print::line(&line(schedule, now));
        if let Some(due) = schedule.due.unusual(now, now + AHEAD).first() {
            print::line(&format!("  {}", styled(print::DIM, note(schedule, due))));
        }
    }
    Outcome::Done
}

/// One schedule with its next due time.
fn line(schedule: &Planned, now: DateTime<Utc>) -> String {
    let rule =
        format!("{}  {} {}", styled(print::CYAN, &schedule.name), schedule.due.crontab.text(), schedule.due.zone);
    if schedule.suspend {
        return format!("{rule}  {}", styled(print::YELLOW, "suspended"));
    }
    let Some(next) = schedule.due.after(now) else { return format!("{rule}  never") };
    let left = print::duration((next.at - now).num_seconds().max(60) as f64);
    let local = schedule.due.local(next.at);
    format!("{rule}  next {} UTC, {} local, in {left}", next.at.format("%Y-%m-%d %H:%M"), local.format("%H:%M %z"))
}

/// What happens to a due time when the clocks change.
fn note(schedule: &Planned, due: &Due) -> String {
    format!(
        "{} {}: {} local",
        due.civil.format("%Y-%m-%d %H:%M"),
        due.kind.note(&schedule.due),
        schedule.due.local(due.at).format("%H:%M %z")
    )
}

fn document(schedule: &Planned, now: DateTime<Utc>) -> Value {
    let shown = |due: Due| {
        json!({
            "at": instant(due.at),
            "local": schedule.due.local(due.at).to_rfc3339(),
            "note": (due.kind != Kind::Usual).then(|| note(schedule, &due)),
        })
    };
    let next: Vec<Value> = match schedule.suspend {
        true => Vec::new(),
        false => schedule.due.from(now).take(NEXT).map(shown).collect(),
    };
    json!({
        "name": schedule.name,
        "cron": schedule.due.crontab.text(),
        "time_zone": schedule.due.zone.name(),
        "templates": schedule.templates,
        "suspend": schedule.suspend,
        "next": next,
        "clock_changes": schedule.due.unusual(now, now + AHEAD).into_iter().map(shown).collect::<Vec<_>>(),
    })
}

/// Writes the schedules for cron or systemd.
fn write(
    context: &Context,
    schedules: &[Planned],
    export: Export,
    (into, metrics_file): (Option<&Path>, Option<PathBuf>),
) -> Result<Outcome, Error> {
    let program = std::env::current_exe().map_or_else(|_| "tintype".to_owned(), |path| path.display().to_string());
    let config = absolute(&context.global.config)?.display().to_string();
    let command = Command { program, config, metrics_file: metrics_file.map(|file| file.display().to_string()) };
    let now = Utc::now();
    if export == Export::Crontab {
        if into.is_some() {
            return Err(Error::usage("--into is for systemd's units", "a crontab goes to stdout: `… > FILE`"));
        }
        print::data(schedule::crontab(schedules, &command, now).as_bytes());
        return Ok(Outcome::Done);
    }
    for unit in schedule::systemd(schedules, &command, now) {
        match into {
            None => print::data(format!("# {}\n{}\n", unit.name, unit.text).as_bytes()),
            Some(folder) => {
                let path = folder.join(&unit.name);
                std::fs::write(&path, unit.text).map_err(|error| Error::Local {
                    action: "write",
                    object: path.display().to_string(),
                    reason: error.to_string(),
                })?;
            }
        }
    }
    Ok(Outcome::Done)
}
