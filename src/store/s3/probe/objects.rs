//! What comes back of an object that was written as a document is.

use std::time::SystemTime;

use bytes::Bytes;

use super::super::failure::Failure;
use super::trial::{Headers, Listed, Object, Trial, body};
use crate::snapshot::{Digest, Gzip};
use crate::store::attributes::{Attributes, CONTENT_ENCODING};
use crate::store::probe::{Check, Subject, Verdict};

const SAME_BYTES: Subject = Subject { name: "same-bytes", means: "readers get the bytes that were published" };
const ENCODING: Subject = Subject { name: "content-encoding", means: "browsers unpack documents" };
const CACHE_CONTROL: Subject =
    Subject { name: "cache-control", means: "browsers and the CDN keep documents as long as the template says" };
const METADATA: Subject = Subject { name: "metadata", means: "cache tags and digests stand at the documents" };
const ETAG: Subject = Subject { name: "etag", means: "a commit names the head that it was made from" };
pub const READ_AFTER_WRITE: Subject =
    Subject { name: "read-after-write", means: "what one publisher wrote, the next one reads" };
pub const ODD_KEYS: Subject =
    Subject { name: "odd-keys", means: "a prefix in [store] url may hold spaces, +, and letters that aren't ASCII" };

/// How often an object is made, replaced and removed again.
const CYCLES: usize = 3;
/// Names that some stores, and some signatures, take for others.
const ODD: [&str; 4] = ["a b.json", "a+b.json", "a%20b.json", "苏州 ü.json"];

/// Attributes that differ from release to release.
pub fn attributes(bytes: &[u8], serial: u64) -> Attributes {
    Attributes {
        cache_control: format!("public, max-age=60, s-maxage=8640{serial}, stale-while-revalidate=3600"),
        cache_tags: vec!["probe".to_owned(), "probe:one".to_owned()],
        digest: Digest::of(bytes).to_string(),
        serial,
        as_of: "2026-01-01T00:00:00.000000Z".to_owned(),
    }
}

/// A gzipped body.
pub fn packed(what: &str) -> Bytes {
    Bytes::from(Gzip::default().compress(&body(what)))
}

/// A document, written and asked for.
pub struct Document {
    bytes: Bytes,
    attributes: Attributes,
    written: Option<String>,
    read: Object,
    head: Headers,
    /// None where it isn't listed, or where nobody may list.
    listed: Option<Listed>,
}

impl Document {
    /// Writes one and asks for it in every way.
    pub async fn write(trial: &Trial<'_>) -> Result<Document, Failure> {
        let (key, bytes) = (trial.key("document.json"), packed("document"));
        let attributes = attributes(&bytes, 1);
        let written = trial.put(&key, &bytes, Some(&attributes)).await?;
        let gone =
            || Failure::new(super::super::failure::Class::NotFound, "an object that was just written isn't there");
        let read = trial.get(&key).await?.ok_or_else(gone)?;
        let head = trial.head(&key).await?;
        // Who may not list can still be told of the rest.
        let listed = trial.list(&key).await.unwrap_or_default().into_iter().find(|one| one.key == key);
        Ok(Document { bytes, attributes, written, read, head, listed })
    }

    /// When the store says that it was written, and what time it was then by the store's clock.
    pub fn dates(&self) -> (Option<SystemTime>, Option<SystemTime>) {
        (self.read.modified, self.read.date)
    }

    /// What came back of it.
    pub fn checks(&self) -> Vec<Check> {
        vec![self.same_bytes(), self.encoding(), self.cache_control(), self.metadata(), self.etag()]
    }

