//! A bucket of an S3-compatible store: AWS, R2, Garage, Ceph …
//!
//! Every object is small, so that every body is sent from memory in one piece. A document is activated by a copy on the
//! server, which gives it the headers of its policy; a store that can't copy gets the bytes once more. What fails is
//! sorted in `failure` and tried again by `retry`, but for the swap of the head, which is sent once: `head`. How many
//! requests are in flight is up to `limiter`.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use bytes::Bytes;
use tokio::sync::{Mutex, OnceCell};

use super::{Counter, Counters, StoreError};

mod activate;
mod client;
mod failure;
mod head;
mod limiter;
mod listing;
mod location;
mod probe;
mod remove;
mod retry;

pub use head::HeadPlace;
pub use listing::Pages;
pub use location::Location;

use failure::{Class, Failure, Place};
use head::StoreClock;
use limiter::Limiter;
use retry::{Attempts, settle};

/// A larger object isn't one of ours: neither a document, whose `max_size` is at most 1 GiB, nor the rows of a template.
const MAX_OBJECT: usize = 1 << 30;

/// A body gets this much more time than a request without one, for so many bytes: a slow line, not a dead one.
const BYTES_PER_SECOND: usize = 256 * 1024;

/// Where a store is and how it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where the documents lie.
    pub public: Location,
    /// Where everything else lies, in the same bucket.
    pub control: Location,
    /// The server's address; none for AWS's own.
    pub endpoint: Option<String>,
    /// The region; none to find it out as the AWS tools do.
    pub region: Option<String>,
    /// The most requests in flight.
    pub concurrency: usize,
    /// The longest wait for one answer.
    pub timeout: Duration,
}

/// A store in a bucket.
#[derive(Debug)]
pub struct S3 {
    settings: Settings,
    place: Place,
    credentials: Option<Credentials>,
    client: OnceCell<Client>,
    limiter: Limiter,
    pub(super) counters: Counters,
    /// Whether a copy on the server keeps what it is told to; found out by the first.
    copies: OnceCell<bool>,
    /// Changes of stable paths without an answer.
    unanswered: AtomicU64,
    /// Set once the store has refused to delete many objects in one request.
    deletes_one_by_one: AtomicBool,
    head: HeadPlace,
    /// Held while a connection to the head's database is open, so that there is one at a time.
    row_turn: Mutex<()>,
}

/// An operation that was given up.
struct GivenUp {
    class: Class,
    code: String,
    error: StoreError,
}

/// An object that was read.
struct Fetched {
    bytes: Vec<u8>,
    tag: Option<String>,
    modified: Option<SystemTime>,
}

impl S3 {
    /// The store. Nothing is sent before the first operation.
    pub fn new(settings: Settings) -> S3 {
        S3 {
            place: Place { bucket: settings.public.bucket.clone(), endpoint: settings.endpoint.clone() },
            limiter: Limiter::new(settings.concurrency),
            settings,
            credentials: None,
            client: OnceCell::new(),
            counters: Counters::default(),
            copies: OnceCell::new(),
            unanswered: AtomicU64::new(0),
            deletes_one_by_one: AtomicBool::new(false),
            head: HeadPlace::Object,
            row_turn: Mutex::new(()),
        }
    }

    /// The same store with these credentials, instead of those that this process would find.
    #[must_use]
    pub fn with_credentials(self, access_key: &str, secret_key: &str) -> S3 {
        S3 { credentials: Some(Credentials::new(access_key, secret_key, None, None, "given")), ..self }
    }

    /// The same store with its head elsewhere than in an object that is replaced by conditional writes.
    #[must_use]
    pub fn with_head(self, head: HeadPlace) -> S3 {
        S3 { head, ..self }
    }

    /// What it is called in messages.
    pub fn describe(&self) -> String {
        match &self.settings.endpoint {
            Some(endpoint) => format!("{} at {endpoint}", self.settings.public.url()),
            None => self.settings.public.url(),
        }
    }

    pub(super) fn places(&self) -> (String, String) {
        (self.settings.public.prefix.clone(), self.settings.control.prefix.clone())
    }

