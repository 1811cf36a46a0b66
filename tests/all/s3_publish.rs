//! Publishing into a bucket: the same documents as in a folder, with the headers of their policies, and no request too many.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::bucket::Bucket;
use crate::support::demo_world;
use crate::support::directory::differences;
use crate::support::places::{self, DOCUMENTS};
use crate::support::postgres::runtime;
use crate::support::project::{Project, template_of};
use crate::support::s3_server::{Asked, Fault, Kind, What};

/// A project over the small world that publishes into a bucket.
fn in_bucket() -> (Bucket, Project) {
    let (bucket, mut project) = (Bucket::new(), places::sqlite());
    project.publish_to(&bucket, "");
    (bucket, project)
}

/// So many keys, one row each.
fn many_keys(count: usize) -> (Bucket, Project) {
    let bucket = Bucket::new();
    let mut project = Project::sqlite(&format!(
        "CREATE TABLE t (k TEXT PRIMARY KEY, n INTEGER NOT NULL);
         WITH RECURSIVE s (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < {count})
         INSERT INTO t SELECT printf('k%05d', i), i FROM s"
    ));
    project.template("many", MANY);
    project.publish_to(&bucket, "");
    (bucket, project)
}

const MANY: &str = "/*---\npath = \"many/{k}.json\"\nmax_age = \"60s\"\n---*/\nSELECT k, n FROM t ORDER BY k\n";

#[track_caller]
fn assert_settled(head: &Value) {
    assert_eq!(head["active"], head["desired"], "{head:#}");
    assert_eq!(head["lease"], Value::Null, "the lease is still taken: {head:#}");
}

#[test]
fn a_bucket_shows_what_a_folder_shows() {
    let world = || {
        let project = demo_world::sqlite();
        std::fs::remove_file(project.template_file("city-map")).expect("leave the largest template out");
        project
    };
    let folder = world();
    folder.publish();
    let (bucket, mut project) = (Bucket::new(), world());
    project.publish_to(&bucket, "");
    let said = project.publish();
    assert_eq!(said["outcome"], "published");
    let (there, here) = (folder.public().digests(), bucket.digests());
    assert!(there.len() > 100);
    assert_eq!(differences(&there, &here), Vec::<String>::new());
    assert_settled(&bucket.head());
    let counts = bucket.server.counts();
    assert_eq!(counts.lists, 0, "{counts:?}");
    let mine = &said["store"];
    for (kind, counted) in
        [("puts", counts.puts), ("copies", counts.copies), ("gets", counts.gets), ("heads", counts.heads)]
    {
        assert_eq!(mine[kind], counted, "{kind} as the client counts them, {counts:?}");
    }
    let headers = bucket.headers("country-map/united-states/crispr/low.json");
    assert_eq!(headers["content-type"], "application/json");
    assert_eq!(headers["content-encoding"], "gzip");
    assert!(headers["cache-control"].starts_with("public, max-age="));
    assert_eq!(headers["x-amz-meta-cache-tag"], "country-map,region:united-states,topic:crispr");
    assert_eq!(headers["x-amz-meta-digest"], there["country-map/united-states/crispr/low.json"]);
    assert_eq!(headers["x-amz-meta-serial"], "1");
    assert!(headers["x-amz-meta-as-of"].ends_with('Z'));
}

#[test]
fn both_engines_give_a_bucket_the_bytes_of_a_folder() {
    let folder = places::sqlite();
    folder.publish();
    for (engine, mut project) in places::projects() {
        let bucket = Bucket::new();
        project.publish_to(&bucket, "");
        project.publish();
        assert_eq!(bucket.digests(), folder.public().digests(), "{engine}");
    }
}

