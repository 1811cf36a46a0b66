//! What differs between two releases, by key and by row, committed or staged.

use serde_json::{Value, json};

use crate::support::places;
use crate::support::project::Project;
use crate::support::site::Site;

const CRISPR: [&str; 3] = [
    "places/united-states/crispr/high.json",
    "places/united-states/crispr/low.json",
    "places/united-states/crispr/medium.json",
];

#[track_caller]
fn diff(project: &Project, after: &str, before: &str, more: &[&str]) -> Value {
    project.json(&[&["releases", after, "--diff", before], more].concat(), 0)
}

/// `changed path` of every document that differs.
fn differences(said: &Value) -> Vec<String> {
    let templates = said["templates"].as_array().expect("templates").iter();
    let all = templates.flat_map(|template| template["differences"].as_array().expect("differences"));
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    all.map(|one| format!("{} {}", text(&one["change"]), text(&one["path"]))).collect()
}

#[test]
fn changed_documents_are_told_with_their_sizes_and_rows() {
    for site in Site::on_each() {
        let releases = site.publish(&["Boston", "Cambridge", "Boston"]);
        let expected: Vec<String> = CRISPR.iter().map(|path| format!("changed {path}")).collect();
        let said = diff(&site.project, "2", "1", &[]);
        assert_eq!(differences(&said), expected, "{said:#}");
        assert_eq!((&said["release"], &said["diff"]), (&json!(releases[1]), &json!(releases[0])));
        assert_eq!(said["templates"][0]["counts"], json!({"added": 0, "changed": 3, "headers": 0, "removed": 0}));
        let low = &said["templates"][0]["differences"][1];
        assert_eq!((&low["before"]["rows"], &low["after"]["rows"], &low["rows"]), (&json!(2), &json!(2), &Value::Null));
        // Cambridge has three letters more than Boston.
        assert_eq!(low["after"]["size_bytes"].as_u64(), low["before"]["size_bytes"].as_u64().map(|bytes| bytes + 3));

        let said = diff(&site.project, &releases[1], "active", &["--rows"]);
        let rows = &said["templates"][0]["differences"][1]["rows"];
        assert_eq!(rows["removed"], json!([{"city": "Boston", "scholars": 2}]), "{said:#}");
        assert_eq!(rows["added"], json!([{"city": "Cambridge", "scholars": 2}]));
        assert_eq!((&rows["added_more"], &rows["reordered"]), (&json!(0), &json!(false)));
        // The data has come back to what it was.
        assert_eq!(differences(&diff(&site.project, "3", "1", &["--rows"])), Vec::<String>::new());
        let shown = site.project.run(&["releases", "2", "--diff", "1", "--rows"]).expect(0).text();
        assert!(shown.contains(CRISPR[0]) && shown.contains(r#"+ {"city":"Cambridge","scholars":1}"#), "{shown}");
        let shown = site.project.run(&["releases", "3", "--diff", "1"]).expect(0).text();
        assert!(shown.contains("no document differs"), "{shown}");
    }
}

#[test]
fn documents_that_came_and_went_and_headers_that_changed() {
    let project = places::sqlite();
    project.publish();
    project.execute("DELETE FROM topic WHERE slug = 'sepsis'; INSERT INTO topic VALUES ('zika', 'Zika', 5)");
    project.publish();
    project.template("places", &places::TEMPLATE.replace("page_url", "max_age = \"5m\"\npage_url"));
    project.publish();
    let count = |said: &Value, kind: &str| said["templates"][0]["counts"][kind].clone();
    let said = diff(&project, "2", "1", &[]);
    assert_eq!((count(&said, "added"), count(&said, "removed")), (json!(6), json!(6)), "{said:#}");
    assert!(differences(&said).contains(&"added places/united-states/zika/low.json".to_owned()));
    let said = diff(&project, "1", "2", &[]);
    assert!(differences(&said).contains(&"removed places/united-states/zika/low.json".to_owned()));
    let said = diff(&project, "3", "2", &["--rows"]);
    assert_eq!((count(&said, "headers"), count(&said, "changed")), (json!(places::DOCUMENTS), json!(0)), "{said:#}");
    let shown = project.run(&["releases", "3", "--diff", "2"]).expect(0).text();
    assert!(shown.contains("18 with other headers only"), "{shown}");
}

#[test]
fn rows_of_every_shape_and_columns() {
    for shape in ["columns", "geojson"] {
        let project = places::sqlite();
        let text = places::TEMPLATE
            .replace("page_url", &format!("shape = \"{shape}\"\npage_url"))
            .replace("AS scholars", "AS scholars, NULL AS lon, NULL AS lat");
        project.template("places", &text);
        project.publish();
        project.execute("UPDATE fact SET city = 'Cambridge' WHERE city_id = 1");
        project.publish();
        let said = diff(&project, "2", "1", &["--rows"]);
        let rows = &said["templates"][0]["differences"][1]["rows"];
        let (added, removed) = (rows["added"].to_string(), rows["removed"].to_string());
        assert!(added.contains("Cambridge") && !added.contains("Austin"), "{shape}: {added}");
        assert!(removed.contains("Boston") && !removed.contains("Austin"), "{shape}: {removed}");
    }
    let project = places::sqlite();
    project.publish();
    let wider = places::TEMPLATE.replace("AS scholars", "AS scholars, 1 AS wide");
    project.template("places", &wider);
    project.publish();
    let said = diff(&project, "active", "1", &[]);
    assert_eq!(said["templates"][0]["columns_added"], json!(["wide"]), "{said:#}");
}

#[test]
fn a_refused_release_is_compared_before_it_is_published() {
    let project = places::sqlite();
    project.publish();
    project.execute("DELETE FROM fact");
    let refused = project.json(&["publish"], 3);
    let releases = project.json(&["releases"], 0);
    let staged =
        releases["releases"].as_array().expect("releases").iter().find(|release| release["committed"] == false);
    let staged = staged.unwrap_or_else(|| panic!("nothing is staged: {refused:#}"))["release"].as_str().expect("an id");
    let said = diff(&project, staged, "active", &["--rows"]);
    let differences = differences(&said);
    assert!(CRISPR.iter().all(|path| differences.contains(&format!("changed {path}"))), "{said:#}");
    assert_eq!(differences.len(), 7, "{said:#}");
    for differing in said["templates"][0]["differences"].as_array().expect("differences") {
        assert_eq!(differing["after"]["rows"], 0, "{differing:#}");
        let removed = differing["rows"]["removed"].as_array().map(Vec::len);
        assert_eq!(differing["before"]["rows"].as_u64(), removed.map(|rows| rows as u64), "{differing:#}");
    }
}

#[test]
fn what_can_not_be_compared_is_told() {
    let project = places::sqlite();
    project.publish();
    project.run(&["releases", "--diff", "1"]).expect(2);
    project.run(&["releases", "1", "--rows"]).expect(2);
    project.run(&["releases", "1", "--diff", "7"]).expect(2).explains(&["no release `7`"]);
}
