//! `head.json`: the one record of a store that changes.
//!
//! It says which release is *desired* (committed) and which is *active* (every stable path shows it). It is replaced
//! by compare-and-swap only, and `seq` grows with every write, so that its bytes never repeat: a swap that expects
//! old bytes can't succeed by accident after the data has come back to what it was.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::id::ReleaseId;
use crate::error::Error;
use crate::store::{HeadObject, Store, StoreError, Swap, Version};

/// The version of every control object that this tintype writes.
pub const FORMAT: u32 = 1;

/// How often a swap is tried again on a head that others change at the same time.
const SWAP_ATTEMPTS: usize = 16;
/// How many swaps without an answer, each made void before the next, a change is worth.
const VOID_ATTEMPTS: usize = 2;
/// How much longer than its own time a lease is left alone: clocks tick in seconds and renewals take their time.
const LEASE_GRACE: Duration = Duration::from_secs(30);

/// The record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// See [`FORMAT`].
    pub format: u32,
    /// Grows by one with every write.
    pub seq: u64,
    /// The committed release.
    pub desired: Option<ReleaseId>,
    /// The release that every stable path shows.
    pub active: Option<ReleaseId>,
    /// The release up to which the edge was purged.
    pub purged: Option<ReleaseId>,
    /// The oldest release whose blobs are kept.
    pub floor: Option<ReleaseId>,
    /// When each template was last read whole, changed or not.
    #[serde(default)]
    pub checked: BTreeMap<String, Checked>,
    /// The templates whose last run failed.
    #[serde(default)]
    pub failed: BTreeMap<String, Failed>,
    /// Keys that a rollback holds.
    #[serde(default)]
    pub hold: Vec<String>,
    /// Since which release a late request may have changed a path.
    pub suspect: Option<ReleaseId>,
    /// Grows with every lease.
    #[serde(default)]
    pub epoch: u64,
    /// Who is committing and activating.
    pub lease: Option<Lease>,
}

/// The last complete read of a template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// The instant whose data it saw.
    pub as_of: DateTime<Utc>,
    /// When the run came to its end.
    pub at: DateTime<Utc>,
}

/// The last failure of a template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// When.
    pub at: DateTime<Utc>,
    /// Why.
    pub reason: String,
}

/// Who is committing and activating.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Host, process and run.
    pub holder: String,
    /// The number of the lease.
    pub epoch: u64,
    /// Seconds after which it expires where nothing else frees it.
    pub ttl_seconds: u64,
    /// Since when.
    pub taken_at: DateTime<Utc>,
}

impl Default for Head {
    fn default() -> Head {
        Head {
            format: FORMAT,
            seq: 0,
            desired: None,
            active: None,
            purged: None,
            floor: None,
            checked: BTreeMap::new(),
            failed: BTreeMap::new(),
            epoch: 0,
            hold: Vec::new(),
            suspect: None,
            lease: None,
        }
    }
}

/// A head as it was read: what it says, and what a swap expects.
#[derive(Debug, Clone)]
pub struct HeadRead {
    /// What it says; the default before the first release.
    pub head: Head,
    bytes: Option<Vec<u8>>,
    version: Option<Version>,
    /// How long ago it was written, where the store can tell.
    age: Option<Duration>,
}

/// What became of a swap, once that is known.
enum Swapped {
    /// The head is what it was to be.
    Done(HeadRead),
    /// Somebody else's came first.
    Refused,
    /// It was lost and made void; this is the head that did it.
    Void(HeadRead, StoreError),
}

impl HeadRead {
    /// Reads the head.
    pub async fn read(store: &Store) -> Result<HeadRead, Error> {
        let Some(HeadObject { bytes, version, age }) = store.read_head().await? else {
            return Ok(HeadRead { head: Head::default(), bytes: None, version: None, age: None });
        };
        Ok(HeadRead { head: parse("head.json", &bytes)?, bytes: Some(bytes), version: Some(version), age })
    }

    /// The lease of another holder that hasn't expired, and its age. A store with a lock has none: there the lock tells.
    pub fn lease_of_another(&self, holder: &str) -> Option<(&Lease, Duration)> {
        let (lease, age) = (self.head.lease.as_ref()?, self.age?);
        let is_fresh = age <= Duration::from_secs(lease.ttl_seconds) + LEASE_GRACE;
        (is_fresh && lease.holder != holder).then_some((lease, age))
    }

    /// Writes `next` if the head is still what was read; `None` if it has changed meanwhile. An error means that nothing
    /// was written, and that nothing will be, unless it says that this is unknown.
    pub async fn swap(&self, store: &Store, next: Head) -> Result<Option<HeadRead>, Error> {
        let mut read = self.clone();
        for attempt in 1.. {
            match read.attempt(store, next.clone()).await? {
                Swapped::Done(swapped) => return Ok(Some(swapped)),
                Swapped::Refused => return Ok(None),
                Swapped::Void(_, error) if attempt == VOID_ATTEMPTS => return Err(void(error)),
                // The head says what it said, under another number: a swap from here is another one.
                Swapped::Void(anew, _) => read = anew,
            }
        }
        Ok(None)
    }

