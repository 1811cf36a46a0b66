//! One document: what its path shows, and whether its blob could be shown again.

use serde::Serialize;

use super::super::row::{DocumentRow, Row, blob_name};
use crate::snapshot::{Digest, gunzip};
use crate::store::{Attributes, Part, Shown, Store, StoreError};

/// Bodies that should be small are unpacked up to this size, to tell what they are.
const MAX_BODY_BYTES: u64 = 64 * 1024 * 1024;

/// What is wrong with what a stable path shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Flaw {
    /// Nothing is there.
    Missing,
    /// A document is there, but that of another release.
    Stale,
    /// Something is there that no run has written. In a directory also a file of the catalogue whose uncompressed twin
    /// is gone or differs.
    Corrupt,
    /// The right bytes are there with the wrong encoding, cache policy, tags or digest.
    Headers,
}

/// What is wrong with a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum BlobFlaw {
    /// It isn't there.
    Missing,
    /// Its bytes aren't those that its name tells.
    Corrupt,
    /// It is the same file as the document, and whoever changed the one in place has changed the other.
    Shared,
}

/// What was seen of a document.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// What is wrong with what the path shows.
    pub document: Option<Flaw>,
    /// What is wrong with the blob, as far as it was looked at.
    pub blob: Option<BlobFlaw>,
}

/// Looks at a document; a `deep` look reads it and its blob whatever the store tells.
pub async fn look(
    store: &Store,
    row: &Row,
    document: &DocumentRow,
    expected: &Attributes,
    deep: bool,
) -> Result<Seen, StoreError> {
    let blob = blob_name(&document.digest, &row.origin.run);
    let Some(shown) = store.head_public(&row.path, &blob).await? else {
        let blob = if deep { look_at_blob(store, row, document).await? } else { None };
        return Ok(Seen { document: Some(Flaw::Missing), blob });
    };
    let flaw = match deep || !is_right(&shown, document, expected) {
        true => read(store, row, document, &shown, expected).await?,
        false => headers_flaw(&shown, expected),
    };
    let blob = match (shown.is_blob, flaw) {
        (true, Some(Flaw::Stale | Flaw::Corrupt)) if shown.has_twin => Some(BlobFlaw::Shared),
        (false, _) if deep => look_at_blob(store, row, document).await?,
        _ => None,
    };
    Ok(Seen { document: flaw, blob })
}

/// Reads a blob and looks whether it can be shown.
pub async fn look_at_blob(store: &Store, row: &Row, document: &DocumentRow) -> Result<Option<BlobFlaw>, StoreError> {
    let Some(bytes) = store.read(&blob_name(&document.digest, &row.origin.run)).await? else {
        return Ok(Some(BlobFlaw::Missing));
    };
    Ok((body_digest(&bytes, document) != Some(document.digest)).then_some(BlobFlaw::Corrupt))
}

/// As far as can be told without reading it.
fn is_right(shown: &Shown, document: &DocumentRow, expected: &Attributes) -> bool {
    let is_known = match &shown.headers {
        Some(headers) => headers.digest() == Some(expected.digest.as_str()),
        None => shown.is_blob,
    };
    is_known && shown.has_twin && shown.size_bytes == u64::from(document.gzip_bytes)
}

fn headers_flaw(shown: &Shown, expected: &Attributes) -> Option<Flaw> {
    let headers = shown.headers.as_ref()?;
    let is_right = headers.serve(expected) && headers.digest() == Some(expected.digest.as_str());
    (!is_right).then_some(Flaw::Headers)
}

async fn read(
    store: &Store,
    row: &Row,
    document: &DocumentRow,
    shown: &Shown,
    expected: &Attributes,
) -> Result<Option<Flaw>, StoreError> {
    let Some(bytes) = store.read_public(&row.path).await? else { return Ok(Some(Flaw::Missing)) };
    match body_digest(&bytes, document) {
        Some(digest) if digest == document.digest && !shown.has_twin => Ok(Some(Flaw::Corrupt)),
        Some(digest) if digest == document.digest => Ok(headers_flaw(shown, expected)),
        Some(digest) if is_known(store, &digest).await? => Ok(Some(Flaw::Stale)),
        _ => Ok(Some(Flaw::Corrupt)),
    }
}

fn body_digest(bytes: &[u8], document: &DocumentRow) -> Option<Digest> {
    let limit = MAX_BODY_BYTES.max(document.size_bytes.into());
    gunzip(bytes, limit).ok().map(|body| Digest::of(&body))
}

/// True if some run has written a blob with this digest, so that a release showed it or was to.
async fn is_known(store: &Store, digest: &Digest) -> Result<bool, StoreError> {
    let digest = digest.to_string();
    let name = format!("blob/{}/{digest}-", &digest[..2]);
    let mut listing = store.listing(Part::Control(&name));
    while let Some(page) = listing.next().await? {
        if !page.objects.is_empty() {
            return Ok(true);
        }
    }
    Ok(false)
}
