//! From a slot to a begun transaction: the servers one after the other, on a connection that lies ready or on a new one.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::PoolError;
use super::breaker::{Cause, Door, Outage};
use super::figures::Closed;
use super::idle::Link;
use super::lease::{Begun, Held};
use super::opening::{Probe, connect};
use super::shared::{Place, Shared};
use super::target;
use crate::database::{DatabaseError, PassedOver, ReadSettings, Source};

/// A reader whose slot came free at the last moment gets so much more time.
const AT_LEAST: Duration = Duration::from_millis(150);

/// A connection in its slot, and the transaction that has begun on it.
type Established = ((Place, Link), Begun);

/// Why a server isn't read.
pub enum Refused {
    /// Nobody may ask it now.
    Shut(Place, Box<Outage>),
    /// It can't be read. The slot is gone where a connection that hangs has kept it.
    Failed(Option<Place>, DatabaseError),
    /// It refuses the transaction, as every other one would.
    Final(DatabaseError),
}

/// Why a transaction didn't begin on a connection.
enum NotBegun {
    /// The connection is of no use any more.
    Dead(Place, DatabaseError),
    /// The server isn't fit to be read.
    Unfit(Place, DatabaseError),
    /// No answer in time. The slot stays with the connection until the server speaks.
    Silent(DatabaseError),
    /// The server refuses it.
    Refused(DatabaseError),
}

impl Shared {
    /// An error if no server may be asked now.
    pub fn refuse_if_down(&self, now: Instant) -> Result<(), PoolError> {
        let mut state = self.state();
        let shut = |target: usize| state.breakers[target].shut(now, state.idle.has(target)).cloned();
        let Some(outages) = (0..self.targets.len()).map(shut).collect::<Option<Vec<_>>>() else { return Ok(()) };
        state.figures.refused += 1;
        drop(state);
        Err(self.down(&outages, now))
    }

    /// Finds a connection for a slot, and begins a transaction on it.
    pub async fn establish(
        self: &Arc<Self>,
        place: Place,
        asked: Instant,
        settings: &ReadSettings,
    ) -> Result<Established, PoolError> {
        let deadline = (asked + self.settings.acquire_timeout).max(Instant::now() + AT_LEAST);
        let mut slot = Some(place);
        let mut outages = Vec::new();
        let mut errors = Vec::new();
        for target in 0..self.targets.len() {
            let Some(place) = slot.take().or_else(|| Place::at_once(self)) else { break };
            // A server that doesn't answer leaves time for the next one.
            let now = Instant::now();
            let left = deadline.saturating_duration_since(now);
            let share = now + left / u32::try_from(self.targets.len() - target).unwrap_or(1);
            match self.read(place, target, settings, share).await {
                Ok((parts, mut begun)) => {
                    begun.source.passed_over = self.passed_over(&errors);
                    return Ok((parts, begun));
                }
                Err(Refused::Final(error)) => return Err(error.into()),
                Err(Refused::Shut(kept, outage)) => {
                    slot = Some(kept);
                    errors.push((target, outage.error.clone()));
                    outages.push(*outage);
                }
                Err(Refused::Failed(kept, error)) => {
                    slot = kept;
                    errors.push((target, error));
                }
            }
        }
        if outages.len() < self.targets.len() {
            return Err(self.nobody(errors).into());
        }
        self.state().figures.refused += 1;
        Err(self.down(&outages, Instant::now()))
    }

    /// Begins a transaction on one server.
    async fn read(
        self: &Arc<Self>,
        mut place: Place,
        target: usize,
        settings: &ReadSettings,
        deadline: Instant,
    ) -> Result<Established, Refused> {
        let has_connection = self.state().idle.has(target);
        let mut probe = match self.ask(target, has_connection) {
            Ok(probe) => probe,
            Err(outage) => return Err(Refused::Shut(place, outage)),
        };
        let lies_ready = self.state().idle.pop(target);
        if let Some(link) = lies_ready {
            match self.begin(place, link, settings, deadline, false).await {
                Ok(established) => {
                    Probe::went_well(probe, self, target, false);
                    return Ok(established);
                }
                // Nothing was read yet, so a new connection does as well.
                Err(NotBegun::Dead(kept, error)) => {
                    tracing::debug!(%error, "a connection that lay ready was dead");
                    self.state().figures.invalid += 1;
                    place = kept;
                }
                Err(not_begun) => return Err(self.refused(not_begun, target, probe)),
            }
        }
        if probe.is_none() {
            probe = match self.ask(target, false) {
                Ok(probe) => probe,
                Err(outage) => return Err(Refused::Shut(place, outage)),
            };
        }
        let (place, link, probe) = connect(self, place, target, probe, deadline).await?;
        match self.begin(place, link, settings, deadline, true).await {
            Ok(established) => {
                Probe::went_well(probe, self, target, true);
                Ok(established)
            }
            Err(not_begun) => Err(self.refused(not_begun, target, probe)),
        }
    }

