//! What to do next: a state machine that knows schedules, claims and runs, and neither a clock nor a store nor a process.
//!
//! Whoever drives it says what time it is, carries out its steps, and tells it what came of them. So everything that
//! takes a night happens in a test within a moment.
//!
//! The rules: a due time is run if it is later than the claimed one and not later than its starting deadline ago, and of
//! several such times only the last. It is claimed in the head of the store before its run begins; the claim is renewed
//! while the run goes on, retries included, and ended with it. A claim that isn't ended keeps everybody else off, so that
//! runs of a schedule never overlap; the due times that pass meanwhile are one run afterwards, if one of them still may
//! begin. If whoever made the claim is gone, its run may be begun again within the deadline. Gone means: a process of
//! this machine that isn't there any more, or a claim that nobody has renewed for five minutes while we looked on, by our
//! clock alone, because another machine's may be wrong.
//!
//! A run that never was, or was lost, is news too. It is written to the claim before it is told, so that of several who
//! look on one tells it; and once people know of trouble, they aren't told again before all is well. A schedule that is
//! suspended misses nothing, for which its claim says that it is: whoever runs it later can't know otherwise.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};

use super::Schedule;
use crate::release::claims::Claims;
use crate::release::head::claim::{Claim, Owner, RunOutcome, Trouble};

mod task;
#[cfg(test)]
mod tests;
mod verdict;

pub use task::{After, Finish, Missed, Next, Run, Work};
use task::{State, Task};
use verdict::Verdict;
pub use verdict::{Absence, News, Proposal};

/// How often a claim is renewed while its run goes on.
const RENEW: TimeDelta = TimeDelta::minutes(1);
/// For how long a claim must not have been renewed for its owner to count as gone.
const GONE: TimeDelta = TimeDelta::minutes(5);
/// How soon a step that couldn't be carried out is tried again, and a claim of another looked at.
const AGAIN: TimeDelta = TimeDelta::seconds(15);
/// How late a run, or the record of its end, may be before people are told that the store keeps it off.
const LATE: TimeDelta = TimeDelta::minutes(5);
/// A claim that is further in the future than any clock is set back comes from a clock that was wrong.
const WRONG_CLOCK: TimeDelta = TimeDelta::days(2);

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Read the claims, and tell them by [`Keeper::looked`].
    Look,
    /// Write to the head what [`Keeper::proposal`] says, and tell by [`Keeper::looked`] what is there then.
    Write(String),
    /// Begin an attempt, and tell its end by [`Keeper::ended`].
    Begin(String, Run),
    /// End a run whose next attempt would begin too late, by [`Keeper::give_up`].
    GiveUp(String),
}

/// What a store that isn't there keeps a schedule from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// A run that is due doesn't begin.
    FromBeginning,
    /// A run is over, and nobody else can know.
    FromRecording,
}

/// Tells whether the process of an owner is there, if that can be told.
type IsAlive = Box<dyn Fn(&Owner) -> Option<bool> + Send + Sync>;

/// The state of all schedules.
pub struct Keeper {
    me: Owner,
    is_alive: IsAlive,
    /// True where nothing keeps two writers of the head apart: then one run at a time, and no write while it goes on.
    is_alone: bool,
    is_stopping: bool,
    has_looked: bool,
    /// Where the claims couldn't be read.
    look_at: Option<DateTime<Utc>>,
    /// Since when they couldn't, from the beginning on.
    unread_since: Option<DateTime<Utc>>,
    tasks: BTreeMap<String, Task>,
}

impl Keeper {
    /// None of them is running. `is_alive` tells whether the process of an owner is there, if that can be told.
    pub fn new(
        me: Owner,
        schedules: impl IntoIterator<Item = Arc<Schedule>>,
        is_alone: bool,
        is_alive: impl Fn(&Owner) -> Option<bool> + Send + Sync + 'static,
    ) -> Keeper {
        let tasks = schedules.into_iter().map(|schedule| (schedule.name.clone(), Task::new(schedule))).collect();
        Keeper {
            me,
            is_alive: Box::new(is_alive),
            is_alone,
            is_stopping: false,
            has_looked: false,
            look_at: None,
            unread_since: None,
            tasks,
        }
    }

    /// Asks for one run now, due or not, of a suspended schedule too.
    pub fn ask(&mut self, name: &str) {
        if let Some(task) = self.tasks.get_mut(name) {
            task.is_asked_for = true;
        }
    }

    /// Begins nothing from now on.
    pub fn stop(&mut self) {
        self.is_stopping = true;
        for task in self.tasks.values_mut() {
            task.is_asked_for = false;
            if let State::Waiting { run, .. } = &task.state {
                task.state = State::Ending(run.clone(), RunOutcome::Stopped);
            }
        }
    }

    /// True if nothing goes on, is to be recorded or was asked for.
    pub fn is_at_rest(&self) -> bool {
        self.tasks.values().all(|task| matches!(task.state, State::Idle) && !task.is_asked_for)
    }

