//! The lease on a bucket: renewed while its holder is at work, given up when it can't be, respected by the others.

use std::fs::{self, File};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustix::process::Signal;
use serde_json::{Value, json};
use tintype::store::Swap;

use crate::support::bucket::{BUCKET, Bucket};
use crate::support::places::{self, DOCUMENTS};
use crate::support::postgres::runtime;
use crate::support::process::closed_port;
use crate::support::project::Project;
use crate::support::s3_server::{Asked, Fault, Kind, Options, S3Server, What};
use crate::support::wait::wait_until;

fn in_bucket(more: &str) -> (Arc<Bucket>, Project) {
    let (bucket, mut project) = (Arc::new(Bucket::new()), places::sqlite());
    project.publish_to(&bucket, more);
    (bucket, project)
}

fn is_swap(asked: &Asked) -> bool {
    asked.kind == Kind::Put && asked.conditional
}

fn is_copy(asked: &Asked) -> bool {
    asked.kind == Kind::Copy
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

/// Another publisher takes the lease over, whatever it says.
fn take_over(bucket: &Bucket) {
    let mut head = bucket.head();
    head["epoch"] = json!(head["epoch"].as_u64().unwrap_or_default() + 1);
    head["seq"] = json!(head["seq"].as_u64().unwrap_or_default() + 1);
    head["lease"] =
        json!({"holder": "db7", "epoch": head["epoch"], "ttl_seconds": 90, "taken_at": "2026-01-01T00:00:00Z"});
    write_head(bucket, &head, 0);
    // s3s-fs keeps the ETag beside the object.
    let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let name = format!(".bucket-{}.object-{}.internal.json", encode(BUCKET), encode("_tintype/site/head.json"));
    let file = bucket.server.file(&name);
    let mut kept: Value = serde_json::from_slice(&fs::read(&file).expect("read the ETag")).expect("it is JSON");
    kept["e_tag"] = json!("of-another");
    fs::write(&file, kept.to_string()).expect("write the ETag");
}

#[test]
fn it_is_renewed_while_the_only_request_in_flight_takes_its_time() {
    let (bucket, project) = in_bucket("concurrency = 1\ntimeout = \"60s\"\nlease_ttl = \"10s\"\n");
    bucket.server.play(Fault::new(What::Wait(Duration::from_secs(8)), is_copy).times(1));
    assert_eq!(project.publish()["outcome"], "published");
    assert_eq!(swaps(&bucket), [200; 4], "commit, two renewals, end");
    assert_eq!(bucket.paths().len(), DOCUMENTS);
    assert_eq!((&bucket.head()["active"], &bucket.head()["lease"]), (&bucket.head()["desired"], &Value::Null));
}

#[test]
fn a_renewal_that_fails_is_tried_again() {
    let (bucket, project) = in_bucket("timeout = \"60s\"\nlease_ttl = \"10s\"\n");
    bucket.server.play(Fault::new(What::Wait(Duration::from_secs(7)), is_copy).times(1));
    bucket.server.play(Fault::answer(403, "AccessDenied", "not now", is_swap).every(2).times(1));
    assert_eq!(project.publish()["outcome"], "published");
    assert_eq!(swaps(&bucket), [200, 403, 200, 200], "commit, two renewals, end");
}

#[test]
fn a_renewal_does_not_renew_the_lease_of_another() {
    let (bucket, project) = in_bucket("timeout = \"60s\"\nlease_ttl = \"10s\"\n");
    let world = Arc::clone(&bucket);
    let over = std::sync::Once::new();
    let taken = move |asked: &Asked| is_copy(asked) && (over.call_once(|| take_over(&world)), true).1;
    bucket.server.play(Fault::new(What::Wait(Duration::from_secs(8)), taken).times(1));
    let finished = project.run(&["publish"]).expect(4);
    assert!(finished.stderr.contains("db7, which took this run for dead"), "{finished}");
    assert_eq!(swaps(&bucket), [200, 412]);
    let head = bucket.head();
    assert_eq!((&head["lease"]["holder"], &head["seq"]), (&json!("db7"), &json!(2)));
}

#[test]
fn a_lost_answer_does_not_make_anothers_lease_ours() {
    let (bucket, project) = in_bucket("");
    let lost = bucket.server.play(Fault::new(What::LoseAnswer, is_swap).times(1));
    // Between the commit and the look back another run has taken over.
    let (world, over) = (Arc::clone(&bucket), std::sync::Once::new());
    let looks_back = move |asked: &Asked| {
        if asked.key.ends_with("head.json") && asked.kind == Kind::Get && lost.struck() == 1 {
            over.call_once(|| take_over(&world));
        }
        false
    };
    bucket.server.play(Fault::new(What::BreakOff, looks_back));
    let finished = project.run(&["publish"]).expect(4);
    assert!(finished.stderr.contains("db7, which took this run for dead"), "{finished}");
    assert_eq!(bucket.server.counts().copies, 0, "it activated under another's lease");
    assert_eq!(bucket.head()["lease"]["holder"], "db7");
}

#[test]
fn a_process_that_stood_still_writes_no_more() {
    let (bucket, project) = in_bucket("concurrency = 1\ntimeout = \"60s\"\nlease_ttl = \"10s\"\n");
    let slow = bucket.server.play(Fault::new(What::Wait(Duration::from_millis(300)), is_copy));
    let mut running = project.tintype(&["publish"]).start();
    running.wait_for("the second copy", |_| (slow.struck() > 1).then_some(()));
    running.signal(Signal::STOP);
    let stopped = Instant::now();
    let copies = bucket.server.counts().copies;
    wait_until("the lease to run out", Duration::from_secs(20), || stopped.elapsed() > Duration::from_millis(10_500));
    running.signal(Signal::CONT);
    let finished = running.finish().expect(4);
    assert!(finished.stderr.contains("the lease ran out: it couldn't be renewed for 10s"), "{finished}");
    assert!(bucket.server.counts().copies <= copies + 1, "at most the one that was being sent");
    bucket.server.heal();
    let head = bucket.head();
    write_head(&bucket, &head, 300);
    assert_eq!(project.publish()["rolled_forward"], head["desired"]);
    assert_eq!(bucket.paths().len(), DOCUMENTS);
}

#[test]
fn an_activation_that_is_interrupted_frees_it() {
    let (bucket, project) = in_bucket("concurrency = 1\nlease_wait = \"0s\"\n");
    let slow = bucket.server.play(Fault::new(What::Wait(Duration::from_millis(300)), is_copy));
    let mut running = project.tintype(&["publish"]).start();
    running.wait_for("the second copy", |_| (slow.struck() > 1).then_some(()));
    running.signal(Signal::INT);
    let finished = running.finish().expect(130);
    assert!(finished.stderr.contains("the release is committed and partly activated"), "{finished}");
    let head = bucket.head();
    assert_eq!((&head["lease"], &head["active"]), (&Value::Null, &Value::Null), "{head:#}");
    bucket.server.heal();
    assert_eq!(project.publish()["rolled_forward"], head["desired"]);
}

#[test]
fn a_lease_whose_age_nobody_knows_is_held() {
    let changes: [fn(&mut hyper::HeaderMap); 2] = [
        |headers| drop(headers.remove("last-modified")),
        |headers| drop(headers.insert("date", hyper::header::HeaderValue::from_static("some day"))),
    ];
    for change in changes {
        let (bucket, project) = in_bucket("lease_wait = \"0s\"\n");
        project.publish();
        take_over(&bucket);
        let head = bucket.head();
        write_head(&bucket, &head, 300);
        let of_head = |asked: &Asked| asked.kind == Kind::Get && asked.key.ends_with("head.json");
        bucket.server.play(Fault::new(What::Headers(change), of_head));
        project.execute("UPDATE fact SET level = 3 WHERE fact_id = 2");
        project.run(&["publish"]).expect(5).explains(&["another publisher is committing: db7"]);
        assert_eq!(bucket.head(), head);
        bucket.server.heal();
        assert_eq!(project.publish()["outcome"], "published");
    }
}

#[test]
fn an_unchanged_run_does_not_keep_a_dead_lease_alive() {
    let (bucket, project) = in_bucket("");
    project.publish();
    take_over(&bucket);
    write_head(&bucket, &bucket.head(), 300);
    assert_eq!(project.publish()["outcome"], "unchanged");
    let head = bucket.head();
    assert_eq!(head["lease"], Value::Null, "the swap has made it look young: {head:#}");
    assert_eq!(head["suspect"]["since"], head["active"], "what the dead one has sent may still arrive: {head:#}");
}

#[test]
fn a_swap_that_nobody_can_have_got_is_sent_again() {
    runtime().block_on(async {
        let address = ([127, 0, 0, 1], closed_port()).into();
        let store = Bucket::store_of(&format!("http://{address}"));
        let folder = tempfile::tempdir().expect("make a folder");
        let start = async {
            // Refused once, and then there is a server.
            while store.requests().puts < 2 {
                tokio::task::yield_now().await;
            }
            let (folder, buckets) = (folder.path().to_owned(), vec![BUCKET.to_owned()]);
            let start = move || S3Server::start(Options { address, folder, buckets, atomic: true, remember: true });
            tokio::task::spawn_blocking(start).await.expect("it doesn't panic").expect("start an S3 server")
        };
        let swap = async {
            let swap = store.swap_head(None, b"{}\n".to_vec()).await.expect("the store answers");
            assert!(matches!(swap, Swap::Swapped(_)), "{swap:?}");
        };
        let both = async { tokio::join!(swap, start) };
        let ((), server) = tokio::time::timeout(Duration::from_secs(20), both).await.expect("it goes on");
        assert_eq!(server.counts().puts, 1);
    });
}
