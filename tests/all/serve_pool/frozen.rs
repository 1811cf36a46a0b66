//! A server whose processes hang one by one, as they do when its disk doesn't answer, while it takes new connections: each
//! that was given up for another one would stay there, until it has no more for anybody.

use std::collections::HashSet;

use rustix::process::{Pid, Signal, kill_process};

use super::*;

/// Statements of this test's template that are at work.
const AT_WORK: &str = "SELECT pid::text FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' AND \
                       application_name LIKE 'tintype/serve/%' AND query LIKE '%pg_sleep(0.2)%'";
/// The pool's size.
const FEW: i64 = 2;

/// Processes of the server that were stopped; they go on when this is dropped.
#[derive(Default)]
struct Frozen(HashSet<i32>);

impl Frozen {
    fn freeze(&mut self, pid: i32) {
        if self.0.insert(pid) {
            send(pid, Signal::STOP);
        }
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        self.0.drain().for_each(|pid| send(pid, Signal::CONT));
    }
}

fn send(pid: i32, signal: Signal) {
    let pid = Pid::from_raw(pid).expect("a process");
    // It may have ended by itself.
    let _ = kill_process(pid, signal);
}

#[test]
fn processes_that_hang_never_cost_the_server_more_than_the_pool_has() {
    let Some(database) = postgres::database() else { return };
    database.execute(&rows());
    let project = Project::postgres(database);
    project.template("places", &template());
    let hanging = template()
        .replace("places/", "hanging/")
        .replace("FROM fact AS f\n", "FROM (SELECT fact.* FROM fact, pg_sleep(0.2)) AS f\n");
    project.template("hanging", &hanging);
    let command = command(&project).env("DB_POOL_SIZE", FEW.to_string());
    let server = serving_as(command.env("TINTYPE_DATABASE_SERVE_STATEMENT_TIMEOUT", "1s"));
    let (mut frozen, mut most) = (Frozen::default(), 0);
    let mut watch = project.database().connect();
    let cold = || cold().replace("places/", "hanging/");
    let seen = while_asked_for(server.address, &cold, || {
        let begun = Instant::now();
        // A reader gives up after two seconds, and a server that notices does so within another one.
        while begun.elapsed() < Duration::from_secs(9) {
            for row in watch.query(AT_WORK) {
                frozen.freeze(row[0].as_deref().expect("a process").parse().expect("a number"));
            }
            let open = &watch.query(&format!("SELECT count(*)::text {OURS}"))[0][0];
            most = most.max(open.as_deref().expect("a count").parse::<i64>().expect("a number"));
        }
    });
    tell("while processes hung", &seen);
    println!("{} processes hung, {most} connections at the most", frozen.0.len());
    assert!(frozen.0.len() >= 2, "none was met at work");
    assert!(most <= FEW, "a pool of {FEW} had {most} connections");
    drop(frozen);
    println!("recovered after {:?}", recovered(&server, &project.database().url()));
    server.end().expect(0);
}
