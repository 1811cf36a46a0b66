//! Where the time of a template goes, as the threads of its pipeline count it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::build::Cost;

/// Nanoseconds by kind of work, summed over the threads.
#[derive(Default)]
pub struct Timing {
    /// Splitting, decoding and encoding.
    pub encode: AtomicU64,
    /// What of `encode` was waiting for the threads behind.
    pub wait: AtomicU64,
    /// Digesting and compressing.
    pub compress: AtomicU64,
    /// Writing blobs.
    pub write: AtomicU64,
    /// Bytes of those blobs.
    pub staged_bytes: AtomicU64,
}

impl Timing {
    /// Adds the time since an instant.
    pub fn add(counter: &AtomicU64, since: Instant) {
        counter.fetch_add(u64::try_from(since.elapsed().as_nanos()).unwrap_or(0), Ordering::Relaxed);
    }

    /// Adds a number of bytes.
    pub fn count(counter: &AtomicU64, bytes: usize) {
        counter.fetch_add(u64::try_from(bytes).unwrap_or(0), Ordering::Relaxed);
    }

    /// What it comes to.
    pub fn cost(&self, query_seconds: f64) -> Cost {
        let seconds = |counter: &AtomicU64| Duration::from_nanos(counter.load(Ordering::Relaxed)).as_secs_f64();
        Cost {
            queries: 0,
            query_seconds,
            encode_seconds: (seconds(&self.encode) - seconds(&self.wait)).max(0.0),
            compress_seconds: seconds(&self.compress),
            write_seconds: seconds(&self.write),
            staged_bytes: self.staged_bytes.load(Ordering::Relaxed),
        }
    }
}
