//! What all handles of a pool share: its slots, and one lock over everything that is counted.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};

use super::breaker::Breaker;
use super::events::{self, Usage};
use super::figures::{Closed, PoolFigures};
use super::idle::{Link, Stack, sweep};
use super::opening::Left;
use super::target::{self, Target, targets};
use super::{PoolError, PoolSettings, PoolState};
use crate::database::{Connection, Database, silence};

/// A pool.
pub struct Shared {
    pub settings: PoolSettings,
    pub application: String,
    pub targets: Vec<Target>,
    /// One for every connection that is in use or being closed. There are never more idle ones than free slots.
    slots: Arc<Semaphore>,
    /// One for every connection that has lost its slot, and on which the server still keeps silent.
    beside: Arc<Semaphore>,
    state: Mutex<State>,
}

/// What changes. Nothing waits while it is locked.
pub struct State {
    pub idle: Stack,
    /// One for each target.
    pub breakers: Vec<Breaker>,
    pub figures: PoolFigures,
    /// When a transaction last began.
    pub last_read: Option<Instant>,
    pub sweeper: Option<AbortHandle>,
    watcher: Option<AbortHandle>,
    usage: Usage,
    in_use: usize,
    closing: usize,
    waiting: usize,
    /// Tasks that hold a lease or ask for one.
    holders: HashSet<tokio::task::Id>,
    is_closed: bool,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let mut state = self.state();
        let tasks = [state.sweeper.take(), state.watcher.take()];
        tasks.into_iter().flatten().for_each(|task| task.abort());
    }
}

impl State {
    /// The connection that must go so that one more can be opened for a slot: one to another server.
    pub fn in_the_way(&mut self, max: usize) -> Option<Link> {
        let is_over = self.in_use + self.closing + self.idle.len() > max;
        is_over.then(|| self.idle.pop_lowest()).flatten()
    }

    fn seen(&self, max: usize) -> PoolState {
        PoolState { max, in_use: self.in_use, idle: self.idle.len(), closing: self.closing, waiting: self.waiting }
    }
}

impl Shared {
    pub fn new(database: &Database, settings: PoolSettings, application: String) -> Arc<Shared> {
        let targets = targets(database);
        let state = State {
            idle: Stack::default(),
            breakers: targets.iter().map(|_| Breaker::new(settings.max)).collect(),
            figures: PoolFigures::default(),
            last_read: None,
            sweeper: None,
            watcher: None,
            usage: Usage::default(),
            in_use: 0,
            closing: 0,
            waiting: 0,
            holders: HashSet::new(),
            is_closed: false,
        };
        let permits = || Arc::new(Semaphore::new(settings.max));
        let (slots, beside, state) = (permits(), permits(), Mutex::new(state));
        let shared = Arc::new(Shared { settings, application, targets, slots, beside, state });
        events::configured(&shared);
        let watch = events::watch(Arc::downgrade(&shared));
        shared.state().watcher = Handle::try_current().ok().map(|runtime| runtime.spawn(watch).abort_handle());
        shared
    }

    /// What it holds at this moment.
    pub fn seen(&self) -> PoolState {
        self.state().seen(self.settings.max)
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        // Whoever panicked with it left numbers behind, which are as good as before.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a slot, in the order of asking.
    pub async fn queue(self: &Arc<Self>, asked: Instant) -> Result<Place, PoolError> {
        let closed = || PoolError::Closed { pool: self.settings.name };
        match Arc::clone(&self.slots).try_acquire_owned() {
            Ok(permit) => return Ok(Place::new(self, permit)),
            Err(TryAcquireError::Closed) => return Err(closed()),
            Err(TryAcquireError::NoPermits) => {}
        }
        let _waiting = Waiting::enter(self)?;
        let limit = self.settings.acquire_timeout;
        match timeout_at(asked + limit, Arc::clone(&self.slots).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(Place::new(self, permit)),
            Ok(Err(_)) => Err(closed()),
            Err(_) => Err(self.timed_out(asked, limit)),
        }
    }

    /// The error of a reader whose time is up.
    pub fn timed_out(&self, asked: Instant, limit: Duration) -> PoolError {
        let mut state = self.state();
        let waited = asked.elapsed();
        state.figures.timeouts += 1;
        state.figures.wait.add(waited);
        PoolError::TimedOut {
            pool: self.settings.name,
            max: self.settings.max,
            in_use: state.in_use + state.closing,
            waiting: state.waiting,
            waited,
            limit,
        }
    }

    pub async fn close(&self) {
        self.slots.close();
        let links: Vec<Link> = {
            let mut state = self.state();
            state.is_closed = true;
            if let Some(watcher) = state.watcher.take() {
                watcher.abort();
            }
            std::iter::from_fn(|| state.idle.pop_lowest()).collect()
        };
        for link in links {
            self.state().figures.count_closed(Closed::Drained);
            target::close(link.connection, false).await;
        }
    }
}

/// A slot, in use for as long as this lives.
pub struct Place {
    shared: Arc<Shared>,
    counts: Counts,
    _permit: OwnedSemaphorePermit,
}

/// As what a slot counts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Counts {
    InUse,
    Closing,
    Nothing,
}

