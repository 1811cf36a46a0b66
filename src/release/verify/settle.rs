//! Looking at paths in doubt: what a late request may have changed, compared with what the release says.

use std::sync::Arc;

use super::super::activate::{Activated, Changed};
use super::super::manifest::Manifest;
use super::super::progress::{Phase, Progress};
use super::look::look;
use super::{Wanted, crew, families, wanted};
use crate::store::{Store, StoreError};

/// What came of a look at paths in doubt.
#[derive(Debug, Default)]
pub struct Settled {
    /// How many were looked at.
    pub looked_at: u64,
    /// Those that showed something else, and were to be mended.
    pub differed: Vec<Arc<str>>,
    /// Those that are to show nothing, where the store doesn't tell whether they do; they are removed once more.
    pub unknown: Vec<Arc<str>>,
    /// What became of them. A path that couldn't be looked at counts as failed.
    pub activated: Activated,
}

/// Looks at paths that a late request may have changed. Nothing is changed, so that no lease is needed, and nothing is
/// read but what the store tells of a path, unless that looks wrong.
pub async fn look_at_doubtful(store: &Store, manifest: &Manifest, doubtful: Changed, progress: &Progress) -> Settled {
    let families = families(manifest);
    let all: Vec<Wanted<'_>> = wanted(manifest, &families).collect();
    let (documents, absent) = sort_out(all, manifest, doubtful);
    let mut settled = Settled { looked_at: (documents.len() + absent.len()) as u64, ..Settled::default() };
    progress.enter(Phase::Verify, settled.looked_at);
    let work = async |wanted: &Wanted<'_>| {
        let Wanted { family, row, document } = wanted;
        look(store, row, document, &family.attributes(row, document), false).await
    };
    crew::each(store, &documents, &work, |wanted, seen| {
        let path = &wanted.row.path;
        settled.note(path, seen.map(|seen| seen.document.is_some()), progress)
    })
    .await;
    let work = async |path: &Arc<str>| store.head_public(path, "").await;
    crew::each(store, &absent, &work, |path, shown| match shown {
        // Who may not list is told of what isn't there that it is forbidden.
        Err(error) if !error.is_general => {
            progress.add_document();
            settled.unknown.push(Arc::clone(path));
            true
        }
        shown => settled.note(path, shown.map(|shown| shown.is_some()), progress),
    })
    .await;
    settled.differed.sort_unstable();
    settled
}

impl Settled {
    /// The paths that are to be shown, or removed, once more, in order.
    pub fn to_mend(&self) -> Vec<Arc<str>> {
        let mut paths: Vec<Arc<str>> = self.differed.iter().chain(&self.unknown).cloned().collect();
        paths.sort_unstable();
        paths
    }

    /// Notes what a look has found; false if there is no use in another.
    fn note(&mut self, path: &Arc<str>, differs: Result<bool, StoreError>, progress: &Progress) -> bool {
        progress.add_document();
        match differs {
            Ok(false) => true,
            Ok(true) => {
                self.differed.push(Arc::clone(path));
                true
            }
            Err(error) => {
                let may_go_on = !error.is_general;
                self.activated.failed.push((path.to_string(), error));
                may_go_on
            }
        }
    }
}

/// The documents in doubt, and the paths in doubt that are to show nothing.
fn sort_out<'a>(all: Vec<Wanted<'a>>, manifest: &Manifest, doubtful: Changed) -> (Vec<Wanted<'a>>, Vec<Arc<str>>) {
    let Changed::Paths(paths) = doubtful else { return (all, Vec::new()) };
    let is_doubtful = |path: &Arc<str>| paths.binary_search(path).is_ok();
    let documents = all.into_iter().filter(|wanted| is_doubtful(&wanted.row.path)).collect();
    let is_absent = |path: &&Arc<str>| manifest.row(path).is_none_or(|row| row.document.is_none());
    let absent = paths.iter().filter(is_absent).cloned().collect();
    (documents, absent)
}
