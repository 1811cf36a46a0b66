//! Publishing chosen keys: only they are touched, with the bytes of a full build.

use serde_json::{Value, json};

use crate::support::directory::differences;
use crate::support::places::{self, DOCUMENTS};
use crate::support::project::{Project, template_of};

/// Runs a command after somebody has emptied the public folder, and returns the documents it put there, and what it said.
///
/// In a directory a document that is written again with the same bytes is the same file as before, so only its absence shows the writing.
fn written_by(project: &Project, arguments: &[&str]) -> (Vec<String>, Value) {
    let folder = project.root().join("public/places");
    if folder.exists() {
        std::fs::remove_dir_all(&folder).expect("empty the public folder");
    }
    let said = project.json(arguments, 0);
    let changes = template_of(&said, "places")["changes"].as_array().expect("a list of changes");
    let mut changes: Vec<&str> = changes.iter().filter_map(|change| change["path"].as_str()).collect();
    changes.sort_unstable();
    let written = project.public().paths();
    assert_eq!(changes, written, "what {arguments:?} says of itself");
    (written, said)
}

const US_CRISPR: [&str; 3] = [
    "places/united-states/crispr/high.json",
    "places/united-states/crispr/low.json",
    "places/united-states/crispr/medium.json",
];

#[test]
fn republish_writes_the_chosen_keys_even_if_unchanged() {
    for (engine, project) in places::projects() {
        let first = project.publish();
        let digests = project.public().digests();
        let low = &US_CRISPR[1..2];
        let ways: [(&[&str], &[&str]); 9] = [
            (&["places/united-states/crispr/*"], &US_CRISPR),
            (&["places/united-states/crispr/low"], low),
            (&["places/united-states/crispr/low.json"], low),
            (&["https://cdn.example.org/places/united-states/crispr/low.json"], low),
            (&["https://example.org/map?region=united-states&topic=crispr&confidence=low"], low),
            (&["places", "--where", "region=United States", "--where", "topic=crispr"], &US_CRISPR),
            (
                &["places", "--where", "region=united-states", "--where", "topic=CRISPR", "--where", "confidence=low"],
                low,
            ),
            (&["places/*/crispr/low", "--where", "region=united-states"], low),
            (&["places/united-states/crispr/l*"], low),
        ];
        for (keys, expected) in ways {
            let arguments = [&["republish"], keys].concat();
            let (written, said) = written_by(&project, &arguments);
            assert_eq!(written, expected, "{engine}: {keys:?}");
            assert_eq!(said["command"], "republish", "{engine}: {keys:?}");
            assert_eq!(said["outcome"], "published", "{engine}: {keys:?}");
            assert_eq!(template_of(&said, "places")["rewritten"], expected.len(), "{engine}: {keys:?}");
            for (path, digest) in project.public().digests() {
                assert_eq!(digest, digests[&path], "{engine}: {keys:?}");
            }
        }
        let serial = |document: &Value| document["serial"].as_u64().expect("a serial");
        let last = project.json(&["status"], 0);
        assert_eq!(project.head()["desired"], project.head()["active"], "{engine}: {last}");
        let releases = project.json(&["releases"], 0);
        assert_eq!(releases["releases"].as_array().map(Vec::len), Some(1 + ways.len()), "{engine}: {releases}");
        let full = project.publish();
        assert_eq!(full["outcome"], "unchanged", "{engine}: the merged release is what a full build gives");
        assert_eq!(serial(&full), serial(&first) + 9, "{engine}");
    }
}

#[test]
fn a_where_with_commas_means_or() {
    for (engine, project) in places::projects() {
        project.publish();
        let (written, _) = written_by(
            &project,
            &[
                "republish",
                "places",
                "--where",
                "topic=crispr,malaria",
                "--where",
                "confidence=high",
                "--where",
                "region=united-states",
            ],
        );
        let expected = ["places/united-states/crispr/high.json", "places/united-states/malaria/high.json"];
        assert_eq!(written, expected, "{engine}");
    }
}

