//! Staged releases: what a guard refused, or what was only to be looked at, is read, and published later without a query.

use std::path::Path;

use serde_json::{Value, json};

use crate::guards::{DOCUMENTS, ROWS, big};
use crate::support::bucket::Bucket;
use crate::support::directory::differences;
use crate::support::places::projects_over;
use crate::support::project::{Project, template_of};

/// The id of what a run has staged.
#[track_caller]
fn staged(said: &Value) -> String {
    said["staged"].as_str().unwrap_or_else(|| panic!("nothing is staged: {said:#}")).to_owned()
}

/// Points the project at a database that isn't there.
fn without_database(project: &Project) {
    project.configure("postgres://nobody@127.0.0.1:1/nothing", "");
}

#[test]
fn what_was_refused_is_read_and_published_without_a_database() {
    for (engine, project) in projects_over(ROWS) {
        project.template("big", &big("")).publish();
        let before = project.public().digests();
        project.execute("DELETE FROM fact WHERE v < 5; INSERT INTO key VALUES ('new')");
        let said = project.json(&["publish"], 3);
        let id = staged(&said);
        assert_eq!(project.public().digests(), before, "{engine}");
        without_database(&project);
        // It is read like any release.
        let shown = project.run(&["get", "big/k10", "--release", &id]).expect(0);
        assert_eq!(shown.json()["rows"].as_array().map(Vec::len), Some(5), "{engine}");
        let detail = project.json(&["releases", &id], 0);
        assert_eq!((&detail["committed"], &detail["added"]), (&json!(false), &json!(1)), "{engine}: {detail:#}");
        assert_eq!(detail["changes"].as_array().map(Vec::len), Some(DOCUMENTS + 2), "{engine}");
        assert!(
            detail["staged"]["templates"]["big"]["refused"].to_string().contains("rows_drop"),
            "{engine}: {detail:#}"
        );
        let listed = project.run(&["releases"]).expect(0).text();
        assert!(listed.contains("staged") && listed.contains(&id), "{engine}: {listed}");
        // The guards are asked again, of what is committed now.
        let again = project.json(&["publish", "--release", &id], 3);
        assert_eq!((again["outcome"].as_str(), staged(&again)), (Some("refused"), id.clone()), "{engine}");
        assert_eq!(project.public().digests(), before, "{engine}");
        project.run(&["publish", "--release", &id, "--accept-guard", "all"]).expect(2).explains(&["--yes"]);
        let plan = project.json(&["publish", "--release", &id, "--accept-guard", "all", "--yes", "--dry-run"], 0);
        assert_eq!(template_of(&plan, "big")["changed"], DOCUMENTS, "{engine}: {plan:#}");
        let said = project.json(&["publish", "--release", &id, "--accept-guard", "all", "--yes"], 0);
        assert_eq!((&said["outcome"], &said["connections"]), (&json!("published"), &json!(0)), "{engine}");

        // The same bytes as of a run that nobody refused.
        let undisturbed =
            projects_over(ROWS).into_iter().find(|(other, _)| *other == engine).expect("the engine is there").1;
        undisturbed.execute("DELETE FROM fact WHERE v < 5; INSERT INTO key VALUES ('new')");
        undisturbed.template("big", &big("")).publish();
        assert_eq!(project.public().digests(), undisturbed.public().digests(), "{engine}");
        let keys = |project: &Project| project.public().catalogue()["templates"]["big"]["keys"].clone();
        assert_eq!(keys(&project), keys(&undisturbed), "{engine}");
        assert_eq!(project.public().catalogue()["templates"]["big"]["status"], "ok", "{engine}");
        assert_eq!(project.head()["failed"], json!({}), "{engine}");
        let release = said["release"].as_str().expect("it has a release");
        assert_eq!(project.json(&["releases", release], 0)["publishes"], json!(id), "{engine}");
        // And nothing is left to do.
        assert_eq!(project.json(&["publish", "--release", &id], 0)["outcome"], "unchanged", "{engine}");
    }
}

#[test]
fn a_release_can_be_staged_only() {
    let project = Project::sqlite(ROWS);
    project.template("big", &big(""));
    let ended = project.run(&["publish", "--stage-only"]).expect(0);
    let id = ended.text().trim().to_owned();
    assert!(id.starts_with("1-") && !id.contains(char::is_whitespace), "{ended}");
    assert!(!project.root().join("public").exists() && !project.root().join(".tintype/head.json").exists());
    let published = project.json(&["publish", "--release", &id], 0);
    assert_eq!(template_of(&published, "big")["added"], DOCUMENTS);
    assert_eq!(project.public().paths().len(), DOCUMENTS);
    // A second one, of what has changed since.
    project.execute("UPDATE fact SET v = 77 WHERE id = 5");
    let said = project.json(&["publish", "--stage-only"], 0);
    assert_eq!((&said["outcome"], &said["release"]), (&json!("staged"), &published["release"]));
    let before = project.public().digests();
    std::fs::remove_file(project.root().join("file.db")).expect("take the database away");
    project.run(&["publish", "--release", &staged(&said)]).expect(0);
    assert_eq!(differences(&before, &project.public().digests()), ["big/k10.json"]);
    assert_eq!(project.public().document("big/k10.json")["rows"][5]["v"], 77);
}

#[test]
fn nothing_new_is_not_staged_and_what_a_guard_refuses_is_said() {
    let project = Project::sqlite(ROWS);
    project.template("big", &big("")).publish();
    let ended = project.run(&["publish", "--stage-only"]).expect(0);
    assert_eq!(ended.text(), "");
    project.execute("DELETE FROM fact");
    let ended = project.run(&["publish", "--stage-only"]).expect(3);
    ended.explains(&["rows fell from 300 to 0"]);
    let id = ended.text().trim().to_owned();
    project.run(&["publish", "--release", &id]).expect(3);
    project.run(&["publish", "--release", &id, "--accept-guard", "all", "--yes"]).expect(0);
    assert_eq!(project.public().document("big/k10.json")["rows"], json!([]));
}

