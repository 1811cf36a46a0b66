//! The configuration: `tintype.toml`, the environment over it, defaults under it.
//!
//! One closed table ([`keys::KEYS`]) names every key. The file's text and the environment become [`values::Values`],
//! which remember where each was written, and only then are they understood, so that a wrong value is reported the
//! same way wherever it stands. Nothing but the command line sees the whole [`Config`]; everything else takes the few
//! settings that it needs.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use url::Url;

use crate::cdn::Cdn;
use crate::database::{Database, PoolSettings, ReadFrom, ReadSettings};
use crate::diagnostic::Diagnostic;
use crate::error::Error;
use crate::release::prune::Retention;
use crate::store::S3Settings;
use crate::template::guard::{GuardSettings, size_bytes};

mod budget;
mod cdn;
mod database;
mod environment;
mod fallback;
mod file;
mod head;
mod keys;
mod masked;
mod notify;
mod reader;
mod settings;
mod store;
#[cfg(test)]
mod tests;
mod values;

pub use crate::secret::Secret;
pub use budget::BudgetConfig;
pub use keys::file_text;
pub use masked::holds_password;
pub use notify::NotifyConfig;

use reader::Reader;
use values::{Origin, Refusal};

/// The file's name where none is given.
pub const FILE_NAME: &str = "tintype.toml";

/// Everything that can be configured, understood and with defaults filled in.
#[derive(Debug, Clone)]
pub struct Config {
    /// The folder from which relative paths count, absolute.
    pub folder: PathBuf,
    /// `[database]`
    pub database: DatabaseConfig,
    /// `[store]`
    pub store: StoreConfig,
    /// `[cdn]`
    pub cdn: CdnConfig,
    /// `[fallback]`
    pub fallback: FallbackConfig,
    /// `[guard]`
    pub guard: GuardSettings,
    /// `[retention]`
    pub retention: Retention,
    /// `[budget]`
    pub budget: BudgetConfig,
    /// `[notify]`
    pub notify: NotifyConfig,
    /// `[paths]`
    pub paths: PathsConfig,
}

/// `[database]`: where the data is.
#[derive(Debug, Clone)]
pub struct DatabaseConfig {
    /// `postgres://…` or `sqlite:file`, checked by [`crate::database::Database::from_url`]. No default: commands that read need it.
    pub url: Option<Secret>,
    /// What the file, and `DATABASE_URL`, say of `url` where the environment says otherwise: whoever looks at the server as
    /// another role for once says so there, and every other process runs with these.
    pub overruled_urls: Vec<Secret>,
    /// Standbys of that server, in the order in which builds read them; each checked like `url`. Default none.
    pub replicas: Vec<Secret>,
    /// Where builds read. Default: a replica where there are any, else the primary.
    pub read: ReadFrom,
    /// How far behind its primary a replica may be, 1 s to 1 day. Default 5 min.
    pub max_lag: Duration,
    /// `[database.build]`
    pub build: BuildConfig,
    /// `[database.serve]`
    pub serve: PoolConfig,
}

/// `[database.build]`: how a build reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildConfig {
    /// Longest wait for a connection, 1 ms to 1 day. Default 30 s.
    pub acquire_timeout: Duration,
    /// Longest time of one statement, up to 24 days; zero is without limit. Default 30 min.
    pub statement_timeout: Duration,
    /// PostgreSQL settings for the build's transaction, name and value. Default none.
    pub settings: Vec<(String, String)>,
}

/// `[database.serve]`: how `serve` reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolConfig {
    /// The most connections, 1 to 1000. Default 4.
    pub max: usize,
    /// The most readers that wait for one, up to 100,000. Default 16.
    pub queue: usize,
    /// Longest wait for one, 10 ms to 1 min. Default 1 s.
    pub acquire_timeout: Duration,
    /// Longest time to open one, 100 ms to 1 min. Default 5 s.
    pub connect_timeout: Duration,
    /// Longest time of one statement, 10 ms to 1 hour. Default 5 s.
    pub statement_timeout: Duration,
    /// The age at which one is closed, 1 s to 7 days. Default 30 min.
    pub max_lifetime: Duration,
    /// How long one may lie unused, 1 s to 1 day. Default 3 min.
    pub idle_timeout: Duration,
    /// PostgreSQL settings for its transactions, name and value. Default none.
    pub settings: Vec<(String, String)>,
}

/// `[store]`: where the snapshots go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreConfig {
    /// The place.
    pub place: StorePlace,
    /// Longest wait for another publisher's activation, up to 1 day. Default 30 s.
    pub lease_wait: Duration,
    /// How long a lease lives that nobody renews, 10 s to 1 hour. Default 90 s.
    pub lease_ttl: Duration,
    /// Who keeps its head. Default the store.
    pub head: HeadConfig,
}

