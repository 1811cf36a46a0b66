//! What a pool says in the log: how it was configured, when it gets full, and once a minute how it is.
//!
//! That it gets full is said at the moment at which it does, and not again within a minute: a pool that goes up and down
//! around a threshold would otherwise fill the log, and its metrics tell that better.

use std::sync::Weak;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::shared::Shared;

/// From this part of its connections in use, in per cent, the usage of a pool is called high.
const HIGH_PERCENT: usize = 70;
/// And from this one critical: the next readers are about to wait.
const CRITICAL_PERCENT: usize = 90;
/// The shortest time between two events of a kind, and the time from one look at a pool to the next.
const MINUTE: Duration = Duration::from_mins(1);

/// How full a pool is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    High,
    Critical,
}

/// What was said of a pool's usage, and when.
#[derive(Debug, Default)]
pub struct Usage {
    high: Option<Instant>,
    critical: Option<Instant>,
}

impl Usage {
    /// One more connection is in use: now `in_use` of `max`. Returns what is to be said about it.
    pub fn grew(&mut self, in_use: usize, max: usize, now: Instant) -> Option<Level> {
        let crosses = |percent| in_use * 100 >= max * percent && (in_use - 1) * 100 < max * percent;
        let (level, said) = if crosses(CRITICAL_PERCENT) {
            (Level::Critical, &mut self.critical)
        } else if crosses(HIGH_PERCENT) {
            (Level::High, &mut self.high)
        } else {
            return None;
        };
        if said.is_some_and(|said| now < said + MINUTE) {
            return None;
        }
        *said = Some(now);
        Some(level)
    }
}

impl Level {
    /// Says it.
    pub fn tell(self, pool: &str, checked_out: usize, max_connections: usize) {
        let usage_ratio = percent(checked_out, max_connections);
        match self {
            Level::High => {
                tracing::info!(pool, checked_out, max_connections, usage_ratio, "db_pool_high_usage");
            }
            Level::Critical => {
                tracing::error!(pool, checked_out, max_connections, usage_ratio, "db_pool_critical_usage");
            }
        }
    }
}

/// In per cent, to one digit behind the point: what `/health` says, and what such lines have elsewhere.
pub fn percent(part: usize, whole: usize) -> f64 {
    (1000.0 * part as f64 / whole.max(1) as f64).round() / 10.0
}

/// Says how the pool was configured. It opens nothing before somebody asks, so the least that it has is nothing.
pub fn configured(shared: &Shared) {
    let settings = &shared.settings;
    tracing::info!(
        pool = settings.name,
        pool_min_size = 0,
        pool_max_size = settings.max,
        queue = settings.queue,
        acquire_timeout = ?settings.acquire_timeout,
        "db_pool_configured"
    );
}

/// Says once a minute how the pool is, under the names that such lines have elsewhere. There is no overflow: it never has
/// more connections than its size.
pub async fn watch(pool: Weak<Shared>) {
    loop {
        sleep(MINUTE).await;
        let Some(shared) = pool.upgrade() else { return };
        let state = shared.seen();
        tracing::info!(
            pool = shared.settings.name,
            size = state.max,
            checked_out = state.in_use,
            overflow = 0,
            checked_in = state.idle,
            waiting = state.waiting,
            "db_pool_stats"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said while the use of a pool grows to this.
    fn said(usage: &mut Usage, to: usize, max: usize, now: Instant) -> Vec<(usize, Level)> {
        (1..=to).filter_map(|in_use| Some((in_use, usage.grew(in_use, max, now)?))).collect()
    }

    #[test]
    fn it_is_said_where_a_threshold_is_reached() {
        let now = Instant::now();
        let said = |max| said(&mut Usage::default(), max, max, now);
        assert_eq!(said(100), [(70, Level::High), (90, Level::Critical)]);
        assert_eq!(said(4), [(3, Level::High), (4, Level::Critical)]);
        assert_eq!(said(1), [(1, Level::Critical)]);
        assert!(tests::said(&mut Usage::default(), 69, 100, now).is_empty());
        let percent = [(0, 4), (3, 4), (2, 3), (7, 10), (4, 4)].map(|(part, whole)| percent(part, whole));
        assert_eq!(percent.map(|percent| percent.to_string()), ["0", "75", "66.7", "70", "100"]);
    }

    #[test]
    fn it_is_said_again_after_a_minute_only() {
        let (mut usage, now) = (Usage::default(), Instant::now());
        assert_eq!(said(&mut usage, 4, 4, now).len(), 2);
        assert!(said(&mut usage, 4, 4, now + MINUTE / 2).is_empty());
        assert_eq!(said(&mut usage, 3, 4, now + MINUTE), [(3, Level::High)]);
        assert!(usage.grew(4, 4, now + MINUTE * 2).is_some_and(|level| level == Level::Critical));
        assert_eq!(usage.grew(4, 4, now + MINUTE * 2), None);
    }
}
