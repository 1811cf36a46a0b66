//! Purging: step 9 of the protocol, which makes the edges forget what stable paths showed before.
//!
//! A purge isn't part of a release but a debt of the site: whoever activates may die before it, the CDN may be away for
//! an hour, and an edge that isn't told keeps a document for a day. So the head says up to which release the edges were
//! told, and every run, also one that changes nothing, pays whatever is owed since: the union of the changes of all
//! releases after that one, never the difference of two manifests, because an edge may have kept what was there only in
//! between. The cursor moves forward only, after the CDN has promised, and needs no lease.
//!
//! Without a CDN the cursor stays where it is, and costs no request. A CDN that is configured later begins with one purge
//! of everything, since nobody knows what its edges have kept until then.

use super::activate::{Activated, Changed};
use super::broken::{Safeguard, is_out};
use super::head::{Head, HeadRead};
use super::id::ReleaseId;
use super::manifest::Root;
use crate::cdn::{Cdn, Purge};
use crate::error::Error;
use crate::store::Store;

/// Purges what is owed, after a run that has activated this much.
///
/// Where some path couldn't be changed, what the others show is purged all the same, and owed once more: a single path
/// that can't be written must not keep the edges from all others.
pub async fn catch_up(store: &Store, cdn: &Cdn, activated: &Activated) -> Result<(), Error> {
    if cdn.is_none() {
        return Ok(());
    }
    let read = HeadRead::read(store).await?;
    let Head { active, desired, purged, floor, suspect, .. } = read.head.clone();
    let Some(shown) = (if activated.is_complete() { &active } else { &desired }) else { return Ok(()) };
    if purged.as_ref() == Some(shown) || (is_out(Safeguard::PurgeCursor) && activated.shown + activated.removed == 0) {
        return Ok(());
    }
    // Behind the floor nobody remembers what was changed.
    let known = purged.clone().filter(|purged| floor.is_none_or(|floor| purged.serial >= floor.serial));
    match owed(store, known.as_ref(), shown).await? {
        Changed::All => cdn.purge(Purge::Everything).await?,
        Changed::Paths(paths) if paths.is_empty() => {}
        Changed::Paths(paths) => cdn.purge(Purge::Paths(&paths)).await?,
    }
    let forward = |head: &mut Head| {
        // Another run may have got further meanwhile, or have found that something is owed once more.
        let is_behind = head.purged < active && head.purged == purged && head.suspect == suspect;
        if is_behind {
            head.purged.clone_from(&active);
        }
        is_behind
    };
    read.update(store, forward).await.map(drop)
}

/// What the releases after `purged` changed, up to the one whose documents are shown.
async fn owed(store: &Store, purged: Option<&ReleaseId>, shown: &ReleaseId) -> Result<Changed, Error> {
    let root = Root::read(store, shown).await?;
    match purged {
        _ if is_out(Safeguard::PurgeCursor) => Changed::since(store, root.parent.as_ref(), &root).await,
        Some(purged) => Changed::since(store, Some(purged), &root).await,
        None => Ok(Changed::All),
    }
}
