//! Which server a read goes to: the replicas in the order of the configuration, then the primary.
//!
//! A [`Search`] lasts as long as a run. It passes a server over that can't be reached or isn't fit, and one that ended
//! the transaction in the middle; what is read next is read from the beginning, because all templates of a run show one
//! instant. Every server gets one transaction at most, so that a run ends.

use std::collections::BTreeMap;
use std::time::Duration;

use sqlx::PgConnection;
use tokio::time::Instant;

use super::error::DatabaseError;
use super::postgres::connect::{Opened, Role, Server};
use super::{Connection, Database, ReadSettings, ReadTransaction, sqlite};

/// The wait before a server that may be restarting is tried again; it doubles each time, up to the last.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// The longest wait between two tries.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// Where builds read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadFrom {
    /// The server that the URL names.
    Primary,
    /// Replicas only.
    Replica,
    /// A replica, or the primary where none is fit.
    PreferReplica,
}

/// The servers of one PostgreSQL database.
#[derive(Clone)]
pub struct Servers {
    pub(super) primary: Server,
    pub(super) replicas: Vec<Server>,
    pub(super) read: ReadFrom,
    /// How far behind its primary a replica may be.
    pub(super) max_lag: Duration,
}

impl Servers {
    /// A server without replicas.
    pub fn alone(primary: Server) -> Servers {
        Servers { primary, replicas: Vec::new(), read: ReadFrom::Primary, max_lag: Duration::ZERO }
    }

    /// A connection to the primary over which anything may be done.
    pub(super) async fn writer(&self, application: &str, wait: Duration) -> Result<PgConnection, DatabaseError> {
        let connected = self.primary.connect(application, wait, "is the server up and reachable from here?").await;
        connected.map_err(|refusal| refusal.error)
    }

    /// Those that may be read, the first choice first.
    pub(super) fn candidates(&self) -> Vec<(&Server, Role)> {
        let replicas = self.replicas.iter().map(|replica| (replica, Role::Replica(self.max_lag)));
        let primary = (&self.primary, Role::Named);
        match self.read {
            ReadFrom::Primary => vec![primary],
            ReadFrom::Replica => replicas.collect(),
            ReadFrom::PreferReplica => replicas.chain([primary]).collect(),
        }
    }
}

/// Where a transaction reads.
#[derive(Debug, Clone)]
pub struct Source {
    /// Host, port and database, or the file; never a password.
    pub server: String,
    /// True for a server that replays another one's changes.
    pub is_replica: bool,
    /// Connections opened for it, one after the other.
    pub connections: u64,
    /// Servers that come first and were passed over.
    pub passed_over: Vec<PassedOver>,
}

/// A server that wasn't read, or not to the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassedOver {
    /// Host, port and database.
    pub server: String,
    /// Why.
    pub reason: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// A server that failed, and whether it is tried again.
struct Failure {
    error: DatabaseError,
    is_final: bool,
}

/// The search of a run for a server to read.
pub struct Search<'a> {
    database: &'a Database,
    settings: &'a ReadSettings,
    application: String,
    failures: BTreeMap<usize, Failure>,
    current: usize,
    connections: u64,
}

