//! `tintype serve` over a folder that hangs, as a disk or a network share does: a named pipe that nobody writes to keeps
//! whoever opens it waiting, for as long as the test wants it.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::support::http::{self, Response};
use crate::support::places::{self, TEMPLATE};
use crate::support::project::Project;
use crate::support::serving::Serving;
use crate::support::wait::wait_until;

const MINUTE: Duration = Duration::from_mins(1);
/// The longest time of any answer: seven seconds, and half a one for a busy machine.
const LONGEST: Duration = Duration::from_millis(7500);
/// What needs no store at all is answered within this, however busy the machine.
const AT_ONCE: Duration = Duration::from_secs(2);
/// A document that is in memory.
const WARM: &str = "/places/united-states/crispr/low.json";
/// One that is valid, and isn't published.
const UNPUBLISHED: &str = "/places/united-states/noon/low.json";
/// Topics beside those of the world: there is always a document that nobody has asked for.
const TOPICS: usize = 60;
/// A document that takes until its limit.
const ENDLESS: &str = "/*---
path = \"endless/{topic}.json\"
[limits]
per_minute = 60000
timeout = \"6s\"
[keys.topic]
sql = \"SELECT slug AS topic FROM topic ORDER BY slug\"
---*/
SELECT t.slug AS topic, (WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n) AS most
FROM topic AS t WHERE 1 = 1 /*:keys topic=t.slug */ ORDER BY t.slug
";

/// A file that hangs. What was there before comes back when it is dropped, and whoever waited reads nothing.
struct Hung {
    file: PathBuf,
    kept: PathBuf,
}

impl Hung {
    fn file(file: PathBuf) -> Self {
        let kept = file.with_extension("kept");
        fs::rename(&file, &kept).expect("move the file away");
        mknodat(CWD, &file, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("make a pipe");
        Self { file, kept }
    }

    /// Lets go of those who wait, who then find nothing; `None` if nobody does.
    fn writer(&self) -> Option<File> {
        let mut options = OpenOptions::new();
        options.write(true).custom_flags(i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).expect("a flag"));
        options.open(&self.file).ok()
    }
}

impl Drop for Hung {
    fn drop(&mut self) {
        let writer = self.writer();
        fs::rename(&self.kept, &self.file).expect("move the file back");
        drop(writer);
    }
}

/// A site in a folder, and a topic that came after its release.
struct Site {
    project: Project,
    published: BTreeMap<String, Vec<u8>>,
}

impl Site {
    fn new() -> Self {
        let project = places::sqlite();
        for topic in 0..TOPICS {
            project.execute(&format!("INSERT INTO topic VALUES ('topic-{topic}', 'Topic {topic}', 0)"));
        }
        project.configure("sqlite:file.db", "[fallback]\nfollow = \"1s\"\nreread = \"1s\"\n");
        project.template("places", &TEMPLATE.replace("---*/", "[limits]\nper_minute = 60000\nttl = \"1s\"\n---*/"));
        project.publish();
        project.execute("INSERT INTO topic VALUES ('noon', 'Noon', 5)");
        let public = project.public();
        let published = public.all_paths().into_iter().map(|path| (format!("/{path}"), public.body(&path))).collect();
        Self { project, published }
    }

    /// A server that has seen the release and knows the keys, and has answered two documents.
    fn serving(&self, has_table: bool, more: &[(&str, &str)]) -> Serving {
        let mut command = self.project.tintype(&["serve"]).env("TINTYPE_FALLBACK_TRUSTED_PROXIES", "192.0.2.1");
        command = command.env("TINTYPE_FALLBACK_TABLE", has_table.to_string());
        for (name, value) in more {
            command = command.env(name, value);
        }
        let server = Serving::of(command);
        assert_eq!(self.ask(&server, WARM).header("x-tintype-source"), "store");
        assert_eq!(self.ask(&server, UNPUBLISHED).header("x-tintype-source"), "live");
        server
    }

    /// Asks for a document, which comes with the bytes that were published or is refused, in time.
    #[track_caller]
    fn ask(&self, server: &Serving, path: &str) -> Response {
        let begun = Instant::now();
        let answer = http::get(server.address, path, &[]);
        assert!(begun.elapsed() <= LONGEST, "{path} took {:?}", begun.elapsed());
        if let (200, Some(body)) = (answer.status, self.published.get(path)) {
            assert!(answer.body == *body, "{path}: other bytes from {}", answer.header("x-tintype-source"));
        }
        answer
    }

    #[track_caller]
    fn source(&self, server: &Serving, path: &str) -> String {
        self.ask(server, path).header("x-tintype-source").to_owned()
    }

    /// Published documents that nobody has asked for.
    fn cold(&self) -> Vec<&str> {
        self.published.keys().map(String::as_str).filter(|path| path.starts_with("/places/") && *path != WARM).collect()
    }

