//! Real PostgreSQL: two clusters (C and en-US), a database for each test, and the server's own log as the witness.
//!
//! `tests/run.sh` starts the clusters once and hands their URLs down in `TINTYPE_TEST_POSTGRES_URL` and
//! `TINTYPE_TEST_POSTGRES_ICU_URL`. Without them a test process starts its own on first use, by the same `cluster.sh`, whose
//! stdin it holds: when the process ends, in whatever way, the kernel closes the pipe and the cluster goes.

use std::path::PathBuf;
use std::str::FromStr as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _, ValueRef as _};

use super::script::Script;
use super::server_log::{self, Witness};
use super::skip::skip;

/// How a cluster sorts text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Collation {
    /// By bytes.
    C,
    /// As people in the United States expect: `a` before `B`.
    EnUs,
}

/// A running server.
pub struct Cluster {
    /// URL of the database `postgres`, as the superuser, over TCP on the loopback address.
    url: String,
    log: PathBuf,
    /// Keeps a cluster that this process started; never read.
    _guard: Option<Script>,
}

/// Returns the cluster, started if need be; notes the running test as skipped when there is no PostgreSQL here.
pub fn cluster(collation: Collation) -> Option<&'static Cluster> {
    static C: OnceLock<Result<Cluster, String>> = OnceLock::new();
    static EN_US: OnceLock<Result<Cluster, String>> = OnceLock::new();
    let (cell, name, kind) = match collation {
        Collation::C => (&C, "TINTYPE_TEST_POSTGRES_URL", "c"),
        Collation::EnUs => (&EN_US, "TINTYPE_TEST_POSTGRES_ICU_URL", "icu"),
    };
    match cell.get_or_init(|| Cluster::find(name, kind)) {
        Ok(cluster) => Some(cluster),
        Err(reason) => {
            skip(reason);
            None
        }
    }
}

/// Returns a new, empty database on the C cluster; notes the running test as skipped when there is no PostgreSQL here.
pub fn database() -> Option<Database> {
    cluster(Collation::C).map(|cluster| cluster.database("template0"))
}

impl Cluster {
    fn find(variable: &str, kind: &str) -> Result<Self, String> {
        let (url, guard) = match std::env::var(variable) {
            Ok(url) => (url, None),
            Err(_) => Script::start("cluster.sh", &[kind]).map(|(script, url)| (url, Some(script)))?,
        };
        // The server was told where its log is, so that one URL says everything about a cluster.
        let log = one(&url, "SHOW tintype.log_file").into();
        Ok(Self { url, log, _guard: guard })
    }

    /// Creates a database that is dropped with the value returned.
    pub fn database(&'static self, template: &str) -> Database {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("test_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        // `file_copy` is twice as fast as the default for small databases; PostgreSQL 14 knows no other and not the word.
        let strategy = match one(&self.url, "SHOW server_version_num").as_str() {
            version if version < "150000" => "",
            _ => "STRATEGY file_copy",
        };
        execute(&self.url, &format!("CREATE DATABASE {name} TEMPLATE {template} {strategy}"));
        Database { cluster: self, name }
    }

    /// Returns the name of a database made once per cluster by `fill`, to be used as a template. Test processes that ask at the
    /// same time wait for the one that fills it.
    pub fn template(&'static self, name: &str, fill: impl AsyncFnOnce(&mut PgConnection)) -> String {
        runtime().block_on(async {
            let mut admin = connect(&self.url).await;
            run(&mut admin, "SELECT pg_advisory_lock(7411)").await;
            let exists = format!("SELECT 1 FROM pg_database WHERE datname = '{name}'");
            if rows(&mut admin, &exists).await.is_empty() {
                let filling = format!("{name}_filling");
                let drop = format!("DROP DATABASE IF EXISTS {filling} WITH (FORCE)");
                run(&mut admin, &drop).await;
                let create = format!("CREATE DATABASE {filling} TEMPLATE template0");
                run(&mut admin, &create).await;
                let mut connection = connect(&replace_database(&self.url, &filling)).await;
                // Thousands of INSERTs are of no interest in the log.
                run(&mut connection, "SET log_statement = 'none'").await;
                fill(&mut connection).await;
                run(&mut connection, "ANALYZE").await;
                connection.close().await.expect("close the connection");
                let rename = format!("ALTER DATABASE {filling} RENAME TO {name}");
                run(&mut admin, &rename).await;
            }
            run(&mut admin, "SELECT pg_advisory_unlock(7411)").await;
            admin.close().await.expect("close the connection");
        });
        name.to_owned()
    }
}

/// A database of one test, dropped at its end.
pub struct Database {
    cluster: &'static Cluster,
    name: String,
}

impl Drop for Database {
    fn drop(&mut self) {
        let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        let url = self.cluster.url.clone();
        // A test that has failed already must not abort the process because its clean-up fails as well.
        let _ = std::thread::spawn(move || execute(&url, &drop)).join();
    }
}

impl Database {
    /// The database's name on its cluster.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A URL that connects as the superuser, without a password.
    pub fn url(&self) -> String {
        replace_database(&self.cluster.url, &self.name)
    }

    /// A URL that connects as `user` with `password`, which the server checks.
    pub fn url_as(&self, user: &str, password: &str) -> String {
        self.url().replacen("postgres@", &format!("{user}:{password}@"), 1)
    }