impl Place {
    fn new(shared: &Arc<Shared>, permit: OwnedSemaphorePermit) -> Place {
        let (max, now) = (shared.settings.max, Instant::now());
        let (in_use, level) = {
            let mut state = shared.state();
            state.in_use += 1;
            let in_use = state.in_use;
            (in_use, state.usage.grew(in_use, max, now))
        };
        // Behind the lock: a log may be slow.
        if let Some(level) = level {
            level.tell(shared.settings.name, in_use, max);
        }
        Place { shared: Arc::clone(shared), counts: Counts::InUse, _permit: permit }
    }

    /// The next slot that comes free, however long that takes; none if the pool is closed. No reader takes it, so nobody
    /// is told that readers have so many.
    pub async fn next(shared: &Arc<Shared>) -> Option<Place> {
        let permit = Arc::clone(&shared.slots).acquire_owned().await.ok()?;
        shared.state().in_use += 1;
        Some(Place { shared: Arc::clone(shared), counts: Counts::InUse, _permit: permit })
    }

    /// A slot, if one is free.
    pub fn at_once(shared: &Arc<Shared>) -> Option<Place> {
        Arc::clone(&shared.slots).try_acquire_owned().ok().map(|permit| Place::new(shared, permit))
    }

    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// No reader has it any more, and its slot isn't free yet.
    pub fn leave(&mut self) {
        let mut state = self.shared.state();
        state.in_use -= 1;
        state.closing += 1;
        self.counts = Counts::Closing;
    }

    /// It is of use after all.
    pub fn return_to_use(&mut self) {
        let mut state = self.shared.state();
        state.closing -= 1;
        state.in_use += 1;
        self.counts = Counts::InUse;
    }

    /// Puts a connection on the stack, if it has any time left, and frees the slot.
    pub fn park(mut self, link: Link) {
        let now = Instant::now();
        let mut state = self.shared.state();
        let reason = match () {
            () if state.is_closed => Some(Closed::Drained),
            () if now >= link.expires => Some(Closed::Age),
            () => None,
        };
        if let Some(reason) = reason {
            drop(state);
            return self.close(link.connection, reason, false);
        }
        state.idle.push(link, now);
        state.in_use -= 1;
        self.counts = Counts::Nothing;
        if state.sweeper.is_none() {
            let pool = Arc::downgrade(&self.shared);
            state.sweeper = Handle::try_current().ok().map(|runtime| runtime.spawn(sweep(pool)).abort_handle());
        }
        // The slot is freed behind that, so whoever gets it finds the connection.
    }

    /// Closes a connection. It is no longer in use at once, and the slot is free when the server has noticed.
    pub fn close(mut self, connection: Connection, reason: Closed, is_busy: bool) {
        self.shared.state().figures.count_closed(reason);
        self.leave();
        // Without a runtime everything ends, and the socket is closed when it is dropped.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                target::close(connection, is_busy).await;
                drop(self);
            });
        }
    }

    /// Gives a connection up on which this server keeps silent. The slot is free when the server has said something.
    pub fn give_up(mut self, connection: Connection, target: usize) {
        self.shared.state().figures.count_closed(Closed::Silent);
        self.leave();
        if let Ok(runtime) = Handle::try_current() {
            let (beside, has_others) = (Arc::clone(&self.shared.beside), self.shared.targets.len() > 1);
            // Readers are told that the server is away while half of the slots are so.
            let slot = (Left::new(&self.shared, target), self);
            runtime.spawn(silence::keep(target::word(connection), slot, has_others, beside));
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        match self.counts {
            Counts::InUse => state.in_use -= 1,
            Counts::Closing => state.closing -= 1,
            Counts::Nothing => {}
        }
    }
}

/// A reader in the queue.
struct Waiting<'a>(&'a Shared);

impl Waiting<'_> {
    fn enter(shared: &Shared) -> Result<Waiting<'_>, PoolError> {
        let settings = &shared.settings;
        let mut state = shared.state();
        if state.waiting >= settings.queue {
            state.figures.shed += 1;
            let (in_use, waiting) = (state.in_use + state.closing, state.waiting);
            return Err(PoolError::Full { pool: settings.name, max: settings.max, in_use, waiting });
        }
        state.waiting += 1;
        Ok(Waiting(shared))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.state().waiting -= 1;
    }
}

/// The mark of a task that holds a lease or asks for one.
pub struct Holder {
    shared: Arc<Shared>,
    task: Option<tokio::task::Id>,
}

impl Holder {
    /// Marks this task; an error if it is marked already. What isn't a task, such as a program's main future, isn't marked.
    pub fn of_this_task(shared: &Arc<Shared>) -> Result<Holder, PoolError> {
        let task = tokio::task::try_id();
        if task.is_some_and(|task| !shared.state().holders.insert(task)) {
            return Err(PoolError::Nested { pool: shared.settings.name });
        }
        Ok(Holder { shared: Arc::clone(shared), task })
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        if let Some(task) = self.task {
            self.shared.state().holders.remove(&task);
        }
    }
}
