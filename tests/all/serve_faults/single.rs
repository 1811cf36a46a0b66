//! Single things that go wrong in what a release is made of: a body that is gone or damaged, a table that shows something
//! else, a head that can't be read. And a release that was taken back.

use std::fs;
use std::path::PathBuf;

use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write as _;

use super::*;
use crate::support::fallback::{self, Table, worlds};

const LOW: &str = "/places/united-states/malaria/low.json";
const MEDIUM: &str = "/places/united-states/malaria/medium.json";
const HIGH: &str = "/places/united-states/malaria/high.json";
/// The document that another release changes.
const CHANGED: &str = "/places/united-states/crispr/high.json";
const OTHERS: [&str; 3] = [
    "/places/cote-divoire/malaria/low.json",
    "/places/cote-divoire/malaria/medium.json",
    "/places/cote-divoire/malaria/high.json",
];

/// A site in a folder with its table.
struct Site {
    world: fallback::World,
    published: BTreeMap<String, Vec<u8>>,
}

impl Site {
    fn each() -> Vec<Site> {
        worlds().into_iter().map(Site::of).collect()
    }

    fn of(world: fallback::World) -> Site {
        let project = &world.project;
        project.template("places", &TEMPLATE.replace("---*/", "[limits]\nper_minute = 60000\nttl = \"1s\"\n---*/"));
        project.publish();
        let public = project.public();
        let published = public.all_paths().into_iter().map(|path| (format!("/{path}"), public.body(&path))).collect();
        Site { world, published }
    }

    fn engine(&self) -> &'static str {
        self.world.engine
    }

    fn project(&self) -> &Project {
        &self.world.project
    }

    fn serving(&self, has_table: bool) -> Serving {
        let command = self.project().tintype(&["serve"]).env("TINTYPE_FALLBACK_TRUSTED_PROXIES", "192.0.2.1");
        let command = command.env("TINTYPE_FALLBACK_FOLLOW", "1s").env("TINTYPE_FALLBACK_REREAD", "1s");
        let server = Serving::of(command.env("TINTYPE_FALLBACK_TABLE", has_table.to_string()));
        assert_eq!(ask(&server, WARM).from, "store", "{}", self.engine());
        server
    }

    /// Asks for a published document; whoever has it has the bytes that were published.
    #[track_caller]
    fn is_from(&self, server: &Serving, path: &str, source: &str, why: &str) {
        let seen = ask(server, path);
        assert!(
            seen.status != 200 || seen.body == self.published[path],
            "{why}: {path}: other bytes from {}",
            seen.from
        );
        assert_eq!(seen.from, source, "{}: {path}: {why}", self.engine());
    }

    /// The blob of a document.
    fn blob(&self, path: &str) -> PathBuf {
        use sha2::{Digest as _, Sha256};
        let digest: String = Sha256::digest(&self.published[path]).iter().map(|byte| format!("{byte:02x}")).collect();
        let folder = self.project().root().join(".tintype/blob").join(&digest[..2]);
        let mut files = fs::read_dir(&folder).expect("the blobs").map(|entry| entry.expect("a blob").path());
        files.find(|file| file.to_string_lossy().contains(&digest)).expect("the blob of the document")
    }

    /// Moves the bodies of the store away, or back.
    fn bodies_are_away(&self, is_away: bool) {
        let (here, there) = (self.project().root().join(".tintype/blob"), self.project().root().join("blobs"));
        let (from, to) = if is_away { (here, there) } else { (there, here) };
        fs::rename(from, to).expect("move the bodies");
    }
}

fn gzipped(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).expect("compress");
    encoder.finish().expect("compress")
}

