//! `head.json`: the one record of a store that changes.
//!
//! It says which release is *desired* (committed) and which is *active* (every stable path shows it). It is replaced
//! by compare-and-swap only, and `seq` grows with every write, so that its bytes never repeat: a swap that expects
//! old bytes can't succeed by accident after the data has come back to what it was.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::id::ReleaseId;
use crate::error::Error;
use crate::store::Store;

/// The version of every control object that this tintype writes.
pub const FORMAT: u32 = 1;

/// How often a swap is tried again on a head that others change at the same time.
const SWAP_ATTEMPTS: usize = 16;

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

/// A head as it was read: what it says, and the bytes that a swap expects.
#[derive(Debug, Clone)]
pub struct HeadRead {
    /// What it says; the default before the first release.
    pub head: Head,
    bytes: Option<Vec<u8>>,
}

impl HeadRead {
    /// Reads the head.
    pub async fn read(store: &Store) -> Result<HeadRead, Error> {
        let bytes = store.read_head().await?;
        let head = match &bytes {
            Some(bytes) => parse("head.json", bytes)?,
            None => Head::default(),
        };
        Ok(HeadRead { head, bytes })
    }

    /// Writes `next` if the head is still what was read; `None` if it has changed meanwhile.
    pub async fn swap(&self, store: &Store, mut next: Head) -> Result<Option<HeadRead>, Error> {
        next.seq = self.head.seq + 1;
        let mut bytes = serde_json::to_vec_pretty(&next)
            .map_err(|error| Error::Corrupt { object: "head.json".to_owned(), reason: error.to_string() })?;
        bytes.push(b'\n');
        let swapped = store.swap_head(self.bytes.as_deref(), &bytes).await?;
        Ok(swapped.then_some(HeadRead { head: next, bytes: Some(bytes) }))
    }

    /// Changes the head whatever others do to it meanwhile, by applying the change to the newest one.
    pub async fn update(mut self, store: &Store, change: impl Fn(&mut Head)) -> Result<HeadRead, Error> {
        for _ in 0..SWAP_ATTEMPTS {
            let mut next = self.head.clone();
            change(&mut next);
            match self.swap(store, next).await? {
                Some(swapped) => return Ok(swapped),
                None => self = HeadRead::read(store).await?,
            }
        }
        Err(Error::Corrupt {
            object: "head.json".to_owned(),
            reason: format!("was changed by others {SWAP_ATTEMPTS} times in a row"),
        })
    }
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
