//! Attempts to bring SQL in by what is typed: KEYs, `--where` and pasted URLs. What means nothing is refused, in words; a
//! value that looks like an attempt and is one of the data means its documents, and reaches the database as a parameter.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::support::directory::differences;
use crate::support::places;
use crate::support::process::Finished;
use crate::support::project::{Project, template_of};

/// A word that is in every attempt, and in nothing else.
const MARK: &str = "injected";

const ATTEMPTS: [&str; 16] = [
    "crispr'; DROP TABLE fact; SELECT 'injected",
    "crispr\"; DROP TABLE fact; SELECT \"injected",
    "crispr') OR ('injected' = 'injected",
    "crispr' UNION SELECT 'injected' FROM fact --",
    "crispr'--injected",
    "crispr'/*injected",
    "*/; DROP TABLE fact; SELECT 'injected' /*",
    "crispr\\'; DROP TABLE fact; SELECT \\'injected",
    "\\x27; DROP TABLE fact --injected\\",
    "$$; DROP TABLE fact; SELECT $$injected",
    "$1; DROP TABLE fact --injected",
    "injected\n; DROP TABLE fact;\n",
    "crispr\u{2019}; DROP TABLE fact --injected",
    "crispr\u{ff07}; DROP TABLE fact --injected",
    "crispr\u{2bc} OR \u{2bc}injected\u{2bc}=\u{2bc}injected",
    "crispr%27; DROP TABLE fact --injected",
];

/// The small world, in which the fallback table lies beside the data, and of which one column has no domain.
fn worlds() -> Vec<(&'static str, Project)> {
    let mut worlds = places::projects();
    for (engine, project) in &mut worlds {
        if *engine == "PostgreSQL" {
            let url = project.database().url();
            project.configure(&url, &format!("[fallback]\ntable_url = \"{url}\"\n"));
        }
        let open = places::TEMPLATE.replace("places/", "open/").replace("/map?", "/open?");
        let (before, domain) = open.split_once("[keys.topic]").expect("the domain");
        let (_, after) = domain.split_once("[keys.confidence]").expect("the next one");
        project.template("open", &format!("{before}[keys.confidence]{after}"));
    }
    worlds
}

/// Everything that the database holds, and the names of its tables.
fn contents(engine: &str, project: &Project) -> Vec<Vec<Option<String>>> {
    let names = match engine {
        "SQLite" => "SELECT name FROM sqlite_master ORDER BY name",
        _ => "SELECT table_name::text FROM information_schema.tables WHERE table_schema = 'public' ORDER BY 1",
    };
    let all =
        [names, "SELECT * FROM country ORDER BY 1", "SELECT * FROM topic ORDER BY 1", "SELECT * FROM fact ORDER BY 1"];
    all.iter().flat_map(|sql| project.query(sql)).collect()
}

/// Each way in which an attempt can be typed, for a template of three columns.
fn ways(template: &str, page: &str, attempt: &str) -> Vec<Vec<String>> {
    let typed = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let encoded = utf8_percent_encode(attempt, NON_ALPHANUMERIC).to_string();
    let page = format!("https://example.org/{page}?region=united-states&topic={encoded}&confidence=low");
    vec![
        typed(&[attempt]),
        typed(&[&format!("{template}/united-states/{attempt}/low")]),
        typed(&[&format!("{template}/united-states/{attempt}/low.json")]),
        typed(&[&format!("https://cdn.example.org/{template}/united-states/{encoded}/low.json")]),
        typed(&[&format!("https://cdn.example.org/{template}/united-states/{encoded}%00/low.json")]),
        typed(&[&page]),
        typed(&[&page.replacen("&confidence", "%00&confidence", 1)]),
        typed(&[template, "--where", &format!("topic={attempt}")]),
        typed(&[template, "--where", &format!("{attempt}=crispr")]),
    ]
}

/// Fails unless what was typed was refused in words, or meant nothing.
#[track_caller]
fn is_refused(what: &str, ended: &Finished) {
    assert_eq!(ended.code(), 2, "{what}: {ended}");
    ended.explains(&[]);
    assert!(!ended.stderr.contains("SQLSTATE") && !ended.stderr.contains("panicked"), "{what}: {ended}");
}

