//! Runs that don't come to an end: a query that waits for a lock that nobody gives free, and a process that is frozen.

use std::fs;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::bucket::Bucket;
use crate::support::cdn_api::{CdnApi, Play};
use crate::support::night::{CHECK, HOOK, child_of, is_gone, night, night_until, told, write_schedule};
use crate::support::places;
use crate::support::postgres::{self, Session};
use crate::support::process::Running;
use crate::support::project::Project;
use crate::support::s3_server::{Asked, Fault, Kind, What};
use crate::support::wait::wait_until;

/// Before the `time_limit` of these tests is over, the query stands at the gate, also on a machine that is busy.
const LIMIT: &str = "time_limit = \"10s\"\nretry_after = \"1s\"\nstarting_deadline = \"7d\"\n";
/// The server looks once a second whether a client is there.
const SOON: Duration = Duration::from_secs(20);

/// A template whose query stands still as long as somebody else has the lock 42.
const GATED: &str = "/*---\npath = \"gated/{k}.json\"\n---*/\n\
    SELECT n AS k, generation AS v, CASE WHEN n = 3 THEN pg_advisory_xact_lock_shared(42)::text END AS gate \
    FROM generate_series(1, 5) AS n, world ORDER BY n";

/// A published site, the listener that hears of it, and a session that has the lock.
fn gated() -> Option<(Project, CdnApi, Session)> {
    let database = postgres::database()?;
    database.execute("CREATE TABLE world (generation INTEGER); INSERT INTO world VALUES (1)");
    let project = Project::postgres(database);
    project.template("gated", GATED);
    let listener = CdnApi::start(|_| Play::Say(200, Vec::new(), "ok".to_owned()));
    project.configure(&project.database().url(), &format!("[notify]\nwebhook = \"{}{HOOK}\"\n", listener.url()));
    project.publish();
    project.execute("UPDATE world SET generation = 2");
    let mut gate = project.database().connect();
    gate.query("SELECT pg_advisory_lock(42)");
    Some((project, listener, gate))
}

/// Writes the schedule, with these lines and the listener's check.
fn schedule(project: &Project, listener: &CdnApi, lines: &str) {
    write_schedule(project, &format!("ping = \"{}{CHECK}\"\n{lines}", listener.url()));
}

/// The backend that stands at the gate, if there is one. There is never a second one.
fn at_the_gate(project: &Project, gate: &mut Session) -> Option<String> {
    let name = project.database().name();
    let sql = format!(
        "SELECT pid::text FROM pg_stat_activity WHERE datname = '{name}' AND wait_event = 'advisory' \
         AND application_name LIKE 'tintype%'"
    );
    let found = gate.query(&sql);
    assert!(found.len() <= 1, "two attempts at a time: {found:?}");
    found.into_iter().next().and_then(|row| row.into_iter().next().flatten())
}

/// An attempt at work: its process, and its backend in the database.
fn attempt(project: &Project, gate: &mut Session, daemon: &Running) -> Option<(Pid, String)> {
    at_the_gate(project, gate).map(|backend| (child_of(daemon), backend))
}

fn times(said: &str, what: &str) -> usize {
    said.lines().filter(|line| line.contains(what)).count()
}

/// The night after: the lock is free.
fn assert_well_again(project: &Project, listener: &CdnApi) {
    schedule(project, listener, "");
    night(project, "done", |_| ());
    let (pings, messages) = told(listener);
    assert_eq!(pings, ["/start", ""]);
    let [message] = messages.as_slice() else { panic!("{messages:?}") };
    assert!(message.contains("schedule nightly is well again, release 2-"), "{message}");
    assert_eq!(project.public().document("gated/1.json")["rows"][0]["v"], 2);
    assert_eq!(project.head()["schedules"]["nightly"]["trouble"], Value::Null);
}

#[test]
fn a_query_without_an_end_is_stopped_and_told_once() {
    let Some((project, listener, mut gate)) = gated() else { return };
    schedule(&project, &listener, &format!("{LIMIT}retries = 1\n"));
    let mut attempts: Vec<(Pid, String)> = Vec::new();
    let file = project.root().join("tintype.prom");
    let metrics = ["--metrics-file", file.to_str().expect("a path")];
    let said = night_until(&project, &metrics, "two attempts that were stopped", |daemon| {
        let at_work = attempts.len();
        if times(&daemon.stderr(), "attempt=") > at_work {
            // Whatever was before this attempt has come to its end, in the database too.
            if let Some((_, backend)) = attempts.last() {
                wait_until("no statement to go on", SOON, || {
                    at_the_gate(&project, &mut gate).as_ref() != Some(backend)
                });
            }
            attempts.extend(attempt(&project, &mut gate, daemon));
        }
        project.head()["schedules"]["nightly"]["outcome"] == "failed"
    });
    let [(first, _), (second, _)] = attempts[..] else { panic!("{attempts:?} {said}") };
    assert!(first != second && is_gone(first) && is_gone(second));
    wait_until("no connection to be left", SOON, || project.database().activity().is_empty());

    // Once for both attempts, with the reason and what comes next.
    let (pings, messages) = told(&listener);
    assert_eq!(pings, ["/start", "/143"]);
    let [message] = messages.as_slice() else { panic!("{messages:?}") };
    for part in ["schedule nightly fails", "stopped after its time_limit of 10s", "tried again in 1s"] {
        assert!(message.contains(part), "no {part} in {message}");
    }
    assert_eq!(times(&said.stderr, "took longer than its time_limit"), 2, "{said}");

    // Whoever looks at the metrics sees that it is tried, and in vain.
    let text = fs::read_to_string(&file).expect("read the metrics");
    let [attempt, success] = ["attempt", "success"].map(|what| {
        let sample = format!("tintype_last_{what}_timestamp_seconds{{template=\"gated\"}} ");
        let value = text.lines().find_map(|line| line.strip_prefix(&sample)?.parse::<f64>().ok());
        value.unwrap_or_else(|| panic!("no {sample} in {text}"))
    });
    assert!(attempt - success > 20.0, "twice the limit of 10 s: {success} and {attempt}");

    // Nobody is kept off.
    let head = project.head();
    let claim = &head["schedules"]["nightly"];
    assert_eq!((&claim["attempts"], &claim["trouble"], &head["lease"]), (&json!(2), &json!("failure"), &Value::Null));
    assert!(claim["ended_at"].is_string(), "{claim:#}");
    drop(gate);
    assert_well_again(&project, &listener);
}

