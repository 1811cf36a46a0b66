//! What readers see of a document is the same whichever source it comes from: what HEAD says, when nothing is sent because
//! they have it, and whose pages may read it.

use std::path::PathBuf;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::support::http::{self, Response};
use crate::support::places::{self, TEMPLATE};
use crate::support::project::{Locked, Project};
use crate::support::serving::Serving;
use crate::support::wait::wait_until;

const MINUTE: Duration = Duration::from_mins(1);
const ALLOWED: [&str; 2] = ["https://one.example", "https://two.example:8443"];
const OTHER: &str = "https://three.example";

/// A site with a table whose answers from the database stand for a second, and of whose topics the last is unpublished.
struct Site {
    project: Project,
    server: Serving,
}

impl Site {
    fn start() -> Self {
        let project = places::sqlite();
        let some = TEMPLATE.replacen("papers DESC, slug\"\n", "papers DESC, slug\"\npublish = 2\n", 1);
        project.template("places", &some.replace("---*/", "[limits]\nper_minute = 60000\nttl = \"1s\"\n---*/"));
        let origins = format!("[fallback]\ncors_origins = [\"{}\", \"{}\"]\n", ALLOWED[0], ALLOWED[1]);
        project.configure("sqlite:file.db", &origins);
        project.publish();
        Self { server: Serving::start(&project), project }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.project.root().join(name)
    }

    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Response {
        http::request(method, self.server.address, path, headers)
    }

    /// Asks for three documents that weren't asked for since the source came to be the one to answer: each question is put
    /// to the source itself, and then to the memory.
    fn reads(&self, source: &str, paths: [&str; 3]) {
        let [first, second, third] = paths.map(|path| format!("/{path}"));
        let head = self.ask("HEAD", &first, &[]);
        assert_eq!((head.status, head.header("x-tintype-source")), (200, source), "HEAD {first}");
        let body = self.ask("GET", &first, &[]);
        Self::agree(&head, &body, source);
        assert!(head.body.is_empty(), "{source}: HEAD with a body");

        let gzip = [("Accept-Encoding", "gzip")];
        let head = self.ask("HEAD", &second, &gzip);
        assert_eq!((head.status, head.header("x-tintype-source")), (200, source), "HEAD {second}");
        let packed = self.ask("GET", &second, &gzip);
        Self::agree(&head, &packed, source);
        assert_eq!((head.header("content-encoding"), head.body.len()), ("gzip", 0), "{source}");

        // The reader has it by its digest, whoever has told him.
        let digest = etag(&self.project, &third);
        for (tag, encoding) in [(format!("\"{digest}\""), ""), (format!("W/\"{digest}-gz\""), "gzip")] {
            let headers = [("If-None-Match", tag.as_str()), ("Accept-Encoding", encoding)];
            let known = self.ask("GET", &third, &headers);
            assert_eq!(known.status, 304, "{source}: {third}");
            let from = known.header("x-tintype-source");
            assert!(from == source || (encoding == "gzip" && from == "memory"), "{source}: {from}");
            assert_eq!(known.header("etag"), tag.trim_start_matches("W/"), "{source}");
            assert!(known.body.is_empty() && known.header("content-type").is_empty(), "{source}: {:?}", known.headers);
            assert!(known.header("vary").starts_with("Accept-Encoding"), "{source}: {:?}", known.headers);
            assert!(known.header("cache-control").starts_with("public, max-age="), "{source}: {:?}", known.headers);
            let head = self.ask("HEAD", &third, &headers);
            assert_eq!((head.status, head.body.len()), (304, 0), "{source}");
        }
        let other = self.ask("GET", &third, &[("If-None-Match", "\"0123456789abcdef0123456789abcdef\"")]);
        assert_eq!(other.status, 200, "{source}");
        assert_eq!(other.header("etag"), format!("\"{digest}\""), "{source}");
    }

    /// HEAD says what GET says, but for the time that it took and where it was found.
    fn agree(head: &Response, get: &Response, source: &str) {
        let told = |answer: &Response| {
            let mut headers = answer.headers.clone();
            headers.retain(|name, _| !["server-timing", "date", "x-tintype-source"].contains(&name.as_str()));
            headers
        };
        assert_eq!(told(head), told(get), "{source}");
        assert_eq!(get.header("content-length"), get.body.len().to_string(), "{source}");
        assert_eq!(get.status, 200, "{source}");
    }
}

