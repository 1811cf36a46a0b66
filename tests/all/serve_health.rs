//! How `tintype serve` says how it is: to load balancers, to dashboards made for other servers, and to Prometheus.

use std::io::Write as _;
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::http::{self, Response};
use crate::support::places;
use crate::support::postgres::{self, Session};
use crate::support::process::closed_port;
use crate::support::project::Project;
use crate::support::serving::Serving;
use crate::support::skip::skip;
use crate::support::wait::wait_until;

const PATH: &str = "/places/united-states/crispr/low.json";

fn said(answer: &Response) -> Value {
    assert_eq!((answer.header("content-type"), answer.header("cache-control")), ("application/json", "no-store"));
    serde_json::from_slice(&answer.body).expect("JSON")
}

/// The members of a pool, as dashboards of connection pools know them.
#[track_caller]
fn is_a_pool(database: &Value, max: u64) {
    let pool = &database["pool"];
    let number = |name: &str| pool[name].as_u64().unwrap_or_else(|| panic!("no number {name} in {database:#}"));
    assert_eq!((number("pool_size"), number("max_connections")), (max, max));
    assert_eq!((number("overflow"), number("max_overflow")), (0, 0), "there is none");
    let out = number("checked_out");
    assert!(out <= max && number("checked_in") <= max - out, "{database:#}");
    let usage = pool["usage_ratio"].as_f64().expect("a number");
    assert!((usage - 100.0 * out as f64 / max as f64).abs() < 0.06, "{usage} percent of {out} of {max}");
    // The same once more, flat.
    for (flat, name) in [("pool_size", "pool_size"), ("checked_out", "checked_out"), ("overflow", "overflow")] {
        assert_eq!(database[flat], pool[name], "{database:#}");
    }
    assert_eq!((&database["max_overflow"], &database["pool_total"]), (&json!(0), &json!(max)), "{database:#}");
}

#[test]
fn the_shapes_are_those_that_monitors_know() {
    for (engine, project) in places::projects() {
        project.publish();
        let command = project.tintype(&["serve"]).env("TINTYPE_FALLBACK_TRUSTED_PROXIES", "192.0.2.1");
        let server = Serving::of(command.env("TINTYPE_FALLBACK_HEALTH_PREFIX", "/api/v1/hc").env("DB_POOL_SIZE", "7"));
        assert_eq!(server.get(PATH).status, 200);
        for address in [server.address, server.admin] {
            let get = |path: &str| http::get(address, path, &[]);
            for path in ["/health", "/api/v1/hc/health"] {
                let answer = get(path);
                let said = said(&answer);
                assert_eq!((answer.status, &said["status"]), (200, &json!("healthy")), "{engine}: {said:#}");
                assert_eq!(said["database"]["status"], "healthy", "{engine}: {said:#}");
                assert_eq!(said["documents"], places::DOCUMENTS as u64 + 1, "{engine}: {said:#}");
                assert_eq!(said["store"]["status"], "healthy", "{engine}: {said:#}");
                is_a_pool(&said["database"], 7);
            }
            for path in ["/health/database", "/api/v1/hc/database", "/api/v1/hc/health/database"] {
                let answer = get(path);
                let said = said(&answer);
                assert_eq!((answer.status, &said["status"]), (200, &json!("healthy")), "{engine}: {said:#}");
                is_a_pool(&said["database"], 7);
            }
            for path in
                ["/health/live", "/api/v1/hc/live", "/health/ready", "/api/v1/hc/ready", "/api/v1/hc/health/ready"]
            {
                let answer = get(path);
                assert_eq!((answer.status, &said(&answer)["status"]), (200, &json!("ok")), "{engine}: {path}");
            }
            for path in ["/health/other", "/healthy", "/api/v1/hc", "/api/v1/hc/metrics", "/api/v1/health"] {
                assert_eq!(get(path).status, 404, "{engine}: {path}");
            }
            let head = http::request("HEAD", address, "/health/ready", &[]);
            assert_eq!((head.status, head.body.len()), (200, 0), "{engine}");
        }
        assert_eq!(http::get(server.address, "/metrics", &[]).status, 404, "{engine}: for the operator alone");
        server.end().expect(0);
    }
}

#[test]
fn probes_cost_one_lease_however_many_and_nobody_gets_a_guess() {
    let Some(database) = postgres::database() else { return };
    database.execute(places::ROWS);
    let project = Project::postgres(database);
    project.template("places", places::TEMPLATE);
    project.publish();
    let server = Serving::start(&project);
    assert_eq!(server.get("/places/atlantis/crispr/low.json").status, 404);
    let before = server.leases();
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let ask = || (0..5).map(|_| http::get(server.address, "/health/database", &[]).status).collect::<Vec<_>>();
        let askers: Vec<_> = (0..20).map(|_| scope.spawn(ask)).collect();
        askers.into_iter().flat_map(|asker| asker.join().expect("answers")).collect()
    });
    assert_eq!(statuses, [200; 100], "the first ones are told the truth as well");
    let cost = server.leases() - before;
    assert!(cost <= 1, "100 probes cost {cost} leases");
    assert_eq!(server.metric("tintype_db_up"), 1);
    server.end().expect(0);
}