impl<'a> Search<'a> {
    /// A search that has asked nobody yet. `application` is what the servers show for the connection.
    pub fn new(database: &'a Database, settings: &'a ReadSettings, application: &str) -> Search<'a> {
        let application = application.to_owned();
        Search { database, settings, application, failures: BTreeMap::new(), current: 0, connections: 0 }
    }

    /// Opens one connection to the first server that is fit, and begins the transaction there.
    pub async fn begin(&mut self) -> Result<ReadTransaction, DatabaseError> {
        match self.database {
            Database::Sqlite(path) => {
                let (connection, as_of) = sqlite::begin(path, self.settings).await?;
                self.connections += 1;
                let connection = Connection::Sqlite(connection, self.settings.statement_timeout);
                Ok(ReadTransaction::new(connection, as_of, self.source(self.database.describe(), false)))
            }
            Database::Postgres(servers) => self.begin_postgres(&servers.candidates()).await,
        }
    }

    async fn begin_postgres(&mut self, candidates: &[(&Server, Role)]) -> Result<ReadTransaction, DatabaseError> {
        let started = Instant::now();
        let mut wait = FIRST_WAIT;
        loop {
            if let Some((opened, server)) = self.round(candidates).await {
                let source = self.source(server, opened.is_standby);
                let connection = Connection::Postgres(Box::new(opened.connection));
                return Ok(ReadTransaction::new(connection, opened.as_of, source));
            }
            let left = self.settings.connect_timeout.saturating_sub(started.elapsed());
            if left.is_zero() || self.failures.values().all(|failure| failure.is_final) {
                return Err(self.nobody(candidates.len(), started.elapsed()));
            }
            if let Some(failure) = self.failures.values().find(|failure| !failure.is_final) {
                tracing::info!(reason = %failure.error, "no connection yet; trying again for {}", rounded(left));
            }
            tokio::time::sleep(wait.min(left)).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// Tries each server once, but those that have failed for good.
    async fn round(&mut self, candidates: &[(&Server, Role)]) -> Option<(Opened, String)> {
        for (at, (server, role)) in candidates.iter().enumerate() {
            if self.failures.get(&at).is_some_and(|failure| failure.is_final) {
                continue;
            }
            match server.open(*role, self.settings, &self.application).await {
                Ok(opened) => {
                    self.failures.remove(&at);
                    self.current = at;
                    self.connections += 1;
                    return Some((opened, server.describe()));
                }
                Err(refusal) => {
                    self.connections += u64::from(refusal.was_open);
                    self.failures.insert(at, Failure { error: refusal.error, is_final: !refusal.is_transient });
                }
            }
        }
        None
    }

    fn source(&self, server: String, is_replica: bool) -> Source {
        Source { server, is_replica, connections: self.connections, passed_over: self.passed_over() }
    }

    /// The servers that failed, in the order in which they would be read.
    fn passed_over(&self) -> Vec<PassedOver> {
        let Database::Postgres(servers) = self.database else { return Vec::new() };
        let candidates = servers.candidates();
        let of = |(at, failure): (&usize, &Failure)| PassedOver {
            server: candidates[*at].0.describe(),
            reason: failure.error.reason(),
            hint: failure.error.hint(),
        };
        self.failures.iter().map(of).collect()
    }

    /// Gives up the server whose transaction ended with this error; without another one to read, returns the error of
    /// the run.
    pub fn after(&mut self, error: DatabaseError) -> Result<(), DatabaseError> {
        let Database::Postgres(servers) = self.database else { return Err(error) };
        if !error.is_about_server() {
            return Err(error);
        }
        let count = servers.candidates().len();
        if count == 1 {
            return Err(error);
        }
        self.failures.insert(self.current, Failure { error, is_final: true });
        match (0..count).all(|at| self.failures.get(&at).is_some_and(|failure| failure.is_final)) {
            true => Err(self.nobody(count, Duration::ZERO)),
            false => Ok(()),
        }
    }

    /// The error where no server can be read.
    fn nobody(&mut self, candidates: usize, waited: Duration) -> DatabaseError {
        if candidates == 1
            && let Some(failure) = self.failures.remove(&0)
        {
            return match failure.is_final {
                true => failure.error,
                false => failure.error.after(waited),
            };
        }
        DatabaseError::NoServer { passed_over: self.passed_over() }
    }
}

/// A duration for people.
pub(super) fn rounded(duration: Duration) -> humantime::FormattedDuration {
    let whole = Duration::from_secs(duration.as_secs());
    humantime::format_duration(if whole.is_zero() {
        Duration::from_millis(u64::from(duration.subsec_millis()))
    } else {
        whole
    })
}

impl DatabaseError {
    /// The same, with how long it was tried.
    fn after(self, waited: Duration) -> DatabaseError {
        match self {
            DatabaseError::Connect { server, reason, sqlstate, hint } => {
                let reason = format!("{reason}; tried for {}", rounded(waited));
                DatabaseError::Connect { server, reason, sqlstate, hint }
            }
            other => other,
        }
    }
}
