//! The figures of `tintype serve`: all of them by name, and whether they are true.

use std::fs;
use std::time::Duration;

use crate::serve_health::locked;
use crate::support::bucket::Bucket;
use crate::support::exposition::Exposition;
use crate::support::http;
use crate::support::places;
use crate::support::postgres;
use crate::support::s3_server::{Asked, Fault, Kind, What};
use crate::support::serving::Serving;
use crate::support::wait::wait_until;

const PATH: &str = "/places/united-states/crispr/low.json";
const MINUTE: Duration = Duration::from_mins(1);

/// Every metric with its type and labels. Dashboards and alerts name them.
const ALL: [&str; 33] = [
    "db_connection_hold_seconds histogram le pool",
    "db_pool_acquire_seconds histogram le pool",
    "db_pool_acquires_total counter pool",
    "db_pool_connection_timeouts_total counter pool",
    "db_pool_connections_closed_total counter pool reason",
    "db_pool_connections_closing gauge pool",
    "db_pool_connections_idle gauge pool",
    "db_pool_connections_in_use gauge pool",
    "db_pool_connections_invalid_total counter pool",
    "db_pool_connections_opened_total counter pool",
    "db_pool_refused_total counter pool",
    "db_pool_releases_total counter pool",
    "db_pool_shed_total counter pool",
    "db_pool_size gauge pool",
    "db_pool_usage gauge pool",
    "db_pool_waiting gauge pool",
    "tintype_db_up gauge",
    "tintype_fallback_connections_displaced_total counter",
    "tintype_fallback_connections_refused_total counter",
    "tintype_fallback_flights gauge",
    "tintype_fallback_flights_shared_total counter",
    "tintype_fallback_held_bytes gauge",
    "tintype_fallback_memory_bytes gauge",
    "tintype_fallback_memory_entries gauge",
    "tintype_fallback_rate_limited_total counter",
    "tintype_fallback_request_seconds histogram le",
    "tintype_fallback_requests_total counter code source",
    "tintype_fallback_shed_total counter reason",
    "tintype_fallback_table_up gauge",
    "tintype_release_as_of_timestamp_seconds gauge",
    "tintype_release_serial gauge",
    "tintype_store_requests_total counter op status",
    "tintype_store_up gauge",
];

fn scrape(server: &Serving) -> Exposition {
    Exposition::parse(http::get(server.admin, "/metrics", &[]).text())
}

#[test]
fn the_list_is_whole() {
    let project = places::sqlite();
    project.publish();
    let server = Serving::start(&project).looked();
    assert_eq!(server.get(PATH).status, 200);
    let found = scrape(&server);
    assert_eq!(found.summary(), ALL);
    let pools: Vec<&str> = found.of("db_pool_size").map(|sample| sample.labels["pool"].as_str()).collect();
    assert_eq!(pools, ["serve", "table"], "the table's file is another database");
    server.end().expect(0);
    // The README has each of them.
    let readme = include_str!("../../README.md");
    for name in ALL.map(|line| line.split(' ').next().expect("a name")) {
        assert!(readme.contains(&format!("`{name}")), "the README doesn't list {name}");
    }
}

#[test]
fn a_pool_says_what_is_out_who_waits_and_for_how_long() {
    let Some((project, server, mut lock)) = locked() else { return };
    let serve = [("pool", "serve")];
    let shows = |out: u64, usage: &str, waiting: u64| {
        let found = scrape(&server);
        let count = |name: &str| found.count(name, &serve);
        let (in_use, idle) = (count("db_pool_connections_in_use"), count("db_pool_connections_idle"));
        assert!(in_use + idle + count("db_pool_connections_closing") <= 4, "{found:?}");
        let counts = [count("db_pool_size"), in_use, count("db_pool_waiting")];
        counts == [4, out, waiting] && found.value("db_pool_usage", &serve) == usage
    };
    let before = scrape(&server);
    std::thread::scope(|scope| {
        let ask = |key: &'static str| scope.spawn(|| server.get(&PATH.replace("crispr/low", key)).status);
        let mut readers = vec![ask("crispr/low"), ask("crispr/medium"), ask("crispr/high")];
        wait_until("three leases", MINUTE, || shows(3, "0.75", 0));
        readers.push(ask("malaria/low"));
        wait_until("four leases", MINUTE, || shows(4, "1", 0));
        let late = ask("malaria/medium");
        wait_until("somebody who waits", MINUTE, || shows(4, "1", 1));
        assert_eq!(late.join().expect("an answer"), 503);
        assert!(shows(4, "1", 0));
        lock.query("COMMIT");
        for reader in readers {
            assert_eq!(reader.join().expect("an answer"), 200);
        }
    });
    wait_until("all of them to be back", MINUTE, || shows(0, "0", 0));
    let found = scrape(&server);
    let more = |name: &str| found.count(name, &serve) - before.count(name, &serve);
    let slow = |name: &str| {
        let of = |found: &Exposition, le| found.count(&format!("{name}_bucket"), &[("pool", "serve"), ("le", le)]);
        let slow = |found: &Exposition| of(found, "+Inf") - of(found, "1");
        slow(&found) - slow(&before)
    };
    assert_eq!((more("db_pool_acquires_total"), more("db_pool_releases_total")), (4, 4));
    assert_eq!((more("db_pool_connection_timeouts_total"), more("db_pool_shed_total")), (1, 0));
    assert_eq!((more("db_pool_acquire_seconds_count"), more("db_connection_hold_seconds_count")), (5, 4));
    // One had his second in vain, and the four had their leases for longer than that.
    assert_eq!((slow("db_pool_acquire_seconds"), slow("db_connection_hold_seconds")), (1, 4), "{found:?}");

    // Connections that have died while they lay ready.
    let idle = found.count("db_pool_connections_idle", &serve);
    assert!(idle >= 1, "{found:?}");
    let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                WHERE application_name LIKE 'tintype/serve/%' AND datname = current_database()";
    postgres::execute(&project.database().url(), kill);
    wait_until("them to be gone", MINUTE, || project.database().activity().is_empty());
    assert_eq!(server.get("/places/united-states/sepsis/low.json").status, 200);
    let found = scrape(&server);
    let invalid = found.count("db_pool_connections_invalid_total", &serve);
    assert!((1..=idle).contains(&invalid), "{invalid} of {idle}");
    let closed = found.count("db_pool_connections_closed_total", &[("pool", "serve"), ("reason", "invalid")]);
    assert_eq!(closed, invalid);
    server.end().expect(0);
}

