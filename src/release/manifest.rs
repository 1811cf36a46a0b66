//! Manifests: what a release consists of, row by row.
//!
//! A release is a *root* (who, when, why, and one entry a template) and one *shard* a template, a gzipped list of rows.
//! A template that a run didn't change keeps its shard from an earlier release, so a republish of one key writes one
//! shard and not the whole manifest. The changed paths of a release stand in a list of their own: what has to be
//! activated is the union of those lists, never the difference of two manifests.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use flate2::bufread::GzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};

use super::head::{FORMAT, parse};
use super::id::{ReleaseId, RunId};
use crate::error::Error;
use crate::key::Key;
use crate::snapshot::Digest;
use crate::store::Store;
use crate::template::{HeaderPolicy, OnMiss, Shape};

/// What a release was made by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A build of whole templates, or of some keys.
    Publish,
    /// Chosen keys, written even if unchanged.
    Republish,
    /// Rows of an older release.
    Rollback,
}

/// The root of a release.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Root {
    /// See [`FORMAT`].
    pub format: u32,
    /// The release.
    pub id: ReleaseId,
    /// The release that it was merged onto.
    pub parent: Option<ReleaseId>,
    /// What it was made by.
    pub kind: Kind,
    /// Who, as far as the run was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// Why, as far as the run was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// When it was committed.
    pub created_at: DateTime<Utc>,
    /// The instant whose data the run saw; none for a run without a database.
    pub as_of: Option<DateTime<Utc>>,
    /// The tintype that made it.
    pub tintype: String,
    /// Header policies by their hash.
    pub policies: BTreeMap<String, HeaderPolicy>,
    /// The templates by name.
    pub templates: BTreeMap<String, TemplateEntry>,
    /// The object that lists the changed paths, and how many there are.
    pub changes: ChangeList,
}

/// Where the changed paths of a release are listed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ChangeList {
    /// The object's name.
    pub object: String,
    /// How many documents were added.
    pub added: u64,
    /// How many have other bytes or headers than before.
    pub changed: u64,
    /// How many went.
    pub removed: u64,
    /// How many were written again with the bytes that they had.
    pub rewritten: u64,
}

/// One template of a release.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TemplateEntry {
    /// The object that holds its rows.
    pub shard: String,
    /// Its path pattern.
    pub path: String,
    /// Its shape.
    pub shape: Shape,
    /// What the fallback does with a valid key that isn't published.
    #[serde(default)]
    pub on_miss: OnMiss,
    /// Its key columns in the order of the path.
    pub key_columns: Vec<String>,
    /// The columns of its documents.
    pub columns: Vec<String>,
    /// How many documents it has.
    pub count: u64,
    /// The instant whose data the last whole read saw that changed a document.
    pub as_of: DateTime<Utc>,
    /// When a document of it last changed.
    pub changed_at: DateTime<Utc>,
    /// Whether the last run got through, or the rows are those of an earlier one.
    pub status: Status,
}

/// How a template stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// The rows are those of the last run.
    Ok,
    /// The last run failed on it; the rows are those of the last one that didn't.
    LastGood,
}

/// One document of a release, or the memory of one that went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Its object path.
    pub path: Box<str>,
    /// Its key.
    pub key: Key,
    /// What is there; none marks a key that was found absent by a read of some keys (a tombstone).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<DocumentRow>,
    /// The instant whose data it shows.
    pub as_of: DateTime<Utc>,
}

/// The document of a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DocumentRow {
    /// SHA-256 of the uncompressed body.
    pub digest: Digest,
    /// The run that wrote the blob.
    pub run: RunId,
    /// Bytes of the body.
    pub size_bytes: u64,
    /// Bytes of the blob.
    pub gzip_bytes: u64,
    /// Rows in the document.
    pub rows: u64,
    /// Hash of its header policy.
    pub policy: Box<str>,
    /// When the run began that last changed its bytes or headers.
    pub changed_at: DateTime<Utc>,
}

impl DocumentRow {
    /// The name of the blob.
    pub fn blob(&self) -> String {
        blob_name(&self.digest, &self.run)
    }
}

/// The name of the blob that a run writes for a body.
pub fn blob_name(digest: &Digest, run: &RunId) -> String {
    let digest = digest.to_string();
    format!("blob/{}/{digest}-{run}.gz", &digest[..2])
}

/// What a release did to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// It wasn't there before.
    Added,
    /// Its bytes or headers changed.
    Changed,
    /// It went.
    Removed,
    /// It was written again as it was.
    Rewritten,
}

