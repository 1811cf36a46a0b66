//! Rolling back: an older release again, from the store alone, and what the runs around it make of it.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::bucket::Bucket;
use crate::support::directory::differences;
use crate::support::places::{self, DOCUMENTS};
use crate::support::process::closed_port;
use crate::support::project::{Project, template_of};
use crate::support::s3_server::{Asked, Fault, Kind, What};

const HIGH: &str = "places/united-states/crispr/high.json";

/// Publishes, changes two documents, and publishes again.
fn two_releases() -> Project {
    let project = places::sqlite();
    project.publish();
    project.execute("UPDATE fact SET level = 3 WHERE fact_id = 2");
    project.publish();
    project
}

fn serial(project: &Project) -> Value {
    project.json(&["status"], 0)["serial"].clone()
}

#[test]
fn the_release_before_is_shown_again_without_a_database() {
    let project = places::sqlite();
    project.publish();
    let first = project.public().digests();
    project.execute("UPDATE fact SET level = 3 WHERE fact_id = 2");
    project.execute("INSERT INTO topic VALUES ('ebola', 'Ebola', 5)");
    project.publish();
    let second = project.public().digests();
    assert_ne!(first, second);
    project.configure("sqlite:gone.db", "");
    let touched = project.stamps();
    let said = project.json(&["rollback", "--yes", "--note", "wrong numbers", "--author", "Ada"], 0);
    assert_eq!(
        (&said["command"], &said["outcome"], &said["serial"]),
        (&json!("rollback"), &json!("published"), &json!(3))
    );
    assert_eq!(template_of(&said, "places")["changed"], 2, "{said:#}");
    assert_eq!(template_of(&said, "places")["removed"], 6, "{said:#}");
    assert_eq!(said["connections"], 0);
    assert_eq!(project.public().digests(), first);
    // Only what differs is touched.
    let mut touched = differences(&touched, &project.stamps());
    touched.retain(|path| path.starts_with("public/"));
    assert_eq!(touched.len(), 2 + 6 + 2, "{touched:?}");
    let catalogue = project.public().catalogue();
    assert_eq!(catalogue["serial"], 3);
    let topics = catalogue["templates"]["places"]["keys"][1]["values"].as_array().map(Vec::len);
    assert_eq!(topics, Some(3), "the catalogue still lists the topic that went: {catalogue:#}");
    let release = project.json(&["releases"], 0)["releases"][0].clone();
    assert_eq!(
        (&release["kind"], &release["author"], &release["note"]),
        (&json!("rollback"), &json!("Ada"), &json!("wrong numbers"))
    );
    // Going back twice goes back two releases, and forth again by naming one.
    project.run(&["rollback", "--yes"]).expect(2).explains(&["no release before 3-", "showed other documents"]);
    project.json(&["rollback", "2", "--yes"], 0);
    assert_eq!(project.public().digests(), second);
    project.run(&["rollback", "2", "--yes"]).expect(0);
    assert_eq!(serial(&project), 4, "the same documents are no further release");
}

#[test]
fn going_back_again_goes_further_back() {
    let project = two_releases();
    let second = project.public().digests();
    project.execute("UPDATE fact SET level = 3 WHERE fact_id = 3");
    project.publish();
    project.json(&["rollback", "--yes"], 0);
    assert_eq!(project.public().digests(), second);
    let said = project.json(&["rollback", "--yes"], 0);
    assert_eq!((&said["serial"], &said["outcome"]), (&json!(5), &json!("published")));
    assert_eq!(project.public().document(HIGH)["rows"][0]["scholars"], 1, "release 1 isn't shown");
}

#[test]
fn a_release_that_changed_nothing_for_readers_is_no_step_back() {
    let project = two_releases();
    let text = fs::read_to_string(project.template_file("places")).expect("read the template");
    project
        .template("others", &text.replace("path = \"places/", "path = \"others/").replace("FROM fact", "FROM nowhere"));
    project.json(&["publish", "--force"], 4);
    project.template("places", &text.replacen("[keys.region]", "on_miss = \"not-found\"\n[keys.region]", 1));
    project.json(&["publish"], 4);
    assert_eq!(serial(&project), 4);
    let finished = project.run(&["rollback", "--yes", "-v"]).expect(0);
    assert!(finished.stderr.contains("→ 1-"), "{finished}");
    assert!(!finished.stderr.contains("no file any more"), "{finished}");
    assert_eq!(project.public().document(HIGH)["rows"][0]["scholars"], 1, "release 1 isn't shown");
}

