//! Clocks: the store's against this machine's, and the store's against itself.

use std::time::{Duration, SystemTime};

use crate::store::probe::{Check, Subject, Verdict};

const CLOCK: Subject = Subject { name: "clock", means: "requests are signed in time, and releases dated right" };
const LEASE_AGE: Subject = Subject { name: "lease-age", means: "the lease of a dead publisher runs out, and no other" };

/// Beyond this, S3 refuses what is signed.
const REFUSED: Duration = Duration::from_mins(15);
/// Beyond this, somebody should look at NTP.
const DOUBTFUL: Duration = Duration::from_mins(1);
/// How far the two clocks of a store may be apart: a lease is left alone for so much longer than it lives.
const GRACE: Duration = Duration::from_secs(30);

/// Compares what the store said the time was with this machine's clock at the same moment.
pub fn clock(here: SystemTime, there: Option<SystemTime>) -> Check {
    let Some(there) = there else { return CLOCK.check(Verdict::Skipped, "the store's answers have no Date") };
    let apart = apart(here, there);
    let word = if there > here { "behind" } else { "ahead of" };
    let detail = format!("this machine's clock is {} {word} the store's", rounded(apart));
    let hint = "set this machine's clock (`timedatectl` shows whether NTP is on), or the store's";
    if apart < DOUBTFUL {
        return CLOCK.ok(format!("{} from the store's", rounded(apart)));
    }
    match apart < REFUSED {
        true => CLOCK.check(Verdict::Warning, detail).hint(format!("{hint}; S3 refuses requests at 15 minutes")),
        false => CLOCK.broken(detail).hint(hint),
    }
}

/// Compares when the store says that an object was written with what time it said it was a moment later.
pub fn lease_age(modified: Option<SystemTime>, date: Option<SystemTime>) -> Check {
    let hint = "the age of a lease is the difference of the two; is there a proxy that drops or changes them?";
    let (Some(modified), Some(date)) = (modified, date) else {
        let which = if modified.is_none() { "Last-Modified" } else { "Date" };
        let detail = format!("the store answers without {which}, so the lease of a dead publisher never runs out");
        return LEASE_AGE.broken(detail).hint(hint);
    };
    match apart(modified, date) {
        apart if apart > GRACE => {
            let detail =
                format!("an object that was just written is dated {} off by the store's clock", rounded(apart));
            LEASE_AGE.broken(detail).hint(hint)
        }
        apart => LEASE_AGE.ok(format!("Last-Modified is {} from Date", rounded(apart))),
    }
}

fn apart(one: SystemTime, other: SystemTime) -> Duration {
    one.duration_since(other).unwrap_or_else(|error| error.duration())
}

fn rounded(duration: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(Duration::from_secs(duration.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_off() {
        let here = SystemTime::now();
        let at = |seconds: u64| clock(here, Some(here + Duration::from_secs(seconds)));
        assert_eq!(at(59).outcome, Verdict::Ok);
        assert_eq!(at(60).outcome, Verdict::Warning);
        assert!(at(90).detail.contains("1m 30s behind"), "{}", at(90).detail);
        assert_eq!(at(15 * 60).outcome, Verdict::Broken);
        let ahead = clock(here, Some(here - Duration::from_mins(2)));
        assert!(ahead.detail.contains("2m ahead of"), "{}", ahead.detail);
        assert_eq!(clock(here, None).outcome, Verdict::Skipped);
    }

    #[test]
    fn a_store_whose_dates_do_not_agree() {
        let now = SystemTime::now();
        let off = |seconds: u64| lease_age(Some(now - Duration::from_secs(seconds)), Some(now)).outcome;
        assert_eq!((off(0), off(30), off(31)), (Verdict::Ok, Verdict::Ok, Verdict::Broken));
        assert!(lease_age(None, Some(now)).detail.contains("Last-Modified"));
        assert!(lease_age(Some(now), None).detail.contains("Date"));
    }
}
