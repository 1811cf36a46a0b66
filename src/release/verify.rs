//! Verify: does every stable path show what the active release says, and nothing else?
//!
//! A plain look asks the store for what it tells without handing bytes over: that something is there, its size, and the
//! digest and headers that it was written with, or in a directory whether it is the blob's own file. A *deep* one reads
//! every document and every blob and computes their digests. Whatever looks wrong is read in any case, to tell a document
//! of another release, *stale*, from bytes of none, *corrupt*. The listing then tells what lies there that no row names.
//!
//! The site may move on meanwhile. Paths that a later release changes are nobody's to judge, and are left out.

use std::collections::HashSet;
use std::sync::Arc;

use super::activate::{Changed, Family};
use super::head::{Head, HeadRead};
use super::id::ReleaseId;
use super::manifest::{Manifest, Root};
use super::progress::{Phase, Progress};
use super::row::{DocumentRow, Row};
use crate::error::Error;
use crate::store::{Store, StoreError};

pub(super) mod crew;
pub mod edge;
mod look;
mod mend;
mod others;
mod parity;
mod settle;

pub use look::{BlobFlaw, Flaw};
pub use mend::{Mended, mend};
pub use parity::sample;
pub use settle::{Settled, look_at_doubtful};

use look::{Seen, look};
use others::Others;

/// What is looked at.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// Read every document and every blob.
    pub deep: bool,
    /// Only these object paths, and not what lies beside them.
    pub paths: Option<Vec<String>>,
}

/// What was found.
#[derive(Debug)]
pub struct Survey {
    /// The release that was active at the beginning.
    pub release: ReleaseId,
    /// The committed release at the end, if that is another: it is being activated, or has been meanwhile.
    pub moved_to: Option<ReleaseId>,
    /// How many documents were looked at.
    pub documents: u64,
    /// Documents that aren't what they should be.
    pub flaws: Vec<(Arc<Row>, Flaw)>,
    /// Documents whose blob can't be shown again.
    pub blobs: Vec<(Arc<Row>, BlobFlaw)>,
    /// Paths that the store didn't let be looked at.
    pub unreadable: Vec<(Arc<Row>, StoreError)>,
    /// Objects that no row names and that lie where templates of the release, or the catalogue, put their documents.
    pub leftovers: Vec<String>,
    /// Anything else: somebody else's.
    pub foreign: Foreign,
    /// Paths that weren't judged because a later release changes them.
    pub moving: u64,
    /// True if that release is unfinished and nobody is at it: its paths show what they showed before until somebody is.
    pub is_stuck: bool,
}

/// What lies among the documents and is none of ours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Foreign {
    /// How many.
    pub count: u64,
    /// The first of them.
    pub some: Vec<String>,
}

/// A document and what it is to be shown with.
struct Wanted<'a> {
    family: &'a Family<'a>,
    row: &'a Arc<Row>,
    document: &'a DocumentRow,
}

impl Survey {
    /// True if there is nothing to mend. Somebody else's objects are their affair.
    pub fn is_intact(&self) -> bool {
        self.flaws.is_empty() && self.blobs.is_empty() && self.unreadable.is_empty() && self.leftovers.is_empty()
    }

    /// Leaves out what a release after the active one changes.
    async fn leave_out_moving(&mut self, store: &Store) -> Result<(), Error> {
        let read = HeadRead::read(store).await?;
        let is_idle = read.head.lease.is_none() || (store.delivers_late() && read.lease_of_another("").is_none());
        let head = read.head;
        self.is_stuck = is_idle && head.active != head.desired;
        let Some(desired) = head.desired.filter(|desired| *desired != self.release) else { return Ok(()) };
        let root = Root::read(store, &desired).await?;
        self.moved_to = Some(desired);
        if self.is_intact() {
            return Ok(());
        }
        let Changed::Paths(paths) = Changed::since(store, Some(&self.release), &root).await? else { return Ok(()) };
        let paths: HashSet<&str> = paths.iter().map(AsRef::as_ref).collect();
        let before = self.count();
        self.flaws.retain(|(row, _)| !paths.contains(row.path.as_ref()));
        self.unreadable.retain(|(row, _)| !paths.contains(row.path.as_ref()));
        self.leftovers.retain(|path| !paths.contains(path.as_str()));
        self.moving = before - self.count();
        Ok(())
    }

