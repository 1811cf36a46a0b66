//! `--metrics-file`: what the textfile collector finds after a run.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::support::places;
use crate::support::project::Project;
use crate::support::skip::skip;

/// Every sample of a file, which must be what Prometheus takes.
fn samples(project: &Project) -> BTreeMap<String, f64> {
    let text = fs::read_to_string(project.root().join("tintype.prom")).expect("read the metrics");
    let mut types = BTreeMap::new();
    let mut samples = BTreeMap::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a name and a type");
            assert!(types.insert(name.to_owned(), kind.to_owned()).is_none(), "{name} has two types");
        } else if !line.starts_with("# HELP ") {
            let (sample, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no sample: {line}"));
            let name = sample.split('{').next().expect("a name");
            assert!(types.contains_key(name), "{name} has no type before it");
            let before =
                samples.insert(sample.to_owned(), value.parse().unwrap_or_else(|_| panic!("no value: {line}")));
            assert!(before.is_none(), "{sample} is there twice");
        }
    }
    samples
}

/// What Prometheus's own tool says of metrics, which is nothing if they are good; `None` where it isn't installed.
fn promtool(text: &str) -> Option<String> {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .ok()?;
    promtool.stdin.take().expect("stdin is piped").write_all(text.as_bytes()).expect("write to promtool");
    let output = promtool.wait_with_output().expect("wait for promtool");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert_eq!(said.is_empty(), output.status.success(), "{said}");
    Some(said)
}

fn run(project: &Project, arguments: &[&str], code: i32) -> BTreeMap<String, f64> {
    let file = project.root().join("tintype.prom");
    let _ = fs::remove_file(&file);
    project.tintype(arguments).arg("--metrics-file").arg(&file).run().expect(code);
    samples(project)
}

#[test]
fn promtool_has_nothing_to_say() {
    let Some(said) = promtool("a_total{b=\"c\"} 1\na_total{b=\"c\"} 2\n") else {
        return skip("promtool (Debian: prometheus) isn't installed");
    };
    assert!(!said.is_empty(), "it finds what is wrong");
    let project = places::sqlite();
    fs::create_dir_all(project.root().join("schedules")).expect("make the folder");
    fs::write(project.root().join("schedules/nightly.toml"), "cron = \"@daily\"\nretries = 0")
        .expect("write the schedule");
    let file = project.root().join("tintype.prom");
    let checked = |arguments: &[&str], code| {
        project.tintype(arguments).arg("--metrics-file").arg(&file).run().expect(code);
        let text = fs::read_to_string(&file).expect("read the metrics");
        assert_eq!(promtool(&text).as_deref(), Some(""), "{text}");
    };
    checked(&["publish"], 0);
    checked(&["schedule", "--once", "nightly"], 0);
    project.execute("ALTER TABLE fact RENAME TO gone");
    checked(&["schedule", "--once", "nightly"], 1);
    checked(&["publish"], 1);
    checked(&["rollback", "--yes"], 2);
    checked(&["prune", "--yes"], 0);
}

