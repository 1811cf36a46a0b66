//! A bucket on an S3 server in this process, as a publisher, a reader and an auditor see it.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tintype::store::{HeadPlace, Location, S3, S3Settings, Store};

use super::directory::files_below;
use super::s3_server::{ACCESS_KEY, Options, S3Server, SECRET_KEY};

/// The name of the bucket.
pub const BUCKET: &str = "site-bucket";

/// A bucket whose documents lie under `site/`.
pub struct Bucket {
    pub server: S3Server,
    _folder: TempDir,
}

impl Bucket {
    /// An empty bucket.
    pub fn new() -> Self {
        Self::with(true)
    }

    /// An empty bucket whose conditional writes don't exclude each other.
    pub fn racy() -> Self {
        Self::with(false)
    }

    fn with(atomic: bool) -> Self {
        let folder = tempfile::tempdir().expect("make a folder for the objects");
        let server = S3Server::start(Options {
            address: ([127, 0, 0, 1], 0).into(),
            folder: folder.path().to_owned(),
            buckets: vec![BUCKET.to_owned()],
            atomic,
            remember: true,
        });
        Self { server: server.expect("start an S3 server"), _folder: folder }
    }

    fn record(&self) -> std::path::PathBuf {
        self.server.file(&format!("{BUCKET}/_tintype/site/probe.json"))
    }

    /// Leaves the record of a good probe, so that a first publish sends no requests but its own.
    pub fn remember_probe(&self) {
        let record = json!({
            "format": 1, "bucket": BUCKET, "endpoint": self.server.endpoint(), "tintype": "0.0.0",
            "probed_at": "2026-01-01T00:00:00Z", "conditions": true, "checks": [],
        });
        let file = self.record();
        let written =
            std::fs::create_dir_all(file.with_file_name("")).and_then(|()| std::fs::write(&file, record.to_string()));
        written.unwrap_or_else(|error| panic!("cannot write {}: {error}", file.display()));
    }

    /// Removes the record, so that nothing is known of the bucket.
    pub fn forget_probe(&self) {
        let _ = std::fs::remove_file(self.record());
    }

    /// What probes have left.
    pub fn probes_left(&self) -> Vec<String> {
        let files = files_below(&self.server.file(BUCKET));
        files.into_iter().filter(|file| file.contains("/probe/") || file.contains(".tintype-doctor-")).collect()
    }

    /// The lines of `[store]` that name it.
    pub fn settings(&self) -> String {
        format!("url = \"s3://{BUCKET}/site\"\nendpoint = \"{}\"\n", self.server.endpoint())
    }

    /// The variables that its credentials stand in.
    pub fn environment() -> Vec<(&'static str, String)> {
        vec![("AWS_ACCESS_KEY_ID", ACCESS_KEY.to_owned()), ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.to_owned())]
    }

    /// The store in it, in this process.
    pub fn store(&self) -> Store {
        self.store_at("site")
    }

    /// A store under a prefix of it, in this process.
    pub fn store_at(&self, prefix: &str) -> Store {
        Store::S3(Box::new(Self::s3(&self.server.endpoint(), prefix)))
    }

    /// The store in it with its head elsewhere, in this process.
    pub fn store_with(&self, head: HeadPlace) -> Store {
        Store::S3(Box::new(Self::s3(&self.server.endpoint(), "site").with_head(head)))
    }

    /// The store of a server that may not be there yet.
    pub fn store_of(endpoint: &str) -> Store {
        Store::S3(Box::new(Self::s3(endpoint, "site")))
    }

    fn s3(endpoint: &str, prefix: &str) -> S3 {
        let public = Location::parse(&format!("s3://{BUCKET}/{prefix}")).expect("it is a URL");
        let store = S3::new(S3Settings {
            control: public.default_control(),
            public,
            endpoint: Some(endpoint.to_owned()),
            region: None,
            concurrency: 64,
            timeout: Duration::from_secs(10),
        });
        store.with_credentials(ACCESS_KEY, SECRET_KEY)
    }

    /// The object paths of all documents, without the catalogue's files, in order.
    pub fn paths(&self) -> Vec<String> {
        let paths = files_below(&self.server.file(&format!("{BUCKET}/site")));
        paths.into_iter().filter(|path| path != "index.json" && !path.starts_with("index/")).collect()
    }

    /// Whether there is an object at this path.
    pub fn has(&self, path: &str) -> bool {
        self.server.file(&format!("{BUCKET}/site/{path}")).exists()
    }

    /// The body of a document: one gzip member, nothing behind it.
    pub fn body(&self, path: &str) -> Vec<u8> {
        let file = self.server.file(&format!("{BUCKET}/site/{path}"));
        let bytes = std::fs::read(&file).unwrap_or_else(|error| panic!("cannot read {}: {error}", file.display()));
        let mut decoder = flate2::bufread::GzDecoder::new(bytes.as_slice());
        let mut body = Vec::new();
        decoder.read_to_end(&mut body).unwrap_or_else(|error| panic!("{path} is not gzip: {error}"));
        assert!(decoder.into_inner().is_empty(), "{path} goes on behind the gzip");
        body
    }

    /// The document at this path.
    pub fn document(&self, path: &str) -> Value {
        serde_json::from_slice(&self.body(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// SHA-256 of every document's body, by object path.
    pub fn digests(&self) -> BTreeMap<String, String> {
        let hex = |path: &str| Sha256::digest(self.body(path)).iter().map(|byte| format!("{byte:02x}")).collect();
        self.paths().into_iter().map(|path| (path.clone(), hex(&path))).collect()
    }

    /// The headers with which the document at this path was last written.
    #[track_caller]
    pub fn headers(&self, path: &str) -> BTreeMap<String, String> {
        let headers = self.server.headers(&format!("{BUCKET}/site/{path}"));
        headers.unwrap_or_else(|| panic!("{path} was never written"))
    }

    /// The head of the store; null before the first release.
    pub fn head(&self) -> Value {
        let file = self.server.file(&format!("{BUCKET}/_tintype/site/head.json"));
        match std::fs::read(file) {
            Ok(bytes) => serde_json::from_slice(&bytes).expect("head.json is JSON"),
            Err(_) => Value::Null,
        }
    }
}
