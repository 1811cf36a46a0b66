//! `tintype serve` among people who don't speak HTTP well, or speak it too well: refused, and the next is served as ever.

use std::time::{Duration, Instant};

use crate::support::http;
use crate::support::places;
use crate::support::project::Project;
use crate::support::raw::Raw;
use crate::support::serving::Serving;

const PATH: &str = "/places/united-states/crispr/low.json";
/// What the memory of the process may vary by while requests come and go.
const BREATH: u64 = 24 << 20;
/// How soon what a request took is the system's again; who does nothing may stay for thirty seconds.
const GOES_BACK: Duration = Duration::from_secs(5);

/// A server over a published site, and how it was before anybody did it harm.
pub struct Site {
    pub project: Project,
    pub server: Serving,
    body: Vec<u8>,
    leases: u64,
    memory: u64,
    since: Instant,
}

impl Site {
    /// With further lines of the configuration, and what else has to be there before the publish.
    pub fn start(more: &str, prepare: impl FnOnce(&Project)) -> Site {
        let project = places::sqlite();
        project.configure("sqlite:file.db", more);
        prepare(&project);
        project.publish();
        let server = Serving::start(&project);
        // The keys are read at the start; who asks for one that nobody knows waits for that.
        assert_eq!(server.get("/places/atlantis/crispr/low.json").status, 404);
        let body = server.get(PATH).body;
        let (leases, memory) = (server.leases(), server.memory_bytes());
        Site { project, server, body, leases, memory, since: Instant::now() }
    }

    /// It serves as ever, has asked no database, and holds no more memory.
    #[track_caller]
    pub fn is_unharmed(&self, after: &str) {
        let answer = self.server.get(PATH);
        assert_eq!(answer.status, 200, "after {after}");
        assert!(answer.body == self.body, "after {after}: another body");
        // Whoever reads the metrics has the database asked whether it is there, and its table, every 30 seconds.
        let probes = self.since.elapsed().as_secs() / 30 * 2;
        let leases = self.server.leases();
        assert!(leases <= self.leases + probes, "after {after}: a database was asked, {leases} and {}", self.leases);
        // What was let go of goes back to the system with a later request, and within a part of the time for which who does
        // nothing may stay: what these hold is still held then.
        let (until, mut memory) = (Instant::now() + GOES_BACK, self.server.memory_bytes());
        while memory >= self.memory + BREATH && Instant::now() < until {
            assert_eq!(self.server.get(PATH).status, 200, "after {after}");
            memory = self.server.memory_bytes();
        }
        assert!(memory < self.memory + BREATH, "after {after}: {memory} bytes, {} before", self.memory);
    }

    /// Sends bytes, and the answers have one of these rows of statuses. A row without any is a connection closed at once.
    #[track_caller]
    fn meets(&self, what: &str, bytes: &[u8], rows: &[&[u16]]) {
        let mut raw = Raw::open(self.server.address);
        raw.say(bytes);
        let statuses = raw.statuses();
        assert!(rows.contains(&statuses.as_slice()), "{what}: {statuses:?}");
        self.is_unharmed(what);
    }
}

fn site() -> Site {
    Site::start("", |_| {})
}

/// A request that ends its connection, with further lines of a head.
fn request(line: &str, more: &str) -> Vec<u8> {
    format!("{line}\r\nHost: x\r\nConnection: close\r\n{more}\r\n").into_bytes()
}

