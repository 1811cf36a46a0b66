//! `tintype serve` that is started while something is missing: what each kind of path is answered with, and that all is well
//! once what was missing comes back, without a restart.

use std::time::{Duration, Instant};

use crate::support::bucket::Bucket;
use crate::support::http::{self, Response};
use crate::support::places::{self, TEMPLATE};
use crate::support::project::Project;
use crate::support::s3_server::{Fault, What};
use crate::support::serving::Serving;
use crate::support::wait::wait_until;

const MINUTE: Duration = Duration::from_mins(1);
/// The longest time of any answer: seven seconds, and half a one for a busy machine.
const LONGEST: Duration = Duration::from_millis(7500);

/// A path, and what it is answered with: by a source, or with a status.
struct Kind {
    path: &'static str,
    /// Nothing is missing.
    all: &'static str,
    /// The store was away from the start, and nobody left a table.
    no_store: &'static str,
    /// The database was.
    no_database: &'static str,
    /// The store was, and there is a table.
    table: &'static str,
    /// The store and the database were, and there is a table.
    table_alone: &'static str,
}

const fn kind(path: &'static str, answers: [&'static str; 5]) -> Kind {
    let [all, no_store, no_database, table, table_alone] = answers;
    Kind { path, all, no_store, no_database, table, table_alone }
}

/// Nobody says 404 who can't know: while the store is away from the start, nobody knows what is published.
const KINDS: [Kind; 14] = [
    // Published, and the key is one of the template's.
    kind("/places/united-states/crispr/low.json", ["store", "live", "store", "table", "table"]),
    // Valid, and not published.
    kind("/places/united-states/malaria/low.json", ["live", "live", "503", "live", "503"]),
    // Invented. Without the database nobody has read the values that there are.
    kind("/places/atlantis/crispr/low.json", ["404", "503", "503", "503", "503"]),
    // Published by a template without a key.
    kind("/summary.json", ["store", "live", "store", "table", "table"]),
    // The catalogue, which no template makes.
    kind("/index.json", ["store", "503", "store", "table", "table"]),
    kind("/index/wide/number.json", ["store", "503", "store", "table", "table"]),
    kind("/index/wide/none.json", ["404", "503", "404", "503", "503"]),
    // Of a template whose documents are published or not there.
    kind("/strict/united-states/crispr/low.json", ["store", "503", "store", "table", "table"]),
    kind("/strict/united-states/malaria/low.json", ["404", "503", "404", "503", "503"]),
    // Of a template whose file is gone since.
    kind("/gone/united-states/crispr/low.json", ["store", "503", "store", "table", "table"]),
    kind("/gone/united-states/malaria/low.json", ["404", "503", "404", "503", "503"]),
    // Of one that takes the values that it meets.
    kind("/open/malaria.json", ["store", "503", "store", "table", "table"]),
    kind("/open/none.json", ["404", "503", "404", "503", "503"]),
    // Of none.
    kind("/nowhere/at/all.json", ["404", "503", "404", "503", "503"]),
];

const SUMMARY: &str = "/*---\npath = \"summary.json\"\n---*/\nSELECT count(*) AS facts FROM fact\n";
const OPEN: &str = "/*---\npath = \"open/{topic}.json\"\n---*/\nSELECT topic, city, scholar FROM fact ORDER BY topic COLLATE \"C\", fact_id\n";
/// More values than the catalogue lists itself.
const WIDE: &str = "/*---
path = \"wide/{number}.json\"
[keys.number]
sql = \"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1001) SELECT CAST(i AS TEXT) AS number FROM n ORDER BY i\"
publish = 1
---*/
SELECT '1' AS number, 1 AS one
";

/// A site in a bucket, of a database in a file, and perhaps with a table in another.
struct World {
    bucket: Bucket,
    project: Project,
}

