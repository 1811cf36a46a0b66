//! Builds that end early: by Ctrl-C, by SIGTERM, by SIGKILL, by the database. What was live stays live, and the next run finishes.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::directory::differences;
use crate::support::postgres::{self, Session};
use crate::support::process::Running;
use crate::support::project::Project;
use crate::support::wait::wait_until;

const SOON: Duration = Duration::from_mins(1);

/// A template whose query stands still after 1,500 keys, until the test gives the lock 42 free.
const GATED: &str = "/*---
path = \"gated/{k}.json\"
---*/
SELECT n AS k, generation AS v, repeat('x', 200) AS pad,
       CASE WHEN n = 1500 THEN pg_advisory_xact_lock_shared(42)::text END AS gate
FROM generate_series(1, 2000) AS n, world
ORDER BY n
";

const QUICK: &str = "/*---
path = \"quick/{k}.json\"
---*/
SELECT n AS k, generation AS v FROM generate_series(1, 3) AS n, world ORDER BY n
";

/// A published project with one changed row, and a build of it that stands still in the middle of its stream.
struct Gated {
    project: Project,
    gate: Session,
    build: Running,
}

fn gated(arguments: &[&str]) -> Option<Gated> {
    let database = postgres::database()?;
    database.execute("CREATE TABLE world (generation INTEGER); INSERT INTO world VALUES (1)");
    let project = Project::postgres(database);
    project.template("gated", GATED).template("quick", QUICK);
    project.publish();
    project.execute("UPDATE world SET generation = 2");
    let mut gate = project.database().connect();
    gate.query("SELECT pg_advisory_lock(42)");
    let mut build = project.tintype(arguments).start();
    build.wait_for("the query to stand at the gate", |_| {
        let activity = project.database().activity();
        activity.iter().any(|(_, _, waits_for)| waits_for == "Lock").then_some(())
    });
    Some(Gated { project, gate, build })
}

/// The head's own account of what is live.
fn live(project: &Project) -> (serde_json::Value, serde_json::Value) {
    let head = project.head();
    (head["desired"].clone(), head["active"].clone())
}

#[test]
fn a_signal_ends_the_statement_on_the_server_and_nothing_is_activated() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let Some(Gated { project, gate, build }) = gated(&["publish"]) else { return };
        let (before, head) = (project.public().digests(), live(&project));
        let sent = Instant::now();
        build.signal(signal);
        wait_until("the statement to be gone from the server", Duration::from_secs(3), || {
            project.database().activity().is_empty()
        });
        let ended = build.finish().expect(code);
        assert!(sent.elapsed() < Duration::from_secs(5), "{ended}");
        assert!(ended.stderr.contains("nothing was activated"), "{ended}");
        assert!(differences(&before, &project.public().digests()).is_empty());
        assert_eq!(live(&project), head);
        drop(gate);
        assert_eq!(project.publish()["outcome"], "published", "the run after");
        assert_eq!(project.public().document("gated/2000.json")["rows"][0]["v"], 2);
    }
}

#[test]
fn a_build_killed_in_the_middle_of_its_stream_leaves_no_trace_in_public() {
    let Some(Gated { project, gate, build }) = gated(&["publish"]) else { return };
    let (before, head) = (project.public().digests(), live(&project));
    build.signal(Signal::KILL);
    build.finish().expect(137);
    assert_eq!(project.public().digests(), before);
    assert_eq!(live(&project), head);
    drop(gate);
    // Nothing of a dead process is in the way, e.g. a lock file that nobody takes away.
    let next = project.tintype(&["publish", "--format", "json"]).timeout(SOON).run().expect(0);
    assert_eq!(next.json()["outcome"], "published");
    assert_eq!(project.public().document("gated/1.json")["rows"][0]["v"], 2);
}

#[test]
fn a_database_killed_in_the_middle_of_the_stream_is_an_error_and_changes_nothing() {
    let Some(Gated { project, gate, build }) = gated(&["publish"]) else { return };
    let (before, head) = (project.public().digests(), live(&project));
    assert_eq!(project.database().terminate(), 1);
    let ended = build.finish().expect(1);
    ended.explains(&["terminat"]);
    assert!(!ended.stderr.contains("panicked"), "{ended}");
    assert_eq!(project.public().digests(), before, "rows that had arrived were published");
    assert_eq!(live(&project), head);
    drop(gate);
    assert_eq!(project.publish()["outcome"], "published");
}

#[test]
fn a_statement_timeout_names_itself() {
    let Some(Gated { project, gate, build }) = gated(&["publish"]) else { return };
    drop(build);
    project.configure(&project.database().url(), "[database.build]\nstatement_timeout = \"300ms\"\n");
    let before = project.public().digests();
    let ended = project.run(&["publish", "gated"]).expect(1);
    ended.explains(&["gated", "statement_timeout"]);
    assert_eq!(project.public().digests(), before);
    drop(gate);
}

