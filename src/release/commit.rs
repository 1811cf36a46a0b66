//! Commit and activation: the part of the protocol that one publisher at a time goes through.
//!
//! The commit is one swap of `head.json`. An error before it means that nothing has happened; an error after it means
//! that the release is committed and not finished, which is told as such, because the next run goes on from there.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use chrono::Utc;

use super::base::Base;
use super::draft::{Draft, Drafted};
use super::head::{Head, HeadRead, Lease};
use super::id::ReleaseId;
use super::lease::Tenure;
use super::manifest::Manifest;
use super::progress::{Phase, Progress};
use super::publish::Job;
use super::report::{Report, Seconds};
use crate::error::Error;
use crate::store::{Lock, Store};

/// How many times a run merges again because others committed meanwhile.
const COMMIT_ATTEMPTS: usize = 8;
/// How often a publisher that waits for a lease looks again.
const LEASE_POLL: Duration = Duration::from_secs(1);

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
    let deadline = started + job.lease_wait;
    // Where a lock keeps the others out, what they did until now is seen at once. Elsewhere the swap tells whether they
    // did anything, and most of the time they didn't.
    let mut is_stale = matches!(store, Store::Directory(_));
    for _ in 0..COMMIT_ATTEMPTS {
        if is_stale {
            base = base.read_again(store).await?;
        }
        is_stale = true;
        base = await_lease(job, store, base, deadline).await?;
        let drafted = draft.onto(&base, store).await?;
        let runs = draft.runs(&drafted);
        let (swapped, lease, manifest, report) = if draft.has_built() && drafted.manifest.is_some() {
            draft.write(&drafted, store).await?;
            // Nothing may be committed that a power cut could still take away.
            store.settle().await?;
            let mut next = leased(&base, job);
            runs.note(&mut next);
            next.desired = drafted.id();
            let lease = next.lease.clone();
            // A signal from here on finds a release that may be committed, and then one that is.
            progress.enter(Phase::Commit, 0);
            let Some(swapped) = base.read.swap(store, next).await? else {
                progress.enter(Phase::Stage, 0);
                continue;
            };
            progress.enter(Phase::Activate, 0);
            tracing::info!(release = ?swapped.head.desired.as_ref().map(ToString::to_string), "release committed");
            let manifest = drafted.manifest.clone();
            let report = draft.report(drafted, swapped.head.desired.clone(), true);
            draft.forget();
            (swapped, lease, manifest, report)
        } else {
            let mut next = match base.is_unfinished() {
                true => leased(&base, job),
                false => base.head().clone(),
            };
            runs.note(&mut next);
            let lease = next.lease.clone();
            let Some(swapped) = base.read.swap(store, next).await? else { continue };
            let report = draft.report(drafted, base.head().desired.clone(), false);
            (swapped, lease, base.manifest.clone(), report)
        };
        seconds.commit = started.elapsed().as_secs_f64();
        let started = Instant::now();
        let report = finish(store, swapped, lease.as_ref(), manifest.as_deref(), report, progress).await;
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
    lease: Option<&Lease>,
    manifest: Option<&Manifest>,
    mut report: Report,
    progress: &Progress,
) -> Report {
    let is_finished = head.head.active == head.head.desired;
    if let (Some(manifest), Some(lease), false) = (manifest, lease, is_finished) {
        let activated = match Tenure::new(store, lease, head) {
            Ok(tenure) => tenure.roll_forward(manifest, progress).await,
            Err(error) => Err(error),
        };
        match activated {
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
    if base.read.lease_of_another(&job.holder).is_some() {
        return Ok((base, None));
    }
    let Some(manifest) = base.manifest.clone().filter(|_| base.is_unfinished()) else { return Ok((base, None)) };
    let next = leased(&base, job);
    let Some(lease) = next.lease.clone() else { return Ok((base, None)) };
    let Some(head) = base.read.swap(store, next).await? else { return Ok((base, None)) };
    let activated = Tenure::new(store, &lease, head)?.roll_forward(&manifest, progress).await?;
    let finished = activated.is_complete().then(|| manifest.root.id.clone());
    Ok((base.read_again(store).await?, finished))
}

/// Waits until no other publisher holds the lease; returns the state as it is then.
async fn await_lease(job: &Job, store: &Store, mut base: Base, deadline: Instant) -> Result<Base, Error> {
    // What was read before the build may say of a lease that is long over.
    let mut is_current = false;
    while let Some((lease, age)) = base.read.lease_of_another(&job.holder) {
        if is_current {
            if Instant::now() >= deadline {
                return Err(Error::Locked { holder: lease.holder.clone(), age });
            }
            let left = deadline.saturating_duration_since(Instant::now());
            tokio::time::sleep(LEASE_POLL.min(left)).await;
        }
        base = base.read_again(store).await?;
        is_current = true;
    }
    Ok(base)
}

/// The head with the lease taken by this run.
fn leased(base: &Base, job: &Job) -> Head {
    let mut next = base.head().clone();
    next.epoch += 1;
    next.lease = Some(Lease {
        holder: job.holder.clone(),
        epoch: next.epoch,
        ttl_seconds: job.lease_ttl.as_secs(),
        taken_at: Utc::now(),
    });
    next
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
