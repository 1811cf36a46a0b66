//! Activation: the stable paths come to show the committed release.
//!
//! What has to be touched is the union of the changes of every release after the active one. A publisher that died in
//! the middle of activating leaves some paths new and some old, and only that union covers both, even where the data
//! has meanwhile gone back to what it was.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::catalogue;
use super::head::Head;
use super::id::ReleaseId;
use super::manifest::{Manifest, Root};
use super::progress::{Phase, Progress};
use crate::error::Error;
use crate::store::{Store, StoreError};

/// What an activation did.
#[derive(Debug, Default)]
pub struct Activated {
    /// Paths that show another blob now.
    pub shown: u64,
    /// Paths that are gone.
    pub removed: u64,
    /// Paths that couldn't be changed; the release stays unfinished until they can.
    pub failed: Vec<(String, StoreError)>,
}

/// The paths that the releases after `active` up to `desired` changed.
pub async fn changed_since(
    store: &Store,
    active: Option<&ReleaseId>,
    desired: &Root,
) -> Result<BTreeSet<Arc<str>>, Error> {
    let floor = active.map_or(0, |active| active.serial);
    let mut paths = BTreeSet::new();
    let mut root = desired.clone();
    loop {
        paths.extend(root.changes(store).await?.into_iter().map(|change| change.path));
        match &root.parent {
            Some(parent) if parent.serial > floor => root = Root::read(store, parent).await?,
            _ => return Ok(paths),
        }
    }
}

/// Lets every path that isn't yet what the manifest says show what it says.
pub async fn activate(
    store: &Store,
    head: &Head,
    manifest: &Manifest,
    progress: &Progress,
) -> Result<Activated, Error> {
    let paths = changed_since(store, head.active.as_ref(), &manifest.root).await?;
    progress.enter(Phase::Activate, u64::try_from(paths.len()).unwrap_or(u64::MAX));
    let blobs: BTreeMap<&str, String> = manifest
        .rows
        .values()
        .flat_map(|rows| rows.iter())
        .filter(|row| paths.contains(&row.path))
        .filter_map(|row| Some((row.path.as_ref(), row.blob()?)))
        .collect();
    let mut done = Activated::default();
    // Documents before the catalogue, so that it never names one that isn't there; removals last, for the same reason.
    let is_catalogue = |path: &str| path == catalogue::PATH || path.starts_with("index/");
    let shown = || blobs.iter().filter(|(path, _)| !is_catalogue(path));
    let listed = || blobs.iter().filter(|(path, _)| is_catalogue(path) && **path != catalogue::PATH);
    let last = blobs.get_key_value(catalogue::PATH);
    for (path, blob) in shown().chain(listed()).chain(last) {
        done.note(path, store.activate(path, blob).await, |done| &mut done.shown);
        progress.add_document();
        // A signal is looked at between two paths.
        tokio::task::yield_now().await;
    }
    for path in paths.iter().filter(|path| !blobs.contains_key(path.as_ref())) {
        done.note(path, store.remove(path).await, |done| &mut done.removed);
        progress.add_document();
        tokio::task::yield_now().await;
    }
    Ok(done)
}

impl Activated {
    fn note(&mut self, path: &str, result: Result<(), StoreError>, counter: impl Fn(&mut Activated) -> &mut u64) {
        match result {
            Ok(()) => *counter(self) += 1,
            Err(error) => self.failed.push((path.to_owned(), error)),
        }
    }
}