#[test]
fn a_body_that_is_gone_or_damaged_is_taken_from_elsewhere_and_never_sent() {
    for site in Site::each() {
        let (tabled, plain) = (site.serving(true), site.serving(false));
        let wrong = gzipped(&site.published[WARM]);
        let good = fs::read(site.blob(LOW)).expect("read the blob");
        let half = good[..good.len() / 2].to_vec();
        // One document each, since what was answered once is remembered.
        let damages: [(&str, Option<&[u8]>); 5] = [
            ("gone", None),
            ("another document's", Some(&wrong)),
            ("cut off", Some(&half)),
            ("empty", Some(b"")),
            ("not gzip", Some(b"{\"rows\":[]}")),
        ];
        let paths = [LOW, MEDIUM, OTHERS[0], OTHERS[1], "/index.json"];
        for ((why, damage), path) in damages.into_iter().zip(paths) {
            // Bodies that are the same are one blob a document.
            let blob = site.blob(path);
            let kept = fs::read(&blob).expect("read the blob");
            fs::remove_file(&blob).expect("remove the blob");
            if let Some(bytes) = damage {
                fs::write(&blob, bytes).expect("write the blob");
            }
            site.is_from(&tabled, path, "table", why);
            site.is_from(&plain, path, if path == "/index.json" { "503" } else { "live" }, why);
            // Nobody else is any the worse for it.
            site.is_from(&tabled, WARM, "memory", why);
            let _ = fs::remove_file(&blob);
            fs::write(&blob, kept).expect("mend the blob");
        }
        wait_until("the mended one", MINUTE, || ask(&plain, "/index.json").from == "store");
        wait_until("the store to be asked again", MINUTE, || ask(&plain, LOW).from == "store");
        site.is_from(&tabled, HIGH, "store", "it was never damaged");
        // Without anybody else to ask, it can't be had.
        fs::remove_file(site.blob(OTHERS[2])).expect("remove the blob");
        let held = match site.engine() {
            "SQLite" => (Some(Locked::file(&site.project().root().join("file.db"))), None),
            _ => (None, Some(Shut::database(site.project().database()))),
        };
        site.is_from(&plain, OTHERS[2], "503", "nobody has it");
        drop(held);
        wait_until("the database", MINUTE, || ask(&plain, OTHERS[2]).from == "live");
        tabled.end().expect(0);
        plain.end().expect(0);
    }
}

#[test]
fn a_table_that_shows_something_else_is_passed_over() {
    for site in Site::each() {
        let table = &site.world.table;
        let release = table.release();
        let of = |column: &str| {
            let sql = format!("SELECT CAST({column} AS TEXT) FROM tintype_release");
            table.query(&sql)[0][0].clone().expect("no column is NULL")
        };
        let (named, format) = (of("site"), of("format"));
        let server = site.serving(true);
        site.bodies_are_away(true);
        for (column, kept, other) in [
            ("release", &release, "0-older"),
            ("release", &release, "9-newer"),
            ("site", &named, "s3://somebody/else"),
            ("format", &format, "99"),
        ] {
            let set = |to: &str| table.execute(&format!("UPDATE tintype_release SET {column} = '{to}'"));
            set(other);
            let why = format!("{column} {other}");
            // It stands for a second, so that the next has to ask again.
            wait_until("the database", MINUTE, || ask(&server, LOW).from == "live");
            site.is_from(&server, "/index.json", "503", &why);
            set(kept);
        }
        site.is_from(&server, MEDIUM, "table", "it is itself again");
        wait_until("the table", MINUTE, || ask(&server, "/index.json").from == "table");
        // One that is gone is no table either.
        for (at, path) in [(0, OTHERS[0]), (1, OTHERS[1])] {
            let (from, to) = if at == 0 { ("tintype_snapshot", "hidden") } else { ("hidden", "tintype_snapshot") };
            table.execute(&format!("ALTER TABLE {from} RENAME TO {to}"));
            if at == 0 {
                site.is_from(&server, path, "live", "the table is gone");
            } else {
                wait_until("the table", MINUTE, || ask(&server, path).from == "table");
            }
        }
        site.bodies_are_away(false);
        site.is_from(&server, OTHERS[2], "store", "the bodies are back");
        let ended = server.end().expect(0);
        assert!(ended.stderr.contains("is of the site `s3://somebody/else`, and this one is"), "{ended}");
    }
}

#[test]
fn one_damaged_row_of_the_table_is_one_document_less() {
    for site in Site::each() {
        let table = &site.world.table;
        let server = site.serving(true);
        let row = |path: &str| format!("WHERE path = '{}'", &path[1..]);
        let copy = |columns: &str, of: &str, to: &str| {
            table.execute(&format!(
                "UPDATE tintype_snapshot SET ({columns}) = (SELECT {columns} FROM tintype_snapshot {}) {}",
                row(of),
                row(to)
            ));
        };
        let garbage = match table {
            Table::File(_) => "x'1f8b00'",
            Table::Server(_) => "'\\x1f8b00'::bytea",
        };
        // Another one's body with its digest; another one's body; no gzip; no digest.
        copy("body_gzip, digest", WARM, LOW);
        copy("body_gzip", WARM, MEDIUM);
        table.execute(&format!("UPDATE tintype_snapshot SET body_gzip = {garbage} {}", row(OTHERS[0])));
        table.execute(&format!("UPDATE tintype_snapshot SET digest = 'x' {}", row(OTHERS[1])));
        site.bodies_are_away(true);
        for path in [LOW, MEDIUM, OTHERS[0], OTHERS[1]] {
            site.is_from(&server, path, "live", "its row is damaged");
        }
        // Of the others the table is as good as ever.
        site.is_from(&server, HIGH, "table", "its row is good");
        site.is_from(&server, "/index.json", "table", "its row is good");
        server.end().expect(0);
    }
}

