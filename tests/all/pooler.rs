//! Everything through PgBouncer in transaction mode, and nothing of it left for the next client.

use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::keyed_types;
use crate::support::bucket::Bucket;
use crate::support::places;
use crate::support::postgres::{self, Database, Session};
use crate::support::project::Project;
use crate::support::servers::Bouncer;
use crate::support::wait::wait_until;

/// A role that may read everything, and the URL of a test's database as that role through a PgBouncer of its own.
struct Pooled {
    project: Project,
    bouncer: Bouncer,
    user: String,
}

impl Pooled {
    fn new(more: &str) -> Option<Self> {
        Self::over(postgres::database()?, more)
    }

    fn over(database: Database, more: &str) -> Option<Self> {
        let user = format!("reader_{}", database.name());
        database.execute(&format!("CREATE ROLE {user} LOGIN PASSWORD 'pass'; GRANT pg_read_all_data TO {user}"));
        let bouncer = Bouncer::before(&database.url(), more, &format!("\"{user}\" \"pass\""))?;
        let pooled = Self { project: Project::postgres(database), bouncer, user };
        pooled.configure("");
        Some(pooled)
    }

    fn url(&self) -> String {
        self.bouncer.url(&self.user, "pass", self.project.database().name())
    }

    fn configure(&self, more: &str) {
        self.project.configure(&self.url(), more);
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        let drop = format!("DROP OWNED BY {0}; DROP ROLE {0}", self.user);
        let url = self.project.database().url();
        let _ = std::thread::spawn(move || postgres::execute(&url, &drop)).join();
    }
}

#[test]
fn every_command_works_in_transaction_mode() {
    let Some(pooled) = Pooled::new("default_pool_size = 2") else { return };
    let project = &pooled.project;
    project.execute(places::ROWS);
    project.template("places", places::TEMPLATE);
    project.run(&["check"]).expect(0);
    let planned = project.json(&["plan"], 0);
    assert_eq!(planned["templates"][0]["added"], places::DOCUMENTS, "{planned}");
    let said = project.publish();
    assert_eq!(said["connections"], 1);
    assert_eq!(said["source"]["replica"], false);
    assert_eq!(project.publish()["outcome"], "unchanged");
    project.json(&["republish", "places/united-states/crispr/*"], 0);
    let all = project.json(&["get", "places/*/*/*", "--from", "all"], 0);
    assert_eq!(all["same"], true);
    // The same digests as without a pooler.
    let through = project.public().digests();
    let direct = Project::at(&project.database().url());
    direct.template("places", places::TEMPLATE);
    direct.publish();
    assert_eq!(direct.public().digests(), through);
}

#[test]
fn through_a_pooler_into_a_bucket_come_the_digests_of_sqlite_in_a_folder() {
    let Some(mut pooled) = Pooled::new("default_pool_size = 2") else { return };
    pooled.project.execute(places::ROWS);
    pooled.project.template("places", places::TEMPLATE);
    let bucket = Bucket::new();
    pooled.project.publish_to(&bucket, "");
    // Only the database's URL changes back.
    pooled.configure("");
    assert_eq!(pooled.project.publish()["outcome"], "published");
    let folder = places::sqlite();
    folder.publish();
    assert_eq!(bucket.digests(), folder.public().digests());
}

/// sqlx numbers the statements that it names, so that two clients of one server connection could meet.
#[test]
fn a_statement_that_another_client_left_behind_is_in_nobodys_way() {
    let Some(pooled) = Pooled::new("default_pool_size = 1") else { return };
    pooled.project.execute(places::ROWS);
    pooled.project.template("places", places::TEMPLATE);
    let mut other = Session::connect(&pooled.url());
    for number in 1..10 {
        other.query(&format!("PREPARE sqlx_s_{number} AS SELECT 'left behind'"));
    }
    let said = pooled.project.publish();
    assert_eq!(said["templates"][0]["keys"], places::DOCUMENTS, "{said}");
    let left = other.query("SELECT count(*)::text FROM pg_prepared_statements WHERE name LIKE 'sqlx%'");
    assert_eq!(left[0][0].as_deref(), Some("9"), "they were another client's");
}

#[test]
fn keys_of_every_type_in_transaction_mode() {
    let Some(pooled) = Pooled::new("default_pool_size = 2") else { return };
    pooled.project.execute(keyed_types::POSTGRES_TYPES);
    keyed_types::keys_alone_are_the_full_build(&pooled.project, keyed_types::POSTGRES);
}

