//! What the protocol would be without one of its safeguards, and that the judge notices.

use super::super::activate::{Changed, activate};
use super::super::base::Base;
use super::super::broken::{Safeguard, is_out};
use super::super::draft::Drafted;
use super::super::id::ReleaseId;
use super::super::manifest::{Manifest, Root};
use super::super::progress::Progress;
use super::judge::Promise;
use super::{Part, play_all, requests, say, told};
use crate::error::Error;
use crate::store::Store;

/// What has changed between two releases, as if nothing had been in between.
pub async fn difference_of_the_ends(
    store: &Store,
    active: Option<&ReleaseId>,
    desired: &Root,
) -> Result<Changed, Error> {
    let new = Manifest::read(store, &desired.id).await?;
    let old = match active {
        Some(active) => Some(Manifest::read(store, active).await?),
        None => None,
    };
    let rows = |manifest: &Manifest| manifest.rows.values().flat_map(|rows| rows.iter().cloned()).collect::<Vec<_>>();
    let mut paths = Vec::new();
    for row in rows(&new).into_iter().chain(old.as_ref().map(rows).unwrap_or_default()) {
        let digest = |manifest: &Manifest| manifest.row(&row.path).and_then(|row| row.digest());
        if digest(&new) != old.as_ref().and_then(digest) {
            paths.push(row.path.clone());
        }
    }
    paths.sort();
    paths.dedup();
    Ok(Changed::Paths(paths))
}

/// Shows a release that isn't committed yet, if that safeguard is out.
pub async fn activate_too_early(store: &Store, base: &Base, drafted: &Drafted, progress: &Progress) {
    if let (true, Some(manifest)) = (is_out(Safeguard::CommitBeforeActivation), &drafted.manifest)
        && let Ok(changed) = Changed::since(store, base.head().active.as_ref(), &manifest.root).await
    {
        activate(store, changed, manifest, progress, &|| true).await;
    }
}

/// A prime number that is larger than the number of parts, so that strides of it meet them all.
const STRIDE: usize = 7919;

/// Shows that some promise is found broken without a safeguard.
fn is_needed(safeguard: Safeguard, promise: Promise) {
    let all: Vec<Part> =
        requests().into_iter().map(|(history, main, request)| Part::Request(history, main, request)).collect();
    // In strides, so that all histories and runs come up soon.
    let parts: Vec<Part> = (0..all.len()).map(|at| all[at * STRIDE % all.len()]).collect();
    let outcome = play_all(&parts, Some((safeguard, promise)));
    let played: usize = outcome.played.values().sum();
    let Some(broken) = outcome.broken.iter().find(|broken| broken.breaks(promise)) else {
        panic!("{played} cases without {safeguard:?} don't break {promise:?}: {}", told(outcome.broken))
    };
    say(&format!("without {safeguard:?} the case {played} breaks {promise:?}: {:?}", broken.case));
}

#[test]
fn activation_waits_for_the_commit() {
    is_needed(Safeguard::CommitBeforeActivation, Promise::ReadersSeeReleases);
}

#[test]
fn the_union_of_changes_is_shown() {
    is_needed(Safeguard::UnionOfChanges, Promise::StoreShowsTheRelease);
}

#[test]
fn absence_is_remembered() {
    is_needed(Safeguard::Tombstones, Promise::NewerWins);
}

#[test]
fn heads_are_numbered() {
    is_needed(Safeguard::Sequence, Promise::FailuresStayUnseen);
}

#[test]
fn purges_are_owed() {
    is_needed(Safeguard::PurgeCursor, Promise::EdgesAreFresh);
}

#[test]
fn names_of_blobs_are_used_once() {
    is_needed(Safeguard::UniqueNames, Promise::ObjectsAreThere);
}

#[test]
fn a_prune_replaces_the_head_it_read() {
    is_needed(Safeguard::PruneSwap, Promise::ObjectsAreThere);
}

#[test]
fn nobody_undoes_a_rollback_by_accident() {
    is_needed(Safeguard::Barrier, Promise::NewerWins);
}

#[test]
fn late_requests_are_looked_for() {
    is_needed(Safeguard::Doubt, Promise::StoreShowsTheRelease);
}
