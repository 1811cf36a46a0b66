//! Activation: the stable paths come to show the committed release.
//!
//! What has to be touched is the union of the changes of every release after the active one. A publisher that died in
//! the middle of activating leaves some paths new and some old, and only that union covers both, even where the data
//! has meanwhile gone back to what it was. A release may have a million rows, so nothing here owns more of them than the
//! changed paths.

use std::num::NonZero;
use std::panic::resume_unwind;
use std::sync::Arc;

use chrono::SecondsFormat;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::runtime::Handle;

#[cfg(test)]
use super::broken::{Safeguard, is_out};
use super::catalogue;
use super::id::ReleaseId;
use super::manifest::{Manifest, Root, TemplateEntry};
use super::progress::{Phase, Progress};
use super::row::{DocumentRow, Row, blob_name};
use crate::error::Error;
use crate::key::PathPattern;
use crate::store::{Attributes, Store, StoreError};
use crate::template::Template;

/// `Cache-Control` of a row whose policy its release doesn't tell, which no tintype writes.
const CAUTIOUS: &str = "public, max-age=60";
/// How many documents are shown in a directory before a signal is looked at.
const LINKS: usize = 512;
/// Fewer than this aren't worth a thread.
const LEAST_LINKS: usize = 64;
/// Threads that change names in one file system; more would wait for each other.
const MAX_THREADS: usize = 4;
/// How many paths are removed at a time.
const REMOVALS: usize = 1000;
/// So many failures in a row, of whatever kind, mean that the rest would fail as well.
const HOPELESS: u64 = 200;

/// What an activation did.
#[derive(Debug, Default)]
pub struct Activated {
    /// Paths that show another blob now.
    pub shown: u64,
    /// Paths that are gone.
    pub removed: u64,
    /// Paths that couldn't be changed; the release stays unfinished until they can.
    pub failed: Vec<(String, StoreError)>,
    /// Paths that weren't tried any more, because nothing was to be hoped for after those that failed, or because the run
    /// had to stop.
    pub skipped: u64,
    in_a_row: u64,
}

/// Stable paths that may show something else than they should.
pub enum Changed {
    /// Every document: there was no release before.
    All,
    /// These, in order and each once.
    Paths(Vec<Arc<str>>),
}

impl Changed {
    /// The paths that the releases after one up to another changed: the union, never the difference of the two ends.
    pub async fn since(store: &Store, active: Option<&ReleaseId>, desired: &Root) -> Result<Changed, Error> {
        if active.is_none() && desired.parent.is_none() {
            return Ok(Changed::All);
        }
        #[cfg(test)]
        if is_out(Safeguard::UnionOfChanges) {
            return super::fault_tests::difference_of_the_ends(store, active, desired).await;
        }
        let floor = active.map_or(0, |active| active.serial);
        let mut paths = Vec::new();
        let mut root = desired.clone();
        loop {
            paths.extend(root.changes(store).await?.into_iter().map(|change| change.path));
            // Release by release, because many may be unfinished and change the same paths.
            paths.sort_unstable();
            paths.dedup();
            match &root.parent {
                Some(parent) if parent.serial > floor => root = Root::read(store, parent).await?,
                _ => break,
            }
        }
        Ok(Changed::Paths(paths))
    }
}

/// A document that is to be shown.
struct Show<'a> {
    family: &'a Family<'a>,
    row: &'a Row,
    document: &'a DocumentRow,
}

impl Show<'_> {
    async fn on(&self, store: &Store) -> Result<(), StoreError> {
        let Show { family, row, document } = self;
        let attributes = family.attributes(row, document);
        store.activate(&row.path, &blob_name(&document.digest, &row.origin.run), &attributes).await
    }
}

/// What the attributes of a template's documents are made of.
pub struct Family<'a> {
    root: &'a Root,
    /// Takes a path apart into the slugs that stand in the tags; none for the catalogue.
    pattern: Option<PathPattern>,
}

