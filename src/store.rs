//! Stores: where the documents and the control objects lie.
//!
//! A store has two parts. The *public* part holds the documents under their stable paths; readers see nothing else.
//! The *control* part lies beside it, outside of what is served, and holds blobs, manifests and releases, each written
//! once under a name that is never used again, and `head.json`, the one record that changes, by compare-and-swap. Where
//! a bucket's store has no compare-and-swap, that record is a row in a database instead.

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use tokio::task::coop::consume_budget;

mod attributes;
mod counters;
mod directory;
#[cfg(test)]
mod faulty;
mod head;
mod listing;
pub mod probe;
mod s3;
mod shown;

pub use attributes::Attributes;
pub use counters::{Answers, Requests, Status};
pub use directory::{Directory, DirectoryLock};
#[cfg(test)]
pub use faulty::Faulty;
#[cfg(test)]
pub(crate) use faulty::{Document, Event, Fault, Place, Script, Sender, World};
pub use head::{HeadObject, Swap, Version};
pub use listing::{Listed, Listing, Page, Part};
pub use s3::{HeadPlace, Location, S3, Settings as S3Settings};
pub use shown::{Headers, Shown};

use counters::{Counter, Counters};

/// A store, by kind.
#[derive(Debug)]
pub enum Store {
    /// A directory on this machine.
    Directory(Directory),
    /// A bucket of an S3-compatible store.
    S3(Box<S3>),
    /// A bucket in memory that does what a script says.
    #[cfg(test)]
    Faulty(Faulty),
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
    /// True if it says nothing about this object in particular: the next one would fare no better.
    pub is_general: bool,
}

