//! Which keys are valid: from a request's path to a template and a key, without a statement.
//!
//! A path is a document of the release, or its slugs stand in the domains of a template, or it is unknown. Domains are
//! read when the server starts. A slug that isn't in them may be new, and a key that no release shows may have ended
//! without any telling so; either has them read again, but no oftener than every ten minutes or so, whoever asks for what:
//! nobody can make the database work by inventing names. What a release doesn't show any more may be no key any more
//! either, so it isn't believed to be one until they were read again.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::time::Instant;

use super::live::Learned;
use super::site::Site;
use crate::database::Pool;
use crate::key::Key;
use crate::release::{BuildError, listed_domains, read_domains};
use crate::template::domain::Domains;
use crate::template::{DomainValues, OnMiss, Template};

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
    /// What its query was seen to return.
    pub learned: Learned,
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
    /// Paths that a release doesn't show any more, since the domains were read.
    doubted: HashSet<Arc<str>>,
    /// Whether all paths are as good as those.
    are_all_doubted: bool,
    /// How often some came to them: a reading that was at work then may be of before.
    doubts: u64,
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
        let known = Mutex::new(Known { domains, next, ..Known::default() });
        Served { template: Arc::clone(template), learned: Learned::default(), reread, known }
    }

    /// Has the keys of these paths looked up again before anybody is told that they are valid.
    pub fn doubt(&self, paths: &[Arc<str>]) {
        if !paths.is_empty() {
            self.doubt_some(|known| known.doubted.extend(paths.iter().cloned()));
        }
    }

    /// The same of every path.
    pub fn doubt_all(&self) {
        self.doubt_some(|known| known.are_all_doubted = true);
    }

    fn doubt_some(&self, which: impl FnOnce(&mut Known)) {
        // What is listed in the file stays listed.
        if self.template.domains.iter().all(|domain| matches!(domain.values, DomainValues::Listed(_))) {
            return;
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.domains.is_some() {
            which(&mut known);
            known.doubts += 1;
            known.next = None;
        }
    }

    /// Whether its keys are known.
    pub fn keys_are_known(&self) -> bool {
        self.domains().is_some()
    }

    fn domains(&self) -> Option<Arc<Domains>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).domains.clone()
    }

    fn is_doubted(&self, path: &str) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.are_all_doubted || known.doubted.contains(path)
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
        let doubts = known.doubts;
        let (served, pool) = (Arc::clone(self), pool.clone());
        tokio::spawn(async move {
            let read = served.read(&pool).await;
            let mut known = served.known.lock().unwrap_or_else(PoisonError::into_inner);
            match read {
                Ok(domains) => {
                    known.domains = Some(Arc::new(domains));
                    known.next = Some(Instant::now() + served.reread);
                    if known.doubts == doubts {
                        (known.doubted, known.are_all_doubted) = (HashSet::new(), false);
                    } else {
                        known.next = None;
                    }
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
        let read = async {
            lease.transaction().savepoint().await.map_err(|error| error.to_string())?;
            read_domains(lease.transaction(), &self.template).await.map_err(|error| match error {
                BuildError::Template(finding) => finding.to_string(),
                BuildError::Fatal(error) => error.to_string(),
            })
        };
        let Ok(read) = tokio::time::timeout(LONGEST, read).await else {
            lease.give_up();
            return Err(format!("took longer than {LONGEST:?}"));
        };
        // The answer is whole, or has failed; whether the connection can be used again is the pool's affair.
        let _ = lease.finish().await;
        read
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

/// The templates that a path may be of: patterns may overlap.
pub fn named<'a>(templates: &'a [Arc<Served>], path: &'a str) -> Vec<Named<'a>> {
    templates.iter().filter_map(|served| Named::of(served, path)).collect()
}

impl<'a> Named<'a> {
    /// The path as one of this template's; none if its pattern is another.
    pub fn of(served: &'a Arc<Served>, path: &'a str) -> Option<Named<'a>> {
        Some(Named { served, slugs: served.template.pattern.slugs(path)? })
    }

    /// This key, as the path names it.
    pub fn asked(&self, key: Key) -> Asked {
        let slugs = self.slugs.iter().map(|slug| (*slug).to_owned()).collect();
        Asked { served: Arc::clone(self.served), key, slugs }
    }

    /// What the path means to its template by what is known now. Which values an open column may have, only the release
    /// knows.
    fn meaning(&self, path: &str, site: Option<&Site>) -> Meaning {
        let Some(domains) = self.served.domains() else { return Meaning::Unsettled };
        let seen = site.and_then(|site| site.open_values(&self.served.template.name));
        match domains.key_of(&self.slugs, seen) {
            Some(_) if self.served.is_doubted(path) => Meaning::Unsettled,
            Some(key) => Meaning::Valid(self.asked(key)),
            None if site.is_none() && domains.has_open() => Meaning::Unsettled,
            None => Meaning::Unknown,
        }
    }
}

/// Says what a path means that no release shows: the first of its templates counts to which it is a valid key.
pub async fn meaning(named: &[Named<'_>], path: &str, pool: &Pool, site: Option<&Site>) -> Meaning {
    let live: Vec<&Named<'_>> =
        named.iter().filter(|named| named.served.template.on_miss != OnMiss::NotFound).collect();
    let now = || {
        let mut all = Meaning::Unknown;
        for named in &live {
            match named.meaning(path, site) {
                Meaning::Valid(asked) => return Meaning::Valid(asked),
                Meaning::Unsettled => all = Meaning::Unsettled,
                Meaning::Unknown => {}
            }
        }
        all
    };
    let known = now();
    if let Meaning::Valid(asked) = &known {
        // It may have ended since, and no release would say so of a key that none shows. Nobody waits for it.
        let _ = asked.served.reread(pool);
        return known;
    }
    let readings: Vec<_> = live.iter().filter_map(|named| named.served.reread(pool)).collect();
    // The sender never sends; its end is what is waited for.
    let ends = readings.into_iter().map(|mut reading| async move { drop(reading.changed().await) });
    let _ = tokio::time::timeout(PATIENCE, join_all(ends)).await;
    now()
}
