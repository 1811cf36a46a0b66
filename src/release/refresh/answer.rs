//! Asking the refresh query: a few rows, kept as a digest and a short text.

use tokio::sync::mpsc;

use crate::database::explain::explain_refresh;
use crate::database::value::{Encoder, Rule};
use crate::database::{DatabaseError, ReadTransaction, ResultColumn, RowBatch, Rows};
use crate::diagnostic::Diagnostic;
use crate::release::build::{BuildError, statement_error};
use crate::snapshot::{Digest, Digesting};
use crate::template::scope::Statement;
use crate::template::{Refresh, Template};

/// The most rows that an answer may have: it is to be cheaper than what it saves.
const MAX_ROWS: usize = 1_000;
/// The most bytes that its values may have as JSON.
const MAX_BYTES: usize = 1024 * 1024;
/// Characters of an answer that are shown to people.
const SHOWN: usize = 40;

/// What a refresh query answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The digest of its rows, in their order.
    pub digest: Digest,
    /// The beginning of the first row, and how many rows there are.
    pub shown: String,
}

/// The refresh query of a template as it is sent.
fn statement(refresh: &Refresh) -> Statement {
    // One row too many tells that there are more, however many there are. The line break ends a `--` comment.
    let limit = MAX_ROWS + 1;
    Statement::verbatim(&refresh.sql).wrapped("SELECT * FROM (\n", &format!("\n) AS answer LIMIT {limit}"))
}

/// Asks the refresh query of a template. An error leaves the transaction to be rolled back to its savepoint.
pub async fn ask(
    transaction: &mut ReadTransaction,
    template: &Template,
    refresh: &Refresh,
) -> Result<Answer, BuildError> {
    let statement = statement(refresh);
    let (sender, mut receiver) = mpsc::channel(4);
    let collect = async {
        let mut reader = None;
        while let Some(message) = receiver.recv().await {
            match (message, &mut reader) {
                (Rows::Columns(columns), _) => reader = Some(Reader::new(template, refresh, &columns)?),
                (Rows::Batch(batch), Some(reader)) => reader.read(&batch)?,
                _ => break,
            }
        }
        // Dropping the receiver on an error above stops the read.
        drop(receiver);
        Ok::<_, Diagnostic>(reader)
    };
    let read = async {
        let read = transaction.read(&statement, &sender).await;
        drop(sender);
        read
    };
    let (read, collected) = tokio::join!(read, collect);
    let reader = collected?;
    read.map_err(|error| failed(template, refresh, &statement, error))?;
    // Without its columns no answer has come, and then the read has failed.
    reader.map(Reader::answer).ok_or_else(|| BuildError::Fatal(DatabaseError::Stopped.into()))
}

/// Checks the refresh query without asking it: its columns, what its answer depends on, and what it costs.
pub async fn check(
    transaction: &mut ReadTransaction,
    template: &Template,
    refresh: &Refresh,
) -> Result<Vec<Diagnostic>, BuildError> {
    let statement = statement(refresh);
    let failed = |error| failed(template, refresh, &statement, error);
    let columns = transaction.columns(&statement).await.map_err(failed)?;
    Reader::new(template, refresh, &columns)?;
    explain_refresh(transaction, template, refresh, &statement).await.map_err(failed)
}

/// Puts a database's error on the refresh query.
fn failed(template: &Template, refresh: &Refresh, statement: &Statement, error: DatabaseError) -> BuildError {
    match statement_error(template, statement, error) {
        BuildError::Template(mut finding) => {
            finding.message = format!("[refresh] {}", finding.message);
            BuildError::Template(Box::new((*finding).at(refresh.span.clone())))
        }
        fatal @ BuildError::Fatal(_) => fatal,
    }
}

/// Reads the rows of an answer.
struct Reader<'a> {
    template: &'a Template,
    refresh: &'a Refresh,
    columns: Vec<(String, Encoder)>,
    digesting: Digesting,
    /// The first row for people.
    first: String,
    rows: usize,
    bytes: usize,
}

