//! The way of a request: memory, the store, the table, the database, and what is left over.
//!
//! Each step costs more than the one before, and a request takes the next only if the one before had nothing. What may
//! reach a database is limited three times over: by client, by flight (one for each path) and by the pool, which makes
//! nobody wait for more than a second. If nothing answers, an older answer does, and without one the reader is told when
//! to come back.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Fallback;
use super::client::Client;
use super::figures::Shed;
use super::keys::{self, Asked, Meaning};
use super::limit::{Limited, UNNAMED};
use super::live::{self, LiveError};
use super::memory::{Entry, Kept};
use super::site::Site;
use super::table::Table;
use crate::database::PoolError;
use crate::release::tags;
use crate::snapshot::{Digest, gunzip};
use crate::store::{Attributes, Store, StoreError};

/// Longest time of a whole answer.
const LONGEST: Duration = Duration::from_secs(7);
/// Longest wait for the store.
const STORE: Duration = Duration::from_secs(1);
/// How long a store that failed isn't asked again.
const STORE_REST: Duration = Duration::from_secs(2);
/// How long a table that failed isn't asked again.
const TABLE_REST: Duration = Duration::from_secs(5);
/// How often the log is told that a document can't be had.
const TOLD: Duration = Duration::from_secs(10);
/// Largest body that is unpacked to look at its digest.
const MAX_BODY_BYTES: u64 = 1 << 30;
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

/// Why a flight isn't begun.
enum Refused {
    /// The client has had its share.
    Limited(Limited),
    /// It has just landed.
    Known(Arc<Entry>),
}

/// What is to be fetched.
struct Wanted {
    path: String,
    /// The key, where it is known.
    asked: Option<Asked>,
    /// False if nobody could say yet whether there is such a key.
    is_settled: bool,
    /// The site when it was asked for.
    site: Option<Arc<Site>>,
}

impl Wanted {
    /// Says whether the release shows the path.
    fn is_published(&self) -> bool {
        self.site.as_ref().is_some_and(|site| site.digest(&self.path).is_some())
    }
}

impl Fallback {
    /// Answers a request for an object path.
    pub async fn answer(self: &Arc<Self>, path: &str, client: Client) -> Answer {
        let older = match self.memory.get(path, self.followed.site().as_deref()) {
            Kept::Fresh(entry) => return Answer::Document(entry, Source::Memory),
            Kept::Stale(entry) => Some(entry),
            Kept::Nothing => None,
        };
        let answer = tokio::time::timeout(LONGEST, self.ask(path, client)).await;
        let answer = answer.unwrap_or(Answer::Unavailable { retry_after: COME_BACK, why: Shed::Slow });
        match (answer, older) {
            // Who may cost the database nothing more may still have what is there.
            (Answer::Limited(_) | Answer::Unavailable { .. }, Some(entry)) => Answer::Document(entry, Source::Stale),
            (answer, _) => answer,
        }
    }

