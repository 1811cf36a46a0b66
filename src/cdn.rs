//! The CDN as a reader meets it: what can be fetched through its URL, and what must not be. `purge` tells its edges what
//! to forget.
//!
//! The store's own records lie beside the documents, and an edge whose origin is the folder or the bucket that holds both
//! would hand them out: every release, every author and note, and documents that were removed.

use std::time::Duration;

use aws_smithy_http_client::Connector;
use aws_smithy_http_client::tls::{self, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::HttpConnector as _;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::byte_stream::ByteStream;
use url::Url;

mod purge;

pub use purge::{Cdn, CdnError, Purge};

/// The longest wait for an answer and its body.
const TIMEOUT: Duration = Duration::from_secs(5);
/// More of a body than this is never looked at.
const MAX_BYTES: usize = 1 << 20;

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status; a redirection isn't followed.
    pub status: u16,
    /// The first mebibyte of the body.
    pub bytes: Vec<u8>,
}

/// Fetches a URL once, as a browser would that stores nothing. An error is a reason, as a fragment.
pub async fn fetch(url: &Url) -> Result<Answer, String> {
    match tokio::time::timeout(TIMEOUT, get(url)).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer within {}", humantime::format_duration(TIMEOUT))),
    }
}

async fn get(url: &Url) -> Result<Answer, String> {
    // The same client as the store's, with the same certificates.
    let connector = Connector::builder().tls_provider(tls::Provider::Rustls(CryptoMode::Ring)).build();
    let request = HttpRequest::get(url.as_str()).map_err(|error| error.to_string())?;
    let answer = connector.call(request).await.map_err(|error| innermost(&error))?;
    let status = answer.status().as_u16();
    let mut body = ByteStream::new(answer.into_body());
    let mut bytes = Vec::new();
    while let Some(more) = body.next().await {
        bytes.extend_from_slice(&more.map_err(|error| innermost(&error))?);
        if bytes.len() > MAX_BYTES {
            bytes.truncate(MAX_BYTES);
            break;
        }
    }
    Ok(Answer { status, bytes })
}

fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    std::iter::successors(Some(error), |&error| error.source()).last().map(ToString::to_string).unwrap_or_default()
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