#[test]
fn what_is_no_key_is_refused_and_never_reaches_the_database() {
    const COMMANDS: [&[&str]; 5] =
        [&["republish"], &["publish"], &["get", "--from", "live"], &["get", "--from", "table"], &["plan"]];
    for (engine, project) in worlds() {
        project.publish();
        let (before, stamps) = (contents(engine, &project), project.stamps());
        let start = (engine == "PostgreSQL").then(|| project.database().log_end());
        // Every way with every command, but not every attempt.
        let templates = [("places", "map"), ("open", "open")].into_iter().cycle();
        for ((attempt, (template, page)), at) in ATTEMPTS.into_iter().zip(templates).zip(0..) {
            for (typed, command) in ways(template, page, attempt).iter().zip(COMMANDS.iter().cycle().skip(at)) {
                let words: Vec<&str> = typed.iter().map(String::as_str).collect();
                let arguments = [*command, &words].concat();
                is_refused(&format!("{engine}: {arguments:?}"), &project.run(&arguments));
            }
        }
        assert_eq!(contents(engine, &project), before, "{engine}");
        assert!(differences(&stamps, &project.stamps()).is_empty(), "{engine}: something was written");
        if let Some(start) = start {
            let witness = project.database().witness_since(start);
            assert!(!witness.statements.is_empty(), "the domains are read");
            let reached = witness.statements.iter().find(|statement| statement.sql.contains(MARK));
            assert!(reached.is_none(), "{reached:#?}");
        }
    }
}

/// The template over topics that have a slug of their own.
fn with_slugs() -> String {
    let slugs = "SELECT slug AS topic, name AS label, 't' || papers AS slug FROM topic ORDER BY papers DESC";
    let template =
        places::TEMPLATE.replace("SELECT slug AS topic, name AS label FROM topic ORDER BY papers DESC, slug", slugs);
    assert!(template.contains(slugs));
    template
}

#[test]
fn a_value_that_looks_like_sql_means_its_documents() {
    // A line break is in no value of a key.
    let values: Vec<&str> = ATTEMPTS.into_iter().filter(|value| !value.contains('\n')).collect();
    for (engine, project) in worlds() {
        std::fs::remove_file(project.template_file("open")).expect("remove the template");
        project.template("places", &with_slugs());
        for (number, value) in (1_000..).zip(&values) {
            let text = value.replace('\'', "''");
            project.execute(&format!(
                "INSERT INTO topic VALUES ('{text}', 'Label {number}', {number}); \
                 INSERT INTO fact VALUES ({number}, 'United States', '{text}', 1, 'Boston', {number}, 3)"
            ));
        }
        project.publish();
        let before = contents(engine, &project);
        let start = (engine == "PostgreSQL").then(|| project.database().log_end());
        for (number, value) in (1_000..).zip(&values) {
            let typed = &names_of(value, number)[number as usize % 4];
            let words: Vec<&str> = typed.iter().map(String::as_str).collect();
            is_its_document(&project, &words, value, &format!("places/united-states/t{number}/low.json"));
        }
        assert_eq!(contents(engine, &project), before, "{engine}");
        if let Some(start) = start {
            let witness = project.database().witness_since(start);
            let reads = witness.statements.iter().filter(|statement| statement.sql.contains("FROM fact")).count();
            assert!(reads >= 2 * values.len(), "{reads} reads");
            let reached = witness.statements.iter().find(|statement| statement.sql.contains(MARK));
            assert!(reached.is_none(), "not as a parameter: {reached:#?}");
        }
    }
}

/// Each way of naming the document of a topic.
fn names_of(value: &str, number: u32) -> [Vec<String>; 4] {
    let encoded = utf8_percent_encode(value, NON_ALPHANUMERIC);
    let conditions = ["confidence=low".to_owned(), "region=united-states".to_owned(), format!("topic={value}")];
    let conditions = conditions.into_iter().flat_map(|condition| ["--where".to_owned(), condition]);
    [
        vec![format!("places/united-states/t{number}/low")],
        vec![format!("https://cdn.example.org/places/united-states/t{number}/low.json")],
        vec![format!("https://example.org/map?region=united-states&topic={encoded}&confidence=low")],
        std::iter::once("places".to_owned()).chain(conditions).collect(),
    ]
}

/// Fails unless what was typed means this one document, wherever it is read.
#[track_caller]
fn is_its_document(project: &Project, typed: &[&str], value: &str, path: &str) {
    let said = project.json(&[&["republish"], typed].concat(), 0);
    let changes = template_of(&said, "places")["changes"].as_array().expect("a list").clone();
    let paths: Vec<&Value> = changes.iter().map(|change| &change["path"]).collect();
    assert_eq!(paths, [path], "{typed:?}: {said:#}");
    for from in ["live", "table"] {
        let got = project.json(&[&["get", "--from", from], typed].concat(), 0);
        let documents = got["documents"].as_array().expect("a list");
        assert_eq!(documents.len(), 1, "{typed:?}: {from}: {got:#}");
        let body = &documents[0]["body"];
        assert_eq!(
            (&body["key"]["topic"], &body["rows"][0]["city"]),
            (&value.into(), &"Boston".into()),
            "{typed:?}: {from}"
        );
    }
}
