//! Settling a doubt: paths that a late request may have changed are looked at once, and mended where they were.

use std::sync::Arc;

use super::super::activate::{Activated, Changed};
use super::super::lease::Tenure;
use super::super::manifest::Manifest;
use super::super::progress::{Phase, Progress};
use super::look::look;
use super::{Wanted, crew, families, wanted};
use crate::error::Error;
use crate::store::{Store, StoreError};

/// What came of a look at paths in doubt.
#[derive(Debug, Default)]
pub struct Settled {
    /// How many were looked at.
    pub looked_at: u64,
    /// Those that showed something else, and were to be mended.
    pub differed: Vec<Arc<str>>,
    /// What became of them. A path that couldn't be looked at counts as failed.
    pub activated: Activated,
}

/// Looks at paths that a late request may have changed, and lets those show what the manifest says that show something
/// else. The caller holds the lease on a head whose every path is to show this manifest, keeps it, and ends it.
///
/// Nothing is read but what the store tells of a path, unless that looks wrong.
pub async fn settle(
    tenure: &Tenure<'_>,
    store: &Store,
    manifest: &Manifest,
    doubtful: Changed,
    progress: &Progress,
) -> Result<Settled, Error> {
    let families = families(manifest);
    let all: Vec<Wanted<'_>> = wanted(manifest, &families).collect();
    let (documents, absent) = sort_out(all, manifest, doubtful);
    let mut settled = Settled { looked_at: (documents.len() + absent.len()) as u64, ..Settled::default() };
    progress.enter(Phase::Verify, settled.looked_at);
    let mut failed = Vec::new();
    let looking = async {
        let work = async |wanted: &Wanted<'_>| {
            let Wanted { family, row, document } = wanted;
            look(store, row, document, &family.attributes(row, document), false).await
        };
        crew::each(store, &documents, &work, |wanted, seen| {
            let path = &wanted.row.path;
            settled.note(path, seen.map(|seen| seen.document.is_some()), &mut failed, progress)
        })
        .await;
        let work = async |path: &Arc<str>| store.head_public(path, "").await;
        crew::each(store, &absent, &work, |path, shown| {
            settled.note(path, shown.map(|shown| shown.is_some()), &mut failed, progress)
        })
        .await;
    };
    tenure.keep_during(looking).await?;
    settled.differed.sort_unstable();
    if !settled.differed.is_empty() {
        let changed = Changed::Paths(settled.differed.clone());
        settled.activated = tenure.show(changed, manifest, progress).await?;
    }
    // What couldn't be looked at stays in doubt.
    settled.activated.failed.extend(failed);
    Ok(settled)
}

impl Settled {
    /// Notes what a look has found; false if there is no use in another.
    fn note(
        &mut self,
        path: &Arc<str>,
        differs: Result<bool, StoreError>,
        failed: &mut Vec<(String, StoreError)>,
        progress: &Progress,
    ) -> bool {
        progress.add_document();
        match differs {
            Ok(false) => true,
            Ok(true) => {
                self.differed.push(Arc::clone(path));
                true
            }
            Err(error) => {
                let may_go_on = !error.is_general;
                failed.push((path.to_string(), error));
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
