//! Counting and removing what nobody names: page by page, so that nothing is held but one batch of names.

use std::time::SystemTime;

use super::super::id::ReleaseId;
use super::super::manifest::Root;
use super::super::progress::Progress;
use super::{Garbage, Plan};
use crate::error::Error;
use crate::store::{Listed, Part, Store, StoreError};

/// The folder of lists, and how their names end.
const LISTS: (&str, &str) = ("shard/", ".jsonl.gz");
/// The folder of blobs, and how their names end.
const BLOBS: (&str, &str) = ("blob/", ".gz");
/// How many objects are removed at a time.
const BATCH: usize = 1000;
/// So many failures with no success between them mean that the rest would fail as well.
const HOPELESS: usize = 1000;
/// So many failures are told one by one.
const MAX_TOLD: usize = 1000;

/// Objects by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Roots of releases.
    pub releases: u64,
    /// Shards, patches and lists of changes.
    pub lists: u64,
    /// Blobs.
    pub blobs: u64,
    /// The bytes of them all.
    pub bytes: u64,
}

impl Tally {
    /// All of them.
    pub fn objects(&self) -> u64 {
        self.releases + self.lists + self.blobs
    }
}

/// What was removed.
#[derive(Debug, Default)]
pub struct Swept {
    /// What is gone.
    pub tally: Tally,
    /// How many objects couldn't be removed.
    pub failures: u64,
    /// The first of them, and why.
    pub failed: Vec<(String, StoreError)>,
    /// True if it was given up before everything was tried.
    pub is_given_up: bool,
    in_a_row: usize,
}

impl Garbage {
    fn is_old(&self, written: Option<SystemTime>) -> bool {
        written.is_some_and(|written| written <= self.written_before)
    }

    fn has(&self, object: &Listed, ending: &str) -> bool {
        self.is_old(object.modified) && is_ours(&object.name, ending) && !self.names.has(&object.name)
    }
}

/// Says whether a name is one that tintype gives: `blob/ab/<64 digits>-<run>.gz` or `shard/<run>/<list>.jsonl.gz`. Another
/// site's documents or records may lie below the same folder, under longer names.
fn is_ours(name: &str, ending: &str) -> bool {
    let parts: Vec<&str> = name.split('/').collect();
    let [folder, middle, last] = parts[..] else { return false };
    let Some(last) = last.strip_suffix(ending) else { return false };
    let is_hex = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let is_run = |text: &str| text.len() >= 25 && text.as_bytes()[8] == b'T' && text.as_bytes()[15..17] == *b"Z-";
    match folder {
        "blob" => {
            let digest = last.get(..64).filter(|digest| is_hex(digest) && digest.starts_with(middle));
            middle.len() == 2 && digest.is_some() && last[64..].strip_prefix('-').is_some_and(is_run)
        }
        _ => is_run(middle),
    }
}

/// Counts what goes.
pub async fn count(store: &Store, releases: &[(ReleaseId, u64)], garbage: &Garbage) -> Result<Tally, Error> {
    let mut tally = Tally::default();
    for (_, size) in releases {
        tally.add(Root::FOLDER, *size);
    }
    for (folder, ending) in [LISTS, BLOBS] {
        let mut listing = store.listing(Part::Control(folder));
        while let Some(page) = listing.next().await? {
            for object in page.objects.iter().filter(|object| garbage.has(object, ending)) {
                tally.add(folder, object.size_bytes);
            }
        }
    }
    Ok(tally)
}

/// Removes what goes.
///
/// Lists and blobs are listed once more instead of being remembered. The moment before which things are old is the
/// plan's, so that nothing goes that has become old since.
pub async fn remove(store: &Store, plan: &Plan, progress: &Progress) -> Result<Swept, Error> {
    let mut swept = Swept::default();
    // From the oldest on, so that the chain of parents stays whole whatever is left of it.
    let roots: Vec<(String, u64)> = plan.releases.iter().map(|(id, size)| (Root::name(id), *size)).collect();
    for batch in roots.chunks(BATCH) {
        swept.batch(store, Root::FOLDER, batch, progress).await;
    }
    for (folder, ending) in [LISTS, BLOBS] {
        let mut listing = store.listing(Part::Control(folder));
        let mut batch = Vec::new();
        while !swept.is_given_up {
            let page = listing.next().await?;
            let is_last = page.is_none();
            let objects = page.map(|page| page.objects).unwrap_or_default();
            let going = objects.into_iter().filter(|object| plan.garbage.has(object, ending));
            batch.extend(going.map(|object| (object.name, object.size_bytes)));
            while batch.len() >= BATCH || (is_last && !batch.is_empty()) {
                let rest = batch.split_off(batch.len().min(BATCH));
                swept.batch(store, folder, &batch, progress).await;
                batch = rest;
            }
            if is_last {
                break;
            }
        }
    }
    Ok(swept)
}

impl Tally {
    fn add(&mut self, folder: &str, size: u64) {
        self.bytes += size;
        match folder {
            Root::FOLDER => self.releases += 1,
            folder if folder == LISTS.0 => self.lists += 1,
            _ => self.blobs += 1,
        }
    }
}

impl Swept {
    async fn batch(&mut self, store: &Store, folder: &str, batch: &[(String, u64)], progress: &Progress) {
        if self.is_given_up || batch.is_empty() {
            return;
        }
        let names: Vec<&str> = batch.iter().map(|(name, _)| name.as_str()).collect();
        let failed = store.remove_control(&names).await;
        let is_failed = |name: &str| failed.iter().any(|(failed, _)| failed == name);
        for (_, size) in batch.iter().filter(|(name, _)| failed.is_empty() || !is_failed(name)) {
            self.tally.add(folder, *size);
            progress.add_document();
        }
        self.in_a_row = if failed.len() < batch.len() { 0 } else { self.in_a_row + failed.len() };
        self.is_given_up = self.in_a_row >= HOPELESS || (failed.len() == batch.len() && failed[0].1.is_general);
        self.failures += failed.len() as u64;
        self.failed.extend(failed.into_iter().take(MAX_TOLD - self.failed.len().min(MAX_TOLD)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_ours_are_removed() {
        let (run, digest) = ("20261120T021003Z-7f3a9c0d.2", "ab".repeat(32));
        assert!(is_ours(&format!("blob/ab/{digest}-{run}.gz"), ".gz"));
        assert!(is_ours(&format!("shard/{run}/world-map.jsonl.gz"), ".jsonl.gz"));
        // Sites at `blob` and `shard` of the same bucket, whose records lie below those of the bucket's own site.
        assert!(!is_ours(&format!("blob/blob/ab/{digest}-{run}.gz"), ".gz"));
        assert!(!is_ours(&format!("shard/shard/{run}/world-map.jsonl.gz"), ".jsonl.gz"));
        assert!(!is_ours("blob/m/low.json.gz", ".gz"));
        assert!(!is_ours("shard/m/low.jsonl.gz", ".jsonl.gz"));
    }
}
