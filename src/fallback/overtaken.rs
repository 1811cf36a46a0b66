//! Overtaken: the store is away from here, but not from whoever publishes, and so the table is ahead of the release that is
//! known here.
//!
//! What was read of the older release may be wrong by now, so it is sent only where nothing newer can be had. The table
//! says what the later one shows.

use super::Fallback;

impl Fallback {
    /// Looks, while the store is away, what the table shows; as often as at the store.
    pub(super) async fn watch_table(&self) {
        loop {
            tokio::time::sleep(self.settings.follow_every).await;
            if self.followed.is_up() != Some(false) || self.followed.site().is_none() {
                continue;
            }
            let Some(table) = self.made_table().await else { continue };
            let Ok(Some(shown)) = table.shown().await else { continue };
            let (release, is_ours) = (shown.release.clone(), shown.site == table.site);
            if is_ours && self.followed.table_shows(shown) {
                tracing::info!(release, "the store can't be read, and the fallback table shows a later release");
            }
        }
    }
}
