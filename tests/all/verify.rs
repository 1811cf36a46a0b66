//! Verifying: whatever is wrong at a stable path is found and named, and mended from the blobs where that can be.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};
use tintype::store::Attributes;

use crate::support::places::DOCUMENTS;
use crate::support::postgres::runtime;
use crate::support::s3_server::{Fault, Kind};
use crate::support::site::Site;

const CHANGED: [&str; 3] = [
    "places/united-states/crispr/high.json",
    "places/united-states/crispr/low.json",
    "places/united-states/crispr/medium.json",
];
const STEADY: &str = "places/united-states/malaria/low.json";
const LEFTOVER: &str = "places/united-states/gone/low.json";
const KINDS: [&str; 9] = [
    "missing",
    "stale",
    "corrupt",
    "headers",
    "blobs_missing",
    "blobs_corrupt",
    "blobs_edited",
    "unreadable",
    "leftovers",
];

fn verify(site: &Site, arguments: &[&str], code: i32) -> Value {
    site.project.json(&[&["verify"], arguments].concat(), code)
}

/// What was found, by kind: `missing path`. The lists and the counts must agree.
#[track_caller]
fn found(said: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for kind in KINDS {
        let list = said[kind].as_array().unwrap_or_else(|| panic!("no list {kind} in {said:#}"));
        assert_eq!(said["counts"][kind], list.len(), "{kind} in {said:#}");
        let path = |entry: &Value| entry["path"].as_str().or_else(|| entry.as_str()).unwrap_or_default().to_owned();
        found.extend(list.iter().map(|entry| format!("{kind} {}", path(entry))));
    }
    found
}

/// Publishes twice, and then somebody breaks things.
fn broken(site: &Site) -> Vec<String> {
    site.publish(&["Boston"]);
    let old = fs::read(site.file(CHANGED[0])).expect("read a document");
    site.publish(&["Cambridge"]);
    fs::remove_file(site.file(CHANGED[1])).expect("remove a document");
    site.put(CHANGED[0], &old);
    let mut bytes = fs::read(site.file(STEADY)).expect("read a document");
    bytes[20] ^= 0x40;
    site.put(STEADY, &bytes);
    site.put(LEFTOVER, b"x");
    let mut expected = vec![
        format!("missing {}", CHANGED[1]),
        format!("stale {}", CHANGED[0]),
        format!("corrupt {STEADY}"),
        format!("leftovers {LEFTOVER}"),
    ];
    if let Some(bucket) = &site.bucket {
        fs::write(bucket.server.file("site-bucket/site/robots.txt"), "x").expect("write a file");
    } else {
        fs::write(site.project.root().join("public/robots.txt"), "x").expect("write a file");
        fs::remove_file(site.project.root().join("public/index.json")).expect("remove the twin");
        expected.insert(2, "corrupt index.json".to_owned());
    }
    expected
}

#[test]
fn a_site_that_is_as_it_should_be_is_found_intact() {
    for site in Site::on_each() {
        site.publish(&["Boston", "Cambridge"]);
        for arguments in [&[][..], &["--deep"]] {
            let said = verify(&site, arguments, 0);
            assert_eq!((&said["outcome"], found(&said)), (&json!("intact"), Vec::new()), "{said:#}");
            assert_eq!(said["documents"], DOCUMENTS + 1);
            assert_eq!(said["counts"]["foreign"], 0);
        }
        let silent = site.project.run(&["verify", "--deep"]).expect(0);
        assert_eq!((silent.text(), silent.stderr.as_str()), (String::new(), ""));
    }
}