#[test]
fn nothing_happens_without_a_yes() {
    let project = two_releases();
    let before = project.stamps();
    let finished = project.run(&["rollback"]).expect(2);
    finished.explains(&["roll back to the release 1-", "--yes"]);
    let said = project.json(&["rollback", "--dry-run"], 0);
    assert_eq!((&said["outcome"], &said["pending"]), (&json!("planned"), &json!(true)));
    assert_eq!(differences(&before, &project.stamps()), Vec::<String>::new());
}

#[test]
fn the_next_publish_brings_the_new_rows_again() {
    let project = two_releases();
    let second = project.public().digests();
    project.json(&["rollback", "--yes"], 0);
    let said = project.publish();
    assert_eq!(template_of(&said, "places")["changed"], 2, "{said:#}");
    assert_eq!(project.public().digests(), second);
}

#[test]
fn a_hold_keeps_publishes_off_until_somebody_names_the_key() {
    let project = places::sqlite();
    project.publish();
    let first = project.public().digests();
    project.execute("UPDATE fact SET level = 3 WHERE fact_id = 2; INSERT INTO topic VALUES ('ebola', 'Ebola', 5)");
    project.publish();
    let second = project.public().digests();
    let said = project.json(&["rollback", "--hold", "--yes"], 0);
    assert_eq!(template_of(&said, "places")["held"], 8, "{said:#}");
    let finished = project.tintype(&["publish", "--format", "json"]).run().expect(0);
    assert_eq!(template_of(&finished.json(), "places")["held"], 8);
    assert!(finished.stderr.contains("republish"), "{}", finished.stderr);
    assert_eq!(project.public().digests(), first, "a publish went over the hold");
    assert_eq!(project.json(&["status"], 0)["templates"][0]["held"], 8);
    // Another key is published as always.
    project.execute("UPDATE fact SET scholar = 7 WHERE fact_id = 5; INSERT INTO fact VALUES (6, 'Côte d''Ivoire', 'sepsis', 3, 'Abidjan', 9, 3)");
    assert_eq!(template_of(&project.publish(), "places")["changed"], 3);
    // Naming one key lets that one go, and the flag all others.
    project.json(&["republish", "places/united-states/crispr/high"], 0);
    assert_eq!(project.public().document(HIGH)["rows"][0]["scholars"], 2);
    assert_eq!(project.json(&["status"], 0)["templates"][0]["held"], 7);
    let said = project.json(&["publish", "--unhold"], 0);
    assert_eq!(template_of(&said, "places")["held"], 0, "{said:#}");
    assert_eq!(project.json(&["status"], 0)["templates"][0]["held"], 0);
    let now = project.public().digests();
    let sepsis = |path: &String| path.contains("cote-divoire/sepsis");
    let others = |digests: std::collections::BTreeMap<String, String>| -> Vec<_> {
        digests.into_iter().filter(|(path, _)| !sepsis(path)).collect()
    };
    assert_eq!(others(now), others(second));
}

#[test]
fn a_hold_that_changes_nothing_any_more_is_let_go_all_the_same() {
    let project = two_releases();
    project.json(&["rollback", "--hold", "--yes"], 0);
    project.execute("UPDATE fact SET level = 1 WHERE fact_id = 2");
    let said = project.json(&["publish", "--unhold"], 0);
    assert_eq!(template_of(&said, "places")["changed"], 0, "{said:#}");
    assert_eq!(project.json(&["status"], 0)["templates"][0]["held"], 0);
}

