//! The publish protocol: build without holding anything, merge, commit, activate.
//!
//! Until the commit nothing is visible and a crash changes nothing. The commit is one compare-and-swap of `head.json`;
//! after it the release is finished by this run or, if this one dies, by whichever comes next.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use super::activate::{Activated, activate};
use super::build::{BuildError, Builder, Built, Cost};
use super::draft::{Draft, Drafted};
use super::head::{Checked, HeadRead, Lease};
use super::id::{ReleaseId, RunId};
use super::manifest::{Kind, Manifest};
use super::progress::{Phase, Progress};
use crate::database::{Database, ReadSettings};
use crate::diagnostic::Diagnostic;
use crate::error::Error;
use crate::store::{Lock, Store};
use crate::template::Template;
use crate::template::scope::Scope;
use crate::template::select::Selector;

/// How many times a run merges again because others committed meanwhile.
const COMMIT_ATTEMPTS: usize = 8;
/// How long a lease lives that nothing renews; on a directory the lock ends with the process anyway.
const LEASE_TTL: Duration = Duration::from_secs(90);

/// What a run is to do.
#[derive(Debug, Clone)]
pub struct Job {
    /// Every template there is.
    pub templates: Vec<Arc<Template>>,
    /// What to build of them.
    pub selectors: Vec<Selector>,
    /// Publish or republish, for the history.
    pub kind: Kind,
    /// Write what was built even if it didn't change.
    pub rewrite: bool,
    /// False for a plan, which writes nothing.
    pub commit: bool,
    /// Who asked for it.
    pub author: Option<String>,
    /// Why.
    pub note: Option<String>,
    /// The name of the run.
    pub run: RunId,
    /// When it began.
    pub now: DateTime<Utc>,
    /// How long to wait for another publisher's activation.
    pub lease_wait: Duration,
    /// Who this is, for the others: host and process.
    pub holder: String,
}

/// What a run did, or a plan would do.
#[derive(Debug)]
pub struct Report {
    /// The release that is desired now; none before the first.
    pub release: Option<ReleaseId>,
    /// True if the run committed it.
    pub committed: bool,
    /// The instant whose data the run saw.
    pub as_of: DateTime<Utc>,
    /// What became of each template that was asked for.
    pub templates: Vec<TemplateReport>,
    /// Documents of the release that the run found committed.
    pub documents_before: u64,
    /// Templates of the release whose files are gone.
    pub orphans: Vec<String>,
    /// What activation did, if there was anything to activate.
    pub activated: Activated,
    /// Where the time went, in seconds.
    pub seconds: Seconds,
}

/// Where the time went.
#[derive(Debug, Clone, Copy, Default)]
pub struct Seconds {
    /// Statements.
    pub query: f64,
    /// From opening the connection to closing it.
    pub hold: f64,
    /// Splitting rows into documents.
    pub encode: f64,
    /// Digesting and compressing, and writing blobs; summed over the threads.
    pub stage: f64,
    /// Waiting for the lock, merging and committing.
    pub commit: f64,
    /// Changing stable paths.
    pub activate: f64,
    /// Everything.
    pub total: f64,
}

/// What became of a template.
#[derive(Debug)]
pub struct TemplateReport {
    /// Its name.
    pub name: String,
    /// Why it failed; its last good documents stay.
    pub failure: Option<Diagnostic>,
    /// The keys it has now, and what changes.
    pub counts: Counts,
    /// Rows read.
    pub rows: u64,
    /// Rows of keys that aren't published, or that belong to another scope.
    pub rows_skipped: u64,
    /// More published combinations than `max_keys`: no empty documents.
    pub over_max_keys: bool,
    /// What it cost.
    pub cost: Cost,
    /// The changes, with the documents before and after.
    pub changes: Vec<super::draft::Difference>,
}

/// Documents of a template by what happens to them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// All that it has afterwards.
    pub keys: u64,
    /// New ones.
    pub added: u64,
    /// With other bytes or headers.
    pub changed: u64,
    /// Gone.
    pub removed: u64,
    /// Written again as they were.
    pub rewritten: u64,
    /// As they were, and not touched.
    pub unchanged: u64,
}

