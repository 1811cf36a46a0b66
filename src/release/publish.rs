//! The publish protocol: build without holding anything, merge, commit, activate.
//!
//! Until the commit nothing is visible and a crash changes nothing. The commit is one compare-and-swap of `head.json`;
//! after it the release is finished by this run or, if this one dies, by whichever comes next.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use super::base::Base;
use super::build::{BuildError, Builder, Prepared, Seen};
use super::commit::{commit, finish_interrupted, stage};
use super::doubt::settle_doubt;
use super::draft::Draft;
use super::finishers::Finishers;
use super::id::{ReleaseId, RunId};
use super::lost;
use super::manifest::Kind;
use super::pipeline::Running;
use super::progress::{Phase, Progress};
use super::refresh::{LeftOut, Records};
use super::report::{Report, Seconds};
use super::verify::Settled;
use crate::cdn::Cdn;
use crate::database::{Database, FallbackTable, ReadSettings, ReadTransaction, Search, Source};
use crate::diagnostic::Diagnostic;
use crate::error::Error;
use crate::store::{Store, probe};
use crate::template::Template;
use crate::template::select::Selector;

/// What a run is to do.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is asked for by itself")]
pub struct Job {
    /// Every template there is.
    pub templates: Vec<Arc<Template>>,
    /// What to build of them.
    pub selectors: Vec<Selector>,
    /// Publish or republish, for the history.
    pub kind: Kind,
    /// Write what was built even if it didn't change.
    pub rewrite: bool,
    /// Also keys that a rollback holds, which ends that.
    pub unhold: bool,
    /// Templates to take out of the release; their files are gone.
    pub retire: Vec<String>,
    /// Guards and asserts that may refuse nothing: their names, alone or behind `template/`, or `all`.
    pub accept: Vec<String>,
    /// The staged release that is to be published, if it is one.
    pub publishes: Option<ReleaseId>,
    /// Stage the release to be looked at, and commit nothing.
    pub stage_only: bool,
    /// Make the first release although the fallback table shows one of this very site.
    pub begin_anew: bool,
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
    /// How long the lease of this one lives if nothing renews it.
    pub lease_ttl: Duration,
    /// Who this is, for the others: host and process.
    pub holder: String,
    /// Whose edges are to be told what has changed.
    pub cdn: Cdn,
    /// Tell them; false leaves that to a later run.
    pub purge: bool,
    /// The table that is left behind for whoever answers without the store.
    pub table: Option<FallbackTable>,
}

/// A template after the build: what was seen of it, or why nothing was.
pub type Outcome = (Arc<Template>, Result<Seen, Diagnostic>);

/// Runs a job.
pub async fn run(
    job: &Job,
    store: &Arc<Store>,
    database: &Database,
    settings: &ReadSettings,
    progress: &Arc<Progress>,
) -> Result<Report, Error> {
    let run = Started::begin(job, store, progress).await?;
    let mut seconds = Seconds::default();
    let read = build(job, store, database, settings, progress, &run.base, &mut seconds).await?;
    run.conclude(read, seconds).await
}

/// A run that knows what it starts from.
pub struct Started<'a> {
    /// The committed state that is built on.
    pub base: Base,
    job: &'a Job,
    store: &'a Arc<Store>,
    progress: &'a Progress,
    rolled_forward: Option<ReleaseId>,
    settled: Option<Settled>,
    at: Instant,
}

/// What a build saw.
pub struct Read {
    /// The name under which its blobs are staged.
    pub run: RunId,
    /// The instant whose data it saw.
    pub as_of: DateTime<Utc>,
    /// The server that it read.
    pub source: Option<Source>,
    /// What became of each template.
    pub outcomes: Vec<Outcome>,
}

