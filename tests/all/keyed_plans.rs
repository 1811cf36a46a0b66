//! Chosen keys of the shipped templates: read by index, told by the plans that the server itself logged, with the bytes of a full build.

use serde_json::Value;

use crate::support::demo_world::{self, TEMPLATES};
use crate::support::directory::differences;
use crate::support::postgres::Collation;
use crate::support::project::{Project, template_of};
use crate::support::server_log::{is_by_index, reads_of};

/// The plans of a command's statements that read authorship.
fn plans(project: &Project, arguments: &[&str]) -> Vec<Value> {
    let start = project.database().log_end();
    project.json(arguments, 0);
    let mut plans = project.database().witness_since(start).plans;
    plans.retain(|plan| !reads_of(plan, "authorship").is_empty());
    plans
}

#[test]
fn chosen_keys_are_read_by_index_and_touch_only_their_documents() {
    let Some(project) = demo_world::postgres(Collation::C) else { return };
    project.publish();
    project.database().log_plans();
    // The other way round first: a full build does scan the table, so the test below can fail.
    for template in TEMPLATES {
        let full = plans(&project, &["publish", template, "--force"]);
        let by_index = full.iter().flat_map(|plan| reads_of(plan, "authorship")).all(is_by_index);
        assert!(!by_index, "{template}: {full:#?}");
    }
    let digests = project.public().digests();
    let (topics, countries) =
        (project.query("SELECT 1 FROM topic").len(), project.query("SELECT 1 FROM country").len());
    let cases: [(&[&str], &str, usize); 7] = [
        (&["republish", "world-map/crispr/*"], "world-map", 3),
        (&["republish", "https://cdn.example.org/world-map/crispr/low.json"], "world-map", 1),
        (&["publish", "country-map", "--where", "region=United States"], "country-map", 3 * topics),
        (&["republish", "country-map/united-states/crispr/*"], "country-map", 3),
        (&["republish", "country-map/*/malaria/low"], "country-map", countries),
        (&["republish", "city-map/united-states/boston/*/low"], "city-map", topics),
        (&["republish", "city-map/united-states/boston/crispr/low"], "city-map", 1),
    ];
    for (arguments, template, keys) in cases {
        // A document that is written again with the same bytes is the same file as before: only its absence shows the writing.
        let folder = project.root().join("public").join(template);
        let saved = project.root().join("saved");
        std::fs::rename(&folder, &saved).expect("take the documents away");
        let before = project.stamps();
        let start = project.database().log_end();
        let said = project.json(arguments, 0);
        let witness = project.database().witness_since(start);
        let reads: Vec<&Value> = witness.plans.iter().flat_map(|plan| reads_of(plan, "authorship")).collect();
        assert!(!reads.is_empty(), "{arguments:?} read nothing: {witness:#?}");
        let scans: Vec<&&Value> = reads.iter().filter(|node| !is_by_index(node)).collect();
        assert!(scans.is_empty(), "{arguments:?} scans authorship: {scans:#?}");
        assert_eq!(witness.connections.len(), 1, "{arguments:?}");

        let touched: Vec<String> = differences(&before, &project.stamps())
            .into_iter()
            .filter(|path| path.starts_with("public/") && !path.starts_with("public/index"))
            .collect();
        assert!(touched.iter().all(|path| path.starts_with(&format!("public/{template}/"))), "{touched:?}");
        let written = if arguments[0] == "republish" { keys } else { 0 };
        assert_eq!(touched.len(), written, "{arguments:?} touched {touched:?}");
        assert_eq!(template_of(&said, template)["rewritten"], written, "{arguments:?}");
        let there = project.public().digests();
        let differ: Vec<_> = there.iter().filter(|(path, digest)| digests.get(*path) != Some(digest)).collect();
        assert!(differ.is_empty(), "{arguments:?} gives other bytes than a full build: {differ:?}");
        if folder.exists() {
            std::fs::remove_dir_all(&folder).expect("remove the folder");
        }
        std::fs::rename(&saved, &folder).expect("put the documents back");
    }
}

#[test]
fn keys_read_one_by_one_after_a_change_are_those_of_a_full_build() {
    for project in [Some(demo_world::sqlite()), demo_world::postgres(Collation::EnUs)].into_iter().flatten() {
        project.publish();
        project
            .execute("UPDATE authorship SET affiliation_confidence = 3 WHERE country = 'France' AND author_id % 5 = 0");
        for keys in ["world-map/crispr/*", "country-map/france/crispr/*", "city-map/france/paris/crispr/*"] {
            project.json(&["republish", keys], 0);
        }
        let chosen = project.public().digests();
        project.publish();
        let full = project.public().digests();
        let differ = differences(&chosen, &full);
        assert!(!differ.is_empty(), "France has other topics as well");
        let in_scope = |path: &String| {
            path.starts_with("world-map/crispr/")
                || path.starts_with("country-map/france/crispr/")
                || path.starts_with("city-map/france/paris/crispr/")
        };
        assert!(!differ.iter().any(in_scope), "{:?}", differ.iter().find(|path| in_scope(path)));
    }
}
