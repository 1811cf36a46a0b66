//! Connecting, and the statement that begins the read transaction.
//!
//! Whatever is set is set LOCAL to the transaction, because a pooler hands the connection on, and all of it goes out in
//! one message of the simple protocol: nothing is left to be prepared, and the transaction's snapshot is taken behind
//! the time at which that message arrived, which is therefore a true `as_of`. The message that ends a transaction of a
//! connection that is used again proves that it did.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgRow, PgSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Row as _};
use tokio::time::{Instant, timeout, timeout_at};

use super::close;
use super::failure::{connect_error, is_transient, statement_error};
use super::replica::{self, Horizon, Unfit};
use crate::database::{DatabaseError, ReadSettings};

/// `application_name` holds at most 63 bytes (`NAMEDATALEN` − 1).
const MAX_APPLICATION_LEN: usize = 63;
/// The first version with `client_connection_check_interval`.
const HAS_CONNECTION_CHECK: u32 = 140_000;

/// How long a login may take at the server, by its `authentication_timeout` of one minute unless somebody has changed that.
/// Nobody can end one sooner: in the middle of it a server doesn't look whether its client is still there.
pub const LONGEST_LOGIN: Duration = Duration::from_secs(70);

/// What to do where the transaction can't begin.
const BAD_SETTING: &str =
    "see [database.build] settings, for `serve` [database.serve] settings: each is set for the transaction";

/// A server, as a URL names it.
#[derive(Clone)]
pub struct Server {
    /// What sqlx connects with.
    pub options: PgConnectOptions,
    /// The files that TLS takes, each with its parameter's name: sqlx doesn't say which one it can't read.
    pub files: Vec<(&'static str, PathBuf)>,
}

/// What a server is expected to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// What `[database] url` names, whatever it is: nobody knows better.
    Named,
    /// A standby that follows its primary at most this far behind.
    Replica(Duration),
}

/// A begun transaction.
pub struct Opened {
    /// The connection that it runs on.
    pub connection: PgConnection,
    /// The instant whose data it sees.
    pub as_of: DateTime<Utc>,
    /// True on a standby.
    pub is_standby: bool,
}

/// Why a server can't be read.
pub struct Refusal {
    /// For the person who must act.
    pub error: DatabaseError,
    /// True for what may be over in a moment.
    pub is_transient: bool,
    /// True if the server was reached, so that a connection was opened.
    pub was_open: bool,
}

impl Server {
    /// Host, port and database of a server, without user or password.
    pub fn describe(&self) -> String {
        let options = &self.options;
        let database = options.get_database().unwrap_or_else(|| options.get_username());
        match options.get_socket() {
            Some(socket) => {
                format!("PostgreSQL at {} port {}, database {database}", socket.display(), options.get_port())
            }
            None => format!("PostgreSQL at {}:{}, database {database}", options.get_host(), options.get_port()),
        }
    }

    /// Socket or host, and port.
    pub fn place(&self) -> (String, u16) {
        let options = &self.options;
        let socket = options.get_socket().map(|socket| socket.display().to_string());
        (socket.unwrap_or_else(|| options.get_host().to_owned()), options.get_port())
    }

    /// The same with the user, for comparing.
    pub fn identity(&self) -> String {
        format!("{}, user {}", self.describe(), self.options.get_username())
    }

    /// True where nobody can read along whatever the server does: on a socket, at this machine's own address, and where
    /// the URL takes no line without TLS.
    pub fn is_private(&self) -> bool {
        let (options, host) = (&self.options, self.options.get_host());
        let is_loopback = |address: IpAddr| address.is_loopback();
        let is_local = options.get_socket().is_some() || host == "localhost" || host.parse().is_ok_and(is_loopback);
        is_local || !matches!(options.get_ssl_mode(), PgSslMode::Disable | PgSslMode::Allow | PgSslMode::Prefer)
    }

