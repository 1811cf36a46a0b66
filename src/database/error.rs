//! What can go wrong between tintype and a database, in words for the person who must act.

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
    /// The receiver of the rows has gone; it knows why.
    #[error("the read was stopped")]
    Stopped,
}

impl DatabaseError {
    /// What to do next.
    pub fn hint(&self) -> Option<String> {
        match self {
            DatabaseError::Url { hint, .. } | DatabaseError::Connect { hint, .. } => Some(hint.clone()),
            DatabaseError::Statement { hint, .. } => hint.clone(),
            DatabaseError::Lost { .. } => {
                Some("nothing was published; see the server's log, then run the command again".to_owned())
            }
            DatabaseError::Stopped => None,
        }
    }

    /// True if the connection can't be used any more, so that no further template can be read.
    pub fn is_fatal(&self) -> bool {
        !matches!(self, DatabaseError::Statement { .. } | DatabaseError::Stopped)
    }
}
