//! Which keys a selection means: combinations that exist, in the hot set or not, and what is said of the others.

use serde_json::json;

use crate::support::directory::differences;
use crate::support::places;
use crate::support::project::{Project, template_of};

/// Cities belong to regions; only the first two are in the hot set, and two of them have one name.
const CITIES: &str = "
CREATE TABLE city (id INTEGER PRIMARY KEY, region TEXT NOT NULL, name TEXT NOT NULL, slug TEXT, n INTEGER NOT NULL);
INSERT INTO city VALUES (1, 'US', 'Boston', NULL, 10), (2, 'US', 'Austin', 'austin-tx', 20),
                        (3, 'UK', 'Boston', NULL, 30), (4, 'UK', 'Austin', 'austin-uk', 40), (5, 'UK', 'Leeds', NULL, 50);
";

fn cities(publish: &str) -> String {
    format!(
        "/*---\npath = \"cities/{{region}}/{{city}}/{{level}}.json\"\n[keys.city]\n\
         sql = \"SELECT region, name AS city, slug FROM city ORDER BY id\"\n{publish}\n\
         [keys.level]\nvalues = [\"low\", \"high\"]\n---*/\n\
         SELECT region, name AS city, 'low' AS level, n FROM city ORDER BY id\n"
    )
}

#[test]
fn a_combination_outside_the_hot_set_is_refused_though_its_values_are_in_it() {
    for (engine, project) in places::projects_over(CITIES) {
        project.template("cities", &cities("publish = 2")).publish();
        assert_eq!(project.public().paths().len(), 4, "{engine}");
        let before = project.stamps();
        let said = project.run(&["republish", "cities/uk/boston/low"]).expect(2);
        said.explains(&["cities/uk/boston/low", "valid but outside the hot set", "publish = 2"]);
        let said = project.run(&["republish", "cities/us/leeds/low"]).expect(2);
        said.explains(&["cities/us/leeds/low", "not a combination that exists"]);
        assert!(differences(&before, &project.stamps()).is_empty(), "{engine}: a refused republish wrote something");
        let said = project.json(&["republish", "cities/*/boston/low"], 0);
        assert_eq!(template_of(&said, "cities")["rewritten"], 1, "{engine}: {said}");
    }
}

#[test]
fn a_slug_means_the_value_that_it_belongs_to() {
    for (engine, project) in places::projects_over(CITIES) {
        project.template("cities", &cities("")).publish();
        // The other Austin has the same value and another slug.
        let said = project.json(&["republish", "cities/*/austin-tx/low"], 0);
        let changes = template_of(&said, "cities")["changes"].as_array().expect("a list").clone();
        let paths: Vec<&str> = changes.iter().filter_map(|change| change["path"].as_str()).collect();
        assert_eq!(paths, ["cities/us/austin-tx/low.json"], "{engine}");
        let said = project.json(&["republish", "cities", "--where", "city=Austin", "--where", "level=low"], 0);
        assert_eq!(template_of(&said, "cities")["rewritten"], 2, "{engine}: by its value both are meant");
    }
}

#[test]
fn a_live_read_takes_every_valid_key() {
    for (engine, project) in places::projects_over(CITIES) {
        // The cap on empty documents is about what is pre-built.
        let text = cities("publish = 2").replace("[keys.city]", "max_keys = 1\n[keys.city]");
        project.template("cities", &text).publish();
        let said = project.json(&["get", "--from", "live", "cities/uk/boston/low"], 0);
        assert_eq!(said["documents"][0]["body"]["rows"], json!([{"n": 30}]), "{engine}: {said}");
        let said = project.json(&["get", "--from", "live", "cities/uk/leeds/high"], 0);
        assert_eq!(said["documents"][0]["body"]["rows"], json!([]), "{engine}: {said}");
        project.run(&["get", "--from", "live", "cities/us/leeds/low"]).expect(2);
        // What the store doesn't hold can't be compared with it.
        project.run(&["get", "--from", "all", "cities"]).expect(0);
    }
}

