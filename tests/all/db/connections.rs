//! Who holds what.

use serde_json::{Value, json};

use super::{World, clients, number, session};
use crate::support::places;
use crate::support::postgres::Session;
use crate::support::project::Project;
use crate::support::servers::Replicas;
use crate::support::wait::wait_until;

const MINUTE: std::time::Duration = std::time::Duration::from_mins(1);

fn holder<'a>(server: &'a Value, application: &str) -> &'a Value {
    let mut holders = server["holders"].as_array().expect("a list").iter();
    holders.find(|one| one["application"] == application).unwrap_or_else(|| panic!("no {application} in {server:#}"))
}

#[test]
fn every_connection_has_its_holder() {
    let Some(world) = World::start() else { return };
    let mut witness = world.session("witness");
    let _idle = [world.session("api"), world.session("api"), world.session("api")];
    let mut open = world.session("api");
    open.query("CREATE TABLE held (id int)");
    open.query("BEGIN");
    open.query("LOCK TABLE held");
    let url = world.server.url.clone();
    let waiting = std::thread::spawn(move || session(&url, "worker").query("SELECT count(*)::text FROM held"));
    wait_until("one to wait for the lock", MINUTE, || {
        witness.query("SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock'").len() == 1
    });
    let said = world.project.json(&["db", "connections"], 0);
    assert_eq!((&said["command"], &said["outcome"]), (&json!("db connections"), &json!("ok")), "{said:#}");
    let server = &said["servers"][0];
    // Four of the api, the worker, the witness, and the command's own.
    assert_eq!(server["used"], 7, "{server:#}");
    wait_until("the command to be gone", MINUTE, || clients(&mut witness) == 6);
    let max = number(&witness.query("SHOW max_connections"));
    let kept = number(&witness.query("SHOW superuser_reserved_connections"));
    assert_eq!((&server["max_connections"], &server["superuser_reserved"]), (&json!(max), &json!(kept)));
    assert_eq!((&server["usable"], &server["level"]), (&json!(max - kept), &json!("ok")));
    let percent = server["usage_percent"].as_f64().expect("a number");
    assert!((percent - 700.0 / (max - kept) as f64).abs() < 1e-9, "{percent}");
    let api = holder(server, "api");
    assert_eq!(
        (&api["connections"], &api["user"], &api["client"]),
        (&json!(4), &json!("postgres"), &json!("127.0.0.1"))
    );
    assert_eq!((&api["states"]["idle"], &api["states"]["idle_in_transaction"]), (&json!(3), &json!(1)));
    assert!(api["idle_in_transaction_seconds"].as_f64().is_some_and(|age| age > 0.0), "{api:#}");
    let sessions = server["sessions"].as_array().expect("a list");
    let locked: Vec<_> = sessions.iter().filter(|one| one["waits_for_lock"] == true).collect();
    assert_eq!(locked.len(), 1, "{server:#}");
    assert_eq!((&locked[0]["application"], &locked[0]["state"]), (&json!("worker"), &json!("active")));
    let own: Vec<_> = sessions.iter().filter(|one| one["this"] == true).collect();
    assert!(own.len() == 1 && own[0]["application"].as_str().is_some_and(|name| name.starts_with("tintype/db-con")));

    let shown = world.project.run(&["db", "connections"]).expect(0).text();
    assert!(shown.contains(&format!("7 of {} connections (12 %)", max - kept)), "{shown}");
    assert!(shown.contains("idle in transaction for") && shown.contains("LOCK TABLE held"), "{shown}");
    assert!(!shown.contains("waits for a lock"), "only those that forgot their transaction: {shown}");
    let shown = world.project.run(&["db", "connections", "--all"]).expect(0).text();
    assert!(shown.contains("waits for a lock: SELECT count(*)"), "{shown}");
    open.query("COMMIT");
    waiting.join().expect("the lock was free");
    let shown = world.project.run(&["db", "connections"]).expect(0).text();
    assert!(!shown.contains("idle in transaction for"), "{shown}");
}

