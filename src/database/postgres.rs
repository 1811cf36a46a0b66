//! PostgreSQL through sqlx.
//!
//! Everything works through PgBouncer in transaction mode: statements are unnamed, parameters have built-in types,
//! settings hold for the transaction only, and nothing is sent as a start-up `options`.

use std::time::Duration;

use futures_util::TryStreamExt as _;
use sqlx::postgres::{PgArguments, PgConnection, PgRow};
use sqlx::query::Query;
use sqlx::{
    AssertSqlSafe, Column as _, Connection as _, Either, Executor as _, Postgres, Row as _, TypeInfo as _,
    ValueRef as _,
};
use tokio::sync::mpsc;

use super::batch::{RowBatch, Rows};
use super::{ColumnType, DatabaseError, ResultColumn};
use crate::template::scope::{Bind, Statement};

mod activity;
pub mod connect;
mod copy;
pub mod facts;
mod failure;
mod fallback_table;
mod head_table;
mod pooler;
mod replica;
mod result_types;
mod trial;

pub use activity::Watch;
use failure::statement_error;
pub use fallback_table::{TableServer, TableTransaction};
pub use head_table::{HeadRow, HeadTable, RowSwap, RowVersion};
pub use pooler::{Pooler, Told};
pub use result_types::columns;
use result_types::{is_about_types, read_rare_types};

/// Longest wait for the server's part in closing a connection.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Says good-bye and closes the socket; a server that doesn't listen any more is left.
pub async fn close(connection: PgConnection) -> Result<(), DatabaseError> {
    match tokio::time::timeout(CLOSE_TIMEOUT, connection.close()).await {
        Ok(Err(error)) => Err(statement_error(&error, "")),
        _ => Ok(()),
    }
}

/// Waits for the end of what was sent, whoever sent it. The error is a fatal one if the server hangs up, or the network gives
/// up, and that of a statement otherwise.
pub async fn hear(connection: &mut PgConnection) -> Result<(), DatabaseError> {
    connection.ping().await.map_err(|error| statement_error(&error, ""))
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

impl DatabaseError {
    /// Moves a position from a wrapped statement to the one inside.
    fn moved(self, outer: &Statement, inner: &Statement) -> DatabaseError {
        match outer.text.find(&inner.text) {
            Some(start) => self.shifted(start),
            None => self,
        }
    }
}
