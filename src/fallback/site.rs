//! What is published right now: the active release with its rows, read again whenever the head names another.
//!
//! The documents of a release are known by their blobs, which never change and are never removed while the release is the
//! active one. So one of them can be answered without asking whether the stable path shows it already.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use hyper::header::HeaderValue;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::memory::short;
use crate::release::head::HeadRead;
use crate::release::manifest::Manifest;
use crate::release::{Row, document_of};
use crate::snapshot::Digest;
use crate::store::{Attributes, Store};

/// Longest wait for the head and for a release.
const LONGEST_READ: Duration = Duration::from_mins(1);
/// How long after its start the first readers wait for the first look: a store that hangs would cost each of them his time.
const FIRST_LOOK: Duration = Duration::from_secs(1);
/// How long after its start it isn't ready without that look: the release of a large site is worth waiting for, and a store
/// that hangs isn't.
const READY_WITHOUT: Duration = Duration::from_secs(10);

/// A release as it is served.
#[derive(Debug)]
pub struct Site {
    /// Grows by one with every release that this process gets to see; the first is 1.
    pub number: u64,
    /// The release.
    pub manifest: Arc<Manifest>,
}

impl Site {
    /// The serial of the release.
    pub fn serial(&self) -> u64 {
        self.manifest.root.id.serial
    }

    /// The document of a path, and what it is shown with.
    pub fn document(&self, path: &str) -> Option<(Arc<Row>, Attributes)> {
        let (row, attributes) = document_of(&self.manifest, path)?;
        Some((Arc::clone(row), attributes))
    }

    /// The digest of what a path shows.
    pub fn digest(&self, path: &str) -> Option<Digest> {
        self.manifest.row(path)?.digest()
    }

    /// Says whether a path shows these bytes under what is made of this `Cache-Control`.
    pub fn shows(&self, path: &str, digest: &Digest, cache_control: &HeaderValue) -> bool {
        document_of(&self.manifest, path).is_some_and(|(row, attributes)| {
            row.digest() == Some(*digest) && short(&attributes.cache_control).as_bytes() == cache_control.as_bytes()
        })
    }
}

/// Follows the head of a store.
#[derive(Debug)]
pub struct Followed {
    site: ArcSwapOption<Site>,
    /// Whether the last look at the store succeeded; none before the first.
    health: watch::Sender<Option<bool>>,
    began: Instant,
}

impl Default for Followed {
    fn default() -> Followed {
        Followed { site: ArcSwapOption::empty(), health: watch::Sender::new(None), began: Instant::now() }
    }
}

impl Followed {
    /// The active release; none before one could be read.
    pub fn site(&self) -> Option<Arc<Site>> {
        self.site.load_full()
    }

    /// Whether the last look at the store succeeded; none before the first has ended.
    pub fn is_up(&self) -> Option<bool> {
        *self.health.borrow()
    }

    /// Comes back once the first look at the store has ended, however, or has had its time.
    pub async fn looked(&self) {
        let _ = timeout_at(self.began + FIRST_LOOK, self.health.subscribe().wait_for(Option::is_some)).await;
    }

    /// Whether the first look has ended, or takes so long that it isn't worth waiting for.
    pub fn has_looked(&self) -> bool {
        self.is_up().is_some() || self.began.elapsed() >= READY_WITHOUT
    }

    /// Looks at the head again and again, and reads the release that it names as active.
    pub async fn follow(&self, store: &Store, every: Duration) {
        loop {
            let looked = tokio::time::timeout(LONGEST_READ, self.look(store)).await;
            let reason = match looked {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(_) => Some(format!("no answer for {LONGEST_READ:?}")),
            };
            let was_up = self.health.send_replace(Some(reason.is_none()));
            match (&reason, was_up) {
                (Some(reason), None | Some(true)) => {
                    tracing::warn!(reason, store = store.describe(), "the store can't be read; answering without it");
                }
                (None, Some(false)) => tracing::info!(store = store.describe(), "the store can be read again"),
                _ => {}
            }
            tokio::time::sleep(every).await;
        }
    }

    async fn look(&self, store: &Store) -> Result<(), crate::error::Error> {
        let Some(active) = HeadRead::read(store).await?.head.active else { return Ok(()) };
        let known = self.site();
        if known.as_ref().is_some_and(|site| site.manifest.root.id == active) {
            return Ok(());
        }
        let manifest = Arc::new(Manifest::read(store, &active).await?);
        let number = known.map_or(0, |site| site.number) + 1;
        tracing::info!(release = %active, documents = manifest.count(), "serving release");
        self.site.store(Some(Arc::new(Site { number, manifest })));
        Ok(())
    }
}
