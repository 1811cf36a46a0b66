//! Refresh keys in doubt: what the answer can't see, what others have done meanwhile, what failed or was taken back.

use chrono::{DateTime, Duration, Utc};
use serde_json::{Value, json};

use crate::support::directory::differences;
use crate::support::places::{self, DOCUMENTS};
use crate::support::postgres;
use crate::support::process::Tintype;
use crate::support::project::{Project, template_of};
use crate::support::refreshed::{
    LOWERED, RAISED, REFRESH, checked, published, read, set_checked, skipped, template_with,
};

/// A document that [`RAISED`] shows in.
const DOCUMENT: &str = "places/united-states/crispr/high.json";

/// Turns the last whole read back in the head, instead of waiting.
fn make_older(project: &Project, by: Duration) {
    let mut checked = checked(project);
    let as_of: DateTime<Utc> = serde_json::from_value(checked["as_of"].clone()).expect("an instant");
    checked["as_of"] = json!(as_of - by);
    set_checked(project, &checked);
}

#[test]
fn a_transaction_that_commits_late_is_picked_up_by_at_least() {
    let Some(database) = postgres::database() else { return };
    database.execute(places::ROWS);
    database.execute("ALTER TABLE fact ADD updated_at timestamptz NOT NULL DEFAULT clock_timestamp()");
    let project = Project::postgres(database);
    let refresh = "[refresh]\nsql = \"SELECT max(updated_at) FROM fact\"\nat_least = \"6h\"\n";
    project.template("places", &template_with(refresh));
    let mut late = project.database().connect();
    late.query("BEGIN");
    late.query("UPDATE fact SET level = 3, updated_at = clock_timestamp() WHERE fact_id = 2");
    project.execute("UPDATE fact SET updated_at = clock_timestamp() WHERE fact_id = 1");
    project.publish();
    let before = project.public().digests();
    late.query("COMMIT");
    // Its instant is older than the latest one that was there, so the answer is the same; and the rows aren't.
    skipped(&project.publish());
    assert_eq!(project.public().digests(), before);
    make_older(&project, Duration::hours(6) - Duration::minutes(5));
    skipped(&project.publish());
    make_older(&project, Duration::minutes(5));
    assert!(read(&project.publish()).ends_with("is older than at_least = \"6h\""));
    assert_eq!(differences(&before, &project.public().digests()).len(), 2);
    skipped(&project.publish());
}

#[test]
fn an_answer_counts_for_a_day_by_default() {
    for (engine, project) in published() {
        make_older(&project, Duration::hours(23));
        skipped(&project.publish());
        make_older(&project, Duration::hours(1));
        assert!(read(&project.publish()).ends_with("is older than at_least = \"1day\""), "{engine}");
    }
}

#[test]
fn a_template_that_failed_is_read_again() {
    for (engine, project) in published() {
        let text = template_with(REFRESH);
        project.template("places", &text.replace("FROM fact", "FROM nowhere"));
        project.json(&["publish"], 1);
        assert_eq!(checked(&project)["refresh"], Value::Null, "{engine}");
        project.template("places", &text);
        assert!(read(&project.publish()).starts_with("it failed at "), "{engine}");
        skipped(&project.publish());
    }
}

#[test]
fn some_keys_are_read_without_asking_and_leave_the_record_alone() {
    for (engine, project) in published() {
        let before = checked(&project);
        for arguments in [&["publish", "--where", "topic=crispr"][..], &["republish", "places/*/crispr/*"]] {
            let said = project.json(arguments, 0);
            assert_eq!(read(&said), "some of its keys were asked for", "{engine}");
            assert_eq!(checked(&project), before, "{engine}: {arguments:?}");
            skipped(&project.publish());
            assert_eq!(checked(&project)["refresh"], before["refresh"], "{engine}");
            set_checked(&project, &before);
        }
    }
}

#[test]
fn what_an_editor_has_changed_since_is_read_again_though_the_answer_is_the_same() {
    for (engine, project) in published() {
        let first = project.public().digests();
        project.execute(RAISED);
        project.json(&["republish", DOCUMENT], 0);
        // The data is back at what the last whole read saw, as the answer truly says; the document isn't.
        project.execute(LOWERED);
        assert_ne!(project.public().digests(), first, "{engine}");
        assert!(read(&project.publish()).starts_with("its documents aren't those of the last whole read"), "{engine}");
        assert_eq!(project.public().digests(), first, "{engine}");
        skipped(&project.publish());
    }
}

