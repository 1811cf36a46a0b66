//! A SQLite file as an operator sees it: how it is written, how large it is, and who has it open.

use std::path::{Path, PathBuf};

use sqlx::{Executor as _, Row as _};

use super::{begin, close, statement_error, version};
use crate::database::{DatabaseError, ReadSettings};

/// What can be said of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFacts {
    /// The library that reads it.
    pub version: String,
    /// `wal`, where a writer and readers don't wait for each other, or `delete` and the like, where they do.
    pub journal_mode: String,
    /// Its size.
    pub size_bytes: u64,
    /// The size of its write-ahead log, if it has one.
    pub wal_bytes: Option<u64>,
    /// Processes that have it open, as far as the system tells: process id and program.
    pub holders: Vec<(u32, String)>,
}

/// Opens a file and looks at it.
pub async fn facts(path: &Path, settings: &ReadSettings) -> Result<FileFacts, DatabaseError> {
    let (mut connection, _) = begin(path, settings).await?;
    let version = version(&mut connection).await?;
    let sql = "PRAGMA journal_mode";
    let row = connection.fetch_one(sql).await.map_err(|error| statement_error(&error, sql))?;
    let journal_mode = row.try_get(0).map_err(|error| statement_error(&error, sql))?;
    close(connection).await?;
    let size = |path: &Path| std::fs::metadata(path).map(|file| file.len()).ok();
    let file = path.to_owned();
    // Every process of the machine is looked at.
    let holders = tokio::task::spawn_blocking(move || holders(&file)).await.unwrap_or_default();
    Ok(FileFacts {
        version,
        journal_mode,
        size_bytes: size(path).unwrap_or(0),
        wal_bytes: size(&beside(path)),
        holders,
    })
}

/// The write-ahead log of a file.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

/// Who has it open, on Linux; of other users' processes only root is told.
fn holders(path: &Path) -> Vec<(u32, String)> {
    let Ok(path) = path.canonicalize() else { return Vec::new() };
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut holders: Vec<(u32, String)> = processes
        .filter_map(|process| {
            let id: u32 = process.file_name().to_str()?.parse().ok().filter(|id| *id != std::process::id())?;
            let mut files = std::fs::read_dir(process.path().join("fd")).ok()?.flatten();
            files.any(|file| std::fs::read_link(file.path()).is_ok_and(|target| target == path)).then_some(())?;
            let program = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            Some((id, program.trim().to_owned()))
        })
        .collect();
    holders.sort();
    holders
}
