//! `head.json`: the one record of a store that changes.
//!
//! It says which release is *desired* (committed) and which is *active* (every stable path shows it). It is replaced
//! by compare-and-swap only, and `seq` grows with every write, so that its bytes never repeat: a swap that expects
//! old bytes can't succeed by accident after the data has come back to what it was.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use claim::Claim;
use serde::{Deserialize, Serialize};

use super::broken::{Safeguard, is_out};
use super::id::ReleaseId;
use super::lease::Moment;
use super::refresh::Refreshed;
use crate::error::Error;
use crate::store::{HeadObject, Store, Version};

pub mod claim;
mod swap;

/// The version of every control object that this tintype writes.
pub const FORMAT: u32 = 1;

/// A request is signed for fifteen minutes from its sender's clock on, which may itself be up to fifteen minutes ahead of
/// the store's (`RequestTimeTooSkewed`).
/// <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-authenticating-requests.html>
const LATEST_DELIVERY: Duration = Duration::from_mins(30);

/// How much longer than its own time a lease is left alone: clocks tick in seconds and renewals take their time.
const LEASE_GRACE: Duration = Duration::from_secs(30);

/// The record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// See [`FORMAT`].
    pub format: u32,
    /// Grows by one with every write.
    pub seq: u64,
    /// Where the documents lie that it is about, on a bucket; two sites with one head would each show half of the truth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// The committed release.
    pub desired: Option<ReleaseId>,
    /// The release that every stable path shows.
    pub active: Option<ReleaseId>,
    /// The release up to which the edges were told.
    pub purged: Option<ReleaseId>,
    /// Whose edges those are: [`Cdn::identity`](crate::cdn::Cdn::identity).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cdn: Option<String>,
    /// Paths that they are to be told besides, because they showed something else than a release said.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub mended: BTreeSet<Arc<str>>,
    /// How far the purge got that was cut off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sending: Option<Sending>,
    /// Grows whenever something that they may have been told becomes owed again.
    #[serde(default)]
    pub debts: u64,
    /// The oldest release whose blobs are kept.
    pub floor: Option<ReleaseId>,
    /// When each template was last read whole, changed or not.
    #[serde(default)]
    pub checked: BTreeMap<String, Checked>,
    /// The templates whose last run failed, or was refused by a guard.
    #[serde(default)]
    pub failed: BTreeMap<String, Failed>,
    /// What each schedule last ran, by the schedule's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub schedules: BTreeMap<String, Claim>,
    /// What a request that was sent and never answered may still change.
    #[serde(default)]
    pub suspect: Option<Suspect>,
    /// Grows with every lease.
    #[serde(default)]
    pub epoch: u64,
    /// Who is committing and activating.
    pub lease: Option<Lease>,
}

/// A purge that was cut off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sending {
    /// Names what it did, and for which debt.
    pub plan: String,
    /// So many requests of it were carried out, from the first on.
    pub requests: usize,
}

/// A doubt about stable paths: a request of theirs got no answer, or its sender was taken for dead, and the network may
/// deliver it yet, over what a later release has put there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspect {
    /// The paths that releases after this one changed are in doubt; all of them if there is none.
    pub since: Option<ReleaseId>,
    /// No such request is accepted any more after this instant, so that a look at the paths settles it.
    pub not_before: DateTime<Utc>,
}

/// The last complete read of a template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// The instant whose data it saw.
    pub as_of: DateTime<Utc>,
    /// When the run came to its end.
    pub at: DateTime<Utc>,
    /// When a later run last found the refresh query's answer unchanged, which moves no instant of the data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub looked_at: Option<DateTime<Utc>>,
    /// What the refresh query answered in the same transaction, if it may stand in for another read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh: Option<Refreshed>,
}

/// The last failure of a template, or refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// When.
    pub at: DateTime<Utc>,
    /// The instant whose data the run saw, if it came so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_of: Option<DateTime<Utc>>,
    /// Why.
    pub reason: String,
    /// The release in which its rows are staged, if a guard refused them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub staged: Option<ReleaseId>,
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

impl Head {
    /// Notes that requests which were sent while `active` was the active release may be delivered yet. An older doubt
    /// goes on, for as long as the newer one.
    pub fn doubt(&mut self, active: Option<ReleaseId>, now: DateTime<Utc>) {
        if is_out(Safeguard::Doubt) {
            return;
        }
        let since = match self.suspect.take() {
            Some(older) => older.since.min(active),
            None => active,
        };
        self.suspect = Some(Suspect { since, not_before: now + LATEST_DELIVERY });
    }
}

impl Default for Head {
    fn default() -> Head {
        Head {
            format: FORMAT,
            seq: 0,
            site: None,
            desired: None,
            active: None,
            purged: None,
            cdn: None,
            mended: BTreeSet::new(),
            sending: None,
            debts: 0,
            floor: None,
            checked: BTreeMap::new(),
            failed: BTreeMap::new(),
            schedules: BTreeMap::new(),
            epoch: 0,
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
    /// When this run was about to write it; none if another did, as far as is known.
    written: Option<Moment>,
}

impl HeadRead {
    /// Reads the head.
    pub async fn read(store: &Store) -> Result<HeadRead, Error> {
        let Some(HeadObject { bytes, version, age }) = store.read_head().await? else {
            return Ok(HeadRead { head: Head::default(), bytes: None, version: None, age: None, written: None });
        };
        let head: Head = parse("head.json", &bytes)?;
        if let (Some(site), Some(public)) = (&head.site, store.site())
            && *site != public
        {
            let (_, control) = store.places();
            return Err(Error::usage(
                format!(
                    "the records in {control} belong to the documents under `{site}`, and [store] url names `{public}`"
                ),
                "every site needs records of its own: leave [store] control out, or name another prefix",
            ));
        }
        Ok(HeadRead { head, bytes: Some(bytes), version: Some(version), age, written: None })
    }

    /// When this run was about to write it, if it did.
    pub fn written(&self) -> Option<Moment> {
        self.written
    }

    /// The lease of another holder that hasn't expired, and its age. A store with a lock has none: there the lock tells.
    pub fn lease_of_another(&self, holder: &str) -> Option<(&Lease, Duration)> {
        let (lease, age) = (self.head.lease.as_ref()?, self.age?);
        let is_fresh = age <= Duration::from_secs(lease.ttl_seconds) + LEASE_GRACE;
        (is_fresh && lease.holder != holder).then_some((lease, age))
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