impl<'a> Reader<'a> {
    fn new(template: &'a Template, refresh: &'a Refresh, columns: &[ResultColumn]) -> Result<Reader<'a>, Diagnostic> {
        let encoders = columns.iter().map(|column| {
            let encoder = encoder(column);
            encoder.map(|encoder| (column.name.clone(), encoder)).map_err(|(error, hint)| {
                finding(template, refresh, &format!("the column `{}` {error}", column.name)).hint(hint)
            })
        });
        Ok(Reader {
            template,
            refresh,
            columns: encoders.collect::<Result<_, _>>()?,
            digesting: Digesting::default(),
            first: String::new(),
            rows: 0,
            bytes: 0,
        })
    }

    fn read(&mut self, batch: &RowBatch) -> Result<(), Diagnostic> {
        for row in 0..batch.rows() {
            let mut tokens = Vec::new();
            for (at, (name, encoder)) in self.columns.iter().enumerate() {
                let start = tokens.len();
                encoder.write(batch.cell(row, at), &mut tokens).map_err(|error| {
                    let message = format!("a value of `{name}` {error}");
                    finding(self.template, self.refresh, &message).hint(error.hint())
                })?;
                self.digesting.part(&tokens[start..]);
                if self.rows == 0 && self.first.len() <= 4 * SHOWN {
                    self.first.push_str(if at > 0 { ", " } else { "" });
                    self.first.push_str(&text(&tokens[start..]));
                }
            }
            self.rows += 1;
            self.bytes += tokens.len();
            self.refuse_much()?;
        }
        Ok(())
    }

    fn refuse_much(&self) -> Result<(), Diagnostic> {
        let much = match (self.rows > MAX_ROWS, self.bytes > MAX_BYTES) {
            (true, _) => format!("more than {MAX_ROWS} rows"),
            (_, true) => "more than 1 MiB".to_owned(),
            (false, false) => return Ok(()),
        };
        Err(finding(self.template, self.refresh, &format!("the query answers {much}"))
            .hint("it is to be cheap: aggregate, for example SELECT count(*), max(updated_at) FROM …"))
    }

    fn answer(self) -> Answer {
        let digest = self.digesting.finish();
        Answer { shown: shown(&self.first, self.rows, &digest), digest }
    }
}

/// The encoder of a column: numbers in full, also those that a JavaScript reader would change.
fn encoder(column: &ResultColumn) -> Result<Encoder, (String, String)> {
    let plain = |_| column.kind.encoder(Rule::Plain);
    column.kind.encoder(Rule::Text).or_else(plain).map_err(|error| (error.to_string(), error.hint(&column.name)))
}

/// An error about the refresh query.
fn finding(template: &Template, refresh: &Refresh, message: &str) -> Diagnostic {
    template.error(format!("[refresh]: {message}")).at(refresh.span.clone())
}

/// A token for people: a text without its quotes.
fn text(token: &[u8]) -> String {
    serde_json::from_slice(token).unwrap_or_else(|_| String::from_utf8_lossy(token).into_owned())
}

/// An answer for people: its first row, and where that isn't all of it, how many rows there are and a bit of the digest,
/// so that two answers that differ further on don't look alike.
fn shown(first: &str, rows: usize, digest: &Digest) -> String {
    if rows == 0 {
        return "no rows".to_owned();
    }
    let mut shown: String = first.chars().take(SHOWN).map(|c| if c.is_control() { ' ' } else { c }).collect();
    let is_cut = first.chars().nth(SHOWN).is_some();
    if is_cut {
        shown.push('…');
    }
    if is_cut || rows > 1 {
        let word = if rows == 1 { "row" } else { "rows" };
        shown.push_str(&format!(" ({rows} {word}, {})", &digest.to_string()[..8]));
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_shown_short_and_told_from_others() {
        let (one, other) = (Digest::of(b"one"), Digest::of(b"other"));
        assert_eq!(shown("", 0, &one), "no rows");
        assert_eq!(shown("240000, 2026-11-20T22:10:00Z", 1, &one), "240000, 2026-11-20T22:10:00Z");
        assert_eq!(shown("a\nb", 2, &one), "a b (2 rows, 7692c3ad)");
        let long = "x".repeat(50);
        assert_eq!(shown(&long, 1, &one), format!("{}… (1 row, 7692c3ad)", "x".repeat(40)));
        assert_ne!(shown(&long, 1, &one), shown(&long, 1, &other));
    }

    #[test]
    fn the_query_is_wrapped_whatever_it_ends_in() {
        let refresh = Refresh { sql: "SELECT 1 -- one".to_owned(), at_least: std::time::Duration::MAX, span: 0..0 };
        assert_eq!(statement(&refresh).text, "SELECT * FROM (\nSELECT 1 -- one\n) AS answer LIMIT 1001");
    }
}
