//! The command line's contract: exit codes, what goes to which stream, configuration, and the commands that only look.

use serde_json::json;

use crate::support::directory::differences;
use crate::support::places::{self, DOCUMENTS};
use crate::support::postgres;
use crate::support::process::Tintype;
use crate::support::project::{Project, template_of};

fn project() -> Project {
    let project = Project::sqlite(places::ROWS);
    project.template("places", places::TEMPLATE);
    project
}

#[test]
fn a_successful_run_off_a_terminal_is_silent() {
    let project = project();
    for _ in 0..2 {
        let ended = project.run(&["publish"]).expect(0);
        assert_eq!((ended.text().as_str(), ended.stderr.as_str()), ("", ""), "cron would mail this");
    }
    let ended = project.run(&["publish", "-v"]).expect(0);
    assert!(!ended.stderr.is_empty(), "-v says nothing");
    assert_eq!(ended.text(), "", "what isn't data goes to stderr");
}

#[test]
fn json_is_one_document_with_the_promised_fields() {
    let project = project();
    let first = project.publish();
    assert_eq!((&first["version"], &first["command"]), (&json!(1), &json!("publish")));
    assert_eq!(first["outcome"], "published");
    assert_eq!(first["connections"], 1);
    assert!(first["release"].is_string() && first["serial"].is_u64(), "{first:#}");
    let as_of = first["as_of"].as_str().expect("an instant");
    assert!(as_of.ends_with('Z') && as_of.contains('T'), "{as_of}");
    let template = template_of(&first, "places");
    let number = |name: &str| template[name].as_u64().unwrap_or_else(|| panic!("no number {name} in {template:#}"));
    assert_eq!(number("keys"), DOCUMENTS as u64);
    assert_eq!(
        (number("added"), number("changed"), number("removed"), number("unchanged")),
        (DOCUMENTS as u64, 0, 0, 0)
    );
    assert_eq!(number("rows"), 9, "rows of the query: 2 + 2 + 1 of crispr, 1 and 3 of malaria");
    assert_eq!(number("queries"), 3, "the template and two domains");
    for name in ["puts", "copies", "deletes", "gets", "heads", "lists"] {
        assert!(first["store"][name].is_u64(), "no {name} in {first:#}");
    }
    for name in ["query", "hold", "encode", "stage", "activate", "total"] {
        assert!(first["seconds"][name].is_f64() || first["seconds"][name].is_u64(), "no {name} in {first:#}");
    }
}

#[test]
fn a_failed_run_in_json_is_still_one_document() {
    let project = project();
    let bad = "/*---\npath = \"bad/{k}.json\"\n---*/\nSELECT NULL AS k, 1 AS v";
    project.template("bad", bad);
    std::fs::remove_file(project.template_file("places")).expect("remove the template");
    let ended = project.tintype(&["publish", "--format", "json"]).run().expect(1);
    let said = ended.json();
    assert_eq!((&said["command"], &said["outcome"]), (&json!("publish"), &json!("failed")));
    let template = template_of(&said, "bad");
    assert_eq!(template["outcome"], "failed");
    assert!(template["reason"].as_str().is_some_and(|reason| reason.contains("NULL")), "{said:#}");
}

#[test]
fn plan_shows_what_publish_would_do_and_does_nothing() {
    for (engine, project) in places::projects() {
        project.run(&["plan"]).expect(0);
        project.run(&["plan", "--exit-code"]).expect(10);
        assert!(project.public().paths().is_empty(), "{engine}: plan has published");
        project.publish();
        project.run(&["plan", "--exit-code"]).expect(0);
        project.execute("UPDATE fact SET level = 3 WHERE fact_id = 2");
        let before = project.stamps();
        let shown = project.run(&["plan", "--exit-code"]).expect(10).text();
        assert!(shown.contains("united-states/crispr/high"), "{engine}: {shown}");
        assert!(!shown.contains("malaria"), "{engine}: {shown}");
        let said = project.json(&["plan"], 0);
        assert_eq!(template_of(&said, "places")["changed"], 2, "{engine}: {said:#}");
        let some = project.json(&["plan", "places/united-states/crispr/high"], 0);
        assert_eq!(template_of(&some, "places")["changed"], 1, "{engine}: {some:#}");
        project.run(&["plan", "places/*/sepsis/*", "--exit-code"]).expect(0);
        for dry in [&["publish", "--dry-run"][..], &["publish", "-n"], &["republish", "places/*/crispr/*", "-n"]] {
            project.run(dry).expect(0);
        }
        assert!(differences(&before, &project.stamps()).is_empty(), "{engine}: something was written");
        let done = project.publish();
        assert_eq!(template_of(&done, "places")["changed"], 2, "{engine}");
    }
}