    /// A URL on a port of the same address where nothing listens.
    pub fn refused_url(&self) -> String {
        let mut url = url::Url::parse(&self.url()).expect("the cluster's URL is one");
        url.set_port(Some(super::process::closed_port())).expect("a postgres URL has a port");
        url.to_string()
    }

    /// Runs statements, separated by semicolons.
    pub fn execute(&self, sql: &str) {
        execute(&self.url(), sql);
    }

    /// Runs one statement and returns its rows as the server prints them (`None` is NULL).
    pub fn query(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        query(&self.url(), sql)
    }

    /// Runs one statement and returns the first column of its only row.
    pub fn one(&self, sql: &str) -> String {
        one(&self.url(), sql)
    }

    /// Opens a connection that the test holds, e.g. to hold a lock that a template's query waits for.
    pub fn connect(&self) -> Session {
        Session::connect(&self.url())
    }

    /// Returns what the backends of `tintype` on this database are doing: one `(pid, state, wait_event_type)` each.
    pub fn activity(&self) -> Vec<(i32, String, String)> {
        let sql = format!(
            "SELECT pid, coalesce(state, ''), coalesce(wait_event_type, '') FROM pg_stat_activity \
             WHERE datname = '{}' AND application_name LIKE 'tintype%' ORDER BY pid",
            self.name
        );
        let text = |field: &Option<String>| field.clone().expect("no column is NULL");
        query(&self.cluster.url, &sql)
            .iter()
            .map(|row| {
                let pid = text(&row[0]).parse().expect("a pid is a number");
                (pid, text(&row[1]), text(&row[2]))
            })
            .collect()
    }

    /// Ends the backends of `tintype` on this database, as an administrator or a crash of the server would; returns how many.
    pub fn terminate(&self) -> usize {
        let sql = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE datname = '{}' AND application_name LIKE 'tintype%'",
            self.name
        );
        query(&self.cluster.url, &sql).len()
    }

    /// The end of the server's log as it is now, to read from later.
    pub fn log_end(&self) -> u64 {
        std::fs::metadata(&self.cluster.log).expect("the server's log is there").len()
    }

    /// Returns what `tintype` did on this database since `start`, as the server logged it.
    pub fn witness_since(&self, start: u64) -> Witness {
        server_log::witness(&self.cluster.log, start, &self.name)
    }

    /// From now on the server logs the plan of every statement on this database, as it was executed.
    pub fn log_plans(&self) {
        let name = &self.name;
        self.execute(&format!(
            "ALTER DATABASE {name} SET session_preload_libraries = 'auto_explain';
             ALTER DATABASE {name} SET auto_explain.log_min_duration = 0;
             ALTER DATABASE {name} SET auto_explain.log_analyze = on;
             ALTER DATABASE {name} SET auto_explain.log_timing = off;
             ALTER DATABASE {name} SET auto_explain.log_format = 'json'"
        ));
    }
}

/// A connection held by a test.
pub struct Session(PgConnection);

impl Session {
    /// Opens a connection by any URL.
    pub fn connect(url: &str) -> Self {
        Self(runtime().block_on(connect(url)))
    }

    /// Runs one statement and returns its rows as the server prints them.
    pub fn query(&mut self, sql: &str) -> Vec<Vec<Option<String>>> {
        runtime().block_on(rows(&mut self.0, sql))
    }
}

fn replace_database(url: &str, name: &str) -> String {
    let mut url = url::Url::parse(url).expect("the cluster's URL is one");
    url.set_path(name);
    url.to_string()
}

/// The one runtime of all tests in a process: a connection belongs to the runtime that opened it.
pub fn runtime() -> &'static tokio::runtime::Runtime {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("start a runtime")
    })
}

async fn connect(url: &str) -> PgConnection {
    // PgBouncer refuses what sqlx would otherwise ask for.
    let options = PgConnectOptions::from_str(url).expect("the URL can be read").extra_float_digits(None);
    PgConnection::connect_with(&options).await.unwrap_or_else(|error| panic!("cannot connect to {url}: {error}"))
}

async fn run(connection: &mut PgConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

async fn rows(connection: &mut PgConnection, sql: &str) -> Vec<Vec<Option<String>>> {
    // The simple protocol sends every type as the text that psql would show.
    let rows =
        sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(connection).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let text = |row: &sqlx::postgres::PgRow, column| {
        let value = row.try_get_raw(column).expect("the column is there");
        (!value.is_null()).then(|| value.as_str().expect("it is text").to_owned())
    };
    rows.iter().map(|row| (0..row.len()).map(|column| text(row, column)).collect()).collect()
}

/// Runs statements, separated by semicolons, over a connection of their own.
pub fn execute(url: &str, sql: &str) {
    runtime().block_on(async {
        let mut connection = connect(url).await;
        run(&mut connection, sql).await;
        connection.close().await.expect("close the connection");
    });
}

/// Runs one statement over a connection of its own and returns its rows as the server prints them (`None` is NULL).
pub fn query(url: &str, sql: &str) -> Vec<Vec<Option<String>>> {
    runtime().block_on(async {
        let mut connection = connect(url).await;
        let rows = rows(&mut connection, sql).await;
        connection.close().await.expect("close the connection");
        rows
    })
}

fn one(url: &str, sql: &str) -> String {
    let rows = query(url, sql);
    match rows.as_slice() {
        [row] => row[0].clone().unwrap_or_else(|| panic!("{sql}: NULL")),
        _ => panic!("{sql}: {} rows instead of one", rows.len()),
    }
}
