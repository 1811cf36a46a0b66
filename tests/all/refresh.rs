//! Refresh keys: a cheap query decides whether the heavy one runs.

use std::fs;

use serde_json::Value;

use crate::support::bucket::Bucket;
use crate::support::directory::differences;
use crate::support::places::{self, DOCUMENTS};
use crate::support::postgres;
use crate::support::process::Tintype;
use crate::support::project::{Project, template_of};
use crate::support::refreshed::{LOADS, RAISED, REFRESH, checked, published, read, skipped, template_with};

#[test]
fn an_unchanged_answer_leaves_the_heavy_query_out() {
    for (engine, project) in published() {
        let before = (project.stamps(), checked(&project), project.json(&["status"], 0));
        // Whoever ran the query now would fail.
        project.execute("DROP TABLE fact");
        let said = project.publish();
        assert_eq!(said["outcome"], "unchanged", "{engine}");
        let reason = skipped(&said);
        assert!(reason.starts_with("the refresh query answers as it did at "), "{engine}: {reason}");
        assert!(reason.ends_with(": 1, 1"), "{engine}: {reason}");
        let since = &template_of(&said, "places")["refresh"]["since"];
        assert_eq!(*since, before.2["templates"][0]["checked"]["as_of"], "{engine}");
        assert_eq!(
            differences(&before.0, &project.stamps()),
            [".tintype/head.json", ".tintype/publish.lock"],
            "{engine}"
        );
        // Evidence is no read: what was looked at, and when, is told apart from when it was read.
        let (was, is) = (before.1, checked(&project));
        assert_eq!((&is["as_of"], &is["at"], &is["refresh"]), (&was["as_of"], &was["at"], &was["refresh"]), "{engine}");
        assert_eq!((was["looked_at"].is_null(), is["looked_at"].is_string()), (true, true), "{engine}: {is}");
        let status = project.json(&["status"], 0)["templates"][0]["checked"]["looked_at"].clone();
        assert!(status.is_string(), "{engine}: {status}");
        let shown = project.run(&["status"]).expect(0).text();
        assert!(shown.contains("refresh query unchanged "), "{engine}: {shown}");
    }
}

#[test]
fn the_server_sees_the_refresh_query_and_not_the_heavy_one() {
    let Some(database) = postgres::database() else { return };
    database.execute(&format!("{}{LOADS}", places::ROWS));
    let project = Project::postgres(database);
    project.template("places", &template_with(REFRESH));
    for (arguments, heavy) in [(["publish"], 1), (["publish"], 0), (["plan"], 0)] {
        let start = project.database().log_end();
        let said = project.json(&arguments, 0);
        let witness = project.database().witness_since(start);
        let count =
            |text: &str| witness.statements.iter().filter(|statement| statement.sql.contains(text)).count() as u64;
        assert_eq!((count("FROM loads"), count("FROM fact")), (1, heavy), "{arguments:?}: {witness:#?}");
        assert_eq!(witness.connections.len(), 1, "{witness:#?}");
        // Two domains, the refresh query, and the template's own where it ran.
        assert_eq!(template_of(&said, "places")["queries"], 3 + heavy, "{said:#}");
        let position = |text: &str| witness.statements.iter().position(|statement| statement.sql.contains(text));
        assert!(heavy == 0 || position("FROM loads") < position("FROM fact"), "{witness:#?}");
    }
}

#[test]
fn another_answer_is_a_reason_to_read() {
    for (engine, project) in published() {
        project.execute(&format!("INSERT INTO loads VALUES (7); {RAISED}"));
        let said = project.publish();
        assert_eq!(read(&said), "the refresh query answered 1, 1, and now 2, 7", "{engine}");
        assert_eq!(template_of(&said, "places")["changed"], 2, "{engine}");
        assert!(skipped(&project.publish()).ends_with(": 2, 7"), "{engine}");
        // The rows are as before, and so is the answer; but it is the last one that counts.
        project.execute("DELETE FROM loads WHERE n = 7");
        assert_eq!(read(&project.publish()), "the refresh query answered 2, 7, and now 1, 1", "{engine}");
    }
}

#[test]
fn another_file_is_a_reason_to_read() {
    for (engine, project) in published() {
        project.template(
            "places",
            &template_with(REFRESH).replace("ORDER BY c.country_id", "-- a word\nORDER BY c.country_id"),
        );
        assert_eq!(read(&project.publish()), "its file has changed", "{engine}");
        skipped(&project.publish());
        let longer = format!("max_age = \"5m\"\n{REFRESH}");
        let said = project.template("places", &template_with(&longer)).publish();
        assert_eq!(template_of(&said, "places")["changed"], DOCUMENTS, "{engine}: headers are part of a document");
        skipped(&project.publish());
    }
}

