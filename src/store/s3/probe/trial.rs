//! The objects of one probe, and the requests that are made with them.
//!
//! Every name is noted before it is written, so that nothing is left behind however a check ends. Requests are sent again
//! for a few seconds only: a probe says what a store does now. A conditional write is sent again only after an answer that
//! asks for fewer requests, because it wasn't carried out then; where that is wrong after all, the next try on a new
//! object tells.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use aws_sdk_s3::Client;
use aws_sdk_s3::operation::put_object::PutObjectOutput;
use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;

use super::super::S3;
use super::super::failure::{Class, Failure, status};
use super::super::head::StoreClock;
use super::super::retry::Attempts;
use crate::store::attributes::{Attributes, CONTENT_ENCODING, CONTENT_TYPE};
use crate::store::probe::{FOLDER, PUBLIC_NAME};
use crate::store::{Counter, StoreError};

/// For how long a request is sent again.
const PATIENCE: Duration = Duration::from_secs(12);

/// One probe.
pub struct Trial<'a> {
    pub s3: &'a S3,
    pub client: &'a Client,
    run: &'a str,
    made: Mutex<BTreeSet<String>>,
    /// A conditional write was sent more than once since this was last asked.
    resent: AtomicBool,
    /// Objects can be read and not listed: what is forbidden then isn't there.
    hides_absence: AtomicBool,
}

/// What a conditional write asks for.
#[derive(Debug, Clone, Copy)]
pub enum Condition<'a> {
    /// `If-None-Match: *`
    Absent,
    /// `If-Match`
    Tag(&'a str),
}

/// What became of a conditional write.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// Carried out; with the `ETag` that the store gave.
    Written(Option<String>),
    /// The condition doesn't hold, says the store.
    Refused,
}

/// An object as it was read.
pub struct Object {
    pub bytes: Vec<u8>,
    pub headers: Headers,
    /// When it was written, and what time the store had when it answered.
    pub modified: Option<SystemTime>,
    pub date: Option<SystemTime>,
}

/// What an answer says about an object.
pub struct Headers {
    pub tag: Option<String>,
    pub encoding: Option<String>,
    pub cache_control: Option<String>,
    pub metadata: HashMap<String, String>,
}

/// An object as a listing shows it.
pub struct Listed {
    pub key: String,
    pub tag: Option<String>,
    pub modified: Option<SystemTime>,
}

