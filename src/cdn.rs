//! The CDN as a reader meets it: what can be fetched through its URL, and what must not be. `purge` tells its edges what
//! to forget, `reader` fetches a document as a browser would, and `examine` looks closely at what the edge does with it.
//!
//! The store's own records lie beside the documents, and an edge whose origin is the folder or the bucket that holds both
//! would hand them out: every release, every author and note, and documents that were removed.

use std::time::Duration;

use url::Url;

use crate::http::{self, Answer};

pub mod cloudflare;
pub mod cloudfront;
pub mod examine;
pub mod fastly;
mod identity;
mod pace;
mod persist;
mod plan;
mod purge;
pub mod reader;
pub mod webhook;

pub use persist::Patience;
pub use plan::{Group, Plan, Request, TagOf};
pub use purge::{Cdn, CdnError, Driver, Service};

/// The longest wait for an answer and its body.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Fetches a URL once, as a browser would that stores nothing. An error is a reason, as a fragment.
pub async fn fetch(url: &Url) -> Result<Answer, String> {
    http::send("GET", url, &[], Vec::new(), TIMEOUT).await
}

/// The addresses under which a record could be fetched by mistake. `public` and `control` are the places of documents and
/// records as somebody names them who sees both, empty or with a `/` at the end; `base` is where readers fetch documents.
///
/// The origin may be the folder above both, or the documents' own with the records in it; and the CDN may show it under
/// its own root, or under a path that ends in the documents' place.
pub fn record_urls(base: &Url, public: &str, control: &str, name: &str) -> Vec<Url> {
    let path = base.path();
    let above = path.strip_suffix(public).filter(|_| !public.is_empty());
    let mut urls = Vec::new();
    for folder in ["/", path].into_iter().chain(above) {
        let mut url = base.clone();
        url.set_path(&format!("{folder}{control}{name}"));
        if !urls.contains(&url) {
            urls.push(url);
        }
    }
    urls
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(base: &str, public: &str, control: &str) -> Vec<String> {
        let base = Url::parse(base).unwrap();
        record_urls(&base, public, control, "head.json").into_iter().map(String::from).collect()
    }

    #[test]
    fn wherever_the_origin_may_begin() {
        assert_eq!(
            urls("https://cdn.example.org/", "site/", "_tintype/site/"),
            ["https://cdn.example.org/_tintype/site/head.json"]
        );
        assert_eq!(
            urls("https://cdn.example.org/maps/site/", "site/", "_tintype/site/"),
            [
                "https://cdn.example.org/_tintype/site/head.json",
                "https://cdn.example.org/maps/site/_tintype/site/head.json",
                "https://cdn.example.org/maps/_tintype/site/head.json",
            ]
        );
        assert_eq!(urls("http://h:8080/", "", ".tintype/"), ["http://h:8080/.tintype/head.json"]);
    }
}
