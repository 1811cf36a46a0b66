//! Looking closely at one URL: what an edge in front of the store does with a document, found out by asking it.
//!
//! A CDN that is set up wrongly works all the same: every document arrives, each time from the origin, or without the
//! header that lets a page on another host use it, or from a browser's own cache a day after it was purged. So one
//! document is fetched a few times in the ways in which readers do it, and the answers are compared with each other and
//! with what the release says. Nothing is changed, and the edge is asked a dozen times at most.

use url::Url;

use super::reader::{self, Body, Fetched};
use crate::snapshot::Digest;
use crate::store::probe::{Check, Subject, Verdict};

mod cached;
mod encoding;
mod headers;
mod missing;

pub use cached::evidence;

/// A page on another host than the CDN's.
const PAGE: &str = "https://page.example";
/// What is read of a document that nobody knows the size of.
const UNKNOWN_BYTES: u32 = 16 << 20;
/// How often a document is fetched until it comes from a cache: a place of a large CDN has several machines.
const FETCHES: usize = 4;

const ANSWERS: Subject = Subject { name: "answers", means: "readers get the document" };
const CURRENT: Subject = Subject { name: "current", means: "it is the active release's" };

/// What the release says of the document.
#[derive(Debug, Clone)]
pub struct Known {
    /// The digest of its body.
    pub digest: Digest,
    /// The bytes of its body.
    pub size_bytes: u32,
    /// `Cache-Control`, as its template wants it.
    pub cache_control: String,
    /// Its cache tags.
    pub tags: Vec<String>,
    /// True if the store keeps headers; in a folder they are the web server's affair.
    pub has_headers: bool,
}

/// What is looked at.
#[derive(Debug)]
pub struct Subjected<'a> {
    /// The document's URL.
    pub url: &'a Url,
    /// Where nothing is, beside it.
    pub nothing: &'a Url,
    /// The same URL with queries that nobody has sent before.
    pub queried: &'a [Url],
    /// What is known of it.
    pub known: Option<&'a Known>,
}

/// Looks at it. What fails is a check that says so.
pub async fn examine(subject: Subjected<'_>) -> Vec<Check> {
    let Subjected { url, nothing, queried, known } = subject;
    let first = match get(url, known, &[("accept-encoding", "gzip")]).await {
        Ok(first) => first,
        Err(reason) => {
            let hint = "does [cdn] url name the CDN, and is it up? the store can be looked at with `tintype verify`";
            return vec![ANSWERS.broken(format!("{url}: {reason}")).hint(hint)];
        }
    };
    let mut checks = vec![answers(url, &first)];
    if first.answer.status != 200 {
        return checks;
    }
    checks.extend(known.map(|known| current(&first, known)));
    checks.push(cached(url, known, &first).await);
    let is_cached = checks.last().is_some_and(|check| check.outcome == Verdict::Ok);
    checks.push(query(queried, known, is_cached).await);
    let plain = get(url, known, &[]).await;
    checks.push(encoding::gzip(&first));
    checks.push(looked(&encoding::IDENTITY, &plain, |plain| encoding::identity(&first, plain)));
    checks.push(looked(&encoding::VARY, &plain, |plain| encoding::vary(&first, plain)));
    let page = get(url, known, &[("accept-encoding", "gzip"), ("origin", PAGE)]).await;
    checks.push(looked(&headers::CORS, &page, |page| headers::cors(page, PAGE)));
    checks.push(headers::cache_control(&first, known));
    checks.push(conditional(url, known, &first).await);
    checks.push(not_found(nothing).await);
    checks.extend(known.and_then(|known| headers::tags(&first, known)));
    checks
}

async fn get(url: &Url, known: Option<&Known>, headers: &[(&str, &str)]) -> Result<Fetched, String> {
    // Another release's document may be longer.
    let most = known.map_or(UNKNOWN_BYTES, |known| known.size_bytes.saturating_mul(2).max(1 << 20));
    reader::read_with(url, most, headers).await
}

/// The check, unless what it looks at didn't come.
fn looked(subject: &Subject, fetched: &Result<Fetched, String>, check: impl FnOnce(&Fetched) -> Check) -> Check {
    match fetched {
        Ok(fetched) => check(fetched),
        Err(reason) => subject.check(Verdict::Skipped, reason.clone()),
    }
}

