//! What a store says of `head.json`, the one record that changes.

use std::time::Duration;

use super::StoreError;

/// The head as it was read.
#[derive(Debug, Clone)]
pub struct HeadObject {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// What a swap expects.
    pub version: Version,
    /// How long ago it was written, by the store's own clock; none where a lock and not its age tells whether the
    /// holder of the lease is still there.
    pub age: Option<Duration>,
}

/// What tells one content of the head from every other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version(Content);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Content {
    /// The bytes themselves: they never repeat.
    Bytes(Vec<u8>),
    /// An `ETag`.
    Tag(String),
}

/// What became of a swap.
#[derive(Debug)]
pub enum Swap {
    /// The head is now the new one.
    Swapped(Version),
    /// The head isn't the expected one, and was left as it is.
    Refused,
    /// Nobody knows: it may have been carried out, and it may still be.
    Unanswered {
        /// Why there is no answer, or none that tells.
        error: StoreError,
        /// For how long it is worth asking again what has become of it.
        patience: Duration,
    },
}

impl Version {
    /// The version of a store that compares bytes.
    pub(super) fn bytes(bytes: Vec<u8>) -> Version {
        Version(Content::Bytes(bytes))
    }

    /// The version of a store that compares `ETag`s.
    pub(super) fn tag(tag: String) -> Version {
        Version(Content::Tag(tag))
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Content::Bytes(bytes) => bytes,
            Content::Tag(tag) => tag.as_bytes(),
        }
    }

    pub(super) fn as_tag(&self) -> &str {
        match &self.0 {
            Content::Tag(tag) => tag,
            // Not a tag that any store gives, so the condition fails.
            Content::Bytes(_) => "\"\"",
        }
    }
}
