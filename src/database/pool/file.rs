//! The file of a pool: which one it is by now, and opening it.
//!
//! Its folder may hang for good, so it is asked in a thread of its own, by one reader at a time. The others wait for their
//! turn as long as they wait for a lease, and hold up nobody who has nothing to do with this file. The driver opens and
//! reads the file in a thread of the connection's, of which there are no more than the pool has slots.

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use sqlx::sqlite::SqliteConnection;
use tokio::sync::Mutex;

use crate::aside::Aside;
use crate::database::{DatabaseError, ReadSettings, sqlite};

/// A file, whatever it is called. Who puts another one under its name leaves this one to those who have it open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileId {
    device: u64,
    inode: u64,
}

/// A file by its name.
pub struct File {
    pub path: PathBuf,
    aside: Aside,
    turn: Arc<Mutex<()>>,
}

impl File {
    pub fn new(path: PathBuf) -> File {
        File { path, aside: Aside::new(1), turn: Arc::default() }
    }

    /// Which file it is; none where there is no file.
    pub async fn id(&self) -> Option<FileId> {
        let (path, turn) = (self.path.clone(), Arc::clone(&self.turn).lock_owned().await);
        let look = move || {
            // Whoever asked may have left; the next one asks when the folder has answered.
            let _turn = turn;
            std::fs::metadata(path).ok()
        };
        let found = self.aside.run(look).await.flatten()?;
        Some(FileId { device: found.dev(), inode: found.ino() })
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
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let hanging = self.aside.run(move || {
            let _turn = turn;
            until.recv().ok()
        });
        let _ = tokio::time::timeout(std::time::Duration::ZERO, hanging).await;
    }
}
