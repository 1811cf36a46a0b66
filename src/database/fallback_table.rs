//! The fallback table: every document of the active release as a row of a database, for whoever has to answer when the
//! store or the edge in front of it is down.
//!
//! Two tables, the same on both engines. `tintype_snapshot` has one row a document, by its path. `tintype_release` has
//! one row in all, which says which release the documents are, and is the lock that writers take turns by. Readers need
//! neither a lock nor anything of tintype: they see the one release or the other, never a mixture.
//!
//! What is to be written is found out without a transaction, and what is written is written in a short one that begins
//! by locking that row and finding it as it was. A writer that comes too late finds another, and changes nothing.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::postgres::{TableServer, TableTransaction};
use super::sqlite::{TableFile, TableFileTransaction};
use super::{Database, DatabaseError};

pub(super) mod sql;

pub use sql::FORMAT as TABLE_FORMAT;

/// How many times its time-out a writer waits for another one, and for one statement.
pub(super) const PATIENCE: u32 = 3;
/// Documents that are written by one statement.
pub(super) const BATCH: usize = 64;

/// The table, by engine.
#[derive(Clone)]
pub enum FallbackTable {
    /// On a PostgreSQL server.
    Postgres(Box<TableServer>),
    /// In a SQLite file of its own.
    Sqlite(TableFile),
}

/// What the table says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableState {
    /// The serial of the release that it shows; zero before the first.
    pub serial: u64,
    /// That release's id.
    pub release: String,
    /// Where the documents lie that it shows; empty before the first release.
    pub site: String,
    /// The version of the two tables.
    pub format: u32,
    /// Tells apart what was written at different times.
    pub written: String,
    /// True without any document, whatever the release.
    pub is_empty: bool,
}

/// What the table is to say of itself.
#[derive(Debug, Clone)]
pub struct TableMark {
    /// The serial of the release.
    pub serial: u64,
    /// Its id.
    pub release: String,
    /// Where its documents lie.
    pub site: String,
}

/// A row of the table, as it is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableRow {
    /// The object path.
    pub path: String,
    /// SHA-256 of the body, in hex, as the row says it.
    pub digest: String,
    /// `Cache-Control`.
    pub cache_control: String,
    /// Cache tags, separated by commas.
    pub cache_tags: String,
    /// The instant whose data it shows, in microseconds since 1970.
    pub as_of_micros: i64,
    /// The gzipped body, if it was asked for.
    pub body_gzip: Option<Vec<u8>>,
}

/// A row to write.
#[derive(Debug, Clone)]
pub struct TableDocument {
    /// The object path.
    pub path: Arc<str>,
    /// The template's name.
    pub template: String,
    /// The key, a JSON object by column.
    pub key: String,
    /// The gzipped body.
    pub body_gzip: Vec<u8>,
    /// SHA-256 of the body, in hex.
    pub digest: String,
    /// `Cache-Control`.
    pub cache_control: String,
    /// Cache tags, separated by commas.
    pub cache_tags: String,
    /// The instant whose data it shows.
    pub as_of: DateTime<Utc>,
}

/// What a connection may do with the table.
#[derive(Debug, Clone, Default)]
pub struct TableRights {
    /// What it may not, and would have to: `INSERT on tintype_snapshot`.
    pub missing: Vec<String>,
}

/// A transaction that writes the table; dropped, it leaves everything as it was.
pub enum TableWrite {
    /// On PostgreSQL.
    Postgres(Box<TableTransaction>),
    /// On SQLite.
    Sqlite(Box<TableFileTransaction>),
}

impl fmt::Debug for FallbackTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.describe())
    }
}

impl FallbackTable {
    /// The table in a database. Each connection may take `timeout`, and each statement three times as long.
    pub fn new(database: Database, timeout: Duration) -> FallbackTable {
        match database {
            Database::Postgres(servers) => {
                FallbackTable::Postgres(Box::new(TableServer::new(servers.primary, timeout)))
            }
            Database::Sqlite(path) => FallbackTable::Sqlite(TableFile::new(path, timeout, true)),
        }
    }

