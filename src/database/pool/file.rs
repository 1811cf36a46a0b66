//! The file of a pool: which one it is by now, and opening it.
//!
//! Its folder may hang for good, so it is asked in a thread of its own, by one reader at a time. The others wait for their
//! turn as long as they wait for a lease, and hold up nobody who has nothing to do with this file. The driver opens and
//! reads the file in a thread of the connection's, of which there are no more than the pool has slots.

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::sqlite::SqliteConnection;
use tokio::time::Instant;

use crate::aside::Aside;
use crate::database::{DatabaseError, ReadSettings, sqlite};

/// A file, whatever it is called. Who puts another one under its name leaves this one to those who have it open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileId {
    device: u64,
    inode: u64,
}

/// How long a look counts as one that will come back. What it hangs on may be gone for good by then, and another disk be
/// in its place.
const LONGEST: Duration = Duration::from_secs(70);
/// Looks that hang at a time, at most.
const LOOKS: usize = 4;

/// A file by its name.
pub struct File {
    pub path: PathBuf,
    aside: Aside,
    queue: Arc<Mutex<Queue>>,
}

/// Whoever has it locked looks.
type Turn = tokio::sync::Mutex<()>;

/// Who looks, and who waits to.
#[derive(Default)]
struct Queue {
    turn: Arc<Turn>,
    /// When the look began that hasn't come back.
    since: Option<Instant>,
    /// Looks that nobody waits for any more.
    given_up: usize,
}

impl File {
    pub fn new(path: PathBuf) -> File {
        File { path, aside: Aside::new(LOOKS), queue: Arc::default() }
    }

    /// Which file it is; none where there is no file.
    pub async fn id(&self) -> Option<FileId> {
        let path = self.path.clone();
        let found = self.look(move || std::fs::metadata(path).ok()).await.flatten()?;
        Some(FileId { device: found.dev(), inode: found.ino() })
    }

    /// Looks in a thread of its own, after those that look already. Whoever asked may leave; the next one looks when the
    /// folder has answered.
    async fn look<T: Send + 'static>(&self, look: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (turn, guard) = loop {
            let turn = lock(&self.queue).turn();
            let guard = Arc::clone(&turn).lock_owned().await;
            // It may have been given up while this one waited for it.
            if lock(&self.queue).begins(&turn) {
                break (turn, guard);
            }
        };
        let queue = Arc::clone(&self.queue);
        let look = move || {
            let found = look();
            lock(&queue).ends(&turn);
            drop(guard);
            found
        };
        self.aside.run(look).await
    }

    /// Opens it, and tells which file it was just before: if it is replaced in between, that is noticed.
    pub async fn open(&self, settings: &ReadSettings) -> Result<(SqliteConnection, Option<FileId>), DatabaseError> {
        let id = self.id().await;
        let opened = sqlite::try_open(&self.path, settings.connect_timeout).await;
        let connection = opened.map_err(|error| sqlite::not_opened(&self.path, &error, id.is_some()))?;
        Ok((connection, id))
    }

    /// Keeps its thread busy, as a folder that hangs does, until the sender is dropped.
    #[cfg(test)]
    pub async fn hang(&self, until: std::sync::mpsc::Receiver<()>) {
        let _ = tokio::time::timeout(Duration::ZERO, self.look(move || until.recv().ok())).await;
    }
}

impl Queue {
    /// The turn to wait for: another one than before if who has that will most likely never end.
    fn turn(&mut self) -> Arc<Turn> {
        let hangs = self.since.is_some_and(|since| since.elapsed() >= LONGEST);
        if hangs && self.given_up + 1 < LOOKS {
            (self.turn, self.since) = (Arc::default(), None);
            self.given_up += 1;
        }
        Arc::clone(&self.turn)
    }

    /// A look begins, if its turn is still one.
    fn begins(&mut self, turn: &Arc<Turn>) -> bool {
        let is_one = Arc::ptr_eq(&self.turn, turn);
        if is_one {
            self.since = Some(Instant::now());
        }
        is_one
    }

    /// A look came back.
    fn ends(&mut self, turn: &Arc<Turn>) {
        match Arc::ptr_eq(&self.turn, turn) {
            true => self.since = None,
            false => self.given_up -= 1,
        }
    }
}

fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    // Nothing in there can be half done.
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use tokio::time::{advance, timeout};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_look_that_hangs_for_good_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.db");
        std::fs::write(&path, b"").unwrap();
        let file = File::new(path);
        let mut hanging = Vec::new();
        for _ in 0..LOOKS - 1 {
            assert!(file.id().await.is_some());
            let (go, wait) = std::sync::mpsc::channel::<()>();
            hanging.push(go);
            file.hang(wait).await;
            advance(LONGEST / 2).await;
            assert!(timeout(Duration::from_secs(1), file.id()).await.is_err());
            advance(LONGEST / 2).await;
        }
        assert!(file.id().await.is_some());
        let (go, wait) = std::sync::mpsc::channel::<()>();
        hanging.push(go);
        file.hang(wait).await;
        advance(LONGEST * 2).await;
        assert!(timeout(Duration::from_secs(1), file.id()).await.is_err(), "no more threads than these");
        drop(hanging);
        assert!(file.id().await.is_some());
    }
}