impl World {
    fn new(has_table: bool) -> Self {
        let (bucket, mut project) = (Bucket::new(), places::sqlite());
        project.publish_to(&bucket, "timeout = \"1s\"\n");
        let table = if has_table { "table_url = \"sqlite:table.db\"\n" } else { "table = false\n" };
        project.configure("sqlite:file.db", &format!("[fallback]\nfollow = \"1s\"\nreread = \"1s\"\n{table}"));
        let some = TEMPLATE.replacen("papers DESC, slug\"\n", "papers DESC, slug\"\npublish = 1\n", 1);
        let some = some.replace("---*/", "[limits]\nper_minute = 60000\n---*/");
        project.template("places", &some);
        let named = |name: &str| some.replacen("places/", &format!("{name}/"), 1);
        project.template("gone", &named("gone"));
        project.template(
            "strict",
            &named("strict").replacen("[keys.region]", "on_miss = \"not-found\"\n[keys.region]", 1),
        );
        project.template("summary", SUMMARY).template("open", OPEN).template("wide", WIDE);
        project.publish();
        std::fs::remove_file(project.template_file("gone")).expect("remove the template");
        Self { bucket, project }
    }

    fn start(&self) -> Serving {
        Serving::start(&self.project)
    }

    fn store_is_away(&self, what: What) {
        self.bucket.server.play(Fault::new(what, |_| true));
    }

    fn database_is_away(&self, is_away: bool) {
        let (here, there) = (self.project.root().join("file.db"), self.project.root().join("away.db"));
        let (from, to) = if is_away { (here, there) } else { (there, here) };
        std::fs::rename(from, to).expect("move the database");
    }

    /// All kinds of paths are answered as they should be, and the published ones with what is published.
    #[track_caller]
    fn answers(&self, server: &Serving, when: &str, expected: impl Fn(&Kind) -> &'static str) {
        let wrong: Vec<String> = KINDS
            .iter()
            .filter_map(|kind| {
                let said = self.asked(server, kind);
                (said != expected(kind)).then(|| format!("{}: {said} instead of {}", kind.path, expected(kind)))
            })
            .collect();
        assert!(wrong.is_empty(), "{when}:\n{}", wrong.join("\n"));
    }

    /// What is said to a reader of this path: the source, or the status.
    fn asked(&self, server: &Serving, kind: &Kind) -> String {
        let begun = Instant::now();
        let answer = http::get(server.address, kind.path, &[]);
        assert!(begun.elapsed() < LONGEST, "{} took {:?}", kind.path, begun.elapsed());
        is_proper(kind.path, &answer);
        if answer.status != 200 {
            return answer.status.to_string();
        }
        if kind.all == "store" {
            assert!(answer.body == self.bucket.body(&kind.path[1..]), "{}: other bytes than published", kind.path);
        }
        answer.header("x-tintype-source").to_owned()
    }

    /// Everything is answered as if nothing had been missing; from the memory where it was answered before.
    #[track_caller]
    fn recovers(&self, server: &Serving, when: &str) {
        let is_well = |kind: &Kind| {
            let said = self.asked(server, kind);
            said == kind.all || said == "memory" && kind.all.parse::<u16>().is_err()
        };
        wait_until(&format!("what was missing to be used again, {when}"), MINUTE, || {
            KINDS.iter().all(is_well) && server.metric("tintype_store_up") == 1
        });
    }
}

/// A refusal says when to come back, and nobody keeps it; that there is no such document may be kept for a while.
#[track_caller]
fn is_proper(path: &str, answer: &Response) {
    let control = answer.header("cache-control");
    match answer.status {
        200 => assert_eq!(answer.header("retry-after"), "", "{path}"),
        // Not for a moment while the server knows of no release.
        404 => assert!(["public, max-age=0, s-maxage=60", "no-store"].contains(&control), "{path}: {control}"),
        503 => {
            let seconds: u64 = answer.header("retry-after").parse().unwrap_or_default();
            assert!(seconds >= 1 && control == "no-store", "{path}: {:?}", answer.headers);
        }
        status => panic!("{path}: {status} {}", answer.text()),
    }
}

