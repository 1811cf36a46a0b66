//! PostgreSQL through sqlx.
//!
//! Everything works through PgBouncer in transaction mode: statements are unnamed, parameters have built-in types,
//! settings hold for the transaction only, and nothing is sent as a start-up `options`.

use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::TryStreamExt as _;
use sqlx::postgres::{PgArguments, PgConnectOptions, PgConnection, PgDatabaseError, PgErrorPosition, PgRow};
use sqlx::query::Query;
use sqlx::{
    AssertSqlSafe, Column as _, ConnectOptions as _, Connection as _, Either, Executor as _, Postgres, Row as _,
    TypeInfo as _, ValueRef as _,
};
use tokio::sync::mpsc;

use super::batch::{RowBatch, Rows};
use super::{ColumnType, DatabaseError, ReadSettings, ResultColumn};
use crate::template::scope::{Bind, Statement};

mod copy;
mod result_types;

pub use result_types::columns;
use result_types::{is_about_types, read_rare_types};

/// `application_name` holds at most 63 bytes (`NAMEDATALEN` − 1).
const MAX_APPLICATION_LEN: usize = 63;
/// The first version with `client_connection_check_interval`.
const HAS_CONNECTION_CHECK: u32 = 140_000;
/// Longest wait for the server's part in closing a connection.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Host, port and database of a server, without user or password.
pub fn describe(options: &PgConnectOptions) -> String {
    let database = options.get_database().unwrap_or_else(|| options.get_username());
    match options.get_socket() {
        Some(socket) => format!("PostgreSQL at {} port {}, database {database}", socket.display(), options.get_port()),
        None => format!("PostgreSQL at {}:{}, database {database}", options.get_host(), options.get_port()),
    }
}

/// Connects and begins the transaction; returns the instant that it sees.
pub async fn begin(
    options: &PgConnectOptions,
    settings: &ReadSettings,
    application: &str,
) -> Result<(PgConnection, DateTime<Utc>), DatabaseError> {
    let name: String = application.chars().take(MAX_APPLICATION_LEN).collect();
    let named = options.clone().application_name(&name);
    let mut connection = match tokio::time::timeout(settings.connect_timeout, named.connect()).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return Err(connect_error(options, &error)),
        Err(_) => {
            return Err(DatabaseError::Connect {
                server: describe(options),
                reason: format!("no answer within {}", humantime::format_duration(settings.connect_timeout)),
                sqlstate: None,
                hint: "is the server up and reachable from here? [database.build] acquire_timeout sets the wait"
                    .to_owned(),
            });
        }
    };
    // A pooler may hand the connection's settings to the next client, so all of them are LOCAL to the transaction.
    // The formats are fixed because text that a template casts from dates and numbers must not depend on the server.
    let mut begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL timezone = 'UTC'; SET LOCAL datestyle = 'ISO, YMD'; \
         SET LOCAL intervalstyle = 'iso_8601'; SET LOCAL extra_float_digits = 1; SET LOCAL bytea_output = 'hex'; SET LOCAL lock_timeout = '30s'; \
         SET LOCAL idle_in_transaction_session_timeout = '10min'"
        .to_owned();
    let mut set = |name: &str, value: &str| {
        begin.push_str(&format!("; SET LOCAL {name} = '{}'", value.replace('\'', "''")));
    };
    set("statement_timeout", &format!("{}ms", settings.statement_timeout.as_millis()));
    if connection.server_version_num().is_some_and(|version| version >= HAS_CONNECTION_CHECK) {
        // A statement whose client has gone ends within a second instead of running on for nobody.
        set("client_connection_check_interval", "1s");
    }
    for (name, value) in &settings.settings {
        set(name, value);
    }
    connection.execute(AssertSqlSafe(begin)).await.map_err(|error| match statement_error(&error, "") {
        DatabaseError::Statement { message, sqlstate, .. } => DatabaseError::Statement {
            message: format!("the transaction can't begin: {message}"),
            sqlstate,
            position: None,
            hint: Some("see [database.build] settings: each is set for the transaction".to_owned()),
        },
        other => other,
    })?;
    let as_of = read_as_of(&mut connection).await?;
    Ok((connection, as_of))
}

/// The transaction's first statement takes its snapshot. A standby shows the primary's past, at best up to its last replay.
async fn read_as_of(connection: &mut PgConnection) -> Result<DateTime<Utc>, DatabaseError> {
    let sql = "SELECT (extract(epoch FROM CASE WHEN pg_is_in_recovery() THEN least(clock_timestamp(), pg_last_xact_replay_timestamp()) ELSE clock_timestamp() END) * 1000000)::int8";
    let row: PgRow =
        connection.fetch_one(sqlx::query(sql).persistent(false)).await.map_err(|error| statement_error(&error, sql))?;
    let micros: i64 = row.try_get(0).map_err(|error| statement_error(&error, sql))?;
    Ok(DateTime::from_timestamp_micros(micros).unwrap_or_default())
}

