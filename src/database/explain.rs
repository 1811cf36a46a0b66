//! EXPLAIN: would the statement of one key read whole tables?
//!
//! A keyed statement that reads everything is right and slow: republishing one key takes as long as a full build, and a
//! miss of the fallback holds a connection for as long. Whether a condition gets through to an index is the planner's
//! decision, so it is asked, on the real data.

use super::{Connection, DatabaseError, KeyColumns, ReadTransaction};
use crate::diagnostic::Diagnostic;
use crate::key::Key;
use crate::template::scope::{self, Allowed, KeyFilter, Scope, Statement};
use crate::template::{Template, lint};

mod plan;
mod refresh;

pub use plan::{Engine, Explained, read_plan};
pub use refresh::explain_refresh;

/// Tables from this size on count as large whatever the others are: reading them takes a noticeable part of a second.
const LARGE_TABLE_ROWS: u64 = 10_000;
/// The largest table of a query counts as large from this size on; below it databases prefer to read the whole table.
const LARGEST_TABLE_ROWS: u64 = 1_000;
/// SQLite's tables are counted up to this size, which takes some tens of milliseconds.
const COUNTED_ROWS: u64 = 1_000_000;
/// A keyed plan with this share of the full plan's cost has not been narrowed by the key.
const UNNARROWED_COST: f64 = 0.8;

/// The warning that the statement of some keys reads large tables in full.
///
/// `columns` names the key columns that the statement is about; `forced` is its plan for a planner that was told to
/// avoid reading whole tables, where there is such a thing. A table that is read in full only because the key has a
/// large part of it is no finding: then an index would do, and the rest of the plan is narrowed by the key.
pub fn keyed_scan_warnings(
    template: &Template,
    columns: &[String],
    full: &Explained,
    keyed: &Explained,
    forced: Option<&Explained>,
) -> Vec<Diagnostic> {
    let largest = largest_rows(full, keyed);
    let is_narrowed = is_narrowed(full, keyed);
    let stays = |table: &&String| {
        !is_narrowed
            || forced.map_or(rows_of(full, keyed, table) == largest, |forced| {
                forced.reads_all(table, rows_of(full, keyed, table))
            })
    };
    let tables: Vec<String> = large_scans(full, keyed)
        .into_iter()
        .filter(stays)
        .map(|table| format!("`{table}` (about {} rows)", rows_of(full, keyed, table)))
        .collect();
    if tables.is_empty() {
        return Vec::new();
    }
    let keys = columns.join(", ");
    let marker = lint::marker(template);
    let hint = if template.markers.is_empty() && !is_narrowed {
        format!(
            "add a marker like {marker} behind the WHERE condition beside these tables, with the expressions that are known there, and an index on what it compares"
        )
    } else {
        "is there an index that begins with what is compared with the key, and one for each join from there? A marker must stand in every query that reads these tables".to_owned()
    };
    let message = format!("the statement for {keys} alone reads all of {}, as a full build does", tables.join(" and "));
    vec![template.warning(message).at(template.sql_start()).hint(hint)]
}

/// True if the key's condition makes the plan do much less than a full build's does.
fn is_narrowed(full: &Explained, keyed: &Explained) -> bool {
    if let (Some(full), Some(keyed)) = (full.cost, keyed.cost) {
        return keyed < full * UNNARROWED_COST;
    }
    // SQLite says no costs; a condition that got through shows as another way to read a large table.
    let reads = |explained: &Explained| -> Vec<(String, String)> {
        let mut reads = explained.reads.clone();
        reads.retain(|(table, _)| rows_of(full, keyed, table) >= LARGEST_TABLE_ROWS);
        reads.sort_unstable();
        reads
    };
    reads(full) != reads(keyed)
}

fn rows_of(full: &Explained, keyed: &Explained, table: &str) -> u64 {
    full.rows.get(table).into_iter().chain(keyed.rows.get(table)).copied().max().unwrap_or(0)
}

fn largest_rows(full: &Explained, keyed: &Explained) -> u64 {
    full.rows.values().chain(keyed.rows.values()).copied().max().unwrap_or(0)
}

/// The large tables that a keyed plan reads in full.
fn large_scans<'a>(full: &Explained, keyed: &'a Explained) -> Vec<&'a String> {
    let largest = largest_rows(full, keyed);
    let is_large = |table: &&String| {
        let rows = rows_of(full, keyed, table);
        rows >= LARGE_TABLE_ROWS || (rows == largest && rows >= LARGEST_TABLE_ROWS)
    };
    let tables = keyed.full_scans.iter().chain(&keyed.searched).filter(is_large);
    let mut tables: Vec<&String> = tables.filter(|table| keyed.reads_all(table, rows_of(full, keyed, table))).collect();
    tables.sort_unstable();
    tables.dedup();
    tables
}

