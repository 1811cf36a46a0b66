//! `tintype schedule` at work: it runs what is due once, whoever else is there, and leaves nothing running behind.

use std::fs::{self, File};
use std::time::{Duration, SystemTime};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::bucket::{BUCKET, Bucket};
use crate::support::night::{child_of, is_gone};
use crate::support::places;
use crate::support::postgres::{self, Session};
use crate::support::process::Running;
use crate::support::project::Project;
use crate::support::wait::wait_until;

const SOON: Duration = Duration::from_mins(1);

/// A schedule that was due ten minutes ago and is due again tomorrow; `more` are further lines of it.
fn due_ten_minutes_ago(project: &Project, more: &str) {
    let due = chrono::Utc::now() - chrono::TimeDelta::minutes(10);
    let text = format!("cron = \"{}\"\n{more}", due.format("%-M %-H * * *"));
    fs::create_dir_all(project.root().join("schedules")).expect("make the folder");
    fs::write(project.root().join("schedules/nightly.toml"), text).expect("write the schedule");
    // Somebody watched it before that.
    let before = (chrono::Utc::now() - chrono::TimeDelta::hours(2)).to_rfc3339();
    let mut head = project.head();
    head["schedules"] =
        json!({ "nightly": { "due": before, "began_at": before, "renewed_at": before, "ended_at": before } });
    fs::write(project.root().join(".tintype/head.json"), head.to_string()).expect("write head.json");
}

fn claim(project: &Project) -> Value {
    project.head()["schedules"]["nightly"].clone()
}

fn wait_for_outcome(project: &Project, outcome: &str) {
    wait_until(&format!("a run that is {outcome}"), SOON, || claim(project)["outcome"] == outcome);
}

fn runs(said: &str) -> usize {
    said.lines().filter(|line| line.contains("running") && line.contains("attempt=")).count()
}

#[test]
fn what_was_missed_is_run_once_by_one_of_two() {
    let project = places::sqlite();
    project.publish();
    due_ten_minutes_ago(&project, "prune = true\n");
    project.execute("UPDATE fact SET city = 'Dallas' WHERE city_id = 2");
    let daemon = || project.tintype(&["schedule", "-vv"]).start();
    let mut daemons = [daemon(), daemon()];
    wait_for_outcome(&project, "done");
    for daemon in &mut daemons {
        daemon
            .wait_for("a look at the head", |daemon| daemon.stderr().contains("looked at what was run").then_some(()));
        daemon.signal(Signal::TERM);
    }
    let said: Vec<_> = daemons.into_iter().map(|daemon| daemon.finish().expect(0)).collect();
    assert_eq!(said.iter().map(|said| runs(&said.stderr)).sum::<usize>(), 1, "{} {}", said[0], said[1]);
    let status = project.run(&["status"]).expect(0).text();
    assert!(status.contains("schedule nightly: done"), "{status}");
    let releases = project.json(&["releases"], 0);
    assert_eq!(releases["releases"][0]["author"], "schedule nightly", "{releases:#}");
    assert!(project.run(&["get", "places/united-states/crispr/low"]).expect(0).text().contains("Dallas"));
    // Another one that starts now has nothing to do.
    let mut third = daemon();
    third.wait_for("a look at the head", |daemon| daemon.stderr().contains("looked at what was run").then_some(()));
    third.signal(Signal::INT);
    assert_eq!(runs(&third.finish().expect(0).stderr), 0);
}

#[test]
fn once_runs_now_and_ends_as_the_run_did() {
    let project = places::sqlite();
    fs::create_dir_all(project.root().join("schedules")).expect("make the folder");
    let write =
        |text: &str| fs::write(project.root().join("schedules/nightly.toml"), text).expect("write the schedule");
    write("cron = \"0 0 1 1 *\"\nretries = 0\nsuspend = true\ntemplates = [\"places\"]");
    let said = project.json(&["schedule", "--once", "nightly"], 0);
    assert_eq!(
        (&said["outcome"], &said["attempts"], &said["run"]["command"]),
        (&json!("done"), &json!(1), &json!("publish"))
    );
    assert_eq!((&claim(&project)["outcome"], project.public().paths().len()), (&json!("done"), places::DOCUMENTS));
    let ended = project.run(&["schedule", "--once", "nightly"]).expect(0);
    assert_eq!((ended.text().as_str(), ended.stderr.as_str()), ("", ""), "cron would mail this");
    project
        .run(&["schedule", "--once", "nigthly"])
        .expect(2)
        .explains(&["no schedule `nigthly`", "did you mean nightly?"]);

    project.configure("sqlite:gone.db", "");
    let ended = project.run(&["schedule", "--once", "nightly"]).expect(1);
    assert!(ended.stderr.contains("gone.db"), "{ended}");
    assert_eq!(claim(&project)["outcome"], "failed");
    write("cron = \"0 0 1 1 *\"\nretries = 2\nretry_after = \"1s\"");
    assert_eq!(project.json(&["schedule", "--once", "nightly"], 1)["attempts"], 3);

    project.configure("sqlite:file.db", "");
    project.template(
        "places",
        &places::TEMPLATE.replace("---*/", "[[guard.assert]]\nname = \"never\"\nsql = \"SELECT 1\"\n---*/"),
    );
    assert_eq!(project.json(&["schedule", "--once", "nightly"], 3)["attempts"], 1);
    assert_eq!(claim(&project)["outcome"], "refused");
    project.template("places", "no template");
    project.run(&["schedule", "--once", "nightly"]).expect(2);
}

