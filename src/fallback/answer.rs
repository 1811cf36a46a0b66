//! The way of a request: memory, the store, the table, the database, and what is left over.
//!
//! Each step costs more than the one before, and a request takes the next only if the one before had nothing. What may
//! reach a database is limited three times over: by client, by flight (one for each path) and by the pool, which makes
//! nobody wait for more than a second. If nothing answers, an older answer does, and without one the reader is told when
//! to come back.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::Fallback;
use super::client::Client;
use super::figures::Shed;
use super::keys::{self, Asked, Meaning};
use super::limit::Limited;
use super::live::{self, LiveError};
use super::memory::{Entry, Kept};
use super::site::Site;
use crate::database::PoolError;
use crate::release::tags;
use crate::store::Attributes;

/// Longest time of a whole answer.
const LONGEST: Duration = Duration::from_secs(7);
/// Longest wait for the store.
const STORE: Duration = Duration::from_secs(1);
/// How long a store that failed isn't asked again.
const STORE_REST: Duration = Duration::from_secs(2);
/// How long a document of the table stands, while the store that knows better is away.
const TABLE_TTL: Duration = Duration::from_secs(30);
/// How long a reader is told to wait where nothing better is known.
const COME_BACK: Duration = Duration::from_secs(2);
/// The first wait before a document that failed is tried again; it doubles up to the last.
const FIRST_REST: Duration = Duration::from_secs(1);
/// The last of these waits.
const LAST_REST: Duration = Duration::from_secs(30);

/// Where a document came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The memory.
    Memory,
    /// The store.
    Store,
    /// The fallback table.
    Table,
    /// The database, now.
    Live,
    /// The memory, though it may have changed since: nothing newer could be had.
    Stale,
}

/// An answer.
#[derive(Debug, Clone)]
pub enum Answer {
    /// A document.
    Document(Arc<Entry>, Source),
    /// There is none at this path, as far as anybody knows.
    Unknown,
    /// The client has had its share of the database.
    Limited(Limited),
    /// Nobody can answer right now.
    Unavailable {
        /// When to come back.
        retry_after: Duration,
        /// Why, in a word.
        why: Shed,
    },
}

/// What came of asking a source.
#[derive(Debug, Clone)]
pub enum Landed {
    /// A document.
    Document(Arc<Entry>, Source),
    /// It has none.
    Missing,
    /// It can't say.
    Failed { retry_after: Duration, why: Shed },
}

impl Fallback {
    /// Answers a request for an object path.
    pub async fn answer(self: &Arc<Self>, path: &str, client: Client) -> Answer {
        if self.followed.is_up().is_none() {
            // The first moments of the process: the store is being looked at.
            let _ = tokio::time::timeout(STORE, self.followed.looked()).await;
        }
        let site = self.followed.site();
        let older = match self.memory.get(path, site.as_deref()) {
            Kept::Fresh(entry) => return Answer::Document(entry, Source::Memory),
            Kept::Stale(entry) => Some(entry),
            Kept::Nothing => None,
        };
        let asking = self.ask(path, client, site.as_ref());
        let answer = tokio::time::timeout(LONGEST, asking).await;
        let answer = answer.unwrap_or(Answer::Unavailable { retry_after: COME_BACK, why: Shed::Slow });
        match (answer, older) {
            // Who may cost the database nothing more may still have what is there.
            (Answer::Limited(_) | Answer::Unavailable { .. }, Some(entry)) => Answer::Document(entry, Source::Stale),
            (answer, _) => answer,
        }
    }

    async fn ask(self: &Arc<Self>, path: &str, client: Client, site: Option<&Arc<Site>>) -> Answer {
        let published = site.and_then(|site| site.document(path));
        let asked = match &published {
            Some((row, attributes)) => {
                match self.stored(path, row.blob(), attributes, site).await {
                    Landed::Document(entry, source) => return Answer::Document(entry, source),
                    Landed::Missing | Landed::Failed { .. } => {}
                }
                self.served_at(path).map(|(served, slugs)| Asked { served, key: row.key.clone(), slugs })
            }
            None => match self.meaning(path).await {
                Meaning::Valid(asked) => Some(asked),
                // Without a release the table may know more than the domains.
                Meaning::Unsettled => None,
                Meaning::Unknown => return Answer::Unknown,
            },
        };
        // Without a release to look at, any valid key may be one that the table has.
        let may_be_published = published.is_some() || site.is_none();
        let template = self.served_at(path).map(|(served, _)| served.template.name.clone());
        let may_begin = || match &template {
            Some(template) => self.limits.take(template, client),
            None => Ok(()),
        };
        if let Some(resting) = self.failures.get(path).filter(|failure| Instant::now() < failure.until) {
            return Answer::Unavailable { retry_after: resting.until - Instant::now(), why: resting.why };
        }
        let fetch = || {
            let (fallback, path) = (Arc::clone(self), path.to_owned());
            let not_before = site.map_or(0, |site| site.serial());
            async move { fallback.fetch(&path, asked, may_be_published, not_before).await }
        };
        match self.flights.join(path, may_begin, fetch).await {
            Err(limited) => Answer::Limited(limited),
            Ok(Some(Landed::Document(entry, source))) => Answer::Document(entry, source),
            Ok(Some(Landed::Missing)) => Answer::Unknown,
            Ok(Some(Landed::Failed { retry_after, why })) => Answer::Unavailable { retry_after, why },
            Ok(None) => Answer::Unavailable { retry_after: COME_BACK, why: Shed::Failed },
        }
    }

