//! Asking the database what the guards want to know besides the rows.
//!
//! That is done behind the template's own statement, in the same read transaction, so that the answers speak of what the
//! documents show.

use std::ops::Range;

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use serde_json::Value;
use tokio::sync::mpsc;

use super::super::build::{BuildError, statement_error};
use super::answers::{Answers, Asserted, SourceAge};
use crate::database::value::{Encoder, Rule};
use crate::database::{DatabaseError, ReadTransaction, ResultColumn, RowBatch, Rows};
use crate::diagnostic::Diagnostic;
use crate::error::Error;
use crate::template::Template;
use crate::template::guard::{Assert, Guard};
use crate::template::scope::Statement;

/// The query for the newest data, in messages.
const SOURCE_AGE_SQL: &str = "[guard] source_age_sql";
/// How many rows of an assert a message names.
const MAX_SHOWN: usize = 3;
/// Characters of a row in a message.
const MAX_ROW: usize = 160;

/// Asks what a template's guards want to know. A query that fails is a finding about the template, and leaves the
/// transaction usable.
pub async fn ask(
    transaction: &mut ReadTransaction,
    template: &Template,
    now: DateTime<Utc>,
) -> Result<Result<Answers, Diagnostic>, DatabaseError> {
    let guards = &template.guards;
    let is_aged = !guards.levels(Guard::SourceAge).is_off();
    if guards.asserts.is_empty() && guards.source_age_sql().is_none() {
        let source = is_aged.then_some(SourceAge { newest_at: Some(transaction.as_of), asked_at: now });
        return Ok(Ok(Answers { source, asserts: Vec::new() }));
    }
    transaction.savepoint().await?;
    match answers(transaction, template, now).await {
        Ok(answers) => Ok(Ok(answers)),
        Err(BuildError::Template(finding)) => {
            transaction.rollback_to_savepoint().await?;
            Ok(Err(*finding))
        }
        Err(BuildError::Fatal(Error::Database(error))) => Err(error),
        // Only the database is asked here.
        Err(BuildError::Fatal(error)) => Err(DatabaseError::Lost { reason: error.to_string() }),
    }
}

async fn answers(
    transaction: &mut ReadTransaction,
    template: &Template,
    now: DateTime<Utc>,
) -> Result<Answers, BuildError> {
    let newest_at = match template.guards.source_age_sql() {
        Some(sql) => newest(transaction, template, sql).await?,
        None => Some(transaction.as_of),
    };
    let is_aged = !template.guards.levels(Guard::SourceAge).is_off();
    let source = is_aged.then_some(SourceAge { newest_at, asked_at: now });
    let mut asserts = Vec::new();
    for assert in &template.guards.asserts {
        asserts.push(asserted(transaction, template, assert).await?);
    }
    Ok(Answers { source, asserts })
}

/// Says whether the database understands what the guards would ask, without asking it.
pub async fn check(transaction: &mut ReadTransaction, template: &Template) -> Result<Option<Diagnostic>, Error> {
    let source = template.guards.source_age_sql().map(|sql| (sql, SOURCE_AGE_SQL.to_owned(), None));
    let asserts = &template.guards.asserts;
    let asserts = asserts.iter().map(|assert| (assert.sql.as_str(), assert.label(), Some(assert.span.clone())));
    for (sql, what, span) in source.into_iter().chain(asserts) {
        let statement = bounded(sql, 1);
        transaction.savepoint().await?;
        let Err(error) = transaction.columns(&statement).await else { continue };
        match statement_error(template, &statement, error) {
            BuildError::Template(finding) => {
                transaction.rollback_to_savepoint().await?;
                return Ok(Some(about(*finding, &what, span)));
            }
            BuildError::Fatal(error) => return Err(error),
        }
    }
    Ok(None)
}

/// A finding about a query of the guards, which stands in the front matter or in `tintype.toml`.
fn about(finding: Diagnostic, what: &str, span: Option<Range<usize>>) -> Diagnostic {
    let finding = finding.prefixed(what);
    match span {
        Some(span) => finding.at(span),
        None => finding,
    }
}

/// The first rows of a query. The line break ends a `--` comment that it may end with.
fn bounded(sql: &str, rows: usize) -> Statement {
    Statement::verbatim(sql).wrapped("SELECT * FROM (\n", &format!("\n) AS t LIMIT {rows}"))
}

/// The one value of the query for the newest data.
async fn newest(
    transaction: &mut ReadTransaction,
    template: &Template,
    sql: &str,
) -> Result<Option<DateTime<Utc>>, BuildError> {
    let named = |finding| about(finding, SOURCE_AGE_SQL, None);
    let table = first_rows(transaction, template, sql, 2).await.map_err(|error| error.map(named))?;
    let value = match (table.columns.as_slice(), table.rows.as_slice()) {
        ([_], []) => return Ok(None),
        ([_], [row]) => row[0].as_deref().unwrap_or("null"),
        _ => {
            let finding = template.error(format!("{SOURCE_AGE_SQL}: the query returns more than one value"));
            return Err(finding.hint("write for example \"SELECT max(updated_at) FROM authorship\"").into());
        }
    };
    instant_of(value).map_err(|()| {
        let finding = template.error(format!("{SOURCE_AGE_SQL}: {value} isn't an instant"));
        finding.hint("return a timestamp, a date, or seconds since 1970").into()
    })
}

