//! After something went wrong: what an earlier run left is finished, what is lost is written again, and nothing is said that isn't so.

use std::fs;

use serde_json::{Value, json};

use crate::support::places::{self, DOCUMENTS};
use crate::support::project::{Project, template_of};

const DOCUMENT: &str = "places/united-states/crispr/high.json";

/// Publishes twice with a change between, then turns head and one path back, as a publisher does that dies while it activates.
fn died_in_activation() -> Project {
    let project = places::sqlite();
    project.publish();
    let first = project.head()["active"].clone();
    let old = fs::read(project.public().file(DOCUMENT)).expect("read the first document");
    project.execute("UPDATE fact SET level = 3 WHERE fact_id = 2");
    project.publish();
    let mut head = project.head();
    head["active"] = first;
    fs::write(project.root().join(".tintype/head.json"), head.to_string()).expect("write head.json");
    fs::remove_file(project.public().file(DOCUMENT)).expect("remove the document");
    fs::write(project.public().file(DOCUMENT), old).expect("write the old document");
    project
}

fn scholars(project: &Project) -> Value {
    project.public().document(DOCUMENT)["rows"].clone()
}

#[test]
fn an_unfinished_activation_is_finished_without_a_database() {
    let project = died_in_activation();
    let before = scholars(&project);
    project.configure("sqlite:gone.db", "");
    let said = project.json(&["publish"], 1);
    assert_eq!(said["outcome"], "failed", "{said:#}");
    assert_ne!(scholars(&project), before, "the committed document isn't live");
    let head = project.head();
    assert_eq!(head["active"], head["desired"]);
    assert_eq!(head["lease"], Value::Null, "the lease is still taken: {head}");
}

#[test]
fn a_release_that_nobody_finishes_is_found() {
    let project = died_in_activation();
    let mut head = project.head();
    head["lease"] = Value::Null;
    fs::write(project.root().join(".tintype/head.json"), head.to_string()).expect("write head.json");
    let finished = project.run(&["verify"]).expect(1);
    finished.explains(&["isn't active yet", "nobody is at it", "tintype resume"]);
    project.json(&["resume"], 0);
    project.run(&["verify"]).expect(0);
}

#[test]
fn a_publish_says_that_it_finished_an_earlier_one() {
    let project = died_in_activation();
    let desired = project.head()["desired"].clone();
    let said = project.publish();
    assert_eq!((&said["outcome"], &said["rolled_forward"]), (&json!("unchanged"), &desired), "{said:#}");
    assert_eq!(project.publish()["rolled_forward"], Value::Null);
}

#[test]
fn a_plan_leaves_an_unfinished_activation_alone_and_counts_it_as_a_change() {
    let project = died_in_activation();
    let (head, before) = (project.head(), scholars(&project));
    project.run(&["plan", "--exit-code"]).expect(10);
    assert_eq!((project.head(), scholars(&project)), (head, before));
}

#[test]
fn forcing_writes_a_lost_blob_again() {
    let project = places::sqlite();
    project.publish();
    let digests = project.public().digests();
    fs::remove_dir_all(project.root().join(".tintype/blob")).expect("lose the blobs");
    fs::remove_dir_all(project.root().join("public")).expect("lose the documents");
    let said = project.json(&["publish", "--force"], 0);
    assert_eq!(template_of(&said, "places")["rewritten"], DOCUMENTS, "{said:#}");
    assert_eq!(project.public().digests(), digests);
}

#[test]
fn without_a_list_and_a_backup_a_site_begins_anew_in_place() {
    let project = places::sqlite();
    project.publish();
    let digests = project.public().digests();
    fs::remove_dir_all(project.root().join(".tintype/release")).expect("lose the manifests");
    project.run(&["publish"]).expect(1).explains(&["is missing", "remove the control folder", "index.json.gz"]);
    assert_eq!(project.public().digests(), digests);
    // As the hint says. What is there of a document that is no more is remembered by nothing.
    fs::remove_dir_all(project.root().join(".tintype")).expect("remove the control folder");
    for catalogue in ["index.json", "index.json.gz"] {
        let _ = fs::remove_file(project.root().join("public").join(catalogue));
    }
    let gone = project.public().file("places/atlantis/crispr/high.json");
    fs::create_dir_all(gone.parent().expect("it has a folder")).expect("make its folder");
    fs::copy(project.public().file(DOCUMENT), &gone).expect("leave a document");
    project.publish();
    let stale = project.json(&["verify", "--repair", "--yes"], 0);
    assert_eq!((&stale["counts"]["leftovers"], gone.exists()), (&json!(1), false), "{stale:#}");
    project.run(&["verify", "--deep"]).expect(0);
}

