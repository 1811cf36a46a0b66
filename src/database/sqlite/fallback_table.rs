//! The fallback table in a SQLite file of its own.
//!
//! The file keeps SQLite's default journal: in WAL mode a reader without the right to write beside the file couldn't open
//! it. So readers wait for the moment in which a writer commits, and a writer keeps its pages in memory until then.

use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use futures_util::TryStreamExt as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, ConnectOptions as _, QueryBuilder, Row as _, Sqlite};
use tokio::time::timeout;

use super::{close, message};
use crate::database::DatabaseError;
use crate::database::fallback_table::sql::{COLUMNS, RELEASE, SNAPSHOTS, first_row, over_what_is_there};
use crate::database::fallback_table::{BATCH, PATIENCE, TableDocument, TableMark, TableRights, TableRow, TableState};

/// Pages that a transaction keeps in memory before it writes any, which would lock readers out: 64 MiB.
const CACHE: &str = "-65536";
/// Paths that one statement removes.
const REMOVALS: usize = 500;

/// A file and how long it is waited for.
#[derive(Clone)]
pub struct TableFile {
    /// True if it lies where another site may name it too.
    pub is_shared: bool,
    path: PathBuf,
    timeout: Duration,
}

/// A transaction that holds the file.
pub struct TableFileTransaction {
    file: TableFile,
    connection: SqliteConnection,
}

impl TableFile {
    /// The tables in a file.
    pub fn new(path: PathBuf, timeout: Duration, is_shared: bool) -> TableFile {
        TableFile { is_shared, path, timeout }
    }

    /// What they are called in messages.
    pub fn describe(&self) -> String {
        format!("the table {SNAPSHOTS} ({})", self.path.display())
    }

    /// See [`crate::database::FallbackTable::state`].
    pub async fn state(&self) -> Result<Option<TableState>, DatabaseError> {
        if !self.path.exists() {
            return Ok(None);
        }
        let mut connection = self.open(false).await?;
        let state = self.state_over(&mut connection).await;
        let _ = close(connection).await;
        state
    }

    async fn state_over(&self, connection: &mut SqliteConnection) -> Result<Option<TableState>, DatabaseError> {
        let tables =
            format!("SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name IN ('{SNAPSHOTS}', '{RELEASE}')");
        let tables = self.ask(connection, tables).await?;
        if tables.first().is_none_or(|row| row.try_get::<i64, _>(0).unwrap_or(0) < 2) {
            return Ok(None);
        }
        let text = format!(
            "SELECT serial, release, site, format, written_at, NOT EXISTS (SELECT 1 FROM {SNAPSHOTS}) FROM {RELEASE} WHERE id = 1"
        );
        let rows = self.ask(connection, text).await?;
        rows.first().map(state).transpose().map_err(|error| self.failed(&error))
    }

    /// See [`crate::database::FallbackTable::create`].
    pub async fn create(&self) -> Result<(), DatabaseError> {
        let mut connection = self.open(true).await?;
        let text = format!(
            "BEGIN IMMEDIATE; \
             CREATE TABLE IF NOT EXISTS {SNAPSHOTS} (path TEXT PRIMARY KEY, template TEXT NOT NULL, key TEXT NOT NULL, \
             body_gzip BLOB NOT NULL, digest TEXT NOT NULL, cache_control TEXT NOT NULL, cache_tags TEXT NOT NULL, \
             release TEXT NOT NULL, as_of TEXT NOT NULL); \
             CREATE TABLE IF NOT EXISTS {RELEASE} (id INTEGER PRIMARY KEY CHECK (id = 1), serial INTEGER NOT NULL, \
             release TEXT NOT NULL, site TEXT NOT NULL, format INTEGER NOT NULL, written_at TEXT NOT NULL); \
             {}; COMMIT",
            first_row(&format!("'{}'", now()))
        );
        let made = self.ask(&mut connection, text).await;
        let _ = close(connection).await;
        made.map(drop)
    }

    /// See [`crate::database::FallbackTable::rows`].
    pub async fn rows(&self, bodies: bool, each: &mut (dyn FnMut(TableRow) + Send)) -> Result<(), DatabaseError> {
        let mut connection = self.open(false).await?;
        let body = if bodies { ", body_gzip" } else { "" };
        let text =
            format!("SELECT path, digest, cache_control, cache_tags, as_of{body} FROM {SNAPSHOTS} ORDER BY path");
        let read: Result<(), DatabaseError> = async {
            let mut stream = sqlx::raw_sql(AssertSqlSafe(text)).fetch(&mut connection);
            loop {
                let next = timeout(self.patience(), stream.try_next()).await.map_err(|_| self.silent())?;
                let Some(row) = next.map_err(|error| self.failed(&error))? else { return Ok(()) };
                each(table_row(&row, bodies).map_err(|error| self.failed(&error))?);
            }
        }
        .await;
        let _ = close(connection).await;
        read
    }

