//! Mending: paths that show something else are shown their blobs again, under the lease, headers and all.
//!
//! What a path is to show is told by the release that is committed when the lease is taken, and not by what was found
//! before, so that it is right whatever happened in between. A blob is read before it is shown: a broken one can't mend
//! anything, and its document has to be built once more.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::activate::{Activated, Changed};
use super::super::base::Base;
use super::super::manifest::Manifest;
use super::super::progress::{Phase, Progress};
use super::super::publish::Job;
use super::super::resume::resume;
use super::super::row::Row;
use super::super::turn::Turn;
use super::look::look_at_blob;
use super::{Survey, crew};
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
    /// Leftovers that are for the next repair, because the edges have to be told of the first ones before.
    pub postponed: u64,
    /// Paths that couldn't be mended.
    pub failed: Vec<(String, StoreError)>,
    /// Paths that weren't tried any more, because nothing was to be hoped for after those that failed.
    pub skipped: u64,
    /// Paths that an edge may show something wrong for: whatever was tried to be mended.
    pub touched: Vec<Arc<str>>,
    /// Documents whose blob is broken; only building them again helps.
    pub to_republish: Vec<Arc<str>>,
}

impl Mended {
    /// True if everything is as it should be.
    pub fn is_complete(&self) -> bool {
        self.failed.is_empty() && self.to_republish.is_empty() && self.left + self.postponed == 0 && self.skipped == 0
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
    let documents: BTreeSet<Arc<str>> = flawed.chain(broken).map(|row| Arc::clone(&row.path)).collect();
    let leftovers = if with_leftovers { survey.leftovers.as_slice() } else { &[] };
    for _ in 0..ATTEMPTS {
        let mut base = Base::read(store).await?;
        if base.is_unfinished() {
            // Paths that can't be changed may keep it from being finished, and the others are mended all the same.
            resume(job, store, false, progress).await?;
            base = Base::read(store).await?;
        }
        let Some(manifest) = base.manifest.clone() else { break };
        let now = leftovers.len().min(base.head().room_for_leftovers(&job.cdn));
        let mut paths = documents.clone();
        paths.extend(leftovers[..now].iter().map(|path| Arc::from(path.as_str())));
        let mut mended = Mended {
            left: left(survey, with_leftovers),
            postponed: (leftovers.len() - now) as u64,
            ..Mended::default()
        };
        let ready = ready(store, &manifest, &paths, &mut mended).await;
        let turn = Turn::take(job, store, base, false, progress).await?;
        let is_current = turn.base.manifest.as_ref().is_some_and(|now| now.root.id == manifest.root.id);
        if !is_current {
            turn.tenure.free(|_| {}).await?;
            continue;
        }
        mended.touched.clone_from(&ready);
        let is_document = |path: &str| manifest.row(path).is_some_and(|row| row.document.is_some());
        // An edge may have kept what a path showed, and whoever mends it may die before it tells anybody.
        let activated = match turn.tenure.note(|head| head.owe_paths(&job.cdn, &ready, is_document)).await {
            Ok(()) => turn.tenure.show(Changed::Paths(ready), &manifest, progress).await,
            Err(error) => Err(error),
        };
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
