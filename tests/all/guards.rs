//! Guards: a build that lost its rows, its columns or its mind is not published, and says so with numbers.

use serde_json::{Value, json};

use crate::support::directory::differences;
use crate::support::places::projects_over;
use crate::support::project::{Project, template_of};

/// Thirty keys of ten rows each, and a little table beside them.
pub const ROWS: &str = "
CREATE TABLE key (k TEXT PRIMARY KEY);
CREATE TABLE fact (id INTEGER PRIMARY KEY, k TEXT NOT NULL, v INTEGER NOT NULL, note TEXT, loaded_at TEXT);
INSERT INTO key WITH RECURSIVE s (i) AS (SELECT 10 UNION ALL SELECT i + 1 FROM s WHERE i < 39) SELECT 'k' || CAST(i AS TEXT) FROM s;
INSERT INTO fact WITH RECURSIVE s (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM s WHERE i < 299)
SELECT i, 'k' || CAST(10 + i / 10 AS TEXT), i % 10, 'note', '2026-01-01 00:00:00' FROM s;
CREATE TABLE small (k TEXT PRIMARY KEY, v INTEGER NOT NULL);
INSERT INTO small VALUES ('a', 1), ('b', 2);
";

/// Documents of `big`.
pub const DOCUMENTS: usize = 30;

const SMALL: &str = "/*---\npath = \"small/{k}.json\"\n---*/\nSELECT k, v FROM small ORDER BY k";

/// The template `big` with these lines of `[guard]`.
pub fn big(guard: &str) -> String {
    format!(
        "/*---\npath = \"big/{{k}}.json\"\n[keys.k]\nsql = \"SELECT k FROM key ORDER BY k\"\n[guard]\n{guard}\n---*/\n\
         SELECT k, id, v, note FROM fact ORDER BY k, id"
    )
}

/// The verdict of a guard on a template.
#[track_caller]
fn verdict<'a>(document: &'a Value, template: &str, guard: &str) -> &'a Value {
    let verdicts = template_of(document, template)["guards"].as_array().expect("there are guards");
    verdicts.iter().find(|verdict| verdict["guard"] == guard).unwrap_or_else(|| panic!("no {guard} in {verdicts:#?}"))
}

#[test]
fn a_truncated_table_leaves_the_site_as_it_was() {
    for (engine, project) in projects_over(ROWS) {
        project.template("big", &big("")).publish();
        let before = project.stamps();
        project.execute("DELETE FROM fact");
        let ended = project.tintype(&["publish", "--format", "json"]).run().expect(3);
        ended.explains(&["refused: big", "rows_drop", "rows fell from 300 to 0", "big/k10.json rows 10 → 0", "empty"]);
        ended.explains(&["stay live", "publish --release", "--accept-guard rows_drop --accept-guard keys_drop"]);
        let said = ended.json();
        assert_eq!(said["outcome"], "refused", "{engine}");
        assert_eq!(template_of(&said, "big")["outcome"], "refused", "{engine}");
        let rows_drop = verdict(&said, "big", "rows_drop");
        assert_eq!(
            (&rows_drop["level"], &rows_drop["before"], &rows_drop["after"]),
            (&json!("error"), &json!(300), &json!(0))
        );
        assert_eq!(rows_drop["keys"].as_array().map(Vec::len), Some(10));
        let mut touched = differences(&before, &project.stamps());
        touched.retain(|path| path.starts_with("public/"));
        assert_eq!(touched, Vec::<String>::new(), "{engine}");
        let head = project.head();
        assert_eq!((&head["desired"], &head["active"]), (&said["release"], &said["release"]), "{engine}");
        let status = project.json(&["status"], 0);
        assert_eq!(status["templates"][0]["failed"]["staged"], said["staged"], "{engine}");
        let shown = project.run(&["status"]).expect(0).text();
        assert!(shown.contains("last run refused, staged as 2-"), "{engine}: {shown}");
        // The rows are back, and the guards have nothing to say any more.
        project.execute("INSERT INTO fact SELECT 0, 'k10', 0, 'note', NULL");
        project.run(&["plan"]).expect(3);
    }
}

