//! Reading a domain: its listed values, or its query's rows by the names of their columns.

use tokio::sync::mpsc;

use super::build::{BuildError, statement_error};
use crate::database::value::Encoder;
use crate::database::value::Rule;
use crate::database::{ReadTransaction, ResultColumn, RowBatch, Rows};
use crate::diagnostic::Diagnostic;
use crate::key::KeyValue;
use crate::template::domain::{DomainRow, DomainRows};
use crate::template::lint::own_columns;
use crate::template::scope::Statement;
use crate::template::{DomainSource, DomainValues, Template};

/// Reads a domain of a template.
pub async fn domain_rows(
    transaction: &mut ReadTransaction,
    template: &Template,
    source: &DomainSource,
) -> Result<DomainRows, BuildError> {
    if let Some(listed) = listed_rows(template, source) {
        return Ok(listed);
    }
    let DomainValues::Sql(sql) = &source.values else {
        return Ok(DomainRows { columns: Vec::new(), rows: Vec::new() });
    };
    let statement = Statement::verbatim(sql.trim_end().trim_end_matches(';'));
    let (sender, mut receiver) = mpsc::channel(4);
    let collect = async {
        let mut reader = None;
        let mut rows = Vec::new();
        while let Some(message) = receiver.recv().await {
            match message {
                Rows::Columns(columns) => reader = Some(Reader::new(template, source, &columns)?),
                Rows::Batch(batch) => {
                    if let Some(reader) = &reader {
                        reader.read(&batch, &mut rows)?;
                    }
                }
                Rows::End => break,
            }
        }
        // Dropping the receiver on an error above stops the read.
        drop(receiver);
        Ok::<_, Diagnostic>(reader.map(|reader| DomainRows { columns: reader.key_columns(), rows }))
    };
    let read = async {
        let read = transaction.read(&statement, &sender).await;
        drop(sender);
        read
    };
    let (read, collected) = tokio::join!(read, collect);
    let collected = collected?;
    read.map_err(|error| match statement_error(template, &statement, error) {
        BuildError::Template(mut finding) => {
            finding.message = format!("[keys.{}] {}", source.column, finding.message);
            BuildError::Template(Box::new((*finding).at(source.span.clone())))
        }
        fatal @ BuildError::Fatal(_) => fatal,
    })?;
    Ok(collected.unwrap_or(DomainRows { columns: Vec::new(), rows: Vec::new() }))
}

/// The rows of a domain that the file lists; none for one that is queried.
pub fn listed_rows(template: &Template, source: &DomainSource) -> Option<DomainRows> {
    let DomainValues::Listed(values) = &source.values else { return None };
    let column = template.columns().iter().position(|name| *name == source.column).unwrap_or_default();
    let row = |value: &KeyValue| DomainRow { values: vec![value.clone()], label: None, slug: None };
    Some(DomainRows { columns: vec![column], rows: values.iter().map(row).collect() })
}

/// Reads rows of a domain's query.
struct Reader<'a> {
    template: &'a Template,
    source: &'a DomainSource,
    /// Key column (by its place in the path), place in the result, encoder.
    keys: Vec<(usize, usize, Encoder)>,
    label: Option<(usize, Encoder)>,
    slug: Option<(usize, Encoder)>,
}

impl<'a> Reader<'a> {
    fn new(
        template: &'a Template,
        source: &'a DomainSource,
        columns: &[ResultColumn],
    ) -> Result<Reader<'a>, Diagnostic> {
        let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
        if let Some(finding) = own_columns(template, source, &names).into_iter().next() {
            return Err(finding);
        }
        let mut reader = Reader { template, source, keys: Vec::new(), label: None, slug: None };
        for (at, column) in columns.iter().enumerate() {
            let key = template.columns().iter().position(|name| *name == column.name);
            let rule = key.map_or(Rule::Plain, |_| Rule::of_key(template, &column.name));
            let encoder = column.kind.encoder(rule).map_err(|error| {
                reader.error(&format!("the column `{}` {error}", column.name)).hint(error.hint(&column.name))
            })?;
            match (key, column.name.as_str()) {
                (Some(key), _) => reader.keys.push((key, at, encoder)),
                (None, "label") => reader.label = Some((at, encoder)),
                (None, "slug") => reader.slug = Some((at, encoder)),
                // The lint above knows no other names.
                (None, _) => {}
            }
        }
        Ok(reader)
    }

    fn error(&self, message: &str) -> Diagnostic {
        self.template.error(format!("[keys.{}]: {message}", self.source.column)).at(self.source.span.clone())
    }

    fn key_columns(&self) -> Vec<usize> {
        self.keys.iter().map(|(key, ..)| *key).collect()
    }

    fn read(&self, batch: &RowBatch, rows: &mut Vec<DomainRow>) -> Result<(), Diagnostic> {
        for row in 0..batch.rows() {
            let mut values = Vec::with_capacity(self.keys.len());
            for (key, at, encoder) in &self.keys {
                let name = &self.template.columns()[*key];
                let token = self.token(batch, row, *at, encoder, name)?;
                let value = KeyValue::from_token(&token);
                values.push(
                    value.map_err(|error| self.error(&format!("a value of `{name}` {error}")).hint(error.hint()))?,
                );
            }
            rows.push(DomainRow {
                values,
                label: self.text(batch, row, self.label.as_ref(), "label")?,
                slug: self.text(batch, row, self.slug.as_ref(), "slug")?,
            });
        }
        Ok(())
    }

    fn token(
        &self,
        batch: &RowBatch,
        row: usize,
        at: usize,
        encoder: &Encoder,
        name: &str,
    ) -> Result<Vec<u8>, Diagnostic> {
        let mut token = Vec::new();
        encoder
            .write(batch.cell(row, at), &mut token)
            .map_err(|error| self.error(&format!("a value of `{name}` {error}")).hint(error.hint()))?;
        Ok(token)
    }

    /// A label or slug; NULL means that the value's own is used.
    fn text(
        &self,
        batch: &RowBatch,
        row: usize,
        column: Option<&(usize, Encoder)>,
        name: &str,
    ) -> Result<Option<String>, Diagnostic> {
        let Some((at, encoder)) = column else { return Ok(None) };
        let token = self.token(batch, row, *at, encoder, name)?;
        if token == b"null" {
            return Ok(None);
        }
        let text =
            serde_json::from_slice::<String>(&token).unwrap_or_else(|_| String::from_utf8_lossy(&token).into_owned());
        Ok(Some(text))
    }
}
