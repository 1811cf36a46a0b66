//! From key values to object paths, and back: names as people write them, domains, hot sets.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::places;
use crate::support::project::template_of;

const CITIES: &str = "
CREATE TABLE city (city_id INTEGER PRIMARY KEY, country TEXT NOT NULL, name TEXT NOT NULL, scholars INTEGER NOT NULL);
";

/// A template over pairs of country and city; `extra` is a further column of the domain's query.
fn cities(extra: &str) -> String {
    format!(
        r#"/*---
path = "cities/{{region}}/{{city}}.json"
[keys.city]
sql = "SELECT country AS region, name AS city{extra} FROM city ORDER BY city_id"
---*/
SELECT country AS region, name AS city, scholars FROM city WHERE scholars > 0 /*:keys region=country, city=name */
ORDER BY city_id
"#
    )
}

#[test]
fn in_a_domain_of_pairs_only_the_listed_pairs_exist() {
    let rows = "INSERT INTO city VALUES
        (1, 'United States', 'Cambridge', 5), (2, 'United Kingdom', 'Cambridge', 4), (3, 'United Kingdom', 'London', 0)";
    for (engine, project) in places::projects_over(&format!("{CITIES}{rows}")) {
        project.template("cities", &cities("")).publish();
        let expected = [
            "cities/united-kingdom/cambridge.json",
            "cities/united-kingdom/london.json",
            "cities/united-states/cambridge.json",
        ];
        assert_eq!(project.public().paths(), expected, "{engine}");
        // London has no scholars: an explicit empty document. The United States have no London: no document.
        let london = project.public().document("cities/united-kingdom/london.json");
        assert_eq!(london["key"], json!({"region": "United Kingdom", "city": "London"}), "{engine}");
        assert_eq!(london["rows"], json!([]), "{engine}");
        project.run(&["republish", "cities/united-states/london"]).expect(2).explains(&["london"]);
    }
}

#[test]
fn names_of_all_scripts_become_plain_paths_and_stay_as_they_are_in_the_document() {
    let names = [
        ("北京", "bei-jing"),
        ("Санкт-Петербург", "sankt-peterburg"),
        ("São Paulo", "sao-paulo"),
        ("Zürich", "zurich"),
        ("Łódź", "lodz"),
        ("Αθήνα", "athena"),
        ("AC/DC & \"friends\" \\ o'clock", "ac-dc-friends-oclock"),
        ("100%", "100"),
        ("İzmir", "izmir"),
        ("  spaced   out  ", "spaced-out"),
    ];
    let rows = names.iter().enumerate().map(|(number, (name, _))| {
        let name = name.replace('\'', "''");
        format!("INSERT INTO city VALUES ({number}, 'Earth', '{name}', 1);\n")
    });
    let sql = CITIES.to_owned() + &rows.collect::<Vec<_>>().concat();
    for (engine, project) in places::projects_over(&sql) {
        project.template("cities", &cities("")).publish();
        let public = project.public();
        for (name, slug) in names {
            let path = format!("cities/earth/{slug}.json");
            assert!(public.has(&path), "{engine}: {name} is not at {path}: {:#?}", public.paths());
            assert_eq!(public.document(&path)["key"]["city"], name, "{engine}");
            // Not escaped: what a person reads in the database is what a person reads in the file.
            if name.chars().all(char::is_alphabetic) {
                assert!(public.text(&path).contains(name), "{engine}: {name}");
            }
        }
        assert_eq!(public.paths().len(), names.len(), "{engine}");
        // By its value, as an editor knows it.
        let said = project.json(&["republish", "cities", "--where", "city=北京"], 0);
        assert_eq!(template_of(&said, "cities")["rewritten"], 1, "{engine}");
    }
}

#[test]
fn punctuation_only_still_makes_a_path_of_its_own() {
    let rows = "INSERT INTO city VALUES (1, 'Earth', '!!!', 1), (2, 'Earth', '???', 2), (3, 'Earth', '–', 3)";
    for (engine, project) in places::projects_over(&format!("{CITIES}{rows}")) {
        project.template("cities", &cities("")).publish();
        let paths = project.public().paths();
        assert_eq!(paths.len(), 3, "{engine}: {paths:?}");
        let mut names = BTreeSet::new();
        for path in &paths {
            let segment = path.trim_start_matches("cities/earth/").trim_end_matches(".json");
            assert!(!segment.is_empty(), "{engine}: {path}");
            let plain = segment.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
            assert!(plain, "{engine}: {path}");
            names.insert(project.public().document(path)["key"]["city"].as_str().map(ToOwned::to_owned));
        }
        assert_eq!(names.len(), 3, "{engine}: {names:?}");
    }
}