#[test]
fn ways_out_of_the_folder_lead_nowhere() {
    let site = site();
    for path in [
        "/../../../../etc/passwd",
        "/places/../../.tintype/head.json",
        "/places/%2e%2e/%2e%2e/.tintype/head.json",
        "/places/..%2f..%2f.tintype%2fhead.json",
        "/places/..%252f..%252f.tintype%252fhead.json",
        "/places/%c0%ae%c0%ae/head.json",
        "/places\\..\\..\\head.json",
        "/.tintype/head.json",
        "//etc/passwd.json",
        "/file:///etc/passwd.json",
        "/places%2funited-states%2fcrispr%2flow.json",
        "/places/united-states%2fcrispr/low.json",
        "/places/united-states/crispr/low%2ejson",
        "/places/united-states/crispr/low.json%00",
        "/places/united-states/crispr/low.json%0d%0aX-Forged:%201",
        "/places/united-states/crispr/low.json/..",
        "/places/united-states/crispr/low.json;x=1",
        "/places/united-states//crispr/low.json",
        "/./places/united-states/crispr/low.json",
        "/PLACES/united-states/crispr/low.json",
        "/places/united-states/crispr/low.json.gz",
    ] {
        site.meets(path, &request(&format!("GET {path} HTTP/1.1"), ""), &[&[404]]);
    }
    // A query is nobody's business.
    for query in ["?x=1", "?../../etc/passwd", "?path=/.tintype/head.json", "?%00"] {
        site.meets(query, &request(&format!("GET {PATH}{query} HTTP/1.1"), ""), &[&[200]]);
    }
    site.server.end().expect(0);
}

#[test]
fn statements_in_any_part_of_a_request_are_names_that_nobody_has() {
    for (engine, project) in places::projects() {
        let server = Serving::start(project.make_public());
        let rows = project.query("SELECT count(*) FROM fact");
        assert_eq!(server.get(PATH).status, 200, "{engine}");
        // The keys are known by now.
        assert_eq!(server.get("/places/atlantis/crispr/low.json").status, 404, "{engine}");
        let leases = server.leases();
        let statements = [
            "'",
            "''",
            "'--",
            "';DROP%20TABLE%20fact;--",
            "'%20OR%20'1'='1",
            "%27%20OR%201=1--",
            "1);DELETE%20FROM%20fact;--",
            "crispr'||(SELECT%20pg_sleep(10))||'",
            "$1",
            "{topic}",
            "crispr%00",
            "*",
            "united-states'/*:keys*/",
            "x%20UNION%20SELECT%20name%20FROM%20country",
            "crispr-or-1-1",
            "null",
        ];
        for at in 0..3 {
            for statement in statements {
                let mut segments = ["united-states", "crispr", "low"];
                segments[at] = statement;
                let path = format!("/places/{}.json", segments.join("/"));
                assert_eq!(server.get(&path).status, 404, "{engine}: {path}");
            }
        }
        for statement in statements {
            let query = format!("{PATH}?region={statement}&topic={statement}&where={statement}");
            assert_eq!(server.get(&query).status, 200, "{engine}: {query}");
            let headers = [
                ("If-None-Match", statement),
                ("Origin", statement),
                ("X-Forwarded-For", statement),
                ("Cookie", statement),
            ];
            let answer = server.get_with(PATH, &headers);
            // A star is known to everybody.
            let expected = if statement == "*" { 304 } else { 200 };
            assert_eq!(answer.status, expected, "{engine}: {statement} in headers");
        }
        assert_eq!(server.leases(), leases, "{engine}: a database was asked");
        assert_eq!(project.query("SELECT count(*) FROM fact"), rows, "{engine}");
        server.end().expect(0);
    }
}