    /// The table in a file beside a site's own records, and so of no other site, wherever they are moved.
    pub fn in_file(path: PathBuf, timeout: Duration) -> FallbackTable {
        FallbackTable::Sqlite(TableFile::new(path, timeout, false))
    }

    /// What it is called in messages.
    pub fn describe(&self) -> String {
        match self {
            FallbackTable::Postgres(server) => server.describe(),
            FallbackTable::Sqlite(file) => file.describe(),
        }
    }

    /// True where another site could find it too.
    pub fn is_shared(&self) -> bool {
        match self {
            FallbackTable::Postgres(_) => true,
            FallbackTable::Sqlite(file) => file.is_shared,
        }
    }

    /// What it says of itself; none where there is no such table yet.
    pub async fn state(&self) -> Result<Option<TableState>, DatabaseError> {
        match self {
            FallbackTable::Postgres(server) => server.state().await,
            FallbackTable::Sqlite(file) => file.state().await,
        }
    }

    /// Makes the tables, unless they are there. An error of a role that may not names the statements for one that may.
    pub async fn create(&self) -> Result<(), DatabaseError> {
        match self {
            FallbackTable::Postgres(server) => server.create().await,
            FallbackTable::Sqlite(file) => file.create().await,
        }
    }

    /// Hands over every row in the order of the paths, with its body on request.
    pub async fn rows(&self, bodies: bool, each: &mut (dyn FnMut(TableRow) + Send)) -> Result<(), DatabaseError> {
        match self {
            FallbackTable::Postgres(server) => server.rows(bodies, each).await,
            FallbackTable::Sqlite(file) => file.rows(bodies, each).await,
        }
    }

    /// The paths of a template and their keys, JSON objects by column.
    pub async fn keys(&self, template: &str) -> Result<Vec<(String, String)>, DatabaseError> {
        match self {
            FallbackTable::Postgres(server) => server.keys(template).await,
            FallbackTable::Sqlite(file) => file.keys(template).await,
        }
    }

    /// The gzipped body at a path, as an API would ask for it.
    pub async fn body(&self, path: &str) -> Result<Option<Vec<u8>>, DatabaseError> {
        match self {
            FallbackTable::Postgres(server) => server.body(path).await,
            FallbackTable::Sqlite(file) => file.body(path).await,
        }
    }

    /// What the connection may do with the tables, which are there.
    pub async fn rights(&self) -> Result<TableRights, DatabaseError> {
        match self {
            FallbackTable::Postgres(server) => server.rights().await,
            FallbackTable::Sqlite(file) => file.rights().await,
        }
    }

    /// Begins to write; none if the table says something else of itself than expected.
    pub async fn begin(&self, expected: &TableState) -> Result<Option<TableWrite>, DatabaseError> {
        Ok(match self {
            FallbackTable::Postgres(server) => {
                server.begin(expected).await?.map(|transaction| TableWrite::Postgres(Box::new(transaction)))
            }
            FallbackTable::Sqlite(file) => {
                file.begin(expected).await?.map(|transaction| TableWrite::Sqlite(Box::new(transaction)))
            }
        })
    }
}

impl TableWrite {
    /// Writes documents of a release over what is there.
    pub async fn upsert(&mut self, release: &str, documents: Vec<TableDocument>) -> Result<(), DatabaseError> {
        match self {
            TableWrite::Postgres(transaction) => transaction.upsert(release, documents).await,
            TableWrite::Sqlite(transaction) => transaction.upsert(release, documents).await,
        }
    }

    /// Removes documents.
    pub async fn remove(&mut self, paths: &[String]) -> Result<(), DatabaseError> {
        match self {
            TableWrite::Postgres(transaction) => transaction.remove(paths).await,
            TableWrite::Sqlite(transaction) => transaction.remove(paths).await,
        }
    }

    /// Says what the table shows from now on, and commits.
    pub async fn commit(self, mark: &TableMark) -> Result<(), DatabaseError> {
        match self {
            TableWrite::Postgres(transaction) => transaction.commit(mark).await,
            TableWrite::Sqlite(transaction) => transaction.commit(mark).await,
        }
    }
}