#[test]
fn a_collision_is_mended_by_a_slug_column() {
    let rows = "INSERT INTO city VALUES (1, 'China', '苏州', 1), (2, 'China', '宿州', 2)";
    for (engine, project) in places::projects_over(&format!("{CITIES}{rows}")) {
        project.template("cities", &cities(""));
        let refused = project.run(&["publish"]);
        assert!([1, 2].contains(&refused.code()), "{engine}: {refused}");
        refused.explains(&["cities.sql:", "苏州", "宿州", "su-zhou", "slug"]);
        assert!(project.public().paths().is_empty(), "{engine}");

        let slugs = ", CASE city_id WHEN 2 THEN 'suzhou-anhui' ELSE 'suzhou' END AS slug";
        project.template("cities", &cities(slugs)).publish();
        let expected = ["cities/china/suzhou-anhui.json", "cities/china/suzhou.json"];
        assert_eq!(project.public().paths(), expected, "{engine}");
        let anhui = project.public().document(expected[0]);
        assert_eq!(anhui["key"]["city"], "宿州", "{engine}");
        assert_eq!(anhui["rows"], json!([{"scholars": 2}]), "{engine}");
        let said = project.json(&["republish", "cities/china/suzhou-anhui"], 0);
        assert_eq!(template_of(&said, "cities")["rewritten"], 1, "{engine}");
    }
}

#[test]
fn one_name_in_two_regions_is_no_collision() {
    let rows =
        "INSERT INTO city VALUES (1, 'France', 'Paris', 1), (2, 'Canada', 'Paris', 2), (3, 'Canada', 'París', 3)";
    for (engine, project) in places::projects_over(&format!("{CITIES}{rows}")) {
        project.template("cities", &cities(""));
        let refused = project.run(&["publish"]);
        refused.explains(&["Paris", "París"]);
        project.execute("DELETE FROM city WHERE city_id = 3");
        project.publish();
        assert_eq!(project.public().paths(), ["cities/canada/paris.json", "cities/france/paris.json"], "{engine}");
    }
}

#[test]
fn without_a_domain_the_values_seen_are_the_keys() {
    let rows = "INSERT INTO city VALUES (1, 'France', 'Paris', 1), (2, 'France', 'Lyon', 0)";
    for (engine, project) in places::projects_over(&format!("{CITIES}{rows}")) {
        let open = cities("").replace("[keys.city]\nsql = ", "# ");
        project.template("cities", &open).publish();
        assert_eq!(project.public().paths(), ["cities/france/paris.json"], "{engine}");
        // A key column that is gone from the rows takes its document along: nobody says that it is still valid.
        project.execute("UPDATE city SET scholars = 1 - scholars");
        let said = project.publish();
        assert_eq!(project.public().paths(), ["cities/france/lyon.json"], "{engine}");
        let template = template_of(&said, "cities");
        assert_eq!((&template["added"], &template["removed"]), (&json!(1), &json!(1)), "{engine}");
    }
}

#[test]
fn key_values_keep_their_types() {
    let sql = "CREATE TABLE t (year INTEGER, code TEXT); INSERT INTO t VALUES (2024, '007'), (-5, '1e3')";
    for (engine, project) in places::projects_over(sql) {
        let template =
            "/*---\npath = \"t/{year}/{code}.json\"\n---*/\nSELECT year, code, 1 AS one FROM t ORDER BY year";
        project.template("t", template).publish();
        let document = project.public().document("t/2024/007.json");
        assert_eq!(document["key"], json!({"year": 2024, "code": "007"}), "{engine}");
        let document = project.public().document("t/-5/1e3.json");
        assert_eq!(document["key"], json!({"year": -5, "code": "1e3"}), "{engine}");
    }
}

#[test]
fn of_a_hot_set_only_the_first_are_published_and_all_are_valid() {
    let rows = (1..=20).map(|rank| {
        format!("INSERT INTO topic VALUES ('topic-{rank}', {rank}); INSERT INTO fact VALUES ('topic-{rank}', {rank});")
    });
    let tables = "CREATE TABLE topic (slug TEXT, rank INTEGER); CREATE TABLE fact (topic TEXT, n INTEGER);";
    let sql = tables.to_owned() + &rows.collect::<Vec<_>>().concat();
    let template = r#"/*---
path = "hot/{topic}.json"
[keys.topic]
sql = "SELECT slug AS topic FROM topic ORDER BY rank"
publish = 5
---*/
SELECT topic, n FROM fact WHERE n > 0 /*:keys topic=topic */ ORDER BY n
"#;
    for (engine, project) in places::projects_over(&sql) {
        let said = project.template("hot", template).publish();
        let expected: Vec<String> = (1..=5).map(|rank| format!("hot/topic-{rank}.json")).collect();
        assert_eq!(project.public().paths(), expected, "{engine}");
        assert_eq!(template_of(&said, "hot")["keys"], 5, "{engine}");
        // All twenty are valid: a frontend may offer them, and the fallback answers them.
        let catalogue = project.public().catalogue();
        let values = catalogue["templates"]["hot"]["keys"][0]["values"].as_array().map(Vec::len);
        assert_eq!(values, Some(20), "{engine}: {catalogue}");
        assert_eq!(catalogue["templates"]["hot"]["count"], 5, "{engine}");
        // What leaves the hot set leaves the store.
        project.execute("UPDATE topic SET rank = 0 WHERE slug = 'topic-20'");
        project.publish();
        assert!(project.public().has("hot/topic-20.json"), "{engine}");
        assert!(!project.public().has("hot/topic-5.json"), "{engine}");
    }
}

