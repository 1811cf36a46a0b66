//! A connection is opened in a task of its own: a handshake that takes longer than its reader waits isn't thrown away,
//! and a reader that leaves can't break one off half-way.
//!
//! Nor does anybody else break one off. A server that is in the middle of a login doesn't look whether its client is still
//! there, and such a login takes one of its connections, though no view of it shows that. So an attempt that has taken
//! longer than `connect_timeout` counts as failed, but goes on with its slot until the server has said something, or must
//! have given it up.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::breaker::Cause;
use super::establish::Refused;
use super::figures::Closed;
use super::idle::Link;
use super::lease::Held;
use super::shared::{Place, Shared};
use super::target;
use crate::database::DatabaseError;
use crate::database::postgres::connect::LONGEST_LOGIN;
use crate::database::servers::rounded;

/// Ten per cent of a lifetime, as a part of two of them: connections that were opened together aren't closed together.
const SPREAD: f64 = 0.2;

/// The attempt that others wait for. Dropped without a verdict, the next reader makes another one.
pub struct Probe {
    shared: Arc<Shared>,
    target: usize,
    is_over: bool,
}

impl Probe {
    pub fn new(shared: &Arc<Shared>, target: usize) -> Probe {
        Probe { shared: Arc::clone(shared), target, is_over: false }
    }

    /// The server was read, over a connection that was opened just now if `is_new`.
    pub fn went_well(probe: Option<Probe>, shared: &Shared, target: usize, is_new: bool) {
        let outage = shared.state().breakers[target].recovered(is_new);
        if let Some(mut probe) = probe {
            probe.is_over = true;
        }
        if let Some(outage) = outage {
            let away = rounded(outage.since.elapsed()).to_string();
            tracing::info!(
                pool = shared.settings.name,
                server = shared.targets[target].describe(),
                away,
                "the server can be read again"
            );
        }
    }

    /// The server couldn't be read.
    pub fn failed(probe: Option<Probe>, shared: &Shared, target: usize, cause: Cause, error: &DatabaseError) {
        let is_news = shared.state().breakers[target].failed(cause, error.clone(), Instant::now(), probe.is_some());
        if let Some(mut probe) = probe {
            probe.is_over = true;
        }
        if is_news {
            warn(shared, error);
        }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        if !self.is_over {
            self.shared.state().breakers[self.target].unproved();
        }
    }
}

fn warn(shared: &Shared, error: &DatabaseError) {
    let hint = error.hint();
    tracing::warn!(pool = shared.settings.name, hint, "a server can't be read for the moment: {error}");
}

/// What comes of an attempt. The slot is gone where the attempt goes on with it.
type Outcome = Result<(Held, Option<Probe>), (Option<Place>, DatabaseError)>;

/// Opens a connection for a slot. If that takes longer than until `deadline`, it goes on without the reader.
pub async fn connect(
    shared: &Arc<Shared>,
    place: Place,
    target: usize,
    probe: Option<Probe>,
    deadline: Instant,
) -> Result<(Place, Link, Option<Probe>), Refused> {
    let in_the_way = shared.state().in_the_way(shared.settings.max);
    if let Some(link) = in_the_way {
        shared.state().figures.count_closed(Closed::Replaced);
        target::close(link.connection, false).await;
    }
    let (tell, told) = oneshot::channel();
    tokio::spawn(open(Arc::clone(shared), place, target, probe, tell));
    let asked = Instant::now();
    match timeout_at(deadline, told).await {
        Ok(Ok(Ok((held, probe)))) => match held.into_parts() {
            Some((place, link)) => Ok((place, link, probe)),
            None => Err(Refused::Failed(None, DatabaseError::Stopped)),
        },
        Ok(Ok(Err((place, error)))) => Err(Refused::Failed(place, error)),
        // The runtime ends.
        Ok(Err(_)) => Err(Refused::Failed(None, DatabaseError::Stopped)),
        Err(_) => Err(Refused::Failed(None, shared.targets[target].silent("no answer", asked.elapsed()))),
    }
}

async fn open(
    shared: Arc<Shared>,
    mut place: Place,
    target: usize,
    mut probe: Option<Probe>,
    tell: oneshot::Sender<Outcome>,
) {
    let (patience, limit) = (shared.settings.acquire_timeout, shared.settings.read.connect_timeout);
    let begun = Instant::now();
    let longest = limit.max(LONGEST_LOGIN);
    let mut connecting = Box::pin(shared.targets[target].connect(&shared.settings.read, longest, &shared.application));
    let mut connected = timeout_at(begun + patience.min(limit), &mut connecting).await;
    if connected.is_err() && patience < limit {
        let error = shared.targets[target].silent("no answer", patience);
        let is_news = shared.state().breakers[target].hangs(error.clone(), Instant::now());
        if is_news {
            warn(&shared, &error);
        }
        probe = probe.or_else(|| Some(Probe::new(&shared, target)));
        connected = timeout_at(begun + limit, &mut connecting).await;
    }
    let link = |(connection, file)| {
        let expires = Instant::now() + shared.settings.lifetime();
        Link { connection, target, expires, file }
    };
    match connected {
        Ok(Ok(connection)) => {
            shared.state().figures.opened += 1;
            if let Err(Ok((held, probe))) = tell.send(Ok((Held::new(place, link(connection)), probe))) {
                // The reader has left, and the connection lies ready for the next one.
                Probe::went_well(probe, &shared, target, true);
                if let Some((place, link)) = held.into_parts() {
                    place.park(link);
                }
            }
        }
        Ok(Err(error)) => {
            Probe::failed(probe, &shared, target, Cause::Connecting, &error);
            let _ = tell.send(Err((Some(place), error)));
        }
        Err(_) => {
            let left = Left::new(&shared, target);
            place.leave();
            let error = shared.targets[target].silent("no answer", limit);
            Probe::failed(probe, &shared, target, Cause::Connecting, &error);
            let _ = tell.send(Err((None, error)));
            // A file on a disk that hangs may never be opened, and another disk may stand in its place meanwhile.
            let connected = timeout_at(begun + longest, connecting).await;
            drop(left);
            if let Ok(Ok(connection)) = connected {
                shared.state().figures.opened += 1;
                Probe::went_well(None, &shared, target, true);
                place.return_to_use();
                place.park(link(connection));
            }
        }
    }
}

/// An attempt, or a connection that keeps silent, which nobody waits for any more.
pub struct Left {
    shared: Arc<Shared>,
    target: usize,
}

impl Left {
    pub fn new(shared: &Arc<Shared>, target: usize) -> Left {
        shared.state().breakers[target].leave();
        Left { shared: Arc::clone(shared), target }
    }
}

impl Drop for Left {
    fn drop(&mut self) {
        self.shared.state().breakers[self.target].left_ends();
    }
}

impl super::PoolSettings {
    /// How long a new connection may live.
    fn lifetime(&self) -> Duration {
        let part = f64::from(getrandom::u32().unwrap_or(u32::MAX / 2)) / f64::from(u32::MAX);
        self.max_lifetime.mul_f64(1.0 + SPREAD * (part - 0.5))
    }
}
