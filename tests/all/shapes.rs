//! Documents byte by byte: the shapes, and how the types of both engines are written.

use crate::support::places;
use crate::support::postgres;
use crate::support::project::Project;

/// Publishes one document of one template and returns its text without a line end.
fn text(project: &Project, front_matter: &str, sql: &str) -> String {
    project.template("t", &format!("/*---\npath = \"t/{{k}}.json\"\n{front_matter}\n---*/\n{sql}\n"));
    project.publish();
    project.public().text("t/a.json").trim_end().to_owned()
}

fn both() -> Vec<(&'static str, Project)> {
    places::projects_over("CREATE TABLE unused (x INTEGER)")
}

#[test]
fn rows_have_their_columns_in_the_order_of_the_select_without_the_key() {
    for (engine, project) in both() {
        let sql = "SELECT 2 AS zebra, 'a' AS k, 1 AS ant UNION ALL SELECT 4, 'a', 3";
        let expected = r#"{"template":"t","key":{"k":"a"},"rows":[{"zebra":2,"ant":1},{"zebra":4,"ant":3}]}"#;
        assert_eq!(text(&project, "", sql), expected, "{engine}");
    }
}

#[test]
fn json_sorts_the_keys_of_objects_at_every_depth_and_leaves_lists_alone() {
    for (engine, project) in both() {
        let sql = r#"SELECT 'a' AS k, '{"b": [3, 1, {"z": null, "y": "é"}], "a": 1.50, "aa": {}}' AS doc"#;
        let expected = r#"{"template":"t","key":{"k":"a"},"data":{"a":1.5,"aa":{},"b":[3,1,{"y":"é","z":null}]}}"#;
        assert_eq!(text(&project, "shape = \"json\"\njson = [\"doc\"]", sql), expected, "{engine}");
    }
}

