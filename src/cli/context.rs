//! What a command works with: the config and what it leads to, opened when first needed.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use chrono::Utc;
use serde_json::{Value, json};
use url::Url;

use super::{Format, Global, print};
use crate::config::{Config, FallbackConfig, HeadConfig, StorePlace, TablePlace};
use crate::database::{Database, FallbackTable, ReadFrom, ReadSettings};
use crate::diagnostic::{Diagnostic, Severity};
use crate::error::Error;
use crate::release::manifest::Kind;
use crate::release::{self, Job, Progress, RunId};
use crate::schedule::{self, Schedule};
use crate::store::{Directory, HeadPlace, S3, Store};
use crate::template::Template;

/// The global options and the command's name.
pub struct Context {
    pub global: Global,
    pub command: &'static str,
    /// Moved by the run, read by the progress bar.
    pub progress: Arc<Progress>,
    /// What the run says of itself, for its metrics.
    told: OnceLock<Value>,
    /// The templates that it is to read, for the same if it never gets to say anything.
    tries: OnceLock<Vec<String>>,
}

/// A config with all that it names.
pub struct Project {
    pub config: Config,
    pub store: Arc<Store>,
    pub templates: Vec<Arc<Template>>,
    pub settings: ReadSettings,
}

impl Context {
    pub fn new(global: Global, command: &'static str) -> Context {
        Context {
            global,
            command,
            progress: Arc::new(Progress::default()),
            told: OnceLock::new(),
            tries: OnceLock::new(),
        }
    }

    /// True where stdout takes one JSON document.
    pub fn is_json(&self) -> bool {
        self.global.format == Format::Json
    }

    /// True where success may be talked about: on a terminal, or where `-v` asks for it.
    pub fn is_talkative(&self) -> bool {
        !self.global.quiet && (self.global.verbose > 0 || print::is_terminal())
    }

    /// Keeps what a run says of itself.
    pub fn tell(&self, document: Value) {
        let _ = self.told.set(document);
    }

    /// What the run has said of itself.
    pub fn told(&self) -> Option<Value> {
        self.told.get().cloned()
    }

    /// Keeps which templates a run is to read.
    pub fn try_templates(&self, templates: Vec<String>) {
        let _ = self.tries.set(templates);
    }

    /// The templates that the run was to read, if it hasn't said what became of them.
    pub fn tried(&self) -> Vec<String> {
        let is_untold = self.told.get().is_none();
        self.tries.get().filter(|_| is_untold).cloned().unwrap_or_default()
    }

    /// Reads the config file and what the environment says.
    pub fn config(&self) -> Result<Config, Error> {
        Config::load(&self.global.config, &environment())
    }

    /// Reads the config and every template.
    pub fn project(&self) -> Result<Project, Error> {
        self.warn_of_database_url();
        Project::open(self.config()?)
    }

    /// Reads the config and those templates that can be read, for what only looks at releases: a file that somebody is
    /// writing right now doesn't hide what is live. The others are shown as they are, as warnings.
    pub fn published_project(&self) -> Result<Project, Error> {
        let (project, findings) = self.readable_project()?;
        for mut finding in findings {
            finding.severity = Severity::Warning;
            print::finding(&finding);
        }
        Ok(project)
    }

    /// Reads the config and those templates that can be read, and what is wrong with the others.
    pub fn readable_project(&self) -> Result<(Project, Vec<Diagnostic>), Error> {
        let config = self.config()?;
        let paths = &config.paths;
        let (templates, findings) = Template::load_readable(&paths.templates, &paths.templates_shown)
            .unwrap_or_else(|findings| (Vec::new(), findings));
        Ok((Project::with(config, templates)?, findings))
    }

