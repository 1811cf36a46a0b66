//! What a failed statement means, and what can be done about it.

use sqlx::postgres::PgDatabaseError;

use super::super::failure::message;
use crate::database::DatabaseError;

/// A statement that failed.
pub enum Failed {
    /// There is no such table.
    NoTable,
    /// There is such a table already.
    Exists,
    /// The role may not do that; the server's words.
    NotAllowed(String),
    /// Anything else.
    Other(DatabaseError),
}

impl Failed {
    /// What an error means.
    pub fn of(error: &sqlx::Error) -> Failed {
        let Some(database) = error.as_database_error() else {
            return Failed::Other(DatabaseError::Lost { reason: message(error) });
        };
        let code = database.code().unwrap_or_default().into_owned();
        match code.as_str() {
            "42P01" => Failed::NoTable,
            "42P07" | "42710" | "23505" => Failed::Exists,
            "42501" | "3F000" => Failed::NotAllowed(format!("{} (SQLSTATE {code})", database.message())),
            // A session that was ended, or a pooler that has no server.
            _ if code.starts_with("08") || code.starts_with("57P") => {
                Failed::Other(DatabaseError::Lost { reason: message(error) })
            }
            _ => Failed::Other(DatabaseError::Statement {
                message: database.message().to_owned(),
                hint: hint(&code, database.message()).map(str::to_owned).or_else(|| {
                    database.try_downcast_ref::<PgDatabaseError>().and_then(PgDatabaseError::hint).map(str::to_owned)
                }),
                sqlstate: Some(code),
                position: None,
            }),
        }
    }

    /// The error, where nobody can be asked what would help.
    pub fn into_error(self) -> DatabaseError {
        match self {
            Failed::Other(error) => error,
            Failed::NotAllowed(message) => {
                DatabaseError::Statement { message, sqlstate: None, position: None, hint: None }
            }
            Failed::NoTable | Failed::Exists => {
                DatabaseError::Lost { reason: "the fallback table comes and goes while it is used".to_owned() }
            }
        }
    }
}

fn hint(code: &str, message: &str) -> Option<&'static str> {
    match code {
        "57014" => Some("the server is too slow for it; [fallback] table_timeout sets the wait"),
        "55P03" => Some("another session locks the table: see pg_locks and pg_stat_activity"),
        "42703" | "42804" => Some("a table of this name is there, and isn't tintype's: use another schema or database"),
        _ if message.contains("recovery") || code == "25006" => Some(
            "this server is a replica, and the table is written on the primary: name that one in [fallback] table_url",
        ),
        _ => None,
    }
}
