//! The main job on real geography: every count in every document of the shipped templates equals a hand-written query's.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::demo_world::{self, TEMPLATES};
use crate::support::directory::Directory;
use crate::support::postgres::Collation;
use crate::support::project::Project;

/// What is counted: a place within a document, and the number of its scholars.
type Counts = BTreeMap<(String, String), i64>;

/// Counts by the plainest SQL that a person would write, one query per level; nothing of the templates' idiom.
fn by_hand(project: &Project, document: &str, place: &str) -> Counts {
    let mut counts = Counts::new();
    for (level, name) in [(1, "low"), (2, "medium"), (3, "high")] {
        let sql = format!(
            "SELECT {document}, {place}, count(DISTINCT a.author_id)
             FROM authorship a JOIN paper p ON p.pmid = a.pmid JOIN topic t ON t.topic_id = p.topic_id
             JOIN institution i ON i.institution_id = a.institution_id
             WHERE a.affiliation_confidence >= {level}
             GROUP BY {document}, {place}"
        );
        for row in project.query(&sql) {
            let [document, place, count] = row.try_into().expect("three columns");
            let count = count.expect("a count").parse().expect("a number");
            counts.insert((format!("{}/{name}", document.expect("a document")), place.expect("a place")), count);
        }
    }
    counts
}

/// The counts in the documents of a template: `document` makes a document's name from its key.
fn published(public: &Directory, template: &str, document: impl Fn(&Value) -> String, place: &str) -> Counts {
    let mut counts = Counts::new();
    for path in public.paths_of(template) {
        let body = public.document(&path);
        assert_eq!(body["template"], template, "{path}");
        let key = &body["key"];
        let name = format!("{}/{}", document(key), key["confidence"].as_str().expect("a level"));
        for row in body["rows"].as_array().expect("rows") {
            let place = row[place].as_str().unwrap_or_else(|| panic!("no {place} in a row of {path}")).to_owned();
            let count = row["scholars"].as_i64().expect("a number of scholars");
            assert!(count > 0, "{path}: {place} without scholars");
            let twice = counts.insert((name.clone(), place), count);
            assert!(twice.is_none(), "{path}: one place twice");
        }
    }
    counts
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

fn is_right(project: &Project) {
    let said = project.publish();
    let public = project.public();
    let world = published(&public, "world-map", |key| text(&key["topic"]).to_owned(), "country");
    assert_same("world-map", &world, &by_hand(project, "t.slug", "a.country"));
    let country = |key: &Value| format!("{}/{}", text(&key["region"]), text(&key["topic"]));
    let by_city = published(&public, "country-map", country, "city");
    assert_same("country-map", &by_city, &by_hand(project, "a.country || '/' || t.slug", "a.city"));
    let city = |key: &Value| format!("{}/{}/{}", text(&key["region"]), text(&key["city"]), text(&key["topic"]));
    let by_institution = published(&public, "city-map", city, "institution");
    // The hot set: as many cities as the template says, so the query is cut to the documents there are.
    let mut all = by_hand(project, "a.country || '/' || a.city || '/' || t.slug", "i.name");
    let cities = project.query("SELECT country || '/' || name FROM city ORDER BY authorships DESC, city_id LIMIT 120");
    let hot: Vec<String> = cities.into_iter().map(|mut row| row.remove(0).expect("a city") + "/").collect();
    all.retain(|(document, _), _| hot.iter().any(|city| document.starts_with(city)));
    assert_same("city-map", &by_institution, &all);

    for counts in [&world, &by_city, &by_institution] {
        cumulative(counts);
    }
    let topics: usize = project.query("SELECT 1 FROM topic").len();
    let countries = project.query("SELECT 1 FROM country").len();
    // Every combination has a document, with rows or without.
    assert_eq!(public.paths_of("world-map").len(), topics * 3);
    assert_eq!(public.paths_of("country-map").len(), countries * topics * 3);
    assert_eq!(public.paths_of("city-map").len(), 120 * topics * 3);
    for template in said["templates"].as_array().expect("a list of templates") {
        let name = template["name"].as_str().expect("a name");
        assert!(TEMPLATES.contains(&name), "{template}");
        assert_eq!(template["keys"], public.paths_of(name).len());
    }
    assert_eq!(said["templates"].as_array().map(Vec::len), Some(3));
}

fn assert_same(template: &str, published: &Counts, by_hand: &Counts) {
    assert!(by_hand.len() > 100, "{template}: the query found next to nothing");
    let differ: Vec<_> = by_hand.iter().filter(|(place, count)| published.get(*place) != Some(count)).take(5).collect();
    assert!(differ.is_empty(), "{template}: other counts, or none, for {differ:?}");
    assert_eq!(published.len(), by_hand.len(), "{template}: rows that the query doesn't find");
}

/// At low a place counts at least as many scholars as at medium, and there as many as at high.
fn cumulative(counts: &Counts) {
    let at = |document: &str, level: &str, place: &String| {
        counts.get(&(format!("{document}/{level}"), place.clone())).copied().unwrap_or(0)
    };
    let mut differs = false;
    for (document, place) in counts.keys() {
        let (document, _) = document.rsplit_once('/').expect("a level");
        let (low, medium, high) =
            (at(document, "low", place), at(document, "medium", place), at(document, "high", place));
        assert!(low >= medium && medium >= high, "{document}, {place}: {low}, {medium}, {high}");
        differs |= low > medium && medium > high;
    }
    assert!(differs, "the levels never differ: nothing was shown");
}

#[test]
fn every_count_is_that_of_a_hand_written_query_on_sqlite() {
    is_right(&demo_world::sqlite());
}

#[test]
fn every_count_is_that_of_a_hand_written_query_on_postgresql() {
    if let Some(project) = demo_world::postgres(Collation::C) {
        is_right(&project);
    }
}
