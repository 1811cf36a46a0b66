//! A store that is away, refuses, stumbles or dawdles: a clear error or success in the end, and never half of anything visible.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::bucket::Bucket;
use crate::support::places::{self, DOCUMENTS};
use crate::support::process::{Finished, closed_port};
use crate::support::project::Project;
use crate::support::s3_server::{ACCESS_KEY, Asked, Fault, Kind, What};

fn in_bucket(more: &str) -> (Bucket, Project) {
    let (bucket, mut project) = (Bucket::new(), places::sqlite());
    project.publish_to(&bucket, more);
    (bucket, project)
}

fn is_swap(asked: &Asked) -> bool {
    asked.kind == Kind::Put && asked.conditional
}

/// Publishes against a store that answers every request with an error; nothing may have become visible.
#[track_caller]
fn refused(
    status: u16,
    code: &'static str,
    message: &'static str,
    more: Vec<(&'static str, &'static str)>,
) -> Finished {
    let (bucket, project) = in_bucket("");
    bucket.server.play(Fault::new(What::Answer { status, code, message, more }, |_| true));
    let finished = project.run(&["publish"]).expect(1);
    assert!(bucket.paths().is_empty());
    assert!(bucket.server.counts().total() <= 2, "{:?}", bucket.server.counts());
    finished
}

/// Replaces the line of the endpoint.
fn with_endpoint(project: &Project, bucket: &Bucket, endpoint: &str) {
    let config = std::fs::read_to_string(project.config()).expect("read tintype.toml");
    std::fs::write(project.config(), config.replace(&bucket.server.endpoint(), endpoint)).expect("write tintype.toml");
}

#[test]
fn nobody_listens() {
    let (bucket, project) = in_bucket("");
    let endpoint = format!("http://127.0.0.1:{}", closed_port());
    with_endpoint(&project, &bucket, &endpoint);
    let finished = project.run(&["publish"]).expect(1);
    finished.explains(&[
        &endpoint,
        "connection refused",
        "s3://site-bucket/_tintype/site/head.json",
        "[store] endpoint",
    ]);
    assert!(finished.elapsed < Duration::from_secs(20), "{finished}");
}

#[test]
fn the_name_is_unknown() {
    let (bucket, project) = in_bucket("");
    with_endpoint(&project, &bucket, "http://store.invalid:9000");
    let finished = project.run(&["publish"]).expect(1);
    finished.explains(&["the name of http://store.invalid:9000 is unknown", "[store] endpoint"]);
}

#[test]
fn access_is_denied() {
    let finished = refused(403, "AccessDenied", "Access Denied", Vec::new());
    finished.explains(&["403 AccessDenied", "site-bucket", "s3:ListBucket", "head.json"]);
}

#[test]
fn the_bucket_is_missing() {
    let (bucket, project) = in_bucket("");
    let config = std::fs::read_to_string(project.config()).expect("read tintype.toml");
    std::fs::write(project.config(), config.replace("site-bucket", "other-bucket")).expect("write tintype.toml");
    let finished = project.run(&["publish"]).expect(1);
    finished.explains(&["NoSuchBucket", "create the bucket other-bucket"]);
    assert_eq!(bucket.server.counts().total(), 1);
}

#[test]
fn the_region_is_wrong() {
    let message = "The authorization header is malformed; the region 'us-east-1' is wrong; expecting 'eu-central-1'";
    let finished = refused(400, "AuthorizationHeaderMalformed", message, vec![("Region", "eu-central-1")]);
    finished.explains(&["set [store] region = \"eu-central-1\""]);
    let message = "The bucket you are attempting to access must be addressed using the specified endpoint";
    let finished = refused(301, "PermanentRedirect", message, vec![("x-amz-bucket-region", "eu-north-1")]);
    finished.explains(&["set [store] region = \"eu-north-1\""]);
}

#[test]
fn the_clock_is_wrong() {
    let message = "The difference between the request time and the current time is too large";
    let finished = refused(403, "RequestTimeTooSkewed", message, Vec::new());
    finished.explains(&["RequestTimeTooSkewed", "this machine's clock is wrong"]);
}

