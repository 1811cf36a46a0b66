//! The configuration: `tintype.toml`, the environment over it, defaults under it.
//!
//! One closed table ([`keys::KEYS`]) names every key. The file's text and the environment become [`values::Values`],
//! which remember where each was written, and only then are they understood, so that a wrong value is reported the
//! same way wherever it stands. Nothing but the command line sees the whole [`Config`]; everything else takes the few
//! settings that it needs.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use crate::database::{ReadFrom, ReadSettings};
use crate::diagnostic::Diagnostic;
use crate::error::Error;
use crate::store::normal;

mod database;
mod environment;
mod file;
mod keys;
mod secret;
mod settings;
#[cfg(test)]
mod tests;
mod values;

pub use keys::file_text;
pub use secret::{Secret, holds_password};

use keys::{Key, Kind};
use values::{Origin, Refusal, Value, Values};

/// The file's name where none is given.
pub const FILE_NAME: &str = "tintype.toml";
/// The folder beside the public one that keeps releases and blobs.
const CONTROL_NAME: &str = ".tintype";

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
    /// `[paths]`
    pub paths: PathsConfig,
}

/// `[database]`: where the data is.
#[derive(Debug, Clone)]
pub struct DatabaseConfig {
    /// `postgres://…` or `sqlite:file`, checked by [`crate::database::Database::from_url`]. No default: commands that read need it.
    pub url: Option<Secret>,
    /// Standbys of that server, in the order in which builds read them; each checked like `url`. Default none.
    pub replicas: Vec<Secret>,
    /// Where builds read. Default: a replica where there are any, else the primary.
    pub read: ReadFrom,
    /// How far behind its primary a replica may be, 1 s to 1 day. Default 5 min.
    pub max_lag: Duration,
    /// `[database.build]`
    pub build: BuildConfig,
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

/// `[store]`: where the snapshots go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreConfig {
    /// The folder that readers see, absolute. Default `public`.
    pub public: PathBuf,
    /// The folder of releases and blobs, absolute and never inside the public one. Default `.tintype` beside it.
    pub control: PathBuf,
    /// Longest wait for another publisher's activation, up to 1 day. Default 30 s.
    pub lease_wait: Duration,
}

/// `[cdn]`: where readers fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CdnConfig {
    /// The base URL, http or https. Its path always ends in `/`, so that joining an object path appends it.
    pub url: Option<Url>,
}

/// `[paths]`: folders that are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathsConfig {
    /// The templates' folder, absolute. Default `templates`.
    pub templates: PathBuf,
    /// The same folder as messages show it: beside the configuration file as the user named that.
    pub templates_shown: PathBuf,
}