#[test]
fn what_is_too_long_is_refused() {
    let site = site();
    let long = |count: usize| "a".repeat(count);
    // Where more is still on its way when it closes, the answer may be lost.
    let refused: &[&[u16]] = &[&[431], &[414], &[]];
    for _ in 0..10 {
        site.meets("a URL of 100 kB", &request(&format!("GET /{}.json HTTP/1.1", long(100_000)), ""), refused);
        site.meets("a query of 100 kB", &request(&format!("GET {PATH}?{} HTTP/1.1", long(100_000)), ""), refused);
        site.meets(
            "a method of 100 kB",
            &request(&format!("{} / HTTP/1.1", long(100_000)), ""),
            &[&[431], &[400], &[]],
        );
        site.meets(
            "a header of 1 MB",
            &request(&format!("GET {PATH} HTTP/1.1"), &format!("X-A: {}\r\n", long(1 << 20))),
            refused,
        );
        site.meets(
            "a name of 1 MB",
            &request(&format!("GET {PATH} HTTP/1.1"), &format!("{}: x\r\n", long(1 << 20))),
            refused,
        );
        let many: String = (0..10_000).map(|number| format!("X-{number}: {number}\r\n")).collect();
        site.meets("10,000 headers", &request(&format!("GET {PATH} HTTP/1.1"), &many), refused);
        let same = "Accept-Encoding: gzip\r\n".repeat(10_000);
        site.meets("10,000 times one header", &request(&format!("GET {PATH} HTTP/1.1"), &same), refused);
    }
    // What still fits, and long lists in headers that are read.
    site.meets("a path of 2 kB", &request(&format!("GET /{}.json HTTP/1.1", long(2_000)), ""), &[&[404]]);
    let tags = "\"a\", ".repeat(2_000);
    site.meets(
        "2,000 tags",
        &request(&format!("GET {PATH} HTTP/1.1"), &format!("If-None-Match: {tags}\r\n")),
        &[&[200]],
    );
    let hops = "203.0.113.9, ".repeat(1_000);
    site.meets(
        "1,000 hops",
        &request(&format!("GET {PATH} HTTP/1.1"), &format!("X-Forwarded-For: {hops}\r\n")),
        &[&[200]],
    );
    site.server.end().expect(0);
}

