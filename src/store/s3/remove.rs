//! Removing many paths: a thousand a request, and each of them may fail on its own in an answer of 200.

use std::sync::atomic::Ordering;

use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use futures_util::stream::{self, StreamExt as _};

use super::failure::{Class, Failure};
use super::{GivenUp, S3};
use crate::store::StoreError;

/// The most objects that one request may delete.
const BATCH: usize = 1000;
/// How often the objects of a batch are asked for again that the store couldn't delete at once.
const ROUNDS: usize = 5;

impl S3 {
    pub(in crate::store) async fn remove(&self, paths: &[&str]) -> Vec<(String, StoreError)> {
        let mut failed = Vec::new();
        let mut keys = Vec::new();
        for path in paths {
            match self.public_key(path) {
                Ok(key) => keys.push(((*path).to_owned(), key)),
                Err(error) => failed.push(((*path).to_owned(), error)),
            }
        }
        failed.extend(self.remove_keys(keys).await);
        failed
    }

    pub(in crate::store) async fn remove_control(&self, names: &[&str]) -> Vec<(String, StoreError)> {
        self.remove_keys(names.iter().map(|name| ((*name).to_owned(), self.control_key(name))).collect()).await
    }

    /// Removes objects, each given by what it is called in an answer and by its key.
    pub(super) async fn remove_keys(&self, keys: Vec<(String, String)>) -> Vec<(String, StoreError)> {
        let mut failed = Vec::new();
        for batch in keys.chunks(BATCH) {
            if self.takes_bulk_deletes() {
                failed.extend(self.remove_batch(batch.to_vec()).await);
            } else {
                failed.extend(self.remove_each(batch).await);
            }
        }
        failed
    }

    async fn remove_batch(&self, mut batch: Vec<(String, String)>) -> Vec<(String, StoreError)> {
        let mut failed = Vec::new();
        for round in 1..=ROUNDS {
            let errors = match self.delete_objects(&batch).await {
                Ok(errors) => errors,
                // Some stores don't have it, or want a checksum of another kind.
                Err(given_up) if given_up.is_about_the_request() => {
                    self.deletes_one_by_one.store(true, Ordering::Relaxed);
                    failed.extend(self.remove_each(&batch).await);
                    return failed;
                }
                Err(given_up) => {
                    failed.extend(batch.into_iter().map(|(path, _)| (path, given_up.error.clone())));
                    return failed;
                }
            };
            batch.retain(|(path, key)| {
                // An error that names no key may be about any of them, so it is about all: none counts as gone by mistake.
                let is_about = |failed: &Option<String>| failed.as_ref().is_none_or(|failed| failed == key);
                let Some((_, failure)) = errors.iter().find(|(failed, _)| is_about(failed)) else { return false };
                let again = matches!(failure.class, Class::Transient | Class::Throttled) && round < ROUNDS;
                if !again && failure.class != Class::NotFound {
                    failed.push((path.clone(), self.error("remove", key, failure, failure.reason.clone())));
                }
                again
            });
            if batch.is_empty() {
                return failed;
            }
            tokio::time::sleep(std::time::Duration::from_millis(200) * u32::try_from(round).unwrap_or(1)).await;
        }
        failed
    }

    /// Deletes at most a thousand objects; the keys that are still there, and why, as far as the store names them.
    pub(super) async fn delete_objects(
        &self,
        batch: &[(String, String)],
    ) -> Result<Vec<(Option<String>, Failure)>, GivenUp> {
        let client = self.client().await;
        let identifiers = batch.iter().filter_map(|(_, key)| ObjectIdentifier::builder().key(key).build().ok());
        let delete = Delete::builder().set_objects(Some(identifiers.collect())).quiet(true).build();
        let delete = delete.map_err(|error| self.given_up(batch, &Failure::new(Class::Refused, error.to_string())))?;
        let send = || {
            let request = client.delete_objects().bucket(self.bucket()).delete(delete.clone());
            self.within(0, request.send())
        };
        let name = batch.first().map_or("", |(_, key)| key);
        let output = self.run(&self.counters.deletes, "remove", name, send).await?;
        let errors = output.errors.unwrap_or_default().into_iter();
        Ok(errors
            .map(|error| {
                let failure = Failure::of_key(error.code().unwrap_or_default(), error.message().unwrap_or_default());
                (error.key, failure)
            })
            .collect())
    }

    async fn remove_each(&self, batch: &[(String, String)]) -> Vec<(String, StoreError)> {
        let removed = stream::iter(batch).map(|(path, key)| self.remove_one(path, key));
        removed.buffer_unordered(self.in_flight().max(1)).filter_map(std::future::ready).collect().await
    }

    async fn remove_one(&self, path: &str, key: &str) -> Option<(String, StoreError)> {
        let client = self.client().await;
        let send = || self.within(0, client.delete_object().bucket(self.bucket()).key(key).send());
        match self.run(&self.counters.deletes, "remove", key, send).await {
            Err(given_up) if given_up.class != Class::NotFound => Some((path.to_owned(), given_up.error)),
            _ => None,
        }
    }

    fn given_up(&self, batch: &[(String, String)], failure: &Failure) -> GivenUp {
        let key = batch.first().map_or("", |(_, key)| key);
        let error = self.error("remove", key, failure, failure.reason.clone());
        GivenUp { class: failure.class, code: failure.code.clone(), error }
    }
}

impl GivenUp {
    /// An error about how the deletes were asked for, and not about what was asked.
    pub(super) fn is_about_the_request(&self) -> bool {
        self.class == Class::Unsupported
            || matches!(
                self.code.as_str(),
                "MissingContentMD5"
                    | "InvalidDigest"
                    | "InvalidRequest"
                    | "MalformedXML"
                    | "InvalidArgument"
                    | "MissingContentLength"
            )
    }
}
