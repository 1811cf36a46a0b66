//! What is published right now: the active release with its rows, read again whenever the head names another.
//!
//! The documents of a release are known by their blobs, which never change and are never removed while the release is the
//! active one. So one of them can be answered without asking whether the stable path shows it already.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use hyper::header::HeaderValue;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

use super::families::{Families, Turned};
use super::keys::{Named, Served};
use super::memory::short;
use super::table::Shown;
use crate::aside::Aside;
use crate::database::{Pool, PoolError};
use crate::error::Error;
use crate::release::head::{Checked, Head, HeadRead};
use crate::release::manifest::{Manifest, Root};
use crate::release::{Row, document_of};
use crate::snapshot::Digest;
use crate::store::{Attributes, Store, StoreError};
use crate::template::domain::OpenValues;

/// Longest wait for the head and for a release.
const LONGEST_READ: Duration = Duration::from_mins(1);
/// Longest wait for the head in a folder, which has no tries of its own behind it.
const LONGEST_IN_FOLDER: Duration = Duration::from_secs(5);
/// How soon it is tried again after a wait in vain.
const AGAIN: Duration = Duration::from_secs(1);
/// Longest wait for that connection, behind readers who have asked before.
const ROOM: Duration = Duration::from_secs(30);
/// How long after its start the first readers wait for the first look: a store that hangs would cost each of them his time.
const FIRST_LOOK: Duration = Duration::from_secs(1);
/// How long after its start it isn't ready without that look: the release of a large site is worth waiting for, and a store
/// that hangs isn't.
const READY_WITHOUT: Duration = Duration::from_secs(10);

/// Why the last look at a store failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// The error, with the names of folders or hosts: for the operator alone.
    pub reason: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Trouble {
    fn of(error: &Error) -> Trouble {
        Trouble { reason: error.to_string(), hint: error.hint() }
    }
}

/// A release as it is served.
#[derive(Debug)]
pub struct Site {
    /// Grows by one with every release that this process gets to see; the first is 1.
    pub number: u64,
    /// The release.
    pub manifest: Arc<Manifest>,
    /// What its documents have in the open columns of each template, which no domain tells.
    open: HashMap<String, OpenValues>,
    /// The templates whose documents can be answered beside it.
    pub served: Vec<Arc<Served>>,
    /// Templates that a release had before and this one has no more.
    pub off: BTreeSet<String>,
}

impl Site {
    /// The release with this number. This looks at every row of a template with open columns.
    pub fn new(number: u64, manifest: Manifest, served: Vec<Arc<Served>>, off: BTreeSet<String>) -> Site {
        let of = |served: &Arc<Served>| {
            let template = &served.template;
            // Keys of another form of the template would only mislead.
            let rows = manifest.rows.get(&template.name).filter(|_| is_alike(&manifest, served))?;
            let keys = rows.iter().filter(|row| row.document.is_some()).map(|row| &row.key);
            Some((template.name.clone(), OpenValues::of(template, keys)?))
        };
        let open = served.iter().filter_map(of).collect();
        Site { number, manifest: Arc::new(manifest), open, served, off }
    }

    /// The path as that of its template, if this is served and has the keys that the release has.
    pub fn named<'a>(&'a self, template: &str, path: &'a str) -> Option<Named<'a>> {
        let served = self.served.iter().find(|served| served.template.name == template)?;
        Named::of(served, path).filter(|_| is_alike(&self.manifest, served))
    }

    /// What was seen in the open columns of a template, if it has any.
    pub fn open_values(&self, template: &str) -> Option<&OpenValues> {
        self.open.get(template)
    }

    /// The serial of the release.
    pub fn serial(&self) -> u64 {
        self.manifest.root.id.serial
    }

    /// The document of a path with the name of its template, and what it is shown with.
    pub fn document(&self, path: &str) -> Option<(&str, Arc<Row>, Attributes)> {
        let (template, row, attributes) = document_of(&self.manifest, path)?;
        Some((template, Arc::clone(row), attributes))
    }

    /// The digest of what a path shows.
    pub fn digest(&self, path: &str) -> Option<Digest> {
        self.manifest.row(path)?.digest()
    }

    /// Says whether a path shows these bytes under what is made of this `Cache-Control`.
    pub fn shows(&self, path: &str, digest: &Digest, cache_control: &HeaderValue) -> bool {
        document_of(&self.manifest, path).is_some_and(|(_, row, attributes)| {
            row.digest() == Some(*digest) && short(&attributes.cache_control).as_bytes() == cache_control.as_bytes()
        })
    }
}

/// A store that had a release, and has none any more: no command takes it off.
fn lost(store: &Store, site: &Site) -> Error {
    Error::Store(StoreError {
        action: "use",
        object: store.describe(),
        reason: format!("it had the release {}, and has none now", site.manifest.root.id),
        hint: Some("is its file system mounted, and its control folder as it was?".to_owned()),
        is_general: true,
    })
}

