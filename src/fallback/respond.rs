//! From an answer to a response: which encoding, whether anything has to be sent at all, and for whom it may be read.

use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::{HeaderMap, Method, Response, StatusCode};
use serde_json::json;

use super::answer::{Answer, Source};
use super::body::Body;
use super::memory::Entry;
use super::negotiate;

/// A response with its body.
pub type Reply = Response<Body>;

/// What readers may do.
pub const ALLOWED_METHODS: &str = "GET, HEAD, OPTIONS";
/// How long an edge keeps an answer that stands in for a newer one.
const STALE_CONTROL: &str = "public, max-age=0, s-maxage=10, stale-if-error=86400";
/// How long a path counts as unknown: a new key is valid within the hour, and nobody asks for one in vain twice a second.
const UNKNOWN_CONTROL: &str = "public, max-age=0, s-maxage=60";
/// What is kept by nobody.
const NOBODY: &str = "no-store";
const EXPOSED: &str = "ETag, Retry-After, X-Tintype-Source, X-Tintype-As-Of, Server-Timing";

const SOURCE: HeaderName = HeaderName::from_static("x-tintype-source");
const AS_OF: HeaderName = HeaderName::from_static("x-tintype-as-of");
const CACHE_TAG: HeaderName = HeaderName::from_static("cache-tag");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// Which pages may read the documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origins {
    /// Any.
    Any,
    /// These, as browsers write them in `Origin`.
    These(Vec<String>),
}

impl Origins {
    /// Says in a response who may read it.
    pub fn allow(&self, asked: &HeaderMap, reply: &mut Reply) {
        let headers = reply.headers_mut();
        match self {
            Origins::Any => {
                headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            }
            Origins::These(origins) => {
                headers.append(header::VARY, HeaderValue::from_static("Origin"));
                let origin = asked
                    .get(header::ORIGIN)
                    .filter(|origin| origins.iter().any(|known| known.as_bytes() == origin.as_bytes()));
                let Some(origin) = origin else { return };
                headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            }
        }
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    }
}

/// Says whether who asks has to be sent the document, and hasn't it already.
pub fn has_to_be_sent(entry: &Entry, asked: &HeaderMap) -> bool {
    let etag = if negotiate::accepts_gzip(asked) { &entry.etag } else { &entry.plain_etag };
    !negotiate::none_match(asked, etag.to_str().unwrap_or_default())
}

/// The response to a request for a document, with its gzipped body. While no release is known, nobody keeps what isn't of
/// one: it may be there in a moment, and then no purge would be ordered for this.
pub fn reply(answer: &Answer, gzip: Bytes, asked: &HeaderMap, knows_release: bool, begun: Instant) -> Reply {
    let mut reply = match answer {
        Answer::Document(entry, source) => document(entry, gzip, *source, asked),
        Answer::Unknown => {
            let mut reply = problem(StatusCode::NOT_FOUND, "not_found", "there is no such document", None);
            reply.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(UNKNOWN_CONTROL));
            reply
        }
        Answer::Limited(limited) => problem(
            StatusCode::TOO_MANY_REQUESTS,
            "too_many_requests",
            "too many requests for documents that the database has to be asked for",
            Some(limited.retry_after),
        ),
        Answer::Unavailable { retry_after, why } => problem(
            StatusCode::SERVICE_UNAVAILABLE,
            why.name(),
            "the document can't be had right now",
            Some(*retry_after),
        ),
    };
    let is_of_release = matches!(answer, Answer::Document(entry, _) if entry.is_published());
    if !knows_release && !is_of_release {
        reply.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(NOBODY));
    }
    let timing = format!("total;dur={:.1}", begun.elapsed().as_secs_f64() * 1e3);
    if let Ok(timing) = HeaderValue::from_str(&timing) {
        reply.headers_mut().insert(SERVER_TIMING, timing);
    }
    reply
}

fn document(entry: &Entry, gzip: Bytes, source: Source, asked: &HeaderMap) -> Reply {
    let is_gzip = negotiate::accepts_gzip(asked);
    let etag = if is_gzip { &entry.etag } else { &entry.plain_etag };
    let is_known = !has_to_be_sent(entry, asked);
    let mut reply = match (is_known, is_gzip) {
        (true, _) => Response::new(Body::default()),
        (false, true) => Response::new(Body::from(gzip)),
        (false, false) => match Body::unpacked(&gzip) {
            Ok(body) => Response::new(body),
            Err(_) => return problem(StatusCode::INTERNAL_SERVER_ERROR, "corrupt", "the document is damaged", None),
        },
    };
    let headers = reply.headers_mut();
    headers.reserve(12);
    if !is_known {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if is_gzip {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
    }
    headers.insert(header::ETAG, etag.clone());
    headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let control = match source {
        Source::Stale => HeaderValue::from_static(STALE_CONTROL),
        _ => entry.cache_control.clone(),
    };
    headers.insert(header::CACHE_CONTROL, control);
    headers.insert(SOURCE, HeaderValue::from_static(source.name()));
    headers.insert(AS_OF, entry.as_of.clone());
    if let Some(tags) = &entry.cache_tags {
        headers.insert(CACHE_TAG, tags.clone());
    }
    if is_known {
        *reply.status_mut() = StatusCode::NOT_MODIFIED;
    }
    reply
}

/// A response that says what is wrong, which nobody keeps.
pub fn problem(status: StatusCode, code: &str, message: &str, retry_after: Option<Duration>) -> Reply {
    // Whole seconds, and never so few that it comes too early.
    let seconds = retry_after.map(|length| (length.as_secs() + u64::from(length.subsec_nanos() > 0)).max(1));
    let mut reply = json(status, &json!({ "code": code, "message": message, "retry_after": seconds }));
    if let Some(seconds) = seconds {
        reply.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    reply
}

/// A document of our own, which nobody keeps.
pub fn json(status: StatusCode, value: &serde_json::Value) -> Reply {
    text(status, "application/json", value.to_string())
}

/// A text of our own, which nobody keeps.
pub fn text(status: StatusCode, content_type: &'static str, text: String) -> Reply {
    let mut reply = Response::new(Body::from(Bytes::from(text)));
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(NOBODY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    reply
}

/// What a request gets that doesn't name its host, or several.
pub fn not_addressed() -> Reply {
    problem(StatusCode::BAD_REQUEST, "bad_request", "a request names one host", None)
}

/// What a method other than GET and HEAD gets.
pub fn other_method(method: &Method) -> Reply {
    let mut reply = match *method {
        Method::OPTIONS => {
            let mut reply = Response::new(Body::default());
            *reply.status_mut() = StatusCode::NO_CONTENT;
            let headers = reply.headers_mut();
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(ALLOWED_METHODS));
            let allowed = HeaderValue::from_static("If-None-Match, Cache-Control");
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed);
            headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
            reply
        }
        _ => problem(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "documents are read by GET and HEAD", None),
    };
    reply.headers_mut().insert(header::ALLOW, HeaderValue::from_static(ALLOWED_METHODS));
    reply
}