#[test]
fn everything_that_is_wrong_is_found_and_mended_from_the_blobs() {
    for site in Site::on_each() {
        let expected = broken(&site);
        let before = site.digests_after_mending();
        for arguments in [&["--deep"][..], &["--deep", "--repair", "--dry-run"]] {
            let said = verify(&site, arguments, 1);
            assert_eq!(found(&said), expected, "{said:#}");
            assert_eq!((&said["outcome"], &said["counts"]["foreign"]), (&json!("flawed"), &json!(1)));
            assert_eq!(said["foreign"], json!(["robots.txt"]));
        }
        let shown = site.project.run(&["verify", "--deep"]).expect(1);
        shown.explains(&["--repair", "robots.txt"]);
        assert!(shown.text().contains(CHANGED[0]) && shown.text().contains(LEFTOVER), "{shown}");

        let said = verify(&site, &["--deep", "--repair", "--yes"], 0);
        assert_eq!((&said["outcome"], found(&said)), (&json!("repaired"), expected.clone()), "{said:#}");
        assert_eq!(said["repair"]["shown"], expected.len() - 1);
        assert_eq!(said["repair"]["removed"], 1);
        assert_eq!(verify(&site, &["--deep"], 0)["outcome"], "intact");
        assert_eq!(site.digests_after_mending(), before);
        assert!(!site.file(LEFTOVER).exists());
        assert_eq!(site.head()["lease"], Value::Null);
        assert_eq!(site.head()["active"], site.head()["desired"]);
        if let Some(bucket) = &site.bucket {
            assert!(bucket.headers(CHANGED[1])["cache-control"].starts_with("public, max-age="));
        }
    }
}

impl Site {
    /// The digests by path of what a release shows, without what somebody has put there.
    fn digests_after_mending(&self) -> Vec<(String, String)> {
        let release = self.project.json(&["get", "places/*/*/*", "--release", &self.active()], 0);
        let documents = release["documents"].as_array().expect("documents").iter();
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        documents.map(|document| (text(&document["path"]), text(&document["digest"]))).collect()
    }

    fn active(&self) -> String {
        self.head()["active"].as_str().expect("an active release").to_owned()
    }
}

#[test]
fn a_plain_look_reads_only_what_looks_wrong() {
    let site = Site::in_bucket();
    let expected = broken(&site);
    let bucket = site.bucket();
    bucket.server.reset();
    let said = verify(&site, &[], 1);
    // Of the corrupt one, neither size nor metadata tells.
    let unread: Vec<&String> = expected.iter().filter(|found| !found.contains(STEADY)).collect();
    assert_eq!(found(&said).iter().collect::<Vec<_>>(), unread, "{said:#}");
    let counts = bucket.server.counts();
    assert_eq!(
        (counts.heads, counts.puts, counts.copies, counts.deletes),
        (DOCUMENTS as u64 + 1, 0, 0, 0),
        "{counts:?}"
    );
    assert!(counts.gets < 10 && counts.lists < 4, "{counts:?}");
}

#[test]
fn wrong_headers_are_found_without_reading_and_set_right() {
    let site = Site::in_bucket();
    site.publish(&["Boston"]);
    let digest = site.digests()[STEADY].clone();
    let blob = site.blob(&digest);
    let blob = blob.strip_prefix(site.control()).expect("it lies there").to_str().expect("it is text").to_owned();
    let attributes = |digest: &str| Attributes {
        cache_control: "no-store".to_owned(),
        cache_tags: Vec::new(),
        digest: digest.to_owned(),
        serial: 1,
        as_of: String::new(),
    };
    let bucket = site.bucket();
    runtime().block_on(bucket.store().activate(STEADY, &blob, &attributes(&digest))).expect("show it");
    let said = verify(&site, &[], 1);
    assert_eq!(found(&said), [format!("headers {STEADY}")]);
    // A digest that isn't its own looks like another release's document until it is read.
    runtime().block_on(bucket.store().activate(STEADY, &blob, &attributes("00ff"))).expect("show it");
    assert_eq!(found(&verify(&site, &[], 1)), [format!("headers {STEADY}")]);
    assert_eq!(verify(&site, &["--repair"], 0)["outcome"], "repaired");
    let headers = bucket.headers(STEADY);
    assert_eq!(headers["x-amz-meta-digest"], digest);
    assert!(headers["cache-control"].starts_with("public"), "{headers:?}");
}

