//! Answers from the database: one keyed statement over a lease, and from the fallback table, one row by its path.
//!
//! The statement is that of `republish`, its rows go through the same splitter, and so the bytes are those that the next
//! build will publish.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::keys::Asked;
use crate::database::{DatabaseError, KeyColumns, Pool, PoolError, ReadTransaction, Rows};
use crate::diagnostic::Diagnostic;
use crate::release::{BuildError, checked_key_columns, statement_error};
use crate::snapshot::{Digest, Gzip, Snapshot, Splitter};
use crate::template::Template;
use crate::template::domain::Domains;
use crate::template::scope::{Scope, Statement, keyed, whole};

/// Batches of rows between the connection and the splitter.
const BATCHES: usize = 4;

/// A document as it was read.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// The gzipped body.
    pub gzip: Bytes,
    /// SHA-256 of the body.
    pub digest: Digest,
    /// The instant whose data it shows.
    pub as_of: DateTime<Utc>,
}

/// Why there is no document.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LiveError {
    /// No lease was to be had.
    #[error("{0}")]
    Pool(PoolError),
    /// The connection or the server failed.
    #[error("{0}")]
    Database(DatabaseError),
    /// Something about the template or its data.
    #[error("{}", _0.message)]
    Template(Box<Diagnostic>),
    /// The statement took too long.
    #[error("statement timeout: the query of {template} took longer than {}", humantime::format_duration(*limit))]
    TooSlow {
        /// The template.
        template: String,
        /// What it may take.
        limit: Duration,
    },
    /// The fallback table took too long.
    #[error("the fallback table gave no answer within {}", humantime::format_duration(*limit))]
    TableTooSlow {
        /// What it may take.
        limit: Duration,
    },
}

impl LiveError {
    /// What kind of error it is, for whoever searches a log.
    pub fn class(&self) -> &'static str {
        match self {
            LiveError::Pool(error) => error.class(),
            LiveError::Database(error) if error.is_fatal() => "connection_lost",
            LiveError::Database(_) => "database",
            LiveError::Template(_) => "template",
            LiveError::TooSlow { .. } => "statement_timeout",
            LiveError::TableTooSlow { .. } => "table_timeout",
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            LiveError::Pool(error) => error.hint(),
            LiveError::Database(error) => error.hint(),
            LiveError::Template(finding) => finding.hint.clone(),
            LiveError::TooSlow { .. } => Some(
                "`tintype check` shows the plan of its keyed statement; [limits] timeout of the template and [database.serve] \
                 statement_timeout set the limit"
                    .to_owned(),
            ),
            LiveError::TableTooSlow { .. } => Some("is it locked, or its database overloaded?".to_owned()),
        }
    }

    /// Says whether the statement itself is to blame, and neither a crowd nor a server that is away.
    pub fn is_of_statement(&self) -> bool {
        match self {
            LiveError::Pool(_) => false,
            LiveError::Database(error) => !error.is_fatal(),
            LiveError::Template(_) | LiveError::TooSlow { .. } | LiveError::TableTooSlow { .. } => true,
        }
    }

    /// Says whether it took a lease to find out.
    pub fn had_lease(&self) -> bool {
        !matches!(self, LiveError::Pool(_))
    }
}

impl From<BuildError> for LiveError {
    fn from(error: BuildError) -> LiveError {
        match error {
            BuildError::Template(finding) => LiveError::Template(finding),
            BuildError::Fatal(crate::error::Error::Database(error)) => LiveError::Database(error),
            BuildError::Fatal(error) => LiveError::Database(DatabaseError::Lost { reason: error.to_string() }),
        }
    }
}

/// The types of a template's key columns, which it takes a round trip to learn.
#[derive(Debug, Default)]
pub struct Learned(Mutex<Option<Arc<KeyColumns>>>);

impl Learned {
    fn get(&self) -> Option<Arc<KeyColumns>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, columns: Option<Arc<KeyColumns>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = columns;
    }
}

/// Reads a document from the database, for somebody who has been waiting `since` an instant. A server that ends the read in favour of something else is followed by another
/// try, once: nothing was answered yet.
pub async fn read(pool: &Pool, asked: &Asked, since: Instant) -> Result<Fetched, LiveError> {
    let first = read_once(pool, asked, since).await;
    match first {
        Err(LiveError::Database(error)) if error.is_about_server() => read_once(pool, asked, Instant::now()).await,
        other => other,
    }
}

async fn read_once(pool: &Pool, asked: &Asked, since: Instant) -> Result<Fetched, LiveError> {
    let (template, learned) = (&asked.served.template, &asked.served.learned);
    // The server itself keeps to it: a reader that goes away leaves no statement at work behind.
    let limit = pool.statement_limit(template.limits.timeout);
    let mut lease = pool.begin_since(limit, since).await.map_err(LiveError::Pool)?;
    let as_of = lease.transaction().as_of;
    let too_slow = || LiveError::TooSlow { template: template.name.clone(), limit };
    // A server that is stopped or cut off would keep the lease for good.
    let read = tokio::time::timeout(Pool::patience(limit), document(lease.transaction(), asked, learned)).await;
    let Ok(read) = read else {
        lease.give_up();
        return Err(too_slow());
    };
    // What was read is whole, and what failed has failed; whether the connection can be used again is the pool's affair.
    let _ = lease.finish().await;
    match read {
        Ok((gzip, digest)) => Ok(Fetched { gzip, digest, as_of }),
        Err(Broken::TooSlow) => Err(too_slow()),
        Err(Broken::Other(error)) => {
            // The query may return other columns than it did; the next one asks again.
            learned.set(None);
            Err(error)
        }
    }
}