#[test]
fn a_success_on_older_data_leaves_a_newer_failure_known() {
    let project = places::sqlite();
    project.publish();
    let fail_at = |at: chrono::DateTime<chrono::Utc>| {
        let mut head = project.head();
        head["failed"]["places"] = json!({ "at": at, "as_of": at, "reason": "no such table: fact" });
        fs::write(project.root().join(".tintype/head.json"), head.to_string()).expect("write head.json");
        project.publish();
        project.head()["failed"]["places"].clone()
    };
    let hour = chrono::TimeDelta::hours(1);
    assert_ne!(fail_at(chrono::Utc::now() + hour), Value::Null, "a run an hour before knows nothing of it");
    assert_eq!(fail_at(chrono::Utc::now() - hour), Value::Null);
}

#[test]
fn a_run_that_read_before_the_committed_one_doesnt_undo_it_and_says_so() {
    let project = places::sqlite();
    project.publish();
    let mut head = project.head();
    head["checked"]["places"]["as_of"] = json!(chrono::Utc::now() + chrono::TimeDelta::hours(2));
    fs::write(project.root().join(".tintype/head.json"), head.to_string()).expect("write head.json");
    let digests = project.public().digests();
    project.execute("UPDATE fact SET level = 3 WHERE fact_id = 2");
    let finished = project.tintype(&["publish", "--format", "json"]).run();
    let finished = finished.expect(0);
    assert_eq!(template_of(&finished.json(), "places")["outcome"], "skipped");
    assert!(finished.stderr.contains("clock"), "{}", finished.stderr);
    assert_eq!(project.public().digests(), digests);
}

#[test]
fn an_instant_of_a_wrong_clock_does_not_keep_a_site_as_it_is() {
    let project = places::sqlite();
    project.publish();
    let mut head = project.head();
    head["checked"]["places"]["as_of"] = json!("2999-01-01T00:00:00Z");
    fs::write(project.root().join(".tintype/head.json"), head.to_string()).expect("write head.json");
    project.execute("UPDATE fact SET level = 3 WHERE fact_id = 2");
    assert_eq!(template_of(&project.publish(), "places")["changed"], 2);
    let as_of = project.head()["checked"]["places"]["as_of"].as_str().map(str::to_owned).expect("it was read");
    assert!(!as_of.starts_with("2999"), "the wrong instant is still there");
}

#[test]
fn some_keys_are_not_mixed_with_documents_of_another_path_or_other_columns() {
    let project = places::sqlite();
    project.publish();
    let text = fs::read_to_string(project.template_file("places")).expect("read the template");
    let changes = [
        text.replace("places/{region}/{topic}/", "places/{topic}/{region}/"),
        text.replace("AS scholars", "AS researchers").replace("scholars DESC", "researchers DESC"),
    ];
    for changed in changes {
        assert_ne!(changed, text, "the template has changed, and this test with it");
        project.template("places", &changed);
        let digests = project.public().digests();
        let finished = project.run(&["publish", "--where", "topic=crispr"]).expect(1);
        finished.explains(&["places.sql", "tintype publish places"]);
        assert_eq!(project.public().digests(), digests);
        // The whole template is what a guard asks about: its readers must know.
        project.json(&["publish", "--accept-guard", "path", "--accept-guard", "columns", "--yes"], 0);
        project.json(&["publish", "--where", "topic=crispr"], 0);
    }
}

#[test]
fn a_failure_stays_on_record_until_the_template_is_read_whole() {
    let project = places::sqlite();
    project.publish();
    let text = fs::read_to_string(project.template_file("places")).expect("read the template");
    project.template("places", &text.replace("FROM fact", "FROM nowhere"));
    project.json(&["publish"], 1);
    let failed = |project: &Project| project.json(&["status"], 0)["templates"][0]["failed"].clone();
    assert!(failed(&project)["reason"].to_string().contains("nowhere"), "{}", failed(&project));
    project.template("places", &text);
    project.json(&["publish", "--where", "topic=crispr"], 0);
    assert_ne!(failed(&project), Value::Null, "some keys aren't the template");
    project.publish();
    assert_eq!(failed(&project), Value::Null);
}

#[test]
fn a_changed_front_matter_is_a_change_even_if_no_document_is() {
    let project = places::sqlite();
    project.publish();
    let text = fs::read_to_string(project.template_file("places")).expect("read the template");
    project.template("places", &text.replacen("[keys.region]", "on_miss = \"not-found\"\n[keys.region]", 1));
    let said = project.json(&["plan", "--exit-code"], 10);
    assert_eq!(said["outcome"], "planned");
    assert_eq!(project.publish()["outcome"], "published");
    assert_eq!(project.publish()["outcome"], "unchanged");
}
