//! What a store says of the head, the one record that changes.

use std::time::Duration;

use super::StoreError;
use crate::database::RowVersion;

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
    /// That of a row; none where there is no row yet.
    Row(Option<RowVersion>),
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

    /// The version of a row in a database; none for the head of a store that has no row yet.
    pub(super) fn row(version: Option<RowVersion>) -> Version {
        Version(Content::Row(version))
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Content::Bytes(bytes) => bytes,
            Content::Tag(tag) => tag.as_bytes(),
            // Not what any head says, so the comparison fails.
            Content::Row(_) => &[],
        }
    }

    pub(super) fn as_tag(&self) -> &str {
        match &self.0 {
            Content::Tag(tag) => tag,
            // Not a tag that any store gives, so the condition fails.
            Content::Bytes(_) | Content::Row(_) => "\"\"",
        }
    }

    /// The version of a row; none where there is no row yet, so that only a first one can be written.
    pub(super) fn as_row(&self) -> Option<RowVersion> {
        match &self.0 {
            Content::Row(version) => *version,
            Content::Bytes(_) | Content::Tag(_) => None,
        }
    }
}
