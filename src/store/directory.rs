//! A directory as a store: for one machine, behind nginx or any file server, and for trying things out.
//!
//! A document at `a/b.json` lies as `a/b.json.gz`, which nginx serves as it is with `gzip_static always; gunzip on;`.
//! It is a hard link to its blob, so that activating costs no second copy; only where something is replaced does a
//! rename stand in between. Files are read-only for everybody, because an edit in place would change the blob too.
//! Nothing is synced file by file: `settle` syncs the file system before the commit and after the activation, and
//! what a power cut took before the commit was never referred to.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::{Counters, StoreError, normal};
use crate::snapshot::gunzip;

mod emptiness;
mod owner;
mod probe;
mod temporary;
#[cfg(test)]
mod tests;
mod walk;

use temporary::{Names, Temporary};
pub use walk::Walk;

/// How often a publisher that waits for the lock tries again.
const LOCK_POLL: Duration = Duration::from_millis(50);
/// Longest wait for `head.lock`, which others hold for as long as one small file takes to be written and synced.
const HEAD_WAIT: Duration = Duration::from_secs(10);
/// The catalogue and its parts also lie uncompressed; none of them comes near this.
const MAX_CATALOGUE_BYTES: u64 = 1 << 30;

/// The file whose lock publishers hold; whoever holds it writes its name into it.
const LOCK: &str = "publish.lock";

/// A store in a directory.
#[derive(Debug)]
pub struct Directory {
    public: PathBuf,
    control: PathBuf,
    pub(super) counters: Box<Counters>,
    /// Set once the control folder is known to belong to this public one.
    owned: OnceLock<()>,
    /// Set once a rename from the control folder into the public one was refused.
    is_apart: AtomicBool,
    names: Names,
}

/// The lock of a directory; the system frees it when the process ends, however it ends.
#[derive(Debug)]
pub struct DirectoryLock {
    _file: File,
}

fn failed(action: &'static str, path: &Path, error: &io::Error) -> StoreError {
    let hint = match error.kind() {
        ErrorKind::PermissionDenied => Some("may this user write here? see the folder's owner and mode"),
        ErrorKind::ReadOnlyFilesystem => Some("the file system is mounted read-only; [store] url can name another"),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            Some("make room and run the command again; it goes on where this one stopped")
        }
        _ => Some("mend that and run the command again; it goes on where this one stopped"),
    };
    StoreError {
        action,
        object: path.display().to_string(),
        reason: error.to_string(),
        hint: hint.map(str::to_owned),
        is_general: false,
    }
}

impl Directory {
    /// The store with its documents in `public` and everything else in `control`.
    pub fn new(public: PathBuf, control: PathBuf) -> Directory {
        Directory {
            public,
            control,
            counters: Box::default(),
            owned: OnceLock::new(),
            is_apart: AtomicBool::new(false),
            names: Names::default(),
        }
    }

    /// Where the documents lie.
    pub fn public(&self) -> &Path {
        &self.public
    }

    pub(super) fn places(&self) -> (String, String) {
        let name = |path: &Path| format!("{}/", path.file_name().unwrap_or_default().to_string_lossy());
        (name(&normal(&self.public)), name(&normal(&self.control)))
    }

    fn document(&self, path: &str) -> PathBuf {
        self.public.join(format!("{path}.gz"))
    }

    /// Catalogue files also lie uncompressed, for whoever looks into the folder.
    fn plain(&self, path: &str) -> Option<PathBuf> {
        (path == "index.json" || path.starts_with("index/")).then(|| self.public.join(path))
    }

    pub(super) fn create(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.claim()?;
        let asked = self.counters.puts.ask();
        let path = self.control.join(name);
        asked.done(match name.starts_with("blob/") {
            // Half a blob of a killed run is named by nothing, and there are too many of them for two steps each.
            true => write_new(&path, bytes),
            // Releases are found by listing, so that one must never be there in half.
            false => self
                .written(bytes)
                .and_then(|written| written.name(&path).map_err(|error| failed("write", &path, &error))),
        })
    }

    pub(super) fn check_emptiness(&self) -> Result<(), StoreError> {
        emptiness::check(&self.public, &self.control, &self.document("index.json"))
    }

    pub(super) fn check_shown(&self) -> Result<(), StoreError> {
        emptiness::check_shown(&self.public)
    }

