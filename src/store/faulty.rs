//! A store that does what a script says, for the proof of the publish protocol.
//!
//! Several publishers share one [`World`] and each has a [`Faulty`] of its own, the connection of one process. Its
//! requests are counted, and the script names for a request what happens to it: it is lost, or its answer is, it arrives
//! when nobody expects it any more, the store is busy, or the process stops at this very place. A process that has
//! stopped does nothing, and its timers don't run; the test drops it, which is a crash, or lets others have their turn and
//! wakes it up again.
//!
//! In everything else it answers as `S3` does: requests that may be repeated are repeated in here, the swap of
//! `head.json` is sent once.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::Counters;

mod calls;
mod request;
mod script;
mod world;

pub use calls::Pages;
use request::{Answer, Request};
pub use script::{Fault, Place, Script};
pub use world::{Document, Event, Sender, World};

/// How long an answer is waited for.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How long a store that is busy is asked again.
const PATIENCE: Duration = Duration::from_mins(1);
/// Requests that a publisher has under way at the same time.
const IN_FLIGHT: usize = 3;
/// No run of a test needs as many requests, so one that sends them goes round in circles.
const ENDLESS: usize = 1_000;

/// The connection of one publisher.
#[derive(Debug)]
pub struct Faulty {
    world: Arc<Mutex<World>>,
    sender: Sender,
    script: Script,
    sent: AtomicUsize,
    /// Those of them that change a stable path.
    shows: AtomicUsize,
    /// Those of them that got no answer.
    unanswered: AtomicU64,
    forbidden: Mutex<BTreeSet<String>>,
    stopped: Notify,
    woken: Notify,
    pub(super) counters: Box<Counters>,
}

/// Why a request has no answer.
enum NoAnswer {
    /// Nobody knows what became of it.
    TimeOut,
    /// It wasn't carried out, and the store was too busy to say more.
    Busy,
    /// It wasn't carried out, because it isn't allowed.
    Forbidden,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Faulty {
    /// A connection to a world.
    pub fn new(world: &Arc<Mutex<World>>, sender: Sender, script: Script) -> Faulty {
        Faulty {
            world: Arc::clone(world),
            sender,
            script,
            sent: AtomicUsize::new(0),
            shows: AtomicUsize::new(0),
            unanswered: AtomicU64::new(0),
            forbidden: Mutex::default(),
            stopped: Notify::new(),
            woken: Notify::new(),
            counters: Box::default(),
        }
    }

    /// Whose connection it is.
    pub fn sender(&self) -> Sender {
        self.sender
    }

    /// How many requests were to be sent so far.
    pub fn sent(&self) -> usize {
        self.sent.load(Ordering::Relaxed)
    }

    /// Waits until the process stops. It does nothing more if whoever waits here no longer polls it.
    pub async fn stopped(&self) {
        self.stopped.notified().await;
    }

    /// Lets it go on from where it stopped.
    pub fn wake(&self) {
        self.woken.notify_one();
    }

    /// Sends a request through all that may happen to it.
    async fn send(&self, request: Request) -> Result<Answer, NoAnswer> {
        // Publishers that run at the same time take turns request by request.
        tokio::task::yield_now().await;
        let number = self.sent.fetch_add(1, Ordering::Relaxed);
        if number >= ENDLESS {
            locked(&self.world).circles(self.sender);
            return Err(NoAnswer::Forbidden);
        }
        let is_show = request.shows();
        let show = is_show.then(|| self.shows.fetch_add(1, Ordering::Relaxed));
        let fault = self.script.fault(number, show, request.writes());
        if fault == Some(Fault::Forbidden) {
            locked(&self.forbidden).insert(request.right());
        }
        if locked(&self.forbidden).contains(&request.right()) {
            return Err(NoAnswer::Forbidden);
        }
        if matches!(fault, Some(Fault::StopBefore)) {
            self.stop().await;
        }
        match fault {
            Some(Fault::Lost) => Err(self.time_out(is_show).await),
            Some(Fault::Unheard) => {
                self.arrive(&request);
                Err(self.time_out(is_show).await)
            }
            Some(Fault::Late) => {
                locked(&self.world).delay(self.sender, request);
                Err(self.time_out(is_show).await)
            }
            Some(Fault::Twice) if !matches!(request, Request::SwapHead { .. }) => {
                locked(&self.world).delay(self.sender, request.clone());
                self.time_out(is_show).await;
                Ok(self.arrive(&request))
            }
            // A swap is never sent again, so only the network can double it: nobody waits for the first one.
            Some(Fault::Twice) => {
                locked(&self.world).delay(self.sender, request.clone());
                Ok(self.arrive(&request))
            }
            Some(Fault::Unavailable) => {
                tokio::time::sleep(PATIENCE).await;
                Err(NoAnswer::Busy)
            }
            // Nor is it waited for, since it isn't sent again.
            Some(Fault::Throttled) if matches!(request, Request::SwapHead { .. }) => Err(NoAnswer::Busy),
            Some(Fault::Throttled) => {
                tokio::time::sleep(PATIENCE).await;
                Ok(self.arrive(&request))
            }
            Some(Fault::StopAfter) => {
                let answer = self.arrive(&request);
                self.stop().await;
                Ok(answer)
            }
            Some(Fault::StopBefore | Fault::Forbidden) | None => Ok(self.arrive(&request)),
        }
    }

    fn arrive(&self, request: &Request) -> Answer {
        locked(&self.world).carry_out(self.sender, request)
    }

    async fn time_out(&self, is_show: bool) -> NoAnswer {
        tokio::time::sleep(TIMEOUT).await;
        self.unanswered.fetch_add(u64::from(is_show), Ordering::Relaxed);
        NoAnswer::TimeOut
    }

    async fn stop(&self) {
        self.stopped.notify_one();
        self.woken.notified().await;
    }
}
