//! `tintype demo`: from nothing to a site that is served, as a new user does it.

use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::directory::{Directory, differences, stamps};
use crate::support::http::{get, request};
use crate::support::process::{Running, Tintype, closed_port};

const FIRST_BUILD: Duration = Duration::from_mins(10);

fn demo(folder: &Path, more: &[&str]) -> Tintype {
    Tintype::new(["demo", "--dir"]).arg(folder).args(more).timeout(FIRST_BUILD)
}

#[test]
fn no_serve_builds_the_demo_and_a_second_run_reuses_it() {
    let root = tempfile::tempdir().expect("make a folder");
    let folder = root.path().join("D");
    let ended = demo(&folder, &["--no-serve"]).run().expect(0);
    let said = ended.text() + &ended.stderr;
    assert!(said.contains("crispr") || said.contains("index.json"), "it doesn't say what to look at: {said}");
    let public = Directory::new(folder.join("public"));
    assert!(folder.join("tintype.toml").exists() && folder.join("public/index.json").exists());
    for path in ["world-map/crispr/low.json", "country-map/united-states/crispr/low.json"] {
        assert!(!public.document(path)["rows"].as_array().expect("rows").is_empty(), "{path}");
    }
    assert!(public.paths_of("city-map").len() > 1000);
    // Reading every document proves that each is one gzip of strict UTF-8 JSON.
    for path in public.paths() {
        let document = public.document(&path);
        assert!(document["key"].is_object() && document["rows"].is_array(), "{path}");
    }
    let catalogue = public.catalogue();
    let count: u64 = ["world-map", "country-map", "city-map"]
        .iter()
        .map(|name| catalogue["templates"][name]["count"].as_u64().expect("a count"))
        .sum();
    assert_eq!(count, public.paths().len() as u64);

    let before = stamps(&folder);
    demo(&folder, &["--no-serve"]).run().expect(0);
    let touched = differences(&before, &stamps(&folder));
    assert_eq!(touched, [".tintype/head.json", ".tintype/publish.lock"], "the second run");
    // It is a project as any other: every command works there without options.
    for command in ["status", "check", "publish"] {
        Tintype::new([command]).in_directory(&folder).run().expect(0);
    }
}

#[test]
fn a_foreign_folder_is_refused() {
    let root = tempfile::tempdir().expect("make a folder");
    std::fs::write(root.path().join("thesis.tex"), "years of work").expect("write a file");
    let before = stamps(root.path());
    let ended = demo(root.path(), &["--no-serve"]).run().expect(2);
    ended.explains(&["thesis.tex"]);
    assert_eq!(stamps(root.path()), before);
}

/// One demo, served; building it takes long, so one test asks it everything.
#[test]
fn serve_answers_like_a_cdn() {
    let root = tempfile::tempdir().expect("make a folder");
    let folder = root.path().join("D");
    let port = closed_port();
    // Somebody else has the port by the time the build is done.
    let taken = TcpListener::bind(("127.0.0.1", port)).expect("take the port");
    let mut server = demo(&folder, &["--port", &port.to_string()]).start();
    let address = server.address();
    assert_ne!(address.port(), port, "it answers on a port that is taken");
    drop(taken);
    let public = Directory::new(folder.join("public"));
    let path = "country-map/united-states/crispr/low.json";
    let url = format!("/{path}");
    let body = public.body(path);

    let plain = get(address, &url, &[]);
    assert_eq!((plain.status, plain.header("content-encoding")), (200, ""));
    assert!(plain.body == body);
    let gzip = get(address, &url, &[("Accept-Encoding", "gzip, br")]);
    assert_eq!((gzip.status, gzip.header("content-encoding")), (200, "gzip"));
    assert!(gzip.body == std::fs::read(public.file(path)).expect("read the file"));
    for answer in [&plain, &gzip] {
        assert_eq!(answer.header("content-type"), "application/json");
        assert_eq!(answer.header("access-control-allow-origin"), "*");
        assert!(answer.header("vary").to_lowercase().contains("accept-encoding"), "{answer:?}");
        assert_eq!(answer.header("content-length"), answer.body.len().to_string());
        let cache = answer.header("cache-control");
        for part in ["public", "max-age=60", "s-maxage=86400", "stale-while-revalidate", "stale-if-error"] {
            assert!(cache.contains(part), "no {part} in {cache}");
        }
    }
    let refused = get(address, &url, &[("Accept-Encoding", "gzip;q=0, identity")]);
    assert_eq!(refused.header("content-encoding"), "");

    // The two encodings are two representations, each with a tag that only the same bytes have.
    assert_ne!(plain.header("etag"), gzip.header("etag"));
    for (answer, encoding) in [(&plain, "identity"), (&gzip, "gzip")] {
        let tag = answer.header("etag");
        assert!(tag.starts_with('"') || tag.starts_with("W/\""), "{tag}");
        let again = get(address, &url, &[("Accept-Encoding", encoding), ("If-None-Match", tag)]);
        assert_eq!((again.status, again.body.len(), again.header("etag")), (304, 0, tag));
        let other = get(address, &url, &[("Accept-Encoding", encoding), ("If-None-Match", "\"other\"")]);
        assert_eq!(other.status, 200);
    }
    let head = request("HEAD", address, &url, &[]);
    assert_eq!((head.status, head.body.len()), (200, 0));
    assert_eq!(head.header("content-length"), body.len().to_string());
    let asked = request(
        "OPTIONS",
        address,
        &url,
        &[("Origin", "https://example.org"), ("Access-Control-Request-Method", "GET")],
    );
    assert!([200, 204].contains(&asked.status), "{asked:?}");
    assert_eq!(asked.header("access-control-allow-origin"), "*");
    assert_eq!(request("POST", address, &url, &[]).status, 405);

    let catalogue = get(address, "/index.json", &[]);
    assert!(catalogue.body == std::fs::read(folder.join("public/index.json")).expect("read the file"));
    let page = get(address, "/", &[]);
    assert!(page.header("content-type").starts_with("text/html"), "{page:?}");
    let hrefs: Vec<&str> = page.text().split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let links: Vec<&&str> = hrefs.iter().filter(|link| link.contains(".json")).collect();
    assert!(links.len() >= 3, "{hrefs:?}");
    for link in links {
        let link = format!("/{}", link.trim_start_matches('/'));
        assert_eq!(get(address, &link, &[]).status, 200, "{link}");
    }
    let said = page.text().to_lowercase();
    assert!(said.contains("generated"), "the page doesn't say that the authorships are generated");

    for outside in [
        "/nothing.json",
        "/world-map/crispr/low",
        "/world-map/crispr/low.json.gz/",
        "/../tintype.toml",
        "/..%2ftintype.toml",
        "/%2e%2e/tintype.toml",
        "/.tintype/head.json",
        "/%2e%2e/.tintype/head.json",
        "//etc/passwd",
        "/world-map",
        "/world-map/crispr/low.json%00",
    ] {
        let answer = get(address, outside, &[]);
        assert!([400, 404].contains(&answer.status), "{outside}: {answer:?}");
    }
    ends_well(server);
}

fn ends_well(server: Running) {
    server.signal(Signal::INT);
    let ended = server.finish();
    assert!([0, 130].contains(&ended.code()), "{ended}");
    assert!(!ended.stderr.contains("panicked"), "{ended}");
}
