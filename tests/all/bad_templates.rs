//! Bad templates: each ends with an error that names the file, the line, the reason and a way out, and nothing is published.

use crate::support::directory::files_below;
use crate::support::postgres;
use crate::support::project::Project;

/// Where a case applies.
#[derive(Clone, Copy, PartialEq)]
enum On {
    Both,
    Sqlite,
    Postgres,
}
use On::{Both, Postgres, Sqlite};

/// One bad template.
struct Case {
    name: &'static str,
    on: On,
    /// Exit codes that may be: 2 for what the files say by themselves, 1 for what only the rows tell.
    codes: &'static [i32],
    /// The file's text; `«` stands in the line that must be named.
    template: &'static str,
    /// What must be said.
    says: &'static [&'static str],
    /// Whether `check`, which reads no rows, must find it too.
    check: bool,
}

const INVALID: &[i32] = &[2];
const FAILED: &[i32] = &[1];
const EITHER: &[i32] = &[1, 2];

const CASES: &[Case] = &[
    Case {
        name: "no front matter",
        on: Both,
        codes: INVALID,
        check: true,
        template: "«SELECT 'a' AS k, 1 AS v",
        says: &["front matter"],
    },
    Case {
        name: "front matter that is not TOML",
        on: Both,
        codes: INVALID,
        check: true,
        template: "/*---\npath = \"bad/{k}.json\"\n«max_age = 60s\n---*/\nSELECT 'a' AS k, 1 AS v",
        says: &["front matter"],
    },
    Case {
        name: "unknown key in the front matter",
        on: Both,
        codes: INVALID,
        check: true,
        template: "/*---\npath = \"bad/{k}.json\"\n«max_agee = \"60s\"\n---*/\nSELECT 'a' AS k, 1 AS v",
        says: &["max_agee", "did you mean `max_age`"],
    },
    Case {
        name: "no path",
        on: Both,
        codes: INVALID,
        check: true,
        template: "/*---\nmax_age = \"60s\"\n---*/\nSELECT 'a' AS k, 1 AS v",
        says: &["path"],
    },
    Case {
        name: "not a duration",
        on: Both,
        codes: INVALID,
        check: true,
        template: "/*---\npath = \"bad/{k}.json\"\n«max_age = \"soon\"\n---*/\nSELECT 'a' AS k, 1 AS v",
        says: &["soon", "60s"],
    },
    Case {
        name: "a comment's end inside the front matter",
        on: Both,
        codes: INVALID,
        check: true,
        template: "/*---\npath = \"bad/{k}.json\"\n«page_url = \"https://example.org/*/{k}\"\n---*/\nSELECT 'a' AS k, 1 AS v",
        says: &["*/"],
    },
    Case {
        name: "a path that leaves the folder",
        on: Both,
        codes: INVALID,
        check: true,
        template: "/*---\n«path = \"../{k}.json\"\n---*/\nSELECT 'a' AS k, 1 AS v",
        says: &["path"],
    },
    Case {
        name: "a domain of what is no key column",
        on: Both,
        codes: INVALID,
        check: true,
        template: "/*---\npath = \"bad/{topic}.json\"\n«[keys.topc]\nvalues = [\"a\"]\n---*/\nSELECT 'a' AS topic, 1 AS v",
        says: &["topc", "did you mean `topic`"],
    },
    Case {
        name: "two statements",
        on: Both,
        codes: INVALID,
        check: true,
        template: "/*---\npath = \"bad/{k}.json\"\n---*/\n«SELECT 'a' AS k, 1 AS v; DELETE FROM t",
        says: &["one statement"],
    },
    Case {
        name: "a statement that writes",
        on: Both,
        codes: EITHER,
        check: true,
        template: "/*---\npath = \"bad/{k}.json\"\n---*/\n«DELETE FROM t",
        says: &["bad.sql"],
    },
    Case {
        name: "SQL syntax",
        on: Both,
        codes: EITHER,
        check: true,
        template: "/*---\npath = \"bad/{k}.json\"\n---*/\nSELECT 'a' AS k,\n       1 AS v\n«FROM WHERE t",
        says: &["WHERE", "syntax"],
    },
    Case {
        name: "unknown table",
        on: Both,
        codes: EITHER,
        check: true,
        template: "/*---\npath = \"bad/{k}.json\"\n---*/\nSELECT 'a' AS k, 1 AS v FROM nowhere",
        says: &["nowhere"],
    },
    Case {
        name: "unknown column",
        on: Both,
        codes: EITHER,
        check: true,
        template: "/*---\npath = \"bad/{k}.json\"\n---*/\nSELECT k,\n«       wrong FROM t",
        says: &["wrong"],
    },
    Case {
        name: "key column missing",
        on: Both,
        codes: EITHER,
        check: true,
        template: "/*---\npath = \"bad/{k}/{topic}.json\"\n---*/\nSELECT 'a' AS k, 1 AS v",
        says: &["topic"],
    },
    Case {
        name: "marker that names no key column",
        on: Both,
        codes: INVALID,
        check: true,
        template: "/*---\npath = \"bad/{k}.json\"\n---*/\nSELECT k, v FROM t\n«WHERE v > 0 /*:keys kay=k */ ORDER BY k",
        says: &["kay", "k"],
    },
    Case {
        name: "NULL as a key value",
        on: Both,
        codes: FAILED,
        check: false,
        template: "/*---\npath = \"bad/{k}.json\"\n---*/\nSELECT CAST(NULL AS TEXT) AS k, 1 AS v",
        says: &["`k`", "NULL"],
    },
    Case {
        name: "empty key value",
        on: Both,
        codes: FAILED,
        check: false,
        template: "/*---\npath = \"bad/{k}.json\"\n---*/\nSELECT '' AS k, 1 AS v",
        says: &["`k`", "empty"],
    },
    Case {
        name: "a path as a key value",
        on: Both,
        codes: FAILED,
        check: false,
        template: "/*---\npath = \"bad/{k}.json\"\n---*/\nSELECT '../../etc/passwd' AS k, 1 AS v",
        says: &["`k`", ".."],
    },
    Case {
        name: "a line feed in a key value",
        on: Both,
        codes: FAILED,
        check: false,
        template: "/*---\npath = \"bad/{k}.json\"\n---*/\nSELECT 'a\nb' AS k, 1 AS v",
        says: &["`k`", "control character"],
    },
    Case {
        name: "a key value of 10 kB",
        on: Both,
        codes: FAILED,
        check: false,
        template: "/*---\npath = \"bad/{k}.json\"\n---*/\nSELECT replace(replace(replace('aaaaaaaaaa', 'a', 'bbbbbbbbbb'), 'b', 'cccccccccc'), 'c', '0123456789') AS k, 1 AS v",
        says: &["`k`", "10000"],
    },
    Case {
        name: "a number with a fraction as a key value",
        on: Both,
        codes: EITHER,
        check: false,
        template: "/*---\npath = \"bad/{k}.json\"\n---*/\nSELECT 1.5 AS k, 1 AS v",
        says: &["`k`"],
    },
    Case {
        name: "a key outside its domain",
        on: Both,
        codes: FAILED,
        check: false,
        template: "/*---\npath = \"bad/{k}.json\"\n[keys.k]\nvalues = [\"b\"]\n---*/\nSELECT 'a' AS k, 1 AS v",
        says: &["`a`", "domain"],
    },
    Case {
        name: "two keys with one path",
        on: Both,
        codes: FAILED,
        check: false,
        template: "/*---\npath = \"bad/{k}.json\"\n---*/\nSELECT 'Zürich' AS k, 1 AS v UNION ALL SELECT 'Zurich', 2",
        says: &["Zürich", "Zurich", "slug"],
    },
    Case {
        name: "rows of one key that do not stand together",
        on: Both,
        codes: FAILED,
        check: false,
        template: "/*---\npath = \"bad/{k}.json\"\n---*/\nSELECT 'a' AS k, 1 AS v UNION ALL SELECT 'b', 2 UNION ALL SELECT 'a', 3",
        says: &["a", "ORDER BY"],
    },
    Case {
        name: "an integer beyond 2^53",
        on: Both,
        codes: FAILED,
        check: false,
        template: "/*---\npath = \"bad/{k}.json\"\n---*/\nSELECT 'a' AS k, 9007199254740993 AS big",
        says: &["big", "9007199254740993", "text"],
    },
    Case {
        name: "two rows for one key of the shape json",
        on: Both,
        codes: FAILED,
        check: false,
        template: "/*---\npath = \"bad/{k}.json\"\nshape = \"json\"\njson = [\"data\"]\n---*/\nSELECT 'a' AS k, '{}' AS data UNION ALL SELECT 'a', '[]'",
        says: &["a"],
    },
    Case {
        name: "infinity",
        on: Sqlite,
        codes: FAILED,
        check: false,
        template: "/*---\npath = \"bad/{k}.json\"\n---*/\nSELECT 'a' AS k, 9e999 AS ratio",
        says: &["ratio", "a"],
    },
    Case {
        name: "text that is not UTF-8",
        on: Sqlite,
        codes: FAILED,
        check: false,
        template: "/*---\npath = \"bad/{k}.json\"\n---*/\nSELECT 'a' AS k, CAST(x'ff41' AS TEXT) AS label",
        says: &["label", "UTF-8"],
    },
    Case {
        name: "a key that is not UTF-8",
        on: Sqlite,
        codes: FAILED,
        check: false,
        template: "/*---\npath = \"bad/{k}.json\"\n---*/\nSELECT CAST(x'ff41' AS TEXT) AS k, 1 AS v",
        says: &["k", "UTF-8"],
    },
    Case {
        name: "NaN",
        on: Postgres,
        codes: FAILED,
        check: false,
        template: "/*---\npath = \"bad/{k}.json\"\n---*/\nSELECT 'a' AS k, 'NaN'::float8 AS ratio",
        says: &["ratio", "NaN", "a"],
    },
    Case {
        name: "NaN as numeric",
        on: Postgres,
        codes: FAILED,
        check: false,
        template: "/*---\npath = \"bad/{k}.json\"\n---*/\nSELECT 'a' AS k, 'NaN'::numeric AS ratio",
        says: &["ratio", "NaN", "a"],
    },
    Case {
        name: "an enum",
        on: Postgres,
        codes: EITHER,
        check: true,
        template: "/*---\npath = \"bad/{k}.json\"\n---*/\nSELECT 'a' AS k, 'happy'::mood AS feeling",
        says: &["feeling", "text"],
    },
    Case {
        name: "a query that writes",
        on: Postgres,
        codes: EITHER,
        check: false,
        template: "/*---\npath = \"bad/{k}.json\"\n---*/\nWITH gone AS (DELETE FROM t RETURNING k, v) SELECT k, v FROM gone",
        says: &["read-only"],
    },
    Case {
        name: "division by zero in the middle",
        on: Postgres,
        codes: FAILED,
        check: false,
        template: "/*---\npath = \"bad/{k}.json\"\n---*/\nSELECT n AS k, 1 / (n - 5000) AS v FROM generate_series(1, 9999) AS n ORDER BY n",
        says: &["division by zero"],
    },
];

