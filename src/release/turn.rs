//! A publisher's turn: the lock of a directory, the lease of a bucket, and how long they are waited for.

use std::time::Duration;

use chrono::Utc;
use tokio::time::Instant;

use super::base::Base;
use super::head::{Head, HeadRead, Lease};
use super::lease::Tenure;
use super::publish::Job;
use crate::error::Error;
use crate::store::{Lock, Store};

/// How often a publisher that waits for a lease looks again.
const LEASE_POLL: Duration = Duration::from_secs(1);
/// How many times the lease is tried for while others change the head.
const ATTEMPTS: usize = 8;

/// The right to change stable paths, taken without a commit: to finish a release, or to mend one.
pub struct Turn<'a> {
    /// The committed state, as it was when the lease was taken.
    pub base: Base,
    /// The lease.
    pub tenure: Tenure<'a>,
    _lock: Lock,
}

impl<'a> Turn<'a> {
    /// Waits for the turn, as long as the job says. With `force` the lease of another counts as expired: its holder is
    /// known to be dead.
    pub async fn take(job: &Job, store: &'a Store, mut base: Base, force: bool) -> Result<Turn<'a>, Error> {
        let deadline = Instant::now() + job.lease_wait;
        let lock = lock(store, job.lease_wait).await?;
        base = base.read_again(store).await?;
        for _ in 0..ATTEMPTS {
            if !force {
                base = await_lease(job, store, base, deadline).await?;
            }
            let next = leased(store, &base, job);
            let lease = next.lease.clone();
            if let (Some(head), Some(lease)) = (base.read.swap(store, next).await?, lease) {
                base.read = head.clone();
                return Ok(Turn { base, tenure: Tenure::new(store, &lease, head)?, _lock: lock });
            }
            base = base.read_again(store).await?;
        }
        Err(Error::Corrupt {
            object: "head.json".to_owned(),
            reason: format!("was changed by others {ATTEMPTS} times in a row; nothing was changed by this run"),
        })
    }
}

/// Waits for the lock of a directory; a bucket has none.
pub async fn lock(store: &Store, wait: Duration) -> Result<Lock, Error> {
    if let Some(lock) = store.lock(wait).await? {
        return Ok(lock);
    }
    let lease = HeadRead::read(store).await?.head.lease;
    let age = lease.as_ref().and_then(|lease| (Utc::now() - lease.taken_at).to_std().ok()).unwrap_or(wait);
    let holder = lease.map_or_else(|| "a process that hasn't committed yet".to_owned(), |lease| lease.holder);
    Err(Error::Locked { holder, age })
}

/// Waits until no other publisher holds the lease; returns the state as it is then.
pub async fn await_lease(job: &Job, store: &Store, mut base: Base, deadline: Instant) -> Result<Base, Error> {
    // What was read before the build may say of a lease that is long over.
    let mut is_current = false;
    while let Some((lease, age)) = base.read.lease_of_another(&job.holder) {
        if is_current {
            if Instant::now() >= deadline {
                return Err(Error::Locked { holder: lease.holder.clone(), age });
            }
            let left = deadline.saturating_duration_since(Instant::now());
            tokio::time::sleep(LEASE_POLL.min(left)).await;
        }
        base = base.read_again(store).await?;
        is_current = true;
    }
    Ok(base)
}

/// The head with the lease taken by this run. Where another held it until now, requests of that one may still be on
/// their way.
pub fn leased(store: &Store, base: &Base, job: &Job) -> Head {
    let mut next = base.head().clone();
    if store.delivers_late() && next.lease.as_ref().is_some_and(|lease| lease.holder != job.holder) {
        next.doubt(base.head().active.clone(), Utc::now());
    }
    next.epoch += 1;
    next.lease = Some(Lease {
        holder: job.holder.clone(),
        epoch: next.epoch,
        ttl_seconds: job.lease_ttl.as_secs(),
        taken_at: Utc::now(),
    });
    next
}
