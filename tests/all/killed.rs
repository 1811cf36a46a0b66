//! A publish that is killed at any moment: what was committed is finished from the store alone, and what wasn't never was.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::process::Signal;

use crate::support::bucket::{BUCKET, Bucket};
use crate::support::directory::Stamp;
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

/// What isn't synced, a power cut may leave empty: every file that is there now and wasn't before.
fn cut_power(project: &Project, before: &BTreeMap<String, Stamp>) -> usize {
    let now = project.stamps();
    let new = now.iter().filter(|(path, stamp)| before.get(*path) != Some(*stamp) && !path.ends_with("head.json"));
    let mut emptied = 0;
    for (path, _) in new {
        let file = project.root().join(path);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("open the file for writing");
        File::options().write(true).truncate(true).open(&file).expect("empty the file");
        emptied += 1;
    }
    emptied
}

#[test]
fn what_a_power_cut_empties_before_the_commit_is_never_shown() {
    let (old, new) = undisturbed(MANY);
    let mut cut = 0;
    for point in 1..=4 {
        let project = project(MANY, None);
        change(&project);
        let (root, before) = (project.root().to_owned(), project.stamps());
        kill_when(&project, || match point {
            4 => fs::read_dir(root.join(".tintype/release")).into_iter().flatten().count() >= 2,
            _ => blobs(&root) >= MANY + MANY * point / 4,
        });
        if project.head()["desired"].as_str().is_some_and(|id| id.starts_with("2-")) {
            // It was quicker than the look at it; the sync before the commit has made everything durable.
            continue;
        }
        cut += 1;
        assert!(cut_power(&project, &before) > 0, "nothing was written before the cut");
        assert!(project.public().digests() == old);
        assert_eq!(project.publish()["outcome"], "published");
        assert!(project.public().digests() == new, "point {point}");
    }
    assert!(cut >= 2, "every publish was quicker than the look at it");
}

#[test]
fn what_a_power_cut_takes_from_an_activation_is_shown_again() {
    let (old, new) = undisturbed(MANY);
    let project = project(MANY, None);
    change(&project);
    project.publish();
    // The head was about to say that the paths are shown. Their names weren't synced, nor the plain catalogue's bytes.
    let mut head = project.head();
    head["active"] = serde_json::Value::String(
        fs::read_dir(project.root().join(".tintype/release"))
            .expect("list the releases")
            .filter_map(|entry| entry.expect("an entry").file_name().into_string().ok())
            .find_map(|name| name.starts_with("1-").then(|| name.trim_end_matches(".json").to_owned()))
            .expect("the first release"),
    );
    fs::write(project.root().join(".tintype/head.json"), head.to_string()).expect("write head.json");
    // What was there before the run has been durable for long.
    for (path, _) in new.iter().filter(|(path, digest)| old.get(*path) != Some(*digest)).step_by(3) {
        fs::remove_file(project.public().file(path)).expect("lose a name");
    }
    let plain = project.root().join("public/index.json");
    fs::set_permissions(&plain, fs::Permissions::from_mode(0o644)).expect("open the file for writing");
    File::options().write(true).truncate(true).open(&plain).expect("empty the file");
    assert_eq!(project.json(&["resume"], 0)["outcome"], "finished");
    assert!(project.public().digests() == new);
    assert_eq!(project.public().catalogue()["serial"], 2);
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