/// A store that has no release, while the fallback table shows one of this site.
fn empty(store: &Store, shown: &Shown) -> Error {
    Error::Store(StoreError {
        action: "use",
        object: store.describe(),
        reason: format!("it has no release, and the fallback table shows {} of this very site", shown.release),
        hint: Some("is its file system mounted? `tintype status` says more".to_owned()),
        is_general: true,
    })
}

/// Says whether a template has the same keys in the same paths as the release.
fn is_alike(manifest: &Manifest, served: &Served) -> bool {
    let entry = manifest.root.templates.get(&served.template.name);
    entry.is_some_and(|entry| entry.path == served.template.pattern.as_str())
}

/// Follows the head of a store.
#[derive(Debug)]
pub struct Followed {
    families: Arc<Families>,
    /// The pool to the server that keeps the head, if a database does and readers are answered from the same one.
    beside: Option<Pool>,
    site: ArcSwapOption<Site>,
    /// What the fallback table showed when it was last looked at, because the store was away.
    shown: ArcSwapOption<Shown>,
    /// When a run last found that the site shows what there is, in seconds since 1970; zero if none was seen to.
    confirmed: AtomicI64,
    /// How the last look at the store went; none before the first.
    health: watch::Sender<Option<Result<(), Trouble>>>,
    began: Instant,
}

impl Followed {
    /// Nothing was looked at yet.
    pub fn new(families: Families, beside: Option<Pool>) -> Followed {
        let (site, shown, health) = (ArcSwapOption::empty(), ArcSwapOption::empty(), watch::Sender::new(None));
        let (families, confirmed) = (Arc::new(families), AtomicI64::new(0));
        Followed { families, beside, site, shown, confirmed, health, began: Instant::now() }
    }

    /// The active release; none before one could be read.
    pub fn site(&self) -> Option<Arc<Site>> {
        self.site.load_full()
    }

    /// Keeps what the fallback table shows, if that is known.
    pub fn table_shows(&self, shown: Option<Shown>) {
        self.shown.store(shown.map(Arc::new));
    }

    /// What the fallback table showed when it was last looked at.
    pub fn shown(&self) -> Option<Shown> {
        self.shown.load().as_deref().cloned()
    }

    /// The instant of the data that the site shows, in seconds since 1970: of its own, or of the last run since that found it
    /// as it should be.
    pub fn as_of(&self) -> Option<i64> {
        let own = self.site()?.manifest.root.as_of?.timestamp();
        Some(own.max(self.confirmed.load(Ordering::Relaxed)))
    }

    /// Notes what the head says of runs since this release.
    fn confirm(&self, root: &Root, checked: &BTreeMap<String, Checked>) {
        // What was read before it may be what a rollback has taken back.
        let since = checked.values().filter(|checked| checked.at > root.created_at);
        let last = since.map(|checked| checked.looked_at.unwrap_or(checked.as_of).timestamp()).max();
        self.confirmed.store(last.unwrap_or(0), Ordering::Relaxed);
    }

    /// The release of the fallback table, if it is a later one than the site and the store, which may have it too, is away.
    pub fn overtaken(&self, site: Option<&Site>) -> Option<Arc<Shown>> {
        let shown = self.shown.load_full()?;
        let is_later = site.is_some_and(|site| site.serial() < shown.serial);
        (is_later && self.is_up() == Some(false)).then_some(shown)
    }

    /// The templates whose documents can be answered beside this site, or without one.
    pub fn served<'a>(&'a self, site: Option<&'a Site>) -> &'a [Arc<Served>] {
        site.map_or(&self.families.first, |site| &site.served)
    }

    /// Whether the last look at the store succeeded; none before the first has ended.
    pub fn is_up(&self) -> Option<bool> {
        self.health.borrow().as_ref().map(Result::is_ok)
    }

    /// Why the last look at the store failed, if it did.
    pub fn trouble(&self) -> Option<Trouble> {
        self.health.borrow().as_ref()?.as_ref().err().cloned()
    }

    /// Comes back once the first look at the store has ended, however, or has had its time.
    pub async fn looked(&self) {
        let _ = timeout_at(self.began + FIRST_LOOK, self.health.subscribe().wait_for(Option::is_some)).await;
    }

    /// Whether the first look has ended, or takes so long that it isn't worth waiting for.
    pub fn has_looked(&self) -> bool {
        self.is_up().is_some() || self.began.elapsed() >= READY_WITHOUT
    }

