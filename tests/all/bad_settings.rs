//! Bad configuration and databases that cannot be reached: the reason is named, no password is, and nothing is published.

use crate::support::places;
use crate::support::postgres;
use crate::support::project::Project;

#[test]
fn bad_configuration() {
    let cases: &[(&str, &str, i32, &[&str])] = &[
        ("[storee]\nurl = \"file:public\"\n", "[storee]", 2, &["storee", "did you mean", "[store]"]),
        (
            "[database.build]\nstatement_timout = \"1s\"\n",
            "statement_timout",
            2,
            &["statement_timout", "statement_timeout"],
        ),
        ("[database.build]\nstatement_timeout = \"soon\"\n", "statement_timeout = \"soon\"", 2, &["soon"]),
        ("[database]\nurl = \"again\"\n", "[database]\nurl = \"again\"", 2, &["database"]),
        ("[database.build]\nstatement_timeout = soon\n", "statement_timeout = soon", 2, &["tintype.toml"]),
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

    let impatient = "[database.build]\nacquire_timeout = \"1s\"\n";
    project.configure(&refused, impatient);
    let ended = project.run(&["publish"]).expect(1);
    ended.explains(&["127.0.0.1", &port, "refused", "tried for 1s"]);
    project.configure(&unknown, "");
    let ended = project.run(&["publish"]).expect(1);
    ended.explains(&["no_such_database"]);
    assert!(ended.elapsed.as_secs() < 20, "it isn't waited for: {ended}");

    project.configure(&wrong, "");
    for arguments in [&["publish"][..], &["publish", "-vv"], &["publish", "--format", "json"], &["check"], &["plan"]] {
        let ended = project.run(arguments).expect(1);
        assert!(ended.stderr.contains(&user), "{ended}");
        let all = format!("{}{}", String::from_utf8_lossy(&ended.stdout), ended.stderr);
        assert!(!all.contains("s3cret"), "the password is printed: {ended}");
    }

    project.configure(&limited, impatient);
    let held = postgres::Session::connect(&limited);
    let ended = project.run(&["publish"]).expect(1);
    ended.explains(&["too many connections", "tried for 1s"]);
    // One that gets free while there is time left is waited for.
    project.configure(&limited, "");
    let mut waiting = project.tintype(&["publish", "-v"]).start();
    waiting.wait_for("a second try", |waiting| waiting.stderr().contains("trying again").then_some(()));
    drop(held);
    waiting.finish().expect(0);
    project.database().execute(&format!("DROP ROLE {user}"));
}
