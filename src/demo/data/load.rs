//! Writes the demo's rows into a `SQLite` file or a `PostgreSQL` database.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use super::{Cell, Counts, PlacesError, SCHEMA, TABLES, World, generate};

/// Rows in one INSERT. `SQLite` takes 32,766 parameters a statement, and larger statements are no faster.
const ROWS_AT_ONCE: usize = 1_000;
/// Bytes in one message of a COPY.
const COPY_CHUNK_BYTES: usize = 256 * 1024;

/// Creates the demo's database as the file `path`, which is replaced if it exists.
///
/// The rows are written to `<path>.tmp` first, so that whoever sees `path` sees all of it. Nothing else may use `path` meanwhile.
pub async fn create_sqlite(path: &Path) -> Result<Counts, sqlx::Error> {
    let world = generated().await?;
    let temporary = beside(path, ".tmp");
    remove(&temporary).await?;
    // The file is of no use before it is whole, so nothing needs to survive a crash until then.
    let options = SqliteConnectOptions::new()
        .filename(&temporary)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Off)
        .synchronous(SqliteSynchronous::Off);
    let mut connection = SqliteConnection::connect_with(&options).await?;
    fill_sqlite(&mut connection, &world).await?;
    connection.close().await?;
    tokio::fs::File::open(&temporary).await?.sync_all().await?;
    // Write-ahead files of a former database of this name would be replayed into the new one.
    remove(&beside(path, "-wal")).await?;
    remove(&beside(path, "-shm")).await?;
    tokio::fs::rename(&temporary, path).await?;
    Ok(world.counts())
}

/// Creates the demo's tables in the connection's current schema and fills them; they must not exist yet.
pub async fn load_postgres(connection: &mut PgConnection) -> Result<Counts, sqlx::Error> {
    let world = generated().await?;
    let (tables, indexes) = statements();
    let mut transaction = connection.begin().await?;
    for statement in tables {
        transaction.execute(statement).await?;
    }
    for (table, columns) in TABLES {
        let statement = format!("COPY {table} ({}) FROM STDIN", columns.join(", "));
        let mut copy = transaction.copy_in_raw(&statement).await?;
        for chunk in copy_chunks(&world, table) {
            copy.send(chunk.into_bytes()).await?;
        }
        copy.finish().await?;
    }
    for statement in indexes {
        transaction.execute(statement).await?;
    }
    transaction.commit().await?;
    // ANALYZE lets the planner see the skew; VACUUM writes the visibility map, without which no scan is index-only.
    for (table, _) in TABLES {
        connection.execute(AssertSqlSafe(format!("VACUUM (ANALYZE) {table}"))).await?;
    }
    Ok(world.counts())
}

/// Generating takes a good part of a second, too long for a thread that drives connections.
async fn generated() -> Result<World, sqlx::Error> {
    let world = tokio::task::spawn_blocking(generate::world).await.map_err(|_| sqlx::Error::WorkerCrashed)?;
    world.map_err(|error: PlacesError| sqlx::Error::Configuration(Box::new(error)))
}

async fn fill_sqlite(connection: &mut SqliteConnection, world: &World) -> Result<(), sqlx::Error> {
    let (tables, indexes) = statements();
    let mut transaction = connection.begin().await?;
    for statement in tables {
        transaction.execute(statement).await?;
    }
    for (table, columns) in TABLES {
        insert(&mut transaction, world, table, columns).await?;
    }
    for statement in indexes {
        transaction.execute(statement).await?;
    }
    transaction.commit().await?;
    connection.execute("ANALYZE").await?;
    Ok(())
}

async fn insert(
    connection: &mut SqliteConnection,
    world: &World,
    table: &str,
    columns: &[&str],
) -> Result<(), sqlx::Error> {
    let row = format!("({})", vec!["?"; columns.len()].join(", "));
    let mut rows = world.rows(table).peekable();
    while rows.peek().is_some() {
        let batch: Vec<_> = rows.by_ref().take(ROWS_AT_ONCE).collect();
        let values = vec![row.as_str(); batch.len()].join(", ");
        // Names come from the constant table of tables; every value is bound.
        let statement = format!("INSERT INTO {table} ({}) VALUES {values}", columns.join(", "));
        let mut query = sqlx::query(AssertSqlSafe(statement));
        for cell in batch.into_iter().flatten() {
            query = match cell {
                Cell::Integer(number) => query.bind(number),
                Cell::Text(text) => query.bind(text.to_owned()),
                // Bound as text, the column's affinity makes the nearest double of it, as PostgreSQL does with the same text.
                Cell::Decimal(_) => query.bind(cell.to_string()),
            };
        }
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// A table in COPY's text format. No name holds a tab, a line break or a backslash, so nothing needs escaping.
pub(super) fn copy_chunks<'a>(world: &'a World, table: &str) -> impl Iterator<Item = String> + Send + 'a {
    let mut rows = world.rows(table);
    std::iter::from_fn(move || {
        let mut chunk = String::new();
        for row in rows.by_ref() {
            for (index, cell) in row.iter().enumerate() {
                let separator = if index == 0 { "" } else { "\t" };
                // Writing to a String cannot fail.
                let _ = write!(chunk, "{separator}{cell}");
            }
            chunk.push('\n');
            if chunk.len() >= COPY_CHUNK_BYTES {
                break;
            }
        }
        (!chunk.is_empty()).then_some(chunk)
    })
}

/// The schema's statements: tables first, then what is better made after the rows.
fn statements() -> (Vec<&'static str>, Vec<&'static str>) {
    let statements = SCHEMA.split(';').map(str::trim).filter(|statement| !statement.is_empty());
    statements.partition(|statement| !statement.contains("CREATE INDEX"))
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

async fn remove(path: &Path) -> Result<(), std::io::Error> {
    match tokio::fs::remove_file(path).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
