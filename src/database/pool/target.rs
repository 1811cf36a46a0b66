//! A server or file that a lease may read, whatever the engine: opened, begun, ended, closed.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::file::{File, FileId};
use super::idle::Link;
use crate::database::postgres::connect::{self, Role, Server};
use crate::database::{Connection, Database, DatabaseError, ReadSettings, postgres, sqlite};

/// What to do where nothing answers.
const HINT: &str =
    "is the server up and reachable from here? A pooler doesn't answer either while its own server is down";
/// How long the server takes to notice that a connection was closed while nothing ran on it.
pub const NOTICED: Duration = Duration::from_millis(50);
/// How long it takes where a statement runs: it looks once a second, by `client_connection_check_interval`.
const NOTICED_AT_WORK: Duration = Duration::from_millis(1200);

/// A server or file.
pub enum Target {
    Server(Box<Server>, Role),
    File(File),
}

/// What a database may be read from, the first choice first.
pub fn targets(database: &Database) -> Vec<Target> {
    match database {
        Database::Postgres(servers) => servers
            .candidates()
            .into_iter()
            .map(|(server, role)| Target::Server(Box::new(server.clone()), role))
            .collect(),
        Database::Sqlite(path) => vec![Target::File(File::new(path.clone()))],
    }
}

impl Target {
    /// Host, port and database, or the file; never a password.
    pub fn describe(&self) -> String {
        match self {
            Target::Server(server, _) => server.describe(),
            Target::File(file) => file.path.display().to_string(),
        }
    }

    /// Opens a connection, within `longest` if a server has to answer; with the file that was opened, if it is one.
    pub async fn connect(
        &self,
        settings: &ReadSettings,
        longest: Duration,
        application: &str,
    ) -> Result<(Connection, Option<FileId>), DatabaseError> {
        match self {
            Target::Server(server, _) => {
                let connected = server.connect(application, longest, HINT).await;
                Ok((Connection::Postgres(Box::new(connected.map_err(|refusal| refusal.error)?)), None))
            }
            Target::File(file) => {
                let (connection, id) = file.open(settings).await?;
                Ok((Connection::Sqlite(connection, settings.statement_timeout), id))
            }
        }
    }

    /// Which file it is; none for a server, and where there is no file.
    async fn file(&self) -> Option<FileId> {
        match self {
            Target::Server(..) => None,
            Target::File(file) => file.id().await,
        }
    }

    /// Begins a transaction, unless the server isn't fit to be read, or the file is another one by now. Returns the
    /// instant that it sees, and true on a standby.
    pub async fn begin(
        &self,
        link: &mut Link,
        settings: &ReadSettings,
    ) -> Result<(DateTime<Utc>, bool), DatabaseError> {
        if self.file().await != link.file {
            return Err(DatabaseError::Lost { reason: format!("{} is another file than before", self.describe()) });
        }
        match (self, &mut link.connection) {
            (Target::Server(server, role), Connection::Postgres(connection)) => {
                server.begin(connection, *role, settings).await.map_err(|refusal| refusal.error)
            }
            (Target::File(file), Connection::Sqlite(connection, limit)) => {
                *limit = settings.statement_timeout;
                sqlite::start(connection, &file.path).await.map(|as_of| (as_of, false))
            }
            (target, _) => {
                Err(DatabaseError::Lost { reason: format!("{} got another one's connection", target.describe()) })
            }
        }
    }

    /// The error where nothing came back in time.
    pub fn silent(&self, what: &str, wait: Duration) -> DatabaseError {
        match self {
            Target::Server(server, _) => server.silent(what, wait, HINT),
            Target::File(file) => DatabaseError::Connect {
                server: format!("SQLite file {}", file.path.display()),
                reason: format!("{what} within {}", humantime::format_duration(wait)),
                sqlstate: None,
                hint: "does another process hold it locked, or does its disk or share hang?".to_owned(),
            },
        }
    }
}

/// Ends the transaction, and proves that it did.
pub async fn end(connection: &mut Connection) -> Result<(), DatabaseError> {
    match connection {
        Connection::Postgres(connection) => connect::end(connection).await,
        Connection::Sqlite(connection, _) => sqlite::execute(connection, "ROLLBACK").await,
    }
}

/// Listens on a connection until the server has said something, or has hung up.
pub async fn word(connection: Connection) {
    match connection {
        Connection::Postgres(mut connection) => {
            let is_gone = postgres::hear(&mut connection).await.is_err_and(|error| error.is_fatal());
            if !is_gone {
                let _ = postgres::close(*connection).await;
                tokio::time::sleep(NOTICED).await;
            }
        }
        // It runs in this process, and ends with its statement.
        Connection::Sqlite(connection, _) => {
            let _ = sqlite::close(connection).await;
        }
    }
}

/// Closes a connection, and waits until the server has most likely noticed; nobody tells. `is_busy` if a statement may be
/// running on it.
pub async fn close(connection: Connection, is_busy: bool) {
    match connection {
        Connection::Postgres(connection) => {
            let _ = postgres::close(*connection).await;
            tokio::time::sleep(if is_busy { NOTICED_AT_WORK } else { NOTICED }).await;
        }
        Connection::Sqlite(connection, _) => {
            let _ = sqlite::close(connection).await;
        }
    }
}