#[test]
fn forcing_reads_and_remembers() {
    for (engine, project) in published() {
        let said = project.json(&["publish", "--force"], 0);
        assert_eq!(template_of(&said, "places")["rewritten"], DOCUMENTS, "{engine}: {said:#}");
        read(&said);
        project.execute("INSERT INTO loads VALUES (2)");
        read(&project.json(&["publish", "--force"], 0));
        assert!(skipped(&project.publish()).ends_with(": 2, 2"), "{engine}");
    }
}

/// The answer is one that comes back when the data does, which an editor has published in between.
#[test]
fn what_an_editor_publishes_while_a_build_reads_isnt_vouched_for_by_its_answer() {
    let Some(database) = postgres::database() else { return };
    database.execute(places::ROWS);
    database.execute("CREATE TABLE gate AS SELECT 1 AS open");
    let project = Project::postgres(database);
    let text = template_with("[refresh]\nsql = \"SELECT sum(level) FROM fact\"\n");
    project.template("places", &text.replace("FROM fact AS f", "FROM gate CROSS JOIN fact AS f"));
    project.publish();
    // The editor's template is the same without the gate.
    let folder = project.root().join("editors");
    std::fs::create_dir(&folder).expect("make a folder");
    std::fs::write(folder.join("places.sql"), &text).expect("write a template");
    let config = std::fs::read_to_string(project.config()).expect("read tintype.toml");
    let editors = project.root().join("editors.toml");
    std::fs::write(&editors, config.replace("templates = \"templates\"", "templates = \"editors\"")).expect("write");

    project.execute("UPDATE fact SET level = 2 WHERE fact_id = 4");
    let mut gate = project.database().connect();
    gate.query("BEGIN");
    gate.query("LOCK TABLE gate");
    let mut build = project.tintype(&["publish", "--format", "json"]).start();
    build.wait_for("the query to stand at the gate", |_| {
        project.database().activity().iter().any(|(_, _, waits_for)| waits_for == "Lock").then_some(())
    });
    project.execute(RAISED);
    Tintype::new(["republish", DOCUMENT]).arg("-c").arg(&editors).run().expect(0);
    project.execute(LOWERED);
    gate.query("COMMIT");
    let said = build.finish().expect(0).json();
    assert_eq!(template_of(&said, "places")["older"], 1, "the editor's document stays: {said:#}");
    assert!(project.public().text(DOCUMENT).contains("\"scholars\":2"));
    // The data is what the build saw, and so is the answer; the document isn't.
    let reason = read(&project.publish());
    assert!(reason.starts_with("no answer of the refresh query is on record"), "{reason}");
    assert!(project.public().text(DOCUMENT).contains("\"scholars\":1"));
    skipped(&project.publish());
}

#[test]
fn a_rollback_clears_the_record() {
    for (engine, project) in published() {
        let first = project.public().digests();
        project.execute(&format!("INSERT INTO loads VALUES (2); {RAISED}"));
        project.publish();
        let second = project.public().digests();
        assert_ne!(first, second, "{engine}");
        skipped(&project.publish());
        project.json(&["rollback", "--yes"], 0);
        assert_eq!(project.public().digests(), first, "{engine}");
        assert_eq!(checked(&project)["refresh"], Value::Null, "{engine}");
        // Without a hold, a publish shows what the data says; the answer alone would leave the old documents.
        assert!(read(&project.publish()).starts_with("no answer of the refresh query is on record"), "{engine}");
        assert_eq!(project.public().digests(), second, "{engine}");
        skipped(&project.publish());
    }
}

#[test]
fn a_hold_outlives_answers_and_ends_when_it_is_told_to() {
    for (engine, project) in published() {
        let first = project.public().digests();
        project.execute(&format!("INSERT INTO loads VALUES (2); {RAISED}"));
        project.publish();
        let second = project.public().digests();
        project.json(&["rollback", "--hold", "--yes"], 0);
        read(&project.publish());
        let said = project.publish();
        skipped(&said);
        assert_eq!(template_of(&said, "places")["held"], 2, "{engine}: it says that documents are held");
        assert_eq!(project.public().digests(), first, "{engine}");
        assert_eq!(
            read(&project.json(&["publish", "--unhold"], 0)),
            "it was to be read whatever the refresh query answers"
        );
        assert_eq!(project.public().digests(), second, "{engine}");
        skipped(&project.publish());
    }
}
