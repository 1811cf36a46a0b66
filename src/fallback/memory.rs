//! The memory: documents that were answered lately, ready to be sent.
//!
//! A document of the release is fresh for as long as the release shows those bytes, however long that is; an answer from
//! the database for its template's time. What isn't fresh any more is kept for a day, for when nothing else answers. What a
//! release has removed is forgotten: nothing that was taken off the site comes back from here.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hyper::header::HeaderValue;
use moka::sync::Cache;
use tokio::time::Instant;

use super::negotiate::etag;
use super::site::Site;
use crate::snapshot::Digest;
use crate::store::Attributes;

/// How long a document is kept that nobody asks for, and how long it is sent that may have changed since.
const KEPT: Duration = Duration::from_hours(24);
/// What an entry takes besides its body and path, roughly.
const ENTRY_BYTES: usize = 640;

/// A document, ready to be sent.
#[derive(Debug)]
pub struct Entry {
    /// The gzipped body.
    pub gzip: Bytes,
    /// SHA-256 of the body.
    pub digest: Digest,
    /// The digest as entity tag of the gzipped body, quotes included.
    pub etag: HeaderValue,
    /// The same of the plain body.
    pub plain_etag: HeaderValue,
    /// `Cache-Control` while it is fresh.
    pub cache_control: HeaderValue,
    /// Cache tags, separated by commas, where it has any.
    pub cache_tags: Option<HeaderValue>,
    /// The instant whose data it shows.
    pub as_of: HeaderValue,
    /// The longest time that it counts as fresh; none for a document that the release itself vouches for.
    fresh_until: Option<Instant>,
    /// Whether a release has shown the path, so that it is over if the next one doesn't.
    is_published: bool,
    /// The last site, by its number, that showed these bytes.
    confirmed: AtomicU64,
    /// Whether something came after which no answer of before counts.
    is_over: AtomicBool,
    /// Since when it is no longer fresh, as far as anybody has looked.
    stale_since: Mutex<Option<Instant>>,
}

impl Entry {
    /// A document with these attributes, whose digest is that of the body, as it was had while this was the site.
    pub fn new(
        gzip: Bytes,
        digest: Digest,
        attributes: &Attributes,
        fresh_for: Option<Duration>,
        site: Option<&Site>,
    ) -> Entry {
        let tags = attributes.cache_tags.join(",");
        Entry {
            gzip,
            digest,
            etag: value(&etag(&digest, true)),
            plain_etag: value(&etag(&digest, false)),
            cache_control: value(&short(&attributes.cache_control)),
            cache_tags: (!tags.is_empty()).then(|| value(&tags)),
            as_of: value(&attributes.as_of),
            fresh_until: fresh_for.map(|length| Instant::now() + length),
            is_published: fresh_for.is_none(),
            confirmed: AtomicU64::new(site.map_or(0, |site| site.number)),
            is_over: AtomicBool::new(false),
            stale_since: Mutex::default(),
        }
    }

    /// The same as one that stands for what a release shows, if it does.
    #[must_use]
    pub fn published(self, is_published: bool) -> Entry {
        Entry { is_published, ..self }
    }

    /// Says whether it stands for what a release shows, whoever gave it.
    pub fn is_published(&self) -> bool {
        self.is_published
    }

    /// Says whether this site has taken it off.
    fn is_gone(&self, path: &str, site: Option<&Site>) -> bool {
        self.is_published && site.is_some_and(|site| site.digest(path).is_none())
    }

    /// Says whether it isn't fresh for so long that nobody should have it any more.
    fn is_too_old(&self) -> bool {
        let now = Instant::now();
        let since = *self.stale_since().get_or_insert_with(|| self.fresh_until.map_or(now, |until| until.min(now)));
        since.elapsed() >= KEPT
    }

    fn stale_since(&self) -> MutexGuard<'_, Option<Instant>> {
        self.stale_since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says whether it may be sent without a further look, while this is the site.
    fn is_fresh(&self, path: &str, site: Option<&Site>) -> bool {
        let is_over = |fresh_until| Instant::now() >= fresh_until || self.is_over.load(Ordering::Relaxed);
        if self.fresh_until.is_some_and(is_over) {
            return false;
        }
        // What has no time of its own stands as long as a release says so.
        let Some(site) = site else { return self.fresh_until.is_some() };
        if self.confirmed.load(Ordering::Relaxed) == site.number {
            return true;
        }
        // The first look after a release: what it hasn't changed stays fresh, and what it doesn't publish has its time.
        let is_right = match self.fresh_until {
            None => site.shows(path, &self.digest, &self.cache_control),
            Some(_) => site.digest(path).map_or(!self.is_published, |digest| digest == self.digest),
        };
        if is_right {
            self.confirmed.store(site.number, Ordering::Relaxed);
            *self.stale_since() = None;
        }
        is_right
    }
}

