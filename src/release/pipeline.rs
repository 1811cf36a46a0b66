//! The pipeline of one statement: raw rows in, staged blobs and manifest rows out.
//!
//! Three kinds of worker run at the same time. The task that calls here reads the connection and sends batches of raw
//! rows; one thread splits them into documents; a few threads digest the bodies, compress those that changed and write
//! them. What these can't take at once waits in the backlog, so that the connection is held for the query's own time.
//! An error at the far end closes the queue before it, and so on up to the connection: nobody waits for a worker that
//! has gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::backlog::Backlog;
use super::build::{BuildError, Builder, Built, Cost, statement_error};
use super::catalogue::Described;
use super::manifest::policy_hash;
use super::progress::Progress;
use super::row::{DocumentRow, Origin, Row, blob_name, find};
use super::uploads::Uploads;
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
    finishers: Vec<oneshot::Receiver<Result<Vec<Arc<Row>>, StoreError>>>,
    origin: Arc<Origin>,
    uploads: Uploads,
    timing: Arc<Timing>,
    query_seconds: f64,
    queries: u64,
}

/// Runs a statement to its last row. What remains to be done needs no connection.
pub async fn run(builder: &Builder, transaction: &mut ReadTransaction, work: Work, statement: Statement) -> Running {
    let (template, scope) = (Arc::clone(&work.template), work.scope.clone());
    let timing = Arc::new(Timing::default());
    let origin = Arc::new(Origin {
        as_of: transaction.as_of,
        changed_at: builder.now,
        run: builder.run.clone(),
        policy: policy_hash(&template.policy),
    });
    let (rows_in, rows_out) = mpsc::channel(BATCH_QUEUE);
    let workers = std::thread::available_parallelism().map_or(2, std::num::NonZero::get).min(MAX_WORKERS);
    let backlog = Arc::new(Backlog::default());
    let uploads = Uploads::new(&builder.store);
    let finishers: Vec<_> = (0..workers)
        .map(|_| {
            let finisher = Finisher::new(builder, &template, &timing, &origin, &uploads);
            let backlog = Arc::clone(&backlog);
            spawn(move || finisher.run(&backlog))
        })
        .collect();
    let splitting = (Arc::clone(&timing), Arc::clone(&builder.progress));
    let splitter = spawn(move || {
        let _ended = Ended(&backlog);
        split(work, rows_out, &backlog, &splitting.0, &splitting.1)
    });

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
    Running {
        template,
        scope,
        statement,
        read,
        splitter,
        finishers,
        origin,
        uploads,
        timing,
        query_seconds,
        queries: 0,
    }
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
        if let Err(error) = self.uploads.finish().await {
            store_error = Some(error);
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
        let SplitSummary { domains, columns, rows_skipped, over_max_keys } = summary;
        let keys = Described::new(&self.template, domains);
        let (scope, origin) = (self.scope, self.origin);
        Ok(Built { scope, rows, origin, keys, columns, rows_skipped, over_max_keys, rows_read, cost })
    }
}

/// Splits rows into documents. `None` means that it was stopped, or that the rows broke off.
fn split(
    work: Work,
    mut rows: mpsc::Receiver<Rows>,
    backlog: &Backlog,
    timing: &Timing,
    progress: &Progress,
) -> Result<Option<SplitSummary>, Diagnostic> {
    let Work { template, scope, domains, known } = work;
    let mut domains = Some(domains);
    let mut splitter = None;
    let mut put = |snapshot| {
        let started = Instant::now();
        let taken = backlog.put(snapshot);
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

/// Says that no document will follow, however the thread ends that holds it.
struct Ended<'a>(&'a Backlog);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.complete();
    }
}

/// Says that no document will be taken any more, unless it is forgotten.
struct Abandoned<'a>(&'a Backlog);

impl Drop for Abandoned<'_> {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

/// Takes documents to their end: digest, and where the bytes are new, compression and the store.
struct Finisher {
    builder: Builder,
    template: Arc<Template>,
    origin: Arc<Origin>,
    timing: Arc<Timing>,
    uploads: Uploads,
    gzip: Gzip,
}

impl Finisher {
    fn new(
        builder: &Builder,
        template: &Arc<Template>,
        timing: &Arc<Timing>,
        origin: &Arc<Origin>,
        uploads: &Uploads,
    ) -> Finisher {
        Finisher {
            builder: builder.clone(),
            template: Arc::clone(template),
            origin: Arc::clone(origin),
            timing: Arc::clone(timing),
            uploads: uploads.clone(),
            gzip: Gzip::default(),
        }
    }

    fn run(mut self, backlog: &Backlog) -> Result<Vec<Arc<Row>>, StoreError> {
        // Also where this thread panics: a backlog that nobody empties would hold the stream up.
        let abandoned = Abandoned(backlog);
        let mut rows = Vec::new();
        while let Some(snapshot) = backlog.take()? {
            rows.push(self.finish(snapshot)?);
            self.builder.progress.add_document();
        }
        std::mem::forget(abandoned);
        Ok(rows)
    }

    fn finish(&mut self, snapshot: Snapshot) -> Result<Arc<Row>, StoreError> {
        if let Some(observe) = &self.builder.observe {
            observe(&snapshot.path, &snapshot.body);
        }
        let started = Instant::now();
        let digest = Digest::of(&snapshot.body);
        Timing::add(&self.timing.compress, started);
        let committed = find(self.builder.committed(&self.template), &snapshot.path);
        if let Some(committed) = committed.filter(|row| row.digest() == Some(digest) && !self.builder.rewrite) {
            return Ok(Arc::clone(committed));
        }
        let gzip_bytes = self.stage(&digest, &snapshot.body)?;
        let document = DocumentRow {
            digest,
            size_bytes: size(snapshot.body.len()),
            gzip_bytes,
            rows: u32::try_from(snapshot.rows).unwrap_or(u32::MAX),
        };
        let origin = Arc::clone(&self.origin);
        Ok(Arc::new(Row { path: snapshot.path, key: snapshot.key, document: Some(document), origin }))
    }

    /// Compresses a body and writes its blob; returns the blob's size.
    fn stage(&mut self, digest: &Digest, body: &[u8]) -> Result<u32, StoreError> {
        let started = Instant::now();
        let bytes = self.gzip.compress(body);
        Timing::add(&self.timing.compress, started);
        let length = bytes.len();
        self.timing.staged_bytes.fetch_add(u64::try_from(length).unwrap_or(0), Ordering::Relaxed);
        if self.builder.stage {
            let timing = Arc::clone(&self.timing);
            let name = blob_name(digest, &self.builder.run);
            self.uploads.put(name, bytes, move |started| Timing::add(&timing.stage, started))?;
        }
        Ok(size(length))
    }
}

/// No document is larger than its template's `max_size`, which is below 4 GiB.
fn size(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

fn length(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

/// What the threads of a pipeline share: the time they spent, in nanoseconds.
#[derive(Default)]
struct Timing {
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
