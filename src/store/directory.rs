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
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::{Counters, StoreError, count};
use crate::snapshot::gunzip;

/// How often a publisher that waits for the lock tries again.
const LOCK_POLL: Duration = Duration::from_millis(50);
/// The catalogue and its parts also lie uncompressed; none of them comes near this.
const MAX_CATALOGUE_BYTES: u64 = 1 << 30;

/// A store in a directory.
#[derive(Debug)]
pub struct Directory {
    public: PathBuf,
    control: PathBuf,
    pub(super) counters: Counters,
    /// Numbers the temporary files of this process.
    temporary: AtomicU64,
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
            Some("make room and run the command again; nothing that was live has changed")
        }
        _ => Some("mend that and run the command again; what is live stays as it was until then"),
    };
    StoreError { action, object: path.display().to_string(), reason: error.to_string(), hint: hint.map(str::to_owned) }
}

impl Directory {
    /// The store with its documents in `public` and everything else in `control`.
    pub fn new(public: PathBuf, control: PathBuf) -> Directory {
        Directory { public, control, counters: Counters::default(), temporary: AtomicU64::new(0) }
    }

    /// Where the documents lie.
    pub fn public(&self) -> &Path {
        &self.public
    }

    fn document(&self, path: &str) -> PathBuf {
        self.public.join(format!("{path}.gz"))
    }

    /// Catalogue files also lie uncompressed, for whoever looks into the folder.
    fn plain(&self, path: &str) -> Option<PathBuf> {
        (path == "index.json" || path.starts_with("index/")).then(|| self.public.join(path))
    }

    pub(super) fn create(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        count(&self.counters.puts);
        write_new(&self.control.join(name), bytes)
    }

    pub(super) fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        count(&self.counters.gets);
        read(&self.control.join(name))
    }

    pub(super) fn read_public(&self, path: &str) -> Result<Option<Vec<u8>>, StoreError> {
        count(&self.counters.gets);
        read(&self.document(path))
    }

    pub(super) fn list(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        count(&self.counters.lists);
        let path = self.control.join(folder);
        let entries = match std::fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed("list", &path, &error)),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(|error| failed("list", &path, &error))?;
            names.push(format!("{folder}{}", entry.file_name().to_string_lossy()));
        }
        names.sort();
        Ok(names)
    }

    pub(super) fn activate(&self, path: &str, blob: &str) -> Result<(), StoreError> {
        count(&self.counters.copies);
        let blob = self.control.join(blob);
        self.show(&blob, &self.document(path))?;
        if let Some(plain) = self.plain(path) {
            let bytes = read(&blob)?.unwrap_or_default();
            let body = gunzip(&bytes, MAX_CATALOGUE_BYTES).map_err(|error| failed("unpack", &blob, &error))?;
            let temporary = self.temporary();
            write_new(&temporary, &body)?;
            Self::replace(&temporary, &plain)?;
        }
        Ok(())
    }

    /// Links a blob to a path, in place of whatever is there.
    fn show(&self, blob: &Path, path: &Path) -> Result<(), StoreError> {
        match with_parents(path, || std::fs::hard_link(blob, path)) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) if can_not_link(&error) => return self.copy(blob, path),
            Err(error) => return Err(failed("link", path, &error)),
        }
        if inode(blob).is_some_and(|number| inode(path) == Some(number)) {
            // Renaming a link onto its own file does nothing and would leave the temporary link behind.
            return Ok(());
        }
        let temporary = self.temporary();
        match with_parents(&temporary, || std::fs::hard_link(blob, &temporary)) {
            Ok(()) => Self::replace(&temporary, path),
            Err(error) if can_not_link(&error) => self.copy(blob, path),
            Err(error) => Err(failed("link", &temporary, &error)),
        }
    }

    /// For file systems without hard links, and for a control folder on another file system.
    fn copy(&self, blob: &Path, path: &Path) -> Result<(), StoreError> {
        let bytes = read(blob)?.ok_or_else(|| failed("read", blob, &ErrorKind::NotFound.into()))?;
        // The temporary file lies beside its goal: a rename doesn't cross file systems.
        let number = self.temporary.fetch_add(1, Ordering::Relaxed);
        let temporary = path.with_file_name(format!(".tintype-{}-{number}.tmp", std::process::id()));
        write_new(&temporary, &bytes)?;
        Self::replace(&temporary, path)
    }

    fn replace(temporary: &Path, path: &Path) -> Result<(), StoreError> {
        with_parents(path, || std::fs::rename(temporary, path)).map_err(|error| {
            let _ = std::fs::remove_file(temporary);
            failed("replace", path, &error)
        })
    }

    fn temporary(&self) -> PathBuf {
        let number = self.temporary.fetch_add(1, Ordering::Relaxed);
        self.control.join("tmp").join(format!("{}-{number}", std::process::id()))
    }

    pub(super) fn remove(&self, path: &str) -> Result<(), StoreError> {
        count(&self.counters.deletes);
        for file in [Some(self.document(path)), self.plain(path)].into_iter().flatten() {
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

    pub(super) fn swap_head(&self, expected: Option<&[u8]>, new: &[u8]) -> Result<bool, StoreError> {
        // Compare and write are two steps, so other processes are kept out in between by a lock of their own.
        let guard = self.lock_file("head.lock")?;
        rustix::fs::flock(guard.as_fd(), FlockOperation::LockExclusive)
            .map_err(|error| failed("lock", &self.control.join("head.lock"), &error.into()))?;
        if self.read("head.json")?.as_deref() != expected {
            return Ok(false);
        }
        count(&self.counters.puts);
        let path = self.control.join("head.json");
        let temporary = self.temporary();
        write_new(&temporary, new)?;
        let synced = File::open(&temporary).and_then(|file| file.sync_all());
        synced.map_err(|error| failed("sync", &temporary, &error))?;
        Self::replace(&temporary, &path)?;
        let folder = File::open(&self.control).and_then(|folder| folder.sync_all());
        folder.map_err(|error| failed("sync", &self.control, &error))?;
        Ok(true)
    }

    /// A lock file is made once and never replaced, or two processes could hold locks on two files of one name.
    fn lock_file(&self, name: &str) -> Result<File, StoreError> {
        let path = self.control.join(name);
        with_parents(&path, || OpenOptions::new().create(true).truncate(false).write(true).open(&path))
            .map_err(|error| failed("open", &path, &error))
    }

    pub(super) async fn lock(&self, wait: Duration) -> Result<Option<DirectoryLock>, StoreError> {
        let file = self.lock_file("publish.lock")?;
        let deadline = Instant::now() + wait;
        loop {
            match rustix::fs::flock(file.as_fd(), FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Some(DirectoryLock { _file: file })),
                Err(Errno::WOULDBLOCK) if Instant::now() < deadline => tokio::time::sleep(LOCK_POLL).await,
                Err(Errno::WOULDBLOCK) => return Ok(None),
                Err(error) => return Err(failed("lock", &self.control.join("publish.lock"), &error.into())),
            }
        }
    }

    pub(super) fn settle(&self) -> Result<(), StoreError> {
        for folder in [&self.control, &self.public] {
            match File::open(folder) {
                Ok(open) => rustix::fs::syncfs(open.as_fd()).map_err(|error| failed("sync", folder, &error.into()))?,
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(failed("open", folder, &error)),
            }
        }
        Ok(())
    }
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

/// Across file systems, without hard links, or with too many links on one file.
fn can_not_link(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::XDEV | Errno::MLINK | Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS))
}

