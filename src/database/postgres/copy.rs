//! Reading a whole statement as `COPY … TO STDOUT (FORMAT BINARY)`: the same cells as rows have, at a third of the
//! cost, because nothing but their bytes is looked at on the way.
//!
//! A statement with parameters can't be copied; it is read row by row. sqlx 0.9 doesn't count the answer that ends a
//! COPY among those it waits for, so a copy is always read to its end here, and where the server refuses to begin one,
//! the answer left over is taken up before the connection is used again.

use std::io::ErrorKind;
use std::time::Duration;

use futures_util::{FutureExt as _, TryStreamExt as _};
use sqlx::postgres::PgConnection;
use sqlx::{
    AssertSqlSafe, Column as _, Connection as _, Executor as _, SqlSafeStr as _, Statement as _, TypeInfo as _,
};
use tokio::sync::mpsc;

use super::result_types::{is_about_types, is_readable, is_users, text_of_rare};
use super::{columns, execute, statement_error};
use crate::database::batch::{RowBatch, Rows, Tuples};
use crate::database::{ColumnType, DatabaseError, ResultColumn};
use crate::template::scope::Statement;

const BEGIN: &str = "COPY (\n";
const END: &str = "\n) TO STDOUT (FORMAT BINARY)";
/// How long rows wait for more to go on with.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Streams the rows of a statement without parameters; `statements` counts what that takes.
pub async fn read(
    connection: &mut PgConnection,
    statement: &Statement,
    rows: &mpsc::Sender<Rows>,
    statements: &mut u64,
) -> Result<u64, DatabaseError> {
    let read = read_described(connection, statement, rows, statements).await;
    if !read.as_ref().is_err_and(DatabaseError::is_fatal) {
        // The description lies on the server under a name, which a pooler would hand on to the next client.
        connection.clear_cached_statements().await.map_err(|error| statement_error(&error, ""))?;
    }
    read
}

async fn read_described(
    connection: &mut PgConnection,
    statement: &Statement,
    rows: &mpsc::Sender<Rows>,
    statements: &mut u64,
) -> Result<u64, DatabaseError> {
    let mut columns = if let Some(columns) = described(connection, statement).await? {
        columns
    } else {
        execute(connection, "ROLLBACK TO SAVEPOINT template").await?;
        columns(connection, statement, statements).await?
    };
    if columns.iter().any(is_users) {
        // What isn't PostgreSQL's own is left to the receiver to refuse, which knows the template's words for it.
        rows.send(Rows::Columns(columns)).await.map_err(|_| DatabaseError::Stopped)?;
        return Err(DatabaseError::Stopped);
    }
    let mut inner = statement.clone();
    if !columns.iter().all(is_readable) {
        inner = text_of_rare(statement, &columns);
        for column in columns.iter_mut().filter(|column| !is_readable(column)) {
            column.kind = ColumnType::Postgres { oid: 25, name: "text".to_owned() };
        }
    }
    *statements += 1;
    let mut begun = false;
    let read = copy(connection, &inner, columns, rows, &mut begun).await;
    if let Err(error) = &read
        && !begun
    {
        resume(connection, error).await?;
    }
    read.map_err(|error| error.moved(&inner, statement))
}

/// The columns as the server describes them without planning anything; `None` if sqlx can't name their types, or if
/// the name that it gives to the description is taken by what another client of a pooler has left behind.
async fn described(
    connection: &mut PgConnection,
    statement: &Statement,
) -> Result<Option<Vec<ResultColumn>>, DatabaseError> {
    const DUPLICATE_PREPARED_STATEMENT: &str = "42P05";
    let prepared = match connection.prepare(AssertSqlSafe(statement.text.clone()).into_sql_str()).await {
        Ok(prepared) => prepared,
        Err(error) if is_about_types(&error) => return Ok(None),
        Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some(DUPLICATE_PREPARED_STATEMENT) => {
            return Ok(None);
        }
        Err(error) => return Err(statement_error(&error, &statement.text)),
    };
    let column = |column: &sqlx::postgres::PgColumn| {
        let oid = column.type_info().oid()?.0;
        let kind = ColumnType::Postgres { oid, name: column.type_info().name().to_owned() };
        Some(ResultColumn { name: column.name().to_owned(), kind })
    };
    Ok(prepared.columns().iter().map(column).collect())
}

async fn copy(
    connection: &mut PgConnection,
    statement: &Statement,
    columns: Vec<ResultColumn>,
    rows: &mpsc::Sender<Rows>,
    begun: &mut bool,
) -> Result<u64, DatabaseError> {
    let width = columns.len();
    let text = format!("{BEGIN}{}{END}", statement.text);
    let failed = |error: &sqlx::Error| match error {
        // sqlx reads on for the answer's end behind an error, and so loses the words of a server that then hangs up.
        sqlx::Error::Io(error) if error.kind() == ErrorKind::UnexpectedEof => DatabaseError::Lost {
            reason:
                "the server hung up: it was terminated, restarted or has crashed, or it is a standby and this was a \
                     conflict with recovery; its log says which"
                    .to_owned(),
        },
        error => statement_error(error, &text).shifted(BEGIN.len()),
    };
    let malformed = |reason| DatabaseError::Lost { reason: format!("the server's COPY can't be read: {reason}") };
    let mut count = 0;
    let mut is_wanted = rows.send(Rows::Columns(columns)).await.is_ok();
    let mut stream = connection.copy_out_raw(&text).await.map_err(|error| failed(&error))?;
    *begun = true;
    let mut tuples = Tuples::new(width);
    let mut batch = RowBatch::new(width);
    loop {
        let message = match stream.try_next().now_or_never() {
            Some(message) => message,
            // Rows that come one by one aren't kept back until they are many.
            None => match tokio::time::timeout(LONGEST_WAIT, stream.try_next()).await {
                Ok(message) => message,
                Err(_) if batch.is_empty() => continue,
                Err(_) => {
                    let rows_so_far = std::mem::replace(&mut batch, RowBatch::new(width));
                    is_wanted = is_wanted && rows.send(Rows::Batch(rows_so_far)).await.is_ok();
                    continue;
                }
            },
        };
        let Some(message) = message.map_err(|error| failed(&error))? else { break };
        if !is_wanted {
            // The rest of a copy has to be read before the connection can be used again.
            continue;
        }
        count += tuples.read(&message, &mut batch).map_err(malformed)?;
        if batch.is_full() {
            let full = std::mem::replace(&mut batch, RowBatch::new(width));
            is_wanted = rows.send(Rows::Batch(full)).await.is_ok();
        }
    }
    if !batch.is_empty() && is_wanted {
        is_wanted = rows.send(Rows::Batch(batch)).await.is_ok();
    }
    match is_wanted && rows.send(Rows::End).await.is_ok() {
        true => Ok(count),
        false => Err(DatabaseError::Stopped),
    }
}

/// Takes up the answer that sqlx leaves behind when the server refuses to begin a COPY.
///
/// The next statement finds that answer instead of its own, says so, and is the first whose end is waited for again.
/// It is one that does no harm whether or not it has run.
async fn resume(connection: &mut PgConnection, error: &DatabaseError) -> Result<(), DatabaseError> {
    const BACK: &str = "ROLLBACK TO SAVEPOINT template";
    if error.is_fatal() {
        return Ok(());
    }
    let astray = connection.execute(sqlx::query(BACK).persistent(false)).await;
    match astray {
        Err(sqlx::Error::Protocol(_)) => execute(connection, BACK).await,
        _ => Err(DatabaseError::Lost { reason: format!("the connection can't be used after: {error}") }),
    }
}
