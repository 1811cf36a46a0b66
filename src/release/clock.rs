//! The time of day, as far as the protocol goes by it: how old a staging is, and until when a late request may come.
//!
//! Tests simulate time, and then this clock goes with theirs.

#[cfg(not(test))]
use chrono::{DateTime, Utc};

/// Now.
#[cfg(not(test))]
pub fn now() -> DateTime<Utc> {
    Utc::now()
}

#[cfg(test)]
pub use simulated::{now, simulate};

#[cfg(test)]
mod simulated {
    use std::cell::Cell;
    use std::time::SystemTime;

    use chrono::{DateTime, Utc};
    use tokio::time::Instant;

    thread_local! {
        /// The simulated moment at which this thread's simulation began.
        static BEGAN: Cell<Option<(Instant, DateTime<Utc>)>> = const { Cell::new(None) };
    }

    /// Now, in the simulation if this thread runs one.
    pub fn now() -> DateTime<Utc> {
        BEGAN.get().map_or_else(Utc::now, |(instant, began)| began + instant.elapsed())
    }

    /// Lets the time of day be this, and go with the clock of the runtime on this thread from now on.
    pub fn simulate(now: SystemTime) {
        BEGAN.set(Some((Instant::now(), now.into())));
    }
}
