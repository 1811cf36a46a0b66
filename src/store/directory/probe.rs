//! A directory probed: what its file systems do with the operations that a publish is made of.
//!
//! Two handles of one file stand for two processes: a lock of `flock` belongs to the handle. That it also holds between
//! two machines on a network file system can't be seen from one of them. Object paths are lower case, so it doesn't matter
//! whether names that differ in case only are the same.
//!
//! Everything lies in two folders of its own, which are removed in the end, with whatever had to be made above them.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use bytesize::ByteSize;
use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::{Directory, can_not_link, sync, sync_around};
use crate::store::StoreError;
use crate::store::probe::{CHECK_LIMIT, Check, FOLDER, PUBLIC_NAME, Subject, Verdict};

const OWNER: Subject = Subject { name: "owner", means: "the control folder belongs to this public folder alone" };
const WRITE_RECORDS: Subject =
    Subject { name: "write-records", means: "blobs, manifests and head.json can be written" };
const WRITE_DOCUMENTS: Subject = Subject { name: "write-documents", means: "releases can be activated" };
const REMAINING: Subject = Subject { name: "remaining", means: "everything else was looked at" };
const SAME_FILE_SYSTEM: Subject =
    Subject { name: "same-file-system", means: "a document and its blob take their space once" };
const HARD_LINKS: Subject =
    Subject { name: "hard-links", means: "documents are activated without being written again" };
const RENAME_OVER: Subject = Subject { name: "rename-over", means: "readers see the old document or the new one" };
const LOCKS: Subject = Subject { name: "locks", means: "of several publishers one commits at a time" };
const SYNC: Subject = Subject { name: "sync", means: "a power cut takes nothing that was committed" };
const NAMES: Subject = Subject { name: "names", means: "every object path can be the name of a file" };
const FREE_SPACE: Subject = Subject { name: "free-space", means: "there is room for the next releases" };

/// Less room than this is worth a look.
const LITTLE_BYTES: u64 = 1 << 30;
/// And so is less than one part in so many.
const LITTLE_PART: u64 = 20;
/// A slug of a hundred bytes with what a pattern and gzip put around it.
const LONG_NAME: usize = 128;

impl Directory {
    pub(in crate::store) async fn probe(&self, run: &str) -> Vec<Check> {
        if let Err(StoreError { reason, hint, .. }) = self.check_owner() {
            let owner = Check { hint, ..OWNER.broken(reason) };
            return vec![owner, REMAINING.check(Verdict::Skipped, "the folder is another site's")];
        }
        let ground = Ground {
            records: self.control.join(FOLDER).join(run),
            documents: self.public.join(format!("{PUBLIC_NAME}{run}")),
        };
        // A slow disk takes its time, and a dead network file system never answers.
        let probed = tokio::task::spawn_blocking(move || ground.checks());
        let mut checks = vec![OWNER.ok(self.control.display().to_string())];
        match tokio::time::timeout(CHECK_LIMIT, probed).await {
            Ok(Ok(found)) => checks.extend(found),
            Ok(Err(error)) => checks.push(REMAINING.broken(error.to_string())),
            Err(_) => checks.push(
                REMAINING
                    .broken("the file system didn't answer in time")
                    .hint("is it a network file system whose server is away, or a disk that is very busy?"),
            ),
        }
        checks
    }
}

/// The two folders of a probe.
struct Ground {
    records: PathBuf,
    documents: PathBuf,
}

impl Ground {
    fn checks(&self) -> Vec<Check> {
        let made = [missing(&self.records), missing(&self.documents)];
        let mut checks = vec![
            judged(&WRITE_RECORDS, Verdict::Broken, write(&self.records), RIGHTS),
            judged(&WRITE_DOCUMENTS, Verdict::Broken, write(&self.documents), RIGHTS),
        ];
        if checks.iter().all(|check| check.outcome == Verdict::Ok) {
            checks.extend([
                judged(&SAME_FILE_SYSTEM, Verdict::Missing, self.same_file_system(), TWICE),
                self.hard_links(),
                judged(&RENAME_OVER, Verdict::Broken, self.rename_over(), OTHER),
                judged(&LOCKS, Verdict::Broken, self.locks(), LOCK_HINT),
                judged(&SYNC, Verdict::Broken, self.sync(), OTHER),
                judged(
                    &NAMES,
                    Verdict::Warning,
                    self.names(),
                    "shorten the paths of the templates, or take another file system",
                ),
            ]);
        } else {
            checks.push(REMAINING.check(Verdict::Skipped, "nothing more can be looked at without these rights"));
        }
        checks.push(self.free_space());
        self.remove(&made);
        checks
    }

