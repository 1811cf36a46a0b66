//! Commit and activation: the part of the protocol that one publisher at a time goes through.
//!
//! The commit is one swap of `head.json`. An error before it means that nothing has happened; an error after it means
//! that the release is committed and not finished, which is told as such, because the next run goes on from there.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use chrono::Utc;

use super::activate::{Activated, activate};
use super::base::Base;
use super::draft::{Draft, Drafted};
use super::head::{Head, HeadRead, Lease};
use super::id::ReleaseId;
use super::manifest::Manifest;
use super::progress::{Phase, Progress};
use super::publish::Job;
use super::report::{Report, Seconds};
use crate::error::Error;
use crate::store::{Lock, Store};

/// How many times a run merges again because others committed meanwhile.
const COMMIT_ATTEMPTS: usize = 8;
/// How long a lease lives that nothing renews; on a directory the lock ends with the process anyway.
const LEASE_TTL: Duration = Duration::from_secs(90);

/// Merges, commits and activates.
pub async fn commit(
    job: &Job,
    store: &Store,
    draft: &mut Draft,
    mut base: Base,
    progress: &Progress,
    seconds: &mut Seconds,
) -> Result<Report, Error> {
    let started = Instant::now();
    let _lock = take_lock(store, job.lease_wait).await?;
    for _ in 0..COMMIT_ATTEMPTS {
        base = base.read_again(store).await?;
        let drafted = draft.onto(&base, store).await?;
        let runs = draft.runs(&drafted);
        let note = |head: &mut Head| runs.note(head);
        let (swapped, manifest, report) = if draft.has_built() && drafted.manifest.is_some() {
            draft.write(&drafted, store).await?;
            // Nothing may be committed that a power cut could still take away.
            store.settle().await?;
            let mut next = leased(&base, job);
            note(&mut next);
            next.desired = drafted.id();
            let Some(swapped) = base.read.swap(store, next).await? else { continue };
            // A signal from here on finds a release that is committed.
            progress.enter(Phase::Activate, 0);
            tracing::info!(release = ?swapped.head.desired.as_ref().map(ToString::to_string), "release committed");
            let manifest = drafted.manifest.clone();
            let report = draft.report(drafted, swapped.head.desired.clone(), true);
            (swapped, manifest, report)
        } else {
            let report = draft.report(drafted, base.head().desired.clone(), false);
            let swapped = base.read.clone().update(store, note).await?;
            (swapped, base.manifest.clone(), report)
        };
        seconds.commit = started.elapsed().as_secs_f64();
        let started = Instant::now();
        let report = finish(store, swapped, manifest.as_deref(), report, progress).await;
        seconds.activate = started.elapsed().as_secs_f64();
        return Ok(report);
    }
    Err(Error::Corrupt {
        object: "head.json".to_owned(),
        reason: format!("was changed by others {COMMIT_ATTEMPTS} times in a row; nothing was committed"),
    })
}

/// Activates what isn't active yet, and completes the report.
async fn finish(
    store: &Store,
    head: HeadRead,
    manifest: Option<&Manifest>,
    mut report: Report,
    progress: &Progress,
) -> Report {
    if let Some(manifest) = manifest.filter(|_| head.head.active != head.head.desired) {
        match roll_forward(store, head, manifest, progress).await {
            Ok(activated) => report.activated = activated,
            Err(error) => report.unfinished = Some(error),
        }
    }
    report
}

/// Finishes the release that an earlier run committed. If another publisher is at it, it is left to that one.
pub async fn finish_interrupted(
    job: &Job,
    store: &Store,
    base: Base,
    progress: &Progress,
) -> Result<(Base, Option<ReleaseId>), Error> {
    let Some(_lock) = store.lock(Duration::ZERO).await? else { return Ok((base, None)) };
    let base = base.read_again(store).await?;
    let Some(manifest) = base.manifest.clone().filter(|_| base.is_unfinished()) else { return Ok((base, None)) };
    let Some(head) = base.read.swap(store, leased(&base, job)).await? else { return Ok((base, None)) };
    let activated = roll_forward(store, head, &manifest, progress).await?;
    let finished = activated.failed.is_empty().then(|| manifest.root.id.clone());
    Ok((base.read_again(store).await?, finished))
}

/// The head with the lease taken by this run.
fn leased(base: &Base, job: &Job) -> Head {
    let mut next = base.head().clone();
    next.epoch += 1;
    next.lease = Some(Lease {
        holder: job.holder.clone(),
        epoch: next.epoch,
        ttl_seconds: LEASE_TTL.as_secs(),
        taken_at: Utc::now(),
    });
    next
}

/// Steps 7 and 8 of the protocol: activate, then say so.
async fn roll_forward(
    store: &Store,
    head: HeadRead,
    manifest: &Manifest,
    progress: &Progress,
) -> Result<Activated, Error> {
    let activated = activate(store, &head.head, manifest, progress).await?;
    store.settle().await?;
    let complete = activated.failed.is_empty();
    let id = manifest.root.id.clone();
    let change = |head: &mut Head| {
        if complete {
            head.active = Some(id.clone());
        }
        head.lease = None;
    };
    head.update(store, change).await?;
    Ok(activated)
}

async fn take_lock(store: &Store, wait: Duration) -> Result<Lock, Error> {
    if let Some(lock) = store.lock(wait).await? {
        return Ok(lock);
    }
    let lease = HeadRead::read(store).await?.head.lease;
    let age = lease.as_ref().and_then(|lease| (Utc::now() - lease.taken_at).to_std().ok()).unwrap_or(wait);
    let holder = lease.map_or_else(|| "a process that hasn't committed yet".to_owned(), |lease| lease.holder);
    Err(Error::Locked { holder, age })
}

/// What the head remembers of a run: which templates were read whole, and which failed.
#[derive(Debug, Default)]
pub struct Runs {
    pub checked: BTreeMap<String, super::head::Checked>,
    pub failed: BTreeMap<String, super::head::Failed>,
}

impl Runs {
    fn note(&self, head: &mut Head) {
        for (name, checked) in &self.checked {
            if head.checked.get(name).is_none_or(|known| known.as_of < checked.as_of) {
                head.checked.insert(name.clone(), checked.clone());
            }
            head.failed.remove(name);
        }
        head.failed.extend(self.failed.clone());
    }
}

impl Drafted {
    fn id(&self) -> Option<ReleaseId> {
        self.manifest.as_ref().map(|manifest| manifest.root.id.clone())
    }
}
