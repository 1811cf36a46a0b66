//! Rests: something that failed is left alone for a while.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
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
}

fn now() -> u64 {
    u64::try_from(BEGAN.elapsed().as_millis()).unwrap_or(u64::MAX / 2) + 1
}