    /// Connects within this time. `hint` is for where nothing answers by then.
    pub async fn connect(&self, application: &str, wait: Duration, hint: &str) -> Result<PgConnection, Refusal> {
        let refused = |error, is_transient| Refusal { error, is_transient, was_open: false };
        self.check_files().map_err(|error| refused(error, false))?;
        let name: String = application.chars().take(MAX_APPLICATION_LEN).collect();
        let named = self.options.clone().application_name(&name);
        match timeout(wait, named.connect()).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(refused(connect_error(self, &error), is_transient(&error))),
            Err(_) => Err(refused(self.silent("no answer", wait, hint), false)),
        }
    }

    /// Connects and begins the transaction, within the time that `settings` give to both together.
    pub async fn open(&self, role: Role, settings: &ReadSettings, application: &str) -> Result<Opened, Refusal> {
        let wait = settings.connect_timeout;
        let deadline = Instant::now() + wait;
        let hint = "is the server up and reachable from here? A pooler doesn't answer either while its own server is down; \
                    [database.build] acquire_timeout sets the wait";
        let mut connection = self.connect(application, wait, hint).await?;
        let begun = timeout_at(deadline, self.begin(&mut connection, role, settings)).await;
        let (as_of, is_standby) = match begun {
            Ok(Ok(begun)) => begun,
            Ok(Err(refusal)) => {
                let _ = close(connection).await;
                return Err(refusal);
            }
            Err(_) => {
                let hint = "a pooler makes its clients wait while all its server connections are in use: see its SHOW POOLS, or \
                            give tintype a [databases] entry with a pool_size of its own";
                let error = self.silent("it takes connections, but answers no statement", wait, hint);
                return Err(Refusal { error, is_transient: false, was_open: true });
            }
        };
        Ok(Opened { connection, as_of, is_standby })
    }

    fn check_files(&self) -> Result<(), DatabaseError> {
        for (parameter, path) in &self.files {
            std::fs::File::open(path).map_err(|error| DatabaseError::Connect {
                server: self.describe(),
                reason: format!("can't read {parameter} {}: {error}", path.display()),
                sqlstate: None,
                hint: format!("{parameter} in the URL names the file; a relative path counts from the config's folder"),
            })?;
        }
        Ok(())
    }

    /// The error where nothing came back in time.
    pub fn silent(&self, what: &str, wait: Duration, hint: &str) -> DatabaseError {
        DatabaseError::Connect {
            server: self.describe(),
            reason: format!("{what} within {}", humantime::format_duration(wait)),
            sqlstate: None,
            hint: hint.to_owned(),
        }
    }

    /// Finds out what the server is, and begins the transaction there. Returns the instant whose data the transaction
    /// sees, and true on a standby.
    pub async fn begin(
        &self,
        connection: &mut PgConnection,
        role: Role,
        settings: &ReadSettings,
    ) -> Result<(DateTime<Utc>, bool), Refusal> {
        let refused = |error| Refusal { error, is_transient: false, was_open: true };
        let failed = |error: sqlx::Error| Refusal {
            error: connect_error(self, &error),
            is_transient: is_transient(&error),
            was_open: true,
        };
        let unfit = |reason: Unfit| {
            refused(DatabaseError::Unfit { server: self.describe(), reason: reason.words, hint: reason.hint })
        };
        let cannot_begin = |error: sqlx::Error| self.begin_error(&error);
        let has_check = connection.server_version_num().is_some_and(|version| version >= HAS_CONNECTION_CHECK);
        let text = begin_text(settings, has_check);
        let (begun, Horizon(before)) = match role {
            Role::Replica(max_lag) => {
                let begun = replica::begin(connection, max_lag, &text).await.map_err(cannot_begin)?;
                let (horizon, row) = begun.map_err(unfit)?;
                (Begun::of(&row).map_err(failed)?, horizon)
            }
            Role::Named => {
                let begun = begin(connection, &text).await.map_err(cannot_begin)?;
                if !begun.is_standby {
                    return Ok((begun.at, false));
                }
                // The URL names a standby, which nobody had to tell. What it has is asked before the transaction, so that it
                // can't be later than what the transaction sees.
                sqlx::raw_sql("COMMIT").execute(&mut *connection).await.map_err(failed)?;
                let horizon = replica::horizon(connection).await.map_err(failed)?;
                (begin(connection, &text).await.map_err(cannot_begin)?, horizon)
            }
        };
        if !begun.is_standby {
            // A pooler may have asked one server and begun on another.
            return Ok((begun.at, false));
        }
        Ok((before.min(begun.replayed_at.unwrap_or(before)).min(begun.at), true))
    }

    fn begin_error(&self, error: &sqlx::Error) -> Refusal {
        let refusal = |error, is_transient| Refusal { error, is_transient, was_open: true };
        match statement_error(error, "") {
            DatabaseError::Statement { message, sqlstate, .. } => refusal(
                DatabaseError::Statement {
                    message: format!("the transaction can't begin: {message}"),
                    sqlstate,
                    position: None,
                    hint: Some(BAD_SETTING.to_owned()),
                },
                false,
            ),
            // Behind a pooler this is the first that is heard of the server itself.
            _ => refusal(connect_error(self, error), is_transient(error)),
        }
    }
}

