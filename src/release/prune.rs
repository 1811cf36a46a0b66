//! Prune: old releases go, and with them every blob and list that no release names any more.
//!
//! It needs no lease, because a name is never used twice: what is garbage stays garbage, and a removal that arrives
//! late harms nothing. The order is what keeps it safe. Garbage is told against one head: what the listing has, less
//! what the releases from the new *floor* on name, less what is younger than a week, which may belong to a run that is
//! still building (such a run gives up after six days). Only the roots of the history below the floor go whatever their
//! age: a run that builds on one of them gives up anyway, and a root must not stay behind what it names. Then that very
//! head is swapped for one that names the floor. A commit that was on its way expects another head from then on and
//! comes to nothing; it is merged again onto what is there, or gives up. Only then anything is removed: roots first,
//! the oldest before all, then lists, then blobs, so that whatever a crash leaves is named by nothing.

use std::time::{Duration, SystemTime};

use super::broken::{Safeguard, is_out};
use super::head::HeadRead;
use super::id::ReleaseId;
use super::progress::{Phase, Progress};
use crate::error::Error;
use crate::store::{Store, StoreError};

mod history;
mod names;
mod sweep;
#[cfg(test)]
mod tests;

pub use history::Retention;
pub use sweep::{Swept, Tally};

use history::History;
use names::Names;

/// What no release names is left alone for so long, by the store's clock. A build gives up a day earlier.
pub const LEFT_ALONE: Duration = Duration::from_hours(7 * 24);
/// How often a prune begins anew because others committed meanwhile.
const ATTEMPTS: usize = 8;
/// How often the floor is written again over a head that others change without committing.
const SWAPS: usize = 16;

/// What a prune would do, told against one state of the store.
#[derive(Debug)]
pub struct Plan {
    /// The oldest release that stays; none before the first release.
    pub floor: Option<ReleaseId>,
    /// How many committed releases stay.
    pub kept: usize,
    /// The releases that go, the oldest first, each with the bytes of its root: those below the floor, and old ones that
    /// were never committed.
    pub releases: Vec<(ReleaseId, u64)>,
    /// What goes, by kind of object.
    pub tally: Tally,
    head: HeadRead,
    garbage: Garbage,
}

/// What tells garbage from the rest.
#[derive(Debug)]
struct Garbage {
    names: Names,
    /// What was written later is left alone. It is fixed: while a prune goes on, nothing becomes old enough.
    written_before: SystemTime,
}

impl Plan {
    /// True if there is nothing to remove; a floor alone isn't worth a write.
    pub fn is_empty(&self) -> bool {
        self.tally.objects() == 0
    }
}

/// What a prune did.
#[derive(Debug)]
pub struct Pruned {
    /// The oldest release that stays.
    pub floor: Option<ReleaseId>,
    /// How many committed releases stay.
    pub kept: usize,
    /// The releases that were to go, the oldest first.
    pub releases: Vec<ReleaseId>,
    /// What went, and what couldn't be removed.
    pub swept: Swept,
}

/// Finds out what can go. `now` is the store's own clock unless it is given.
pub async fn plan(store: &Store, retention: &Retention, now: Option<SystemTime>) -> Result<Plan, Error> {
    let head = HeadRead::read(store).await?;
    let roots = history::roots(store).await?;
    let Some(now) = now.or(roots.now) else { return Err(no_clock(store)) };
    let history = History::read(store, &head.head, &roots).await?;
    let floor = history.floor(&head.head, retention, now);
    let written_before = now.checked_sub(LEFT_ALONE).unwrap_or(SystemTime::UNIX_EPOCH);
    let (kept, below) = history.split(floor.as_ref());
    // Roots beside the history are of releases that were staged and not committed. One of unknown age is young.
    let beside = roots.listed.iter().filter(|(id, _)| !kept.contains(id) && !below.contains(id));
    let (old, young): (Vec<_>, Vec<_>) =
        beside.partition(|(_, (written, _))| written.is_some_and(|written| written <= written_before));
    let young: Vec<ReleaseId> = young.into_iter().map(|(id, _)| id.clone()).collect();
    let going = below.iter().chain(old.into_iter().map(|(id, _)| id));
    let mut releases: Vec<(ReleaseId, u64)> =
        going.map(|id| (id.clone(), roots.listed.get(id).map_or(0, |(_, size)| *size))).collect();
    releases.sort();
    let garbage = Garbage { names: Names::of(store, &kept, &young).await?, written_before };
    if floor.is_none() {
        // Before the first release everything may belong to it, and with a head that was lost everything looks
        // abandoned.
        releases.clear();
    }
    let tally = match floor {
        Some(_) => sweep::count(store, &releases, &garbage).await?,
        None => Tally::default(),
    };
    Ok(Plan { floor, kept: kept.len(), releases, tally, head, garbage })
}

/// Carries a plan out. If somebody has committed since it was made, it is made again first, with the same rules.
pub async fn execute(
    store: &Store,
    retention: &Retention,
    mut plan: Plan,
    now: Option<SystemTime>,
    progress: &Progress,
) -> Result<Pruned, Error> {
    for _ in 0..ATTEMPTS {
        if !plan.is_empty() && !raise(store, &plan).await? {
            plan = self::plan(store, retention, now).await?;
            continue;
        }
        progress.enter(Phase::Remove, plan.tally.objects());
        let swept = match plan.is_empty() {
            true => Swept::default(),
            false => sweep::remove(store, &plan, progress).await?,
        };
        return Ok(Pruned {
            floor: plan.floor,
            kept: plan.kept,
            releases: plan.releases.into_iter().map(|(id, _)| id).collect(),
            swept,
        });
    }
    Err(Error::Busy { times: ATTEMPTS, left: "nothing was removed" })
}

/// Swaps the head that a plan was made against for one with its floor; false if somebody has committed since.
///
/// A head that says another thing but has the same releases makes the same plan: a lease was renewed, or an unchanged
/// run was noted. Every commit that was formed before the swap has lost its expectation all the same.
async fn raise(store: &Store, plan: &Plan) -> Result<bool, Error> {
    let mut read = plan.head.clone();
    for _ in 0..SWAPS {
        let mut next = read.head.clone();
        next.floor.clone_from(&plan.floor);
        if read.swap(store, next).await?.is_some() {
            return Ok(true);
        }
        read = HeadRead::read(store).await?;
        if !history::pins_alike(&read.head, &plan.head.head) && !is_out(Safeguard::PruneSwap) {
            tracing::debug!("somebody has committed meanwhile; looking again for what can go");
            return Ok(false);
        }
    }
    Ok(false)
}

fn no_clock(store: &Store) -> Error {
    Error::Store(StoreError {
        action: "prune",
        object: store.describe(),
        reason: "the store doesn't tell the time (its answers have no Date), so nobody knows what is old".to_owned(),
        hint: Some("does a proxy in front of it remove the header?".to_owned()),
        is_general: true,
    })
}
