//! How far a run has got, for whoever shows it.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// What a run is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Reading head and manifest, connecting.
    Prepare,
    /// Reading rows and writing blobs. Nothing is visible.
    Build,
    /// Writing the manifest. Nothing is visible.
    Stage,
    /// The commit is being sent. Nobody knows whether it has happened until its answer is there.
    Commit,
    /// Committed; stable paths change. From here the run is finished by whoever comes next.
    Activate,
    /// The run is over.
    Done,
    /// A server is up and ends by itself on a signal.
    Serve,
    /// Reading what is at the stable paths.
    Verify,
    /// Removing what no release names.
    Remove,
    /// Every path shows the release, and the edges are being told. Whoever comes next tells them what they weren't told.
    Purge,
    /// The edges are being told something that the next run wouldn't tell them.
    PurgeNamed,
    /// Every path shows the release, and the fallback table is being written.
    Table,
}

/// The bit of a phase that goes on beside another.
fn aside(phase: Phase) -> u8 {
    match phase {
        Phase::Purge => 1,
        Phase::Table => 2,
        _ => 0,
    }
}

/// Counters that a run moves and a progress bar reads.
#[derive(Debug, Default)]
pub struct Progress {
    phase: AtomicU8,
    /// What goes on side by side at the end of a run, a bit for each.
    aside: AtomicU8,
    rows: AtomicU64,
    done: AtomicU64,
    expected: AtomicU64,
    /// The publisher whose end is waited for.
    waits_for: Mutex<Option<String>>,
    stopping: AtomicBool,
    stopped: Notify,
}

impl Progress {
    /// Enters a phase; the counters of documents start again, and with a build the counter of rows.
    ///
    /// The edges are told and the fallback table is written at the same time; each is over only when it is left.
    pub fn enter(&self, phase: Phase, expected: u64) {
        let others = match aside(phase) {
            0 => {
                self.aside.store(0, Ordering::Relaxed);
                0
            }
            bit => self.aside.fetch_or(bit, Ordering::Relaxed) & !bit,
        };
        if others != 0 {
            // It is shown as what it was entered first.
            return;
        }
        if phase == Phase::Build {
            self.rows.store(0, Ordering::Relaxed);
        }
        self.done.store(0, Ordering::Relaxed);
        self.expected.store(expected, Ordering::Relaxed);
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// Says that nothing is left to do of what goes on beside others.
    pub fn leave(&self, phase: Phase) {
        let left = self.aside.fetch_and(!aside(phase), Ordering::Relaxed) & !aside(phase);
        if self.phase() == phase {
            let next = match left {
                0 => Phase::Done,
                left if left == aside(Phase::Table) => Phase::Table,
                _ => Phase::Purge,
            };
            self.phase.store(next as u8, Ordering::Relaxed);
        }
    }

    /// True from the moment when such a phase was entered until it is left.
    pub fn is_in(&self, phase: Phase) -> bool {
        self.aside.load(Ordering::Relaxed) & aside(phase) != 0
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
            3 => Phase::Commit,
            4 => Phase::Activate,
            5 => Phase::Done,
            6 => Phase::Serve,
            7 => Phase::Verify,
            8 => Phase::Remove,
            9 => Phase::Purge,
            10 => Phase::PurgeNamed,
            _ => Phase::Table,
        }
    }

    /// Says whom the run waits for from now on, if for anybody; true if that is news.
    pub fn wait_for(&self, holder: Option<&str>) -> bool {
        let mut waits_for = self.holder();
        let is_news = waits_for.as_deref() != holder;
        if is_news {
            *waits_for = holder.map(ToOwned::to_owned);
        }
        is_news
    }

    /// The other publisher that the run waits for at the moment.
    pub fn waits_for(&self) -> Option<String> {
        self.holder().clone()
    }

    fn holder(&self) -> MutexGuard<'_, Option<String>> {
        self.waits_for.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks an activation to end as soon as what it has begun is done.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// True once an activation is to end.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Says that an activation has ended because it was to, and that others may go on from there.
    pub fn note_stopped(&self) {
        self.stopped.notify_one();
    }

    /// Waits for that.
    pub async fn stopped(&self) {
        self.stopped.notified().await;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_side_by_side_is_left_one_by_one() {
        for (first, second) in [(Phase::Purge, Phase::Table), (Phase::Table, Phase::Purge)] {
            let progress = Progress::default();
            progress.enter(Phase::Activate, 0);
            progress.leave(first);
            assert_eq!(progress.phase(), Phase::Activate, "it was never entered");
            progress.enter(first, 0);
            progress.enter(second, 0);
            assert!(progress.is_in(first) && progress.is_in(second));
            progress.leave(first);
            assert!(!progress.is_in(first) && progress.is_in(second) && progress.phase() == second);
            progress.leave(second);
            assert!(!progress.is_in(second) && progress.phase() == Phase::Done);
            progress.enter(first, 0);
            progress.enter(Phase::Prepare, 0);
            assert!(!progress.is_in(first) && progress.phase() == Phase::Prepare);
        }
    }
}
