//! The splitter: rows in, one snapshot out wherever the key changes.

use std::sync::Arc;

use smallvec::SmallVec;

use super::document::{Document, DocumentError};
use crate::database::value::json::write_string;
use crate::database::value::{Encoder, Rule};
use crate::database::{ResultColumn, RowBatch};
use crate::diagnostic::Diagnostic;
use crate::key::{Key, KeyValue, PathPattern};
use crate::template::domain::{DomainError, Domains, Places, Seen};
use crate::template::lint::lint_columns;
use crate::template::scope::Scope;
use crate::template::{ColumnRule, Template};

/// One JSON document, before it is compressed.
#[derive(Debug)]
pub struct Snapshot {
    /// Its key.
    pub key: Key,
    /// Its object path.
    pub path: Arc<str>,
    /// Its canonical bytes.
    pub body: Vec<u8>,
    /// How many rows it holds.
    pub rows: u64,
}

/// What a finished splitter knows besides the snapshots.
#[derive(Debug)]
pub struct SplitSummary {
    /// The domains, with the values of open columns that were seen.
    pub domains: Domains,
    /// The columns of the documents, without the key columns.
    pub columns: Vec<String>,
    /// Rows of valid keys that aren't published, or that belong to another scope.
    pub rows_skipped: u64,
    /// True if there were more published combinations than `max_keys`, so that no empty documents were made.
    pub over_max_keys: bool,
}

/// Splits the rows of one template.
pub struct Splitter<'a> {
    template: &'a Template,
    scope: &'a Scope,
    domains: Domains,
    result: Vec<ResultColumn>,
    /// For each key column in the order of the path, its place in the result and its encoder.
    keys: Vec<(usize, Encoder)>,
    document: Document,
    current: Option<Current>,
    seen: Seen,
    rows_skipped: u64,
    /// Rows of keys outside the scope are dropped without a look into the domains, which needn't know them.
    is_narrow: bool,
}

/// The key whose rows are arriving.
struct Current {
    /// The raw cells of the key columns: as long as they stay the same, so does the key.
    raw: Vec<u8>,
    places: Places,
    /// False for a key whose rows are dropped.
    wanted: bool,
}

