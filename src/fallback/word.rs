//! The last word of the database or the table: whether it is there, asked for at most once in a while, however many want to
//! know.
//!
//! Who asks is one task of its own. Those who come meanwhile wait for the same word, so nobody is told a guess; and a
//! probe that hangs up early costs no further lease.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::flight::Flights;
use super::table::Table;
use crate::database::{Pool, PoolError};

/// How long the word counts that it is there.
const YES: Duration = Duration::from_secs(30);
/// The same of the word that it isn't, so that its return is noticed soon.
const NO: Duration = Duration::from_secs(5);

/// What it said last.
#[derive(Debug, Default)]
pub struct Word {
    said: Arc<Mutex<Option<(Instant, bool)>>>,
    asking: Flights<bool>,
}

impl Word {
    /// Whether it answered when it was last asked; none if it wasn't.
    pub fn last(&self) -> Option<bool> {
        self.said().map(|(_, is_up)| is_up)
    }

    fn said(&self) -> Option<(Instant, bool)> {
        *self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks a database for a lease, unless its last word still counts, or a reader has just read it. This takes as long as a
    /// lease may take.
    pub async fn of_database(&self, pool: &Pool) -> bool {
        let is_troubled = pool.is_troubled();
        let read = pool.last_read().filter(|at| !is_troubled && at.elapsed() < YES);
        if let Some(at) = read {
            *self.said.lock().unwrap_or_else(PoisonError::into_inner) = Some((at, true));
            return true;
        }
        let pool = pool.clone();
        let look = async move {
            match pool.begin().await {
                Ok(lease) => lease.finish().await.is_ok(),
                Err(error) => is_busy(&error),
            }
        };
        self.ask("database", is_troubled, look).await
    }

    /// Asks a fallback table whose it is, unless its last word still counts.
    pub async fn of_table(&self, table: &Table) -> bool {
        let asked = table.clone();
        let look = async move { asked.is_ours().await };
        self.ask("table", table.pool.is_troubled(), look).await
    }

    /// Looks, unless the last word still counts: a good one doesn't if somebody has had trouble since.
    async fn ask(&self, what: &str, is_troubled: bool, look: impl Future<Output = bool> + Send + 'static) -> bool {
        let fresh = || {
            let (at, is_up) = self.said()?;
            let counts = if is_up { YES } else { NO };
            (at.elapsed() < counts && !(is_up && is_troubled)).then_some(is_up)
        };
        // Looked at within the flights' lock: whoever comes right after a flight has landed finds its word.
        let unless_known = || fresh().map_or(Ok(()), Err);
        let fetch = |()| {
            let said = Arc::clone(&self.said);
            async move {
                let is_up = look.await;
                *said.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), is_up));
                is_up
            }
        };
        match self.asking.join(what, unless_known, fetch).await {
            Ok(landed) => landed.unwrap_or(false),
            Err(known) => known,
        }
    }
}

impl Table {
    /// Whether it can be read, and is this site's.
    async fn is_ours(&self) -> bool {
        match self.shown().await {
            Ok(shown) => shown.is_some_and(|shown| shown.site == self.site),
            Err(error) => is_busy(&error),
        }
    }
}

/// Whoever is busy is there.
fn is_busy(error: &PoolError) -> bool {
    matches!(error, PoolError::Full { .. } | PoolError::TimedOut { .. })
}