/// Explains a template's statement over every key, and those over one key and over one value of the first key column.
///
/// `keys` are the key columns of the result, `sample` is any key that exists. Returns warnings.
pub async fn explain_template(
    transaction: &mut ReadTransaction,
    template: &Template,
    keys: &KeyColumns,
    sample: Option<&Key>,
) -> Result<Vec<Diagnostic>, DatabaseError> {
    let mut findings = volatile_functions(transaction, template).await?;
    let Some(sample) = sample.filter(|sample| !sample.0.is_empty()) else { return Ok(findings) };
    let mut full = explained(transaction, template, &scope::whole(template)).await?;
    transaction.count_rows(&mut full).await?;
    for (names, scope) in keyed_scopes(template, sample) {
        let keyed = scope::keyed(template, &scope, keys, &|_| true);
        let mut plan = explained(transaction, template, &keyed).await?;
        transaction.count_rows(&mut plan).await?;
        if large_scans(&full, &plan).is_empty() {
            continue;
        }
        let forced = transaction.explain_avoiding_scans(&keyed).await?;
        let forced = forced.map(|lines| read_plan(Engine::Postgres, &lines, &[]));
        let warnings = keyed_scan_warnings(template, &names, &full, &plan, forced.as_ref());
        // The narrowest scope that reads everything says it; a wider one would say it again.
        if !warnings.is_empty() {
            findings.extend(warnings);
            break;
        }
    }
    Ok(findings)
}

/// One key, and all keys with its first value: what an editor republishes.
fn keyed_scopes(template: &Template, sample: &Key) -> Vec<(Vec<String>, Scope)> {
    let names = template.columns();
    let filter = |count: usize| {
        let values =
            sample.0.iter().enumerate().map(|(at, value)| (at < count).then(|| Allowed::from_iter([value.clone()])));
        (names[..count].to_vec(), Scope::Some(vec![KeyFilter(values.collect())]))
    };
    let counts = if names.len() > 1 { vec![names.len(), 1] } else { vec![names.len()] };
    counts.into_iter().map(filter).collect()
}

async fn explained(
    transaction: &mut ReadTransaction,
    template: &Template,
    statement: &Statement,
) -> Result<Explained, DatabaseError> {
    let lines = transaction.explain(statement).await?;
    Ok(read_plan(transaction.engine(), &lines, &lint::table_names(template)))
}

/// Functions of the database's own that it calls volatile; the text alone knows only the usual ones.
async fn volatile_functions(
    transaction: &mut ReadTransaction,
    template: &Template,
) -> Result<Vec<Diagnostic>, DatabaseError> {
    let unknown: Vec<String> =
        lint::function_names(template).into_iter().filter(|name| !lint::is_known_volatile(name)).collect();
    let volatile = transaction.volatile_functions(&unknown).await?;
    let finding = |name: &String| {
        template
            .warning(format!("the function `{name}` is volatile: it may have another answer in every run"))
            .at(template.span_of_column(name))
            .hint("declare it STABLE or IMMUTABLE if its answer depends on the data alone, or leave it out")
    };
    Ok(volatile.iter().map(finding).collect())
}

impl ReadTransaction {
    /// The engine that answers.
    pub fn engine(&self) -> Engine {
        match &self.connection {
            Connection::Postgres(_) => Engine::Postgres,
            Connection::Sqlite(..) => Engine::Sqlite,
        }
    }

    /// The plan of a statement for a planner that reads no whole table if any index will do; `None` on SQLite, which
    /// prefers an index by itself.
    async fn explain_avoiding_scans(&mut self, statement: &Statement) -> Result<Option<Vec<String>>, DatabaseError> {
        if self.engine() == Engine::Sqlite {
            return Ok(None);
        }
        self.control("SAVEPOINT explain").await?;
        // Hash and merge joins read their tables from end to end too.
        self.control(
            "SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off",
        )
        .await?;
        let lines = self.explain(statement).await;
        // Also after an error: the savepoint brings the setting back and makes the transaction usable.
        self.control("ROLLBACK TO SAVEPOINT explain").await?;
        self.control("RELEASE SAVEPOINT explain").await?;
        lines.map(Some)
    }

    /// SQLite's plans say no numbers of rows, so they are counted, as far as it takes to compare them.
    async fn count_rows(&mut self, explained: &mut Explained) -> Result<(), DatabaseError> {
        let Connection::Sqlite(connection, _) = &mut self.connection else { return Ok(()) };
        let tables: Vec<String> = explained.full_scans.iter().chain(&explained.searched).cloned().collect();
        for table in tables {
            let quoted = table.replace('"', "\"\"");
            let count = Statement::verbatim(&format!(
                "SELECT CAST(count(*) AS TEXT) AS n FROM (SELECT 1 FROM \"{quoted}\" LIMIT {COUNTED_ROWS})"
            ));
            let counted = super::sqlite::text_rows(connection, &count, "n").await;
            // A name that isn't a table, of a view's inside for example, is no reason to fail.
            let rows = counted.ok().and_then(|rows| rows.first()?.parse().ok());
            if let Some(rows) = rows {
                explained.rows.insert(table, rows);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