impl<'a> Started<'a> {
    /// Reads the committed state, and finishes what an earlier run has left.
    pub async fn begin(job: &'a Job, store: &'a Arc<Store>, progress: &'a Progress) -> Result<Started<'a>, Error> {
        let at = Instant::now();
        progress.enter(Phase::Prepare, 0);
        let mut base = Base::read(store).await?;
        let mut rolled_forward = None;
        if job.commit && base.is_unfinished() {
            // Finishing what is committed needs no database, so it comes before everything that could fail.
            (base, rolled_forward) = finish_interrupted(job, store, base, progress).await?;
        }
        let mut settled = None;
        if job.commit {
            (base, settled) = settle_doubt(job, store, base, progress).await?;
        }
        let base = lost::refuse(job, store, base).await?;
        let is_whole = |template: &Arc<Template>| {
            job.selectors.iter().any(|selector| selector.template == template.name && selector.is_all())
        };
        let writes_all = job.rewrite && job.templates.iter().all(is_whole);
        if base.head().active.is_some() && !writes_all {
            store.check_shown().await?;
        }
        if job.commit && base.head().seq == 0 {
            // The first swap would be the first to find out, with everything staged, and perhaps not even then.
            probe::require_conditions(store, job.run.as_str()).await?;
        }
        Ok(Started { base, job, store, progress, rolled_forward, settled, at })
    }

    /// Merges what was read, commits and activates it; a plan only merges.
    pub async fn conclude(self, read: Read, mut seconds: Seconds) -> Result<Report, Error> {
        let Started { base, job, store, progress, rolled_forward, settled, at } = self;
        progress.enter(Phase::Stage, 0);
        if base.begins_behind > 0 {
            lost::require_all(&read.outcomes)?;
        }
        let mut draft = Draft::new(&Job { run: read.run, ..job.clone() }, Some(read.as_of), read.outcomes);
        let mut report = if job.commit && job.stage_only {
            stage(store, &mut draft, &base).await?
        } else if job.commit {
            Box::pin(commit(job, store, &mut draft, base, progress, &mut seconds)).await?
        } else {
            let drafted = draft.onto(&base, store).await?;
            let mut report = draft.report(drafted, base.head().desired.clone(), false);
            report.is_pending |= base.is_unfinished();
            report
        };
        progress.enter(Phase::Done, 0);
        seconds.total = at.elapsed().as_secs_f64();
        report.seconds = seconds;
        report.rolled_forward = rolled_forward;
        report.settled = settled;
        report.source = read.source;
        Ok(report)
    }
}

/// Builds every template that was asked for, in one transaction over one connection.
///
/// Where the server ends the transaction, the whole of it is read again from the next one: all templates show one
/// instant, and nothing of the first attempt counts. What that has staged stays behind under a name of its own.
async fn build(
    job: &Job,
    store: &Arc<Store>,
    database: &Database,
    settings: &ReadSettings,
    progress: &Arc<Progress>,
    base: &Base,
    seconds: &mut Seconds,
) -> Result<Read, Error> {
    let command = match job.kind {
        Kind::Publish if !job.commit => "plan",
        Kind::Publish => "publish",
        Kind::Republish => "republish",
        Kind::Rollback => "rollback",
    };
    let mut search = Search::new(database, settings, &format!("tintype/{command}/{}", job.run));
    let mut builder = Builder {
        finishers: Finishers::start(store),
        run: job.run.clone(),
        base: base.manifest.clone(),
        rewrite: job.rewrite,
        stage: job.commit,
        now: job.now,
        progress: Arc::clone(progress),
        live: false,
        observe: None,
        records: Some(Arc::new(Records::new(base.head(), job.rewrite || job.unhold, database, settings))),
    };
    let mut attempt = 1;
    loop {
        let asked = Instant::now();
        let transaction = search.begin().await?;
        let (as_of, source) = (transaction.as_of, transaction.source.clone());
        tracing::info!(server = source.server, replica = source.is_replica, %as_of, "reading");
        progress.enter(Phase::Build, 0);
        let mut spent = Seconds { wait: asked.elapsed().as_secs_f64(), ..Seconds::default() };
        match read(job, &builder, transaction, &mut spent).await {
            Ok(outcomes) => {
                *seconds = spent;
                return Ok(Read { run: builder.run, as_of, source: Some(source), outcomes });
            }
            Err(Error::Database(error)) => {
                let shown = error.to_string();
                search.after(error)?;
                tracing::info!(server = source.server, "{shown}; reading everything again from the next server");
                attempt += 1;
                builder.run = job.run.attempt(attempt);
            }
            Err(error) => return Err(error),
        }
    }
}

/// A template whose statement has ended, or was left out.
enum Began {
    Running(Box<Running>),
    LeftOut(LeftOut),
}

/// One attempt at reading everything.
async fn read(
    job: &Job,
    builder: &Builder,
    mut transaction: ReadTransaction,
    seconds: &mut Seconds,
) -> Result<Vec<Outcome>, Error> {
    let held = Instant::now();
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
    let (mut over, mut lost) = (false, None);
    for (template, known) in prepared {
        let read = match known {
            Ok(Prepared::Statement(written)) => {
                builder.run(&mut transaction, *written).await.map(Box::new).map(Began::Running)
            }
            Ok(Prepared::LeftOut(left_out)) => Ok(Began::LeftOut(left_out)),
            Err(error) => Err(error),
        };
        (over, lost) = match &read {
            Ok(Began::Running(running)) => (running.lost_connection(), running.lost()),
            Ok(Began::LeftOut(_)) => (false, None),
            Err(error) => (matches!(error, BuildError::Fatal(_)), None),
        };
        running.push((template, read));
        if over {
            break;
        }
    }
    // The connection goes back as soon as the last row is read: compressing and writing need none.
    let ended = if over { Ok(()) } else { transaction.finish().await };
    seconds.hold = held.elapsed().as_secs_f64();
    let mut outcomes = Vec::new();
    let mut fatal = None;
    for (template, read) in running {
        // Each is awaited, also where another has failed: a next attempt must not compete with the rest of this one.
        let seen = match read {
            Ok(Began::Running(running)) => running.finish().await.map(Seen::from),
            Ok(Began::LeftOut(left_out)) => Ok(Seen::LeftOut(left_out)),
            Err(error) => Err(error),
        };
        if let Ok(Seen::Built(built)) = &seen {
            seconds.query += built.cost.query_seconds;
            seconds.encode += built.cost.encode_seconds;
            seconds.compress += built.cost.compress_seconds;
            seconds.write += built.cost.write_seconds;
        }
        let seen = match seen {
            Ok(seen) => Ok(seen),
            Err(BuildError::Template(finding)) => Err(*finding),
            Err(BuildError::Fatal(error)) => {
                // A store that is full outranks a connection that was lost: another server wouldn't help.
                fatal = match fatal {
                    Some(earlier) if matches!(error, Error::Database(_)) => Some(earlier),
                    _ => Some(error),
                };
                continue;
            }
        };
        outcomes.push((template, seen));
    }
    // Rows that broke off may also have looked wrong to whoever split them; templates behind them weren't read at all.
    match fatal.or(lost.map(Error::from)) {
        Some(error) => Err(error),
        None => ended.map(|()| outcomes).map_err(Error::from),
    }
}
