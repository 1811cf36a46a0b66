//! Commit and activation: the part of the protocol that one publisher at a time goes through.
//!
//! The commit is one swap of `head.json`. An error before it means that nothing has happened; an error after it means
//! that the release is committed and not finished, which is told as such, because the next run goes on from there.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use super::barrier;
use super::base::Base;
use super::draft::{CLOCKS_APART, Draft, Drafted};
use super::head::{Checked, Head, HeadRead, Lease};
use super::id::ReleaseId;
use super::lease::Tenure;
use super::manifest::Manifest;
use super::progress::{Phase, Progress};
use super::publish::Job;
use super::purge;
use super::report::{Report, Seconds, TemplateReport};
use super::table;
use super::turn::{Contest, Turn, await_lease, leased, lock, without_dead_lease};
use crate::error::Error;
use crate::store::Store;

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
    let held = lock(job, store, progress).await?;
    let deadline = started + job.lease_wait;
    let built_on = base.head().desired.clone();
    // Where a lock keeps the others out, what they did until now is seen at once. Elsewhere the swap tells whether they
    // did anything, and most of the time they didn't.
    let mut is_stale = matches!(store, Store::Directory(_));
    let mut contest = Contest::new(job);
    let mut staged = None;
    loop {
        if is_stale {
            base = base.read_again(store).await?;
        }
        is_stale = true;
        base = await_lease(job, store, base, deadline, progress).await?;
        barrier::check(store, built_on.as_ref(), &base, job.now).await?;
        let mut drafted = draft.onto(&base, store).await?;
        if drafted.has_refused() && base.begins_behind > 0 {
            // All or nothing, as where a template can't be read.
            return Ok(draft.report(drafted, None, false));
        }
        if drafted.has_refused() && staged.is_none() {
            // Before the commit, so that the head can name it; once, because it says what the run saw on any base.
            staged = match &job.publishes {
                Some(staged) => Some(staged.clone()),
                None => write_unguarded(store, draft, &base).await?,
            };
        }
        let runs = draft.runs(&drafted, staged.as_ref());
        let (swapped, lease, manifest, report) = if draft.has_content(&drafted) {
            draft.write(&mut drafted, store).await?;
            // Nothing may be committed that a power cut could still take away.
            store.settle().await?;
            let mut next = leased(store, &base, job);
            runs.note(&mut next);
            next.desired = drafted.id();
            let lease = next.lease.clone();
            #[cfg(test)]
            super::fault_tests::activate_too_early(store, &base, &drafted, progress).await;
            // A signal from here on finds a release that may be committed, and then one that is.
            progress.enter(Phase::Commit, 0);
            let Some(swapped) = base.read.swap(store, next).await? else {
                progress.enter(Phase::Stage, 0);
                contest.lost().await?;
                continue;
            };
            progress.enter(Phase::Activate, 0);
            tracing::info!(release = swapped.head.desired.as_ref().map(ToString::to_string), "release committed");
            let manifest = drafted.manifest.clone();
            let report = draft.report(drafted, swapped.head.desired.clone(), true);
            draft.forget();
            (swapped, lease, manifest, report)
        } else {
            let mut next = match base.is_unfinished() {
                true => leased(store, &base, job),
                false => without_dead_lease(store, &base),
            };
            runs.note(&mut next);
            let lease = next.lease.clone();
            let Some(swapped) = base.read.swap(store, next).await? else {
                contest.lost().await?;
                continue;
            };
            let report = draft.report(drafted, base.head().desired.clone(), false);
            (swapped, lease, base.manifest.clone(), report)
        };
        seconds.commit = started.elapsed().as_secs_f64();
        let started = Instant::now();
        let mut report = finish(store, swapped, lease.as_ref(), manifest.as_deref(), report, progress).await;
        report.staged = staged;
        seconds.activate = started.elapsed().as_secs_f64();
        // A CDN may keep a purge waiting for minutes, and others may publish meanwhile.
        drop(held);
        // The one must not wait for the other, which may be away.
        let purged = timed(purge::catch_up(store, &job.cdn, job.purge, &report.activated, progress));
        let tabled = timed(table::catch_up(store, job.table.as_ref(), manifest.as_deref(), progress));
        ((report.purge, seconds.purge), (report.table, seconds.table)) = tokio::join!(purged, tabled);
        return Ok(report);
    }
}

