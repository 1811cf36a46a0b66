//! The pipeline of one statement: raw rows in, staged blobs and manifest rows out.
//!
//! Three kinds of worker run at the same time. The task that calls here reads the connection and sends batches of raw
//! rows; one thread splits them into documents; a few threads digest the bodies, compress those that changed and write
//! them. Every queue between them is short, so the memory in use is a few documents, whatever the size of the result.
//! An error at the far end closes the queue before it, and so on up to the connection: nobody waits for a worker that
//! has gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use crossbeam_channel as channel;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::build::{BuildError, Builder, Built, Cost, statement_error};
use super::manifest::{DocumentRow, Row, blob_name, find, policy_hash};
use super::progress::Progress;
use crate::database::{DatabaseError, ReadTransaction, Rows};
use crate::diagnostic::Diagnostic;
use crate::error::Error;
use crate::key::Key;
use crate::snapshot::{Digest, Gzip, Snapshot, SplitSummary, Splitter};
use crate::store::StoreError;
use crate::template::Template;
use crate::template::domain::Domains;
use crate::template::scope::{Scope, Statement};

/// Batches of rows between the connection and the splitter; with a quarter of a mebibyte each they hide a hiccup.
const BATCH_QUEUE: usize = 8;
/// Threads that compress. More than the cores would only hold more bodies in memory.
const MAX_WORKERS: usize = 8;

/// What the rows of a statement are split by.
pub struct Work {
    /// The template.
    pub template: Arc<Template>,
    /// The keys that were asked for.
    pub scope: Scope,
    /// The values that the key columns may take.
    pub domains: Domains,
    /// Keys outside the scope that have rows.
    pub known: Vec<Key>,
}

/// A pipeline whose statement has ended, while documents may still be on their way to the store.
pub struct Running {
    template: Arc<Template>,
    scope: Scope,
    statement: Statement,
    read: Result<u64, DatabaseError>,
    splitter: oneshot::Receiver<Result<Option<SplitSummary>, Diagnostic>>,
    finishers: Vec<oneshot::Receiver<Result<Vec<Row>, StoreError>>>,
    timing: Arc<Timing>,
    query_seconds: f64,
    queries: u64,
}

/// Runs a statement to its last row. What remains to be done needs no connection.
pub async fn run(builder: &Builder, transaction: &mut ReadTransaction, work: Work, statement: Statement) -> Running {
    let (template, scope) = (Arc::clone(&work.template), work.scope.clone());
    let timing = Arc::new(Timing::default());
    let (rows_in, rows_out) = mpsc::channel(BATCH_QUEUE);
    let workers = std::thread::available_parallelism().map_or(2, std::num::NonZero::get).min(MAX_WORKERS);
    let (snapshots_in, snapshots_out) = channel::bounded(workers * 2);
    let finishers: Vec<_> = (0..workers)
        .map(|_| {
            let finisher = Finisher::new(builder, &template, &timing, transaction.as_of);
            let snapshots = snapshots_out.clone();
            spawn(move || finisher.run(&snapshots))
        })
        .collect();
    drop(snapshots_out);
    let splitting = (Arc::clone(&timing), Arc::clone(&builder.progress));
    let splitter = spawn(move || split(work, rows_out, &snapshots_in, &splitting.0, &splitting.1));

    let started = Instant::now();
    let read = transaction.read(&statement, &rows_in).await;
    let query_seconds = started.elapsed().as_secs_f64();
    tracing::debug!(
        template = template.name,
        query_seconds,
        rows = read.as_ref().ok(),
        statement = statement.text,
        "read template"
    );
    Running { template, scope, statement, read, splitter, finishers, timing, query_seconds, queries: 0 }
}

impl Running {
    /// True if the statement broke off, so that the transaction has to go back before it can be used again.
    pub fn broke_off(&self) -> bool {
        self.read.is_err()
    }