    /// Removes the folders of the probe, and those above them that it had to make.
    fn remove(&self, made: &[Vec<PathBuf>]) {
        let _ = fs::remove_dir_all(&self.records);
        let _ = fs::remove_dir_all(&self.documents);
        for folder in made.iter().flatten() {
            // One that somebody else has begun to use refuses to be removed.
            let _ = fs::remove_dir(folder);
        }
    }

    fn same_file_system(&self) -> io::Result<String> {
        let device = |path: &Path| fs::metadata(path).map(|metadata| metadata.dev());
        match device(&self.records)? == device(&self.documents)? {
            true => Ok("both folders lie on one".to_owned()),
            false => Err(io::Error::other("the control folder and the public folder lie on two")),
        }
    }

    fn hard_links(&self) -> Check {
        let link = fs::hard_link(self.records.join("written"), self.documents.join("linked"));
        match link {
            Err(error) if can_not_link(&error) => judged(&HARD_LINKS, Verdict::Missing, Err(error), TWICE),
            link => {
                judged(&HARD_LINKS, Verdict::Broken, link.map(|()| "from a record to a document".to_owned()), OTHER)
            }
        }
    }

    fn rename_over(&self) -> io::Result<String> {
        let (old, new) = (self.documents.join("old"), self.documents.join("new"));
        fs::write(&old, "old")?;
        fs::write(&new, "new")?;
        fs::rename(&new, &old)?;
        match fs::read(&old)?.as_slice() == b"new" && !new.exists() {
            true => Ok("one file took another's place".to_owned()),
            false => Err(io::Error::other("a rename was done, and the old file is still there")),
        }
    }

    fn locks(&self) -> io::Result<String> {
        let path = self.records.join("lock");
        let open = || OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let (first, second) = (open()?, open()?);
        let lock = |file: &File| rustix::fs::flock(file.as_fd(), FlockOperation::NonBlockingLockExclusive);
        lock(&first)?;
        let meanwhile = lock(&second);
        drop(first);
        judge_locks(meanwhile, lock(&second))
    }

    fn sync(&self) -> io::Result<String> {
        let failed = |error: StoreError| io::Error::other(error.to_string());
        sync(&self.records.join("written")).map_err(failed)?;
        sync(&self.records).map_err(failed)?;
        sync_around(&self.records).map_err(failed)?;
        sync_around(&self.documents).map_err(failed)?;
        Ok("files, folders and file systems".to_owned())
    }

    fn names(&self) -> io::Result<String> {
        for name in ["a-b_c.d.json.gz".to_owned(), "x".repeat(LONG_NAME)] {
            fs::write(self.documents.join(&name), &name)?;
            fs::read(self.documents.join(&name))?;
        }
        Ok(format!("up to {LONG_NAME} bytes"))
    }

    fn free_space(&self) -> Check {
        let mut rooms = Vec::new();
        for folder in [&self.records, &self.documents] {
            let Some(there) = folder.ancestors().find(|folder| folder.is_dir()) else { continue };
            match rustix::fs::statvfs(there) {
                Ok(found) => rooms.push(Room {
                    free_bytes: found.f_bavail.saturating_mul(found.f_frsize),
                    all_bytes: found.f_blocks.saturating_mul(found.f_frsize),
                    free_files: found.f_favail,
                    all_files: found.f_files,
                }),
                Err(error) => return FREE_SPACE.check(Verdict::Skipped, io::Error::from(error).to_string()),
            }
        }
        judge_space(&rooms)
    }
}

const RIGHTS: &str = "may this user write here? see the folder's owner and mode, and how its file system is mounted";
const TWICE: &str =
    "documents are copied instead, and take twice the space: [store] control can name a folder beside them";
const OTHER: &str = "take another file system for [store] url and control";
const LOCK_HINT: &str = "two publishers could commit at once: put the control folder onto a local file system with [store] \
                         control, or see to the lock service of the network file system";

fn judged(subject: &Subject, otherwise: Verdict, seen: io::Result<String>, hint: &str) -> Check {
    match seen {
        Ok(detail) => subject.ok(detail),
        Err(error) => subject.check(otherwise, error.to_string()).hint(hint),
    }
}

fn judge_locks(meanwhile: Result<(), Errno>, after: Result<(), Errno>) -> io::Result<String> {
    match (meanwhile, after) {
        (Ok(()), _) => Err(io::Error::other("two handles held the lock of one file at a time")),
        (Err(Errno::WOULDBLOCK), Ok(())) => Ok("one of two handles at a time".to_owned()),
        (Err(Errno::WOULDBLOCK), Err(_)) => Err(io::Error::other("a lock stayed when its holder had gone")),
        (Err(error), _) => Err(error.into()),
    }
}

