//! Connections on which the server keeps silent: a reader has given up, and nothing says that the server has.
//!
//! One that is well notices within moments that a connection was closed. One whose processes hang, because its disk does
//! for example, notices nothing; if each that was given up made room for another one, it would soon have none left for
//! anybody. So such a connection isn't closed but listened to, and its slot is free when the server has said something, or
//! has hung up. A server that was cut off never does, and after a failover nothing is left to wait for: after a while there
//! may be another connection all the same, but no more of them in some minutes than the pool has. Where there are other
//! servers, one that keeps silent is no reason to leave those alone, so they get the slot at once.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

/// How long a slot waits for a word.
const PATIENCE: Duration = Duration::from_secs(70);
/// How long a connection counts as one that the server may have. Longer would keep readers from a server that has taken
/// its place under the same name, shorter would let one whose disk hangs for an hour run out of connections.
const LONGEST: Duration = Duration::from_mins(5);

/// Keeps a slot until the word has come, or for as long as that is worth waiting for, which is not at all if it
/// `is_wanted` for another server. Beside those that wait longer there are never more than `beside` has permits.
pub async fn keep(word: impl Future<Output = ()>, slot: impl Sized, is_wanted: bool, beside: Arc<Semaphore>) {
    let mut word = std::pin::pin!(word);
    let silent_since = Instant::now();
    let patience = if is_wanted { Duration::ZERO } else { PATIENCE };
    if timeout_at(silent_since + patience, &mut word).await.is_ok() {
        return;
    }
    let longest = silent_since + LONGEST;
    let room = tokio::select! {
        // The semaphore is never closed.
        room = timeout_at(longest, beside.acquire()) => room,
        () = &mut word => return,
    };
    drop(slot);
    let _ = timeout_at(longest, word).await;
    drop(room);
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;
    use tokio::time::advance;

    use super::*;

    const MAX: usize = 2;

    /// A pool whose server falls silent on every connection; what it has open, and how to have it speak.
    struct World {
        slots: Arc<Semaphore>,
        beside: Arc<Semaphore>,
        silent: Vec<oneshot::Sender<()>>,
        /// Whether there are other servers.
        has_others: bool,
    }

    impl World {
        fn new() -> World {
            let permits = || Arc::new(Semaphore::new(MAX));
            World { slots: permits(), beside: permits(), silent: Vec::new(), has_others: false }
        }

        /// As many connections as there are slots, each of which falls silent.
        async fn open_all(&mut self) {
            while let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() {
                let (speaks, word) = oneshot::channel::<()>();
                self.silent.push(speaks);
                let word = async move { drop(word.await) };
                tokio::spawn(keep(word, slot, self.has_others, Arc::clone(&self.beside)));
            }
            tokio::task::yield_now().await;
        }

        async fn after(&mut self, time: Duration) -> usize {
            advance(time).await;
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            self.open_all().await;
            self.silent.len()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_never_speaks_has_twice_the_pool_at_most() {
        let mut world = World::new();
        world.open_all().await;
        assert_eq!(world.after(Duration::from_secs(69)).await, MAX);
        assert_eq!(world.after(Duration::from_secs(2)).await, 2 * MAX, "one that was cut off is found again");
        for _ in 0..3 {
            assert_eq!(world.after(Duration::from_mins(1)).await, 2 * MAX);
        }
        let later = world.after(Duration::from_mins(1)).await;
        assert_eq!(later, 3 * MAX, "the first ones are gone whatever became of them");
    }

    #[tokio::test(start_paused = true)]
    async fn another_server_is_not_made_to_wait() {
        let mut world = World { has_others: true, ..World::new() };
        world.open_all().await;
        assert_eq!(world.after(Duration::ZERO).await, 2 * MAX, "theirs are there at once");
        assert_eq!(world.after(Duration::from_mins(4)).await, 2 * MAX, "and no more than these");
    }

    #[tokio::test(start_paused = true)]
    async fn a_word_frees_what_it_is_about() {
        let mut world = World::new();
        world.open_all().await;
        world.silent.remove(0).send(()).unwrap();
        assert_eq!(world.after(Duration::ZERO).await, MAX, "a slot for the one that spoke");
        world.after(Duration::from_secs(71)).await;
        assert_eq!(world.silent.len(), 2 * MAX);
        // Those that count beside, and those in slots.
        world.silent.drain(..).for_each(drop);
        assert_eq!(world.after(Duration::ZERO).await, MAX);
        assert_eq!((world.slots.available_permits(), world.beside.available_permits()), (0, MAX));
    }
}