#[test]
fn other_values_of_a_key_are_a_reason_to_read() {
    for (engine, project) in published() {
        for change in [
            "UPDATE topic SET name = 'Sepsis and septic shock' WHERE slug = 'sepsis'",
            "UPDATE topic SET papers = 40 WHERE slug = 'sepsis'",
            "DELETE FROM topic WHERE slug = 'sepsis'",
            "INSERT INTO topic VALUES ('sepsis', 'Sepsis', 10)",
        ] {
            project.execute(change);
            assert_eq!(read(&project.publish()), "the values of its keys have changed", "{engine}: {change}");
            let said = project.publish();
            assert_eq!(template_of(&said, "places")["outcome"], "skipped", "{engine}: {said:#}");
        }
        assert!(project.public().catalogue().to_string().contains("Sepsis"), "{engine}");
    }
}

#[test]
fn another_reader_is_a_reason_to_read() {
    let Some(database) = postgres::database() else { return };
    database.execute(&format!("{}{LOADS}", places::ROWS));
    let url = database.url();
    let project = Project::postgres(database);
    project.template("places", &template_with(REFRESH)).publish();
    project.configure(&url, "[database.build]\nsettings = { work_mem = \"8MB\" }\n");
    assert!(read(&project.publish()).contains("other settings"));
    skipped(&project.publish());
}

#[test]
fn a_file_is_the_same_database_wherever_it_is_named_from() {
    let project = Project::sqlite(&format!("{}{LOADS}", places::ROWS));
    project.template("places", &template_with(REFRESH)).publish();
    let from_within = Tintype::new(["publish", "--format", "json"]).in_directory(project.root());
    skipped(&from_within.run().expect(0).json());
    fs::copy(project.root().join("file.db"), project.root().join("other.db")).expect("copy the database");
    project.configure("sqlite:other.db", "");
    assert!(read(&project.publish()).contains("another database"));
}

#[test]
fn a_refresh_query_that_fails_is_told_and_the_documents_stay() {
    for (engine, project) in published() {
        project.template("other", "/*---\npath = \"other/{n}.json\"\n---*/\nSELECT n FROM loads ORDER BY n\n");
        let before = project.public().digests();
        project.template("places", &template_with(&REFRESH.replace("max(n)", "max(nn)")));
        let finished = project.run(&["publish"]).expect(4);
        finished.explains(&["places.sql:5", "[refresh] the query failed", "nn"]);
        project.run(&["check"]).expect(2).explains(&["places.sql:5", "[refresh] the query failed"]);
        let mut after = project.public().digests();
        assert!(after.remove("other/1.json").is_some(), "{engine}: the other template goes on");
        assert_eq!(after, before, "{engine}");
        project.template("places", &template_with(REFRESH));
        assert!(read(&project.publish()).starts_with("it failed at "), "{engine}");
    }
}

#[test]
fn an_answer_has_an_end() {
    for (engine, project) in published() {
        let many = |count: u32| {
            format!(
                "WITH RECURSIVE s (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < {count}) SELECT i FROM s"
            )
        };
        let refresh = |sql: &str| format!("[refresh]\nsql = \"{sql}\"\n");
        project.template("places", &template_with(&refresh(&many(1_000)))).publish();
        assert!(skipped(&project.publish()).contains(": 1 (1000 rows, "), "{engine}");
        project.template("places", &template_with(&refresh(&many(1_001))));
        project.run(&["publish"]).expect(1).explains(&["places.sql:5", "answers more than 1000 rows"]);
        let long = "SELECT replace(replace(replace(replace('aaaaaaaaaaa', 'a', 'bbbbbbbbbbbbbbbbbbbb'), 'b', \
                    'cccccccccccccccccccc'), 'c', 'dddddddddddddddddddd'), 'd', 'eeeeeeeeeeeeee')";
        project.template("places", &template_with(&refresh(long)));
        project.run(&["publish"]).expect(1).explains(&["places.sql:5", "answers more than 1 MiB"]);
    }
}

