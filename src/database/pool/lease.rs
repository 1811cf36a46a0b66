//! A lease: a connection with an open read transaction, for one reader.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::{Instant, timeout};

use super::breaker::Cause;
use super::figures::Closed;
use super::file::FileId;
use super::idle::Link;
use super::opening::Probe;
use super::shared::{Holder, Place};
use super::target;
use crate::database::{DatabaseError, ReadTransaction, Source};

/// How long the end of a transaction may take.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// A connection in its slot. Dropped, it is closed.
pub struct Held {
    inner: Option<(Place, Link)>,
    /// True while an answer is outstanding.
    pub is_busy: bool,
}

impl Held {
    pub fn new(place: Place, link: Link) -> Held {
        Held { inner: Some((place, link)), is_busy: false }
    }

    pub fn link(&mut self) -> Option<&mut Link> {
        self.inner.as_mut().map(|(_, link)| link)
    }

    pub fn into_parts(mut self) -> Option<(Place, Link)> {
        self.inner.take()
    }

    pub fn close(mut self, reason: Closed) {
        self.end(reason);
    }

    /// Notes that the server kept silent in the middle of a transaction. New connections are no use until it speaks; those
    /// that lie ready may be.
    fn tell_silence(&mut self, waited: Duration) {
        let Some((place, link)) = &self.inner else { return };
        let (shared, target) = (place.shared(), link.target);
        let error = shared.targets[target].silent("it takes statements, but answers none", waited);
        Probe::failed(None, shared, target, Cause::Connecting, &error);
    }

    /// The server didn't answer.
    pub fn give_up(mut self) {
        if let Some((place, link)) = self.inner.take() {
            place.give_up(link.connection, link.target);
        }
    }

    fn end(&mut self, reason: Closed) {
        if let Some((place, link)) = self.inner.take() {
            place.close(link.connection, reason, self.is_busy);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.end(Closed::Unfinished);
    }
}

/// What a transaction that has begun says of itself.
pub struct Begun {
    pub as_of: DateTime<Utc>,
    pub source: Source,
}

/// A connection with an open read transaction. Dropped without [`Lease::finish`], it is closed.
pub struct Lease {
    inner: Option<Inner>,
    _holder: Holder,
}

struct Inner {
    place: Place,
    transaction: ReadTransaction,
    target: usize,
    expires: Instant,
    file: Option<FileId>,
    since: Instant,
}

impl Lease {
    pub(super) fn new((place, link): (Place, Link), begun: Begun, holder: Holder, asked: Instant) -> Lease {
        let since = Instant::now();
        {
            let mut state = place.shared().state();
            state.last_read = Some(since);
            state.figures.acquires += 1;
            state.figures.wait.add(since - asked);
        }
        let Link { connection, target, expires, file } = link;
        let transaction = ReadTransaction::new(connection, begun.as_of, begun.source);
        let inner = Inner { place, transaction, target, expires, file, since };
        Lease { inner: Some(inner), _holder: holder }
    }

    /// The transaction.
    pub fn transaction(&mut self) -> &mut ReadTransaction {
        &mut self.inner.as_mut().expect("only the lease's end takes it").transaction
    }

    /// Ends the transaction, and gives the connection back if nothing speaks against its being used again; else it is
    /// closed, which is no error. What was read is good whatever this returns.
    pub async fn finish(mut self) -> Result<(), DatabaseError> {
        let Some(ended) = self.inner.take().map(Inner::ended) else { return Ok(()) };
        let (mut held, is_sound) = ended;
        if !is_sound {
            held.close(Closed::Unclean);
            return Ok(());
        }
        held.is_busy = true;
        let Some(link) = held.link() else { return Ok(()) };
        let ended = timeout(END_TIMEOUT, target::end(&mut link.connection)).await;
        match ended {
            Ok(Ok(())) => {
                if let Some((place, link)) = held.into_parts() {
                    place.park(link);
                }
                Ok(())
            }
            Ok(Err(error)) => {
                held.close(Closed::Invalid);
                Err(error)
            }
            Err(_) => {
                held.tell_silence(END_TIMEOUT);
                held.give_up();
                Err(DatabaseError::Lost { reason: "the server didn't end the transaction within a second".to_owned() })
            }
        }
    }

    /// Gives it up: the server didn't answer within [`Pool::patience`](super::Pool::patience), though it should have ended
    /// the statement itself before.
    pub fn give_up(mut self) {
        if let Some(inner) = self.inner.take() {
            let waited = inner.since.elapsed();
            let (mut held, _) = inner.ended();
            held.tell_silence(waited);
            held.give_up();
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(inner) = self.inner.take() {
            inner.ended().0.close(Closed::Unfinished);
        }
    }
}

impl Inner {
    /// The connection, and whether it may be used for another transaction. The lease counts as over.
    fn ended(self) -> (Held, bool) {
        let condition = self.transaction.condition;
        {
            let shared = self.place.shared();
            let mut state = shared.state();
            state.figures.releases += 1;
            state.figures.hold.add(self.since.elapsed());
            // Where there is another server, the next reader had better ask that one.
            if let (Some(error), true) = (condition.about_server.clone(), shared.targets.len() > 1) {
                state.breakers[self.target].failed(Cause::Reading, error, Instant::now(), false);
            }
        }
        let connection = self.transaction.connection;
        let link = Link { connection, target: self.target, expires: self.expires, file: self.file };
        let mut held = Held::new(self.place, link);
        held.is_busy = condition.is_busy;
        (held, condition.is_sound())
    }
}
