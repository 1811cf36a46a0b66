//! What each configured server says of itself, for the doctor: whether it can be read, as what, and over what line.
//!
//! A server is asked just as a build would ask it, so that what is found here is what a build will find.

use std::path::Path;
use std::time::Duration;

use futures_util::future::join_all;

use super::postgres::connect::{Role, Server};
use super::postgres::facts::facts;
use super::{Database, DatabaseError, ReadFrom, ReadSettings, postgres, sqlite};

/// A configured server.
#[derive(Debug)]
pub struct Examined {
    /// Host, port and database, or the file; never a password.
    pub server: String,
    /// True for one of `[database] replicas`.
    pub is_replica: bool,
    /// True if builds read it, by `[database] read`.
    pub is_read: bool,
    /// True where nobody can read along: for a file, on this machine, and where the URL takes no line without TLS.
    pub is_private: bool,
    /// What it says of itself, or why it can't be read.
    pub facts: Result<Facts, DatabaseError>,
}

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Its version.
    pub version: String,
    /// True on a standby.
    pub in_recovery: bool,
    /// How old the last replayed commit is, on a standby where received changes wait to be replayed.
    pub lag: Option<Duration>,
    /// The TLS version as the server sees it, which is that of a pooler's line where there is one in between; none without
    /// TLS, and for a file.
    pub tls: Option<String>,
}

impl Database {
    /// Asks every configured server, all at a time, each within `settings.connect_timeout`.
    pub async fn examine(&self, settings: &ReadSettings, application: &str) -> Vec<Examined> {
        let servers = match self {
            Database::Sqlite(path) => {
                let facts = sqlite_facts(path, settings).await;
                return vec![Examined {
                    server: self.describe(),
                    is_replica: false,
                    is_read: true,
                    is_private: true,
                    facts,
                }];
            }
            Database::Postgres(servers) => servers,
        };
        let primary_is_read = servers.read != ReadFrom::Replica;
        let primary = examined(&servers.primary, Role::Named, primary_is_read, settings, application);
        let replicas_are_read = servers.read != ReadFrom::Primary;
        let role = Role::Replica(servers.max_lag);
        let replica = |server| examined(server, role, replicas_are_read, settings, application);
        let (primary, replicas) = tokio::join!(primary, join_all(servers.replicas.iter().map(replica)));
        std::iter::once(primary).chain(replicas).collect()
    }
}

async fn examined(server: &Server, role: Role, is_read: bool, settings: &ReadSettings, application: &str) -> Examined {
    let facts = match server.open(role, settings, application).await {
        Err(refusal) => Err(refusal.error),
        Ok(mut opened) => {
            let asked = tokio::time::timeout(settings.connect_timeout, facts(&mut opened.connection)).await;
            let _ = postgres::close(opened.connection).await;
            asked
                .unwrap_or_else(|_| Err(DatabaseError::Lost { reason: "it didn't answer a small question".to_owned() }))
        }
    };
    Examined {
        server: server.describe(),
        is_replica: role != Role::Named,
        is_read,
        is_private: server.is_private(),
        facts,
    }
}

async fn sqlite_facts(path: &Path, settings: &ReadSettings) -> Result<Facts, DatabaseError> {
    let (mut connection, _) = sqlite::begin(path, settings).await?;
    let version = sqlite::version(&mut connection).await?;
    sqlite::close(connection).await?;
    Ok(Facts { version: format!("SQLite {version}"), in_recovery: false, lag: None, tls: None })
}
