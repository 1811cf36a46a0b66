//! `[fallback]`: where the documents are left behind for whoever answers without the store.

use std::path::PathBuf;

use super::keys;
use super::{FallbackConfig, Reader, Secret, StorePlace, TablePlace};
use crate::database::Database;

/// The file beside the records of a folder.
const FILE_NAME: &str = "fallback.db";

impl Reader<'_> {
    /// Where the table is, of a site in this place that is built from this database.
    pub(super) fn fallback(&mut self, place: &StorePlace, database: Option<&Secret>) -> FallbackConfig {
        let table_timeout = self.duration(&keys::TABLE_TIMEOUT);
        let is_on = self.switch(&keys::TABLE);
        let url = self.understood(&keys::TABLE_URL, |text, folder| {
            let read = super::database::database_url(text, folder);
            read.map(|_| Secret::new(text))
                .map_err(|(reason, hint)| (format!("in [fallback] table_url, {reason}"), hint))
        });
        let table = match (is_on, url) {
            (false, _) => TablePlace::Off,
            (true, Some(url)) => TablePlace::Database(url),
            (true, None) => self.file_beside(place, database).map_or(TablePlace::None, TablePlace::File),
        };
        FallbackConfig { table, table_timeout }
    }

    /// The file that needs no setting: where the data is in a file, and the site in a folder of the same machine.
    fn file_beside(&self, place: &StorePlace, database: Option<&Secret>) -> Option<PathBuf> {
        let StorePlace::Directory { control, .. } = place else { return None };
        let database = Database::from_url(database?.expose(), self.folder).ok()?;
        matches!(database, Database::Sqlite(_)).then(|| control.join(FILE_NAME))
    }
}
