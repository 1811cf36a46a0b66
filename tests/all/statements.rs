//! One connection and one statement per template, however many keys; told by the server's own log.

use crate::support::places;
use crate::support::postgres;
use crate::support::project::Project;
use crate::support::server_log::Witness;

/// Publishes two templates with this many keys and returns what the server saw.
fn publish(keys: u32) -> Option<Witness> {
    let database = postgres::database()?;
    database.execute(&format!(
        "CREATE TABLE numbers AS SELECT n, n % 7 AS tens FROM generate_series(1, {keys}) AS n; ANALYZE"
    ));
    let project = Project::postgres(database);
    let template = |name: &str| {
        format!(
            "/*---\npath = \"{name}/{{n}}.json\"\n---*/\n\
             SELECT n, tens, '{name}' AS marker FROM numbers ORDER BY n\n"
        )
    };
    project.template("first", &template("first"));
    project.template("second", &template("second"));
    let start = project.database().log_end();
    let said = project.publish();
    let witness = project.database().witness_since(start);
    assert_eq!(project.public().paths().len(), 2 * keys as usize);
    assert_eq!(said["connections"], 1);
    for template in said["templates"].as_array().expect("a list of templates") {
        assert_eq!(template["keys"], keys);
    }
    Some(witness)
}

#[test]
fn a_thousand_keys_take_the_statements_of_ten() {
    let (Some(few), Some(many)) = (publish(10), publish(1000)) else {
        return;
    };
    for witness in [&few, &many] {
        assert_eq!(witness.connections.len(), 1, "{witness:#?}");
        assert!(witness.statements.iter().all(|statement| statement.pid == witness.connections[0]));
        for marker in ["'first'", "'second'"] {
            let count = witness.statements.iter().filter(|statement| statement.sql.contains(marker)).count();
            assert_eq!(count, 1, "statements of {marker}: {witness:#?}");
        }
    }
    assert_eq!(few.statements.len(), many.statements.len(), "{few:#?}\n{many:#?}");
}

#[test]
fn a_build_is_one_read_only_transaction_on_one_snapshot() {
    let Some(witness) = publish(10) else { return };
    let sql: Vec<String> = witness
        .statements
        .iter()
        .map(|statement| statement.sql.split_whitespace().collect::<Vec<_>>().join(" ").to_uppercase())
        .collect();
    let begins: Vec<&String> = sql.iter().filter(|sql| sql.starts_with("BEGIN") || sql.starts_with("START ")).collect();
    assert!(
        matches!(begins.as_slice(), [begin] if begin.contains("REPEATABLE READ") && begin.contains("READ ONLY")),
        "{sql:#?}"
    );
    // Whatever comes before the one BEGIN and behind the end doesn't read tables.
    let begin = sql.iter().position(|sql| sql == begins[0]).expect("it is there");
    let end = sql.iter().rposition(|sql| ["COMMIT", "ROLLBACK", "END"].contains(&sql.trim_end_matches(';')));
    let end = end.unwrap_or_else(|| panic!("the transaction has no end: {sql:#?}"));
    let reads = |sql: &String| sql.contains("FROM NUMBERS");
    assert!(!sql[..begin].iter().any(reads) && !sql[end..].iter().any(reads), "{sql:#?}");
    assert_eq!(sql.iter().filter(|sql| sql.starts_with("SAVEPOINT")).count(), 2, "{sql:#?}");
}

#[test]
fn a_domain_is_read_once_and_in_the_same_transaction() {
    let Some(database) = postgres::database() else {
        return;
    };
    database.execute(places::ROWS);
    let project = Project::postgres(database);
    project.template("places", places::TEMPLATE);
    let start = project.database().log_end();
    project.publish();
    let witness = project.database().witness_since(start);
    for table in ["FROM country ORDER", "FROM topic ORDER", "FROM fact"] {
        let count = witness.statements.iter().filter(|statement| statement.sql.contains(table)).count();
        assert_eq!(count, 1, "statements {table}: {witness:#?}");
    }
    assert_eq!(witness.connections.len(), 1, "{witness:#?}");
}