    pub(super) fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.check_owner()?;
        let asked = self.counters.gets.ask();
        asked.found(read(&self.control.join(name)))
    }

    pub(super) fn read_public(&self, path: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.check_owner()?;
        let asked = self.counters.gets.ask();
        asked.found(read(&self.document(path)))
    }

    pub(super) fn list(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        self.check_owner()?;
        let asked = self.counters.lists.ask();
        let path = self.control.join(folder);
        let mut names = asked.done(names(&path).map_err(|error| failed("list", &path, &error)))?;
        names.sort();
        Ok(names.into_iter().map(|name| format!("{folder}{name}")).collect())
    }

    pub(super) fn activate(&self, path: &str, blob: &str) -> Result<(), StoreError> {
        self.claim()?;
        let asked = self.counters.copies.ask();
        asked.done(self.show_all(path, &self.control.join(blob)))
    }

    /// Shows a blob at a path, and beside it unpacked if it is of the catalogue.
    fn show_all(&self, path: &str, blob: &Path) -> Result<(), StoreError> {
        self.show(blob, &self.document(path))?;
        if let Some(plain) = self.plain(path) {
            let bytes = read(blob)?.unwrap_or_default();
            let body = gunzip(&bytes, MAX_CATALOGUE_BYTES).map_err(|error| failed("unpack", blob, &error))?;
            self.write_over(&plain, &body)?;
        }
        Ok(())
    }

    /// Links a blob to a path, in place of whatever is there.
    fn show(&self, blob: &Path, path: &Path) -> Result<(), StoreError> {
        match with_parents(path, || std::fs::hard_link(blob, path)) {
            Ok(()) => return Ok(()),
            // Said across file systems too: link(2) looks at the name before it looks where the blob lies.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) if can_not_link(&error) => return self.copy(blob, path),
            Err(error) => return Err(failed("link", path, &error)),
        }
        if file_id(blob).is_some_and(|id| file_id(path) == Some(id)) {
            // Renaming a link onto its own file does nothing.
            return Ok(());
        }
        let temporary = Temporary::new(self.temporary());
        match with_parents(temporary.path(), || std::fs::hard_link(blob, temporary.path())) {
            Ok(()) => {}
            Err(error) if can_not_link(&error) => return self.copy(blob, path),
            Err(error) => return Err(failed("link", temporary.path(), &error)),
        }
        match temporary.rename(path) {
            Err(error) if crosses(&error) => self.copy(blob, path),
            renamed => renamed.map_err(|error| failed("replace", path, &error)),
        }
    }

    /// For file systems without hard links, and for a control folder on another file system.
    fn copy(&self, blob: &Path, path: &Path) -> Result<(), StoreError> {
        let bytes = read(blob)?.ok_or_else(|| failed("read", blob, &ErrorKind::NotFound.into()))?;
        self.write_over(path, &bytes)
    }

    pub(super) fn remove(&self, path: &str) -> Result<(), StoreError> {
        self.claim()?;
        let asked = self.counters.deletes.ask();
        asked.done(self.remove_files(path))
    }

    fn remove_files(&self, path: &str) -> Result<(), StoreError> {
        for file in [Some(self.document(path)), self.plain(path)].into_iter().flatten() {
            // A killed run may have left it, and nobody else would look for it again.
            let _ = std::fs::remove_file(temporary::beside(&file));
            match std::fs::remove_file(&file) {
                Ok(()) => self.remove_empty_parents(&file),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(failed("remove", &file, &error)),
            }
        }
        Ok(())
    }

    fn remove_empty_parents(&self, file: &Path) {
        // A folder that isn't empty refuses to be removed, which ends the climb.
        let parents = file.ancestors().skip(1).take_while(|parent| *parent != self.public);
        for parent in parents {
            if std::fs::remove_dir(parent).is_err() {
                return;
            }
        }
    }

    pub(super) async fn swap_head(&self, expected: Option<&[u8]>, new: &[u8]) -> Result<bool, StoreError> {
        self.swap_head_within(HEAD_WAIT, expected, new).await
    }

    async fn swap_head_within(&self, wait: Duration, expected: Option<&[u8]>, new: &[u8]) -> Result<bool, StoreError> {
        self.claim()?;
        // Compare and write are two steps, so other processes are kept out in between by a lock of their own. Nothing
        // is awaited from here on: a signal comes before the swap or after it, never in between.
        let Some(_guard) = self.exclusive("head.lock", wait).await? else {
            return Err(StoreError {
                action: "lock",
                object: self.control.join("head.lock").display().to_string(),
                reason: format!("another process has held it for {}", humantime::format_duration(wait)),
                hint: Some(
                    "is a tintype stopped or hanging? `fuser` on that file names the process; end it and run the \
                     command again"
                        .to_owned(),
                ),
                is_general: true,
            });
        };
        if self.read("head.json")?.as_deref() != expected {
            return Ok(false);
        }
        let asked = self.counters.puts.ask();
        asked.done(self.write_head(new))?;
        Ok(true)
    }

    fn write_head(&self, new: &[u8]) -> Result<(), StoreError> {
        let path = self.control.join("head.json");
        let temporary = self.written(new)?;
        sync(temporary.path())?;
        temporary.rename(&path).map_err(|error| failed("replace", &path, &error))?;
        sync(&self.control)
    }

    /// Takes the lock on a file, if its holder frees it in time.
    ///
    /// The file is made once and never replaced, or two processes could hold locks on two files of one name.
    async fn exclusive(&self, name: &str, wait: Duration) -> Result<Option<File>, StoreError> {
        let path = self.control.join(name);
        let file = with_parents(&path, || OpenOptions::new().create(true).truncate(false).write(true).open(&path))
            .map_err(|error| failed("open", &path, &error))?;
        let deadline = Instant::now() + wait;
        loop {
            match rustix::fs::flock(file.as_fd(), FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Some(file)),
                Err(Errno::INTR) => {}
                Err(Errno::WOULDBLOCK) if Instant::now() < deadline => tokio::time::sleep(LOCK_POLL.min(wait)).await,
                Err(Errno::WOULDBLOCK) => return Ok(None),
                Err(error) => return Err(failed("lock", &path, &error.into())),
            }
        }
    }

    pub(super) async fn lock(&self, wait: Duration, holder: &str) -> Result<Option<DirectoryLock>, StoreError> {
        self.claim()?;
        let Some(mut file) = self.exclusive(LOCK, wait).await? else { return Ok(None) };
        // For those who wait in vain. On a full disk they are told less.
        let _ = file.set_len(0).and_then(|()| file.write_all(holder.as_bytes()));
        // Only the holder activates, so that whatever is old here belongs to a run that was killed.
        self.sweep(temporary::MAX_AGE);
        Ok(Some(DirectoryLock { _file: file }))
    }

    /// What the holder of the lock has written into it, and how long ago.
    pub(super) fn locked_by(&self) -> Option<(String, Duration)> {
        let path = self.control.join(LOCK);
        let holder = std::fs::read_to_string(&path).ok().filter(|holder| !holder.is_empty())?;
        let age = std::fs::metadata(&path).and_then(|about| about.modified()).ok()?.elapsed().unwrap_or_default();
        Some((holder, age))
    }

    /// Syncs both folders' file systems, contents and names: all that a release names is there before `head.json`
    /// names the release, which is synced on its own.
    pub(super) async fn settle(&self) -> Result<(), StoreError> {
        self.remove_temporary_folder();
        let folders = [self.control.clone(), self.public.clone()];
        // A slow disk takes minutes for this, and signals are to be answered meanwhile.
        let synced = tokio::task::spawn_blocking(move || folders.iter().try_for_each(|folder| sync_around(folder)));
        synced.await.unwrap_or_else(|error| Err(failed("sync", &self.control, &io::Error::other(error))))
    }
}