const HANGS: What = What::Wait(Duration::from_hours(1));

fn refuses() -> What {
    What::Answer { status: 403, code: "AccessDenied", message: "no", more: Vec::new() }
}

fn throttles() -> What {
    What::Answer { status: 503, code: "SlowDown", message: "not now", more: Vec::new() }
}

#[test]
fn with_everything_each_path_has_its_source() {
    let world = World::new(true);
    let server = world.start();
    world.answers(&server, "with everything", |kind| kind.all);
    server.end().expect(0);
}

#[test]
fn started_without_the_store_the_database_answers() {
    let world = World::new(false);
    for (when, what) in [("refusing", refuses()), ("throttling", throttles()), ("hanging", HANGS)] {
        world.store_is_away(what);
        let server = world.start();
        world.answers(&server, &format!("the store {when}"), |kind| kind.no_store);
        world.bucket.server.heal();
        world.recovers(&server, when);
        server.end().expect(0);
    }
}

#[test]
fn started_without_the_database_the_store_answers() {
    let world = World::new(false);
    world.database_is_away(true);
    let server = world.start();
    world.answers(&server, "without the database", |kind| kind.no_database);
    world.database_is_away(false);
    world.recovers(&server, "the database");
    server.end().expect(0);
}

#[test]
fn started_with_nothing_it_says_when_to_come_back() {
    let world = World::new(false);
    world.store_is_away(HANGS);
    world.database_is_away(true);
    let server = world.start();
    world.answers(&server, "without both", |_| "503");
    assert_eq!(http::get(server.address, "/health/ready", &[]).status, 503);
    // First the one, then the other.
    world.database_is_away(false);
    wait_until("the database to be read", MINUTE, || world.asked(&server, &KINDS[0]) == "live");
    world.answers(
        &server,
        "with the database",
        |kind| if kind.path == KINDS[0].path { "memory" } else { kind.no_store },
    );
    world.bucket.server.heal();
    world.recovers(&server, "both");
    server.end().expect(0);
}

#[test]
fn started_with_the_table_alone_it_answers_what_was_published() {
    let world = World::new(true);
    world.store_is_away(HANGS);
    world.database_is_away(true);
    let server = world.start();
    world.answers(&server, "with the table alone", |kind| kind.table_alone);
    world.bucket.server.heal();
    world.database_is_away(false);
    world.recovers(&server, "the store and the database");
    server.end().expect(0);
    // The same with the database, which knows more.
    world.store_is_away(throttles());
    let server = world.start();
    world.answers(&server, "with the table and the database", |kind| kind.table);
    world.bucket.server.heal();
    world.recovers(&server, "the store");
    server.end().expect(0);
}

/// Nobody waits for it after the first second. And where there is a table, what can be answered is worth being asked for.
#[test]
fn a_store_that_hangs_from_the_start_costs_nobody_but_the_first_his_time() {
    let world = World::new(true);
    world.store_is_away(HANGS);
    world.database_is_away(true);
    let command = world.project.tintype(&["serve"]).env("TINTYPE_FALLBACK_TRUSTED_PROXIES", "192.0.2.1");
    // It takes the store's own time until that is given up.
    let server = Serving::of(command.env("TINTYPE_STORE_TIMEOUT", "10s"));
    let path = "/summary/of/nothing.json";
    assert_eq!(http::get(server.address, path, &[]).status, 503);
    let mut took: Vec<Duration> = (0..20)
        .map(|_| {
            let begun = Instant::now();
            assert_eq!(http::get(server.address, path, &[]).status, 503);
            begun.elapsed()
        })
        .collect();
    took.sort();
    assert!(took[10] < Duration::from_millis(50), "{took:?}");
    wait_until("it to be ready without the store", Duration::from_secs(15), || {
        http::get(server.address, "/health/ready", &[]).status == 200
    });
    assert_eq!(http::get(server.address, "/health", &[]).status, 200);
    server.end().expect(0);
}
