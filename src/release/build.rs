//! Building one template: domains, scope, the one statement, and its rows through the pipeline into staged blobs.
//!
//! Three kinds of worker run at the same time. The task that calls here reads the connection and sends batches of raw
//! rows; one thread splits them into documents; a few threads digest the bodies, compress those that changed and write
//! them. Every queue between them is short, so the memory in use is a few documents, whatever the size of the result.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use chrono::{DateTime, Utc};
use crossbeam_channel as channel;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::domain_rows::domain_rows;
use super::id::RunId;
use super::manifest::{DocumentRow, Manifest, Row, blob_name, find, policy_hash};
use super::progress::Progress;
use crate::database::{ColumnType, DatabaseError, ReadTransaction, ResultColumn, Rows};
use crate::diagnostic::Diagnostic;
use crate::error::Error;
use crate::key::Key;
use crate::snapshot::{Digest, Gzip, Snapshot, SplitSummary, Splitter};
use crate::store::{Store, StoreError};
use crate::template::Template;
use crate::template::domain::{DomainRows, Domains};
use crate::template::lint::lint_domains;
use crate::template::scope::{Scope, Statement, statement};
use crate::template::select::{Selector, scope};

/// Batches of rows between the connection and the splitter; with a quarter of a mebibyte each they hide a hiccup.
const BATCH_QUEUE: usize = 8;
/// Threads that compress. More than the cores would only hold more bodies in memory.
const MAX_WORKERS: usize = 8;

/// What every template of a run is built with.
#[derive(Clone)]
pub struct Builder {
    /// Where blobs go.
    pub store: Arc<Store>,
    /// The name of the run, part of every blob's name.
    pub run: RunId,
    /// The release to compare with.
    pub base: Option<Arc<Manifest>>,
    /// False for a plan, which writes nothing.
    pub stage: bool,
    /// When the run began.
    pub now: DateTime<Utc>,
    /// For the progress bar.
    pub progress: Arc<Progress>,
    /// Is shown every document's path and body.
    pub observe: Option<Observer>,
}

/// Is shown an object path and the body that it would have.
pub type Observer = Arc<dyn Fn(&str, &[u8]) + Send + Sync>;

/// A template that was read to its end.
#[derive(Debug)]
pub struct Built {
    /// The keys that were asked for.
    pub scope: Scope,
    /// Its documents in the order of their paths.
    pub rows: Vec<Row>,
    /// Domains and columns as the run saw them.
    pub summary: SplitSummary,
    /// Rows that the statement returned.
    pub rows_read: u64,
    /// What it cost.
    pub cost: Cost,
}

/// What building a template cost, in seconds of each kind of worker; they overlap.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cost {
    /// Statements, domains included.
    pub queries: u64,
    /// From sending the statement to its last row.
    pub query_seconds: f64,
    /// Splitting rows into documents.
    pub encode_seconds: f64,
    /// Digesting and compressing.
    pub compress_seconds: f64,
    /// Writing blobs.
    pub stage_seconds: f64,
    /// Bytes of the blobs that had to be written.
    pub staged_bytes: u64,
}

/// Why a template wasn't built.
#[derive(Debug)]
pub enum BuildError {
    /// Something about the template or its data; the other templates can go on.
    Template(Box<Diagnostic>),
    /// Something about the command line, the connection or the store; nothing can go on.
    Fatal(Error),
}

impl From<Diagnostic> for BuildError {
    fn from(finding: Diagnostic) -> BuildError {
        BuildError::Template(Box::new(finding))
    }
}

impl From<Error> for BuildError {
    fn from(error: Error) -> BuildError {
        BuildError::Fatal(error)
    }
}