/// Who keeps the head of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeadConfig {
    /// The store itself: a directory under its lock, a bucket by conditional writes.
    Store,
    /// A bucket without conditional writes, and there is one publisher only.
    SinglePublisher,
    /// A PostgreSQL database with this URL.
    Database(Secret),
}

/// The place of a store, by kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StorePlace {
    /// `file:`
    Directory {
        /// The folder that readers see, absolute. Default `public`.
        public: PathBuf,
        /// The folder of releases and blobs, absolute and never inside the public one. Default `.tintype` beside it.
        control: PathBuf,
    },
    /// `s3://`
    S3(S3Settings),
}

/// `[cdn]`: where readers fetch.
#[derive(Debug, Clone)]
pub struct CdnConfig {
    /// The base URL, http or https. Its path always ends in `/`, so that joining an object path appends it.
    pub url: Option<Url>,
    /// Who is told what has changed. Default nobody.
    pub purge: Cdn,
}

/// `[fallback]`: what is left for whoever answers without the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FallbackConfig {
    /// Where the table is.
    pub table: TablePlace,
    /// Longest wait for a connection to it, 100 ms to 1 hour; a statement gets three times as long. Default 10 s.
    pub table_timeout: Duration,
    /// How `tintype serve` serves.
    pub serve: ServeConfig,
}

/// How `tintype serve` serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServeConfig {
    /// Where it answers with documents. Default 127.0.0.1:8480.
    pub listen: SocketAddr,
    /// Where it answers with figures; none means nowhere. Default 127.0.0.1:8481.
    pub admin_listen: Option<SocketAddr>,
    /// Whose `X-Forwarded-For` is believed; none if nothing is written about that.
    pub trusted_proxies: Option<Vec<IpNet>>,
    /// The pages that may read the documents; none means any.
    pub cors_origins: Option<Vec<String>>,
    /// Bytes of gzipped documents in memory, 1 MiB to 64 GiB. Default 64 MiB.
    pub memory_bytes: u64,
    /// Connections at a time. Default 4,096.
    pub connections: usize,
    /// How long everybody is answered on after SIGTERM, up to 5 minutes; none means 5 s, and no time on the loopback
    /// interface.
    pub linger: Option<Duration>,
    /// How often the store is asked for a new release, 1 s to 1 hour. Default 10 s.
    pub follow: Duration,
    /// How often a path that no release shows may have the keys read again, 1 s to 1 day. Default 10 minutes.
    pub reread: Duration,
    /// A further path for the health probes, as `/api/v1/hc`.
    pub health_prefix: Option<String>,
}

/// Where the fallback table is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TablePlace {
    /// Nowhere, because it was switched off.
    Off,
    /// Nowhere, because no place is named.
    None,
    /// In this file, absolute, beside the records of a folder.
    File(PathBuf),
    /// In the database with this URL.
    Database(Secret),
}

/// `[paths]`: folders that are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathsConfig {
    /// The templates' folder, absolute. Default `templates`.
    pub templates: PathBuf,
    /// The same folder as messages show it: beside the configuration file as the user named that.
    pub templates_shown: PathBuf,
    /// The schedules' folder, absolute. Default `schedules`; it need not be there.
    pub schedules: PathBuf,
    /// The same folder as messages show it.
    pub schedules_shown: PathBuf,
}

impl BuildConfig {
    /// What the database module takes.
    pub fn read_settings(&self) -> ReadSettings {
        ReadSettings {
            connect_timeout: self.acquire_timeout,
            statement_timeout: self.statement_timeout,
            // The server has sent its last row long before the last document is stored.
            longest_idle: Duration::from_mins(10),
            settings: self.settings.clone(),
        }
    }
}

impl PoolConfig {
    /// True if the pool of a database finds the fallback table of that one too, which then needs no pool of its own: one
    /// database has one pool. But settings are for the templates' statements: a `search_path` of theirs could hide the table.
    pub fn finds_table(&self, database: &Database, table: &Database) -> bool {
        database.identity() == table.identity() && !self.moves_names()
    }

    /// True if its settings decide which table a name means.
    fn moves_names(&self) -> bool {
        let moves = |name: &str| ["search_path", "role"].iter().any(|one| name.eq_ignore_ascii_case(one));
        self.settings.iter().any(|(name, _)| moves(name))
    }

    /// What a pool with this name takes.
    pub fn pool_settings(&self, name: &'static str) -> PoolSettings {
        PoolSettings {
            name,
            max: self.max,
            queue: self.queue,
            acquire_timeout: self.acquire_timeout,
            max_lifetime: self.max_lifetime,
            idle_timeout: self.idle_timeout,
            read: ReadSettings {
                connect_timeout: self.connect_timeout,
                statement_timeout: self.statement_timeout,
                longest_idle: Duration::from_secs(30),
                settings: self.settings.clone(),
            },
        }
    }
}

