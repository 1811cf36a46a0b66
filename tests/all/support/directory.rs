//! A published directory as a web server and an auditor see it.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// The public folder of a store.
#[derive(Clone)]
pub struct Directory(PathBuf);

impl Directory {
    /// The public folder at `path`, which need not exist yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The object paths of all documents, without the catalogue's files, in order. Fails on anything that isn't a document.
    pub fn paths(&self) -> Vec<String> {
        self.all_paths().into_iter().filter(|path| path != "index.json" && !path.starts_with("index/")).collect()
    }

    /// The object paths of all documents of one template.
    pub fn paths_of(&self, template: &str) -> Vec<String> {
        let prefix = format!("{template}/");
        self.paths().into_iter().filter(|path| path.starts_with(&prefix)).collect()
    }

    /// The object paths of all documents and of the catalogue's files, in order. These, and no others, lie plain as well.
    pub fn all_paths(&self) -> Vec<String> {
        files_below(&self.0)
            .into_iter()
            .filter(|path| !(path == "index.json" || path.starts_with("index/") && path.ends_with("json")))
            .map(|path| {
                let object = path.strip_suffix(".gz").map(ToOwned::to_owned);
                object.unwrap_or_else(|| panic!("{path} in the public folder is no document"))
            })
            .collect()
    }

    /// Whether there is a document at this object path.
    pub fn has(&self, path: &str) -> bool {
        self.file(path).exists()
    }

    /// The file that holds the document at this object path.
    pub fn file(&self, path: &str) -> PathBuf {
        self.0.join(format!("{path}.gz"))
    }

    /// The body of a document: one gzip member, nothing behind it.
    pub fn body(&self, path: &str) -> Vec<u8> {
        let file = self.file(path);
        let bytes = std::fs::read(&file).unwrap_or_else(|error| panic!("cannot read {}: {error}", file.display()));
        let mut decoder = flate2::bufread::GzDecoder::new(bytes.as_slice());
        let mut body = Vec::new();
        decoder.read_to_end(&mut body).unwrap_or_else(|error| panic!("{} is not gzip: {error}", file.display()));
        assert!(decoder.into_inner().is_empty(), "{} goes on behind the gzip", file.display());
        body
    }

    /// The body as text: strict UTF-8.
    pub fn text(&self, path: &str) -> String {
        String::from_utf8(self.body(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// The document at this object path.
    pub fn document(&self, path: &str) -> Value {
        serde_json::from_str(&self.text(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// The catalogue; its plain and its gzipped form must be the same.
    pub fn catalogue(&self) -> Value {
        let plain = std::fs::read(self.0.join("index.json")).expect("read index.json");
        assert!(plain == self.body("index.json"), "index.json and index.json.gz differ");
        serde_json::from_slice(&plain).expect("index.json is JSON")
    }

    /// SHA-256 of every document's body, by object path.
    pub fn digests(&self) -> BTreeMap<String, String> {
        let paths = self.paths().into_iter();
        paths
            .map(|path| {
                let digest = hex(&Sha256::digest(self.body(&path)));
                (path, digest)
            })
            .collect()
    }
}

/// What tells that a file was written, replaced or touched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    modified_ns: i128,
    inode: u64,
    digest: String,
}

/// The stamps of all files below `folder`, by relative path.
pub fn stamps(folder: &Path) -> BTreeMap<String, Stamp> {
    let stamp = |path: &str| {
        let file = folder.join(path);
        let about = std::fs::metadata(&file).expect("the file is still there");
        let bytes = std::fs::read(&file).expect("read the file");
        Stamp {
            modified_ns: i128::from(about.mtime()) * 1_000_000_000 + i128::from(about.mtime_nsec()),
            inode: about.ino(),
            digest: hex(&Sha256::digest(bytes)),
        }
    };
    files_below(folder).into_iter().map(|path| (path.clone(), stamp(&path))).collect()
}

/// The paths in which two sets of stamps or digests differ: changed, come or gone.
pub fn differences<V: PartialEq>(before: &BTreeMap<String, V>, after: &BTreeMap<String, V>) -> Vec<String> {
    let gone = before.keys().filter(|path| !after.contains_key(*path));
    let differ = after.iter().filter(|(path, value)| before.get(*path) != Some(value)).map(|(path, _)| path);
    let mut paths: Vec<String> = gone.chain(differ).cloned().collect();
    paths.sort();
    paths
}

/// Relative paths of all files below `folder`, in order; none when there is no such folder.
pub fn files_below(folder: &Path) -> Vec<String> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&next) else {
            assert!(!next.exists(), "cannot list {}", next.display());
            continue;
        };
        for entry in entries {
            let path = entry.expect("read a folder's entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let relative = path.strip_prefix(folder).expect("it lies below");
                let name = relative.to_str().expect("names are UTF-8").to_owned();
                files.push(name);
            }
        }
    }
    files.sort();
    files
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes all");
        text
    })
}