/// The template's text and the line that its error must name, if the case says one.
fn unmark(text: &str) -> (String, Option<usize>) {
    let line = text.split_once('«').map(|(before, _)| before.matches('\n').count() + 1);
    (text.replace('«', ""), line)
}

fn project_for(engine: &str) -> Option<Project> {
    let sql = "CREATE TABLE t (k TEXT, v INTEGER); INSERT INTO t VALUES ('a', 1);";
    if engine == "SQLite" {
        return Some(Project::sqlite(sql));
    }
    let database = postgres::database()?;
    database.execute(sql);
    database.execute("CREATE TYPE mood AS ENUM ('happy', 'sad')");
    Some(Project::postgres(database))
}

fn fails_everywhere(engine: &'static str, other: On) {
    // All cases are run before the test fails, so that one run shows everything there is to mend.
    let mut failures = Vec::new();
    for case in CASES.iter().filter(|case| case.on != other) {
        let Some(project) = project_for(engine) else {
            return;
        };
        let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| fails(case, &project)));
        if let Err(failure) = checked {
            let text = failure.downcast_ref::<String>().cloned().unwrap_or_default();
            failures.push(format!("=== {}: {text}", case.name));
        }
    }
    assert!(failures.is_empty(), "{engine}\n{}", failures.join("\n"));
}

fn fails(case: &Case, project: &Project) {
    let (text, line) = unmark(case.template);
    project.template("bad", &text);
    let place = line.map_or_else(|| "bad.sql:".to_owned(), |line| format!("bad.sql:{line}"));
    let commands: &[&str] = if case.check { &["check", "publish"] } else { &["publish"] };
    for command in commands {
        let ended = project.run(&[command]);
        assert!(case.codes.contains(&ended.code()), "exit code not in {:?}: {ended}", case.codes);
        ended.explains(case.says).explains(&[&place]);
        assert!(!ended.stderr.contains("panicked"), "{ended}");
    }
    let public = files_below(&project.root().join("public"));
    assert!(public.is_empty(), "published {public:?}");
}

#[test]
fn bad_templates_on_sqlite() {
    fails_everywhere("SQLite", Postgres);
}

#[test]
fn bad_templates_on_postgresql() {
    fails_everywhere("PostgreSQL", Sqlite);
}