#[test]
fn get_prints_the_body() {
    for (engine, project) in places::projects() {
        project.publish();
        let path = "places/united-states/crispr/low.json";
        // A line each, as the tools behind a pipe want it.
        let body = [project.public().body(path), b"\n".to_vec()].concat();
        for key in [
            "places/united-states/crispr/low",
            path,
            "https://cdn.example.org/places/united-states/crispr/low.json",
            "https://example.org/map?confidence=low&topic=crispr&region=united-states",
        ] {
            assert!(project.run(&["get", key]).expect(0).stdout == body, "{engine}: {key}");
        }
        assert!(project.run(&["get", path, "--from", "live"]).expect(0).stdout == body, "{engine}: live");
        // From the database as it is now, before anybody publishes; the store still has the old one.
        project.execute("UPDATE fact SET city = 'Dallas' WHERE city_id = 2");
        let live = project.run(&["get", path, "--from", "live"]).expect(0).text();
        assert!(live.contains("Dallas"), "{engine}: {live}");
        assert!(project.run(&["get", path, "--from", "store"]).expect(0).stdout == body, "{engine}: store");
        project.publish();
        assert_eq!(project.run(&["get", path]).expect(0).text(), live, "{engine}");
        let ended = project.run(&["get", "places/united-states/crisper/low"]);
        assert_ne!(ended.code(), 0, "{engine}");
        ended.explains(&["crisper", "crispr"]);
    }
}

#[test]
fn an_older_release_can_still_be_read() {
    let project = project();
    let first = project.publish();
    let path = "places/united-states/crispr/low.json";
    let body = [project.public().body(path), b"\n".to_vec()].concat();
    project.execute("UPDATE fact SET city = 'Dallas' WHERE city_id = 2");
    let second = project.publish();
    assert_ne!(first["release"], second["release"]);
    let release = first["release"].as_str().expect("a release");
    assert!(project.run(&["get", path, "--release", release]).expect(0).stdout == body);
    assert!(project.run(&["get", path]).expect(0).stdout != body);
    let releases = project.json(&["releases"], 0);
    let ids: Vec<_> = releases["releases"].as_array().expect("a list").iter().map(|one| &one["release"]).collect();
    assert_eq!(ids, [&second["release"], &first["release"]], "newest first: {releases:#}");
    let shown = project.json(&["releases", ids[0].as_str().expect("a release")], 0);
    assert!(shown.to_string().contains("united-states/crispr/low"), "what the release changed: {shown:#}");
    project.run(&["releases", "no-such-release"]).expect(2).explains(&["no-such-release"]);
}

#[test]
fn status_tells_what_is_live_before_and_after() {
    let project = project();
    let nothing = project.run(&["status"]).expect(0);
    assert!(nothing.text().contains("publish"), "it doesn't say what to do first: {nothing}");
    let said = project.publish();
    let status = project.json(&["status"], 0);
    assert!(status.to_string().contains(said["release"].as_str().expect("a release")), "{status:#}");
    let text = project.run(&["status"]).expect(0).text();
    assert!(text.contains("places"), "{text}");
}