    /// `DATABASE_URL` is often set for something else, and a publish from another database would empty the site.
    pub fn warn_of_database_url(&self) {
        let environment = environment();
        let Some((_, given)) = environment.iter().find(|(name, _)| name == "DATABASE_URL") else { return };
        let is_named = environment.iter().any(|(name, _)| name.starts_with("TINTYPE_DATABASE_URL"));
        let url = |config: Config| config.database.url.map(|url| url.expose().to_owned());
        let written = Config::load(&self.global.config, &[]).ok().and_then(url);
        if !given.is_empty() && !is_named && written.is_some_and(|written| written != *given) && !self.global.quiet {
            print::note(&format!(
                "{}: DATABASE_URL outranks [database] url of {}, which names another database",
                print::styled(print::YELLOW, "warning"),
                self.global.config.display()
            ));
        }
    }

    /// Says of a store without a release that it has lost them, if the fallback table still shows one.
    pub async fn explained<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        let Err(Error::Unpublished) = result else { return result };
        let (project, _) = self.readable_project()?;
        // A table that can't be read tells nothing.
        Err(project.lost().await.ok().flatten().unwrap_or(Error::Unpublished))
    }

    /// Reports an error, in the form that was asked for.
    pub fn error(&self, error: &Error) {
        if self.is_json() {
            print::json(&print::error_json(self.command, error));
        }
        print::error(error);
    }
}

impl Project {
    /// The store's part of a run's document: requests by kind, and what became of them.
    pub fn store_json(&self) -> Value {
        let mut document = json!(self.store.requests());
        document["answers"] = json!(self.store.answers());
        document
    }

    /// Opens what a config names; reads every template.
    pub fn open(config: Config) -> Result<Project, Error> {
        let templates =
            Template::load_all(&config.paths.templates, &config.paths.templates_shown).map_err(Error::Invalid)?;
        Project::with(config, templates)
    }

    fn with(config: Config, templates: Vec<Template>) -> Result<Project, Error> {
        let store = Arc::new(store(&config)?);
        let settings = config.database.build.read_settings();
        let templates = templates.into_iter().map(|template| Arc::new(template.guarded(&config.guard))).collect();
        Ok(Project { config, store, templates, settings })
    }

    /// Says whether a template has a file, readable or not.
    pub fn has_file(&self, name: &str) -> bool {
        self.templates.iter().any(|template| template.name == name)
            || self.config.paths.templates.join(format!("{name}.sql")).exists()
    }

    /// Every schedule. A template that can't be read right now may be named all the same.
    pub fn schedules(&self) -> Result<Vec<Schedule>, Error> {
        let paths = &self.config.paths;
        let files = std::fs::read_dir(&paths.templates).into_iter().flatten().flatten();
        let names = files.filter_map(|file| Some(file.file_name().to_str()?.strip_suffix(".sql")?.to_owned()));
        let mut names: Vec<String> = names.collect();
        names.sort();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        schedule::load_all(&paths.schedules, &paths.schedules_shown, &names).map_err(Error::Invalid)
    }

    /// The names of the schedules that have a file, right or wrong; none where there is no folder of them.
    pub fn schedule_names(&self) -> Option<BTreeSet<String>> {
        schedule::names(&self.config.paths.schedules)
    }

    /// The database that the config names, to be read as it says.
    pub fn database(&self) -> Result<Database, Error> {
        self.database_from(self.config.database.read)
    }

    /// The database as an editor reads it: the primary, unless a replica is asked for.
    pub fn editors_database(&self, replica: bool) -> Result<Database, Error> {
        let config = &self.config.database;
        match (replica, config.read) {
            (false, _) => self.database_from(ReadFrom::Primary),
            (true, _) if config.replicas.is_empty() => {
                let hint = "name them in [database] replicas, or leave --replica out to read the primary";
                Err(Error::usage("--replica is given, and no replicas are configured", hint))
            }
            (true, ReadFrom::Primary) => self.database_from(ReadFrom::PreferReplica),
            (true, read) => self.database_from(read),
        }
    }