/// Says good-bye and closes the socket; a server that doesn't listen any more is left.
pub async fn close(connection: PgConnection) -> Result<(), DatabaseError> {
    match tokio::time::timeout(CLOSE_TIMEOUT, connection.close()).await {
        Ok(Err(error)) => Err(statement_error(&error, "")),
        _ => Ok(()),
    }
}

/// Runs a statement of the transaction itself.
pub async fn execute(connection: &mut PgConnection, sql: &'static str) -> Result<(), DatabaseError> {
    connection.execute(sql).await.map(|_| ()).map_err(|error| statement_error(&error, ""))
}

/// Writes parameter `number` with the casts that comparing it to a column of the given type needs.
///
/// Texts and whole numbers compare as they are, `int8` with every integer type by the same index; anything else is
/// sent as text and read by the type's own input function. The name is the one that `regtype` prints.
pub fn parameter(oid: u32, type_name: &str, number: usize) -> String {
    match (oid, type_name) {
        // text, varchar, name, int2, int4, int8, bool, and domains over them.
        (16 | 19 | 20 | 21 | 23 | 25 | 1043, _) => format!("${number}"),
        // Without a length `character` would mean one character, and `bit` one bit.
        (1042, _) => format!("${number}::bpchar"),
        (1560, _) => format!("${number}::varbit"),
        (1700, _) => format!("${number}::numeric"),
        _ => format!("${number}::{type_name}"),
    }
}

fn query(statement: &Statement) -> Query<'static, Postgres, PgArguments> {
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

async fn rows(connection: &mut PgConnection, statement: &Statement) -> Result<Vec<PgRow>, DatabaseError> {
    connection.fetch_all(query(statement)).await.map_err(|error| statement_error(&error, &statement.text))
}

#[expect(clippy::needless_pass_by_value, reason = "it is handed to map_err")]
fn unreadable(error: sqlx::Error) -> DatabaseError {
    DatabaseError::Lost { reason: error.to_string() }
}

fn result_columns(row: &PgRow) -> Vec<ResultColumn> {
    let of = |column: &sqlx::postgres::PgColumn| ResultColumn {
        name: column.name().to_owned(),
        kind: ColumnType::Postgres {
            oid: column.type_info().oid().map_or(0, |oid| oid.0),
            name: column.type_info().name().to_owned(),
        },
    };
    row.columns().iter().map(of).collect()
}

/// Streams a statement's rows; `statements` counts what that takes.
pub async fn read(
    connection: &mut PgConnection,
    statement: &Statement,
    rows: &mpsc::Sender<Rows>,
    statements: &mut u64,
) -> Result<u64, DatabaseError> {
    if statement.binds.is_empty() {
        return copy::read(connection, statement, rows, statements).await;
    }
    match stream(connection, statement, rows, statements).await {
        Err(Broken::Types) => read_rare_types(connection, statement, rows, statements).await,
        Err(Broken::Other(error)) => Err(error),
        Ok(count) => Ok(count),
    }
}

/// Why a stream ended early.
enum Broken {
    /// Before the first row, because sqlx doesn't know a type.
    Types,
    Other(DatabaseError),
}

async fn stream(
    connection: &mut PgConnection,
    statement: &Statement,
    rows: &mpsc::Sender<Rows>,
    statements: &mut u64,
) -> Result<u64, Broken> {
    *statements += 1;
    let failed = |error: &sqlx::Error| Broken::Other(statement_error(error, &statement.text));
    let stopped = |_| Broken::Other(DatabaseError::Stopped);
    let mut count = 0;
    {
        let mut stream = connection.fetch_many(query(statement));
        let mut batch = RowBatch::default();
        loop {
            let item = match stream.try_next().await {
                Ok(Some(Either::Right(row))) => row,
                Ok(Some(Either::Left(_))) => continue,
                Ok(None) => break,
                Err(error) if count == 0 && is_about_types(&error) => return Err(Broken::Types),
                Err(error) => return Err(failed(&error)),
            };
            if count == 0 {
                rows.send(Rows::Columns(result_columns(&item))).await.map_err(stopped)?;
                batch = RowBatch::new(item.len());
            }
            count += 1;
            push_row(&item, &mut batch).map_err(Broken::Other)?;
            if batch.is_full() {
                let full = std::mem::replace(&mut batch, RowBatch::new(item.len()));
                rows.send(Rows::Batch(full)).await.map_err(stopped)?;
            }
        }
        if !batch.is_empty() {
            rows.send(Rows::Batch(batch)).await.map_err(stopped)?;
        }
    }
    if count == 0 {
        // Without a row nobody has told the columns yet.
        let columns = columns(connection, statement, statements).await.map_err(Broken::Other)?;
        rows.send(Rows::Columns(columns)).await.map_err(stopped)?;
    }
    rows.send(Rows::End).await.map_err(stopped)?;
    Ok(count)
}

