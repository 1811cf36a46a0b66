//! Changing the head: by compare-and-swap, and never in doubt about the outcome for longer than can be helped.

use std::time::Duration;

use tokio::time::Instant;

use super::super::broken::{Safeguard, is_out};
use super::super::lease::Moment;
use super::{Head, HeadRead};
use crate::error::Error;
use crate::store::{Store, StoreError, Swap};

/// How often a swap is tried again on a head that others change at the same time.
const SWAP_ATTEMPTS: usize = 16;
/// How many swaps without an answer, each made void before the next, a change is worth.
const VOID_ATTEMPTS: usize = 2;
/// The first wait before a swap without an answer is looked into again; it doubles.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// The longest such wait.
const LOOK_AGAIN_CAP: Duration = Duration::from_secs(5);

/// What became of a swap, once that is known.
enum Swapped {
    /// The head is what it was to be.
    Done(HeadRead),
    /// Somebody else's came first.
    Refused,
    /// It was lost and made void; this is the head that did it.
    Void(HeadRead, StoreError),
}

/// A swap that got no answer.
struct Lost<'a> {
    next: &'a Head,
    bytes: &'a [u8],
    began: Moment,
    error: StoreError,
    patience: Duration,
}

impl HeadRead {
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

    /// Changes the head whatever others do to it meanwhile, by applying the change to the newest one. Where the change
    /// says no, the head stays as it is then.
    pub async fn update(mut self, store: &Store, change: impl Fn(&mut Head) -> bool) -> Result<HeadRead, Error> {
        let mut voids = 0;
        for _ in 0..SWAP_ATTEMPTS {
            let mut next = self.head.clone();
            if !change(&mut next) {
                return Ok(self);
            }
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
        Err(Error::Busy { times: SWAP_ATTEMPTS, left: "nothing was written" })
    }

    async fn attempt(&self, store: &Store, mut next: Head) -> Result<Swapped, Error> {
        next.seq = self.next_seq();
        next.site = store.site();
        let bytes = text(&next)?;
        let began = Moment::now();
        match store.swap_head(self.version.as_ref(), bytes.clone()).await? {
            Swap::Swapped(version) => {
                let (bytes, version, written) = (Some(bytes), Some(version), Some(began));
                Ok(Swapped::Done(HeadRead { head: next, bytes, version, age: None, written }))
            }
            Swap::Refused => Ok(Swapped::Refused),
            Swap::Unanswered { error, patience } => {
                let lost = Lost { next: &next, bytes: &bytes, began, error, patience };
                self.recover(store, &lost).await
            }
        }
    }

    /// Every content of the head has a number of its own, so that an expectation never comes true a second time.
    fn next_seq(&self) -> u64 {
        if is_out(Safeguard::Sequence) { 1 } else { self.head.seq + 1 }
    }

    /// Finds out what became of a swap that got no answer.
    ///
    /// It isn't sent again: the first one may still be on its way, and a store carries out what it gets. If the head is
    /// still the old one, the old content is written under the next number, after which the expectation of a late copy
    /// no longer holds. That write may be lost as well; it expects the same, so that it may be sent as often as it takes.
    async fn recover(&self, store: &Store, lost: &Lost<'_>) -> Result<Swapped, Error> {
        tracing::warn!(error = lost.error.reason, "no answer to the swap of head.json; reading it back");
        let until = Instant::now() + lost.patience;
        let old = Head { seq: self.next_seq(), ..self.head.clone() };
        let voiding = text(&old)?;
        let unknown = |later: &dyn std::fmt::Display| unknown(&lost.error, &later.to_string());
        let mut wait = LOOK_AGAIN;
        loop {
            let read = HeadRead::read(store).await.map_err(|later| unknown(&later))?;
            if read.bytes.as_deref() == Some(&voiding) {
                return Ok(Swapped::Void(read, lost.error.clone()));
            }
            if read.bytes != self.bytes {
                return Ok(self.landed(read, lost));
            }
            let swapped = store.swap_head(self.version.as_ref(), voiding.clone()).await;
            let later = match swapped.map_err(|later| unknown(&later))? {
                Swap::Swapped(version) => {
                    let (bytes, version) = (Some(voiding), Some(version));
                    let read = HeadRead { head: old, bytes, version, age: None, written: None };
                    return Ok(Swapped::Void(read, lost.error.clone()));
                }
                // It landed after all, or somebody else's did: reading it shows which.
                Swap::Refused => "it is as it was, and yet the store refused to replace it".to_owned(),
                Swap::Unanswered { error, .. } => error.to_string(),
            };
            if Instant::now() + wait >= until {
                return Err(unknown(&later));
            }
            tracing::debug!(reason = later, ?wait, "looking again");
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LOOK_AGAIN_CAP);
        }
    }

    /// Whether the swap landed, from a head that is no longer the old one. Others may have written over it since, and
    /// then a committed release is still known by its name.
    fn landed(&self, read: HeadRead, lost: &Lost<'_>) -> Swapped {
        let is_ours = read.bytes.as_deref() == Some(lost.bytes);
        let is_committed = lost.next.desired != self.head.desired && read.head.desired == lost.next.desired;
        match is_ours || is_committed {
            true => Swapped::Done(HeadRead { written: is_ours.then_some(lost.began), ..read }),
            false => Swapped::Refused,
        }
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
