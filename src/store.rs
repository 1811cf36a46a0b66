//! Stores: where the documents and the control objects lie.
//!
//! A store has two parts. The *public* part holds the documents under their stable paths; readers see nothing else.
//! The *control* part lies beside it, outside of what is served, and holds blobs, manifests and releases, each written
//! once under a name that is never used again, and `head.json`, the one record that changes, by compare-and-swap.

use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;
use tokio::task::coop::consume_budget;

mod directory;

pub use directory::{Directory, DirectoryLock};

/// A store, by kind.
#[derive(Debug)]
pub enum Store {
    /// A directory on this machine.
    Directory(Directory),
}

/// What was asked of a store, by kind of request.
#[derive(Debug, Default)]
pub struct Counters {
    puts: AtomicU64,
    copies: AtomicU64,
    deletes: AtomicU64,
    gets: AtomicU64,
    heads: AtomicU64,
    lists: AtomicU64,
}

/// Requests so far. On a directory a put is a file written, a copy a link, a get a file read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Requests {
    /// Objects written.
    pub puts: u64,
    /// Stable paths pointed at another blob.
    pub copies: u64,
    /// Objects removed.
    pub deletes: u64,
    /// Objects read.
    pub gets: u64,
    /// Objects asked for their attributes only.
    pub heads: u64,
    /// Listings.
    pub lists: u64,
}

impl Counters {
    fn read(&self) -> Requests {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Requests {
            puts: read(&self.puts),
            copies: read(&self.copies),
            deletes: read(&self.deletes),
            gets: read(&self.gets),
            heads: read(&self.heads),
            lists: read(&self.lists),
        }
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// A store error: what was being done to which object, and why it didn't work.
#[derive(Debug, Clone, thiserror::Error)]
#[error("can't {action} {object}: {reason}")]
pub struct StoreError {
    /// "write", "read", "link" …
    pub action: &'static str,
    /// The file or object.
    pub object: String,
    /// The system's own words.
    pub reason: String,
    /// What to do next.
    pub hint: Option<String>,
}

/// The right to commit and activate, held by one publisher at a time.
#[derive(Debug)]
pub enum Lock {
    /// On a directory.
    Directory {
        /// Held until it is dropped.
        #[expect(dead_code, reason = "what matters is when it is dropped")]
        held: DirectoryLock,
    },
}

/// A path without `.` and `..`, for comparing: what it leads to need not exist yet.
pub fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                normal.pop();
            }
            other => normal.push(other),
        }
    }
    normal
}

/// A directory answers at once, so a loop over documents would never come to an `await` that waits: what else the
/// process is to hear, a signal above all, gets its turn through the budget that each call takes from.
impl Store {
    /// What the store is called in messages.
    pub fn describe(&self) -> String {
        match self {
            Store::Directory(directory) => directory.public().display().to_string(),
        }
    }

    /// Requests so far.
    pub fn requests(&self) -> Requests {
        match self {
            Store::Directory(directory) => directory.counters.read(),
        }
    }

    /// How many objects are best written at once.
    pub fn in_flight(&self) -> usize {
        match self {
            Store::Directory(_) => 1,
        }
    }

    /// Writes a control object under a name that was never used before.
    pub async fn create(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        consume_budget().await;
        match self {
            Store::Directory(directory) => directory.create(name, bytes),
        }
    }

    /// Reads a control object; `None` if there is none.
    pub async fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        consume_budget().await;
        match self {
            Store::Directory(directory) => directory.read(name),
        }
    }

    /// Names of the control objects below a folder such as `release/`, in order.
    pub async fn list(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        consume_budget().await;
        match self {
            Store::Directory(directory) => directory.list(folder),
        }
    }

    /// Reads the document at a stable path, gzipped; `None` if there is none.
    pub async fn read_public(&self, path: &str) -> Result<Option<Vec<u8>>, StoreError> {
        consume_budget().await;
        match self {
            Store::Directory(directory) => directory.read_public(path),
        }
    }

    /// Lets a stable path show a blob.
    pub async fn activate(&self, path: &str, blob: &str) -> Result<(), StoreError> {
        consume_budget().await;
        match self {
            Store::Directory(directory) => directory.activate(path, blob),
        }
    }

    /// Removes a stable path; one that is gone already is no error.
    pub async fn remove(&self, path: &str) -> Result<(), StoreError> {
        consume_budget().await;
        match self {
            Store::Directory(directory) => directory.remove(path),
        }
    }

    /// Reads `head.json`; `None` before the first release.
    pub async fn read_head(&self) -> Result<Option<Vec<u8>>, StoreError> {
        consume_budget().await;
        match self {
            Store::Directory(directory) => directory.read("head.json"),
        }
    }

    /// Replaces `head.json` if it still holds `expected`; says whether it did.
    pub async fn swap_head(&self, expected: Option<&[u8]>, new: &[u8]) -> Result<bool, StoreError> {
        match self {
            Store::Directory(directory) => directory.swap_head(expected, new).await,
        }
    }

    /// Waits at most `wait` for the right to commit and activate; `None` if another publisher keeps it.
    pub async fn lock(&self, wait: Duration) -> Result<Option<Lock>, StoreError> {
        match self {
            Store::Directory(directory) => Ok(directory.lock(wait).await?.map(|held| Lock::Directory { held })),
        }
    }

    /// Makes everything written so far survive a power cut.
    pub async fn settle(&self) -> Result<(), StoreError> {
        match self {
            Store::Directory(directory) => directory.settle().await,
        }
    }

    /// The directory of the public part.
    pub fn public_directory(&self) -> &Path {
        match self {
            Store::Directory(directory) => directory.public(),
        }
    }
}
