//! The lease: the right to activate, on a store where nothing else keeps other publishers out.
//!
//! Whoever holds it writes stable paths only as long as its own clocks say that nobody else may have taken it. Others
//! take it over by the store's clock and with time to spare, so that the holder is always the first to know. On a
//! directory a lock does all that, and ends with the process.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::activate::{Activated, Changed, activate};
use super::clock;
use super::head::{Head, HeadRead, Lease};
use super::id::ReleaseId;
use super::manifest::Manifest;
use super::progress::Progress;
use crate::error::Error;
use crate::store::Store;

/// How soon a renewal that failed is tried again.
const RENEW_AGAIN: Duration = Duration::from_secs(2);
/// How often the clocks are looked at while requests are under way.
const LOOK: Duration = Duration::from_millis(500);
/// How long a run that fails tries to free its lease; if it can't, the lease expires.
const FREE: Duration = Duration::from_secs(5);

/// A moment by both clocks: one stands still while the machine sleeps, the other may be set.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    monotonic: Instant,
    wall: SystemTime,
}

impl Moment {
    /// Now.
    pub fn now() -> Moment {
        Moment { monotonic: Instant::now(), wall: SystemTime::now() }
    }

    /// How long ago it was, by the clock that says more.
    fn elapsed(self) -> Duration {
        // A wall clock that was set back says nothing.
        self.monotonic.elapsed().max(self.wall.elapsed().unwrap_or_default())
    }
}

/// A run's hold on the lease.
pub struct Tenure<'a> {
    store: &'a Store,
    lease: Lease,
    ttl: Duration,
    /// The head as this run last wrote it.
    latest: Mutex<HeadRead>,
    /// The release that stable paths showed when the lease was taken.
    active: Option<ReleaseId>,
    /// Changes of stable paths that had gone without an answer by then.
    unanswered: u64,
}

impl<'a> Tenure<'a> {
    /// The hold of the run that wrote this lease, which is checked on the head that came of it: after an answer that was
    /// lost, that may be a later one with the lease of another.
    pub fn new(store: &'a Store, lease: &Lease, head: HeadRead) -> Result<Tenure<'a>, Error> {
        let ttl = Duration::from_secs(lease.ttl_seconds);
        let (active, unanswered) = (head.head.active.clone(), store.unanswered());
        let tenure = Tenure { store, lease: lease.clone(), ttl, latest: Mutex::new(head), active, unanswered };
        tenure.check(&tenure.latest())?;
        Ok(tenure)
    }

    fn latest(&self) -> MutexGuard<'_, HeadRead> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_held(&self, head: &Head) -> bool {
        let Lease { holder, epoch, .. } = &self.lease;
        head.lease.as_ref().is_some_and(|lease| lease.epoch == *epoch && lease.holder == *holder)
    }

    fn check(&self, read: &HeadRead) -> Result<(), Error> {
        if self.is_held(&read.head) {
            return Ok(());
        }
        let holder = read.head.lease.as_ref().map_or("another publisher, which has ended since", |lease| &lease.holder);
        Err(Error::Locked { holder: format!("{holder}, which took this run for dead"), age: Duration::ZERO })
    }

    fn expires(&self) -> bool {
        self.store.delivers_late()
    }

    /// How long ago the lease was taken or renewed.
    fn age(&self) -> Duration {
        self.latest().written().map_or(Duration::MAX, Moment::elapsed)
    }

    fn is_fresh(&self) -> bool {
        !self.expires() || self.age() < self.ttl
    }

    fn until_renewal(&self) -> Duration {
        (self.ttl / 3).saturating_sub(self.age())
    }

    /// Written anew, the head is young again, and nobody takes the lease for a dead one's.
    async fn renew(&self) -> Result<(), Error> {
        self.note(|_| {}).await
    }

    /// Notes something in the head while the lease is kept.
    pub async fn note(&self, note: impl Fn(&mut Head)) -> Result<(), Error> {
        let latest = self.latest().clone();
        let change = |head: &mut Head| {
            let is_held = self.is_held(head);
            if is_held {
                note(head);
            }
            is_held
        };
        let noted = latest.update(self.store, change).await?;
        self.check(&noted)?;
        *self.latest() = noted;
        Ok(())
    }

    /// Renews the lease for as long as it is polled; returns only once another has it.
    async fn keep(&self) -> Error {
        if !self.expires() {
            return std::future::pending().await;
        }
        loop {
            tokio::time::sleep(self.until_renewal()).await;
            match self.renew().await {
                Ok(()) => {}
                Err(error @ Error::Locked { .. }) => return error,
                Err(error) => {
                    tracing::warn!(%error, "the lease couldn't be renewed; trying again");
                    tokio::time::sleep(RENEW_AGAIN).await;
                }
            }
        }
    }

