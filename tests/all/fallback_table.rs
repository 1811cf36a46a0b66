//! The fallback table: what every run leaves behind for whoever answers without the store.

use serde_json::{Value, json};

use crate::support::bucket::Bucket;
use crate::support::fallback::{Table, World, server_world, worlds};
use crate::support::places::{self, DOCUMENTS, TEMPLATE};

mod behind;
mod clients;
mod foreign;
mod rights;
mod size;

/// Every document and the catalogue.
const ROWS: usize = DOCUMENTS + 1;

fn change(world: &World) {
    world.project.execute("UPDATE fact SET level = 3 WHERE fact_id = 2");
}

#[track_caller]
fn says(said: &Value, outcome: &str, written: usize, removed: usize) {
    let table = json!({ "outcome": outcome, "written": written, "removed": removed, "error": said["table"]["error"] });
    assert_eq!(said["table"], table, "{said:#}");
    assert_eq!(said["table"]["error"].is_null(), outcome != "pending", "{said:#}");
}

#[test]
fn it_has_what_the_store_shows_byte_for_byte() {
    for world in worlds() {
        let project = &world.project;
        let tags = "cache_tags = [\"places\", \"topic:{topic}\"]\n[keys.region]";
        project.template("places", &TEMPLATE.replacen("[keys.region]", tags, 1));
        says(&project.publish(), "done", ROWS, 0);
        let rows = world.agrees();
        let row = &rows["places/cote-divoire/malaria/low.json"];
        assert_eq!(row.template, "places");
        assert_eq!(row.key, json!({ "region": "Côte d'Ivoire", "topic": "malaria", "confidence": "low" }));
        assert!(row.cache_control.starts_with("public, max-age=60, s-maxage="), "{row:?}");
        assert_eq!(row.cache_tags, "places,topic:malaria");
        assert_eq!(rows["index.json"].template, "index");
        let looked = project.json(&["verify", "--table", "--deep"], 0);
        assert_eq!((&looked["outcome"], &looked["documents"]), (&json!("intact"), &json!(ROWS)), "{looked:#}");
        let all = project.json(&["get", "places/*/*/*", "--from", "all"], 0);
        assert_eq!(all["same"], true);
        assert!(all["documents"].as_array().expect("a list").iter().all(|one| one["table"] == one["live"]), "{all:#}");
        // Without the store.
        std::fs::remove_dir_all(project.root().join("public")).expect("remove the site");
        std::fs::rename(project.root().join(".tintype/head.json"), project.root().join("head")).expect("move the head");
        let got = project.run(&["get", "places/united-states/crispr/low", "--from", "table"]);
        let body = &rows["places/united-states/crispr/low.json"].body;
        assert_eq!(got.expect(0).stdout.strip_suffix(b"\n"), Some(&body[..]), "{}", world.engine);
    }
}

#[test]
fn only_what_changed_is_written_and_what_went_is_removed() {
    for world in worlds() {
        let project = &world.project;
        project.publish();
        let before = world.agrees();
        change(&world);
        let said = project.publish();
        let after = world.agrees();
        let changed: Vec<&String> = after.keys().filter(|path| after[*path] != before[*path]).collect();
        let public = said["templates"][0]["changes"].as_array().expect("a list").len();
        assert!((public..=public + 1).contains(&changed.len()), "{changed:?}, and the catalogue perhaps");
        assert!(public > 0 && public < DOCUMENTS);
        says(&said, "done", changed.len(), 0);
        assert!(changed.iter().all(|path| after[*path].release == said["release"]), "{}", world.engine);
        // A rollback is a release like any other.
        let back = project.json(&["rollback", "--yes"], 0);
        says(&back, "done", changed.len(), 0);
        let bodies = |rows: &std::collections::BTreeMap<String, crate::support::fallback::Row>| {
            rows.iter().map(|(path, row)| (path.clone(), row.body.clone())).collect::<Vec<_>>()
        };
        let (shown, first) = (bodies(&world.agrees()), bodies(&before));
        assert_eq!(shown[1..], first[1..], "{}: all but the catalogue", world.engine);
        // A topic with all its documents.
        project.execute("DELETE FROM fact WHERE topic = 'sepsis'; DELETE FROM topic WHERE slug = 'sepsis'");
        let gone = project.json(&["publish", "--accept-guard", "all", "--yes"], 0);
        assert_eq!(gone["table"]["removed"], 6, "{gone:#}");
        assert_eq!(world.agrees().len(), ROWS - 6);
        let again = project.json(&["republish", "places/united-states/crispr/low"], 0);
        assert_eq!(again["table"]["outcome"], "done");
        world.agrees();
    }
}