    /// True if there is no connection left to go back on.
    pub fn lost_connection(&self) -> bool {
        self.read.as_ref().is_err_and(DatabaseError::is_fatal)
    }

    /// Why there is none, if there is none.
    pub fn lost(&self) -> Option<DatabaseError> {
        self.read.as_ref().err().filter(|error| error.is_fatal()).cloned()
    }

    /// Notes how many statements the template took.
    #[must_use]
    pub fn with_queries(self, queries: u64) -> Running {
        Running { queries, ..self }
    }

    /// Waits until every document is staged.
    pub async fn finish(self) -> Result<Built, BuildError> {
        let summary = finished(self.splitter).await?;
        let mut rows = Vec::new();
        let mut store_error = None;
        for finisher in self.finishers {
            match finished(finisher).await? {
                Ok(some) => rows.extend(some),
                Err(error) => store_error = Some(error),
            }
        }
        // The error nearest to the cause: a store that is full stops the splitter, which stops the read.
        if let Some(error) = store_error {
            return Err(Error::from(error).into());
        }
        let summary = summary?;
        let failed = |error| statement_error(&self.template, &self.statement, error);
        let rows_read = self.read.map_err(failed)?;
        let summary = summary.ok_or_else(|| failed(DatabaseError::Stopped))?;
        rows.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        let cost = Cost { queries: self.queries, ..self.timing.cost(self.query_seconds) };
        Ok(Built { scope: self.scope, rows, summary, rows_read, cost })
    }
}

/// Splits rows into documents. `None` means that it was stopped, or that the rows broke off.
fn split(
    work: Work,
    mut rows: mpsc::Receiver<Rows>,
    snapshots: &channel::Sender<Snapshot>,
    timing: &Timing,
    progress: &Progress,
) -> Result<Option<SplitSummary>, Diagnostic> {
    let Work { template, scope, domains, known } = work;
    let mut domains = Some(domains);
    let mut splitter = None;
    let mut put = |snapshot| {
        let started = Instant::now();
        let taken = !timing.failed.load(Ordering::Relaxed) && snapshots.send(snapshot).is_ok();
        Timing::add(&timing.wait, started);
        taken
    };
    while let Some(message) = rows.blocking_recv() {
        let started = Instant::now();
        match (message, splitter.as_mut(), domains.take()) {
            (Rows::Columns(columns), None, Some(domains)) => {
                splitter = Some(Splitter::new(&template, &scope, domains, columns)?);
            }
            (Rows::Batch(batch), Some(splitter), _) => {
                progress.add_rows(length(batch.rows()));
                if !splitter.batch(&batch, &mut put)? {
                    return Ok(None);
                }
            }
            (Rows::End, Some(_), _) => {
                return splitter.take().map_or(Ok(None), |splitter| splitter.finish(&known, &mut put));
            }
            _ => return Ok(None),
        }
        Timing::add(&timing.encode, started);
    }
    Ok(None)
}

/// Takes documents to their end: digest, and where the bytes are new, compression and the store.
struct Finisher {
    builder: Builder,
    template: Arc<Template>,
    policy: Box<str>,
    as_of: DateTime<Utc>,
    timing: Arc<Timing>,
    /// Stores are asynchronous, and this is a thread.
    handle: Handle,
    gzip: Gzip,
}

impl Finisher {
    fn new(builder: &Builder, template: &Arc<Template>, timing: &Arc<Timing>, as_of: DateTime<Utc>) -> Finisher {
        Finisher {
            builder: builder.clone(),
            template: Arc::clone(template),
            policy: policy_hash(&template.policy),
            as_of,
            timing: Arc::clone(timing),
            handle: Handle::current(),
            gzip: Gzip::default(),
        }
    }

