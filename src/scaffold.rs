//! A new folder to start from: `tintype.toml`, the shipped templates and schedules and, where no database is named, demo
//! data.
//!
//! Nothing that is there is ever overwritten, and whoever is stopped in the middle runs the command again. For both a
//! marker file is written first and removed last: a folder with the marker is ours and unfinished, whatever else is in
//! it. Every other file gets its name only when it is whole, `tintype.toml` as the last of them, so a folder with that
//! one is finished. The marker is locked, so that two at a time can't mix.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;

use crate::config::{self, Config, FILE_NAME};
use crate::database::Database;
use crate::demo::data::{Counts, create_sqlite};
use crate::error::Error;

mod demo_tables;
#[cfg(test)]
mod tests;

pub use demo_tables::load as load_demo_tables;

/// The shipped templates and schedules, each with its path in the folder.
const SHIPPED: [(&str, &str); 5] = [
    ("templates/world-map.sql", include_str!("../templates/world-map.sql")),
    ("templates/country-map.sql", include_str!("../templates/country-map.sql")),
    ("templates/city-map.sql", include_str!("../templates/city-map.sql")),
    ("schedules/nightly.toml", include_str!("../schedules/nightly.toml")),
    ("schedules/hourly.toml", include_str!("../schedules/hourly.toml")),
];
/// The demo's data, as the written `[database] url` names it.
const DEMO_DATABASE: &str = "demo.db";
/// The first line of a configuration over the demo's data; by it `demo` knows a folder again.
const DEMO_LINE: &str = "# Written with the demo's data: `tintype demo --dir` uses this folder again.";
/// Lies in the folder while it is being written.
const MARKER: &str = ".tintype-init";

/// What was written into a folder.
#[derive(Debug, Clone)]
pub struct Written {
    /// The folder, as it was named.
    pub folder: PathBuf,
    /// Its `tintype.toml`.
    pub config: PathBuf,
    /// The files that this run wrote, in order.
    pub files: Vec<WrittenFile>,
    /// The demo's data, if this run wrote it.
    pub demo: Option<DemoData>,
    /// True if the folder was finished before.
    pub reused: bool,
}

/// A file that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenFile {
    /// Its path within the folder.
    pub path: PathBuf,
    /// Its size.
    pub size_bytes: u64,
}

/// The demo's data.
#[derive(Debug, Clone, Copy)]
pub struct DemoData {
    /// How many rows of each kind.
    pub counts: Counts,
    /// How long generating and writing them took.
    pub took: Duration,
}

/// What [`init`] would write, in order; refuses what it would refuse.
pub fn plan(folder: &Path, database: Option<&str>, store: Option<&str>) -> Result<Vec<PathBuf>, Error> {
    check(folder, database, store)?;
    refuse_finished(folder)?;
    refuse_foreign(folder)?;
    let demo = database.is_none().then_some(DEMO_DATABASE);
    Ok(SHIPPED.iter().map(|(path, _)| *path).chain(demo).chain([FILE_NAME]).map(PathBuf::from).collect())
}

fn refuse_finished(folder: &Path) -> Result<(), Error> {
    let config = folder.join(FILE_NAME);
    if !present(&config) {
        return Ok(());
    }
    let hint = format!("edit it, or name a new folder; `tintype -c {} publish` publishes from it", config.display());
    Err(Error::usage(format!("{} is there already", config.display()), hint))
}

/// Writes a new folder; one with a `tintype.toml` or with anything that isn't ours is refused.
///
/// The URLs go into `tintype.toml` as they are: relative files count from the folder. Without `database` the demo's
/// data is written too; without `store` the snapshots go into `public`.
pub async fn init(folder: &Path, database: Option<&str>, store: Option<&str>) -> Result<Written, Error> {
    plan(folder, database, store)?;
    let marker = Marker::take(folder)?;
    if let Err(taken) = refuse_finished(folder) {
        // Another run has finished the folder meanwhile.
        marker.remove()?;
        return Err(taken);
    }
    let mut text = config::file_text(database, store);
    if database.is_none() {
        text.insert_str(0, &format!("{DEMO_LINE}\n"));
    }
    let mut writer = Writer::new(folder);
    for (path, text) in SHIPPED {
        writer.file(path, text, 0o666)?;
    }
    if database.is_none() {
        writer.demo().await?;
    }
    let secret = database.is_some_and(config::holds_password);
    writer.file(FILE_NAME, &text, if secret { 0o600 } else { 0o666 })?;
    marker.remove()?;
    Ok(writer.written)
}

/// Writes a new folder with the demo's data, or uses one again that was written with it.
///
/// Refuses any other folder that isn't empty, and one whose database is no longer the demo's: `demo` publishes without
/// asking. Demo data that is gone is written anew.
pub async fn init_or_reuse(folder: &Path) -> Result<Written, Error> {
    if !present(&folder.join(FILE_NAME)) {
        return init(folder, None, None).await;
    }
    check_reusable(folder)?;
    let mut writer = Writer::new(folder);
    writer.written.reused = true;
    // A marker here means that the run before was stopped after its last file.
    if present(&folder.join(MARKER)) || !present(&folder.join(DEMO_DATABASE)) {
        let marker = Marker::take(folder)?;
        writer.demo().await?;
        marker.remove()?;
    }
    Ok(writer.written)
}

