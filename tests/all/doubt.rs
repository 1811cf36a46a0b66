//! Requests that arrive after their sender has given them up, over what a later release has put there.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::bucket::{BUCKET, Bucket};
use crate::support::places;
use crate::support::project::Project;
use crate::support::s3_server::{Asked, Fault, Kind, What};
use crate::support::wait::wait_until;

const HIGH: &str = "places/united-states/crispr/high.json";

/// A bucket in which the copy of one release has landed after the next one was published, and nobody knows.
fn overtaken() -> (Bucket, Project) {
    let (bucket, mut project) = (Bucket::new(), places::sqlite());
    project.publish_to(&bucket, "timeout = \"1s\"\n");
    project.publish();
    let first = bucket.body(HIGH);
    let is_copy = |asked: &Asked| asked.kind == Kind::Copy && asked.key.ends_with("crispr/high.json");
    let late = bucket.server.play(Fault::new(What::Late(Duration::from_secs(6)), is_copy).times(1));
    project.execute("UPDATE fact SET level = 3 WHERE fact_id = 2");
    assert_eq!(project.publish()["outcome"], "published");
    assert_eq!(late.struck(), 1);
    let second = bucket.body(HIGH);
    assert_ne!(second, first, "the copy was to be sent again, and that one to be carried out");
    let suspect = &bucket.head()["suspect"];
    assert!(suspect["since"].as_str().is_some_and(|since| since.starts_with("1-")), "{suspect}");
    project.execute("UPDATE fact SET level = 1 WHERE fact_id = 2");
    project.publish();
    assert_eq!(bucket.body(HIGH), first);
    wait_until("the late copy", Duration::from_mins(1), || !bucket.server.late().is_empty());
    assert_eq!(bucket.body(HIGH), second, "the late copy was to undo the third release");
    (bucket, project)
}

/// Nothing can arrive any more.
fn half_an_hour_later(bucket: &Bucket) {
    let mut head = bucket.head();
    head["suspect"]["not_before"] = json!("2026-01-01T00:00:00Z");
    let file = bucket.server.file(&format!("{BUCKET}/_tintype/site/head.json"));
    fs::write(file, head.to_string()).expect("write head.json");
}

#[test]
fn the_first_publish_after_which_none_can_arrive_looks_and_mends() {
    let (bucket, project) = overtaken();
    assert_eq!(project.publish()["settled"], Value::Null, "it looked while another could still arrive");
    half_an_hour_later(&bucket);
    bucket.server.reset();
    let said = project.publish();
    assert_eq!(said["settled"]["differed"], json!([HIGH]), "{said:#}");
    assert_eq!((&said["outcome"], &said["settled"]["mended"]), (&json!("unchanged"), &json!(1)));
    assert_eq!(bucket.document(HIGH)["rows"][0]["scholars"], 1);
    assert_eq!(bucket.head()["suspect"], Value::Null);
    let counts = bucket.server.counts();
    assert!(counts.heads <= 8 && counts.lists <= 1, "only the paths in doubt are looked at: {counts:?}");
    assert_eq!(project.publish()["settled"], Value::Null);
}

#[test]
fn resume_looks_without_a_database() {
    let (bucket, project) = overtaken();
    half_an_hour_later(&bucket);
    fs::remove_file(project.root().join("file.db")).expect("lose the database");
    let said = project.json(&["resume"], 0);
    assert_eq!(said["settled"]["differed"], json!([HIGH]), "{said:#}");
    assert_eq!(bucket.document(HIGH)["rows"][0]["scholars"], 1);
}

#[test]
fn a_lease_that_is_taken_over_leaves_a_doubt() {
    let (bucket, mut project) = (Bucket::new(), places::sqlite());
    project.publish_to(&bucket, "");
    project.publish();
    let mut head = bucket.head();
    head["lease"] = json!({"holder": "db7", "epoch": 1, "ttl_seconds": 90, "taken_at": "2026-01-01T00:00:00Z"});
    let file = bucket.server.file(&format!("{BUCKET}/_tintype/site/head.json"));
    fs::write(&file, head.to_string()).expect("write head.json");
    project.execute("UPDATE fact SET level = 3 WHERE fact_id = 2");
    project.run(&["resume", "--take-over"]).expect(2).explains(&["take the lease from db7", "--yes"]);
    assert_eq!(bucket.head()["lease"]["holder"], "db7");
    project.json(&["resume", "--take-over", "--yes"], 0);
    assert_eq!(bucket.head()["lease"], Value::Null);
    assert_eq!(bucket.head()["suspect"]["since"], bucket.head()["active"]);
    assert_eq!(project.publish()["outcome"], "published");
}
