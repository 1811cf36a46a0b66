//! The head of a store as a row of a table, read with its age and replaced by compare-and-swap: for stores that can't
//! do that themselves.
//!
//! Every call opens a connection, sends one message of the simple protocol, which is a transaction of its own, and
//! closes the connection. So it works through a pooler in transaction mode, holds no connection between calls but those on
//! which the server keeps silent, and has one answer that can get lost. A swap is sent once. It is sent again only where it
//! can't have been carried out: no connection came about, or the server said so. After anything else nobody knows, which
//! is told as such.

use std::fmt;
use std::time::Duration;

use sqlx::Row as _;
use sqlx::postgres::PgRow;
use tokio::time::{Instant, sleep};

use super::connect::{Refusal, Server};
use crate::database::{Database, DatabaseError};

mod failure;
mod outstanding;
mod sql;

use failure::Failed;
use outstanding::Outstanding;
pub(super) use sql::literal;

/// What the server shows for the connection.
const APPLICATION: &str = "tintype/head";
/// How long a server is tried that can't be reached: it may be restarting.
const UNREACHABLE: Duration = Duration::from_secs(5);
/// The first wait before it is tried again; it doubles.
const AGAIN: Duration = Duration::from_millis(100);
/// A read whose answer was lost is made so often. One on which the server keeps silent isn't repeated: it has that one still.
const READS: u32 = 3;

/// The table, on a server.
#[derive(Clone)]
pub struct HeadTable {
    server: Server,
    /// The longest wait for a connection, and then for an answer.
    timeout: Duration,
    outstanding: Outstanding,
}

/// A row of it.
pub struct HeadRow {
    /// The head.
    pub bytes: Vec<u8>,
    /// What a swap expects.
    pub version: RowVersion,
    /// How long ago it was written, by the database's clock.
    pub age: Duration,
}

/// What tells one content of a row from every other: its number, and when it was written, since a database that is
/// restored from a backup gives the same numbers once more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowVersion {
    seq: i64,
    /// Microseconds since 1970.
    written: i64,
}

/// What became of a swap.
pub enum RowSwap {
    /// The row is now the new one.
    Swapped(RowVersion),
    /// The row isn't the expected one, and was left as it is.
    Refused,
    /// Nobody knows: it may have been carried out, and it may still be.
    Unanswered(DatabaseError),
}

impl fmt::Debug for HeadTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.describe())
    }
}

impl HeadTable {
    /// The table on the primary of a database; none on SQLite. Each connection and each answer may take `timeout`.
    pub fn new(database: &Database, timeout: Duration) -> Option<HeadTable> {
        match database {
            Database::Postgres(servers) => {
                Some(HeadTable { server: servers.primary.clone(), timeout, outstanding: Outstanding::default() })
            }
            Database::Sqlite(_) => None,
        }
    }

    /// What it is called in messages.
    pub fn describe(&self) -> String {
        format!("the table {} ({})", sql::TABLE, self.server.describe())
    }

    /// Comes back when no connection is left that was given up: the server counts them.
    pub async fn outstanding_over(&self) {
        self.outstanding.over().await;
    }

    /// Reads the row of a store; `None` if there is none, or no table yet.
    pub async fn read(&self, store: &str) -> Result<Option<HeadRow>, DatabaseError> {
        let text = sql::select(store);
        let mut reads = 0;
        loop {
            reads += 1;
            match self.send(&text).await {
                Ok(rows) => return rows.first().map(head_row).transpose().map_err(|error| unreadable(&error)),
                Err(Failed::NoTable) => return Ok(None),
                Err(Failed::Unanswered(error)) if reads < READS => {
                    tracing::debug!(%error, "no answer about the head; asking again");
                }
                Err(failed) => return Err(self.error(failed).await),
            }
        }
    }

    /// Replaces the row of a store if it is still the expected one, or writes it if none is expected and there is none.
    /// An error means that nothing was written, and that nothing will be.
    pub async fn swap(&self, store: &str, expected: Option<RowVersion>, new: &[u8]) -> Result<RowSwap, DatabaseError> {
        let text = match expected {
            Some(expected) => sql::update(store, expected, new),
            None => sql::insert(store, new),
        };
        let sent = match self.send(&text).await {
            // Without the table there is no row that could be the expected one.
            Err(Failed::NoTable) if expected.is_some() => return Ok(RowSwap::Refused),
            Err(Failed::NoTable) => {
                self.create().await?;
                self.send(&text).await
            }
            sent => sent,
        };
        match sent {
            Ok(rows) => Ok(match rows.first().map(row_version) {
                None => RowSwap::Refused,
                Some(Ok(version)) => RowSwap::Swapped(version),
                Some(Err(error)) => RowSwap::Unanswered(unreadable(&error)),
            }),
            Err(Failed::Unanswered(error) | Failed::Silent(error)) => Ok(RowSwap::Unanswered(error)),
            Err(failed) => Err(self.error(failed).await),
        }
    }