/// Syncs the file system that a folder lies on.
fn sync_around(folder: &Path) -> Result<(), StoreError> {
    match File::open(folder) {
        Ok(open) => rustix::fs::syncfs(open.as_fd()).map_err(|error| failed("sync", folder, &error.into())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed("open", folder, &error)),
    }
}

/// Syncs one file, or the names in one folder.
fn sync(path: &Path) -> Result<(), StoreError> {
    File::open(path).and_then(|open| open.sync_all()).map_err(|error| failed("sync", path, &error))
}

/// Runs a file operation, once more with the missing folders made.
fn with_parents<T>(path: &Path, operation: impl Fn() -> io::Result<T>) -> io::Result<T> {
    match operation() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let parent = path.parent().unwrap_or(path);
            std::fs::create_dir_all(parent)?;
            operation()
        }
        done => done,
    }
}

/// Links and renames end at the border of a file system, and of a mount of the same one.
fn crosses(error: &io::Error) -> bool {
    error.kind() == ErrorKind::CrossesDevices
}

/// Across file systems, without hard links, or with too many links on one file.
fn can_not_link(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::XDEV | Errno::MLINK | Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS))
}

/// Device and inode; a link that leads elsewhere is a file of its own.
fn file_id(path: &Path) -> Option<(u64, u64)> {
    std::fs::symlink_metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

fn write_new(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let open = || OpenOptions::new().write(true).create_new(true).mode(0o444).open(path);
    let written = with_parents(path, open).and_then(|mut file| {
        file.write_all(bytes).inspect_err(|_| {
            let _ = std::fs::remove_file(path);
        })
    });
    written.map_err(|error| failed("write", path, &error))
}

/// The names in a folder; none in one that isn't there.
fn names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", path, &error)),
    }
}
