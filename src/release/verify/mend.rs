//! Mending: paths that show something else are shown their blobs again, under the lease, headers and all.
//!
//! What a path is to show is told by the release that is committed when the lease is taken, and not by what was found
//! before, so that it is right whatever happened in between. A blob is read before it is shown: a broken one can't mend
//! anything, and its document has to be built once more.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::activate::{Activated, Changed};
use super::super::base::Base;
use super::super::lease::Tenure;
use super::super::manifest::Manifest;
use super::super::progress::{Phase, Progress};
use super::super::publish::Job;
use super::super::resume::resume;
use super::super::row::Row;
use super::super::turn::Turn;
use super::look::{look, look_at_blob};
use super::{Survey, Wanted, crew, families, wanted};
use crate::error::Error;
use crate::store::{Store, StoreError};

/// How often mending begins anew because others commit meanwhile.
const ATTEMPTS: usize = 5;

/// What mending did.
#[derive(Debug, Default)]
pub struct Mended {
    /// Paths that show again what they should.
    pub shown: u64,
    /// Leftovers that are gone.
    pub removed: u64,
    /// Leftovers that weren't to be removed.
    pub left: u64,
    /// Paths that couldn't be mended.
    pub failed: Vec<(String, StoreError)>,
    /// Paths that weren't tried any more, because nothing was to be hoped for after those that failed.
    pub skipped: u64,
    /// Documents whose blob is broken; only building them again helps.
    pub to_republish: Vec<Arc<str>>,
}

impl Mended {
    /// True if everything is as it should be.
    pub fn is_complete(&self) -> bool {
        self.failed.is_empty() && self.to_republish.is_empty() && self.left == 0 && self.skipped == 0
    }

    fn take(&mut self, activated: Activated) {
        self.shown += activated.shown;
        self.removed += activated.removed;
        self.skipped += activated.skipped;
        self.failed.extend(activated.failed);
    }
}

/// Mends what a survey has found, as far as the blobs allow. Leftovers are removed only `with_leftovers`.
pub async fn mend(
    job: &Job,
    store: &Arc<Store>,
    survey: &Survey,
    with_leftovers: bool,
    progress: &Progress,
) -> Result<Mended, Error> {
    let flawed = survey.flaws.iter().map(|(row, _)| row).chain(survey.unreadable.iter().map(|(row, _)| row));
    let broken = survey.blobs.iter().map(|(row, _)| row);
    let mut paths: BTreeSet<Arc<str>> = flawed.chain(broken).map(|row| Arc::clone(&row.path)).collect();
    if with_leftovers {
        paths.extend(survey.leftovers.iter().map(|path| Arc::from(path.as_str())));
    }
    for _ in 0..ATTEMPTS {
        let mut base = Base::read(store).await?;
        if base.is_unfinished() {
            // Paths that can't be changed may keep it from being finished, and the others are mended all the same.
            resume(job, store, false, progress).await?;
            base = Base::read(store).await?;
        }
        let Some(manifest) = base.manifest.clone() else { break };
        let mut mended = Mended { left: left(survey, with_leftovers), ..Mended::default() };
        let ready = ready(store, &manifest, &paths, &mut mended).await;
        let turn = Turn::take(job, store, base, false).await?;
        let is_current = turn.base.manifest.as_ref().is_some_and(|now| now.root.id == manifest.root.id);
        if !is_current {
            turn.tenure.free(|_| {}).await?;
            continue;
        }
        let activated = turn.tenure.show(Changed::Paths(ready), &manifest, progress).await;
        mended.take(turn.tenure.end(activated, |_| {}, progress).await?);
        progress.enter(Phase::Done, 0);
        return Ok(mended);
    }
    Err(Error::Overtaken { reason: "others went on committing while the documents were to be mended".to_owned() })
}

fn left(survey: &Survey, with_leftovers: bool) -> u64 {
    if with_leftovers { 0 } else { survey.leftovers.len() as u64 }
}

/// The paths that can be mended, in order: those whose blob is whole, and those that are to show nothing.
async fn ready(store: &Store, manifest: &Manifest, paths: &BTreeSet<Arc<str>>, mended: &mut Mended) -> Vec<Arc<str>> {
    let rows: Vec<(&Arc<str>, Option<&Arc<Row>>)> = paths.iter().map(|path| (path, manifest.row(path))).collect();
    let work = async |(_, row): &(&Arc<str>, Option<&Arc<Row>>)| match row {
        Some(row) => match &row.document {
            Some(document) => look_at_blob(store, row, document).await,
            None => Ok(None),
        },
        None => Ok(None),
    };
    let mut ready = Vec::new();
    crew::each(store, &rows, &work, |(path, _), blob| {
        match blob {
            Ok(None) => ready.push(Arc::clone(path)),
            Ok(Some(_)) => mended.to_republish.push(Arc::clone(path)),
            Err(error) => mended.failed.push((path.to_string(), error)),
        }
        true
    })
    .await;
    ready.sort_unstable();
    mended.to_republish.sort_unstable();
    ready
}

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