/// Checks the URLs before anything is written.
fn check(folder: &Path, database: Option<&str>, store: Option<&str>) -> Result<(), Error> {
    let absolute = std::path::absolute(folder).map_err(|error| failed("find", folder, &error))?;
    if let Some(store) = store {
        config::check_store(store, &absolute)?;
    }
    let Some(text) = database else { return Ok(()) };
    if let Database::Sqlite(file) = Database::from_url(text, &absolute)?
        && !file.exists()
        && let Database::Sqlite(here) = Database::from_url(text, Path::new(""))?
        && here.exists()
    {
        let here = std::path::absolute(&here).map_err(|error| failed("find", &here, &error))?;
        return Err(Error::usage(
            format!("{text} counts from {}, and there is no such file", folder.display()),
            format!("write the whole path: --database sqlite:{}", here.display()),
        ));
    }
    Ok(())
}

fn check_reusable(folder: &Path) -> Result<(), Error> {
    let path = folder.join(FILE_NAME);
    let text = std::fs::read_to_string(&path).map_err(|error| failed("read", &path, &error))?;
    let hint = || "name a new folder: `tintype demo --dir DIR`".to_owned();
    if text.lines().next() != Some(DEMO_LINE) {
        return Err(Error::usage(format!("the folder {} isn't the demo's", folder.display()), hint()));
    }
    // Without the environment: what matters is whether the file itself still means the demo's data.
    let config = Config::load(&path, &[])?;
    let url = config.database.url.as_ref().map(config::Secret::expose);
    match url == Some(&format!("sqlite:{DEMO_DATABASE}")) {
        true => Ok(()),
        false => Err(Error::usage(
            format!("{} names another database than the demo's", path.display()),
            format!("`tintype -c {} publish` publishes from it; for the demo, {}", path.display(), hint()),
        )),
    }
}

/// Refuses a folder with anything in it, unless an earlier attempt left its marker.
fn refuse_foreign(folder: &Path) -> Result<(), Error> {
    let mut entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == ErrorKind::NotADirectory => {
            return Err(Error::usage(format!("{} isn't a folder", folder.display()), "name a new or an empty folder"));
        }
        Err(error) => return Err(failed("read", folder, &error)),
    };
    match entries.next() {
        Some(Ok(entry)) if !present(&folder.join(MARKER)) => Err(Error::usage(
            format!("the folder {} isn't empty: it holds {}", folder.display(), entry.file_name().to_string_lossy()),
            "name a new or an empty folder; nothing in it was touched",
        )),
        Some(Err(error)) => Err(failed("read", folder, &error)),
        _ => Ok(()),
    }
}

/// The right to write into a folder; its lock ends with the process.
struct Marker {
    path: PathBuf,
    _file: File,
}

impl Marker {
    fn take(folder: &Path) -> Result<Marker, Error> {
        std::fs::create_dir_all(folder).map_err(|error| failed("create", folder, &error))?;
        let path = folder.join(MARKER);
        let open = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let file = open.map_err(|error| failed("write", &path, &error))?;
        match rustix::fs::flock(file.as_fd(), FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(Error::usage(
                    format!("another tintype is writing the folder {}", folder.display()),
                    "wait until it is done, or name another folder",
                ));
            }
            Err(error) => return Err(failed("lock", &path, &error.into())),
        }
        Ok(Marker { path, _file: file })
    }

    fn remove(self) -> Result<(), Error> {
        remove(&self.path)
    }
}

struct Writer {
    written: Written,
}

impl Writer {
    fn new(folder: &Path) -> Writer {
        let written = Written {
            folder: folder.to_owned(),
            config: folder.join(FILE_NAME),
            files: Vec::new(),
            demo: None,
            reused: false,
        };
        Writer { written }
    }

    /// Writes a text under another name and then gives it its own; a file that is there stays as it is.
    fn file(&mut self, name: &str, text: &str, mode: u32) -> Result<(), Error> {
        let path = self.written.folder.join(name);
        if present(&path) {
            return Ok(());
        }
        let parent = path.parent().unwrap_or(&self.written.folder);
        std::fs::create_dir_all(parent).map_err(|error| failed("create", parent, &error))?;
        let temporary = path.with_added_extension("tmp");
        remove(&temporary)?;
        let open = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary);
        open.and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        })
        .and_then(|()| place(&temporary, &path))
        .map_err(|error| failed("write", &path, &error))?;
        self.note(name, text.len() as u64);
        Ok(())
    }

    async fn demo(&mut self) -> Result<(), Error> {
        let path = self.written.folder.join(DEMO_DATABASE);
        if present(&path) {
            return Ok(());
        }
        let started = Instant::now();
        let counts = create_sqlite(&path).await.map_err(|error| Error::Local {
            action: "write",
            object: path.display().to_string(),
            reason: error.to_string(),
        })?;
        self.written.demo = Some(DemoData { counts, took: started.elapsed() });
        let metadata = std::fs::metadata(&path).map_err(|error| failed("read", &path, &error))?;
        self.note(DEMO_DATABASE, metadata.len());
        Ok(())
    }

    fn note(&mut self, name: &str, size_bytes: u64) {
        self.written.files.push(WrittenFile { path: name.into(), size_bytes });
    }
}

/// Gives a whole file its name. A link refuses a name that is taken; file systems without links get a rename.
fn place(temporary: &Path, path: &Path) -> io::Result<()> {
    match std::fs::hard_link(temporary, path) {
        Ok(()) => std::fs::remove_file(temporary),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(error),
        Err(_) => std::fs::rename(temporary, path),
    }
}

/// True for a dangling link too: its name is taken.
fn present(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

fn remove(path: &Path) -> Result<(), Error> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(failed("remove", path, &error)),
        _ => Ok(()),
    }
}

fn failed(action: &'static str, path: &Path, error: &io::Error) -> Error {
    Error::Local { action, object: path.display().to_string(), reason: error.to_string() }
}
