//! The names that the kept releases need.
//!
//! A release of a million documents names a million blobs, and ten releases name mostly the same. Each list is read once,
//! whatever the number of releases that share it, and of every name only a short hash is kept. Where two names have one
//! hash, garbage passes for something that is needed, and stays; that harms nothing.

use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use super::super::id::ReleaseId;
use super::super::lines::{Glimpse, glimpse};
use super::super::manifest::Root;
use super::super::row::blob_name;
use crate::error::Error;
use crate::store::Store;

/// A set of object names, some more than those that were put into it.
#[derive(Debug, Default)]
pub struct Names(HashSet<u64>);

/// What lies over a shard in the releases that have it: a patch or nothing, and whether a committed release has it so.
type Uses = BTreeMap<Option<String>, bool>;

fn hash(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

impl Names {
    /// Everything that these releases name. Of one that was only staged parts may be missing.
    pub async fn of(store: &Store, committed: &[ReleaseId], staged: &[ReleaseId]) -> Result<Names, Error> {
        let mut names = Names::default();
        let mut shards = BTreeMap::new();
        let all = committed.iter().map(|id| (id, true)).chain(staged.iter().map(|id| (id, false)));
        for (id, is_committed) in all {
            match Root::read_if_there(store, id).await? {
                Some(root) => names.root(&root, is_committed, &mut shards)?,
                None if is_committed => return Err(missing(&Root::name(id))),
                None => {}
            }
        }
        for (shard, uses) in &shards {
            names.shard(store, shard, uses).await?;
        }
        Ok(names)
    }

    /// True if a kept release needs the object, and now and then for one that none needs.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains(&hash(name))
    }

    fn put(&mut self, name: &str) {
        self.0.insert(hash(name));
    }

    fn root(&mut self, root: &Root, is_committed: bool, shards: &mut BTreeMap<String, Uses>) -> Result<(), Error> {
        self.put(&root.changes.object);
        for entry in root.templates.values() {
            for row in root.inline_rows(entry)? {
                if let Some(blob) = row.blob() {
                    self.put(&blob);
                }
            }
            let at = &entry.rows;
            for name in at.shard.iter().chain(&at.patch) {
                self.put(name);
            }
            if let Some(shard) = &at.shard {
                *shards.entry(shard.clone()).or_default().entry(at.patch.clone()).or_default() |= is_committed;
            }
        }
        Ok(())
    }

    /// A row of a shard is needed unless every release that has the shard lays another over it.
    async fn shard(&mut self, store: &Store, shard: &str, uses: &Uses) -> Result<(), Error> {
        let mut covered: Option<HashSet<Box<str>>> = None;
        for (patch, is_committed) in uses {
            let mut paths = HashSet::new();
            if let Some(patch) = patch {
                let visit = |path: &str, glimpse: Glimpse<'_>| {
                    self.blob(glimpse);
                    if covered.as_ref().is_none_or(|covered| covered.contains(path)) {
                        paths.insert(path.into());
                    }
                };
                read(store, patch, *is_committed, visit).await?;
            }
            covered = Some(paths);
        }
        let covered = covered.unwrap_or_default();
        let visit = |path: &str, glimpse: Glimpse<'_>| {
            if !covered.contains(path) {
                self.blob(glimpse);
            }
        };
        read(store, shard, uses.values().any(|is_committed| *is_committed), visit).await
    }

    fn blob(&mut self, document: Glimpse<'_>) {
        if let Some((digest, run)) = document {
            self.put(&blob_name(digest, run));
        }
    }
}

/// Reads a list of rows, which must be there if a committed release needs it.
async fn read(
    store: &Store,
    name: &str,
    is_committed: bool,
    visit: impl FnMut(&str, Glimpse<'_>),
) -> Result<(), Error> {
    match glimpse(store, name, visit).await? {
        false if is_committed => Err(missing(name)),
        _ => Ok(()),
    }
}

fn missing(name: &str) -> Error {
    Error::Corrupt { object: name.to_owned(), reason: "is missing".to_owned() }
}