#[test]
fn the_other_templates_of_the_run_are_published() {
    for (engine, project) in projects_over(ROWS) {
        project.template("big", &big("")).template("small", SMALL).publish();
        let digests = project.public().digests();
        project.execute("DELETE FROM fact; UPDATE small SET v = 7 WHERE k = 'a'");
        let said = project.json(&["publish"], 3);
        assert_eq!(said["outcome"], "published", "{engine}");
        assert_eq!(template_of(&said, "small")["outcome"], "published", "{engine}");
        assert_eq!(differences(&digests, &project.public().digests()), ["small/a.json"], "{engine}");
        assert_eq!(project.public().catalogue()["templates"]["big"]["status"], "last-good", "{engine}");
        assert_eq!(project.public().catalogue()["templates"]["big"]["count"], DOCUMENTS, "{engine}");
        // `--failed` means it, too; and mended, it is as good as before.
        project.execute("INSERT INTO fact SELECT CAST(substr(k, 2) AS INTEGER), k, 1, 'note', NULL FROM key");
        let said = project.json(
            &["publish", "--failed", "--accept-guard", "big/rows_drop", "--accept-guard", "size_drop", "--yes"],
            0,
        );
        assert_eq!(said["templates"].as_array().map(Vec::len), Some(1), "{engine}: {said:#}");
        assert!(verdict(&said, "big", "rows_drop")["accepted"].as_bool().unwrap_or_default(), "{engine}: {said:#}");
        assert_eq!(project.public().catalogue()["templates"]["big"]["status"], "ok", "{engine}");
        assert_eq!(project.head()["failed"], json!({}), "{engine}");
    }
}

#[test]
fn a_query_that_is_not_deterministic_is_named() {
    for (engine, project) in projects_over(ROWS) {
        let luck = if engine == "SQLite" { "random() % 1000000" } else { "random()" };
        let random = |guard: &str| big(guard).replace("v, note", &format!("{luck} AS luck, v, note"));
        project.template("big", &random("")).publish();
        let ended = project.run(&["publish"]).expect(0);
        let said = ended.stderr.as_str();
        for part in [
            "the guard changed warns",
            "30 of 30 documents changed, 100%",
            "300 to 300",
            "no total ORDER BY",
            "random()",
        ] {
            assert!(said.contains(part), "{engine}: no {part:?} in {said}");
        }
        let before = project.public().digests();
        project.template("big", &random("changed = \"60%\""));
        project.run(&["publish"]).expect(3).explains(&["the guard changed refuses", "isn't deterministic"]);
        assert_eq!(project.public().digests(), before, "{engine}");
    }
}

/// A guard, its levels at which `change` warns, those at which it refuses, and the statement or template that trips it.
struct Case {
    guard: &'static str,
    warn: &'static str,
    error: &'static str,
    change: Change,
    says: &'static str,
}

