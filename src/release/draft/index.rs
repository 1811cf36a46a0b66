//! The catalogue's own rows in a release: `index.json`, and the files for keys with very many values.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::super::catalogue::{self, Catalogue};
use super::super::growing::Growing;
use super::super::id::ReleaseId;
use super::super::manifest::{Change, ChangeKind, Manifest, RowsAt, Status, TemplateEntry, policy_hash};
use super::super::row::{DocumentRow, Origin, Row, blob_name, find};
use super::Draft;
use crate::error::Error;
use crate::key::Key;
use crate::snapshot::{Digest, Gzip, gunzip};
use crate::store::Store;
use crate::template::{HeaderPolicy, OnMiss, Shape};

/// Largest catalogue that is read back.
const MAX_CATALOGUE_BYTES: u64 = 1 << 30;

impl Draft {
    /// Adds the catalogue and its files to the release, if they say something new or anything else changed.
    pub fn catalogue(
        &self,
        growing: &mut Growing,
        id: &ReleaseId,
        base: Option<&Manifest>,
    ) -> (Vec<(String, Vec<u8>)>, Digest) {
        let catalogue = Catalogue::new(id, self.as_of, self.job.now, &growing.entries, &growing.keys);
        let policy = catalogue_policy();
        let hash = policy_hash(&policy);
        let committed = growing.rows.get(catalogue::NAME).cloned().unwrap_or_default();
        let mut gzip = Gzip::default();
        let mut blobs = Vec::new();
        let as_of = self.as_of.unwrap_or(self.job.now);
        let changed_at = self.job.now;
        let origin = Origin { as_of, changed_at, run: id.run.clone(), policy: Arc::clone(&hash), held: false };
        let origin = Arc::new(origin);
        let mut rows: BTreeMap<Arc<str>, Arc<Row>> =
            committed.iter().map(|row| (row.path.clone(), row.clone())).collect();
        let mut put = |path: &str, body: &[u8], changes: &mut Vec<Change>| {
            let digest = Digest::of(body);
            let old = find(&committed, path);
            if old.is_some_and(|old| old.digest() == Some(digest) && old.origin.policy == hash) {
                return;
            }
            let bytes = gzip.compress(body);
            let document = DocumentRow { digest, size_bytes: size(body.len()), gzip_bytes: size(bytes.len()), rows: 0 };
            blobs.push((blob_name(&digest, &id.run), bytes));
            let change = if old.is_some() { ChangeKind::Changed } else { ChangeKind::Added };
            let path: Arc<str> = path.into();
            changes.push(Change { path: Arc::clone(&path), change });
            let origin = Arc::clone(&origin);
            let row = Row { path: Arc::clone(&path), key: Key(Vec::new()), document: Some(document), origin };
            rows.insert(path, Arc::new(row));
        };
        for (path, file) in &growing.files {
            put(path, file, &mut growing.changes);
        }
        let stale = growing.stale_files(&committed);
        let said = catalogue.timeless();
        let says_the_same = base.is_some_and(|base| base.root.catalogue == said);
        if !says_the_same || !growing.changes.is_empty() || !stale.is_empty() {
            put(catalogue::PATH, &catalogue.body(), &mut growing.changes);
        }
        for path in stale {
            rows.remove(&path);
            growing.changes.push(Change { path, change: ChangeKind::Removed });
        }
        if !blobs.is_empty() {
            growing.policies.insert(hash.to_string(), policy);
            growing.shards.insert(catalogue::NAME.to_owned());
            growing.entries.insert(catalogue::NAME.to_owned(), catalogue_entry(rows.len() as u64, as_of, self.job.now));
            growing.rows.insert(catalogue::NAME.to_owned(), Arc::new(rows.into_values().collect()));
        }
        (blobs, said)
    }
}

/// The catalogue of a release, as its blob says it.
pub async fn committed_catalogue(base: Option<&Manifest>, store: &Store) -> Result<Option<Catalogue>, Error> {
    let row = base.and_then(|base| find(base.rows.get(catalogue::NAME)?, catalogue::PATH));
    let Some(blob) = row.and_then(|row| row.blob()) else { return Ok(None) };
    let bytes = store.read(&blob).await?.unwrap_or_default();
    let read = gunzip(&bytes, MAX_CATALOGUE_BYTES).ok().and_then(|body| Catalogue::parse(&body));
    let reason = || "is missing or broken; republish every template whole, which makes the catalogue anew".to_owned();
    read.map(Some).ok_or_else(|| Error::Corrupt { object: blob, reason: reason() })
}

fn size(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// The catalogue changes with every release, so browsers and the edge keep it for minutes only.
fn catalogue_policy() -> HeaderPolicy {
    let seconds = std::time::Duration::from_secs;
    HeaderPolicy::new(
        seconds(60),
        seconds(300),
        seconds(3600),
        seconds(7 * 24 * 3600),
        vec![catalogue::NAME.to_owned()],
    )
}

fn catalogue_entry(count: u64, as_of: DateTime<Utc>, now: DateTime<Utc>) -> TemplateEntry {
    TemplateEntry {
        rows: RowsAt::default(),
        path: catalogue::PATH.to_owned(),
        shape: Shape::Json,
        on_miss: OnMiss::NotFound,
        key_columns: Vec::new(),
        columns: Vec::new(),
        policies: BTreeSet::new(),
        count,
        held: 0,
        as_of,
        changed_at: now,
        status: Status::Ok,
    }
}