fn push_row(row: &PgRow, batch: &mut RowBatch) -> Result<(), DatabaseError> {
    for column in 0..row.len() {
        let cell = row.try_get_raw(column).map_err(unreadable)?;
        batch.push(|bytes| {
            if cell.is_null() {
                return Ok(false);
            }
            let raw = cell.as_bytes().map_err(|error| DatabaseError::Lost { reason: error.to_string() })?;
            bytes.extend_from_slice(raw);
            Ok(true)
        })?;
    }
    Ok(())
}

/// One text column of a short answer.
pub async fn text_rows(
    connection: &mut PgConnection,
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

/// Those of the named functions that PostgreSQL calls volatile in every form.
pub async fn volatile_functions(connection: &mut PgConnection, names: &[String]) -> Result<Vec<String>, DatabaseError> {
    let sql = "SELECT proname::text FROM pg_proc WHERE proname::text = ANY($1) GROUP BY proname HAVING bool_and(provolatile = 'v')";
    let rows = connection
        .fetch_all(sqlx::query(sql).bind(names.to_vec()).persistent(false))
        .await
        .map_err(|error| statement_error(&error, sql))?;
    rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>().map_err(|error| statement_error(&error, sql))
}

fn connect_error(options: &PgConnectOptions, error: &sqlx::Error) -> DatabaseError {
    let sqlstate =
        error.as_database_error().and_then(sqlx::error::DatabaseError::code).map(std::borrow::Cow::into_owned);
    let (reason, hint) = match (sqlstate.as_deref(), error) {
        (Some("28P01" | "28000"), _) => (
            message(error),
            "check user and password; the password may come from DATABASE_URL, TINTYPE_DATABASE_URL_FILE or ~/.pgpass",
        ),
        (Some("3D000"), _) => (message(error), "check the database's name at the end of the URL"),
        (Some("53300"), _) => (
            message(error),
            "the server has no connection free; tintype needs one: see who holds them in pg_stat_activity",
        ),
        (Some("57P03"), _) => (message(error), "the server is starting or stopping; try again"),
        (Some(_), _) => (message(error), "see the server's log"),
        (None, sqlx::Error::Tls(_)) => {
            (message(error), "sslmode and sslrootcert in the URL say how the server proves who it is")
        }
        (None, _) => (message(error), "is the server up, and are host and port right?"),
    };
    DatabaseError::Connect { server: describe(options), reason, sqlstate, hint: hint.to_owned() }
}

fn message(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => error.message().to_owned(),
        sqlx::Error::Io(error) => error.to_string(),
        other => other.to_string(),
    }
}

fn statement_error(error: &sqlx::Error, text: &str) -> DatabaseError {
    let sqlx::Error::Database(database) = error else {
        return DatabaseError::Lost { reason: message(error) };
    };
    let Some(server) = database.try_downcast_ref::<PgDatabaseError>() else {
        return DatabaseError::Statement {
            message: database.message().to_owned(),
            sqlstate: None,
            position: None,
            hint: None,
        };
    };
    // Class 57 with P: the server ends the session (admin shutdown, crash of another backend).
    if server.code().starts_with("57P") || server.code().starts_with("08") {
        return DatabaseError::Lost { reason: format!("{} (SQLSTATE {})", server.message(), server.code()) };
    }
    let position = match server.position() {
        Some(PgErrorPosition::Original(character)) => {
            text.char_indices().nth(character.saturating_sub(1)).map(|(at, _)| at)
        }
        _ => None,
    };
    let hint = match server.code() {
        "57014" => Some("[database.build] statement_timeout sets the limit; is an index missing?".to_owned()),
        _ => server.hint().or(server.detail()).map(ToOwned::to_owned),
    };
    DatabaseError::Statement {
        message: server.message().to_owned(),
        sqlstate: Some(server.code().to_owned()),
        position,
        hint,
    }
}

impl DatabaseError {
    /// Moves a position from a wrapped statement to the one inside.
    fn moved(self, outer: &Statement, inner: &Statement) -> DatabaseError {
        let Some(start) = outer.text.find(&inner.text) else { return self };
        match self {
            DatabaseError::Statement { message, sqlstate, position, hint } => DatabaseError::Statement {
                message,
                sqlstate,
                position: position.and_then(|at| at.checked_sub(start)),
                hint,
            },
            other => other,
        }
    }
}