#[test]
fn usage_is_what_is_out_of_what_there_is() {
    let Some((project, server, mut lock)) = locked() else { return };
    std::thread::scope(|scope| {
        let readers: Vec<_> =
            ["low", "medium", "high"].map(|one| scope.spawn(|| server.get(&PATH.replace("low", one)))).into();
        wait_until("three leases", Duration::from_secs(4), || {
            let health = said(&http::get(server.admin, "/health", &[]));
            is_a_pool(&health["database"], 4);
            health["database"]["pool"]["usage_ratio"] == 75.0
        });
        lock.query("COMMIT");
        for reader in readers {
            assert_eq!(reader.join().expect("an answer").status, 200);
        }
    });
    let health = said(&http::get(server.admin, "/health", &[]));
    assert_eq!(health["database"]["pool"]["usage_ratio"], 0.0);
    server.end().expect(0);
    drop(project);
}

#[test]
fn a_database_that_is_away_makes_nobody_unready_who_can_answer() {
    let project = places::sqlite();
    project.publish();
    let away = format!("postgres://nobody@127.0.0.1:{}/nothing", closed_port());
    project.configure(&away, "");
    let server = Serving::start(&project);
    assert_eq!(server.get(PATH).status, 200);
    assert_eq!(http::get(server.address, "/health/ready", &[]).status, 200);
    let health = http::get(server.address, "/health", &[]);
    assert_eq!((health.status, &said(&health)["database"]["status"]), (200, &json!("unhealthy")));
    let database = http::get(server.address, "/health/database", &[]);
    assert_eq!((database.status, &said(&database)["status"]), (503, &json!("unhealthy")));
    assert_eq!(server.metric("tintype_db_up"), 0);
    server.end().expect(0);
    // Neither a release nor a database: alive, and of no use to anybody.
    let project = places::sqlite();
    project.configure(&away, "");
    let server = Serving::start(&project);
    assert_eq!(server.get(PATH).status, 503);
    assert_eq!(http::get(server.address, "/health/live", &[]).status, 200);
    assert_eq!(http::get(server.address, "/health/ready", &[]).status, 503);
    assert_eq!(http::get(server.address, "/health", &[]).status, 503);
    server.end().expect(0);
}

/// A server whose next answers wait until the session, which holds their table, commits.
pub fn locked() -> Option<(Project, Serving, Session)> {
    let database = postgres::database()?;
    database.execute(places::ROWS);
    let project = Project::postgres(database);
    project.template("places", places::TEMPLATE).make_public();
    let server = Serving::start(&project);
    assert_eq!(server.get("/places/atlantis/crispr/low.json").status, 404);
    let mut lock = Session::connect(&project.database().url());
    lock.query("BEGIN");
    lock.query("LOCK TABLE fact IN ACCESS EXCLUSIVE MODE");
    Some((project, server, lock))
}

#[test]
fn the_end_lets_answers_finish_and_takes_no_more() {
    let Some((project, server, mut lock)) = locked() else { return };
    std::thread::scope(|scope| {
        let under_way = scope.spawn(|| server.get(PATH));
        wait_until("its flight", Duration::from_secs(4), || server.metric("tintype_fallback_flights") == 1);
        server.ask_to_end();
        wait_until("the door to be shut", Duration::from_secs(4), || TcpStream::connect(server.address).is_err());
        // The operator still sees what it does.
        let ready = http::get(server.admin, "/health/ready", &[]);
        assert_eq!((ready.status, said(&ready)), (503, json!({ "status": "unavailable", "draining": true })));
        assert_eq!(http::get(server.admin, "/health/live", &[]).status, 200);
        assert_eq!(server.metric("tintype_fallback_flights"), 1);
        lock.query("COMMIT");
        let answer = under_way.join().expect("an answer");
        assert_eq!((answer.status, answer.header("x-tintype-source")), (200, "live"));
    });
    server.finish().expect(0);
    assert!(project.database().activity().is_empty(), "connections are left");
}

#[test]
fn figures_are_what_prometheus_takes() {
    for (engine, project) in places::projects() {
        let server = Serving::start(project.make_public());
        assert_eq!(server.get(PATH).status, 200);
        assert_eq!(server.get("/nothing.json").status, 404);
        http::get(server.admin, "/health/database", &[]);
        let answer = http::get(server.admin, "/metrics", &[]);
        assert!(answer.header("content-type").starts_with("text/plain; version=0.0.4"));
        let text = answer.text();
        for name in
            ["tintype_fallback_requests_total{source=\"live\",code=\"200\"} 1", "db_pool_size{pool=\"serve\"} 4"]
        {
            assert!(text.lines().any(|line| line == name), "{engine}: no {name} in\n{text}");
        }
        let Some((is_well, said)) = promtool_says(text) else {
            skip("no promtool");
            return;
        };
        assert!(is_well, "{engine}: {said}");
        server.end().expect(0);
    }
}

/// What `promtool` says of these figures; none where it isn't installed.
fn promtool_says(text: &str) -> Option<(bool, String)> {
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = promtool.spawn().ok()?;
    child.stdin.take().expect("its stdin").write_all(text.as_bytes()).expect("write the figures");
    let output = child.wait_with_output().expect("wait for it");
    Some((output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()))
}
