//! Publishing to a store that ignores conditions, with the head in a database.

use std::fs;

use serde_json::{Value, json};

use crate::support::bucket::{BUCKET, Bucket};
use crate::support::places::{self, DOCUMENTS};
use crate::support::postgres::{self, Database, Session};
use crate::support::process::{Finished, Running};
use crate::support::project::Project;
use crate::support::s3_server::{Fault, Part, What};
use crate::support::servers::{Bouncer, Replicas};

mod lost;
mod served;

/// A bucket of a server that does what it is asked to, whatever the conditions.
fn careless_bucket() -> Bucket {
    let bucket = Bucket::new();
    bucket.server.play(Fault::new(What::Ignore(Part::Conditions), |asked| asked.conditional));
    bucket
}

/// The lines of `[store]` that keep the head in this database.
fn keep_in(url: &str) -> String {
    format!("head = \"database\"\nhead_url = \"{url}\"\n")
}

/// A world on SQLite that is published into a careless bucket, with its head in this database; `more` are further lines
/// of `[store]`.
fn with_row(url: &str, more: &str) -> (Bucket, Project) {
    let (bucket, mut project) = (careless_bucket(), places::sqlite());
    project.publish_to(&bucket, &format!("{}{more}", keep_in(url)));
    (bucket, project)
}

/// The head as the row says it; null without one.
fn row(database: &Database) -> Value {
    let rows = database.query("SELECT convert_from(head, 'UTF8') FROM tintype_head");
    rows.first().map_or(Value::Null, |row| {
        serde_json::from_str(row[0].as_deref().expect("no column is NULL")).expect("the head is JSON")
    })
}

/// How often the row was written.
fn writes(database: &Database) -> u64 {
    database.one("SELECT seq::text FROM tintype_head").parse().expect("a number")
}

fn conditional_requests(bucket: &Bucket) -> usize {
    bucket.server.asked().iter().filter(|(asked, _)| asked.conditional).count()
}

fn change(project: &Project) {
    project.execute("UPDATE fact SET level = 3 WHERE fact_id = 2");
}

#[test]
fn the_documents_are_those_of_a_head_in_the_store() {
    let Some(database) = postgres::database() else { return };
    let (bucket, project) = with_row(&database.url(), "");
    assert_eq!(project.publish()["outcome"], "published");
    assert_eq!(project.publish()["outcome"], "unchanged");
    change(&project);
    project.publish();
    let (plain, mut beside) = (Bucket::new(), places::sqlite());
    beside.publish_to(&plain, "");
    change(&beside);
    beside.publish();
    assert_eq!(bucket.digests(), plain.digests());
    assert_eq!(conditional_requests(&bucket), 0, "the store is asked for nothing that it can't do");
    assert_eq!(row(&database)["active"], project.json(&["status"], 0)["release"]);
    let name = database.one("SELECT store FROM tintype_head");
    assert_eq!(name, format!("{}/{BUCKET}/_tintype/site", bucket.server.endpoint()));
    // Stores can share a table.
    let (other, elsewhere) = with_row(&database.url(), "");
    assert_eq!(elsewhere.publish()["outcome"], "published");
    assert_eq!(other.paths().len(), DOCUMENTS);
    assert_eq!(database.one("SELECT count(*)::text FROM tintype_head"), "2");
    assert_eq!(project.publish()["outcome"], "unchanged");
}

#[test]
fn the_copy_in_the_store_decides_nothing_and_marks_it() {
    let Some(database) = postgres::database() else { return };
    let (bucket, mut project) = with_row(&database.url(), "");
    project.publish();
    assert_eq!(bucket.head()["head"], row(&database), "the copy is the row's last");
    // Whatever it says, nobody listens.
    let file = bucket.server.file(&format!("{BUCKET}/_tintype/site/head.json"));
    let mut copy = bucket.head();
    copy["head"]["desired"] = Value::Null;
    fs::write(&file, copy.to_string()).expect("write the copy");
    assert_eq!(project.publish()["outcome"], "unchanged");
    // Who looks for the head in the store, or in another database, is stopped by it.
    project.publish_to(&bucket, "");
    let finished = project.run(&["publish"]).expect(1);
    finished.explains(&["it is only a copy of the head", "tintype_head", "set [store] head = \"database\""]);
    let other = postgres::database().expect("there was one before");
    project.publish_to(&bucket, &keep_in(&other.url()));
    let finished = project.run(&["publish"]).expect(1);
    finished.explains(&[
        "it isn't there, and head.json in the store is a copy of",
        database.name(),
        "[store] head_url",
    ]);
    assert!(!finished.stderr.contains("postgres://"), "{finished}");
    // What the hint says of a database that is lost.
    let head = bucket.head()["head"].to_string();
    fs::write(&file, &head).expect("put the head back");
    assert_eq!(project.publish()["outcome"], "unchanged");
    assert_eq!(row(&other)["desired"], serde_json::from_str::<Value>(&head).expect("JSON")["desired"]);
}