/// A changed path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The object path.
    pub path: Box<str>,
    /// What happened to it.
    pub change: ChangeKind,
}

/// A release with all its rows, each template's in the order of their paths.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// The root.
    pub root: Root,
    /// Rows by template.
    pub rows: BTreeMap<String, Arc<Vec<Row>>>,
}

impl Manifest {
    /// Reads a release whole.
    pub async fn read(store: &Store, id: &ReleaseId) -> Result<Manifest, Error> {
        let root = Root::read(store, id).await?;
        let mut rows = BTreeMap::new();
        for (name, entry) in &root.templates {
            rows.insert(name.clone(), Arc::new(read_lines(store, &entry.shard).await?));
        }
        Ok(Manifest { root, rows })
    }

    /// The row of a path.
    pub fn row(&self, path: &str) -> Option<&Row> {
        self.rows.values().find_map(|rows| find(rows, path))
    }

    /// How many documents there are.
    pub fn count(&self) -> u64 {
        self.root.templates.values().map(|entry| entry.count).sum()
    }
}

/// The row of a path among rows in the order of their paths.
pub fn find<'a>(rows: &'a [Row], path: &str) -> Option<&'a Row> {
    rows.binary_search_by(|row| row.path.as_ref().cmp(path)).ok().map(|at| &rows[at])
}

impl Root {
    /// The root's object name.
    pub fn name(id: &ReleaseId) -> String {
        format!("release/{id}.json")
    }

    /// Reads a root.
    pub async fn read(store: &Store, id: &ReleaseId) -> Result<Root, Error> {
        let name = Root::name(id);
        let bytes = store.read(&name).await?.ok_or_else(|| missing(&name))?;
        parse(&name, &bytes)
    }

    /// Writes the root; from then on the release can be committed.
    pub async fn write(&self, store: &Store) -> Result<(), Error> {
        let name = Root::name(&self.id);
        let mut bytes = serde_json::to_vec_pretty(self)
            .map_err(|error| Error::Corrupt { object: name.clone(), reason: error.to_string() })?;
        bytes.push(b'\n');
        Ok(store.create(&name, bytes.into()).await?)
    }

    /// Reads the changed paths of the release.
    pub async fn changes(&self, store: &Store) -> Result<Vec<Change>, Error> {
        read_lines(store, &self.changes.object).await
    }
}

/// The hash under which a root lists a header policy.
pub fn policy_hash(policy: &HeaderPolicy) -> Box<str> {
    let text = serde_json::to_string(policy).unwrap_or_default();
    Digest::of(text.as_bytes()).to_string()[..16].into()
}

fn missing(name: &str) -> Error {
    Error::Corrupt { object: name.to_owned(), reason: "is missing".to_owned() }
}

/// Writes a list of values, one JSON document a line, gzipped.
pub async fn write_lines<T: Serialize>(store: &Store, name: &str, values: &[T]) -> Result<(), Error> {
    let corrupt = |error: &dyn std::fmt::Display| Error::Corrupt { object: name.to_owned(), reason: error.to_string() };
    let mut gzip = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    writeln!(gzip, "{{\"format\":{FORMAT}}}").map_err(|error| corrupt(&error))?;
    for value in values {
        serde_json::to_writer(&mut gzip, value).map_err(|error| corrupt(&error))?;
        gzip.write_all(b"\n").map_err(|error| corrupt(&error))?;
    }
    let bytes = gzip.finish().map_err(|error| corrupt(&error))?;
    Ok(store.create(name, bytes.into()).await?)
}

/// Reads what [`write_lines`] wrote.
async fn read_lines<T: serde::de::DeserializeOwned>(store: &Store, name: &str) -> Result<Vec<T>, Error> {
    let bytes = store.read(name).await?.ok_or_else(|| missing(name))?;
    let corrupt = |error: &dyn std::fmt::Display| Error::Corrupt {
        object: name.to_owned(),
        reason: format!("can't be read: {error}"),
    };
    let mut lines = BufReader::new(GzDecoder::new(bytes.as_slice())).lines();
    let first = lines.next().transpose().map_err(|error| corrupt(&error))?.unwrap_or_default();
    let _: serde_json::Value = parse(name, first.as_bytes())?;
    let mut values = Vec::new();
    for line in lines {
        let line = line.map_err(|error| corrupt(&error))?;
        values.push(serde_json::from_str(&line).map_err(|error| corrupt(&error))?);
    }
    Ok(values)
}
