//! The fallback table on PostgreSQL.
//!
//! Every call opens a connection and closes it, and what it reads it asks in one message of the simple protocol; what it
//! writes is one transaction with settings of its own. So it works through a pooler in transaction mode, and holds no
//! connection while documents are fetched from the store. Nothing is sent twice: whatever fails, the next run compares
//! the table with the release again and writes what it finds missing.

use std::time::Duration;

use futures_util::TryStreamExt as _;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Row as _};
use tokio::time::timeout;

use super::close;
use super::connect::{Refusal, Server};
use super::head_table::literal;
use crate::database::DatabaseError;
use crate::database::fallback_table::{PATIENCE, TableRights, TableRow, TableState};

mod failure;
mod sql;
mod write;

use failure::Failed;
pub use write::TableTransaction;

/// What the server shows for the connection.
const APPLICATION: &str = "tintype/table";
/// What to do about a server that can't be reached.
const UNREACHABLE: &str = "is the server up and reachable from here? [fallback] table_timeout sets the wait";
/// Reading the whole table may take the server so many times its time.
const WHOLE: u32 = 60;

/// A server and how long it is waited for.
#[derive(Clone)]
pub struct TableServer {
    server: Server,
    timeout: Duration,
}

impl TableServer {
    /// The tables on a server.
    pub fn new(server: Server, timeout: Duration) -> TableServer {
        TableServer { server, timeout }
    }

    /// What they are called in messages.
    pub fn describe(&self) -> String {
        format!("the table tintype_snapshot ({})", self.server.describe())
    }

    /// See [`crate::database::FallbackTable::state`].
    pub async fn state(&self) -> Result<Option<TableState>, DatabaseError> {
        match self.ask(&sql::state("")).await {
            Ok(rows) => rows.first().map(state).transpose().map_err(|error| unreadable(&error)),
            Err(Failed::NoTable) => Ok(None),
            Err(failed) => Err(self.error(failed).await),
        }
    }

    /// See [`crate::database::FallbackTable::create`].
    pub async fn create(&self) -> Result<(), DatabaseError> {
        for text in sql::create("") {
            // A role may be set to read only by default.
            match self.ask(&format!("SET TRANSACTION READ WRITE; {text}")).await {
                // Two that make a table at the same time both find it missing.
                Ok(_) | Err(Failed::Exists) => {}
                Err(failed) => return Err(self.error(failed).await),
            }
        }
        Ok(())
    }

    /// See [`crate::database::FallbackTable::rows`].
    pub async fn rows(&self, bodies: bool, each: &mut (dyn FnMut(TableRow) + Send)) -> Result<(), DatabaseError> {
        let mut connection = self.connect().await.map_err(Failed::into_error)?;
        let text = format!("{}; {}", sql::to_read(self.timeout * WHOLE), sql::rows(bodies));
        let read = async {
            let mut stream = sqlx::raw_sql(AssertSqlSafe(text)).fetch(&mut connection);
            loop {
                let next = timeout(self.timeout * PATIENCE, stream.try_next()).await.map_err(|_| self.silent())?;
                let Some(row) = next.map_err(|error| Failed::of(&error))? else { return Ok(()) };
                each(table_row(&row, bodies).map_err(|error| Failed::Other(unreadable(&error)))?);
            }
        };
        let read: Result<(), Failed> = read.await;
        let _ = close(connection).await;
        match read {
            Ok(()) => Ok(()),
            Err(failed) => Err(self.error(failed).await),
        }
    }

    /// See [`crate::database::FallbackTable::keys`].
    pub async fn keys(&self, template: &str) -> Result<Vec<(String, String)>, DatabaseError> {
        let rows = self.asked(&sql::keys(template)).await?;
        let pair = |row: &PgRow| Ok((row.try_get(0)?, row.try_get(1)?));
        rows.iter().map(pair).collect::<Result<_, _>>().map_err(|error| unreadable(&error))
    }

    /// See [`crate::database::FallbackTable::body`].
    pub async fn body(&self, path: &str) -> Result<Option<Vec<u8>>, DatabaseError> {
        let rows = self.asked(&sql::body(path)).await?;
        rows.first().map(|row| row.try_get(0)).transpose().map_err(|error| unreadable(&error))
    }

