//! The one write that decides: lost, late, doubled or refused, `head.json` on a bucket is swapped once or not at all.

use std::fs::{self, File};
use std::time::{Duration, Instant, SystemTime};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::bucket::{BUCKET, Bucket};
use crate::support::places::{self, DOCUMENTS};
use crate::support::project::Project;
use crate::support::s3_server::{Asked, Fault, Kind, What};
use crate::support::wait::wait_until;

fn in_bucket(more: &str) -> (Bucket, Project) {
    let (bucket, mut project) = (Bucket::new(), places::sqlite());
    project.publish_to(&bucket, more);
    (bucket, project)
}

fn is_swap(asked: &Asked) -> bool {
    asked.kind == Kind::Put && asked.conditional
}

/// The statuses of all conditional writes, 0 for none.
fn swaps(bucket: &Bucket) -> Vec<u16> {
    bucket.server.asked().into_iter().filter(|(asked, _)| is_swap(asked)).map(|(_, status)| status).collect()
}

/// Writes the head as another process might have left it, so many seconds ago.
fn write_head(bucket: &Bucket, head: &Value, seconds: u64) {
    let path = bucket.server.file(&format!("{BUCKET}/_tintype/site/head.json"));
    fs::write(&path, head.to_string()).expect("write head.json");
    let then = SystemTime::now() - Duration::from_secs(seconds);
    File::options().write(true).open(&path).and_then(|file| file.set_modified(then)).expect("date head.json");
}

#[test]
fn a_commit_whose_answer_is_lost_counts() {
    let (bucket, project) = in_bucket("");
    bucket.server.play(Fault::new(What::LoseAnswer, is_swap).times(1));
    let said = project.publish();
    assert_eq!(said["outcome"], "published");
    assert_eq!(swaps(&bucket), [0, 200], "one commit, one end of activation, and nothing sent twice");
    assert_eq!(bucket.paths().len(), DOCUMENTS);
    assert_eq!(bucket.head()["active"], bucket.head()["desired"]);
}

#[test]
fn a_commit_that_is_lost_is_made_void_before_another() {
    let (bucket, project) = in_bucket("");
    bucket.server.play(Fault::new(What::BreakOff, is_swap).times(1));
    assert_eq!(project.publish()["outcome"], "published");
    // Lost, made void, committed, finished.
    assert_eq!(swaps(&bucket), [0, 200, 200, 200]);
    assert_eq!(bucket.head()["seq"], 3, "{}", bucket.head());
}

#[test]
fn a_commit_that_arrives_late_changes_nothing() {
    let (bucket, project) = in_bucket("timeout = \"1s\"\n");
    project.publish();
    let before = bucket.head();
    project.execute("UPDATE fact SET level = 3 WHERE fact_id = 2");
    bucket.server.reset();
    bucket.server.play(Fault::new(What::Late(Duration::from_secs(6)), is_swap).times(1));
    assert_eq!(project.publish()["outcome"], "published");
    let after = bucket.head();
    assert_eq!(after["seq"].as_u64(), before["seq"].as_u64().map(|seq| seq + 3));
    wait_until("the late copy", Duration::from_secs(20), || bucket.server.late() == [412]);
    assert_eq!(bucket.head(), after);
}

#[test]
fn a_commit_that_fails_for_good_says_that_nothing_was_committed() {
    let (bucket, project) = in_bucket("");
    // The commits fail; what makes them void does not.
    bucket.server.play(Fault::answer(500, "InternalError", "an accident", is_swap).times(1));
    bucket.server.play(Fault::answer(500, "InternalError", "an accident", is_swap).every(2));
    let finished = project.run(&["publish"]).expect(1);
    finished.explains(&["head.json", "500 InternalError", "nothing was committed"]);
    assert_eq!(bucket.paths(), Vec::<String>::new(), "something is visible");
    assert_eq!(bucket.head()["desired"], Value::Null);
    bucket.server.heal();
    assert_eq!(project.publish()["outcome"], "published");
}