    /// What is to be done now.
    pub fn steps(&mut self, now: DateTime<Utc>) -> Vec<Step> {
        if !self.has_looked {
            let is_later = self.look_at.is_some_and(|at| now < at && at - now <= AGAIN);
            return if self.is_stopping || is_later { Vec::new() } else { vec![Step::Look] };
        }
        let mut steps: Vec<Step> = Vec::new();
        for name in self.tasks.keys().cloned().collect::<Vec<_>>() {
            steps.extend(self.step(&name, now).filter(|step| !steps.contains(step)));
            if self.is_alone && !steps.is_empty() {
                // What comes of it may keep the others off.
                break;
            }
        }
        steps
    }

    fn step(&mut self, name: &str, now: DateTime<Utc>) -> Option<Step> {
        let is_alone = self.is_alone;
        let may_begin = self.may_begin(name);
        let verdict = self.tasks.get(name).map(|task| self.verdict(task, task.claim(), now))?;
        let task = self.tasks.get_mut(name)?;
        if task.is_postponed(now) {
            return None;
        }
        if task.is_too_late(now) {
            return Some(Step::GiveUp(name.to_owned()));
        }
        let write = || Some(Step::Write(name.to_owned()));
        match &mut task.state {
            State::Idle if !may_begin => None,
            State::Idle => match verdict {
                Verdict::Busy => Some(Step::Look),
                Verdict::Nothing => None,
                _ => write(),
            },
            State::Waiting { run, .. } | State::Working(run) if !is_alone && run.is_to_be_renewed(now) => write(),
            State::Waiting { run, at, wait } => {
                // A clock that was set back mustn't make the wait longer.
                *at = (*at).min(now + *wait);
                (now >= *at).then(|| Step::Begin(name.to_owned(), run.clone()))
            }
            State::Working(_) => None,
            State::Ending(..) => write(),
        }
    }

    /// Whether anything may be done about an idle schedule.
    fn may_begin(&self, name: &str) -> bool {
        let others = || self.tasks.iter().filter(|(other, _)| *other != name);
        let is_kept_off = self.is_alone && others().any(|(_, task)| !matches!(task.state, State::Idle));
        !self.is_stopping && !is_kept_off
    }

    /// When to ask for steps again, if nothing happens before.
    pub fn wake(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        if !self.has_looked {
            return Some(self.look_at.unwrap_or(now));
        }
        let soonest = |(name, task): (&String, &Task)| {
            let soonest = match &task.state {
                State::Idle if !self.may_begin(name) => return None,
                State::Idle => match self.verdict(task, task.claim(), now) {
                    Verdict::Nothing if task.schedule.suspend => return None,
                    Verdict::Nothing => task.next_start(now)?,
                    _ => now,
                },
                // Alone, nothing is written meanwhile.
                State::Waiting { at, .. } if self.is_alone => *at,
                State::Waiting { run, .. } if run.is_to_be_written => now,
                State::Waiting { run, at, .. } => run.renew_at().min(*at),
                State::Working(run) if !self.is_alone => run.renew_at(),
                State::Working(_) => return None,
                State::Ending(..) => now,
            };
            Some(task.not_before.map_or(soonest, |at| at.max(soonest)))
        };
        self.tasks.iter().filter_map(soonest).min()
    }

    /// What to write to the head for a schedule whose claim there is this one; nothing if it is to be left as it is.
    pub fn proposal(&self, name: &str, claim: Option<&Claim>, now: DateTime<Utc>) -> Option<Proposal> {
        let task = self.tasks.get(name)?;
        let ours = || claim.filter(|claim| self.is_ours(claim)).cloned();
        match &task.state {
            State::Idle => self.judged(task, self.verdict(task, claim, now), claim, now),
            State::Waiting { run, .. } | State::Working(run) => ours().map(|claim| run.recorded(claim, now).into()),
            State::Ending(run, outcome) => ours().map(|claim| {
                let claim = run.recorded(claim, now);
                Claim { ended_at: Some(now), outcome: Some(*outcome), ..claim }.into()
            }),
        }
    }

    fn is_ours(&self, claim: &Claim) -> bool {
        claim.is_open() && claim.by.as_ref().is_some_and(|by| by.is(&self.me))
    }

