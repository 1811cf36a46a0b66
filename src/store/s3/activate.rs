//! Stable paths: a copy on the server with the headers of the policy, or the bytes once more.

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::MetadataDirective;
use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::failure::Class;
use super::{GivenUp, S3};
use crate::store::attributes::{CONTENT_ENCODING, CONTENT_TYPE};
use crate::store::{Attributes, Headers, Shown, StoreError};

/// The source of a copy stands in a header, where everything else means something to some store.
const SOURCE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

impl S3 {
    pub(in crate::store) async fn activate(
        &self,
        path: &str,
        blob: &str,
        attributes: &Attributes,
    ) -> Result<(), StoreError> {
        let (key, blob) = (self.public_key(path)?, self.control_key(blob));
        let mut done = false;
        let first = async || {
            let works = self.first_copy(&key, &blob, attributes).await;
            done = matches!(works, Ok(true));
            works
        };
        let copies = *self.copies.get_or_try_init(first).await?;
        match (done, copies) {
            (true, _) => Ok(()),
            (_, true) => self.copy(&key, &blob, attributes).await.map_err(|given_up| given_up.error),
            (_, false) => self.rewrite(&key, &blob, attributes).await,
        }
    }

    /// Copies, and looks whether the copy is what it should be: some stores answer 501, some drop the headers.
    async fn first_copy(&self, key: &str, blob: &str, attributes: &Attributes) -> Result<bool, StoreError> {
        match self.copy(key, blob, attributes).await {
            Ok(()) if self.settings.endpoint.is_none() => Ok(true),
            Ok(()) => self.has_headers(key, attributes).await,
            Err(given_up) if given_up.class == Class::Unsupported => {
                tracing::info!("the store can't copy; documents are written twice instead");
                Ok(false)
            }
            Err(given_up) => Err(given_up.error),
        }
    }

    pub(super) async fn copy(&self, key: &str, blob: &str, attributes: &Attributes) -> Result<(), GivenUp> {
        let client = self.client().await;
        let source = format!("{}/{}", self.bucket(), utf8_percent_encode(blob, SOURCE));
        let copy = || {
            let mut request = client
                .copy_object()
                .bucket(self.bucket())
                .key(key)
                .copy_source(&source)
                .metadata_directive(MetadataDirective::Replace)
                .content_type(CONTENT_TYPE)
                .content_encoding(CONTENT_ENCODING)
                .cache_control(&attributes.cache_control);
            for (name, value) in attributes.metadata() {
                request = request.metadata(name, value);
            }
            self.within(0, request.send())
        };
        self.run(&self.counters.copies, "show", key, copy).await.map(drop)
    }

    /// Whether an object came out of a copy with its headers and metadata.
    async fn has_headers(&self, key: &str, attributes: &Attributes) -> Result<bool, StoreError> {
        let kept = match self.shown(key).await {
            Ok(shown) => shown.headers.is_some_and(|headers| headers.keep(attributes)),
            // Who may write but not read can't find out.
            Err(given_up) if given_up.class == Class::Refused => return Ok(true),
            Err(given_up) => return Err(given_up.error),
        };
        if !kept {
            tracing::info!(key, "the store doesn't keep the headers of a copy; documents are written twice instead");
        }
        Ok(kept)
    }

    pub(in crate::store) async fn head_public(&self, path: &str) -> Result<Option<Shown>, StoreError> {
        match self.shown(&self.public_key(path)?).await {
            Ok(shown) => Ok(Some(shown)),
            Err(given_up) if given_up.class == Class::NotFound => Ok(None),
            Err(given_up) => Err(given_up.error),
        }
    }

    /// What the store tells of an object without its bytes.
    async fn shown(&self, key: &str) -> Result<Shown, GivenUp> {
        let client = self.client().await;
        let ask = || self.within(0, client.head_object().bucket(self.bucket()).key(key).send());
        let head = self.run(&self.counters.heads, "look at", key, ask).await?;
        let size_bytes = head.content_length.and_then(|length| u64::try_from(length).ok()).unwrap_or_default();
        let headers = Headers {
            content_encoding: head.content_encoding,
            cache_control: head.cache_control,
            metadata: head.metadata.unwrap_or_default(),
        };
        Ok(Shown { size_bytes, headers: Some(headers), is_blob: false, has_twin: true })
    }

    /// Reads the blob and writes it to the path.
    async fn rewrite(&self, key: &str, blob: &str, attributes: &Attributes) -> Result<(), StoreError> {
        let fetched = self.run(&self.counters.gets, "read", blob, || self.fetch(blob, None)).await;
        let bytes = Bytes::from(fetched.map_err(|given_up| given_up.error)?.bytes);
        let client = self.client().await;
        let put = || {
            let mut request = client
                .put_object()
                .bucket(self.bucket())
                .key(key)
                .content_type(CONTENT_TYPE)
                .content_encoding(CONTENT_ENCODING)
                .cache_control(&attributes.cache_control)
                .body(ByteStream::from(bytes.clone()));
            for (name, value) in attributes.metadata() {
                request = request.metadata(name, value);
            }
            self.within(bytes.len(), request.send())
        };
        self.run(&self.counters.puts, "show", key, put).await.map(drop).map_err(|given_up| given_up.error)
    }
}