#[test]
fn a_run_that_began_before_a_rollback_stops() {
    let (bucket, mut project) = (Arc::new(Bucket::new()), places::sqlite());
    project.publish_to(&bucket, "");
    project.publish();
    let first = bucket.digests();
    project.execute("UPDATE fact SET level = 3 WHERE fact_id = 2");
    project.publish();
    project.execute("UPDATE fact SET level = 3 WHERE fact_id = 3");
    let is_blob = |asked: &Asked| asked.kind == Kind::Put && asked.key.contains("/blob/");
    let held_up = bucket.server.play(Fault::new(What::Wait(Duration::from_secs(5)), is_blob).times(1));
    let mut running = project.tintype(&["publish"]).start();
    running.wait_for("the first blob", |_| (held_up.struck() == 1).then_some(()));
    project.json(&["rollback", "--yes", "--author", "Ada"], 0);
    let finished = running.finish().expect(1);
    finished.explains(&["the release 3-", "by Ada rolled the site back", "nothing was committed"]);
    assert_eq!(bucket.digests(), first);
    assert_eq!(project.publish()["outcome"], "published");
}

#[test]
fn a_rollback_is_about_the_release_that_it_was_shown() {
    let (bucket, mut project) = (Arc::new(Bucket::new()), places::sqlite());
    project.publish_to(&bucket, "");
    project.publish();
    project.execute("UPDATE fact SET level = 3 WHERE fact_id = 2");
    project.publish();
    let is_shard = |asked: &Asked| asked.kind == Kind::Put && asked.key.contains("/release/3-");
    let held_up = bucket.server.play(Fault::new(What::Wait(Duration::from_secs(5)), is_shard).times(1));
    let mut running = project.tintype(&["rollback", "--yes"]).start();
    running.wait_for("the new root", |_| (held_up.struck() == 1).then_some(()));
    project.execute("UPDATE fact SET level = 3 WHERE fact_id = 3");
    project.publish();
    let published = bucket.digests();
    let finished = running.finish().expect(1);
    finished.explains(&["ordered over the release 2-", "by now the release 3-"]);
    assert_eq!(bucket.digests(), published);
}

#[test]
fn it_is_the_way_out_of_a_release_that_cannot_be_finished() {
    let (bucket, mut project) = (Bucket::new(), places::sqlite());
    project.publish_to(&bucket, "");
    project.publish();
    let first = bucket.digests();
    project.execute("UPDATE fact SET level = 3 WHERE fact_id = 2");
    let refused = |asked: &Asked| asked.kind == Kind::Copy && asked.key.ends_with("crispr/medium.json");
    bucket.server.play(Fault::answer(403, "AccessDenied", "not this one", refused));
    project.run(&["publish"]).expect(4);
    assert_ne!(bucket.digests(), first);
    let head = bucket.head();
    assert_ne!(head["active"], head["desired"]);
    // The release isn't finished first: that is what can't be done. The other path goes back.
    project.json(&["rollback", "--yes"], 4);
    assert_eq!(bucket.digests(), first, "the path that could be written isn't back");
    bucket.server.heal();
    assert_eq!(project.json(&["resume"], 0)["outcome"], "finished");
    assert_eq!(bucket.digests(), first);
    assert_eq!(bucket.head()["active"], bucket.head()["desired"]);
}

#[test]
fn without_the_right_to_delete_releases_and_rollbacks_go_on() {
    let (bucket, mut project) = (Bucket::new(), places::sqlite());
    project.publish_to(&bucket, "");
    project.publish();
    let first = bucket.digests();
    project.execute("DELETE FROM topic WHERE slug = 'malaria'");
    let denied = |asked: &Asked| asked.kind == Kind::Delete;
    bucket.server.play(Fault::answer(403, "AccessDenied", "no s3:DeleteObject", denied));
    let finished = project.run(&["publish"]).expect(4);
    finished.explains(&["places/united-states/malaria/", "still shows what it showed before", "s3:DeleteObject"]);
    assert_eq!(bucket.paths().len(), DOCUMENTS, "nothing could be deleted");
    // The next release isn't kept from its documents, nor is the way back.
    project.execute("UPDATE fact SET level = 3 WHERE fact_id = 2");
    project.run(&["publish"]).expect(4);
    assert_eq!(bucket.document(HIGH)["rows"][0]["scholars"], 2);
    project.json(&["rollback", "1", "--yes"], 0);
    assert_eq!(bucket.digests(), first, "with all documents back there is nothing left to delete");
    assert_eq!(bucket.head()["active"], bucket.head()["desired"]);
    bucket.server.heal();
    project.publish();
    assert!(!bucket.has("places/united-states/malaria/low.json"));
}

