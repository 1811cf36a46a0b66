//! Counts requests by kind, and says when the first and the last of each came.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use hyper::{Method, Request, StatusCode};
use serde_json::{Value, json};

/// The kind of a request, in the words of tintype's own report.
pub fn kind<B>(request: &Request<B>) -> &'static str {
    let query = request.uri().query().unwrap_or_default();
    let is_object = request.uri().path().trim_matches('/').contains('/');
    let has = |name: &str| query.split('&').any(|part| part.split('=').next() == Some(name));
    match *request.method() {
        Method::PUT if has("uploadId") => "parts",
        Method::PUT if is_object && request.headers().contains_key("x-amz-copy-source") => "copies",
        Method::PUT if is_object => "puts",
        Method::GET if is_object => "gets",
        Method::GET if has("list-type") || query.is_empty() => "lists",
        Method::HEAD if is_object => "heads",
        Method::DELETE => "deletes",
        Method::POST if has("delete") => "deletes",
        _ => "other",
    }
}

/// What was asked since the last reset.
#[derive(Default)]
pub struct Requests(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    kinds: BTreeMap<&'static str, Kind>,
    statuses: BTreeMap<u16, u64>,
    in_flight: u64,
    most_in_flight: u64,
}

#[derive(Clone, Copy)]
struct Kind {
    count: u64,
    first: Instant,
    last: Instant,
}

impl Requests {
    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a request is being answered.
    pub fn arrived(&self) -> Instant {
        let mut inner = self.lock();
        inner.in_flight += 1;
        inner.most_in_flight = inner.most_in_flight.max(inner.in_flight);
        Instant::now()
    }

    /// Notes that a request has been answered.
    pub fn answered(&self, kind: &'static str, arrived: Instant, status: StatusCode) {
        let now = Instant::now();
        let mut inner = self.lock();
        // A reset in between has forgotten that it came.
        inner.in_flight = inner.in_flight.saturating_sub(1);
        *inner.statuses.entry(status.as_u16()).or_default() += 1;
        let seen = inner.kinds.entry(kind).or_insert(Kind { count: 0, first: arrived, last: now });
        seen.count += 1;
        seen.first = seen.first.min(arrived);
        seen.last = now;
    }

    /// Forgets everything.
    pub fn reset(&self) {
        *self.lock() = Inner::default();
    }

    /// Counts by kind and by status; seconds are ago, counted from this report.
    pub fn report(&self) -> Value {
        let inner = self.lock();
        let now = Instant::now();
        let ago = |then: Instant| now.duration_since(then).as_secs_f64();
        let kinds: serde_json::Map<_, _> = inner
            .kinds
            .iter()
            .map(|(name, kind)| {
                let value =
                    json!({ "count": kind.count, "first_seconds_ago": ago(kind.first), "last_seconds_ago": ago(kind.last) });
                ((*name).to_owned(), value)
            })
            .collect();
        let statuses: serde_json::Map<_, _> =
            inner.statuses.iter().map(|(status, count)| (status.to_string(), json!(count))).collect();
        json!({ "kinds": kinds, "statuses": statuses, "most_in_flight": inner.most_in_flight })
    }
}
