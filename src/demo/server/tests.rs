use std::io::{Read as _, Write as _};

use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;

const BODY: &str = r#"{"rows":[{"city":"São Paulo"}]}"#;

/// A server on a free port over a folder with one document and things that nobody may fetch.
async fn server() -> (tempfile::TempDir, SocketAddr) {
    let folder = tempfile::tempdir().unwrap();
    let public = folder.path().join("public");
    std::fs::create_dir_all(public.join("world-map/crispr")).unwrap();
    std::fs::create_dir_all(public.join(".tintype")).unwrap();
    std::fs::create_dir_all(public.join("_tintype")).unwrap();
    std::fs::write(folder.path().join("secret.json"), "secret").unwrap();
    std::fs::write(public.join(".tintype/head.json"), "secret").unwrap();
    std::fs::write(public.join("_tintype/head.json"), "secret").unwrap();
    std::fs::write(public.join("index.json"), "{}").unwrap();
    std::fs::write(public.join("broken.json.gz"), "no gzip").unwrap();
    let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(BODY.as_bytes()).unwrap();
    std::fs::write(public.join("world-map/crispr/low.json.gz"), encoder.finish().unwrap()).unwrap();
    let links = [Link { path: "world-map/crispr/low.json".to_owned(), label: "CRISPR <b>&</b>".to_owned() }];
    let router = router(public, &links, |path| {
        if path == "index.json" { "no-cache".to_owned() } else { "public, max-age=60".to_owned() }
    });
    let (listener, address) = bind(0).await.unwrap();
    tokio::spawn(serve(listener, router, std::future::pending()));
    (folder, address)
}

/// Status, header lines in lower case, body.
async fn ask(address: SocketAddr, method: &str, path: &str, headers: &str) -> (u16, String, Vec<u8>) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    (head[9..12].parse().unwrap(), head.to_lowercase() + "\r\n", answer[end + 4..].to_vec())
}

fn value<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

#[tokio::test]
async fn a_document_in_both_encodings() {
    let (_folder, address) = server().await;
    let path = "/world-map/crispr/low.json";
    let (status, gzip, bytes) = ask(address, "GET", path, "Accept-Encoding: br, gzip\r\n").await;
    assert_eq!((status, value(&gzip, "content-encoding")), (200, Some("gzip")));
    let mut text = String::new();
    GzDecoder::new(bytes.as_slice()).read_to_string(&mut text).unwrap();
    assert_eq!(text, BODY);

    let (status, identity, bytes) = ask(address, "GET", path, "Accept-Encoding: gzip;q=0\r\n").await;
    assert_eq!((status, value(&identity, "content-encoding"), bytes.as_slice()), (200, None, BODY.as_bytes()));
    assert_eq!(value(&identity, "content-length"), Some(BODY.len().to_string().as_str()));
    assert_ne!(value(&gzip, "etag"), value(&identity, "etag"));
    for head in [&gzip, &identity] {
        assert_eq!(value(head, "content-type"), Some("application/json"));
        assert_eq!(value(head, "vary"), Some("accept-encoding"));
        assert_eq!(value(head, "cache-control"), Some("public, max-age=60"));
        assert_eq!(value(head, "access-control-allow-origin"), Some("*"));
    }

    let (status, head, bytes) = ask(address, "HEAD", path, "").await;
    assert_eq!((status, bytes.len()), (200, 0));
    assert_eq!(value(&head, "content-length"), value(&identity, "content-length"));
    assert_eq!(value(&head, "etag"), value(&identity, "etag"));
}

#[tokio::test]
async fn a_client_that_has_it_gets_304() {
    let (_folder, address) = server().await;
    let (_, head, _) = ask(address, "GET", "/index.json", "").await;
    let etag = value(&head, "etag").unwrap();
    assert_eq!(value(&head, "cache-control"), Some("no-cache"));
    for tags in [etag.to_owned(), format!("\"x\", W/{etag}"), "*".to_owned()] {
        let (status, head, bytes) = ask(address, "GET", "/index.json", &format!("If-None-Match: {tags}\r\n")).await;
        assert_eq!((status, bytes.len(), value(&head, "etag")), (304, 0, Some(etag)), "{tags}");
        assert_eq!(value(&head, "content-length"), None);
    }
    let (status, ..) = ask(address, "GET", "/index.json", "If-None-Match: \"other\"\r\n").await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn what_is_no_document_is_404() {
    let (_folder, address) = server().await;
    let paths = [
        "/nothing.json",
        "/secret.json",
        "/../secret.json",
        "/world-map/../../secret.json",
        "/%2e%2e/secret.json",
        "/..%2fsecret.json",
        "/world-map%2fcrispr%2flow.json",
        "/.tintype/head.json",
        "/_tintype/head.json",
        "/world-map/crispr/low.json.gz",
        "/world-map",
        "//index.json",
    ];
    for path in paths {
        let (status, head, bytes) = ask(address, "GET", path, "").await;
        assert_eq!((status, value(&head, "content-type")), (404, Some("application/json")), "{path}");
        assert_eq!(bytes, br#"{"error":"no such document"}"#, "{path}");
    }
    let (status, _, bytes) = ask(address, "GET", "/broken.json", "").await;
    assert_eq!((status, bytes.as_slice()), (500, br#"{"error":"document not readable"}"#.as_slice()));
}

#[tokio::test]
async fn other_methods_and_preflight() {
    let (_folder, address) = server().await;
    for path in ["/", "/index.json", "/nothing.json"] {
        let (status, head, _) = ask(address, "DELETE", path, "").await;
        assert_eq!((status, value(&head, "allow")), (405, Some("get, head, options")), "{path}");
        let (status, head, bytes) = ask(address, "OPTIONS", path, "Origin: https://example.org\r\n").await;
        assert_eq!((status, bytes.len()), (204, 0));
        assert_eq!(value(&head, "access-control-allow-methods"), Some("get, head, options"));
        assert_eq!(value(&head, "access-control-allow-origin"), Some("*"));
    }
}

#[tokio::test]
async fn the_page_stands_alone_and_says_what_is_generated() {
    let (_folder, address) = server().await;
    let (status, head, bytes) = ask(address, "GET", "/", "").await;
    let page = String::from_utf8(bytes).unwrap();
    assert_eq!((status, value(&head, "content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(page.contains("href=\"/world-map/crispr/low.json\"") && page.contains("CRISPR &lt;b&gt;&amp;&lt;/b&gt;"));
    assert!(page.contains("generated") && page.contains("CC BY 4.0"));
    assert!(!page.contains("<!--links-->") && !page.contains("src=\"http"));
}

#[tokio::test]
async fn a_busy_port_moves_to_the_next() {
    let (_held, first) = bind(0).await.unwrap();
    let (_also, second) = bind(first.port()).await.unwrap();
    assert!(second.port() > first.port() && second.port() <= first.port() + FURTHER_PORTS);
    assert!(second.ip().is_loopback());
}

#[tokio::test]
async fn a_client_that_stalls_does_not_keep_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let (listener, address) = bind(0).await.unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let router = router(folder.path().to_owned(), &[], |_| String::new());
    let server = tokio::spawn(serve(listener, router, async { stopped.await.unwrap() }));
    let (status, ..) = ask(address, "GET", "/", "").await;
    assert_eq!(status, 200);
    let mut stalled = TcpStream::connect(address).await.unwrap();
    stalled.write_all(b"GET / HTTP/1.1\r\nHost: ").await.unwrap();
    stop.send(()).unwrap();
    tokio::time::timeout(DRAIN * 2, server).await.unwrap().unwrap().unwrap();
}