/// Puts a database error on the template's own lines, if the connection survived it.
pub fn statement_error(template: &Template, statement: &Statement, error: DatabaseError) -> BuildError {
    if error.is_fatal() {
        return BuildError::Fatal(error.into());
    }
    let position = match &error {
        DatabaseError::Statement { position: Some(position), .. } => statement.file_offset(*position),
        _ => None,
    };
    let word = |at: usize| {
        let rest = &template.source()[at..];
        at..at + rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len()).max(1)
    };
    let span = position.map_or_else(|| template.sql.clone(), word);
    let finding = template.error(format!("the query failed: {error}")).at(span);
    match error.hint() {
        Some(hint) => finding.hint(hint).into(),
        None => finding.into(),
    }
}

impl Builder {
    /// Builds the selected keys of a template; an error leaves the transaction usable unless it is fatal.
    pub async fn build(
        &self,
        transaction: &mut ReadTransaction,
        template: &Arc<Template>,
        selectors: &[&Selector],
    ) -> Result<Built, BuildError> {
        transaction.savepoint().await.map_err(Error::from)?;
        let before = transaction.statements;
        let built = self.read(transaction, template, selectors).await;
        if let Err(BuildError::Template(_)) = &built {
            transaction.rollback_to_savepoint().await.map_err(Error::from)?;
        }
        built.map(|mut built| {
            built.cost.queries = transaction.statements - before;
            built
        })
    }

    async fn read(
        &self,
        transaction: &mut ReadTransaction,
        template: &Arc<Template>,
        selectors: &[&Selector],
    ) -> Result<Built, BuildError> {
        let mut domains = read_domains(transaction, template).await?;
        let committed = self.committed(template);
        if !selectors.iter().any(|selector| selector.is_all()) {
            remember_open_values(&mut domains, committed);
        }
        let scope = scope(selectors, template, &domains)
            .map_err(|error| Error::Usage { message: error.message, hint: error.hint })?;
        let (statement, known) = match &scope {
            Scope::All => (statement(template, &scope, &|number, _| format!("${number}")), Vec::new()),
            Scope::Some(_) => {
                refuse_unpublished(template, &domains, &scope, selectors)?;
                let types = key_types(transaction, template).await?;
                let keyed = statement(template, &scope, &|number, column| types[column].parameter(number));
                (keyed, outside(committed, &scope))
            }
        };
        let expected = match (&scope, committed.len()) {
            (Scope::All, 0) => domains.published(&[], template.max_keys).map_or(0, |keys| keys.len()),
            (Scope::All, count) => count,
            (Scope::Some(_), _) => 0,
        };
        self.progress.enter(super::progress::Phase::Build, u64::try_from(expected).unwrap_or(0));
        self.stream(transaction, template, scope, domains, statement, known).await
    }

    fn committed(&self, template: &Template) -> &[Row] {
        self.base.as_ref().and_then(|base| base.rows.get(&template.name)).map_or(&[], Vec::as_slice)
    }