#[test]
fn every_kind_of_run_leaves_metrics() {
    let project = places::sqlite();
    let found = run(&project, &["publish"], 0);
    let documents = places::DOCUMENTS as f64;
    assert!((found["tintype_run_snapshots{template=\"places\",outcome=\"added\"}"] - documents).abs() < 0.5);
    assert!(found["tintype_run_exit_code{command=\"publish\"}"].abs() < 0.5);
    assert!(found["tintype_run_rows{template=\"places\"}"] > 0.0);
    assert!(found["tintype_run_store_requests{op=\"puts\",status=\"ok\"}"] > 0.0);
    assert!(found["tintype_run_store_requests{op=\"gets\",status=\"missing\"}"] > 0.0, "there was no head: {found:?}");
    assert!((found["db_pool_size{pool=\"build\"}"] - 1.0).abs() < 0.001);
    assert!((found["db_pool_connections_opened{pool=\"build\"}"] - 1.0).abs() < 0.001);
    for (name, phase) in [("db_pool_acquire_seconds", "wait"), ("db_connection_hold_seconds", "hold")] {
        let seconds = found[&format!("{name}{{pool=\"build\"}}")];
        let total = found["tintype_run_duration_seconds{phase=\"total\"}"];
        assert!(0.0 < seconds && seconds < total, "{name}: {seconds} of {total}");
        let same = found[&format!("tintype_run_duration_seconds{{phase=\"{phase}\"}}")];
        assert!((same - seconds).abs() < 0.001, "{name}: {same}");
    }
    assert!(found.contains_key("tintype_run_duration_seconds{phase=\"total\"}"));
    let success = "tintype_last_success_timestamp_seconds{template=\"places\"}";
    let attempt = "tintype_last_attempt_timestamp_seconds{template=\"places\"}";
    let good = found[success];
    assert!((found["tintype_run_timestamp_seconds{command=\"publish\"}"] - good).abs() < 60.0);
    assert!(found["tintype_data_as_of_timestamp_seconds{template=\"places\"}"] <= good);

    // A run that fails says when the last good one was.
    project.execute("ALTER TABLE fact RENAME TO gone");
    let found = run(&project, &["publish"], 1);
    assert!((found[success] - good).abs() < 0.001 && found[attempt] > good, "{found:?}");
    assert!((found["tintype_run_templates{outcome=\"failed\"}"] - 1.0).abs() < 0.5);
    project.execute("ALTER TABLE gone RENAME TO fact; UPDATE fact SET city = 'Dallas' WHERE city_id = 2");
    let found = run(&project, &["republish", "places/united-states/crispr/low"], 0);
    assert!((found["tintype_run_snapshots{template=\"places\",outcome=\"changed\"}"] - 1.0).abs() < 0.5, "{found:?}");
    assert!((found["tintype_release_serial"] - 2.0).abs() < 0.5 && (found["tintype_release_active"] - 1.0).abs() < 0.5);
    let found = run(&project, &["rollback", "--yes"], 0);
    assert!((found["tintype_release_serial"] - 3.0).abs() < 0.5);
    assert!(!found.keys().any(|sample| sample.starts_with("db_")), "it needed no database: {found:?}");
    let found = run(&project, &["prune", "--yes"], 0);
    assert!(found["tintype_run_exit_code{command=\"prune\"}"].abs() < 0.5);

    fs::create_dir_all(project.root().join("schedules")).expect("make the folder");
    fs::write(project.root().join("schedules/nightly.toml"), "cron = \"@daily\"").expect("write the schedule");
    let found = run(&project, &["schedule", "--once", "nightly"], 0);
    assert!(found["tintype_run_exit_code{schedule=\"nightly\",command=\"publish\"}"].abs() < 0.5, "{found:?}");
    assert!(found.contains_key("tintype_schedule_end_timestamp_seconds{schedule=\"nightly\"}"), "{found:?}");
    assert!(found["tintype_schedule_in_trouble{schedule=\"nightly\"}"].abs() < 0.5);
}

