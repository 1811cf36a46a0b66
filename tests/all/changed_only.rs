//! A build writes what has changed and nothing else.

use serde_json::json;

use crate::support::directory::differences;
use crate::support::places::{self, DOCUMENTS};
use crate::support::project::{Project, template_of};

/// The documents whose bytes differ after `change` and a publish; the others must not have been touched at all.
fn changed_by(project: &Project, change: &str) -> Vec<String> {
    let (digests, stamps) = (project.public().digests(), project.stamps());
    project.execute(change);
    let said = project.publish();
    let changed = differences(&digests, &project.public().digests());
    let mut expected: Vec<String> = changed.iter().map(|path| format!("public/{path}.gz")).collect();
    expected.extend(["public/index.json".to_owned(), "public/index.json.gz".to_owned()]);
    expected.sort();
    let mut touched = differences(&stamps, &project.stamps());
    touched.retain(|path| path.starts_with("public/"));
    assert_eq!(touched, expected, "files touched by a publish after {change}");
    let template = template_of(&said, "places");
    assert_eq!(template["outcome"], "published");
    assert_eq!(template["changed"], changed.len());
    assert_eq!(template["unchanged"], DOCUMENTS - changed.len());
    changed
}

#[test]
fn unchanged_data_writes_nothing_but_the_head() {
    for (engine, project) in places::projects() {
        let first = project.publish();
        assert_eq!(first["outcome"], "published", "{engine}");
        assert_eq!(project.public().paths().len(), DOCUMENTS, "{engine}");
        let (before, head) = (project.stamps(), project.head());
        let second = project.publish();
        assert_eq!(second["outcome"], "unchanged", "{engine}");
        assert_eq!(template_of(&second, "places")["outcome"], "unchanged", "{engine}");
        let touched = differences(&before, &project.stamps());
        assert_eq!(touched, [".tintype/head.json", ".tintype/publish.lock"], "{engine}");
        let after = project.head();
        assert!(after["seq"].as_u64() > head["seq"].as_u64(), "{engine}: {after}");
        assert_eq!(after["desired"], head["desired"], "{engine}");
        // It was looked at all the same, and the head says when.
        let checked = |head: &serde_json::Value| head["checked"]["places"]["at"].clone();
        assert_ne!(checked(&after), checked(&head), "{engine}: {after}");
        assert_eq!(second["serial"], first["serial"], "{engine}");
    }
}

#[test]
fn one_changed_row_changes_exactly_the_keys_it_feeds() {
    for (engine, project) in places::projects() {
        project.publish();
        // From low to high: at low the scholar was counted before as well.
        let changed = changed_by(&project, "UPDATE fact SET level = 3 WHERE fact_id = 2");
        let expected = ["places/united-states/crispr/high.json", "places/united-states/crispr/medium.json"];
        assert_eq!(changed, expected, "{engine}");
        let high = project.public().document(expected[0]);
        assert_eq!(high["rows"], json!([{"city": "Boston", "scholars": 2}]), "{engine}");
    }
}

#[test]
fn data_that_reverts_gives_the_first_bytes_again() {
    for (engine, project) in places::projects() {
        project.publish();
        let first = project.public().digests();
        let there = changed_by(&project, "UPDATE fact SET city = 'Cambridge' WHERE city_id = 1");
        let back = changed_by(&project, "UPDATE fact SET city = 'Boston' WHERE city_id = 1");
        assert_eq!(there, back, "{engine}");
        assert_eq!(there.len(), 3, "{engine}: all levels of one topic");
        assert_eq!(project.public().digests(), first, "{engine}");
    }
}

#[test]
fn a_key_that_loses_its_last_row_becomes_an_empty_document() {
    for (engine, project) in places::projects() {
        project.publish();
        let changed = changed_by(&project, "DELETE FROM fact WHERE fact_id = 4");
        assert_eq!(changed, ["places/united-states/malaria/low.json"], "{engine}");
        let text = project.public().text(&changed[0]);
        let expected =
            r#"{"template":"places","key":{"region":"United States","topic":"malaria","confidence":"low"},"rows":[]}"#;
        assert_eq!(text.trim_end(), expected, "{engine}");
        // The same bytes as those of a key that never had a row.
        let never = project.public().text("places/united-states/sepsis/low.json");
        assert_eq!(text.replace("malaria", "sepsis"), never, "{engine}");
    }
}

#[test]
fn a_value_that_leaves_its_domain_takes_its_documents_along() {
    for (engine, project) in places::projects() {
        project.publish();
        project.execute("DELETE FROM topic WHERE slug = 'sepsis'");
        let said = project.publish();
        assert_eq!(template_of(&said, "places")["removed"], 6, "{engine}");
        assert_eq!(project.public().paths().len(), DOCUMENTS - 6, "{engine}");
        assert!(!project.public().has("places/united-states/sepsis/low.json"), "{engine}");
        assert!(!project.public().text("index.json").contains("sepsis"), "{engine}");
        project.execute("INSERT INTO topic VALUES ('sepsis', 'Sepsis', 10)");
        let said = project.publish();
        assert_eq!(template_of(&said, "places")["added"], 6, "{engine}");
        assert_eq!(project.public().paths().len(), DOCUMENTS, "{engine}");
    }
}

#[test]
fn a_label_changes_the_catalogue_and_no_document() {
    for (engine, project) in places::projects() {
        project.publish();
        let before = project.public().digests();
        project.execute("UPDATE topic SET name = 'CRISPR and friends' WHERE slug = 'crispr'");
        project.publish();
        assert_eq!(project.public().digests(), before, "{engine}");
        let catalogue = project.public().catalogue().to_string();
        assert!(catalogue.contains("CRISPR and friends"), "{engine}: {catalogue}");
    }
}

#[test]
fn a_changed_cache_policy_is_a_change_though_the_bytes_are_the_same() {
    for (engine, project) in places::projects() {
        project.publish();
        let before = project.public().digests();
        let longer = places::TEMPLATE.replace("page_url", "max_age = \"5m\"\npage_url");
        let said = project.template("places", &longer).publish();
        assert_eq!(said["outcome"], "published", "{engine}");
        assert_eq!(template_of(&said, "places")["changed"], DOCUMENTS, "{engine}");
        assert_eq!(project.public().digests(), before, "{engine}");
    }
}