#[test]
fn a_plan_says_why_and_writes_nothing() {
    for (engine, project) in published() {
        project.template("other", "/*---\npath = \"other/{n}.json\"\n---*/\nSELECT n FROM loads ORDER BY n\n");
        project.publish();
        let before = project.stamps();
        let said = project.json(&["plan", "--exit-code"], 0);
        skipped(&said);
        assert_eq!(template_of(&said, "other")["reason"], "it has no [refresh]", "{engine}");
        assert_eq!(template_of(&said, "other")["refresh"], Value::Null, "{engine}");
        let shown = project.run(&["plan"]).expect(0).text();
        for text in ["skipped: the refresh query answers as it did at ", "read: it has no [refresh]"] {
            assert!(shown.contains(text), "{engine}: {shown}");
        }
        project.execute(&format!("INSERT INTO loads VALUES (2); {RAISED}"));
        let shown = project.run(&["plan", "--exit-code"]).expect(10).text();
        assert!(shown.contains("read: the refresh query answered 1, 1, and now 2, 2"), "{engine}: {shown}");
        assert_eq!(project.stamps(), before, "{engine}");
        let told = project.run(&["publish", "-v"]).expect(0).stderr;
        assert!(told.contains("read: the refresh query answered 1, 1, and now 2, 2"), "{engine}: {told}");
        let told = project.run(&["publish", "-v"]).expect(0).stderr;
        assert!(told.contains("skipped: the refresh query answers as it did at "), "{engine}: {told}");
    }
}

#[test]
fn a_template_left_out_stays_in_the_catalogue_while_others_change() {
    for (engine, project) in published() {
        // A column without a domain has its values from the rows, which aren't read.
        let open = format!(
            "/*---\npath = \"open/{{city}}.json\"\n{REFRESH}---*/\nSELECT city, count(*) AS n FROM fact GROUP BY city ORDER BY city\n"
        );
        project.template("open", &open);
        project.template(
            "other",
            "/*---\npath = \"other/{n}.json\"\n---*/\nSELECT fact_id AS n, level FROM fact ORDER BY n\n",
        );
        project.publish();
        let before = project.public().catalogue();
        project.execute("DELETE FROM fact WHERE fact_id = 5");
        let said = project.publish();
        assert_eq!(template_of(&said, "open")["outcome"], "skipped", "{engine}");
        assert_eq!(template_of(&said, "other")["removed"], 1, "{engine}");
        skipped(&said);
        let after = project.public().catalogue();
        for name in ["open", "places"] {
            assert_eq!(after["templates"][name], before["templates"][name], "{engine}: {name}");
        }
        assert_ne!(after["templates"]["other"], before["templates"]["other"], "{engine}");
    }
}

#[test]
fn a_run_that_leaves_out_asks_a_bucket_no_more_than_an_unchanged_one() {
    let bucket = Bucket::new();
    let mut project = Project::sqlite(&format!("{}{LOADS}", places::ROWS));
    project.template("places", places::TEMPLATE);
    project.template("other", "/*---\npath = \"other/{n}.json\"\n---*/\nSELECT n FROM loads ORDER BY n\n");
    project.publish_to(&bucket, "");
    project.publish();
    let requests = |outcome: &str| {
        bucket.server.reset();
        let said = project.publish();
        assert_eq!(said["outcome"], "unchanged");
        assert_eq!(template_of(&said, "places")["outcome"], outcome, "{said:#}");
        bucket.server.counts().total()
    };
    let unchanged = requests("unchanged");
    project.template("places", &template_with(REFRESH)).publish();
    assert_eq!(requests("skipped"), unchanged);
    fs::remove_file(project.template_file("other")).expect("remove a template");
    assert!(requests("skipped") <= unchanged + 1);
}

#[test]
fn check_tells_a_refresh_query_that_is_no_use() {
    let Some(database) = postgres::database() else { return };
    database.execute(&format!("{}{LOADS}", places::ROWS));
    database.execute(
        "CREATE FUNCTION chance() RETURNS float LANGUAGE sql VOLATILE AS 'SELECT random()';
         CREATE TABLE log AS SELECT n, md5(n::text) AS text FROM generate_series(1, 200000) AS n; ANALYZE",
    );
    let project = Project::postgres(database);
    for (sql, says) in [
        ("SELECT max(n), now() FROM loads", "`now()` has another answer in every run"),
        ("SELECT max(n), chance() FROM loads", "`chance` has another answer in every run"),
        ("SELECT count(DISTINCT text) FROM log", "of the template's own by the planner's estimate"),
    ] {
        project.template("places", &template_with(&format!("[refresh]\nsql = \"{sql}\"\n")));
        project.run(&["check"]).expect(0).explains(&["places.sql:5", says]);
    }
    project.template("places", &template_with(REFRESH));
    let checked = project.run(&["check"]).expect(0);
    assert!(!checked.stderr.contains("[refresh]"), "{checked}");
}
