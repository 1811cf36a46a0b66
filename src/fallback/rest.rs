//! Rests: something that failed is left alone for a while.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// When the process began to count.
static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// A while in which something is left alone.
#[derive(Debug, Default)]
pub struct Rest {
    /// Its end in milliseconds of the process; zero without one.
    until: AtomicU64,
}

impl Rest {
    /// Says whether it is left alone.
    pub fn is_on(&self) -> bool {
        now() < self.until.load(Ordering::Relaxed)
    }

    /// Begins a rest; `false` if one is on already.
    pub fn begin(&self, length: Duration) -> bool {
        let now = now();
        let until = now + u64::try_from(length.as_millis()).unwrap_or(u64::MAX / 2);
        self.until.swap(until, Ordering::Relaxed) <= now
    }

    /// True once in so long, however often it is asked meanwhile: for what is told again as long as it goes on.
    pub fn once_in(&self, length: Duration) -> bool {
        self.once_at(now(), length)
    }

    fn once_at(&self, now: u64, length: Duration) -> bool {
        let until = self.until.load(Ordering::Relaxed);
        let next = now + u64::try_from(length.as_millis()).unwrap_or(u64::MAX / 2);
        now >= until && self.until.compare_exchange(until, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

/// Who may use what is on trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Everybody: it works.
    Everybodys,
    /// This one, who finds out whether it works again.
    OnTrial,
    /// Nobody for now.
    Nobodys,
}

/// Something that failed, is left alone for a while, and then tried by one before all use it again.
#[derive(Debug, Default)]
pub struct Trial {
    rest: Rest,
    has_failed: AtomicBool,
}

impl Trial {
    /// Says whether it is left alone.
    pub fn rests(&self) -> bool {
        self.rest.is_on()
    }

    /// Says who may use it. After a failure that is one at a time, each as long after the one before.
    pub fn turn(&self, length: Duration) -> Turn {
        match () {
            () if !self.has_failed.load(Ordering::Relaxed) => Turn::Everybodys,
            () if self.rest.begin(length) => Turn::OnTrial,
            () => Turn::Nobodys,
        }
    }

    /// It failed, and is left alone for so long.
    pub fn failed(&self, length: Duration) {
        self.has_failed.store(true, Ordering::Relaxed);
        self.rest.begin(length);
    }

    /// It couldn't be tried: the next one may.
    pub fn untried(&self) {
        if self.has_failed.load(Ordering::Relaxed) {
            self.rest.until.store(0, Ordering::Relaxed);
        }
    }

    /// It works.
    pub fn went_well(&self) {
        if self.has_failed.swap(false, Ordering::Relaxed) {
            self.rest.until.store(0, Ordering::Relaxed);
        }
    }
}

fn now() -> u64 {
    u64::try_from(BEGAN.elapsed().as_millis()).unwrap_or(u64::MAX / 2) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_hours(1);

    #[test]
    fn what_goes_on_is_told_again_and_again() {
        let rest = Rest::default();
        let told: Vec<u64> = (5..=70).filter(|now| rest.once_at(*now, Duration::from_millis(20))).collect();
        assert_eq!(told, [5, 25, 45, 65], "nobody waits for a pause in what goes on");
    }

    #[test]
    fn after_a_failure_one_tries() {
        let trial = Trial::default();
        let turns = || [0; 3].map(|_| trial.turn(LONG));
        assert_eq!((turns(), trial.rests()), ([Turn::Everybodys; 3], false));
        trial.failed(Duration::ZERO);
        let one_tries = [Turn::OnTrial, Turn::Nobodys, Turn::Nobodys];
        assert_eq!((turns(), trial.rests()), (one_tries, true));
        trial.untried();
        assert_eq!(turns(), one_tries, "another one may");
        trial.went_well();
        assert_eq!((turns(), trial.rests()), ([Turn::Everybodys; 3], false));
    }
}