    async fn ask(self: &Arc<Self>, path: &str, client: Client) -> Answer {
        if self.followed.is_up().is_none() {
            // The first moments of the process: the store is being looked at.
            let _ = tokio::time::timeout(STORE, self.followed.looked()).await;
        }
        let site = self.followed.site();
        let published = site.as_ref().and_then(|site| site.document(path));
        let mut is_settled = true;
        let asked = match &published {
            Some((row, attributes)) => {
                if let Landed::Document(entry, source) = self.stored(path, row.blob(), attributes, site.as_ref()).await
                {
                    return Answer::Document(entry, source);
                }
                self.served_at(path).map(|(served, slugs)| Asked { served, key: row.key.clone(), slugs })
            }
            None => match self.meaning(path).await {
                Meaning::Valid(asked) => Some(asked),
                Meaning::Unknown if site.is_some() => return Answer::Unknown,
                meaning => {
                    is_settled = matches!(meaning, Meaning::Unknown);
                    // Nobody here knows what is published; a table may.
                    if self.table().is_none() {
                        return self.nowhere(is_settled);
                    }
                    None
                }
            },
        };
        if let Some(resting) = self.failures.get(path).filter(|failure| Instant::now() < failure.until) {
            return Answer::Unavailable { retry_after: resting.until - Instant::now(), why: resting.why };
        }
        let template = self.served_at(path).map_or(UNNAMED.to_owned(), |(served, _)| served.template.name.clone());
        let may_begin = || {
            // Looked at while nobody else can begin: what has just landed isn't fetched again.
            if let Kept::Fresh(entry) = self.memory.get(path, self.followed.site().as_deref()) {
                return Err(Refused::Known(entry));
            }
            self.limits.take(&template, client).map_err(Refused::Limited)
        };
        let fetch = || {
            let fallback = Arc::clone(self);
            let wanted = Wanted { path: path.to_owned(), asked, is_settled, site };
            async move { fallback.fetch(wanted).await }
        };
        match self.flights.join(path, may_begin, fetch).await {
            Err(Refused::Known(entry)) => Answer::Document(entry, Source::Memory),
            Err(Refused::Limited(limited)) => Answer::Limited(limited),
            Ok(Some(Landed::Document(entry, source))) => Answer::Document(entry, source),
            Ok(Some(Landed::Missing)) => Answer::Unknown,
            Ok(Some(Landed::Failed { retry_after, why })) => Answer::Unavailable { retry_after, why },
            Ok(None) => Answer::Unavailable { retry_after: COME_BACK, why: Shed::Failed },
        }
    }

    /// The answer where there is no release and no table: a store that is there and empty publishes nothing.
    fn nowhere(&self, is_settled: bool) -> Answer {
        match is_settled && self.followed.is_up() == Some(true) {
            true => Answer::Unknown,
            false => Answer::Unavailable { retry_after: COME_BACK, why: Shed::Unsettled },
        }
    }

    /// The table, once it was made, unless it failed a moment ago.
    fn table(&self) -> Option<&Table> {
        self.table.as_ref().filter(|table| !self.table_rest.is_on() && table.is_there())
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
        if self.store_rest.is_on() {
            return failed;
        }
        let fetch = || {
            let (fallback, path) = (Arc::clone(self), path.to_owned());
            let (attributes, site) = (attributes.clone(), site.cloned());
            async move { fallback.read_blob(&path, blob, &attributes, site.as_deref()).await }
        };
        let anyone = || Ok::<_, std::convert::Infallible>(());
        match self.reads.join(path, anyone, fetch).await {
            Ok(landed) => landed.unwrap_or(failed),
            Err(never) => match never {},
        }
    }

    async fn read_blob(&self, path: &str, blob: String, attributes: &Attributes, site: Option<&Site>) -> Landed {
        let failed = Landed::Failed { retry_after: COME_BACK, why: Shed::Store };
        // So many bodies are on their way at most. Who waits for a turn behind a store that hangs needn't try as well.
        let Ok(_turn) = tokio::time::timeout(STORE, self.store_turns.acquire()).await else { return failed };
        if self.store_rest.is_on() {
            return failed;
        }
        let reason = match tokio::time::timeout(STORE, in_background(&self.store, blob)).await {
            Ok(Ok(Some(gzip))) => {
                let plain = gunzip(&gzip, MAX_BODY_BYTES).ok().map(|plain| Digest::of(&plain));
                if let Some(digest) = plain.filter(|digest| digest.to_string() == attributes.digest) {
                    self.store_rest.end();
                    let entry = Arc::new(Entry::new(gzip.into(), digest, attributes, None, site));
                    self.memory.put(path, &entry);
                    return Landed::Document(entry, Source::Store);
                }
                tracing::error!(path, "the blob of a document is damaged; `tintype verify --deep --repair` mends it");
                return Landed::Missing;
            }
            Ok(Ok(None)) => return Landed::Missing,
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer for {STORE:?}"),
        };
        if self.store_rest.begin(STORE_REST) {
            tracing::warn!(reason, "the store doesn't answer; asking the table and the database");
        }
        failed
    }

