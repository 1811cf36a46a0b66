//! A document as a reader gets it from the edge: asked for with gzip, as every browser does, and unpacked as its headers
//! say.
//!
//! Nothing in the request asks the edge for a fresh copy. What the others get is what is to be seen.

use std::time::Duration;

use url::Url;

use crate::http::{self, Answer};
use crate::snapshot::{Digest, gunzip};

/// The longest wait for an answer and its body. An edge that has to ask its origin across an ocean takes a second or two.
const TIMEOUT: Duration = Duration::from_secs(15);
/// How all gzip begins.
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// What came.
#[derive(Debug)]
pub struct Fetched {
    /// Status and headers; its bytes are as they came.
    pub answer: Answer,
    /// The body that a reader sees.
    pub body: Body,
}

/// The body that a reader sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// Bytes with this digest.
    Is(Digest),
    /// More bytes than it may have.
    TooLong,
    /// The headers say something else of its encoding than it is, so that no reader can use it.
    Garbled,
}

/// The URL of an object path.
pub fn document_url(base: &Url, path: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}{path}", base.path()));
    url
}

/// Fetches a URL as a browser would that has stored nothing. A body of more than `max_bytes`, unpacked, is cut off. An
/// error is a reason, as a fragment.
pub async fn read(url: &Url, max_bytes: u32) -> Result<Fetched, String> {
    read_with(url, max_bytes, &[("accept-encoding", "gzip")]).await
}

/// The same with other headers.
pub async fn read_with(url: &Url, max_bytes: u32, headers: &[(&str, &str)]) -> Result<Fetched, String> {
    let answer = http::get(url, headers, TIMEOUT, room(max_bytes)).await?;
    let body = body(&answer, max_bytes);
    Ok(Fetched { answer, body })
}

/// Gzip makes what can't be compressed a little longer; one byte more tells that there are more.
fn room(max_bytes: u32) -> usize {
    let most = u64::from(max_bytes);
    usize::try_from(most + most / 1000 + 128).unwrap_or(usize::MAX)
}

/// Unpacks a body as its headers say.
pub fn body(answer: &Answer, max_bytes: u32) -> Body {
    let is_cut = answer.bytes.len() >= room(max_bytes);
    let encoding = answer.header("content-encoding").unwrap_or_default().trim().to_ascii_lowercase();
    match encoding.as_str() {
        _ if is_cut => Body::TooLong,
        "" | "identity" if answer.bytes.starts_with(&GZIP_MAGIC) => Body::Garbled,
        "" | "identity" => sized(&answer.bytes, max_bytes),
        "gzip" | "x-gzip" => match gunzip(&answer.bytes, u64::from(max_bytes)) {
            Ok(body) if body.starts_with(&GZIP_MAGIC) => Body::Garbled,
            Ok(body) => sized(&body, max_bytes),
            // It is of another kind than gzip's own complaints.
            Err(error) if error.kind() == std::io::ErrorKind::Other => Body::TooLong,
            Err(_) => Body::Garbled,
        },
        _ => Body::Garbled,
    }
}

fn sized(body: &[u8], max_bytes: u32) -> Body {
    let fits = u64::try_from(body.len()).is_ok_and(|length| length <= u64::from(max_bytes));
    if fits { Body::Is(Digest::of(body)) } else { Body::TooLong }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::Gzip;

    fn seen(encoding: Option<&str>, bytes: Vec<u8>, max_bytes: u32) -> Body {
        let headers = encoding.map(|encoding| ("content-encoding".to_owned(), encoding.to_owned()));
        body(&Answer { status: 200, headers: headers.into_iter().collect(), bytes }, max_bytes)
    }

    #[test]
    fn a_body_is_what_its_headers_make_of_it() {
        let plain = br#"{"rows":[]}"#.to_vec();
        let packed = Gzip::default().compress(&plain);
        let (same, most) = (Body::Is(Digest::of(&plain)), 11);
        assert_eq!(seen(None, plain.clone(), most), same);
        assert_eq!(seen(Some("identity"), plain.clone(), most), same);
        assert_eq!(seen(Some("GZIP"), packed.clone(), most), same);
        assert_eq!(seen(None, packed.clone(), 100), Body::Garbled, "the header was lost");
        assert_eq!(seen(Some("gzip"), plain.clone(), most), Body::Garbled, "somebody unpacked it and kept the header");
        assert_eq!(seen(Some("gzip"), Gzip::default().compress(&packed), 100), Body::Garbled, "packed twice");
        assert_eq!(seen(Some("br"), packed, 100), Body::Garbled);
    }

    #[test]
    fn what_is_longer_than_it_may_be_is_another_document() {
        let plain = vec![b'x'; 1000];
        assert_eq!(seen(None, plain.clone(), 999), Body::TooLong);
        assert_eq!(seen(Some("gzip"), Gzip::default().compress(&plain), 999), Body::TooLong);
        assert_eq!(seen(None, vec![b'x'; 5000], 999), Body::TooLong, "cut off by whoever fetched it");
    }

    #[test]
    fn a_path_below_the_base() {
        let url = |base: &str, path| String::from(document_url(&Url::parse(base).unwrap(), path));
        assert_eq!(url("https://c.example/", "a/b.json"), "https://c.example/a/b.json");
        assert_eq!(url("https://c.example/maps/", "a b/c?.json"), "https://c.example/maps/a%20b/c%3F.json");
    }
}
