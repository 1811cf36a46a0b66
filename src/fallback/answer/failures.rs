//! What couldn't be had: told to the log and to the reader, and left alone for a while.

use std::time::Duration;

use tokio::time::Instant;

use super::super::Fallback;
use super::super::figures::Shed;
use super::super::live::LiveError;
use super::{COME_BACK, Landed};
use crate::database::PoolError;

/// How often the log is told that a document can't be had.
pub const TOLD: Duration = Duration::from_secs(10);
/// The first wait before a document that failed is tried again; it doubles up to the last.
pub const FIRST_REST: Duration = Duration::from_secs(1);
/// The last of these waits.
const LAST_REST: Duration = Duration::from_secs(30);

/// A document that couldn't be fetched.
#[derive(Debug, Clone)]
pub struct Failure {
    /// When it is tried again.
    pub until: Instant,
    /// The wait until then.
    pub length: Duration,
    /// Why, in a word.
    pub why: Shed,
}

impl Fallback {
    /// What became of an error: told to the log, and to the reader in a word.
    pub(super) fn failed(&self, path: &str, error: &LiveError) -> Landed {
        let (why, retry_after) = match error {
            LiveError::Pool(PoolError::Full { .. } | PoolError::TimedOut { .. }) => (Shed::Busy, COME_BACK),
            LiveError::Pool(PoolError::Down { retry_after, .. }) => (Shed::Down, *retry_after),
            LiveError::Pool(_) => (Shed::Down, COME_BACK),
            LiveError::Database(error) if error.is_fatal() => (Shed::Down, COME_BACK),
            LiveError::Database(_) | LiveError::Template(_) => (Shed::Failed, COME_BACK),
            LiveError::TooSlow { .. } | LiveError::TableTooSlow { .. } => (Shed::Slow, COME_BACK),
        };
        let is_told = match why {
            // Beside a crowd that waits in vain, one statement that fails is still to be seen.
            Shed::Busy => self.told_busy.once_in(TOLD),
            // The pool says by itself that a server is away, and when it is back.
            Shed::Down => false,
            _ => self.told.once_in(TOLD),
        };
        if is_told {
            tracing::warn!(path, class = error.class(), hint = error.hint(), %error, "not answered");
        } else {
            // One line says it for all of this moment.
            tracing::debug!(path, class = error.class(), %error, "not answered");
        }
        Landed::Failed { retry_after, why }
    }

    /// Keeps a document that failed from being tried again at once. What only was too much at a time isn't its fault.
    pub(super) fn rest(&self, path: &str, failed: Landed) -> Landed {
        if let Landed::Failed { why: why @ (Shed::Failed | Shed::Slow), .. } = failed {
            let before = self.failures.get(path).map_or(FIRST_REST / 2, |failure| failure.length);
            let length = (before * 2).min(LAST_REST);
            self.failures.insert(path.into(), Failure { until: Instant::now() + length, length, why });
            return Landed::Failed { retry_after: length, why };
        }
        failed
    }
}
