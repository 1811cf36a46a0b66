//! Temporary files: what is written before it is renamed over something that readers may be reading.
//!
//! They lie in the control folder where that can be, since readers never see it. A rename ends at the border of a file
//! system, so where the public folder lies on another one they lie in a folder at its root, and where a folder inside
//! it is a mount of its own, beside their goal under a name that follows from the goal's. In this way whatever a killed
//! run left behind is found again without a look at the whole public tree: in two folders, and beside the paths that
//! the next run has to activate anyway.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{Directory, StoreError, can_not_link, crosses, failed, sync, with_parents, write_new};
use crate::snapshot::Digest;

/// In the control folder.
const CONTROL_FOLDER: &str = "tmp";
/// In the public folder, and only while it is needed; file servers don't list and seldom serve names with a dot.
const PUBLIC_FOLDER: &str = ".tintype-tmp";
/// What the names of all those begin with that lie in the public folder.
const MARK: &str = ".tintype-";
/// Nothing takes a day between writing a file and renaming it.
pub(super) const MAX_AGE: Duration = Duration::from_hours(24);

/// A temporary file's path; whatever lies there is removed in the end, also after an error.
pub(super) struct Temporary(PathBuf);

impl Temporary {
    pub(super) fn new(path: PathBuf) -> Temporary {
        Temporary(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Lets the file appear, whole, under a name that nothing has yet.
    pub(super) fn name(&self, path: &Path) -> io::Result<()> {
        match with_parents(path, || std::fs::hard_link(&self.0, path)) {
            // Without links, whole and first can't be had in one step. Whole matters more.
            Err(error) if can_not_link(&error) => match path.try_exists()? {
                true => Err(io::ErrorKind::AlreadyExists.into()),
                false => self.rename(path),
            },
            named => named,
        }
    }

    pub(super) fn rename(&self, path: &Path) -> io::Result<()> {
        with_parents(path, || std::fs::rename(&self.0, path))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // After a rename it is gone already, unless it was a link onto the very file that it replaced.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Names that no other process uses. A process id alone isn't one: in a container it is always the same.
#[derive(Debug)]
pub(super) struct Names {
    random: u64,
    next: AtomicU64,
}

impl Default for Names {
    fn default() -> Names {
        let random = getrandom::u64().unwrap_or_else(|_| std::process::id().into());
        Names { random, next: AtomicU64::new(0) }
    }
}

impl Names {
    fn next(&self) -> String {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        format!("{}-{:016x}-{number}", std::process::id(), self.random)
    }
}

/// The temporary file of last resort; short, because the goal's name may be as long as a name can be.
pub(super) fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    let digest = Digest::of(name).to_string();
    path.with_file_name(format!("{MARK}{}.tmp", &digest[..16]))
}

/// True for what lies among the documents only until it is renamed.
pub(super) fn is_ours(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(MARK.as_bytes()))
}

impl Directory {
    /// A new name in the control folder.
    pub(super) fn temporary(&self) -> PathBuf {
        self.control.join(CONTROL_FOLDER).join(self.names.next())
    }

    /// A new temporary file in the control folder.
    pub(super) fn written(&self, bytes: &[u8]) -> Result<Temporary, StoreError> {
        let temporary = Temporary::new(self.temporary());
        write_new(temporary.path(), bytes)?;
        Ok(temporary)
    }

    /// Writes a file in place of whatever is at `path`, which shows the old or the new bytes at every moment.
    pub(super) fn write_over(&self, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        let at_root = self.public.join(PUBLIC_FOLDER).join(self.names.next());
        let in_control = (!self.is_apart.load(Ordering::Relaxed)).then(|| self.temporary());
        for place in in_control.into_iter().chain([at_root]) {
            let temporary = Temporary::new(place);
            write_new(temporary.path(), bytes)?;
            match temporary.rename(path) {
                Err(error) if crosses(&error) => self.is_apart.store(true, Ordering::Relaxed),
                renamed => return renamed.map_err(|error| failed("replace", path, &error)),
            }
        }
        let temporary = Temporary::new(beside(path));
        let _ = std::fs::remove_file(temporary.path());
        write_new(temporary.path(), bytes)?;
        // This file system is neither the control folder's nor the public one's, so that `settle` doesn't reach it.
        sync(temporary.path())?;
        temporary.rename(path).map_err(|error| failed("replace", path, &error))?;
        sync(path.parent().unwrap_or(path))
    }

    /// Removes what killed runs left. A file that can't be removed is in nobody's way.
    pub(super) fn sweep(&self, older_than: Duration) {
        for folder in [self.control.join(CONTROL_FOLDER), self.public.join(PUBLIC_FOLDER)] {
            let Ok(entries) = std::fs::read_dir(folder) else { continue };
            for entry in entries.flatten() {
                let modified = entry.metadata().and_then(|metadata| metadata.modified());
                let age = modified.ok().and_then(|modified| modified.elapsed().ok());
                if age.is_some_and(|age| age >= older_than) {
                    let _ = std::fs::remove_file(entry.path());
                }
            }
        }
        self.remove_temporary_folder();
    }

    /// Takes the folder out of the public tree again; one that isn't empty refuses.
    pub(super) fn remove_temporary_folder(&self) {
        let _ = std::fs::remove_dir(self.public.join(PUBLIC_FOLDER));
    }
}