#[test]
fn bytes_that_are_no_request_are_refused() {
    let site = site();
    let line = format!("GET {PATH} HTTP/1.1");
    let bad: &[&[u16]] = &[&[400], &[]];
    for (what, bytes) in [
        ("nothing of HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec()),
        ("NUL bytes", vec![0; 4096]),
        ("HTTP/0.9", b"GET /\r\n\r\n".to_vec()),
        ("HTTP/2 at once", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()),
        ("HTTP/3.0", b"GET / HTTP/3.0\r\n\r\n".to_vec()),
        ("a blank in the path", request("GET /a b.json HTTP/1.1", "")),
        ("NUL in the path", request("GET /a\0b.json HTTP/1.1", "")),
        ("NUL in a value", request(&line, "X-A: a\0b\r\n")),
        ("CR in a value", request(&line, "X-A: a\rb\r\n")),
        ("a line that goes on", request(&line, "X-A: a\r\n b\r\n")),
        ("a blank before the colon", request(&line, "X-A : a\r\n")),
        ("no name", request(&line, ": a\r\n")),
        ("no colon", request(&line, "X-A\r\n")),
        ("two lengths", request(&line, "Content-Length: 1\r\nContent-Length: 2\r\n")),
        ("a negative length", request(&line, "Content-Length: -1\r\n")),
        ("a length that isn't one", request(&line, "Content-Length: 1e9\r\n")),
        ("a coding that isn't one", request(&line, "Transfer-Encoding: xchunked\r\n")),
        ("two hosts", request(&line, "Host: y\r\n")),
        ("no host", format!("{line}\r\nConnection: close\r\n\r\n").into_bytes()),
    ] {
        site.meets(what, &bytes, bad);
    }
    // LF in a value ends the line, so that what follows is a header of its own, and none of ours.
    let forged = http::request("GET", site.server.address, PATH, &[("Origin", "https://x\nX-Forged: 1")]);
    assert!(!forged.headers.contains_key("x-forged"), "{:?}", forged.headers);
    site.is_unharmed("LF in a value");
    site.server.end().expect(0);
}

#[test]
fn odd_but_proper_requests_are_answered() {
    let site = site();
    for (what, bytes, status) in [
        ("HTTP/1.0", format!("GET {PATH} HTTP/1.0\r\n\r\n"), 200),
        ("HTTP/1.0 with a host", format!("GET {PATH} HTTP/1.0\r\nHost: x\r\n\r\n"), 200),
        (
            "an absolute URI",
            format!("GET http://elsewhere.example:81{PATH}?x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
            200,
        ),
        (
            "another scheme",
            format!("GET gopher://elsewhere.example{PATH} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
            200,
        ),
        ("a star", "GET * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_owned(), 404),
        ("OPTIONS of everything", "OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_owned(), 204),
        ("CONNECT", "CONNECT db.example:5432 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".to_owned(), 405),
        ("TRACE", format!("TRACE {PATH} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), 405),
        ("a method of one's own", format!("BREW {PATH} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), 405),
        (
            "an upgrade",
            format!("GET {PATH} HTTP/1.1\r\nHost: x\r\nConnection: close, upgrade\r\nUpgrade: websocket\r\n\r\n"),
            200,
        ),
        ("LF alone", format!("GET {PATH} HTTP/1.1\nHost: x\nConnection: close\n\n"), 200),
        ("a range", format!("GET {PATH} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nRange: bytes=0-1\r\n\r\n"), 200),
    ] {
        site.meets(what, bytes.as_bytes(), &[&[status]]);
    }
    site.server.end().expect(0);
}

#[test]
fn bodies_are_neither_wanted_nor_taken_for_requests() {
    let site = site();
    let hidden = format!("GET {PATH} HTTP/1.1\r\nHost: x\r\n\r\n");
    let once: &[&[u16]] = &[&[200]];
    let length = |count: usize| format!("Content-Length: {count}\r\n");
    let line = format!("GET {PATH} HTTP/1.1");
    site.meets("a body that doesn't come", &request(&line, &length(1_000_000_000)), once);
    let with_body = |more: &str, body: &str| [request(&line, more), body.as_bytes().to_vec()].concat();
    site.meets("a request as a body", &with_body(&length(hidden.len()), &hidden), once);
    let chunked = format!("{:x}\r\n{hidden}\r\n0\r\n\r\n", hidden.len());
    site.meets("a request in a chunk", &with_body("Transfer-Encoding: chunked\r\n", &chunked), once);
    site.meets("chunks that aren't", &with_body("Transfer-Encoding: chunked\r\n", "zz\r\nhello"), once);
    site.meets("an endless chunk", &with_body("Transfer-Encoding: chunked\r\n", "ffffffffffffffff\r\nx"), once);
    let both = format!("{}Transfer-Encoding: chunked\r\n", length(4));
    site.meets("length and chunks", &with_body(&both, &chunked), &[&[200], &[400]]);
    let post = [request(&format!("POST {PATH} HTTP/1.1"), &length(hidden.len())), hidden.clone().into_bytes()].concat();
    site.meets("a POST", &post, &[&[405]]);
    let waiting = request(&format!("POST {PATH} HTTP/1.1"), &format!("{}Expect: 100-continue\r\n", length(9)));
    site.meets("one that waits for a word", &waiting, &[&[405]]);
    // More than 64 MB are sent to it: it closes, and keeps nothing of them.
    let flood = [request(&format!("GET {PATH} HTTP/1.1"), &length(1 << 30)), vec![b'x'; 64 << 20]].concat();
    site.meets("64 MB", &flood, &[&[200], &[]]);
    // On a connection that stays open, a body of a few bytes is read over, and what comes behind it is the next request.
    let next = [format!("{line}\r\nHost: x\r\n{}\r\nhello", length(5)).into_bytes(), request(&line, "")].concat();
    site.meets("a small body", &next, &[&[200, 200], &[200]]);
    site.server.end().expect(0);
}

#[test]
fn pipelines_are_answered_in_order_up_to_the_garbage() {
    let site = site();
    let one = format!("GET {PATH} HTTP/1.1\r\nHost: x\r\n\r\n");
    let last = request("GET /nothing.json HTTP/1.1", "");
    let many = [one.repeat(1_000).into_bytes(), last].concat();
    let expected: Vec<u16> = std::iter::repeat_n(200, 1_000).chain([404]).collect();
    site.meets("a thousand at once", &many, &[&expected]);
    for garbage in ["\0\0\0\0\r\n\r\n", "GET\r\n\r\n", "\x7f\x7f\x7f /\r\n\r\n", "}{\r\n\r\n", "GET / HTTP/9.9\r\n\r\n"]
    {
        let bytes = [one.repeat(3).as_bytes(), garbage.as_bytes(), one.as_bytes()].concat();
        site.meets(garbage, &bytes, &[&[200, 200, 200, 400], &[200, 200, 200]]);
    }
    site.server.end().expect(0);
}
