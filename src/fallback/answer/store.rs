//! A document of the release, from the store.
//!
//! What the release shows is known by its digest, so its blob can be read without asking what the stable path shows, and
//! what was read is known to be right. A store that failed is left alone for a moment, so that readers don't wait for it
//! one after the other.

use std::sync::Arc;
use std::time::Duration;

use super::super::Fallback;
use super::super::figures::Shed;
use super::super::memory::Entry;
use super::super::site::Site;
use super::{COME_BACK, Landed, Source};
use crate::release::Row;
use crate::snapshot::unpacked;
use crate::store::{Attributes, Store, StoreError};

/// Longest wait for the store.
pub const LONGEST: Duration = Duration::from_secs(1);
/// How long a store that failed isn't asked again.
const REST: Duration = Duration::from_secs(2);
const FAILED: Landed = Landed::Failed { retry_after: COME_BACK, why: Shed::Store };

impl Fallback {
    /// The document of a row, from its blob.
    pub(super) async fn stored(
        self: &Arc<Self>,
        path: &str,
        row: &Arc<Row>,
        attributes: &Attributes,
        site: Option<&Arc<Site>>,
    ) -> Landed {
        if row.document.is_none() {
            return Landed::Missing;
        }
        if self.store_rest.is_on() {
            return FAILED;
        }
        let fetch = || {
            let (fallback, row) = (Arc::clone(self), Arc::clone(row));
            let (attributes, site) = (attributes.clone(), site.cloned());
            async move { fallback.read_blob(&row, &attributes, site.as_deref()).await }
        };
        let anyone = || Ok::<_, std::convert::Infallible>(());
        match self.reads.join(path, anyone, fetch).await {
            Ok(landed) => landed.unwrap_or(FAILED),
            Err(never) => match never {},
        }
    }

    async fn read_blob(&self, row: &Row, attributes: &Attributes, site: Option<&Site>) -> Landed {
        let (path, Some(digest), Some(blob)) = (&*row.path, row.digest(), row.blob()) else { return Landed::Missing };
        // So many bodies are on their way at most. Who waits for a turn behind a store that hangs needn't try as well.
        let Ok(_turn) = tokio::time::timeout(LONGEST, self.store_turns.acquire()).await else { return FAILED };
        if self.store_rest.is_on() {
            return FAILED;
        }
        let reason = match tokio::time::timeout(LONGEST, in_background(&self.store, blob)).await {
            Ok(Ok(Some(gzip))) => {
                if let Err(reason) = unpacked(&gzip, Some(&digest)) {
                    let hint = "`tintype verify --deep --repair` mends it";
                    tracing::error!(path, reason, hint, "the blob of a document is damaged");
                    return Landed::Missing;
                }
                self.store_rest.end();
                let entry = Arc::new(Entry::new(gzip.into(), digest, attributes, None, site));
                self.memory.put(path, &entry);
                return Landed::Document(entry, Source::Store);
            }
            Ok(Ok(None)) => return Landed::Missing,
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer for {LONGEST:?}"),
        };
        if self.store_rest.begin(REST) {
            tracing::warn!(reason, "the store doesn't answer; asking the table and the database");
        }
        FAILED
    }
}

/// Reads a blob; from a folder in a thread where that may take its time.
async fn in_background(store: &Arc<Store>, blob: String) -> Result<Option<Vec<u8>>, StoreError> {
    if !matches!(**store, Store::Directory(_)) {
        return store.read(&blob).await;
    }
    let (store, handle) = (Arc::clone(store), tokio::runtime::Handle::current());
    let read = tokio::task::spawn_blocking(move || handle.block_on(store.read(&blob)));
    // A thread that panicked has told so itself.
    read.await.unwrap_or(Ok(None))
}