impl BuildConfig {
    /// What the database module takes.
    pub fn read_settings(&self) -> ReadSettings {
        ReadSettings {
            connect_timeout: self.acquire_timeout,
            statement_timeout: self.statement_timeout,
            settings: self.settings.clone(),
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

/// Understands the URL of a store: the folder that readers see; a relative one counts from `folder`.
pub fn public_folder(url: &str, folder: &Path) -> Result<PathBuf, Error> {
    public(url, folder).map_err(|(reason, hint)| Error::usage(reason, hint))
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
    let source: Arc<str> = secret::masked(text).into();
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

/// Understands values, gathering everything that is wrong on the way.
struct Reader<'a> {
    folder: &'a Path,
    path: &'a Path,
    values: Values,
    refusals: Vec<Refusal>,
}

impl Reader<'_> {
    fn config(&mut self) -> Config {
        Config {
            folder: self.folder.to_owned(),
            database: self.database(),
            store: self.store(),
            cdn: CdnConfig { url: self.understood(&keys::CDN_URL, |text, _| base_url(text)) },
            paths: self.paths(),
        }
    }

    fn refuse(&mut self, origin: Origin, (reason, hint): (String, String)) {
        self.refusals.push(Refusal { origin, reason, hint });
    }

    /// The value of a key as `understand` takes it; what it can't take is reported with its place.
    fn understood<T>(
        &mut self,
        key: &'static Key,
        understand: impl Fn(&str, &Path) -> Result<T, (String, String)>,
    ) -> Option<T> {
        let Value { text, origin } = self.values.get(key)?;
        let understood = match text.trim().is_empty() {
            true => Err((format!("{} is empty", key.label()), format!("write for example {}", key.example()))),
            false => understand(&text, self.folder),
        };
        understood.map_err(|refusal| self.refuse(origin, refusal)).ok()
    }

    fn duration(&mut self, key: &'static Key) -> Duration {
        let Kind::Duration { min, max } = key.kind else { return Duration::ZERO };
        let shown = humantime::format_duration;
        let range = (format!("{} is {} to {}", key.label(), shown(min), shown(max)), key.example());
        let duration = self.understood(key, |text, _| match humantime::parse_duration(text) {
            Err(error) => {
                Err((format!("`{text}` isn't a duration: {error}"), format!("write for example {}", key.example())))
            }
            Ok(found) if found < min => Err((format!("`{text}` is too short"), range.0.clone())),
            Ok(found) if found > max => Err((format!("`{text}` is too long"), range.0.clone())),
            Ok(found) => Ok(found),
        });
        duration.unwrap_or_default()
    }

    fn store(&mut self) -> StoreConfig {
        let public = self.understood(&keys::STORE_URL, public);
        let public = public.unwrap_or_default();
        let control = self.understood(&keys::STORE_CONTROL, |text, folder| {
            let control = folder.join(text);
            match resolved(&control).starts_with(resolved(&public)) && !public.as_os_str().is_empty() {
                false => Ok(control),
                true => Err((
                    format!("[store] control `{text}` lies in the public folder, where readers could fetch it"),
                    format!("put it beside the public folder, as by default: {}", keys::STORE_CONTROL.example()),
                )),
            }
        });
        let control = control.unwrap_or_else(|| public.with_file_name(CONTROL_NAME));
        StoreConfig { public, control, lease_wait: self.duration(&keys::LEASE_WAIT) }
    }

    fn paths(&mut self) -> PathsConfig {
        let shown = self.path.parent().unwrap_or(Path::new(""));
        let written = self.understood(&keys::TEMPLATES, |text, _| Ok(PathBuf::from(text))).unwrap_or_default();
        PathsConfig { templates: self.folder.join(&written), templates_shown: shown.join(&written) }
    }
}

/// A path with the links of its existing part followed: a control folder must not get into the public one by a link.
fn resolved(path: &Path) -> PathBuf {
    let path = normal(path);
    let existing = path.ancestors().find_map(|part| Some((part.canonicalize().ok()?, part)));
    existing.map_or_else(
        || path.clone(),
        |(real, part)| path.strip_prefix(part).map_or_else(|_| path.clone(), |rest| real.join(rest)),
    )
}

fn public(url: &str, folder: &Path) -> Result<PathBuf, (String, String)> {
    let hint = "write file:public, or file:/srv/site for an absolute path".to_owned();
    let Some((scheme, rest)) = url.split_once(':') else {
        return Err((format!("the store URL `{url}` has no scheme"), format!("write file:{url}")));
    };
    if !scheme.eq_ignore_ascii_case("file") {
        return Err((format!("the store URL has the scheme {scheme}, and this version knows file:"), hint));
    }
    let public = folder.join(rest.strip_prefix("//").unwrap_or(rest));
    // The control folder goes beside it, so the root and `..` won't do.
    if rest.is_empty() || public.file_name().is_none() {
        return Err((format!("the store URL `{url}` names no folder"), hint));
    }
    match normal(folder).starts_with(normal(&public)) {
        false => Ok(public),
        true => Err((
            format!("the store `{url}` holds the configuration file, which readers could then fetch"),
            "give the snapshots a folder of their own: file:public".to_owned(),
        )),
    }
}

fn base_url(text: &str) -> Result<Url, (String, String)> {
    let hint = || "write for example url = \"https://cdn.example.org\"".to_owned();
    let mut url = Url::parse(text).map_err(|error| (format!("[cdn] url isn't a URL: {error}"), hint()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err((
            format!("[cdn] url has the scheme {}, and browsers fetch by http or https", url.scheme()),
            hint(),
        ));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(("[cdn] url names a user, and readers have none".to_owned(), hint()));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(("[cdn] url has a query or a fragment, and object paths are appended to it".to_owned(), hint()));
    }
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    Ok(url)
}