#[test]
fn ten_thousand_keys_go_back_with_the_database_stopped_for_what_they_cost() {
    const KEYS: usize = 10_000;
    let bucket = Bucket::new();
    let mut project = Project::sqlite(&format!(
        "CREATE TABLE t (k TEXT PRIMARY KEY, n INTEGER NOT NULL);
         WITH RECURSIVE s (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < {KEYS})
         INSERT INTO t SELECT printf('k%05d', i), i FROM s"
    ));
    project.template("many", "/*---\npath = \"many/{k}.json\"\n---*/\nSELECT k, n FROM t ORDER BY k\n");
    project.publish_to(&bucket, "");
    project.publish();
    let first = bucket.digests();
    assert_eq!(first.len(), KEYS);
    project.execute("UPDATE t SET n = -n WHERE n % 10 = 0");
    project.publish();
    project.configure(&format!("postgres://nobody@127.0.0.1:{}/gone", closed_port()), "");
    bucket.server.reset();
    let said = project.json(&["rollback", "--yes"], 0);
    assert_eq!(template_of(&said, "many")["changed"], KEYS / 10);
    assert_eq!(bucket.digests(), first);
    let counts = bucket.server.counts();
    assert_eq!(counts.copies, KEYS as u64 / 10 + 1, "{counts:?}");
    assert!(counts.puts < 10 && counts.gets < 20 && counts.lists == 0 && counts.deletes == 0, "{counts:?}");
}

#[test]
fn what_cannot_be_gone_back_to_is_named() {
    let project = two_releases();
    project.run(&["rollback", "9", "--yes"]).expect(2).explains(&["there is no release `9`"]);
    let mut head = project.head();
    head["floor"] = head["desired"].clone();
    fs::write(project.root().join(".tintype/head.json"), head.to_string()).expect("write head.json");
    project.run(&["rollback", "--yes"]).expect(2).explains(&["has been pruned"]);
    let empty = places::sqlite();
    empty.run(&["rollback", "--yes"]).expect(2).explains(&["nothing is published yet"]);
}

#[test]
fn a_template_whose_file_is_gone_goes_when_it_is_retired() {
    let project = places::sqlite();
    let text = fs::read_to_string(project.template_file("places")).expect("read the template");
    project.template("others", &text.replace("path = \"places/", "path = \"others/"));
    project.publish();
    assert_eq!(project.public().paths().len(), 2 * DOCUMENTS);
    project.run(&["publish", "--retire", "others", "--yes"]).expect(2).explains(&["has a file", "others.sql"]);
    fs::remove_file(project.template_file("others")).expect("remove the template");
    project.run(&["publish", "--retire", "other", "--yes"]).expect(2).explains(&["did you mean `others`"]);
    project.run(&["publish", "--retire", "others"]).expect(2).explains(&["remove 18 documents of others", "--yes"]);
    assert_eq!(project.public().paths().len(), 2 * DOCUMENTS);
    let said = project.json(&["publish", "--retire", "others", "--yes"], 0);
    assert_eq!(template_of(&said, "others")["removed"], DOCUMENTS, "{said:#}");
    assert_eq!(project.public().paths_of("others"), Vec::<String>::new());
    assert_eq!(project.public().paths().len(), DOCUMENTS);
    assert_eq!(project.head()["checked"]["others"], Value::Null);
    assert!(project.public().catalogue()["templates"]["others"].is_null());
    // It comes back with a rollback, which needs no file.
    project.json(&["rollback", "--yes"], 0);
    assert_eq!(project.public().paths().len(), 2 * DOCUMENTS);
}

#[test]
fn only_what_failed_is_published_again() {
    let project = places::sqlite();
    let text = fs::read_to_string(project.template_file("places")).expect("read the template");
    let others = text.replace("path = \"places/", "path = \"others/");
    project.template("others", &others);
    project.publish();
    assert_eq!(project.json(&["publish", "--failed"], 0)["outcome"], "unchanged");
    project.template("others", &others.replace("FROM fact", "FROM nowhere"));
    project.json(&["publish"], 4);
    project.template("others", &others);
    let said = project.json(&["publish", "--failed"], 0);
    let names: Vec<&Value> = said["templates"].as_array().into_iter().flatten().map(|one| &one["name"]).collect();
    assert_eq!(names, ["others"], "{said:#}");
    assert_eq!(project.json(&["publish", "--failed"], 0)["templates"], json!([]));
}