#[test]
fn a_release_changes_removes_and_comes_back() {
    let (bucket, project) = in_bucket();
    project.publish();
    assert_eq!(bucket.paths().len(), DOCUMENTS);
    let first = bucket.digests();
    project.execute("UPDATE fact SET level = 3 WHERE fact_id = 2");
    let said = project.publish();
    assert_eq!(template_of(&said, "places")["changed"], 2);
    let changed = differences(&first, &bucket.digests());
    assert_eq!(changed, ["places/united-states/crispr/high.json", "places/united-states/crispr/medium.json"]);
    assert_eq!(bucket.document(&changed[0])["rows"], json!([{"city": "Boston", "scholars": 2}]));
    project.execute("DELETE FROM fact WHERE topic = 'malaria'; DELETE FROM topic WHERE slug = 'malaria'");
    bucket.server.reset();
    let said = project.publish();
    assert_eq!(template_of(&said, "places")["removed"], 6);
    assert_eq!(said["activated"]["removed"], 6);
    assert_eq!(bucket.server.counts().deletes, 1, "{:?}", bucket.server.counts());
    assert_eq!(bucket.paths().len(), DOCUMENTS - 6);
    assert_settled(&bucket.head());
    let path = "places/united-states/crispr/high.json";
    let shown = project.run(&["get", path, "--from", "store"]).expect(0);
    assert_eq!(shown.text().trim_end().as_bytes(), bucket.body(path));
    project.run(&["status"]).expect(0);
    assert_eq!(
        project.run(&["releases", "--format", "json"]).expect(0).json()["releases"].as_array().map(Vec::len),
        Some(3)
    );
    bucket.server.reset();
    project.json(&["republish", path], 0);
    assert_eq!(bucket.headers(path)["x-amz-meta-serial"], "4");
}

#[test]
fn an_unchanged_run_costs_six_requests() {
    let (bucket, project) = in_bucket();
    project.publish();
    bucket.server.reset();
    let said = project.publish();
    assert_eq!(said["outcome"], "unchanged");
    let counts = bucket.server.counts();
    assert!(counts.total() <= 6 && counts.puts == 1 && counts.lists == 0, "{counts:?}");
}

#[test]
fn one_changed_in_a_hundred_costs_two_requests_each() {
    let (bucket, project) = many_keys(1000);
    project.publish();
    bucket.server.reset();
    project.execute("UPDATE t SET n = n + 100000 WHERE n % 100 = 0");
    let said = project.publish();
    let changed = template_of(&said, "many")["changed"].as_u64().expect("a number");
    let counts = bucket.server.counts();
    assert_eq!(changed, 10);
    assert!(counts.total() <= 2 * changed + 30 && counts.lists == 0, "{counts:?}");
}

#[test]
fn a_new_header_policy_copies_and_writes_no_bodies() {
    let (bucket, project) = many_keys(300);
    project.publish();
    let digests = bucket.digests();
    project.template("many", &MANY.replace("60s", "120s"));
    bucket.server.reset();
    let said = project.publish();
    assert_eq!(template_of(&said, "many")["changed"], 300, "{said:#}");
    let counts = bucket.server.counts();
    assert!(counts.copies >= 300 && counts.puts <= 8, "{counts:?}");
    assert!(bucket.headers("many/k00300.json")["cache-control"].contains("max-age=120"));
    assert_eq!(digests, bucket.digests());
}

#[test]
fn activation_goes_side_by_side() {
    let (bucket, project) = many_keys(200);
    bucket.server.play(Fault::new(What::Wait(Duration::from_millis(50)), |asked| asked.kind == Kind::Copy));
    project.publish();
    assert!((12..=64).contains(&bucket.server.peak_in_flight()), "{}", bucket.server.peak_in_flight());
    assert_eq!(bucket.paths().len(), 200);
}

#[test]
fn single_deletes_go_side_by_side() {
    let bucket = Bucket::new();
    let store = bucket.store();
    let paths: Vec<String> = (0..40).map(|n| format!("m/{n}.json")).collect();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    let is_delete = |asked: &Asked| asked.kind == Kind::Delete;
    bucket.server.play(Fault::answer(501, "NotImplemented", "one by one", is_delete).times(1));
    bucket.server.play(Fault::new(What::Wait(Duration::from_millis(100)), is_delete));
    assert!(runtime().block_on(store.remove(&paths)).is_empty());
    assert_eq!(bucket.server.counts().deletes, 41);
    assert!(bucket.server.peak_in_flight() > 8, "{}", bucket.server.peak_in_flight());
}

#[test]
fn two_sites_do_not_share_their_records() {
    let (bucket, project) = in_bucket();
    project.publish();
    let other = std::fs::read_to_string(project.config()).expect("read tintype.toml").replace(
        "url = \"s3://site-bucket/site\"",
        "url = \"s3://site-bucket/staging\"\ncontrol = \"s3://site-bucket/_tintype/site\"",
    );
    std::fs::write(project.config(), other).expect("write tintype.toml");
    let head = bucket.head();
    project.run(&["publish"]).expect(2).explains(&["belong to the documents under `site/`", "`staging/`"]);
    assert_eq!(bucket.head(), head);
}
