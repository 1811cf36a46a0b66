//! The tests' own footing: what the other tests take for granted about the servers and processes they use.

use std::time::Duration;

use crate::support::directory::{differences, stamps};
use crate::support::postgres::{self, Collation};
use crate::support::process::Tintype;
use crate::support::project::Project;
use crate::support::server_log::{Witness, is_by_index, reads_of};
use crate::support::wait::wait_until;

#[test]
fn the_two_clusters_sort_differently() {
    for (collation, expected) in [(Collation::C, "B,a"), (Collation::EnUs, "a,B")] {
        let Some(cluster) = postgres::cluster(collation) else {
            continue;
        };
        let database = cluster.database("template0");
        let sorted = database.one("SELECT string_agg(x, ',' ORDER BY x) FROM (VALUES ('a'), ('B')) AS t (x)");
        assert_eq!(sorted, expected, "{collation:?}");
    }
}

#[test]
fn every_test_has_a_database_of_its_own_that_goes_with_it() {
    let (Some(one), Some(two)) = (postgres::database(), postgres::database()) else {
        return;
    };
    one.execute("CREATE TABLE here (x int); INSERT INTO here VALUES (1)");
    let there = two.query("SELECT 1 FROM pg_tables WHERE tablename = 'here'");
    assert!(there.is_empty(), "a table of one database is in the other");
    let exists = format!("SELECT 1 FROM pg_database WHERE datname = '{}'", one.name());
    assert_eq!(two.query(&exists).len(), 1);
    drop(one);
    assert_eq!(two.query(&exists).len(), 0);
}

#[test]
fn a_template_database_is_filled_once() {
    let Some(cluster) = postgres::cluster(Collation::C) else {
        return;
    };
    let fill = async |connection: &mut sqlx::PgConnection| {
        sqlx::raw_sql("CREATE TABLE filled AS SELECT 'yes' AS answer")
            .execute(connection)
            .await
            .expect("create the table");
    };
    // Not a fixed name: a cluster started by tests/run.sh outlives this process.
    let name = format!("filled_{}", std::process::id());
    let template = cluster.template(&name, fill);
    let again = cluster.template(&name, async |_| panic!("filled a second time"));
    assert_eq!(template, again);
    let database = cluster.database(&template);
    assert_eq!(database.one("SELECT answer FROM filled"), "yes");
}

#[test]
fn the_servers_log_tells_statements_of_one_database() {
    let (Some(one), Some(two)) = (postgres::database(), postgres::database()) else {
        return;
    };
    one.execute("CREATE TABLE numbers AS SELECT generate_series(1, 9999) AS n; CREATE INDEX ON numbers (n); ANALYZE");
    one.log_plans();
    let start = one.log_end();
    let mut session = one.connect();
    session.query("SET application_name = 'tintype/test/1'");
    session.query("SELECT 1,\n  'two lines'");
    session.query("SELECT n FROM numbers WHERE n = 7");
    two.connect().query("SELECT 'of another database'");
    let Witness { statements, plans, .. } = one.witness_since(start);
    // The statement that sets the name was logged under the name before.
    let sql: Vec<&str> = statements.iter().map(|s| s.sql.as_str()).collect();
    assert_eq!(sql, ["SELECT 1,\n  'two lines'", "SELECT n FROM numbers WHERE n = 7"]);
    let [all, one_number] = plans.as_slice() else { panic!("{plans:#?}") };
    assert!(reads_of(all, "numbers").is_empty());
    assert!(matches!(reads_of(one_number, "numbers").as_slice(), [node] if is_by_index(node)));
    let pid = session.query("SELECT pg_backend_pid()").remove(0).remove(0);
    assert_eq!(statements[0].pid.to_string(), pid.expect("it is not NULL"));
    assert_eq!(one.activity().len(), 1);
    assert_eq!(one.terminate(), 1);
    wait_until("the end of the backend", Duration::from_secs(10), || one.activity().is_empty());
}

#[test]
fn passwords_are_checked_and_closed_ports_refuse() {
    let Some(database) = postgres::database() else {
        return;
    };
    let user = format!("reader_{}", database.name());
    database.execute(&format!("CREATE ROLE {user} LOGIN PASSWORD 'right'"));
    let connect = |url: &str| {
        use sqlx::Connection as _;
        postgres::runtime().block_on(sqlx::PgConnection::connect(url))
    };
    assert!(connect(&database.url_as(&user, "right")).is_ok());
    let wrong = connect(&database.url_as(&user, "wrong")).expect_err("the password is wrong");
    assert!(wrong.to_string().contains("password"), "{wrong}");
    let refused = connect(&database.refused_url()).expect_err("nothing listens there");
    assert!(refused.to_string().contains("refused"), "{refused}");
    database.execute(&format!("DROP ROLE {user}"));
}

#[test]
fn a_process_sees_nothing_of_the_developers_environment() {
    // A shell in place of the binary shows what the binary would be given.
    let shell = Tintype::new(["-c", "env | cut -d= -f1; echo to-stderr >&2; exit 7"]);
    let seen = shell.env("MARKER", "1").unprivileged("/bin/sh".into()).run().expect(7);
    assert_eq!(seen.stderr, "to-stderr\n");
    let text = seen.text();
    let mut names: Vec<&str> = text.lines().collect();
    // The shell's own.
    names.retain(|name| !["PWD", "OLDPWD", "SHLVL", "_"].contains(name));
    names.sort_unstable();
    assert_eq!(names, ["HOME", "MARKER", "PATH"]);
}

#[test]
fn a_hanging_process_is_killed_and_the_test_fails() {
    let hang = Tintype::new(["-c", "echo begun; exec sleep 1000"]);
    let hang = hang.unprivileged("/bin/sh".into()).timeout(Duration::from_millis(300));
    let failure = std::panic::catch_unwind(|| hang.run()).err().expect("it must not end well");
    let text = failure.downcast_ref::<String>().expect("it says why");
    assert!(text.contains("did not end") && text.contains("begun"), "{text}");
}

#[test]
fn a_write_to_a_full_disk_fails_without_killing_the_process() {
    let script = "trap '' XFSZ; head -c 100000 /dev/zero > big; echo code $?";
    let writer = Tintype::new(["-c", script]).small_files();
    let said = writer.unprivileged("/bin/sh".into());
    let folder = tempfile::tempdir().expect("make a folder");
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777))
        .expect("open the folder to all");
    assert_eq!(said.in_directory(folder.path()).run().expect(0).text(), "code 1\n");
}

#[test]
fn stamps_tell_a_rewrite_with_the_same_bytes() {
    let project = Project::sqlite("CREATE TABLE t (x); INSERT INTO t VALUES (1), (NULL)");
    let rows = project.query("SELECT x FROM t ORDER BY x NULLS LAST");
    assert_eq!(rows, [[Some("1".to_owned())], [None]]);
    let before = stamps(project.root());
    assert!(before.contains_key("tintype.toml") && before.contains_key("file.db"));
    let text = std::fs::read(project.config()).expect("read the file");
    let copy = project.root().join("copy");
    std::fs::write(&copy, text).expect("write the file");
    std::fs::rename(copy, project.config()).expect("rename the file");
    assert_eq!(differences(&before, &stamps(project.root())), ["tintype.toml"]);
}