impl<'a> Family<'a> {
    /// Of a template of this release.
    pub fn new(root: &'a Root, entry: &TemplateEntry) -> Family<'a> {
        Family { root, pattern: PathPattern::parse(&entry.path).ok() }
    }

    /// What a document is to be shown with.
    pub fn attributes(&self, row: &Row, document: &DocumentRow) -> Attributes {
        let policy = self.root.policies.get(row.origin.policy.as_ref());
        let tags = policy.map_or(&[][..], |policy| &policy.cache_tags);
        Attributes {
            cache_control: policy.map_or_else(|| CAUTIOUS.to_owned(), |policy| policy.cache_control.clone()),
            cache_tags: tags.iter().map(|tag| filled(self.pattern.as_ref(), tag, &row.path)).collect(),
            digest: document.digest.to_string(),
            serial: self.root.id.serial,
            as_of: row.as_of().to_rfc3339_opts(SecondsFormat::AutoSi, true),
        }
    }
}

/// What the document of a path is shown with; none if the release has no such document.
pub fn attributes(manifest: &Manifest, path: &str) -> Option<Attributes> {
    document_of(manifest, path).map(|(_, _, attributes)| attributes)
}

/// The row of a path with its template's name, and what its document is shown with; none if the release has no such document.
pub fn document_of<'a>(manifest: &'a Manifest, path: &str) -> Option<(&'a str, &'a Arc<Row>, Attributes)> {
    let (name, row) = manifest.named_row(path)?;
    let document = row.document.as_ref()?;
    Some((name, row, Family::new(&manifest.root, manifest.root.templates.get(name)?).attributes(row, document)))
}

/// The cache tags that a document of a template has at a path.
pub fn tags(template: &Template, path: &str) -> Vec<String> {
    template.policy.cache_tags.iter().map(|tag| filled(Some(&template.pattern), tag, path)).collect()
}

/// A tag with the slugs of a path in place of the columns' names.
pub fn filled(pattern: Option<&PathPattern>, tag: &str, path: &str) -> String {
    let mut tag = tag.to_owned();
    let Some(pattern) = pattern.filter(|_| tag.contains('{')) else { return tag };
    for (column, slug) in pattern.columns().iter().zip(pattern.slugs(path).unwrap_or_default()) {
        tag = tag.replace(&format!("{{{column}}}"), slug);
    }
    tag
}

