//! A document of the release, from the store.
//!
//! What the release shows is known by its digest, so its blob can be read without asking what the stable path shows, and
//! what was read is known to be right. What failed is left alone for a while (`silence`), so that readers don't wait for
//! it one after the other.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout, timeout_at};

use super::super::Fallback;
use super::super::figures::Shed;
use super::super::memory::{Entry, Kept};
use super::super::silence::{Said, Turn};
use super::super::site::Site;
use super::{COME_BACK, Landed, Source};
use crate::release::Row;
use crate::release::manifest::Root;
use crate::snapshot::unpacked;
use crate::store::{Attributes, Store, StoreError};

/// Longest wait for the store, and for a turn to ask it.
pub const LONGEST: Duration = Duration::from_secs(1);
/// How often the log is told of a document that can't be had, or is damaged.
const TOLD: Duration = Duration::from_secs(10);
/// It may well have it, when fewer ask.
const CROWDED: Landed = Landed::Failed { retry_after: COME_BACK, why: Shed::Busy };
const FAILED: Landed = Landed::Failed { retry_after: COME_BACK, why: Shed::Store };

/// Why a blob wasn't read.
enum Broken {
    /// It is being read since an earlier time, and nobody waits for that any more.
    AtWork,
    Failed(StoreError),
}

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
        let is_kept = !matches!(self.memory.get(path, site.map(AsRef::as_ref)), Kept::Nothing);
        if let Some(gzip) = row.digest().and_then(|digest| self.bodies.find(&digest)).filter(|_| !is_kept) {
            // The memory has no room for it, and it is being sent to somebody.
            return self.shown(row, gzip, attributes, site, Source::Memory);
        }
        match self.silence.turn(path) {
            Turn::Ask => {}
            Turn::Leave => return FAILED,
            Turn::Probe => {
                let (fallback, row) = (Arc::clone(self), Arc::clone(row));
                // The database may answer this one long before the store does.
                tokio::spawn(async move { fallback.probe_store(&row).await });
                return FAILED;
            }
        }
        let fetch = |()| {
            let (fallback, row) = (Arc::clone(self), Arc::clone(row));
            let (attributes, site) = (attributes.clone(), site.cloned());
            async move { fallback.read_blob(&row, &attributes, site.as_ref()).await }
        };
        let anyone = || Ok::<_, std::convert::Infallible>(());
        match self.reads.join(path, anyone, fetch).await {
            Ok(landed) => landed.unwrap_or(FAILED),
            Err(never) => match never {},
        }
    }

    async fn read_blob(self: &Arc<Self>, row: &Row, attributes: &Attributes, site: Option<&Arc<Site>>) -> Landed {
        let (path, Some(digest), Some(blob)) = (&*row.path, row.digest(), row.blob()) else { return Landed::Missing };
        let until = Instant::now() + LONGEST;
        // So many bodies are on their way at most.
        let Ok(Ok(turn)) = timeout_at(until, Arc::clone(&self.store_turns).acquire_owned()).await else {
            // Those who have a turn find out how the store is. That there are many of them says nothing of it.
            return CROWDED;
        };
        if self.silence.is_in_doubt_or_away() {
            return FAILED;
        }
        // The store has its time whatever the wait for a turn was.
        match timeout(LONGEST, self.blob(path, blob, turn)).await {
            Ok(Ok(Some(gzip))) => {
                self.store_gave(path);
                if let Err(reason) = unpacked(&gzip, Some(&digest)) {
                    self.tell_damaged(path, &reason);
                    return Landed::Missing;
                }
                let gzip = self.bodies.hold(digest, gzip.into());
                self.shown(row, gzip, attributes, site, Source::Store)
            }
            Ok(Ok(None)) => {
                self.store_gave(path);
                Landed::Missing
            }
            Ok(Err(Broken::AtWork)) => FAILED,
            Ok(Err(Broken::Failed(error))) => self.silent(path, &error.to_string(), error.is_general, site),
            Err(_) => self.silent(path, &no_answer(), false, site),
        }
    }

    /// Keeps the body of what the release shows.
    fn shown(
        &self,
        row: &Row,
        gzip: Bytes,
        attributes: &Attributes,
        site: Option<&Arc<Site>>,
        source: Source,
    ) -> Landed {
        let Some(digest) = row.digest() else { return Landed::Missing };
        let entry = Arc::new(Entry::new(gzip, digest, attributes, None, site.map(AsRef::as_ref)));
        self.memory.put(&row.path, &entry);
        Landed::Document(entry, source)
    }

    /// Reads a blob. What a folder is asked for holds its turn for as long as the folder holds the thread.
    async fn blob(&self, path: &str, blob: String, turn: OwnedSemaphorePermit) -> Result<Option<Vec<u8>>, Broken> {
        let at_work = self.silence.begin(path).ok_or(Broken::AtWork)?;
        let ask = |store: Arc<Store>| async move {
            let _held = (turn, at_work);
            store.read(&blob).await
        };
        // A thread that panicked has told so itself.
        self.aside.ask(&self.store, ask).await.unwrap_or(Ok(None)).map_err(Broken::Failed)
    }

    /// Tries whether a store that was away gives a document again.
    async fn probe_store(&self, row: &Row) {
        let Some(blob) = row.blob() else { return };
        // Without a turn all of them hang.
        let Ok(turn) = Arc::clone(&self.store_turns).try_acquire_owned() else { return };
        match timeout(LONGEST, self.blob(&row.path, blob, turn)).await {
            Ok(Ok(_)) => self.store_gave(&row.path),
            Ok(Err(Broken::AtWork)) => {}
            Ok(Err(Broken::Failed(error))) => {
                self.silence.failed(&row.path, &error.to_string(), false);
            }
            Err(_) => {
                self.silence.failed(&row.path, &no_answer(), false);
            }
        }
    }

    /// The same where no reader asks for anything that memory hasn't, on behalf of those who want to know how it is.
    pub(in super::super) async fn look_at_store(&self) {
        let Some(path) = self.silence.to_be_tried() else { return };
        let Some(site) = self.followed.site() else { return };
        // A release may have come without it.
        if let Some((_, row, _)) = site.document(&path).or_else(|| site.document("index.json")) {
            self.probe_store(&row).await;
        }
    }

    fn store_gave(&self, path: &str) {
        if self.silence.gave(path) {
            tracing::info!(path, "the store gives documents again");
        }
    }

    /// Notes that the store failed to give a document, and finds out whether it is there at all.
    fn silent(self: &Arc<Self>, path: &str, reason: &str, is_general: bool, site: Option<&Arc<Site>>) -> Landed {
        // A head that can't be read either leaves no doubt.
        let is_general = is_general || self.followed.is_up() == Some(false);
        match self.silence.failed(path, reason, is_general) {
            Said::Away => tell_away(reason),
            Said::Nothing => {}
            Said::Doubt => {
                if self.told_store.once_in(TOLD) {
                    tracing::warn!(path, reason, "a document can't be read from the store; asking elsewhere for it");
                }
                let (fallback, site, reason) = (Arc::clone(self), site.cloned(), reason.to_owned());
                tokio::spawn(async move {
                    let is_there = fallback.has_release(site.as_deref()).await;
                    if fallback.silence.settle(is_there) {
                        tell_away(&reason);
                    }
                });
            }
        }
        FAILED
    }

    /// Whether the store still gives the record of the release, which it once gave.
    async fn has_release(&self, site: Option<&Site>) -> bool {
        let Some(site) = site else { return false };
        let name = Root::name(&site.manifest.root.id);
        // It holds a thread like a blob does, and there is one for it at most.
        let Some(at_work) = self.silence.begin(&name) else { return false };
        let ask = |store: Arc<Store>| async move {
            let _held = at_work;
            store.read(&name).await.is_ok()
        };
        timeout(LONGEST, self.aside.ask(&self.store, ask)).await.ok().flatten().unwrap_or(false)
    }

    fn tell_damaged(&self, path: &str, reason: &str) {
        let hint = "`tintype verify --deep --repair` mends it";
        let said = "the blob of a document is damaged";
        if self.told_damage.once_in(TOLD) {
            tracing::error!(path, reason, hint, "{said}");
        } else {
            // One line says it for all of this moment.
            tracing::debug!(path, reason, hint, "{said}");
        }
    }
}

fn no_answer() -> String {
    format!("no answer for {LONGEST:?}")
}

fn tell_away(reason: &str) {
    tracing::warn!(reason, "the store doesn't answer; asking the table and the database");
}