    /// See [`crate::database::FallbackTable::rights`].
    pub async fn rights(&self) -> Result<TableRights, DatabaseError> {
        let rows = self.asked(&sql::rights()).await?;
        let missing = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>();
        Ok(TableRights { missing: missing.map_err(|error| unreadable(&error))? })
    }

    /// See [`crate::database::FallbackTable::begin`].
    pub async fn begin(&self, expected: &TableState) -> Result<Option<TableTransaction>, DatabaseError> {
        let begun = match self.connect().await {
            Ok(connection) => TableTransaction::begin(self, connection, expected).await,
            Err(failed) => Err(failed),
        };
        match begun {
            Ok(begun) => Ok(begun),
            Err(failed) => Err(self.error(failed).await),
        }
    }

    async fn connect(&self) -> Result<PgConnection, Failed> {
        let connected = self.server.connect(APPLICATION, self.timeout, UNREACHABLE).await;
        connected.map_err(|Refusal { error, .. }| Failed::Other(error))
    }

    /// Asks something of tables that are there.
    async fn asked(&self, text: &str) -> Result<Vec<PgRow>, DatabaseError> {
        match self.ask(text).await {
            Ok(rows) => Ok(rows),
            Err(failed) => Err(self.error(failed).await),
        }
    }

    /// Sends one message over a connection of its own.
    async fn ask(&self, text: &str) -> Result<Vec<PgRow>, Failed> {
        let mut connection = self.connect().await?;
        let text = format!("{}; {text}", sql::to_ask(self.timeout));
        let answer = self.send(&mut connection, text).await;
        // What was answered is known, whatever becomes of the connection.
        let _ = close(connection).await;
        answer
    }

    async fn send(&self, connection: &mut PgConnection, text: String) -> Result<Vec<PgRow>, Failed> {
        let asked = sqlx::raw_sql(AssertSqlSafe(text)).fetch_all(connection);
        match timeout(self.timeout * (PATIENCE + 1), asked).await {
            Ok(answer) => answer.map_err(|error| Failed::of(&error)),
            Err(_) => Err(self.silent()),
        }
    }

    fn silent(&self) -> Failed {
        let hint = "is the server overloaded, or are all connections of a pooler in use? [fallback] table_timeout sets the \
                    wait, of which a statement gets three times as much";
        Failed::Other(self.server.silent("it takes connections, but gave no answer", self.timeout * PATIENCE, hint))
    }

    /// The error of what failed for good; that of a role which may not make the tables, or use them, has the statements
    /// that somebody else must run.
    async fn error(&self, failed: Failed) -> DatabaseError {
        let Failed::NotAllowed(message) = failed else { return failed.into_error() };
        let known = self.ask(sql::WHO).await.ok();
        let known = known.as_deref().and_then(<[PgRow]>::first);
        let text = |column: usize| known.and_then(|row| row.try_get::<String, _>(column).ok());
        let role = text(0).unwrap_or_else(|| self.server.options.get_username().to_owned());
        let schema = text(1).unwrap_or_else(|| "public".to_owned());
        let statements = sql::create(&format!("{schema}.")).into_iter().chain(sql::grants(&schema, &role));
        let statements: Vec<String> = statements.map(|statement| format!("{statement};")).collect();
        DatabaseError::Statement {
            message,
            sqlstate: None,
            position: None,
            hint: Some(format!("an administrator of the database can run this once:\n{}", statements.join("\n"))),
        }
    }
}

fn state(row: &PgRow) -> Result<TableState, sqlx::Error> {
    let number = |column: usize| row.try_get::<i64, _>(column);
    Ok(TableState {
        serial: u64::try_from(number(0)?).unwrap_or(0),
        release: row.try_get(1)?,
        site: row.try_get(2)?,
        format: u32::try_from(number(3)?).unwrap_or(u32::MAX),
        written: number(4)?.to_string(),
        is_empty: row.try_get(5)?,
    })
}

fn table_row(row: &PgRow, bodies: bool) -> Result<TableRow, sqlx::Error> {
    Ok(TableRow {
        path: row.try_get(0)?,
        digest: row.try_get(1)?,
        cache_control: row.try_get(2)?,
        cache_tags: row.try_get(3)?,
        as_of_micros: row.try_get(4)?,
        body_gzip: if bodies { Some(row.try_get(5)?) } else { None },
    })
}

fn unreadable(error: &sqlx::Error) -> DatabaseError {
    DatabaseError::Lost { reason: format!("what the table holds can't be understood: {error}") }
}