    async fn meaning(&self, path: &str) -> Meaning {
        let Some(pool) = &self.pool else { return Meaning::Unknown };
        keys::meaning(&self.templates, pool, path, self.followed.site().is_some()).await
    }

    /// The template that a path would be of, and its slugs.
    fn served_at(&self, path: &str) -> Option<(Arc<keys::Served>, Vec<String>)> {
        self.templates.iter().find_map(|served| {
            let slugs = served.template.pattern.slugs(path)?;
            Some((Arc::clone(served), slugs.into_iter().map(str::to_owned).collect()))
        })
    }

    /// A document of the release, from its blob.
    async fn stored(
        self: &Arc<Self>,
        path: &str,
        blob: Option<String>,
        attributes: &Attributes,
        site: Option<&Arc<Site>>,
    ) -> Landed {
        let failed = Landed::Failed { retry_after: COME_BACK, why: Shed::Store };
        let Some(blob) = blob else { return Landed::Missing };
        if self.store_rests() {
            return failed;
        }
        let fetch = || {
            let (fallback, path, attributes) = (Arc::clone(self), path.to_owned(), attributes.clone());
            let site = site.map(Arc::clone);
            async move {
                // So many bodies are on their way at most; the semaphore is never closed.
                let _turn = fallback.store_turns.acquire().await;
                let read = tokio::time::timeout(STORE, fallback.store.read(&blob)).await;
                let gzip = match read {
                    Ok(Ok(Some(gzip))) => gzip,
                    Ok(Ok(None)) => return Landed::Missing,
                    Ok(Err(error)) => return fallback.store_failed(&error.to_string()),
                    Err(_) => return fallback.store_failed(&format!("no answer for {STORE:?}")),
                };
                let Ok(digest) = attributes.digest.parse() else { return Landed::Missing };
                fallback.store_failed_at.store(0, Ordering::Relaxed);
                let entry = Arc::new(Entry::new(gzip.into(), digest, &attributes, None, site.as_deref()));
                fallback.memory.put(&path, &entry);
                Landed::Document(entry, Source::Store)
            }
        };
        let anyone = || Ok::<_, std::convert::Infallible>(());
        match self.reads.join(path, anyone, fetch).await {
            Ok(landed) => landed.unwrap_or(failed),
            Err(never) => match never {},
        }
    }

    fn store_rests(&self) -> bool {
        let failed_at = self.store_failed_at.load(Ordering::Relaxed);
        failed_at != 0 && self.figures.elapsed_millis().saturating_sub(failed_at) < millis(STORE_REST)
    }

    fn store_failed(&self, reason: &str) -> Landed {
        let before = self.store_failed_at.swap(self.figures.elapsed_millis().max(1), Ordering::Relaxed);
        if before == 0 {
            tracing::warn!(reason, "the store doesn't answer; asking the table and the database");
        }
        Landed::Failed { retry_after: COME_BACK, why: Shed::Store }
    }