/// A template after the build: built, or why not.
pub(super) type Outcome = (Arc<Template>, Result<Built, Diagnostic>);

/// Runs a job.
pub async fn run(
    job: &Job,
    store: &Arc<Store>,
    database: &Database,
    settings: &ReadSettings,
    progress: &Arc<Progress>,
) -> Result<Report, Error> {
    let started = Instant::now();
    progress.enter(Phase::Prepare, 0);
    let head = HeadRead::read(store).await?;
    let base = committed(store, &head).await?;
    let mut seconds = Seconds::default();
    let (as_of, outcomes) = build(job, store, database, settings, progress, base.as_ref(), &mut seconds).await?;

    let commit_started = Instant::now();
    progress.enter(Phase::Stage, 0);
    let mut draft = Draft::new(job, as_of, outcomes);
    let mut report = if job.commit && draft.has_built() {
        commit(job, store, &mut draft, head, base, progress, &mut seconds, commit_started).await?
    } else {
        let drafted = draft.onto(base.as_deref(), &head.head, store).await?;
        draft.report(drafted, head.head.desired.clone(), false)
    };
    seconds.total = started.elapsed().as_secs_f64();
    report.seconds = seconds;
    Ok(report)
}

async fn committed(store: &Store, head: &HeadRead) -> Result<Option<Arc<Manifest>>, Error> {
    match &head.head.desired {
        Some(id) => Ok(Some(Arc::new(Manifest::read(store, id).await?))),
        None => Ok(None),
    }
}

/// Builds every template that was asked for, in one transaction over one connection.
async fn build(
    job: &Job,
    store: &Arc<Store>,
    database: &Database,
    settings: &ReadSettings,
    progress: &Arc<Progress>,
    base: Option<&Arc<Manifest>>,
    seconds: &mut Seconds,
) -> Result<(DateTime<Utc>, Vec<Outcome>), Error> {
    let command = match job.kind {
        Kind::Publish if !job.commit => "plan",
        Kind::Publish => "publish",
        Kind::Republish => "republish",
        Kind::Rollback => "rollback",
    };
    let held = Instant::now();
    let mut transaction = database.begin(settings, &format!("tintype/{command}/{}", job.run)).await?;
    let builder = Builder {
        store: Arc::clone(store),
        run: job.run.clone(),
        base: base.cloned(),
        stage: job.commit,
        now: job.now,
        progress: Arc::clone(progress),
        live: false,
        observe: None,
    };
    let mut prepared = Vec::new();
    for template in &job.templates {
        let selectors: Vec<&Selector> =
            job.selectors.iter().filter(|selector| selector.template == template.name).collect();
        if !selectors.is_empty() {
            match builder.prepare(&mut transaction, template, &selectors).await {
                Err(BuildError::Fatal(error)) => return Err(error),
                known => prepared.push((Arc::clone(template), known)),
            }
        }
    }
    let mut running = Vec::new();
    let mut over = false;
    for (template, known) in prepared {
        let read = match known {
            Ok(known) => builder.run(&mut transaction, known).await,
            Err(error) => Err(error),
        };
        over = match &read {
            Ok(running) => running.lost_connection(),
            Err(error) => matches!(error, BuildError::Fatal(_)),
        };
        running.push((template, read));
        if over {
            break;
        }
    }
    // The connection goes back as soon as the last row is read: compressing and writing need none.
    let as_of = transaction.as_of;
    if !over {
        transaction.finish().await?;
    }
    seconds.hold = held.elapsed().as_secs_f64();
    let mut outcomes = Vec::new();
    for (template, read) in running {
        let built = match read {
            Ok(running) => running.finish().await,
            Err(error) => Err(error),
        };
        let built = match built {
            Ok(built) => {
                seconds.query += built.cost.query_seconds;
                seconds.encode += built.cost.encode_seconds;
                seconds.stage += built.cost.compress_seconds + built.cost.stage_seconds;
                Ok(built)
            }
            Err(BuildError::Template(finding)) => Err(*finding),
            Err(BuildError::Fatal(error)) => return Err(error),
        };
        outcomes.push((template, built));
    }
    Ok((as_of, outcomes))
}

