//! A folder without a release: one that waits for its first, or one that isn't there.
//!
//! While its file system isn't mounted, a store looks as if nothing had been published yet. Whoever took it for that would
//! tell readers and edges that there are no documents.

use std::io::ErrorKind;
use std::path::Path;

use super::{StoreError, failed};

/// An error unless these folders, between which there is no release, can be those of a store that waits for one. An empty
/// mount point can't be told from it.
pub fn check(public: &Path, control: &Path, catalogue: &Path) -> Result<(), StoreError> {
    if is_there(catalogue)? {
        let reason = format!("it has no record of a release, but {} is there", catalogue.display());
        let hint = "is its file system mounted? [store] control names the folder with the records";
        return Err(missing(control, reason, hint));
    }
    if !is_there(public)? && !is_there(control)? {
        let hint = "is its file system mounted? If nothing was published yet, `tintype publish` makes it";
        return Err(missing(public, "there is no such folder".to_owned(), hint));
    }
    Ok(())
}

/// An error if the folder that shows a release isn't there. What has changed would be all that a run writes into a new one.
pub fn check_shown(public: &Path) -> Result<(), StoreError> {
    if is_there(public)? {
        return Ok(());
    }
    let hint = "is its file system mounted? If the documents are lost, `tintype verify --repair` or `tintype publish \
                --force` writes all of them again";
    Err(missing(public, "there is no such folder, and a release that it should show".to_owned(), hint))
}

fn is_there(path: &Path) -> Result<bool, StoreError> {
    match std::fs::metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(false),
        Err(error) => Err(failed("look at", path, &error)),
    }
}

fn missing(folder: &Path, reason: String, hint: &str) -> StoreError {
    let object = folder.display().to_string();
    StoreError { action: "use", object, reason, hint: Some(hint.to_owned()), is_general: true }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_waits_for_its_first_release_only_if_it_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let (public, control) = (folder.path().join("public"), folder.path().join(".tintype"));
        let catalogue = public.join("index.json.gz");
        let look = || check(&public, &control, &catalogue).map_err(|error| error.object);
        assert_eq!(look(), Err(public.display().to_string()), "nothing is there");
        std::fs::create_dir(&control).unwrap();
        assert_eq!(look(), Ok(()), "a first run makes this folder first");
        std::fs::create_dir(&public).unwrap();
        std::fs::remove_dir(&control).unwrap();
        assert_eq!(look(), Ok(()), "somebody has made the folder for it");
        std::fs::write(&catalogue, b"").unwrap();
        assert_eq!(look(), Err(control.display().to_string()), "somebody has published");
        std::fs::remove_dir_all(&public).unwrap();
        std::fs::write(&public, b"").unwrap();
        assert_eq!(look(), Ok(()), "what a file does there is another matter");
    }
}
