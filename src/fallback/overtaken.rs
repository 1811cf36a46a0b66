//! Overtaken: the store is away from here, but not from whoever publishes, and so the table is ahead of the release that is
//! known here.
//!
//! What was read of the older release may be wrong by now, so it is sent only where nothing newer can be had. The table
//! says what the later one shows; what it doesn't show any more may be no key any more.

use std::sync::Arc;

use super::Fallback;
use super::site::Site;

impl Fallback {
    /// Looks, while the store is away, what the table shows; as often as at the store.
    pub(super) async fn watch_table(&self) {
        loop {
            tokio::time::sleep(self.settings.follow_every).await;
            let Some(site) = self.followed.site().filter(|_| self.followed.is_up() == Some(false)) else { continue };
            let Some(table) = self.made_table().await else { continue };
            let Ok(Some(shown)) = table.shown().await else { continue };
            if shown.site != table.site || shown.serial <= site.serial() || self.followed.has_seen(&shown) {
                continue;
            }
            let release = shown.release.clone();
            // A million paths take a while. Nobody is told of the release before.
            if tokio::task::spawn_blocking(move || doubt(&site)).await.is_ok() {
                self.followed.table_shows(shown);
                self.memory.forget_stand_ins();
                tracing::info!(release, "the store can't be read, and the fallback table shows a later release");
            }
        }
    }
}

/// Has the keys of all that the release shows looked up again before anybody is told that they are valid.
fn doubt(site: &Site) {
    for served in &site.served {
        let rows = site.manifest.rows.get(&served.template.name).into_iter().flat_map(|rows| rows.iter());
        let paths: Vec<Arc<str>> = rows.filter(|row| row.document.is_some()).map(|row| Arc::clone(&row.path)).collect();
        served.doubt(&paths);
    }
}