    /// Asks the table, then the database.
    async fn fetch(&self, wanted: Wanted) -> Landed {
        let (path, is_published) = (wanted.path.as_str(), wanted.is_published());
        let mut failed = Landed::Missing;
        // The table has what is published, and nothing else; without a release any path may be.
        let may_have = is_published || wanted.site.is_none();
        if let Some(table) = self.table().filter(|_| may_have) {
            let active = wanted.site.as_ref().map(|site| site.manifest.root.id.to_string());
            let published = wanted.site.as_ref().and_then(|site| site.digest(path));
            match table.find(path, active.as_deref(), published).await {
                Ok(Some(row)) => {
                    let (gzip, digest) = (row.fetched.gzip, row.fetched.digest);
                    let entry = Entry::new(gzip, digest, &row.attributes, Some(TABLE_TTL), wanted.site.as_deref());
                    return self.landed(path, entry, Source::Table);
                }
                Ok(None) => {}
                Err(error) => {
                    self.table_rest.begin(TABLE_REST);
                    failed = self.failed(path, &error);
                    let is_crowded = matches!(failed, Landed::Failed { why: Shed::Busy | Shed::Down, .. });
                    if is_crowded && !self.has_table_pool {
                        // The database is behind the same pool: there is nothing else to wait for.
                        return failed;
                    }
                }
            }
        }
        let (Some(asked), Some(pool)) = (&wanted.asked, &self.pool) else {
            return match failed {
                Landed::Missing if is_published => Landed::Failed { retry_after: COME_BACK, why: Shed::Store },
                Landed::Missing => match self.nowhere(wanted.is_settled) {
                    Answer::Unavailable { retry_after, why } => Landed::Failed { retry_after, why },
                    _ => Landed::Missing,
                },
                failed => self.rest(path, failed),
            };
        };
        let template = &asked.served.template;
        let nothing_learned = live::Learned::default();
        let learned = self.learned.get(&template.name).unwrap_or(&nothing_learned);
        match live::read(pool, asked, learned).await {
            Ok(fetched) => {
                let attributes = self.live_attributes(asked, &fetched);
                // What is published is answered so only until the store is back.
                let ttl = if is_published { template.limits.ttl.min(TABLE_TTL) } else { template.limits.ttl };
                let (ttl, site) = (spread(ttl, path), wanted.site.as_deref());
                let entry = Entry::new(fetched.gzip, fetched.digest, &attributes, Some(ttl), site);
                self.landed(path, entry, Source::Live)
            }
            Err(error) => {
                let failed = self.failed(path, &error);
                match error {
                    // It may be what the statement does to its server. It may be the server, too, so not for long.
                    LiveError::Database(error) if error.is_fatal() => {
                        let (length, why) = (FIRST_REST, Shed::Down);
                        self.failures.insert(path.into(), Failure { until: Instant::now() + length, length, why });
                        failed
                    }
                    _ => self.rest(path, failed),
                }
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
    fn failed(&self, path: &str, error: &LiveError) -> Landed {
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
            _ if self.told.begin(TOLD) => {
                tracing::warn!(path, class = error.class(), hint = error.hint(), %error, "not answered");
            }
            // One line says it for all of this moment.
            _ => tracing::debug!(path, class = error.class(), %error, "not answered"),
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
        // Cut short like everything that this server says.
        let cache_control = format!("public, max-age={ttl}, s-maxage={ttl}, stale-while-revalidate={ttl}");
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
    let part = u32::from(Digest::of(path.as_bytes()).bytes()[0]);
    length * 9 / 10 + length * part / 255 / 5
}

/// Reads a blob; from a folder in a thread where that may take its time.
async fn in_background(store: &Arc<Store>, blob: String) -> Result<Option<Vec<u8>>, StoreError> {
    if !matches!(**store, Store::Directory(_)) {
        return store.read(&blob).await;
    }
    let (store, handle) = (Arc::clone(store), tokio::runtime::Handle::current());
    let read = tokio::task::spawn_blocking(move || handle.block_on(store.read(&blob)));
    // A thread that panicked has told so itself.
    read.await.unwrap_or(Ok(None))
}
