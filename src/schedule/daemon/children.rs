//! The children of a daemon: each is an attempt, which is begun, stopped, and heard of at its end.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::Utc;
use tokio::sync::watch;
use tokio::time::Instant;

use super::{Daemon, Last};
use crate::notify::Signal;
use crate::release::head::Lease;
use crate::release::head::claim::RunOutcome;
use crate::schedule::attempt::Ended;
use crate::schedule::keeper::{After, Next, Run};

impl Daemon {
    /// Begins an attempt.
    pub(super) fn begin(&mut self, name: &str, run: &Run) {
        let Some(schedule) = self.schedules.get(name).cloned() else { return };
        if let (0, Some(ping)) = (run.attempts, &schedule.ping) {
            self.setup.notifier.ping(ping.url(), Signal::Start);
        }
        tracing::info!(schedule = name, due = %run.due, attempt = run.attempts + 1, work = ?run.work, "running");
        let (sender, stop) = watch::channel(None);
        self.stops.insert(name.to_owned(), sender);
        let (starter, work, name) = (self.setup.starter.clone(), run.work, name.to_owned());
        self.keeper.begun(&name);
        let all = Arc::clone(&self.processes);
        self.last = Some(Last {
            schedule: name.clone(),
            due: Some(run.due),
            outcome: RunOutcome::Stopped,
            attempts: run.attempts + 1,
            ended: Ended::nothing(),
        });
        self.children.spawn(async move {
            let noted = |process: Option<u32>| {
                let mut all = processes(&all);
                match process {
                    Some(process) => all.insert(name.clone(), process),
                    None => all.remove(&name),
                };
            };
            let ended = starter.attempt(&schedule, work, stop, noted).await;
            (name, ended)
        });
    }

    /// Takes in how an attempt ended.
    pub(super) fn ended(&mut self, name: &str, ended: Ended) {
        self.stops.remove(name);
        let Some(after) = self.keeper.ended(name, ended.finish, Utc::now()) else { return };
        self.unshown.insert(name.to_owned(), ended.clone());
        self.conclude(name, &after, ended);
    }

    /// Says what came of an attempt.
    pub(super) fn conclude(&mut self, name: &str, after: &After, ended: Ended) {
        self.tell(name, after, &ended);
        let After { next, attempts, .. } = *after;
        match next {
            Next::Over(outcome) => {
                self.over_since = Some(Instant::now());
                tracing::info!(schedule = name, %outcome, attempts, code = ended.code, "the run is over");
                if let Some(last) = &mut self.last {
                    *last = Last { outcome, attempts, ended, ..last.clone() };
                }
            }
            Next::Again(wait) => {
                let wait = humantime::format_duration(wait.to_std().unwrap_or_default());
                tracing::warn!(schedule = name, attempts, code = ended.code, %wait, "the run failed and is tried again");
                if let Some(last) = &mut self.last {
                    *last = Last { outcome: ended.finish.outcome, attempts, ended, ..last.clone() };
                }
            }
        }
    }

    /// Lets children finish within their grace; at the second time they end now.
    pub(super) fn stop(&mut self) {
        let is_first = self.stopping_since.is_none();
        self.stopping_since.get_or_insert_with(Instant::now);
        self.over_since.get_or_insert_with(Instant::now);
        if let Some(last) = self.last.as_mut().filter(|last| self.keeper.is_waiting(&last.schedule)) {
            last.outcome = RunOutcome::Stopped;
        }
        self.keeper.stop();
        for (name, stop) in &self.stops {
            let grace = self.schedules.get(name).map_or(Duration::ZERO, |schedule| schedule.grace);
            let grace = if is_first { grace } else { Duration::ZERO };
            tracing::info!(schedule = name, ?grace, "to end; the run may finish within its grace");
            stop.send_replace(Some(Instant::now() + grace));
        }
    }

    /// True for the lease of a child that is there: it renews it itself.
    pub(super) fn is_ours(&self, lease: &Lease) -> bool {
        let host = &self.me.host;
        processes(&self.processes)
            .values()
            .any(|process| lease.holder.starts_with(&format!("{host} process {process},")))
    }
}

fn processes(all: &Mutex<BTreeMap<String, u32>>) -> MutexGuard<'_, BTreeMap<String, u32>> {
    all.lock().unwrap_or_else(PoisonError::into_inner)
}
