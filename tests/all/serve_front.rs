//! `tintype serve` behind a real nginx, and behind a page that knows two addresses, both as the README shows them.

use std::fs;
use std::io::Read as _;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use flate2::read::GzDecoder;

use crate::support::edge::Front;
use crate::support::http::{self, Response};
use crate::support::places;
use crate::support::process::closed_port;
use crate::support::project::{Project, sqlite_execute};
use crate::support::serving::Serving;
use crate::support::skip::skip;

const PATH: &str = "/places/united-states/crispr/low.json";

/// The small world of which only one topic is published; the other two are valid all the same.
fn project() -> Project {
    let project = places::sqlite();
    let some = places::TEMPLATE.replacen("papers DESC, slug\"\n", "papers DESC, slug\"\npublish = 1\n", 1);
    project.template("places", &some);
    project.publish();
    project
}

/// The server believes nginx, which is on the same host.
fn serving(project: &Project) -> Serving {
    Serving::of(project.tintype(&["serve"]).env("TINTYPE_FALLBACK_TRUSTED_PROXIES", "127.0.0.1"))
}

struct Site {
    project: Project,
    server: Serving,
    front: Front,
}

impl Site {
    fn start() -> Option<Site> {
        let project = project();
        let server = serving(&project);
        let front = Front::start(&project.root().join("public"), server.address)?;
        Some(Site { project, server, front })
    }

    fn get(&self, path: &str) -> Response {
        http::get(self.front.address, path, &[("Accept-Encoding", "gzip")])
    }
}

fn unpacked(answer: &Response) -> Vec<u8> {
    assert_eq!((answer.status, answer.header("content-encoding")), (200, "gzip"), "{:?}", answer.headers);
    let mut body = Vec::new();
    GzDecoder::new(answer.body.as_slice()).read_to_end(&mut body).expect("it is gzip");
    body
}

/// Headers that a page or a cache depends on, each of them once.
#[track_caller]
fn is_readable(answer: &Response, raw: &str) {
    for name in ["access-control-allow-origin", "cache-control", "content-type", "etag"] {
        let times = raw.lines().filter(|line| line.to_lowercase().starts_with(&format!("{name}:"))).count();
        assert_eq!(times, 1, "{name} in\n{raw}");
    }
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    assert_eq!(answer.header("content-type"), "application/json");
    assert!(answer.header("vary").contains("Accept-Encoding"), "{raw}");
}

/// The head of an answer as it comes.
fn head(front: &Front, path: &str) -> String {
    use std::io::Write as _;
    let mut stream = std::net::TcpStream::connect(front.address).expect("connect to nginx");
    let text = format!("HEAD {path} HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n");
    stream.write_all(text.as_bytes()).expect("send the request");
    let mut head = String::new();
    stream.read_to_string(&mut head).expect("read the head");
    head
}

#[test]
fn nginx_asks_it_for_what_the_folder_has_not() {
    let Some(site) = Site::start() else { return };
    let answered = |source: &str| {
        site.server.metric(&format!("tintype_fallback_requests_total{{source=\"{source}\",code=\"200\"}}"))
    };
    let published = site.get(PATH);
    let body = site.project.public().body(PATH.trim_start_matches('/'));
    assert_eq!(unpacked(&published), body);
    assert_eq!((published.header("x-tintype-source"), answered("store")), ("", 0), "nginx itself");
    is_readable(&published, &head(&site.front, PATH));

    // Somebody has removed documents from the folder.
    fs::remove_dir_all(site.project.root().join("public")).expect("remove the folder");
    let stored = site.get(PATH);
    assert_eq!(stored.header("x-tintype-source"), "store");
    assert_eq!(stored.body, published.body, "byte for byte");
    is_readable(&stored, &head(&site.front, PATH));
    let plain = http::get(site.front.address, PATH, &[]);
    assert_eq!((plain.header("content-encoding"), &plain.body), ("", &body));
    // It has been there once, so it isn't sent again.
    let etag = stored.header("etag");
    let again = http::get(site.front.address, PATH, &[("Accept-Encoding", "gzip"), ("If-None-Match", etag)]);
    assert_eq!((again.status, again.body.len()), (304, 0));

    // A key outside the hot set comes from the database, and is what a build would make.
    let live = site.get("/places/united-states/malaria/low.json");
    assert_eq!(live.header("x-tintype-source"), "live");
    is_readable(&live, &head(&site.front, "/places/united-states/malaria/low.json"));
    let get = ["get", "places/united-states/malaria/low", "--from", "live"];
    let mut expected = site.project.run(&get).expect(0).stdout;
    assert_eq!(expected.pop(), Some(b'\n'));
    assert_eq!(unpacked(&live), expected);

    for path in ["/places/atlantis/crispr/low.json", "/nothing.json", "/", "/places", "/places/", "/a%2fb.json"] {
        let unknown = site.get(path);
        assert_eq!(unknown.status, 404, "{path}");
        assert_eq!(unknown.header("cache-control"), "public, max-age=0, s-maxage=60", "{path}: said by tintype");
    }
    site.server.end().expect(0);
}

