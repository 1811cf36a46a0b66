//! SQLite through sqlx, read-only.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use chrono::{DateTime, Utc};
use futures_util::TryStreamExt as _;
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteConnection, SqliteRow, SqliteValueRef};
use sqlx::{
    AssertSqlSafe, Column as _, ConnectOptions as _, Connection as _, Decode, Either, Executor as _, Row as _,
    SqlSafeStr as _, Sqlite, Statement as _, TypeInfo as _, ValueRef as _,
};
use tokio::sync::mpsc;

mod fallback_table;
mod file;
mod trial;

pub use fallback_table::{TableFile, TableFileTransaction};
pub use file::{FileFacts, facts};
pub use trial::trial;

use super::batch::{RowBatch, Rows};
use super::error::TOO_SLOW;
use super::value::sqlite as cell;
use super::{ColumnType, DatabaseError, ReadSettings, ResultColumn};
use crate::template::scope::{Bind, Statement};

/// How long to wait for a writer that holds the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Virtual machine instructions between two looks at the clock; a few hundred microseconds' worth.
const PROGRESS_INSTRUCTIONS: i32 = 100_000;

/// Opens the file and begins the transaction; returns the instant that it sees.
pub async fn begin(path: &Path, _settings: &ReadSettings) -> Result<(SqliteConnection, DateTime<Utc>), DatabaseError> {
    let mut connection = open(path, BUSY_TIMEOUT).await?;
    let as_of = start(&mut connection, path).await?;
    Ok((connection, as_of))
}

/// Opens the file; a writer that holds it is waited for at most so long, and never longer than [`BUSY_TIMEOUT`].
pub async fn open(path: &Path, busy_timeout: Duration) -> Result<SqliteConnection, DatabaseError> {
    try_open(path, busy_timeout).await.map_err(|error| not_opened(path, &error, path.exists()))
}

/// The same with the driver's own error, for whoever can't ask the folder here.
pub async fn try_open(path: &Path, busy_timeout: Duration) -> Result<SqliteConnection, sqlx::Error> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .busy_timeout(busy_timeout.min(BUSY_TIMEOUT))
        // The name under which PostgreSQL orders text by bytes, so that one template runs on both.
        .collation("C", str::cmp)
        .disable_statement_logging();
    options.connect().await
}

/// The error of a file that couldn't be opened.
pub fn not_opened(path: &Path, error: &sqlx::Error, is_there: bool) -> DatabaseError {
    DatabaseError::Connect {
        server: format!("SQLite file {}", path.display()),
        reason: match is_there {
            true => error.to_string(),
            false => "there is no such file".to_owned(),
        },
        sqlstate: None,
        hint: "[database] url names it, counted from the config file's folder; `tintype init DIR` writes one with demo data".to_owned(),
    }
}

/// Begins the transaction; returns the instant that it sees.
pub async fn start(connection: &mut SqliteConnection, path: &Path) -> Result<DateTime<Utc>, DatabaseError> {
    execute(connection, "BEGIN").await?;
    let as_of = DateTime::<Utc>::from(SystemTime::now());
    // BEGIN alone takes no snapshot in SQLite; the first read does.
    connection.fetch_all("SELECT 1 FROM sqlite_schema LIMIT 1").await.map_err(|error| DatabaseError::Connect {
        server: format!("SQLite file {}", path.display()),
        reason: message(&error),
        sqlstate: None,
        hint: "is it a SQLite database, and may this user read it?".to_owned(),
    })?;
    Ok(as_of)
}

/// Closes the file.
pub async fn close(connection: SqliteConnection) -> Result<(), DatabaseError> {
    connection.close().await.map_err(|error| statement_error(&error, ""))
}

/// Runs a statement of the transaction itself.
pub async fn execute(connection: &mut SqliteConnection, sql: &'static str) -> Result<(), DatabaseError> {
    connection.execute(sql).await.map(|_| ()).map_err(|error| statement_error(&error, sql))
}

/// The version of the library that reads the file.
pub async fn version(connection: &mut SqliteConnection) -> Result<String, DatabaseError> {
    let sql = "SELECT sqlite_version()";
    let row = connection.fetch_one(sql).await.map_err(|error| statement_error(&error, sql))?;
    row.try_get(0).map_err(|error| statement_error(&error, sql))
}

fn query(statement: &Statement) -> Query<'static, Sqlite, SqliteArguments> {
    let mut query = sqlx::query(AssertSqlSafe(statement.text.clone())).persistent(false);
    for bind in &statement.binds {
        query = match bind {
            Bind::Text(text) => query.bind(text.clone()),
            Bind::Integer(number) => query.bind(*number),
            Bind::Real(number) => query.bind(*number),
            Bind::Bool(value) => query.bind(*value),
        };
    }
    query
}

/// The columns of a statement, from preparing it.
pub async fn columns(
    connection: &mut SqliteConnection,
    statement: &Statement,
) -> Result<Vec<ResultColumn>, DatabaseError> {
    let prepared = connection
        .prepare(AssertSqlSafe(statement.text.clone()).into_sql_str())
        .await
        .map_err(|error| statement_error(&error, &statement.text))?;
    Ok(prepared
        .columns()
        .iter()
        .map(|column| ResultColumn { name: column.name().to_owned(), kind: ColumnType::Sqlite })
        .collect())
}

