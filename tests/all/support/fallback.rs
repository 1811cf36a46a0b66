//! The fallback table as an API would find it, on either engine.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::PathBuf;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::places;
use super::postgres;
use super::project::{Project, sqlite_execute, sqlite_query};

/// Where it is.
#[derive(Clone)]
pub enum Table {
    /// In a SQLite file.
    File(PathBuf),
    /// In the PostgreSQL database with this URL.
    Server(String),
}

/// A row of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub body: Vec<u8>,
    pub template: String,
    pub key: Value,
    pub cache_control: String,
    pub cache_tags: String,
    pub release: String,
}

/// A project over the small world, with its table.
pub struct World {
    pub engine: &'static str,
    pub project: Project,
    pub table: Table,
}

/// One with the file that needs no setting, and one with the table beside the data.
pub fn worlds() -> Vec<World> {
    let sqlite = places::sqlite();
    let table = Table::File(sqlite.root().join(".tintype/fallback.db"));
    let mut worlds = vec![World { engine: "SQLite", project: sqlite, table }];
    worlds.extend(server_world(""));
    worlds
}

/// The one with the table on a server; `more` are further lines of `[fallback]`.
pub fn server_world(more: &str) -> Option<World> {
    let database = postgres::database()?;
    database.execute(places::ROWS);
    let project = Project::postgres(database);
    project.template("places", places::TEMPLATE);
    let table = Table::Server(project.database().url());
    let world = World { engine: "PostgreSQL", project, table };
    world.keep_in(&world.project.database().url(), more);
    Some(world)
}

impl World {
    /// Leaves the table in this database from now on; `more` are further lines of `[fallback]`.
    pub fn keep_in(&self, url: &str, more: &str) {
        let of_data = match &self.table {
            Table::File(_) => "sqlite:file.db".to_owned(),
            Table::Server(_) => self.project.database().url(),
        };
        self.project.configure(&of_data, &format!("\n[fallback]\ntable_url = \"{url}\"\n{more}"));
    }

    /// Fails unless the table has what the store shows, byte for byte, and nothing else.
    #[track_caller]
    pub fn agrees(&self) -> BTreeMap<String, Row> {
        let rows = self.table.rows();
        let public = self.project.public();
        let paths: BTreeSet<String> = public.all_paths().into_iter().collect();
        let differing: Vec<&String> = rows.keys().filter(|path| !paths.contains(*path)).collect();
        assert!(differing.is_empty(), "{}: only in the table: {differing:?}", self.engine);
        let differing: Vec<&String> = paths.iter().filter(|path| !rows.contains_key(*path)).collect();
        assert!(differing.is_empty(), "{}: not in the table: {differing:?}", self.engine);
        for (path, row) in &rows {
            assert_eq!(row.body, public.body(path), "{}: {path}", self.engine);
        }
        let active = self.project.head()["active"].clone();
        assert_eq!(self.table.release(), active, "{}", self.engine);
        rows
    }
}

impl Table {
    /// Every row by its path. Fails on one whose digest isn't its body's.
    pub fn rows(&self) -> BTreeMap<String, Row> {
        let body = match self {
            Table::File(_) => "hex(body_gzip)",
            Table::Server(_) => "encode(body_gzip, 'hex')",
        };
        let sql = format!(
            "SELECT path, {body}, digest, template, CAST(key AS TEXT), cache_control, cache_tags, release FROM tintype_snapshot"
        );
        let row = |cells: Vec<Option<String>>| {
            let cells: Vec<String> = cells.into_iter().map(|cell| cell.expect("no column is NULL")).collect();
            let body = unpacked(&hex(&cells[1]));
            let digest: String = Sha256::digest(&body).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(digest, cells[2], "the digest of {}", cells[0]);
            let row = Row {
                body,
                template: cells[3].clone(),
                key: serde_json::from_str(&cells[4]).expect("the key is JSON"),
                cache_control: cells[5].clone(),
                cache_tags: cells[6].clone(),
                release: cells[7].clone(),
            };
            (cells[0].clone(), row)
        };
        self.query(&sql).into_iter().map(row).collect()
    }

    /// The release that it says it shows.
    pub fn release(&self) -> String {
        self.query("SELECT release FROM tintype_release")[0][0].clone().expect("no column is NULL")
    }

    /// Runs one statement and returns its rows as text.
    pub fn query(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        match self {
            Table::File(file) => sqlite_query(file, sql),
            Table::Server(url) => postgres::query(url, sql),
        }
    }

    /// Runs statements, separated by semicolons.
    pub fn execute(&self, sql: &str) {
        match self {
            Table::File(file) => sqlite_execute(file, sql),
            Table::Server(url) => postgres::execute(url, sql),
        }
    }
}

/// What a gzipped body holds.
pub fn unpacked(gzipped: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    flate2::read::GzDecoder::new(gzipped).read_to_end(&mut body).expect("the body is gzip");
    body
}

fn hex(text: &str) -> Vec<u8> {
    let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal digits");
    (0..text.len()).step_by(2).map(byte).collect()
}
