//! A throw-away project: `tintype.toml`, templates, a database and the folder it publishes to.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection as _, Row as _, ValueRef as _};
use tempfile::TempDir;

use super::bucket::Bucket;
use super::directory::{Directory, Stamp, stamps};
use super::postgres::{self, Database};
use super::process::{Finished, Tintype};

/// `[store]` of a project that publishes into a folder.
const FOLDER: &str = "url = \"file:public\"\n";

/// A project in its own temporary directory.
pub struct Project {
    root: TempDir,
    database: Source,
    /// The lines of `[store]`.
    store: String,
    environment: Vec<(&'static str, String)>,
}

enum Source {
    Sqlite(PathBuf),
    Postgres(Database),
    Url(String),
}

impl Project {
    /// A project over a new SQLite database made by `sql`.
    pub fn sqlite(sql: &str) -> Self {
        let root = tempfile::tempdir().expect("make a project directory");
        let file = root.path().join("file.db");
        sqlite_execute(&file, sql);
        let project = Self { root, database: Source::Sqlite(file), store: FOLDER.to_owned(), environment: Vec::new() };
        project.configure("sqlite:file.db", "");
        project
    }

    /// A project over this PostgreSQL database.
    pub fn postgres(database: Database) -> Self {
        let root = tempfile::tempdir().expect("make a project directory");
        let project =
            Self { root, database: Source::Postgres(database), store: FOLDER.to_owned(), environment: Vec::new() };
        project.configure(&project.database().url(), "");
        project
    }

    /// A project over a PostgreSQL database of somebody else's.
    pub fn at(url: &str) -> Self {
        let root = tempfile::tempdir().expect("make a project directory");
        let database = Source::Url(url.to_owned());
        let project = Self { root, database, store: FOLDER.to_owned(), environment: Vec::new() };
        project.configure(url, "");
        project
    }

    /// Writes `tintype.toml` with this database URL; `more` is added at its end.
    pub fn configure(&self, database_url: &str, more: &str) {
        fs::create_dir_all(self.root().join("templates")).expect("make the template folder");
        let config = format!(
            "[database]\nurl = \"{database_url}\"\n\n[store]\n{}\n\
             [cdn]\nurl = \"https://cdn.example.org\"\n\n[paths]\ntemplates = \"templates\"\n{more}",
            self.store
        );
        fs::write(self.config(), config).expect("write tintype.toml");
    }

    /// Publishes into this bucket from now on, which was probed before; `more` are further lines of `[store]`.
    pub fn publish_to(&mut self, bucket: &Bucket, more: &str) {
        bucket.remember_probe();
        self.store = format!("{}{more}", bucket.settings());
        self.environment = Bucket::environment();
        let url = match &self.database {
            Source::Sqlite(_) => "sqlite:file.db".to_owned(),
            Source::Postgres(database) => database.url(),
            Source::Url(url) => url.clone(),
        };
        self.configure(&url, "");
    }

    /// Writes the template `name`, whatever was there before.
    pub fn template(&self, name: &str, text: &str) -> &Self {
        let file = self.template_file(name);
        fs::write(file, text).expect("write the template");
        self
    }

    /// Copies templates that ship with tintype.
    pub fn shipped(&self, names: &[&str]) -> &Self {
        for name in names {
            let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("templates/{name}.sql"));
            let text =
                fs::read_to_string(&file).unwrap_or_else(|error| panic!("cannot read {}: {error}", file.display()));
            self.template(name, &text);
        }
        self
    }

    /// The file of the template `name`.
    pub fn template_file(&self, name: &str) -> PathBuf {
        self.root().join(format!("templates/{name}.sql"))
    }

    /// The project's folder.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// Its `tintype.toml`.
    pub fn config(&self) -> PathBuf {
        self.root().join("tintype.toml")
    }

    /// What it has published.
    pub fn public(&self) -> Directory {
        Directory::new(self.root().join("public"))
    }

    /// Makes the folder that it publishes to, as the first run does; without it the store isn't there.
    pub fn make_public(&self) -> &Self {
        fs::create_dir(self.root().join("public")).expect("make the folder");
        self
    }

    /// The head of its store.
    pub fn head(&self) -> Value {
        let bytes = fs::read(self.root().join(".tintype/head.json")).expect("read head.json");
        serde_json::from_slice(&bytes).expect("head.json is JSON")
    }