/// Why a document wasn't read.
enum Broken {
    /// The database ended its statement.
    TooSlow,
    Other(LiveError),
}

impl From<LiveError> for Broken {
    fn from(error: LiveError) -> Broken {
        Broken::Other(error)
    }
}

impl From<BuildError> for Broken {
    fn from(error: BuildError) -> Broken {
        Broken::Other(error.into())
    }
}

async fn document(
    transaction: &mut ReadTransaction,
    asked: &Asked,
    learned: &Learned,
) -> Result<(Bytes, Digest), Broken> {
    // Types that the driver doesn't know take a second look, behind this point.
    transaction.savepoint().await.map_err(LiveError::Database)?;
    let template = &asked.served.template;
    let slugs: Vec<&str> = asked.slugs.iter().map(String::as_str).collect();
    let domains = Domains::of_one_key(&asked.key, &slugs);
    let columns = if let Some(columns) = learned.get() {
        columns
    } else {
        let all = whole(template);
        let columns = match transaction.columns(&all).await {
            Ok(columns) => columns,
            Err(error) if error.is_too_slow() => return Err(Broken::TooSlow),
            Err(error) => return Err(statement_error(template, &all, error).into()),
        };
        let columns = Arc::new(checked_key_columns(template, &columns, &domains)?);
        learned.set(Some(Arc::clone(&columns)));
        columns
    };
    let scope = Scope::of_keys(std::slice::from_ref(&asked.key));
    let statement = keyed(template, &scope, columns.as_ref(), &|_| true);
    let (sender, receiver) = mpsc::channel(BATCHES);
    let template = Arc::clone(template);
    let splitting = {
        let template = Arc::clone(&template);
        tokio::task::spawn_blocking(move || split(&template, &scope, domains, receiver))
    };
    let read = transaction.read(&statement, &sender).await;
    drop(sender);
    let split = splitting
        .await
        .map_err(|error| LiveError::Database(DatabaseError::Lost { reason: format!("a worker ended: {error}") }))?;
    match (read, split) {
        // The splitter's own error is what stopped the read.
        (_, Err(finding)) => Err(LiveError::Template(Box::new(finding)).into()),
        (Err(error), _) if error.is_too_slow() => Err(Broken::TooSlow),
        (Err(error), _) => Err(statement_error(&template, &statement, error).into()),
        (Ok(_), Ok(Some(document))) => Ok(document),
        (Ok(_), Ok(None)) => {
            Err(LiveError::Database(DatabaseError::Lost { reason: "the rows broke off".to_owned() }).into())
        }
    }
}

/// Makes the one document out of the rows. `None` means that they broke off.
fn split(
    template: &Template,
    scope: &Scope,
    domains: Domains,
    mut rows: mpsc::Receiver<Rows>,
) -> Result<Option<(Bytes, Digest)>, Diagnostic> {
    let mut domains = Some(domains);
    let mut splitter: Option<Splitter<'_>> = None;
    let mut made: Option<Snapshot> = None;
    let mut put = |snapshot| {
        made = Some(snapshot);
        true
    };
    loop {
        match (rows.blocking_recv(), splitter.as_mut(), domains.take()) {
            (Some(Rows::Columns(columns)), None, Some(domains)) => {
                splitter = Some(Splitter::new(template, scope, domains, columns)?.narrow());
            }
            (Some(Rows::Batch(batch)), Some(splitter), _) => {
                splitter.batch(&batch, &mut put)?;
            }
            (Some(Rows::End), Some(_), _) => break,
            _ => return Ok(None),
        }
    }
    if let Some(splitter) = splitter {
        splitter.finish(&[], &mut put)?;
    }
    Ok(made.map(|snapshot| {
        let digest = Digest::of(&snapshot.body);
        (Gzip::default().compress(&snapshot.body).into(), digest)
    }))
}

/// Asks one statement that returns few rows, all of them texts or NULL.
pub async fn texts(
    transaction: &mut ReadTransaction,
    statement: &Statement,
) -> Result<Vec<Vec<Option<String>>>, DatabaseError> {
    use crate::database::value::Rule;
    let (sender, mut receiver) = mpsc::channel(BATCHES);
    let collect = async {
        let (mut encoders, mut found) = (Vec::new(), Vec::new());
        while let Some(message) = receiver.recv().await {
            match message {
                Rows::Columns(columns) => {
                    encoders = columns.iter().map(|column| column.kind.encoder(Rule::Plain).ok()).collect();
                }
                Rows::Batch(batch) => found.extend((0..batch.rows()).map(|row| {
                    let text = |(at, encoder): (usize, &Option<_>)| {
                        let encoder: &crate::database::value::Encoder = encoder.as_ref()?;
                        let mut token = Vec::new();
                        encoder.write(batch.cell(row, at), &mut token).ok()?;
                        serde_json::from_slice::<Option<String>>(&token).ok()?
                    };
                    encoders.iter().enumerate().map(text).collect::<Vec<_>>()
                })),
                Rows::End => break,
            }
        }
        found
    };
    let read = async {
        let read = transaction.read(statement, &sender).await;
        drop(sender);
        read
    };
    let (read, found) = tokio::join!(read, collect);
    read.map(|_| found)
}
