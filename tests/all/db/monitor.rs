//! Connections as they come and go.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{World, clients};
use crate::support::places;
use crate::support::process::Running;
use crate::support::wait::wait_until;

/// The whole lines so far, each a document.
fn samples(running: &Running) -> Vec<Value> {
    let text = running.stdout();
    let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    lines.map(|line| serde_json::from_str(line).expect("each line is a document")).collect()
}

fn outcomes(samples: &[Value]) -> Vec<&str> {
    samples.iter().filter_map(|sample| sample["outcome"].as_str()).collect()
}

#[test]
fn what_comes_and_goes_is_counted_and_a_lost_connection_is_replaced() {
    let Some(world) = World::start() else { return };
    let mut witness = world.session("witness");
    let arguments = ["db", "monitor", "--interval", "200ms", "--format", "json"];
    let mut monitor = world.project.tintype(&arguments).start();
    let first = monitor.wait_for("a look", |monitor| samples(monitor).into_iter().next());
    // The witness and the monitor's one connection.
    assert_eq!((&first["used"], &first["outcome"], &first["opened"]), (&json!(2), &json!("ok"), &json!(0)), "{first}");
    let more = [world.session("api"), world.session("api")];
    monitor.wait_for("four", |monitor| samples(monitor).iter().any(|one| one["used"] == 4).then_some(()));
    assert_eq!(clients(&mut witness), 4, "the monitor holds one connection, however often it looks");
    drop(more);
    monitor.wait_for("two again", |monitor| {
        let seen = samples(monitor);
        let sum = |name: &str| seen.iter().filter_map(|one| one[name].as_u64()).sum::<u64>();
        (seen.last().is_some_and(|one| one["used"] == 2) && (sum("opened"), sum("closed")) == (2, 2)).then_some(())
    });
    witness.query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'tintype/db-monitor/%'",
    );
    monitor.wait_for("a failure, and that it goes on", |monitor| {
        let seen = samples(monitor);
        let outcomes = outcomes(&seen);
        let failed = outcomes.iter().position(|outcome| *outcome == "failed")?;
        outcomes[failed..].contains(&"ok").then_some(())
    });
    monitor.signal(Signal::INT);
    let ended = monitor.finish().expect(1);
    assert!(ended.text().contains("57P01"), "{ended}");
    wait_until("the monitor's connection to be gone", Duration::from_secs(10), || clients(&mut witness) == 1);
}

#[test]
fn thresholds_decide_the_exit_code() {
    let Some(world) = World::start() else { return };
    let mut held = world.session("leaky");
    held.query("BEGIN");
    let run = |more: &[&str], code| {
        let all = [&["db", "monitor", "--count", "2", "--interval", "100ms"], more].concat();
        world.project.run(&all).expect(code).text()
    };
    let shown = run(&[], 0);
    assert_eq!(shown.lines().count(), 2, "{shown}");
    assert!(shown.contains("ok        2 of 57 (4 %)") && shown.contains("idle in transaction 1 ("), "{shown}");
    assert!(!shown.contains("most:") && !shown.contains("leaky"), "{shown}");
    let shown = run(&["--high", "3%"], 0);
    assert!(shown.contains("high") && shown.contains("leaky by postgres 1"), "{shown}");
    let shown = run(&["--high", "2", "--critical", "3"], 1);
    assert!(shown.contains("critical"), "{shown}");
    let shown = run(&["--idle-in-transaction", "0s"], 0);
    assert!(shown.contains("leaky by postgres: idle in transaction for") && shown.contains(": BEGIN"), "{shown}");
    let said = run(&["--format", "json", "--idle-in-transaction", "0s"], 0);
    let sample: Value = serde_json::from_str(said.lines().next().expect("a line")).expect("a document");
    assert_eq!((&sample["forgotten"], &sample["states"]["idle_in_transaction"]), (&json!(1), &json!(1)), "{sample}");
    for wrong in [["--interval", "1ms"], ["--high", "lots"], ["--count", "0"]] {
        world.project.run(&[&["db", "monitor"][..], &wrong].concat()).expect(2);
    }
}

#[test]
fn it_ends_when_it_is_told_to() {
    let project = places::sqlite();
    let start = |more: &[&str]| {
        let mut running = project.tintype(&[&["db", "monitor", "-v", "--interval", "100ms"], more].concat()).start();
        running.wait_for("a look", |running| running.stdout().contains("journal_mode").then_some(()));
        running
    };
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        // Without an end of its own this is how it ends; before that end it is an interruption.
        let running = start(&[]);
        running.signal(signal);
        let ended = running.finish().expect(0);
        assert!(ended.stderr.contains("look"), "{ended}");
        let running = start(&["--count", "100000"]);
        running.signal(signal);
        running.finish().expect(code);
    }
    let lines = project.run(&["db", "monitor", "--count", "2", "--interval", "100ms", "--format", "json"]).expect(0);
    assert_eq!(lines.stderr, "", "cron would mail this");
    for line in lines.text().lines() {
        let sample: Value = serde_json::from_str(line).expect("a document a line");
        assert_eq!((&sample["outcome"], &sample["file"]["journal_mode"]), (&json!("ok"), &json!("delete")));
    }
}

#[test]
fn a_server_that_is_away_is_a_line_as_well() {
    let Some(database) = crate::support::postgres::database() else { return };
    let project = crate::support::project::Project::at(&database.refused_url());
    let ended = project.run(&["db", "monitor", "--count", "2", "--interval", "100ms"]).expect(1);
    let failed = ended.text().lines().filter(|line| line.contains("failed") && line.contains("refused")).count();
    assert_eq!(failed, 2, "{ended}");
}
