//! Resuming: what a committed release still lacks is done from the store alone, without a database.

use std::sync::Arc;

use super::activate::Activated;
use super::base::Base;
use super::doubt::settle_doubt;
use super::id::ReleaseId;
use super::lost::lost;
use super::progress::{Phase, Progress};
use super::publish::Job;
use super::purge::{self, Purged};
use super::table::{self, Tabled};
use super::turn::Turn;
use super::verify::Settled;
use crate::error::Error;
use crate::store::Store;

/// What resuming did.
#[derive(Debug)]
pub struct Resumed {
    /// The committed release; none before the first.
    pub release: Option<ReleaseId>,
    /// True if there was something to finish.
    pub was_unfinished: bool,
    /// What activation did.
    pub activated: Activated,
    /// What came of a look at paths that a late request may have changed, if one was due.
    pub settled: Option<Settled>,
    /// What came of telling the edges.
    pub purge: Purged,
    /// What became of the fallback table.
    pub table: Tabled,
}

/// Finishes the committed release. With `take_over`, a lease that hasn't expired counts as that of a dead publisher.
pub async fn resume(job: &Job, store: &Arc<Store>, take_over: bool, progress: &Progress) -> Result<Resumed, Error> {
    progress.enter(Phase::Prepare, 0);
    let mut base = Base::read(store).await?;
    if base.head().desired.is_none()
        && let Ok(Some(lost)) = lost(store, job.table.as_ref()).await
    {
        return Err(lost);
    }
    let mut resumed = Resumed {
        release: base.head().desired.clone(),
        was_unfinished: false,
        activated: Activated::default(),
        settled: None,
        purge: Purged::default(),
        table: Tabled::default(),
    };
    // Who took a lease to mend paths has named them, and what an edge is told of them before that has ended doesn't count.
    let is_mending = base.head().lease.is_some() && !base.head().mended.is_empty();
    if base.is_unfinished() || is_mending || (take_over && base.head().lease.is_some()) {
        progress.enter(Phase::Activate, 0);
        let turn = Turn::take(job, store, base.clone(), take_over, progress).await?;
        resumed.release.clone_from(&turn.base.head().desired);
        resumed.was_unfinished = turn.base.is_unfinished();
        resumed.activated = turn.tenure.roll_forward(turn.base.manifest.as_deref(), progress).await?;
        base = turn.end().read_again(store).await?;
    }
    let (_, settled) = settle_doubt(job, store, base, progress).await?;
    resumed.settled = settled;
    let purged = purge::catch_up(store, &job.cdn, job.purge, &resumed.activated, progress);
    let tabled = table::catch_up(store, job.table.as_ref(), None, progress);
    (resumed.purge, resumed.table) = tokio::join!(purged, tabled);
    progress.enter(Phase::Done, 0);
    Ok(resumed)
}