/// How many reads of objects ended so.
fn gets(found: &Exposition, status: &str) -> u64 {
    let samples = found.of("tintype_store_requests_total");
    let samples = samples.filter(|sample| sample.labels["op"] == "gets" && sample.labels["status"] == status);
    samples.map(|sample| sample.value.parse::<u64>().expect("a whole number")).sum()
}

#[test]
fn the_data_is_as_old_as_the_last_run_that_found_it_unchanged() {
    const AS_OF: &str = "tintype_release_as_of_timestamp_seconds";
    let project = places::sqlite();
    project.publish();
    let command = project.tintype(&["serve"]).env("TINTYPE_FALLBACK_TRUSTED_PROXIES", "192.0.2.1");
    let server = Serving::of(command.env("TINTYPE_FALLBACK_FOLLOW", "1s"));
    wait_until("the release", Duration::from_mins(1), || server.metric("tintype_release_serial") == 1);
    let first = server.metric(AS_OF);
    wait_until("a later instant", Duration::from_mins(1), || {
        assert_eq!(project.publish()["outcome"], "unchanged");
        server.metric(AS_OF) > first
    });
    assert_eq!(server.metric("tintype_release_serial"), 1);
    server.end().expect(0);
}

#[test]
fn what_a_folder_was_asked_for_is_counted_by_what_came_of_it() {
    let project = places::sqlite();
    project.publish();
    let server = Serving::start(&project).looked();
    assert_eq!(server.get(PATH).header("x-tintype-source"), "store");
    let before = scrape(&server);
    assert!(gets(&before, "ok") >= 3, "the head, the release and the document: {before:?}");
    assert_eq!((gets(&before, "missing"), gets(&before, "failed")), (0, 0), "{before:?}");
    // Without blobs, and with something else in their place.
    let blobs = project.root().join(".tintype/blob");
    fs::rename(&blobs, blobs.with_extension("kept")).expect("move the blobs away");
    assert_eq!(server.get(&PATH.replace("low", "medium")).header("x-tintype-source"), "table");
    assert_eq!(gets(&scrape(&server), "missing"), 1);
    fs::write(&blobs, "").expect("put a file there");
    assert_eq!(server.get(&PATH.replace("low", "high")).header("x-tintype-source"), "table");
    assert_eq!(gets(&scrape(&server), "failed"), 1);
    server.end().expect(0);
}

#[test]
fn what_a_bucket_was_asked_for_is_counted_by_status() {
    let bucket = Bucket::new();
    let mut project = places::sqlite();
    project.publish_to(&bucket, "");
    let file = project.root().join("tintype.prom");
    project.tintype(&["publish"]).arg("--metrics-file").arg(&file).run().expect(0);
    let run = Exposition::parse(&fs::read_to_string(&file).expect("read the metrics"));
    let sent = |op, status| run.count("tintype_run_store_requests", &[("op", op), ("status", status)]);
    assert!(sent("puts", "ok") > 18 && sent("copies", "ok") > 18, "{run:?}");
    assert!(sent("gets", "404") >= 1, "there was no head: {run:?}");

    let server = Serving::start(&project).looked();
    let regions = ["united-states", "cote-divoire"].into_iter();
    let topics = regions.flat_map(|region| ["crispr", "malaria", "sepsis"].map(|topic| format!("{region}/{topic}")));
    let keys = topics.flat_map(|topic| ["low", "medium", "high"].map(|level| format!("{topic}/{level}")));
    let mut cold = keys.map(|key| format!("/places/{key}.json"));
    let mut source = || {
        let answer = server.get(&cold.next().expect("a document that wasn't asked for"));
        assert_eq!(answer.status, 200);
        answer.header("x-tintype-source").to_owned()
    };
    let is_blob = |asked: &Asked| asked.kind == Kind::Get && asked.key.contains("/blob/");
    // What fails brings the store into doubt, in which it is asked for no document.
    for (what, status) in [
        (What::Answer { status: 403, code: "AccessDenied", message: "no", more: Vec::new() }, "403"),
        (What::Wait(Duration::from_secs(5)), "none"),
    ] {
        wait_until("the store to be asked", MINUTE, || source() == "store");
        let before = scrape(&server);
        let fault = bucket.server.play(Fault::new(what, is_blob).times(1));
        assert_eq!((source().as_str(), fault.struck()), ("live", 1), "{status}");
        let found = scrape(&server);
        assert_eq!((gets(&found, status), gets(&before, status)), (1, 0), "{found:?}");
        bucket.server.heal();
    }
    server.end().expect(0);
}
