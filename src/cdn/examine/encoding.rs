//! How the document is packed, with and without being asked for gzip.

use super::super::reader::{Body, Fetched};
use super::printable;
use crate::http::Answer;
use crate::store::probe::{Check, Subject, Verdict};

const GZIP: Subject = Subject { name: "gzip", means: "readers download it packed" };
pub const IDENTITY: Subject = Subject { name: "identity", means: "who can't unpack gets the same document" };
pub const VARY: Subject = Subject { name: "vary", means: "caches keep the right copies apart, and no others" };

const GARBLED: &str = "the bytes aren't what Content-Encoding says, so that no browser can read them";

fn encoding(answer: &Answer) -> String {
    let said = answer.header("content-encoding").unwrap_or_default().trim().to_ascii_lowercase();
    if said == "identity" { String::new() } else { said }
}

/// The answer to a request that accepts gzip.
pub fn gzip(first: &Fetched) -> Check {
    let bytes = first.answer.bytes.len();
    match (first.body, encoding(&first.answer).as_str()) {
        (Body::Garbled, said) => GZIP.broken(format!("{GARBLED}: \"{}\"", printable(said))).hint(
            "a bucket's documents have Content-Encoding: gzip, which the CDN has to pass on; nginx needs gzip_static always",
        ),
        (_, "") => GZIP.check(Verdict::Warning, format!("{bytes} bytes, unpacked although gzip was asked for")).hint(
            "let the CDN pass Accept-Encoding on, or keep the origin's gzip: CloudFront's cache policy has \
             EnableAcceptEncodingGzip; a proxy must not decompress",
        ),
        (_, said) => GZIP.ok(format!("{bytes} bytes, {said}")),
    }
}

/// The answer to a request that says nothing of encodings, beside the one to a request that accepts gzip.
pub fn identity(first: &Fetched, plain: &Fetched) -> Check {
    match (plain.answer.status, plain.body, encoding(&plain.answer).as_str()) {
        (status, ..) if status != 200 => IDENTITY.broken(format!("without Accept-Encoding it answers {status}")),
        (_, Body::Garbled, _) => IDENTITY.broken(format!("without Accept-Encoding {GARBLED}")).hint(
            "the cache hands the packed copy out without its Content-Encoding, or mixes copies: it has to keep both \
             apart (Vary: Accept-Encoding), or to keep the packed one alone and unpack it",
        ),
        (_, plain_body, _) if plain_body != first.body => {
            IDENTITY.check(Verdict::Warning, "without Accept-Encoding another document comes").hint(
                "the cache keeps two copies of it, and one of them is stale: a purge has to reach every variant; \
                 `tintype verify --cdn` looks at the packed one only",
            )
        }
        (_, _, "") => IDENTITY.ok(format!("{} bytes", plain.answer.bytes.len())),
        (_, _, said) => {
            IDENTITY.ok(format!("{said} all the same; browsers can unpack, and programs have to (curl --compressed)"))
        }
    }
}

/// What both say of `Vary`.
pub fn vary(first: &Fetched, plain: &Fetched) -> Check {
    let said = first.answer.header("vary").unwrap_or_default().to_ascii_lowercase();
    let names: Vec<&str> = said.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    let differ = encoding(&first.answer) != encoding(&plain.answer);
    let other: Vec<&str> =
        names.iter().copied().filter(|name| !matches!(*name, "accept-encoding" | "origin")).collect();
    if !other.is_empty() {
        let detail = format!("Vary: {}", printable(&said));
        return VARY
            .check(Verdict::Warning, detail)
            .hint("each of these splits the cache, and what a purge forgets may be one copy of many; leave Accept-Encoding alone");
    }
    if differ && !names.contains(&"accept-encoding") {
        return VARY
            .check(Verdict::Warning, "packed or not by what is asked for, and without Vary: Accept-Encoding")
            .hint("a proxy between the edge and a reader mixes the two up: let the server send Vary: Accept-Encoding (nginx: gzip_vary on)");
    }
    VARY.ok(if names.is_empty() { "none, and none is needed".to_owned() } else { printable(&said) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cdn::reader::body;
    use crate::snapshot::Gzip;

    fn fetched(headers: &[(&str, &str)], bytes: Vec<u8>) -> Fetched {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let answer = Answer { status: 200, headers, bytes };
        let body = body(&answer, 1000);
        Fetched { answer, body }
    }

    fn packed(headers: &[(&str, &str)]) -> Fetched {
        fetched(headers, Gzip::default().compress(b"{}"))
    }

    #[test]
    fn packed_and_unpacked() {
        let gzipped = packed(&[("content-encoding", "gzip")]);
        let plain = fetched(&[], b"{}".to_vec());
        let garbled = packed(&[]);
        assert_eq!(gzip(&gzipped).outcome, Verdict::Ok);
        assert_eq!(gzip(&plain).outcome, Verdict::Warning);
        assert_eq!(gzip(&garbled).outcome, Verdict::Broken);
        assert_eq!(identity(&gzipped, &plain).outcome, Verdict::Ok);
        assert_eq!(identity(&gzipped, &gzipped).outcome, Verdict::Ok);
        assert_eq!(identity(&gzipped, &garbled).outcome, Verdict::Broken);
        assert_eq!(identity(&gzipped, &fetched(&[], b"[]".to_vec())).outcome, Verdict::Warning);
    }

    #[test]
    fn copies_that_are_kept_apart() {
        let plain = fetched(&[], b"{}".to_vec());
        let with = |vary| packed(&[("content-encoding", "gzip"), ("vary", vary)]);
        assert_eq!(vary(&packed(&[("content-encoding", "gzip")]), &plain).outcome, Verdict::Warning);
        assert_eq!(vary(&with("Accept-Encoding"), &plain).outcome, Verdict::Ok);
        assert_eq!(vary(&with("Origin, Accept-Encoding"), &plain).outcome, Verdict::Ok);
        assert_eq!(vary(&with("Accept-Encoding, Cookie"), &plain).outcome, Verdict::Warning);
        assert_eq!(vary(&with("*"), &plain).outcome, Verdict::Warning);
        let always = packed(&[("content-encoding", "gzip")]);
        assert_eq!(vary(&always, &always).outcome, Verdict::Ok, "there is one copy only");
    }
}