#[test]
fn a_template_that_failed_alone_is_tried_again_alone() {
    let project = places::sqlite();
    project.template("flaky", "/*---\npath = \"flaky/{k}.json\"\n---*/\nSELECT k, v FROM flaky ORDER BY k");
    fs::create_dir_all(project.root().join("schedules")).expect("make the folder");
    let text = "cron = \"0 0 1 1 *\"\nretries = 9\nretry_after = \"1s\"";
    fs::write(project.root().join("schedules/nightly.toml"), text).expect("write the schedule");
    let mut running = project.tintype(&["schedule", "--once", "nightly", "-v", "--format", "json"]).start();
    running.wait_for("another attempt", |running| running.stderr().contains("tried again").then_some(()));
    project.execute("CREATE TABLE flaky (k TEXT, v INTEGER); INSERT INTO flaky VALUES ('a', 1)");
    let said = running.finish().expect(0).json();
    let names: Vec<_> =
        said["run"]["templates"].as_array().expect("a list").iter().map(|t| t["name"].clone()).collect();
    assert_eq!(names, ["flaky"], "the last attempt was about what had failed: {said:#}");
    assert!(project.public().has("flaky/a.json"));
}

#[test]
fn the_first_write_to_a_bucket_may_be_a_claim() {
    let bucket = Bucket::new();
    let mut project = places::sqlite();
    project.publish_to(&bucket, "");
    fs::create_dir_all(project.root().join("schedules")).expect("make the folder");
    fs::write(project.root().join("schedules/nightly.toml"), "cron = \"@daily\"").expect("write the schedule");
    project.run(&["schedule", "--once", "nightly"]).expect(0);
    let head = bucket.head();
    assert_eq!(head["schedules"]["nightly"]["outcome"], "done");
    assert!(head["desired"].as_str().is_some_and(|id| id.starts_with("1-")) && head["desired"] == head["active"]);
}

/// Writes the head of a bucket as it was so many seconds ago.
fn write_head(bucket: &Bucket, head: &Value, seconds: u64) {
    let path = bucket.server.file(&format!("{BUCKET}/_tintype/site/head.json"));
    fs::write(&path, head.to_string()).expect("write head.json");
    let then = SystemTime::now() - Duration::from_secs(seconds);
    File::options().write(true).open(&path).and_then(|file| file.set_modified(then)).expect("date head.json");
}

#[test]
fn a_claim_is_never_written_over_a_lease_that_may_be_somebody_s() {
    let bucket = Bucket::new();
    let mut project = places::sqlite();
    project.publish_to(&bucket, "");
    fs::create_dir_all(project.root().join("schedules")).expect("make the folder");
    fs::write(project.root().join("schedules/nightly.toml"), "cron = \"@daily\"").expect("write the schedule");
    project.publish();
    let mut head = bucket.head();
    head["lease"] = json!({ "holder": "elsewhere process 7, run x", "epoch": 9, "ttl_seconds": 90, "taken_at": "2026-01-01T00:00:00Z" });
    write_head(&bucket, &head, 0);
    let mut running = project.tintype(&["schedule", "--once", "nightly", "-v"]).start();
    running.wait_for("a word about the lease", |running| running.stderr().contains("waiting for it").then_some(()));
    assert_eq!(bucket.head(), head, "written, the head of a dead publisher would look young for ever");
    // It was dead: nobody has renewed its lease for ten minutes.
    write_head(&bucket, &head, 600);
    running.finish().expect(0);
    let head = bucket.head();
    assert_eq!((&head["lease"], &head["schedules"]["nightly"]["outcome"]), (&Value::Null, &json!("done")));
    assert!(head["suspect"].is_object(), "requests of the dead may be on their way: {head:#}");
}

