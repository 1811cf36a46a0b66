//! Rows: what a release knows of one document.
//!
//! A release of a million documents is held in memory whole, twice while it is merged, so rows are small and shared:
//! what many rows have in common stands in one [`Origin`], and a row that a release keeps is the row of its parent.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::broken::{Safeguard, is_out};
use super::id::RunId;
use crate::key::Key;
use crate::snapshot::Digest;

/// The rows of a template, in the order of their paths.
pub type Rows = Arc<Vec<Arc<Row>>>;

/// One document of a release, or the memory of one that went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its object path.
    pub path: Arc<str>,
    /// Its key.
    pub key: Key,
    /// What is there; none marks a key that was found absent by a read of some keys (a tombstone).
    pub document: Option<DocumentRow>,
    /// Which run saw and wrote it, and when.
    pub origin: Arc<Origin>,
}

/// What all documents have in common that a run wrote of one template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The instant whose data the document shows.
    pub as_of: DateTime<Utc>,
    /// When the run began that last changed its bytes or headers.
    pub changed_at: DateTime<Utc>,
    /// The run that wrote the blob.
    pub run: RunId,
    /// Hash of the header policy.
    pub policy: Arc<str>,
    /// True if a rollback keeps later publishes off it.
    pub held: bool,
}

/// The document of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DocumentRow {
    /// SHA-256 of the uncompressed body.
    pub digest: Digest,
    /// Bytes of the body; `max_size` keeps them far below 4 GiB.
    pub size_bytes: u32,
    /// Bytes of the blob.
    pub gzip_bytes: u32,
    /// Rows in the document.
    pub rows: u32,
}

impl Row {
    /// The instant whose data it shows.
    pub fn as_of(&self) -> DateTime<Utc> {
        self.origin.as_of
    }

    /// The digest of its document, if there is one.
    pub fn digest(&self) -> Option<Digest> {
        self.document.map(|document| document.digest)
    }

    /// The name of its blob, if there is a document.
    pub fn blob(&self) -> Option<String> {
        Some(blob_name(&self.digest()?, &self.origin.run))
    }

    /// The same row with another origin.
    #[must_use]
    pub fn from(&self, origin: &Arc<Origin>) -> Row {
        Row { origin: Arc::clone(origin), ..self.clone() }
    }
}

/// The name of the blob that a run writes for a body.
pub fn blob_name(digest: &Digest, run: &RunId) -> String {
    let digest = digest.to_string();
    let run = if is_out(Safeguard::UniqueNames) { "20000101T000000Z-00000000" } else { run.as_str() };
    format!("blob/{}/{digest}-{run}.gz", &digest[..2])
}

/// The row of a path among rows in the order of their paths.
pub fn find<'a>(rows: &'a [Arc<Row>], path: &str) -> Option<&'a Arc<Row>> {
    rows.binary_search_by(|row| row.path.as_ref().cmp(path)).ok().map(|at| &rows[at])
}
