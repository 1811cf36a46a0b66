//! The database's last word: whether it is there, asked for at most once in a while, however many want to know.
//!
//! Who asks is one task of its own. Those who come meanwhile wait for the same word, so nobody is told a guess; and a
//! probe that hangs up early costs no further lease.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::flight::Flights;
use crate::database::{Pool, PoolError};

/// How long the word counts that it is there.
const YES: Duration = Duration::from_secs(30);
/// The same of the word that it isn't, so that its return is noticed soon.
const NO: Duration = Duration::from_secs(5);

/// What the database said last.
#[derive(Debug, Default)]
pub struct Word {
    said: Arc<Mutex<Option<(Instant, bool)>>>,
    asking: Flights<bool>,
}

impl Word {
    /// Whether it answered when it was last asked; none if it wasn't.
    pub fn last(&self) -> Option<bool> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).map(|(_, is_up)| is_up)
    }

    fn fresh(&self) -> Option<bool> {
        let (at, is_up) = (*self.said.lock().unwrap_or_else(PoisonError::into_inner))?;
        (at.elapsed() < if is_up { YES } else { NO }).then_some(is_up)
    }

    /// Asks it, unless its last word still counts. This takes as long as a lease may take.
    pub async fn ask(&self, pool: &Pool) -> bool {
        // Looked at within the flights' lock: whoever comes right after a flight has landed finds its word.
        let unless_known = || self.fresh().map_or(Ok(()), Err);
        let fetch = || {
            let (said, pool) = (Arc::clone(&self.said), pool.clone());
            async move {
                let lease = pool.begin().await;
                let is_up = match lease {
                    Ok(lease) => lease.finish().await.is_ok(),
                    // Whoever is busy is there.
                    Err(error) => matches!(error, PoolError::Full { .. } | PoolError::TimedOut { .. }),
                };
                *said.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), is_up));
                is_up
            }
        };
        match self.asking.join("database", unless_known, fetch).await {
            Ok(landed) => landed.unwrap_or(false),
            Err(known) => known,
        }
    }
}
