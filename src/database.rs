//! The database: one read transaction over one connection, and its rows as batches of raw cells.
//!
//! A build opens one connection, begins one `REPEATABLE READ READ ONLY` transaction and reads every template in it,
//! each behind a savepoint, so that all of them see one instant (`as_of`) and one that fails doesn't take the others
//! down. Rows are streamed as they come, never through a cursor, which would switch parallel query off; they travel
//! as [`RowBatch`]es of undecoded cells, and `value` turns cells into JSON tokens on another thread.
//!
//! A server that answers readers from the database keeps a few connections in a [`pool`] instead, and leases them.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use tokio::sync::mpsc;

pub mod activity;
mod batch;
pub mod budget;
mod comparison;
mod condition;
mod error;
mod examine;
pub mod explain;
mod fallback_table;
pub mod pool;
mod postgres;
mod servers;
mod silence;
mod sqlite;
mod trial;
pub mod url;
pub mod value;

pub use batch::{RowBatch, Rows};
pub use comparison::KeyColumns;
pub use error::DatabaseError;
pub use examine::{Examined, Facts};
pub use fallback_table::{FallbackTable, TABLE_FORMAT, TableDocument, TableMark, TableRow, TableState, TableWrite};
pub use pool::{Closed, Histogram, Pool, PoolError, PoolFigures, PoolSettings, PoolState};
pub use postgres::{HeadRow, HeadTable, Pooler, RowSwap, RowVersion, Told, Watch};
pub use servers::{PassedOver, ReadFrom, Search, Servers, Source};
pub use sqlite::FileFacts;
pub use trial::{Leases, Pings, Plan, Times, Trial};

use crate::template::scope::Statement;
use condition::Condition;
use value::{Encoder, Rule, UnsupportedType};

/// Where the data is. Its `Debug` text is [`Database::describe`]'s, because the options' own prints the password.
#[derive(Clone)]
pub enum Database {
    /// PostgreSQL: a server and, perhaps, its replicas.
    Postgres(Box<Servers>),
    /// A SQLite file.
    Sqlite(PathBuf),
}

/// How a transaction reads.
#[derive(Debug, Clone)]
pub struct ReadSettings {
    /// Longest wait for a connection and the transaction's first answer. Default 30 s: too short fails a build while the
    /// server restarts, too long hides that it is down.
    pub connect_timeout: Duration,
    /// Longest time of one statement; zero means no limit. Default 30 min, which also bounds how long dead rows are kept.
    pub statement_timeout: Duration,
    /// How long a process of ours that hangs may leave its transaction alone until the server ends it.
    pub longest_idle: Duration,
    /// Further PostgreSQL settings of the transaction, such as `work_mem`.
    pub settings: Vec<(String, String)>,
}

impl ReadSettings {
    /// The same with a limit for each statement, unless theirs is shorter.
    fn within(&self, limit: Duration) -> Cow<'_, ReadSettings> {
        if !self.statement_timeout.is_zero() && self.statement_timeout <= limit {
            return Cow::Borrowed(self);
        }
        Cow::Owned(ReadSettings { statement_timeout: limit, ..self.clone() })
    }
}

/// A column of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultColumn {
    /// Its name in the result.
    pub name: String,
    /// Its type.
    pub kind: ColumnType,
}

/// A column's type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ColumnType {
    /// A PostgreSQL type by its OID; the name is for messages and casts.
    Postgres { oid: u32, name: String },
    /// SQLite's values carry their own types.
    Sqlite,
}

impl ColumnType {
    /// The encoder of the column's cells.
    pub fn encoder(&self, rule: Rule) -> Result<Encoder, UnsupportedType> {
        match self {
            ColumnType::Postgres { oid, .. } => Encoder::postgres(*oid, rule),
            ColumnType::Sqlite => Ok(Encoder::sqlite(rule)),
        }
    }

    /// True for PostgreSQL's float4 and float8; SQLite's columns have no type of their own.
    pub fn is_float(&self) -> bool {
        matches!(self, ColumnType::Postgres { oid: 700 | 701, .. })
    }
}

/// An open read transaction.
#[derive(Debug)]
pub struct ReadTransaction {
    connection: Connection,
    /// The instant whose data it sees.
    pub as_of: DateTime<Utc>,
    /// Statements that the templates and domains have caused, without the transaction's own.
    pub statements: u64,
    /// The server that it reads.
    pub source: Source,
    condition: Condition,
}

#[derive(Debug)]
enum Connection {
    Postgres(Box<PgConnection>),
    Sqlite(sqlx::SqliteConnection, Duration),
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.describe())
    }
}

impl Database {
    /// What the database is called in messages; never its password.
    pub fn describe(&self) -> String {
        match self {
            Database::Postgres(servers) => servers.primary.describe(),
            Database::Sqlite(path) => path.display().to_string(),
        }
    }

    /// What it is told from other databases by, never its password: server, database and role, by which PostgreSQL finds
    /// tables and lets rows be seen; or the file, from wherever it is named.
    pub fn identity(&self) -> String {
        match self {
            Database::Postgres(servers) => servers.primary.identity(),
            Database::Sqlite(path) => path.canonicalize().unwrap_or_else(|_| path.clone()).display().to_string(),
        }
    }

    /// A connection of its own to the primary, over which anything may be done; none to a SQLite file.
    pub async fn writer(&self, application: &str, wait: Duration) -> Result<Option<PgConnection>, DatabaseError> {
        match self {
            Database::Postgres(servers) => servers.writer(application, wait).await.map(Some),
            Database::Sqlite(_) => Ok(None),
        }
    }

