//! What the table is to hold, and what of it is missing: one walk along two lists in the order of their paths.

use serde_json::{Map, Value};

use super::super::activate::Family;
use super::super::manifest::Manifest;
use super::super::row::{DocumentRow, Row};
use crate::database::{FallbackTable, TableDocument, TableRow};
use crate::error::Error;
use crate::snapshot::{Digest, gunzip};

/// A document of the release.
pub struct Wanted<'a> {
    /// Its row.
    pub row: &'a Row,
    /// The document of the row.
    pub document: &'a DocumentRow,
    template: &'a str,
    columns: &'a [String],
    family: &'a Family<'a>,
}

/// What is wrong with a row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableFlaw {
    /// There is none.
    Missing,
    /// It has another digest, other headers, or is as of another instant.
    Different,
    /// Its body isn't what its digest says.
    Corrupt,
}

/// What a comparison found.
#[derive(Debug, Default)]
pub struct Found {
    /// Documents by their place in the list of those that are wanted.
    pub flaws: Vec<(usize, TableFlaw)>,
    /// Paths that no document of the release has.
    pub extra: Vec<String>,
    /// How many rows there are.
    pub rows: u64,
}

impl Found {
    /// True if every row is as it should be.
    pub fn is_nothing(&self) -> bool {
        self.flaws.is_empty() && self.extra.is_empty()
    }

    /// The documents that are to be written.
    pub fn stale(&self) -> Vec<usize> {
        self.flaws.iter().map(|(index, _)| *index).collect()
    }
}

impl Wanted<'_> {
    /// The row of the table that it is to become.
    pub fn document(&self, body_gzip: Vec<u8>) -> TableDocument {
        let attributes = self.family.attributes(self.row, self.document);
        TableDocument {
            path: self.row.path.clone(),
            template: self.template.to_owned(),
            key: self.key(),
            body_gzip,
            digest: attributes.digest,
            cache_control: attributes.cache_control,
            cache_tags: attributes.cache_tags.join(","),
            as_of: self.row.as_of(),
        }
    }

    fn key(&self) -> String {
        let value = |value| serde_json::to_value(value).unwrap_or_default();
        let pairs = self.columns.iter().zip(&self.row.key.0).map(|(column, of)| (column.clone(), value(of)));
        Value::Object(pairs.collect::<Map<_, _>>()).to_string()
    }

    fn flaw(&self, found: &TableRow) -> Option<TableFlaw> {
        let wanted = self.family.attributes(self.row, self.document);
        let is_equal = found.digest == wanted.digest
            && found.cache_control == wanted.cache_control
            && found.cache_tags == wanted.cache_tags.join(",")
            && found.as_of_micros == self.row.as_of().timestamp_micros();
        if !is_equal {
            return Some(TableFlaw::Different);
        }
        let body = found.body_gzip.as_ref()?;
        let is_whole =
            gunzip(body, self.document.size_bytes.into()).is_ok_and(|body| Digest::of(&body) == self.document.digest);
        (!is_whole).then_some(TableFlaw::Corrupt)
    }
}

/// What the headers of each template's documents are made of.
pub fn families(manifest: &Manifest) -> Vec<Family<'_>> {
    manifest.root.templates.values().map(|entry| Family::new(&manifest.root, entry)).collect()
}

/// Every document of a release in the order of the paths, the catalogue among them.
pub fn documents<'a>(manifest: &'a Manifest, families: &'a [Family<'a>]) -> Vec<Wanted<'a>> {
    let mut wanted = Vec::new();
    for ((template, entry), family) in manifest.root.templates.iter().zip(families) {
        let rows = manifest.rows.get(template).map_or(&[][..], |rows| rows.as_slice());
        let documents = rows.iter().filter_map(|row| Some((row, row.document.as_ref()?)));
        wanted.extend(documents.map(|(row, document)| Wanted {
            row,
            document,
            template,
            columns: &entry.key_columns,
            family,
        }));
    }
    wanted.sort_unstable_by(|a, b| a.row.path.cmp(&b.row.path));
    wanted
}

/// Compares the table with what it is to hold; `deep` down to the bodies' bytes.
pub async fn compare(table: &FallbackTable, wanted: &[Wanted<'_>], deep: bool) -> Result<Found, Error> {
    let mut found = Found::default();
    let mut next = 0;
    let mut each = |row: TableRow| {
        found.rows += 1;
        while wanted.get(next).is_some_and(|wanted| *wanted.row.path < *row.path) {
            found.flaws.push((next, TableFlaw::Missing));
            next += 1;
        }
        match wanted.get(next).filter(|wanted| *wanted.row.path == *row.path) {
            Some(wanted) => {
                found.flaws.extend(wanted.flaw(&row).map(|flaw| (next, flaw)));
                next += 1;
            }
            None => found.extra.push(row.path),
        }
    };
    table.rows(deep, &mut each).await?;
    found.flaws.extend((next..wanted.len()).map(|index| (index, TableFlaw::Missing)));
    Ok(found)
}
