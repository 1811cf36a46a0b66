//! An address of one's own that is told what to forget: a program that knows another CDN, or a cache such as Varnish.
//!
//! A plain address gets `POST`s of JSON, a thousand paths each, signed if there is a secret. An address with `{path}` in
//! it gets one request for every path, with a method such as `PURGE` and the host name of readers' URLs, because caches
//! keep a document under both; what to send so that everything is forgotten has to be configured besides, and where it
//! isn't, every path of the site is named.
//!
//! A cache answers 404 where there is nothing to forget, and so does a server that knows nothing of the site, because the
//! address is wrong. The document that every release has, and that is a part of every debt, tells them apart.

use std::time::Duration;

use ring::hmac;
use serde_json::{Value, json};
use url::Url;

use super::persist::{Patience, Refusal, Verdict, judge, persist};
use super::plan::{Limits, Request};
use crate::http;
use crate::secret::Secret;

/// What stands for the path in an address.
pub const PATH: &str = "{path}";
/// The document that every release has.
const FIRST: &str = "index.json";
/// The longest time for finding out whether a cache that is purged has the site.
const LOOK: Duration = Duration::from_secs(5);
/// Parts of an address that are shorter than this are no secrets, and may stand in any sentence.
const SECRET_CHARS: usize = 5;
/// The header of a signature.
const SIGNATURE: &str = "x-tintype-signature";
/// About 100 KB of JSON.
const PATHS_PER_REQUEST: usize = 1_000;
/// As many as nobody minds who hasn't said otherwise.
const MAX_PATHS: usize = 100_000;

/// Whom to tell.
#[derive(Debug)]
pub struct Webhook {
    /// The address, perhaps with `{path}` in it. It may hold a token.
    pub url: Secret,
    /// The method of requests for a path.
    pub method: String,
    /// The key that requests are signed with.
    pub secret: Option<Secret>,
    /// A further header, name and value.
    pub header: Option<(String, Secret)>,
    /// Method and address that make everything forgotten, where each path has an address of its own.
    pub everything: Option<(String, Secret)>,
}

impl Webhook {
    fn is_by_path(&self) -> bool {
        self.url.expose().contains(PATH)
    }

    /// What it takes.
    pub fn limits(&self) -> Limits {
        Limits {
            items: MAX_PATHS,
            paths_per_request: if self.is_by_path() { 1 } else { PATHS_PER_REQUEST },
            bulk_per_request: PATHS_PER_REQUEST,
            folders: None,
            most_tags: usize::MAX,
            tags: false,
            everything: !self.is_by_path() || self.everything.is_some(),
        }
    }

    /// Sends a purge.
    pub async fn send(&self, site: &Url, request: &Request, patience: Patience) -> Result<(), Refusal> {
        match request {
            Request::Paths(paths) if self.is_by_path() => {
                for path in paths {
                    let answered =
                        self.call(&self.method, &self.address(site, path), site, Vec::new(), patience).await?;
                    if is_gone(answered) && path.as_ref() == FIRST {
                        self.doubt(site, patience).await?;
                    }
                }
                Ok(())
            }
            _ if self.is_by_path() => {
                let Some((method, url)) = &self.everything else {
                    return Err(Refusal::new("[cdn.webhook] everything is missing"));
                };
                self.call(method, url.expose(), site, Vec::new(), patience).await.map(drop)
            }
            _ => {
                let body = document(site, request).to_string().into_bytes();
                self.call("POST", self.url.expose(), site, body, patience).await.map(drop)
            }
        }
    }

    /// Refuses an address that has nothing of the site, before a purge that doesn't name the document that tells. Only
    /// methods that fetch can tell.
    pub async fn try_address(&self, site: &Url, requests: &[Request], patience: Patience) -> Result<(), Refusal> {
        let mut paths = requests.iter().flat_map(|request| match request {
            Request::Paths(paths) => paths.as_slice(),
            _ => &[],
        });
        let is_telling = self.is_by_path() && matches!(self.method.as_str(), "GET" | "HEAD");
        if !is_telling || paths.clone().next().is_none() || paths.any(|path| path.as_ref() == FIRST) {
            return Ok(());
        }
        match self.call(&self.method, &self.address(site, FIRST), site, Vec::new(), patience).await? {
            status if is_gone(status) => self.doubt(site, patience).await,
            _ => Ok(()),
        }
    }

    /// The address for an object path.
    fn address(&self, site: &Url, path: &str) -> String {
        self.url.expose().replace(PATH, &format!("{}{path}", site.path().trim_start_matches('/')))
    }

