//! What a store keeps beside a document's bytes, for readers and for whoever looks at the bucket.

/// The attributes of a document at its stable path.
///
/// A store of objects keeps `application/json` and `gzip` with every one of them, `cache_control` as the header of that
/// name, and the rest as user metadata, which S3 answers as `x-amz-meta-…`: `cache-tag`, `digest`, `serial` and `as-of`.
/// S3 can't answer with a header of one's own, so the edge makes one of the tags: CloudFront is told the name
/// `x-amz-meta-cache-tag` in its cache-tag configuration, Cloudflare copies it into `Cache-Tag` by a response-header rule,
/// Fastly into `Surrogate-Key` in VCL (with spaces for the commas). A directory keeps none: there the web server's
/// configuration says what headers its files have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes {
    /// `Cache-Control`.
    pub cache_control: String,
    /// Cache tags, the values of the key filled in.
    pub cache_tags: Vec<String>,
    /// SHA-256 of the body, in hex.
    pub digest: String,
    /// The serial of the release that is being activated.
    pub serial: u64,
    /// The instant whose data the document shows, RFC 3339.
    pub as_of: String,
}

/// What every document is.
pub const CONTENT_TYPE: &str = "application/json";
/// How every document is encoded.
pub const CONTENT_ENCODING: &str = "gzip";

impl Attributes {
    /// The user metadata, name and value, with names that every proxy lets through.
    pub fn metadata(&self) -> Vec<(&'static str, String)> {
        let mut metadata =
            vec![("digest", self.digest.clone()), ("serial", self.serial.to_string()), ("as-of", self.as_of.clone())];
        if !self.cache_tags.is_empty() {
            metadata.push(("cache-tag", self.cache_tags.join(",")));
        }
        metadata
    }
}