#[test]
fn a_file_that_was_changed_in_place_takes_its_blob_along_and_has_to_be_built_again() {
    let site = Site::in_folder();
    site.publish(&["Boston"]);
    let file = site.file(STEADY);
    let mut bytes = fs::read(&file).expect("read the document");
    bytes[20] ^= 0x40;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("make it writable");
    fs::write(&file, &bytes).expect("change it in place");
    let said = verify(&site, &["--deep"], 1);
    assert_eq!(found(&said), [format!("corrupt {STEADY}"), format!("blobs_edited {STEADY}")], "{said:#}");
    let shown = site.project.run(&["verify", "--deep"]).expect(1);
    assert!(shown.text().contains("in place"), "{shown}");
    let said = verify(&site, &["--deep", "--repair"], 4);
    assert_eq!((&said["outcome"], &said["repair"]["republish"]), (&json!("incomplete"), &json!([STEADY])), "{said:#}");
    site.project.run(&["verify", "--deep", "--repair"]).expect(4).explains(&["tintype republish", STEADY]);
    site.project.run(&["republish", STEADY]).expect(0);
    assert_eq!(verify(&site, &["--deep"], 0)["outcome"], "intact");
}

#[test]
fn a_broken_blob_mends_nothing_and_leaves_its_document_alone() {
    for site in Site::on_each() {
        site.publish(&["Boston"]);
        let digests = site.digests();
        let (lost, spoilt) = (site.blob(&digests[CHANGED[0]]), site.blob(&digests[CHANGED[1]]));
        fs::remove_file(lost).expect("lose a blob");
        let _ = fs::remove_file(&spoilt);
        fs::write(&spoilt, "x").expect("spoil a blob");
        fs::remove_file(site.file(CHANGED[1])).expect("remove a document");
        let expected = [
            format!("missing {}", CHANGED[1]),
            format!("blobs_missing {}", CHANGED[0]),
            format!("blobs_corrupt {}", CHANGED[1]),
        ];
        let said = verify(&site, &["--deep"], 1);
        assert_eq!(found(&said), expected, "{said:#}");
        let said = verify(&site, &["--deep", "--repair"], 4);
        assert_eq!(said["repair"]["republish"], json!([CHANGED[0], CHANGED[1]]), "{said:#}");
        assert!(!site.file(CHANGED[1]).exists(), "a broken blob was shown");
        assert_eq!(site.digests()[CHANGED[0]], digests[CHANGED[0]]);
        site.project.run(&["republish", "places/united-states/crispr/*"]).expect(0);
        assert_eq!(verify(&site, &["--deep"], 0)["outcome"], "intact");
        assert_eq!(site.digests(), digests);
    }
}

#[test]
fn leftovers_stay_without_a_yes_and_the_rest_is_mended() {
    for site in Site::on_each() {
        broken(&site);
        let said = verify(&site, &["--deep", "--repair"], 4);
        assert_eq!((&said["repair"]["left"], &said["repair"]["removed"]), (&json!(1), &json!(0)), "{said:#}");
        assert_eq!(found(&verify(&site, &["--deep"], 1)), [format!("leftovers {LEFTOVER}")]);
        site.project.run(&["verify", "--repair"]).expect(4).explains(&["--yes"]);
    }
}

#[test]
fn chosen_keys_are_looked_at_and_nothing_beside_them() {
    for site in Site::on_each() {
        broken(&site);
        let said = verify(&site, &["places/united-states/crispr/*"], 1);
        assert_eq!(found(&said), [format!("missing {}", CHANGED[1]), format!("stale {}", CHANGED[0])], "{said:#}");
        assert_eq!(said["documents"], 3);
        assert_eq!(
            verify(&site, &["places", "--where", "confidence=high", "--where", "topic=sepsis"], 0)["documents"],
            2
        );
        site.project.run(&["verify", "places/united-states/crisper/low"]).expect(2).explains(&["crispr"]);
    }
}

