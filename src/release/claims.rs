//! Reading and writing what the head remembers of schedules.
//!
//! A write of the head makes it young, and with it a lease that is in it: after one whose holder is dead, others would
//! wait for ever if schedules wrote often enough. So nothing is written over the fresh lease of another; whoever wants
//! to, comes back when it is free or has run out, and then leaves the dead one's lease out. The lease of a living process
//! of our own may be written over, because that one renews it itself.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::clock;
use super::head::claim::Claim;
use super::head::{HeadRead, Lease};
use super::id::RunId;
use crate::error::Error;
use crate::store::{Store, probe};

/// How often a write is tried on a head that others change at the same time.
const ATTEMPTS: u32 = 16;
/// The wait before another try; it grows by itself with each.
const PAUSE: Duration = Duration::from_millis(20);

/// After which time the claim of a schedule without a file counts as forgotten.
const FORGOTTEN: TimeDelta = TimeDelta::days(400);

/// The claims of all schedules, by their names.
pub type Claims = BTreeMap<String, Claim>;

/// What was found, or came of a write.
#[derive(Debug, Clone)]
pub enum Written {
    /// The claims as they are now, changed or not.
    Done(Claims),
    /// Another publisher holds the lease; nothing was written.
    Leased {
        /// Who.
        holder: String,
        /// The claims as they are.
        claims: Claims,
    },
}

impl Written {
    /// The claims as they are.
    pub fn claims(&self) -> &Claims {
        match self {
            Written::Done(claims) | Written::Leased { claims, .. } => claims,
        }
    }
}

/// Reads the claims, and whether somebody holds the lease.
pub async fn read(store: &Store) -> Result<Written, Error> {
    let read = HeadRead::read(store).await?;
    let holder = read.lease_of_another("").map(|(lease, _)| lease.holder.clone());
    let claims = read.head.schedules;
    Ok(match holder {
        Some(holder) => Written::Leased { holder, claims },
        None => Written::Done(claims),
    })
}

/// Leaves out what nobody will ask for: claims that ended long ago, of schedules that have no file here. Another machine
/// may have one, which is due once a year; so long is not long ago.
pub fn tidy(claims: &mut Claims, known: &BTreeSet<String>, now: DateTime<Utc>) {
    claims.retain(|name, claim| known.contains(name) || claim.is_open() || now - claim.renewed_at < FORGOTTEN);
}

/// Changes the claims, on whatever the head says by then; where the change says no, nothing is written. `is_ours` tells
/// the leases of living processes that this one has started.
pub async fn write(
    store: &Store,
    run: &RunId,
    is_ours: impl Fn(&Lease) -> bool,
    mut change: impl FnMut(&mut Claims) -> bool,
) -> Result<Written, Error> {
    let mut read = HeadRead::read(store).await?;
    for attempt in 1..=ATTEMPTS {
        let lease = read.lease_of_another("").map(|(lease, _)| lease.clone());
        let mut next = read.head.clone();
        if !change(&mut next.schedules) {
            return Ok(Written::Done(read.head.schedules));
        }
        match lease {
            Some(lease) if !is_ours(&lease) => {
                return Ok(Written::Leased { holder: lease.holder, claims: read.head.schedules });
            }
            // Where leases run out, this one has.
            None if store.delivers_late() && next.lease.take().is_some() => {
                next.doubt(read.head.active.clone(), clock::now());
            }
            _ => {}
        }
        if read.head.seq == 0 {
            // The first write of all must not be the one that finds out that conditions are ignored.
            probe::require_conditions(store, run.as_str()).await?;
        }
        if let Some(swapped) = read.swap(store, next).await? {
            return Ok(Written::Done(swapped.head.schedules));
        }
        tokio::time::sleep(PAUSE * attempt).await;
        read = HeadRead::read(store).await?;
    }
    Err(Error::Busy { times: ATTEMPTS as usize, left: "nothing was written" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_forgotten_is_left_out() {
        let now: DateTime<Utc> = "2026-06-01T00:00:00Z".parse().unwrap();
        let claim = |days, is_ended: bool| -> Claim {
            let at = (now - TimeDelta::days(days)).to_rfc3339();
            let owner = serde_json::json!({ "host": "a", "place": "b", "process": 7, "run": "c" });
            let ended = is_ended.then_some(&at);
            let json =
                serde_json::json!({ "due": at, "began_at": at, "renewed_at": at, "ended_at": ended, "by": owner });
            serde_json::from_value(json).unwrap()
        };
        let all = [("kept", 900, true), ("open", 900, false), ("yearly", 366, true), ("renamed", 401, true)];
        let mut claims: Claims =
            all.into_iter().map(|(name, days, is_ended)| (name.to_owned(), claim(days, is_ended))).collect();
        tidy(&mut claims, &BTreeSet::from(["kept".to_owned()]), now);
        assert_eq!(claims.keys().collect::<Vec<_>>(), ["kept", "open", "yearly"]);
    }
}