#[test]
fn no_row_or_table_of_the_database_is_written() {
    let Some(database) = postgres::database() else {
        return;
    };
    database.execute(places::ROWS);
    let user = format!("reader_{}", database.name());
    // A role that can't write, with a password that is checked: what the documentation tells an operator to make.
    database.execute(&format!(
        "CREATE ROLE {user} LOGIN PASSWORD 'pass'; GRANT pg_read_all_data TO {user};
         ALTER DATABASE {} SET default_transaction_read_only = on",
        database.name()
    ));
    let url = database.url_as(&user, "pass");
    let project = Project::postgres(database);
    project.template("places", places::TEMPLATE);
    project.configure(&url, "");
    assert_eq!(project.publish()["outcome"], "published");
    let mut session = project.database().connect();
    for sql in
        ["SET default_transaction_read_only = off", &format!("DROP OWNED BY {user}"), &format!("DROP ROLE {user}")]
    {
        session.query(sql);
    }
}

#[test]
fn every_statement_of_a_template_is_counted() {
    let Some(database) = postgres::database() else { return };
    database.execute(places::ROWS);
    let project = Project::postgres(database);
    project.template("places", places::TEMPLATE).publish();
    // Two domains, names and types of the key columns, and the rows of one key; without a row the columns again.
    for (key, expected) in [("places/united-states/crispr/low", 5), ("places/united-states/sepsis/low", 7)] {
        let start = project.database().log_end();
        let said = project.json(&["republish", key], 0);
        let witness = project.database().witness_since(start);
        let reads = ["FROM fact", "FROM country ORDER", "FROM topic ORDER"];
        let is_read = |sql: &str| reads.iter().any(|read| sql.contains(read));
        let count = witness.statements.iter().filter(|statement| is_read(&statement.sql)).count();
        assert_eq!(count, expected, "{key}: {witness:#?}");
        assert_eq!(said["templates"][0]["queries"], expected, "{key}: {said}");
    }
}

/// sqlx loses count of the server's answers when a COPY is refused before it begins, here by the planner.
#[test]
fn a_statement_that_the_planner_refuses_leaves_the_connection_usable() {
    let Some(database) = postgres::database() else { return };
    let project = Project::postgres(database);
    let template = |name: &str, value: &str| {
        format!(
            "/*---\npath = \"{name}/{{k}}.json\"\n---*/\nSELECT n AS k, {value} AS v FROM generate_series(1, 3) n ORDER BY n\n"
        )
    };
    project.template("a-good", &template("a-good", "n"));
    project.template("b-planned", &template("b-planned", "1/0"));
    project.template("c-good", &template("c-good", "n + 1"));
    project.template("d-late", &template("d-late", "1/(n - 3)"));
    project.template("e-good", &template("e-good", "n + 2"));
    let said = project.json(&["publish"], 4);
    assert_eq!(said["connections"], 1);
    let outcome = |name: &str| {
        let templates = said["templates"].as_array().expect("templates");
        templates.iter().find(|template| template["name"] == name).expect("it")["outcome"].clone()
    };
    for (name, expected) in [
        ("a-good", "published"),
        ("b-planned", "failed"),
        ("c-good", "published"),
        ("d-late", "failed"),
        ("e-good", "published"),
    ] {
        assert_eq!(outcome(name), expected, "{name}: {said}");
    }
    for (path, value) in [("a-good/3.json", 3), ("c-good/3.json", 4), ("e-good/3.json", 5)] {
        assert_eq!(project.public().document(path)["rows"][0]["v"], value, "{path}");
    }
    for failed in ["b-planned", "d-late"] {
        let reason = said["templates"].as_array().expect("templates").iter().find(|t| t["name"] == failed).expect("it");
        assert!(reason["reason"].as_str().expect("a reason").contains("division by zero"), "{reason}");
    }
}

#[test]
fn a_setting_may_be_a_list() {
    let Some(database) = postgres::database() else { return };
    database.execute("CREATE SCHEMA other; CREATE TABLE other.things AS SELECT 1 AS k, 2 AS v");
    let url = database.url();
    let project = Project::postgres(database);
    project.configure(&url, "[database.build]\nsettings = { search_path = \"other, public\" }\n");
    project.template("things", "/*---\npath = \"things/{k}.json\"\n---*/\nSELECT k, v FROM things ORDER BY k\n");
    assert_eq!(project.publish()["outcome"], "published");
    assert_eq!(project.public().document("things/1.json")["rows"][0]["v"], 2);
}