/// A template whose query stands still until the test gives the lock 42 free.
const GATED: &str = "/*---\npath = \"gated/{k}.json\"\n---*/\n\
    SELECT n AS k, generation AS v, CASE WHEN n = 3 THEN pg_advisory_xact_lock_shared(42)::text END AS gate \
    FROM generate_series(1, 5) AS n, world ORDER BY n";

/// A daemon whose run stands still in its query.
fn gated(more: &str) -> Option<(Project, Session, Running)> {
    gated_by(&["schedule", "-v"], more)
}

fn gated_by(arguments: &[&str], more: &str) -> Option<(Project, Session, Running)> {
    let database = postgres::database()?;
    database.execute("CREATE TABLE world (generation INTEGER); INSERT INTO world VALUES (1)");
    let project = Project::postgres(database);
    project.template("gated", GATED);
    project.publish();
    project.execute("UPDATE world SET generation = 2");
    due_ten_minutes_ago(&project, more);
    let mut gate = project.database().connect();
    gate.query("SELECT pg_advisory_lock(42)");
    let mut daemon = project.tintype(arguments).start();
    daemon.wait_for("the query to stand at the gate", |_| {
        let activity = project.database().activity();
        activity.iter().any(|(_, _, waits_for)| waits_for == "Lock").then_some(())
    });
    Some((project, gate, daemon))
}

fn generation(project: &Project) -> Value {
    project.public().document("gated/1.json")["rows"][0]["v"].clone()
}

#[test]
fn a_run_may_finish_within_its_grace() {
    let Some((project, gate, daemon)) = gated("grace = \"1h\"\n") else { return };
    daemon.signal(Signal::TERM);
    let mut daemon = daemon;
    daemon.wait_for("the word about its grace", |daemon| daemon.stderr().contains("within its grace").then_some(()));
    drop(gate);
    daemon.finish().expect(0);
    assert_eq!((claim(&project)["outcome"].clone(), generation(&project)), (json!("done"), json!(2)));
}

#[test]
fn a_run_beyond_its_grace_is_stopped_and_done_by_the_next() {
    let Some((project, gate, daemon)) = gated("grace = \"0s\"\n") else { return };
    daemon.signal(Signal::TERM);
    let ended = daemon.finish().expect(0);
    assert!(ended.elapsed < Duration::from_secs(40), "{ended}");
    assert_eq!((claim(&project)["outcome"].clone(), generation(&project)), (json!("stopped"), json!(1)));
    wait_until("its statement to be gone from the server", SOON, || project.database().activity().is_empty());
    drop(gate);
    let next = project.tintype(&["schedule", "-v"]).start();
    wait_for_outcome(&project, "done");
    next.signal(Signal::TERM);
    assert_eq!(runs(&next.finish().expect(0).stderr), 1);
    assert_eq!(generation(&project), 2);
}

#[test]
fn a_second_signal_waits_for_no_grace() {
    let Some((project, _gate, mut daemon)) = gated("grace = \"1h\"\n") else { return };
    daemon.signal(Signal::INT);
    daemon.wait_for("the word about its grace", |daemon| daemon.stderr().contains("within its grace").then_some(()));
    daemon.signal(Signal::INT);
    daemon.finish().expect(0);
    assert_eq!(claim(&project)["outcome"], "stopped");
}

#[test]
fn a_daemon_that_is_killed_leaves_no_run_behind_and_the_next_one_takes_over() {
    let Some((project, gate, daemon)) = gated("") else { return };
    let child = child_of(&daemon);
    // While it is there, nobody else begins it.
    project
        .run(&["schedule", "--once", "nightly"])
        .expect(5)
        .explains(&["`nightly` is running already", "never overlap"]);
    daemon.signal(Signal::KILL);
    daemon.finish().expect(137);
    wait_until("the statement to be gone from the server", SOON, || project.database().activity().is_empty());
    wait_until("the run to end with its daemon", SOON, || is_gone(child));
    assert_eq!((claim(&project)["ended_at"].clone(), generation(&project)), (Value::Null, json!(1)));
    drop(gate);
    let next = project.tintype(&["schedule", "-v"]).start();
    wait_for_outcome(&project, "done");
    next.signal(Signal::TERM);
    next.finish().expect(0);
    assert_eq!(generation(&project), 2);
}

#[test]
fn once_ends_on_a_signal_as_a_publish_does() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let Some((project, _gate, running)) = gated_by(&["schedule", "--once", "nightly"], "grace = \"0s\"\n") else {
            return;
        };
        running.signal(signal);
        running.finish().expect(code);
        assert_eq!((claim(&project)["outcome"].clone(), generation(&project)), (json!("stopped"), json!(1)));
        wait_until("its statement to be gone from the server", SOON, || project.database().activity().is_empty());
    }
}