    /// Whether a server may be asked; the probe if its answer is what others wait for.
    fn ask(self: &Arc<Self>, target: usize, has_connection: bool) -> Result<Option<Probe>, Box<Outage>> {
        let door = self.state().breakers[target].door(Instant::now(), has_connection);
        match door {
            Door::Open => Ok(None),
            Door::Probe => Ok(Some(Probe::new(self, target))),
            Door::Shut(outage) => Err(outage),
        }
    }

    /// Begins a transaction on a connection.
    async fn begin(
        &self,
        place: Place,
        link: Link,
        settings: &ReadSettings,
        deadline: Instant,
        is_new: bool,
    ) -> Result<Established, NotBegun> {
        let target = &self.targets[link.target];
        let asked = Instant::now();
        let mut held = Held::new(place, link);
        held.is_busy = true;
        let begun = match held.link() {
            Some(link) => timeout_at(deadline, target.begin(link, settings)).await,
            None => return Err(NotBegun::Refused(DatabaseError::Stopped)),
        };
        let Ok(begun) = begun else {
            held.give_up();
            return Err(NotBegun::Silent(
                target.silent("it takes connections, but answers no statement", asked.elapsed()),
            ));
        };
        held.is_busy = false;
        let Some((place, link)) = held.into_parts() else { return Err(NotBegun::Refused(DatabaseError::Stopped)) };
        let error = match begun {
            Ok((as_of, is_replica)) => {
                let connections = u64::from(is_new);
                let source = Source { server: target.describe(), is_replica, connections, passed_over: Vec::new() };
                return Ok(((place, link), Begun { as_of, source }));
            }
            Err(error) => error,
        };
        let (reason, not_begun) = match error {
            DatabaseError::Unfit { .. } => (Closed::Replaced, NotBegun::Unfit(place, error)),
            DatabaseError::Statement { .. } => (Closed::Unclean, NotBegun::Refused(error)),
            _ => (Closed::Invalid, NotBegun::Dead(place, error)),
        };
        self.state().figures.count_closed(reason);
        target::close(link.connection, false).await;
        Err(not_begun)
    }

    /// Notes what is wrong with a server.
    fn refused(self: &Arc<Self>, not_begun: NotBegun, target: usize, probe: Option<Probe>) -> Refused {
        let (cause, slot, error) = match not_begun {
            NotBegun::Refused(error) => return Refused::Final(error),
            NotBegun::Dead(place, error) => (Cause::Connecting, Some(place), error),
            NotBegun::Unfit(place, error) => (Cause::Reading, Some(place), error),
            NotBegun::Silent(error) => (Cause::Reading, None, error),
        };
        Probe::failed(probe, self, target, cause, &error);
        Refused::Failed(slot, error)
    }

    fn down(&self, outages: &[Outage], now: Instant) -> PoolError {
        let since = outages.iter().map(|outage| outage.since).min().unwrap_or(now);
        let error = self.nobody(outages.iter().map(|outage| outage.error.clone()).enumerate().collect());
        PoolError::Down {
            reason: error.to_string(),
            down_for: now.saturating_duration_since(since),
            retry_after: outages.iter().map(|outage| outage.retry_after(now)).min().unwrap_or_default(),
            hint: error.hint(),
        }
    }

    /// The error where no server can be read, from each one's.
    fn nobody(&self, mut errors: Vec<(usize, DatabaseError)>) -> DatabaseError {
        if self.targets.len() == 1
            && let Some((_, error)) = errors.pop()
        {
            return error;
        }
        DatabaseError::NoServer { passed_over: self.passed_over(&errors) }
    }

    fn passed_over(&self, errors: &[(usize, DatabaseError)]) -> Vec<PassedOver> {
        let of = |(target, error): &(usize, DatabaseError)| PassedOver {
            server: self.targets[*target].describe(),
            reason: error.reason(),
            hint: error.hint(),
        };
        errors.iter().map(of).collect()
    }
}
