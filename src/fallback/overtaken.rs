//! Overtaken: the store is away from here, but not from whoever publishes, and so the table is ahead of the release that is
//! known here.
//!
//! What was read of the older release may be wrong by now, so it is sent only where nothing newer can be had. The table
//! says what the later one shows; what it doesn't show any more may be no key any more.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::Fallback;
use super::site::Site;

/// The least time from one look to the next.
const PAUSE: Duration = Duration::from_millis(250);

impl Fallback {
    /// Looks, while the store is away or has no release, what the table shows: as often as at the store, and soon when a reader
    /// has found it to be of another release.
    pub(super) async fn watch_table(&self) {
        loop {
            let _ = timeout(self.settings.follow_every, self.table_turned.notified()).await;
            sleep(PAUSE).await;
            // A store without any release may have lost it: it counts as away then.
            let site = self.followed.site();
            if self.followed.is_up().is_none_or(|is_up| is_up && site.is_some()) {
                continue;
            }
            let Some(table) = self.made_table().await else { continue };
            let Ok(shown) = table.shown().await else { continue };
            let shown = shown.filter(|shown| shown.site == table.site);
            if shown == self.followed.shown() {
                continue;
            }
            let is_later = |site: &Site| shown.as_ref().filter(|shown| shown.serial > site.serial());
            let later = site.as_deref().and_then(is_later).map(|shown| shown.release.clone());
            if let (Some(_), Some(site)) = (&later, &site) {
                // Before anybody is told of it: what it doesn't show any more may be no key any more either.
                site.served.iter().for_each(|served| served.doubt_all());
            }
            self.followed.table_shows(shown);
            self.memory.end_answers();
            self.table_doubt.end();
            if let Some(release) = later {
                tracing::warn!(release, "the store can't be read, and the fallback table shows a later release");
            }
        }
    }
}
