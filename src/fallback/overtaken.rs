//! Overtaken: the store is away from here, but not from whoever publishes, and so the table is ahead of the release that is
//! known here.
//!
//! What was read of the older release may be wrong by now, so it is sent only where nothing newer can be had. The table
//! says what the later one shows; what it doesn't show any more may be no key any more.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::Fallback;

/// The least time from one look to the next.
const PAUSE: Duration = Duration::from_millis(250);

impl Fallback {
    /// Looks, while the store is away, what the table shows: as often as at the store, and soon when a reader has found it to
    /// be of another release.
    pub(super) async fn watch_table(&self) {
        loop {
            let _ = timeout(self.settings.follow_every, self.table_turned.notified()).await;
            sleep(PAUSE).await;
            let Some(site) = self.followed.site().filter(|_| self.followed.is_up() == Some(false)) else { continue };
            let Some(table) = self.made_table().await else { continue };
            let Ok(shown) = table.shown().await else { continue };
            let shown = shown.filter(|shown| shown.site == table.site);
            if shown == self.followed.shown() {
                continue;
            }
            let is_later =
                shown.as_ref().filter(|shown| shown.serial > site.serial()).map(|shown| shown.release.clone());
            if is_later.is_some() {
                // Before anybody is told of it: what it doesn't show any more may be no key any more either.
                site.served.iter().for_each(|served| served.doubt_all());
            }
            self.followed.table_shows(shown);
            self.memory.end_answers();
            self.table_doubt.end();
            if let Some(release) = is_later {
                tracing::warn!(release, "the store can't be read, and the fallback table shows a later release");
            }
        }
    }
}
