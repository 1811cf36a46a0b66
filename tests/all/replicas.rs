//! Builds that read replicas: which server is read, why another one wasn't, and what happens when one fails in the middle.

use serde_json::Value;

use crate::doctor::{check, with_cdn};
use crate::support::places;
use crate::support::postgres::{self, Session};
use crate::support::process::Running;
use crate::support::project::Project;
use crate::support::servers::{Replicas, one};
use crate::support::wait::wait_until;

const MINUTE: std::time::Duration = std::time::Duration::from_mins(1);

/// A primary with two standbys that show a world, and a project that reads the standbys.
struct Replicated {
    servers: Replicas,
    project: Project,
}

impl Replicated {
    fn start() -> Option<Self> {
        let servers = Replicas::start()?;
        postgres::execute(&servers.primary, places::ROWS);
        servers.execute(&["SELECT 1"]);
        let project = Project::at(&servers.primary);
        project.template("places", places::TEMPLATE);
        let replicated = Self { servers, project };
        replicated.configure("");
        Some(replicated)
    }

    /// Writes the config; `more` goes into `[database]`.
    fn configure(&self, more: &str) {
        let [first, second] = &self.servers.standbys;
        self.configure_with(&[first, second], more);
    }

    fn configure_with(&self, replicas: &[&str], more: &str) {
        // The section's keys go right behind the URL.
        let url = &self.servers.primary;
        let text = format!("{url}\"\nreplicas = {replicas:?}\n{more}\nmax_lag = \"1s");
        self.project.configure(&text, "[database.build]\nacquire_timeout = \"2s\"\n");
    }

    /// Publishes everything anew, and returns the document.
    #[track_caller]
    fn publish(&self) -> Value {
        self.project.json(&["publish", "--force"], 0)
    }

    /// Asserts that this server was read, and returns why the ones before it weren't.
    #[track_caller]
    fn read(&self, said: &Value, url: &str) -> Vec<String> {
        let source = &said["source"];
        let named = source["server"].as_str().expect("a server");
        assert!(named.contains(&port(url)), "{source:#} instead of {url}");
        assert_eq!(source["replica"], url != self.servers.primary, "{source:#}");
        let passed = source["passed_over"].as_array().expect("a list");
        passed.iter().map(|one| one["reason"].as_str().expect("a reason").to_owned()).collect()
    }

    fn change(&self, city: &str) {
        postgres::execute(&self.servers.primary, &format!("UPDATE fact SET city = '{city}' WHERE city_id = 2"));
    }

    fn city(&self) -> Value {
        self.project.public().document("places/united-states/malaria/low.json")["rows"][0]["city"].clone()
    }
}

fn port(url: &str) -> String {
    format!(":{},", url::Url::parse(url).expect("a URL").port().expect("a port"))
}

#[test]
fn the_first_fit_replica_is_read() {
    let Some(mut world) = Replicated::start() else { return };
    let [first, second] = world.servers.standbys.clone();
    let primary = world.servers.primary.clone();
    let said = world.publish();
    assert!(world.read(&said, &first).is_empty());
    assert_eq!(said["connections"], 1);
    let shown = world.project.run(&["publish", "-v", "--force"]).expect(0).stderr;
    assert!(shown.contains(&port(&first)) && shown.contains("(a replica)"), "{shown}");
    world.project.run(&["check"]).expect(0);
    with_cdn(&world.project, None);
    let servers = world.project.json(&["doctor"], 0)["database"]["servers"].clone();
    let of = |name: &str| servers.as_array().expect("a list").iter().map(|one| one[name].clone()).collect::<Vec<_>>();
    let expected: Vec<Value> = [false, true, true].map(Value::from).to_vec();
    assert_eq!((of("replica"), of("in_recovery")), (expected.clone(), expected), "{servers:#}");

    // An editor's commands read the primary, unless told otherwise.
    let republish = |more: &[&str]| world.project.json(&[&["republish", "places/*/crispr/*"], more].concat(), 0);
    assert!(world.read(&republish(&[]), &primary).is_empty());
    assert!(world.read(&republish(&["--replica"]), &first).is_empty());
    world.configure("read = \"primary\"");
    assert!(world.read(&world.publish(), &primary).is_empty());
    assert!(world.read(&republish(&["--replica"]), &first).is_empty());
    world.configure_with(&[], "");
    world.project.run(&["republish", "places/*/crispr/*", "--replica"]).expect(2).explains(&["replicas"]);

    // Stopped: the next one, at once, in spite of acquire_timeout. Both: the primary, with a warning off a terminal.
    world.configure("");
    world.servers.command("stop one");
    let reasons = world.read(&world.publish(), &second);
    assert!(reasons[0].contains("refused"), "{reasons:?}");
    world.servers.command("stop two");
    let ended = world.project.run(&["publish", "--force"]).expect(0);
    assert!(ended.stderr.contains("warning") && ended.stderr.contains(&port(&second)), "{ended}");
    assert_eq!(world.read(&world.publish(), &primary).len(), 2);
    world.configure("read = \"replica\"");
    let ended = world.project.run(&["publish"]).expect(1);
    ended.explains(&["no server can be read", &port(&first), &port(&second), "refused"]);
    assert!(!ended.stderr.contains(&port(&primary)), "{ended}");
}

