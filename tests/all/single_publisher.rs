//! A store without conditional writes, and the written promise that there is one publisher only.

use std::fs;

use serde_json::{Value, json};

use crate::support::bucket::{BUCKET, Bucket};
use crate::support::places;
use crate::support::s3_server::Fault;

#[test]
fn a_publisher_that_is_alone_needs_no_conditions_and_is_warned() {
    const CHANGE: &str = "UPDATE fact SET level = 3 WHERE fact_id = 2";
    const WARNING: &str = "two publishers at a time would corrupt this site";
    let (bucket, mut project) = (Bucket::new(), places::sqlite());
    let refused = Fault::answer(501, "NotImplemented", "no conditions here", |asked| asked.conditional);
    let refused = bucket.server.play(refused);
    project.publish_to(&bucket, "");
    project.run(&["publish"]).expect(1).explains(&["conditional writes", "[store] head = \"database\""]);
    assert_eq!(refused.struck(), 1);
    project.publish_to(&bucket, "unsafe_single_publisher = true\nlease_wait = \"0s\"\n");
    let finished = project.run(&["publish"]).expect(0);
    assert!(finished.stderr.contains(WARNING), "{finished}");
    let finished = project.run(&["publish"]).expect(0);
    assert!(finished.stderr.contains(WARNING), "an unchanged one as well: {finished}");
    project.execute(CHANGE);
    assert!(!project.run(&["publish", "-q"]).expect(0).stderr.contains(WARNING));
    assert!(!project.run(&["plan"]).expect(0).stderr.contains(WARNING), "a plan writes nothing");
    assert_eq!(refused.struck(), 1, "conditions were sent");
    let (plain, mut beside) = (Bucket::new(), places::sqlite());
    beside.publish_to(&plain, "");
    beside.execute(CHANGE);
    beside.publish();
    assert_eq!(bucket.digests(), plain.digests());
    // The lease is noted and respected, for what it is worth.
    let mut head = bucket.head();
    assert_eq!((&head["lease"], &head["active"]), (&Value::Null, &head["desired"]));
    head["lease"] = json!({"holder": "db7", "epoch": 99, "ttl_seconds": 90, "taken_at": "2026-01-01T00:00:00Z"});
    let file = bucket.server.file(&format!("{BUCKET}/_tintype/site/head.json"));
    fs::write(&file, head.to_string()).expect("write head.json");
    project.execute("UPDATE fact SET city = 'Salem' WHERE city_id = 1");
    project.run(&["publish"]).expect(5).explains(&["another publisher is committing: db7"]);
}
