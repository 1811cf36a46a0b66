//! The daemon: drives the [`Keeper`] by the clock, the store and the ends of its children.
//!
//! It sleeps by the wall clock in short pieces, because a machine that slept, or a clock that was set, moves due times
//! nearer without any timer noticing. What the store doesn't take is tried again; a run that was begun goes on meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Schedule;
use super::attempt::{Ended, Starter};
use super::keeper::{Keeper, Proposal, Step};
use super::owner::{is_alive, this_process};
use crate::cdn::Cdn;
use crate::error::Error;
use crate::notify::Notifier;
use crate::release::RunId;
use crate::release::claims::{self, Written};
use crate::release::head::claim::{Owner, RunOutcome};
use crate::store::Store;

mod children;
#[cfg(test)]
mod tests;
mod told;

/// The longest sleep without a look at the clock.
const LOOK_AT_CLOCK: Duration = Duration::from_secs(20);
/// The shortest, so that a mistake costs no core.
const SHORTEST: Duration = Duration::from_millis(20);
/// For how long the end of a run is tried to be recorded before the process ends without.
const LAST_RECORDS: Duration = Duration::from_secs(20);

/// For how long a step that is under way may go on after a wish.
const LAST_STEP: Duration = Duration::from_secs(5);

/// What a daemon is given.
pub struct Setup {
    /// Where claims are kept.
    pub store: Arc<Store>,
    /// The name of this run.
    pub run: RunId,
    /// How runs are started.
    pub starter: Starter,
    /// True where nothing keeps two writers of the head apart.
    pub is_alone: bool,
    /// Who is told of what.
    pub notifier: Notifier,
    /// Where metrics go after each run.
    pub metrics_file: Option<PathBuf>,
    /// The edges, which may be owed something.
    pub cdn: Cdn,
    /// The names of all schedules that there are here, those of other daemons included.
    pub known: BTreeSet<String>,
}

/// A daemon.
pub struct Daemon {
    setup: Setup,
    me: Owner,
    keeper: Keeper,
    schedules: BTreeMap<String, Arc<Schedule>>,
    children: JoinSet<(String, Ended)>,
    /// When the child of a schedule is to end.
    stops: BTreeMap<String, watch::Sender<Option<Instant>>>,
    /// The processes of the children that are there.
    processes: Arc<Mutex<BTreeMap<String, u32>>>,
    stopping_since: Option<Instant>,
    /// When the last run was over, or the wish to end came.
    over_since: Option<Instant>,
    /// How the last attempts ended, until the metrics say so.
    unshown: BTreeMap<String, Ended>,
    /// How the last run ended.
    last: Option<Last>,
}

/// How a run ended.
#[derive(Debug, Clone)]
pub struct Last {
    /// Its schedule.
    pub schedule: String,
    /// What it was due.
    pub due: Option<DateTime<Utc>>,
    /// How it ended.
    pub outcome: RunOutcome,
    /// How many attempts there were.
    pub attempts: u32,
    /// The last of them.
    pub ended: Ended,
}

/// A wish of whoever runs the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Come to an end.
    End,
}

impl Daemon {
    /// A daemon for these schedules.
    pub fn new(setup: Setup, schedules: Vec<Schedule>) -> Daemon {
        let me = this_process(&setup.run);
        let schedules: Vec<Arc<Schedule>> = schedules.into_iter().map(Arc::new).collect();
        let here = me.clone();
        let keeper =
            Keeper::new(me.clone(), schedules.iter().cloned(), setup.is_alone, move |other| is_alive(&here, other));
        Daemon {
            setup,
            me,
            keeper,
            schedules: schedules.into_iter().map(|schedule| (schedule.name.clone(), schedule)).collect(),
            children: JoinSet::new(),
            stops: BTreeMap::new(),
            processes: Arc::default(),
            stopping_since: None,
            over_since: None,
            unshown: BTreeMap::new(),
            last: None,
        }
    }

    /// Runs schedules as they are due, until a wish ends it.
    pub async fn serve(mut self, wishes: impl AsyncFnMut() -> Wish) -> Result<(), Error> {
        let driven = self.drive(wishes, false).await;
        self.setup.notifier.finish().await;
        driven
    }

    /// Runs one schedule now and to its end, retries included. None if a wish ended it before there was anything.
    pub async fn once(mut self, name: &str, wishes: impl AsyncFnMut() -> Wish) -> Result<Option<Last>, Error> {
        self.keeper.ask(name);
        let driven = self.drive(wishes, true).await;
        self.setup.notifier.finish().await;
        driven.map(|()| self.last)
    }