#[test]
fn one_that_lags_is_passed_over() {
    let Some(world) = Replicated::start() else { return };
    let [first, second] = world.servers.standbys.clone();
    Session::connect(&first).query("SELECT pg_wal_replay_pause()");
    world.change("Dallas");
    world.servers.catch_up(&[&second]);
    let waits = "SELECT (pg_last_wal_receive_lsn() > pg_last_wal_replay_lsn() \
                 AND clock_timestamp() - pg_last_xact_replay_timestamp() > '1 s')::text";
    wait_until("the paused one to be a second behind", MINUTE, || one(&first, waits) == "true");
    let said = world.publish();
    let reasons = world.read(&said, &second);
    assert!(reasons[0].contains("behind its primary") && reasons[0].contains("paused"), "{reasons:?}");
    with_cdn(&world.project, None);
    let found = world.project.json(&["doctor"], 0);
    let late = check(&found, "database", "replica");
    assert_eq!(late["outcome"], "warning", "{found:#}");
    assert!(late["detail"].as_str().is_some_and(|detail| detail.contains("behind its primary")), "{late}");
    assert_eq!(said["connections"], 2, "it was asked");
    assert_eq!(world.city(), "Dallas");

    // What an idle primary hasn't done is no lag, however long ago the last commit was.
    Session::connect(&first).query("SELECT pg_wal_replay_resume()");
    world.servers.catch_up(&[&first, &second]);
    let idle = "SELECT (now() - pg_last_xact_replay_timestamp() > '1500 ms')::text";
    wait_until("the primary to be idle for longer than max_lag", MINUTE, || one(&first, idle) == "true");
    let said = world.publish();
    assert!(world.read(&said, &first).is_empty(), "{said:#}");
    // The data is of the last commit, by the primary's clock.
    let committed =
        "SELECT to_char(pg_last_xact_replay_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')";
    assert_eq!(said["as_of"], one(&first, committed));
}

#[test]
fn one_that_receives_nothing_or_is_no_replica_is_passed_over() {
    let Some(mut world) = Replicated::start() else { return };
    let [first, second] = world.servers.standbys.clone();
    let primary = world.servers.primary.clone();
    let mut broken = Session::connect(&first);
    broken.query("ALTER SYSTEM SET primary_conninfo = 'host=127.0.0.1 port=1'");
    broken.query("SELECT pg_reload_conf()");
    wait_until("the receiver to be gone", MINUTE, || {
        one(&first, "SELECT count(*)::text FROM pg_stat_wal_receiver") == "0"
    });
    let reasons = world.read(&world.publish(), &second);
    assert!(reasons[0].contains("receives nothing from its primary"), "{reasons:?}");

    // A primary among the replicas, by mistake or because it was promoted.
    world.configure_with(&[&primary, &second], "");
    let reasons = world.read(&world.publish(), &second);
    assert!(reasons[0].contains("isn't in recovery"), "{reasons:?}");
    world.servers.command("promote two");
    world.configure_with(&[&second], "read = \"replica\"");
    world.project.run(&["publish"]).expect(1).explains(&["isn't in recovery", "promoted", "[database] url"]);

    // A standby may be what the URL names; then nobody asks how it is.
    world.project.configure(&first, "");
    assert!(world.read(&world.publish(), &first).is_empty());
}

/// Stands still for a minute after 1,500 keys on a standby, where no lock can be waited for; on a primary it doesn't.
const GATED: &str = "/*---
path = \"gated/{k}.json\"
---*/
SELECT n AS k, generation AS v, repeat('x', 200) AS pad,
       CASE WHEN n = 1500 THEN pg_sleep(CASE WHEN pg_is_in_recovery() THEN 60 ELSE 0 END)::text END AS gate
FROM generate_series(1, 2000) AS n, world
ORDER BY n
";

/// Two templates, the second of which stands still on a standby; published as generation 1, and 2 is to come.
fn gated() -> Option<(Replicated, Running)> {
    let world = Replicated::start()?;
    let servers = &world.servers;
    servers.execute(&["CREATE TABLE world (generation INTEGER)", "INSERT INTO world VALUES (1)"]);
    world.project.template("gated", GATED);
    world
        .project
        .template("first", "/*---\npath = \"first/{k}.json\"\n---*/\nSELECT 'a' AS k, generation AS v FROM world");
    world.configure("read = \"primary\"");
    world.publish();
    servers.execute(&["UPDATE world SET generation = 2"]);
    world.configure_with(&[&servers.standbys[0]], "");
    let mut build = world.project.tintype(&["publish", "--force", "--format", "json"]).start();
    build.wait_for("the query to stand still on the standby", |_| {
        let standing = "SELECT count(*)::text FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
        (one(&servers.standbys[0], standing) == "1").then_some(())
    });
    Some((world, build))
}