#[test]
fn a_head_that_the_store_has_kept_until_now_moves() {
    let Some(database) = postgres::database() else { return };
    let (bucket, mut project) = (Bucket::new(), places::sqlite());
    project.publish_to(&bucket, "");
    project.publish();
    let before = bucket.head();
    project.publish_to(&bucket, &keep_in(&database.url()));
    assert_eq!(project.json(&["status"], 0)["release"], before["desired"]);
    assert_eq!(bucket.head(), before, "looking moves nothing");
    assert_eq!(project.publish()["outcome"], "unchanged");
    let after = row(&database);
    assert_eq!(
        (&after["desired"], after["seq"].as_u64()),
        (&before["desired"], before["seq"].as_u64().map(|seq| seq + 1))
    );
    assert_eq!(bucket.head()["head"], after);
}

fn all(finished: &[Finished]) -> String {
    finished.iter().map(ToString::to_string).collect()
}

#[test]
fn twelve_publishers_take_turns() {
    let Some(database) = postgres::database() else { return };
    let (bucket, project) = with_row(&database.url(), "");
    // The first of them makes the table.
    for round in 0..2 {
        project.execute(&format!("UPDATE fact SET city = 'City {round}' WHERE city_id = 1"));
        let running: Vec<_> = (0..12).map(|_| project.tintype(&["publish", "--format", "json"]).start()).collect();
        let finished: Vec<_> = running.into_iter().map(Running::finish).collect();
        assert!(finished.iter().all(|finished| matches!(finished.code(), 0 | 5)), "{}", all(&finished));
        let has_published = |finished: &&Finished| finished.code() == 0 && finished.json()["outcome"] == "published";
        assert_eq!(finished.iter().filter(has_published).count(), 1, "{}", all(&finished));
        let head = row(&database);
        assert_eq!((&head["active"], &head["lease"]), (&head["desired"], &Value::Null));
        let body = bucket.body("places/united-states/crispr/low.json");
        assert!(String::from_utf8_lossy(&body).contains(&format!("City {round}")));
    }
    assert_eq!(conditional_requests(&bucket), 0);
}

#[test]
fn a_lease_is_respected_until_it_expires_by_the_databases_clock() {
    let Some(database) = postgres::database() else { return };
    let (bucket, project) = with_row(&database.url(), "lease_wait = \"1s\"\n");
    project.publish();
    let mut head = row(&database);
    head["lease"] =
        json!({"holder": "db7 process 42", "epoch": 9, "ttl_seconds": 90, "taken_at": "2026-01-01T00:00:00Z"});
    head["epoch"] = json!(9);
    let write = |seconds: u32| {
        database.execute(&format!(
            "UPDATE tintype_head SET head = convert_to('{head}', 'UTF8'), \
             written_at = clock_timestamp() - interval '{seconds} s'"
        ));
    };
    change(&project);
    let digests = bucket.digests();
    for seconds in [40, 110] {
        write(seconds);
        project.run(&["publish"]).expect(5).explains(&["another publisher is committing: db7 process 42"]);
        assert_eq!(bucket.digests(), digests);
    }
    write(125);
    assert_eq!(project.publish()["outcome"], "published");
    assert_eq!((&row(&database)["lease"], &row(&database)["epoch"]), (&Value::Null, &json!(10)));
}