#[test]
fn a_run_that_does_not_even_hear_is_killed_and_tried_again() {
    let Some((project, listener, gate)) = gated() else { return };
    schedule(&project, &listener, &format!("{LIMIT}retries = 20\n"));
    let mut frozen: Option<(Pid, String)> = None;
    let mut gate = Some(gate);
    let said = night_until(&project, &[], "a run that is done", |daemon| {
        match (&frozen, &mut gate) {
            (None, Some(gate)) => {
                frozen = attempt(&project, gate, daemon);
                if let Some((process, _)) = &frozen {
                    kill_process(*process, Signal::STOP).expect("freeze the run");
                }
            }
            (Some((process, backend)), Some(session)) if daemon.stderr().contains("tried again") => {
                assert!(is_gone(*process), "it is still there");
                // The lock isn't free, and the statement ends all the same.
                let is_over = |session: &mut Session| at_the_gate(&project, session).as_ref() != Some(backend);
                wait_until("no statement to go on", SOON, || is_over(session));
                gate = None;
            }
            _ => {}
        }
        project.head()["schedules"]["nightly"]["outcome"] == "done"
    });
    assert_eq!(times(&said.stderr, "took longer than its time_limit"), 1, "{said}");
    let (pings, messages) = told(&listener);
    assert_eq!(pings, ["/start", ""]);
    let [fails, well] = messages.as_slice() else { panic!("{messages:?}") };
    for part in ["fails (a signal)", "stopped after its time_limit of 10s", "tried again in 1s"] {
        assert!(fails.contains(part), "no {part} in {fails}");
    }
    assert!(well.contains("schedule nightly is well again, release 2-"), "{well}");
    assert_eq!(project.public().document("gated/1.json")["rows"][0]["v"], 2);
}

#[test]
fn a_run_that_is_frozen_with_the_lease_does_not_keep_it() {
    let listener = CdnApi::start(|_| Play::Say(200, Vec::new(), "ok".to_owned()));
    let (bucket, mut project) = (Bucket::new(), places::sqlite());
    project.publish_to(&bucket, "lease_ttl = \"10s\"\n");
    project.configure("sqlite:file.db", &format!("[notify]\nwebhook = \"{}{HOOK}\"\n", listener.url()));
    project.publish();
    project.execute("UPDATE fact SET city = 'Dallas' WHERE city_id = 2");
    schedule(&project, &listener, &format!("{LIMIT}retries = 20\n"));
    let is_copy = |asked: &Asked| asked.kind == Kind::Copy;
    let slow = bucket.server.play(Fault::new(What::Wait(Duration::from_mins(10)), is_copy));
    let mut running = project.tintype(&["schedule", "--once", "nightly", "-v"]).timeout(Duration::from_mins(5)).start();
    running.wait_for("the first copy", |_| (slow.struck() > 0).then_some(()));
    kill_process(child_of(&running), Signal::STOP).expect("freeze the run");
    bucket.server.heal();
    assert!(!bucket.head()["lease"].is_null(), "it is in the middle of its activation");
    let said = running.finish().expect(0);
    assert_eq!(times(&said.stderr, "took longer than its time_limit"), 1, "{said}");
    let head = bucket.head();
    let claim = &head["schedules"]["nightly"];
    // The lease of the dead one is left to run out, and the next attempt comes after that: none is lost on it.
    assert_eq!(
        (&head["lease"], &claim["outcome"], &claim["attempts"]),
        (&Value::Null, &json!("done"), &json!(2)),
        "{said}"
    );
    assert_eq!(head["active"], head["desired"]);
    let (pings, messages) = told(&listener);
    assert_eq!(pings, ["/start", ""]);
    let [fails, well] = messages.as_slice() else { panic!("{messages:?}") };
    assert!(fails.contains("stopped after its time_limit of 10s") && well.contains("well again"), "{messages:?}");
    assert!(project.run(&["get", "places/united-states/crispr/low"]).expect(0).text().contains("Dallas"));
}