    fn answers(&self) -> [(&'static str, &Headers); 2] {
        [("GET", &self.read.headers), ("HEAD", &self.head)]
    }

    fn same_bytes(&self) -> Check {
        let (sent, came) = (&self.bytes[..], &self.read.bytes[..]);
        if sent == came {
            return SAME_BYTES.ok(format!("{} bytes, gzipped", sent.len()));
        }
        let detail = format!("{} gzipped bytes were written, and {} others came back", sent.len(), came.len());
        SAME_BYTES.broken(detail).hint("does a proxy, or the store itself, unpack or convert objects? switch that off")
    }

    fn encoding(&self) -> Check {
        for (method, headers) in self.answers() {
            let encoding = headers.encoding.as_deref().unwrap_or_default();
            if encoding != CONTENT_ENCODING {
                let detail = format!("{method} answers Content-Encoding `{encoding}` where `gzip` was written");
                return ENCODING.broken(detail).hint(
                    "browsers could not read the documents; aws-chunked in it is a known fault of older gateways: \
                     update the store, or what stands in front of it",
                );
            }
        }
        ENCODING.ok("exactly gzip")
    }

    fn cache_control(&self) -> Check {
        let expected = Some(self.attributes.cache_control.as_str());
        match self.answers().iter().find(|(_, headers)| headers.cache_control.as_deref() != expected) {
            None => CACHE_CONTROL.ok("as written"),
            Some((method, headers)) => {
                let came = headers.cache_control.as_deref().unwrap_or_default();
                CACHE_CONTROL
                    .check(Verdict::Missing, format!("{method} answers Cache-Control `{came}`"))
                    .hint("set the times at the CDN; max_age and edge_ttl of the templates have no effect")
            }
        }
    }

    fn metadata(&self) -> Check {
        for (method, headers) in self.answers() {
            for (name, value) in self.attributes.metadata() {
                if headers.metadata.get(name) != Some(&value) {
                    return METADATA
                        .check(Verdict::Missing, format!("{method} answers without x-amz-meta-{name}, or with another"))
                        .hint("documents are written once more instead of copied, and can't be purged by tag");
                }
            }
        }
        METADATA.ok("as written")
    }

    fn etag(&self) -> Check {
        let Some(written) = &self.written else { return ETAG.broken("PUT answers without an ETag") };
        if let Some((method, headers)) =
            self.answers().iter().find(|(_, headers)| headers.tag.as_ref() != Some(written))
        {
            let came = headers.tag.as_deref().unwrap_or("none");
            return ETAG.broken(format!("PUT answers the ETag {written}, and {method} {came}"));
        }
        match &self.listed {
            // Not listed is another check's affair.
            None => ETAG.ok("the same in PUT, GET and HEAD"),
            Some(listed) if listed.tag.as_ref() == Some(written) => ETAG.ok("the same in PUT, GET, HEAD and LIST"),
            Some(listed) => {
                let came = listed.tag.as_deref().unwrap_or("none");
                ETAG.check(Verdict::Warning, format!("PUT answers the ETag {written}, and LIST {came}"))
                    .hint("tintype itself doesn't go by a listing's ETags; programs that sync the bucket do")
            }
        }
    }
}

/// Absent, written, replaced, removed: each read at once and seen.
pub async fn read_after_write(trial: &Trial<'_>, may_delete: bool) -> Result<Check, Failure> {
    const HINT: &str = "is a cache or a replica in front of the store? [store] endpoint must name the store itself";
    for cycle in 1..=CYCLES {
        let key = trial.key(&format!("cycle-{cycle}.json"));
        let stale = |after: &str| Ok(READ_AFTER_WRITE.broken(format!("an old answer came after {after}")).hint(HINT));
        if trial.bytes(&key).await?.is_some() {
            return stale("nothing was written");
        }
        for version in ["a first write", "a second write"] {
            let bytes = body(&format!("{version} {cycle}"));
            trial.put(&key, &bytes, None).await?;
            if trial.bytes(&key).await?.as_deref() != Some(&bytes[..]) {
                return stale(version);
            }
        }
        if may_delete {
            trial.delete(&key).await?;
            if trial.bytes(&key).await?.is_some() {
                return stale("a removal");
            }
        }
    }
    Ok(READ_AFTER_WRITE.ok(format!("{CYCLES} objects made, replaced and removed, and each time seen at once")))
}

/// Objects with odd names are written, read and listed under the names that they were given.
pub async fn odd_keys(trial: &Trial<'_>) -> Result<Check, Failure> {
    let folder = format!("{}odd/", trial.folder());
    let odd = |what: String| {
        ODD_KEYS
            .check(Verdict::Warning, what)
            .hint("keep to a-z, 0-9, - and / in [store] url; object paths hold nothing else anyway")
    };
    for name in ODD {
        let (key, bytes) = (trial.key(&format!("odd/{name}")), body(name));
        let came = match trial.put(&key, &bytes, None).await {
            Ok(_) => trial.bytes(&key).await,
            Err(failure) => Err(failure),
        };
        match came {
            Ok(Some(came)) if came == bytes[..] => {}
            Ok(_) => return Ok(odd(format!("`{name}` was written, and can't be read"))),
            Err(failure) => return Ok(odd(format!("`{name}`: {}", failure.reason))),
        }
    }
    if let Ok(listed) = trial.list(&folder).await {
        let is_listed = |name: &&&str| listed.iter().any(|one| one.key == format!("{folder}{name}"));
        if let Some(name) = ODD.iter().find(|name| !is_listed(name)) {
            return Ok(odd(format!("`{name}` was written, and is listed under another name")));
        }
    }
    Ok(ODD_KEYS.ok(ODD.map(|name| format!("`{name}`")).join(", ")))
}
