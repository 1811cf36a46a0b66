//! What a store tells of a stable path without handing the document over.

use std::collections::HashMap;

use tokio::task::coop::consume_budget;

use super::attributes::CONTENT_ENCODING;
use super::{Attributes, Store, StoreError};

/// What is at a stable path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Its bytes as they are stored.
    pub size_bytes: u64,
    /// What the store keeps beside the bytes; none in a directory.
    pub headers: Option<Headers>,
    /// True if it is the very file of the blob, so that both have the same bytes whatever they are. Only a directory has
    /// such files.
    pub is_blob: bool,
    /// False if a catalogue's file also lies uncompressed, as in a directory, and that file is gone or says something
    /// else than the blob.
    pub has_twin: bool,
}

/// What a store keeps beside the bytes of a document.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers {
    /// `Content-Encoding`.
    pub content_encoding: Option<String>,
    /// `Cache-Control`.
    pub cache_control: Option<String>,
    /// The user metadata by name, as [`Attributes::metadata`] names it.
    pub metadata: HashMap<String, String>,
}

impl Headers {
    /// The digest that whoever wrote it said it has.
    pub fn digest(&self) -> Option<&str> {
        self.metadata.get("digest").map(String::as_str)
    }

    /// True if a reader and the edge get the encoding, the cache policy and the tags that they should. Serial and instant
    /// tell which run wrote it, and not what it is.
    pub fn serve(&self, attributes: &Attributes) -> bool {
        self.content_encoding.as_deref() == Some(CONTENT_ENCODING)
            && self.cache_control.as_deref() == Some(attributes.cache_control.as_str())
            && self.metadata.get("cache-tag").map_or("", String::as_str) == attributes.cache_tags.join(",")
    }

    /// True if it is all there.
    pub fn keep(&self, attributes: &Attributes) -> bool {
        let kept = |(name, value): (&str, String)| self.metadata.get(name) == Some(&value);
        self.serve(attributes) && attributes.metadata().into_iter().all(kept)
    }
}

impl Store {
    /// Looks at a stable path that should show a blob; `None` if nothing is there.
    pub async fn head_public(&self, path: &str, blob: &str) -> Result<Option<Shown>, StoreError> {
        consume_budget().await;
        match self {
            Store::Directory(directory) => directory.head_public(path, blob),
            Store::S3(s3) => Box::pin(s3.head_public(path)).await,
            #[cfg(test)]
            Store::Faulty(faulty) => faulty.head_public(path).await,
        }
    }
}