#[test]
fn there_are_no_credentials() {
    let (bucket, project) = in_bucket("");
    let command = project.tintype(&["publish"]).env("AWS_ACCESS_KEY_ID", "").env("AWS_SECRET_ACCESS_KEY", "");
    let finished = command.run().expect(1);
    finished.explains(&["no usable credentials", "AWS_ACCESS_KEY_ID"]);
    assert_eq!(bucket.server.counts().total(), 0);
    assert!(finished.elapsed < Duration::from_secs(10), "{finished}");
}

#[test]
fn the_credentials_are_wrong() {
    let (_bucket, project) = in_bucket("");
    let finished = project.tintype(&["publish"]).env("AWS_SECRET_ACCESS_KEY", "another-secret").run().expect(1);
    finished.explains(&["SignatureDoesNotMatch", "check the credentials"]);
    assert!(!finished.to_string().contains("another-secret"));
    let profile = tempfile::tempdir().expect("make a folder");
    let file = profile.path().join("credentials");
    let secret = crate::support::s3_server::SECRET_KEY;
    let text = format!("[press]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {secret}\n");
    std::fs::write(&file, text).expect("write the credentials");
    let command = project.tintype(&["publish"]).env("AWS_ACCESS_KEY_ID", "").env("AWS_SECRET_ACCESS_KEY", "");
    command.env("AWS_SHARED_CREDENTIALS_FILE", &file).env("AWS_PROFILE", "press").run().expect(0);
}

#[test]
fn the_store_asks_for_fewer_requests() {
    let (bucket, project) = in_bucket("");
    let is_written = |asked: &Asked| matches!(asked.kind, Kind::Put | Kind::Copy) && !is_swap(asked);
    let slow = Fault::answer(503, "SlowDown", "Please reduce your request rate", is_written);
    let slow = bucket.server.play(slow.every(2).times(20));
    assert_eq!(project.publish()["outcome"], "published");
    assert_eq!(slow.struck(), 20);
    assert_eq!(bucket.paths().len(), DOCUMENTS);
}

#[test]
fn the_store_is_slow_for_a_while() {
    let (bucket, project) = in_bucket("");
    let slow = Fault::answer(503, "SlowDown", "Please reduce your request rate", |_| true);
    bucket.server.play(slow.during(Duration::from_secs(4)));
    let began = Instant::now();
    assert_eq!(project.publish()["outcome"], "published");
    assert!(began.elapsed() > Duration::from_secs(3));
    // R2's word for it, which the SDK doesn't know.
    project.execute("UPDATE fact SET level = 3 WHERE fact_id = 2");
    bucket.server.play(Fault::answer(429, "TooManyRequests", "slower, please", |asked| !is_swap(asked)).times(4));
    assert_eq!(project.publish()["outcome"], "published");
}

#[test]
fn every_fiftieth_request_fails() {
    let bucket = Bucket::new();
    let mut project = Project::sqlite(
        "CREATE TABLE t (k INTEGER PRIMARY KEY);
         WITH RECURSIVE s (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < 300) INSERT INTO t SELECT i FROM s",
    );
    project.template("many", "/*---\npath = \"many/{k}.json\"\n---*/\nSELECT k, k + 1 AS n FROM t ORDER BY k\n");
    project.publish_to(&bucket, "");
    let accident = Fault::answer(500, "InternalError", "We encountered an internal error", |asked| !is_swap(asked));
    let accident = bucket.server.play(accident.every(50));
    let said = project.publish();
    assert_eq!((&said["outcome"], &said["activated"]["failed"]), (&json!("published"), &json!([])));
    assert!(accident.struck() > 3, "{}", accident.struck());
    let store = &said["store"];
    let counts = bucket.server.counts();
    assert_eq!((&store["puts"], &store["copies"]), (&json!(counts.puts), &json!(counts.copies)), "retries are counted");
}

#[test]
fn connections_break() {
    let (bucket, project) = in_bucket("");
    project.publish();
    project.execute("UPDATE fact SET city = 'Cambridge' WHERE city_id = 1");
    let cut = bucket.server.play(Fault::new(What::CutBody, |asked| asked.kind == Kind::Get).every(2));
    let broken = |asked: &Asked| matches!(asked.kind, Kind::Put | Kind::Copy) && !is_swap(asked);
    let broken = bucket.server.play(Fault::new(What::BreakOff, broken).every(3));
    let lost = Fault::new(What::LoseAnswer, |asked| asked.kind == Kind::Copy).every(2);
    let lost = bucket.server.play(lost);
    assert_eq!(project.publish()["outcome"], "published");
    assert!(cut.struck() > 1 && broken.struck() > 1 && lost.struck() > 1);
    bucket.server.heal();
    assert_eq!(project.publish()["outcome"], "unchanged");
    let shown = bucket.document("places/united-states/crispr/low.json");
    assert_eq!(shown["rows"][0]["city"], "Cambridge");
}

