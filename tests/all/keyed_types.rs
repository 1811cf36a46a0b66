//! Chosen keys of every type: their documents have the bytes of a full build, whatever the table holds for what they show.

use serde_json::json;

use crate::support::postgres;
use crate::support::project::{Project, template_of};

/// A key column: its name, what the table holds (one expression a key), and its line of the front matter.
pub type KeyColumn = (&'static str, &'static [&'static str], &'static str);

const TEXT: &str = "text = [\"k\"]";
const BOOL: &str = "bool = [\"k\"]";

/// Publishes a template a column, then each of its keys alone, which must change nothing; and each by its value.
#[track_caller]
pub fn keys_alone_are_the_full_build(project: &Project, columns: &[KeyColumn]) {
    for (name, values, rule) in columns {
        let rows = values.iter().enumerate().map(|(n, value)| format!("SELECT {value} AS k, {n} AS n"));
        let rows = rows.collect::<Vec<_>>().join(" UNION ALL ");
        project.execute(&format!("CREATE TABLE {name}_t AS {rows}"));
        project.template(
            name,
            &format!(
                "/*---\npath = \"{name}/{{k}}.json\"\n{rule}\n[keys.k]\nsql = \"SELECT k FROM {name}_t ORDER BY n\"\n---*/\n\
                 SELECT t.k, t.n FROM {name}_t AS t WHERE true /*:keys k=t.k */ ORDER BY t.n\n"
            ),
        );
    }
    project.publish();
    let full = project.public().digests();
    for (name, values, _) in columns {
        let paths: Vec<&String> = full.keys().filter(|path| path.starts_with(&format!("{name}/"))).collect();
        assert_eq!(paths.len(), values.len(), "{name}: {paths:?}");
        for path in paths {
            let said = project.json(&["republish", path], 0);
            assert_eq!(template_of(&said, name)["rewritten"], 1, "{path}: {said}");
            let value = project.public().document(path)["key"]["k"].clone();
            let value = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
            let said = project.json(&["publish", name, "--where", &format!("k={value}")], 0);
            assert_eq!(said["outcome"], "unchanged", "{path} by its value {value}: {said}");
            assert_eq!(template_of(&said, name)["rows"], 1, "{path} by its value {value}: {said}");
        }
        assert_eq!(project.public().digests(), full, "{name}");
    }
}

/// The domains that some of [`POSTGRES`] have as types.
pub const POSTGRES_TYPES: &str = "CREATE DOMAIN code AS text CHECK (value <> 'x'); CREATE DOMAIN small AS int4";

/// Key columns of every type that PostgreSQL has for them.
pub const POSTGRES: &[KeyColumn] = &[
    ("k_small", &["1::int2", "2::int2"], ""),
    ("k_int", &["1", "-2"], ""),
    ("k_bigint", &["1::int8", "9007199254740991"], ""),
    ("k_numeric", &["1.00::numeric", "2"], ""),
    ("k_double", &["1::float8", "2"], ""),
    ("k_bool", &["true", "false"], ""),
    ("k_text", &["'a'", "'United States'"], ""),
    ("k_varchar", &["'a'::varchar(9)", "'b'"], ""),
    ("k_char", &["'a'::char(3)", "'b'::char(3)"], ""),
    ("k_date", &["'2024-02-29'::date", "'1999-12-31'"], ""),
    ("k_instant", &["'2024-02-29 12:00:00.5+02'::timestamptz", "'1999-12-31'"], ""),
    ("k_local", &["'2024-02-29 12:00:00.5'::timestamp", "'1999-12-31'"], ""),
    ("k_uuid", &["'00000000-0000-4000-8000-000000000001'::uuid", "'00000000-0000-4000-8000-00000000000a'"], ""),
    ("k_inet", &["'10.0.0.1'::inet", "'10.0.0.0/8'"], ""),
    ("k_bit", &["B'101'", "B'110'"], ""),
    ("k_domain", &["'a'::code", "'b'::code"], ""),
    ("k_number_domain", &["1::small", "2::small"], ""),
    ("r_int", &["1", "-2"], TEXT),
    ("r_bigint", &["1::int8", "9007199254740993"], TEXT),
    ("r_numeric", &["1.50::numeric", "2"], TEXT),
    ("r_real", &["0.1::float4", "2"], TEXT),
    ("r_bool", &["true", "false"], TEXT),
    ("r_date", &["'2024-02-29'::date", "'1999-12-31'"], TEXT),
    ("r_domain", &["1::small", "2::small"], TEXT),
    ("b_int", &["0", "1"], BOOL),
    ("b_numeric", &["0.0", "1.0"], BOOL),
    ("b_bool", &["true", "false"], BOOL),
    ("b_text", &["'t'", "'false'"], BOOL),
];

#[test]
fn postgres_keys_of_every_type() {
    let Some(database) = postgres::database() else { return };
    database.execute(POSTGRES_TYPES);
    keys_alone_are_the_full_build(&Project::postgres(database), POSTGRES);
}

#[test]
fn sqlite_keys_of_every_class() {
    keys_alone_are_the_full_build(
        &Project::sqlite(""),
        &[
            ("k_integer", &["1", "-2"], ""),
            ("k_real", &["1.0", "2.0"], ""),
            ("k_text", &["'a'", "'007'"], ""),
            ("k_both", &["1", "'a'"], ""),
            ("r_integer", &["1", "9007199254740993"], TEXT),
            ("r_real", &["1.5", "2.0"], TEXT),
            ("r_text", &["'1'", "'2'"], TEXT),
            ("b_integer", &["0", "1"], BOOL),
            ("b_real", &["0.0", "1.0"], BOOL),
            ("b_text", &["'t'", "'false'"], BOOL),
        ],
    );
}

#[test]
fn a_domain_of_another_type_is_named_with_both_types() {
    let sql = "CREATE TABLE t (y INTEGER, n INTEGER); INSERT INTO t VALUES (2024, 1)";
    for (engine, project) in crate::support::places::projects_over(sql) {
        let template =
            "/*---\npath = \"t/{y}.json\"\n[keys.y]\nvalues = [\"2024\"]\n---*/\nSELECT y, n FROM t ORDER BY y";
        project.template("t", template);
        for arguments in [&["publish"][..], &["republish", "t/2024"]] {
            let said = project.run(arguments).expect(1);
            said.explains(&["t.sql:", "text", "2024", "values"]);
            assert!(!said.stderr.contains("doesn't list"), "{engine}: {said}");
        }
        assert!(project.public().paths().is_empty(), "{engine}");
    }
}

#[test]
fn rows_of_one_key_may_spell_it_differently() {
    let sql = "CREATE TABLE t (y NUMERIC, n INTEGER); INSERT INTO t VALUES (1.0, 1), (1.00, 2), (2.0, 3)";
    for (engine, project) in crate::support::places::projects_over(sql) {
        // SQLite stores all of these as integers; the cast makes every other one a float.
        let y = if engine == "SQLite" { "CASE n WHEN 1 THEN CAST(y AS REAL) ELSE y END" } else { "y" };
        project.template("t", &format!("/*---\npath = \"t/{{y}}.json\"\n---*/\nSELECT {y} AS y, n FROM t ORDER BY n"));
        project.publish();
        assert_eq!(project.public().document("t/1.json")["rows"], json!([{"n": 1}, {"n": 2}]), "{engine}");
        project.json(&["republish", "t/1"], 0);
        assert_eq!(project.public().document("t/1.json")["rows"], json!([{"n": 1}, {"n": 2}]), "{engine}");
    }
}
