//! Connecting as tintype does.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{World, clients};
use crate::support::places;
use crate::support::postgres;
use crate::support::project::Project;
use crate::support::servers::{Bouncer, TlsServer};
use crate::support::wait::wait_until;

fn check<'a>(said: &'a Value, name: &str) -> &'a Value {
    let checks = said["servers"][0]["checks"].as_array().expect("a list");
    checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("no {name} in {said:#}"))
}

fn outcome<'a>(said: &'a Value, name: &str) -> &'a str {
    check(said, name)["outcome"].as_str().expect("a word")
}

#[test]
fn a_server_in_order() {
    let Some(world) = World::start() else { return };
    let mut witness = world.session("witness");
    let settings = "[database.build]\nstatement_timeout = \"7m\"\nsettings = { work_mem = \"77MB\" }\n";
    world.project.configure(&world.server.url, settings);
    let said = world.project.json(&["db", "test", "--concurrency", "9", "--count", "12", "--interval", "1ms"], 0);
    for name in ["connect", "server", "pooler", "transaction", "ping", "concurrency", "left-behind"] {
        assert_eq!(outcome(&said, name), "ok", "{said:#}");
    }
    let server = &said["servers"][0];
    let version = witness.query("SHOW server_version")[0][0].clone().expect("a version");
    assert_eq!(server["version"], format!("PostgreSQL {version}"));
    assert_eq!(
        (&server["in_recovery"], &server["pooler"], &server["tls"]),
        (&json!(false), &Value::Null, &Value::Null)
    );
    assert_eq!((&server["pings"]["answered"], &server["pings"]["failed"]), (&json!(12), &json!(0)));
    let many = &server["concurrency"];
    assert_eq!((&many["held"], &many["transactions"], &many["failed"]), (&json!(9), &json!(9), &json!(0)));
    let detail = check(&said, "transaction")["detail"].as_str().expect("words");
    assert!(detail.contains("read only, repeatable read, statement_timeout 7min, work_mem 77MB"), "{detail}");
    let at = |name: &str| server["pings"]["seconds"][name].as_f64().expect("a number");
    assert!(0.0 < at("min") && at("min") <= at("p50") && at("p50") <= at("p95") && at("p95") <= at("max"));
    wait_until("all its connections to be gone", Duration::from_secs(10), || clients(&mut witness) == 1);
    // A setting that the server doesn't take is found here and not at night.
    world.project.configure(&world.server.url, "[database.build]\nsettings = { work_mem = \"lots\" }\n");
    let said = world.project.json(&["db", "test"], 1);
    assert_eq!(outcome(&said, "transaction"), "broken");
    let shown = world.project.run(&["db", "test"]).expect(1).text();
    assert!(shown.contains("work_mem") && shown.contains("[database.build] settings"), "{shown}");
}

#[test]
fn more_than_a_role_may_have_is_seen() {
    let Some(world) = World::start() else { return };
    let url = world.role("small", 5);
    world.project.configure(&url, "");
    let said = world.project.json(&["db", "test", "--concurrency", "8"], 1);
    let many = &said["servers"][0]["concurrency"];
    let (held, failed) = (many["held"].as_u64().expect("a number"), many["failed"].as_u64().expect("a number"));
    assert!(held <= 5 && held + failed == 8, "{said:#}");
    let check = check(&said, "concurrency");
    assert_eq!(check["outcome"], "broken");
    assert!(check["detail"].as_str().is_some_and(|words| words.contains("too many connections for role")), "{check:#}");
}

#[test]
fn a_connection_that_is_ended_is_a_failure_and_comes_again() {
    let Some(world) = World::start() else { return };
    let mut witness = world.session("witness");
    let arguments = ["db", "test", "--count", "60", "--interval", "50ms", "--format", "json"];
    let mut test = world.project.tintype(&arguments).start();
    let kept = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                WHERE application_name LIKE 'tintype/db-test/%' AND query = 'SELECT 1'";
    test.wait_for("its questions", |_| (!witness.query(kept).is_empty()).then_some(()));
    let said = test.finish().expect(1).json();
    let pings = &said["servers"][0]["pings"];
    assert_eq!(
        (&pings["failed"], &pings["reconnects"], &pings["answered"]),
        (&json!(1), &json!(1), &json!(59)),
        "{said:#}"
    );
    let check = check(&said, "ping");
    assert!(check["detail"].as_str().is_some_and(|words| words.contains("57P01")), "{check:#}");
    assert_eq!(outcome(&said, "concurrency"), "ok");
    // Told to end in the middle, it leaves nothing.
    let mut test = world.project.tintype(&["db", "test", "--count", "100000"]).start();
    test.wait_for("its connection", |_| (clients(&mut witness) == 2).then_some(()));
    test.signal(Signal::INT);
    test.finish().expect(130);
    wait_until("its connection to be gone", Duration::from_secs(10), || clients(&mut witness) == 1);
}

