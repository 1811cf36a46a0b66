//! Rollback: a new release with the documents of an older one, from the store alone.
//!
//! What is to be shown and what is to go are fixed when it is ordered: if somebody publishes meanwhile, nothing happens
//! and that is said. A rollback goes over a release that couldn't be finished, because it may be the way out of that.

use std::sync::Arc;

use super::base::Base;
use super::catalogue;
use super::commit::commit;
use super::draft::{Draft, committed_catalogue};
use super::head::Head;
use super::id::ReleaseId;
use super::manifest::{ChangeKind, Kind, Manifest, Root};
use super::progress::{Phase, Progress};
use super::publish::Job;
use super::report::{Report, Seconds};
use super::restore::Restoring;
use crate::error::Error;
use crate::store::Store;

/// What a rollback is to do.
#[derive(Debug, Clone)]
pub struct Rollback {
    /// The release that is to be shown again.
    pub target: ReleaseId,
    /// The committed release at the time of the order.
    pub replaces: ReleaseId,
    /// Keep later publishes off the keys that change.
    pub hold: bool,
}

/// The last release that showed readers something else than the committed one does; after a rollback, something else than
/// what that one restored, so that going back twice goes back two steps. `None` if there is none.
///
/// A release that only changed the catalogue, because a template failed for one, or that wrote documents again as they
/// were, is no step: whoever rolls back wants another site.
pub async fn previous(store: &Store, desired: &ReleaseId) -> Result<Option<ReleaseId>, Error> {
    let mut root = Root::read(store, desired).await?;
    if let (Kind::Rollback, Some(restored)) = (root.kind, &root.restores) {
        root = Root::read(store, restored).await?;
    }
    while let Some(parent) = root.parent.clone() {
        let changes = root.changes(store).await?;
        let is_document = |path: &str| path != catalogue::PATH && !path.starts_with(catalogue::FOLDER);
        if changes.iter().any(|change| change.change != ChangeKind::Rewritten && is_document(&change.path)) {
            return Ok(Some(parent));
        }
        root = Root::read(store, &parent).await?;
    }
    Ok(None)
}

/// Says whether a release can be rolled back to.
pub fn is_kept(head: &Head, release: &ReleaseId) -> bool {
    head.floor.as_ref().is_none_or(|floor| release.serial >= floor.serial)
}

/// Rolls back, or shows what that would do if the job isn't to commit.
pub async fn roll_back(job: &Job, store: &Arc<Store>, order: &Rollback, progress: &Progress) -> Result<Report, Error> {
    let started = tokio::time::Instant::now();
    progress.enter(Phase::Prepare, 0);
    let base = Base::read(store).await?;
    if !is_kept(base.head(), &order.target) {
        return Err(Error::Overtaken { reason: format!("the release {} has been pruned meanwhile", order.target) });
    }
    let target = Arc::new(Manifest::read(store, &order.target).await?);
    let catalogue = committed_catalogue(Some(&target), store).await?;
    let restoring = Restoring { target, catalogue, replaces: order.replaces.clone(), hold: order.hold, now: job.now };
    let mut draft = Draft::restore(job, restoring);
    let mut seconds = Seconds::default();
    progress.enter(Phase::Stage, 0);
    let mut report = if job.commit {
        commit(job, store, &mut draft, base, progress, &mut seconds).await?
    } else {
        let drafted = draft.onto(&base, store).await?;
        draft.report(drafted, base.head().desired.clone(), false)
    };
    progress.enter(Phase::Done, 0);
    seconds.total = started.elapsed().as_secs_f64();
    report.seconds = seconds;
    Ok(report)
}