/// The build must have gone on from the primary, with one instant for all and nothing of the first attempt.
fn went_on(world: &Replicated, build: Running, says: &str) {
    let ended = build.finish().expect(0);
    let said = ended.json();
    let reasons = world.read(&said, &world.servers.primary);
    assert!(reasons[0].contains(says), "{reasons:?}");
    assert!(ended.stderr.contains("warning"), "{ended}");
    assert_eq!(said["connections"], 2, "{said:#}");
    for path in ["first/a.json", "gated/1.json", "gated/2000.json"] {
        assert_eq!(world.project.public().document(path)["rows"][0]["v"], 3, "{path}");
    }
    world.configure("read = \"primary\"");
    assert_eq!(world.project.json(&["publish"], 0)["outcome"], "unchanged");
    let all = world.project.json(&["get", "gated/*", "--from", "all"], 0);
    assert_eq!(all["same"], true);
}

#[test]
fn a_conflict_with_recovery_moves_on_to_the_next_server() {
    let Some((world, build)) = gated() else { return };
    // Rows that the build's snapshot needs are removed, and the standby has to choose.
    let mut primary = Session::connect(&world.servers.primary);
    primary.query("UPDATE world SET generation = 3");
    primary.query("VACUUM world");
    went_on(&world, build, "conflict with recovery");
}

#[test]
fn a_lost_connection_moves_on_to_the_next_server() {
    let Some((mut world, build)) = gated() else { return };
    postgres::execute(&world.servers.primary, "UPDATE world SET generation = 3");
    world.servers.command("stop one");
    went_on(&world, build, "connection to the database was lost");
}

#[test]
fn without_another_server_the_build_fails_and_says_why() {
    let Some((world, build)) = gated() else { return };
    // The statement of a build that was killed ends by itself.
    drop(build);
    let standing = "SELECT count(*)::text FROM pg_stat_activity WHERE wait_event = 'PgSleep'";
    wait_until("the first build's statement to end", MINUTE, || one(&world.servers.standbys[0], standing) == "0");
    world.configure_with(&[&world.servers.standbys[0]], "read = \"replica\"");
    let before = world.project.public().digests();
    let mut build = world.project.tintype(&["publish", "--force"]).start();
    build.wait_for("the query to stand still on the standby", |_| {
        (one(&world.servers.standbys[0], standing) == "1").then_some(())
    });
    let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'tintype%'";
    Session::connect(&world.servers.standbys[0]).query(kill);
    build.finish().expect(1).explains(&["hung up", "terminated"]);
    assert_eq!(world.project.public().digests(), before);
}

#[test]
fn a_role_without_privileges_and_a_restarted_standby_will_do() {
    let Some(mut world) = Replicated::start() else { return };
    world
        .servers
        .execute(&["CREATE ROLE plain LOGIN PASSWORD 'pass'", "GRANT SELECT ON ALL TABLES IN SCHEMA public TO plain"]);
    // A standby that was restarted has replayed no commit since, and its primary is idle.
    world.servers.command("stop one");
    world.servers.command("start one");
    let first = world.servers.standbys[0].clone();
    wait_until("the receiver to be back", MINUTE, || {
        one(&first, "SELECT count(*)::text FROM pg_stat_wal_receiver WHERE status = 'streaming'") == "1"
    });
    let as_plain = first.replace("postgres@", "plain:pass@");
    world.configure_with(&[&as_plain], "read = \"replica\"");
    let said = world.publish();
    assert!(world.read(&said, &first).is_empty());
    let now = one(&first, "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US')");
    let as_of = said["as_of"].as_str().expect("an instant");
    assert!(as_of > "2020" && as_of < now.as_str(), "{as_of}");
    let ended = world.project.run(&["publish", "-v"]).expect(0);
    assert!(!ended.stderr.contains("pass@") && !ended.stderr.contains("plain:"), "{ended}");
}

#[test]
fn a_primary_that_restarts_is_waited_for() {
    let Some(mut world) = Replicated::start() else { return };
    let primary = world.servers.primary.clone();
    world.project.configure(&primary, "");
    world.servers.command("stop primary");
    let mut build = world.project.tintype(&["publish", "-v"]).start();
    build.wait_for("a second try", |build| build.stderr().contains("trying again").then_some(()));
    world.servers.command("start primary");
    build.finish().expect(0);
    assert_eq!(world.project.public().paths().len(), places::DOCUMENTS);
}