/// The first half of the digest of what the database has.
pub fn etag(project: &Project, path: &str) -> String {
    let selector = path.trim_start_matches('/').trim_end_matches(".json");
    let body = project.run(&["get", selector, "--from", "live"]).expect(0).stdout;
    let body = body.strip_suffix(b"\n").expect("a line");
    Sha256::digest(body).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

fn rename(from: PathBuf, to: PathBuf) {
    std::fs::rename(from, to).expect("move a file");
}

#[test]
fn head_and_what_a_reader_has_already_are_answered_alike_by_every_source() {
    let site = Site::start();
    let paths = |region: &str, topic: &str| {
        ["low", "medium", "high"].map(|confidence| format!("places/{region}/{topic}/{confidence}.json"))
    };
    let reads = |source: &str, paths: &[String; 3]| site.reads(source, [&paths[0], &paths[1], &paths[2]]);
    reads("store", &paths("united-states", "crispr"));
    // Without the bodies the table has them.
    rename(site.file(".tintype/blob"), site.file("blob"));
    reads("table", &paths("united-states", "malaria"));
    // Without the table the database has them; of what isn't published it always had.
    rename(site.file(".tintype/fallback.db"), site.file("table"));
    reads("live", &paths("cote-divoire", "crispr"));
    let unpublished = paths("united-states", "sepsis");
    reads("live", &unpublished);
    // And if that is taken, there is what was said before.
    let digests = unpublished.clone().map(|path| etag(&site.project, &path));
    let writer = Locked::file(&site.file("file.db"));
    for (path, digest) in unpublished.iter().zip(&digests) {
        let path = format!("/{path}");
        wait_until("the old answer", MINUTE, || site.ask("GET", &path, &[]).header("x-tintype-source") == "stale");
        let (head, whole) = (site.ask("HEAD", &path, &[]), site.ask("GET", &path, &[]));
        assert_eq!((head.header("x-tintype-source"), head.body.len()), ("stale", 0));
        Site::agree(&head, &whole, "stale");
        assert_eq!(whole.header("cache-control"), "public, max-age=0, s-maxage=10, stale-if-error=86400");
        let known = site.ask("GET", &path, &[("If-None-Match", &format!("\"{digest}\""))]);
        assert_eq!((known.status, known.header("x-tintype-source"), known.body.len()), (304, "stale", 0));
        assert_eq!(known.header("cache-control"), whole.header("cache-control"));
    }
    drop(writer);
    let path = format!("/{}", unpublished[0]);
    wait_until("the database to be read again", MINUTE, || {
        site.ask("GET", &path, &[]).header("x-tintype-source") == "live"
    });
    site.server.end().expect(0);
}

#[test]
fn two_origins_may_read_and_a_third_may_not() {
    let site = Site::start();
    let published = "/places/united-states/crispr/low.json";
    // A document, one that is remembered, one from the database, none, a refused method, and a probe.
    let asked = [
        ("GET", published, 200),
        ("GET", published, 200),
        ("HEAD", published, 200),
        ("GET", "/places/united-states/sepsis/low.json", 200),
        ("GET", "/places/atlantis/crispr/low.json", 404),
        ("GET", "/no/such.json", 404),
        ("POST", published, 405),
        ("GET", "/health/live", 200),
    ];
    for (method, path, status) in asked {
        for origin in ALLOWED {
            let answer = site.ask(method, path, &[("Origin", origin)]);
            let what = format!("{method} {path} of {origin}: {:?}", answer.headers);
            assert_eq!(answer.status, status, "{what}");
            assert_eq!(answer.header("access-control-allow-origin"), origin, "{what}");
            assert!(answer.header("vary").ends_with("Origin"), "{what}");
            assert!(answer.header("access-control-expose-headers").contains("Retry-After"), "{what}");
        }
        let near = ["http://one.example", "https://one.example:443", "https://one.example.evil.example", "null", ""];
        for origin in near.into_iter().chain([OTHER]) {
            let answer = site.ask(method, path, &[("Origin", origin)]);
            let what = format!("{method} {path} of {origin:?}: {:?}", answer.headers);
            assert_eq!(answer.status, status, "{what}");
            assert_eq!(answer.header("access-control-allow-origin"), "", "{what}");
            assert!(answer.header("vary").ends_with("Origin"), "{what}");
        }
        // A cache in between must not give one page the answer for another, so it is told of the origin in any case.
        let answer = site.ask(method, path, &[]);
        assert_eq!(answer.header("access-control-allow-origin"), "", "{method} {path}");
        assert!(answer.header("vary").ends_with("Origin"), "{method} {path}: {:?}", answer.headers);
    }
    let etag = site.ask("GET", published, &[]).header("etag").to_owned();
    let known = site.ask("GET", published, &[("Origin", ALLOWED[1]), ("If-None-Match", &etag)]);
    assert_eq!((known.status, known.header("access-control-allow-origin")), (304, ALLOWED[1]));
    assert_eq!(known.header("vary"), "Accept-Encoding, Origin");
    // Before a request with a header of its own, a browser asks whether it may.
    let before = |origin: &str| {
        let asked = [
            ("Origin", origin),
            ("Access-Control-Request-Method", "GET"),
            ("Access-Control-Request-Headers", "if-none-match"),
        ];
        site.ask("OPTIONS", published, &asked)
    };
    for origin in ALLOWED {
        let answer = before(origin);
        assert_eq!((answer.status, answer.body.len()), (204, 0));
        assert_eq!(answer.header("access-control-allow-origin"), origin);
        assert_eq!(answer.header("access-control-allow-methods"), "GET, HEAD, OPTIONS");
        assert!(answer.header("access-control-allow-headers").contains("If-None-Match"), "{:?}", answer.headers);
        assert_eq!(answer.header("vary"), "Origin");
    }
    let refused = before(OTHER);
    assert_eq!((refused.status, refused.header("access-control-allow-origin")), (204, ""));
    assert_eq!(refused.header("vary"), "Origin");
    site.server.end().expect(0);
}
