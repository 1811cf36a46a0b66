//! What is to become of a schedule that isn't running here, given its claim.

use chrono::{DateTime, Utc};

use super::task::{Missed, Task};
use super::{GONE, Keeper, WRONG_CLOCK};
use crate::release::head::claim::{Claim, Owner, RunOutcome, Trouble};

/// What is to become of a schedule.
pub enum Verdict {
    /// Nobody has seen it before: from now on it is watched.
    Note,
    /// This due time is to be run.
    Run(DateTime<Utc>),
    /// Another is at it, or may be.
    Busy,
    /// The owner of this claim is gone, and it is too late to run it again.
    Bury(Claim),
    /// Nothing ran at these due times, and it is too late to.
    Miss(Claim, Missed),
    /// It is suspended, and isn't to be missed from now on.
    Suspend(Claim),
    /// It isn't suspended any more.
    Resume(Claim),
    /// It isn't due.
    Nothing,
}

/// Something that people are to know and no attempt tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    /// What.
    pub what: Absence,
    /// True if they haven't been told of trouble before.
    pub is_first: bool,
}

/// A run that never was, or never came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Absence {
    /// Whoever ran what was due then is gone.
    Lost(DateTime<Utc>, Option<Owner>),
    /// Nothing ran.
    Missed(Missed),
}

/// What is to be written to the head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// The claim.
    pub claim: Claim,
    /// What people are to know once that is written, so that of several who could say it one does.
    pub news: Option<News>,
}

impl From<Claim> for Proposal {
    fn from(claim: Claim) -> Proposal {
        Proposal { claim, news: None }
    }
}

impl Keeper {
    pub(super) fn verdict(&self, task: &Task, claim: Option<&Claim>, now: DateTime<Utc>) -> Verdict {
        if task.schedule.suspend && !task.is_asked_for {
            let ended = claim.filter(|claim| !claim.suspended && !claim.is_open());
            return ended.map_or(Verdict::Nothing, |claim| Verdict::Suspend(claim.clone()));
        }
        let Some(claim) = claim.filter(|claim| claim.is_open() || claim.due <= now + WRONG_CLOCK) else {
            return if task.is_asked_for { Verdict::Run(task.last_due(now)) } else { Verdict::Note };
        };
        let is_open = claim.is_open();
        if is_open && !self.is_gone(task, claim) {
            return Verdict::Busy;
        }
        if task.is_asked_for {
            return Verdict::Run(task.last_due(now).max(claim.due));
        }
        // What was begun and not brought to its end may be begun again.
        let is_unfinished = is_open || claim.outcome == Some(RunOutcome::Stopped);
        let again = (is_unfinished && task.may_begin(claim.due, now)).then_some(claim.due);
        match task.latest(claim.due, now).or(again) {
            Some(due) => Verdict::Run(due),
            None if is_open => Verdict::Bury(claim.clone()),
            None if claim.suspended => Verdict::Resume(claim.clone()),
            None => match task.missed(claim.due, now) {
                Some(missed) => Verdict::Miss(claim.clone(), missed),
                None => Verdict::Nothing,
            },
        }
    }

    /// What a verdict about an idle schedule means for its claim.
    pub(super) fn judged(
        &self,
        task: &Task,
        verdict: Verdict,
        claim: Option<&Claim>,
        now: DateTime<Utc>,
    ) -> Option<Proposal> {
        let is_first = task.unwritten.or(claim.and_then(|claim| claim.trouble)) != Some(Trouble::Failure);
        let absent = |claim: Claim, outcome, what| {
            // Where nothing ran, the last run ended when it did.
            let ended_at = claim.ended_at.or(Some(now));
            let claim = Claim { ended_at, outcome: Some(outcome), trouble: Some(Trouble::Failure), ..claim };
            Proposal { claim, news: Some(News { what, is_first }) }
        };
        Some(match verdict {
            Verdict::Note => noted(claim, now).into(),
            Verdict::Run(due) => claimed(claim, due, &self.me, now).into(),
            Verdict::Bury(claim) => {
                let what = Absence::Lost(claim.due, claim.by.clone());
                absent(claim, RunOutcome::Lost, what)
            }
            Verdict::Miss(claim, missed) => {
                let claim = Claim { due: missed.last, ..claim };
                absent(claim, RunOutcome::Missed, Absence::Missed(missed))
            }
            Verdict::Suspend(claim) => Claim { suspended: true, ..claim }.into(),
            Verdict::Resume(claim) => Claim { due: task.last_over(claim.due, now), suspended: false, ..claim }.into(),
            Verdict::Busy | Verdict::Nothing => return None,
        })
    }

    /// True if nobody will end a claim any more. One of our own that we aren't at is such.
    fn is_gone(&self, task: &Task, claim: &Claim) -> bool {
        let Some(owner) = &claim.by else { return true };
        if owner.is(&self.me) {
            return true;
        }
        // A process of this machine that is there isn't gone, however long the store kept it from renewing its claim.
        (self.is_alive)(owner).map_or_else(|| task.unchanged_for(claim) >= GONE, |is_alive| !is_alive)
    }
}

/// The claim of a schedule that is watched from now on.
fn noted(claim: Option<&Claim>, now: DateTime<Utc>) -> Claim {
    Claim {
        due: now,
        by: None,
        began_at: now,
        renewed_at: now,
        ended_at: Some(now),
        outcome: None,
        attempts: 0,
        trouble: claim.and_then(|claim| claim.trouble),
        suspended: false,
    }
}

/// The claim of a run that is about to begin.
fn claimed(claim: Option<&Claim>, due: DateTime<Utc>, me: &Owner, now: DateTime<Utc>) -> Claim {
    Claim { due, by: Some(me.clone()), ended_at: None, ..noted(claim, now) }
}