impl<'a> Trial<'a> {
    /// A probe that has made nothing yet.
    pub async fn new(s3: &'a S3, run: &'a str) -> Trial<'a> {
        let client = s3.client().await;
        Trial {
            s3,
            client,
            run,
            made: Mutex::default(),
            resent: AtomicBool::new(false),
            hides_absence: AtomicBool::new(false),
        }
    }

    /// What the names of all its objects among the records begin with.
    pub fn folder(&self) -> String {
        self.s3.control_key(&format!("{FOLDER}{}/", self.run))
    }

    /// The key of an object among the records, which is removed in the end.
    pub fn key(&self, name: &str) -> String {
        self.noted(format!("{}{name}", self.folder()))
    }

    /// The key of the one object below the documents.
    pub fn public_key(&self) -> Result<String, StoreError> {
        Ok(self.noted(self.s3.public_key(&format!("{PUBLIC_NAME}{}.json", self.run))?))
    }

    fn noted(&self, key: String) -> String {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone());
        key
    }

    /// The keys of all that was, perhaps, written.
    pub fn made(&self) -> Vec<String> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Whether a conditional write was sent more than once since the last call.
    pub fn was_resent(&self) -> bool {
        self.resent.swap(false, Ordering::Relaxed)
    }

    /// Takes what is forbidden for absent from now on, as S3 answers who may read and not list.
    pub fn expect_hidden_absence(&self) {
        self.hides_absence.store(true, Ordering::Relaxed);
    }

    fn is_absent(&self, failure: &Failure) -> bool {
        failure.class == Class::NotFound || (failure.is_denied() && self.hides_absence.load(Ordering::Relaxed))
    }

    async fn ask<T, F>(
        &self,
        counter: &Counter,
        again: impl Fn(Class) -> bool,
        request: impl Fn() -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let began = Instant::now();
        let mut attempts = Attempts::new(self.s3.settings.timeout);
        loop {
            let asked = counter.ask();
            attempts.begin();
            let answer = request().await;
            asked.ended(status(&answer));
            let failure = match answer {
                Ok(done) => return Ok(done),
                Err(failure) => failure,
            };
            match attempts.wait_after(failure.class) {
                Some(wait) if began.elapsed() + wait < PATIENCE && again(failure.class) => {
                    tokio::time::sleep(wait).await;
                }
                _ => return Err(Failure { reason: attempts.told(&failure), ..failure }),
            }
        }
    }

    /// A write, ready to be sent.
    pub fn put_request(
        &self,
        key: &str,
        bytes: &Bytes,
        attributes: Option<&Attributes>,
        condition: Option<Condition<'_>>,
    ) -> PutObjectFluentBuilder {
        let mut request = self
            .client
            .put_object()
            .bucket(self.s3.bucket())
            .key(key)
            .content_type(CONTENT_TYPE)
            .body(ByteStream::from(bytes.clone()));
        if let Some(attributes) = attributes {
            request = request.content_encoding(CONTENT_ENCODING).cache_control(&attributes.cache_control);
            for (name, value) in attributes.metadata() {
                request = request.metadata(name, value);
            }
        }
        match condition {
            Some(Condition::Absent) => request.if_none_match("*"),
            Some(Condition::Tag(tag)) => request.if_match(tag),
            None => request,
        }
    }

    /// Writes an object; returns its `ETag`.
    pub async fn put(
        &self,
        key: &str,
        bytes: &Bytes,
        attributes: Option<&Attributes>,
    ) -> Result<Option<String>, Failure> {
        let send = || self.s3.within(bytes.len(), self.put_request(key, bytes, attributes, None).send());
        self.ask(&self.s3.counters.puts, |_| true, send).await.map(|output| output.e_tag)
    }

    /// Writes an object if the condition holds.
    pub async fn put_if(&self, key: &str, bytes: &Bytes, condition: Condition<'_>) -> Result<Answer, Failure> {
        let send = || self.s3.within(bytes.len(), self.put_request(key, bytes, None, Some(condition)).send());
        let again = |class| {
            let again = class == Class::Throttled;
            self.resent.fetch_or(again, Ordering::Relaxed);
            again
        };
        match understood(self.ask(&self.s3.counters.puts, again, send).await) {
            // Where no object is, the condition can't hold either.
            Err(failure) if matches!(condition, Condition::Tag(_)) && self.is_absent(&failure) => Ok(Answer::Refused),
            answer => answer,
        }
    }

    /// The same, sent once; `None` if nobody knows what became of it, and an error if the store can't do it.
    pub async fn put_once(
        &self,
        key: &str,
        bytes: &Bytes,
        condition: Condition<'_>,
    ) -> Result<Option<Answer>, Failure> {
        let asked = self.s3.counters.puts.ask();
        let sent = self.s3.within(bytes.len(), self.put_request(key, bytes, None, Some(condition)).send()).await;
        asked.ended(status(&sent));
        match understood(sent) {
            Ok(answer) => Ok(Some(answer)),
            Err(failure) if matches!(failure.class, Class::Throttled | Class::Transient | Class::Unreachable) => {
                Ok(None)
            }
            Err(failure) => Err(failure),
        }
    }

    /// Reads an object; `None` if there is none.
    pub async fn get(&self, key: &str) -> Result<Option<Object>, Failure> {
        let clock = StoreClock::default();
        let send = || self.read(key, &clock);
        match self.ask(&self.s3.counters.gets, |_| true, send).await {
            Ok(object) => Ok(Some(object)),
            Err(failure) if self.is_absent(&failure) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Reads an object's bytes, which must be there.
    pub async fn bytes(&self, key: &str) -> Result<Option<Vec<u8>>, Failure> {
        Ok(self.get(key).await?.map(|object| object.bytes))
    }

    async fn read(&self, key: &str, clock: &StoreClock) -> Result<Object, Failure> {
        let request = self.client.get_object().bucket(self.s3.bucket()).key(key);
        let output = self.s3.within(0, request.customize().interceptor(clock.clone()).send()).await?;
        let headers = Headers {
            tag: output.e_tag,
            encoding: output.content_encoding,
            cache_control: output.cache_control,
            metadata: output.metadata.unwrap_or_default(),
        };
        let modified = output.last_modified.and_then(|modified| modified.try_into().ok());
        let broken = |reason: String| Failure::new(Class::Transient, reason);
        let body = tokio::time::timeout(self.s3.settings.timeout, output.body.collect()).await;
        let body = body.map_err(|_| Failure::time_out(&self.s3.place, self.s3.settings.timeout))?;
        let bytes = body.map_err(|error| broken(format!("the connection broke: {error}")))?.to_vec();
        Ok(Object { bytes, headers, modified, date: clock.read() })
    }

    /// What the store's clock says, and what became of a request for an object that isn't there.
    pub async fn first_contact(&self) -> (Option<SystemTime>, Result<(), Failure>) {
        let clock = StoreClock::default();
        let key = format!("{}absent", self.folder());
        let send = || self.read(&key, &clock);
        let answer = self.ask(&self.s3.counters.gets, |_| true, send).await;
        (clock.read(), answer.map(drop))
    }

    /// Asks for an object's headers.
    pub async fn head(&self, key: &str) -> Result<Headers, Failure> {
        let send = || self.s3.within(0, self.client.head_object().bucket(self.s3.bucket()).key(key).send());
        let output = self.ask(&self.s3.counters.heads, |_| true, send).await?;
        Ok(Headers {
            tag: output.e_tag,
            encoding: output.content_encoding,
            cache_control: output.cache_control,
            metadata: output.metadata.unwrap_or_default(),
        })
    }

    /// The first thousand objects whose keys begin so.
    pub async fn list(&self, prefix: &str) -> Result<Vec<Listed>, Failure> {
        let send = || self.s3.within(0, self.client.list_objects_v2().bucket(self.s3.bucket()).prefix(prefix).send());
        let output = self.ask(&self.s3.counters.lists, |_| true, send).await?;
        let listed = |object: aws_sdk_s3::types::Object| {
            Some(Listed {
                key: object.key?,
                tag: object.e_tag,
                modified: object.last_modified.and_then(|modified| modified.try_into().ok()),
            })
        };
        Ok(output.contents.unwrap_or_default().into_iter().filter_map(listed).collect())
    }

    /// Deletes one object; it may be gone already.
    pub async fn delete(&self, key: &str) -> Result<(), Failure> {
        let send = || self.s3.within(0, self.client.delete_object().bucket(self.s3.bucket()).key(key).send());
        match self.ask(&self.s3.counters.deletes, |_| true, send).await {
            Err(failure) if failure.class == Class::NotFound => Ok(()),
            deleted => deleted.map(drop),
        }
    }
}

/// A condition that doesn't hold is an answer; one that the store doesn't know, however it says so, is unsupported.
fn understood(sent: Result<PutObjectOutput, Failure>) -> Result<Answer, Failure> {
    match sent {
        Ok(output) => Ok(Answer::Written(output.e_tag)),
        Err(failure) => match failure.class {
            // With If-Match, what is gone isn't what was expected. A conflict is settled in favour of another.
            Class::Condition | Class::NotFound | Class::Conflict => Ok(Answer::Refused),
            Class::Refused if !failure.code.is_empty() && !failure.is_denied() => {
                Err(Failure { class: Class::Unsupported, ..failure })
            }
            _ => Err(failure),
        },
    }
}

/// A body that no other one of the probe equals.
pub fn body(what: &str) -> Bytes {
    Bytes::from(format!("{{\"tintype\":\"a probe of this store, to be removed\",\"what\":\"{what}\"}}"))
}
