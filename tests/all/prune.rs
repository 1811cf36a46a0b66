//! Pruning: old releases go with everything that nobody needs any more, and the site doesn't notice.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::support::bucket::{BUCKET, Bucket};
use crate::support::directory::files_below;
use crate::support::places::{self, DOCUMENTS};
use crate::support::process::Finished;
use crate::support::project::Project;
use crate::support::s3_server::{Fault, Kind};

const DAY: Duration = Duration::from_hours(24);

/// A project over the small world, and its bucket if it has one.
struct Site {
    project: Project,
    bucket: Option<Bucket>,
}

impl Site {
    fn on_each() -> [Site; 2] {
        let (bucket, mut in_bucket) = (Bucket::new(), places::sqlite());
        in_bucket.publish_to(&bucket, "");
        [Site { project: places::sqlite(), bucket: None }, Site { project: in_bucket, bucket: Some(bucket) }]
    }

    /// The folder of blobs, lists and roots.
    fn control(&self) -> PathBuf {
        match &self.bucket {
            Some(bucket) => bucket.server.file(&format!("{BUCKET}/_tintype/site")),
            None => self.project.root().join(".tintype"),
        }
    }

    fn digests(&self) -> BTreeMap<String, String> {
        match &self.bucket {
            Some(bucket) => bucket.digests(),
            None => self.project.public().digests(),
        }
    }

    fn head(&self) -> Value {
        match &self.bucket {
            Some(bucket) => bucket.head(),
            None => self.project.head(),
        }
    }

    /// The names of blobs, lists and roots.
    fn objects(&self) -> Vec<String> {
        let is_object = |name: &String| ["blob/", "shard/", "release/"].iter().any(|folder| name.starts_with(folder));
        files_below(&self.control()).into_iter().filter(is_object).collect()
    }

    /// Everything that is there was written so long ago.
    fn age(&self, days: u32) {
        let then = SystemTime::now() - DAY * days;
        for name in self.objects() {
            let file = File::open(self.control().join(name)).expect("open the object");
            file.set_modified(then).expect("date the object");
        }
    }

    fn edit(&self, city: &str) -> Value {
        self.project.execute(&format!("UPDATE fact SET city = '{city}' WHERE city_id = 1"));
        self.project.publish()
    }

    /// Releases one after the other, each with three changed documents.
    fn publish(&self, cities: &[&str]) -> Vec<String> {
        let id = |said: Value| said["release"].as_str().expect("a release").to_owned();
        cities.iter().map(|city| id(self.edit(city))).collect()
    }

    #[track_caller]
    fn prune(&self, arguments: &[&str], code: i32) -> Value {
        let arguments = [&["prune", "--format", "json"], arguments].concat();
        let command = self.project.tintype(&arguments);
        let command = command.env("TINTYPE_RETENTION_RELEASES", "2").env("TINTYPE_RETENTION_AGE", "1d");
        command.run().expect(code).json()
    }
}

#[test]
fn old_releases_go_and_the_site_stays() {
    for site in Site::on_each() {
        // The third release is the first again, with blobs of its own.
        let releases = site.publish(&["Boston", "Cambridge", "Boston", "Quincy"]);
        let (digests, objects) = (site.digests(), site.objects());
        assert_eq!(objects.iter().filter(|name| name.starts_with("blob/")).count(), DOCUMENTS + 1 + 3 * 4);
        site.age(30);
        let planned = site.prune(&["--dry-run"], 0);
        assert_eq!(planned["outcome"], "planned");
        assert_eq!(site.objects(), objects, "a dry run removes something");
        site.prune(&[], 2);
        assert_eq!(site.objects(), objects, "without a yes something is removed");

        let seq = site.head()["seq"].as_u64();
        let pruned = site.prune(&["--yes"], 0);
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
        assert_eq!(site.prune(&["--yes"], 0)["outcome"], "unchanged");

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
        let killed = site.control().join("blob/00/00ff-20200101T000000Z-00000000.gz");
        std::fs::create_dir_all(killed.parent().expect("it has one")).expect("make a folder");
        std::fs::write(&killed, "x").expect("write a blob that nothing names");
        site.age(6);
        let pruned = site.prune(&["--yes"], 0);
        assert_eq!(pruned["removed"]["blobs"], 0, "{pruned:#}");
        assert!(killed.exists());
        site.age(8);
        let pruned = site.prune(&["--yes"], 0);
        assert_eq!(pruned["removed"]["blobs"], 9, "{pruned:#}");
        assert!(!killed.exists());
    }
}

#[test]
fn a_store_that_removes_nothing_is_told_and_in_nobodys_way() {
    let [_, site] = Site::on_each();
    let releases = site.publish(&["Boston", "Cambridge", "Boston", "Quincy"]);
    let bucket = site.bucket.as_ref().expect("a bucket");
    site.age(30);
    bucket.server.play(Fault::answer(403, "AccessDenied", "no deletes", |asked| asked.kind == Kind::Delete));
    let objects = site.objects();
    let pruned = site.prune(&["--yes"], 4);
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
    let pruned = site.prune(&["--yes"], 0);
    assert_eq!((&pruned["removed"]["releases"], &pruned["removed"]["blobs"]), (&3.into(), &12.into()), "{pruned:#}");
}

#[track_caller]
fn assert_silence(finished: &Finished) {
    assert_eq!((finished.text(), finished.stderr.as_str()), (String::new(), ""));
}

#[test]
fn a_prune_from_cron_says_nothing_and_one_without_a_yes_names_the_flag() {
    let [site, _] = Site::on_each();
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
    let [_, site] = Site::on_each();
    site.publish(&["Boston", "Cambridge", "Boston", "Quincy"]);
    site.age(30);
    let bucket = site.bucket.as_ref().expect("a bucket");
    bucket.server.reset();
    site.prune(&["--yes"], 0);
    let counts = bucket.server.counts();
    // Roots, lists and blobs are listed and then, but for the roots, once more while they go.
    assert_eq!((counts.lists, counts.deletes, counts.puts, counts.heads), (5, 3, 1, 0), "{counts:?}");
}