    /// Runs the statement and the pipeline behind it.
    async fn stream(
        &self,
        transaction: &mut ReadTransaction,
        template: &Arc<Template>,
        scope: Scope,
        domains: Domains,
        statement: Statement,
        known: Vec<Key>,
    ) -> Result<Built, BuildError> {
        let timing = Arc::new(Timing::default());
        let (rows_in, rows_out) = mpsc::channel(BATCH_QUEUE);
        let workers = std::thread::available_parallelism().map_or(2, std::num::NonZero::get).min(MAX_WORKERS);
        let (snapshots_in, snapshots_out) = channel::bounded(workers * 2);
        let finishers: Vec<_> =
            (0..workers).map(|_| self.finisher(template, snapshots_out.clone(), &timing, transaction.as_of)).collect();
        drop(snapshots_out);
        let splitter = split(
            Arc::clone(template),
            scope.clone(),
            domains,
            known,
            rows_out,
            snapshots_in,
            Arc::clone(&timing),
            Arc::clone(&self.progress),
        );

        let started = Instant::now();
        let read = transaction.read(&statement, &rows_in).await;
        let query_seconds = started.elapsed().as_secs_f64();
        drop(rows_in);

        let summary = finished(splitter).await?;
        let mut rows = Vec::new();
        let mut store_error = None;
        for finisher in finishers {
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
        let rows_read = read.map_err(|error| statement_error(template, &statement, error))?;
        let Some(summary) = summary else {
            return Err(statement_error(template, &statement, DatabaseError::Stopped));
        };
        rows.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        Ok(Built { scope, rows, summary, rows_read, cost: timing.cost(query_seconds) })
    }

    /// A thread that takes documents to their end.
    fn finisher(
        &self,
        template: &Arc<Template>,
        snapshots: channel::Receiver<Snapshot>,
        timing: &Arc<Timing>,
        as_of: DateTime<Utc>,
    ) -> oneshot::Receiver<Result<Vec<Row>, StoreError>> {
        let (builder, template, timing) = (self.clone(), Arc::clone(template), Arc::clone(timing));
        let policy = policy_hash(&template.policy);
        let handle = Handle::current();
        spawn(move || {
            let mut gzip = Gzip::default();
            let mut rows = Vec::new();
            for snapshot in snapshots {
                rows.push(builder.finish(snapshot, &template, &policy, as_of, &mut gzip, &timing, &handle)?);
                builder.progress.add_document();
            }
            Ok(rows)
        })
    }

    /// Digests a document, and compresses and stages it if its bytes aren't those of the committed release.
    #[expect(clippy::too_many_arguments, reason = "the parts of one thread's state, called from its loop only")]
    fn finish(
        &self,
        snapshot: Snapshot,
        template: &Template,
        policy: &str,
        as_of: DateTime<Utc>,
        gzip: &mut Gzip,
        timing: &Timing,
        handle: &Handle,
    ) -> Result<Row, StoreError> {
        if let Some(observe) = &self.observe {
            observe(&snapshot.path, &snapshot.body);
        }
        let started = Instant::now();
        let digest = Digest::of(&snapshot.body);
        let committed = find(self.committed(template), &snapshot.path).and_then(|row| row.document.as_ref());
        let same = committed.filter(|committed| committed.digest == digest);
        let (run, gzip_bytes) = if let Some(committed) = same {
            (committed.run.clone(), committed.gzip_bytes)
        } else {
            let bytes = gzip.compress(&snapshot.body);
            Timing::add(&timing.compress, started);
            let started = Instant::now();
            if self.stage {
                handle.block_on(self.store.create(&blob_name(&digest, &self.run), &bytes))?;
            }
            Timing::add(&timing.stage, started);
            timing.staged_bytes.fetch_add(length(bytes.len()), Ordering::Relaxed);
            (self.run.clone(), length(bytes.len()))
        };
        let document = DocumentRow {
            digest,
            run,
            size_bytes: length(snapshot.body.len()),
            gzip_bytes,
            rows: snapshot.rows,
            policy: policy.into(),
            changed_at: self.now,
        };
        Ok(Row { path: snapshot.path.into(), key: snapshot.key, document: Some(document), as_of })
    }
}

fn length(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

/// Time spent by the threads of a pipeline, in nanoseconds.
#[derive(Default)]
struct Timing {
    encode: AtomicU64,
    compress: AtomicU64,
    stage: AtomicU64,
    staged_bytes: AtomicU64,
}

impl Timing {
    fn add(counter: &AtomicU64, since: Instant) {
        counter.fetch_add(u64::try_from(since.elapsed().as_nanos()).unwrap_or(0), Ordering::Relaxed);
    }

    fn cost(&self, query_seconds: f64) -> Cost {
        let seconds =
            |counter: &AtomicU64| std::time::Duration::from_nanos(counter.load(Ordering::Relaxed)).as_secs_f64();
        Cost {
            queries: 0,
            query_seconds,
            encode_seconds: seconds(&self.encode),
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

/// The thread that splits rows into documents. `None` means that it was stopped, or the rows broke off.
#[expect(clippy::too_many_arguments, reason = "the parts of one thread's state, moved into it")]
fn split(
    template: Arc<Template>,
    scope: Scope,
    domains: Domains,
    known: Vec<Key>,
    mut rows: mpsc::Receiver<Rows>,
    snapshots: channel::Sender<Snapshot>,
    timing: Arc<Timing>,
    progress: Arc<Progress>,
) -> oneshot::Receiver<Result<Option<SplitSummary>, Diagnostic>> {
    spawn(move || {
        let mut domains = Some(domains);
        let mut splitter = None;
        let mut put = |snapshot| snapshots.send(snapshot).is_ok();
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
    })
}

/// Reads the domains of a template in the build's own transaction.
pub async fn read_domains(transaction: &mut ReadTransaction, template: &Template) -> Result<Domains, BuildError> {
    let mut answers: Vec<(&crate::template::DomainSource, DomainRows)> = Vec::new();
    for source in &template.domains {
        answers.push((source, domain_rows(transaction, template, source).await?));
    }
    let named = |(source, rows): &(_, DomainRows)| {
        let names = rows.columns.iter().map(|column| template.columns()[*column].clone());
        (*source, names.collect::<Vec<String>>())
    };
    let named: Vec<_> = answers.iter().map(named).collect();
    if let Some(finding) = lint_domains(template, &named).into_iter().next() {
        return Err(finding.into());
    }
    Domains::new(template, &answers).map_err(|error| error.diagnostic(template).into())
}

/// The types of the key columns, so that parameters compare by them.
pub async fn key_types(transaction: &mut ReadTransaction, template: &Template) -> Result<Vec<ColumnType>, BuildError> {
    let all = statement(template, &Scope::All, &|number, _| format!("${number}"));
    let columns: Vec<ResultColumn> =
        transaction.columns(&all).await.map_err(|error| statement_error(template, &all, error))?;
    let of = |name: &String| {
        let found = columns.iter().find(|column| column.name == *name).map(|column| column.kind.clone());
        found.ok_or_else(|| {
            template.error(format!("the query doesn't return the key column `{name}`, which the path names"))
        })
    };
    Ok(template.columns().iter().map(of).collect::<Result<_, _>>()?)
}

/// Open columns know their values only from the active release.
fn remember_open_values(domains: &mut Domains, committed: &[Row]) {
    if domains.columns().iter().any(|column| column.open) {
        for row in committed.iter().filter(|row| row.document.is_some()) {
            // A key of the release that isn't valid any more is no value to choose from.
            let _ = domains.locate(&row.key);
        }
    }
}

/// Keys of the release outside the scope that have rows: they keep the combinations of open columns alive.
fn outside(committed: &[Row], scope: &Scope) -> Vec<Key> {
    let has_rows = |row: &&Row| row.document.as_ref().is_some_and(|document| document.rows > 0);
    committed.iter().filter(has_rows).filter(|row| !scope.contains(&row.key)).map(|row| row.key.clone()).collect()
}

/// An explicit key that is valid but outside the hot set would vanish with the next full build, so it isn't published.
fn refuse_unpublished(
    template: &Template,
    domains: &Domains,
    scope: &Scope,
    selectors: &[&Selector],
) -> Result<(), BuildError> {
    let Scope::Some(filters) = scope else { return Ok(()) };
    for (filter, selector) in filters.iter().zip(selectors) {
        for (column, allowed) in filter.0.iter().enumerate() {
            let Some(allowed) = allowed else { continue };
            let entries = &domains.columns()[column].entries;
            if entries.iter().any(|entry| allowed.contains(&entry.value) && entry.published) {
                continue;
            }
            let name = &template.columns()[column];
            return Err(Error::usage(
                format!(
                    "`{}`: every {name} that it means is valid but outside the published set of {}",
                    selector.typed, template.name
                ),
                format!(
                    "[keys.{name}] publish in {} says how many are pre-built; the others aren't published",
                    template.file().display()
                ),
            )
            .into());
        }
    }
    Ok(())
}
