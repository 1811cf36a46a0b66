//! What is asked of the server, and how often.

use std::time::Instant;

use hyper::{Method, Request};

/// The kinds of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An object written with a body.
    Put,
    /// An object copied on the server.
    Copy,
    /// An object read.
    Get,
    /// An object asked for its headers.
    Head,
    /// One object deleted, or many in one request.
    Delete,
    /// A listing.
    List,
    /// Anything else.
    Other,
}

/// Requests by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Objects written with a body.
    pub puts: u64,
    /// Objects copied on the server.
    pub copies: u64,
    /// Objects read.
    pub gets: u64,
    /// Objects asked for their headers.
    pub heads: u64,
    /// Delete requests, whatever number of objects they name.
    pub deletes: u64,
    /// Listings.
    pub lists: u64,
    /// Anything else.
    pub others: u64,
}

impl Counts {
    /// All requests.
    pub fn total(&self) -> u64 {
        self.puts + self.copies + self.gets + self.heads + self.deletes + self.lists + self.others
    }
}

/// What was asked of the server.
#[derive(Debug, Clone)]
pub struct Asked {
    /// What kind of request it is.
    pub kind: Kind,
    /// The bucket.
    pub bucket: String,
    /// The object's key; empty for the bucket itself.
    pub key: String,
    /// True with `If-Match` or `If-None-Match`.
    pub conditional: bool,
    /// When it came.
    pub at: Instant,
}

impl Asked {
    /// Reads it off a request.
    pub fn of<B>(request: &Request<B>) -> Asked {
        let path = percent_encoding::percent_decode_str(request.uri().path().trim_start_matches('/'));
        let path = path.decode_utf8_lossy().into_owned();
        let (bucket, key) = path.split_once('/').unwrap_or((&path, ""));
        let query = request.uri().query().unwrap_or_default();
        let has = |name: &str| request.headers().contains_key(name);
        let kind = match *request.method() {
            Method::PUT if has("x-amz-copy-source") => Kind::Copy,
            Method::PUT if !key.is_empty() => Kind::Put,
            Method::GET if key.is_empty() && query.contains("list-type") => Kind::List,
            Method::GET if !key.is_empty() => Kind::Get,
            Method::HEAD => Kind::Head,
            Method::DELETE => Kind::Delete,
            Method::POST if query.split('&').any(|part| part == "delete" || part == "delete=") => Kind::Delete,
            _ => Kind::Other,
        };
        Asked {
            kind,
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            conditional: has("if-match") || has("if-none-match"),
            at: Instant::now(),
        }
    }
}