#[test]
fn a_build_holds_no_lock_while_it_reads() {
    let Some(Gated { project, mut gate, build }) = gated(&["publish", "gated"]) else { return };
    // An editor publishes while the nightly build is still reading.
    let editor = project.tintype(&["publish", "quick", "--format", "json"]).timeout(SOON).run().expect(0);
    assert_eq!(editor.json()["outcome"], "published");
    assert_eq!(project.public().document("quick/1.json")["rows"][0]["v"], 2);
    gate.query("SELECT pg_advisory_unlock(42)");
    build.finish().expect(0);
    // The two releases are merged: neither takes the other's back.
    assert_eq!(project.public().document("quick/1.json")["rows"][0]["v"], 2);
    assert_eq!(project.public().document("gated/1.json")["rows"][0]["v"], 2);
    assert_eq!(project.publish()["outcome"], "unchanged");
}

#[test]
fn ctrl_c_ends_a_query_that_never_ends_on_sqlite() {
    let project = Project::sqlite("CREATE TABLE t (x)");
    let endless = "/*---\npath = \"t/{k}.json\"\n---*/\n\
        WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT max(n) AS k, 1 AS v FROM r";
    project.template("t", endless);
    let mut build = project.tintype(&["publish"]).start();
    let database = project.root().join("file.db");
    build.wait_for("the database to be open", |build| {
        let open = std::fs::read_dir(format!("/proc/{}/fd", build.id())).ok()?;
        let mut open = open.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
        open.any(|file| file == database).then_some(())
    });
    let sent = Instant::now();
    build.signal(Signal::INT);
    let ended = build.finish().expect(130);
    assert!(sent.elapsed() < Duration::from_secs(5), "{ended}");
    assert!(project.public().paths().is_empty());
}

/// A world in which every document tells its generation, for tests that stop between two of them.
fn generations(keys: u32) -> Project {
    let project = Project::sqlite(&format!(
        "CREATE TABLE world (generation INTEGER); INSERT INTO world VALUES (1);
         CREATE TABLE numbers (n INTEGER PRIMARY KEY);
         INSERT INTO numbers WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < {keys}) SELECT n FROM r"
    ));
    let template = "/*---\npath = \"many/{n}.json\"\n---*/\nSELECT n, generation AS v FROM numbers, world ORDER BY n";
    project.template("many", template);
    project
}

#[test]
fn an_activation_killed_half_way_is_finished_or_undone_by_the_next_run() {
    let keys = 4000;
    // A → B, killed while B becomes visible, and the data is A again: the case in which most publishers serve B for ever.
    for attempt in 0..20 {
        let project = generations(keys);
        project.publish();
        let first = project.public().digests();
        project.execute("UPDATE world SET generation = 2");
        let mut build = project.tintype(&["publish"]).start();
        let inode = |path: &str| {
            use std::os::unix::fs::MetadataExt as _;
            std::fs::metadata(project.public().file(path)).map(|about| about.ino()).ok()
        };
        let probes: Vec<(String, Option<u64>)> = (1..=10)
            .map(|part| format!("many/{}.json", keys * part / 10))
            .map(|path| (path.clone(), inode(&path)))
            .collect();
        build.wait_for("the first replaced document", |_| {
            probes.iter().any(|(path, before)| inode(path) != *before).then_some(())
        });
        build.signal(Signal::KILL);
        build.finish();
        let replaced = differences(&first, &project.public().digests()).len();
        if replaced == first.len() {
            // The machine was faster than the signal: try again with a new project.
            assert!(attempt < 19, "never killed in the middle of an activation");
            continue;
        }
        assert!(replaced > 0);
        // Every visible document is whole, old or new; `digests` has read all of them.
        project.execute("UPDATE world SET generation = 1");
        project.publish();
        assert_eq!(differences(&first, &project.public().digests()), Vec::<String>::new());
        let head = project.head();
        assert_eq!(head["active"], head["desired"], "{head}");
        assert_eq!(project.publish()["outcome"], "unchanged");
        assert_eq!(differences(&first, &project.public().digests()), Vec::<String>::new());
        return;
    }
}

#[test]
fn a_kill_at_any_time_is_healed_by_one_clean_run() {
    let project = generations(500);
    project.publish();
    let began = Instant::now();
    project.execute("UPDATE world SET generation = 2");
    project.publish();
    let whole = began.elapsed();
    for step in 1..=12 {
        let generation = 2 + step;
        project.execute(&format!("UPDATE world SET generation = {generation}"));
        let build = project.tintype(&["publish"]).start();
        // Spread over the whole run; where exactly each falls doesn't matter, all must heal.
        let until = Instant::now() + whole * step / 12;
        wait_until("the moment to kill", SOON, || Instant::now() >= until);
        build.signal(Signal::KILL);
        build.finish();
        project.publish();
        let public = project.public();
        for path in public.paths() {
            assert_eq!(public.document(&path)["rows"][0]["v"], generation, "{path} after kill {step}");
        }
    }
}
