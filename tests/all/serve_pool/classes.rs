//! The class of each error that keeps a reader from an answer: a crowd, a connection that was lost and one that never came
//! about are told apart in the log.

use std::collections::BTreeSet;
use std::net::TcpListener;

use super::*;
use crate::support::process::{Finished, closed_port};

/// Its keys are known without a database.
const FIXED: &str = "/*---
path = \"fixed/{k}.json\"
[limits]
per_minute = 60000
[keys.k]
values = [\"a\", \"b\", \"c\"]
---*/
SELECT k, v FROM item WHERE 1 = 1 /*:keys k=k */ ORDER BY k
";

/// A server with one connection that tells of every reader.
fn serving_one(project: &Project) -> Serving {
    project.template("fixed", FIXED).make_public();
    let command = command(project).env("DB_POOL_SIZE", "1").env("TINTYPE_LOG", "tintype=debug");
    Serving::of(command.env("TINTYPE_DATABASE_SERVE_STATEMENT_TIMEOUT", "1m"))
}

fn project() -> Option<Project> {
    let database = postgres::database()?;
    database.execute("CREATE TABLE item (k TEXT, v INTEGER); INSERT INTO item VALUES ('a', 1), ('b', 2), ('c', 3)");
    Some(Project::postgres(database))
}

/// The classes of those who got no answer.
fn classes(ended: &Finished) -> BTreeSet<String> {
    let lines = ended.stderr.lines().filter(|line| line.contains("not answered"));
    let class = |line: &str| Some(line.split_once("class=\"")?.1.split_once('"')?.0.to_owned());
    lines.map(|line| class(line).unwrap_or_else(|| panic!("no class: {line}"))).collect()
}

#[track_caller]
fn are(ended: &Finished, expected: &str) {
    assert_eq!(classes(ended), BTreeSet::from([expected.to_owned()]), "{ended}");
}

/// A transaction that keeps everybody else from the rows.
fn locked(project: &Project) -> Session {
    let mut lock = project.database().connect();
    lock.query("BEGIN");
    lock.query("LOCK TABLE item IN ACCESS EXCLUSIVE MODE");
    lock
}

#[test]
fn who_waits_for_a_connection_in_vain_is_of_the_pools_time_out() {
    let Some(project) = project() else { return };
    let server = serving_one(&project);
    let mut lock = locked(&project);
    let address = server.address;
    std::thread::scope(|scope| {
        let holder = scope.spawn(|| ask(address, "/fixed/a.json"));
        wait_until("the only lease", Duration::from_secs(4), || in_use(&server) == 1);
        let refused = ask(address, "/fixed/b.json");
        assert!(refused.status == 503 && refused.took >= Duration::from_millis(900), "{refused:?}");
        lock.query("COMMIT");
        assert_eq!(holder.join().expect("an answer").status, 200);
    });
    are(&server.end().expect(0), "pool_timeout");
}

#[test]
fn a_connection_that_is_ended_in_the_middle_is_lost() {
    let Some(project) = project() else { return };
    let server = serving_one(&project);
    let mut lock = locked(&project);
    let address = server.address;
    let waiting = || {
        let activity = project.database().activity();
        activity.into_iter().find(|(_, _, wait)| wait == "Lock").map(|(pid, ..)| pid)
    };
    let end = |pid: i32| project.query(&format!("SELECT pg_terminate_backend({pid})::text"));
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| ask(address, "/fixed/a.json"));
        let first = wait_for("the statement", Duration::from_secs(4), waiting);
        end(first);
        // Nothing was answered yet, so it is tried once more.
        end(wait_for("another try", Duration::from_secs(4), || waiting().filter(|pid| *pid != first)));
        assert_eq!(reader.join().expect("an answer").status, 503);
    });
    lock.query("COMMIT");
    are(&server.end().expect(0), "connection_lost");
}

#[test]
fn a_server_that_refuses_and_one_that_says_nothing_cannot_be_connected_to() {
    // The system takes connections for it, and nobody ever looks at them.
    let paused = TcpListener::bind(("127.0.0.1", 0)).expect("bind to a free port");
    let silent = paused.local_addr().expect("it has an address").port();
    let refused: &[&str] = &["/fixed/a.json", "/fixed/b.json"];
    // Who comes next while the attempt hangs may still wait for the only connection.
    for (port, paths) in [(closed_port(), refused), (silent, &refused[..1])] {
        let project = Project::at(&format!("postgres://somebody@127.0.0.1:{port}/somewhere"));
        let server = serving_one(&project);
        for path in paths {
            assert_eq!(ask(server.address, path).status, 503);
        }
        are(&server.end().expect(0), "connect_failed");
    }
}