async fn asserted(
    transaction: &mut ReadTransaction,
    template: &Template,
    assert: &Assert,
) -> Result<Asserted, BuildError> {
    let named = |finding| about(finding, &assert.label(), Some(assert.span.clone()));
    let table = first_rows(transaction, template, &assert.sql, MAX_SHOWN + 1).await;
    let table = table.map_err(|error| error.map(named))?;
    let has_more = table.rows.len() > MAX_SHOWN;
    let rows = table.rows.iter().take(MAX_SHOWN).map(|row| shown(&table.columns, row)).collect();
    Ok(Asserted { name: assert.name.clone(), level: assert.level, rows, has_more })
}

/// A row in words, within bounds.
fn shown(columns: &[String], row: &[Option<String>]) -> String {
    let cell = |(name, token): (&String, &Option<String>)| format!("{name} = {}", token.as_deref().unwrap_or("?"));
    let text = columns.iter().zip(row).map(cell).collect::<Vec<_>>().join(", ");
    match text.char_indices().nth(MAX_ROW) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

/// A small result: its columns, and its cells as JSON; none for a value of a type that isn't known.
struct Table {
    columns: Vec<String>,
    rows: Vec<Vec<Option<String>>>,
}

/// The first rows of a query.
async fn first_rows(
    transaction: &mut ReadTransaction,
    template: &Template,
    sql: &str,
    limit: usize,
) -> Result<Table, BuildError> {
    let statement = bounded(sql, limit);
    let (sender, mut receiver) = mpsc::channel(4);
    let collect = async {
        let mut table = Table { columns: Vec::new(), rows: Vec::new() };
        let mut encoders = Vec::new();
        while let Some(message) = receiver.recv().await {
            match message {
                Rows::Columns(columns) => {
                    table.columns = columns.iter().map(|column| column.name.clone()).collect();
                    encoders = columns.iter().map(encoder).collect();
                }
                Rows::Batch(batch) => table.rows.extend((0..batch.rows()).map(|row| cells(&batch, row, &encoders))),
                Rows::End => break,
            }
        }
        table
    };
    let read = async {
        let read = transaction.read(&statement, &sender).await;
        drop(sender);
        read
    };
    let (read, table) = tokio::join!(read, collect);
    read.map(|_| table).map_err(|error| statement_error(template, &statement, error))
}

fn encoder(column: &ResultColumn) -> Option<Encoder> {
    column.kind.encoder(Rule::Plain).ok()
}

fn cells(batch: &RowBatch, row: usize, encoders: &[Option<Encoder>]) -> Vec<Option<String>> {
    let cell = |(at, encoder): (usize, &Option<Encoder>)| {
        let mut token = Vec::new();
        encoder.as_ref()?.write(batch.cell(row, at), &mut token).ok()?;
        String::from_utf8(token).ok()
    };
    encoders.iter().enumerate().map(cell).collect()
}

/// The instant that a cell holds; NULL is none.
fn instant_of(token: &str) -> Result<Option<DateTime<Utc>>, ()> {
    match serde_json::from_str(token) {
        Ok(Value::Null) => Ok(None),
        Ok(Value::Number(seconds)) => {
            let millis = seconds.as_f64().map(|seconds| (seconds * 1000.0).round()).ok_or(())?;
            // Years far beyond any calendar are refused by chrono.
            #[expect(
                clippy::cast_possible_truncation,
                reason = "a float that is too large becomes the largest integer"
            )]
            DateTime::from_timestamp_millis(millis as i64).map(Some).ok_or(())
        }
        Ok(Value::String(text)) => written_instant(&text).map(Some).ok_or(()),
        _ => Err(()),
    }
}

fn written_instant(text: &str) -> Option<DateTime<Utc>> {
    let with_zone =
        DateTime::parse_from_rfc3339(text).or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f%#z"));
    if let Ok(at) = with_zone {
        return Some(at.to_utc());
    }
    let formats = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M"];
    let without = formats.iter().find_map(|format| NaiveDateTime::parse_from_str(text, format).ok());
    let date = || Some(NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?.and_time(NaiveTime::MIN));
    Some(without.or_else(date)?.and_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_as_databases_write_them() {
        let at = |text: &str| instant_of(text).map(|at| at.map(|at| at.to_rfc3339()));
        for text in [
            "\"2026-11-20T02:10:00Z\"",
            "\"2026-11-20T03:10:00+01:00\"",
            "\"2026-11-20 03:10:00+01\"",
            "\"2026-11-20T02:10:00\"",
            "\"2026-11-20 02:10:00\"",
            "\"2026-11-20 02:10:00.000\"",
            "\"2026-11-20 02:10\"",
            "1795140600",
            "1795140600.0",
        ] {
            assert_eq!(at(text), Ok(Some("2026-11-20T02:10:00+00:00".to_owned())), "{text}");
        }
        assert_eq!(at("\"2026-11-20\""), Ok(Some("2026-11-20T00:00:00+00:00".to_owned())));
        assert_eq!(at("null"), Ok(None));
        for text in ["\"yesterday\"", "true", "1e300", "\"2026-13-01\""] {
            assert_eq!(at(text), Err(()), "{text}");
        }
    }

    #[test]
    fn a_row_in_words_has_bounds() {
        let columns = ["city".to_owned(), "id".to_owned()];
        assert_eq!(shown(&columns, &[Some("\"\"".to_owned()), None]), "city = \"\", id = ?");
        let long = shown(&columns, &[Some("ü".repeat(500)), None]);
        assert_eq!(long.chars().count(), MAX_ROW + 1);
    }
}