/// Lets paths show what the manifest says, or nothing where it says nothing of them.
///
/// Nothing is begun any more once `may_go_on` says no; what is left then counts as skipped.
pub async fn activate(
    store: &Store,
    changed: Changed,
    manifest: &Manifest,
    progress: &Progress,
    may_go_on: &(dyn Fn() -> bool + Sync),
) -> Activated {
    let families: Vec<(&str, Family<'_>)> = manifest
        .root
        .templates
        .iter()
        .map(|(name, entry)| (name.as_str(), Family::new(&manifest.root, entry)))
        .collect();
    let (mut documents, mut listed, mut last) = (Vec::new(), Vec::new(), Vec::new());
    let mut is_shown = match &changed {
        Changed::All => Vec::new(),
        Changed::Paths(paths) => vec![false; paths.len()],
    };
    for (name, family) in &families {
        let Some(rows) = manifest.rows.get(*name) else { continue };
        let mut next = 0;
        for row in rows.iter() {
            let row: &Row = row;
            let Some(document) = row.document.as_ref() else { continue };
            if let Changed::Paths(paths) = &changed {
                // Both are in order, so one walk along them finds what they share.
                next += paths[next..].partition_point(|path| path.as_ref() < row.path.as_ref());
                match paths.get(next) {
                    None => break,
                    Some(path) if *path == row.path => is_shown[next] = true,
                    Some(_) => continue,
                }
            }
            let stage = match row.path.as_ref() {
                catalogue::PATH => &mut last,
                _ if *name == catalogue::NAME => &mut listed,
                _ => &mut documents,
            };
            stage.push(Show { family, row, document });
        }
    }
    let removed: Vec<&str> = match &changed {
        Changed::All => Vec::new(),
        Changed::Paths(paths) => {
            paths.iter().zip(&is_shown).filter(|(_, shown)| !**shown).map(|(path, _)| path.as_ref()).collect()
        }
    };
    let total = documents.len() + listed.len() + last.len() + removed.len();
    progress.enter(Phase::Activate, total as u64);
    let mut done = Activated::default();
    // Documents before the catalogue, so that it never names one that isn't there; removals last, for the same reason.
    for stage in [documents, listed, last] {
        show(store, &stage, &mut done, progress, may_go_on).await;
    }
    remove(store, &removed, &mut done, progress, may_go_on).await;
    done
}

/// Shows documents, as many at a time as the store bears.
async fn show(
    store: &Store,
    documents: &[Show<'_>],
    done: &mut Activated,
    progress: &Progress,
    may_go_on: &(dyn Fn() -> bool + Sync),
) {
    if matches!(store, Store::Directory(_)) {
        return show_side_by_side(store, documents, done, progress, may_go_on).await;
    }
    let mut waiting = documents.iter();
    let mut running = FuturesUnordered::new();
    loop {
        while running.len() < store.in_flight().max(1) && !done.is_hopeless() && may_go_on() {
            let Some(show) = waiting.next() else { break };
            running.push(async move { (&show.row.path, show.on(store).await) });
        }
        let Some((path, result)) = running.next().await else { break };
        done.note(path, result);
        progress.add_document();
        // A signal is looked at between two paths.
        tokio::task::yield_now().await;
    }
    done.skipped += waiting.len() as u64;
}

/// Shows documents in a directory, where nothing is waited for and only more threads are faster.
async fn show_side_by_side(
    store: &Store,
    documents: &[Show<'_>],
    done: &mut Activated,
    progress: &Progress,
    may_go_on: &(dyn Fn() -> bool + Sync),
) {
    let handle = Handle::current();
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get).min(MAX_THREADS);
    for batch in documents.chunks(LINKS) {
        if done.is_hopeless() || !may_go_on() {
            done.skipped += batch.len() as u64;
            continue;
        }
        let part = batch.len().div_ceil(threads).max(LEAST_LINKS);
        let results: Vec<Result<(), StoreError>> = std::thread::scope(|scope| {
            let handle = &handle;
            let show = |part| scope.spawn(move || shown(store, part, handle));
            let threads: Vec<_> = batch.chunks(part).map(show).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
        });
        for (show, result) in batch.iter().zip(results) {
            done.note(&show.row.path, result);
            progress.add_document();
        }
        // A signal is looked at between two batches.
        tokio::task::yield_now().await;
    }
}

fn shown(store: &Store, documents: &[Show<'_>], handle: &Handle) -> Vec<Result<(), StoreError>> {
    documents.iter().map(|show| handle.block_on(show.on(store))).collect()
}

async fn remove(
    store: &Store,
    paths: &[&str],
    done: &mut Activated,
    progress: &Progress,
    may_go_on: &(dyn Fn() -> bool + Sync),
) {
    for batch in paths.chunks(REMOVALS) {
        if done.is_hopeless() || !may_go_on() {
            done.skipped += batch.len() as u64;
            continue;
        }
        let failed = store.remove(batch).await;
        done.removed += (batch.len() - failed.len()) as u64;
        if failed.len() < batch.len() {
            done.in_a_row = 0;
        }
        for (path, error) in failed {
            done.fail(path, error);
        }
        for _ in batch {
            progress.add_document();
        }
        tokio::task::yield_now().await;
    }
}

impl Activated {
    fn note(&mut self, path: &str, result: Result<(), StoreError>) {
        match result {
            Ok(()) => {
                self.shown += 1;
                self.in_a_row = 0;
            }
            Err(error) => self.fail(path.to_owned(), error),
        }
    }

    fn fail(&mut self, path: String, error: StoreError) {
        // One that is about the whole store was tried for as long as there was hope.
        self.in_a_row += if error.is_general { HOPELESS } else { 1 };
        self.failed.push((path, error));
    }

    /// True if every path shows what it is to show.
    pub fn is_complete(&self) -> bool {
        self.failed.is_empty() && self.skipped == 0
    }

    fn is_hopeless(&self) -> bool {
        self.in_a_row >= HOPELESS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_hold_the_slugs_of_the_path() {
        let pattern = PathPattern::parse("m/{region}/v-{topic}.json").ok();
        assert!(pattern.is_some());
        let path = "m/united-states/v-crispr.json";
        assert_eq!(filled(pattern.as_ref(), "all", path), "all");
        assert_eq!(filled(pattern.as_ref(), "topic:{topic}+{region}", path), "topic:crispr+united-states");
        assert_eq!(filled(None, "index", "index.json"), "index");
    }

    #[test]
    fn one_general_failure_ends_it_and_a_success_goes_on() {
        let error = |is_general| StoreError {
            action: "show",
            object: "x".to_owned(),
            reason: "y".to_owned(),
            hint: None,
            is_general,
        };
        let mut done = Activated::default();
        done.fail("a".to_owned(), error(false));
        assert!(!done.is_hopeless());
        done.fail("b".to_owned(), error(true));
        assert!(done.is_hopeless());
        done.in_a_row = 0;
        (0..HOPELESS).for_each(|_| done.fail("c".to_owned(), error(false)));
        assert!(done.is_hopeless());
    }
}
