//! The file: read for what stays in it, and replaced as a whole.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::time::Duration;

use rustix::fs::FlockOperation;

use crate::error::Error;

/// The most that is read of a file, which may be somebody else's: a thousand schedules have less.
const MAX: u64 = 8 << 20;
/// How often another that writes into the folder is waited for, and how long.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(20);

/// Replaces a file by what comes of the one that is there. Two at once would each lose what the other says, so they keep
/// each other off by a lock on the folder, which leaves nothing behind; a file is worth a moment's wait and no more.
pub fn replace(path: &Path, text: impl FnOnce(&str) -> String) -> Result<(), Error> {
    let failed = |error: &dyn std::fmt::Display| Error::Local {
        action: "write",
        object: path.display().to_string(),
        reason: error.to_string(),
    };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let _lock = locked(folder);
    // The collector reads what ends in .prom, and this doesn't until it is whole.
    let mut file = tempfile::Builder::new()
        .prefix(".tintype-metrics-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(folder)
        .map_err(|error| failed(&error))?;
    file.write_all(text(&read(path)).as_bytes()).map_err(|error| failed(&error))?;
    file.persist(path).map_err(|error| failed(&error))?;
    Ok(())
}

/// The lines of a metric's samples, by which schedule they are of.
pub fn samples<'a>(text: &'a str, name: &str, is_wanted: impl Fn(Option<&str>) -> bool) -> Vec<&'a str> {
    let mut found: BTreeMap<&str, &str> = BTreeMap::new();
    for line in text.lines() {
        let Some((labels, value)) = line.strip_prefix(name).and_then(|rest| rest.rsplit_once(' ')) else { continue };
        // Names are slugs, so that nothing is escaped in them.
        let schedule = labels.strip_prefix("{schedule=\"").and_then(|rest| rest.split_once('"')).map(|(of, _)| of);
        let is_whole = labels.is_empty() || labels.starts_with('{') && labels.ends_with('}');
        if is_whole && value.parse::<f64>().is_ok() && is_wanted(schedule) {
            found.insert(labels, line);
        }
    }
    found.into_values().collect()
}

fn read(path: &Path) -> String {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX).read_to_end(&mut bytes));
    match read {
        Ok(_) => String::from_utf8(bytes).unwrap_or_default(),
        Err(_) => String::new(),
    }
}

fn locked(folder: &Path) -> Option<File> {
    let folder = File::open(folder).ok()?;
    for _ in 0..TRIES {
        match rustix::fs::flock(&folder, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Some(folder),
            Err(rustix::io::Errno::WOULDBLOCK) => std::thread::sleep(PAUSE),
            Err(_) => return None,
        }
    }
    None
}