#[test]
fn without_the_database_nothing_goes_and_that_is_said() {
    let Some(database) = postgres::database() else { return };
    let (bucket, mut project) = with_row(&database.url(), "");
    project.publish();
    change(&project);
    let digests = bucket.digests();
    project.publish_to(&bucket, &keep_in(&database.refused_url()));
    for command in [&["publish"][..], &["status"], &["releases"], &["rollback", "-y"], &["resume"]] {
        let finished = project.run(command).expect(1);
        finished.explains(&["can't read the head", "refused", "keeps the head there", "are host and port right?"]);
    }
    assert_eq!(bucket.digests(), digests);
}

#[test]
fn a_head_that_went_back_with_its_database_is_mended_by_force() {
    let Some(database) = postgres::database() else { return };
    let (bucket, project) = with_row(&database.url(), "");
    project.publish();
    let digests = bucket.digests();
    database.execute("CREATE TABLE backup AS TABLE tintype_head");
    change(&project);
    project.publish();
    assert_ne!(bucket.digests(), digests);
    database.execute("TRUNCATE tintype_head; INSERT INTO tintype_head TABLE backup");
    // The data goes back as well: to a run that trusts the head everything is as it should be.
    project.execute("UPDATE fact SET level = 1 WHERE fact_id = 2");
    project.json(&["publish", "--force"], 0);
    assert_eq!(bucket.digests(), digests);
    assert_eq!(project.publish()["outcome"], "unchanged");
}

/// A role that may log in and do nothing else; dropped with what it may.
struct Role<'a>(&'a Database, String);

impl<'a> Role<'a> {
    fn new(database: &'a Database) -> Self {
        let name = format!("Head {}", database.name());
        database.execute(&format!(
            "CREATE ROLE \"{name}\" LOGIN PASSWORD 'pass'; REVOKE CREATE ON SCHEMA public FROM PUBLIC"
        ));
        Role(database, name)
    }

    fn url(&self) -> String {
        self.0.url_as(&self.1.replace(' ', "%20"), "pass")
    }
}

impl Drop for Role<'_> {
    fn drop(&mut self) {
        let drop = format!("DROP OWNED BY \"{0}\"; DROP ROLE \"{0}\"", self.1);
        let url = self.0.url();
        let _ = std::thread::spawn(move || postgres::execute(&url, &drop)).join();
    }
}

#[test]
fn a_role_without_rights_is_told_the_statements_that_give_them() {
    let Some(database) = postgres::database() else { return };
    let role = Role::new(&database);
    let (bucket, project) = with_row(&role.url(), "");
    let statements = |finished: &Finished| -> String {
        let lines = finished.stderr.lines().map(str::trim);
        lines.filter(|line| line.starts_with("CREATE") || line.starts_with("GRANT")).collect()
    };
    let finished = project.run(&["publish"]).expect(1);
    finished.explains(&["can't replace the head", "permission denied for schema public", "an administrator"]);
    assert!(!finished.stderr.contains("pass@"), "{finished}");
    assert_eq!(bucket.paths(), Vec::<String>::new());
    database.execute(&statements(&finished));
    assert_eq!(project.publish()["outcome"], "published");
    // A right that was taken away.
    database.execute(&format!("REVOKE SELECT ON tintype_head FROM \"{}\"", role.1));
    let finished = project.run(&["status"]).expect(1);
    finished.explains(&["can't read the head", "permission denied for table tintype_head"]);
    database.execute(&statements(&finished));
    project.run(&["status"]).expect(0);
}

#[test]
fn a_table_that_another_makes_at_the_same_time_is_as_good() {
    let Some(database) = postgres::database() else { return };
    let (_bucket, project) = with_row(&database.url(), "timeout = \"1m\"\n");
    let mut other = Session::connect(&database.url());
    other.query("BEGIN");
    other.query("CREATE TABLE tintype_head (store text PRIMARY KEY, seq bigint, head bytea, written_at timestamptz)");
    let mut running = project.tintype(&["publish"]).start();
    running.wait_for("its own attempt to wait for the other's", |_| {
        database.activity().iter().any(|(_, _, wait)| wait == "Lock").then_some(())
    });
    other.query("COMMIT");
    running.finish().expect(0);
    assert_eq!(writes(&database), 2);
}