#[test]
fn an_empty_json_document_is_null() {
    for (engine, project) in both() {
        let front_matter = "shape = \"json\"\njson = [\"doc\"]\n[keys.k]\nvalues = [\"a\", \"b\"]";
        let empty = text(&project, front_matter, "SELECT 'b' AS k, '[]' AS doc");
        assert_eq!(empty, r#"{"template":"t","key":{"k":"a"},"data":null}"#, "{engine}");
    }
}

#[test]
fn text_is_not_escaped_beyond_what_json_asks_for() {
    for (engine, project) in both() {
        let sql = "SELECT 'a' AS k, 'Zürich 苏州 🧬 </script> & \u{2028}' AS plain, 'tab\there \"quote\" back\\slash' AS escaped";
        let expected = "\"rows\":[{\"plain\":\"Zürich 苏州 🧬 </script> & \u{2028}\",\"escaped\":\"tab\\there \\\"quote\\\" back\\\\slash\"}]";
        let text = text(&project, "", sql);
        assert!(text.contains(expected), "{engine}: {text}");
    }
}

#[test]
fn numbers_are_written_as_ecmascript_writes_them() {
    for (engine, project) in both() {
        let real = if engine == "SQLite" { "REAL" } else { "DOUBLE PRECISION" };
        let cases = [
            ("1.0", "1"),
            ("-0.0", "0"),
            ("0.1", "0.1"),
            ("1e21", "1e+21"),
            ("1e20", "100000000000000000000"),
            ("1.5e-7", "1.5e-7"),
            ("123456789.125", "123456789.125"),
        ];
        let columns: Vec<String> =
            cases.iter().enumerate().map(|(n, (from, _))| format!("CAST({from} AS {real}) AS c{n}")).collect();
        let sql =
            format!("SELECT 'a' AS k, 9007199254740991 AS most, -9007199254740991 AS least, {}", columns.join(", "));
        let fields: Vec<String> = cases.iter().enumerate().map(|(n, (_, to))| format!("\"c{n}\":{to}")).collect();
        let expected = format!("[{{\"most\":9007199254740991,\"least\":-9007199254740991,{}}}]", fields.join(","));
        let text = text(&project, "", &sql);
        assert!(text.contains(&expected), "{engine}: {text} instead of {expected}");
    }
}

#[test]
fn the_front_matters_rules_for_columns() {
    for (engine, project) in both() {
        let sql = "SELECT 'a' AS k, 2.00005 AS lat, -0.125 AS half, 9007199254740993 AS big_id, 1 AS flag, 0 AS off, 7.5 AS kept";
        let rules = "decimals = { lat = 4, half = 2 }\ntext = [\"big_id\"]\nbool = [\"flag\", \"off\"]";
        let expected =
            r#"[{"lat":2.0001,"half":-0.13,"big_id":"9007199254740993","flag":true,"off":false,"kept":7.5}]"#;
        let text = text(&project, rules, sql);
        assert!(text.contains(expected), "{engine}: {text}");
    }
}

/// SQL, and the JSON that it becomes.
const POSTGRES_TYPES: &[(&str, &str)] = &[
    ("NULL::integer", "null"),
    ("true", "true"),
    ("7::smallint", "7"),
    ("7::integer", "7"),
    ("7::bigint", "7"),
    ("7::oid", "7"),
    ("0.1::real", "0.1"),
    ("0.1::double precision", "0.1"),
    ("0.30000000000000004::double precision", "0.30000000000000004"),
    ("1.10::numeric(10,2)", "1.1"),
    ("100::numeric", "100"),
    ("12345678901234567890.123456789012345678900::numeric", "12345678901234567890.1234567890123456789"),
    ("0.000000000000000000001::numeric", "0.000000000000000000001"),
    ("'x'::text", r#""x""#),
    ("'x'::varchar(9)", r#""x""#),
    ("'x'::name", r#""x""#),
    ("'2024-02-29'::date", r#""2024-02-29""#),
    ("'12:34:56'::time", r#""12:34:56""#),
    ("'2024-02-29 12:34:56'::timestamp", r#""2024-02-29T12:34:56""#),
    ("'2024-02-29 12:34:56.789'::timestamp", r#""2024-02-29T12:34:56.789""#),
    ("'2024-02-29 12:34:56+01'::timestamptz", r#""2024-02-29T11:34:56Z""#),
    ("'1 day 02:03:04'::interval", r#""P1DT2H3M4S""#),
    (r"'\xdeadbeef'::bytea", r#""3q2+7w==""#),
    ("'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid", r#""a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11""#),
    (r#"'{"b": 1, "a": [true, null]}'::jsonb"#, r#"{"a":[true,null],"b":1}"#),
    (r#"'{"b": 1, "a": 2}'::json"#, r#"{"a":2,"b":1}"#),
    ("ARRAY[1, 2, NULL]", "[1,2,null]"),
    ("ARRAY['x', 'y']", r#"["x","y"]"#),
    ("ARRAY[[1, 2], [3, 4]]", "[[1,2],[3,4]]"),
    ("'{}'::integer[]", "[]"),
    ("'192.0.2.1'::inet", r#""192.0.2.1""#),
    ("7::positive", "7"),
];

#[test]
fn every_type_of_postgresql_has_one_text_whatever_the_sessions_settings() {
    let Some(database) = postgres::database() else { return };
    database.execute("CREATE DOMAIN positive AS integer CHECK (VALUE > 0)");
    let name = database.name().to_owned();
    let project = Project::postgres(database);
    let columns: Vec<String> =
        POSTGRES_TYPES.iter().enumerate().map(|(n, (from, _))| format!("{from} AS c{n}")).collect();
    let sql = format!("SELECT 'a' AS k, {}", columns.join(", "));
    let first = text(&project, "", &sql);
    let document: serde_json::Value = serde_json::from_str(&first).expect("it is JSON");
    for (n, (from, to)) in POSTGRES_TYPES.iter().enumerate() {
        // In the text itself: a parser would take 1.0 for 1.
        let field = format!("\"c{n}\":{to}");
        let found = first.contains(&format!("{field},")) || first.contains(&format!("{field}}}"));
        assert!(found, "{from} is {} and not {to}", document["rows"][0][format!("c{n}")]);
    }
    project.execute(&format!(
        "ALTER DATABASE {name} SET timezone = 'Asia/Tokyo'; ALTER DATABASE {name} SET datestyle = 'German, DMY';
         ALTER DATABASE {name} SET intervalstyle = 'sql_standard'; ALTER DATABASE {name} SET bytea_output = 'escape';
         ALTER DATABASE {name} SET extra_float_digits = -5"
    ));
    assert_eq!(project.publish()["outcome"], "unchanged");
}

#[test]
fn sqlite_values_are_written_by_their_own_type() {
    let project = Project::sqlite(
        "CREATE TABLE t (k TEXT, anything); INSERT INTO t VALUES ('a', 1), ('a', 1.5), ('a', 'x'), ('a', x'deadbeef'), ('a', NULL)",
    );
    let text = text(&project, "", "SELECT k, anything FROM t ORDER BY rowid");
    let expected = r#"[{"anything":1},{"anything":1.5},{"anything":"x"},{"anything":"3q2+7w=="},{"anything":null}]"#;
    assert!(text.contains(expected), "{text}");
}
