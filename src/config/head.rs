//! `[store] head` and what belongs to it: who keeps the head of the store.

use super::keys::{self, Key};
use super::{HeadConfig, Reader, Secret, StorePlace};
use crate::database::Database;

impl Reader<'_> {
    /// Who keeps the head of a store in this place, with `[database] url` as the default.
    pub(super) fn head(&mut self, place: &StorePlace, database: Option<&Secret>) -> HeadConfig {
        let is_in_database = self.understood(&keys::HEAD, |text, _| match text {
            "store" => Ok(false),
            "database" => Ok(true),
            _ => Err((format!("[store] head = \"{text}\" isn't known"), keys::HEAD.known_words(text))),
        });
        let url = self.head_url();
        let is_alone = self.switch(&keys::UNSAFE_SINGLE_PUBLISHER);
        if let StorePlace::Directory { .. } = place {
            self.refuse_on_directory(is_in_database == Some(true), url.is_some(), is_alone);
            return HeadConfig::Store;
        }
        match is_in_database {
            Some(true) if is_alone => {
                let reason = "[store] unsafe_single_publisher = true, and head = \"database\" keeps any number apart";
                self.refuse_key(&keys::UNSAFE_SINGLE_PUBLISHER, reason, "remove one of the two lines");
                HeadConfig::Store
            }
            Some(true) => self.head_in_database(url, database),
            _ => {
                if url.is_some() {
                    let reason = "[store] head_url is set, and the head is kept by the store";
                    self.refuse_key(&keys::HEAD_URL, reason, "write head = \"database\" beside it, or remove the line");
                }
                if is_alone { HeadConfig::SinglePublisher } else { HeadConfig::Store }
            }
        }
    }

    fn head_url(&mut self) -> Option<Secret> {
        self.understood(&keys::HEAD_URL, |text, folder| match super::database::database_url(text, folder) {
            Ok(Database::Postgres(_)) => Ok(Secret::new(text)),
            Ok(Database::Sqlite(_)) => Err((
                "[store] head_url names a SQLite file, and the head needs a server that every publisher reaches"
                    .to_owned(),
                format!("write for example {}", keys::HEAD_URL.example()),
            )),
            Err((reason, hint)) => Err((format!("in [store] head_url, {reason}"), hint)),
        })
    }

    fn head_in_database(&mut self, url: Option<Secret>, database: Option<&Secret>) -> HeadConfig {
        if let Some(url) = url {
            return HeadConfig::Database(url);
        }
        // A URL that was refused has been reported.
        if self.values.get(&keys::HEAD_URL).is_some() {
            return HeadConfig::Store;
        }
        let is_postgres = |url: &&Secret| {
            Database::from_url(url.expose(), self.folder)
                .is_ok_and(|database| matches!(database, Database::Postgres(_)))
        };
        if let Some(database) = database.filter(is_postgres) {
            return HeadConfig::Database(database.clone());
        }
        let reason = match database {
            Some(_) => {
                "[store] head = \"database\", and [database] url names a SQLite file, which publishers elsewhere can't reach"
            }
            None if self.values.get(&keys::DATABASE_URL).is_some() => return HeadConfig::Store,
            None => "[store] head = \"database\", and no database is configured",
        };
        let hint = format!("name a PostgreSQL server that every publisher reaches: {}", keys::HEAD_URL.example());
        self.refuse_key(&keys::HEAD, reason, &hint);
        HeadConfig::Store
    }

    /// A directory keeps its head under a lock, so that none of this would do anything there.
    fn refuse_on_directory(&mut self, is_in_database: bool, has_url: bool, is_alone: bool) {
        let set = [
            (is_in_database, &keys::HEAD),
            (has_url && !is_in_database, &keys::HEAD_URL),
            (is_alone, &keys::UNSAFE_SINGLE_PUBLISHER),
        ];
        for (_, key) in set.into_iter().filter(|(is_set, _)| *is_set) {
            let reason = format!("{} is for s3:// stores, and this store is a directory", key.label());
            self.refuse_key(
                key,
                &reason,
                "remove the line: the lock of a directory keeps any number of publishers apart",
            );
        }
    }

    pub(super) fn switch(&mut self, key: &'static Key) -> bool {
        let switch = self.understood(key, |text, _| match text.trim() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => {
                Err((format!("{} is true or false, and not `{text}`", key.label()), format!("write {}", key.example())))
            }
        });
        switch.unwrap_or_default()
    }
}
