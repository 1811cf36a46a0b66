//! Room for a connection that isn't the pool's: somebody opens one to the same server by himself, and the pool has one
//! less meanwhile. So what the server sees never exceeds the pool's size either.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use super::shared::{Place, Shared};
use super::target::{NOTICED, close};
use super::{Closed, PoolError};

/// Room for one connection. It is free again a moment after this was dropped, when the server has noticed that the
/// connection was closed.
pub struct Room(Option<Place>);

impl Shared {
    /// Waits for a slot in the order of asking, and closes the idle connection that would be one too many.
    pub async fn room(self: &Arc<Self>, patience: Duration) -> Result<Room, PoolError> {
        let asked = Instant::now();
        let place = match timeout_at(asked + patience, Place::next(self)).await {
            Ok(Some(place)) => place,
            Ok(None) => return Err(PoolError::Closed { pool: self.settings.name }),
            Err(_) => return Err(self.timed_out(asked, patience)),
        };
        let in_the_way = self.state().in_the_way(self.settings.max);
        if let Some(link) = in_the_way {
            self.state().figures.count_closed(Closed::Replaced);
            close(link.connection, false).await;
        }
        Ok(Room(Some(place)))
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if let (Some(place), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move {
                sleep(NOTICED).await;
                drop(place);
            });
        }
    }
}