    fn head(&self) -> PathBuf {
        self.project.root().join(".tintype/head.json")
    }

    /// The blob of a document.
    fn blob(&self, path: &str) -> PathBuf {
        let digest: String = Sha256::digest(&self.published[path]).iter().map(|byte| format!("{byte:02x}")).collect();
        let found = self.blobs().into_iter().find(|file| file.to_string_lossy().contains(&digest));
        found.expect("the blob of the document")
    }

    fn blobs(&self) -> Vec<PathBuf> {
        let names =
            |folder: PathBuf| fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("a name").path());
        names(self.project.root().join(".tintype/blob")).flat_map(names).collect()
    }
}

/// Asks what needs no store, and is answered at once.
#[track_caller]
fn is_alive(site: &Site, server: &Serving) {
    let begun = Instant::now();
    assert_eq!(http::get(server.admin, "/health/live", &[]).status, 200);
    assert_eq!(http::get(server.address, "/health/ready", &[]).status, 200);
    assert_eq!(site.source(server, WARM), "memory");
    assert!(begun.elapsed() < AT_ONCE, "it took {:?}", begun.elapsed());
}

#[test]
fn a_head_that_hangs_is_told_and_freezes_nobody() {
    let site = Site::new();
    let server = site.serving(false, &[]);
    let mut cold = site.cold().into_iter();
    let hung = Hung::file(site.head());
    wait_until("somebody to look at the head", MINUTE, || {
        is_alive(&site, &server);
        server.metric("tintype_store_up") == 0
    });
    // The rest of the store is as good as ever.
    assert_eq!(site.source(&server, cold.next().expect("a document")), "store");
    assert!(["live", "memory"].contains(&site.source(&server, UNPUBLISHED).as_str()));
    drop(hung);
    wait_until("the head to be read again", MINUTE, || server.metric("tintype_store_up") == 1);
    // Its end needs no store either.
    let _hung = Hung::file(site.head());
    wait_until("somebody to look at the head again", MINUTE, || server.metric("tintype_store_up") == 0);
    let begun = Instant::now();
    let ended = server.end().expect(0);
    assert!(begun.elapsed() < Duration::from_secs(8), "it took {:?} to end", begun.elapsed());
    assert!(ended.stderr.contains("the store can't be read; answering without it"), "{ended}");
}

