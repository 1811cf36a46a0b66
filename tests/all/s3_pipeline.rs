//! Between the database and a bucket: neither waits for the other, and the end of one is the end of both.

use std::time::Duration;

use crate::support::bucket::Bucket;
use crate::support::postgres;
use crate::support::project::Project;
use crate::support::s3_server::{Asked, Fault, Kind, What};

fn is_blob(asked: &Asked) -> bool {
    asked.kind == Kind::Put && asked.key.contains("/blob/")
}

fn template(name: &str, count: u32, value: &str) -> String {
    format!(
        "/*---\npath = \"{name}/{{k}}.json\"\n---*/\n\
         SELECT n AS k, {value} AS v, '{name}' AS marker FROM generate_series(1, {count}) AS n ORDER BY n\n"
    )
}

#[test]
fn the_connection_is_not_held_for_the_store() {
    let Some(database) = postgres::database() else { return };
    let (bucket, mut project) = (Bucket::new(), Project::postgres(database));
    project.publish_to(&bucket, "");
    project.template("many", &template("many", 4000, "n"));
    bucket.server.play(Fault::new(What::Wait(Duration::from_millis(50)), is_blob));
    let said = project.publish();
    assert_eq!(bucket.paths().len(), 4000);
    let seconds = |name: &str| said["seconds"][name].as_f64().expect("a number");
    // 4,000 requests of 50 ms, at most 64 at once, are over three seconds; the query takes a fraction of one.
    assert!(seconds("hold") < seconds("total") / 3.0, "{said}");
    assert!(seconds("query") <= seconds("hold"), "{said}");
}

#[test]
fn a_store_that_refuses_blobs_ends_the_run_and_no_further_query_begins() {
    let Some(database) = postgres::database() else { return };
    let (bucket, mut project) = (Bucket::new(), Project::postgres(database));
    project.publish_to(&bucket, "");
    // The rows of the first come one by one for a minute, so that the refusal of its first document comes in between.
    project.template("first", &template("first", 600, "pg_sleep(0.1)::text || n"));
    project.template("second", &template("second", 10, "n"));
    let denied = What::Answer { status: 403, code: "AccessDenied", message: "Access Denied", more: Vec::new() };
    bucket.server.play(Fault::new(denied, is_blob));
    let start = project.database().log_end();
    project.run(&["publish"]).expect(1).explains(&["403 AccessDenied"]);
    let witness = project.database().witness_since(start);
    let count = |marker: &str| witness.statements.iter().filter(|statement| statement.sql.contains(marker)).count();
    assert_eq!((count("'first'"), count("'second'")), (1, 0), "{witness:#?}");
    assert!(bucket.paths().is_empty());
}

#[test]
fn what_waits_behind_a_store_that_hangs_does_not_wait_in_turn() {
    let (bucket, mut project) = (Bucket::new(), Project::sqlite("CREATE TABLE t (x INTEGER)"));
    project.publish_to(&bucket, "timeout = \"1s\"\n");
    let many = "/*---\npath = \"many/{k}.json\"\n---*/\n\
         WITH RECURSIVE s (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < 3000) SELECT i AS k, i AS v FROM s\n";
    project.template("many", many);
    bucket.server.play(Fault::new(What::Wait(Duration::from_mins(1)), is_blob));
    // Three attempts of a second each, with pauses; one after the other the first hundreds alone would take minutes.
    let ended = project.tintype(&["publish"]).timeout(Duration::from_secs(30)).run().expect(1);
    ended.explains(&["no answer", "1s"]);
    assert!(bucket.paths().is_empty());
}
