//! What is known of a server that failed: until when nobody asks it again, and who may then.
//!
//! A server that is down answers slowly or not at all, so each reader who tried it would hold a slot for as long as an
//! attempt may take. After a failure, further readers are therefore sent on, to the next server or away, for half a
//! second; then one of them tries, and if that fails too, for twice as long, up to five seconds.
//!
//! An attempt that has taken too long isn't broken off, because the server may go on with it: see [`super::opening`]; nor is
//! a connection on which it keeps silent: see [`super::silence`]. While half of the pool's slots are taken by these, nobody
//! opens a connection.

use std::time::Duration;

use tokio::time::Instant;

use crate::database::DatabaseError;

/// How long nobody asks again after the first failure.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// The longest such time.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// What fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// No connection comes about; those that are open may still do.
    Connecting,
    /// The server isn't fit to be read: it lags behind its primary, or has just ended a transaction.
    Reading,
}

/// What a reader may do.
#[derive(Debug)]
pub enum Door {
    /// Ask.
    Open,
    /// Ask, and tell what came of it: nobody else may until then.
    Probe,
    /// Not ask, because of this.
    Shut(Box<Outage>),
}

/// A server's troubles.
#[derive(Debug)]
pub struct Breaker {
    outage: Option<Outage>,
    /// Attempts to connect that go on behind everybody's back, and connections that keep silent.
    left: usize,
    /// How many of them there may be for another attempt to begin, plus one.
    enough: usize,
}

/// A trouble that lasts.
#[derive(Debug, Clone)]
pub struct Outage {
    cause: Cause,
    /// Since when.
    pub since: Instant,
    /// What the last attempt said.
    pub error: DatabaseError,
    until: Instant,
    wait: Duration,
    is_probed: bool,
}

impl Breaker {
    /// A server without troubles, in a pool of this size.
    pub fn new(max: usize) -> Breaker {
        Breaker { outage: None, left: 0, enough: (max / 2).max(1) }
    }

    /// Whether the server may be asked; `has_connection` if over a connection that is open already.
    pub fn door(&mut self, now: Instant, has_connection: bool) -> Door {
        if let Some(outage) = self.shut(now, has_connection) {
            return Door::Shut(Box::new(outage.clone()));
        }
        match &mut self.outage {
            Some(outage) if !outage.lets(has_connection) => {
                outage.is_probed = true;
                Door::Probe
            }
            _ => Door::Open,
        }
    }

    /// The trouble for which nobody may ask now.
    pub fn shut(&self, now: Instant, has_connection: bool) -> Option<&Outage> {
        let is_crowded = !has_connection && self.left >= self.enough;
        let is_shut = |outage: &&Outage| outage.is_probed || now < outage.until || is_crowded;
        self.outage.as_ref().filter(|outage| !outage.lets(has_connection)).filter(is_shut)
    }

    /// An attempt failed, which was the one that others wait for if `is_probe`. Returns true if that is news.
    pub fn failed(&mut self, cause: Cause, error: DatabaseError, now: Instant, is_probe: bool) -> bool {
        let Some(outage) = &mut self.outage else {
            self.outage = Some(Outage::new(cause, error, now));
            return true;
        };
        // Readers that were on their way when the first of them failed don't count again.
        if is_probe {
            outage.wait = (outage.wait * 2).min(LONGEST_WAIT);
            outage.until = now + outage.wait;
            outage.is_probed = false;
        }
        outage.cause = cause;
        outage.error = error;
        false
    }

    /// An attempt hangs: it is the one that others wait for from now on. Returns true if that is news.
    pub fn hangs(&mut self, error: DatabaseError, now: Instant) -> bool {
        let is_news = self.outage.is_none();
        self.outage.get_or_insert_with(|| Outage::new(Cause::Connecting, error, now)).is_probed = true;
        is_news
    }

    /// The probe came to no result.
    pub fn unproved(&mut self) {
        if let Some(outage) = &mut self.outage {
            outage.is_probed = false;
        }
    }

    /// An attempt went well, over a connection that was opened for it if `is_new`. Returns what there was.
    pub fn recovered(&mut self, is_new: bool) -> Option<Outage> {
        let hangs = |outage: &Outage| outage.cause == Cause::Connecting && (outage.is_probed || self.left > 0);
        // One that was open before says nothing of those that hang.
        if !is_new && self.outage.as_ref().is_some_and(hangs) {
            return None;
        }
        self.outage.take()
    }

