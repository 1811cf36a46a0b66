//! How many requests may be in flight: more as long as the store keeps up, half as many when it says that it doesn't.
//!
//! A store that answers `SlowDown` does so to everything in flight at that moment, which is one message and not fifty:
//! only the first of a round halves the limit. A round is known by a number that each permit carries.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The limit of a new store.
const START: usize = 16;
/// Until the store complains for the first time, so many answers raise the limit by one; afterwards it takes a round.
const EAGER: usize = 4;

/// The limit.
#[derive(Debug)]
pub struct Limiter {
    permits: Arc<Semaphore>,
    state: Mutex<State>,
    most: usize,
}

#[derive(Debug)]
struct State {
    limit: usize,
    /// Permits in use beyond the limit; they go when they come back.
    excess: usize,
    /// Good answers since the limit last changed.
    answers: usize,
    round: u64,
    has_complained: bool,
}

/// The right to have one request in flight.
#[derive(Debug)]
pub struct Permit<'a> {
    limiter: &'a Limiter,
    held: Option<OwnedSemaphorePermit>,
    round: u64,
}

impl Limiter {
    /// A limit that never exceeds `most`.
    pub fn new(most: usize) -> Limiter {
        let most = most.max(1);
        let limit = START.min(most);
        let state = State { limit, excess: 0, answers: 0, round: 0, has_complained: false };
        Limiter { permits: Arc::new(Semaphore::new(limit)), state: Mutex::new(state), most }
    }

    /// The limit now.
    pub fn limit(&self) -> usize {
        self.state().limit
    }

    /// Waits until another request may be sent.
    pub async fn acquire(&self) -> Permit<'_> {
        // The semaphore is never closed, so that there always is a permit in the end.
        let held = Arc::clone(&self.permits).acquire_owned().await.ok();
        Permit { limiter: self, held, round: self.state().round }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Permit<'_> {
    /// Notes that the store answered and can bear this load.
    pub fn answered(self) {
        let mut state = self.limiter.state();
        state.answers += 1;
        let needed = if state.has_complained { state.limit } else { EAGER };
        if state.answers >= needed && state.limit < self.limiter.most {
            state.answers = 0;
            state.limit += 1;
            if state.excess > 0 {
                state.excess -= 1;
            } else {
                self.limiter.permits.add_permits(1);
            }
        }
    }

    /// Notes that the store asked for fewer requests.
    pub fn throttled(self) {
        let mut state = self.limiter.state();
        state.answers = 0;
        state.has_complained = true;
        if state.round != self.round {
            return;
        }
        state.round += 1;
        let less = state.limit / 2;
        state.limit -= less;
        // What is in use, this one among them, can't be taken back yet.
        state.excess += less - self.limiter.permits.forget_permits(less);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let mut state = self.limiter.state();
        if state.excess > 0
            && let Some(permit) = self.held.take()
        {
            state.excess -= 1;
            permit.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn all(limiter: &Limiter) -> Vec<Permit<'_>> {
        let mut permits = Vec::new();
        for _ in 0..limiter.limit() {
            permits.push(limiter.acquire().await);
        }
        permits
    }

    #[tokio::test]
    async fn it_grows_to_the_most_and_no_further() {
        let limiter = Limiter::new(20);
        assert_eq!(limiter.limit(), START);
        for _ in 0..100 {
            limiter.acquire().await.answered();
        }
        assert_eq!(limiter.limit(), 20);
        assert_eq!(limiter.permits.available_permits(), 20);
        assert_eq!(Limiter::new(3).limit(), 3);
    }

    #[tokio::test]
    async fn a_round_of_complaints_halves_it_once() {
        let limiter = Limiter::new(64);
        for permit in all(&limiter).await {
            permit.throttled();
        }
        assert_eq!(limiter.limit(), START / 2);
        assert_eq!(limiter.permits.available_permits(), START / 2);
        for expected in [4, 2, 1, 1] {
            for permit in all(&limiter).await {
                permit.throttled();
            }
            assert_eq!((limiter.limit(), limiter.permits.available_permits()), (expected, expected));
        }
        // It comes back by one a round.
        limiter.acquire().await.answered();
        assert_eq!(limiter.limit(), 2);
        limiter.acquire().await.answered();
        assert_eq!(limiter.limit(), 2);
        limiter.acquire().await.answered();
        assert_eq!((limiter.limit(), limiter.permits.available_permits()), (3, 3));
    }
}