#[test]
fn a_missing_public_file_is_an_error_of_get() {
    for (engine, project) in places::projects() {
        project.publish();
        let path = "places/united-states/crispr/low.json";
        std::fs::remove_file(project.root().join(format!("public/{path}.gz"))).expect("remove a document");
        let said = project.run(&["get", "places/united-states/crispr/low"]).expect(1);
        said.explains(&[path, "tintype republish"]);
        assert!(said.text().is_empty(), "{engine}: {said}");
        project.json(&["republish", "places/united-states/crispr/low"], 0);
        project.run(&["get", "places/united-states/crispr/low"]).expect(0);
    }
}

#[test]
fn a_where_may_hold_a_comma() {
    let sql = "CREATE TABLE t (region TEXT, n INTEGER);
        INSERT INTO t VALUES ('Korea, Republic of', 1), ('Korea', 2), ('Republic of', 3)";
    for (engine, project) in places::projects_over(sql) {
        let template = "/*---\npath = \"t/{region}.json\"\n[keys.region]\nsql = \"SELECT region FROM t ORDER BY n\"\n---*/\n\
                        SELECT region, n FROM t ORDER BY n";
        project.template("t", template).publish();
        let rewritten = |condition: &str| {
            let said = project.json(&["republish", "t", "--where", condition], 0);
            template_of(&said, "t")["rewritten"].as_u64().expect("a number")
        };
        assert_eq!(rewritten("region=Korea, Republic of"), 1, "{engine}: a value of its own");
        assert_eq!(rewritten("region=Republic of,Korea"), 2, "{engine}: no such value, so two of them");
        let said = project.json(&["get", "t", "--where", "region=Korea, Republic of"], 0);
        assert_eq!(said["documents"].as_array().map(Vec::len), Some(1), "{engine}: {said}");
    }
}

#[test]
fn keys_that_have_left_their_domain_dont_fail_a_partial_run() {
    for (engine, project) in places::projects() {
        project.publish();
        project.execute("DELETE FROM fact WHERE topic = 'crispr'; DELETE FROM topic WHERE slug = 'crispr'");
        let said = project.json(&["republish", "places/united-states/malaria/low"], 0);
        assert_eq!(said["outcome"], "published", "{engine}: {said}");
        // The same beside an open column, whose combinations the release remembers.
        let open = places::TEMPLATE.replace("[keys.region]\nsql", "#");
        project.template("places", &open).json(&["republish", "places/united-states/malaria/low"], 0);
    }
}

#[test]
fn selectors_are_resolved_before_the_first_statement_runs() {
    for (engine, project) in places::projects() {
        project.publish();
        // It comes first by name, and its statement could take an hour.
        let heavy = places::TEMPLATE
            .replace("path = \"places", "path = \"aaa")
            .replace("f.city, count", "f.city, 1 AS heavy, count");
        project.template("aaa", &heavy);
        let start = (engine == "PostgreSQL").then(|| project.database().log_end());
        let said = project.run(&["publish", "aaa", "places/united-states/crisper/low"]).expect(2);
        said.explains(&["crisper", "crispr"]);
        if let Some(start) = start {
            let witness = project.database().witness_since(start);
            let ran = witness.statements.iter().any(|statement| statement.sql.contains("AS heavy"));
            assert!(!ran, "the statement of another template ran first: {witness:#?}");
        }
        // A domain that fails takes only its own template along.
        let fails = places::TEMPLATE.replace("path = \"places", "path = \"aaa").replace("FROM country", "FROM nowhere");
        project.template("aaa", &fails);
        let said = project.json(&["publish", "--force"], 4);
        assert_eq!(template_of(&said, "places")["rewritten"], places::DOCUMENTS, "{engine}: {said}");
    }
}

#[test]
fn a_glob_over_many_keys_is_fast() {
    let sql = "CREATE TABLE t (n INTEGER PRIMARY KEY);
        INSERT INTO t WITH RECURSIVE r (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 100000) SELECT n FROM r";
    let project = Project::sqlite(sql);
    project.template("t", "/*---\npath = \"t/{n}.json\"\n[keys.n]\nsql = \"SELECT n FROM t ORDER BY n\"\n---*/\nSELECT n, 1 AS one FROM t ORDER BY n");
    let started = std::time::Instant::now();
    let said = project.json(&["plan", "t/*1*"], 0);
    assert_eq!(template_of(&said, "t")["added"], 40_952);
    // A scan of the values for every row would take minutes here.
    assert!(started.elapsed() < std::time::Duration::from_mins(1), "{:?}", started.elapsed());
}

