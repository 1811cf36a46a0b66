//! From a request to whoever answers it: a probe, or the document at an object path.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use hyper::header::{self, HeaderValue};
use hyper::{Method, StatusCode};

use super::Fallback;
use super::answer::{Answer, COME_BACK, Source, TOLD};
use super::client::Client;
use super::figures::Shed;
use super::health::{For, Probe};
use super::listen::Asked;
use super::memory::Entry;
use super::negotiate;
use super::respond::{self, Reply};

/// Longest object path; slugs and patterns are capped below it.
const MAX_PATH_BYTES: usize = 1024;

impl Fallback {
    /// Answers a request for a document.
    pub(super) async fn respond(self: &Arc<Self>, asked: Asked) -> Reply {
        let begun = Instant::now();
        let counted = |reply: Reply| {
            self.figures.count_other(reply.status());
            reply
        };
        let mut reply = match asked.method {
            _ if !asked.is_addressed() => counted(respond::not_addressed()),
            Method::GET | Method::HEAD => self.respond_to_get(&asked, begun).await,
            ref method => counted(respond::other_method(method)),
        };
        self.settings.origins.allow(&asked.headers, &mut reply);
        if self.is_draining() {
            reply.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        reply
    }

    async fn respond_to_get(self: &Arc<Self>, asked: &Asked, begun: Instant) -> Reply {
        let path = asked.uri.path();
        if let Some(probe) = Probe::at(path, self.settings.health_prefix.as_deref()) {
            return self.probe(probe, For::Readers).await;
        }
        // Before it is answered: one that comes meanwhile may have what this answer hasn't.
        let knows_release = self.followed.site().is_some();
        let Some(path) = object_path(path, self.settings.prefix.as_deref()) else {
            self.figures.count(&Answer::Unknown, false, begun);
            return respond::reply(&Answer::Unknown, Bytes::new(), &asked.headers, knows_release, begun);
        };
        self.unnamed.look_at(asked.peer.ip(), &asked.headers);
        let client = Client::of(asked.peer.ip(), &asked.headers, &self.settings.trusted_proxies);
        let answer = match self.is_too_much(path, asked) {
            true => self.has_its_share(asked),
            false => self.answer(path, client).await,
        };
        let answer = match answer {
            Answer::Unavailable { why: Shed::Memory, .. } => self.unchanged(path, asked).unwrap_or(answer),
            other => other,
        };
        if matches!(answer, Answer::Limited(_)) && self.told_limited.once_in(TOLD) {
            tracing::info!(%client, path, "answered 429: the client has had its share of the database");
        }
        let (answer, gzip) = self.load(answer, asked);
        let reply = respond::reply(&answer, gzip, &asked.headers, knows_release, begun);
        self.figures.count(&answer, reply.status() == StatusCode::NOT_MODIFIED, begun);
        reply
    }

    /// The answer without a body, if the document is what who asks has already. Nothing has to be fetched for that, nor is
    /// there need of room.
    fn unchanged(&self, path: &str, asked: &Asked) -> Option<Answer> {
        let site = self.followed.site().filter(|site| self.followed.overtaken(Some(site)).is_none())?;
        let (_, row, attributes) = site.document(path)?;
        let digest = row.digest().filter(|digest| negotiate::holds(&asked.headers, digest))?;
        let entry = Entry::new(Bytes::new(), digest, &attributes, None, Some(&site));
        Some(Answer::Document(Arc::new(entry), Source::Memory))
    }

    /// Says whether who asks has so much on the way that a large document isn't worth fetching for him. Who only wants to
    /// know whether his own is still good is sent nothing.
    fn is_too_much(&self, path: &str, asked: &Asked) -> bool {
        if asked.method == Method::HEAD || !self.loads.are_any() {
            return false;
        }
        let Some(site) = self.followed.site() else { return false };
        let Some(document) = site.manifest.row(path).and_then(|row| row.document.as_ref()) else { return false };
        let bytes = u64::from(document.gzip_bytes);
        !self.loads.has_room(asked.peer.ip(), bytes) && !negotiate::holds(&asked.headers, &document.digest)
    }

    /// The answer with the body that is sent, if there is any; another one for whom enough is on its way already.
    fn load(&self, answer: Answer, asked: &Asked) -> (Answer, Bytes) {
        let Answer::Document(entry, _) = &answer else { return (answer, Bytes::new()) };
        if !respond::has_to_be_sent(entry, &asked.headers) {
            return (answer, Bytes::new());
        }
        let gzip = match asked.method {
            Method::HEAD => Some(entry.gzip.clone()),
            _ => self.loads.carry(asked.peer.ip(), &entry.gzip),
        };
        match gzip {
            Some(gzip) => (answer, gzip),
            None => (self.has_its_share(asked), Bytes::new()),
        }
    }

    /// The answer to an address that has its share of large documents on their way.
    fn has_its_share(&self, asked: &Asked) -> Answer {
        if self.told_share.once_in(TOLD) {
            tracing::info!(peer = %asked.peer.ip(), "an address has its share of large documents on their way");
        }
        Answer::Unavailable { retry_after: COME_BACK, why: Shed::Memory }
    }

    /// Answers a request at the second port.
    pub(super) async fn respond_to_operator(&self, asked: Asked) -> Reply {
        let path = asked.uri.path();
        match (Probe::at(path, self.settings.health_prefix.as_deref()), path) {
            _ if !asked.is_addressed() => respond::not_addressed(),
            _ if !matches!(asked.method, Method::GET | Method::HEAD) => respond::other_method(&asked.method),
            (Some(probe), _) => self.probe(probe, For::Operator).await,
            (None, "/metrics") => self.metrics().await,
            _ => respond::problem(StatusCode::NOT_FOUND, "not_found", "there are /metrics and /health here", None),
        }
    }
}

/// The object path of a request's path, or none if it can't be a document's.
///
/// Object paths need no escaping, so a percent sign is refused before anyone could decode it to a slash or a point.
fn object_path<'a>(path: &'a str, prefix: Option<&str>) -> Option<&'a str> {
    let below = prefix.and_then(|prefix| path.strip_prefix(prefix)).filter(|rest| rest.starts_with('/'));
    let path = below.unwrap_or(path).strip_prefix('/')?;
    let plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.' | b'/');
    let is_named = path.len() <= MAX_PATH_BYTES && path.ends_with(".json") && path.bytes().all(plain);
    (is_named && path.split('/').all(|part| !part.is_empty() && !part.starts_with('.'))).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_of_documents_are_looked_at() {
        let path = |path| object_path(path, Some("/data"));
        assert_eq!(path("/index.json"), Some("index.json"));
        assert_eq!(path("/data-centres/eu.json"), Some("data-centres/eu.json"), "the prefix is a folder");
        assert_eq!(path("/data/world-map/crispr/low.json"), Some("world-map/crispr/low.json"));
        for refused in [
            "",
            "/",
            "/data",
            "/data/",
            "//index.json",
            "/a/../b.json",
            "/a/./b.json",
            "/a//b.json",
            "/a%2fb.json",
            "/%2e%2e/a.json",
            "/a\\b.json",
            "/.tintype/head.json",
            "/A.json",
            "/a.html",
            "/a.json/",
            "/a.json.gz",
        ] {
            assert_eq!(path(refused), None, "{refused}");
        }
        assert_eq!(path(&format!("/{}.json", "a".repeat(2000))), None);
    }
}
