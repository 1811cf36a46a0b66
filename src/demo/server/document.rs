//! From a request's path to the bytes of a document.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use sha2::{Digest, Sha256};

/// Nothing larger is read into memory, compressed or not: four times what a snapshot may have by default.
const MAX_SIZE_BYTES: u64 = 64 * 1024 * 1024;
/// Longer paths name no document; a slug is capped far below this.
const MAX_PATH_BYTES: usize = 1024;
/// Half a SHA-256 is ample to tell two versions of a document apart.
const ETAG_BYTES: usize = 16;

/// Why a document cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// There is none of that name.
    #[error("no such document")]
    Absent,
    /// It is there and too large to be held in memory.
    #[error("larger than {MAX_SIZE_BYTES} bytes")]
    TooLarge,
    /// It is there and cannot be read.
    #[error(transparent)]
    Unreadable(io::Error),
}

impl From<io::Error> for DocumentError {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind::{InvalidFilename, InvalidInput, IsADirectory, NotADirectory, NotFound};
        match error.kind() {
            NotFound | NotADirectory | IsADirectory | InvalidFilename | InvalidInput => Self::Absent,
            _ => Self::Unreadable(error),
        }
    }
}

/// A document as it is sent.
#[derive(Debug)]
pub struct Document {
    pub bytes: Vec<u8>,
    pub gzip: bool,
    /// Strong, quotes included: a hash of exactly these bytes, so that the two encodings differ.
    pub etag: String,
}

impl Document {
    /// Reads `<object path>.gz`, or the plain file where only that is there.
    pub fn read(public: &Path, object_path: &str, accepts_gzip: bool) -> Result<Self, DocumentError> {
        let root = public.canonicalize()?;
        match read_file(&root, &root.join(format!("{object_path}.gz"))) {
            Ok(bytes) if accepts_gzip => Ok(Self::new(bytes, true)),
            Ok(bytes) => Ok(Self::new(bounded(MultiGzDecoder::new(bytes.as_slice()))?, false)),
            Err(DocumentError::Absent) => Ok(Self::new(read_file(&root, &root.join(object_path))?, false)),
            Err(error) => Err(error),
        }
    }

    fn new(bytes: Vec<u8>, gzip: bool) -> Self {
        let mut etag = String::from("\"");
        for byte in Sha256::digest(&bytes).iter().take(ETAG_BYTES) {
            // Writing to a String cannot fail.
            let _ = write!(etag, "{byte:02x}");
        }
        etag.push('"');
        Self { bytes, gzip, etag }
    }
}

/// The object path that a request's path names, or none if it can't be a document's.
///
/// Object paths need no escaping (slugs are `[a-z0-9-]`), so a percent sign is refused before anyone could decode it to a slash or a dot.
/// Dot files, the control folder and files that aren't documents are refused by name.
pub fn object_path(path: &str) -> Option<&str> {
    let path = path.strip_prefix('/')?;
    let plain = |segment: &str| {
        let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~' | b'.');
        !segment.is_empty() && !segment.starts_with('.') && segment.bytes().all(unreserved)
    };
    let named = path.len() <= MAX_PATH_BYTES && path.strip_suffix(".json").is_some() && path.split('/').all(plain);
    let control = path.split('/').next() == Some("_tintype");
    (named && !control).then_some(path)
}

/// The file's bytes, unless a symbolic link leads out of the published folder or into a dot folder of it.
fn read_file(root: &Path, path: &Path) -> Result<Vec<u8>, DocumentError> {
    let path: PathBuf = path.canonicalize()?;
    let inside = path.strip_prefix(root).map_err(|_| DocumentError::Absent)?;
    if inside.components().any(|part| part.as_os_str().as_encoded_bytes().starts_with(b".")) {
        return Err(DocumentError::Absent);
    }
    // Asked before it is opened: opening a named pipe would wait for a writer.
    if !path.metadata()?.is_file() {
        return Err(DocumentError::Absent);
    }
    bounded(File::open(&path)?)
}

fn bounded(source: impl Read) -> Result<Vec<u8>, DocumentError> {
    let mut bytes = Vec::new();
    source.take(MAX_SIZE_BYTES + 1).read_to_end(&mut bytes).map_err(DocumentError::Unreadable)?;
    if bytes.len() as u64 > MAX_SIZE_BYTES { Err(DocumentError::TooLarge) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_documents_have_object_paths() {
        assert_eq!(object_path("/index.json"), Some("index.json"));
        assert_eq!(
            object_path("/country-map/united-states/crispr/low.json"),
            Some("country-map/united-states/crispr/low.json")
        );
        let refused = [
            "",
            "/",
            "index.json",
            "//index.json",
            "/a//b.json",
            "/../a.json",
            "/a/../b.json",
            "/a/./b.json",
            "/..%2fa.json",
            "/%2e%2e/a.json",
            "/a%2fb.json",
            "/a%5cb.json",
            "/a\\b.json",
            "/.tintype/head.json",
            "/a/.b.json",
            "/_tintype/site/head.json",
            "/index.json.gz",
            "/index.json/",
            "/a.html",
            "/a\0.json",
            "/é.json",
            "/.json",
        ];
        for path in refused {
            assert_eq!(object_path(path), None, "{path}");
        }
        assert_eq!(object_path(&format!("/{}.json", "a".repeat(MAX_PATH_BYTES))), None);
    }

    #[cfg(unix)]
    #[test]
    fn links_out_of_the_folder_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let public = folder.path().join("public");
        std::fs::create_dir_all(public.join(".control")).unwrap();
        std::fs::write(folder.path().join("secret"), "secret").unwrap();
        std::fs::write(public.join(".control/head"), "secret").unwrap();
        std::os::unix::fs::symlink("../secret", public.join("out.json")).unwrap();
        std::os::unix::fs::symlink(".control/head", public.join("dot.json")).unwrap();
        std::os::unix::fs::symlink("nowhere", public.join("gone.json")).unwrap();
        std::fs::create_dir(public.join("folder.json")).unwrap();
        for name in ["out.json", "dot.json", "gone.json", "folder.json"] {
            assert!(matches!(Document::read(&public, name, true), Err(DocumentError::Absent)), "{name}");
        }
    }

    #[test]
    fn a_bomb_is_not_unpacked() {
        let folder = tempfile::tempdir().unwrap();
        let mut encoder = flate2::write::GzEncoder::new(
            File::create(folder.path().join("a.json.gz")).unwrap(),
            flate2::Compression::fast(),
        );
        io::copy(&mut io::repeat(b' ').take(MAX_SIZE_BYTES + 1), &mut encoder).unwrap();
        encoder.finish().unwrap();
        assert!(matches!(Document::read(folder.path(), "a.json", false), Err(DocumentError::TooLarge)));
        assert!(Document::read(folder.path(), "a.json", true).is_ok());
    }
}
