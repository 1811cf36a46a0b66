//! What goes wrong, when, and how often.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use hyper::{HeaderMap, Response, StatusCode};

use super::Asked;

/// What happens to a request.
pub enum What {
    /// It isn't carried out, and this error is the answer.
    Answer {
        /// The HTTP status.
        status: u16,
        /// S3's error code.
        code: &'static str,
        /// What it says.
        message: &'static str,
        /// Further elements of the answer's XML, and as headers where their names begin with `x-`.
        more: Vec<(&'static str, &'static str)>,
    },
    /// It isn't carried out, and the answer is 200 with this XML.
    Say(&'static str),
    /// It is carried out after this time.
    Wait(Duration),
    /// It is carried out after this time, whether or not the client is still there: it was held up in the network.
    Late(Duration),
    /// The connection is closed in the middle of the request, which isn't carried out.
    BreakOff,
    /// It is carried out, and the connection is closed without an answer.
    LoseAnswer,
    /// It is carried out, and the connection is closed in the middle of the answer's body.
    CutBody,
    /// It is carried out, and the headers of the answer are changed.
    Headers(fn(&mut HeaderMap)),
    /// It is carried out, and the answer has another body.
    Body(&'static [u8]),
    /// It is carried out without a look at a part of it.
    Ignore(Part),
    /// Its first answer about a key is its answer for ever, as of a cache that nobody purges.
    Stale,
}

/// A fault: what, on which requests, and which of those.
pub struct Fault {
    pub(super) what: What,
    on: Box<dyn Fn(&Asked) -> bool + Send + Sync>,
    every: u64,
    at_most: u64,
    period: Option<Duration>,
    began: Instant,
    matched: AtomicU64,
    struck: AtomicU64,
}

impl Fault {
    /// A fault of every request for which `on` is true.
    pub fn new(what: What, on: impl Fn(&Asked) -> bool + Send + Sync + 'static) -> Fault {
        Fault {
            what,
            on: Box::new(on),
            every: 1,
            at_most: u64::MAX,
            period: None,
            began: Instant::now(),
            matched: AtomicU64::new(0),
            struck: AtomicU64::new(0),
        }
    }

    /// An error answer to every request for which `on` is true.
    pub fn answer(
        status: u16,
        code: &'static str,
        message: &'static str,
        on: impl Fn(&Asked) -> bool + Send + Sync + 'static,
    ) -> Fault {
        Fault::new(What::Answer { status, code, message, more: Vec::new() }, on)
    }

    /// Strikes only the n-th, 2n-th … of the requests.
    pub fn every(self, n: u64) -> Fault {
        Fault { every: n, ..self }
    }

    /// Strikes so many times and no more.
    pub fn times(self, times: u64) -> Fault {
        Fault { at_most: times, ..self }
    }

    /// Strikes for so long, from now on.
    pub fn during(self, period: Duration) -> Fault {
        Fault { period: Some(period), began: Instant::now(), ..self }
    }

    /// How often it has struck.
    pub fn struck(&self) -> u64 {
        self.struck.load(Ordering::Relaxed).min(self.at_most)
    }

    pub(super) fn strikes(&self, asked: &Asked) -> bool {
        if self.period.is_some_and(|period| self.began.elapsed() > period) || !(self.on)(asked) {
            return false;
        }
        let nth = self.matched.fetch_add(1, Ordering::Relaxed) + 1;
        nth.is_multiple_of(self.every) && self.struck.fetch_add(1, Ordering::Relaxed) < self.at_most
    }
}

/// A part of a request that a store may not look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// `If-Match` and `If-None-Match` of a write.
    Conditions,
    /// The headers of a copy, which gets those of what is copied.
    Headers,
}

/// An answer that can be given again.
#[derive(Clone)]
pub struct Kept {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Kept {
    /// Keeps an answer.
    pub async fn of(answer: Response<s3s::Body>) -> io::Result<Kept> {
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        Ok(Kept { status: parts.status, headers: parts.headers, body })
    }

    /// The same with another body.
    pub fn with(self, body: &'static [u8]) -> Kept {
        let mut headers = self.headers;
        headers.insert("content-length", body.len().into());
        Kept { headers, body: Bytes::from_static(body), ..self }
    }

    /// The answer.
    pub fn answer(&self) -> Response<s3s::Body> {
        let mut answer = Response::new(s3s::Body::from(self.body.clone()));
        *answer.status_mut() = self.status;
        *answer.headers_mut() = self.headers.clone();
        answer
    }
}

/// An error as S3 words it.
pub fn error_answer(status: u16, code: &str, message: &str, more: &[(&str, &str)]) -> Response<s3s::Body> {
    let elements = more.iter().filter(|(name, _)| !name.starts_with("x-"));
    let elements: String = elements.map(|(name, value)| format!("<{name}>{value}</{name}>")).collect();
    let xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>{message}</Message>{elements}\
         <RequestId>TEST</RequestId></Error>"
    );
    let mut answer = Response::builder()
        .status(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR))
        .header("content-type", "application/xml");
    for (name, value) in more.iter().filter(|(name, _)| name.starts_with("x-")) {
        answer = answer.header(*name, *value);
    }
    answer.body(s3s::Body::from(xml)).expect("an answer can be made of it")
}

/// An answer of 200, whatever its XML says.
pub fn success(xml: &'static str) -> Response<s3s::Body> {
    let answer = Response::builder().header("content-type", "application/xml");
    answer.body(s3s::Body::from(xml.to_owned())).expect("an answer can be made of it")
}

/// The answer with the first half of its body, and then the end of the connection.
pub async fn cut(answer: Response<s3s::Body>) -> io::Result<Response<s3s::Body>> {
    let (mut parts, body) = answer.into_parts();
    let whole = body.collect().await.map_err(io::Error::other)?.to_bytes();
    parts.headers.insert("content-length", whole.len().into());
    let half = whole.slice(..whole.len() / 2);
    let broken = Err(io::Error::other("cut off as the test wants it"));
    let frames = futures_util::stream::iter([Ok::<_, io::Error>(Frame::data(half)), broken]);
    Ok(Response::from_parts(parts, s3s::Body::http_body_unsync(StreamBody::new(frames))))
}