#[test]
fn one_file_for_all_schedules_hides_no_bad_run_and_a_store_that_is_away_hides_nothing() {
    let project = places::sqlite();
    project.template("flaky", "/*---\npath = \"flaky/{k}.json\"\n---*/\nSELECT k FROM flaky ORDER BY k");
    fs::create_dir_all(project.root().join("schedules")).expect("make the folder");
    for (name, template) in [("bad", "flaky"), ("good", "places")] {
        let text = format!("cron = \"@daily\"\nretries = 0\ntemplates = [\"{template}\"]");
        fs::write(project.root().join(format!("schedules/{name}.toml")), text).expect("write the schedule");
    }
    let file = project.root().join("tintype.prom");
    let ran = |arguments: &[&str], code| {
        project.tintype(arguments).arg("--metrics-file").arg(&file).run().expect(code);
        samples(&project)
    };
    ran(&["schedule", "--once", "bad"], 1);
    let found = ran(&["schedule", "--once", "good"], 0);
    let code = |name: &str| found[&format!("tintype_run_exit_code{{schedule=\"{name}\",command=\"publish\"}}")];
    let trouble = |name: &str| found[&format!("tintype_schedule_in_trouble{{schedule=\"{name}\"}}")];
    let shown = [code("bad"), code("good"), trouble("bad"), trouble("good"), found["tintype_store_up"]];
    assert_eq!(shown.map(|value| value.to_string()), ["1", "0", "1", "0", "1"], "{found:?}");

    let head = fs::read(project.root().join(".tintype/head.json")).expect("read head.json");
    fs::write(project.root().join(".tintype/head.json"), "{").expect("break head.json");
    let down = ran(&["publish"], 1);
    assert!(down["tintype_store_up"].abs() < 0.5);
    for (sample, value) in found.iter().filter(|(sample, _)| *sample != "tintype_store_up") {
        assert!(down.get(sample).is_some_and(|now| (now - value).abs() < 0.001), "{sample}: {down:?}");
    }
    fs::write(project.root().join(".tintype/head.json"), head).expect("mend head.json");

    // The failing one is removed.
    fs::remove_file(project.root().join("schedules/bad.toml")).expect("remove a schedule");
    let found = ran(&["schedule", "--once", "good"], 0);
    assert!(!found.keys().any(|sample| sample.contains("\"bad\"")), "{found:?}");
    let status = project.run(&["status"]).expect(0).text();
    assert!(status.contains("schedule good: done") && !status.contains("schedule bad"), "{status}");
    let status = project.json(&["status"], 0);
    assert!(status["schedules"]["good"].is_object() && status["schedules"]["bad"].is_null(), "{status:#}");

    // The head forgets it, but not before a schedule on another machine would have run that is due once a year.
    assert!(project.head()["schedules"]["bad"].is_object());
    let mut head = project.head();
    head["schedules"]["bad"]["renewed_at"] = "2020-01-01T00:00:00Z".into();
    fs::write(project.root().join(".tintype/head.json"), head.to_string()).expect("write head.json");
    ran(&["schedule", "--once", "good"], 0);
    assert!(project.head()["schedules"]["bad"].is_null());
}

#[test]
fn an_attempt_without_a_database_is_one() {
    let project = places::sqlite();
    project.template("other", "/*---\npath = \"other/{k}.json\"\n---*/\nSELECT 'a' AS k");
    fs::create_dir_all(project.root().join("schedules")).expect("make the folder");
    fs::write(project.root().join("schedules/nightly.toml"), "cron = \"@daily\"\nretries = 0").expect("write");
    let file = project.root().join("tintype.prom");
    let ran = |arguments: &[&str], code| {
        project.tintype(arguments).arg("--metrics-file").arg(&file).run().expect(code);
        let found = samples(&project);
        ["places", "other"].map(|name| found[&format!("tintype_last_attempt_timestamp_seconds{{template=\"{name}\"}}")])
    };
    let [mut places, mut other] = ran(&["publish"], 0);
    let mut moves = |[now_places, now_other]: [f64; 2]| {
        let moved = (now_places > places, now_other > other);
        assert!(now_places >= places && now_other >= other, "none goes back");
        (places, other) = (now_places, now_other);
        moved
    };
    project.configure("sqlite:gone.db", "");
    assert_eq!(moves(ran(&["publish", "places"], 1)), (true, false), "it was to read that one alone");
    assert_eq!(moves(ran(&["prune", "--yes"], 0)), (false, false));
    assert_eq!(moves(ran(&["schedule", "--once", "nightly"], 1)), (true, true));
    assert_eq!(moves(ran(&["republish", "other/a.json"], 1)), (false, true));
    assert_eq!(moves(ran(&["publish", "-n"], 1)), (false, false), "a plan is no attempt");
    project.configure("sqlite:file.db", "");
    assert_eq!(moves(ran(&["publish"], 0)), (true, true));
}

#[test]
fn a_run_that_can_not_begin_has_metrics_and_one_without_a_place_for_them_is_as_good() {
    let project = places::sqlite();
    project.configure("sqlite:gone.db", "");
    let found = run(&project, &["publish"], 1);
    assert!((found["tintype_run_exit_code{command=\"publish\"}"] - 1.0).abs() < 0.5, "{found:?}");
    project.configure("sqlite:file.db", "");
    let ended = project.tintype(&["publish", "--metrics-file", "/nonexistent/tintype.prom"]).run().expect(0);
    assert!(ended.stderr.contains("/nonexistent/tintype.prom"), "{ended}");
}
