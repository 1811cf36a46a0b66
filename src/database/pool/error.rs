//! Why there is no lease, for the person who must act and for the reader who may come again.

use std::time::Duration;

use crate::database::DatabaseError;

/// Why there is no lease.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PoolError {
    /// Too many wait already. This is told at once.
    #[error(
        "the pool `{pool}` is full: {in_use} of {max} connections are in use, and {waiting} readers wait for one, the most that may"
    )]
    Full {
        /// The pool's name.
        pool: &'static str,
        /// The most connections.
        max: usize,
        /// How many are in use, those that are being closed included.
        in_use: usize,
        /// How many readers wait.
        waiting: usize,
    },
    /// No connection came free in time.
    #[error(
        "the pool `{pool}` had no connection free: waited {} of at most {}; max {max}, in use {in_use}, waiting {waiting}",
        shown(*waited),
        shown(*limit)
    )]
    TimedOut {
        /// The pool's name.
        pool: &'static str,
        /// The most connections.
        max: usize,
        /// How many are in use, those that are being closed included.
        in_use: usize,
        /// How many readers wait, this one included.
        waiting: usize,
        /// How long this one has waited.
        waited: Duration,
        /// `acquire_timeout`.
        limit: Duration,
    },
    /// No server can be read, which was found out a moment ago. This is told at once.
    #[error("the database has been away for {}: {reason}", shown(*down_for))]
    Down {
        /// Why, in the words of the last attempt.
        reason: String,
        /// For how long.
        down_for: Duration,
        /// When it is tried again.
        retry_after: Duration,
        /// What to do.
        hint: Option<String>,
    },
    /// No connection came about, or no transaction on it.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The task holds a lease of this pool already, or waits for one.
    #[error("a task asked the pool `{pool}` for a second connection while it had one, or waited for one")]
    Nested {
        /// The pool's name.
        pool: &'static str,
    },
    /// The pool was closed.
    #[error("the pool `{pool}` is closed")]
    Closed {
        /// The pool's name.
        pool: &'static str,
    },
}

impl PoolError {
    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        match self {
            PoolError::Full { .. } | PoolError::TimedOut { .. } => Some(
                "if pg_stat_activity shows slow statements, mend those; else raise [database.serve] max as far as the server \
                 has connections left, or queue and acquire_timeout to let readers wait for longer"
                    .to_owned(),
            ),
            PoolError::Down { hint, .. } => hint.clone(),
            PoolError::Database(error) => error.hint(),
            PoolError::Nested { .. } | PoolError::Closed { .. } => None,
        }
    }

    /// The class of the error in logs and metrics.
    pub fn class(&self) -> &'static str {
        match self {
            PoolError::Full { .. } => "pool_full",
            PoolError::TimedOut { .. } => "pool_timeout",
            PoolError::Down { .. }
            | PoolError::Database(DatabaseError::Connect { .. } | DatabaseError::NoServer { .. }) => "connect_failed",
            PoolError::Database(DatabaseError::Lost { .. }) => "connection_lost",
            PoolError::Database(_) => "database",
            PoolError::Nested { .. } => "pool_nested",
            PoolError::Closed { .. } => "pool_closed",
        }
    }
}

/// A duration for people, to the millisecond.
fn shown(duration: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_out_tells_all_six_figures_and_what_to_do() {
        let error = PoolError::TimedOut {
            pool: "serve",
            max: 4,
            in_use: 3,
            waiting: 16,
            waited: Duration::from_micros(1_001_400),
            limit: Duration::from_secs(1),
        };
        assert_eq!(
            error.to_string(),
            "the pool `serve` had no connection free: waited 1s 1ms of at most 1s; max 4, in use 3, waiting 16"
        );
        assert!(error.hint().is_some_and(|hint| hint.contains("[database.serve] max")));
    }
}
