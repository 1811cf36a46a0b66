//! Which keys are valid: from a request's path to a template and a key, without a statement.
//!
//! A path is a document of the release, or its slugs stand in the domains of a template, or it is unknown. Domains are
//! read when the server starts. A slug that isn't in them may be new, so a miss has them read again, but no oftener than
//! every ten minutes or so, whoever asks for what: nobody can make the database work by inventing names.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::site::Site;
use crate::database::Pool;
use crate::key::Key;
use crate::release::{BuildError, listed_domains, read_domains};
use crate::template::domain::Domains;
use crate::template::{OnMiss, Template};

/// The same after a reading that failed.
const RETRY: Duration = Duration::from_secs(15);
/// Longest wait of a request for a reading.
const PATIENCE: Duration = Duration::from_secs(1);
/// Longest time of a reading.
const LONGEST: Duration = Duration::from_mins(1);

/// A template whose documents can be answered from the database.
#[derive(Debug)]
pub struct Served {
    /// The template.
    pub template: Arc<Template>,
    /// Shortest time from one reading of its domains to the next.
    reread: Duration,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    domains: Option<Arc<Domains>>,
    /// Not read again before.
    next: Option<Instant>,
    /// Comes to its end when the reading at work does.
    reading: Option<watch::Receiver<()>>,
}

/// A valid key.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Its template.
    pub served: Arc<Served>,
    /// The key.
    pub key: Key,
    /// Its slugs in the order of the path.
    pub slugs: Vec<String>,
}

/// What a path means.
#[derive(Debug)]
pub enum Meaning {
    /// A valid key.
    Valid(Asked),
    /// Nothing, as far as anybody knows.
    Unknown,
    /// A path of a template whose domains couldn't be read yet.
    Unsettled,
}

impl Served {
    /// A template whose domains weren't read yet, unless they are listed in its file.
    pub fn new(template: &Arc<Template>, reread: Duration) -> Served {
        let domains = listed_domains(template).map(Arc::new);
        // What is listed changes with the file only.
        let next = domains.is_some().then(|| Instant::now() + Duration::from_hours(24 * 365));
        Served { template: Arc::clone(template), reread, known: Mutex::new(Known { domains, next, reading: None }) }
    }

    /// Whether its keys are known.
    pub fn keys_are_known(&self) -> bool {
        self.domains().is_some()
    }

    fn domains(&self) -> Option<Arc<Domains>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).domains.clone()
    }

    /// Has the domains read, if it is time. What it returns ends when the reading at work does.
    fn reread(self: &Arc<Self>, pool: &Pool) -> Option<watch::Receiver<()>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reading) = known.reading.as_ref().filter(|reading| reading.has_changed().is_ok()) {
            return Some(reading.clone());
        }
        if known.next.is_some_and(|next| Instant::now() < next) {
            return None;
        }
        let (done, reading) = watch::channel(());
        known.reading = Some(reading.clone());
        let (served, pool) = (Arc::clone(self), pool.clone());
        tokio::spawn(async move {
            let read = tokio::time::timeout(LONGEST, served.read(&pool)).await;
            let read = read.unwrap_or_else(|_| Err(format!("took longer than {LONGEST:?}")));
            let mut known = served.known.lock().unwrap_or_else(PoisonError::into_inner);
            match read {
                Ok(domains) => {
                    known.domains = Some(Arc::new(domains));
                    known.next = Some(Instant::now() + served.reread);
                }
                Err(reason) => {
                    tracing::warn!(template = served.template.name, reason, "the keys couldn't be read");
                    known.next = Some(Instant::now() + RETRY.min(served.reread));
                }
            }
            drop(known);
            drop(done);
        });
        Some(reading)
    }

    async fn read(&self, pool: &Pool) -> Result<Domains, String> {
        let mut lease = pool.begin().await.map_err(|error| error.to_string())?;
        lease.transaction().savepoint().await.map_err(|error| error.to_string())?;
        let domains = read_domains(lease.transaction(), &self.template).await.map_err(|error| match error {
            BuildError::Template(finding) => finding.to_string(),
            BuildError::Fatal(error) => error.to_string(),
        })?;
        // The answer is whole; that the connection can't be used again is the pool's affair.
        let _ = lease.finish().await;
        Ok(domains)
    }
}

/// Reads the domains of every template that weren't read yet.
pub async fn warm(templates: &[Arc<Served>], pool: &Pool) {
    for served in templates {
        // One after the other, so that readers find a lease meanwhile.
        if let Some(mut reading) = served.reread(pool) {
            let _ = reading.changed().await;
        }
    }
}

/// A path that is one of a template's: what it names isn't known yet.
#[derive(Debug)]
pub struct Named<'a> {
    /// The template.
    pub served: &'a Arc<Served>,
    /// The slugs in the order of the path.
    slugs: Vec<&'a str>,
}

/// The template that a path would be of, the first one where several patterns fit it.
pub fn named<'a>(templates: &'a [Arc<Served>], path: &'a str) -> Option<Named<'a>> {
    templates.iter().find_map(|served| Some(Named { served, slugs: served.template.pattern.slugs(path)? }))
}

impl Named<'_> {
    /// This key, as the path names it.
    pub fn asked(&self, key: Key) -> Asked {
        let slugs = self.slugs.iter().map(|slug| (*slug).to_owned()).collect();
        Asked { served: Arc::clone(self.served), key, slugs }
    }

    /// Says what the path means to its template, where no release shows it. Which values an open column may have, only
    /// the release knows.
    pub async fn meaning(&self, pool: &Pool, site: Option<&Site>) -> Meaning {
        let served = self.served;
        if served.template.on_miss == OnMiss::NotFound {
            return Meaning::Unknown;
        }
        let seen = site.and_then(|site| site.open_values(&served.template.name));
        let asked = |domains: &Domains| Some(self.asked(domains.key_of(&self.slugs, seen)?));
        if let Some(asked) = served.domains().and_then(|domains| asked(&domains)) {
            return Meaning::Valid(asked);
        }
        if let Some(mut reading) = served.reread(pool) {
            // The sender never sends; its end is what is waited for.
            let _ = tokio::time::timeout(PATIENCE, reading.changed()).await;
        }
        match served.domains() {
            Some(domains) if site.is_none() && domains.has_open() => Meaning::Unsettled,
            Some(domains) => asked(&domains).map_or(Meaning::Unknown, Meaning::Valid),
            None => Meaning::Unsettled,
        }
    }
}