impl<'a> Splitter<'a> {
    /// Prepares for rows with the given columns.
    pub fn new(
        template: &'a Template,
        scope: &'a Scope,
        domains: Domains,
        result: Vec<ResultColumn>,
    ) -> Result<Splitter<'a>, Diagnostic> {
        let keys = key_places(template, &result)?;
        let mut encoders = Vec::new();
        for column in &result {
            encoders.push(encoder(template, column)?);
        }
        for (name, at) in template.columns().iter().zip(&keys) {
            if !encoders[*at].is_scalar() {
                return Err(template
                    .error(format!("the key column `{name}` holds arrays, JSON or bytes"))
                    .at(template.span_of_column(name))
                    .hint("key columns are text, whole numbers or booleans; cast it to text"));
            }
        }
        let document = Document::new(template, &result, &keys, encoders.clone())
            .map_err(|reason| template.error(format!("the query {reason}")).hint(returned(&result)))?;
        let keys = keys.into_iter().map(|at| (at, encoders[at].clone())).collect();
        Ok(Splitter {
            template,
            scope,
            domains,
            result,
            keys,
            document,
            current: None,
            seen: Seen::of(template.columns().len()),
            rows_skipped: 0,
            is_narrow: false,
        })
    }

    /// Drops rows of keys outside the scope even if the domains don't list them, because they list the scope's keys only.
    #[must_use]
    pub fn narrow(self) -> Self {
        Self { is_narrow: true, ..self }
    }

    /// Takes a batch of rows; every document that is complete with it goes to `put`, which says whether to go on.
    pub fn batch(&mut self, batch: &RowBatch, put: &mut dyn FnMut(Snapshot) -> bool) -> Result<bool, Diagnostic> {
        let mut raw = Vec::new();
        for row in 0..batch.rows() {
            raw.clear();
            for (at, _) in &self.keys {
                let cell = batch.cell(row, *at);
                raw.extend_from_slice(
                    &cell.map_or(u32::MAX, |cell| u32::try_from(cell.len()).unwrap_or(u32::MAX - 1)).to_le_bytes(),
                );
                raw.extend_from_slice(cell.unwrap_or_default());
            }
            if self.current.as_ref().is_none_or(|current| current.raw != raw) && !self.turn(batch, row, &raw, put)? {
                return Ok(false);
            }
            if self.current.as_ref().is_some_and(|current| current.wanted) {
                self.document.row(batch, row).map_err(|error| self.document_error(error))?;
            } else {
                self.rows_skipped += 1;
            }
        }
        Ok(true)
    }

    /// Ends the document in work and begins the one of the given row, unless that has the same key after all.
    fn turn(
        &mut self,
        batch: &RowBatch,
        row: usize,
        raw: &[u8],
        put: &mut dyn FnMut(Snapshot) -> bool,
    ) -> Result<bool, Diagnostic> {
        let mut values = Vec::with_capacity(self.keys.len());
        for ((at, encoder), name) in self.keys.iter().zip(self.template.columns()) {
            let mut token = Vec::new();
            let at_column = |message: String| self.template.error(message).at(self.template.span_of_column(name));
            encoder.write(batch.cell(row, *at), &mut token).map_err(|error| {
                let finding = at_column(format!("the key column `{name}` {error}"));
                finding.hint(error.hint())
            })?;
            if encoder.is_bytes(batch.cell(row, *at)) {
                let finding = at_column(format!("the key column `{name}` holds a BLOB"));
                return Err(finding
                    .hint("key columns are text, whole numbers or booleans; CAST(column AS TEXT), or hex(column)"));
            }
            values.push(
                KeyValue::from_token(&token)
                    .map_err(|error| at_column(format!("the key column `{name}` {error}")).hint(error.hint()))?,
            );
        }
        let key = Key(values);
        let is_asked = self.scope.contains(&key);
        let places = match self.is_narrow && !is_asked {
            true => Places(SmallVec::new()),
            false => self.domains.locate(&key).map_err(|error| error.diagnostic(self.template))?,
        };
        if let Some(current) = self.current.as_mut().filter(|current| current.places == places) {
            // Another spelling of the same value, as 1.00 is of 1.0.
            current.raw = raw.to_vec();
            return Ok(true);
        }
        if !self.complete(put)? {
            return Ok(false);
        }
        let wanted = is_asked && self.domains.is_published(&places);
        if wanted {
            if !self.seen.insert(&places) {
                return Err(self
                    .template
                    .error(format!(
                        "the rows of one key don't stand together: {} comes back after other keys",
                        key.describe(self.template.columns())
                    ))
                    .at(self.template.sql.clone())
                    .hint(format!(
                        "let ORDER BY begin with the key columns: ORDER BY {}, …",
                        self.template.columns().join(", ")
                    )));
            }
            let json = self.key_json(&key);
            self.document.begin(&json);
        }
        self.current = Some(Current { raw: raw.to_vec(), places, wanted });
        Ok(true)
    }

    /// Hands the document in work over, if there is one.
    fn complete(&mut self, put: &mut dyn FnMut(Snapshot) -> bool) -> Result<bool, Diagnostic> {
        match self.current.take() {
            Some(Current { places, wanted: true, .. }) => {
                let (body, rows) = self.document.finish();
                Ok(put(self.snapshot(&places, body, rows)?))
            }
            _ => Ok(true),
        }
    }

    fn snapshot(&self, places: &Places, body: Vec<u8>, rows: u64) -> Result<Snapshot, Diagnostic> {
        let (key, path) = (self.domains.key(places), self.domains.path(&self.template.pattern, places));
        if PathPattern::fits(&path) {
            return Ok(Snapshot { key, path: path.into(), body, rows });
        }
        let key = key.describe(self.template.columns());
        let finding = self.template.error(format!("the object path of {key} is longer than a store allows"));
        Err(finding.hint("shorten it with a `slug` column in the domain's query"))
    }

    /// Ends the last document and makes an empty one of every published key of the scope that had no rows.
    ///
    /// `known` are further combinations of open columns that still exist outside the scope.
    pub fn finish(
        mut self,
        known: &[Key],
        put: &mut dyn FnMut(Snapshot) -> bool,
    ) -> Result<Option<SplitSummary>, Diagnostic> {
        if !self.complete(put)? {
            return Ok(None);
        }
        let mut elsewhere = Vec::new();
        for key in known {
            match self.domains.locate(key) {
                Ok(places) => elsewhere.push(places),
                Err(error @ DomainError::Collision { .. }) => return Err(error.diagnostic(self.template)),
                // It isn't valid any more; the next full build takes its document away.
                Err(_) => {}
            }
        }
        let over_max_keys = self.domains.count_published(self.with_rows(&elsewhere), self.template.max_keys).is_none();
        if !over_max_keys && !self.empty_documents(&elsewhere, put)? {
            return Ok(None);
        }
        let keys: Vec<usize> = self.keys.iter().map(|(at, _)| *at).collect();
        let columns = (0..)
            .zip(&self.result)
            .filter(|(at, _)| !keys.contains(at))
            .map(|(_, column)| column.name.clone())
            .collect();
        Ok(Some(SplitSummary { domains: self.domains, columns, rows_skipped: self.rows_skipped, over_max_keys }))
    }

    /// Makes an empty document of every published key of the scope that had no rows.
    fn empty_documents(
        &mut self,
        elsewhere: &[Places],
        put: &mut dyn FnMut(Snapshot) -> bool,
    ) -> Result<bool, Diagnostic> {
        let mut missing = Vec::new();
        self.domains.each_published(self.with_rows(elsewhere), &mut |places| {
            if !self.seen.contains(places) && self.scope.contains(&self.domains.key(places)) {
                missing.push(places.clone());
            }
            true
        });
        for places in missing {
            let json = self.key_json(&self.domains.key(&places));
            self.document.begin(&json);
            let (body, rows) = self.document.finish();
            if !put(self.snapshot(&places, body, rows)?) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The places of every key that is known to have rows.
    fn with_rows<'b>(&'b self, elsewhere: &'b [Places]) -> impl Iterator<Item = &'b [u32]> {
        self.seen.iter().chain(elsewhere.iter().map(|places| &places.0[..]))
    }

    fn key_json(&self, key: &Key) -> Vec<u8> {
        let mut json = b"{".to_vec();
        for (at, (name, value)) in self.template.columns().iter().zip(&key.0).enumerate() {
            if at > 0 {
                json.push(b',');
            }
            write_string(name, &mut json);
            json.push(b':');
            match value {
                KeyValue::Text(text) => write_string(text, &mut json),
                other => json.extend_from_slice(other.to_string().as_bytes()),
            }
        }
        json.push(b'}');
        json
    }

    fn document_error(&self, error: DocumentError) -> Diagnostic {
        let key = self
            .current
            .as_ref()
            .map(|current| self.domains.key(&current.places).describe(self.template.columns()))
            .unwrap_or_default();
        match error {
            DocumentError::Cell { column, error } => {
                let name = &self.result[column].name;
                let finding = self
                    .template
                    .error(format!("the column `{name}` of {key} {error}"))
                    .at(self.template.span_of_column(name));
                finding.hint(error.hint())
            }
            DocumentError::Degrees { column, most } => {
                let name = &self.result[column].name;
                let finding = self
                    .template
                    .error(format!("the column `{name}` of {key} isn't a number of degrees within ±{most}"));
                finding
                    .at(self.template.span_of_column(name))
                    .hint("select it as a number; NULL gives a feature without a place")
            }
            DocumentError::Geometry { column } => {
                let name = &self.result[column].name;
                let finding = self.template.error(format!("the column `{name}` of {key} isn't a GeoJSON geometry"));
                finding
                    .at(self.template.span_of_column(name))
                    .hint("it is a JSON object such as {\"type\":\"Point\",\"coordinates\":[lon,lat]}, or NULL")
            }
            DocumentError::TooLarge => self
                .template
                .error(format!(
                    "the snapshot of {key} is larger than max_size, {}",
                    bytesize::ByteSize(self.template.guards.max_size_bytes())
                ))
                .hint("split it by another key column, return fewer rows, or raise [guard] max_size"),
            DocumentError::SecondRow => self
                .template
                .error(format!("there is a second row for {key}, and a document of shape \"json\" has one"))
                .at(self.template.sql.clone())
                .hint("aggregate the rows into one JSON value, or use shape = \"rows\""),
        }
    }
}

/// Where the key columns stand in the result, whose columns are those that the front matter speaks of.
fn key_places(template: &Template, result: &[ResultColumn]) -> Result<Vec<usize>, Diagnostic> {
    let names: Vec<String> = result.iter().map(|column| column.name.clone()).collect();
    if let Some(finding) = lint_columns(template, &names).into_iter().next() {
        return Err(finding);
    }
    Ok(template.columns().iter().filter_map(|name| names.iter().position(|column| column == name)).collect())
}

fn returned(result: &[ResultColumn]) -> String {
    let names: Vec<&str> = result.iter().map(|column| column.name.as_str()).collect();
    format!("the query returns {}", names.join(", "))
}

/// The encoder of a result column by the rule that the front matter gives it.
pub fn encoder(template: &Template, column: &ResultColumn) -> Result<Encoder, Diagnostic> {
    let ruled = template.rules.iter().find(|(name, _)| *name == column.name).map(|(_, rule)| *rule);
    let is_document = template.shape == crate::template::Shape::Json && !template.columns().contains(&column.name);
    let is_geometry = template.shape == crate::template::Shape::Geojson && column.name.eq_ignore_ascii_case("geometry");
    let rule = match ruled {
        Some(ColumnRule::Decimals(digits)) => Rule::Decimals(digits),
        Some(ColumnRule::Text) => Rule::Text,
        Some(ColumnRule::Bool) => Rule::Bool,
        Some(ColumnRule::Json) => Rule::Json,
        None if is_document || is_geometry => Rule::Json,
        None => Rule::Plain,
    };
    column.kind.encoder(rule).map_err(|error| {
        template
            .error(format!("the column `{}` {error}", column.name))
            .at(template.span_of_column(&column.name))
            .hint(error.hint(&column.name))
    })
}