    /// Judges a server that has nothing under the name of the document that every release has.
    async fn doubt(&self, site: &Url, patience: Patience) -> Result<(), Refusal> {
        let hint = "[cdn.webhook] url has to lead to the cache that keeps the documents of [cdn] url";
        if self.method != "PURGE" {
            let reason = format!("the webhook answered 404 to {} of {FIRST}, which every release has", self.method);
            return Err(Refusal { reason, hint: Some(hint.to_owned()) });
        }
        // A purge tells nothing of what the cache could fetch, and what a GET tells isn't worth waiting for. It is no proof
        // either: there are caches with an address for purges alone.
        let patience = Patience { limit: patience.limit.min(LOOK), ..patience };
        let answered = self.call("GET", &self.address(site, FIRST), site, Vec::new(), patience).await;
        if answered.is_ok_and(is_gone) {
            tracing::warn!("the webhook answers 404 to PURGE, and to GET of {FIRST}, which every release has; {hint}");
        }
        Ok(())
    }

    /// Sends a request until it is answered; the status of what counts as done.
    async fn call(
        &self,
        method: &str,
        address: &str,
        site: &Url,
        body: Vec<u8>,
        patience: Patience,
    ) -> Result<u16, Refusal> {
        let url = Url::parse(address).map_err(|error| Refusal::new(format!("[cdn.webhook] url isn't one: {error}")))?;
        // The address itself may hold a secret.
        let who = format!("the webhook at {}", &url[url::Position::BeforeHost..url::Position::AfterPort]);
        // Without a body it is the request line that must not be anybody's.
        let line = format!("{method} {}", &url[url::Position::BeforePath..url::Position::AfterQuery]);
        let signed = if body.is_empty() { line.as_bytes() } else { &body };
        let signature = self.secret.as_ref().map(|secret| signature(secret, signed));
        let mut headers = Vec::new();
        match body.is_empty() {
            true => headers.push(("host", &site[url::Position::BeforeHost..url::Position::AfterPort])),
            false => headers.push(("content-type", "application/json")),
        }
        headers.extend(signature.as_ref().map(|signature| (SIGNATURE, signature.as_str())));
        headers.extend(self.header.as_ref().map(|(name, value)| (name.as_str(), value.expose())));
        let mut status = 0;
        persist(patience, async |timeout| {
            let answer = http::send(method, &url, &headers, body.clone(), timeout).await;
            status = answer.as_ref().map_or(0, |answer| answer.status);
            match &answer {
                // Squid and nginx's cache_purge answer so if they don't keep the document; and a cache that fetches it
                // anew, because it is asked with GET or HEAD, if there is none any more.
                Ok(answer) if body.is_empty() && may_be_gone(method) && is_gone(answer.status) => Verdict::Done,
                _ => judge(&who, &answer, "[cdn.webhook] header can carry what it asks for"),
            }
        })
        .await
        .map_err(|refusal| Refusal { reason: self.masked(&refusal.reason), ..refusal })?;
        Ok(status)
    }

    /// What somebody said, without the part of the address and the header that may be secret: many a server repeats what
    /// it was asked.
    fn masked(&self, reason: &str) -> String {
        let addresses = std::iter::once(&self.url).chain(self.everything.as_ref().map(|(_, url)| url));
        let paths = addresses.filter_map(|url| Some(url.expose().split_once("://")?.1.split_once('/')?.1));
        let parts = paths.flat_map(|path| path.split(PATH)).flat_map(|part| part.split(['?', '&']));
        let parts = parts.chain(self.header.as_ref().map(|(_, value)| value.expose()));
        let is_telling = |part: &&str| part.len() >= SECRET_CHARS;
        parts.filter(is_telling).fold(reason.to_owned(), |reason, part| reason.replace(part, "…"))
    }
}

/// True for methods whose answer may say that there is nothing to forget.
fn may_be_gone(method: &str) -> bool {
    matches!(method, "PURGE" | "GET" | "HEAD")
}

fn is_gone(status: u16) -> bool {
    matches!(status, 404 | 410)
}

/// What a webhook is told.
fn document(site: &Url, request: &Request) -> Value {
    match request {
        Request::Paths(paths) => {
            let paths: Vec<String> = paths.iter().map(|path| format!("{}{path}", site.path())).collect();
            json!({ "version": 1, "purge": "paths", "site": site.as_str(), "paths": paths })
        }
        _ => json!({ "version": 1, "purge": "everything", "site": site.as_str() }),
    }
}

/// HMAC-SHA-256 of what is sent, as hex digits behind the name of the hash.
fn signature(secret: &Secret, sent: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose().as_bytes());
    let tag = hmac::sign(&key, sent);
    format!("sha256={}", tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}
