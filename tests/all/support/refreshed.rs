//! The small world with a refresh query, and what a run says of it.

use std::fs;

use serde_json::{Value, json};

use super::places;
use super::project::{Project, template_of};

/// What the refresh query asks: a table that whoever loads data writes to last.
pub const LOADS: &str = "CREATE TABLE loads (n INTEGER NOT NULL); INSERT INTO loads VALUES (1);";
/// The refresh query over it.
pub const REFRESH: &str = "[refresh]\nsql = \"SELECT count(*), max(n) FROM loads\"\n";
/// A change of one row, and the way back.
pub const RAISED: &str = "UPDATE fact SET level = 3 WHERE fact_id = 2";
pub const LOWERED: &str = "UPDATE fact SET level = 1 WHERE fact_id = 2";

/// The template with further lines of front matter.
pub fn template_with(lines: &str) -> String {
    places::TEMPLATE.replacen("[keys.region]", &format!("{lines}[keys.region]"), 1)
}

/// The small world with a refresh query, on each engine that is here, published once.
pub fn published() -> Vec<(&'static str, Project)> {
    let projects = places::projects_over(&format!("{}{LOADS}", places::ROWS));
    for (_, project) in &projects {
        project.template("places", &template_with(REFRESH));
        project.publish();
    }
    projects
}

/// Says that the template's own query was left out, and why.
#[track_caller]
pub fn skipped(said: &Value) -> String {
    let template = template_of(said, "places");
    let decision = &template["refresh"]["decision"];
    assert_eq!((&template["outcome"], decision), (&json!("skipped"), &json!("skipped")), "{said:#}");
    assert_eq!(template["unchanged"], template["keys"], "{said:#}");
    assert_eq!(template["rows"], 0, "{said:#}");
    template["reason"].as_str().expect("a reason").to_owned()
}

/// Says that it ran, and why.
#[track_caller]
pub fn read(said: &Value) -> String {
    let template = template_of(said, "places");
    assert_eq!(template["refresh"]["decision"], "read", "{said:#}");
    assert!(template["rows"].as_u64() > Some(0), "{said:#}");
    template["reason"].as_str().expect("a reason").to_owned()
}

/// What the head remembers of the last whole read.
pub fn checked(project: &Project) -> Value {
    project.head()["checked"]["places"].clone()
}

/// Puts something else in its place.
pub fn set_checked(project: &Project, checked: &Value) {
    let mut head = project.head();
    head["checked"]["places"] = checked.clone();
    fs::write(project.root().join(".tintype/head.json"), head.to_string()).expect("write head.json");
}
