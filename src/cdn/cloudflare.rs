//! Cloudflare: `POST /zones/{zone}/purge_cache` with URLs, prefixes, tags or a host name.
//! <https://developers.cloudflare.com/api/resources/cache/methods/purge/>
//!
//! - A request takes 100 operations, URLs as well as the others; Free has 800 URLs a second, the other plans more, and of
//!   the others 5 requests a minute after a first 25. More is answered by 429 with `Retry-After`, and that is waited out.
//!   <https://developers.cloudflare.com/cache/how-to/purge-cache/>
//! - What is kept is kept by URL *and* by the `Origin` that a page on another host sends along; a purge by URL reaches only
//!   the copies whose headers it names. So every page's origin has to be known, in `[cdn.cloudflare] origins`. Purges by
//!   prefix, tag and host reach all copies. <https://developers.cloudflare.com/cache/how-to/purge-cache/purge-cache-key/>
//! - `purge_everything` empties the whole zone, other sites of it too. Everything of this one is its host name, or the
//!   prefix that it lies under, so that is what is sent.

use serde_json::{Value, json};
use url::Url;

use super::persist::{Patience, Refusal, Verdict, judge, persist, unpromised};
use super::plan::{Limits, Request};
use crate::http;
use crate::secret::Secret;

/// A hundred requests, which the slowest plan takes in about ten seconds.
const MAX_PATHS: usize = 10_000;
/// On every plan; Enterprise may send 500 URLs.
const OPERATIONS: usize = 100;
/// A path is purged with its copies for all origins in one request.
pub const MAX_ORIGINS: usize = OPERATIONS - 1;
/// One request: more folders, or tags, than that are cheaper as everything, and the slowest plan takes 5 such requests a
/// minute.
const MAX_BULK: usize = OPERATIONS;

/// A zone.
#[derive(Debug)]
pub struct Cloudflare {
    /// Its id.
    pub zone: String,
    /// A token that may purge its cache.
    pub token: Secret,
    /// True if its edges know documents by their tags.
    pub tags: bool,
    /// The origins of pages that fetch documents, as browsers send them: `https://www.example.org`.
    pub origins: Vec<String>,
    /// The address of the API.
    pub api: Url,
}

impl Cloudflare {
    /// What it takes.
    pub fn limits(&self) -> Limits {
        Limits {
            items: MAX_PATHS,
            paths_per_request: OPERATIONS / (1 + self.origins.len().min(MAX_ORIGINS)),
            bulk_per_request: OPERATIONS,
            folders: Some(MAX_BULK),
            most_tags: MAX_BULK,
            tags: self.tags,
            everything: true,
        }
    }

    /// Sends a purge.
    pub async fn send(&self, site: &Url, request: &Request, patience: Patience) -> Result<(), Refusal> {
        let mut url = self.api.clone();
        url.set_path(&format!("{}/zones/{}/purge_cache", self.api.path().trim_end_matches('/'), self.zone));
        let body = self.body(site, request).to_string();
        let authorization = format!("Bearer {}", self.token.expose());
        let headers = [("authorization", authorization.as_str()), ("content-type", "application/json")];
        persist(patience, async |timeout| {
            verdict(&http::send("POST", &url, &headers, body.clone().into_bytes(), timeout).await)
        })
        .await
    }

    fn body(&self, site: &Url, request: &Request) -> Value {
        let place = &site[url::Position::BeforeHost..url::Position::AfterPort];
        let prefix = |folder: &str| format!("{place}{}{folder}", site.path()).trim_end_matches('/').to_owned();
        match request {
            Request::Paths(paths) => {
                let files: Vec<Value> = paths.iter().flat_map(|path| self.files(&format!("{site}{path}"))).collect();
                json!({ "files": files })
            }
            Request::Folders(folders) => {
                json!({ "prefixes": folders.iter().map(|folder| prefix(folder)).collect::<Vec<_>>() })
            }
            Request::Tags(tags) => json!({ "tags": tags }),
            Request::Everything if site.path() == "/" => json!({ "hosts": [place] }),
            Request::Everything => json!({ "prefixes": [prefix("")] }),
        }
    }

    /// The copies of a URL: as a visitor of its own host has fetched it, and as pages of other origins have.
    fn files(&self, url: &str) -> Vec<Value> {
        let of_origin = |origin: &String| json!({ "url": url, "headers": { "Origin": origin } });
        std::iter::once(json!(url)).chain(self.origins.iter().map(of_origin)).collect()
    }
}

fn verdict(answer: &Result<http::Answer, String>) -> Verdict {
    let denied = "[cdn.cloudflare] token needs the permission Zone, Cache Purge, Purge for the zone";
    let judged = judge("Cloudflare", answer, denied);
    let Ok(answer) = answer else { return judged };
    let body: Value = serde_json::from_slice(&answer.bytes).unwrap_or_default();
    // A refusal may come with the status 200.
    if matches!(judged, Verdict::Done) && body["success"] == true {
        return judged;
    }
    let errors: Vec<String> = body["errors"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|error| format!("{} {}", error["code"], error["message"].as_str().unwrap_or_default()))
        .collect();
    let refused = |refusal: Refusal| match errors.is_empty() {
        true => refusal,
        false => Refusal { reason: format!("Cloudflare answered {}: {}", answer.status, errors.join("; ")), ..refusal },
    };
    match judged {
        Verdict::Done => Verdict::Never(refused(unpromised("Cloudflare", answer, "[cdn.cloudflare] api_url"))),
        Verdict::Later(refusal, after) => Verdict::Later(refused(refusal), after),
        Verdict::Never(refusal) => Verdict::Never(refused(refusal)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(site: &str, origins: &[&str], request: &Request) -> String {
        let origins = origins.iter().map(|origin| (*origin).to_owned()).collect();
        let api = Url::parse("https://api.cloudflare.com/client/v4").unwrap();
        let zone = Cloudflare { zone: "z".to_owned(), token: Secret::new("t"), tags: false, origins, api };
        zone.body(&Url::parse(site).unwrap(), request).to_string()
    }

    #[test]
    fn what_is_sent_for_each_kind() {
        let (root, folder) = ("https://cdn.example.org/", "https://cdn.example.org:8443/m%C3%A4ps/");
        let paths = Request::Paths(vec!["a/b.json".into()]);
        assert_eq!(body(root, &[], &paths), r#"{"files":["https://cdn.example.org/a/b.json"]}"#);
        assert_eq!(
            body(root, &["https://www.example.org"], &paths),
            r#"{"files":["https://cdn.example.org/a/b.json",{"url":"https://cdn.example.org/a/b.json","headers":{"Origin":"https://www.example.org"}}]}"#
        );
        let folders = Request::Folders(vec!["a/".to_owned()]);
        assert_eq!(body(folder, &[], &folders), r#"{"prefixes":["cdn.example.org:8443/m%C3%A4ps/a"]}"#);
        assert_eq!(body(root, &[], &Request::Tags(vec!["topic:x".to_owned()])), r#"{"tags":["topic:x"]}"#);
        assert_eq!(body(root, &[], &Request::Everything), r#"{"hosts":["cdn.example.org"]}"#);
        assert_eq!(body(folder, &[], &Request::Everything), r#"{"prefixes":["cdn.example.org:8443/m%C3%A4ps"]}"#);
    }
}