#[test]
fn a_release_that_was_taken_back_is_no_longer_answered() {
    for site in Site::each() {
        let project = site.project();
        let server = site.serving(true);
        let first = site.published[CHANGED].clone();
        assert_eq!(ask(&server, CHANGED).from, "store", "{}", site.engine());
        project.execute("UPDATE fact SET level = 3 WHERE fact_id = 2; INSERT INTO topic VALUES ('ebola', 'Ebola', 5)");
        project.publish();
        let second = project.public().body(&CHANGED[1..]);
        assert!(first != second, "the second release has the same bytes");
        // What was remembered, and what wasn't asked for before.
        wait_until("the second release", MINUTE, || ask(&server, CHANGED).body == second);
        assert_eq!(ask(&server, "/places/united-states/ebola/low.json").from, "store");
        project.json(&["rollback", "--yes"], 0);
        let begun = Instant::now();
        wait_until("the release before", MINUTE, || ask(&server, CHANGED).body == first);
        // It looks once a second, and reading what it found takes a moment.
        assert!(begun.elapsed() < Duration::from_secs(3), "it took {:?}", begun.elapsed());
        for path in site.published.keys().filter(|path| path.starts_with("/places/")) {
            let seen = ask(&server, path);
            assert!(seen.body == site.published[path], "{}: {path} from {}", site.engine(), seen.from);
            assert!(["store", "memory"].contains(&seen.from.as_str()), "{}: {path} from {}", site.engine(), seen.from);
        }
        // Of what is no longer published the database tells, since the key is there.
        wait_until("the key that isn't published", MINUTE, || {
            ask(&server, "/places/united-states/ebola/low.json").from == "live"
        });
        server.end().expect(0);
    }
}

#[test]
fn a_head_that_cannot_be_read_takes_nothing_from_what_is_known() {
    let site = Site::each().remove(0);
    let server = site.serving(false);
    let head = site.project().root().join(".tintype/head.json");
    let good = fs::read(&head).expect("read the head");
    let active = site.project().head()["active"].as_str().expect("a release").to_owned();
    let unknown = String::from_utf8_lossy(&good).replace(&active, &active.replacen('1', "7", 1)).into_bytes();
    let replace = |bytes: &[u8]| {
        let other = head.with_extension("new");
        fs::write(&other, bytes).expect("write a head");
        fs::rename(other, &head).expect("replace the head");
    };
    let mut paths = [LOW, MEDIUM, HIGH].into_iter();
    for (why, bytes) in [("not JSON", &b"{"[..]), ("empty", b""), ("a release that isn't there", &unknown)] {
        replace(bytes);
        wait_until(why, MINUTE, || server.metric("tintype_store_up") == 0);
        site.is_from(&server, paths.next().expect("a path"), "store", why);
        site.is_from(&server, WARM, "memory", why);
        assert_eq!(ask(&server, "/places/atlantis/crispr/low.json").from, "404", "{why}");
        replace(&good);
        wait_until("the head to be read again", MINUTE, || server.metric("tintype_store_up") == 1);
    }
    // Who begins with such a head knows of no release, and asks the database.
    replace(b"{");
    let command = site.project().tintype(&["serve"]).env("TINTYPE_FALLBACK_TRUSTED_PROXIES", "192.0.2.1");
    let command = command.env("TINTYPE_FALLBACK_FOLLOW", "1s");
    let beginner = Serving::of(command.env("TINTYPE_FALLBACK_TABLE", "false"));
    site.is_from(&beginner, LOW, "live", "no release is known");
    site.is_from(&beginner, "/index.json", "503", "no release is known");
    replace(&good);
    wait_until("the release", MINUTE, || ask(&beginner, "/index.json").from == "store");
    beginner.end().expect(0);
    server.end().expect(0);
}
