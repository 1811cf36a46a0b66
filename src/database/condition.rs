//! What is known about a connection while a transaction runs on it, for whoever would use it again afterwards.
//!
//! A future of sqlx that is dropped half-way leaves answers behind that nobody has read, and an error leaves doubts. So
//! a connection counts as sound only if every call on it came back, and came back well.

use super::DatabaseError;

/// The condition of a connection.
#[derive(Debug, Default)]
pub(super) struct Condition {
    /// A call has begun and hasn't come back; it never will once its future is dropped.
    pub is_busy: bool,
    /// Something happened after which the connection isn't used for another transaction.
    pub is_spoiled: bool,
    /// The last error that was about the server, not about what was read.
    pub about_server: Option<DatabaseError>,
}

impl Condition {
    /// A call begins.
    pub fn begins(&mut self) {
        // The call before broke off, and only that.
        self.is_spoiled |= self.is_busy;
        self.is_busy = true;
    }

    /// The call has come back with this.
    pub fn ends<T>(&mut self, result: Result<T, DatabaseError>) -> Result<T, DatabaseError> {
        self.is_busy = false;
        if let Err(error) = &result {
            self.is_spoiled = true;
            if error.is_about_server() {
                self.about_server = Some(error.clone());
            }
        }
        result
    }

    /// True if nothing speaks against another transaction on the connection.
    pub fn is_sound(&self) -> bool {
        !self.is_busy && !self.is_spoiled
    }
}