    /// See [`crate::database::FallbackTable::keys`].
    pub async fn keys(&self, template: &str) -> Result<Vec<(String, String)>, DatabaseError> {
        let text = format!("SELECT path, key FROM {SNAPSHOTS} WHERE template = ");
        let rows = self.select(text, template).await?;
        let pair = |row: &SqliteRow| Ok((row.try_get(0)?, row.try_get(1)?));
        let mut pairs = rows.iter().map(pair).collect::<Result<Vec<_>, _>>().map_err(|error| self.failed(&error))?;
        pairs.sort_unstable();
        Ok(pairs)
    }

    /// See [`crate::database::FallbackTable::body`].
    pub async fn body(&self, path: &str) -> Result<Option<Vec<u8>>, DatabaseError> {
        let rows = self.select(format!("SELECT body_gzip FROM {SNAPSHOTS} WHERE path = "), path).await?;
        rows.first().map(|row| row.try_get(0)).transpose().map_err(|error| self.failed(&error))
    }

    async fn select(&self, text: String, bound: &str) -> Result<Vec<SqliteRow>, DatabaseError> {
        let mut connection = self.open(false).await?;
        let mut query: QueryBuilder<Sqlite> = QueryBuilder::new(text);
        query.push_bind(bound.to_owned());
        let rows = timeout(self.patience(), query.build().fetch_all(&mut connection)).await;
        let rows = rows.map_err(|_| self.silent()).and_then(|rows| rows.map_err(|error| self.failed(&error)));
        let _ = close(connection).await;
        rows
    }

    /// See [`crate::database::FallbackTable::rights`].
    pub async fn rights(&self) -> Result<TableRights, DatabaseError> {
        let may_write = |path: &Path| rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok();
        let folder = self.path.parent().filter(|folder| !may_write(folder));
        let missing = (!may_write(&self.path)).then_some(self.path.as_path()).into_iter().chain(folder);
        Ok(TableRights { missing: missing.map(|path| format!("writing {}", path.display())).collect() })
    }

    /// See [`crate::database::FallbackTable::begin`].
    pub async fn begin(&self, expected: &TableState) -> Result<Option<TableFileTransaction>, DatabaseError> {
        let mut connection = self.open(false).await?;
        self.ask(&mut connection, format!("PRAGMA cache_size = {CACHE}; BEGIN IMMEDIATE")).await?;
        let found = self.state_over(&mut connection).await?;
        if found.is_some_and(|found| TableState { is_empty: expected.is_empty, ..found } == *expected) {
            return Ok(Some(TableFileTransaction { file: self.clone(), connection }));
        }
        let _ = close(connection).await;
        Ok(None)
    }

    async fn open(&self, create: bool) -> Result<SqliteConnection, DatabaseError> {
        let options = SqliteConnectOptions::new()
            .filename(&self.path)
            .create_if_missing(create)
            .busy_timeout(self.timeout * PATIENCE)
            .disable_statement_logging();
        let opened = timeout(self.patience(), options.connect()).await.map_err(|_| self.silent())?;
        opened.map_err(|error| self.failed(&error))
    }

    async fn ask(&self, connection: &mut SqliteConnection, text: String) -> Result<Vec<SqliteRow>, DatabaseError> {
        let asked = sqlx::raw_sql(AssertSqlSafe(text)).fetch_all(connection);
        let rows = timeout(self.patience(), asked).await.map_err(|_| self.silent())?;
        rows.map_err(|error| self.failed(&error))
    }

    /// A moment more than SQLite itself waits for another writer.
    fn patience(&self) -> Duration {
        self.timeout * (PATIENCE + 1)
    }

    fn silent(&self) -> DatabaseError {
        let waited = humantime::format_duration(self.patience()).to_string();
        self.refused(
            &format!("no answer within {waited}"),
            "is the disk overloaded? [fallback] table_timeout sets the wait",
        )
    }