/// Merges, commits and activates, with the lock held.
#[expect(clippy::too_many_arguments, reason = "the state of one run at one point of the protocol, used nowhere else")]
async fn commit(
    job: &Job,
    store: &Arc<Store>,
    draft: &mut Draft,
    mut head: HeadRead,
    mut base: Option<Arc<Manifest>>,
    progress: &Progress,
    seconds: &mut Seconds,
    started: Instant,
) -> Result<Report, Error> {
    let lock = take_lock(store, job.lease_wait, job.now).await?;
    for _ in 0..COMMIT_ATTEMPTS {
        let newest = HeadRead::read(store).await?;
        if newest.head.desired != head.head.desired {
            base = committed(store, &newest).await?;
        }
        head = newest;
        let drafted = draft.onto(base.as_deref(), &head.head, store).await?;
        let checked = draft.checked();
        if drafted.manifest.is_none() {
            let report = draft.report(drafted, head.head.desired.clone(), false);
            let head = head.update(store, |head| note_checked(head, &checked)).await?;
            return finish(store, head, base.as_deref(), report, progress, seconds, started, lock).await;
        }
        draft.write(&drafted, store).await?;
        // Nothing may be committed that a power cut could still take away.
        store.settle().await?;
        let mut next = head.head.clone();
        note_checked(&mut next, &checked);
        next.desired = drafted.id();
        let epoch = head.head.lease.as_ref().map_or(1, |lease| lease.epoch + 1);
        let ttl_seconds = LEASE_TTL.as_secs();
        next.lease = Some(Lease { holder: job.holder.clone(), epoch, ttl_seconds, taken_at: Utc::now() });
        if let Some(swapped) = head.swap(store, next).await? {
            let manifest = drafted.manifest.clone();
            let report = draft.report(drafted, swapped.head.desired.clone(), true);
            return finish(store, swapped, manifest.as_deref(), report, progress, seconds, started, lock).await;
        }
    }
    Err(Error::Corrupt {
        object: "head.json".to_owned(),
        reason: format!("was changed by others {COMMIT_ATTEMPTS} times in a row; nothing was committed"),
    })
}

/// Activates what isn't active yet, frees the lease, and completes the report.
#[expect(clippy::too_many_arguments, reason = "the state of one run at one point of the protocol, used nowhere else")]
async fn finish(
    store: &Store,
    head: HeadRead,
    manifest: Option<&Manifest>,
    mut report: Report,
    progress: &Progress,
    seconds: &mut Seconds,
    started: Instant,
    _lock: Lock,
) -> Result<Report, Error> {
    seconds.commit = started.elapsed().as_secs_f64();
    let started = Instant::now();
    if let Some(manifest) = manifest.filter(|_| head.head.active != head.head.desired) {
        report.activated = roll_forward(store, head, manifest, progress).await?;
    }
    seconds.activate = started.elapsed().as_secs_f64();
    Ok(report)
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
    head.update(store, |head| {
        if complete {
            head.active = Some(id.clone());
        }
        head.lease = None;
    })
    .await?;
    Ok(activated)
}

async fn take_lock(store: &Store, wait: Duration, now: DateTime<Utc>) -> Result<Lock, Error> {
    if let Some(lock) = store.lock(wait).await? {
        return Ok(lock);
    }
    let lease = HeadRead::read(store).await?.head.lease;
    let age = lease.as_ref().and_then(|lease| (Utc::now().max(now) - lease.taken_at).to_std().ok()).unwrap_or(wait);
    let holder = lease.map_or_else(|| "a process that hasn't committed yet".to_owned(), |lease| lease.holder);
    Err(Error::Locked { holder, age })
}

fn note_checked(head: &mut super::head::Head, checked: &BTreeMap<String, Checked>) {
    for (name, checked) in checked {
        let newer = head.checked.get(name).is_none_or(|known| known.as_of < checked.as_of);
        if newer {
            head.checked.insert(name.clone(), checked.clone());
        }
    }
}

impl Built {
    /// True if every key of the template was read.
    pub fn is_whole(&self) -> bool {
        matches!(self.scope, Scope::All)
    }
}

impl Drafted {
    fn id(&self) -> Option<ReleaseId> {
        self.manifest.as_ref().map(|manifest| manifest.root.id.clone())
    }
}
