//! Listing a directory: a walk that holds one open folder a level, whatever the number of files.

use std::fs::{DirEntry, Metadata, ReadDir};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::super::{Listed, Page, Part, Shown};
use super::{Directory, MAX_CATALOGUE_BYTES, StoreError, failed, file_id, read, temporary};
use crate::snapshot::gunzip;

/// How many files make a page.
const PAGE: usize = 1000;

/// A walk that is under way.
pub struct Walk<'a> {
    directory: &'a Directory,
    root: PathBuf,
    /// What the names begin with that are wanted, and for control objects the folder among it.
    prefix: String,
    is_public: bool,
    /// The folders that are open, each within the one before; none before the first page.
    open: Option<Vec<ReadDir>>,
}

impl Directory {
    pub(in crate::store) fn walk(&self, part: Part<'_>) -> Walk<'_> {
        let (root, prefix, is_public) = match part {
            Part::Control(prefix) => (self.control.clone(), prefix.to_owned(), false),
            Part::Public => (self.public.clone(), String::new(), true),
        };
        Walk { directory: self, root, prefix, is_public, open: None }
    }

    /// What is at a stable path, and whether it is the blob's own file.
    pub(in crate::store) fn head_public(&self, path: &str, blob: &str) -> Result<Option<Shown>, StoreError> {
        self.check_owner()?;
        let asked = self.counters.heads.ask();
        asked.found(self.looked_at(path, blob))
    }

    fn looked_at(&self, path: &str, blob: &str) -> Result<Option<Shown>, StoreError> {
        let (document, blob) = (self.document(path), self.control.join(blob));
        let about = match std::fs::symlink_metadata(&document) {
            Ok(about) => about,
            Err(error) if is_gone(&error) => return Ok(None),
            Err(error) => return Err(failed("look at", &document, &error)),
        };
        let is_blob = file_id(&document).is_some() && file_id(&document) == file_id(&blob);
        let has_twin = match self.plain(path) {
            Some(plain) => unpacked(&document)? == read(&plain)?,
            None => true,
        };
        Ok(Some(Shown { size_bytes: about.len(), headers: None, is_blob, has_twin }))
    }

    pub(in crate::store) fn remove_control(&self, name: &str) -> Result<(), StoreError> {
        self.claim()?;
        let asked = self.counters.deletes.ask();
        let file = self.control.join(name);
        asked.done(match std::fs::remove_file(&file) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(failed("remove", &file, &error)),
            _ => Ok(()),
        })?;
        // The folder of a run is never written to again. The other folders are, perhaps at this very moment.
        if let (true, Some(folder)) = (name.starts_with("shard/"), file.parent()) {
            let _ = std::fs::remove_dir(folder);
        }
        Ok(())
    }
}

impl Walk<'_> {
    pub(in crate::store) fn next_page(&mut self) -> Result<Option<Page>, StoreError> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => self.begin()?,
        };
        let mut page = Page { objects: Vec::new(), now: Some(SystemTime::now()) };
        while page.objects.len() < PAGE {
            let Some(folder) = open.last_mut() else { break };
            match folder.next() {
                None => drop(open.pop()),
                Some(Ok(entry)) => self.visit(&entry, &mut open, &mut page.objects)?,
                Some(Err(error)) => return Err(failed("list", &self.root, &error)),
            }
        }
        let is_over = open.is_empty() && page.objects.is_empty();
        self.open = Some(open);
        Ok((!is_over).then_some(page))
    }

    fn begin(&self) -> Result<Vec<ReadDir>, StoreError> {
        self.directory.check_owner()?;
        let asked = self.directory.counters.lists.ask();
        let folder = self.prefix.rsplit_once('/').map_or("", |(folder, _)| folder);
        Ok(asked.done(open_folder(&self.root.join(folder)))?.into_iter().collect())
    }

    fn visit(&self, entry: &DirEntry, open: &mut Vec<ReadDir>, found: &mut Vec<Listed>) -> Result<(), StoreError> {
        let path = &entry.path();
        let name = path.strip_prefix(&self.root).unwrap_or(path).to_string_lossy().into_owned();
        if !name.starts_with(&self.prefix) || (self.is_public && temporary::is_ours(path)) {
            return Ok(());
        }
        // Links aren't followed: what they lead to isn't the store's.
        match entry.metadata() {
            Ok(about) if about.is_dir() => open.extend(open_folder(path)?),
            Ok(about) => found.extend(self.listed(&name, &about)),
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(failed("look at", path, &error)),
        }
        Ok(())
    }

    /// A file of the catalogue that lies uncompressed belongs to the one beside it, unless that one isn't there.
    fn listed(&self, name: &str, about: &Metadata) -> Option<Listed> {
        let is_twin = self.is_public && self.directory.plain(name).is_some();
        if is_twin && self.directory.document(name).exists() {
            return None;
        }
        let path = name.strip_suffix(".gz").filter(|path| self.is_public && path.ends_with(".json"));
        Some(Listed {
            is_document: !self.is_public || path.is_some(),
            name: path.unwrap_or(name).to_owned(),
            size_bytes: about.len(),
            modified: about.modified().ok(),
        })
    }
}

/// A folder that went away meanwhile is an empty one.
fn open_folder(path: &Path) -> Result<Option<ReadDir>, StoreError> {
    match std::fs::read_dir(path) {
        Ok(entries) => Ok(Some(entries)),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(failed("list", path, &error)),
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// The body in a file; none if there is no file or no whole body in it.
fn unpacked(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    Ok(read(path)?.and_then(|bytes| gunzip(&bytes, MAX_CATALOGUE_BYTES).ok()))
}