#[test]
fn without_a_configuration_the_way_to_one_is_named() {
    for command in ["publish", "plan", "status", "check"] {
        let ended = Tintype::new([command]).run().expect(2);
        ended.explains(&["tintype.toml", "tintype demo", "tintype init"]);
    }
    Tintype::new(["publish", "-c", "elsewhere.toml"]).run().expect(2).explains(&["elsewhere.toml"]);
}

#[test]
fn the_environment_wins_over_the_file_and_its_names_are_checked() {
    let project = project();
    let other = project.root().join("other");
    std::fs::create_dir(&other).expect("make a folder");
    let store = format!("file:{}", other.join("site").display());
    project.tintype(&["publish"]).env("TINTYPE_STORE_URL", &store).run().expect(0);
    assert!(other.join("site/index.json").exists() && !project.root().join("public").exists());
    let ended = project.tintype(&["publish"]).env("TINTYPE_STOR_URL", &store).run().expect(2);
    ended.explains(&["TINTYPE_STOR_URL", "TINTYPE_STORE_URL"]);
    project.configure("sqlite:nowhere.db", "");
    let database = format!("sqlite:{}", project.root().join("file.db").display());
    project.tintype(&["publish"]).env("DATABASE_URL", &database).run().expect(0);
    project.run(&["publish"]).expect(1);
}

#[test]
fn relative_paths_count_from_the_files_folder() {
    let project = project();
    let elsewhere = tempfile::tempdir().expect("make a folder");
    project.tintype(&["publish"]).in_directory(elsewhere.path()).run().expect(0);
    assert_eq!(project.public().paths().len(), DOCUMENTS);
    assert!(std::fs::read_dir(elsewhere.path()).expect("list it").next().is_none(), "it wrote where it was started");
}

#[test]
fn init_writes_a_project_that_publishes_at_once() {
    let root = tempfile::tempdir().expect("make a folder");
    let folder = root.path().join("site");
    Tintype::new(["init"]).arg(&folder).run().expect(0);
    let config = std::fs::read_to_string(folder.join("tintype.toml")).expect("read tintype.toml");
    for section in ["[database]", "[store]", "[cdn]", "[paths]"] {
        assert!(config.contains(section), "no {section} in {config}");
    }
    // What is proposed next can be typed as it stands.
    let status = Tintype::new(["status", "-c", "site/tintype.toml"]).in_directory(root.path()).run().expect(0);
    assert!(status.text().contains("`tintype -c site/tintype.toml publish`"), "{status}");
    Tintype::new(["-c"]).arg(folder.join("tintype.toml")).arg("publish").run().expect(0);
    assert!(folder.join("public/index.json").exists());
    // A second time nothing that somebody may have edited is overwritten.
    std::fs::write(folder.join("templates/world-map.sql"), "mine").expect("edit a template");
    let again = Tintype::new(["init"]).arg(&folder).run();
    assert_ne!(again.code(), 0, "{again}");
    assert_eq!(std::fs::read(folder.join("templates/world-map.sql")).expect("read it"), b"mine");
}

#[test]
fn init_with_a_database_makes_no_demo() {
    let root = tempfile::tempdir().expect("make a folder");
    let folder = root.path().join("site");
    let ended =
        Tintype::new(["init"]).arg(&folder).args(&["--database", "postgres://db.example.org/maps"]).run().expect(0);
    let config = std::fs::read_to_string(folder.join("tintype.toml")).expect("read tintype.toml");
    assert!(config.contains("postgres://db.example.org/maps"), "{ended}");
    let files = crate::support::directory::files_below(&folder);
    assert!(!files.iter().any(|file| file.to_lowercase().ends_with(".db")), "{files:?}");
}

