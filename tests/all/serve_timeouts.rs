//! A template's own limit for `tintype serve`: what takes longer is ended in the database, and its connection is there for
//! the next reader.

use std::time::{Duration, Instant};

use crate::support::places;
use crate::support::postgres;
use crate::support::process::Tintype;
use crate::support::project::Project;
use crate::support::serving::Serving;
use crate::support::wait::wait_until;

/// A document that takes until the end of time.
const ENDLESS: [(&str, &str); 2] = [
    ("SQLite", "(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n)"),
    ("PostgreSQL", "(SELECT count(*) FROM (SELECT pg_sleep(3600)) AS s)"),
];

/// The world, and beside it a template that never comes to an end but for its limit.
fn worlds(limits: &str) -> Vec<(&'static str, Project)> {
    let endless = |(engine, project): (&'static str, Project)| {
        let (_, forever) = ENDLESS.iter().find(|(name, _)| *name == engine).expect("an engine");
        let text = format!(
            "/*---\npath = \"endless/{{topic}}.json\"\n[limits]\nper_minute = 1000\n{limits}\n[keys.topic]\n\
             sql = \"SELECT slug AS topic FROM topic ORDER BY slug\"\n---*/\n\
             SELECT t.slug AS topic, {forever} AS most FROM topic AS t WHERE 1 = 1 /*:keys topic=t.slug */ ORDER BY t.slug\n"
        );
        project.template("endless", &text);
        (engine, project)
    };
    places::projects().into_iter().map(endless).collect()
}

/// A server with one connection, which readers hardly wait for.
fn with_one(project: &Project, statement_timeout: &str) -> Serving {
    let command: Tintype = project.tintype(&["serve"]).env("TINTYPE_FALLBACK_TRUSTED_PROXIES", "192.0.2.1");
    let command = command.env("DB_POOL_SIZE", "1").env("TINTYPE_DATABASE_SERVE_STATEMENT_TIMEOUT", statement_timeout);
    let server = Serving::of(command.env("TINTYPE_DATABASE_SERVE_ACQUIRE_TIMEOUT", "700ms"));
    let warm = "/places/united-states/crispr/low.json";
    wait_until("the keys", Duration::from_mins(1), || server.get(warm).status == 200);
    server
}

#[test]
fn the_shorter_limit_ends_the_statement_and_frees_the_connection() {
    for (limits, statement_timeout) in [("timeout = \"500ms\"", "1h"), ("timeout = \"6s\"", "500ms"), ("", "500ms")] {
        for (engine, project) in worlds(limits) {
            let server = with_one(&project, statement_timeout);
            for topic in ["malaria", "sepsis"] {
                let begun = Instant::now();
                let answer = server.get(&format!("/endless/{topic}.json"));
                let took = begun.elapsed();
                let what = format!("{engine}, {limits}, {statement_timeout}");
                assert_eq!(answer.status, 503, "{what}");
                assert!(answer.text().contains("\"slow\""), "{what}: {}", answer.text());
                assert!(took >= Duration::from_millis(500) && took < Duration::from_secs(5), "{what}: {took:?}");
                // The one connection is free for a document that nobody has asked for.
                let next = server.get(&format!("/places/united-states/{topic}/low.json"));
                assert_eq!((next.status, next.header("x-tintype-source")), (200, "live"), "{what}: {}", next.text());
            }
            let ended = server.end().expect(0);
            assert!(ended.stderr.contains("statement timeout"), "{engine}: {ended}");
            assert!(ended.stderr.contains("[limits] timeout"), "{engine}: {ended}");
        }
    }
}

#[test]
fn whoever_hangs_up_ends_nobody_elses_flight() {
    let Some(database) = postgres::database() else { return };
    database.execute(places::ROWS);
    let project = Project::postgres(database);
    project.template("places", &places::TEMPLATE.replace("---*/", "[limits]\ntimeout = \"6s\"\n---*/"));
    let server = with_one(&project, "1h");
    let mut lock = project.database().connect();
    lock.query("BEGIN");
    lock.query("LOCK TABLE fact IN ACCESS EXCLUSIVE MODE");
    let path = "/places/united-states/malaria/low.json";
    let mut first = crate::support::raw::Raw::open(server.address);
    first.say(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
    wait_until("its flight", Duration::from_secs(4), || server.metric("tintype_fallback_flights") == 1);
    std::thread::scope(|scope| {
        let second = scope.spawn(|| server.get(path));
        wait_until("another on board", Duration::from_secs(4), || {
            server.metric("tintype_fallback_flights_shared_total") == 1
        });
        drop(first);
        lock.query("COMMIT");
        assert_eq!(second.join().expect("an answer").status, 200);
    });
    server.end().expect(0);
}
