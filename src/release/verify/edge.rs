//! The edge: do readers get what the active release says?
//!
//! Paths are fetched through the CDN's URL as a browser would fetch them, and their digests compared with the release's; a
//! path that the release doesn't have must not be there. What an edge could be behind with is what has changed, so that
//! is what is looked at unless somebody asks for more. Only the edge that answers here is seen: another one, on another
//! continent, may have forgotten more or less.
//!
//! An edge can't be fresher than its origin. Where the store itself shows something else than the release says, the path
//! is told to be the origin's, because no purge would help; and paths that a later release changes are nobody's to judge.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use serde::Serialize;
use url::Url;

use super::super::activate::Changed;
use super::super::head::HeadRead;
use super::super::id::ReleaseId;
use super::super::manifest::{Manifest, Root};
use super::super::progress::{Phase, Progress};
use super::settle::look_at_doubtful;
use crate::cdn::Cdn;
use crate::error::Error;
use crate::snapshot::Digest;
use crate::store::Store;

mod again;
mod look;
mod targets;

pub use again::{Again, purge_again};
pub use targets::{Choice, Scope};

use look::look;
use targets::Target;

/// As many requests at a time as a page with many maps sends.
const AT_A_TIME: usize = 16;
/// So many paths in a row that couldn't be fetched mean that the rest couldn't either.
const HOPELESS: usize = 2 * AT_A_TIME;

/// A site with an edge in front.
#[derive(Clone, Copy)]
pub struct Edge<'a> {
    /// Where the releases are.
    pub store: &'a Store,
    /// Whose edges they are; none if nobody tells them anything.
    pub cdn: &'a Cdn,
    /// Where readers fetch the documents; its path ends in `/`.
    pub base: &'a Url,
    /// Counts what was looked at.
    pub progress: &'a Progress,
}

/// What is wrong with what the edge shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Flaw {
    /// Other bytes than the release has.
    Stale,
    /// Nothing, where the release has a document.
    Missing,
    /// Something, where the release has nothing.
    Lingering,
    /// Bytes that are encoded otherwise than their headers say.
    Garbled,
}

/// A path that isn't as it should be.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// The object path.
    pub path: Arc<str>,
    /// What is wrong.
    pub flaw: Flaw,
    /// The status that the edge answered with.
    pub status: u16,
    /// What it shows, where that could be told.
    pub edge: Option<Digest>,
    /// What it should show.
    pub release: Option<Digest>,
    /// For how many seconds the edge has kept that, if it says so.
    pub age: Option<u64>,
    /// True if the store doesn't show what it should either.
    pub origin: bool,
}

/// What came of looking at some paths.
#[derive(Debug, Default)]
pub struct Looks {
    /// How many were looked at.
    pub looked_at: u64,
    /// Those that aren't as they should be.
    pub findings: Vec<Finding>,
    /// Those that couldn't be fetched, each with the reason.
    pub unreadable: Vec<(Arc<str>, String)>,
    /// How many weren't tried any more, because nothing was to be hoped for after those that failed.
    pub skipped: u64,
}

/// What was found.
#[derive(Debug)]
pub struct Survey {
    /// The release that was active at the beginning.
    pub release: ReleaseId,
    /// The committed release at the end, if that is another.
    pub moved_to: Option<ReleaseId>,
    /// How many paths were to be looked at, had there been no bound.
    pub in_scope: u64,
    /// What came of it.
    pub looks: Looks,
    /// Paths that weren't judged because a later release changes them.
    pub moving: u64,
}

impl Looks {
    /// True if every path is as it should be.
    pub fn is_fresh(&self) -> bool {
        self.findings.is_empty() && self.unreadable.is_empty() && self.skipped == 0
    }
}

/// Compares what the edge shows with the active release.
pub async fn survey(edge: Edge<'_>, scope: &Scope) -> Result<Survey, Error> {
    edge.progress.enter(Phase::Prepare, 0);
    let head = HeadRead::read(edge.store).await?.head;
    let release = super::active(&head)?;
    let manifest = Manifest::read(edge.store, &release).await?;
    let (targets, in_scope) = targets::find(edge, &head, &manifest, scope).await?;
    let mut looks = look_at_all(edge, targets).await;
    let (moved_to, moving) = leave_out_moving(edge.store, &release, &mut looks).await?;
    find_origins(edge, &manifest, &mut looks).await;
    Ok(Survey { release, moved_to, in_scope, looks, moving })
}

/// Looks at paths, some at a time.
async fn look_at_all(edge: Edge<'_>, targets: Vec<Target>) -> Looks {
    edge.progress.enter(Phase::Verify, targets.len() as u64);
    let mut looks = Looks::default();
    let mut waiting = targets.into_iter();
    let mut running = FuturesUnordered::new();
    let mut failures = 0;
    loop {
        while failures < HOPELESS && running.len() < AT_A_TIME {
            let Some(target) = waiting.next() else { break };
            running.push(async move { (look(edge.base, &target).await, target) });
        }
        let Some((seen, target)) = running.next().await else { break };
        edge.progress.add_document();
        looks.looked_at += 1;
        failures = if seen.is_err() { failures + 1 } else { 0 };
        match seen {
            Ok(finding) => looks.findings.extend(finding),
            Err(reason) => looks.unreadable.push((target.path, reason)),
        }
    }
    looks.skipped = waiting.len() as u64;
    looks.findings.sort_by(|a, b| a.path.cmp(&b.path));
    looks.unreadable.sort();
    looks
}

/// Leaves out what a release after the one that was looked for changes: which, and how many paths that were.
async fn leave_out_moving(
    store: &Store,
    release: &ReleaseId,
    looks: &mut Looks,
) -> Result<(Option<ReleaseId>, u64), Error> {
    let desired = HeadRead::read(store).await?.head.desired;
    let Some(desired) = desired.filter(|desired| desired != release) else { return Ok((None, 0)) };
    let root = Root::read(store, &desired).await?;
    let Changed::Paths(paths) = Changed::since(store, Some(release), &root).await? else {
        return Ok((Some(desired), 0));
    };
    let paths: HashSet<&str> = paths.iter().map(AsRef::as_ref).collect();
    let before = looks.findings.len();
    looks.findings.retain(|finding| !paths.contains(finding.path.as_ref()));
    Ok((Some(desired), (before - looks.findings.len()) as u64))
}

/// Finds out for which findings the store is to blame. One that can't be asked is blamed for nothing.
async fn find_origins(edge: Edge<'_>, manifest: &Manifest, looks: &mut Looks) {
    if looks.findings.is_empty() {
        return;
    }
    let paths = looks.findings.iter().map(|finding| Arc::clone(&finding.path)).collect();
    let settled = look_at_doubtful(edge.store, manifest, Changed::Paths(paths), edge.progress).await;
    for finding in &mut looks.findings {
        finding.origin = settled.differed.binary_search(&finding.path).is_ok();
    }
}