impl Config {
    /// Reads the file and what of the environment belongs to it.
    ///
    /// The environment is given so that a caller can leave it out: the demo must not publish somebody's `DATABASE_URL`.
    pub fn load(path: &Path, environment: &[(String, String)]) -> Result<Config, Error> {
        let text = read(path)?;
        let absolute = std::path::absolute(path).map_err(|error| unreadable(path, &error))?;
        let (mut values, mut refusals) = file::read(&text);
        refusals.extend(environment::overlay(&mut values, environment));
        let mut reader = Reader { folder: absolute.parent().unwrap_or(&absolute), path, values, refusals };
        let config = reader.config();
        if reader.refusals.is_empty() { Ok(config) } else { Err(report(path, &text, reader.refusals)) }
    }
}

/// Refuses a store's URL that a configuration in `folder` couldn't have.
pub fn check_store(url: &str, folder: &Path) -> Result<(), Error> {
    store::url(url, folder).map(drop).map_err(|(reason, hint)| Error::usage(reason, hint))
}

fn read(path: &Path) -> Result<String, Error> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::usage(
                format!("there is no configuration file {}", path.display()),
                "`tintype demo` shows everything working on demo data, `tintype init DIR` writes a configuration, \
                 and -c FILE (or TINTYPE_CONFIG) names one that lies elsewhere",
            ));
        }
        Err(error) => return Err(unreadable(path, &error)),
    };
    String::from_utf8(bytes).map_err(|error| {
        let place = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..place].iter().filter(|byte| **byte == b'\n').count() + 1;
        let message = format!("the file isn't UTF-8: byte {place}, in line {line}");
        Error::Invalid(vec![Diagnostic::error(path, &Arc::from(""), message).hint("save it as UTF-8")])
    })
}

fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    Error::Local { action: "read", object: path.display().to_string(), reason: error.to_string() }
}

/// Findings in the file go first; what is wrong in the environment has no line to show.
fn report(path: &Path, text: &str, refusals: Vec<Refusal>) -> Error {
    let source: Arc<str> = masked::masked(text).into();
    let mut findings = Vec::new();
    let mut usage = Vec::new();
    for Refusal { origin, reason, hint } in refusals {
        match origin {
            Origin::File(span) => {
                findings.push((span.start, Diagnostic::error(path, &source, reason).at(span).hint(hint)));
            }
            Origin::Variable(name) => usage.push((format!("{name}: {reason}"), hint)),
            Origin::Default => usage.push((reason, hint)),
        }
    }
    if findings.is_empty() {
        let (messages, hints): (Vec<_>, Vec<_>) = usage.into_iter().unzip();
        return Error::usage(messages.join("\n"), hints.join("\n"));
    }
    findings.sort_by_key(|(start, _)| *start);
    Error::Invalid(findings.into_iter().map(|(_, finding)| finding).collect())
}

impl Reader<'_> {
    fn config(&mut self) -> Config {
        let database = self.database();
        let cdn = self.cdn();
        let store = self.store(database.url.as_ref());
        Config {
            folder: self.folder.to_owned(),
            fallback: self.fallback(&store.place, database.url.as_ref()),
            store,
            database,
            guard: self.guard(),
            retention: Retention {
                releases: self.number(&keys::RETENTION_RELEASES),
                age: self.duration(&keys::RETENTION_AGE),
                unpurged: !cdn.purge.is_none(),
            },
            cdn,
            budget: self.budget(),
            notify: self.notify(),
            paths: self.paths(),
        }
    }

    fn guard(&mut self) -> GuardSettings {
        let mut levels = BTreeMap::new();
        for (guard, key) in keys::LEVELS {
            levels.extend(self.understood(key, |text, _| guard.parse(text)).map(|levels| (guard, levels)));
        }
        let source_age_sql = self.understood(&keys::SOURCE_AGE_SQL, |text, _| Ok(text.trim().to_owned()));
        let max_size_bytes = self.understood(&keys::MAX_SIZE, |text, _| size_bytes(text));
        GuardSettings { levels, source_age_sql, max_size_bytes }
    }

    fn paths(&mut self) -> PathsConfig {
        let shown = self.path.parent().unwrap_or(Path::new(""));
        let mut written = |key| self.understood(key, |text, _| Ok(PathBuf::from(text))).unwrap_or_default();
        let (templates, schedules) = (written(&keys::TEMPLATES), written(&keys::SCHEDULES));
        PathsConfig {
            templates: self.folder.join(&templates),
            templates_shown: shown.join(&templates),
            schedules: self.folder.join(&schedules),
            schedules_shown: shown.join(&schedules),
        }
    }
}