#[test]
fn a_run_that_changes_nothing_asks_once_and_writes_nothing() {
    for world in worlds() {
        world.project.publish();
        let stamps = world.project.stamps().remove(".tintype/fallback.db");
        let start = match world.table {
            Table::File(_) => None,
            Table::Server(_) => Some(world.project.database().log_end()),
        };
        says(&world.project.publish(), "done", 0, 0);
        assert_eq!(world.project.stamps().remove(".tintype/fallback.db"), stamps, "{}", world.engine);
        let Some(start) = start else { continue };
        let witness = world.project.database().witness_since(start);
        let about: Vec<&str> =
            witness.statements.iter().map(|one| one.sql.as_str()).filter(|sql| sql.contains("tintype_")).collect();
        assert_eq!(about.len(), 1, "{witness:#?}");
        assert!(!about[0].contains("UPDATE") && !about[0].contains("INSERT"), "{about:?}");
    }
}

#[test]
fn a_site_without_a_place_for_it_says_so_once() {
    let Some(world) = server_world("") else { return };
    let project = &world.project;
    project.configure(&project.database().url(), "");
    let first = project.run(&["publish", "-v"]).expect(0);
    assert!(first.stderr.contains("No fallback table is left behind") && first.stderr.contains("table_url"), "{first}");
    change(&world);
    let second = project.run(&["publish", "-v"]).expect(0);
    assert!(!second.stderr.contains("allback table"), "{second}");
    assert_eq!(project.json(&["status"], 0)["table"]["outcome"], "none");
    project.run(&["verify", "--table"]).expect(2).explains(&["no fallback table", "table_url"]);
    project.run(&["get", "places/united-states/crispr/low", "--from", "table"]).expect(2).explains(&["table_url"]);
    let looked = project.json(&["doctor"], 0);
    assert_eq!(looked["fallback"]["checks"][0]["outcome"], "skipped", "{looked:#}");
    // Switched off, it isn't missed.
    project.configure(&project.database().url(), "\n[fallback]\ntable = false\n");
    let off = project.run(&["publish", "--force", "-v"]).expect(0);
    assert!(!off.stderr.contains("allback table"), "{off}");
}

#[test]
fn a_bucket_leaves_it_where_the_configuration_says() {
    let (bucket, mut project) = (Bucket::new(), places::sqlite());
    project.publish_to(&bucket, "");
    says(&project.publish(), "none", 0, 0);
    // The release is there already; its documents come from the bucket.
    let named = |arguments: &[&str]| {
        let command = project.tintype(arguments).env("TINTYPE_FALLBACK_TABLE_URL", "sqlite:elsewhere.db");
        command.arg("--format").arg("json").run().expect(0).json()
    };
    let said = named(&["publish"]);
    assert_eq!(said["outcome"], "unchanged");
    says(&said, "done", ROWS, 0);
    let rows = Table::File(project.root().join("elsewhere.db")).rows();
    assert_eq!(rows.len(), ROWS);
    for path in bucket.paths() {
        assert_eq!(rows[&path].body, bucket.body(&path), "{path}");
        assert_eq!(rows[&path].cache_control, bucket.headers(&path)["cache-control"], "{path}");
    }
    assert_eq!(named(&["verify", "--table", "--deep"])["outcome"], "intact");
}
