//! How far a run has got, for whoever shows it.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// What a run is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Reading head and manifest, connecting.
    Prepare,
    /// Reading rows and writing blobs. Nothing is visible.
    Build,
    /// Writing the manifest. Nothing is visible.
    Stage,
    /// Committed; stable paths change. From here the run is finished by whoever comes next.
    Activate,
    /// The run is over.
    Done,
    /// A server is up and ends by itself on a signal.
    Serve,
}

/// Counters that a run moves and a progress bar reads.
#[derive(Debug, Default)]
pub struct Progress {
    phase: AtomicU8,
    rows: AtomicU64,
    done: AtomicU64,
    expected: AtomicU64,
}

impl Progress {
    /// Enters a phase; the counters of documents start again, and with a build the counter of rows.
    pub fn enter(&self, phase: Phase, expected: u64) {
        if phase == Phase::Build {
            self.rows.store(0, Ordering::Relaxed);
        }
        self.done.store(0, Ordering::Relaxed);
        self.expected.store(expected, Ordering::Relaxed);
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// Expects further documents in this phase: templates overlap, so their numbers add up.
    pub fn expect(&self, documents: u64) {
        self.expected.fetch_add(documents, Ordering::Relaxed);
    }

    /// The phase of the moment.
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::Prepare,
            1 => Phase::Build,
            2 => Phase::Stage,
            3 => Phase::Activate,
            4 => Phase::Done,
            _ => Phase::Serve,
        }
    }

    /// Counts rows that were read.
    pub fn add_rows(&self, rows: u64) {
        self.rows.fetch_add(rows, Ordering::Relaxed);
    }

    /// Counts a document that is done.
    pub fn add_document(&self) {
        self.done.fetch_add(1, Ordering::Relaxed);
    }

    /// Rows read so far.
    pub fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// Documents of the phase that are done, and how many are expected; zero means unknown.
    pub fn documents(&self) -> (u64, u64) {
        (self.done.load(Ordering::Relaxed), self.expected.load(Ordering::Relaxed))
    }
}