#[test]
fn what_a_later_release_changes_is_nobodys_to_judge_until_it_is_finished() {
    for site in Site::on_each() {
        let releases = site.publish(&["Boston", "Cambridge"]);
        let mut head = site.head();
        head["active"] = json!(releases[0]);
        site.write_head(&head);
        fs::remove_file(site.file(STEADY)).expect("remove a document");
        let said = verify(&site, &[], 1);
        assert_eq!(found(&said), [format!("missing {STEADY}")], "{said:#}");
        assert_eq!((&said["moved_to"], &said["counts"]["moving"]), (&json!(releases[1]), &json!(4)), "{said:#}");
        // Mending finishes that release first.
        verify(&site, &["--repair"], 0);
        assert_eq!(site.head()["active"], releases[1].as_str());
        let said = verify(&site, &["--deep"], 0);
        assert_eq!((&said["outcome"], &said["moved_to"]), (&json!("intact"), &Value::Null));
    }
}

#[test]
fn mending_waits_for_its_turn() {
    let mut site = Site::in_bucket();
    let bucket = site.bucket.take().expect("a bucket");
    site.project.publish_to(&bucket, "lease_wait = \"0s\"\n");
    site.bucket = Some(bucket);
    site.publish(&["Boston"]);
    fs::remove_file(site.file(STEADY)).expect("remove a document");
    let mut head = site.head();
    head["lease"] = json!({ "holder": "another", "epoch": 77, "ttl_seconds": 90, "taken_at": "2026-01-01T00:00:00Z" });
    site.write_head(&head);
    site.project.run(&["verify", "--repair"]).expect(5).explains(&["another"]);
    assert!(!site.file(STEADY).exists());
    head["lease"] = Value::Null;
    site.write_head(&head);
    verify(&site, &["--repair"], 0);
    assert!(site.file(STEADY).exists());
}

#[test]
fn a_path_that_can_not_be_looked_at_is_told() {
    let site = Site::in_bucket();
    site.publish(&["Boston"]);
    let bucket = site.bucket();
    let denied = |asked: &crate::support::s3_server::Asked| asked.kind == Kind::Head && asked.key.ends_with(STEADY);
    bucket.server.play(Fault::answer(403, "AccessDenied", "not for you", denied));
    let said = verify(&site, &[], 1);
    assert_eq!(found(&said), [format!("unreadable {STEADY}")], "{said:#}");
    bucket.server.heal();
    bucket.server.play(Fault::answer(401, "", "who?", |asked| asked.kind == Kind::Head));
    let said = verify(&site, &[], 1);
    assert_eq!(said["outcome"], "failed", "{said:#}");
}

#[test]
fn nothing_published_is_told_as_that() {
    let site = Site::in_folder();
    site.project.run(&["verify"]).expect(2).explains(&["nothing is published", "tintype publish"]);
    site.project.run(&["verify", "--seed", "1"]).expect(2);
}

#[test]
fn a_few_keys_are_built_again_and_compared() {
    for site in Site::on_each() {
        site.publish(&["Boston"]);
        let said = verify(&site, &["--parity", "5"], 0);
        assert_eq!((&said["parity"]["compared"], &said["parity"]["different"]), (&json!(5), &json!([])), "{said:#}");
        site.project.execute("UPDATE fact SET city = 'Cambridge' WHERE city_id = 1");
        let said = verify(&site, &["--parity", "1000", "--seed", "7"], 1);
        assert_eq!((&said["parity"]["compared"], &said["parity"]["seed"]), (&json!(DOCUMENTS), &json!(7)), "{said:#}");
        let different = said["parity"]["different"].as_array().expect("a list").iter();
        let mut different: Vec<&str> = different.filter_map(|difference| difference["path"].as_str()).collect();
        different.sort_unstable();
        assert_eq!(different, CHANGED);
        let pick = || verify(&site, &["--parity", "12", "--seed", "7"], 1)["parity"].clone();
        assert_eq!(pick(), pick());
        site.project.run(&["verify", "--parity", "1000"]).expect(1).explains(&["--seed", "tintype plan"]);
    }
}