#[test]
fn chosen_keys_get_the_new_rows_and_the_others_keep_the_old_ones() {
    for (engine, project) in places::projects() {
        project.publish();
        let before = project.public().digests();
        // Feeds crispr at every level and malaria at low.
        project.execute("UPDATE fact SET city = 'Dallas' WHERE city_id = 2");
        project.json(&["republish", "places/united-states/crispr/low"], 0);
        let changed = differences(&before, &project.public().digests());
        assert_eq!(changed, ["places/united-states/crispr/low.json"], "{engine}");
        let before = project.public().digests();
        let said = project.json(&["publish", "places", "--where", "topic=malaria"], 0);
        let changed = differences(&before, &project.public().digests());
        assert_eq!(changed, ["places/united-states/malaria/low.json"], "{engine}");
        assert_eq!(template_of(&said, "places")["changed"], 1, "{engine}");
        // The rest comes with the next full build: what was published key by key is not published again.
        let before = project.public().digests();
        let said = project.publish();
        let changed = differences(&before, &project.public().digests());
        assert_eq!(changed, ["places/united-states/crispr/medium.json"], "{engine}");
        assert_eq!(template_of(&said, "places")["unchanged"], DOCUMENTS - 1, "{engine}");
    }
}

#[test]
fn a_partial_publish_of_unchanged_keys_changes_nothing() {
    for (engine, project) in places::projects() {
        project.publish();
        let before = project.stamps();
        let said = project.json(&["publish", "places", "--where", "region=United States"], 0);
        assert_eq!(said["outcome"], "unchanged", "{engine}");
        assert_eq!(
            differences(&before, &project.stamps()),
            [".tintype/head.json", ".tintype/publish.lock"],
            "{engine}"
        );
    }
}

#[test]
fn keys_republished_one_by_one_are_the_full_build() {
    for (engine, project) in places::projects() {
        project.publish();
        let full = project.public().digests();
        let paths = project.public().paths();
        std::fs::remove_dir_all(project.root().join("public")).expect("remove the folder");
        std::fs::remove_dir_all(project.root().join(".tintype")).expect("remove the folder");
        // An empty document has no row to come from: it comes from the domain, here as in the full build.
        for path in &paths {
            project.json(&["publish", path], 0);
        }
        assert_eq!(project.public().digests(), full, "{engine}");
    }
}

#[test]
fn note_and_author_are_in_the_release() {
    let project = Project::sqlite(places::ROWS);
    project.template("places", places::TEMPLATE).publish();
    let said = project.json(&["republish", "places/*/crispr/*", "--note", "names mended", "--author", "Ada"], 0);
    let release = said["release"].as_str().expect("a release");
    let shown = project.json(&["releases", release], 0).to_string();
    assert!(shown.contains("names mended") && shown.contains("Ada"), "{shown}");
}

#[test]
fn keys_that_do_not_exist_are_refused_with_the_nearest() {
    let project = Project::sqlite(places::ROWS);
    project.template("places", places::TEMPLATE).publish();
    let before = project.stamps();
    let cases: [(&[&str], &[&str]); 6] = [
        (&["plces"], &["plces", "places"]),
        (&["places/united-states/crisper/low"], &["crisper", "crispr"]),
        (&["places", "--where", "topc=crispr"], &["topc", "topic"]),
        (&["places", "--where", "topic=crisper"], &["crisper", "crispr"]),
        (&["places/united-states/crispr"], &["united-states/crispr"]),
        (&["https://cdn.example.org/places/united-states/crispr/lowest.json"], &["lowest", "low"]),
    ];
    for (keys, parts) in cases {
        let arguments = [&["republish"], keys].concat();
        project.run(&arguments).expect(2).explains(parts);
    }
    project.run(&["republish"]).expect(2);
    let touched = differences(&before, &project.stamps());
    assert!(touched.is_empty(), "a refused republish wrote {touched:?}");
    assert_eq!(project.head()["active"], json!(project.head()["desired"]));
}

/// What can't be merged mustn't take the template's keys out of the catalogue.
#[test]
fn keys_that_cannot_be_published_alone_leave_the_catalogue_as_it_was() {
    for (engine, project) in places::projects() {
        project.publish();
        let documents = project.public().paths();
        let keys = project.public().catalogue()["templates"]["places"]["keys"].clone();
        assert!(
            keys.as_array().is_some_and(|keys| keys.iter().all(|key| !key["values"].is_null())),
            "{engine}: {keys}"
        );
        let wider = places::TEMPLATE.replace("SELECT f.region", "SELECT 1 AS wider, f.region");
        assert_ne!(wider, places::TEMPLATE);
        project.template("places", &wider);
        project.run(&["republish", "places/united-states/crispr/low"]).explains(&["can't be published alone"]);
        let after = project.public().catalogue()["templates"]["places"]["keys"].clone();
        assert_eq!(after, keys, "{engine}");
        assert_eq!(project.public().paths(), documents, "{engine}");
    }
}