/// What the client that everybody uses shows.
fn psql(url: &str, sql: &str) -> String {
    let output = Command::new("psql").args(["-XAtq", "-c", sql, url]).env_remove("PGTZ").output();
    let output = output.expect("psql comes with PostgreSQL");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn nothing_is_left_for_the_next_client() {
    // One server connection, so that the next client gets the very one that the build had.
    let Some(pooled) = Pooled::new("default_pool_size = 1\nserver_reset_query_always = 0") else { return };
    let project = &pooled.project;
    project.execute(places::ROWS);
    project.execute(&format!("ALTER DATABASE {} SET TimeZone = 'Asia/Tokyo'", project.database().name()));
    project.template("places", places::TEMPLATE);
    pooled.configure("[database.build]\nstatement_timeout = \"7m\"\nsettings = { work_mem = \"77MB\" }\n");
    let settings = "SELECT name, setting FROM pg_settings WHERE name IN ('work_mem', 'TimeZone', 'DateStyle', 'IntervalStyle', \
         'extra_float_digits', 'bytea_output', 'statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout', \
         'client_connection_check_interval', 'transaction_isolation', 'transaction_read_only') ORDER BY name";
    let state = |session: &mut Session| (session.query("SELECT pg_backend_pid()"), session.query(settings));
    let fresh = state(&mut Session::connect(&pooled.url()));
    let start = project.database().log_end();
    project.run(&["check"]).expect(0);
    project.publish();
    project.json(&["republish", "places/*/crispr/*"], 0);
    // A template that is refused for a type leaves nothing either.
    project.execute("CREATE TYPE mood AS ENUM ('good'); CREATE TABLE moods AS SELECT 1 AS k, 'good'::mood AS v");
    let moody = "/*---\npath = \"moods/{k}.json\"\n---*/\nSELECT k, v FROM moods\n";
    project.template("moods", moody);
    project.run(&["publish", "moods"]).expect(1).explains(&["mood"]);
    std::fs::remove_file(project.template_file("moods")).expect("remove the template");
    let witness = project.database().witness_since(start);
    let begins = witness.statements.iter().filter(|statement| statement.sql.starts_with("BEGIN")).count();
    assert_eq!(begins, 4, "{witness:#?}");
    assert!(witness.statements.iter().any(|statement| statement.sql.contains("'work_mem', '77MB'")), "{witness:#?}");
    let pid = fresh.0[0][0].as_ref().expect("a pid").parse::<i32>().expect("a number");
    assert!(witness.statements.iter().all(|statement| statement.pid == pid), "another connection: {witness:#?}");
    // A client that asks for no time zone gets the database's own, not the one that the build had.
    assert_eq!(psql(&pooled.url(), "SHOW TimeZone"), "Asia/Tokyo");
    let mut next = Session::connect(&pooled.url());
    assert_eq!(state(&mut next), fresh);
    assert!(next.query("SELECT name FROM pg_prepared_statements WHERE statement <> ''").is_empty());
    assert!(next.query("SELECT name FROM pg_cursors WHERE name <> ''").is_empty());
    let locks = "SELECT locktype FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory'";
    assert!(next.query(locks).is_empty());
}

#[test]
fn a_role_passes_its_own_scram_secret_on() {
    let Some(database) = postgres::database() else { return };
    let user = format!("scram_{}", database.name());
    database.execute(&format!("CREATE ROLE {user} LOGIN PASSWORD 'pass'; GRANT pg_read_all_data TO {user}"));
    let secret = database.one(&format!("SELECT rolpassword FROM pg_authid WHERE rolname = '{user}'"));
    assert!(secret.starts_with("SCRAM-SHA-256$"));
    let Some(bouncer) = Bouncer::before(&database.url(), "", &format!("\"{user}\" \"{secret}\"")) else { return };
    database.execute(places::ROWS);
    let project = Project::postgres(database);
    project.template("places", places::TEMPLATE);
    project.configure(&bouncer.url(&user, "pass", project.database().name()), "");
    project.publish();
    project.configure(&bouncer.url(&user, "wr0ng", project.database().name()), "");
    let ended = project.run(&["publish"]).expect(1);
    ended.explains(&["authentication failed", "auth_file"]);
    assert!(!ended.stderr.contains("wr0ng"), "{ended}");
    project.execute(&format!("DROP OWNED BY {user}; DROP ROLE {user}"));
}

const QUICK: &str = "[database.build]\nacquire_timeout = \"1500ms\"\n";

#[test]
fn what_the_pooler_says_is_explained() {
    let Some(pooled) = Pooled::new("default_pool_size = 1\nmax_client_conn = 2") else { return };
    let project = &pooled.project;
    project.template("t", "/*---\npath = \"t/{k}.json\"\n---*/\nSELECT 'a' AS k, 1 AS v");
    pooled.configure(QUICK);
    let mut held = Session::connect(&pooled.url());
    let more = Session::connect(&pooled.url());
    let ended = project.run(&["publish"]).expect(1);
    ended.explains(&["no more connections allowed", "tried for 1s", "max_client_conn"]);
    drop(more);
    // A client in a transaction has the pool's only server connection.
    held.query("BEGIN");
    let ended = project.run(&["publish"]).expect(1);
    ended.explains(&["answers no statement within 1s 500ms", "pool_size"]);
    held.query("COMMIT");
    project.run(&["publish"]).expect(0);

    let unknown = pooled.url().replace(project.database().name(), "no_such_database");
    project.configure(&unknown, "");
    project.run(&["publish"]).expect(1).explains(&["no_such_database"]);
    pooled.configure("");
    let ended = project.tintype(&["publish"]).env("PGOPTIONS", "-c geqo=off").run().expect(1);
    ended.explains(&["unsupported startup parameter", "PGOPTIONS"]);
    pooled.configure("[database.build]\nsettings = { work_mem = \"lots\" }\n");
    project.run(&["publish"]).expect(1).explains(&["work_mem", "lots", "[database.build] settings"]);
}

#[test]
fn a_pooler_that_gives_up_waiting_is_explained() {
    let Some(pooled) = Pooled::new("default_pool_size = 1\nquery_wait_timeout = 1") else { return };
    pooled.project.template("t", "/*---\npath = \"t/{k}.json\"\n---*/\nSELECT 'a' AS k, 1 AS v");
    pooled.configure("[database.build]\nacquire_timeout = \"3s\"\n");
    let mut held = Session::connect(&pooled.url());
    held.query("BEGIN");
    let ended = pooled.project.run(&["publish"]).expect(1);
    ended.explains(&["query_wait_timeout", "default_pool_size"]);
    // One that is free before the time is over is waited for.
    pooled.configure("[database.build]\nacquire_timeout = \"30s\"\n");
    let mut build = pooled.project.tintype(&["publish", "-v"]).start();
    build.wait_for("a second try", |build| build.stderr().contains("trying again").then_some(()));
    held.query("COMMIT");
    build.finish().expect(0);
}

#[test]
fn a_pooler_without_a_server_is_explained() {
    let Some(database) = postgres::database() else { return };
    let user = format!("down_{}", database.name());
    let refused = database.refused_url();
    let Some(bouncer) = Bouncer::before(&refused, "server_login_retry = 1", &format!("\"{user}\" \"pass\"")) else {
        return;
    };
    let project = Project::postgres(database);
    project.template("t", "/*---\npath = \"t/{k}.json\"\n---*/\nSELECT 'a' AS k, 1 AS v");
    project.configure(&bouncer.url(&user, "pass", project.database().name()), QUICK);
    let ended = project.run(&["publish"]).expect(1);
    ended.explains(&["no answer within 1s 500ms", "pooler", "its own server is down"]);
    assert!(!ended.stderr.contains("pass@"), "{ended}");
}

#[test]
fn an_interrupt_ends_the_statement_behind_the_pooler() {
    let Some(pooled) = Pooled::new("default_pool_size = 2") else { return };
    let project = &pooled.project;
    project.template("t", "/*---\npath = \"t/{k}.json\"\n---*/\nSELECT 'a' AS k, pg_sleep(600)::text AS v");
    let mut build = project.tintype(&["publish"]).start();
    build.wait_for("the query to run", |_| {
        let activity = project.database().activity();
        activity.iter().any(|(_, state, wait)| state == "active" && wait == "Timeout").then_some(())
    });
    build.signal(Signal::INT);
    build.finish().expect(130);
    wait_until("the statement to be gone from the server", Duration::from_secs(5), || {
        project.database().activity().iter().all(|(_, state, _)| state != "active")
    });
}