#[test]
fn what_nobody_can_know_is_said() {
    let (bucket, project) = in_bucket("timeout = \"1s\"\n");
    bucket.server.play(Fault::new(What::BreakOff, is_swap));
    let finished = project.run(&["publish"]).expect(1);
    finished.explains(&["can't tell what became of", "it is unknown whether the release is committed"]);
    assert!(finished.elapsed < Duration::from_secs(20), "{finished}");
    assert!(swaps(&bucket).len() > 3, "the commit, and its voiding again and again");
    assert!(swaps(&bucket).iter().all(|status| *status == 0));
    assert_eq!(bucket.paths(), Vec::<String>::new());
    bucket.server.heal();
    assert_eq!(project.publish()["outcome"], "published");
}

#[test]
fn what_makes_a_lost_commit_void_may_be_lost_as_well() {
    let (bucket, project) = in_bucket("");
    bucket.server.play(Fault::answer(503, "SlowDown", "Please reduce your request rate", is_swap).times(3));
    assert_eq!(project.publish()["outcome"], "published");
    assert_eq!(swaps(&bucket), [503, 503, 503, 200, 200, 200], "two refused voidings, one that isn't");
    // It is carried out, but nobody hears of it.
    project.execute("UPDATE fact SET level = 3 WHERE fact_id = 2");
    let before = bucket.head();
    bucket.server.reset();
    bucket.server.play(Fault::new(What::BreakOff, is_swap).times(1));
    bucket.server.play(Fault::new(What::LoseAnswer, is_swap).times(1));
    assert_eq!(project.publish()["outcome"], "published");
    assert_eq!(swaps(&bucket), [0, 0, 200, 200], "lost, void without an answer, committed, finished");
    assert_eq!(bucket.head()["seq"].as_u64(), before["seq"].as_u64().map(|seq| seq + 3));
}

#[test]
fn a_signal_while_the_commit_is_under_way_says_that_nobody_knows() {
    let (bucket, project) = in_bucket("");
    let commit = bucket.server.play(Fault::new(What::Late(Duration::from_secs(8)), is_swap).times(1));
    let mut running = project.tintype(&["publish"]).start();
    running.wait_for("the commit", |_| (commit.struck() > 0).then_some(()));
    running.signal(Signal::TERM);
    let finished = running.finish().expect(143);
    assert!(finished.stderr.contains("unknown whether the release was committed"), "{finished}");
    assert!(finished.stderr.contains("status` tells"), "{finished}");
    wait_until("the late commit", Duration::from_secs(20), || bucket.server.late() == [200]);
    let head = bucket.head();
    write_head(&bucket, &head, 300);
    assert_eq!(project.publish()["rolled_forward"], head["desired"]);
}

#[test]
fn a_conflict_is_looked_into() {
    let (bucket, project) = in_bucket("");
    let conflict = Fault::answer(409, "ConditionalRequestConflict", "another write is under way", is_swap);
    bucket.server.play(conflict.times(1));
    assert_eq!(project.publish()["outcome"], "published");
    assert_eq!(swaps(&bucket), [409, 200, 200, 200]);
}

#[test]
fn a_store_without_conditions_is_refused() {
    let (bucket, project) = in_bucket("");
    bucket.server.play(Fault::answer(501, "NotImplemented", "no conditions here", is_swap));
    project.run(&["publish"]).expect(1).explains(&["conditional writes"]);
    assert_eq!(bucket.paths(), Vec::<String>::new());
}

#[test]
fn another_publishers_lease_is_respected_until_it_expires() {
    let (bucket, project) = in_bucket("lease_wait = \"1s\"\n");
    project.publish();
    let mut head = bucket.head();
    head["lease"] =
        json!({"holder": "db7 process 42", "epoch": 9, "ttl_seconds": 90, "taken_at": "2026-01-01T00:00:00Z"});
    head["epoch"] = json!(9);
    write_head(&bucket, &head, 40);
    project.execute("UPDATE fact SET level = 3 WHERE fact_id = 2");
    let digests = bucket.digests();
    let finished = project.run(&["publish"]).expect(5);
    finished.explains(&["another publisher is committing: db7 process 42, for 4"]);
    assert_eq!(bucket.digests(), digests);
    // Beyond its time, but a store's clock ticks in seconds and a renewal may be on its way.
    write_head(&bucket, &head, 110);
    project.run(&["publish"]).expect(5);
    write_head(&bucket, &head, 125);
    assert_eq!(project.publish()["outcome"], "published");
    assert_eq!(bucket.head()["lease"], Value::Null);
    assert_eq!(bucket.head()["epoch"], 10);
}

