//! Which outcome is tried again, for how long, and what is said when it is given up.
//!
//! The SDK's own retries are off: they know neither 429 nor 409, stop in a storm of 503s after about a hundred, and
//! would repeat a conditional write. Waits grow twofold with full jitter, so that requests that failed together don't
//! come back together. Nothing waits while it holds a permit.

use std::time::{Duration, Instant};

use super::failure::{Class, Failure};
use super::limiter::Permit;

/// How long a store that asks for fewer requests is waited for.
const THROTTLED: Duration = Duration::from_secs(90);
/// How long a server is tried that can't be reached: it may be restarting.
const UNREACHABLE: Duration = Duration::from_secs(5);
/// Accidents are tried again for so many times the time-out of one request.
const TRANSIENT_TIMEOUTS: f64 = 2.5;
/// Accidents are tried again for at least so long, however short the time-out.
const TRANSIENT: Duration = Duration::from_secs(5);
/// Waits are up to this and its doubles.
const BASE: Duration = Duration::from_millis(100);
/// The longest that is waited at once.
const CAP: Duration = Duration::from_secs(8);

/// The attempts of one operation.
pub struct Attempts {
    began: Instant,
    first_sent: Option<Instant>,
    last_sent: Option<Instant>,
    /// The class of the last failures, and when the first request was sent that failed so.
    series: Option<(Class, Instant)>,
    timeout: Duration,
    /// How many requests were sent.
    pub count: u32,
}

/// For how long a failure of this class is worth another try; `None` if it never is.
pub fn patience(class: Class, timeout: Duration) -> Option<Duration> {
    match class {
        Class::Throttled => Some(THROTTLED),
        Class::Transient => Some(timeout.mul_f64(TRANSIENT_TIMEOUTS).max(TRANSIENT)),
        Class::Unreachable => Some(UNREACHABLE),
        Class::Conflict => Some(TRANSIENT),
        Class::NotFound | Class::Condition | Class::Unsupported | Class::Refused | Class::Hopeless => None,
    }
}

impl Attempts {
    /// No attempt yet, at an operation whose requests may take `timeout`.
    pub fn new(timeout: Duration) -> Attempts {
        Attempts { began: Instant::now(), first_sent: None, last_sent: None, series: None, timeout, count: 0 }
    }

    /// How long to wait before the next attempt; `None` to give up.
    ///
    /// A class has its time from the first of an unbroken series on: one refused connection after a minute of `SlowDown`
    /// is the first of its kind. Failures that take turns end as well, after twice the longest of these times.
    pub fn wait_after(&mut self, class: Class) -> Option<Duration> {
        let budget = patience(class, self.timeout)?;
        // Counted from when a request was sent, since waiting for a permit before it is nobody's failure.
        let sent = self.last_sent.unwrap_or_else(Instant::now);
        let began = match self.series {
            Some((known, began)) if known == class => began,
            _ => sent,
        };
        self.series = Some((class, began));
        let longest = patience(Class::Transient, self.timeout).unwrap_or_default().max(THROTTLED);
        let most = (BASE * 2_u32.saturating_pow(self.count.min(16))).min(CAP);
        let wait = most.mul_f64(random());
        let all = self.first_sent.map_or(Duration::ZERO, |sent| sent.elapsed());
        (began.elapsed() + wait < budget && all + wait < longest * 2).then_some(wait)
    }

    /// Notes that a request is sent.
    pub fn begin(&mut self) {
        let now = Instant::now();
        self.first_sent.get_or_insert(now);
        self.last_sent = Some(now);
        self.count += 1;
    }

    /// What is said of an operation that was given up: the reason, and what it took to find out.
    pub fn told(&self, failure: &Failure) -> String {
        let elapsed = Duration::from_millis(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX));
        let elapsed = humantime::format_duration(elapsed);
        match self.count {
            0 | 1 => failure.reason.clone(),
            count => format!("{} ({count} attempts in {elapsed})", failure.reason),
        }
    }
}

/// Tells the limiter what became of a request.
pub fn settle<T>(permit: Permit<'_>, outcome: &Result<T, Failure>) {
    match outcome {
        Ok(_) => permit.answered(),
        Err(failure) => match failure.class {
            Class::Throttled => permit.throttled(),
            Class::NotFound | Class::Condition | Class::Conflict => permit.answered(),
            _ => drop(permit),
        },
    }
}

/// A number from 0 to 1.
fn random() -> f64 {
    // Without the system's randomness a fixed half still spreads by the growing waits.
    getrandom::u32().map_or(0.5, |number| f64::from(number) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ago(time: Duration) -> Instant {
        Instant::now().checked_sub(time).unwrap()
    }

    #[test]
    fn each_class_has_its_own_time() {
        let mut attempts = Attempts::new(Duration::from_secs(10));
        attempts.begin();
        attempts.first_sent = Some(ago(THROTTLED / 2));
        attempts.series = Some((Class::Throttled, ago(THROTTLED / 2)));
        assert!(attempts.wait_after(Class::Throttled).is_some());
        // Long after the first request, but the first of its kind.
        attempts.begin();
        assert!(attempts.wait_after(Class::Unreachable).is_some());
        attempts.series = Some((Class::Unreachable, ago(UNREACHABLE)));
        assert_eq!(attempts.wait_after(Class::Unreachable), None);
        attempts.begin();
        assert!(attempts.wait_after(Class::Throttled).is_some());
        // Taking turns doesn't go on for ever.
        attempts.first_sent = Some(ago(THROTTLED * 2));
        attempts.begin();
        assert_eq!(attempts.wait_after(Class::Transient), None);
    }

    #[test]
    fn what_is_never_tried_again() {
        for class in [Class::NotFound, Class::Condition, Class::Unsupported, Class::Refused, Class::Hopeless] {
            assert_eq!(Attempts::new(Duration::from_secs(10)).wait_after(class), None);
        }
    }

    #[test]
    fn waits_grow_and_end() {
        let mut attempts = Attempts::new(Duration::from_secs(10));
        for count in 0..40 {
            attempts.begin();
            let most = (BASE * 2_u32.saturating_pow(count + 1)).min(CAP);
            assert!(attempts.wait_after(Class::Throttled).unwrap() <= most);
        }
        attempts.series = Some((Class::Throttled, ago(THROTTLED)));
        assert_eq!(attempts.wait_after(Class::Throttled), None);
        let failure = Failure::new(Class::Throttled, "the store answered 503");
        assert!(attempts.told(&failure).starts_with("the store answered 503 (40 attempts in "));
    }
}