#[test]
fn a_pooler_is_recognised_whether_it_tells_or_not() {
    let Some(world) = World::start() else { return };
    for user in ["seen", "unseen"] {
        world.role(user, -1);
    }
    for mode in ["transaction", "session", "statement"] {
        let more = format!("pool_mode = {mode}\nstats_users = seen\ndefault_pool_size = 2\nmax_client_conn = 77");
        let Some(bouncer) = Bouncer::before(&world.server.url, &more, "\"seen\" \"pass\"\n\"unseen\" \"pass\"") else {
            return;
        };
        world.project.configure(&bouncer.url("seen", "pass", "postgres"), "");
        let said = world.project.json(&["db", "test", "--concurrency", "2"], i32::from(mode == "statement"));
        let pooler = &said["servers"][0]["pooler"];
        assert_eq!((&pooler["told"], &pooler["mode"]), (&json!(true), &json!(mode)), "{said:#}");
        assert_eq!((&pooler["max_clients"], &pooler["pool_size"]), (&json!(77), &json!(2)), "{said:#}");
        assert!(pooler["version"].as_str().is_some_and(|version| version.starts_with("PgBouncer 1.")), "{said:#}");
        if mode == "statement" {
            assert_eq!(outcome(&said, "pooler"), "broken");
            let hint = check(&said, "transaction")["hint"].as_str().expect("a hint");
            assert!(hint.contains("pool_mode = transaction"), "{hint}");
            continue;
        }
        world.project.configure(&bouncer.url("unseen", "pass", "postgres"), "");
        let said = world.project.json(&["db", "test", "--concurrency", "2"], 0);
        assert_eq!((outcome(&said, "pooler"), &said["servers"][0]["pooler"]["told"]), ("skipped", &json!(false)));
        assert_eq!(outcome(&said, "left-behind"), "ok");
    }
}

#[test]
fn more_clients_than_server_connections_take_turns() {
    let Some(world) = World::start() else { return };
    world.role("web", -1);
    let more = "stats_users = web\ndefault_pool_size = 2";
    let Some(bouncer) = Bouncer::before(&world.server.url, more, "\"web\" \"pass\"") else { return };
    world.project.configure(&bouncer.url("web", "pass", "postgres"), "");
    let said = world.project.json(&["db", "test", "--concurrency", "20"], 0);
    assert_eq!(said["servers"][0]["concurrency"]["transactions"], 20, "{said:#}");
    let mut witness = world.session("witness");
    let sql = "SELECT count(*)::text FROM pg_stat_activity WHERE usename = 'web'";
    assert!(super::number(&witness.query(sql)) <= 2, "the pooler's");
    let idle = "SELECT pid FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'";
    assert!(witness.query(idle).is_empty());
}

#[test]
fn the_line_is_named() {
    let Some(server) = TlsServer::start() else { return };
    let project = Project::at(&server.url);
    project.configure(&server.url("localhost", "postgres", "sslmode=verify-full&sslrootcert={}/ca.crt"), "");
    let said = project.json(&["db", "test"], 0);
    let expected = postgres::query(
        &server.url("127.0.0.1", "postgres", "sslmode=require"),
        "SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
    );
    assert_eq!((&said["servers"][0]["tls"], outcome(&said, "tls")), (&json!(expected[0][0]), "ok"), "{said:#}");
}

/// A server that takes connections and never says a word, as one that is stopped does.
#[test]
fn nobody_waits_for_ever() {
    let silent = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("bind to a free port");
    let port = silent.local_addr().expect("it has an address").port();
    let project = Project::at(&format!("postgres://web@127.0.0.1:{port}/site"));
    let url = format!("postgres://web@127.0.0.1:{port}/site");
    project.configure(&url, "[database.build]\nacquire_timeout = \"1s\"\n");
    for what in ["budget", "connections", "test", "monitor"] {
        let more: &[&str] = if what == "monitor" { &["--count", "2", "--interval", "100ms"] } else { &[] };
        let ended = project.run(&[&["db", what], more].concat()).expect(1);
        let said = ended.text() + &ended.stderr;
        assert!(said.contains("no answer within 1s"), "{what}: {ended}");
        assert!(ended.elapsed < Duration::from_secs(20), "{what}: {ended}");
    }
}

#[test]
fn what_is_not_there_is_explained() {
    let Some(database) = postgres::database() else { return };
    let project = Project::at(&database.refused_url());
    let shown = project.run(&["db", "test"]).expect(1).text();
    assert!(
        shown.contains("broken") && shown.contains("refused") && shown.contains("hint: is the server up"),
        "{shown}"
    );
    project.configure(&database.url_as("nobody", "hunter2"), "");
    let ended = project.run(&["db", "test"]).expect(1);
    assert!(ended.text().contains("check user and password") && !ended.text().contains("hunter2"), "{ended}");
    let file = places::sqlite();
    let said = file.json(&["db", "test", "--concurrency", "7", "--count", "3"], 0);
    assert_eq!(
        (&said["servers"][0]["concurrency"]["held"], &said["servers"][0]["pings"]["answered"]),
        (&json!(7), &json!(3))
    );
    std::fs::remove_file(file.root().join("file.db")).expect("remove it");
    let said = file.json(&["db", "test"], 1);
    assert_eq!(outcome(&said, "connect"), "broken");
}
