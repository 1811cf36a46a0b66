//! The pipeline of one statement: raw rows in, staged blobs and manifest rows out.
//!
//! Three kinds of worker run at the same time. The task that calls here reads the connection and sends batches of raw
//! rows; one thread splits them into documents; the run's finishers digest the bodies, compress those that changed and
//! write them. What these can't take at once waits in the backlog, so that the connection is held for the query's own
//! time. An error at the far end closes the queue before it, and so on up to the connection: nobody waits for a worker
//! that has gone.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};

use super::build::{BuildError, Builder, Built, Cost, statement_error};
use super::catalogue::Described;
use super::finishers::{Collected, Finishers, Lot};
use super::guard::Answers;
use super::manifest::policy_hash;
use super::progress::Progress;
use super::refresh::{Consulted, Why};
use super::row::Origin;
use super::timing::Timing;
use crate::database::{DatabaseError, ReadTransaction, Rows};
use crate::diagnostic::Diagnostic;
use crate::error::Error;
use crate::key::Key;
use crate::snapshot::{SplitSummary, Splitter};
use crate::template::Template;
use crate::template::domain::Domains;
use crate::template::scope::{Scope, Statement};

/// Batches of rows between the connection and the splitter; with a quarter of a mebibyte each they hide a hiccup.
const BATCH_QUEUE: usize = 8;

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
    answers: Result<Answers, Diagnostic>,
    splitter: oneshot::Receiver<Result<Option<SplitSummary>, Diagnostic>>,
    finishers: Arc<Finishers>,
    collected: Collected,
    origin: Arc<Origin>,
    timing: Arc<Timing>,
    query_seconds: f64,
    queries: u64,
    consulted: Consulted,
}

/// Runs a statement to its last row. What remains to be done needs no connection.
pub async fn run(builder: &Builder, transaction: &mut ReadTransaction, work: Work, statement: Statement) -> Running {
    let (template, scope) = (Arc::clone(&work.template), work.scope.clone());
    let origin = Arc::new(Origin {
        as_of: transaction.as_of,
        changed_at: builder.now,
        run: builder.run.clone(),
        policy: policy_hash(&template.policy),
        held: false,
    });
    let (rows_in, rows_out) = mpsc::channel(BATCH_QUEUE);
    let (lot, collected) = Lot::new(builder, &template, &origin);
    let timing = Arc::clone(&lot.timing);
    let (finishers, progress) = (Arc::clone(&builder.finishers), Arc::clone(&builder.progress));
    let splitter = spawn(move || split(work, rows_out, &finishers, &lot, &progress));

    let started = Instant::now();
    let read = tokio::select! {
        biased;
        read = transaction.read(&statement, &rows_in) => read,
        // The run is over, so the rest of the rows isn't waited for; the connection can't be used after that.
        () = builder.finishers.failed() => Err(DatabaseError::Lost { reason: "the store failed".to_owned() }),
    };
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
        answers: Ok(Answers::default()),
        splitter,
        finishers: Arc::clone(&builder.finishers),
        collected,
        origin,
        timing,
        query_seconds,
        queries: 0,
        consulted: Consulted::unasked(Why::SomeKeys),
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

    /// Notes why the template is read.
    #[must_use]
    pub fn because(self, consulted: Consulted) -> Running {
        Running { consulted, ..self }
    }

    /// Notes what the guards asked behind the statement; a connection that was lost there was lost for the template.
    pub fn note_answers(&mut self, answers: Result<Result<Answers, Diagnostic>, DatabaseError>) {
        match answers {
            Ok(answers) => self.answers = answers,
            Err(error) => self.read = Err(error),
        }
    }

    /// Waits until every document is staged.
    pub async fn finish(self) -> Result<Built, BuildError> {
        let summary = finished(self.splitter).await?;
        let rows = self.collected.rows().await;
        // The error nearest to the cause: a store that is full stops the splitter, which stops the read.
        if let Some(error) = self.finishers.error() {
            return Err(Error::from(error).into());
        }
        let summary = summary?;
        let failed = |error| statement_error(&self.template, &self.statement, error);
        let rows_read = self.read.map_err(failed)?;
        let summary = summary.ok_or_else(|| failed(DatabaseError::Stopped))?;
        let answers = self.answers?;
        let cost = Cost { queries: self.queries, ..self.timing.cost(self.query_seconds) };
        let SplitSummary { domains, columns, rows_skipped, over_max_keys } = summary;
        let keys = Described::new(&self.template, domains);
        let (scope, origin, consulted) = (self.scope, self.origin, self.consulted);
        Ok(Built {
            scope,
            rows,
            origin,
            keys,
            columns,
            rows_skipped,
            over_max_keys,
            rows_read,
            answers,
            cost,
            consulted,
        })
    }
}

/// Splits rows into documents. `None` means that it was stopped, or that the rows broke off.
fn split(
    work: Work,
    mut rows: mpsc::Receiver<Rows>,
    finishers: &Finishers,
    lot: &Arc<Lot>,
    progress: &Progress,
) -> Result<Option<SplitSummary>, Diagnostic> {
    let Work { template, scope, domains, known } = work;
    let mut domains = Some(domains);
    let mut splitter = None;
    let mut put = |snapshot| {
        let started = Instant::now();
        let taken = finishers.put(snapshot, lot);
        Timing::add(&lot.timing.wait, started);
        taken
    };
    while let Some(message) = rows.blocking_recv() {
        let started = Instant::now();
        match (message, splitter.as_mut(), domains.take()) {
            (Rows::Columns(columns), None, Some(domains)) => {
                splitter = Some(Splitter::new(&template, &scope, domains, columns)?);
            }
            (Rows::Batch(batch), Some(splitter), _) => {
                progress.add_rows(batch.rows() as u64);
                if !splitter.batch(&batch, &mut put)? {
                    return Ok(None);
                }
            }
            (Rows::End, Some(_), _) => {
                return splitter.take().map_or(Ok(None), |splitter| splitter.finish(&known, &mut put));
            }
            _ => return Ok(None),
        }
        Timing::add(&lot.timing.encode, started);
    }
    Ok(None)
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
