//! Do markers keep every row? A few keys are read with them and without, and compared.
//!
//! A marker that names the wrong expression makes a statement that is valid and fast and loses rows, so a republished
//! document would go out without them. No plan shows that; only the rows do.

use std::collections::BTreeMap;

use tokio::sync::mpsc;

use super::build::{BuildError, statement_error};
use crate::database::value::Encoder;
use crate::database::{DatabaseError, KeyColumns, ReadTransaction, ResultColumn, RowBatch, Rows};
use crate::diagnostic::Diagnostic;
use crate::error::Error;
use crate::key::{Key, KeyValue};
use crate::snapshot::{Digest, encoder};
use crate::template::scope::{Scope, Statement, keyed, whole};
use crate::template::{Marker, Template};

/// How many keys are compared: one could be the only one that a wrong marker is right for.
const SAMPLE_KEYS: usize = 3;

/// The rows of each key, whatever their order, each as the digest of what a document would show of it.
type KeyRows = BTreeMap<Key, Vec<String>>;

/// Compares the rows of a few keys with markers and without; the statements are bounded by `statement_timeout`.
pub async fn compare(
    transaction: &mut ReadTransaction,
    template: &Template,
    keys: &KeyColumns,
) -> Result<Vec<Diagnostic>, Error> {
    if template.markers.is_empty() {
        return Ok(Vec::new());
    }
    transaction.savepoint().await?;
    let reader = Reader { template, keys };
    match reader.compare(transaction).await {
        Ok(finding) => Ok(finding.into_iter().collect()),
        Err(BuildError::Template(finding)) => {
            transaction.rollback_to_savepoint().await?;
            Ok(vec![
                template
                    .warning(format!("whether the markers keep every row couldn't be seen: {}", finding.message))
                    .at(template.markers[0].span.clone())
                    .hint("`check` reads up to three keys with the markers and without, to compare them"),
            ])
        }
        Err(BuildError::Fatal(error)) => Err(error),
    }
}

struct Reader<'a> {
    template: &'a Template,
    keys: &'a KeyColumns,
}

impl Reader<'_> {
    async fn compare(&self, transaction: &mut ReadTransaction) -> Result<Option<Diagnostic>, BuildError> {
        let scope = Scope::of_keys(&self.sample(transaction).await?);
        if scope == Scope::Some(Vec::new()) {
            return Ok(None);
        }
        let expected = self.read(transaction, &scope, &|_| false).await?;
        if self.read(transaction, &scope, &|_| true).await? == expected {
            return Ok(None);
        }
        // All of them together differ; the one that does so alone is to blame.
        for marker in &self.template.markers {
            let found = self.read(transaction, &scope, &|other| other == marker).await?;
            if found != expected {
                return Ok(Some(self.finding(marker, &expected, &found)));
            }
        }
        let found = self.read(transaction, &scope, &|_| true).await?;
        Ok(Some(self.finding(&self.template.markers[0], &expected, &found)))
    }

    /// The first keys that have rows.
    async fn sample(&self, transaction: &mut ReadTransaction) -> Result<Vec<Key>, BuildError> {
        let names = self.template.columns().iter().map(|name| format!("t.\"{}\"", name.replace('"', "\"\"")));
        let names = names.collect::<Vec<_>>().join(", ");
        let statement = whole(self.template)
            .wrapped(&format!("SELECT DISTINCT {names} FROM (\n"), &format!("\n) AS t LIMIT {SAMPLE_KEYS}"));
        let rows = self.rows(transaction, &statement, &Scope::All).await?;
        Ok(rows.into_keys().collect())
    }

    async fn read(
        &self,
        transaction: &mut ReadTransaction,
        scope: &Scope,
        uses: &dyn Fn(&Marker) -> bool,
    ) -> Result<KeyRows, BuildError> {
        let statement = keyed(self.template, scope, self.keys, uses);
        let mut rows = self.rows(transaction, &statement, scope).await?;
        for digests in rows.values_mut() {
            digests.sort_unstable();
        }
        Ok(rows)
    }

    async fn rows(
        &self,
        transaction: &mut ReadTransaction,
        statement: &Statement,
        scope: &Scope,
    ) -> Result<KeyRows, BuildError> {
        let (sender, mut receiver) = mpsc::channel(4);
        let collect = async {
            let mut rows = KeyRows::new();
            let mut encoders = Vec::new();
            while let Some(message) = receiver.recv().await {
                match message {
                    Rows::Columns(columns) => encoders = self.encoders(&columns)?,
                    Rows::Batch(batch) => self.batch(&batch, &encoders, scope, &mut rows)?,
                    Rows::End => break,
                }
            }
            // Dropping the receiver on an error above stops the read.
            drop(receiver);
            Ok::<_, Diagnostic>(rows)
        };
        let read = async {
            let read = transaction.read(statement, &sender).await;
            drop(sender);
            read
        };
        let (read, collected) = tokio::join!(read, collect);
        let failed = |error: DatabaseError| statement_error(self.template, statement, error);
        match (read, collected) {
            (Err(error), _) if !matches!(error, DatabaseError::Stopped) => Err(failed(error)),
            (_, collected) => Ok(collected?),
        }
    }

    /// The encoder of every column, and for a key column its place in the path.
    fn encoders(&self, columns: &[ResultColumn]) -> Result<Vec<(Option<usize>, Encoder)>, Diagnostic> {
        let place = |name: &String| self.template.columns().iter().position(|key| key == name);
        columns.iter().map(|column| Ok((place(&column.name), encoder(self.template, column)?))).collect()
    }

    fn batch(
        &self,
        batch: &RowBatch,
        encoders: &[(Option<usize>, Encoder)],
        scope: &Scope,
        rows: &mut KeyRows,
    ) -> Result<(), Diagnostic> {
        for row in 0..batch.rows() {
            let mut shown = Vec::new();
            let mut values = vec![None; self.template.columns().len()];
            for (at, (place, encoder)) in encoders.iter().enumerate() {
                let start = shown.len();
                encoder
                    .write(batch.cell(row, at), &mut shown)
                    .map_err(|error| self.template.error(format!("a value {error}")))?;
                if let Some(place) = place {
                    let value = KeyValue::from_token(&shown[start..]);
                    values[*place] = Some(value.map_err(|error| self.template.error(format!("a key {error}")))?);
                }
                shown.push(b',');
            }
            let key = Key(values.into_iter().flatten().collect());
            if scope.contains(&key) {
                rows.entry(key).or_default().push(Digest::of(&shown).to_string());
            }
        }
        Ok(())
    }

    fn finding(&self, marker: &Marker, expected: &KeyRows, found: &KeyRows) -> Diagnostic {
        let key = expected.keys().chain(found.keys()).find(|key| expected.get(key) != found.get(key));
        let name = key.map(|key| key.describe(self.template.columns())).unwrap_or_default();
        let count = |rows: &KeyRows| key.and_then(|key| rows.get(key)).map_or(0, Vec::len);
        let (before, after) = (count(expected), count(found));
        let what = match before == after {
            true => "the same number of rows with other values".to_owned(),
            false => format!("{after} rows instead of {before}"),
        };
        self.template
            .error(format!("this marker changes what the query returns: with it {name} has {what}"))
            .at(marker.span.clone())
            .hint(
                "name for each key column the expression that it has in the result, where the marker stands; \
                 what is computed over several keys (LIMIT, windows) must stay without a marker",
            )
    }
}
