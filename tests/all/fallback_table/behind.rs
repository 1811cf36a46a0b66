//! A table that is behind: its database is away, busy, emptied or restored, and others write it at the same time.

use std::net::TcpListener;
use std::time::Duration;

use super::{ROWS, change, says};
use crate::support::fallback::{Table, World, server_world, worlds};
use crate::support::postgres::{Session, runtime};
use crate::support::process::Running;
use crate::support::wait::wait_until;

/// Publishes with the table away: the site is live, and the table is owed.
#[track_caller]
fn published_without(world: &World, words: &[&str]) {
    let project = &world.project;
    let ended = project.run(&["publish"]).expect(4);
    ended.explains(words);
    ended.explains(&["the fallback table isn't up to date", "the site is live", "tintype", "resume"]);
    assert_eq!(project.json(&["status"], 0)["outcome"], "active");
    assert_eq!(project.json(&["status"], 0)["table"]["outcome"], "pending");
    let status = project.run(&["status"]).expect(0).text();
    assert!(status.contains("fallback table out of reach") && !status.contains("behind"), "{status}");
    says(&project.json(&["publish"], 4), "pending", 0, 0);
}

#[test]
fn a_server_that_is_away_holds_nothing_up() {
    let Some(world) = server_world("") else { return };
    let silent = TcpListener::bind("127.0.0.1:0").expect("listen");
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
        listener.local_addr().expect("an address")
    };
    let url = |address| format!("postgres://postgres@{address}/x?sslmode=disable");
    world.keep_in(&url(closed), "");
    published_without(&world, &["can't connect to PostgreSQL", "hint"]);
    // One that takes connections and says nothing, as after SIGSTOP.
    world.keep_in(&url(silent.local_addr().expect("an address")), "table_timeout = \"300ms\"");
    change(&world);
    let began = std::time::Instant::now();
    published_without(&world, &["no answer within 300ms", "table_timeout"]);
    assert!(began.elapsed() < Duration::from_mins(1), "{:?}", began.elapsed());
    world.keep_in(&world.project.database().url(), "");
    assert_eq!(world.project.json(&["status"], 0)["table"]["outcome"], "pending");
    says(&world.project.json(&["resume"], 0), "done", ROWS, 0);
    world.agrees();
    assert_eq!(world.project.json(&["status"], 0)["table"]["outcome"], "done");
}

#[test]
fn a_file_that_is_broken_is_explained_and_written_anew() {
    let world = worlds().remove(0);
    let file = world.project.root().join(".tintype/fallback.db");
    std::fs::create_dir_all(file.parent().expect("a folder")).expect("make the folder");
    std::fs::write(&file, "this is no database, however long one looks at it").expect("write");
    published_without(&world, &["not a database", "remove the file"]);
    std::fs::remove_file(&file).expect("remove the file");
    says(&world.project.json(&["resume"], 0), "done", ROWS, 0);
    world.agrees();
}

#[test]
fn a_table_that_somebody_locks_is_written_by_the_next_run() {
    let Some(world) = server_world("table_timeout = \"200ms\"") else { return };
    world.project.publish();
    let before = world.table.rows();
    let mut other = Session::connect(&world.project.database().url());
    other.query("BEGIN");
    other.query("SELECT 1 FROM tintype_release FOR UPDATE");
    change(&world);
    let ended = world.project.run(&["publish"]).expect(4);
    ended.explains(&["lock timeout", "pg_locks"]);
    assert_eq!(world.table.rows(), before, "all or nothing");
    other.query("ROLLBACK");
    let said = world.project.publish();
    assert_eq!((&said["outcome"], &said["table"]["outcome"]), (&"unchanged".into(), &"done".into()));
    world.agrees();
}

#[test]
fn a_file_that_somebody_locks_is_written_by_the_next_run() {
    use sqlx::Connection as _;
    let world = worlds().remove(0);
    world.project.configure("sqlite:file.db", "\n[fallback]\ntable_timeout = \"200ms\"\n");
    world.project.publish();
    let Table::File(file) = &world.table else { panic!("it is in a file") };
    let mut other = runtime().block_on(sqlx::SqliteConnection::connect(&file.display().to_string())).expect("open");
    runtime().block_on(sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other)).expect("lock");
    change(&world);
    world.project.run(&["publish"]).expect(4).explains(&["locked", "another process keeps a transaction open"]);
    runtime().block_on(other.close()).expect("close");
    assert_eq!(world.project.publish()["table"]["outcome"], "done");
    world.agrees();
}

