//! Whose a control folder is: it belongs to one public folder, and says so in `store.json`.
//!
//! Two public folders with one parent would share the default `.tintype`. Each would take the other's releases for its
//! own, find nothing changed, and stay stale for ever, so the second one is refused.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::super::normal;
use super::{Directory, StoreError, failed, file_id, read, sync};

const NAME: &str = "store.json";
/// The newest version of the record that is understood.
const FORMAT: u64 = 1;

impl Directory {
    /// Refuses a control folder that belongs to another public one, before anything is read from it.
    pub(super) fn check_owner(&self) -> Result<(), StoreError> {
        self.is_recorded().map(|_| ())
    }

    /// The same before anything is written, and from then on the control folder belongs to this public one.
    pub(super) fn claim(&self) -> Result<(), StoreError> {
        if !self.is_recorded()? {
            let recorded = self.record();
            // Another process may have been faster, and for another folder.
            if !self.is_recorded()? {
                recorded?;
            }
        }
        Ok(())
    }

    /// False in a folder that is new, or was made by a version without this record.
    fn is_recorded(&self) -> Result<bool, StoreError> {
        if self.owned.get().is_some() {
            return Ok(true);
        }
        let path = self.control.join(NAME);
        let Some(bytes) = read(&path)? else { return Ok(false) };
        let record: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        match record["format"].as_u64() {
            Some(1..=FORMAT) => {}
            Some(newer) => {
                let reason = format!("it has format {newer}, and this tintype knows formats up to {FORMAT}");
                return Err(refused("read", &path, reason, "`tintype --version` tells this one's version".to_owned()));
            }
            None => return Err(unreadable(&path)),
        }
        let Some(public) = record["public"].as_str() else { return Err(unreadable(&path)) };
        let owner = self.parent().join(public);
        if !self.is_same(&owner) {
            let reason = format!(
                "it belongs to the public folder {}, and this configuration's is {}",
                owner.display(),
                normal(&self.public).display()
            );
            let hint = format!(
                "[store] control gives each public folder a control folder of its own; if that one was only moved or \
                 renamed, remove {}",
                path.display()
            );
            return Err(refused("use", &self.control, reason, hint));
        }
        let _ = self.owned.set(());
        Ok(true)
    }

    /// Another name of the same folder is the same folder, such as one through a symbolic link.
    fn is_same(&self, owner: &Path) -> bool {
        let canonical = |path: &Path| std::fs::canonicalize(path).ok().and_then(|path| file_id(&path));
        // The record is text, so that a name which isn't UTF-8 compares by what the record could hold of it.
        normal(owner).to_string_lossy() == normal(&self.public).to_string_lossy()
            || canonical(owner).is_some_and(|id| canonical(&self.public) == Some(id))
    }

    /// Writes the record whole, unless there is one by now.
    fn record(&self) -> Result<(), StoreError> {
        let public = normal(&self.public);
        // Relative where that can be, so that a project which is moved or copied as a whole keeps working.
        let public = public.strip_prefix(self.parent()).unwrap_or(&public);
        let record = json!({ "format": FORMAT, "public": public.to_string_lossy() });
        let path = self.control.join(NAME);
        let temporary = self.written(format!("{record}\n").as_bytes())?;
        sync(temporary.path())?;
        temporary.name(&path).map_err(|error| failed("write", &path, &error))
    }

    /// The folder that the record's relative path counts from.
    fn parent(&self) -> PathBuf {
        let control = normal(&self.control);
        control.parent().map_or_else(|| control.clone(), Path::to_owned)
    }
}

fn unreadable(path: &Path) -> StoreError {
    let hint = format!("if nothing else publishes to this folder, remove {}", path.display());
    refused("read", path, "it doesn't name a public folder".to_owned(), hint)
}

fn refused(action: &'static str, path: &Path, reason: String, hint: String) -> StoreError {
    StoreError { action, object: path.display().to_string(), reason, hint: Some(hint), is_general: true }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(folder: &Path, public: &str) -> Directory {
        Directory::new(folder.join(public), folder.join(".tintype"))
    }

    #[test]
    fn a_control_folder_serves_one_public_folder() {
        let folder = tempfile::tempdir().unwrap();
        store(folder.path(), "public").create("release/1-a.json", b"{}").unwrap();
        let record = std::fs::read_to_string(folder.path().join(".tintype/store.json")).unwrap();
        assert_eq!(record, "{\"format\":1,\"public\":\"public\"}\n");
        let other = store(folder.path(), "staging");
        let all = [
            other.create("release/2-b.json", b"{}"),
            other.activate("m/x.json", "release/1-a.json"),
            other.remove("m/x.json"),
            other.read("head.json").map(|_| ()),
            other.read_public("m/x.json").map(|_| ()),
            other.list("release/").map(|_| ()),
        ];
        for refused in all {
            let refused = refused.unwrap_err();
            let text = refused.to_string();
            assert!(text.contains("/public") && text.contains("/staging"), "{text}");
            assert!(refused.hint.unwrap().contains("[store] control"));
        }
        assert!(!folder.path().join("staging").exists());
        assert!(store(folder.path(), "x/../public").list("release/").is_ok());
    }

    #[test]
    fn an_older_control_folder_is_adopted_by_writing_only() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(".tintype")).unwrap();
        std::fs::write(folder.path().join(".tintype/head.json"), "{}").unwrap();
        assert!(store(folder.path(), "staging").read("head.json").unwrap().is_some());
        store(folder.path(), "public").create("release/1-a.json", b"{}").unwrap();
        assert!(store(folder.path(), "staging").read("head.json").is_err());
    }

    #[test]
    fn a_project_may_be_moved_and_a_folder_have_two_names() {
        let folder = tempfile::tempdir().unwrap();
        let (before, after) = (folder.path().join("before"), folder.path().join("after"));
        std::fs::create_dir_all(before.join("public")).unwrap();
        store(&before, "public").create("release/1-a.json", b"{}").unwrap();
        std::fs::rename(&before, &after).unwrap();
        assert_eq!(store(&after, "public").list("release/").unwrap().len(), 1);
        std::os::unix::fs::symlink("public", after.join("alias")).unwrap();
        assert_eq!(store(&after, "alias").list("release/").unwrap().len(), 1);
        // Outside of the control folder's parent only the whole path says which folder it is.
        let apart = |public: PathBuf| Directory::new(public, folder.path().join("control/one"));
        apart(after.join("public")).create("release/1-a.json", b"{}").unwrap();
        assert!(apart(after.join("public")).list("release/").is_ok());
        assert!(apart(before.join("public")).list("release/").is_err());
    }

    #[test]
    fn a_record_that_says_nothing_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join(".tintype")).unwrap();
        for (record, part) in [("", "remove"), ("{\"format\":1}", "remove"), ("{\"format\":2}", "--version")] {
            std::fs::write(folder.path().join(".tintype/store.json"), record).unwrap();
            let refused = store(folder.path(), "public").read("head.json").unwrap_err();
            assert!(refused.hint.unwrap().contains(part), "{record}");
        }
    }
}
