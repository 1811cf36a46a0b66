//! Publishers at the same time: they take turns at the site, and nobody waits for another's queries.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::bucket::{BUCKET, Bucket};
use crate::support::directory::Directory;
use crate::support::places;
use crate::support::postgres;
use crate::support::project::Project;
use crate::support::s3_server::{Asked, Fault, Kind, What};

/// So often are two publishers started together.
const ROUNDS: u64 = 50;

/// Starts two publishers at once, again and again; each must have got its turn. The one that read first and commits last
/// has nothing to add: what it saw is older than what is there.
fn two_at_once(project: &Project, head: &dyn Fn() -> Value) {
    project.publish();
    let mut before = 1;
    for round in 0..ROUNDS {
        project.execute(&format!("UPDATE fact SET scholar = {} WHERE fact_id = 5", 1000 + round));
        let forced = || project.tintype(&["publish", "--force"]).start();
        let (one, other) = (forced(), forced());
        one.finish().expect(0);
        other.finish().expect(0);
        let head = head();
        let desired = head["desired"].as_str().and_then(|id| id.split('-').next());
        let serial: u64 = desired.and_then(|serial| serial.parse().ok()).expect("a release");
        assert!((before + 1..=before + 2).contains(&serial), "{serial} after {before}");
        assert_eq!((&head["active"], &head["lease"]), (&head["desired"], &Value::Null));
        before = serial;
    }
}

#[test]
fn two_publishers_of_a_folder_take_turns() {
    let project = places::sqlite();
    two_at_once(&project, &|| project.head());
    assert_whole(&project.public(), &project);
}

fn assert_whole(public: &Directory, project: &Project) {
    let undisturbed = places::sqlite();
    undisturbed.execute(&format!("UPDATE fact SET scholar = {} WHERE fact_id = 5", 1000 + ROUNDS - 1));
    undisturbed.publish();
    assert_eq!(public.digests(), undisturbed.public().digests(), "in {}", project.root().display());
}

#[test]
fn two_publishers_of_a_bucket_take_turns() {
    let (bucket, mut project) = (Bucket::new(), places::sqlite());
    project.publish_to(&bucket, "");
    two_at_once(&project, &|| bucket.head());
    let undisturbed = places::sqlite();
    undisturbed.execute(&format!("UPDATE fact SET scholar = {} WHERE fact_id = 5", 1000 + ROUNDS - 1));
    undisturbed.publish();
    assert_eq!(bucket.digests(), undisturbed.public().digests());
}

#[test]
fn who_cannot_wait_is_told_who_is_at_work_and_for_how_long() {
    let (bucket, mut project) = (Bucket::new(), places::sqlite());
    project.publish_to(&bucket, "lease_wait = \"0s\"\n");
    let is_copy = |asked: &Asked| asked.kind == Kind::Copy;
    let slow = bucket.server.play(Fault::new(What::Wait(Duration::from_secs(3)), is_copy));
    let mut first = project.tintype(&["publish"]).start();
    first.wait_for("the first copy", |_| (slow.struck() > 0).then_some(()));
    let holder = bucket.head()["lease"]["holder"].as_str().map(str::to_owned).expect("a lease");
    let finished = project.run(&["publish", "--force"]).expect(5);
    finished.explains(&["another publisher is committing", &holder, "for "]);
    bucket.server.heal();
    first.finish().expect(0);
}

#[test]
fn who_cannot_wait_for_a_folder_is_told_the_same() {
    let project = places::sqlite();
    project.publish();
    let lock = project.root().join(".tintype/publish.lock");
    let file = std::fs::File::options().write(true).open(&lock).expect("open the lock");
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).expect("take the lock");
    std::fs::write(&lock, "db7 process 42, run x").expect("say who has it");
    let then = std::time::SystemTime::now() - Duration::from_secs(40);
    file.set_modified(then).expect("date the lock");
    let settings = std::fs::read_to_string(project.config()).expect("read tintype.toml");
    let impatient = settings.replace("[store]\n", "[store]\nlease_wait = \"0s\"\n");
    std::fs::write(project.config(), impatient).expect("write tintype.toml");
    let finished = project.run(&["publish", "--force"]).expect(5);
    finished.explains(&["another publisher is committing: db7 process 42, run x, for 4"]);
    drop(file);
    project.json(&["publish", "--force"], 0);
    let holder = std::fs::read_to_string(&lock).expect("read the lock");
    assert!(holder.contains(" process "), "a publisher doesn't say who it is: {holder}");
}