#[test]
fn the_blobs_may_be_gone_as_well() {
    let Some(site) = Site::start() else { return };
    let published = site.get(PATH);
    fs::remove_dir_all(site.project.root().join("public")).expect("remove the documents");
    fs::remove_dir_all(site.project.root().join(".tintype/blob")).expect("remove the blobs");
    let fallen = site.get(PATH);
    assert_eq!(fallen.header("x-tintype-source"), "table");
    assert_eq!(fallen.body, published.body, "byte for byte");
    sqlite_execute(&site.project.root().join(".tintype/fallback.db"), "DELETE FROM tintype_snapshot");
    let other = "/places/united-states/crispr/high.json";
    let live = site.get(other);
    assert_eq!((live.status, live.header("x-tintype-source")), (200, "live"));
    site.server.end().expect(0);
}

#[test]
fn nginx_says_who_asks() {
    let project = project();
    let two = places::TEMPLATE.replace("---*/", "[limits]\nper_minute = 2\n---*/");
    project.template("places", &two.replacen("papers DESC, slug\"\n", "papers DESC, slug\"\npublish = 1\n", 1));
    let server = serving(&project);
    let Some(front) = Front::start(&project.root().join("public"), server.address) else { return };
    let ask = |reader: u8, confidence: &str, forged: &str| {
        let path = format!("/places/united-states/malaria/{confidence}.json");
        let headers = [("Accept-Encoding", "gzip"), ("X-Forwarded-For", forged)];
        http::get_as(Ipv4Addr::new(127, 0, 0, reader), front.address, &path, &headers).status
    };
    // Whatever a reader writes, nginx appends where it comes from, which isn't the address of a proxy here.
    let forgeries = [("low", "203.0.113.1"), ("medium", "203.0.113.2, 127.0.0.1"), ("high", "203.0.113.3, 127.0.0.3")];
    let statuses = forgeries.map(|(confidence, forged)| ask(2, confidence, forged));
    assert_eq!(statuses, [200, 200, 429], "two a minute, whoever they say they are");
    assert_eq!(ask(3, "high", "127.0.0.2"), 200, "another reader has had nothing yet");
    assert_eq!(server.metric("tintype_fallback_rate_limited_total"), 1);
    server.end().expect(0);
}

#[test]
fn without_it_nginx_answers_at_once_by_itself() {
    let project = project();
    let nobody = std::net::SocketAddr::from(([127, 0, 0, 1], closed_port()));
    let Some(front) = Front::start(&project.root().join("public"), nobody) else { return };
    let get = |path: &str| http::get(front.address, path, &[("Accept-Encoding", "gzip")]);
    assert_eq!(get(PATH).status, 200);
    for path in ["/places/united-states/malaria/low.json", "/nothing.json"] {
        let asked = Instant::now();
        let answer = get(path);
        assert_eq!(answer.status, 502, "{path}: nobody can say that there is no such document");
        assert!(asked.elapsed() < Duration::from_secs(2), "{path}: after {:?}", asked.elapsed());
        assert_eq!(answer.header("cache-control"), "", "nothing to be kept");
    }
}

/// The script in the README's section about what the edge hasn't.
fn script() -> String {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).expect("the README");
    let section = readme.split("### When the edge has it not").nth(1).expect("the section");
    let section = section.split("\n### ").next().expect("its text").split("\n## ").next().expect("its text");
    let script = section.split("```js\n").nth(1).expect("a script").split("```").next().expect("its end");
    script.to_owned()
}

#[test]
fn a_page_with_two_addresses_asks_the_second_when_the_first_fails() {
    if Command::new("node").arg("--version").output().is_err() {
        skip("no node");
        return;
    }
    let project = project();
    let server = serving(&project);
    let Some(front) = Front::start(&project.root().join("public"), server.address) else { return };
    let (near, far) = (format!("http://{}", front.address), format!("http://{}", server.address));
    let away = format!("http://127.0.0.1:{}", closed_port());
    let shown = |first: &str, second: &str, path: &str| {
        let script = script();
        for address in ["https://cdn.example.org", "https://fallback.example.org"] {
            assert!(script.contains(address), "the script names other addresses: {script}");
        }
        let script = script.replace("https://cdn.example.org", first).replace("https://fallback.example.org", second);
        let end = format!(
            "try {{ console.log(JSON.stringify(await snapshot(\"{path}\"))); }} catch (error) {{ console.log(`failed: ${{error}}`); }}\n"
        );
        let file = project.root().join("page.mjs");
        fs::write(&file, format!("{script}\n{end}")).expect("write the script");
        let output = Command::new("node").arg(&file).output().expect("start node");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("it is text").trim().to_owned()
    };
    let path = PATH.trim_start_matches('/');
    let expected: serde_json::Value = serde_json::from_slice(&project.public().body(path)).expect("JSON");
    let document = |text: String| serde_json::from_str::<serde_json::Value>(&text).expect("JSON");
    let live = "places/united-states/malaria/low.json";
    assert_eq!(document(shown(&near, &away, path)), expected, "the first has it");
    assert_eq!(document(shown(&away, &far, path)), expected, "the first is away");
    assert_eq!(document(shown(&away, &far, live))["key"]["topic"], "malaria");
    let unknown = "places/atlantis/crispr/low.json";
    assert_eq!(document(shown(&near, &far, unknown)), serde_json::Value::Null);
    assert!(shown(&far, &away, unknown).starts_with("failed: "), "who knows every key is away");
    assert!(shown(&away, &away, path).starts_with("failed: "), "both are away");
    server.end().expect(0);
}
