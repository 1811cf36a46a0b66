//! Pruning: old releases go with everything that nobody needs any more, and the site doesn't notice.

use serde_json::Value;

use crate::support::places::DOCUMENTS;
use crate::support::process::Finished;
use crate::support::s3_server::{Fault, Kind};
use crate::support::site::Site;

#[track_caller]
fn prune(site: &Site, arguments: &[&str], code: i32) -> Value {
    let arguments = [&["prune", "--format", "json"], arguments].concat();
    let command = site.project.tintype(&arguments);
    let command = command.env("TINTYPE_RETENTION_RELEASES", "2").env("TINTYPE_RETENTION_AGE", "1d");
    command.run().expect(code).json()
}

#[test]
fn old_releases_go_and_the_site_stays() {
    for site in Site::on_each() {
        // The third release is the first again, with blobs of its own.
        let releases = site.publish(&["Boston", "Cambridge", "Boston", "Quincy"]);
        let (digests, objects) = (site.digests(), site.objects());
        assert_eq!(objects.iter().filter(|name| name.starts_with("blob/")).count(), DOCUMENTS + 1 + 3 * 4);
        site.age(30);
        let planned = prune(&site, &["--dry-run"], 0);
        assert_eq!(planned["outcome"], "planned");
        assert_eq!(site.objects(), objects, "a dry run removes something");
        prune(&site, &[], 2);
        assert_eq!(site.objects(), objects, "without a yes something is removed");

        let seq = site.head()["seq"].as_u64();
        let pruned = prune(&site, &["--yes"], 0);
        assert_eq!(pruned["outcome"], "pruned");
        assert_eq!(pruned["floor"], releases[2].as_str());
        assert_eq!(site.head()["floor"], releases[2].as_str());
        assert_eq!(site.head()["seq"].as_u64(), seq.map(|seq| seq + 1));
        assert_eq!(pruned["releases"].as_array().map(Vec::len), Some(2), "{pruned:#}");
        assert_eq!(pruned["removed"], planned["removed"]);
        // Of the first release three documents and the catalogue, of the second all four.
        assert_eq!(pruned["removed"]["blobs"], 8, "{pruned:#}");
        assert_eq!(pruned["removed"]["releases"], 2, "{pruned:#}");
        assert_eq!(
            site.objects().len() as u64,
            objects.len() as u64 - {
                let removed = &pruned["removed"];
                removed["blobs"].as_u64().unwrap() + removed["lists"].as_u64().unwrap() + 2
            }
        );
        assert_eq!(site.digests(), digests);
        assert_eq!(prune(&site, &["--yes"], 0)["outcome"], "unchanged");

        let listed = site.project.json(&["releases"], 0);
        let listed: Vec<&str> =
            listed["releases"].as_array().unwrap().iter().filter_map(|r| r["release"].as_str()).collect();
        assert_eq!(listed, [&releases[3], &releases[2]]);
        let document = "places/united-states/crispr/low.json";
        site.project.run(&["get", document, "--release", &releases[2]]).expect(0);
        site.project.run(&["rollback", &releases[0], "--yes"]).expect(2);
        assert_eq!(site.project.publish()["outcome"], "unchanged");
        site.project.run(&["rollback", "--yes"]).expect(0);
        assert_ne!(site.digests(), digests);
        site.project.publish();
        assert_eq!(site.digests(), digests);
    }
}

#[test]
fn what_is_younger_than_a_week_is_left_alone() {
    for site in Site::on_each() {
        site.publish(&["Boston", "Cambridge", "Boston", "Quincy"]);
        let killed = site.control().join(format!("blob/00/00{}-20200101T000000Z-00000000.gz", "ff".repeat(31)));
        std::fs::create_dir_all(killed.parent().expect("it has one")).expect("make a folder");
        std::fs::write(&killed, "x").expect("write a blob that nothing names");
        site.age(6);
        let pruned = prune(&site, &["--yes"], 0);
        assert_eq!(pruned["removed"]["blobs"], 0, "{pruned:#}");
        assert!(killed.exists());
        site.age(8);
        let pruned = prune(&site, &["--yes"], 0);
        assert_eq!(pruned["removed"]["blobs"], 9, "{pruned:#}");
        assert!(!killed.exists());
    }
}

#[test]
fn a_store_that_removes_nothing_is_told_and_in_nobodys_way() {
    let site = Site::in_bucket();
    let releases = site.publish(&["Boston", "Cambridge", "Boston", "Quincy"]);
    let bucket = site.bucket();
    site.age(30);
    bucket.server.play(Fault::answer(403, "AccessDenied", "no deletes", |asked| asked.kind == Kind::Delete));
    let objects = site.objects();
    let pruned = prune(&site, &["--yes"], 4);
    assert_eq!(pruned["outcome"], "unfinished");
    assert!(pruned["failures"].as_u64() > Some(0) && pruned["removed"]["blobs"] == 0, "{pruned:#}");
    assert!(pruned["failed"][0]["error"].to_string().contains("AccessDenied"), "{pruned:#}");
    assert_eq!(site.objects(), objects);
    // The floor holds all the same, and the site goes on.
    assert_eq!(site.head()["floor"], releases[2].as_str());
    assert_eq!(site.edit("Salem")["outcome"], "published");
    site.project.run(&["rollback", "--yes"]).expect(0);
    let listed = site.project.json(&["releases"], 0);
    assert_eq!(listed["releases"].as_array().map(Vec::len), Some(6), "{listed:#}");
    bucket.server.heal();
    let pruned = prune(&site, &["--yes"], 0);
    assert_eq!((&pruned["removed"]["releases"], &pruned["removed"]["blobs"]), (&3.into(), &12.into()), "{pruned:#}");
}

#[track_caller]
fn assert_silence(finished: &Finished) {
    assert_eq!((finished.text(), finished.stderr.as_str()), (String::new(), ""));
}

#[test]
fn a_prune_from_cron_says_nothing_and_one_without_a_yes_names_the_flag() {
    let site = Site::in_folder();
    site.publish(&["Boston"]);
    assert_silence(&site.project.run(&["prune"]).expect(0));
    site.publish(&["Cambridge", "Boston"]);
    site.age(30);
    let few = |arguments: &[&str]| site.project.tintype(arguments).env("TINTYPE_RETENTION_RELEASES", "1").run();
    few(&["prune"]).expect(2).explains(&["remove", "--yes"]);
    assert_silence(&few(&["prune", "--yes"]).expect(0));
    assert_eq!(site.project.json(&["releases"], 0)["releases"].as_array().map(Vec::len), Some(1));
}

#[test]
fn a_prune_costs_a_request_a_thousand_objects() {
    let site = Site::in_bucket();
    site.publish(&["Boston", "Cambridge", "Boston", "Quincy"]);
    site.age(30);
    let bucket = site.bucket();
    bucket.server.reset();
    prune(&site, &["--yes"], 0);
    let counts = bucket.server.counts();
    // Roots, lists and blobs are listed and then, but for the roots, once more while they go.
    assert_eq!((counts.lists, counts.deletes, counts.puts, counts.heads), (5, 3, 1, 0), "{counts:?}");
}