#[test]
fn a_hundred_thousand_keys() {
    let sql = "CREATE TABLE numbers (n INTEGER PRIMARY KEY);
        INSERT INTO numbers WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 100000) SELECT n FROM r";
    for (engine, project) in places::projects_over(sql) {
        let template = "/*---\npath = \"many/{n}.json\"\n---*/\nSELECT n, n % 10 AS last FROM numbers ORDER BY n";
        project.template("many", template);
        let command = project.tintype(&["publish", "--format", "json"]);
        let first = command.timeout(std::time::Duration::from_mins(10)).run().expect(0);
        // 100,000 keys at about 300 bytes each, and a debug build's own share.
        let mib = first.peak_memory_bytes >> 20;
        assert!(mib > 0 && mib < 400, "{engine}: {mib} MiB");
        assert_eq!(template_of(&first.json(), "many")["keys"], 100_000, "{engine}");
        let paths = project.public().paths();
        assert_eq!(paths.len(), 100_000, "{engine}");
        assert_eq!(project.public().document("many/99999.json")["rows"], json!([{"last": 9}]), "{engine}");
        project.execute("DELETE FROM numbers WHERE n = 50000");
        let second = project.publish();
        let template = template_of(&second, "many");
        assert_eq!((&template["removed"], &template["unchanged"]), (&json!(1), &json!(99_999)), "{engine}");
        assert!(!project.public().has("many/50000.json"), "{engine}");
    }
}

#[test]
fn above_max_keys_no_empty_documents_are_made_and_check_and_plan_say_so() {
    for (engine, project) in places::projects() {
        let few = places::TEMPLATE.replace("page_url", "max_keys = 17\npage_url");
        project.template("places", &few);
        for command in ["check", "plan"] {
            let said = project.run(&[command]).expect(0);
            let all = said.text() + &said.stderr;
            assert!(all.contains("max_keys"), "{engine}: {said}");
        }
        project.publish();
        // Only keys with rows: crispr 3 levels and malaria 1 in the one region, malaria 3 in the other.
        assert_eq!(project.public().paths().len(), 7, "{engine}");
    }
}

#[test]
fn the_catalogue_lists_what_a_frontend_needs() {
    for (engine, project) in places::projects() {
        project.publish();
        let catalogue = project.public().catalogue();
        assert_eq!(catalogue["format"], 1, "{engine}");
        let template = &catalogue["templates"]["places"];
        assert_eq!(template["path"], "places/{region}/{topic}/{confidence}.json", "{engine}");
        assert_eq!(template["shape"], "rows", "{engine}");
        assert_eq!(template["count"], 18, "{engine}");
        assert_eq!(template["status"], "ok", "{engine}");
        let keys = template["keys"].as_array().expect("a list of key columns");
        let column = |name: &str| -> Value {
            let found = keys.iter().find(|key| key["name"] == name);
            found.unwrap_or_else(|| panic!("{engine}: no {name} in {catalogue:#}"))["values"].clone()
        };
        let regions = json!([
            {"slug": "united-states", "value": "United States", "label": "United States"},
            {"slug": "cote-divoire", "value": "Côte d'Ivoire", "label": "Côte d'Ivoire"},
        ]);
        let slugs = |values: &Value| -> Vec<Value> {
            values.as_array().expect("a list").iter().map(|value| value["slug"].clone()).collect()
        };
        assert_eq!(slugs(&column("region")), slugs(&regions), "{engine}");
        assert_eq!(column("region")[0]["label"], "United States", "{engine}");
        assert_eq!(column("topic")[0], json!({"slug": "crispr", "label": "CRISPR"}), "{engine}");
        assert_eq!(slugs(&column("confidence")), ["low", "medium", "high"], "{engine}");
    }
}
