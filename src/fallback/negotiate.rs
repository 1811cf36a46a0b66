//! The two negotiations of RFC 9110 that a static document takes part in: `Accept-Encoding` and `If-None-Match`.

use hyper::HeaderMap;
use hyper::header::{self, HeaderName};

use crate::snapshot::Digest;

/// Whether gzip is the better answer: it is accepted, and identity isn't asked for more strongly. Without the header it is
/// not, since simple clients that send none rarely decompress.
pub fn accepts_gzip(headers: &HeaderMap) -> bool {
    let (mut gzip, mut old_gzip, mut identity, mut any) = (None, None, None, None);
    for entry in entries(headers, &header::ACCEPT_ENCODING) {
        let mut parts = entry.split(';');
        let coding = parts.next().unwrap_or_default().trim().to_ascii_lowercase();
        // A weight that cannot be read takes its entry out, as if the client had not written it.
        let Some(weight) = weight(parts) else {
            continue;
        };
        match coding.as_str() {
            "gzip" => gzip = Some(weight),
            "x-gzip" => old_gzip = Some(weight),
            "identity" => identity = Some(weight),
            "*" => any = Some(weight),
            _ => {}
        }
    }
    // The old name says nothing where the coding's own name was given.
    match gzip.or(old_gzip).or(any) {
        Some(gzip) => gzip > 0 && gzip >= identity.unwrap_or(0),
        // Who refuses the plain body and names no other coding gets the only one that there is.
        None => identity == Some(0),
    }
}

/// The tag of a body with this digest, as it is sent gzipped or plain.
pub fn etag(digest: &Digest, is_gzip: bool) -> String {
    let (text, ending) = (digest.to_string(), if is_gzip { "-gz" } else { "" });
    format!("\"{}{ending}\"", &text[..32])
}

/// Whether the client holds the body with this digest.
pub fn holds(headers: &HeaderMap, digest: &Digest) -> bool {
    headers.contains_key(header::IF_NONE_MATCH) && none_match(headers, &etag(digest, accepts_gzip(headers)))
}

/// Whether the client holds what `etag` names: weak comparison, as RFC 9110 asks for `If-None-Match`.
pub fn none_match(headers: &HeaderMap, etag: &str) -> bool {
    entries(headers, &header::IF_NONE_MATCH).any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

/// The entries of a header that is a list, over all its lines. Our own tags hold no comma, so that a split cannot make one.
fn entries<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim)
}

/// The `q` parameter in thousandths; 1000 without one, none if it isn't a weight.
fn weight<'a>(mut parameters: impl Iterator<Item = &'a str>) -> Option<u16> {
    let q = parameters.find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then(|| value.trim())
    });
    let Some(q) = q else { return Some(1000) };
    let (whole, fraction) = q.split_once('.').unwrap_or((q, ""));
    let digits = fraction.len() <= 3 && fraction.bytes().all(|byte| byte.is_ascii_digit());
    if !digits || !matches!(whole, "0" | "1") {
        return None;
    }
    let thousandths: u16 = format!("{whole}{fraction:0<3}").parse().ok()?;
    (thousandths <= 1000).then_some(thousandths)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &HeaderName, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name.clone(), value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn gzip_by_weight() {
        let cases: [(&[&str], bool); 25] = [
            (&[], false),
            (&[""], false),
            (&["gzip"], true),
            (&["GZIP"], true),
            (&["x-gzip"], true),
            (&["gzip, deflate, br, zstd"], true),
            (&["br", "gzip;q=0.1"], true),
            (&["gzip;q=0"], false),
            (&["gzip ; Q=0.000"], false),
            (&["gzip;q=0, *"], false),
            (&["*"], true),
            (&["*;q=0"], false),
            (&["identity"], false),
            (&["identity;q=0, *"], true),
            (&["identity, gzip"], true),
            (&["identity;q=1, gzip;q=0.5"], false),
            (&["identity;q=0.5, gzip;q=1.000"], true),
            (&["gzip;q=2"], false),
            (&["gzip;q=nonsense"], false),
            (&["deflate, br"], false),
            (&["gzip;q=0, x-gzip"], false),
            (&["x-gzip, gzip;q=0"], false),
            (&["identity;q=0"], true),
            (&["identity;q=0, br"], true),
            (&["identity;q=0, gzip;q=0"], false),
        ];
        for (values, wanted) in cases {
            assert_eq!(accepts_gzip(&headers(&header::ACCEPT_ENCODING, values)), wanted, "{values:?}");
        }
    }

    #[test]
    fn tags_by_weak_comparison() {
        let cases: [(&[&str], bool); 9] = [
            (&[], false),
            (&["*"], true),
            (&["\"a\""], true),
            (&["W/\"a\""], true),
            (&["\"b\", \"a\""], true),
            (&["\"b\"", "\"a\""], true),
            (&["\"b\""], false),
            (&["a"], false),
            (&["\"a-gzip\""], false),
        ];
        for (values, wanted) in cases {
            assert_eq!(none_match(&headers(&header::IF_NONE_MATCH, values), "\"a\""), wanted, "{values:?}");
        }
    }
}