    pub(super) fn in_flight(&self) -> usize {
        self.limiter.limit()
    }

    pub(super) fn unanswered(&self) -> u64 {
        self.unanswered.load(Ordering::Relaxed)
    }

    /// Takes down that a request was given up without knowing what became of it. What has a name of its own under the
    /// control prefix may arrive whenever it likes.
    fn note_unanswered(&self, counter: &Counter, key: &str, failure: &Failure) {
        let changes = [&self.counters.copies, &self.counters.puts, &self.counters.deletes];
        let is_change = changes.into_iter().any(|change| std::ptr::eq(change, counter));
        if is_change && failure.is_unanswered() && !key.starts_with(&self.settings.control.prefix) {
            self.unanswered.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn site(&self) -> String {
        self.settings.public.prefix.clone()
    }

    fn bucket(&self) -> &str {
        &self.settings.public.bucket
    }

    async fn client(&self) -> &Client {
        self.client.get_or_init(|| client::connect(&self.settings, self.credentials.as_ref())).await
    }

    fn control_key(&self, name: &str) -> String {
        format!("{}{name}", self.settings.control.prefix)
    }

    fn key_url(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.bucket())
    }

    /// The key of a stable path. In a store that is a whole bucket the records lie among the documents' names.
    fn public_key(&self, path: &str) -> Result<String, StoreError> {
        let key = format!("{}{path}", self.settings.public.prefix);
        if key.starts_with(&self.settings.control.prefix) {
            let failure = Failure::new(Class::Refused, "documents can't lie among the store's own records");
            return Err(StoreError {
                hint: Some("give the template another path, or [store] control another prefix".to_owned()),
                ..self.error("write", &key, &failure, failure.reason.clone())
            });
        }
        Ok(key)
    }

    pub(super) async fn create(&self, name: &str, bytes: Bytes) -> Result<(), StoreError> {
        let key = self.control_key(name);
        let (content_type, encoding) = match name {
            name if name.ends_with(".jsonl.gz") => ("application/x-ndjson", Some("gzip")),
            name if name.ends_with(".gz") => ("application/json", Some("gzip")),
            _ => ("application/json", None),
        };
        let client = self.client().await;
        let put = || {
            let request = client
                .put_object()
                .bucket(self.bucket())
                .key(&key)
                .content_type(content_type)
                .set_content_encoding(encoding.map(str::to_owned))
                .body(ByteStream::from(bytes.clone()));
            self.within(bytes.len(), request.send())
        };
        self.run(&self.counters.puts, "write", &key, put).await.map(drop).map_err(|given_up| given_up.error)
    }

    pub(super) async fn read(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.read_key(&self.control_key(name)).await
    }

    pub(super) async fn read_public(&self, path: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.read_key(&self.public_key(path)?).await
    }

    async fn read_key(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        match self.run(&self.counters.gets, "read", key, || self.fetch(key, None)).await {
            Ok(fetched) => Ok(Some(fetched.bytes)),
            Err(given_up) if given_up.class == Class::NotFound => Ok(None),
            Err(given_up) => Err(given_up.error),
        }
    }

    /// Reads an object, however long it takes, as long as something keeps coming.
    async fn fetch(&self, key: &str, clock: Option<StoreClock>) -> Result<Fetched, Failure> {
        let request = self.client().await.get_object().bucket(self.bucket()).key(key);
        let output = match clock {
            Some(clock) => self.within(0, request.customize().interceptor(clock).send()).await?,
            None => self.within(0, request.send()).await?,
        };
        let mut body = output.body;
        let mut bytes = Vec::new();
        loop {
            match tokio::time::timeout(self.settings.timeout, body.next()).await {
                Err(_) => return Err(Failure::time_out(&self.place, self.settings.timeout)),
                Ok(None) => break,
                Ok(Some(Ok(more))) if bytes.len() + more.len() > MAX_OBJECT => {
                    let most = bytesize::ByteSize(MAX_OBJECT as u64);
                    let reason = format!("it is larger than {most}, and nothing that tintype writes is");
                    return Err(Failure::new(Class::Hopeless, reason));
                }
                Ok(Some(Ok(more))) => bytes.extend_from_slice(&more),
                Ok(Some(Err(error))) => {
                    let reason = format!("the connection broke after {} bytes: {error}", bytes.len());
                    return Err(Failure::new(Class::Transient, reason));
                }
            }
        }
        let modified = output.last_modified.and_then(|modified| modified.try_into().ok());
        Ok(Fetched { bytes, tag: output.e_tag, modified })
    }

    pub(super) async fn list(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        let prefix = self.control_key(folder);
        let client = self.client().await;
        let mut names = Vec::new();
        let mut next: Option<String> = None;
        loop {
            let list = || {
                let request = client.list_objects_v2().bucket(self.bucket()).prefix(&prefix).delimiter("/");
                self.within(0, request.set_continuation_token(next.clone()).send())
            };
            let page = self.run(&self.counters.lists, "list", &prefix, list).await;
            let page = page.map_err(|given_up| given_up.error)?;
            let folders = page.common_prefixes().iter().filter_map(|found| found.prefix());
            let keys = page.contents().iter().filter_map(|found| found.key());
            let found = folders.map(|folder| folder.trim_end_matches('/')).chain(keys);
            names.extend(found.filter_map(|key| key.strip_prefix(&self.settings.control.prefix)).map(str::to_owned));
            match page.next_continuation_token {
                Some(token) if page.is_truncated == Some(true) => next = Some(token),
                _ => break,
            }
        }
        names.sort();
        Ok(names)
    }

    /// Waits for an answer, longer for a request with a large body.
    async fn within<T, E>(
        &self,
        size: usize,
        request: impl Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send,
    ) -> Result<T, Failure>
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let more = Duration::from_secs((size / BYTES_PER_SECOND) as u64);
        let limit = self.settings.timeout + more;
        match tokio::time::timeout(limit, Box::pin(request)).await {
            Err(_) => Err(Failure::time_out(&self.place, limit)),
            Ok(answer) => answer.map_err(|error| Failure::of(&self.place, &error)),
        }
    }