/// The longest time for which an edge keeps what this server says. No purge is ordered for it, and a release may have
/// become active a moment before that this server hasn't seen.
const EDGE_SECONDS: u64 = 60;

/// A document's own `Cache-Control` with its times cut short.
pub fn short(cache_control: &str) -> String {
    let seconds = |name: &str| {
        let mut parts = cache_control.split(',').map(str::trim);
        parts.find_map(|part| part.strip_prefix(name)?.strip_prefix('=')?.parse::<u64>().ok())
    };
    let cut = |name: &str| seconds(name).unwrap_or(0).min(EDGE_SECONDS);
    format!(
        "public, max-age={}, s-maxage={}, stale-while-revalidate={}, stale-if-error=86400",
        cut("max-age"),
        cut("s-maxage"),
        cut("stale-while-revalidate")
    )
}

/// A header's value; what can't be one is left empty.
fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}

/// What is kept of a path.
pub enum Kept {
    /// It may be sent.
    Fresh(Arc<Entry>),
    /// It may be sent if nothing newer can be had.
    Stale(Arc<Entry>),
    /// Nothing.
    Nothing,
}

fn weight(path: &str, entry: &Entry) -> u32 {
    u32::try_from(path.len() + entry.gzip.len() + ENTRY_BYTES).unwrap_or(u32::MAX)
}

/// Documents by path, up to a number of bytes.
#[derive(Debug)]
pub struct Memory(Cache<Arc<str>, Arc<Entry>>);

impl Memory {
    /// Room for this many bytes of gzipped bodies.
    pub fn new(bytes: u64) -> Memory {
        Memory(
            Cache::builder()
                .max_capacity(bytes)
                .weigher(|path: &Arc<str>, entry: &Arc<Entry>| weight(path, entry))
                .time_to_idle(KEPT)
                .build(),
        )
    }

    /// What is kept of a path.
    pub fn get(&self, path: &str, site: Option<&Site>) -> Kept {
        match self.0.get(path) {
            Some(entry) if entry.is_fresh(path, site) => Kept::Fresh(entry),
            Some(entry) if entry.is_gone(path, site) || entry.is_too_old() => Kept::Nothing,
            Some(entry) => Kept::Stale(entry),
            None => Kept::Nothing,
        }
    }

    /// Says whether a document is kept that a release has shown.
    pub fn has_published(&self, path: &str) -> bool {
        self.0.get(path).is_some_and(|entry| entry.is_published())
    }

    /// Keeps a document in place of what is there.
    pub fn put(&self, path: &str, entry: &Arc<Entry>) {
        self.0.insert(path.into(), Arc::clone(entry));
    }

    /// Forgets what is kept of a path.
    pub fn forget(&self, path: &str) {
        self.0.invalidate(path);
    }

    /// Forgets what a database has answered for paths that are such. This looks at all that is kept.
    pub fn forget_answers(&self, is_such: impl Fn(&str) -> bool) {
        for (path, entry) in &self.0 {
            if entry.fresh_until.is_some() && is_such(&path) {
                self.0.invalidate(&**path);
            }
        }
    }

    /// What a database has answered counts as old from now on. This looks at all that is kept.
    pub fn end_answers(&self) {
        for (_, entry) in &self.0 {
            if entry.fresh_until.is_some() {
                entry.is_over.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Lets go of what it has no room for, which is done on the way of other readers otherwise.
    pub fn settle(&self) {
        self.0.run_pending_tasks();
    }

    /// Documents, and their bytes, about.
    pub fn size(&self) -> (u64, u64) {
        self.settle();
        (self.0.entry_count(), self.0.weighted_size())
    }
}

#[cfg(test)]
impl Entry {
    /// A small answer of a database, fresh for so long.
    pub fn small(fresh_for: Duration) -> Entry {
        let attributes = Attributes {
            cache_control: "public, max-age=60".to_owned(),
            cache_tags: Vec::new(),
            digest: String::new(),
            serial: 1,
            as_of: String::new(),
        };
        let body = Bytes::from_static(b"{}");
        Entry::new(body.clone(), Digest::of(&body), &attributes, Some(fresh_for), None)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_old_answer_is_over_after_a_day_however_often_it_is_asked_for() {
        const PATH: &str = "places/here.json";
        let (memory, time) = (Memory::new(1 << 20), Duration::from_hours(1));
        memory.put(PATH, &Arc::new(Entry::small(time)));
        let kept = || match memory.get(PATH, None) {
            Kept::Fresh(_) => "fresh",
            Kept::Stale(_) => "stale",
            Kept::Nothing => "gone",
        };
        let mut seen = Vec::new();
        for _ in 0..26 {
            seen.push(kept());
            advance(time).await;
        }
        assert_eq!((seen[0], &seen[1..25], seen[25]), ("fresh", &["stale"; 24][..], "gone"));
    }
}