    async fn drive(&mut self, mut wishes: impl AsyncFnMut() -> Wish, is_once: bool) -> Result<(), Error> {
        loop {
            let steps = self.keeper.steps(Utc::now());
            let has_steps = !steps.is_empty();
            for step in steps {
                let done = self.perform_unless(step, &mut wishes).await;
                // What has begun goes on, and is recorded when the store is back.
                if is_once && self.last.is_none() {
                    done?;
                    self.refuse_overlap()?;
                }
            }
            if self.is_over(is_once) {
                self.show_all().await;
                return Ok(());
            }
            let wait = if has_steps { Duration::ZERO } else { self.until_next() };
            tokio::select! {
                biased;
                Some(joined) = self.children.join_next() => match joined {
                    Ok((name, ended)) => {
                        self.ended(&name, ended);
                        if self.setup.is_alone && self.keeper.is_waiting(&name) {
                            // Nothing is recorded before the run is over.
                            self.show(&name).await;
                        }
                    }
                    // What became of it is unknown, so that its claim is left to whoever comes next.
                    Err(error) => {
                        let reason = error.to_string();
                        return Err(Error::Local { action: "follow", object: "a run".to_owned(), reason });
                    }
                },
                Wish::End = wishes() => self.stop(),
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    fn is_over(&self, is_once: bool) -> bool {
        let is_late = self.over_since.is_some_and(|since| since.elapsed() > LAST_RECORDS);
        let is_late = is_late && self.keeper.is_only_recording();
        let is_ending = is_once || self.stopping_since.is_some();
        is_ending && self.children.is_empty() && (self.keeper.is_at_rest() || is_late)
    }

    fn until_next(&self) -> Duration {
        let now = Utc::now();
        let wake = self.keeper.wake(now).and_then(|at| (at - now).to_std().ok().or(Some(Duration::ZERO)));
        wake.unwrap_or(LOOK_AT_CLOCK).clamp(SHORTEST, LOOK_AT_CLOCK)
    }

    /// Carries out a step. A wish is heard meanwhile: the step gets a little more time, because what it writes is better
    /// known than not, and what it didn't get done is offered again.
    async fn perform_unless(&mut self, step: Step, wishes: &mut impl AsyncFnMut() -> Wish) -> Result<(), Error> {
        let mut heard = 0;
        let done = {
            let mut performed = Box::pin(self.perform(step));
            let mut until = None;
            loop {
                let over = async {
                    match until {
                        Some(until) => tokio::time::sleep_until(until).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    biased;
                    done = &mut performed => break done,
                    Wish::End = wishes() => {
                        heard += 1;
                        until.get_or_insert(Instant::now() + LAST_STEP);
                    }
                    () = over => break Ok(()),
                }
            }
        };
        (0..heard).for_each(|_| self.stop());
        if heard == 0 { done } else { Ok(()) }
    }

    /// Carries out a step. What the store refuses is tried again later; the error is for a run that somebody waits for.
    async fn perform(&mut self, step: Step) -> Result<(), Error> {
        match step {
            Step::Look => {
                let read = claims::read(&self.setup.store).await;
                match read {
                    Ok(seen) => {
                        self.keeper.looked(seen.claims(), Utc::now());
                        if let Written::Leased { .. } = seen {
                            self.keeper.leased();
                        }
                        tracing::debug!(schedules = self.schedules.len(), "looked at what was run");
                    }
                    Err(error) => {
                        tracing::warn!(%error, "the store doesn't say what was run; looking again");
                        self.keeper.look_later(Utc::now());
                        self.tell_of_silence(&error);
                        return Err(error);
                    }
                }
            }
            Step::Write(name) => {
                let written = self.write(&name).await;
                self.show(&name).await;
                return written;
            }
            Step::GiveUp(name) => {
                if let Some(after) = self.keeper.give_up(&name) {
                    let last = self.last.as_ref().filter(|last| last.schedule == name);
                    let ended = self.unshown.get(&name).or(last.map(|last| &last.ended)).cloned();
                    self.conclude(&name, &after, ended.unwrap_or_else(Ended::nothing));
                }
            }
            Step::Begin(name, run) => self.begin(&name, &run),
        }
        Ok(())
    }

    async fn write(&mut self, name: &str) -> Result<(), Error> {
        let now = Utc::now();
        let keeper = &self.keeper;
        let mut news = None;
        let written = claims::write(
            &self.setup.store,
            &self.setup.run,
            |lease| self.is_ours(lease),
            |claims| {
                // On every head that it is tried on, the last of which counts.
                news = None;
                let Some(proposal) = keeper.proposal(name, claims.get(name), now) else { return false };
                let Proposal { claim, news: found } = proposal;
                claims.insert(name.to_owned(), claim);
                claims::tidy(claims, &self.setup.known, now);
                news = found;
                true
            },
        );
        match written.await {
            Ok(Written::Done(claims)) => {
                self.keeper.looked(&claims, Utc::now());
                if let Some(news) = news {
                    self.tell_of_absence(name, &news);
                }
            }
            Ok(Written::Leased { holder, claims }) => {
                tracing::info!(schedule = name, holder, "another publisher is committing; waiting for it");
                self.keeper.looked(&claims, Utc::now());
                self.keeper.leased();
                self.keeper.postpone(name, Utc::now());
            }
            Err(error) => {
                self.tell_of_store(name, &error);
                tracing::warn!(schedule = name, %error, "what is run can't be recorded in the store; trying again");
                self.keeper.postpone(name, Utc::now());
                return Err(error);
            }
        }
        Ok(())
    }

    /// Somebody who asked for a run isn't to wait for that of another.
    fn refuse_overlap(&self) -> Result<(), Error> {
        let now = Utc::now();
        let kept_off = self.schedules.keys().find_map(|name| Some((name, self.keeper.is_kept_off(name, now)?)));
        let Some((name, claim)) = kept_off else { return Ok(()) };
        Err(Error::Running {
            schedule: name.clone(),
            owner: claim.by.as_ref().map(ToString::to_string).unwrap_or_default(),
            age: (now - claim.began_at).to_std().unwrap_or_default(),
        })
    }
}
