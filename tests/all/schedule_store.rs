//! Schedules over a store that stumbles, or doesn't answer: what has begun goes on, and a wish to end is heard.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::support::bucket::Bucket;
use crate::support::places;
use crate::support::project::Project;
use crate::support::s3_server::{Asked, Fault, Kind, What};

fn scheduled(lines: &str) -> (Bucket, Project) {
    let (bucket, mut project) = (Bucket::new(), places::sqlite());
    project.publish_to(&bucket, "");
    fs::create_dir_all(project.root().join("schedules")).expect("make the folder");
    fs::write(project.root().join("schedules/nightly.toml"), format!("cron = \"@daily\"\n{lines}"))
        .expect("write the schedule");
    (bucket, project)
}

fn is_head(asked: &Asked) -> bool {
    asked.key.ends_with("/head.json")
}

#[test]
fn a_run_that_was_asked_for_outlives_a_store_that_stumbles() {
    let (bucket, project) = scheduled("retries = 9\nretry_after = \"1s\"");
    project.configure("sqlite:gone.db", "");
    // The claim is written, and that its first attempt has failed can't be.
    let written = AtomicUsize::new(0);
    let fault = bucket.server.play(Fault::answer(403, "AccessDenied", "not now", move |asked| {
        asked.kind == Kind::Put && is_head(asked) && written.fetch_add(1, Ordering::Relaxed) > 0
    }));
    let mut running = project.tintype(&["schedule", "--once", "nightly", "-v", "--format", "json"]).start();
    running.wait_for("a write that is refused", |running| running.stderr().contains("trying again").then_some(()));
    assert!(fault.struck() > 0);
    project.configure("sqlite:file.db", "");
    bucket.server.heal();
    let said = running.finish().expect(0).json();
    assert_eq!((&said["outcome"], &bucket.head()["schedules"]["nightly"]["outcome"]), (&"done".into(), &"done".into()));
    assert_eq!(bucket.paths().len(), places::DOCUMENTS);
}

#[test]
fn a_wish_to_end_is_heard_while_the_store_keeps_silent() {
    let (bucket, project) = scheduled("");
    let fault = bucket.server.play(Fault::new(What::Wait(Duration::from_mins(10)), is_head));
    let mut daemon = project.tintype(&["schedule", "-v"]).start();
    daemon.wait_for("a request that isn't answered", |_| (fault.struck() > 0).then_some(()));
    let told_at = Instant::now();
    daemon.signal(Signal::TERM);
    daemon.finish().expect(0);
    // A step that is under way has five seconds, and a request thirty.
    assert!(told_at.elapsed() < Duration::from_secs(20), "{:?}", told_at.elapsed());
}