enum Change {
    Rows(&'static str),
    /// Text of the template and what stands there instead.
    Template(&'static str, &'static str),
}
use Change::{Rows, Template};

const CASES: [Case; 12] = [
    Case {
        guard: "rows_drop",
        warn: "warn 10%",
        error: "10%",
        change: Rows("DELETE FROM fact WHERE v < 2"),
        says: "rows fell from 300 to 240, by 20%",
    },
    Case {
        guard: "keys_drop",
        warn: "warn 2%, error 50%",
        error: "2%",
        change: Rows("DELETE FROM fact WHERE k = 'k10'"),
        says: "documents with rows fell from 30 to 29",
    },
    Case {
        guard: "keys_drop",
        warn: "warn 2%",
        error: "2%",
        change: Rows("DELETE FROM fact WHERE k = 'k10'; DELETE FROM key WHERE k = 'k10'"),
        says: "documents fell from 30 to 29, by 3.3%",
    },
    Case {
        guard: "empty",
        warn: "warn",
        error: "error",
        change: Rows("DELETE FROM fact"),
        says: "there were 300 rows, and there are none",
    },
    Case {
        guard: "changed",
        warn: "warn 5%",
        error: "5%",
        change: Rows("UPDATE fact SET v = 11 WHERE k IN ('k10', 'k11')"),
        says: "2 of 30 documents changed, 6.7%",
    },
    Case {
        guard: "size_drop",
        warn: "warn 5%",
        error: "5%",
        change: Rows("UPDATE fact SET note = NULL"),
        says: "bytes fell from",
    },
    Case {
        guard: "size_growth",
        warn: "warn 5%",
        error: "5%",
        change: Rows("UPDATE fact SET note = 'a much longer note than before'"),
        says: "bytes grew from",
    },
    Case {
        guard: "columns",
        warn: "warn",
        error: "error",
        change: Template("v, note", "v AS value, note"),
        says: "columns are gone: v; columns are new: value",
    },
    Case {
        guard: "path",
        warn: "warn",
        error: "error",
        change: Template("big/{k}", "great/{k}"),
        says: "the path was `big/{k}.json` and is `great/{k}.json`",
    },
    Case {
        guard: "source_age",
        warn: "warn 1d",
        error: "1d",
        change: Rows("UPDATE fact SET loaded_at = '2026-01-01 00:00:00'"),
        says: "the newest data is of 2026-01-01T00:00:00Z",
    },
    Case {
        guard: "max_delete",
        warn: "warn 0",
        error: "0",
        change: Rows("DELETE FROM fact WHERE k = 'k10'; DELETE FROM key WHERE k = 'k10'"),
        says: "1 of 30 documents go",
    },
    Case {
        guard: "nameless",
        warn: "warn",
        error: "error",
        change: Rows("UPDATE fact SET note = '' WHERE id = 7"),
        says: "rows were returned: id = 7, note = \"\"",
    },
];

/// `[guard]` with all guards off but one.
fn alone(guard: &str, levels: &str) -> String {
    let all = ["rows_drop", "keys_drop", "empty", "changed", "size_drop", "size_growth", "columns", "path"];
    let off: String = all.iter().filter(|name| **name != guard).map(|name| format!("{name} = \"off\"\n")).collect();
    match guard {
        "nameless" => format!(
            "{off}[[guard.assert]]\nname = \"nameless\"\nlevel = \"{levels}\"\nsql = \"SELECT id, note FROM fact WHERE note = '' -- none\""
        ),
        "source_age" => format!("{off}source_age = \"{levels}\"\nsource_age_sql = \"SELECT max(loaded_at) FROM fact\""),
        _ => format!("{off}{guard} = \"{levels}\""),
    }
}

#[test]
fn each_guard_warns_refuses_and_can_be_accepted() {
    for case in &CASES {
        for (engine, project) in projects_over(ROWS) {
            let what = format!("{engine}: {} {}", case.guard, case.error);
            let now = if engine == "SQLite" { "datetime('now')" } else { "CAST(now() AT TIME ZONE 'UTC' AS TEXT)" };
            project.execute(&format!("UPDATE fact SET loaded_at = {now}"));
            let template = |levels: &str, is_changed: bool| match case.change {
                Template(from, to) if is_changed => big(&alone(case.guard, levels)).replace(from, to),
                _ => big(&alone(case.guard, levels)),
            };
            project.template("big", &template(case.error, false)).publish();
            if let Rows(change) = case.change {
                project.execute(change);
            }
            let before = project.public().digests();
            project.template("big", &template(case.error, true));
            let refused = project.run(&["publish"]).expect(3);
            refused
                .explains(&[&format!("refused: big: the guard {} refuses it: {}", case.guard, case.says), "stay live"]);
            assert_eq!(project.public().digests(), before, "{what}");
            // A plan says the same.
            let plan = project.run(&["plan"]).expect(3);
            assert!(plan.text().contains(&format!("{} refuses", case.guard)), "{what}: {plan}");

            project.template("big", &template(case.warn, true));
            let warned = project.run(&["publish", "--dry-run"]).expect(0);
            assert!(
                warned.stderr.contains(&format!("the guard {} warns: {}", case.guard, case.says)),
                "{what}: {warned}"
            );

            project.template("big", &template(case.error, true));
            let accept = ["publish", "--accept-guard", case.guard];
            project.run(&accept).expect(2).explains(&[case.guard, "--yes"]);
            assert_eq!(project.public().digests(), before, "{what}");
            let accepted = project.tintype(&accept).arg("--yes").run().expect(0);
            assert!(accepted.stderr.contains("accepted") && accepted.stderr.contains(case.says), "{what}: {accepted}");
        }
    }
}

#[test]
fn before_the_first_release_asserts_count_and_shares_do_not() {
    for (engine, project) in projects_over(ROWS) {
        project.execute("DELETE FROM fact WHERE id > 0; UPDATE fact SET note = ''");
        let assert = "[[guard.assert]]\nname = \"no empty note\"\nsql = \"SELECT id FROM fact WHERE note = ''\"";
        project.template("big", &big(&format!("rows_drop = \"1%\"\n{assert}"))).template("small", SMALL);
        let ended = project.run(&["publish", "--format", "json"]).expect(3);
        ended.explains(&[
            "the guard no empty note refuses it: rows were returned: id = 0",
            "nothing of big is published",
            "'no empty note'",
        ]);
        assert_eq!(project.public().paths(), ["small/a.json", "small/b.json"], "{engine}");
        let said = ended.json();
        assert_eq!(template_of(&said, "big")["guards"].as_array().map(Vec::len), Some(1), "{engine}: {said:#}");
        assert_eq!(said["templates"][0]["queries"], 3, "{engine}: domain, rows and assert: {said:#}");
        project.run(&["publish", "--accept-guard", "big/no empty note", "--yes"]).expect(0);
        assert_eq!(project.public().paths().len(), DOCUMENTS + 2, "{engine}");
    }
}

#[test]
fn what_a_guard_asks_can_be_wrong() {
    for (engine, project) in projects_over(ROWS) {
        let cases = [
            ("[[guard.assert]]\nname = \"a\"\nsql = \"SELECT nothing FROM fact\"", "the assert `a`", 6),
            ("source_age = \"1d\"\nsource_age_sql = \"SELECT note FROM fact\"", "more than one value", 2),
            ("source_age = \"1d\"\nsource_age_sql = \"SELECT min(note) FROM fact\"", "isn't an instant", 2),
        ];
        for (guard, says, line) in cases {
            project.template("big", &big(guard)).template("small", SMALL);
            let place = format!("big.sql:{line}");
            project.run(&["publish"]).expect(4).explains(&[says, &place]);
            assert_eq!(project.public().paths_of("big"), Vec::<String>::new(), "{engine}");
            assert!(project.public().has("small/a.json"), "{engine}: it doesn't hold the others up");
            std::fs::remove_dir_all(project.root().join("public")).expect("start anew");
            std::fs::remove_dir_all(project.root().join(".tintype")).expect("start anew");
        }
        project.template("big", &big(cases[0].0));
        project.run(&["check"]).expect(2).explains(&["the assert `a`", "big.sql:6"]);
        project.template("big", &big("source_age = \"1d\"\nsource_age_sql = \"SELECT max(loaded) FROM fact\""));
        project.run(&["check"]).expect(2).explains(&["[guard] source_age_sql", "big.sql"]);
        project.template("big", &big("source_age_sql = \"SELECT max(loaded_at) FROM fact\""));
        let checked = project.run(&["check"]).expect(0);
        assert!(checked.stderr.contains("source_age_sql has no effect"), "{engine}: {checked}");
    }
}

#[test]
fn wrong_levels_are_told_with_their_lines() {
    let project = Project::sqlite(ROWS);
    let cases = [
        ("rows_drop = \"20\"", &["`20` isn't a percentage", "rows_drop = \"20%\""][..], 6),
        ("rows_drop = { warn = \"10%\" }", &["rows_drop"], 6),
        ("row_drop = \"20%\"", &["row_drop", "did you mean `rows_drop`?"], 6),
        ("empty = \"5%\"", &["isn't a level"], 6),
        ("keys_drop = \"warn 5%, error 1%\"", &["would never warn"], 6),
        ("[[guard.assert]]\nname = \"empty\"\nsql = \"SELECT 1\"", &["the name `empty` of an assert is taken"], 7),
        ("[[guard.assert]]\nname = \"a\"\nsql = \"\"", &["the query of the assert `a` is empty"], 8),
        ("[[guard.assert]]\nname = \"a\"\nlevel = \"fatal\"\nsql = \"SELECT 1\"", &["`fatal` isn't a level"], 8),
        ("[[guard.assert]]\nname = \"a\"", &["missing field"], 6),
    ];
    for (guard, says, line) in cases {
        project.template("big", &big(guard));
        for command in ["check", "publish"] {
            project.run(&[command]).expect(2).explains(says).explains(&[&format!("big.sql:{line}")]);
        }
    }
    project.template("big", &big("")).configure("sqlite:file.db", "[guard]\nrows_drop = \"a third\"\n");
    project.run(&["publish"]).expect(2).explains(&["`a third` isn't a percentage", "tintype.toml:13"]);
    project.configure("sqlite:file.db", "");
    let ended = project.tintype(&["publish"]).env("TINTYPE_GUARD_EMPTY", "maybe").run().expect(2);
    ended.explains(&["TINTYPE_GUARD_EMPTY", "`maybe` isn't a level"]);
    project.run(&["publish", "--accept-guard", "rowsdrop", "--yes"]).expect(2).explains(&["did you mean `rows_drop`?"]);
}

#[test]
fn what_holds_for_every_template_comes_from_the_settings() {
    let project = Project::sqlite(ROWS);
    project.template("big", &big("")).template("small", SMALL).publish();
    project.execute("DELETE FROM fact WHERE v < 2; DELETE FROM small WHERE k = 'b'");
    project.configure("sqlite:file.db", "[guard]\nrows_drop = \"15%\"\n");
    let said = project.json(&["plan"], 3);
    assert_eq!(verdict(&said, "big", "rows_drop")["level"], "error");
    // Half of two rows is still little, and a template's own limit outranks the common one.
    let small = template_of(&said, "small")["guards"].as_array().expect("there are guards");
    assert!(!small.iter().any(|verdict| verdict["guard"] == "rows_drop"), "{small:?}");
    project.template("big", &big("rows_drop = \"25%\""));
    assert_eq!(verdict(&project.json(&["plan"], 0), "big", "rows_drop")["level"], "ok");
    let overridden =
        project.tintype(&["plan", "--format", "json"]).env("TINTYPE_GUARD_ROWS_DROP", "1%").run().expect(0);
    assert_eq!(verdict(&overridden.json(), "big", "rows_drop")["level"], "ok");
    let changed = project.tintype(&["plan", "--format", "json"]).env("TINTYPE_GUARD_CHANGED", "1%").run().expect(3);
    assert_eq!(verdict(&changed.json(), "big", "changed")["level"], "error");
}

#[test]
fn an_editor_who_empties_a_document_is_right() {
    for (engine, project) in projects_over(ROWS) {
        project.template("big", &big("rows_drop = \"1%\"\nempty = \"error\"\nchanged = \"1%\"")).publish();
        project.execute("DELETE FROM fact WHERE k = 'k10'");
        project.run(&["republish", "big/k10"]).expect(0);
        assert_eq!(project.public().document("big/k10.json")["rows"], json!([]), "{engine}");
        // A whole table that went is something else.
        project.execute("DELETE FROM fact WHERE k < 'k35'");
        let before = project.public().digests();
        let ended = project.run(&["republish", "big/k1*", "big/k2*", "big/k30"]).expect(3);
        ended.explains(&["rows fell from 200 to 0", "publish --release"]);
        assert_eq!(project.public().digests(), before, "{engine}");
        project.run(&["republish", "big/k1*", "big/k2*", "big/k30", "--accept-guard", "all", "--yes"]).expect(0);
        assert_eq!(project.public().document("big/k20.json")["rows"], json!([]), "{engine}");
        assert_ne!(project.public().document("big/k31.json")["rows"], json!([]), "{engine}");
    }
}