/// What is free on a file system.
#[derive(Debug, Clone, Copy)]
struct Room {
    free_bytes: u64,
    all_bytes: u64,
    free_files: u64,
    /// 0 where there is no limit.
    all_files: u64,
}

/// The tightest of the file systems counts.
fn judge_space(rooms: &[Room]) -> Check {
    let is_tight = |free: u64, all: u64| free < all / LITTLE_PART;
    let mut detail = Vec::new();
    let mut outcome = Verdict::Ok;
    for room in rooms {
        let mut shown = format!("{} of {} free", ByteSize(room.free_bytes), ByteSize(room.all_bytes));
        if is_tight(room.free_files, room.all_files) {
            shown.push_str(&format!(", and room for {} files", room.free_files));
            outcome = Verdict::Warning;
        }
        if room.all_bytes > 0 && (room.free_bytes < LITTLE_BYTES || is_tight(room.free_bytes, room.all_bytes)) {
            outcome = Verdict::Warning;
        }
        if !detail.contains(&shown) {
            detail.push(shown);
        }
    }
    let check = FREE_SPACE.check(outcome, detail.join("; "));
    match outcome {
        Verdict::Warning => check.hint("a publish that finds no room changes nothing, and says so; make room before"),
        _ => check,
    }
}

/// The folders that have to be made for this one, the innermost first.
fn missing(folder: &Path) -> Vec<PathBuf> {
    folder.ancestors().skip(1).take_while(|folder| !folder.exists()).map(Path::to_owned).collect()
}

/// Makes the folder and a file in it, and reads that again.
fn write(folder: &Path) -> io::Result<String> {
    fs::create_dir_all(folder)?;
    let path = folder.join("written");
    fs::write(&path, "a probe of this store, to be removed")?;
    fs::read(&path)?;
    let shown = folder.parent().unwrap_or(folder);
    Ok(shown.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_exclude_each_other_and_end() {
        let words = |meanwhile, after| judge_locks(meanwhile, after).unwrap_err().to_string();
        assert!(judge_locks(Err(Errno::WOULDBLOCK), Ok(())).is_ok());
        assert!(words(Ok(()), Ok(())).contains("two handles"));
        assert!(words(Err(Errno::WOULDBLOCK), Err(Errno::WOULDBLOCK)).contains("stayed"));
        assert!(words(Err(Errno::NOLCK), Err(Errno::NOLCK)).contains("locks"), "as NFS without its lock service says");
    }

    #[test]
    fn little_space_is_worth_a_look() {
        const GIB: u64 = 1 << 30;
        let room = |free_bytes, all_bytes, free_files, all_files| Room { free_bytes, all_bytes, free_files, all_files };
        let outcome = |rooms: &[Room]| judge_space(rooms).outcome;
        let plenty = room(50 * GIB, 100 * GIB, 900, 1000);
        assert_eq!(outcome(&[plenty, plenty]), Verdict::Ok);
        assert_eq!(judge_space(&[plenty, plenty]).detail, "50.0 GiB of 100.0 GiB free");
        assert_eq!(outcome(&[plenty, room(GIB - 1, 2 * GIB, 900, 1000)]), Verdict::Warning, "less than 1 GiB");
        assert_eq!(outcome(&[room(4 * GIB, 100 * GIB, 900, 1000)]), Verdict::Warning, "less than 5 %");
        assert_eq!(outcome(&[room(50 * GIB, 100 * GIB, 49, 1000)]), Verdict::Warning, "few files");
        assert_eq!(outcome(&[room(50 * GIB, 100 * GIB, 0, 0)]), Verdict::Ok, "btrfs has no limit of files");
        assert_eq!(outcome(&[room(0, 0, 0, 0)]), Verdict::Ok, "a file system that tells nothing");
    }

    #[test]
    fn what_a_file_system_refuses_is_told_with_a_way_out() {
        let refused = || Err(io::Error::from(Errno::NOTSUP));
        for (subject, verdict, hint) in [
            (&RENAME_OVER, Verdict::Broken, OTHER),
            (&SYNC, Verdict::Broken, OTHER),
            (&NAMES, Verdict::Warning, OTHER),
            (&SAME_FILE_SYSTEM, Verdict::Missing, TWICE),
        ] {
            let check = judged(subject, verdict, refused(), hint);
            assert_eq!((check.outcome, check.hint.as_deref()), (verdict, Some(hint)), "{}", check.name);
        }
    }

    #[test]
    fn nothing_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let ground =
            Ground { records: folder.path().join(".tintype/probe/1"), documents: folder.path().join("public/.probe") };
        let checks = ground.checks();
        assert!(checks.iter().all(|check| check.outcome != Verdict::Broken), "{checks:?}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        fs::create_dir(folder.path().join("public")).unwrap();
        ground.checks();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "what was there stays");
    }
}