    /// Sends requests until one succeeds or there is no use in another.
    async fn run<T, F>(
        &self,
        counter: &Counter,
        action: &'static str,
        key: &str,
        request: impl Fn() -> F,
    ) -> Result<T, GivenUp>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        self.run_among(Some(&self.limiter), counter, action, key, request).await
    }

    /// The same with another limiter, or without one.
    async fn run_among<T, F>(
        &self,
        limiter: Option<&Limiter>,
        counter: &Counter,
        action: &'static str,
        key: &str,
        request: impl Fn() -> F,
    ) -> Result<T, GivenUp>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let mut attempts = Attempts::new(self.settings.timeout);
        loop {
            let permit = match limiter {
                Some(limiter) => Some(limiter.acquire().await),
                None => None,
            };
            let asked = counter.ask();
            attempts.begin();
            let outcome = request().await;
            asked.ended(failure::status(&outcome));
            if let Some(permit) = permit {
                settle(permit, &outcome);
            }
            let failure = match outcome {
                Ok(done) => return Ok(done),
                Err(failure) => failure,
            };
            self.note_unanswered(counter, key, &failure);
            let Some(wait) = attempts.wait_after(failure.class) else {
                let error = self.error(action, key, &failure, attempts.told(&failure));
                return Err(GivenUp { class: failure.class, code: failure.code, error });
            };
            tracing::debug!(key, attempt = attempts.count, reason = failure.reason, ?wait, "trying again");
            tokio::time::sleep(wait).await;
        }
    }

    fn error(&self, action: &'static str, key: &str, failure: &Failure, reason: String) -> StoreError {
        let is_general = match failure.class {
            Class::Hopeless | Class::Unreachable | Class::Throttled => true,
            // An answer that didn't come for all this time says something about the store, and not about the object.
            Class::Transient => failure.code.is_empty(),
            _ => false,
        };
        StoreError { action, object: self.key_url(key), reason, hint: failure.hint.clone(), is_general }
    }

    fn takes_bulk_deletes(&self) -> bool {
        !self.deletes_one_by_one.load(Ordering::Relaxed)
    }
}