    /// Makes the table, unless another publisher does so at the same time.
    async fn create(&self) -> Result<(), DatabaseError> {
        match self.send(&sql::create("")).await {
            Ok(_) | Err(Failed::Exists) => Ok(()),
            Err(failed) => Err(self.error(failed).await),
        }
    }

    /// Sends one message, again while there is no connection to send it over and there may soon be one.
    async fn send(&self, text: &str) -> Result<Vec<PgRow>, Failed> {
        let started = Instant::now();
        let mut wait = AGAIN;
        loop {
            match self.send_once(text).await {
                Err(Failed::NotSent { error, is_transient: true }) if started.elapsed() + wait < UNREACHABLE => {
                    tracing::debug!(%error, ?wait, "no connection for the head; trying again");
                }
                sent => return sent,
            }
            sleep(wait).await;
            wait *= 2;
        }
    }

    async fn send_once(&self, text: &str) -> Result<Vec<PgRow>, Failed> {
        let hint = "is the server up and reachable from here? [store] timeout sets the wait";
        let connection = self
            .outstanding
            .connect(&self.server, self.timeout, hint)
            .await
            .map_err(|Refusal { error, is_transient, .. }| Failed::NotSent { error, is_transient })?;
        let message = format!("{}; {text}", sql::settings(self.timeout));
        let Some(answer) = self.outstanding.exchange(connection, message, self.timeout).await else {
            let hint =
                "is the server overloaded, or are all connections of a pooler in use? [store] timeout sets the wait";
            let error = self.server.silent("it takes connections, but gave no answer", self.timeout, hint);
            return Err(Failed::Silent(error));
        };
        answer.map_err(|error| Failed::of(&self.server, &error))
    }

    /// The error of what failed for good.
    async fn error(&self, failed: Failed) -> DatabaseError {
        match failed {
            Failed::NotSent { error, .. }
            | Failed::Unanswered(error)
            | Failed::Silent(error)
            | Failed::Refused(error) => error,
            Failed::NotAllowed(message) => self.not_allowed(message).await,
            Failed::NoTable | Failed::Exists => {
                DatabaseError::Lost { reason: format!("the table {} comes and goes while it is used", sql::TABLE) }
            }
        }
    }

    /// The error of a role that may not make the table or use it: with the statements that somebody else must run.
    async fn not_allowed(&self, message: String) -> DatabaseError {
        let known = self.send(sql::WHO).await.ok();
        let known = known.as_deref().and_then(<[PgRow]>::first);
        let text = |column: usize| known.and_then(|row| row.try_get::<String, _>(column).ok());
        let role = text(0).unwrap_or_else(|| self.server.options.get_username().to_owned());
        let schema = text(1).unwrap_or_else(|| "public".to_owned());
        DatabaseError::Statement {
            message,
            sqlstate: None,
            position: None,
            hint: Some(format!(
                "an administrator of the database can run this once:\n{};\n{};",
                sql::create(&format!("{schema}.")),
                sql::grants(&schema, &role).join(";\n")
            )),
        }
    }
}

fn row_version(row: &PgRow) -> Result<RowVersion, sqlx::Error> {
    Ok(RowVersion { seq: row.try_get(0)?, written: row.try_get(1)? })
}

fn head_row(row: &PgRow) -> Result<HeadRow, sqlx::Error> {
    let micros: i64 = row.try_get(3)?;
    // A clock that was set back makes the row as young as it can be, so that a lease in it counts as fresh.
    let age = Duration::from_micros(u64::try_from(micros).unwrap_or(0));
    Ok(HeadRow { bytes: row.try_get(2)?, version: row_version(row)?, age })
}

fn unreadable(error: &sqlx::Error) -> DatabaseError {
    DatabaseError::Lost { reason: format!("the row can't be understood: {error}") }
}