    /// The same database with replicas to read, each as [`Database::from_url`] gives it.
    #[must_use]
    pub fn with_replicas(self, replicas: Vec<Database>, read: ReadFrom, max_lag: Duration) -> Database {
        let server = |database| match database {
            Database::Postgres(servers) => Some(servers.primary),
            Database::Sqlite(_) => None,
        };
        match self {
            Database::Postgres(servers) => {
                let replicas = replicas.into_iter().filter_map(server).collect();
                Database::Postgres(Box::new(Servers { replicas, read, max_lag, ..*servers }))
            }
            Database::Sqlite(_) => self,
        }
    }

    /// Somebody to look at the clients of each server, the primary first; nobody for a file, which has none. A look
    /// waits no longer than `wait` for a connection.
    pub fn watches(&self, application: &str, wait: Duration) -> Vec<Watch> {
        let Database::Postgres(servers) = self else { return Vec::new() };
        let all = std::iter::once(&servers.primary).chain(&servers.replicas);
        all.map(|server| Watch::new(server.clone(), application, wait)).collect()
    }

    /// True if both are databases of one server, as far as their URLs tell.
    pub fn is_on_server_of(&self, other: &Database) -> bool {
        match (self, other) {
            (Database::Postgres(one), Database::Postgres(two)) => one.primary.place() == two.primary.place(),
            _ => false,
        }
    }

    /// What can be said of a file; none for a server.
    pub async fn file(&self, settings: &ReadSettings) -> Option<Result<FileFacts, DatabaseError>> {
        match self {
            Database::Postgres(_) => None,
            Database::Sqlite(path) => Some(sqlite::facts(path, settings).await),
        }
    }

    /// Opens the one connection and begins the transaction. `application` is what the server shows for it.
    pub async fn begin(&self, settings: &ReadSettings, application: &str) -> Result<ReadTransaction, DatabaseError> {
        Search::new(self, settings, application).begin().await
    }
}

impl ReadTransaction {
    fn new(connection: Connection, as_of: DateTime<Utc>, source: Source) -> ReadTransaction {
        ReadTransaction { connection, as_of, statements: 0, source, condition: Condition::default() }
    }

    /// Sets the point to come back to if what follows fails.
    pub async fn savepoint(&mut self) -> Result<(), DatabaseError> {
        self.control("SAVEPOINT template").await
    }

    /// Goes back to the savepoint, so that the transaction can be used again after an error.
    pub async fn rollback_to_savepoint(&mut self) -> Result<(), DatabaseError> {
        self.control("ROLLBACK TO SAVEPOINT template").await
    }

    /// Ends the transaction and closes the connection.
    pub async fn finish(mut self) -> Result<(), DatabaseError> {
        self.control("COMMIT").await?;
        match self.connection {
            Connection::Postgres(connection) => postgres::close(*connection).await,
            Connection::Sqlite(connection, _) => sqlite::close(connection).await,
        }
    }

    async fn control(&mut self, sql: &'static str) -> Result<(), DatabaseError> {
        self.condition.begins();
        let done = match &mut self.connection {
            Connection::Postgres(connection) => postgres::execute(connection, sql).await,
            Connection::Sqlite(connection, _) => sqlite::execute(connection, sql).await,
        };
        self.condition.ends(done)
    }

    /// The columns that a statement would return, without running it.
    pub async fn columns(&mut self, statement: &Statement) -> Result<Vec<ResultColumn>, DatabaseError> {
        self.condition.begins();
        let columns = match &mut self.connection {
            Connection::Postgres(connection) => postgres::columns(connection, statement, &mut self.statements).await,
            Connection::Sqlite(connection, _) => sqlite::columns(connection, statement).await,
        };
        self.condition.ends(columns)
    }

    /// Runs a statement and sends its columns, then its rows. Returns the number of rows.
    ///
    /// Returns [`DatabaseError::Stopped`] when the receiver has gone, which has its own error to tell.
    pub async fn read(&mut self, statement: &Statement, rows: &mpsc::Sender<Rows>) -> Result<u64, DatabaseError> {
        self.condition.begins();
        let read = match &mut self.connection {
            Connection::Postgres(connection) => {
                // It is copied, and sqlx loses count of the answers to a COPY that doesn't go as it should.
                self.condition.is_spoiled |= statement.binds.is_empty();
                postgres::read(connection, statement, rows, &mut self.statements).await
            }
            Connection::Sqlite(connection, timeout) => {
                self.statements += 1;
                sqlite::read(connection, statement, rows, *timeout).await
            }
        };
        self.condition.ends(read)
    }

    /// The plan of a statement, one line each, as the engine's EXPLAIN prints it.
    pub async fn explain(&mut self, statement: &Statement) -> Result<Vec<String>, DatabaseError> {
        let head = match &self.connection {
            Connection::Postgres(_) => "EXPLAIN ",
            Connection::Sqlite(..) => "EXPLAIN QUERY PLAN ",
        };
        let explained = statement.wrapped(head, "");
        self.condition.begins();
        let plan = match &mut self.connection {
            Connection::Postgres(connection) => postgres::text_rows(connection, &explained, "QUERY PLAN").await,
            Connection::Sqlite(connection, _) => sqlite::text_rows(connection, &explained, "detail").await,
        };
        self.condition.ends(plan)
    }

    /// The volatility of the functions with these names, as PostgreSQL knows it: those that are volatile.
    pub async fn volatile_functions(&mut self, names: &[String]) -> Result<Vec<String>, DatabaseError> {
        self.condition.begins();
        let volatile = match &mut self.connection {
            Connection::Postgres(connection) => postgres::volatile_functions(connection, names).await,
            Connection::Sqlite(..) => Ok(names
                .iter()
                .filter(|name| {
                    ["random", "randomblob", "changes", "total_changes", "last_insert_rowid"].contains(&name.as_str())
                })
                .cloned()
                .collect()),
        };
        self.condition.ends(volatile)
    }
}