    /// An attempt is left to itself.
    pub fn leave(&mut self) {
        self.left += 1;
    }

    /// An attempt that was left to itself has ended.
    pub fn left_ends(&mut self) {
        self.left -= 1;
    }

    /// True while there is a trouble.
    pub fn is_troubled(&self) -> bool {
        self.outage.is_some()
    }
}

impl Outage {
    fn new(cause: Cause, error: DatabaseError, now: Instant) -> Outage {
        Outage { cause, since: now, error, until: now + FIRST_WAIT, wait: FIRST_WAIT, is_probed: false }
    }

    fn lets(&self, has_connection: bool) -> bool {
        has_connection && self.cause == Cause::Connecting
    }

    /// How long until the server is asked again.
    pub fn retry_after(&self, now: Instant) -> Duration {
        match self.until.checked_duration_since(now) {
            Some(left) if !left.is_zero() => left,
            // Somebody is asking.
            _ => FIRST_WAIT,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost() -> DatabaseError {
        DatabaseError::Lost { reason: "gone".to_owned() }
    }

    #[test]
    fn one_probe_at_a_time_and_longer_waits() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut breaker = Breaker::new(4);
        assert!(matches!(breaker.door(start, false), Door::Open));
        assert!(breaker.failed(Cause::Connecting, lost(), start, false));
        assert!(!breaker.failed(Cause::Connecting, lost(), at(10), false), "it was on its way");
        assert!(matches!(breaker.door(at(499), false), Door::Shut(_)));
        assert!(matches!(breaker.door(at(499), true), Door::Open), "an open connection may do");
        assert!(matches!(breaker.door(at(500), false), Door::Probe));
        assert!(matches!(breaker.door(at(500), false), Door::Shut(_)), "one at a time");
        breaker.unproved();
        let mut now = at(500);
        for wait in [1000, 2000, 4000, 5000, 5000] {
            assert!(matches!(breaker.door(now, false), Door::Probe));
            breaker.failed(Cause::Connecting, lost(), now, true);
            let shut = breaker.shut(now, false).unwrap();
            assert_eq!((shut.retry_after(now), shut.since), (Duration::from_millis(wait), start));
            now += Duration::from_millis(wait);
        }
        assert!(breaker.recovered(true).is_some());
        assert!(matches!(breaker.door(now, false), Door::Open));
    }

    #[test]
    fn an_attempt_that_hangs_keeps_the_others_out_until_it_ends() {
        let start = Instant::now();
        let mut breaker = Breaker::new(4);
        assert!(breaker.hangs(lost(), start));
        let later = start + LONGEST_WAIT;
        assert!(matches!(breaker.door(later, false), Door::Shut(outage) if outage.retry_after(later) == FIRST_WAIT));
        breaker.failed(Cause::Connecting, lost(), later, true);
        assert!(matches!(breaker.door(later + 2 * FIRST_WAIT, false), Door::Probe));
    }

    #[test]
    fn attempts_that_are_left_keep_others_from_beginning_and_open_connections_go_on() {
        let start = Instant::now();
        let mut breaker = Breaker::new(4);
        breaker.failed(Cause::Connecting, lost(), start, false);
        let later = start + LONGEST_WAIT;
        breaker.leave();
        assert!(matches!(breaker.door(later, false), Door::Probe), "half of the slots are free");
        breaker.leave();
        breaker.unproved();
        assert!(matches!(breaker.door(later, false), Door::Shut(_)));
        assert!(matches!(breaker.door(later, true), Door::Open));
        assert!(breaker.recovered(false).is_none(), "an old connection says nothing of new ones");
        assert!(matches!(breaker.door(later, false), Door::Shut(_)));
        breaker.left_ends();
        assert!(matches!(breaker.door(later, false), Door::Probe));
        assert!(breaker.recovered(true).is_some());
    }

    #[test]
    fn a_server_that_is_not_fit_is_not_asked_over_an_open_connection_either() {
        let start = Instant::now();
        let mut breaker = Breaker::new(4);
        breaker.failed(Cause::Reading, lost(), start, false);
        assert!(matches!(breaker.door(start, true), Door::Shut(_)));
        assert!(matches!(breaker.door(start + FIRST_WAIT, true), Door::Probe));
    }
}
