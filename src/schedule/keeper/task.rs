//! One schedule: what it is doing, and when it is due.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::{AGAIN, RENEW};
use crate::release::head::claim::{Claim, RunOutcome, Trouble};
use crate::schedule::Schedule;

/// What an attempt is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Publish what the schedule names.
    Publish,
    /// Publish again what has failed.
    Failed,
    /// Finish what is committed.
    Resume,
}

/// A run: one due time, with all its attempts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// What it was due.
    pub due: DateTime<Utc>,
    /// No attempt begins after this.
    pub begin_by: DateTime<Utc>,
    /// How many attempts have begun.
    pub attempts: u32,
    /// What the next one is to do.
    pub work: Work,
    /// When its claim was last written.
    pub renewed_at: DateTime<Utc>,
    /// What people have been told of the schedule, and isn't over.
    pub trouble: Option<Trouble>,
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finish {
    /// How.
    pub outcome: RunOutcome,
    /// What another attempt would do.
    pub left: Work,
}

/// What comes after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Another attempt, after this wait.
    Again(TimeDelta),
    /// The run is over.
    Over(RunOutcome),
}

/// What came of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct After {
    /// What comes next.
    pub next: Next,
    /// How many attempts there were.
    pub attempts: u32,
    /// What people had been told before.
    pub before: Option<Trouble>,
    /// What they are to know now.
    pub now: Option<Trouble>,
}

/// What a schedule is doing here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Nothing.
    Idle,
    /// It waits for its next attempt, the first included.
    Waiting {
        /// The run.
        run: Run,
        /// When the attempt begins.
        at: DateTime<Utc>,
        /// How long it waits in all.
        wait: TimeDelta,
    },
    /// An attempt is under way.
    Working(Run),
    /// It is over, which is to be recorded.
    Ending(Run, RunOutcome),
}

/// One schedule.
pub struct Task {
    pub schedule: Arc<Schedule>,
    pub state: State,
    /// It is to run now, due or not.
    pub is_asked_for: bool,
    /// Nothing is to be done about it before.
    pub not_before: Option<DateTime<Utc>>,
    /// The last due time that was told to have been missed.
    pub told: Option<DateTime<Utc>>,
    /// What people were told that no claim says yet.
    pub unwritten: Option<Trouble>,
    claim: Option<Claim>,
    /// Since when the claim has been like that, as far as was seen.
    since: Option<DateTime<Utc>>,
}

impl Claim {
    /// True while its run hasn't come to its end.
    pub fn is_open(&self) -> bool {
        self.ended_at.is_none() && self.by.is_some()
    }
}

impl Run {
    pub fn renew_at(&self) -> DateTime<Utc> {
        self.renewed_at + RENEW
    }

    /// True also if the clock was set back, so that the others see that somebody is there.
    pub fn is_to_be_renewed(&self, now: DateTime<Utc>) -> bool {
        now >= self.renew_at() || now < self.renewed_at - RENEW
    }

    /// Its claim as it is now.
    pub fn recorded(&self, claim: Claim, now: DateTime<Utc>) -> Claim {
        Claim { renewed_at: now, attempts: self.attempts, trouble: self.trouble, ..claim }
    }
}

impl Task {
    pub fn new(schedule: Arc<Schedule>) -> Task {
        let (state, is_asked_for) = (State::Idle, false);
        Task { schedule, state, is_asked_for, not_before: None, told: None, unwritten: None, claim: None, since: None }
    }

    /// The claim as it was last seen.
    pub fn claim(&self) -> Option<&Claim> {
        self.claim.as_ref()
    }

    pub fn see(&mut self, claim: Option<Claim>, now: DateTime<Utc>) {
        if self.since.is_none_or(|since| since > now) || self.claim != claim {
            self.since = Some(now);
        }
        self.claim = claim;
    }

    /// What people have been told, and isn't over.
    pub fn trouble(&self) -> Option<Trouble> {
        self.unwritten.or(self.claim.as_ref()?.trouble)
    }

    /// For how long a claim has been seen as it is.
    pub fn unchanged_for(&self, claim: &Claim, now: DateTime<Utc>) -> TimeDelta {
        let is_known = self.claim.as_ref() == Some(claim);
        self.since.filter(|_| is_known).map_or(TimeDelta::zero(), |since| now - since)
    }

    /// True if its next step was put off, and not by a clock that was set back since.
    pub fn is_postponed(&self, now: DateTime<Utc>) -> bool {
        self.not_before.is_some_and(|at| now < at && at - now <= AGAIN)
    }