/// A header's value without what a terminal obeys.
fn printable(value: &str) -> String {
    value.chars().filter(|c| !c.is_control()).collect()
}

fn answers(url: &Url, first: &Fetched) -> Check {
    let answer = &first.answer;
    let detail = format!("{url} answers {}", answer.status);
    let is_json = answer.header("content-type").is_some_and(|kind| kind.trim().starts_with("application/json"));
    match answer.status {
        200 if is_json => ANSWERS.ok(detail),
        200 => {
            let kind = answer.header("content-type").unwrap_or("none");
            ANSWERS
                .check(Verdict::Warning, format!("{detail} with the Content-Type {}", printable(kind)))
                .hint("let the web server or the CDN answer .json with application/json")
        }
        300..=399 => {
            let to = answer.header("location").unwrap_or("nowhere");
            ANSWERS
                .broken(format!("{detail}, and sends readers on to {}", printable(to)))
                .hint("every document costs two requests like that; name the URL that answers in [cdn] url")
        }
        403 | 404 | 410 => ANSWERS.broken(detail).hint(
            "is [cdn] url the place where the store's documents begin, and may the CDN read the origin? \
             `tintype verify` tells whether the store has the document",
        ),
        _ => ANSWERS.broken(detail).hint("the CDN's own logs tell why; `tintype verify` looks at the store"),
    }
}

fn current(first: &Fetched, known: &Known) -> Check {
    match first.body {
        Body::Is(digest) if digest == known.digest => CURRENT.ok(format!("digest {digest}")),
        Body::Is(digest) => CURRENT
            .check(Verdict::Warning, format!("digest {digest}, and the release has {}", known.digest))
            .hint("`tintype verify --cdn` finds all that are stale, and purges them again"),
        Body::TooLong => CURRENT.check(Verdict::Warning, "it is longer than the release's document"),
        Body::Garbled => CURRENT.check(Verdict::Skipped, "it can't be unpacked"),
    }
}

async fn cached(url: &Url, known: Option<&Known>, first: &Fetched) -> Check {
    let mut seen = vec![evidence(&first.answer)];
    let mut last = None;
    while seen.len() < FETCHES && !(seen.len() > 1 && seen.last().is_some_and(cached::Evidence::is_hit)) {
        match get(url, known, &[("accept-encoding", "gzip")]).await {
            Ok(fetched) => {
                seen.push(evidence(&fetched.answer));
                last = Some(fetched);
            }
            Err(reason) => return cached::CACHED.check(Verdict::Skipped, reason),
        }
    }
    cached::judge(&seen, &last.as_ref().unwrap_or(first).answer)
}

async fn query(queried: &[Url], known: Option<&Known>, is_cached: bool) -> Check {
    let mut seen = Vec::new();
    // A place of a large CDN has several machines, and not each of them has the document yet.
    for url in queried.iter().take(if is_cached { queried.len() } else { 0 }) {
        match get(url, known, &[("accept-encoding", "gzip")]).await {
            Ok(fetched) => seen.push((fetched.answer.status, evidence(&fetched.answer))),
            Err(reason) => return cached::QUERY.check(Verdict::Skipped, reason),
        }
        if seen.last().is_some_and(|(status, evidence)| *status != 200 || evidence.is_hit()) {
            break;
        }
    }
    cached::judge_queries(&seen)
}

async fn conditional(url: &Url, known: Option<&Known>, first: &Fetched) -> Check {
    let header = |name| first.answer.header(name).map(str::to_owned);
    let (name, value) = match (header("etag"), header("last-modified")) {
        (Some(tag), _) => ("if-none-match", tag),
        (None, Some(date)) => ("if-modified-since", date),
        (None, None) => return headers::without_validator(),
    };
    let again = get(url, known, &[("accept-encoding", "gzip"), (name, &value)]).await;
    looked(&headers::CONDITIONAL, &again, |again| headers::conditional(again, name, &value))
}

async fn not_found(nothing: &Url) -> Check {
    let first = get(nothing, None, &[("accept-encoding", "gzip")]).await;
    let again = get(nothing, None, &[("accept-encoding", "gzip")]).await;
    looked(&missing::NOT_FOUND, &first, |first| {
        missing::judge(&first.answer, again.as_ref().map(|again| &again.answer).ok())
    })
}
