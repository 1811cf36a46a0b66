//! Fastly: URLs one by one, surrogate keys by the hundred, or the whole service.
//! <https://www.fastly.com/documentation/reference/api/purging/>
//!
//! - A URL is purged through the API (`POST /purge/HOST/PATH`), which authenticates, whatever the service says of `PURGE`.
//! - "Up to 256 surrogate keys can be purged in one batch request." S3 can't answer with a `Surrogate-Key`, so keys are
//!   used only where the service makes one of `x-amz-meta-cache-tag`, with blanks for the commas:
//!   `set beresp.http.Surrogate-Key = regsuball(beresp.http.x-amz-meta-cache-tag, ",", " ");` in `vcl_fetch`.
//! - A soft purge marks documents as stale: an edge may answer with one for as long as its `stale-while-revalidate` and
//!   `stale-if-error` say, while it fetches the new one or where the store is away. "Purge-all requests cannot be done in
//!   soft mode."
//! - URLs and keys have a limit of their own, 100,000 an hour; the rest of the API has 1,000 requests an hour. More is
//!   answered by 429, and `Fastly-RateLimit-Reset` says when the hour is over.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use url::Url;

use super::persist::{Patience, Refusal, Verdict, judge, persist, unpromised};
use super::plan::{Limits, Request};
use crate::http;
use crate::secret::Secret;

/// Ten such purges an hour stay within the limit.
const MAX_PATHS: usize = 10_000;
const KEYS_PER_REQUEST: usize = 256;

/// A service.
#[derive(Debug)]
pub struct Fastly {
    /// Its id.
    pub service: String,
    /// A token with the scope `purge_select`, and `purge_all` for purges of everything.
    pub token: Secret,
    /// Mark documents as stale instead of dropping them.
    pub soft: bool,
    /// True if the service makes surrogate keys of the documents' tags.
    pub tags: bool,
    /// The address of the API.
    pub api: Url,
}

impl Fastly {
    /// What it takes.
    pub fn limits(&self) -> Limits {
        Limits {
            items: MAX_PATHS,
            paths_per_request: 1,
            bulk_per_request: KEYS_PER_REQUEST,
            folders: None,
            most_tags: usize::MAX,
            tags: self.tags,
            everything: true,
        }
    }

    /// Sends a purge.
    pub async fn send(&self, site: &Url, request: &Request, patience: Patience) -> Result<(), Refusal> {
        for (path, body) in self.calls(site, request) {
            let mut url = self.api.clone();
            url.set_path(&format!("{}{path}", self.api.path().trim_end_matches('/')));
            let mut headers = vec![("fastly-key", self.token.expose()), ("accept", "application/json")];
            headers.extend((!body.is_empty()).then_some(("content-type", "application/json")));
            headers.extend((self.soft && *request != Request::Everything).then_some(("fastly-soft-purge", "1")));
            persist(patience, async |timeout| {
                verdict(&http::send("POST", &url, &headers, body.clone().into_bytes(), timeout).await, request)
            })
            .await?;
        }
        Ok(())
    }

    /// The paths and bodies of the calls that carry out a request.
    fn calls(&self, site: &Url, request: &Request) -> Vec<(String, String)> {
        let service = &self.service;
        let place = &site[url::Position::BeforeHost..url::Position::AfterPort];
        match request {
            Request::Paths(paths) => {
                let path = |path| (format!("/purge/{place}{}{path}", site.path()), String::new());
                paths.iter().map(path).collect()
            }
            Request::Tags(tags) => {
                vec![(format!("/service/{service}/purge"), json!({ "surrogate_keys": tags }).to_string())]
            }
            // No plan names folders to it.
            Request::Folders(_) | Request::Everything => vec![(format!("/service/{service}/purge_all"), String::new())],
        }
    }
}

fn verdict(answer: &Result<http::Answer, String>, request: &Request) -> Verdict {
    let denied = "[cdn.fastly] token needs the scope purge_select, and purge_all for purges of everything";
    match judge("Fastly", answer, denied) {
        Verdict::Later(refusal, None) => {
            let wait = answer.as_ref().ok().filter(|answer| answer.status == 429).and_then(until_reset);
            Verdict::Later(refusal, wait)
        }
        Verdict::Done => match answer {
            Ok(answer) if !is_promise(&answer.bytes, request) => {
                Verdict::Never(unpromised("Fastly", answer, "[cdn.fastly] api_url"))
            }
            _ => Verdict::Done,
        },
        judged => judged,
    }
}

/// True for `{"status": "ok"}`, or for keys with the ids of their purges.
fn is_promise(body: &[u8], request: &Request) -> bool {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let has = |key: &String| body[key].is_string();
    body["status"] == "ok" || matches!(request, Request::Tags(tags) if tags.iter().all(has))
}

/// How long until the hour is over whose requests are used up; seconds since 1970 say when.
fn until_reset(answer: &http::Answer) -> Option<Duration> {
    let reset = Duration::from_secs(answer.header("fastly-ratelimit-reset")?.trim().parse().ok()?);
    Some(reset.saturating_sub(SystemTime::now().duration_since(UNIX_EPOCH).ok()?))
}
