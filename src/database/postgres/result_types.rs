//! The types of a statement's columns, and the few types that sqlx can't read by itself.

use sqlx::PgConnection;
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use tokio::sync::mpsc;

use super::{Broken, execute, rows as fetch, stream, unreadable};
use crate::database::{ColumnType, DatabaseError, ResultColumn, Rows};
use crate::template::scope::Statement;

/// The first OID that PostgreSQL gives to what users create (`FirstNormalObjectId` in `access/transam.h`).
const FIRST_USER_OID: u32 = 16_384;
/// The types that sqlx 0.9 knows without asking the catalogue (`PgType::try_from_oid`).
const KNOWN_TYPES: [u32; 92] = [
    16, 17, 18, 19, 20, 21, 23, 25, 26, 114, 199, 600, 601, 602, 603, 604, 628, 629, 650, 651, 700, 701, 705, 718, 719,
    774, 775, 790, 791, 829, 869, 1000, 1001, 1002, 1003, 1005, 1007, 1009, 1014, 1015, 1016, 1017, 1018, 1019, 1020,
    1021, 1022, 1027, 1028, 1040, 1041, 1042, 1043, 1082, 1083, 1114, 1115, 1182, 1183, 1184, 1185, 1186, 1187, 1231,
    1266, 1270, 1560, 1561, 1562, 1563, 1700, 2249, 2278, 2287, 2950, 2951, 3802, 3807, 3904, 3905, 3906, 3907, 3908,
    3909, 3910, 3911, 3912, 3913, 3926, 3927, 4072, 4073,
];
/// The columns of a statement, without running it; `count` is told of the statements that it takes: `LIMIT 0` plans it only, and the outer join makes a row of NULLs.
///
/// Preparing it by name would leave the name behind in a pooler's server, and sqlx asks the catalogue for types that it
/// doesn't know in a way that loses an unnamed statement; so the row is asked for its names and the type of each.
pub async fn columns(
    connection: &mut PgConnection,
    statement: &Statement,
    count: &mut u64,
) -> Result<Vec<ResultColumn>, DatabaseError> {
    let row = "SELECT t.* FROM (SELECT 1) AS one LEFT JOIN (SELECT * FROM (\n";
    let probe = statement.wrapped(row, "\n) AS t LIMIT 0) AS t ON true");
    let names = probe.wrapped("SELECT json_object_keys(row_to_json(u)) AS name FROM (", ") AS u");
    *count += 1;
    let names = fetch(connection, &names).await.map_err(|error| error.moved(&names, statement))?;
    let names: Vec<String> = names.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>().map_err(unreadable)?;
    if names.is_empty() {
        return Ok(Vec::new());
    }
    if let Some(twice) = names.iter().enumerate().find(|(at, name)| names[..*at].contains(name)).map(|(_, name)| name) {
        let message = format!("the query returns two columns `{twice}`");
        let hint = Some("give each column a name of its own with AS".to_owned());
        return Err(DatabaseError::Statement { message, sqlstate: None, position: None, hint });
    }
    let quoted = names.iter().map(|name| format!("pg_typeof(u.\"{}\")", name.replace('"', "\"\"")));
    let list = quoted.collect::<Vec<_>>().join(", ");
    // A domain is shown as its base type, as the server itself describes results.
    let types = probe.wrapped(
        &format!(
            "SELECT (WITH RECURSIVE base AS (SELECT y.oid, y.typbasetype UNION ALL SELECT t.oid, t.typbasetype \
             FROM pg_type AS t JOIN base ON t.oid = base.typbasetype) SELECT oid FROM base WHERE typbasetype = 0)::int8, \
             y.oid::regtype::text \
             FROM (SELECT ARRAY[{list}]::oid[] AS oids FROM ("
        ),
        ") AS u) AS o, unnest(o.oids) WITH ORDINALITY AS n(oid, place) JOIN pg_type AS y ON y.oid = n.oid ORDER BY place",
    );
    *count += 1;
    let types = fetch(connection, &types).await.map_err(|error| error.moved(&types, statement))?;
    let column = |(name, row): (String, &PgRow)| {
        let oid: i64 = row.try_get(0).map_err(unreadable)?;
        let kind =
            ColumnType::Postgres { oid: u32::try_from(oid).unwrap_or(0), name: row.try_get(1).map_err(unreadable)? };
        Ok(ResultColumn { name, kind })
    };
    names.into_iter().zip(&types).map(column).collect()
}

/// Reads a statement with columns of types that sqlx doesn't know: they are cast to text in a statement around it,
/// which gives what the type's own output function prints. Types that users made are left to the caller to refuse.
pub async fn read_rare_types(
    connection: &mut PgConnection,
    statement: &Statement,
    rows: &mpsc::Sender<Rows>,
    count: &mut u64,
) -> Result<u64, DatabaseError> {
    execute(connection, "ROLLBACK TO SAVEPOINT template").await?;
    let columns = columns(connection, statement, count).await?;
    if columns.iter().any(is_users) {
        rows.send(Rows::Columns(columns)).await.map_err(|_| DatabaseError::Stopped)?;
        return Err(DatabaseError::Stopped);
    }
    let cast = text_of_rare(statement, &columns);
    stream(connection, &cast, rows, count).await.map_err(|broken| match broken {
        Broken::Types => DatabaseError::Lost { reason: "a column's type can't be read even as text".to_owned() },
        Broken::Other(error) => error.moved(&cast, statement),
    })
}

/// The statement with those columns cast to text whose types are rare.
pub fn text_of_rare(statement: &Statement, columns: &[ResultColumn]) -> Statement {
    let selected = columns.iter().map(|column| {
        let name = format!("t.\"{0}\"", column.name.replace('"', "\"\""));
        match is_readable(column) {
            true => name,
            false => format!("{name}::text AS \"{}\"", column.name.replace('"', "\"\"")),
        }
    });
    let head = format!("SELECT {} FROM (\n", selected.collect::<Vec<_>>().join(", "));
    statement.wrapped(&head, "\n) AS t")
}

fn oid(column: &ResultColumn) -> u32 {
    match column.kind {
        ColumnType::Postgres { oid, .. } => oid,
        ColumnType::Sqlite => 0,
    }
}

/// True for types that users create.
pub fn is_users(column: &ResultColumn) -> bool {
    oid(column) >= FIRST_USER_OID
}

/// True for types whose cells are read as they are; the others are cast to text.
pub fn is_readable(column: &ResultColumn) -> bool {
    KNOWN_TYPES.contains(&oid(column))
}

/// For types that sqlx doesn't know it asks the catalogue between parsing and running an unnamed statement, which is
/// then gone (SQLSTATE 26000, sqlx issue 4305); the answer on a multirange it can't decode at all.
pub fn is_about_types(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(error) => error.code().as_deref() == Some("26000"),
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::TypeNotFound { .. } => true,
        _ => false,
    }
}