#[test]
fn who_waits_for_a_lease_is_told_for_whom() {
    let (bucket, mut project) = (Bucket::new(), places::sqlite());
    project.publish_to(&bucket, "lease_wait = \"1m\"\n");
    project.publish();
    let (head, path) = (bucket.head(), bucket.server.file(&format!("{BUCKET}/_tintype/site/head.json")));
    let mut taken = head.clone();
    taken["lease"] = json!({ "holder": "db7 process 42, run x", "epoch": 9, "ttl_seconds": 300, "taken_at": "2026-01-01T00:00:00Z" });
    std::fs::write(&path, taken.to_string()).expect("take the lease");
    let mut editor = project.tintype(&["republish", "places/united-states/crispr/*", "-v"]).start();
    editor.wait_for("a word about who is at work", |editor| is_told_of(&editor.stderr(), "db7 process 42, run x"));
    std::fs::write(&path, head.to_string()).expect("free the lease");
    let said = editor.finish().expect(0);
    assert_eq!(said.stderr.matches("waiting for it").count(), 1, "once, however long it takes: {said}");
}

fn is_told_of(said: &str, holder: &str) -> Option<()> {
    said.lines().any(|line| line.contains("waiting for it") && line.contains(holder)).then_some(())
}

#[test]
fn who_waits_for_a_folder_is_told_the_same() {
    let project = places::sqlite();
    project.publish();
    let lock = project.root().join(".tintype/publish.lock");
    let file = std::fs::File::options().write(true).open(&lock).expect("open the lock");
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).expect("take the lock");
    std::fs::write(&lock, "db7 process 42, run x").expect("say who has it");
    let mut editor = project.tintype(&["republish", "places/united-states/crispr/*", "-v"]).start();
    editor.wait_for("a word about who is at work", |editor| is_told_of(&editor.stderr(), "db7 process 42, run x"));
    drop(file);
    let said = editor.finish().expect(0);
    assert_eq!(said.stderr.matches("waiting for it").count(), 1, "{said}");
    // Off a terminal a success that nobody asks about is silent.
    assert_eq!(project.run(&["republish", "places/united-states/crispr/*"]).expect(0).stderr, "");
}

/// A nightly build that takes twenty seconds over another template, and an editor in the middle of it.
fn nightly_and_editor(project: &Project, digests: &dyn Fn() -> std::collections::BTreeMap<String, String>) {
    project.template(
        "slow",
        "/*---\npath = \"slow/{k}.json\"\n---*/\nSELECT 'a' AS k, 1 AS n, pg_sleep(20)::text AS slept ORDER BY k\n",
    );
    let mut nightly = project.tintype(&["publish", "--format", "json"]).start();
    nightly.wait_for("the slow query", |_| {
        let sleeping = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'";
        (!project.query(sleeping).is_empty()).then_some(())
    });
    // The build has read the other template by now, as it was.
    project.execute("UPDATE fact SET level = 3 WHERE fact_id = 2");
    let editor = project.tintype(&["republish", "places/united-states/crispr/*"]).run().expect(0);
    assert!(editor.elapsed < Duration::from_secs(10), "the editor waited for the build: {editor}");
    assert!(!nightly.has_ended(), "the build was to be at work");
    let edited = digests();
    let said = nightly.finish().expect(0).json();
    assert_eq!(said["outcome"], "published", "{said:#}");
    let mut after = digests();
    assert!(after.remove("slow/a.json").is_some());
    assert_eq!(after, edited, "the build undid what the editor published");
}

#[test]
fn an_editor_in_the_middle_of_a_build_does_not_wait_and_is_not_undone() {
    let Some(database) = postgres::database() else { return };
    database.execute(places::ROWS);
    let project = Project::postgres(database);
    project.template("places", places::TEMPLATE);
    project.publish();
    nightly_and_editor(&project, &|| project.public().digests());
}

#[test]
fn an_editor_in_the_middle_of_a_build_for_a_bucket_neither() {
    let Some(database) = postgres::database() else { return };
    database.execute(places::ROWS);
    let (bucket, mut project) = (Arc::new(Bucket::new()), Project::postgres(database));
    project.template("places", places::TEMPLATE);
    project.publish_to(&bucket, "");
    project.publish();
    nightly_and_editor(&project, &|| bucket.digests());
    assert_eq!(bucket.head()["lease"], json!(null));
}