    /// Takes in the claims as they are in the head, after they were read or written.
    pub fn looked(&mut self, claims: &Claims, now: DateTime<Utc>) {
        self.has_looked = true;
        let me = &self.me;
        for (name, task) in &mut self.tasks {
            task.see(claims.get(name).cloned(), now);
            let is_mine = |claim: &&Claim| claim.is_open() && claim.by.as_ref().is_some_and(|by| by.is(me));
            let ours = task.claim().filter(is_mine).cloned();
            match (&mut task.state, ours) {
                (State::Idle, Some(claim)) => task.begin(&claim, now),
                // It was recorded, or another has taken over since.
                (State::Ending(run, _), None) => {
                    let trouble = run.trouble.filter(|_| run.is_lost);
                    task.leave(trouble);
                }
                (State::Waiting { run, .. } | State::Working(run), Some(claim)) => {
                    run.renewed_at = claim.renewed_at;
                    run.is_to_be_written &= claim.trouble != run.trouble;
                }
                // Another has taken over.
                (State::Waiting { run, .. }, None) => {
                    let trouble = run.trouble;
                    task.leave(trouble);
                }
                (State::Working(run), None) => {
                    run.renewed_at = now;
                    run.is_lost = true;
                }
                _ => {}
            }
        }
        let is_busy = |task: &Task| matches!(self.verdict(task, task.claim(), now), Verdict::Busy);
        let idle = self.tasks.iter().filter(|(_, task)| matches!(task.state, State::Idle));
        let busy: Vec<String> = idle.filter(|(_, task)| is_busy(task)).map(|(name, _)| name.clone()).collect();
        for name in busy {
            if let Some(task) = self.tasks.get_mut(&name) {
                task.not_before = Some(now + AGAIN);
            }
        }
    }

    /// Takes in that another publisher holds the lease, under which nobody renews a claim.
    pub fn leased(&mut self) {
        self.tasks.values_mut().for_each(Task::watch_anew);
    }

    /// Takes in that the claims couldn't be read.
    pub fn look_later(&mut self, now: DateTime<Utc>) {
        self.look_at = Some(now + AGAIN);
        self.unread_since.get_or_insert(now);
        for task in self.tasks.values_mut() {
            task.not_before = Some(now + AGAIN);
            task.watch_anew();
        }
    }

    /// Tries the next step of a schedule a little later: the store is away, or another publisher is in the way.
    pub fn postpone(&mut self, name: &str, now: DateTime<Utc>) {
        if let Some(task) = self.tasks.get_mut(name) {
            task.not_before = Some(now + AGAIN);
            task.watch_anew();
        }
    }

    /// The schedules of which people are to be told, once, that nobody can say whether they run: the store hasn't been
    /// there for long, from the beginning on.
    pub fn unread_for_long(&mut self, now: DateTime<Utc>) -> Vec<String> {
        let is_long = !self.has_looked && self.unread_since.is_some_and(|since| now - since >= LATE);
        let untold = |task: &&mut Task| is_long && !task.schedule.suspend && task.trouble().is_none();
        let untold = self.tasks.values_mut().filter(untold).map(|task| {
            task.unwritten = Some(Trouble::Failure);
            task.schedule.name.clone()
        });
        untold.collect()
    }

    /// What the store has kept a schedule from for long, once, after it didn't take what was to be written.
    pub fn kept_by_store(&mut self, name: &str, now: DateTime<Utc>) -> Option<Kept> {
        let verdict = self.tasks.get(name).map(|task| self.verdict(task, task.claim(), now))?;
        let task = self.tasks.get_mut(name)?;
        match (&task.state, verdict) {
            (State::Idle, Verdict::Run(due)) => {
                let is_news = now - task.start(due) >= LATE && task.trouble().is_none();
                is_news.then(|| {
                    task.unwritten = Some(Trouble::Failure);
                    Kept::FromBeginning
                })
            }
            (State::Ending(..), _) => task.is_long_unrecorded(now).then_some(Kept::FromRecording),
            _ => None,
        }
    }

    /// Takes in that an attempt was begun.
    pub fn begun(&mut self, name: &str) {
        if let Some(task) = self.tasks.get_mut(name)
            && let State::Waiting { run, .. } = &task.state
        {
            task.state = State::Working(Run { attempts: run.attempts + 1, ..run.clone() });
        }
    }

    /// Takes in how an attempt ended, and says what comes of that.
    pub fn ended(&mut self, name: &str, finish: Finish, now: DateTime<Utc>) -> Option<After> {
        let is_stopping = self.is_stopping;
        self.tasks.get_mut(name)?.ended(finish, is_stopping, now)
    }

    /// Ends a run whose next attempt would begin too late, and says what comes of that.
    pub fn give_up(&mut self, name: &str) -> Option<After> {
        self.tasks.get_mut(name)?.give_up()
    }

    /// True if a schedule waits for its next attempt.
    pub fn is_waiting(&self, name: &str) -> bool {
        self.tasks.get(name).is_some_and(|task| matches!(task.state, State::Waiting { .. }))
    }

    /// True if nothing is left to do but to record what has ended.
    pub fn is_only_recording(&self) -> bool {
        let is_over = |task: &Task| matches!(task.state, State::Idle | State::Ending(..)) && !task.is_asked_for;
        self.tasks.values().all(is_over)
    }

    /// True if another process may hold a claim of this schedule.
    pub fn is_kept_off(&self, name: &str, now: DateTime<Utc>) -> Option<&Claim> {
        let task = self.tasks.get(name)?;
        task.claim().filter(|claim| matches!(self.verdict(task, Some(claim), now), Verdict::Busy))
    }
}
