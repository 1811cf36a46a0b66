//! Roles, poolers and what the one may and the other can't.

use serde_json::json;

use super::{ROWS, change, says};
use crate::support::fallback::{World, server_world};
use crate::support::postgres::{self, Session};
use crate::support::process::Tintype;
use crate::support::servers::Bouncer;

/// A role of its own, dropped with the value.
struct Role<'a> {
    world: &'a World,
    name: String,
}

impl<'a> Role<'a> {
    fn new(world: &'a World) -> Self {
        Self::called("writer", world)
    }

    fn called(what: &str, world: &'a World) -> Self {
        let name = format!("{what}_{}", world.project.database().name());
        world.project.execute(&format!("CREATE ROLE {name} LOGIN PASSWORD 'pass'"));
        Self { world, name }
    }
}

impl Drop for Role<'_> {
    fn drop(&mut self) {
        self.world.project.execute(&format!("DROP OWNED BY {0}; DROP ROLE {0}", self.name));
    }
}

#[test]
fn a_role_that_may_not_is_told_what_an_administrator_must_run() {
    let Some(world) = server_world("") else { return };
    let (project, database) = (&world.project, world.project.database());
    project.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC");
    let role = Role::new(&world);
    world.keep_in(&database.url_as(&role.name, "pass"), "");
    let ended = project.run(&["publish"]).expect(4);
    ended.explains(&["permission denied for schema public", "an administrator of the database can run this once"]);
    assert!(!ended.stderr.contains("pass@"), "{ended}");
    assert_eq!(project.json(&["doctor"], 0)["fallback"]["checks"][0]["outcome"], "missing");
    // As they stand.
    let lines = ended.stderr.lines().map(str::trim).filter(|line| line.ends_with(';'));
    let statements: Vec<&str> = lines.collect();
    assert_eq!(statements.len(), 6, "{ended}");
    project.execute(&statements.join("\n"));
    says(&project.publish(), "done", ROWS, 0);
    world.agrees();
    let looked = project.json(&["doctor"], 0);
    let outcomes = |looked: &serde_json::Value| {
        looked["fallback"]["checks"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|check| check["outcome"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(outcomes(&looked), ["ok", "ok"], "{looked:#}");
    // Less than it needs.
    project.execute(&format!("REVOKE DELETE ON tintype_snapshot FROM {}", role.name));
    let looked = project.json(&["doctor"], 0);
    assert_eq!(outcomes(&looked), ["ok", "warning"], "{looked:#}");
    assert!(looked["fallback"]["checks"][1]["detail"].as_str().expect("text").contains("DELETE on tintype_snapshot"));
    // A name that is somebody else's table.
    project.execute("DROP TABLE tintype_release, tintype_snapshot; CREATE TABLE tintype_release (x int)");
    let ended = project.run(&["publish"]).expect(4);
    ended.explains(&["the fallback table isn't up to date"]);
}

/// The statements that `init` writes beside the commented `table_url`.
fn grants_of_init() -> [String; 2] {
    let root = tempfile::tempdir().expect("make a folder");
    let folder = root.path().join("site");
    Tintype::new(["init"]).arg(&folder).args(&["--database", "postgres://db.example.org/maps"]).run().expect(0);
    let config = std::fs::read_to_string(folder.join("tintype.toml")).expect("read tintype.toml");
    let lines: Vec<&str> = config.lines().map(|line| line.trim_start_matches(['#', ' '])).collect();
    let at = lines.iter().position(|line| line.starts_with("table_url")).expect("the key");
    let near = &lines[at.saturating_sub(4)..];
    let line = near.iter().find(|line| line.starts_with("GRANT ")).unwrap_or_else(|| panic!("no GRANT in {config}"));
    let statements: Vec<String> =
        line.split(';').map(|one| one.trim().to_owned()).filter(|one| !one.is_empty()).collect();
    statements.try_into().unwrap_or_else(|statements| panic!("{statements:?}"))
}

#[test]
fn what_init_says_to_grant_is_what_it_takes() {
    let Some(world) = server_world("") else { return };
    let (project, database) = (&world.project, world.project.database());
    let [writer, api] = ["writer", "api"].map(|what| Role::called(what, &world));
    let [make, read] = grants_of_init();
    assert!(make.ends_with(" TO tintype") && read.ends_with(" TO api"), "{make}; {read}");
    let to = |statement: &str, role: &Role| {
        let (what, _) = statement.rsplit_once(' ').expect("a role");
        format!("{what} {}", role.name)
    };
    project.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC");
    let url = database.url_as(&writer.name, "pass");
    world.keep_in(&url, "");
    project.run(&["publish"]).expect(4).explains(&["permission denied for schema public"]);
    project.execute(&to(&make, &writer));
    says(&project.publish(), "done", ROWS, 0);
    world.agrees();
    let may = |what: &str| {
        let tables = ["tintype_snapshot", "tintype_release"];
        tables.map(|table| {
            database.one(&format!("SELECT has_table_privilege('{}', '{table}', '{what}')::text", api.name))
        })
    };
    assert_eq!(may("SELECT"), ["false"; 2]);
    // The tables are the writer's own.
    postgres::execute(&url, &to(&read, &api));
    assert_eq!(
        (may("SELECT"), may("INSERT, UPDATE, DELETE, TRUNCATE")),
        (["true"; 2].map(str::to_owned), ["false"; 2].map(str::to_owned))
    );
    let rows =
        postgres::query(&database.url_as(&api.name, "pass"), "SELECT count(body_gzip)::text FROM tintype_snapshot");
    assert_eq!(rows[0][0].as_deref(), Some(ROWS.to_string().as_str()));
}

#[test]
fn it_is_written_through_a_pooler_in_transaction_mode() {
    let Some(world) = server_world("") else { return };
    let (project, role) = (&world.project, Role::new(&world));
    project.execute(&format!("GRANT CREATE ON SCHEMA public TO {}", role.name));
    let users = format!("\"{}\" \"pass\"", role.name);
    // One server connection for everybody.
    let Some(bouncer) = Bouncer::before(&project.database().url(), "default_pool_size = 1", &users) else { return };
    let url = bouncer.url(&role.name, "pass", project.database().name());
    let settings = "SELECT name, setting FROM pg_settings WHERE name IN ('statement_timeout', 'lock_timeout', 'bytea_output', \
                    'idle_in_transaction_session_timeout', 'transaction_read_only', 'transaction_isolation') ORDER BY name";
    let mut next = Session::connect(&url);
    let fresh = next.query(settings);
    world.keep_in(&url, "");
    says(&project.publish(), "done", ROWS, 0);
    world.agrees();
    change(&world);
    project.publish();
    world.agrees();
    assert_eq!(project.json(&["verify", "--table", "--deep"], 0)["outcome"], "intact");
    project.json(&["get", "places/*/*/*", "--from", "table"], 0);
    assert_eq!(project.json(&["doctor"], 0)["fallback"]["checks"][1]["outcome"], json!("ok"));
    assert_eq!(next.query(settings), fresh, "nothing is left for the next client");
    assert!(next.query("SELECT name FROM pg_prepared_statements WHERE statement <> ''").is_empty());
}