    /// Returns as soon as the lease has run out.
    async fn run_out(&self) -> Error {
        while self.is_fresh() {
            tokio::time::sleep(LOOK).await;
        }
        Error::LeaseLost { ttl: self.ttl }
    }

    /// Gives the lease back, with what is to be noted along with it. Where another run has taken over from one that
    /// seemed dead, nothing is written: what it does next is its own affair.
    pub async fn free(&self, note: impl Fn(&mut Head)) -> Result<(), Error> {
        let latest = self.latest().clone();
        // What was sent and never answered may still arrive, after whatever the next holder puts there.
        let is_doubtful = self.store.unanswered() > self.unanswered;
        let change = |head: &mut Head| {
            let is_held = self.is_held(head);
            if is_held {
                note(head);
                head.lease = None;
            }
            if is_held && is_doubtful {
                head.doubt(self.active.clone(), clock::now());
            }
            is_held
        };
        latest.update(self.store, change).await.map(drop)
    }

    /// Steps 7 and 8 of the protocol: activate, then say so. Without a manifest there is nothing to show yet.
    pub async fn roll_forward(&self, manifest: Option<&Manifest>, progress: &Progress) -> Result<Activated, Error> {
        let Some(manifest) = manifest else {
            self.free(|_| {}).await?;
            return Ok(Activated::default());
        };
        let changed = Changed::since(self.store, self.active.as_ref(), &manifest.root).await;
        let activated = match changed {
            Ok(changed) => self.show(changed, manifest, progress).await,
            Err(error) => Err(error),
        };
        let id = &manifest.root.id;
        let note = |head: &mut Head| {
            if head.desired.as_ref() == Some(id) {
                head.active = Some(id.clone());
            }
        };
        self.end(activated, note, progress).await
    }

    /// Frees the lease after work on stable paths; what is to be noted is noted if the work is complete.
    pub async fn end(
        &self,
        activated: Result<Activated, Error>,
        note: impl Fn(&mut Head),
        progress: &Progress,
    ) -> Result<Activated, Error> {
        match activated {
            Ok(activated) => {
                let is_complete = activated.is_complete();
                let noted = |head: &mut Head| {
                    if is_complete {
                        note(head);
                    }
                };
                self.free(noted).await?;
                if progress.is_stopping() && !is_complete {
                    progress.note_stopped();
                    // The process ends now, and says itself why.
                    return std::future::pending().await;
                }
                Ok(activated)
            }
            // Requests may still be on their way, so the next holder had better wait until the lease expires.
            Err(error @ (Error::LeaseLost { .. } | Error::Locked { .. })) => Err(error),
            Err(error) => {
                let _ = tokio::time::timeout(FREE, self.free(|_| {})).await;
                Err(error)
            }
        }
    }

    /// Lets paths show what a manifest says, while the lease is kept.
    pub async fn show(&self, changed: Changed, manifest: &Manifest, progress: &Progress) -> Result<Activated, Error> {
        let may_go_on = || self.is_fresh() && !progress.is_stopping();
        let activated = self.keep_during(activate(self.store, changed, manifest, progress, &may_go_on)).await?;
        if !activated.is_complete() && !self.is_fresh() {
            return Err(Error::LeaseLost { ttl: self.ttl });
        }
        self.store.settle().await?;
        Ok(activated)
    }

    /// Keeps the lease while something is done; an error as soon as it is lost.
    pub async fn keep_during<T>(&self, work: impl Future<Output = T>) -> Result<T, Error> {
        // It may have taken long to find out that the lease is ours.
        if self.expires() && self.until_renewal().is_zero() {
            self.renew().await?;
        }
        tokio::select! {
            biased;
            error = self.run_out() => Err(error),
            error = self.keep() => Err(error),
            done = work => Ok(done),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_clock_tells_that_time_has_passed() {
        let minute = Duration::from_mins(1);
        let now = Moment::now();
        assert!(now.elapsed() < minute);
        let slept = Moment { wall: now.wall - minute, ..now };
        assert!(slept.elapsed() >= minute);
        let stood_still = Moment { monotonic: now.monotonic.checked_sub(minute).unwrap(), ..now };
        assert!(stood_still.elapsed() >= minute);
        let set_back = Moment { wall: now.wall + minute, ..now };
        assert!(set_back.elapsed() < minute);
    }
}