#[test]
fn it_catches_up_from_whatever_is_there() {
    for world in worlds() {
        let project = &world.project;
        project.publish();
        world.table.execute(
            "CREATE TABLE old_snapshot AS SELECT * FROM tintype_snapshot; CREATE TABLE old_release AS SELECT * FROM tintype_release",
        );
        // Emptied, with a row that says that all is well.
        world.table.execute("DELETE FROM tintype_snapshot");
        says(&project.publish(), "done", ROWS, 0);
        world.agrees();
        // Restored from a backup of long ago.
        change(&world);
        project.publish();
        project.execute("UPDATE fact SET level = 2 WHERE fact_id = 1");
        project.publish();
        let shown = world.agrees();
        world.table.execute(
            "DELETE FROM tintype_snapshot; INSERT INTO tintype_snapshot SELECT * FROM old_snapshot; \
             DELETE FROM tintype_release; INSERT INTO tintype_release SELECT * FROM old_release",
        );
        let said = project.publish();
        let written = said["table"]["written"].as_u64().expect("a number");
        assert!(written > 0 && written < ROWS as u64, "only what differs: {said:#}");
        let bodies = |row: &crate::support::fallback::Row| row.body.clone();
        assert!(world.agrees().values().map(bodies).eq(shown.values().map(bodies)));
        // A row that somebody has changed, one that was added, and one whose body is another's.
        world.table.execute(
            "UPDATE tintype_snapshot SET digest = 'x' WHERE path = 'index.json'; \
             INSERT INTO tintype_snapshot SELECT 'zzz', template, key, body_gzip, digest, cache_control, cache_tags, release, as_of \
             FROM tintype_snapshot WHERE path LIKE '%crispr/low.json' LIMIT 1; \
             UPDATE tintype_snapshot SET body_gzip = (SELECT body_gzip FROM tintype_snapshot WHERE path = 'index.json') \
             WHERE path = 'places/united-states/crispr/low.json'",
        );
        let flawed = project.json(&["verify", "--table"], 1);
        assert_eq!(flawed["different"], serde_json::json!(["index.json"]), "{flawed:#}");
        assert_eq!(flawed["extra"], serde_json::json!(["zzz"]));
        assert_eq!(flawed["counts"]["corrupt"], 0, "that takes --deep");
        let deep = project.json(&["verify", "--table", "--deep"], 1);
        assert_eq!(deep["corrupt"], serde_json::json!(["places/united-states/crispr/low.json"]));
        let planned = project.json(&["verify", "--table", "--deep", "--repair", "--dry-run"], 1);
        assert_eq!(planned["outcome"], "flawed");
        let repaired = project.json(&["verify", "--table", "--deep", "--repair"], 0);
        assert_eq!((&repaired["outcome"], &repaired["repaired"]["written"]), (&"repaired".into(), &2.into()));
        world.agrees();
    }
}

#[test]
fn publishers_at_the_same_time_leave_the_last_release() {
    for world in worlds() {
        world.project.publish();
        let start = |round: usize| -> Running {
            world.project.execute(&format!("UPDATE fact SET scholar = {} WHERE fact_id = 1", 200 + round));
            world.project.tintype(&["publish", "--format", "json"]).start()
        };
        let running: Vec<Running> = (0..6).map(start).collect();
        for ended in running.into_iter().map(Running::finish) {
            assert_eq!(ended.json()["table"]["outcome"], "done", "{ended}");
            assert_eq!(ended.code(), 0, "{ended}");
        }
        world.agrees();
        assert_eq!(world.project.json(&["verify", "--table", "--deep"], 0)["outcome"], "intact");
    }
}

#[test]
fn a_transaction_that_comes_late_moves_nothing_back() {
    let Some(world) = server_world("") else { return };
    let project = &world.project;
    project.publish();
    let mut newer = Session::connect(&project.database().url());
    newer.query("BEGIN");
    newer.query("SELECT 1 FROM tintype_release FOR UPDATE");
    change(&world);
    let late = project.tintype(&["publish"]).start();
    wait_until("the late one to wait", Duration::from_mins(1), || {
        project.database().activity().iter().any(|(_, _, waits_for)| waits_for == "Lock")
    });
    // What a run of a later release would have done.
    newer.query("UPDATE tintype_snapshot SET cache_tags = 'newer'");
    newer.query("UPDATE tintype_release SET serial = 50, release = '50-20300101T000000Z-00000000', written_at = now()");
    newer.query("COMMIT");
    let ended = late.finish().expect(4);
    ended.explains(&["shows release 50-20300101T000000Z-00000000"]);
    assert!(world.table.rows().values().all(|row| row.cache_tags == "newer"), "nothing was written");
    assert_eq!(world.table.release(), "50-20300101T000000Z-00000000");
}