#[test]
fn what_another_committed_and_left_is_finished_without_a_database() {
    let (bucket, project) = in_bucket("lease_wait = \"0s\"\n");
    project.publish();
    let first = bucket.head()["active"].clone();
    project.execute("UPDATE fact SET level = 3 WHERE fact_id = 2");
    project.publish();
    let expected = bucket.digests();
    let mut head = bucket.head();
    head["active"] = first;
    head["lease"] =
        json!({"holder": "dead", "epoch": head["epoch"], "ttl_seconds": 90, "taken_at": "2026-01-01T00:00:00Z"});
    let document = "places/united-states/crispr/high.json";
    // A file of its own: the object is a link to its blob.
    let object = bucket.server.file(&format!("{BUCKET}/site/{document}"));
    fs::remove_file(&object).and_then(|()| fs::write(&object, "old")).expect("write an old document");
    write_head(&bucket, &head, 300);
    project.configure("sqlite:gone.db", "");
    project.run(&["publish"]).expect(1);
    assert_eq!(bucket.digests(), expected);
    assert_eq!((&bucket.head()["active"], &bucket.head()["lease"]), (&head["desired"], &Value::Null));
}

#[test]
fn a_publisher_that_is_stopped_leaves_its_lease_until_it_expires() {
    let (bucket, project) = in_bucket("lease_wait = \"0s\"\n");
    bucket.server.play(Fault::new(What::Wait(Duration::from_mins(1)), |asked| asked.kind == Kind::Copy));
    let mut running = project.tintype(&["publish"]).start();
    running.wait_for("the first copy", |_| (bucket.server.counts().copies > 0).then_some(()));
    running.signal(Signal::INT);
    let finished = running.finish().expect(130);
    assert!(finished.stderr.contains("the release is committed"), "{finished}");
    bucket.server.heal();
    project.run(&["publish"]).expect(5).explains(&["another publisher is committing"]);
    let head = bucket.head();
    write_head(&bucket, &head, 300);
    assert_eq!(project.publish()["rolled_forward"], head["desired"]);
    assert_eq!(bucket.paths().len(), DOCUMENTS);
}

#[test]
fn a_signal_ends_the_wait_for_a_store() {
    for stage in [Kind::Get, Kind::Put] {
        let (bucket, project) = in_bucket("");
        bucket.server.play(Fault::new(What::Wait(Duration::from_mins(1)), move |asked| asked.kind == stage));
        let mut running = project.tintype(&["publish"]).start();
        running.wait_for("the first request", |_| {
            (bucket.server.counts().total() > 1 || stage == Kind::Get && bucket.server.counts().gets > 0).then_some(())
        });
        let began = Instant::now();
        running.signal(Signal::TERM);
        let finished = running.finish().expect(143);
        assert!(began.elapsed() < Duration::from_secs(5), "{finished}");
        assert_eq!(bucket.paths(), Vec::<String>::new());
    }
}

#[test]
fn several_publishers_at_a_time() {
    let (bucket, project) = in_bucket("");
    project.publish();
    for round in 0..3 {
        project.execute(&format!("UPDATE fact SET city = 'City {round}' WHERE city_id = 1"));
        let running: Vec<_> = (0..4).map(|_| project.tintype(&["publish", "--format", "json"]).start()).collect();
        let said: Vec<Value> = running.into_iter().map(|running| running.finish().expect(0).json()).collect();
        let published = said.iter().filter(|said| said["outcome"] == "published").count();
        assert_eq!(published, 1, "{said:#?}");
        assert_eq!(bucket.head()["active"], bucket.head()["desired"]);
        assert!(
            bucket
                .body("places/united-states/crispr/low.json")
                .windows(6)
                .any(|part| part == format!("City {round}").as_bytes())
        );
    }
}
