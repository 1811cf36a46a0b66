//! What can go wrong between tintype and a database, in words for the person who must act.

use super::PassedOver;

/// What to do about a statement that ran out of time.
pub(super) const TOO_SLOW: &str = "statement_timeout in [database.build], for `serve` in [database.serve], sets the limit; \
                                   is an index missing?";

/// A database error. Messages name the server and the statement's purpose, never a password.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DatabaseError {
    /// The URL can't be understood.
    #[error("the database URL {reason}")]
    Url {
        /// Completes "the database URL …".
        reason: String,
        /// What to write instead.
        hint: String,
    },
    /// No connection came about.
    #[error("can't connect to {server}: {reason}")]
    Connect {
        /// Host, port and database, or the file.
        server: String,
        /// The server's or the system's own words.
        reason: String,
        /// SQLSTATE, where the server answered.
        sqlstate: Option<String>,
        /// What to do next.
        hint: String,
    },
    /// A statement failed.
    #[error("{message}{}", sqlstate.as_ref().map(|code| format!(" (SQLSTATE {code})")).unwrap_or_default())]
    Statement {
        /// The database's own words.
        message: String,
        /// SQLSTATE, on PostgreSQL.
        sqlstate: Option<String>,
        /// The byte of the statement's text that the database points at.
        position: Option<usize>,
        /// The database's own hint, or ours.
        hint: Option<String>,
    },
    /// The connection broke while it was in use.
    #[error("the connection to the database was lost: {reason}")]
    Lost {
        /// The system's own words.
        reason: String,
    },
    /// A standby ended the transaction because replaying its primary's changes was more urgent.
    #[error("the replica ended the read: {reason}")]
    Conflict {
        /// The server's own words.
        reason: String,
    },
    /// A server that is configured as a replica can't be read as one.
    #[error("{server} {reason}")]
    Unfit {
        /// Host, port and database.
        server: String,
        /// Completes "the server …".
        reason: String,
        /// What to do next.
        hint: String,
    },
    /// Several servers are configured, and none can be read.
    #[error("no server can be read:{}", passed_over.iter().map(|one| format!("\n  {}: {}", one.server, one.reason)).collect::<String>())]
    NoServer {
        /// Each of them with its reason.
        passed_over: Vec<PassedOver>,
    },
    /// The receiver of the rows has gone; it knows why.
    #[error("the read was stopped")]
    Stopped,
}

impl DatabaseError {
    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        match self {
            DatabaseError::Url { hint, .. }
            | DatabaseError::Connect { hint, .. }
            | DatabaseError::Unfit { hint, .. } => Some(hint.clone()),
            DatabaseError::Statement { hint, .. } => hint.clone(),
            DatabaseError::Lost { reason } if reason.contains("query_timeout") || reason.contains("query timeout") => {
                Some("the pooler's query_timeout ended it; 0 switches it off for tintype's [databases] entry or user".to_owned())
            }
            DatabaseError::Lost { .. } => {
                Some("nothing was published; see the server's log, then run the command again".to_owned())
            }
            DatabaseError::Conflict { .. } => Some(
                "on the replica, a larger max_standby_streaming_delay lets long reads end, and hot_standby_feedback = on keeps \
                 their rows on the primary"
                    .to_owned(),
            ),
            DatabaseError::NoServer { passed_over } => {
                let mut hints: Vec<&str> = passed_over.iter().filter_map(|one| one.hint.as_deref()).collect();
                hints.dedup();
                Some(hints.join("\n        "))
            }
            DatabaseError::Stopped => None,
        }
    }

    /// Why, without the server's name, for a list that names the server already.
    pub fn reason(&self) -> String {
        match self {
            DatabaseError::Connect { reason, .. } | DatabaseError::Unfit { reason, .. } => reason.clone(),
            other => other.to_string(),
        }
    }

    /// True if a server has no connection free.
    pub fn is_full(&self) -> bool {
        matches!(self, DatabaseError::Connect { sqlstate: Some(code), .. } if code == "53300")
    }

    /// The same, of a connection that didn't come about, with another hint.
    pub fn hinting(self, hint: String) -> DatabaseError {
        match self {
            DatabaseError::Connect { server, reason, sqlstate, .. } => {
                DatabaseError::Connect { server, reason, sqlstate, hint }
            }
            other => other,
        }
    }

    /// True if a statement ran out of time, or somebody else ended it.
    pub fn is_too_slow(&self) -> bool {
        matches!(self, DatabaseError::Statement { hint: Some(hint), .. } if hint == TOO_SLOW)
    }

    /// Moves a position from within a longer text to the part that begins `by` bytes later.
    pub fn shifted(self, by: usize) -> DatabaseError {
        match self {
            DatabaseError::Statement { message, sqlstate, position, hint } => DatabaseError::Statement {
                message,
                sqlstate,
                position: position.and_then(|at| at.checked_sub(by)),
                hint,
            },
            other => other,
        }
    }

    /// True if the connection can't be used any more, so that no further template can be read.
    pub fn is_fatal(&self) -> bool {
        !matches!(self, DatabaseError::Statement { .. } | DatabaseError::Stopped)
    }

    /// True if it says something about the server and nothing about what was read, so that another one may do.
    pub fn is_about_server(&self) -> bool {
        matches!(self, DatabaseError::Lost { .. } | DatabaseError::Conflict { .. })
    }
}