fn inode(path: &Path) -> Option<u64> {
    std::fs::metadata(path).ok().map(|metadata| metadata.ino())
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

fn read(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", path, &error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(folder: &Path) -> Directory {
        Directory::new(folder.join("public"), folder.join(".tintype"))
    }

    #[test]
    fn a_document_is_a_link_to_its_blob_and_is_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path());
        store.create("blob/aa/one.gz", b"one").unwrap();
        store.create("blob/bb/two.gz", b"two").unwrap();
        store.activate("m/x.json", "blob/aa/one.gz").unwrap();
        store.activate("m/x.json", "blob/aa/one.gz").unwrap();
        assert_eq!(store.read_public("m/x.json").unwrap().unwrap(), b"one");
        store.activate("m/x.json", "blob/bb/two.gz").unwrap();
        assert_eq!(store.read_public("m/x.json").unwrap().unwrap(), b"two");
        assert_eq!(store.read("blob/aa/one.gz").unwrap().unwrap(), b"one", "the old blob stays as it was");
        let left: Vec<_> =
            std::fs::read_dir(folder.path().join(".tintype/tmp")).map(Iterator::collect).unwrap_or_default();
        assert!(left.is_empty(), "temporary links were left: {left:?}");
        store.remove("m/x.json").unwrap();
        store.remove("m/x.json").unwrap();
        assert!(!folder.path().join("public/m").exists(), "an empty folder was left");
    }

    #[test]
    fn a_name_is_written_once() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path());
        store.create("blob/aa/one.gz", b"one").unwrap();
        assert!(store.create("blob/aa/one.gz", b"two").is_err());
    }

    #[test]
    fn head_is_swapped_only_over_what_was_read() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path());
        assert!(store.swap_head(None, b"1").unwrap());
        assert!(!store.swap_head(None, b"2").unwrap());
        assert!(store.swap_head(Some(b"1"), b"2").unwrap());
        assert!(!store.swap_head(Some(b"1"), b"3").unwrap());
        assert_eq!(store.read("head.json").unwrap().unwrap(), b"2");
    }

    #[tokio::test]
    async fn one_publisher_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path());
        let first = store.lock(Duration::ZERO).await.unwrap();
        assert!(first.is_some());
        assert!(store.lock(Duration::ZERO).await.unwrap().is_none());
        drop(first);
        assert!(store.lock(Duration::ZERO).await.unwrap().is_some());
    }
}