    /// The stamps of every file of the store, public (`public/…`) and control (`.tintype/…`).
    pub fn stamps(&self) -> BTreeMap<String, Stamp> {
        ["public", ".tintype"]
            .iter()
            .flat_map(|folder| {
                stamps(&self.root().join(folder))
                    .into_iter()
                    .map(move |(path, stamp)| (format!("{folder}/{path}"), stamp))
            })
            .collect()
    }

    /// The PostgreSQL database of this project.
    pub fn database(&self) -> &Database {
        match &self.database {
            Source::Postgres(database) => database,
            Source::Sqlite(file) => panic!("{} is SQLite", file.display()),
            Source::Url(url) => panic!("{url} isn't a test's own database"),
        }
    }

    /// Runs statements, separated by semicolons, on the project's database.
    pub fn execute(&self, sql: &str) {
        match &self.database {
            Source::Postgres(database) => database.execute(sql),
            Source::Sqlite(file) => sqlite_execute(file, sql),
            Source::Url(url) => postgres::execute(url, sql),
        }
    }

    /// Runs one statement on the project's database and returns its rows as text (`None` is NULL).
    pub fn query(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        match &self.database {
            Source::Postgres(database) => database.query(sql),
            Source::Sqlite(file) => sqlite_query(file, sql),
            Source::Url(url) => postgres::query(url, sql),
        }
    }

    /// `tintype` with this project's configuration.
    pub fn tintype(&self, arguments: &[&str]) -> Tintype {
        let command = Tintype::new(arguments).arg("-c").arg(self.config());
        self.environment.iter().fold(command, |command, (name, value)| command.env(name, value))
    }

    /// Runs `tintype` with this project's configuration.
    pub fn run(&self, arguments: &[&str]) -> Finished {
        self.tintype(arguments).run()
    }

    /// Runs `tintype … --format json`, which must exit with `code`, and returns its document.
    #[track_caller]
    pub fn json(&self, arguments: &[&str], code: i32) -> Value {
        let command = self.tintype(arguments).arg("--format").arg("json");
        command.run().expect(code).json()
    }

    /// Publishes everything, which must succeed.
    #[track_caller]
    pub fn publish(&self) -> Value {
        self.json(&["publish"], 0)
    }
}

/// The line of a `publish` document about one template.
#[track_caller]
pub fn template_of<'a>(document: &'a Value, name: &str) -> &'a Value {
    document["templates"]
        .as_array()
        .and_then(|templates| templates.iter().find(|template| template["name"] == name))
        .unwrap_or_else(|| panic!("no template {name} in {document:#}"))
}

fn sqlite_connect(file: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(file).create_if_missing(true);
    postgres::runtime()
        .block_on(SqliteConnection::connect_with(&options))
        .unwrap_or_else(|error| panic!("cannot open {}: {error}", file.display()))
}

/// Runs statements, separated by semicolons, on a SQLite file.
pub fn sqlite_execute(file: &Path, sql: &str) {
    let mut connection = sqlite_connect(file);
    postgres::runtime().block_on(async {
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&mut connection)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
        connection.close().await.expect("close the database");
    });
}

/// A SQLite file that a writer holds for itself, as while it commits; until this is dropped.
pub struct Locked(Option<SqliteConnection>);

impl Locked {
    /// Takes the file.
    pub fn file(file: &Path) -> Self {
        let mut connection = sqlite_connect(file);
        postgres::runtime()
            .block_on(sqlx::raw_sql("BEGIN EXCLUSIVE").execute(&mut connection))
            .unwrap_or_else(|error| panic!("cannot lock {}: {error}", file.display()));
        Self(Some(connection))
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            // Its end ends its transaction.
            let _ = postgres::runtime().block_on(connection.close());
        }
    }
}

/// Runs one statement on a SQLite file and returns its rows as text (`None` is NULL).
pub fn sqlite_query(file: &Path, sql: &str) -> Vec<Vec<Option<String>>> {
    let mut connection = sqlite_connect(file);
    let rows = postgres::runtime()
        .block_on(sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(&mut connection))
        .unwrap_or_else(|error| panic!("{sql}: {error}"));
    let text = |row: &sqlx::sqlite::SqliteRow, column| {
        let value = row.try_get_raw(column).expect("the column is there");
        // SQLite turns every value into text when asked for text.
        (!value.is_null()).then(|| row.get_unchecked::<String, _>(column))
    };
    rows.iter().map(|row| (0..row.len()).map(|column| text(row, column)).collect()).collect()
}
