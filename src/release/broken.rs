//! Safeguards of the publish protocol, each of which the tests take out to show that it is needed.
//!
//! Outside of tests nothing is ever taken out: the question has a constant answer, and the compiler removes it.

/// A rule that the protocol can't do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Safeguard {
    #[cfg(test)]
    /// Nothing is shown before it is committed.
    CommitBeforeActivation,
    #[cfg(test)]
    /// What has to be shown is the union of the changes of all releases since the active one.
    UnionOfChanges,
    /// A key that some keys' read found absent is remembered as absent.
    Tombstones,
    /// Every content of the head has a number of its own.
    Sequence,
    /// The name of a blob holds the run that wrote it.
    UniqueNames,
    /// A prune deletes only what nothing names in the very head that it replaces.
    PruneSwap,
    /// What has to be purged is everything since the last purge.
    PurgeCursor,
    /// A run that began before a rollback stops.
    Barrier,
    /// Paths that a late request may change are looked at once nothing can arrive any more.
    Doubt,
}

/// True if a test has taken this safeguard out.
#[cfg(not(test))]
pub const fn is_out(_: Safeguard) -> bool {
    false
}

#[cfg(test)]
pub use switch::{is_out, without};

#[cfg(test)]
mod switch {
    use std::cell::Cell;

    use super::Safeguard;

    thread_local! {
        /// Each case of a test runs on one thread.
        static OUT: Cell<Option<Safeguard>> = const { Cell::new(None) };
    }

    /// True if a test has taken this safeguard out.
    pub fn is_out(safeguard: Safeguard) -> bool {
        OUT.get() == Some(safeguard)
    }

    /// Takes a safeguard out for whatever this thread does until the guard is dropped.
    pub fn without(safeguard: Option<Safeguard>) -> impl Drop {
        struct Back(Option<Safeguard>);

        impl Drop for Back {
            fn drop(&mut self) {
                OUT.set(self.0);
            }
        }

        Back(OUT.replace(safeguard))
    }
}
