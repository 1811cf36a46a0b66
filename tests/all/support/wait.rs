//! Waiting for a condition, never for a length of time.

use std::time::{Duration, Instant};

/// How often a condition is looked at again.
pub const POLL: Duration = Duration::from_millis(5);

/// Returns what `condition` yields as soon as it yields something; fails the test when `deadline` has passed first.
pub fn wait_for<T>(what: &str, deadline: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(began.elapsed() < deadline, "waited {:.1?} for {what}, in vain", began.elapsed());
        std::thread::sleep(POLL);
    }
}

/// Returns as soon as `condition` holds; fails the test when `deadline` has passed first.
pub fn wait_until(what: &str, deadline: Duration, mut condition: impl FnMut() -> bool) {
    wait_for(what, deadline, || condition().then_some(()));
}
