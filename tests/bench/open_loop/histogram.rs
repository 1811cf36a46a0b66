//! Latencies in buckets: a fixed amount of memory for any number of them, each known to better than two per cent.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Buckets for each doubling of the latency, as bits: 64 of them, so that one is 1/64 of its value wide.
const BITS: u32 = 6;
const SUB: usize = 1 << BITS;
/// The largest value is 2^36 µs, 19 hours.
const LONGEST_BITS: u32 = 36;
const BUCKETS: usize = SUB + (LONGEST_BITS - BITS) as usize * SUB;

/// Latencies of one kind, counted by many at a time.
pub struct Histogram {
    buckets: Vec<AtomicU64>,
    longest_micros: AtomicU64,
}

/// What is told of a histogram, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    pub count: u64,
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
    pub longest: f64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram { buckets: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect(), longest_micros: AtomicU64::new(0) }
    }
}

impl Histogram {
    /// Counts one.
    pub fn count(&self, latency: Duration) {
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).min((1 << LONGEST_BITS) - 1);
        if let Some(bucket) = self.buckets.get(bucket_of(micros)) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.longest_micros.fetch_max(micros, Ordering::Relaxed);
    }

    /// Takes the counts of another one in.
    pub fn add(&self, other: &Histogram) {
        for (bucket, more) in self.buckets.iter().zip(&other.buckets) {
            bucket.fetch_add(more.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        self.longest_micros.fetch_max(other.longest_micros.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Percentiles are the upper ends of their buckets: nothing is told to be quicker than it was.
    pub fn summary(&self) -> Summary {
        let counts: Vec<u64> = self.buckets.iter().map(|bucket| bucket.load(Ordering::Relaxed)).collect();
        let count: u64 = counts.iter().sum();
        let longest = self.longest_micros.load(Ordering::Relaxed);
        let percentile = |percent: u64| {
            let rank = (count * percent).div_ceil(100).max(1);
            let mut seen = 0;
            let found = counts.iter().position(|count| {
                seen += count;
                seen >= rank
            });
            found.map_or(0, upper_end).min(longest) as f64 / 1e3
        };
        Summary { count, p50: percentile(50), p95: percentile(95), p99: percentile(99), longest: longest as f64 / 1e3 }
    }
}

/// Values below 64 have a bucket each; from there on, 64 for each doubling.
fn bucket_of(micros: u64) -> usize {
    let small = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
    if micros < SUB as u64 {
        return small(micros);
    }
    let shift = micros.ilog2() - BITS;
    SUB + shift as usize * SUB + small(micros >> shift) - SUB
}

/// The largest value of a bucket.
fn upper_end(bucket: usize) -> u64 {
    if bucket < SUB {
        return bucket as u64;
    }
    let (shift, sub) = ((bucket - SUB) / SUB, (bucket - SUB) % SUB);
    (((SUB + sub + 1) as u64) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_meet_without_a_gap() {
        let mut last = 0;
        for bucket in 1..BUCKETS {
            let lowest = upper_end(bucket - 1) + 1;
            assert_eq!(lowest, last + 1, "bucket {bucket}");
            assert_eq!((bucket_of(lowest), bucket_of(upper_end(bucket))), (bucket, bucket));
            last = upper_end(bucket);
        }
        assert_eq!(last, (1 << LONGEST_BITS) - 1);
    }

    #[test]
    fn percentiles_are_those_of_the_values() {
        let histogram = Histogram::default();
        // 1 ms, 2 ms, … 1,000 ms.
        for value in 1..=1_000 {
            histogram.count(Duration::from_millis(value));
        }
        let found = histogram.summary();
        assert_eq!((found.count, found.longest), (1_000, 1_000.0));
        for (found, right) in [(found.p50, 500.0), (found.p95, 950.0), (found.p99, 990.0)] {
            assert!((right..right * 1.017).contains(&found), "{found} for {right}");
        }
    }

    #[test]
    fn sums_are_of_both() {
        let (one, other) = (Histogram::default(), Histogram::default());
        one.count(Duration::from_micros(10));
        other.count(Duration::from_secs(3));
        other.count(Duration::from_hours(100));
        one.add(&other);
        let found = one.summary();
        assert_eq!(found.count, 3);
        assert!(found.p50 >= 3_000.0 && found.p50 < 3_100.0, "{found:?}");
        assert!(found.longest > 60_000_000.0, "what is longer than any bucket counts in the last");
        assert_eq!(Histogram::default().summary().count, 0);
    }
}