/// What comes of some work, and the seconds that it took.
async fn timed<T>(work: impl Future<Output = T>) -> (T, f64) {
    let started = Instant::now();
    let done = work.await;
    (done, started.elapsed().as_secs_f64())
}

/// Stages what a run saw as a release that nobody commits yet, whatever its guards say of it.
pub async fn stage(store: &Store, draft: &mut Draft, base: &Base) -> Result<Report, Error> {
    let staged = write_unguarded(store, draft, base).await?;
    let drafted = draft.onto(base, store).await?;
    let report = draft.report(drafted, base.head().desired.clone(), false);
    Ok(Report { staged, ..report })
}

/// Writes the release that it would be if every guard let it pass; none if that is the committed one.
async fn write_unguarded(store: &Store, draft: &mut Draft, base: &Base) -> Result<Option<ReleaseId>, Error> {
    let mut drafted = draft.unguarded(base, store).await?;
    draft.write(&mut drafted, store).await?;
    store.settle().await?;
    Ok(drafted.id())
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
    if let (Some(_), Some(lease), false) = (manifest, lease, is_finished) {
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
    let impatient = Job { lease_wait: Duration::ZERO, ..job.clone() };
    progress.enter(Phase::Activate, 0);
    let turn = match Turn::take(&impatient, store, base.clone(), false, progress).await {
        Ok(turn) => turn,
        Err(Error::Locked { .. }) => return Ok((base, None)),
        Err(error) => return Err(error),
    };
    let activated = turn.tenure.roll_forward(turn.base.manifest.as_deref(), progress).await?;
    let base = turn.end();
    if let Some(error) = purge::catch_up(store, &job.cdn, job.purge, &activated, progress).await.error {
        // This run purges once more at its end; it matters only if it doesn't get there.
        tracing::warn!(%error, "what was finished couldn't be purged yet");
    }
    progress.enter(Phase::Prepare, 0);
    let finished = base.is_unfinished() && activated.is_complete();
    let finished = base.head().desired.clone().filter(|_| finished);
    Ok((base.read_again(store).await?, finished))
}

/// What the head remembers of a run: which templates were read whole, which failed, and which are no more.
#[derive(Debug, Default)]
pub struct Runs {
    pub retired: Vec<String>,
    pub checked: BTreeMap<String, Checked>,
    pub failed: BTreeMap<String, super::head::Failed>,
    /// Templates whose query was left out: the last whole read that the answer stands for, and when it was looked at.
    pub looked: BTreeMap<String, (DateTime<Utc>, DateTime<Utc>)>,
    /// True for a run that brings back documents of another release, for which no answer of a refresh query stands.
    pub restores: bool,
}

impl Runs {
    fn note(&self, head: &mut Head) {
        for (name, checked) in &self.checked {
            if head
                .checked
                .get(name)
                .is_none_or(|known| known.as_of != checked.as_of && !is_newer(known.as_of, checked))
            {
                head.checked.insert(name.clone(), checked.clone());
            }
            // What has failed on newer data than this run saw fails still.
            if head.failed.get(name).is_some_and(|failed| !is_newer(failed.as_of.unwrap_or(failed.at), checked)) {
                head.failed.remove(name);
            }
        }
        head.failed.extend(self.failed.clone());
        for (name, (since, at)) in &self.looked {
            if let Some(checked) = head.checked.get_mut(name).filter(|checked| checked.as_of == *since) {
                checked.looked_at = Some(*at);
            }
        }
        // What an answer stood for is in doubt; the next run reads.
        for (_, checked) in head.checked.iter_mut().filter(|(name, _)| self.restores || self.failed.contains_key(*name))
        {
            checked.refresh = None;
        }
        for name in &self.retired {
            head.checked.remove(name);
            head.failed.remove(name);
        }
    }
}

/// True for an instant after the one whose data a run saw. One far ahead of the run's own clock is no instant at all.
fn is_newer(instant: DateTime<Utc>, checked: &Checked) -> bool {
    instant > checked.as_of && instant <= checked.at + CLOCKS_APART
}

impl Drafted {
    fn has_refused(&self) -> bool {
        self.reports.iter().any(TemplateReport::is_refused)
    }

    fn id(&self) -> Option<ReleaseId> {
        self.manifest.as_ref().map(|manifest| manifest.root.id.clone())
    }
}
