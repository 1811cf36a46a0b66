//! A publisher's turn: the lock of a directory, the lease of a bucket, and how long they are waited for.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use tokio::time::Instant;

use super::base::Base;
use super::clock;
use super::head::{Head, Lease};
use super::lease::Tenure;
use super::progress::Progress;
use super::publish::Job;
use crate::error::Error;
use crate::store::{Lock, Store};

/// How often a publisher that waits for a lease looks again.
const LEASE_POLL: Duration = Duration::from_secs(1);
/// How many changes of the head a run loses to others before it gives up, if its time is over as well.
const ATTEMPTS: u32 = 8;
/// The first wait after a lost one is up to this; it doubles.
const PAUSE: Duration = Duration::from_millis(50);
/// The longest such wait.
const PAUSE_CAP: Duration = Duration::from_secs(1);

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
    pub async fn take(
        job: &Job,
        store: &'a Store,
        mut base: Base,
        force: bool,
        progress: &Progress,
    ) -> Result<Turn<'a>, Error> {
        let deadline = Instant::now() + job.lease_wait;
        let lock = lock(job, store, progress).await?;
        base = base.read_again(store).await?;
        let mut contest = Contest::new(job);
        loop {
            if !force {
                base = await_lease(job, store, base, deadline, progress).await?;
            }
            let next = leased(store, &base, job);
            let lease = next.lease.clone();
            if let (Some(head), Some(lease)) = (base.read.swap(store, next).await?, lease) {
                base.read = head.clone();
                return Ok(Turn { base, tenure: Tenure::new(store, &lease, head)?, _lock: lock });
            }
            contest.lost().await?;
            base = base.read_again(store).await?;
        }
    }
}

impl Turn<'_> {
    /// Lets the next publisher have its turn; the lease has been given back by whoever used it.
    pub fn end(self) -> Base {
        self.base
    }
}

/// Changes of the head that a run loses to others. Each time somebody got on, so that all of them come to an end; but a
/// run must neither give up after a few, where a dozen end at the same time, nor go on for ever.
pub struct Contest<'a> {
    job: &'a Job,
    began: Instant,
    lost: u32,
}

impl<'a> Contest<'a> {
    /// None lost yet.
    pub fn new(job: &'a Job) -> Contest<'a> {
        Contest { job, began: Instant::now(), lost: 0 }
    }

    /// Notes one, and waits a moment; an error if there is no use in another try.
    pub async fn lost(&mut self) -> Result<(), Error> {
        self.lost += 1;
        if self.lost >= ATTEMPTS && self.began.elapsed() >= self.job.lease_wait {
            let holder = "several others, one after the other".to_owned();
            return Err(Error::Locked { holder, age: self.began.elapsed() });
        }
        tokio::time::sleep(self.pause()).await;
        Ok(())
    }

    /// Those who lost to the same commit mustn't come back together, so that each takes a part of the wait that goes by
    /// its own name.
    fn pause(&self) -> Duration {
        let most = (PAUSE * 2_u32.saturating_pow(self.lost.min(16))).min(PAUSE_CAP);
        let mut hasher = DefaultHasher::new();
        (self.job.run.as_str(), self.lost).hash(&mut hasher);
        let part = u32::try_from(hasher.finish() % 1000).unwrap_or_default();
        most * part / 1000
    }
}

/// Waits for the lock of a directory; a bucket has none.
pub async fn lock(job: &Job, store: &Store, progress: &Progress) -> Result<Lock, Error> {
    let holder = |age| store.locked_by().unwrap_or_else(|| ("a process that has just begun".to_owned(), age));
    let mut waits = [Duration::ZERO, job.lease_wait].into_iter();
    while let Some(wait) = waits.next() {
        let locked = store.lock(wait, &job.holder).await;
        progress.wait_for(None);
        if let Some(lock) = locked? {
            return Ok(lock);
        }
        if waits.len() > 0 {
            say_waiting(&holder(wait).0, job, progress);
        }
    }
    let (holder, age) = holder(job.lease_wait);
    Err(Error::Locked { holder, age })
}

/// Says whom a run waits for: to wait is right, and whoever looks on wants to know what for.
fn say_waiting(holder: &str, job: &Job, progress: &Progress) {
    if !job.lease_wait.is_zero() && progress.wait_for(Some(holder)) {
        let most = humantime::format_duration(job.lease_wait);
        tracing::info!(holder, %most, "another publisher is committing; waiting for it");
    }
}

/// Waits until no other publisher holds the lease; returns the state as it is then.
pub async fn await_lease(
    job: &Job,
    store: &Store,
    mut base: Base,
    deadline: Instant,
    progress: &Progress,
) -> Result<Base, Error> {
    // What was read before the build may say of a lease that is long over.
    let mut is_current = false;
    while let Some((lease, age)) = base.read.lease_of_another(&job.holder) {
        if is_current {
            if Instant::now() >= deadline {
                progress.wait_for(None);
                return Err(Error::Locked { holder: lease.holder.clone(), age });
            }
            say_waiting(&lease.holder, job, progress);
            let left = deadline.saturating_duration_since(Instant::now());
            tokio::time::sleep(LEASE_POLL.min(left)).await;
        }
        base = base.read_again(store).await?;
        is_current = true;
    }
    progress.wait_for(None);
    Ok(base)
}

/// The head without the lease of one that is dead, whose requests may still be on their way: a swap for another reason
/// would make that lease look young again.
pub fn without_dead_lease(store: &Store, base: &Base) -> Head {
    let mut next = base.head().clone();
    if next.lease.take().is_some() && store.delivers_late() {
        next.doubt(base.head().active.clone(), clock::now());
    }
    next
}

/// The head with the lease taken by this run. Where another held it until now, requests of that one may still be on
/// their way.
pub fn leased(store: &Store, base: &Base, job: &Job) -> Head {
    let mut next = base.head().clone();
    if store.delivers_late() && next.lease.as_ref().is_some_and(|lease| lease.holder != job.holder) {
        next.doubt(base.head().active.clone(), clock::now());
    }
    next.epoch += 1;
    next.lease = Some(Lease {
        holder: job.holder.clone(),
        epoch: next.epoch,
        ttl_seconds: job.lease_ttl.as_secs(),
        taken_at: clock::now(),
    });
    next
}
