//! A publish that is killed at any moment: what was committed is finished from the store alone, and what wasn't never was.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::process::Signal;

use crate::support::bucket::{BUCKET, Bucket};
use crate::support::project::Project;
use crate::support::wait::wait_until;

/// Documents in a folder; enough that linking them takes longer than to see that it has begun.
const MANY: usize = 600;
/// Documents in a bucket; each is a few requests.
const SOME: usize = 40;

type Digests = BTreeMap<String, String>;

/// A project of so many documents that has published once; what a second publish is to show, and what it shows now.
fn project(keys: usize, bucket: Option<&Bucket>) -> Project {
    let mut project = Project::sqlite(&format!(
        "CREATE TABLE t (k TEXT PRIMARY KEY, n INTEGER NOT NULL);
         WITH RECURSIVE s (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < {keys})
         INSERT INTO t SELECT printf('k%05d', i), i FROM s"
    ));
    project.template("many", "/*---\npath = \"many/{k}.json\"\n---*/\nSELECT k, n FROM t ORDER BY k\n");
    if let Some(bucket) = bucket {
        project.publish_to(bucket, "concurrency = 2\n");
    }
    project.publish();
    project
}

/// New values for all but a few keys; one goes and one comes.
fn change(project: &Project) {
    project.execute("UPDATE t SET n = n + 1000000 WHERE n % 16 > 0; DELETE FROM t WHERE k = 'k00007'; INSERT INTO t VALUES ('k99999', 1)");
}

/// Kills a publish at the moment when `is_there` says so, or lets it end if it is too quick for that.
fn kill_when(project: &Project, mut is_there: impl FnMut() -> bool) {
    let mut running = project.tintype(&["publish"]).start();
    // Looked at as often as can be: linking is over in some milliseconds.
    while !running.has_ended() && !is_there() {}
    running.signal(Signal::KILL);
    let _ = running.finish();
}

/// What has to hold after a kill; whether the release had been committed.
fn check(
    project: &Project,
    digests: impl Fn() -> Digests,
    old: &Digests,
    new: &Digests,
    head: &serde_json::Value,
) -> bool {
    let is_committed = head["desired"].as_str().is_some_and(|id| id.starts_with("2-"));
    let settings = fs::read_to_string(project.config()).expect("read tintype.toml");
    let gone = settings.replace("sqlite:file.db", "sqlite:gone.db");
    fs::write(project.config(), gone).expect("write tintype.toml");
    project.json(&["resume"], 0);
    let expected = if is_committed { new } else { old };
    assert!(digests() == *expected, "after resume, committed: {is_committed}");
    fs::write(project.config(), settings).expect("write tintype.toml");
    let said = project.publish();
    assert_eq!(said["outcome"], if is_committed { "unchanged" } else { "published" });
    assert!(digests() == *new, "a publish after the kill gives other bytes than an undisturbed one");
    is_committed
}

/// What an undisturbed publish before and after the change gives.
fn undisturbed(keys: usize) -> (Digests, Digests) {
    let project = project(keys, None);
    let old = project.public().digests();
    change(&project);
    project.publish();
    (old, project.public().digests())
}

fn blobs(root: &Path) -> usize {
    let folders = fs::read_dir(root.join(".tintype/blob")).into_iter().flatten().flatten();
    folders.filter_map(|folder| fs::read_dir(folder.path()).ok()).map(Iterator::count).sum()
}

#[test]
fn in_a_folder_at_32_points() {
    let (old, new) = undisturbed(MANY);
    let paths: Vec<&String> = new.keys().collect();
    let (mut committed, mut lost) = (0, 0);
    for point in 0..32 {
        let project = project(MANY, None);
        change(&project);
        let root = project.root().to_owned();
        if point < 14 {
            // While blobs are staged.
            let staged = MANY * (point + 1) / 15;
            kill_when(&project, || blobs(&root) >= MANY + staged);
        } else if point < 18 {
            // Around the commit: the shard, the list of changes, the root, the head.
            let head = fs::read(root.join(".tintype/head.json")).expect("read head.json");
            let count = |folder: &str| fs::read_dir(root.join(".tintype").join(folder)).into_iter().flatten().count();
            kill_when(&project, || match point {
                14 => count("shard") >= 2,
                15 => count("release") >= 2,
                _ => fs::read(root.join(".tintype/head.json")).is_ok_and(|now| now != head),
            });
        } else {
            // While paths are linked.
            let path = paths[(point - 18) * (paths.len() - 1) / 13];
            let file = project.public().file(path);
            let stamp = |file: &Path| fs::metadata(file).and_then(|about| about.modified()).ok();
            let before = stamp(&file);
            kill_when(&project, || stamp(&file) != before);
        }
        match check(&project, || project.public().digests(), &old, &new, &project.head()) {
            true => committed += 1,
            false => lost += 1,
        }
    }
    println!("killed at 32 points: {committed} times after the commit, {lost} times before it");
    assert!(committed >= 8 && lost >= 8, "{committed} after the commit, {lost} before it");
}

#[test]
fn in_a_bucket_at_32_points() {
    let (old, new) = undisturbed(SOME);
    let total = {
        let bucket = Bucket::new();
        let project = project(SOME, Some(&bucket));
        change(&project);
        bucket.server.reset();
        project.publish();
        bucket.server.counts().total()
    };
    let (mut committed, mut lost) = (0, 0);
    for point in 0..32 {
        let bucket = Bucket::new();
        let project = project(SOME, Some(&bucket));
        change(&project);
        bucket.server.reset();
        kill_when(&project, || bucket.server.counts().total() > point * total / 32);
        // What the dead process had sent is carried out or not by now, and its lease is long over.
        wait_until("the last requests", Duration::from_mins(1), || bucket.server.in_flight() == 0);
        let head = bucket.server.file(&format!("{BUCKET}/_tintype/site/head.json"));
        let then = SystemTime::now() - Duration::from_mins(10);
        File::options().write(true).open(&head).and_then(|file| file.set_modified(then)).expect("date head.json");
        match check(&project, || bucket.digests(), &old, &new, &bucket.head()) {
            true => committed += 1,
            false => lost += 1,
        }
    }
    println!("killed at 32 points: {committed} times after the commit, {lost} times before it");
    assert!(committed >= 8 && lost >= 8, "{committed} after the commit, {lost} before it");
}