#[test]
fn a_store_that_takes_a_minute_is_given_up() {
    let (bucket, project) = in_bucket("timeout = \"1s\"\n");
    bucket.server.play(Fault::new(What::Wait(Duration::from_mins(1)), |_| true));
    let finished = project.run(&["publish"]).expect(1);
    finished.explains(&["no answer from", "within 1s", "attempts in", "[store] timeout"]);
    assert!(finished.elapsed < Duration::from_secs(15), "{finished}");
}

#[test]
fn a_store_that_dies_in_the_middle_is_told_and_finished_later() {
    let (bucket, project) = in_bucket("timeout = \"1s\"\n");
    project.publish();
    project.execute("UPDATE fact SET city = 'Cambridge' WHERE city_id = 1");
    bucket.server.play(Fault::new(What::Wait(Duration::from_mins(1)), |asked| asked.kind == Kind::Copy));
    let finished = project.tintype(&["publish", "--format", "json"]).run().expect(4);
    assert!(finished.elapsed < Duration::from_secs(30), "{finished}");
    let head = bucket.head();
    assert_ne!(head["active"], head["desired"]);
    assert_eq!(head["lease"], Value::Null, "{head:#}");
    bucket.server.heal();
    let said = project.publish();
    assert_eq!((&said["outcome"], &said["rolled_forward"]), (&json!("unchanged"), &head["desired"]));
    assert_eq!(bucket.document("places/united-states/crispr/low.json")["rows"][0]["city"], "Cambridge");
}

#[test]
fn one_key_that_fails_does_not_stop_the_others() {
    let (bucket, project) = in_bucket("");
    let key = "places/united-states/crispr/low.json";
    let denied = move |asked: &Asked| asked.kind == Kind::Copy && asked.key.ends_with(key);
    bucket.server.play(Fault::answer(403, "AccessDenied", "not this one", denied));
    let said = project.json(&["publish"], 4);
    assert_eq!(said["activated"]["failed"][0]["path"], key, "{said:#}");
    assert_eq!(bucket.paths().len(), DOCUMENTS - 1);
    assert_ne!(bucket.head()["active"], bucket.head()["desired"]);
    bucket.server.heal();
    assert_eq!(project.publish()["rolled_forward"], bucket.head()["desired"]);
    assert!(bucket.has(key));
}

#[test]
fn half_a_minute_of_slow_down() {
    let (bucket, project) = in_bucket("");
    let slow = Fault::answer(503, "SlowDown", "Please reduce your request rate", |_| true);
    let slow = bucket.server.play(slow.during(Duration::from_secs(30)));
    let began = Instant::now();
    let said = project.publish();
    assert_eq!(said["outcome"], "published");
    println!("published after {:.1?}, {} requests refused", began.elapsed(), slow.struck());
    assert!(began.elapsed() >= Duration::from_secs(30) && slow.struck() > 0);
    // And once while the release is being activated.
    project.execute("UPDATE fact SET city = 'Cambridge'");
    let slow = Fault::answer(503, "SlowDown", "Please reduce your request rate", |asked| asked.kind == Kind::Copy);
    let slow = bucket.server.play(slow.during(Duration::from_secs(30)));
    let began = Instant::now();
    assert_eq!(project.publish()["outcome"], "published");
    println!("activated after {:.1?}, {} copies refused", began.elapsed(), slow.struck());
}

#[test]
fn a_store_that_takes_a_minute_with_the_defaults() {
    let (bucket, project) = in_bucket("");
    bucket.server.play(Fault::new(What::Wait(Duration::from_mins(1)), |_| true));
    let finished = project.run(&["publish"]).expect(1);
    println!("{finished}");
    assert!(finished.elapsed < Duration::from_secs(45), "{finished}");
}
