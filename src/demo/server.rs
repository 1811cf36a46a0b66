//! A server for a published directory, for trying tintype out: what nginx with `gzip_static` or a CDN would do, on the loopback interface.
//!
//! Every document lies as `<path>.json.gz` under the public folder and goes out as it lies there, or decompressed to a client that does not
//! take gzip. It knows nothing of templates or of a database: only files.

mod document;

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use tokio::net::TcpListener;

use document::{Document, DocumentError};

use crate::fallback::negotiate;

/// How many further ports are tried when one is busy.
const FURTHER_PORTS: u16 = 20;
/// How long requests in flight may take after the shutdown was asked for.
const DRAIN: Duration = Duration::from_secs(5);
const ALLOWED_METHODS: &str = "GET, HEAD, OPTIONS";
const PAGE: &str = include_str!("page.html");
/// The page holds its own style and script, and fetches from its own origin only.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A document that the start page offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Object path without a leading slash, `world-map/crispr/low.json`.
    pub path: String,
    /// What a reader sees.
    pub label: String,
}

/// What the handlers share.
struct Site {
    public: PathBuf,
    page: Bytes,
    cache_control: Box<dyn Fn(&str) -> String + Send + Sync>,
}

/// Serves the documents under `public`, and at `/` a page that offers `links`.
///
/// `cache_control` is asked with an object path for the `Cache-Control` that a CDN would see; an answer that is no header value is left out.
pub fn router(
    public: PathBuf,
    links: &[Link],
    cache_control: impl Fn(&str) -> String + Send + Sync + 'static,
) -> Router {
    let site = Site { public, page: page(links).into(), cache_control: Box::new(cache_control) };
    // One handler for every path: the paths are those of the files, and no pattern of axum's may decode or normalise them first.
    Router::new().fallback(answer).with_state(Arc::new(site))
}

/// Listens on the loopback interface at `port`, or at the next free one of the 20 above it. Port 0 takes any free port.
pub async fn bind(port: u16) -> io::Result<(TcpListener, SocketAddr)> {
    let last = if port == 0 { 0 } else { port.saturating_add(FURTHER_PORTS) };
    let mut candidate = port;
    loop {
        match TcpListener::bind((Ipv4Addr::LOCALHOST, candidate)).await {
            Ok(listener) => {
                let address = listener.local_addr()?;
                return Ok((listener, address));
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && candidate < last => {
                candidate += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Serves until `shutdown` is ready, then lets requests in flight finish for at most five seconds.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let (ordered, order) = tokio::sync::oneshot::channel::<()>();
    let shutdown = async move {
        shutdown.await;
        // The receiver is gone only when the server has ended by itself.
        let _ = ordered.send(());
    };
    let drained = async move {
        if order.await.is_ok() {
            tokio::time::sleep(DRAIN).await;
        } else {
            std::future::pending::<()>().await;
        }
    };
    let server = axum::serve(listener, router).with_graceful_shutdown(shutdown);
    tokio::select! {
        ended = server.into_future() => ended,
        () = drained => Ok(()),
    }
}

async fn answer(State(site): State<Arc<Site>>, request: Request) -> Response {
    let (parts, _body) = request.into_parts();
    let mut response = match parts.method {
        Method::GET | Method::HEAD if parts.uri.path() == "/" => start_page(&site),
        Method::GET | Method::HEAD => document(&site, parts.uri.path(), &parts.headers).await,
        Method::OPTIONS => preflight(),
        _ => {
            let mut response = problem(StatusCode::METHOD_NOT_ALLOWED, "method not allowed");
            set(&mut response, header::ALLOW, ALLOWED_METHODS);
            response
        }
    };
    if parts.method == Method::HEAD {
        // The length that GET would have stays in the header.
        *response.body_mut() = Body::empty();
    }
    set(&mut response, header::ACCESS_CONTROL_ALLOW_ORIGIN, "*");
    set(&mut response, header::ACCESS_CONTROL_EXPOSE_HEADERS, "ETag");
    set(&mut response, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    response
}

async fn document(site: &Site, path: &str, headers: &HeaderMap) -> Response {
    let Some(object_path) = document::object_path(path) else {
        return problem(StatusCode::NOT_FOUND, "no such document");
    };
    let (public, name) = (site.public.clone(), object_path.to_owned());
    let gzip = negotiate::accepts_gzip(headers);
    // Reading, decompressing and hashing would block the thread that all connections share.
    let read = tokio::task::spawn_blocking(move || Document::read(&public, &name, gzip)).await;
    match read {
        Ok(Ok(document)) => deliver(site, object_path, document, headers),
        Ok(Err(DocumentError::Absent)) => problem(StatusCode::NOT_FOUND, "no such document"),
        Ok(Err(error)) => {
            tracing::error!(path, %error, "document not readable");
            problem(StatusCode::INTERNAL_SERVER_ERROR, "document not readable")
        }
        Err(_) => problem(StatusCode::INTERNAL_SERVER_ERROR, "document not readable"),
    }
}

fn deliver(site: &Site, object_path: &str, document: Document, headers: &HeaderMap) -> Response {
    let unchanged = negotiate::none_match(headers, &document.etag);
    let mut response = if unchanged {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        let mut response = body("application/json", document.bytes.into());
        if document.gzip {
            set(&mut response, header::CONTENT_ENCODING, "gzip");
        }
        response
    };
    set(&mut response, header::ETAG, &document.etag);
    set(&mut response, header::VARY, "Accept-Encoding");
    set(&mut response, header::CACHE_CONTROL, &(site.cache_control)(object_path));
    response
}

fn start_page(site: &Site) -> Response {
    let mut response = body("text/html; charset=utf-8", site.page.clone());
    set(&mut response, header::CACHE_CONTROL, "no-cache");
    set(&mut response, header::CONTENT_SECURITY_POLICY, PAGE_POLICY);
    response
}

fn preflight() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    set(&mut response, header::ALLOW, ALLOWED_METHODS);
    set(&mut response, header::ACCESS_CONTROL_ALLOW_METHODS, ALLOWED_METHODS);
    set(&mut response, header::ACCESS_CONTROL_ALLOW_HEADERS, "If-None-Match, Cache-Control");
    set(&mut response, header::ACCESS_CONTROL_MAX_AGE, "86400");
    response
}

fn problem(status: StatusCode, message: &'static str) -> Response {
    let text = serde_json::json!({ "error": message }).to_string();
    let mut response = body("application/json", text.into());
    *response.status_mut() = status;
    set(&mut response, header::CACHE_CONTROL, "no-store");
    response
}

fn body(content_type: &'static str, bytes: Bytes) -> Response {
    let length = bytes.len();
    let mut response = Response::new(Body::from(bytes));
    response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
    set(&mut response, header::CONTENT_TYPE, content_type);
    response
}

/// A value with bytes that no header can hold is left out.
fn set(response: &mut Response, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

fn page(links: &[Link]) -> String {
    let item = |link: &Link| {
        format!(
            "<li><a href=\"/{0}\"><code>/{0}</code></a> <span>{1}</span></li>\n",
            escape(&link.path),
            escape(&link.label)
        )
    };
    let items: String = links.iter().map(item).collect();
    PAGE.replace("<!--links-->", &items)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

#[cfg(test)]
mod tests;