    fn database_from(&self, read: ReadFrom) -> Result<Database, Error> {
        let (config, folder) = (&self.config.database, &self.config.folder);
        let url = config.url.as_ref().ok_or_else(|| {
            Error::usage(
                "no database is configured",
                "set [database] url in the config, or TINTYPE_DATABASE_URL: postgres://user@host/database or sqlite:file.db",
            )
        })?;
        let replicas = config.replicas.iter().map(|url| Database::from_url(url.expose(), folder));
        let replicas = replicas.collect::<Result<Vec<_>, _>>()?;
        let database = Database::from_url(url.expose(), folder)?;
        if matches!(database, Database::Sqlite(_)) && !replicas.is_empty() {
            return Err(Error::usage(
                "[database] replicas are named, and [database] url names a SQLite file",
                "name their primary in [database] url, or remove the replicas",
            ));
        }
        Ok(database.with_replicas(replicas, read, config.max_lag))
    }

    /// A run that builds nothing yet.
    pub fn job(&self, kind: Kind) -> Job {
        let run = run_id();
        Job {
            templates: Vec::new(),
            selectors: Vec::new(),
            kind,
            rewrite: false,
            unhold: false,
            retire: Vec::new(),
            accept: Vec::new(),
            publishes: None,
            stage_only: false,
            begin_anew: false,
            commit: true,
            author: None,
            note: None,
            holder: format!("{}, run {run}", holder()),
            run,
            now: Utc::now(),
            lease_wait: self.config.store.lease_wait,
            lease_ttl: self.config.store.lease_ttl,
            cdn: self.config.cdn.purge.clone(),
            purge: true,
            table: self.table().ok().flatten(),
        }
    }

    /// The table that is left behind for whoever answers without the store, if there is one.
    pub fn table(&self) -> Result<Option<FallbackTable>, Error> {
        let FallbackConfig { table, table_timeout, .. } = &self.config.fallback;
        Ok(match table {
            TablePlace::Off | TablePlace::None => None,
            TablePlace::File(path) => Some(FallbackTable::in_file(path.clone(), *table_timeout)),
            TablePlace::Database(url) => {
                Some(FallbackTable::new(Database::from_url(url.expose(), &self.config.folder)?, *table_timeout))
            }
        })
    }

    /// What is wrong with a store without a release, if the fallback table still shows one of this site.
    pub async fn lost(&self) -> Result<Option<Error>, Error> {
        release::lost(&self.store, self.table()?.as_ref()).await
    }

    /// Where readers fetch the documents, if the config says so.
    pub fn base_url(&self) -> Option<&Url> {
        self.config.cdn.url.as_ref()
    }

    /// The templates, as the functions that only look at them take them.
    pub fn template_list(&self) -> Vec<Template> {
        self.templates.iter().map(|template| Template::clone(template)).collect()
    }
}

/// Says what the user has taken upon himself, where nothing keeps publishers apart.
pub fn warn_of_single_publisher(context: &Context, project: &Project) {
    if project.config.store.head == HeadConfig::SinglePublisher && !context.global.quiet {
        print::note(&format!(
            "{}: two publishers at a time would corrupt this site, and nothing keeps them apart: [store] \
             unsafe_single_publisher is true; head = \"database\" instead would let them take turns",
            print::styled(print::YELLOW, "warning")
        ));
    }
}

/// The store that a config names.
fn store(config: &Config) -> Result<Store, Error> {
    Ok(match config.store.place.clone() {
        StorePlace::Directory { public, control } => Store::Directory(Directory::new(public, control)),
        StorePlace::S3(settings) => {
            let head = match &config.store.head {
                HeadConfig::Store => HeadPlace::Object,
                HeadConfig::SinglePublisher => HeadPlace::Unconditional,
                HeadConfig::Database(url) => HeadPlace::row(url.expose(), &config.folder, settings.timeout)?,
            };
            Store::S3(Box::new(S3::new(settings).with_head(head)))
        }
    })
}

/// The whole environment; names and values that aren't UTF-8 are none of ours.
pub fn environment() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// Who this process is, for the other publishers.
fn holder() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{host} process {}", std::process::id())
}

/// A name for this run.
pub fn run_id() -> RunId {
    RunId::new(Utc::now(), getrandom::u32().unwrap_or_else(|_| std::process::id()))
}
