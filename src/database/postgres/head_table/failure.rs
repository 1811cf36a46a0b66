//! What a failed message means: whether it was carried out, and what can be done about it.

use sqlx::postgres::{PgDatabaseError, PgSeverity};

use super::super::connect::Server;
use super::super::failure::{connect_error, is_transient, message};
use crate::database::DatabaseError;

/// A message that failed.
pub enum Failed {
    /// It reached no server.
    NotSent {
        /// Why.
        error: DatabaseError,
        /// True for what may be over in a moment.
        is_transient: bool,
    },
    /// There is no such table.
    NoTable,
    /// There is such a table already.
    Exists,
    /// The role may not do that; the server's words.
    NotAllowed(String),
    /// The server refused it for another reason, and carried nothing out.
    Refused(DatabaseError),
    /// Nobody knows whether it was carried out.
    Unanswered(DatabaseError),
    /// The same, and the server may be at it.
    Silent(DatabaseError),
}

/// What PgBouncer says before it has handed a message to its server. It gives nearly everything one SQLSTATE, so this
/// goes by the words.
const NOT_FORWARDED: [&str; 6] = [
    "no more connections",
    "query_wait_timeout",
    "server_login_retry",
    "cannot connect to server",
    "server login failed",
    "server login has been failing",
];

impl Failed {
    /// What an error of a message that was sent means.
    pub fn of(server: &Server, error: &sqlx::Error) -> Failed {
        let unanswered = || Failed::Unanswered(DatabaseError::Lost { reason: message(error) });
        let Some(database) = error.as_database_error() else { return unanswered() };
        let code = database.code().unwrap_or_default().into_owned();
        if code.starts_with("08") && NOT_FORWARDED.iter().any(|words| database.message().contains(words)) {
            return Failed::NotSent { error: connect_error(server, error), is_transient: is_transient(error) };
        }
        // A session that ends may do so between its commit and its answer.
        let server = database.try_downcast_ref::<PgDatabaseError>();
        let goes_on = server.is_some_and(|server| matches!(server.severity(), PgSeverity::Error));
        if !goes_on || code.starts_with("08") || code.starts_with("57P") {
            return unanswered();
        }
        match code.as_str() {
            "42P01" => Failed::NoTable,
            // Two that make it at the same time both find it missing, and then one finds its name or its type taken.
            "42P07" | "42710" | "23505" => Failed::Exists,
            "42501" | "3F000" => Failed::NotAllowed(format!("{} (SQLSTATE {code})", database.message())),
            _ => Failed::Refused(DatabaseError::Statement {
                message: database.message().to_owned(),
                hint: hint(&code, database.message())
                    .map(str::to_owned)
                    .or_else(|| server.and_then(PgDatabaseError::hint).map(str::to_owned)),
                sqlstate: Some(code),
                position: None,
            }),
        }
    }
}

fn hint(code: &str, message: &str) -> Option<&'static str> {
    match code {
        "57014" => Some("the server is too slow for it; [store] timeout sets the wait, half of which the server gets"),
        "55P03" => Some("another session holds the row in a transaction of its own: see pg_locks and pg_stat_activity"),
        _ if message.contains("recovery") || code == "25006" => {
            Some("this server is a replica, and the head needs the primary: name that one in [store] head_url")
        }
        _ => None,
    }
}