#[test]
fn what_a_role_is_not_told_is_said() {
    let Some(world) = World::start() else { return };
    let url = world.role("reader", 9);
    let mut admin = world.session("secret-work");
    wait_until("the setup to be gone", MINUTE, || clients(&mut admin) == 1);
    admin.query("BEGIN");
    world.project.configure(&url, "");
    let said = world.project.json(&["db", "connections"], 0);
    let server = &said["servers"][0];
    assert_eq!((&server["used"], &server["sees_all"], &server["role_limit"]), (&json!(2), &json!(false), &json!(9)));
    assert_eq!(server["states"]["hidden"], 1);
    let hidden = holder(server, "secret-work");
    assert_eq!((&hidden["client"], &hidden["connections"]), (&Value::Null, &json!(1)));
    let sessions = server["sessions"].as_array().expect("a list");
    let theirs = sessions.iter().find(|one| one["this"] == false).expect("the other one");
    assert!(theirs["query"].is_null() && theirs["state_seconds"].is_null(), "{server:#}");
    let shown = world.project.run(&["db", "connections"]).expect(0).text();
    assert!(shown.contains("1 session of other roles") && shown.contains("GRANT pg_monitor TO reader"), "{shown}");
    assert!(shown.contains("the role reader may have 9"), "{shown}");
    admin.query("COMMIT");
    admin.query("GRANT pg_monitor TO reader");
    let said = world.project.json(&["db", "connections"], 0);
    assert_eq!((&said["servers"][0]["sees_all"], &said["servers"][0]["states"]["hidden"]), (&json!(true), &json!(0)));
    let shown = world.project.run(&["db", "connections"]).expect(0).text();
    assert!(!shown.contains("pg_monitor"), "{shown}");
}

#[test]
fn a_full_server_can_still_be_looked_at_by_its_superuser() {
    let Some(world) = World::start() else { return };
    let url = world.role("web", -1);
    let mut witness = world.session("witness");
    let usable = number(&witness.query("SHOW max_connections")) - 3;
    wait_until("the setup to be gone", MINUTE, || clients(&mut witness) == 1);
    let _held: Vec<Session> = (1..usable).map(|_| session(&url, "crowd")).collect();
    world.project.configure(&url, "");
    let ended = world.project.run(&["db", "connections"]).expect(1);
    ended.explains(&["tintype db connections", "superuser"]);
    assert!(!ended.stderr.contains("pass"), "{ended}");
    world.project.configure(&world.server.url, "");
    let server = world.project.json(&["db", "connections"], 0)["servers"][0].clone();
    assert_eq!((&server["used"], &server["level"]), (&json!(usable + 1), &json!("critical")), "{server:#}");
    assert_eq!(holder(&server, "crowd")["connections"], usable - 1);
}

#[test]
fn every_server_is_asked_and_one_that_is_gone_hides_no_other() {
    let Some(mut servers) = Replicas::start() else { return };
    let project = Project::at(&servers.primary);
    let [first, second] = servers.standbys.clone();
    let url = format!("{}\"\nreplicas = {:?}\nmax_lag = \"1m", servers.primary, [&first, &second]);
    project.configure(&url, "[database.build]\nacquire_timeout = \"3s\"\n");
    let _on_first = [session(&first, "reports"), session(&first, "reports")];
    let said = project.json(&["db", "connections"], 0);
    let used: Vec<_> = said["servers"].as_array().expect("a list").iter().map(|one| one["used"].clone()).collect();
    assert_eq!(used, [1, 3, 1], "{said:#}");
    // The trial takes the standbys for what they are, and says what is wrong with one that isn't fit.
    let said = project.json(&["db", "test"], 0);
    let of = |name: &str| {
        said["servers"].as_array().expect("a list").iter().map(|one| one[name].clone()).collect::<Vec<_>>()
    };
    assert_eq!(of("replica"), [false, true, true]);
    assert_eq!(of("in_recovery"), [false, true, true]);
    assert!(of("left_idle_in_transaction").iter().all(|left| left == 0), "{said:#}");
    servers.command("stop two");
    let said = project.json(&["db", "connections"], 1);
    assert_eq!((&said["outcome"], &said["servers"][2]["reachable"]), (&json!("failed"), &json!(false)));
    assert_eq!(said["servers"][1]["used"], 3, "{said:#}");
    let ended = project.run(&["db", "connections"]).expect(1);
    ended.explains(&["can't connect", "refused"]);
    assert!(ended.text().contains("reports"), "{ended}");
    servers.command("promote one");
    let ended = project.run(&["db", "test"]).expect(1).text();
    assert!(ended.contains("isn't in recovery"), "{ended}");
}

#[test]
fn a_file_has_none() {
    let project = places::sqlite();
    let shown = project.run(&["db", "connections"]).expect(0).text();
    assert!(shown.contains("no connections to run out of") && shown.contains("journal_mode delete"), "{shown}");
    project.execute("PRAGMA journal_mode = WAL");
    let held = std::fs::File::open(project.root().join("file.db")).expect("open it");
    let said = project.json(&["db", "connections"], 0);
    assert_eq!((&said["engine"], &said["file"]["journal_mode"]), (&json!("sqlite"), &json!("wal")));
    let size = held.metadata().expect("its size").len();
    assert_eq!(said["file"]["size_bytes"], size);
    let holders = said["file"]["holders"].as_array().expect("a list");
    assert!(holders.iter().any(|one| one["pid"] == std::process::id()), "{said:#}");
}