#[test]
fn a_wrong_marker_is_found_by_check() {
    for (engine, project) in places::projects() {
        project.run(&["check"]).expect(0);
        for (right, wrong) in [
            // Valid SQL that compares with something else: other rows, or none.
            ("topic=f.topic", "topic=f.city"),
            ("region=f.region", "region=f.topic"),
        ] {
            project.template("places", &places::TEMPLATE.replace(right, wrong));
            let said = project.run(&["check"]).expect(2);
            said.explains(&["places.sql:", "this marker changes what the query returns", "0 rows instead of"]);
            project.run(&["check", "--offline"]).expect(0);
            assert!(!said.stderr.contains("couldn't be seen"), "{engine}: {said}");
        }
        // Of two markers the wrong one is named: the second line of the query's end.
        let two = places::TEMPLATE.replace("\nGROUP BY", " AND true /*:keys topic=f.city */\nGROUP BY");
        project.template("places", &two);
        let said = project.run(&["check"]).expect(2);
        let column =
            two.lines().find(|line| line.contains("f.city */")).and_then(|line| line.find("/*:keys topic=f.city"));
        said.explains(&[&format!(":{}", column.expect("a marker") + 1)]);
    }
}

#[test]
fn check_tells_too_many_keys_from_none() {
    for (engine, project) in places::projects() {
        project.template("places", &places::TEMPLATE.replace("page_url", "max_keys = 17\npage_url"));
        let said = project.run(&["check"]).expect(0);
        said.explains(&["at least 18 published combinations", "max_keys = 17"]);
        project
            .template("places", &places::TEMPLATE.replace("FROM country ORDER", "FROM country WHERE name = '' ORDER"));
        let said = project.run(&["check"]).expect(0);
        said.explains(&["no key is published"]);
        assert!(!said.stderr.contains("max_keys"), "{engine}: {said}");
    }
}

#[test]
fn a_pasted_page_means_the_template_that_uses_all_of_it() {
    for (engine, project) in places::projects() {
        let world = "/*---\npath = \"aaa/{topic}.json\"\npage_url = \"https://example.org/map?topic={topic}\"\n---*/\n\
                     SELECT topic, count(*) AS n FROM fact GROUP BY topic ORDER BY topic";
        project.template("aaa", world).publish();
        let planned = |url: &str| {
            let said = project.json(&["plan", url], 0);
            said["templates"]
                .as_array()
                .expect("a list")
                .iter()
                .map(|template| template["name"].clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(planned("https://example.org/map?topic=crispr"), [json!("aaa")], "{engine}");
        let all = "https://example.org/map?region=united-states&topic=crispr&confidence=low";
        assert_eq!(planned(all), [json!("places")], "{engine}");
        project.template("bbb", &world.replace("aaa/", "bbb/"));
        let said = project.run(&["plan", "https://example.org/map?topic=crispr"]).expect(2);
        said.explains(&["several templates", "aaa, bbb"]);
        assert_eq!(planned(all), [json!("places")], "{engine}");
    }
}

#[test]
fn a_broken_template_file_doesnt_hide_what_is_live() {
    for (engine, project) in places::projects() {
        project.publish();
        project.template("broken", "/*---\npath = 3\n---*/ SELECT 1");
        project.run(&["plan"]).expect(2);
        let release = project.head()["active"].as_str().expect("a release").to_owned();
        let low = "places/united-states/crispr/low";
        for arguments in [&["status"][..], &["releases"], &["releases", &release], &["get", "--release", &release, low]]
        {
            let said = project.run(arguments).expect(0);
            assert!(said.stderr.contains("broken.sql") && said.stderr.contains("warning"), "{engine}: {said}");
        }
        project.template("places", "/*---\npath = 3\n---*/ SELECT 1");
        let said = project.json(&["status"], 0);
        assert_eq!(template_of(&said, "places")["has_file"], true, "{engine}: {said}");
    }
}

#[test]
fn a_domain_column_that_is_misspelt_is_named_with_the_nearest() {
    for (engine, project) in places::projects() {
        project.template("places", &places::TEMPLATE.replace("name AS label FROM topic", "name AS lable FROM topic"));
        for command in ["check", "publish"] {
            let said = project.run(&[command]);
            assert!([1, 2].contains(&said.code()), "{engine}: {said}");
            said.explains(&["lable", "did you mean `label`?"]);
        }
    }
}
