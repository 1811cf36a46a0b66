//! Doubts: paths that a request may have changed after its sender had given it up, or was taken for dead.
//!
//! A store carries out what it gets, and a network may keep a request for a while: long enough that two releases lie in
//! between. No condition on the request helps, because data that comes back to what it was satisfies it again. So the
//! head notes the doubt, and the first run after which nothing can arrive any more looks at the paths once. It looks
//! without the lease, because there may be many; only what it finds wrong is mended under it.

use std::sync::Arc;
use std::time::Duration;

use super::activate::{Activated, Changed};
use super::base::Base;
use super::clock;
use super::head::{Head, Suspect};
use super::id::ReleaseId;
use super::manifest::{Kind, Manifest};
use super::progress::Progress;
use super::publish::Job;
use super::turn::Turn;
use super::verify::{Settled, look_at_doubtful};
use crate::error::Error;
use crate::store::Store;

/// Looks at the paths in doubt, if it is time; mends what isn't as it should be. An editor isn't kept waiting for it.
pub async fn settle_doubt(
    job: &Job,
    store: &Arc<Store>,
    base: Base,
    progress: &Progress,
) -> Result<(Base, Option<Settled>), Error> {
    let due = base.head().suspect.clone().filter(|suspect| clock::now() >= suspect.not_before);
    let (Some(suspect), Some(manifest)) = (due, base.manifest.clone()) else { return Ok((base, None)) };
    if base.is_unfinished() || job.kind == Kind::Republish {
        return Ok((base, None));
    }
    let doubtful = Changed::since(store, suspect.since.as_ref(), &manifest.root).await?;
    let mut settled = look_at_doubtful(store, &manifest, doubtful, progress).await;
    let clear = |head: &mut Head| clear(head, &suspect, &manifest.root.id);
    if !settled.to_mend().is_empty() {
        let Some(mended) = mend(job, store, &base, &suspect, &manifest, &settled, progress).await? else {
            return Ok((base.read_again(store).await?, None));
        };
        settled.activated.shown += mended.shown;
        settled.activated.removed += mended.removed;
        settled.activated.skipped += mended.skipped;
        settled.activated.failed.extend(mended.failed);
    } else if settled.activated.is_complete() {
        base.read.clone().update(store, clear).await?;
    }
    Ok((base.read_again(store).await?, Some(settled)))
}

/// Shows once more what differs, under the lease; `None` if another is at work, or the site has moved on.
async fn mend(
    job: &Job,
    store: &Arc<Store>,
    base: &Base,
    suspect: &Suspect,
    manifest: &Manifest,
    settled: &Settled,
    progress: &Progress,
) -> Result<Option<Activated>, Error> {
    let impatient = Job { lease_wait: Duration::ZERO, ..job.clone() };
    let turn = match Turn::take(&impatient, store, base.clone(), false, progress).await {
        Ok(turn) => turn,
        Err(Error::Locked { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    // A doubt that came up meanwhile, by taking over a dead one's lease for one, isn't settled by an earlier look.
    let head = turn.base.head();
    if head.suspect.as_ref() != Some(suspect) || head.desired.as_ref() != Some(&manifest.root.id) {
        turn.tenure.free(|_| {}).await?;
        return Ok(None);
    }
    let activated = turn.tenure.show(Changed::Paths(settled.to_mend()), manifest, progress).await;
    let is_seen = settled.activated.is_complete();
    let note = |head: &mut Head| {
        if is_seen {
            clear(head, suspect, &manifest.root.id);
        }
    };
    turn.tenure.end(activated, note, progress).await.map(Some)
}

/// Ends the doubt that was looked into; says whether it is still that one.
fn clear(head: &mut Head, suspect: &Suspect, shown: &ReleaseId) -> bool {
    let is_settled = head.suspect.as_ref() == Some(suspect) && head.active.as_ref() == Some(shown);
    if is_settled {
        head.suspect = None;
        // The edge may have what a late request put there, also where nothing differs any more: whoever mended it may
        // have died before it came to this.
        head.owe_since(suspect.since.clone());
    }
    is_settled
}