    /// Asks the table, then the database.
    async fn fetch(&self, path: &str, asked: Option<Asked>, may_be_published: bool, not_before: u64) -> Landed {
        let mut failed = Landed::Missing;
        // The table has what is published, and nothing else.
        if let Some(table) = self.table.as_ref().filter(|_| may_be_published) {
            match table.find(path, not_before).await {
                Ok(Some(row)) => {
                    let fetched = row.fetched;
                    let site = self.followed.site();
                    let (gzip, digest) = (fetched.gzip, fetched.digest);
                    let entry = Entry::new(gzip, digest, &row.attributes, Some(TABLE_TTL), site.as_deref());
                    return self.landed(path, entry, Source::Table);
                }
                Ok(None) => {}
                Err(error) => failed = Self::failed(path, &error),
            }
        }
        let (Some(asked), Some(pool)) = (asked, &self.pool) else {
            return match failed {
                // What isn't known, or is published and can't be had, isn't a document that there is none of.
                Landed::Missing => {
                    let why = if not_before > 0 { Shed::Store } else { Shed::Unsettled };
                    Landed::Failed { retry_after: COME_BACK, why }
                }
                failed => self.rest(path, failed),
            };
        };
        let name = &asked.served.template.name;
        let nothing_learned = live::Learned::default();
        let learned = self.learned.get(name).unwrap_or(&nothing_learned);
        match live::read(pool, &asked, learned).await {
            Ok(fetched) => {
                let attributes = self.live_attributes(&asked, &fetched);
                let ttl = spread(asked.served.template.limits.ttl, path);
                let site = self.followed.site();
                let entry = Entry::new(fetched.gzip, fetched.digest, &attributes, Some(ttl), site.as_deref());
                self.landed(path, entry, Source::Live)
            }
            Err(error) => {
                let failed = Self::failed(path, &error);
                self.rest(path, failed)
            }
        }
    }

    fn landed(&self, path: &str, entry: Entry, source: Source) -> Landed {
        let entry = Arc::new(entry);
        self.memory.put(path, &entry);
        self.failures.invalidate(path);
        Landed::Document(entry, source)
    }

    /// What became of an error: told to the log, and to the reader in a word.
    fn failed(path: &str, error: &LiveError) -> Landed {
        let (why, retry_after) = match error {
            LiveError::Pool(PoolError::Full { .. } | PoolError::TimedOut { .. }) => (Shed::Busy, COME_BACK),
            LiveError::Pool(PoolError::Down { retry_after, .. }) => (Shed::Down, *retry_after),
            LiveError::Pool(_) => (Shed::Down, COME_BACK),
            LiveError::Database(error) if error.is_fatal() => (Shed::Down, COME_BACK),
            LiveError::Database(_) | LiveError::Template(_) => (Shed::Failed, COME_BACK),
            LiveError::TimedOut { .. } => (Shed::Slow, COME_BACK),
        };
        match why {
            // There would be one line a request, and the pool's own events say it.
            Shed::Busy | Shed::Down => tracing::debug!(path, class = error.class(), %error, "not answered"),
            _ => tracing::warn!(path, class = error.class(), hint = error.hint(), %error, "not answered"),
        }
        Landed::Failed { retry_after, why }
    }

    /// Keeps a document that failed from being tried again at once. What only was too much at a time isn't its fault.
    fn rest(&self, path: &str, failed: Landed) -> Landed {
        if let Landed::Failed { why: why @ (Shed::Failed | Shed::Slow), .. } = failed {
            let before = self.failures.get(path).map_or(FIRST_REST / 2, |failure| failure.length);
            let length = (before * 2).min(LAST_REST);
            self.failures.insert(path.into(), Failure { until: Instant::now() + length, length, why });
            return Landed::Failed { retry_after: length, why };
        }
        failed
    }

    /// What a document from the database is shown with: readers and edges keep it no longer than this server does, because
    /// no publish will purge it.
    fn live_attributes(&self, asked: &Asked, fetched: &live::Fetched) -> Attributes {
        let template = &asked.served.template;
        let slugs: Vec<&str> = asked.slugs.iter().map(String::as_str).collect();
        let path = template.pattern.path(&slugs);
        let ttl = template.limits.ttl.as_secs();
        let cache_control = format!(
            "public, max-age={}, s-maxage={ttl}, stale-while-revalidate={}, stale-if-error=86400",
            ttl.min(60),
            ttl.min(60)
        );
        Attributes {
            cache_control,
            cache_tags: tags(template, &path),
            digest: fetched.digest.to_string(),
            serial: self.followed.site().map_or(0, |site| site.serial()),
            as_of: fetched.as_of.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true),
        }
    }
}

/// A document that couldn't be fetched.
#[derive(Debug, Clone)]
pub struct Failure {
    until: Instant,
    length: Duration,
    why: Shed,
}

/// A time by up to a tenth longer or shorter, so that what was asked for together isn't asked for together again.
fn spread(length: Duration, path: &str) -> Duration {
    let part = u32::from(crate::snapshot::Digest::of(path.as_bytes()).bytes()[0]);
    length * 9 / 10 + length * part / 255 / 5
}

fn millis(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}
