//! One schedule: what it is doing, and when it is due.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest as _, Sha256};

use super::{AGAIN, LATE, RENEW};
use crate::release::head::claim::{Claim, RunOutcome, Trouble};
use crate::schedule::Schedule;

/// The most due times that are looked through at once for those that were missed; the others come with the next look.
const MOST_MISSED: usize = 2000;

/// Due times for which nothing ran, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missed {
    /// The first.
    pub first: DateTime<Utc>,
    /// The last.
    pub last: DateTime<Utc>,
    /// How many there are.
    pub times: usize,
}

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
    /// How the last attempt ended.
    pub outcome: Option<RunOutcome>,
    /// True once somebody else has its claim: an attempt that goes on does no harm, and no other begins here.
    pub is_lost: bool,
    /// True while people know more than the claim says.
    pub is_to_be_written: bool,
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
    /// What people were told that no claim says yet.
    pub unwritten: Option<Trouble>,
    /// Since when its end couldn't be recorded, and whether people were told.
    unrecorded: Option<(DateTime<Utc>, bool)>,
    claim: Option<Claim>,
    /// For how long the claim was seen to be like that. Only looks that came off count, and no more for each than lies
    /// between two of them, because a clock may be set and a machine may sleep.
    unchanged: TimeDelta,
    /// When the last of these looks was.
    looked_at: Option<DateTime<Utc>>,
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
        self.is_to_be_written || now >= self.renew_at() || now < self.renewed_at - RENEW
    }

    /// Its claim as it is now.
    pub fn recorded(&self, claim: Claim, now: DateTime<Utc>) -> Claim {
        Claim { renewed_at: now, attempts: self.attempts, trouble: self.trouble, ..claim }
    }
}

impl Task {
    pub fn new(schedule: Arc<Schedule>) -> Task {
        Task {
            schedule,
            state: State::Idle,
            is_asked_for: false,
            not_before: None,
            unwritten: None,
            unrecorded: None,
            claim: None,
            unchanged: TimeDelta::zero(),
            looked_at: None,
        }
    }

    /// The claim as it was last seen.
    pub fn claim(&self) -> Option<&Claim> {
        self.claim.as_ref()
    }

    pub fn see(&mut self, claim: Option<Claim>, now: DateTime<Utc>) {
        let since_look = self.looked_at.map_or(TimeDelta::zero(), |at| now - at);
        let is_same = self.claim == claim;
        self.unchanged = match is_same {
            true => self.unchanged + since_look.clamp(TimeDelta::zero(), AGAIN * 2),
            false => TimeDelta::zero(),
        };
        let is_well = claim.as_ref().is_some_and(|claim| claim.outcome == Some(RunOutcome::Done));
        let is_written = claim.as_ref().is_some_and(|claim| claim.trouble == self.unwritten);
        if is_written || !is_same && self.claim.is_some() && is_well {
            // Or somebody else's run has ended well since.
            self.unwritten = None;
        }
        self.looked_at = Some(now);
        self.claim = claim;
        self.unrecorded = None;
    }

    /// True, once, if the end of its run couldn't be recorded for long.
    pub fn is_long_unrecorded(&mut self, now: DateTime<Utc>) -> bool {
        let (since, is_told) = self.unrecorded.get_or_insert((now, false));
        let is_news = now - *since >= LATE && !*is_told;
        *is_told |= is_news;
        is_news
    }

    /// Counts anew how long the claim stays as it is: nobody could have renewed it.
    pub fn watch_anew(&mut self) {
        (self.unchanged, self.looked_at) = (TimeDelta::zero(), None);
    }

    /// Leaves a run to whoever has its claim by now.
    pub fn leave(&mut self, trouble: Option<Trouble>) {
        let is_well = self.claim().is_some_and(|claim| claim.outcome == Some(RunOutcome::Done));
        self.unwritten = trouble.filter(|_| !is_well);
        self.state = State::Idle;
    }

    /// What people have been told, and isn't over.
    pub fn trouble(&self) -> Option<Trouble> {
        self.unwritten.or_else(|| self.claim.as_ref()?.trouble)
    }

    /// For how long a claim has been seen as it is.
    pub fn unchanged_for(&self, claim: &Claim) -> TimeDelta {
        if self.claim.as_ref() == Some(claim) { self.unchanged } else { TimeDelta::zero() }
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
        let run = Run {
            due,
            begin_by,
            attempts: 0,
            work: Work::Publish,
            renewed_at,
            trouble,
            outcome: None,
            is_lost: false,
            is_to_be_written: false,
        };
        self.is_asked_for = false;
        self.state = State::Waiting { run, at: now, wait: TimeDelta::zero() };
    }

    /// When a run begins that is due at an instant: the part of the jitter is the same for everybody who asks,
    /// whatever compiler made the program.
    pub fn start(&self, due: DateTime<Utc>) -> DateTime<Utc> {
        let digest = Sha256::digest(format!("{} {}", self.schedule.name, due.timestamp()));
        let part = digest.iter().take(4).fold(0, |part, byte| part << 8 | u32::from(*byte)) % 1000;
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

    /// The due times after an instant for which it is too late.
    pub fn missed(&self, after: DateTime<Utc>, now: DateTime<Utc>) -> Option<Missed> {
        let dues = self.schedule.due.from(after).map(|due| due.at).take(MOST_MISSED);
        let is_over = |due: &DateTime<Utc>| self.start(*due) + delta(self.schedule.starting_deadline) < now;
        dues.take_while(is_over).fold(None, |missed: Option<Missed>, due| {
            let (first, times) = missed.map_or((due, 0), |missed| (missed.first, missed.times));
            Some(Missed { first, last: due, times: times + 1 })
        })
    }

    /// An instant, not before this one, up to which it is too late for everything that was due.
    pub fn last_over(&self, after: DateTime<Utc>, now: DateTime<Utc>) -> DateTime<Utc> {
        let reach = delta(self.schedule.starting_deadline + self.schedule.jitter);
        let after = after.max(now - reach - TimeDelta::seconds(1));
        self.missed(after, now).map_or(after, |missed| missed.last)
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
        let is_again = is_worth_it && !is_stopping && !run.is_lost && run.attempts <= self.schedule.retries;
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
        run.outcome = Some(outcome);
        run.is_to_be_written = run.trouble != before;
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

    /// True if the run waits for an attempt that would begin too late: the machine slept, or the store was away.
    pub fn is_too_late(&self, now: DateTime<Utc>) -> bool {
        matches!(&self.state, State::Waiting { run, .. } if run.attempts > 0 && now > run.begin_by)
    }

    /// Ends the run as its last attempt did.
    pub fn give_up(&mut self) -> Option<After> {
        let State::Waiting { run, .. } = &self.state else { return None };
        let mut run = run.clone();
        let outcome = run.outcome.unwrap_or(RunOutcome::Failed);
        let before = run.trouble;
        run.trouble = before.or(Some(Trouble::Failure));
        let after = After { next: Next::Over(outcome), attempts: run.attempts, before, now: run.trouble };
        self.state = State::Ending(run, outcome);
        Some(after)
    }
}

fn delta(length: Duration) -> TimeDelta {
    TimeDelta::from_std(length).unwrap_or(TimeDelta::MAX)
}