/// The right to commit and activate, held by one publisher at a time.
#[derive(Debug)]
pub enum Lock {
    /// On a directory.
    Directory {
        /// Held until it is dropped.
        held: DirectoryLock,
    },
    /// On a bucket, where the lease in `head.json` is what keeps others out.
    Lease,
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
            Store::S3(s3) => s3.describe(),
            #[cfg(test)]
            Store::Faulty(_) => "the faulty store".to_owned(),
        }
    }

    /// True if whoever asks it holds his thread until it answers, which a folder that hangs may never do.
    pub fn holds_its_thread(&self) -> bool {
        match self {
            Store::Directory(_) => true,
            Store::S3(_) => false,
            #[cfg(test)]
            Store::Faulty(_) => false,
        }
    }

    /// Requests so far.
    pub fn requests(&self) -> Requests {
        match self {
            Store::Directory(directory) => directory.counters.sent(),
            Store::S3(s3) => s3.counters.sent(),
            #[cfg(test)]
            Store::Faulty(faulty) => faulty.counters.sent(),
        }
    }

    /// What became of those that are over.
    pub fn answers(&self) -> Answers {
        match self {
            Store::Directory(directory) => directory.counters.answers(),
            Store::S3(s3) => s3.counters.answers(),
            #[cfg(test)]
            Store::Faulty(faulty) => faulty.counters.answers(),
        }
    }

    /// How many operations are worth starting before the first of them has ended; it changes with what the store bears.
    pub fn in_flight(&self) -> usize {
        match self {
            Store::Directory(_) => 1,
            Store::S3(s3) => s3.in_flight(),
            #[cfg(test)]
            Store::Faulty(faulty) => faulty.in_flight(),
        }
    }

    /// Writes a control object under a name that was never used before.
    pub async fn create(&self, name: &str, bytes: Bytes) -> Result<(), StoreError> {
        consume_budget().await;
        match self {
            Store::Directory(directory) => directory.create(name, &bytes),
            Store::S3(s3) => Box::pin(s3.create(name, bytes)).await,
            #[cfg(test)]
            Store::Faulty(faulty) => faulty.create(name, bytes).await,
        }
    }

    /// Reads a control object; `None` if there is none.
    pub async fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        consume_budget().await;
        match self {
            Store::Directory(directory) => directory.read(name),
            Store::S3(s3) => Box::pin(s3.read(name)).await,
            #[cfg(test)]
            Store::Faulty(faulty) => faulty.read(name).await,
        }
    }

    /// Names of the control objects below a folder such as `release/`, in order.
    pub async fn list(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        consume_budget().await;
        match self {
            Store::Directory(directory) => directory.list(folder),
            Store::S3(s3) => Box::pin(s3.list(folder)).await,
            #[cfg(test)]
            Store::Faulty(faulty) => faulty.list(folder).await,
        }
    }

    /// Reads the document at a stable path, gzipped; `None` if there is none.
    pub async fn read_public(&self, path: &str) -> Result<Option<Vec<u8>>, StoreError> {
        consume_budget().await;
        match self {
            Store::Directory(directory) => directory.read_public(path),
            Store::S3(s3) => Box::pin(s3.read_public(path)).await,
            #[cfg(test)]
            Store::Faulty(faulty) => faulty.read_public(path).await,
        }
    }

    /// Lets a stable path show a blob, with these attributes where the store keeps any.
    pub async fn activate(&self, path: &str, blob: &str, attributes: &Attributes) -> Result<(), StoreError> {
        consume_budget().await;
        match self {
            Store::Directory(directory) => directory.activate(path, blob),
            Store::S3(s3) => Box::pin(s3.activate(path, blob, attributes)).await,
            #[cfg(test)]
            Store::Faulty(faulty) => faulty.activate(path, blob, attributes).await,
        }
    }

    /// Removes stable paths; one that is gone already is no error. Returns those that couldn't be removed.
    pub async fn remove(&self, paths: &[&str]) -> Vec<(String, StoreError)> {
        match self {
            Store::Directory(directory) => {
                let mut failed = Vec::new();
                for path in paths {
                    consume_budget().await;
                    if let Err(error) = directory.remove(path) {
                        failed.push(((*path).to_owned(), error));
                    }
                }
                failed
            }
            Store::S3(s3) => Box::pin(s3.remove(paths)).await,
            #[cfg(test)]
            Store::Faulty(faulty) => faulty.remove(paths).await,
        }
    }

    /// Reads the head; `None` before the first release.
    pub async fn read_head(&self) -> Result<Option<HeadObject>, StoreError> {
        consume_budget().await;
        match self {
            Store::Directory(directory) => {
                let bytes = directory.read("head.json")?;
                Ok(bytes.map(|bytes| HeadObject { version: Version::bytes(bytes.clone()), bytes, age: None }))
            }
            Store::S3(s3) => Box::pin(s3.read_head()).await,
            #[cfg(test)]
            Store::Faulty(faulty) => faulty.read_head().await,
        }
    }

    /// For a store without a release: an error if it seems to have lost it, because a folder isn't there, rather than to wait
    /// for its first. A bucket that isn't there says so by itself.
    pub async fn check_emptiness(&self) -> Result<(), StoreError> {
        consume_budget().await;
        match self {
            Store::Directory(directory) => directory.check_emptiness(),
            Store::S3(_) => Ok(()),
            #[cfg(test)]
            Store::Faulty(_) => Ok(()),
        }
    }

    /// For a store with a release: an error if the folder that shows it isn't there.
    pub async fn check_shown(&self) -> Result<(), StoreError> {
        consume_budget().await;
        match self {
            Store::Directory(directory) => directory.check_shown(),
            Store::S3(_) => Ok(()),
            #[cfg(test)]
            Store::Faulty(_) => Ok(()),
        }
    }

    /// Comes back when nothing is left at the database with the head, if there is one, of requests that were given up.
    pub async fn head_is_left_alone(&self) {
        if let Store::S3(s3) = self {
            s3.head_is_left_alone().await;
        }
    }

    /// Replaces the head if it is still the `expected` one. It is sent once, whatever the answer.
    pub async fn swap_head(&self, expected: Option<&Version>, new: Vec<u8>) -> Result<Swap, StoreError> {
        match self {
            Store::Directory(directory) => {
                let swapped = directory.swap_head(expected.map(Version::as_bytes), &new).await?;
                Ok(if swapped { Swap::Swapped(Version::bytes(new)) } else { Swap::Refused })
            }
            Store::S3(s3) => Box::pin(s3.swap_head(expected, new)).await,
            #[cfg(test)]
            Store::Faulty(faulty) => faulty.swap_head(expected, new).await,
        }
    }

    /// Waits at most `wait` for the right to commit and activate; `None` if another publisher keeps it.
    /// `holder` is who the others are told of.
    pub async fn lock(&self, wait: Duration, holder: &str) -> Result<Option<Lock>, StoreError> {
        match self {
            Store::Directory(directory) => Ok(directory.lock(wait, holder).await?.map(|held| Lock::Directory { held })),
            Store::S3(_) => Ok(Some(Lock::Lease)),
            #[cfg(test)]
            Store::Faulty(_) => Ok(Some(Lock::Lease)),
        }
    }

    /// Who has the lock, and for how long, as far as it can be told; a bucket has none.
    pub fn locked_by(&self) -> Option<(String, Duration)> {
        match self {
            Store::Directory(directory) => directory.locked_by(),
            Store::S3(_) => None,
            #[cfg(test)]
            Store::Faulty(_) => None,
        }
    }

    /// True if a request may be carried out long after its sender has given it up: a network lies in between. There a
    /// lease expires by the clock; a directory's lock ends with its process, and everything that process did with it.
    pub fn delivers_late(&self) -> bool {
        match self {
            Store::Directory(_) => false,
            Store::S3(_) => true,
            #[cfg(test)]
            Store::Faulty(_) => true,
        }
    }

    /// How many changes of stable paths were sent so far and got no answer, so that they may yet be carried out.
    pub fn unanswered(&self) -> u64 {
        match self {
            Store::Directory(_) => 0,
            Store::S3(s3) => s3.unanswered(),
            #[cfg(test)]
            Store::Faulty(faulty) => faulty.unanswered(),
        }
    }

    /// Makes everything written so far survive a power cut.
    pub async fn settle(&self) -> Result<(), StoreError> {
        match self {
            Store::Directory(directory) => directory.settle().await,
            // What a bucket has answered for is there.
            Store::S3(_) => Ok(()),
            #[cfg(test)]
            Store::Faulty(_) => Ok(()),
        }
    }

    /// Where documents and records lie, as a server names them that holds both; each is empty or ends in `/`.
    pub fn places(&self) -> (String, String) {
        match self {
            Store::Directory(directory) => directory.places(),
            Store::S3(s3) => s3.places(),
            #[cfg(test)]
            Store::Faulty(_) => (String::new(), String::new()),
        }
    }

    /// The prefix of the documents in their bucket; a directory keeps a record of its own of what belongs to what.
    pub fn site(&self) -> Option<String> {
        match self {
            Store::Directory(_) => None,
            Store::S3(s3) => Some(s3.site()),
            #[cfg(test)]
            Store::Faulty(_) => None,
        }
    }

    /// The directory of the public part, on this machine.
    pub fn public_directory(&self) -> Option<&Path> {
        match self {
            Store::Directory(directory) => Some(directory.public()),
            Store::S3(_) => None,
            #[cfg(test)]
            Store::Faulty(_) => None,
        }
    }

    /// The faulty store that it is.
    #[cfg(test)]
    pub fn faulty(&self) -> &Faulty {
        match self {
            Store::Faulty(faulty) => faulty,
            _ => panic!("not a faulty store"),
        }
    }
}