    fn count(&self) -> u64 {
        (self.flaws.len() + self.unreadable.len() + self.leftovers.len()) as u64
    }

    fn note(&mut self, row: &Arc<Row>, seen: Result<Seen, StoreError>) {
        match seen {
            Ok(Seen { document, blob }) => {
                self.flaws.extend(document.map(|flaw| (Arc::clone(row), flaw)));
                self.blobs.extend(blob.map(|flaw| (Arc::clone(row), flaw)));
            }
            Err(error) => self.unreadable.push((Arc::clone(row), error)),
        }
    }
}

/// Compares what the store shows with the active release.
pub async fn survey(store: &Store, scope: &Scope, progress: &Progress) -> Result<Survey, Error> {
    progress.enter(Phase::Prepare, 0);
    let active = active(&HeadRead::read(store).await?.head)?;
    let manifest = Manifest::read(store, &active).await?;
    let mut survey = Survey {
        release: active,
        moved_to: None,
        documents: 0,
        flaws: Vec::new(),
        blobs: Vec::new(),
        unreadable: Vec::new(),
        leftovers: Vec::new(),
        foreign: Foreign::default(),
        moving: 0,
        is_stuck: false,
    };
    let only: Option<HashSet<&str>> = scope.paths.as_ref().map(|paths| paths.iter().map(String::as_str).collect());
    let is_wanted = |row: &Row| only.as_ref().is_none_or(|only| only.contains(row.path.as_ref()));
    look_at_all(store, &manifest, scope.deep, &is_wanted, progress, &mut survey).await?;
    if only.is_none() {
        let Others { leftovers, foreign } = others::find(store, &manifest).await?;
        (survey.leftovers, survey.foreign) = (leftovers, foreign);
    }
    survey.leave_out_moving(store).await?;
    progress.enter(Phase::Done, 0);
    Ok(survey)
}

/// The release whose documents are shown.
fn active(head: &Head) -> Result<ReleaseId, Error> {
    head.active.clone().ok_or_else(|| match &head.desired {
        None => Error::Unpublished,
        Some(id) => {
            Error::usage(format!("no release is active yet: {id} isn't finished"), "`tintype resume` finishes it")
        }
    })
}

/// The documents of a release, each with what it is to be shown with.
async fn look_at_all(
    store: &Store,
    manifest: &Manifest,
    deep: bool,
    is_wanted: &dyn Fn(&Row) -> bool,
    progress: &Progress,
    survey: &mut Survey,
) -> Result<(), Error> {
    let families = families(manifest);
    let wanted: Vec<Wanted<'_>> = wanted(manifest, &families).filter(|wanted| is_wanted(wanted.row)).collect();
    progress.enter(Phase::Verify, wanted.len() as u64);
    let work = async |wanted: &Wanted<'_>| {
        let Wanted { family, row, document } = wanted;
        look(store, row, document, &family.attributes(row, document), deep).await
    };
    let mut general = None;
    crew::each(store, &wanted, &work, |wanted, seen| {
        progress.add_document();
        survey.documents += 1;
        match seen {
            // It isn't about this path, so the next would fare no better.
            Err(error) if error.is_general => general = Some(error),
            seen => survey.note(wanted.row, seen),
        }
        general.is_none()
    })
    .await;
    general.map_or(Ok(()), |error| Err(error.into()))
}

fn families(manifest: &Manifest) -> Vec<(&str, Family<'_>)> {
    let root = &manifest.root;
    root.templates.iter().map(|(name, entry)| (name.as_str(), Family::new(root, entry))).collect()
}

fn wanted<'a>(manifest: &'a Manifest, families: &'a [(&str, Family<'a>)]) -> impl Iterator<Item = Wanted<'a>> {
    families.iter().flat_map(|(name, family)| {
        let rows = manifest.rows.get(*name).map_or(&[][..], |rows| rows.as_slice());
        rows.iter().filter_map(move |row| Some(Wanted { family, row, document: row.document.as_ref()? }))
    })
}
