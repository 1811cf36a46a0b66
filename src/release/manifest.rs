//! Manifests: what a release consists of, row by row.
//!
//! A release is a *root* (who, when, why, and one entry a template) and the rows of each template: in the root itself
//! while they are few, else in a *shard*, a gzipped list. What later releases change of it they put into a *patch* that
//! is laid over the shard, until it grows too large and the shard is written anew; so a manifest costs what has
//! changed, whatever the number of documents, and a template that a run didn't change costs nothing. The changed paths
//! of a release stand in a list of their own: what has to be activated is the union of those lists, never the
//! difference of two manifests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::head::parse;
use super::id::ReleaseId;
use super::lines::{Line, RowReader, read_list};
use super::row::{Row, Rows, find};
use super::staged::Staged;
use crate::error::Error;
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
    /// The release that a rollback shows again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restores: Option<ReleaseId>,
    /// What publishing it later is to take of it, if it was staged to be looked at first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub staged: Option<Staged>,
    /// The staged release whose rows it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub publishes: Option<ReleaseId>,
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
    /// Digest of what the catalogue says apart from serial and instants.
    pub catalogue: Digest,
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
    /// Where its rows are.
    pub rows: RowsAt,
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
    /// Hashes of the header policies that its documents have; none in a release of a tintype that didn't note them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub policies: BTreeSet<String>,
    /// How many documents it has.
    pub count: u64,
    /// How many keys a rollback holds, those that it removed among them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub held: u64,
    /// The instant whose data the last whole read saw that changed a document.
    pub as_of: DateTime<Utc>,
    /// When a document of it last changed.
    pub changed_at: DateTime<Utc>,
    /// Whether the last run got through, or the rows are those of an earlier one.
    pub status: Status,
}

/// Where the rows of a template are.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RowsAt {
    /// The object that lists them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<String>,
    /// The object that lists those which have changed since the shard was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch: Option<String>,
    /// The rows themselves, while they are few.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inline: Vec<Value>,
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
    pub path: Arc<str>,
    /// What happened to it.
    pub change: ChangeKind,
}

/// A release with all its rows.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// The root.
    pub root: Root,
    /// Rows by template.
    pub rows: BTreeMap<String, Rows>,
    /// By template the paths that its patch speaks of.
    pub patched: BTreeMap<String, BTreeSet<Arc<str>>>,
}

impl Manifest {
    /// Reads a release whole.
    pub async fn read(store: &Store, id: &ReleaseId) -> Result<Manifest, Error> {
        let root = Root::read(store, id).await?;
        let mut manifest = Manifest { root, rows: BTreeMap::new(), patched: BTreeMap::new() };
        for (name, entry) in &manifest.root.templates {
            let mut reader = RowReader::default();
            let mut lines = reader.inline(&Root::name(id), &entry.rows.inline)?;
            if let Some(shard) = &entry.rows.shard {
                lines = reader.read(store, shard).await?;
            }
            let patch = match &entry.rows.patch {
                Some(patch) => reader.read(store, patch).await?,
                None => Vec::new(),
            };
            manifest.patched.insert(name.clone(), patch.iter().map(|line| Arc::clone(line.path())).collect());
            manifest.rows.insert(name.clone(), Arc::new(patched(lines, patch)));
        }
        Ok(manifest)
    }

    /// The row of a path.
    pub fn row(&self, path: &str) -> Option<&Arc<Row>> {
        self.named_row(path).map(|(_, row)| row)
    }

    /// The row of a path, and the name of its template. Where one template remembers that a key went whose path is another
    /// one's document, it is that document's.
    pub fn named_row(&self, path: &str) -> Option<(&str, &Arc<Row>)> {
        let mut rows = self.rows.iter().filter_map(|(name, rows)| Some((name.as_str(), find(rows, path)?)));
        let first = rows.next()?;
        if first.1.document.is_some() {
            return Some(first);
        }
        Some(rows.find(|(_, row)| row.document.is_some()).unwrap_or(first))
    }

    /// How many documents there are.
    pub fn count(&self) -> u64 {
        self.root.templates.values().map(|entry| entry.count).sum()
    }
}

/// Lays a patch over a shard; both are in the order of their paths.
pub fn patched(shard: Vec<Line>, patch: Vec<Line>) -> Vec<Arc<Row>> {
    let row = |line| match line {
        Line::Row(row) => Some(row),
        Line::Gone(_) => None,
    };
    let mut rows = Vec::with_capacity(shard.len() + patch.len());
    let mut patch = patch.into_iter().peekable();
    for line in shard {
        while let Some(before) = patch.next_if(|other| other.path() < line.path()) {
            rows.extend(row(before));
        }
        match patch.next_if(|other| other.path() == line.path()) {
            Some(instead) => rows.extend(row(instead)),
            None => rows.extend(row(line)),
        }
    }
    rows.extend(patch.filter_map(row));
    rows
}

impl Root {
    /// The folder of all roots.
    pub const FOLDER: &'static str = "release/";

    /// The root's object name.
    pub fn name(id: &ReleaseId) -> String {
        format!("{}{id}.json", Root::FOLDER)
    }

    /// The release whose root is called so.
    pub fn id_of(name: &str) -> Option<ReleaseId> {
        name.strip_prefix(Root::FOLDER)?.strip_suffix(".json")?.parse().ok()
    }

    /// Reads a root; none if there is no such release, or none any more.
    pub async fn read_if_there(store: &Store, id: &ReleaseId) -> Result<Option<Root>, Error> {
        let name = Root::name(id);
        let bytes = store.read(&name).await?;
        bytes.map(|bytes| parse(&name, &bytes)).transpose()
    }

    /// Reads a root.
    pub async fn read(store: &Store, id: &ReleaseId) -> Result<Root, Error> {
        Root::read_if_there(store, id).await?.ok_or_else(|| missing(&Root::name(id)))
    }

    /// Writes the root; from then on the release can be committed.
    pub async fn write(&self, store: &Store) -> Result<(), Error> {
        let name = Root::name(&self.id);
        let mut bytes = serde_json::to_vec_pretty(self)
            .map_err(|error| Error::Corrupt { object: name.clone(), reason: error.to_string() })?;
        bytes.push(b'\n');
        Ok(store.create(&name, bytes.into()).await?)
    }

    /// The rows of a template that stand in the root itself.
    pub fn inline_rows(&self, entry: &TemplateEntry) -> Result<Vec<Arc<Row>>, Error> {
        let lines = RowReader::default().inline(&Root::name(&self.id), &entry.rows.inline)?;
        Ok(patched(lines, Vec::new()))
    }

    /// Reads the changed paths of the release.
    pub async fn changes(&self, store: &Store) -> Result<Vec<Change>, Error> {
        read_list(store, &self.changes.object).await
    }
}

/// The hash under which a root lists a header policy.
pub fn policy_hash(policy: &HeaderPolicy) -> Arc<str> {
    let text = serde_json::to_string(policy).unwrap_or_default();
    Digest::of(text.as_bytes()).to_string()[..16].into()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn missing(name: &str) -> Error {
    Error::Corrupt { object: name.to_owned(), reason: "is missing".to_owned() }
}