/// Streams a statement's rows; the statement ends with an error after `timeout`, unless that is zero.
pub async fn read(
    connection: &mut SqliteConnection,
    statement: &Statement,
    rows: &mpsc::Sender<Rows>,
    timeout: Duration,
) -> Result<u64, DatabaseError> {
    let stopped = |_| DatabaseError::Stopped;
    let columns = columns(connection, statement).await?;
    let count = columns.len();
    rows.send(Rows::Columns(columns)).await.map_err(stopped)?;
    if !timeout.is_zero() {
        let deadline = Instant::now() + timeout;
        let mut handle = connection.lock_handle().await.map_err(|error| statement_error(&error, ""))?;
        handle.set_progress_handler(PROGRESS_INSTRUCTIONS, move || Instant::now() < deadline);
    }
    let read = stream(connection, statement, rows, count).await;
    if !timeout.is_zero() {
        connection.lock_handle().await.map_err(|error| statement_error(&error, ""))?.remove_progress_handler();
    }
    let total = read.map_err(|error| match error {
        DatabaseError::Statement { message, hint, .. } if message.contains("interrupted") => DatabaseError::Statement {
            message: format!("the statement ran for longer than {}", humantime::format_duration(timeout)),
            sqlstate: None,
            position: None,
            hint: hint.or_else(|| Some(TOO_SLOW.to_owned())),
        },
        other => other,
    })?;
    rows.send(Rows::End).await.map_err(stopped)?;
    Ok(total)
}

async fn stream(
    connection: &mut SqliteConnection,
    statement: &Statement,
    rows: &mpsc::Sender<Rows>,
    columns: usize,
) -> Result<u64, DatabaseError> {
    let failed = |error: &sqlx::Error| statement_error(error, &statement.text);
    let stopped = |_| DatabaseError::Stopped;
    let mut total = 0;
    let mut batch = RowBatch::new(columns);
    let mut stream = connection.fetch_many(query(statement));
    while let Some(item) = stream.try_next().await.map_err(|error| failed(&error))? {
        let Either::Right(row) = item else { continue };
        total += 1;
        for column in 0..columns {
            batch.push(|bytes| push_cell(&row, column, bytes)).map_err(|error| failed(&error))?;
        }
        if batch.is_full() {
            let full = std::mem::replace(&mut batch, RowBatch::new(columns));
            rows.send(Rows::Batch(full)).await.map_err(stopped)?;
        }
    }
    if !batch.is_empty() {
        rows.send(Rows::Batch(batch)).await.map_err(stopped)?;
    }
    Ok(total)
}

fn push_cell(row: &SqliteRow, column: usize, bytes: &mut Vec<u8>) -> Result<bool, sqlx::Error> {
    let value = row.try_get_raw(column)?;
    if value.is_null() {
        return Ok(false);
    }
    let kind = value.type_info();
    match kind.name() {
        "INTEGER" => cell::push_integer(decode(value)?, bytes),
        "REAL" => cell::push_real(decode(value)?, bytes),
        "BLOB" => cell::push_blob(decode(value)?, bytes),
        _ => cell::push_text(decode(value)?, bytes),
    }
    Ok(true)
}

fn decode<'r, T: Decode<'r, Sqlite>>(value: SqliteValueRef<'r>) -> Result<T, sqlx::Error> {
    T::decode(value).map_err(sqlx::Error::Decode)
}

/// One text column of a short answer.
pub async fn text_rows(
    connection: &mut SqliteConnection,
    statement: &Statement,
    column: &str,
) -> Result<Vec<String>, DatabaseError> {
    let rows =
        connection.fetch_all(query(statement)).await.map_err(|error| statement_error(&error, &statement.text))?;
    rows.iter()
        .map(|row| row.try_get(column))
        .collect::<Result<_, _>>()
        .map_err(|error| statement_error(&error, &statement.text))
}

fn message(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => error.message().to_owned(),
        other => other.to_string(),
    }
}

/// SQLite says what it stumbled over (`near "FORM": syntax error`), not where; the word's last place before the
/// statement's end is where it stands in nearly every case.
fn statement_error(error: &sqlx::Error, text: &str) -> DatabaseError {
    if !matches!(error, sqlx::Error::Database(_)) {
        return DatabaseError::Lost { reason: message(error) };
    }
    let message = message(error);
    let quoted = message
        .split('"')
        .nth(1)
        .or_else(|| message.rsplit_once(": ").map(|(_, name)| name.rsplit('.').next().unwrap_or(name)));
    let position = quoted.filter(|word| !word.is_empty()).and_then(|word| {
        let tokens = crate::template::tokens::tokens(text);
        tokens.iter().find(|token| !token.is_comment() && token.text(text) == word).map(|token| token.span.start)
    });
    let hint = message
        .contains("syntax error")
        .then(|| "SQLite shows the word it didn't expect; the mistake is often just before it".to_owned());
    DatabaseError::Statement { message, sqlstate: None, position, hint }
}