/// What the first statement of the transaction tells.
struct Begun {
    is_standby: bool,
    /// When the message arrived; before the snapshot was taken.
    at: DateTime<Utc>,
    /// The primary's clock at the last commit that the standby has replayed.
    replayed_at: Option<DateTime<Utc>>,
}

impl Begun {
    fn of(row: &PgRow) -> Result<Begun, sqlx::Error> {
        let replayed: Option<i64> = row.try_get(2)?;
        Ok(Begun { is_standby: row.try_get(0)?, at: instant(row.try_get(1)?), replayed_at: replayed.map(instant) })
    }
}

async fn begin(connection: &mut PgConnection, text: &str) -> Result<Begun, sqlx::Error> {
    Begun::of(&row(connection, text.to_owned()).await?)
}

/// Ends the transaction so that the connection can be used for another one.
///
/// It is rolled back, not committed: nothing was written, and a setting that a function changed for the whole session
/// is put back on the way. The number that comes back belongs to this very message, so the session has no transaction
/// open and no answer is left to be read: without that proof it's an error.
pub async fn end(connection: &mut PgConnection) -> Result<(), DatabaseError> {
    static NUMBER: AtomicI64 = AtomicI64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let answer: Result<i64, sqlx::Error> =
        row(connection, format!("ROLLBACK; SELECT {number}::int8")).await.and_then(|row| row.try_get(0));
    match answer {
        Ok(answer) if answer == number => Ok(()),
        Ok(_) => Err(DatabaseError::Lost { reason: "an answer came that belongs to another message".to_owned() }),
        Err(error) => Err(statement_error(&error, "")),
    }
}

fn begin_text(settings: &ReadSettings, has_connection_check: bool) -> String {
    // The formats are fixed because text that a template casts from dates and numbers must not depend on the server.
    let mut text = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL timezone = 'UTC'; SET LOCAL datestyle = 'ISO, YMD'; \
         SET LOCAL intervalstyle = 'iso_8601'; SET LOCAL extra_float_digits = 1; SET LOCAL bytea_output = 'hex'; SET LOCAL lock_timeout = '30s'"
        .to_owned();
    let mut set = |name: &str, value: &str| {
        text.push_str(&format!("; SET LOCAL {name} = '{}'", value.replace('\'', "''")));
    };
    set("statement_timeout", &format!("{}ms", settings.statement_timeout.as_millis()));
    set("idle_in_transaction_session_timeout", &format!("{}ms", settings.longest_idle.as_millis()));
    if has_connection_check {
        // A statement whose client has gone ends within a second instead of running on for nobody.
        set("client_connection_check_interval", "1s");
    }
    text.push_str("; SELECT pg_is_in_recovery(), ");
    text.push_str(&replica::micros("statement_timestamp()"));
    text.push_str(", ");
    text.push_str(&replica::micros("pg_last_xact_replay_timestamp()"));
    for (name, value) in &settings.settings {
        // SET would take a list such as that of `search_path` for one name.
        text.push_str(&format!(", set_config('{name}', '{}', true)", value.replace('\'', "''")));
    }
    text
}

/// An instant from microseconds since 1970.
pub fn instant(micros: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(micros).unwrap_or_default()
}

/// One row of a statement in the simple protocol, which leaves nothing behind in a pooler's server.
pub async fn row(connection: &mut PgConnection, sql: String) -> Result<PgRow, sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(sql)).fetch_one(connection).await
}
