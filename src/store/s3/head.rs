//! `head.json` on S3: one conditional request a swap, and what its answer means.
//!
//! Its requests are few and wait for no permit: a lease is renewed while the activation keeps every permit there is.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_sdk_s3::operation::put_object::PutObjectOutput;
use aws_sdk_s3::primitives::{ByteStream, DateTime, DateTimeFormat};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::BeforeDeserializationInterceptorContextRef;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;
use bytes::Bytes;

use super::failure::{Class, Failure};
use super::retry::{Attempts, patience};
use super::{Fetched, S3};
use crate::store::attributes::CONTENT_TYPE;
use crate::store::head::{HeadObject, Swap, Version};
use crate::store::{StoreError, count};

/// The name of the head among the records.
const HEAD: &str = "head.json";

/// Takes down the store's own clock as an answer passes by: the SDK's output doesn't have it.
#[derive(Debug, Clone, Default)]
pub struct StoreClock(Arc<Mutex<Option<String>>>);

impl Intercept for StoreClock {
    fn name(&self) -> &'static str {
        "StoreClock"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context.response().headers().get("date").map(str::to_owned);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = date;
        Ok(())
    }
}

impl StoreClock {
    /// What the store's clock said.
    pub fn read(&self) -> Option<SystemTime> {
        let text = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        DateTime::from_str(&text, DateTimeFormat::HttpDate).ok()?.try_into().ok()
    }
}

impl S3 {
    pub(in crate::store) async fn read_head(&self) -> Result<Option<HeadObject>, StoreError> {
        let key = self.control_key(HEAD);
        let clock = StoreClock::default();
        let fetch = || self.fetch(&key, Some(clock.clone()));
        let fetched = self.run_among(None, &self.counters.gets, "read", &key, fetch).await;
        let Fetched { bytes, tag, modified } = match fetched {
            Ok(fetched) => fetched,
            Err(given_up) if given_up.class == Class::NotFound => return Ok(None),
            Err(given_up) => return Err(given_up.error),
        };
        let Some(tag) = tag else {
            let failure = Failure::new(Class::Hopeless, "the store gave it no ETag, so it can't be replaced safely");
            return Err(self.error("read", &key, &failure, failure.reason.clone()));
        };
        // Both instants are the store's, so that this machine's clock doesn't matter.
        let known = clock.read().zip(modified);
        if known.is_none() {
            tracing::warn!(key, "the store's answer lacks Date or Last-Modified; a lease in it counts as fresh");
        }
        // A lease that nobody can tell the age of is held, and not free.
        let age = known.and_then(|(now, modified)| now.duration_since(modified).ok()).unwrap_or(Duration::ZERO);
        Ok(Some(HeadObject { bytes, version: Version::tag(tag), age: Some(age) }))
    }

    /// Sends one conditional write, once, unless nobody can have got it.
    pub(in crate::store) async fn swap_head(
        &self,
        expected: Option<&Version>,
        new: Vec<u8>,
    ) -> Result<Swap, StoreError> {
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
                Some(version) => request.if_match(version.as_tag()),
                None => request.if_none_match("*"),
            };
            self.within(new.len(), request.send())
        };
        let mut attempts = Attempts::new(self.settings.timeout);
        let failure = loop {
            count(&self.counters.puts);
            attempts.begin();
            let failure = match send().await {
                Ok(PutObjectOutput { e_tag: Some(tag), .. }) => return Ok(Swap::Swapped(Version::tag(tag))),
                Ok(_) => Failure::new(Class::Transient, "the store gave no ETag for it"),
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
            Class::Condition | Class::NotFound => Ok(Swap::Refused),
            Class::Transient | Class::Throttled | Class::Conflict => {
                let patience = patience(failure.class, self.settings.timeout).unwrap_or_default();
                Ok(Swap::Unanswered { error, patience })
            }
            Class::Unsupported => Err(StoreError {
                hint: Some(
                    "publishing needs conditional writes (If-Match and If-None-Match), which this store doesn't have"
                        .to_owned(),
                ),
                ..error
            }),
            Class::Unreachable | Class::Refused | Class::Hopeless => Err(error),
        }
    }
}