    fn run(mut self, snapshots: &channel::Receiver<Snapshot>) -> Result<Vec<Row>, StoreError> {
        let mut rows = Vec::new();
        for snapshot in snapshots {
            let row = self.finish(snapshot);
            rows.push(row.inspect_err(|_| self.timing.failed.store(true, Ordering::Relaxed))?);
            self.builder.progress.add_document();
        }
        Ok(rows)
    }

    fn finish(&mut self, snapshot: Snapshot) -> Result<Row, StoreError> {
        if let Some(observe) = &self.builder.observe {
            observe(&snapshot.path, &snapshot.body);
        }
        let started = Instant::now();
        let digest = Digest::of(&snapshot.body);
        Timing::add(&self.timing.compress, started);
        let committed =
            find(self.builder.committed(&self.template), &snapshot.path).and_then(|row| row.document.as_ref());
        let same = committed.filter(|committed| committed.digest == digest && !self.builder.rewrite);
        let kept = same.map(|committed| (committed.run.clone(), committed.gzip_bytes));
        let (run, gzip_bytes) = match kept {
            Some(kept) => kept,
            None => (self.builder.run.clone(), self.stage(&digest, &snapshot.body)?),
        };
        let document = DocumentRow {
            digest,
            run,
            size_bytes: length(snapshot.body.len()),
            gzip_bytes,
            rows: snapshot.rows,
            policy: self.policy.clone(),
            changed_at: self.builder.now,
        };
        Ok(Row { path: snapshot.path.into(), key: snapshot.key, document: Some(document), as_of: self.as_of })
    }

    /// Compresses a body and writes its blob; returns the blob's size.
    fn stage(&mut self, digest: &Digest, body: &[u8]) -> Result<u64, StoreError> {
        let started = Instant::now();
        let bytes = self.gzip.compress(body);
        Timing::add(&self.timing.compress, started);
        let started = Instant::now();
        if self.builder.stage {
            let name = blob_name(digest, &self.builder.run);
            self.handle.block_on(self.builder.store.create(&name, &bytes))?;
        }
        Timing::add(&self.timing.stage, started);
        let size = length(bytes.len());
        self.timing.staged_bytes.fetch_add(size, Ordering::Relaxed);
        Ok(size)
    }
}

fn length(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

/// What the threads of a pipeline share: the time they spent, in nanoseconds, and whether one has failed.
#[derive(Default)]
struct Timing {
    /// Set by the first thread that fails, so that the others don't go on for nothing.
    failed: AtomicBool,
    encode: AtomicU64,
    /// What of `encode` was waiting for the threads behind.
    wait: AtomicU64,
    compress: AtomicU64,
    stage: AtomicU64,
    staged_bytes: AtomicU64,
}

impl Timing {
    fn add(counter: &AtomicU64, since: Instant) {
        counter.fetch_add(u64::try_from(since.elapsed().as_nanos()).unwrap_or(0), Ordering::Relaxed);
    }

    fn cost(&self, query_seconds: f64) -> Cost {
        let seconds = |counter: &AtomicU64| Duration::from_nanos(counter.load(Ordering::Relaxed)).as_secs_f64();
        Cost {
            queries: 0,
            query_seconds,
            encode_seconds: (seconds(&self.encode) - seconds(&self.wait)).max(0.0),
            compress_seconds: seconds(&self.compress),
            stage_seconds: seconds(&self.stage),
            staged_bytes: self.staged_bytes.load(Ordering::Relaxed),
        }
    }
}

/// Runs a thread and hands its result over. A thread, not a task: it must not keep the runtime from ending when the
/// run is interrupted.
fn spawn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> oneshot::Receiver<T> {
    let (done, result) = oneshot::channel();
    std::thread::spawn(move || {
        let _ = done.send(work());
    });
    result
}

async fn finished<T>(thread: oneshot::Receiver<T>) -> Result<T, Error> {
    thread.await.map_err(|_| Error::Local {
        action: "finish",
        object: "a worker thread".to_owned(),
        reason: "it panicked; please report the message above".to_owned(),
    })
}