#[test]
fn what_a_roles_own_settings_are_does_not_matter() {
    let Some(database) = postgres::database() else { return };
    let name = database.name();
    let settings = [
        "default_transaction_isolation = 'serializable'",
        "default_transaction_read_only = on",
        "synchronous_commit = off",
        "standard_conforming_strings = off",
        "bytea_output = 'escape'",
        "timezone = 'Asia/Tokyo'",
    ];
    let (_bucket, project) = with_row(&database.url(), "");
    let settings = settings.map(|setting| format!("ALTER DATABASE {name} SET {setting}"));
    database.execute(&settings.join("; "));
    assert_eq!(project.publish()["outcome"], "published");
    change(&project);
    assert_eq!(project.publish()["outcome"], "published");
    assert_eq!(project.publish()["outcome"], "unchanged");
}

#[test]
fn a_row_that_somebody_holds_is_told_in_time() {
    let Some(database) = postgres::database() else { return };
    let (_bucket, project) = with_row(&database.url(), "timeout = \"1s\"\n");
    project.publish();
    let mut holder = Session::connect(&database.url());
    holder.query("BEGIN");
    holder.query("SELECT 1 FROM tintype_head FOR UPDATE");
    change(&project);
    let finished = project.run(&["publish"]).expect(1);
    finished.explains(&["can't replace the head", "lock timeout", "another session holds the row"]);
    holder.query("ROLLBACK");
    assert_eq!(project.publish()["outcome"], "published");
}

#[test]
fn a_pooler_with_one_connection_is_enough() {
    let Some(database) = postgres::database() else { return };
    let user = format!("pooled_{}", database.name());
    database.execute(&format!(
        "CREATE ROLE {user} LOGIN PASSWORD 'pass'; GRANT pg_read_all_data TO {user}; GRANT CREATE ON SCHEMA public TO {user}"
    ));
    let users = format!("\"{user}\" \"pass\"");
    let Some(bouncer) = Bouncer::before(&database.url(), "default_pool_size = 1", &users) else { return };
    database.execute(places::ROWS);
    let url = bouncer.url(&user, "pass", database.name());
    let (bucket, mut project) = (careless_bucket(), Project::at(&url));
    project.template("places", places::TEMPLATE);
    // The database of the rows is the default.
    project.publish_to(&bucket, "head = \"database\"\n");
    let said = project.publish();
    assert_eq!((&said["outcome"], &said["connections"]), (&json!("published"), &json!(1)));
    assert_eq!(project.publish()["outcome"], "unchanged");
    project.json(&["republish", "places/united-states/crispr/*"], 0);
    assert_eq!(project.json(&["get", "places/*/*/*", "--from", "all"], 0)["same"], true);
    let mut next = Session::connect(&url);
    assert!(next.query("SELECT name FROM pg_prepared_statements WHERE statement <> ''").is_empty());
    for setting in ["synchronous_commit", "lock_timeout", "statement_timeout", "bytea_output"] {
        let show = format!("SHOW {setting}");
        assert_eq!(next.query(&show)[0][0], Some(database.one(&show)), "{setting} is left for the next client");
    }
    drop(next);
    let folder = places::sqlite();
    folder.publish();
    assert_eq!(bucket.digests(), folder.public().digests());
    database.execute(&format!("DROP OWNED BY {user} CASCADE; DROP ROLE {user}"));
}

#[test]
fn a_replica_keeps_no_head() {
    let Some(replicas) = Replicas::start() else { return };
    let (bucket, project) = with_row(&replicas.standbys[0], "");
    let finished = project.run(&["publish"]).expect(1);
    finished.explains(&["can't read the head", "recovery", "this server is a replica"]);
    assert_eq!(bucket.paths(), Vec::<String>::new());
}

#[test]
fn sqlite_keeps_no_head() {
    let (bucket, mut project) = (careless_bucket(), places::sqlite());
    project.publish_to(&bucket, "head = \"database\"\n");
    project.run(&["publish"]).expect(2).explains(&["[database] url names a SQLite file", "head_url = \"postgres://"]);
    project.publish_to(&bucket, &keep_in("sqlite:file.db"));
    project.run(&["status"]).expect(2).explains(&["[store] head_url names a SQLite file"]);
}
