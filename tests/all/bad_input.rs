//! Bad input: each case ends with an error that names the file, the line, the reason and a way out, and nothing is published.

use std::os::unix::fs::PermissionsExt as _;

use crate::support::directory::files_below;
use crate::support::places;
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
    /// The template's text after its front matter begins; `«` stands before the byte whose line must be named.
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
        template: "/*---\npath = \"bad/{k}.json\"\n---*/\nSELECT replace('aaaaaaaaaa', 'a', '0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789') || replace('aaaaaaaaaa', 'a', '0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789') AS k, 1 AS v",
        says: &["`k`", "2000"],
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

#[test]
fn bad_configuration() {
    let cases: &[(&str, &str, i32, &[&str])] = &[
        ("[storee]\nurl = \"file:public\"\n", "[storee]", 2, &["storee", "did you mean `store`"]),
        ("[guard]\nrows_dropp = \"20%\"\n", "rows_dropp", 2, &["rows_dropp"]),
        ("[database]\nurl = \"again\"\n", "[database]\nurl = \"again\"", 2, &["database"]),
        ("[budget]\nlimit = many\n", "limit = many", 2, &["tintype.toml"]),
    ];
    for (more, needle, code, says) in cases {
        let project = Project::sqlite(places::ROWS);
        project.template("places", places::TEMPLATE);
        project.configure("sqlite:file.db", more);
        let text = std::fs::read_to_string(project.config()).expect("read tintype.toml");
        let line = text[..text.rfind(needle).expect("the needle is in the text")].matches('\n').count() + 1;
        for command in ["check", "plan", "publish", "status"] {
            let ended = project.run(&[command]).expect(*code);
            ended.explains(says).explains(&[&format!("tintype.toml:{line}")]);
        }
        assert!(!project.root().join("public").exists(), "{more}");
    }
}

#[test]
fn an_unknown_database_parameter_is_an_error() {
    let Some(database) = postgres::database() else {
        return;
    };
    let url = database.url();
    let project = Project::postgres(database);
    project.template("t", "/*---\npath = \"t/{k}.json\"\n---*/\nSELECT 'a' AS k, 1 AS v");
    for (parameter, hint) in [("sslmod=require", "sslmode"), ("target_session_attrs=any", "target_session_attrs")] {
        project.configure(&format!("{url}?{parameter}"), "");
        let name = parameter.split('=').next().expect("there is a name");
        project.run(&["publish"]).expect(2).explains(&[name, hint]);
    }
    assert!(project.public().paths().is_empty());
}

#[test]
fn an_empty_template_folder() {
    let project = Project::sqlite(places::ROWS);
    for command in ["check", "plan", "publish"] {
        project.run(&[command]).expect(2).explains(&["templates", "init"]);
    }
    std::fs::remove_dir(project.root().join("templates")).expect("remove the folder");
    project.run(&["publish"]).expect(2).explains(&["templates"]);
    assert!(!project.root().join("public").exists());
}

#[test]
fn a_database_that_is_not_there() {
    let template = "/*---\npath = \"t/{k}.json\"\n---*/\nSELECT 'a' AS k, 1 AS v";
    let project = Project::sqlite("CREATE TABLE t (x)");
    project.template("t", template);
    project.configure("sqlite:missing.db", "");
    project.run(&["publish"]).expect(1).explains(&["missing.db"]);
    assert!(!project.root().join("missing.db").exists(), "a build makes no database");
    project.configure("sqlite:tintype.toml", "");
    project.run(&["publish"]).expect(1).explains(&["tintype.toml", "not a database"]);

    let Some(database) = postgres::database() else {
        return;
    };
    let user = format!("reader_{}", database.name());
    database.execute(&format!("CREATE ROLE {user} LOGIN PASSWORD 'right' CONNECTION LIMIT 1"));
    let refused = database.refused_url();
    let port = refused.rsplit(':').next().and_then(|rest| rest.split('/').next()).expect("a port").to_owned();
    let unknown = database.url().replace(database.name(), "no_such_database");
    let wrong = database.url_as(&user, "s3cret-but-wrong");
    let limited = database.url_as(&user, "right");
    let project = Project::postgres(database);
    project.template("t", template);

    project.configure(&refused, "");
    project.run(&["publish"]).expect(1).explains(&["127.0.0.1", &port]);
    project.configure(&unknown, "");
    project.run(&["publish"]).expect(1).explains(&["no_such_database"]);

    project.configure(&wrong, "");
    for arguments in [&["publish"][..], &["publish", "-vv"], &["publish", "--format", "json"], &["check"], &["plan"]] {
        let ended = project.run(arguments).expect(1);
        assert!(ended.stderr.contains(&user), "{ended}");
        let all = format!("{}{}", String::from_utf8_lossy(&ended.stdout), ended.stderr);
        assert!(!all.contains("s3cret"), "the password is printed: {ended}");
    }

    project.configure(&limited, "");
    let held = postgres::Session::connect(&limited);
    let ended = project.run(&["publish"]).expect(1);
    ended.explains(&["too many connections"]);
    assert!(ended.elapsed.as_secs() < 30, "not a time-out in disguise: {ended}");
    drop(held);
    project.run(&["publish"]).expect(0);
    project.database().execute(&format!("DROP ROLE {user}"));
}

