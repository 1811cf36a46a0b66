//! `[database]`: the servers, which of them is read, and how.

use std::path::Path;

use super::keys;
use super::values::Value;
use super::{BuildConfig, DatabaseConfig, PoolConfig, Reader, Secret, settings};
use crate::database::{Database, DatabaseError, ReadFrom};

impl Reader<'_> {
    pub(super) fn database(&mut self) -> DatabaseConfig {
        let url =
            self.understood(&keys::DATABASE_URL, |text, folder| database_url(text, folder).map(|_| Secret::new(text)));
        let overruled = self.values.overruled(&keys::DATABASE_URL);
        let overruled_urls = overruled.map(|value| Secret::new(value.text.clone())).collect();
        let replicas = self.replicas();
        let build = BuildConfig {
            acquire_timeout: self.duration(&keys::ACQUIRE_TIMEOUT),
            statement_timeout: self.duration(&keys::STATEMENT_TIMEOUT),
            settings: self.settings(&keys::SETTINGS),
        };
        let serve = PoolConfig {
            max: self.number(&keys::SERVE_MAX),
            queue: self.number(&keys::SERVE_QUEUE),
            acquire_timeout: self.duration(&keys::SERVE_ACQUIRE_TIMEOUT),
            connect_timeout: self.duration(&keys::SERVE_CONNECT_TIMEOUT),
            statement_timeout: self.duration(&keys::SERVE_STATEMENT_TIMEOUT),
            max_lifetime: self.duration(&keys::SERVE_MAX_LIFETIME),
            idle_timeout: self.duration(&keys::SERVE_IDLE_TIMEOUT),
            settings: self.settings(&keys::SERVE_SETTINGS),
        };
        let read = self.read_from(&replicas);
        DatabaseConfig { url, overruled_urls, replicas, read, max_lag: self.duration(&keys::MAX_LAG), build, serve }
    }

    fn replicas(&mut self) -> Vec<Secret> {
        let mut replicas = Vec::new();
        for Value { text, origin } in self.values.list(&keys::REPLICAS) {
            match database_url(&text, self.folder) {
                Ok(Database::Postgres(_)) => replicas.push(Secret::new(text)),
                Ok(Database::Sqlite(_)) => self.refuse(
                    origin,
                    (
                        "a replica is a PostgreSQL server, and this is a SQLite file".to_owned(),
                        format!("write for example {}", keys::REPLICAS.example()),
                    ),
                ),
                Err((reason, hint)) => self.refuse(origin, (format!("in [database] replicas, {reason}"), hint)),
            }
        }
        replicas
    }

    fn read_from(&mut self, replicas: &[Secret]) -> ReadFrom {
        let read = self.understood(&keys::READ, |text, _| match text {
            "primary" => Ok(ReadFrom::Primary),
            "replica" | "prefer-replica" if replicas.is_empty() => Err((
                format!("[database] read = \"{text}\", and no replicas are named"),
                format!("name them: {}", keys::REPLICAS.example()),
            )),
            "replica" => Ok(ReadFrom::Replica),
            "prefer-replica" => Ok(ReadFrom::PreferReplica),
            _ => Err((format!("[database] read = \"{text}\" isn't known"), keys::READ.known_words(text))),
        });
        read.unwrap_or(if replicas.is_empty() { ReadFrom::Primary } else { ReadFrom::PreferReplica })
    }

    fn settings(&mut self, key: &'static keys::Key) -> Vec<(String, String)> {
        let mut settings = Vec::new();
        let of_key = self.values.tables.extract_if(.., |(of, ..)| std::ptr::eq(*of, key)).collect::<Vec<_>>();
        for (_, name, value) in of_key {
            match settings::refuse(key.section, &name.text, &value.text) {
                Some(refusal) => self.refuse(name.origin, refusal),
                None => settings.push((name.text, value.text)),
            }
        }
        settings
    }
}

/// Reads the URL of a database; the reason of a refusal begins with what it is about.
pub(super) fn database_url(text: &str, folder: &Path) -> Result<Database, (String, String)> {
    Database::from_url(text, folder).map_err(|error| match error {
        DatabaseError::Url { reason, hint } => (format!("the database URL {reason}"), hint),
        other => (other.to_string(), other.hint().unwrap_or_default()),
    })
}