#[test]
fn newer_rows_outrank_staged_ones() {
    let project = Project::sqlite(ROWS);
    project.template("big", &big("")).publish();
    project.execute("DELETE FROM fact WHERE v < 5");
    let id = staged(&project.json(&["publish"], 3));
    project.execute("UPDATE fact SET note = 'by hand' WHERE k = 'k10'");
    project.run(&["republish", "big/k10"]).expect(0);
    let said = project.json(&["publish", "--release", &id, "--accept-guard", "all", "--yes"], 0);
    let template = template_of(&said, "big");
    assert_eq!((&template["changed"], &template["older"]), (&json!(DOCUMENTS - 1), &json!(1)), "{said:#}");
    assert_eq!(project.public().document("big/k10.json")["rows"][0]["note"], "by hand");
    assert_eq!(project.public().document("big/k11.json")["rows"].as_array().map(Vec::len), Some(5));
    // A whole read that came later leaves nothing of it.
    project.execute("UPDATE fact SET note = 'later'");
    project.publish();
    let said = project.json(&["publish", "--release", &id], 0);
    assert_eq!(said["outcome"], "unchanged", "{said:#}");
    assert_eq!(project.public().document("big/k11.json")["rows"][0]["note"], "later");
}

#[test]
fn some_keys_that_were_refused_are_published_and_no_others() {
    let project = Project::sqlite(ROWS);
    let open = big("").replace("[keys.k]\nsql = \"SELECT k FROM key ORDER BY k\"\n", "");
    project.template("big", &open).publish();
    project.execute("DELETE FROM fact WHERE v < 5 OR k = 'k11'");
    let before = project.public().digests();
    let said = project.json(&["publish", "big/k1*", "big/k2*"], 3);
    let id = staged(&said);
    without_database(&project);
    project.run(&["publish", "--release", &id, "--accept-guard", "all", "--yes"]).expect(0);
    let changed = differences(&before, &project.public().digests());
    assert_eq!(changed.len(), 20, "{changed:?}");
    assert!(changed.iter().all(|path| path.as_str() < "big/k30.json"), "{changed:?}");
    assert!(!project.public().has("big/k11.json"), "it has no rows, and no domain says that it is a key");
    assert_eq!(project.public().document("big/k12.json")["rows"].as_array().map(Vec::len), Some(5));
}

#[test]
fn what_is_too_old_or_overtaken_is_not_published() {
    let project = Project::sqlite(ROWS);
    project.template("big", &big("")).publish();
    project.execute("UPDATE fact SET v = 77 WHERE id = 5");
    let id = staged(&project.json(&["publish", "--stage-only"], 0));
    let before = project.public().digests();
    project.template("big", &big("").replace("big/{k}", "other/{k}"));
    project.run(&["publish", "--release", &id]).expect(2).explains(&["another path or shape", "tintype publish big"]);
    project
        .template("big", &big(""))
        .template("small", "/*---\npath = \"small/{k}.json\"\n---*/\nSELECT k, v FROM small");
    std::fs::remove_file(project.template_file("big")).expect("take the template away");
    project.run(&["publish", "--release", &id]).expect(2).explains(&["big", "lost its file"]);
    project.template("big", &big(""));
    project.run(&["publish", "--release", "1-nothing"]).expect(2).explains(&["there is no release"]);
    let committed = project.json(&["status"], 0)["release"].as_str().expect("there is a release").to_owned();
    project.run(&["publish", "--release", &committed]).expect(2).explains(&["wasn't staged", "rollback"]);

    let file = project.root().join(format!(".tintype/release/{id}.json"));
    let root: Value = serde_json::from_slice(&std::fs::read(&file).expect("read the root")).expect("it is JSON");
    let old = json!(root["created_at"].as_str().expect("it has an instant").replace("2026", "2025"));
    let mut aged = root.clone();
    aged["created_at"] = old;
    replace(&file, &aged);
    project.run(&["publish", "--release", &id]).expect(2).explains(&["was staged", "6days", "build it again"]);
    replace(&file, &root);

    project.execute("UPDATE fact SET v = 78 WHERE id = 15");
    project.publish();
    project.run(&["rollback", "1", "--yes"]).expect(0);
    project.run(&["publish", "--release", &id]).expect(2).explains(&["rolled the site back", "build it again"]);
    assert_eq!(project.public().digests(), before);
}

fn replace(file: &Path, root: &Value) {
    std::fs::remove_file(file).expect("remove the root");
    std::fs::write(file, serde_json::to_vec(root).expect("it is JSON")).expect("write the root");
}

#[test]
fn a_bucket_keeps_what_was_refused() {
    let (bucket, mut project) = (Bucket::new(), Project::sqlite(ROWS));
    project.template("big", &big(""));
    project.publish_to(&bucket, "");
    project.publish();
    let before = bucket.digests();
    project.execute("DELETE FROM fact WHERE v < 5");
    let id = staged(&project.json(&["publish"], 3));
    assert_eq!(bucket.digests(), before);
    let shown = project.run(&["get", "big/k10", "--release", &id]).expect(0).json();
    std::fs::remove_file(project.root().join("file.db")).expect("take the database away");
    project.run(&["publish", "--release", &id, "--accept-guard", "all", "--yes"]).expect(0);
    assert_eq!(bucket.document("big/k10.json"), shown);
    assert_eq!(differences(&before, &bucket.digests()).len(), DOCUMENTS);
    assert_eq!(bucket.head()["active"], bucket.head()["desired"]);
}