#[test]
fn bodies_that_hang_take_the_threads_of_nobody_else() {
    let site = Site::new();
    let server = site.serving(false, &[]);
    let threads_before = server.threads();
    let hung: Vec<Hung> = site.blobs().into_iter().map(Hung::file).collect();
    let cold = site.cold();
    // Many at a time, again and again after the rests of the store.
    for crowd in cold[..320].chunks(80) {
        let next = Instant::now() + Duration::from_millis(2500);
        std::thread::scope(|scope| {
            for path in crowd {
                let (site, server) = (&site, &server);
                scope.spawn(move || {
                    let answer = site.ask(server, path);
                    assert!([200, 503].contains(&answer.status), "{path}: {}", answer.status);
                });
            }
        });
        is_alive(&site, &server);
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    // The head is as good as ever, and says nothing of that.
    assert_eq!(server.metric("tintype_store_up"), 0);
    is_degraded(&server, "no answer for 1s");
    let more = server.threads().saturating_sub(threads_before);
    assert!(more <= 64 + 40, "{more} more threads: reads that hang are begun without end");
    // Nobody waits for it any longer.
    for path in &cold[320..340] {
        let begun = Instant::now();
        assert_eq!(site.source(&server, path), "live");
        assert!(begun.elapsed() < Duration::from_millis(900), "{path} took {:?}", begun.elapsed());
    }
    drop(hung);
    let mut next = Instant::now();
    let mut rest = cold[340..].iter();
    wait_until("the store to be read again", MINUTE, || {
        let is_time = next <= Instant::now();
        if is_time {
            next = Instant::now() + Duration::from_millis(500);
        }
        is_time && site.source(&server, rest.next().expect("a document that wasn't asked for")) == "store"
    });
    assert_eq!(server.metric("tintype_store_up"), 1);
    server.end().expect(0);
}

/// What `/health` says while the store gives no documents.
#[track_caller]
fn is_degraded(server: &Serving, reason: &str) {
    let health = |address| {
        let answer = http::get(address, "/health", &[]);
        (answer.status, serde_json::from_slice::<Value>(&answer.body).expect("JSON"))
    };
    let (status, said) = health(server.admin);
    assert_eq!((status, &said["status"], &said["store"]["status"]), (200, &json!("degraded"), &json!("unhealthy")));
    let told = said["store"]["reason"].as_str().expect("the operator is told why");
    assert!(told.starts_with("it gives no documents: ") && told.contains(reason), "{told}");
    assert!(said["store"]["hint"].as_str().is_some_and(|hint| hint.contains("tintype verify")), "{said:#}");
    let (_, said) = health(server.address);
    assert_eq!(said["store"], json!({ "status": "unhealthy" }), "readers aren't");
}

#[test]
fn bodies_that_fail_are_told_and_so_is_their_return() {
    let site = Site::new();
    let server = site.serving(false, &[]);
    assert_eq!(server.metric("tintype_store_up"), 1);
    let blobs = site.project.root().join(".tintype/blob");
    let kept = blobs.with_extension("kept");
    fs::rename(&blobs, &kept).expect("move the blobs away");
    fs::write(&blobs, "").expect("put a file there");
    let mut cold = site.cold().into_iter();
    wait_until("the store to be known as away", MINUTE, || {
        site.ask(&server, cold.next().expect("a document that wasn't asked for"));
        server.metric("tintype_store_up") == 0
    });
    is_degraded(&server, "Not a directory");
    fs::remove_file(&blobs).expect("remove the file");
    fs::rename(&kept, &blobs).expect("move the blobs back");
    // No reader asks for anything.
    wait_until("the store to be known as back", MINUTE, || server.metric("tintype_store_up") == 1);
    assert_eq!(site.source(&server, cold.next().expect("a document")), "store");
    let said = http::get(server.admin, "/health", &[]).text().to_owned();
    assert!(said.contains(r#""status":"healthy""#) && !said.contains("degraded"), "{said}");
    server.end().expect(0);
}

#[test]
fn one_body_that_hangs_takes_the_store_from_nobody_else() {
    let site = Site::new();
    let server = site.serving(false, &[]);
    let mut cold = site.cold().into_iter();
    let slow = cold.next().expect("a document");
    let hung = Hung::file(site.blob(slow));
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                assert!(["live", "memory"].contains(&site.source(&server, slow).as_str()));
                std::thread::sleep(Duration::from_millis(200));
            }
        });
        let mut sources = BTreeMap::<String, usize>::new();
        for path in cold.take(120) {
            *sources.entry(site.source(&server, path)).or_default() += 1;
            std::thread::sleep(Duration::from_millis(50));
        }
        ended.store(true, Ordering::Relaxed);
        // The moment in which it is found out whether the rest of the store is there may cost one or two.
        assert!(sources.get("store").is_some_and(|count| *count >= 118), "{sources:?}");
    });
    drop(hung);
    wait_until("the body to be read again", MINUTE, || site.source(&server, slow) == "store");
    server.end().expect(0);
}

#[test]
fn a_damaged_body_without_anybody_else_is_told_once_in_a_while() {
    let site = Site::new();
    let server = site.serving(false, &[]);
    let blob = site.blob("/index.json");
    fs::remove_file(&blob).expect("remove the blob");
    fs::write(&blob, b"{}").expect("write the blob");
    for _ in 0..50 {
        assert_eq!(site.ask(&server, "/index.json").status, 503);
    }
    let ended = server.end().expect(0);
    let lines = ended.stderr.lines().filter(|line| line.contains("the blob of a document is damaged")).count();
    assert!((1..=2).contains(&lines), "{lines} lines: {ended}");
}

#[test]
fn behind_a_store_that_hangs_a_full_pool_refuses_in_its_own_time() {
    let site = Site::new();
    site.project.template("endless", ENDLESS);
    let server = site.serving(false, &[("DB_POOL_SIZE", "1")]);
    let mut cold = site.cold().into_iter();
    let hung: Vec<Hung> = site.blobs().into_iter().map(Hung::file).collect();
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for topic in ["crispr", "malaria", "sepsis", "noon"] {
            let (site, server, ended) = (&site, &server, &ended);
            scope.spawn(move || {
                while !ended.load(Ordering::Relaxed) {
                    site.ask(server, &format!("/endless/{topic}.json"));
                    std::thread::sleep(Duration::from_millis(20));
                }
            });
        }
        // By then it is known.
        for path in cold.by_ref().take(6) {
            site.ask(&server, path);
        }
        let mut took = Vec::new();
        for path in cold.take(12) {
            let begun = Instant::now();
            let answer = site.ask(&server, path);
            took.push((begun.elapsed(), answer.status));
        }
        ended.store(true, Ordering::Relaxed);
        // A second for a turn, and what a busy machine adds; a second for the store would be one more.
        assert!(took.iter().all(|(took, _)| *took < Duration::from_millis(1700)), "{took:?}");
        assert!(took.iter().any(|(_, status)| *status == 503), "{took:?}");
    });
    drop(hung);
    server.end().expect(0);
}
