//! The alert rules and the dashboard: over metrics that are there, and firing when they should.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

use crate::support::exposition::Exposition;
use crate::support::http;
use crate::support::places;
use crate::support::serving::Serving;
use crate::support::skip::skip;

/// Words of `PromQL` that have no bracket behind them, as functions have.
const WORDS: [&str; 3] = ["sum", "by", "and"];
/// Labels that are added to ours, or of buckets.
const ADDED: [&str; 2] = ["instance", "le"];

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/alerts").join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(file(name)).expect("read it")
}

/// Everything that a server and runs of a site say.
fn all_that_is_said() -> Exposition {
    let project = places::sqlite();
    fs::create_dir_all(project.root().join("schedules")).expect("make the folder");
    fs::write(project.root().join("schedules/nightly.toml"), "cron = \"@daily\"").expect("write the schedule");
    let metrics = project.root().join("tintype.prom");
    project.tintype(&["schedule", "--once", "nightly"]).arg("--metrics-file").arg(&metrics).run().expect(0);
    let of_run = Exposition::parse(&fs::read_to_string(&metrics).expect("read the metrics"));
    let server = Serving::start(&project).looked();
    assert_eq!(server.get("/places/united-states/crispr/low.json").status, 200);
    let of_server = Exposition::parse(http::get(server.admin, "/metrics", &[]).text());
    server.end().expect(0);
    of_server.and(of_run)
}

/// The expressions of the rules, on one line or folded over several.
fn rules() -> Vec<String> {
    let text = read("tintype.yml");
    let mut lines = text.lines().peekable();
    let mut found = Vec::new();
    while let Some(line) = lines.next() {
        let Some(expression) = line.trim().strip_prefix("expr: ") else { continue };
        let mut expression = expression.to_owned();
        if expression == ">-" {
            expression.clear();
            while let Some(more) = lines.next_if(|more| more.starts_with("          ")) {
                expression = format!("{expression} {}", more.trim());
            }
        }
        found.push(expression);
    }
    found
}

/// The dashboard's panels, without the rows that hold them.
fn panels(dashboard: &Value) -> Vec<&Value> {
    let panels = dashboard["panels"].as_array().expect("panels");
    panels.iter().filter(|panel| panel["type"] != "row").collect()
}

/// The targets of the panels: an expression and the legend of each.
fn targets(dashboard: &Value) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    for panel in panels(dashboard) {
        let targets = panel["targets"].as_array().expect("a list");
        assert!(!targets.is_empty(), "{} is empty", panel["title"]);
        let text = |of: &'static str| targets.iter().map(move |target| target[of].as_str().expect("a text"));
        found.extend(text("expr").zip(text("legendFormat")));
    }
    found
}

/// The names in an expression, of metrics and of labels, each with what stands behind it.
fn names(expression: &str) -> Vec<(&str, &str)> {
    let mut names = Vec::new();
    let mut rest = expression;
    while let Some(at) = rest.find(|c: char| c.is_ascii_alphabetic() || matches!(c, '"' | '$')) {
        // A letter behind a figure is a unit of time, and what begins with a dollar Grafana puts in.
        let is_unit = rest[..at].ends_with(|before: char| before.is_ascii_digit());
        rest = &rest[at..];
        if let Some(quoted) = rest.strip_prefix('"') {
            rest = quoted.split_once('"').expect("a closing quote").1;
            continue;
        }
        let is_variable = rest.starts_with('$');
        rest = rest.trim_start_matches('$');
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let (name, behind) = rest.split_at(end);
        rest = behind;
        if !is_unit && !is_variable && !behind.starts_with('(') && !WORDS.contains(&name) {
            names.push((name, behind));
        }
    }
    names
}

/// The values that a label is compared with; none if it isn't, or with what Grafana puts in.
fn compared(behind: &str) -> Option<Vec<&str>> {
    let values = ["=\"", "=~\"", "!=\"", "!~\""].into_iter().find_map(|by| behind.strip_prefix(by))?;
    let (values, _) = values.split_once('"').expect("a closing quote");
    (!values.contains('$')).then(|| values.split('|').collect())
}

/// Finds what an expression names that nobody says: metrics, labels, and the values that labels are compared with.
fn unknown(expression: &str, said: &Exposition) -> Vec<String> {
    let mut unknown = Vec::new();
    let mut metric = None;
    for (name, behind) in names(expression) {
        if name.starts_with("tintype_") || name.starts_with("db_") {
            metric = Some(name);
            if said.of(name).next().is_none() {
                unknown.push(name.to_owned());
            }
            continue;
        }
        match (compared(behind), metric) {
            (Some(values), Some(metric)) => {
                let has =
                    |value: &str| said.of(metric).any(|sample| sample.labels.get(name).is_some_and(|is| is == value));
                unknown.extend(values.into_iter().filter(|value| !has(value)).map(|value| format!("{name}={value}")));
            }
            // Labels that a sum keeps stand in front of the metric.
            _ if ADDED.contains(&name) || said.all().any(|sample| sample.labels.contains_key(name)) => {}
            _ => unknown.push(name.to_owned()),
        }
    }
    unknown
}