    /// Begins the run that was claimed.
    pub fn begin(&mut self, claim: &Claim, now: DateTime<Utc>) {
        let start = if self.is_asked_for { now } else { self.start(claim.due) };
        let begin_by = start + delta(self.schedule.starting_deadline);
        let (due, renewed_at) = (claim.due, claim.renewed_at);
        let trouble = self.unwritten.take().or(claim.trouble);
        let run = Run { due, begin_by, attempts: 0, work: Work::Publish, renewed_at, trouble };
        self.is_asked_for = false;
        self.state = State::Waiting { run, at: now, wait: TimeDelta::zero() };
    }

    /// When a run begins that is due at an instant: the part of the jitter is the same for everybody who asks.
    pub fn start(&self, due: DateTime<Utc>) -> DateTime<Utc> {
        let mut hasher = DefaultHasher::new();
        (&self.schedule.name, due.timestamp()).hash(&mut hasher);
        let part = u32::try_from(hasher.finish() % 1000).unwrap_or_default();
        due + delta(self.schedule.jitter * part / 1000)
    }

    /// True if the run of a due time may begin now.
    pub fn may_begin(&self, due: DateTime<Utc>, now: DateTime<Utc>) -> bool {
        let start = self.start(due);
        start <= now && now <= start + delta(self.schedule.starting_deadline)
    }

    /// The last due time after an instant whose run may begin now.
    pub fn latest(&self, after: DateTime<Utc>, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let reach = delta(self.schedule.starting_deadline + self.schedule.jitter);
        let dues = self.schedule.due.from(after.max(now - reach - TimeDelta::seconds(1)));
        dues.map(|due| due.at).take_while(|due| *due <= now).filter(|due| self.may_begin(*due, now)).last()
    }

    /// The last due time of all; now if there was none within a week.
    pub fn last_due(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        let dues = self.schedule.due.from(now - TimeDelta::weeks(1)).map(|due| due.at);
        dues.take_while(|due| *due <= now).last().unwrap_or(now)
    }

    /// When the next run begins for which nothing has happened yet.
    pub fn next_start(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let claimed = self.claim.as_ref().map_or(now, |claim| claim.due);
        let mut soonest: Option<DateTime<Utc>> = None;
        for due in self.schedule.due.from(claimed.max(now - delta(self.schedule.jitter))) {
            if soonest.is_some_and(|soonest| due.at >= soonest) {
                break;
            }
            let start = self.start(due.at);
            if start > now {
                soonest = Some(soonest.map_or(start, |soonest| soonest.min(start)));
            }
        }
        soonest
    }

    /// A due time that nobody has claimed, and for which it is too late; each is named once.
    pub fn missed(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let known = self.claim.as_ref()?.due.max(self.told.unwrap_or_default());
        let due = self.schedule.due.after(known)?.at;
        (self.start(due) + delta(self.schedule.starting_deadline) < now).then_some(due)
    }

    pub fn ended(&mut self, finish: Finish, is_stopping: bool, now: DateTime<Utc>) -> Option<After> {
        let State::Working(run) = &self.state else { return None };
        let mut run = run.clone();
        let outcome = match (finish.outcome, run.work) {
            // An earlier attempt has published the rest.
            (RunOutcome::Failed, Work::Failed | Work::Resume) => RunOutcome::Behind,
            (outcome, _) => outcome,
        };
        let is_worth_it = matches!(outcome, RunOutcome::Failed | RunOutcome::Behind | RunOutcome::Locked);
        let doubled = 2_u32.saturating_pow(run.attempts.saturating_sub(1));
        let wait = delta(self.schedule.retry_after.saturating_mul(doubled));
        let is_again = is_worth_it && !is_stopping && run.attempts <= self.schedule.retries;
        let is_again = is_again && wait <= TimeDelta::days(7) && now + wait <= run.begin_by;
        let before = run.trouble;
        run.trouble = match outcome {
            RunOutcome::Done => None,
            RunOutcome::Refused => Some(Trouble::Refusal),
            RunOutcome::Stopped => before,
            // Another publisher is no trouble as long as there is time left.
            RunOutcome::Locked if is_again => before,
            _ => Some(Trouble::Failure),
        };
        let after = |next| Some(After { next, attempts: run.attempts, before, now: run.trouble });
        if is_again {
            let after = after(Next::Again(wait));
            run.work = finish.left;
            self.state = State::Waiting { run, at: now + wait, wait };
            return after;
        }
        // Whoever comes next has the tries that are left.
        let outcome = if is_stopping && is_worth_it { RunOutcome::Stopped } else { outcome };
        let after = after(Next::Over(outcome));
        self.state = State::Ending(run, outcome);
        after
    }
}

fn delta(length: Duration) -> TimeDelta {
    TimeDelta::from_std(length).unwrap_or(TimeDelta::MAX)
}
