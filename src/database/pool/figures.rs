//! What a pool counts. Counters only ever grow, so that whoever reads them now and then misses nothing.

use std::time::Duration;

/// Upper bounds of the histograms' buckets, in seconds: from a connection that lay ready to a build's long hold.
const BOUNDS: [f64; 14] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// What has happened in a pool since it was made.
#[derive(Debug, Clone, Default)]
pub struct PoolFigures {
    /// Leases given out.
    pub acquires: u64,
    /// Leases that ended, in whatever way; less than `acquires` by those that are out.
    pub releases: u64,
    /// Readers that waited for `acquire_timeout` in vain.
    pub timeouts: u64,
    /// Readers that were sent away because the queue was full.
    pub shed: u64,
    /// Readers that were sent away because no server could be read.
    pub refused: u64,
    /// Idle connections that turned out to be dead when they were to be used again.
    pub invalid: u64,
    /// Connections opened.
    pub opened: u64,
    /// Connections closed, by reason, in the order of [`Closed::ALL`].
    closed: [u64; Closed::ALL.len()],
    /// From asking to the lease, or to giving up for want of time.
    pub wait: Histogram,
    /// From the lease to its end.
    pub hold: Histogram,
}

/// Why a connection was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// It lay unused for `idle_timeout`.
    Idle,
    /// It was `max_lifetime` old.
    Age,
    /// Its lease was dropped without an end.
    Unfinished,
    /// Its lease was finished, and something had happened that leaves doubts: an error, or a COPY.
    Unclean,
    /// It was dead.
    Invalid,
    /// The server didn't answer in time.
    Silent,
    /// Its place was needed for a connection to another server, or its server isn't fit to be read.
    Replaced,
    /// The pool was closed.
    Drained,
}

impl Closed {
    /// All reasons.
    pub const ALL: [Closed; 8] = [
        Closed::Idle,
        Closed::Age,
        Closed::Unfinished,
        Closed::Unclean,
        Closed::Invalid,
        Closed::Silent,
        Closed::Replaced,
        Closed::Drained,
    ];

    /// The reason's name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Closed::Idle => "idle",
            Closed::Age => "age",
            Closed::Unfinished => "unfinished",
            Closed::Unclean => "unclean",
            Closed::Invalid => "invalid",
            Closed::Silent => "silent",
            Closed::Replaced => "replaced",
            Closed::Drained => "drained",
        }
    }
}

impl PoolFigures {
    /// How many connections were closed for this reason.
    pub fn closed(&self, reason: Closed) -> u64 {
        self.closed[reason as usize]
    }

    /// How many were closed for any reason.
    #[cfg(test)]
    pub fn closed_in_all(&self) -> u64 {
        self.closed.iter().sum()
    }

    pub(super) fn count_closed(&mut self, reason: Closed) {
        self.closed[reason as usize] += 1;
    }
}

/// Durations, counted into fixed buckets.
#[derive(Debug, Clone, Default)]
pub struct Histogram {
    /// How many lie in each bucket; the last one is for what exceeds all bounds.
    counts: [u64; BOUNDS.len() + 1],
    /// Their sum, in seconds.
    pub sum: f64,
}

impl Histogram {
    pub(super) fn add(&mut self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let bucket = BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS.len());
        self.counts[bucket] += 1;
        self.sum += seconds;
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Each bound in seconds, and how many durations don't exceed it; [`Histogram::count`] is that of infinity.
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        BOUNDS.iter().zip(&self.counts).scan(0, |sum, (bound, count)| {
            *sum += count;
            Some((*bound, *sum))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_counted_each_in_its_place() {
        let mut figures = PoolFigures::default();
        for (number, reason) in Closed::ALL.into_iter().enumerate() {
            (0..=number).for_each(|_| figures.count_closed(reason));
        }
        for (number, reason) in Closed::ALL.into_iter().enumerate() {
            assert_eq!(figures.closed(reason), number as u64 + 1, "{}", reason.name());
        }
        assert_eq!(figures.closed_in_all(), 36);
    }

    #[test]
    fn a_bucket_holds_what_does_not_exceed_its_bound() {
        let mut histogram = Histogram::default();
        for millis in [0, 1, 2, 1000, 1001, 60_000] {
            histogram.add(Duration::from_millis(millis));
        }
        let at =
            |bound: f64| histogram.cumulative().find(|(found, _)| (found - bound).abs() < 1e-9).map(|(_, count)| count);
        assert_eq!((at(0.001), at(0.0025), at(1.0), at(2.5), at(30.0)), (Some(2), Some(3), Some(4), Some(5), Some(5)));
        assert_eq!(histogram.count(), 6);
        assert!((histogram.sum - 62.004).abs() < 1e-9);
    }
}