#[test]
fn what_is_named_wrongly_is_found() {
    let said = Exposition::parse(
        "# TYPE db_pool_usage gauge\ndb_pool_usage{pool=\"serve\"} 0.5\n# TYPE tintype_a histogram\ntintype_a_bucket{le=\"1\"} 1\n",
    );
    let wrong = |expression: &str| unknown(expression, &said);
    assert!(
        wrong("sum by (instance, pool) (rate(db_pool_usage{pool=\"serve\", instance=~\"$instance\"}[5m])) > 0.95")
            .is_empty()
    );
    assert!(wrong("histogram_quantile(0.5, sum by (le) (rate(tintype_a_bucket[$__rate_interval])))").is_empty());
    assert_eq!(wrong("db_pool_usge > 1 and tintype_a"), ["db_pool_usge", "tintype_a"]);
    assert_eq!(wrong("sum by (pol) (db_pool_usage{pool=\"build\"})"), ["pol", "pool=build"]);
    assert_eq!(wrong("up == 0"), ["up"]);
}

#[test]
fn rules_and_dashboard_are_over_what_is_really_said() {
    let said = all_that_is_said();
    let rules = rules();
    assert_eq!(rules.len(), read("tintype.yml").matches("- alert: ").count());
    let dashboard: Value = serde_json::from_str(&read("grafana-dashboard.json")).expect("JSON");
    let targets = targets(&dashboard);
    for expression in rules.iter().map(String::as_str).chain(targets.iter().map(|(expression, _)| *expression)) {
        let unknown = unknown(expression, &said);
        assert!(unknown.is_empty(), "nobody says {unknown:?}: {expression}");
    }
    let labels: BTreeSet<&str> =
        said.all().flat_map(|sample| sample.labels.keys().map(String::as_str)).chain(ADDED).collect();
    for (_, legend) in targets {
        for label in legend.split("{{").skip(1).map(|rest| rest.split_once("}}").expect("a closing bracket").0) {
            assert!(labels.contains(label), "no label {label}: {legend}");
        }
    }
}

#[test]
fn the_dashboard_is_one() {
    let dashboard: Value = serde_json::from_str(&read("grafana-dashboard.json")).expect("JSON");
    let all = dashboard["panels"].as_array().expect("panels");
    let ids: BTreeSet<u64> = all.iter().map(|panel| panel["id"].as_u64().expect("a number")).collect();
    assert_eq!(ids.len(), all.len(), "two panels have one number");
    let mut taken = BTreeSet::new();
    for panel in all {
        let place = |name: &str| panel["gridPos"][name].as_u64().expect("a number");
        for (x, y) in (0..place("w")).flat_map(|x| (0..place("h")).map(move |y| (x, y))) {
            assert!(place("x") + x < 24, "{} is too wide", panel["title"]);
            assert!(taken.insert((place("x") + x, place("y") + y)), "{} lies on another", panel["title"]);
        }
    }
    let source = |of: &Value| of["datasource"]["uid"].as_str().map(str::to_owned);
    assert!(panels(&dashboard).into_iter().all(|panel| source(panel).as_deref() == Some("${datasource}")));
    let variables: Vec<&str> = dashboard["templating"]["list"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|one| one["name"].as_str())
        .collect();
    assert_eq!(variables, ["datasource", "instance"]);
}

/// What `promtool` says, which must be content; nothing where it isn't installed.
fn promtool(arguments: &[&str]) -> Option<String> {
    let Ok(output) = Command::new("promtool").args(arguments).output() else {
        skip("promtool (Debian: prometheus) isn't installed");
        return None;
    };
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{said}");
    Some(said)
}

#[test]
fn rules_fire_when_they_should() {
    let path = |name: &str| file(name).display().to_string();
    let Some(said) = promtool(&["check", "rules", &path("tintype.yml")]) else { return };
    let count = rules().len();
    assert!(said.contains(&format!("{count} rules found")), "{said}");
    promtool(&["test", "rules", &path("tintype_test.yml")]);
    // Each of them fires in one of these tests.
    let (rules, tests) = (read("tintype.yml"), read("tintype_test.yml"));
    for name in rules.split("- alert: ").skip(1).filter_map(|rest| rest.split_whitespace().next()) {
        let fires = tests.split("alertname: ").any(|test| {
            test.split_once('\n')
                .is_some_and(|(first, rest)| first == name && rest.trim_start().starts_with("eval_time: "))
        });
        assert!(fires, "{name} fires in no test");
    }
}

#[test]
fn expressions_of_the_dashboard_are_promql() {
    let dashboard: Value = serde_json::from_str(&read("grafana-dashboard.json")).expect("JSON");
    let plain = |expression: &str| expression.replace("$__rate_interval", "5m").replace("$instance", ".*");
    let rule = |(at, (expression, _)): (usize, &(&str, &str))| {
        format!("      - {{ record: 'panel:{at}', expr: {} }}\n", Value::from(plain(expression)))
    };
    let targets = targets(&dashboard);
    let rules: String = targets.iter().enumerate().map(rule).collect();
    let folder = tempfile::tempdir().expect("make a folder");
    let file = folder.path().join("panels.yml");
    fs::write(&file, format!("groups:\n  - name: panels\n    rules:\n{rules}")).expect("write the rules");
    let Some(said) = promtool(&["check", "rules", &file.display().to_string()]) else { return };
    assert!(said.contains(&format!("{} rules found", targets.len())), "{said}");
}
