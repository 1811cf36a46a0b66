//! The same data gives the same object paths and the same bytes, in every engine, under every collation, in every run.

use std::collections::BTreeMap;

use crate::support::demo_world;
use crate::support::directory::differences;
use crate::support::places;
use crate::support::postgres::{self, Collation};
use crate::support::project::Project;

/// Builds from nothing and returns what came of it.
fn build(project: &Project) -> BTreeMap<String, String> {
    for folder in ["public", ".tintype"] {
        let folder = project.root().join(folder);
        if folder.exists() {
            std::fs::remove_dir_all(folder).expect("remove the folder");
        }
    }
    project.publish();
    project.public().digests()
}

#[test]
fn the_demo_in_three_databases() {
    let sqlite = demo_world::sqlite();
    let first = build(&sqlite);
    assert!(first.len() > 10_000, "{} documents", first.len());
    assert_eq!(differences(&first, &build(&sqlite)), Vec::<String>::new(), "two builds of SQLite");
    for collation in [Collation::C, Collation::EnUs] {
        let Some(project) = demo_world::postgres(collation) else { continue };
        let there = build(&project);
        let differ = differences(&first, &there);
        assert!(differ.is_empty(), "{collation:?}: {} documents differ, e.g. {:?}", differ.len(), &differ[..1]);
        assert_eq!(build(&project), there, "two builds of {collation:?}");
    }
}

#[test]
fn parallel_and_serial_plans_give_the_same_bytes() {
    let Some(project) = demo_world::postgres(Collation::C) else { return };
    let name = project.database().name().to_owned();
    let mut digests = Vec::new();
    for workers in [0, 4] {
        // Costs that make the planner take workers for the smallest table, where it may take any.
        project.execute(&format!(
            "ALTER DATABASE {name} SET max_parallel_workers_per_gather = {workers};
             ALTER DATABASE {name} SET parallel_setup_cost = 0;
             ALTER DATABASE {name} SET parallel_tuple_cost = 0;
             ALTER DATABASE {name} SET min_parallel_table_scan_size = 0"
        ));
        digests.push(build(&project));
    }
    assert_eq!(differences(&digests[0], &digests[1]), Vec::<String>::new());
}

/// Text that collations disagree on, ordered by bytes in the template itself.
#[test]
fn text_ordered_by_bytes_is_in_one_order_everywhere() {
    let rows = "CREATE TABLE word (word TEXT); INSERT INTO word VALUES ('a'), ('B'), ('ä'), ('z'), ('_'), ('Z'), ('é'), ('10'), ('9')";
    let template = "/*---\npath = \"words/{initial}.json\"\n---*/\n\
        SELECT 'all' AS initial, word FROM word ORDER BY word COLLATE \"C\"";
    let mut bodies = Vec::new();
    let mut projects = vec![Project::sqlite(rows)];
    for collation in [Collation::C, Collation::EnUs] {
        if let Some(cluster) = postgres::cluster(collation) {
            let database = cluster.database("template0");
            database.execute(rows);
            projects.push(Project::postgres(database));
        }
    }
    for project in projects {
        project.template("words", template).publish();
        bodies.push(project.public().text("words/all.json"));
    }
    let words = ["10", "9", "B", "Z", "_", "a", "z", "ä", "é"].map(|word| format!("{{\"word\":\"{word}\"}}"));
    for body in &bodies {
        assert!(body.contains(&words.join(",")), "{body}");
        assert_eq!(body, &bodies[0]);
    }
}

#[test]
fn a_documents_bytes_say_nothing_of_when_and_where_it_was_built() {
    for (engine, project) in places::projects() {
        let first = build(&project);
        // Another folder, another release, another table order and other row ids.
        project.execute(
            "CREATE TABLE copy AS SELECT * FROM fact ORDER BY fact_id DESC; DELETE FROM fact; \
             INSERT INTO fact SELECT fact_id + 100, region, topic, city_id, city, scholar, level FROM copy",
        );
        assert_eq!(build(&project), first, "{engine}");
        let gzip = std::fs::read(project.public().file("places/united-states/crispr/low.json")).expect("read it");
        assert_eq!(gzip[4..8], [0; 4], "{engine}: a time in the gzip header");
    }
}