    /// Looks at the head again and again, and reads the release that it names as active. Of each new one `turned` is told,
    /// right after it has become the site.
    pub async fn follow(
        &self,
        store: &Arc<Store>,
        aside: &Aside,
        every: Duration,
        turned: &(dyn Fn(&Turned) + Send + Sync),
    ) {
        let mut looked_at = Instant::now();
        loop {
            let head = match self.head(store, aside).await {
                Ok(head) => head,
                Err(error) => {
                    // Readers have all connections, which says nothing about the store, unless it lasts.
                    if looked_at.elapsed() >= LONGEST_READ {
                        let hint = Some("the head's database has no connection to spare: see db_pool_…".to_owned());
                        self.tell(store, Err(Trouble { reason: error.to_string(), hint }));
                    }
                    tokio::time::sleep(every.min(AGAIN)).await;
                    continue;
                }
            };
            looked_at = Instant::now();
            let looked = async { self.look(store, aside, head?, turned).await }.await;
            self.tell(store, looked.map_err(|error| Trouble::of(&error)));
            tokio::time::sleep(every).await;
        }
    }

    /// Keeps and tells how a look at the store went: why it failed, if it did.
    fn tell(&self, store: &Store, looked: Result<(), Trouble>) {
        let before = self.health.send_replace(Some(looked.clone()));
        let store = store.describe();
        match (looked, before) {
            (Err(Trouble { reason, hint }), None | Some(Ok(()))) => {
                tracing::warn!(reason, hint, store, "the store can't be read; answering without it");
            }
            (Ok(()), Some(Err(_))) => tracing::info!(store, "the store can be read again"),
            _ => {}
        }
    }

    /// Waits for a read of the store. That of a folder goes on in its thread, and the next would hang as well: it is told
    /// that the store is away, and this one is waited for all the same.
    async fn patiently<T>(
        &self,
        store: &Store,
        limit: Duration,
        read: impl Future<Output = Option<Result<T, Error>>>,
    ) -> Result<T, Error> {
        let failed = |reason| Error::Local { action: "look at", object: store.describe(), reason };
        let silent = || format!("no answer for {}", humantime::format_duration(limit));
        let mut read = pin!(read);
        let read = match timeout(limit, &mut read).await {
            Ok(read) => read,
            Err(_) if store.holds_its_thread() => {
                self.tell(store, Err(Trouble::of(&failed(silent()))));
                read.await
            }
            Err(_) => return Err(failed(silent())),
        };
        read.unwrap_or_else(|| Err(failed("its thread ended".to_owned())))
    }

    /// Reads the head. One that a database keeps takes a connection of its own, which counts among those of the pool to
    /// the same server; an error if that has none to spare.
    async fn head(&self, store: &Arc<Store>, aside: &Aside) -> Result<Result<Head, Error>, PoolError> {
        let room = match &self.beside {
            Some(pool) => Some(pool.room(ROOM).await?),
            None => None,
        };
        // The head's own limits end it long before: its connection isn't left to a server that doesn't know of that.
        let limit = if store.holds_its_thread() { LONGEST_IN_FOLDER } else { LONGEST_READ };
        let read = aside.ask(store, |store| async move {
            let head = HeadRead::read(&store).await?.head;
            // One that wants a release is in the middle of its first.
            if head.active.is_none() && head.desired.is_none() {
                store.check_emptiness().await?;
            }
            Ok(head)
        });
        let read = self.patiently(store, limit, read).await;
        if let Err(error) = &read {
            self.tell(store, Err(Trouble::of(error)));
        }
        // A login that was given up is one of the server's connections for as long as the server is busy with it.
        store.head_is_left_alone().await;
        drop(room);
        Ok(read)
    }

    async fn look(
        &self,
        store: &Arc<Store>,
        aside: &Aside,
        head: Head,
        turned: &(dyn Fn(&Turned) + Send + Sync),
    ) -> Result<(), Error> {
        let known = self.site();
        let Some(active) = head.active else {
            return match (known, self.shown.load_full()) {
                (Some(site), _) => Err(lost(store, &site)),
                // One that is in the middle of its first will have it soon.
                (None, Some(shown)) if head.desired.is_none() && shown.serial > 0 => Err(empty(store, &shown)),
                (None, _) => Ok(()),
            };
        };
        if let Some(site) = known.as_ref().filter(|site| site.manifest.root.id == active) {
            self.confirm(&site.manifest.root, &head.checked);
            return Ok(());
        }
        let id = active.clone();
        let read = aside.ask(store, |store| async move { Manifest::read(&store, &id).await });
        let manifest = self.patiently(store, LONGEST_READ, read).await?;
        let families = Arc::clone(&self.families);
        // A million rows take a while, and readers are answered on this thread too.
        let made = tokio::task::spawn_blocking(move || families.turn(known.as_deref(), manifest)).await;
        let (site, over) = made.map_err(|error| Error::Local {
            action: "look through",
            object: active.to_string(),
            reason: error.to_string(),
        })?;
        tracing::info!(release = %active, documents = site.manifest.count(), "serving release");
        self.confirm(&site.manifest.root, &head.checked);
        let before = self.site.swap(Some(Arc::new(site)));
        turned(&over);
        // So does letting go of them.
        tokio::task::spawn_blocking(move || drop(before));
        Ok(())
    }
}
