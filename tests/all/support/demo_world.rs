//! The demo's data and the three shipped templates, over SQLite and both PostgreSQL clusters.
//!
//! Filling a database takes seconds, so it is done once a process (SQLite) or once a cluster (PostgreSQL) and copied from there.

use std::path::PathBuf;
use std::sync::OnceLock;

use tintype::demo::data;

use super::postgres::{self, Collation};
use super::project::Project;

/// The shipped templates.
pub const TEMPLATES: [&str; 3] = ["world-map", "country-map", "city-map"];

/// A project with the shipped templates over a copy of the demo's SQLite database.
pub fn sqlite() -> Project {
    static ORIGINAL: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, original) = ORIGINAL.get_or_init(|| {
        let folder = tempfile::tempdir().expect("make a folder");
        let file = folder.path().join("demo.db");
        postgres::runtime().block_on(data::create_sqlite(&file)).expect("make the demo's database");
        (folder, file)
    });
    let project = Project::sqlite("");
    std::fs::copy(original, project.root().join("file.db")).expect("copy the demo's database");
    project.shipped(&TEMPLATES);
    project
}

/// The same over PostgreSQL; notes the running test as skipped when there is none here.
pub fn postgres(collation: Collation) -> Option<Project> {
    let cluster = postgres::cluster(collation)?;
    let template = cluster.template("tintype_demo", async |connection| {
        data::load_postgres(connection).await.expect("load the demo's data");
    });
    let project = Project::postgres(cluster.database(&template));
    project.shipped(&TEMPLATES);
    Some(project)
}