#[test]
fn init_fills_a_postgresql_with_the_demos_tables() {
    let Some(database) = postgres::database() else { return };
    let root = tempfile::tempdir().expect("make a folder");
    let init = |name: &str, database: &str| {
        Tintype::new(["init", "--demo-data", "--database", database]).arg(root.path().join(name)).run()
    };
    let written = init("site", &database.url()).expect(0);
    let config = root.path().join("site/tintype.toml");
    let got = Tintype::new(["get", "world-map/crispr/low", "--from", "live", "-c"]).arg(&config).run();
    assert!(got.code() == 0 && got.stdout.starts_with(b"{"), "{written}{got}");
    Tintype::new(["check", "-c"]).arg(&config).run().expect(0);
    // What is there stays as it is, and no folder is left.
    init("again", &database.url()).expect(1).explains(&["already exists", "42P07", "leave --demo-data out"]);
    init("file", "sqlite:some.db").expect(2).explains(&["SQLite file", "leave --database and --demo-data out"]);
    init("away", "postgres://postgres@127.0.0.1:1/x?sslmode=disable").expect(1).explains(&["can't connect"]);
    let none = Tintype::new(["init", "--demo-data"]).arg(root.path().join("none")).run().expect(2);
    assert!(none.stderr.contains("--database"), "{none}");
    let left = crate::support::directory::files_below(root.path());
    assert!(left.iter().all(|file| file.starts_with("site/")), "{left:?}");
    assert_eq!(database.query("SELECT count(*)::text FROM country").len(), 1);
}

#[test]
fn usage_errors_exit_2_with_a_suggestion() {
    let ended = Tintype::new(["publsh"]).run().expect(2);
    assert!(ended.stderr.contains("publish"), "{ended}");
    Tintype::new(["publish", "--no-such-flag"]).run().expect(2);
    Tintype::new(["publish", "--format", "yaml"]).run().expect(2);
    let help = Tintype::new(["--help"]).run().expect(0).text();
    for command in ["init", "demo", "check", "plan", "publish", "republish", "status", "releases", "get"] {
        assert!(help.contains(command), "no {command} in {help}");
        let one = Tintype::new([command, "--help"]).run().expect(0).text();
        assert!(one.contains("Usage:"), "{one}");
    }
    let version = Tintype::new(["--version"]).run().expect(0).text();
    assert!(version.contains(env!("CARGO_PKG_VERSION")), "{version}");
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let project = project();
    project.publish();
    let script = format!(
        "'{}' status -c '{}' | true; exit ${{PIPESTATUS[0]}}",
        env!("CARGO_BIN_EXE_tintype"),
        project.config().display()
    );
    let ended = Tintype::new(["-c", &script]).program("/bin/bash".into()).run().expect(0);
    assert!(!ended.stderr.contains("panicked"), "{ended}");
}

#[test]
fn colour_is_asked_for_or_not_there() {
    let project = project();
    project.template("places", &places::TEMPLATE.replace("[keys.region]", "[keys.regionn]"));
    let escape = |arguments: &[&str], variable: Option<&str>| {
        let mut command = project.tintype(arguments);
        if let Some(name) = variable {
            command = command.env(name, "1");
        }
        command.run().expect(2).stderr.contains('\u{1b}')
    };
    assert!(!escape(&["check"], None));
    assert!(escape(&["check", "--color", "always"], None));
    assert!(!escape(&["check", "--color", "never"], Some("CLICOLOR_FORCE")));
    assert!(!escape(&["check"], Some("NO_COLOR")));
}

#[test]
fn a_template_that_is_gone_keeps_its_documents_and_is_reported() {
    let project = project();
    project.template("other", "/*---\npath = \"other/{k}.json\"\n---*/\nSELECT 'a' AS k, 1 AS v").publish();
    std::fs::remove_file(project.template_file("other")).expect("remove the template");
    let ended = project.tintype(&["publish", "-v"]).run().expect(0);
    assert!(ended.stderr.contains("other"), "it isn't reported: {ended}");
    assert!(project.public().has("other/a.json"));
    assert!(!project.public().catalogue()["templates"]["other"].is_null());
}

#[test]
fn a_note_holds_nothing_that_a_terminal_obeys() {
    let project = places::sqlite();
    for (flag, text) in [("--note", "x\u{1b}[2J"), ("--author", "a\nactive  9-fake")] {
        project.run(&["publish", flag, text]).expect(2);
    }
}
