//! `tintype serve` among people who take their time: they are let go of after half a minute, and hold up nobody.

use std::time::{Duration, Instant};

use crate::serve_http::Site;
use crate::serve_sources::etag;
use crate::support::http;
use crate::support::places;
use crate::support::project::Project;
use crate::support::raw::Raw;
use crate::support::serving::Serving;
use crate::support::wait::wait_until;

const PATH: &str = "/places/united-states/crispr/low.json";
/// Half a minute, and what a busy machine adds.
const LET_GO: Duration = Duration::from_secs(50);

/// A document of some 12 MB that packs well.
const LARGE: &str = "/*---
path = \"large/{name}.json\"
[keys.name]
values = [\"all\"]
---*/
WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 100000)
SELECT 'all' AS name, n, 'ninety bytes of text, which are the same in every row and so take no room once they are packed' AS text
FROM number ORDER BY n
";

fn with_large(project: &Project) {
    project.template("large", LARGE);
}

fn site() -> Site {
    Site::start("", |_| {})
}

#[test]
fn who_sends_nothing_or_a_byte_a_second_is_let_go_of() {
    let site = site();
    let open = || Raw::open(site.server.address);
    let mut silent: Vec<Raw> = (0..100).map(|_| open()).collect();
    let mut trickling: Vec<Raw> = (0..100).map(|_| open()).collect();
    for raw in &mut trickling {
        raw.say(format!("GET {PATH} HTTP/1.1\r\nHost: x\r\nX-Slow: ").as_bytes());
    }
    // Those who have had an answer and say nothing more.
    let mut idle: Vec<Raw> = (0..100).map(|_| open()).collect();
    for raw in &mut idle {
        raw.say(format!("GET {PATH} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
        assert!(raw.answer().starts_with("HTTP/1.1 200"));
    }
    let mut next = Instant::now();
    wait_until("all of them to be let go of", LET_GO, || {
        if next <= Instant::now() {
            next += Duration::from_secs(1);
            trickling.retain_mut(|raw| !raw.is_closed(Some(b'x')));
            silent.retain_mut(|raw| !raw.is_closed(None));
            idle.retain_mut(|raw| !raw.is_closed(None));
            let asked = Instant::now();
            assert_eq!(site.server.get(PATH).status, 200);
            assert!(asked.elapsed() < Duration::from_secs(5), "others wait for {:?}", asked.elapsed());
        }
        trickling.is_empty() && silent.is_empty() && idle.is_empty()
    });
    site.is_unharmed("those who took their time");
    site.server.end().expect(0);
}

#[test]
fn who_never_reads_takes_no_memory_and_is_let_go_of() {
    let site = Site::start("", with_large);
    let mut deaf: Vec<Raw> = (0..40).map(|_| Raw::open(site.server.address)).collect();
    for raw in &mut deaf {
        raw.say(b"GET /large/all.json HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    // Others never stop asking, and read nothing either.
    let mut asking: Vec<Raw> = (0..4).map(|_| Raw::open(site.server.address)).collect();
    for raw in &mut asking {
        raw.ask_without_end(format!("GET {PATH} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
    }
    site.is_unharmed("a body for each of them");
    wait_until("all of them to be let go of", LET_GO, || {
        deaf.retain_mut(|raw| !raw.is_closed(Some(b'\r')));
        asking.retain_mut(|raw| !raw.is_closed(Some(b'\r')));
        deaf.is_empty() && asking.is_empty()
    });
    site.is_unharmed("those who never read");
    site.server.end().expect(0);
}

#[test]
fn who_reads_slowly_gets_the_whole() {
    let site = Site::start("", with_large);
    let body = site.project.public().body("large/all.json");
    assert!(body.len() > 8 << 20, "{} bytes are no large document", body.len());
    let answer = http::get(site.server.address, "/large/all.json", &[]);
    assert_eq!((answer.status, answer.header("content-length")), (200, body.len().to_string().as_str()));
    assert!(answer.body == body, "another body");
    let head = http::request("HEAD", site.server.address, "/large/all.json", &[]);
    assert_eq!(head.header("content-length"), body.len().to_string());
    site.server.end().expect(0);
}

#[test]
fn more_than_there_is_room_for_wait_and_are_served() {
    let site = Site::start("\n[fallback]\nconnections = 4\n", |_| {});
    let open = || {
        let mut raw = Raw::open(site.server.address);
        raw.say(format!("GET {PATH} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
        raw
    };
    let mut holding: Vec<Raw> = (0..4).map(|_| open()).collect();
    for raw in &mut holding {
        assert!(raw.answer().starts_with("HTTP/1.1 200"));
    }
    let mut waiting: Vec<Raw> = (0..40).map(|_| open()).collect();
    assert!(waiting[0].hears_nothing_for(Duration::from_millis(300)), "a fifth connection is served");
    // The operator isn't a reader.
    assert_eq!(http::get(site.server.admin, "/health/ready", &[]).status, 200);
    drop(holding);
    for mut raw in waiting {
        assert!(raw.answer().starts_with("HTTP/1.1 200"));
    }
    site.is_unharmed("a crowd");
    site.server.end().expect(0);
}

#[test]
fn who_takes_large_documents_slowly_holds_no_copy_of_his_own() {
    const DOCUMENTS: usize = 14;
    const READERS: usize = 6;
    let large = format!(
        "CREATE TABLE large (name TEXT, text TEXT);
         WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < {DOCUMENTS})
         INSERT INTO large SELECT 'd' || n, hex(randomblob(6000000)) FROM number"
    );
    let project = Project::sqlite(&large);
    project.template(
        "large",
        "/*---\npath = \"large/{name}.json\"\n[keys.name]\nsql = \"SELECT name FROM large ORDER BY name\"\n---*/\n\
         SELECT name, text FROM large WHERE 1 = 1 /*:keys name=name */ ORDER BY name\n",
    );
    project.configure("sqlite:file.db", "[fallback]\nmemory = \"1MiB\"\ntable = false\n");
    project.publish();
    // As if from many addresses.
    let command = || project.tintype(&["serve"]);
    let server = Serving::of(command().env("TINTYPE_FALLBACK_TRUSTED_PROXIES", "127.0.0.1"));
    let held = || server.metric("tintype_fallback_held_bytes");
    let path = |n: usize| format!("/large/d{}.json", n % DOCUMENTS + 1);
    let before = server.memory_bytes();
    let begin = |server: &Serving, n: usize| {
        let mut raw = Raw::narrow(server.address);
        raw.say(format!("GET {} HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n", path(n)).as_bytes());
        let status = raw.status();
        (raw, status)
    };
    // Some readers of each, none of whom reads on.
    let readers: Vec<(Raw, u16)> = (0..READERS * DOCUMENTS).map(|n| begin(&server, n)).collect();
    let statuses: Vec<u16> = readers.iter().map(|(_, status)| *status).collect();
    let refused = statuses.iter().filter(|status| **status == 503).count();
    // All readers of one document get the same answer: what is being sent to one is there for the next.
    assert!(
        (READERS..READERS * DOCUMENTS).contains(&refused) && statuses.iter().all(|status| [200, 503].contains(status)),
        "{statuses:?}"
    );
    assert!(statuses.chunks(DOCUMENTS).all(|round| round == &statuses[..DOCUMENTS]), "{statuses:?}");
    assert!(held() > 48 << 20, "{} bytes are held", held());
    let grown = server.memory_bytes().saturating_sub(before);
    assert!(grown < 200 << 20, "{} MiB for {} MiB of documents", grown >> 20, held() >> 20);
    // What somebody has already takes no room.
    let refused = (0..DOCUMENTS).rev().find(|n| statuses[*n] == 503).expect("a document that was refused");
    let etag = etag(&project, &path(refused));
    let known = |etag: &str| server.get_with(&path(refused), &[("If-None-Match", &format!("\"{etag}-gz\""))]);
    let answer = known(&etag);
    assert_eq!((answer.status, answer.header("etag")), (304, format!("\"{etag}-gz\"").as_str()));
    assert!(answer.header("cache-control").starts_with("public, max-age="), "{:?}", answer.headers);
    assert_eq!(known("another").status, 503);
    drop(readers);
    wait_until("what they held to be let go of", Duration::from_secs(20), || held() < 32 << 20);
    let last = server.get(&path(DOCUMENTS - 1));
    assert_eq!((last.status, last.header("x-tintype-source")), (200, "store"));
    server.end().expect(0);
    // One address has a quarter on its way, and the others the rest.
    let server = Serving::of(command().env("TINTYPE_FALLBACK_TRUSTED_PROXIES", "192.0.2.1"));
    let alone: Vec<(Raw, u16)> = (0..DOCUMENTS).map(|n| begin(&server, n)).collect();
    let had = alone.iter().filter(|(_, status)| *status == 200).count();
    assert!((2..=3).contains(&had), "{had} documents on their way to one address");
    assert!(server.metric("tintype_fallback_held_bytes") < 32 << 20);
    // Who is sent nothing is answered all the same.
    let last = path(DOCUMENTS - 1);
    assert_eq!(server.get(&last).status, 503, "it has its share");
    let asked = http::request("HEAD", server.address, &last, &[("Accept-Encoding", "gzip")]);
    assert_eq!(asked.status, 200);
    let known = server.get_with(&last, &[("If-None-Match", asked.header("etag"))]);
    assert_eq!(known.status, 304);
    assert_eq!(server.get_with(&last, &[("If-None-Match", "\"another\"")]).status, 503);
    drop(alone);
    server.end().expect(0);
}

#[test]
fn who_does_nothing_makes_room_for_who_waits() {
    const ROOM: usize = 16;
    let project = places::sqlite();
    with_large(&project);
    project.publish();
    // As if from many addresses.
    let command = project.tintype(&["serve"]).env("TINTYPE_FALLBACK_TRUSTED_PROXIES", "127.0.0.1");
    let server = Serving::of(command.env("TINTYPE_FALLBACK_CONNECTIONS", ROOM.to_string()));
    let open = || Raw::open(server.address);
    // One reader takes his time with a large document, and all the others send half a request or nothing at all.
    let mut slow = open();
    slow.say(b"GET /large/all.json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert_eq!(slow.status(), 200);
    let mut silent: Vec<Raw> = (1..ROOM).map(|_| open()).collect();
    for raw in silent.iter_mut().step_by(2) {
        raw.say(b"GET /");
    }
    let displaced = || server.metric("tintype_fallback_connections_displaced_total");
    let begun = Instant::now();
    for readers in 1..=6 {
        let mut reader = open();
        reader.say(format!("GET {PATH} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
        assert!(reader.answer().starts_with("HTTP/1.1 200"), "reader {readers}");
        silent.push(reader);
        slow.take(1000);
    }
    // Without that they wait until half a minute is over.
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    let gone = silent.iter_mut().take(ROOM - 1).filter_map(|raw| raw.is_closed(None).then_some(())).count();
    assert_eq!((gone, displaced()), (6, 6), "one for each of them");
    // Who takes something of his answer stays: this is more than was on its way to him.
    slow.take(4 << 20);
    server.end().expect(0);
}

#[test]
fn who_asks_all_the_time_makes_room_for_who_waits() {
    let project = places::sqlite();
    project.publish();
    let command = project.tintype(&["serve"]).env("TINTYPE_FALLBACK_TRUSTED_PROXIES", "127.0.0.9");
    let server = Serving::of(command.env("TINTYPE_FALLBACK_CONNECTIONS", "16"));
    let ask = |raw: &mut Raw| raw.say(format!("GET {PATH} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
    let from = |last: u8| Raw::open_as([127, 0, 0, last].into(), server.address);
    // All but one place, and a proxy with the last one.
    let mut busy: Vec<Raw> = (0..15).map(|n| from(2 + n / 8)).collect();
    let mut proxy = from(9);
    let mut rounds = 0;
    let mut round = |busy: &mut Vec<Raw>| {
        rounds += 1;
        busy.retain_mut(|raw| {
            ask(raw);
            let answer = raw.answer();
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            !answer.to_lowercase().contains("connection: close\r\n")
        });
        busy.len()
    };
    assert_eq!(round(&mut busy), 15, "nobody waits");
    let mut reader = from(4);
    ask(&mut reader);
    // None of them ever does nothing for long.
    wait_until("one of them to be told", Duration::from_secs(20), || {
        ask(&mut proxy);
        assert!(
            !proxy.answer().to_lowercase().contains("connection: close\r\n"),
            "its next request is another reader's"
        );
        round(&mut busy) < 15
    });
    assert!(reader.answer().starts_with("HTTP/1.1 200"));
    assert_eq!(server.metric("tintype_fallback_connections_displaced_total"), 0, "after {rounds} rounds");
    let ended = server.end().expect(0);
    assert!(ended.stderr.contains("room for no more connections"), "{ended}");
}

#[test]
fn one_address_gets_a_quarter_and_is_told_so() {
    let site = Site::start("\n[fallback]\nconnections = 64\n", |_| {});
    let ask = |raw: &mut Raw| raw.say(format!("GET {PATH} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
    let mut holding: Vec<Raw> = (0..16).map(|_| Raw::open(site.server.address)).collect();
    for raw in &mut holding {
        ask(raw);
        assert!(raw.answer().starts_with("HTTP/1.1 200"));
    }
    for _ in 0..100 {
        let mut one_more = Raw::open(site.server.address);
        ask(&mut one_more);
        let answer = one_more.answer();
        assert!(answer.starts_with("HTTP/1.1 429"), "{answer}");
        assert!(answer.contains("Retry-After: 1\r\n") && answer.contains("Connection: close\r\n"), "{answer}");
        let body = answer.split_once("\r\n\r\n").expect("a body").1;
        let body: serde_json::Value = serde_json::from_str(body).expect("JSON");
        assert_eq!(body["code"], "too_many_connections");
        assert_eq!(one_more.statuses(), [0; 0], "it is closed");
    }
    assert_eq!(site.server.metric("tintype_fallback_connections_refused_total"), 100);
    // Those who say nothing are let go of soon, and in the end there is room again.
    let silent: Vec<Raw> = (0..40).map(|_| Raw::open(site.server.address)).collect();
    for raw in silent {
        assert!([&[429][..], &[]].contains(&raw.statuses().as_slice()));
    }
    drop(holding);
    wait_until("room", Duration::from_secs(5), || {
        let mut raw = Raw::open(site.server.address);
        raw.say(format!("GET {PATH} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes());
        raw.statuses() == [200]
    });
    site.is_unharmed("a greedy client");
    site.server.end().expect(0);
}

/// A server that begins with a limit of 128 open files, behind a web server on the same machine.
fn with_few_files(project: &Project, may_raise: bool) -> Serving {
    let command = project.tintype(&["serve"]).env("TINTYPE_FALLBACK_TRUSTED_PROXIES", "127.0.0.1");
    Serving::of(command.few_files(may_raise))
}

#[test]
fn where_few_files_may_be_open_documents_still_are() {
    let project = places::sqlite();
    project.publish();
    let server = with_few_files(&project, false).looked();
    // As many as there is room for, and as many again, who do nothing at all. Beyond that and what the kernel holds back
    // for a listener nobody could connect before another one leaves.
    let silent: Vec<Raw> = (0..150).map(|_| Raw::open(server.address)).collect();
    wait_until("the room to be full", Duration::from_secs(20), || server.open_files() >= 64);
    assert_eq!(http::get(server.admin, "/health/ready", &[]).status, 200);
    drop(silent);
    // More than can be open, and for some of them a document that isn't in memory yet.
    let paths: Vec<String> = project.public().paths();
    let mut asking: Vec<Raw> = (0..150).map(|_| Raw::open(server.address)).collect();
    for (raw, path) in asking.iter_mut().zip(paths.iter().cycle()) {
        raw.say(format!("GET /{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes());
    }
    for raw in asking {
        assert_eq!(raw.statuses(), [200]);
    }
    let live = server.metric("tintype_fallback_requests_total{source=\"live\",code=\"200\"}");
    assert_eq!(live, 0, "a document couldn't be opened");
    let ended = server.end().expect(0);
    assert!(ended.stderr.contains("limit of open files"), "{ended}");
    assert!(!ended.stderr.contains("can't accept"), "{ended}");
}

#[test]
fn a_low_limit_of_files_is_raised_where_it_may_be() {
    let project = places::sqlite();
    project.publish();
    let server = with_few_files(&project, true);
    let silent: Vec<Raw> = (0..256).map(|_| Raw::open(server.address)).collect();
    wait_until("all of them to be accepted", Duration::from_secs(20), || server.open_files() >= 256);
    assert_eq!(server.get(PATH).status, 200);
    drop(silent);
    let ended = server.end().expect(0);
    assert!(!ended.stderr.contains("limit of open files"), "{ended}");
}