    /// Changes the head whatever others do to it meanwhile, by applying the change to the newest one.
    pub async fn update(mut self, store: &Store, change: impl Fn(&mut Head)) -> Result<HeadRead, Error> {
        let mut voids = 0;
        for _ in 0..SWAP_ATTEMPTS {
            let mut next = self.head.clone();
            change(&mut next);
            match self.attempt(store, next).await? {
                Swapped::Done(swapped) => return Ok(swapped),
                Swapped::Refused => self = HeadRead::read(store).await?,
                Swapped::Void(_, error) if voids + 1 == VOID_ATTEMPTS => return Err(void(error)),
                Swapped::Void(read, _) => {
                    voids += 1;
                    self = read;
                }
            }
        }
        Err(Error::Corrupt {
            object: "head.json".to_owned(),
            reason: format!("was changed by others {SWAP_ATTEMPTS} times in a row"),
        })
    }

    async fn attempt(&self, store: &Store, mut next: Head) -> Result<Swapped, Error> {
        next.seq = self.head.seq + 1;
        let bytes = text(&next)?;
        match store.swap_head(self.version.as_ref(), bytes.clone()).await? {
            Swap::Swapped(version) => {
                let read = HeadRead { head: next, bytes: Some(bytes), version: Some(version), age: None };
                Ok(Swapped::Done(read))
            }
            Swap::Refused => Ok(Swapped::Refused),
            Swap::Unanswered(error) => self.recover(store, &next, &bytes, error).await,
        }
    }

    /// Finds out what became of a swap that got no answer.
    ///
    /// It isn't sent again: the first one may still be on its way, and a store carries out what it gets. If the head is
    /// still the old one, the old content is written under the next number, after which the expectation of a late copy
    /// no longer holds.
    async fn recover(&self, store: &Store, next: &Head, bytes: &[u8], error: StoreError) -> Result<Swapped, Error> {
        tracing::warn!(error = error.reason, "no answer to the swap of head.json; reading it back");
        let read = HeadRead::read(store).await.map_err(|later| unknown(&error, &later.to_string()))?;
        if read.bytes != self.bytes {
            return Ok(self.landed(read, next, bytes));
        }
        let old = Head { seq: self.head.seq + 1, ..self.head.clone() };
        let voiding = text(&old)?;
        let swapped = store.swap_head(self.version.as_ref(), voiding.clone()).await;
        match swapped.map_err(|later| unknown(&error, &later.to_string()))? {
            Swap::Swapped(version) => {
                let read = HeadRead { head: old, bytes: Some(voiding), version: Some(version), age: None };
                Ok(Swapped::Void(read, error))
            }
            Swap::Refused => {
                // It landed after all, or somebody else's did.
                let read = HeadRead::read(store).await.map_err(|later| unknown(&error, &later.to_string()))?;
                Ok(self.landed(read, next, bytes))
            }
            Swap::Unanswered(later) => Err(unknown(&error, &later.to_string())),
        }
    }

    /// Whether the swap landed, from a head that is no longer the old one. Others may have written over it since, and
    /// then a committed release is still known by its name.
    fn landed(&self, read: HeadRead, next: &Head, bytes: &[u8]) -> Swapped {
        let is_ours = read.bytes.as_deref() == Some(bytes);
        let is_committed = next.desired != self.head.desired && read.head.desired == next.desired;
        if is_ours || is_committed { Swapped::Done(read) } else { Swapped::Refused }
    }
}

fn text(head: &Head) -> Result<Vec<u8>, Error> {
    let mut bytes = serde_json::to_vec_pretty(head)
        .map_err(|error| Error::Corrupt { object: "head.json".to_owned(), reason: error.to_string() })?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn void(error: StoreError) -> Error {
    let reason = format!("{}; read back it was as before, so nothing was committed", error.reason);
    Error::Store(StoreError { reason, ..error })
}

fn unknown(error: &StoreError, later: &str) -> Error {
    Error::Store(StoreError {
        action: "tell what became of",
        object: error.object.clone(),
        reason: format!("{}, and looking into it failed as well: {later}", error.reason),
        hint: Some(
            "it is unknown whether the release is committed; when the store answers again, `tintype status` shows it, \
             and the next publish goes on from what it finds"
                .to_owned(),
        ),
        is_general: true,
    })
}

/// Reads a control object; a newer format is refused by number before anything else in it is looked at.
pub fn parse<T: serde::de::DeserializeOwned>(object: &str, bytes: &[u8]) -> Result<T, Error> {
    #[derive(Deserialize)]
    struct Version {
        format: u32,
    }
    let corrupt = |reason: String| Error::Corrupt { object: object.to_owned(), reason };
    let version: Version = serde_json::from_slice(bytes).map_err(|error| corrupt(format!("can't be read: {error}")))?;
    if version.format > FORMAT {
        return Err(corrupt(format!("has format {}, and this tintype knows formats up to {FORMAT}", version.format)));
    }
    serde_json::from_slice(bytes).map_err(|error| corrupt(format!("can't be read: {error}")))
}