    fn failed(&self, error: &sqlx::Error) -> DatabaseError {
        let reason = message(error);
        let hint = match reason.as_str() {
            text if text.contains("locked") => {
                "another process keeps a transaction open on the file, or a reader doesn't end"
            }
            text if text.contains("not a database") || text.contains("malformed") => {
                "remove the file: the next publish, or `tintype resume`, writes it anew"
            }
            text if text.contains("no column") || text.contains("no such column") => {
                "a table of this name is there, and isn't tintype's: use another file"
            }
            _ => "may tintype's user write the file and its folder, and is there room on the disk?",
        };
        self.refused(&reason, hint)
    }

    fn refused(&self, reason: &str, hint: &str) -> DatabaseError {
        let server = format!("SQLite file {}", self.path.display());
        DatabaseError::Unfit { server, reason: format!("can't be used: {reason}"), hint: hint.to_owned() }
    }
}

impl TableFileTransaction {
    /// See [`crate::database::TableWrite::upsert`].
    pub async fn upsert(&mut self, release: &str, documents: Vec<TableDocument>) -> Result<(), DatabaseError> {
        let mut documents = documents.into_iter().peekable();
        while documents.peek().is_some() {
            let mut query: QueryBuilder<Sqlite> =
                QueryBuilder::new(format!("INSERT INTO {SNAPSHOTS} ({}) ", COLUMNS.join(", ")));
            query.push_values(documents.by_ref().take(BATCH), |mut row, document| {
                row.push_bind(document.path.to_string())
                    .push_bind(document.template)
                    .push_bind(document.key)
                    .push_bind(document.body_gzip)
                    .push_bind(document.digest)
                    .push_bind(document.cache_control)
                    .push_bind(document.cache_tags)
                    .push_bind(release.to_owned())
                    .push_bind(document.as_of.to_rfc3339_opts(SecondsFormat::Micros, true));
            });
            query.push(format!(" {}", over_what_is_there()));
            self.execute(query).await?;
        }
        Ok(())
    }

    /// See [`crate::database::TableWrite::remove`].
    pub async fn remove(&mut self, paths: &[String]) -> Result<(), DatabaseError> {
        for paths in paths.chunks(REMOVALS) {
            let mut query: QueryBuilder<Sqlite> = QueryBuilder::new(format!("DELETE FROM {SNAPSHOTS} WHERE path IN ("));
            let mut listed = query.separated(", ");
            for path in paths {
                listed.push_bind(path.clone());
            }
            query.push(")");
            self.execute(query).await?;
        }
        Ok(())
    }

    /// See [`crate::database::TableWrite::commit`].
    pub async fn commit(mut self, mark: &TableMark) -> Result<(), DatabaseError> {
        let mut query: QueryBuilder<Sqlite> = QueryBuilder::new(format!("UPDATE {RELEASE} SET serial = "));
        query.push_bind(i64::try_from(mark.serial).unwrap_or(i64::MAX));
        query.push(", release = ").push_bind(mark.release.clone());
        query.push(", site = ").push_bind(mark.site.clone());
        query.push(", written_at = ").push_bind(now());
        query.push(" WHERE id = 1");
        self.execute(query).await?;
        self.file.ask(&mut self.connection, "COMMIT".to_owned()).await?;
        let _ = close(self.connection).await;
        Ok(())
    }

    async fn execute(&mut self, mut query: QueryBuilder<Sqlite>) -> Result<(), DatabaseError> {
        let executed = timeout(self.file.patience(), query.build().execute(&mut self.connection)).await;
        executed.map_err(|_| self.file.silent())?.map(drop).map_err(|error| self.file.failed(&error))
    }
}

fn now() -> String {
    Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true)
}

fn state(row: &SqliteRow) -> Result<TableState, sqlx::Error> {
    let number = |column: usize| row.try_get::<i64, _>(column);
    Ok(TableState {
        serial: u64::try_from(number(0)?).unwrap_or(0),
        release: row.try_get(1)?,
        site: row.try_get(2)?,
        format: u32::try_from(number(3)?).unwrap_or(u32::MAX),
        written: row.try_get(4)?,
        is_empty: number(5)? != 0,
    })
}

fn table_row(row: &SqliteRow, bodies: bool) -> Result<TableRow, sqlx::Error> {
    let as_of: String = row.try_get(4)?;
    Ok(TableRow {
        path: row.try_get(0)?,
        digest: row.try_get(1)?,
        cache_control: row.try_get(2)?,
        cache_tags: row.try_get(3)?,
        // What can't be read is written again.
        as_of_micros: DateTime::parse_from_rfc3339(&as_of).map_or(i64::MIN, |at| at.timestamp_micros()),
        body_gzip: if bodies { Some(row.try_get(5)?) } else { None },
    })
}