/// The binary where an unprivileged user can start it: the build folder may lie in a closed home directory.
fn binary_for_all(project: &Project) -> std::path::PathBuf {
    std::fs::set_permissions(project.root(), std::fs::Permissions::from_mode(0o755)).expect("open the folder");
    let program = project.root().join("program");
    std::fs::copy(env!("CARGO_BIN_EXE_tintype"), &program).expect("copy the binary");
    program
}

#[test]
fn a_read_only_directory() {
    let project = Project::sqlite(places::ROWS);
    project.template("places", places::TEMPLATE);
    let program = binary_for_all(&project);
    for folder in ["public", ".tintype"] {
        std::fs::create_dir(project.root().join(folder)).expect("make the folder");
        std::fs::set_permissions(project.root().join(folder), std::fs::Permissions::from_mode(0o555))
            .expect("close the folder");
    }
    let ended = project.tintype(&["publish"]).unprivileged(program).run().expect(1);
    ended.explains(&["permission denied"]);
    assert!(project.public().paths().is_empty());
    // Nothing is in the way of the next run.
    for folder in ["public", ".tintype"] {
        std::fs::set_permissions(project.root().join(folder), std::fs::Permissions::from_mode(0o755))
            .expect("open the folder");
    }
    assert_eq!(project.publish()["outcome"], "published");
}

#[test]
fn a_full_directory() {
    let project = Project::sqlite(
        "CREATE TABLE t (k TEXT, v TEXT);
         INSERT INTO t SELECT 'k', hex(randomblob(40000))",
    );
    project.template("small", "/*---\npath = \"small/{k}.json\"\n---*/\nSELECT 'a' AS k, 1 AS v");
    let good = project.publish();
    // Random digits: 40 kB after compression, more than a file may have here.
    project.template("big", "/*---\npath = \"big/{k}.json\"\n---*/\nSELECT k, v FROM t ORDER BY k");
    project.template("small", "/*---\npath = \"small/{k}.json\"\n---*/\nSELECT 'a' AS k, 2 AS v");
    let program = binary_for_all(&project);
    let (before, head) = (project.public().digests(), project.head());
    let full = project.tintype(&["publish"]).program(program).small_files().run();
    assert!([1, 4].contains(&full.code()), "{full}");
    full.explains(&["file too large"]);
    if full.code() == 1 {
        assert_eq!(project.public().digests(), before);
        assert_eq!(project.head()["desired"], head["desired"]);
    }
    assert!(!project.public().has("big/k.json"), "half a document is visible");
    let mended = project.publish();
    assert!(mended["serial"].as_u64() > good["serial"].as_u64(), "{mended}");
    assert_eq!(project.public().document("small/a.json")["rows"][0]["v"], 2);
    assert!(project.public().has("big/k.json"));
}

#[test]
fn one_bad_template_of_three_does_not_stop_the_others() {
    for (engine, project) in places::projects() {
        let simple = |name: &str, v: &str| {
            let text = format!("/*---\npath = \"{name}/{{k}}.json\"\n---*/\nSELECT 'a' AS k, {v} AS v");
            project.template(name, &text);
        };
        simple("last", "1");
        simple("odd", "1");
        project.publish();
        simple("last", "2");
        simple("odd", "9007199254740993");
        let ended = project.tintype(&["publish", "--format", "json"]).run().expect(4);
        ended.explains(&["odd.sql:", "9007199254740993"]);
        let said = ended.json();
        let outcome = |name: &str| crate::support::project::template_of(&said, name)["outcome"].clone();
        assert_eq!(outcome("last"), "published", "{engine}");
        assert_eq!(outcome("places"), "unchanged", "{engine}");
        assert_eq!(outcome("odd"), "failed", "{engine}");
        // The last good rows stay, and the catalogue says so.
        assert_eq!(project.public().document("odd/a.json")["rows"][0]["v"], 1, "{engine}");
        assert_eq!(project.public().document("last/a.json")["rows"][0]["v"], 2, "{engine}");
        let catalogue = project.public().catalogue();
        assert_eq!(catalogue["templates"]["odd"]["status"], "last-good", "{engine}");
        assert_eq!(catalogue["templates"]["last"]["status"], "ok", "{engine}");
        simple("odd", "3");
        let mended = project.publish();
        assert_eq!(mended["outcome"], "published", "{engine}");
        assert_eq!(project.public().catalogue()["templates"]["odd"]["status"], "ok", "{engine}");
    }
}
