//! The pool of leases: a few connections, kept open for readers that come one by one, and never more of them than said.
//!
//! sqlx has a pool of its own, which isn't used: a `begin` that is dropped half-way gives its connection back inside a
//! transaction there, connections are used in turn, so that after a burst all of them stay open, and nothing tells how
//! long anybody waited. What this one promises:
//!
//! - **Never more than `max`.** Whoever wants a connection first gets one of `max` slots, in the order of asking. A
//!   connection that is being closed keeps its slot until the server has most likely noticed, and one on which the
//!   server keeps silent until it speaks (see [`silence`]), so that what the database sees never exceeds the budget
//!   either.
//! - **Nobody waits for long.** The queue for slots is short: whoever comes when it is full is sent away at once, and
//!   whoever has waited for `acquire_timeout` too. Connections are opened in a task of their own, within which a slow
//!   handshake goes on after its reader has left, and serves the next one. One that nobody waits for any more keeps its
//!   slot until it ends, as it does at the server. A server that can't be reached is asked by one reader at a time, see
//!   [`breaker`]; all others are told so at once.
//! - **The last one back is the first one out.** So a quiet time needs one connection, and the others are closed after
//!   `idle_timeout`. None gets older than `max_lifetime`, ten per cent more or less, so that they aren't renewed all at
//!   once.
//! - **Nothing is left behind.** A [`Lease`] that isn't finished, because its task was cancelled, panicked or ran out
//!   of time, closes its connection. One that is finished gives it back only if every call came back well and the
//!   server has proved that the transaction is over.
//! - **One lease for each task.** A task that holds one can't wait for another: that is how pools lock up.
//!
//! Which server is read is asked at each [`Pool::begin`], as a build asks it: the replicas in the order of the
//! configuration, each only while it keeps up with its primary, then the primary.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

mod breaker;
mod error;
mod establish;
mod events;
mod figures;
mod file;
mod idle;
mod lease;
mod opening;
mod room;
mod shared;
mod target;

#[cfg(test)]
mod tests;

pub use error::PoolError;
pub use figures::{Closed, Histogram, PoolFigures};
pub use lease::Lease;

use super::{Database, ReadSettings};
use room::Room;
use shared::{Holder, Shared};

/// How much longer than `statement_timeout` it may take until the server's word on that has come.
const SERVERS_WORD: Duration = Duration::from_secs(1);

/// How a pool works.
#[derive(Debug, Clone)]
pub struct PoolSettings {
    /// What it is called in messages and metrics.
    pub name: &'static str,
    /// The most connections, 1 or more. Default 4. Too few: readers queue while the database is idle. Too many: the
    /// database does more at a time than it can do well, and its other clients find no connection.
    pub max: usize,
    /// The most that wait for one. Default 16. Too short: a small burst is refused. Too long: whoever is at its end
    /// waits in vain.
    pub queue: usize,
    /// The longest wait for a lease. Default 1 s.
    pub acquire_timeout: Duration,
    /// The age at which a connection is closed, ten per cent more or less. Default 30 min.
    pub max_lifetime: Duration,
    /// How long a connection may lie unused before it is closed. Default 3 min.
    pub idle_timeout: Duration,
    /// How its transactions read. `connect_timeout` bounds one attempt to connect, which goes on behind a reader who
    /// has left after `acquire_timeout`.
    pub read: ReadSettings,
}

/// Connections to one database, kept open and leased out one by one. Clones share them.
#[derive(Debug, Clone)]
pub struct Pool(Arc<Shared>);

/// What a pool holds at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolState {
    /// The most connections.
    pub max: usize,
    /// Leased, or being opened for a lease.
    pub in_use: usize,
    /// Open and unused.
    pub idle: usize,
    /// Being closed, or left alone where the server keeps silent. In use, idle and these together are never more than
    /// `max`.
    pub closing: usize,
    /// Readers in the queue.
    pub waiting: usize,
}

impl PoolState {
    /// How much of it is leased, in per cent, as the pool's log says it.
    pub fn usage_percent(&self) -> f64 {
        events::percent(self.in_use, self.max)
    }
}

impl Pool {
    /// A pool that has opened nothing yet. `application` is what the servers show for its connections.
    pub fn new(database: &Database, settings: PoolSettings, application: &str) -> Pool {
        Pool(Shared::new(database, settings, application.to_owned()))
    }

    /// Leases a connection, with a read transaction begun on it.
    ///
    /// This takes `acquire_timeout` at most, and a little more where the time was up just when a connection came free.
    /// It may be dropped at any point.
    pub async fn begin(&self) -> Result<Lease, PoolError> {
        self.begin_within(self.0.settings.read.statement_timeout).await
    }

    /// The same with a limit of its own for each statement, if that is shorter than the pool's: the server ends a
    /// statement that takes longer, and so its connection is there for the next reader.
    pub async fn begin_within(&self, limit: Duration) -> Result<Lease, PoolError> {
        self.begin_since(limit, Instant::now()).await
    }

    /// The same for somebody who has been waiting since an instant, which is part of what he may wait.
    pub async fn begin_since(&self, limit: Duration, asked: Instant) -> Result<Lease, PoolError> {
        let shared = &self.0;
        let holder = Holder::of_this_task(shared)?;
        shared.refuse_if_down(asked)?;
        let place = shared.queue(asked).await?;
        let (parts, begun) = shared.establish(place, asked, &shared.settings.read.within(limit)).await?;
        Ok(Lease::new(parts, begun, holder, asked))
    }

    /// What it holds at this moment.
    pub fn state(&self) -> PoolState {
        self.0.seen()
    }

    /// Room for a connection to the same server that somebody opens beside the pool, for as long as it is kept. Waits
    /// behind all who have asked before, for `patience` at most.
    pub async fn room(&self, patience: Duration) -> Result<Room, PoolError> {
        self.0.room(patience).await
    }

    /// Readers at a time who have a lease or wait for one; all others are refused.
    pub fn places(&self) -> usize {
        self.0.settings.max + self.0.settings.queue
    }

    /// The longest wait for a lease.
    pub fn acquire_timeout(&self) -> Duration {
        self.0.settings.acquire_timeout
    }

    /// Readers at a time who have a lease.
    pub fn max(&self) -> usize {
        self.0.settings.max
    }

    /// How long a statement may take whose reader gives it so much time; by default as much as the pool does.
    pub fn statement_limit(&self, own: Option<Duration>) -> Duration {
        let most = self.0.settings.read.statement_timeout;
        own.map_or(most, |own| own.min(most))
    }

    /// How long a reader should wait for statements with this limit before it gives them up: a server that is there ends
    /// them by itself before, one that is stopped or cut off never says a word.
    pub fn patience(limit: Duration) -> Duration {
        limit.saturating_add(SERVERS_WORD)
    }

    /// When a transaction last began.
    pub fn last_read(&self) -> Option<Instant> {
        self.0.state().last_read
    }

    /// True while none of its servers is known to be without trouble.
    pub fn is_troubled(&self) -> bool {
        self.0.state().breakers.iter().all(breaker::Breaker::is_troubled)
    }

    /// What has happened since it was made.
    pub fn figures(&self) -> PoolFigures {
        self.0.state().figures.clone()
    }

    /// Closes it: from now on nobody gets a lease, idle connections are closed, and leased ones as they come back.
    /// Returns when the idle ones are closed; [`Pool::state`] tells what is still out.
    pub async fn close(&self) {
        self.0.close().await;
    }
}
