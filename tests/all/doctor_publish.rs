//! The doctor's command on a bucket, and what a first publish asks of one.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::doctor::{check, with_cdn};
use crate::support::bucket::{BUCKET, Bucket};
use crate::support::places::{self, DOCUMENTS};
use crate::support::project::Project;
use crate::support::s3_server::{Asked, Fault, Kind, Part, What};

/// A project that publishes into a bucket of which nothing is known.
fn in_bucket(more: &str) -> (Bucket, Project) {
    let (bucket, mut project) = (Bucket::new(), places::sqlite());
    project.publish_to(&bucket, more);
    bucket.forget_probe();
    with_cdn(&project, None);
    (bucket, project)
}

fn is_conditional(asked: &Asked) -> bool {
    asked.kind == Kind::Put && asked.conditional
}

#[test]
fn a_store_that_is_not_there() {
    let (bucket, project) = in_bucket("timeout = \"1s\"\n");
    bucket.server.play(Fault::answer(404, "NoSuchBucket", "The specified bucket does not exist", |_| true));
    let said = project.json(&["doctor"], 1);
    let answers = check(&said, "store", "answers");
    assert_eq!(answers["outcome"], "broken");
    assert!(answers["hint"].as_str().is_some_and(|hint| hint.contains("create the bucket")), "{answers}");
    assert_eq!(check(&said, "store", "remaining")["outcome"], "skipped");
    bucket.server.heal();
    bucket.server.play(Fault::new(What::Wait(Duration::from_mins(5)), |_| true));
    let began = Instant::now();
    let said = project.json(&["doctor"], 1);
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    assert!(check(&said, "store", "answers")["detail"].as_str().is_some_and(|detail| detail.contains("within 1s")));
}

#[test]
fn the_command_shows_a_table_and_a_document() {
    let (bucket, project) = in_bucket("");
    let shown = project.run(&["doctor"]).expect(0);
    for words in
        ["store  s3://site-bucket/site at http://", "race-if-match", "of several publishers exactly one commits"]
    {
        assert!(shown.text().contains(words), "{words}: {}", shown.text());
    }
    let said = project.json(&["doctor"], 0);
    assert_eq!((&said["version"], &said["command"], &said["outcome"]), (&json!(1), &json!("doctor"), &json!("ok")));
    assert_eq!(said["store"]["kind"], "s3");
    bucket.server.play(Fault::new(What::Ignore(Part::Conditions), is_conditional));
    let shown = project.run(&["doctor"]).expect(1);
    for words in ["broken", "it ignores the condition", "hint", "4 broken"] {
        assert!(shown.text().contains(words), "{words}: {}", shown.text());
    }
    assert_eq!(project.json(&["doctor"], 1)["outcome"], "problems");
    assert!(bucket.paths().is_empty() && bucket.probes_left().is_empty());
}

#[test]
fn a_first_publish_probes_and_the_next_one_does_not() {
    let (bucket, project) = in_bucket("");
    project.publish();
    let probed =
        |bucket: &Bucket| bucket.server.asked().iter().filter(|(asked, _)| asked.key.contains("/probe")).count();
    assert!(probed(&bucket) > 50, "{}", probed(&bucket));
    assert_eq!(bucket.probes_left(), Vec::<String>::new());
    assert_eq!(bucket.paths().len(), DOCUMENTS);
    bucket.server.reset();
    project.execute("UPDATE fact SET level = 3 WHERE fact_id = 2");
    project.publish();
    assert_eq!(probed(&bucket), 0);
}

#[test]
fn what_the_doctor_found_is_believed_by_the_first_publish() {
    let (bucket, project) = in_bucket("");
    project.json(&["doctor"], 0);
    bucket.server.reset();
    project.publish();
    let probes: Vec<_> = bucket.server.asked().into_iter().filter(|(asked, _)| asked.key.contains("/probe")).collect();
    assert_eq!(probes.len(), 1, "the record is read, and nothing more: {probes:?}");
    // Of another bucket, or at another address, it says nothing.
    let (other, project) = in_bucket("");
    let record = std::fs::read_to_string(bucket.server.file(&format!("{BUCKET}/_tintype/site/probe.json")));
    let record = record.expect("read the record");
    let folder = other.server.file(&format!("{BUCKET}/_tintype/site"));
    std::fs::create_dir_all(&folder).expect("make the folder");
    std::fs::write(folder.join("probe.json"), record).expect("write the record");
    project.publish();
    let asked = other.server.asked();
    assert!(asked.iter().filter(|(asked, _)| asked.key.contains("/probe/")).count() > 50);
}

#[test]
fn a_first_publish_into_a_store_without_conditions_is_refused() {
    let (bucket, project) = in_bucket("");
    bucket.server.play(Fault::new(What::Ignore(Part::Conditions), is_conditional));
    let finished = project.run(&["publish"]).expect(1);
    finished.explains(&[
        "can't publish into s3://site-bucket/site",
        "if-none-match",
        "[store] head = \"database\"",
        "unsafe_single_publisher = true",
        "tintype doctor",
    ]);
    assert!(bucket.paths().is_empty() && bucket.probes_left().is_empty());
    assert_eq!(bucket.head(), Value::Null);
    // Nothing bad is remembered: the store may be another one tomorrow.
    bucket.server.heal();
    assert_eq!(project.publish()["outcome"], "published");
}

#[test]
fn a_plan_probes_nothing() {
    let (bucket, project) = in_bucket("");
    project.run(&["plan"]).expect(0);
    assert_eq!(bucket.server.counts().puts, 0);
}
