//! The head of a store in a bucket: one request a swap, and what its answer means.
//!
//! It is the object `head.json`, replaced by conditional writes. A store that has none keeps its head in a table of a
//! database instead (`row`), or has one publisher only, which writes it without a condition.
//!
//! The requests are few and wait for no permit: a lease is renewed while the activation keeps every permit there is.

use std::path::Path;
use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;

use super::failure::{Class, Failure, status};
use super::retry::{Attempts, patience};
use super::{Fetched, S3};
use crate::database::{Database, DatabaseError, HeadTable};
use crate::store::StoreError;
use crate::store::attributes::CONTENT_TYPE;
use crate::store::head::{HeadObject, Swap, Version};

mod clock;
mod copy;
mod row;

pub use clock::StoreClock;

/// The name of the head among the records.
const HEAD: &str = "head.json";

/// Where the head of a bucket is, and how it is replaced.
#[derive(Debug, Clone)]
pub enum HeadPlace {
    /// In the bucket, by conditional writes.
    Object,
    /// In the bucket of a store without conditional writes, by a publisher that is the only one. Nothing sees to that.
    Unconditional,
    /// In a table of PostgreSQL, for a store without conditional writes.
    Row(Box<HeadTable>),
}

impl HeadPlace {
    /// The table on the server of this URL; its relative paths count from `folder`. A connection and an answer may take
    /// `timeout` each.
    pub fn row(url: &str, folder: &Path, timeout: Duration) -> Result<HeadPlace, DatabaseError> {
        let table = HeadTable::new(&Database::from_url(url, folder)?, timeout);
        table.map(|table| HeadPlace::Row(Box::new(table))).ok_or_else(|| DatabaseError::Url {
            reason: "names a SQLite file, and the head of a store needs a server that every publisher reaches"
                .to_owned(),
            hint: "write postgres://user@host/database".to_owned(),
        })
    }
}

impl S3 {
    pub(in crate::store) async fn head_is_left_alone(&self) {
        if let HeadPlace::Row(table) = &self.head {
            table.outstanding_over().await;
        }
    }

    pub(in crate::store) async fn read_head(&self) -> Result<Option<HeadObject>, StoreError> {
        if let HeadPlace::Row(table) = &self.head {
            return self.read_row(table).await;
        }
        let Some(object) = self.read_object().await? else { return Ok(None) };
        match copy::original(&object.bytes) {
            None => Ok(Some(object)),
            Some(original) => Err(self.copy_error(&original)),
        }
    }

    /// Replaces the head, in one attempt.
    pub(in crate::store) async fn swap_head(
        &self,
        expected: Option<&Version>,
        new: Vec<u8>,
    ) -> Result<Swap, StoreError> {
        match &self.head {
            HeadPlace::Object => self.write_object(expected, new).await,
            HeadPlace::Row(table) => self.swap_row(table, expected, &new).await,
            // Between the look and the write another publisher may write; that there is none is the user's promise.
            HeadPlace::Unconditional => match self.read_head().await?.map(|found| found.version).as_ref() == expected {
                true => self.write_object(expected, new).await,
                false => Ok(Swap::Refused),
            },
        }
    }

    /// True where conditional writes are what keeps publishers apart.
    pub(in crate::store) fn is_conditional(&self) -> bool {
        matches!(self.head, HeadPlace::Object)
    }

    /// Reads the object, whatever it is.
    async fn read_object(&self) -> Result<Option<HeadObject>, StoreError> {
        let key = self.control_key(HEAD);
        let clock = StoreClock::default();
        let fetch = || self.fetch(&key, Some(clock.clone()));
        let fetched = self.run_among(None, &self.counters.gets, "read", &key, fetch).await;
        let Fetched { bytes, tag, modified } = match fetched {
            Ok(fetched) => fetched,
            Err(given_up) if given_up.class == Class::NotFound => return Ok(None),
            Err(given_up) => return Err(given_up.error),
        };
        let version = match tag {
            Some(tag) if self.is_conditional() => Version::tag(tag),
            None if self.is_conditional() => {
                let reason = "the store gave it no ETag, so it can't be replaced safely";
                let failure = Failure::new(Class::Hopeless, reason);
                return Err(self.error("read", &key, &failure, failure.reason.clone()));
            }
            _ => Version::bytes(bytes.clone()),
        };
        // Both instants are the store's, so that this machine's clock doesn't matter.
        let known = clock.read().zip(modified);
        if known.is_none() {
            tracing::warn!(key, "the store's answer lacks Date or Last-Modified; a lease in it counts as fresh");
        }
        // A lease that nobody can tell the age of is held, and not free.
        let age = known.and_then(|(now, modified)| now.duration_since(modified).ok()).unwrap_or(Duration::ZERO);
        Ok(Some(HeadObject { bytes, version, age: Some(age) }))
    }

    /// Sends one write, once, unless nobody can have got it; with a condition if the store is trusted with it.
    async fn write_object(&self, expected: Option<&Version>, new: Vec<u8>) -> Result<Swap, StoreError> {
        let key = self.control_key(HEAD);
        let client = self.client().await;
        let new = Bytes::from(new);
        let send = || {
            let request = client
                .put_object()
                .bucket(self.bucket())
                .key(&key)
                .content_type(CONTENT_TYPE)
                .cache_control("no-store")
                .body(ByteStream::from(new.clone()));
            let request = match expected {
                _ if !self.is_conditional() => request,
                Some(version) => request.if_match(version.as_tag()),
                None => request.if_none_match("*"),
            };
            self.within(new.len(), request.send())
        };
        let mut attempts = Attempts::new(self.settings.timeout);
        let failure = loop {
            let asked = self.counters.puts.ask();
            attempts.begin();
            let answer = send().await;
            asked.ended(status(&answer));
            let failure = match answer.map(|output| output.e_tag) {
                Ok(_) if !self.is_conditional() => return Ok(Swap::Swapped(Version::bytes(new.to_vec()))),
                Ok(Some(tag)) => return Ok(Swap::Swapped(Version::tag(tag))),
                Ok(None) => Failure::new(Class::Transient, "the store gave no ETag for it"),
                Err(failure) => failure,
            };
            // Without a connection nothing was sent, so that the next is the first.
            let again = (failure.class == Class::Unreachable).then(|| attempts.wait_after(failure.class)).flatten();
            let Some(wait) = again else { break failure };
            tracing::debug!(key, attempt = attempts.count, reason = failure.reason, ?wait, "trying again");
            tokio::time::sleep(wait).await;
        };
        let error = self.error("replace", &key, &failure, attempts.told(&failure));
        match failure.class {
            // With If-Match, a head that is gone isn't the one that was expected.
            Class::Condition | Class::NotFound if self.is_conditional() => Ok(Swap::Refused),
            Class::Transient | Class::Throttled | Class::Conflict => {
                let patience = patience(failure.class, self.settings.timeout).unwrap_or_default();
                Ok(Swap::Unanswered { error, patience })
            }
            Class::Unsupported if self.is_conditional() => Err(StoreError {
                hint: Some(
                    "publishing needs conditional writes (If-Match and If-None-Match), which this store doesn't have: let \
                     a database keep the head, [store] head = \"database\""
                        .to_owned(),
                ),
                ..error
            }),
            _ => Err(error),
        }
    }
}
