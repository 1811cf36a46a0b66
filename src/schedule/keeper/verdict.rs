//! What is to become of a schedule that isn't running here, given its claim.

use chrono::{DateTime, Utc};

use super::task::Task;
use super::{GONE, Keeper, WRONG_CLOCK};
use crate::release::head::claim::{Claim, Owner, RunOutcome};

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
    /// It isn't due.
    Nothing,
}

impl Keeper {
    pub(super) fn verdict(&self, task: &Task, claim: Option<&Claim>, now: DateTime<Utc>) -> Verdict {
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
            None => Verdict::Nothing,
        }
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
pub fn noted(claim: Option<&Claim>, now: DateTime<Utc>) -> Claim {
    Claim {
        due: now,
        by: None,
        began_at: now,
        renewed_at: now,
        ended_at: Some(now),
        outcome: None,
        attempts: 0,
        trouble: claim.and_then(|claim| claim.trouble),
    }
}

/// The claim of a run that is about to begin.
pub fn claimed(claim: Option<&Claim>, due: DateTime<Utc>, me: &Owner, now: DateTime<Utc>) -> Claim {
    Claim { due, by: Some(me.clone()), ended_at: None, ..noted(claim, now) }
}
