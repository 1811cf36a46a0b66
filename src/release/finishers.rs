//! Finishers: the threads that take documents to their end. They digest each body, compress those that changed and
//! hand them to the store, which takes many at once where it is a network away.
//!
//! A run has one crew for all its templates, so threads and memory are bounded whatever the number of templates. The
//! first error of the store ends the work of the whole run.

use std::convert::Infallible;
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore, mpsc, watch};

use super::backlog::{Backlog, HasBody};
use super::build::Builder;
use super::row::{DocumentRow, Origin, Row, blob_name, find};
use super::timing::Timing;
use crate::snapshot::{Digest, Gzip, Snapshot};
use crate::store::{Store, StoreError};
use crate::template::Template;

/// Threads that compress. More than the cores would only hold more bodies in memory.
const MAX_THREADS: usize = 8;
/// Bytes of blobs that may be on their way, whatever the number of requests.
const MAX_BYTES: u32 = 64 * 1024 * 1024;
/// The unit in which bytes are counted.
const UNIT: u32 = 1024;

/// The crew of a run; its threads end when it is dropped.
pub struct Finishers {
    crew: Arc<Crew>,
}

struct Crew {
    backlog: Backlog<Document>,
    store: Arc<Store>,
    /// Stores are asynchronous, and these are threads.
    handle: Handle,
    /// Room for the bytes of blobs on their way.
    room: Arc<Semaphore>,
    /// Blobs on their way.
    active: AtomicUsize,
    /// Told when one has arrived.
    arrived: Notify,
    error: Mutex<Option<StoreError>>,
    failed: watch::Sender<bool>,
}

/// The documents of one template in one run.
pub struct Lot {
    builder: Builder,
    template: Arc<Template>,
    origin: Arc<Origin>,
    pub timing: Arc<Timing>,
    rows: Arc<Mutex<Vec<Arc<Row>>>>,
    /// Everything that is still to be done of the lot holds it; its end is told by this one's.
    _alive: mpsc::Sender<Infallible>,
}

/// What a lot comes to.
pub struct Collected {
    rows: Arc<Mutex<Vec<Arc<Row>>>>,
    ended: mpsc::Receiver<Infallible>,
}

struct Document {
    snapshot: Snapshot,
    lot: Arc<Lot>,
}

impl HasBody for Document {
    fn body(&mut self) -> &mut Vec<u8> {
        &mut self.snapshot.body
    }
}

impl Finishers {
    /// Starts a crew; to be called within the runtime.
    pub fn start(store: &Arc<Store>) -> Arc<Finishers> {
        let crew = Arc::new(Crew {
            backlog: Backlog::default(),
            store: Arc::clone(store),
            handle: Handle::current(),
            room: Arc::new(Semaphore::new((MAX_BYTES / UNIT) as usize)),
            active: AtomicUsize::new(0),
            arrived: Notify::new(),
            error: Mutex::default(),
            failed: watch::Sender::new(false),
        });
        let threads = std::thread::available_parallelism().map_or(2, NonZero::get).min(MAX_THREADS);
        for _ in 0..threads {
            // Threads, not tasks: they must not keep the runtime from ending when the run is interrupted.
            let crew = Arc::clone(&crew);
            std::thread::spawn(move || crew.work());
        }
        Arc::new(Finishers { crew })
    }

    /// Hands a document over; `false` if the run has failed.
    pub fn put(&self, snapshot: Snapshot, lot: &Arc<Lot>) -> bool {
        self.crew.backlog.put(Document { snapshot, lot: Arc::clone(lot) })
    }

    /// What went wrong first.
    pub fn error(&self) -> Option<StoreError> {
        self.crew.error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Comes back once something has gone wrong.
    pub async fn failed(&self) {
        let mut failed = self.crew.failed.subscribe();
        // The sender lives as long as the crew.
        let _ = failed.wait_for(|failed| *failed).await;
    }
}

impl Drop for Finishers {
    fn drop(&mut self) {
        self.crew.backlog.complete();
    }
}

impl Lot {
    /// The documents of a template to come.
    pub fn new(builder: &Builder, template: &Arc<Template>, origin: &Arc<Origin>) -> (Arc<Lot>, Collected) {
        let (alive, ended) = mpsc::channel(1);
        let rows = Arc::new(Mutex::default());
        let lot = Lot {
            builder: builder.clone(),
            template: Arc::clone(template),
            origin: Arc::clone(origin),
            timing: Arc::default(),
            rows: Arc::clone(&rows),
            _alive: alive,
        };
        (Arc::new(lot), Collected { rows, ended })
    }
}

impl Collected {
    /// Waits until everything of the lot is done or given up; its rows in the order of their paths.
    pub async fn rows(mut self) -> Vec<Arc<Row>> {
        let _ = self.ended.recv().await;
        let mut rows = std::mem::take(&mut *self.rows.lock().unwrap_or_else(PoisonError::into_inner));
        rows.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        rows
    }
}

impl Crew {
    fn work(self: Arc<Self>) {
        let mut gzip = Gzip::default();
        loop {
            match self.backlog.take() {
                Ok(Some(document)) => self.take(document, &mut gzip),
                Ok(None) => break,
                Err(error) => self.fail(error),
            }
        }
    }

    /// Takes one document to its end. What goes wrong with it is noted before its lot is let go: the end of the lot is
    /// what others take for its completion.
    fn take(self: &Arc<Self>, Document { snapshot, lot }: Document, gzip: &mut Gzip) {
        let panicking = Panicking(self);
        if let Err(error) = self.finish(snapshot, &lot, gzip) {
            self.fail(error);
        }
        std::mem::forget(panicking);
        drop(lot);
    }

    fn fail(&self, error: StoreError) {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        self.failed.send_replace(true);
        self.backlog.abandon();
    }

    fn finish(self: &Arc<Self>, snapshot: Snapshot, lot: &Arc<Lot>, gzip: &mut Gzip) -> Result<(), StoreError> {
        let builder = &lot.builder;
        if let Some(observe) = &builder.observe {
            observe(&snapshot.path, &snapshot.body);
        }
        let started = Instant::now();
        let digest = Digest::of(&snapshot.body);
        Timing::add(&lot.timing.compress, started);
        let committed = find(builder.committed(&lot.template), &snapshot.path);
        let same = committed.filter(|row| row.digest() == Some(digest) && !builder.rewrite);
        let row = match same.map(Arc::clone) {
            Some(committed) => committed,
            None => Arc::new(self.stage(snapshot, digest, lot, gzip)?),
        };
        lot.rows.lock().unwrap_or_else(PoisonError::into_inner).push(row);
        builder.progress.add_document();
        Ok(())
    }

    /// Compresses a body and has it written.
    fn stage(
        self: &Arc<Self>,
        snapshot: Snapshot,
        digest: Digest,
        lot: &Arc<Lot>,
        gzip: &mut Gzip,
    ) -> Result<Row, StoreError> {
        let started = Instant::now();
        let bytes = gzip.compress(&snapshot.body);
        Timing::add(&lot.timing.compress, started);
        let document = DocumentRow {
            digest,
            size_bytes: size(snapshot.body.len()),
            gzip_bytes: size(bytes.len()),
            rows: u32::try_from(snapshot.rows).unwrap_or(u32::MAX),
        };
        Timing::count(&lot.timing.staged_bytes, bytes.len());
        if lot.builder.stage {
            self.upload(blob_name(&digest, &lot.builder.run), bytes, lot)?;
        }
        let origin = Arc::clone(&lot.origin);
        Ok(Row { path: snapshot.path, key: snapshot.key, document: Some(document), origin })
    }

    /// Writes a blob. Where the store takes one at a time it is written when this returns; else it is on its way, and
    /// the lot isn't done before it has arrived.
    fn upload(self: &Arc<Self>, name: String, bytes: Vec<u8>, lot: &Arc<Lot>) -> Result<(), StoreError> {
        if self.store.in_flight() <= 1 {
            let started = Instant::now();
            self.handle.block_on(self.store.create(&name, bytes.into()))?;
            Timing::add(&lot.timing.write, started);
            return Ok(());
        }
        let size = size(bytes.len()).clamp(UNIT, MAX_BYTES) / UNIT;
        let room = Arc::clone(&self.room).acquire_many_owned(size);
        // The semaphore is never closed.
        let Ok(room) = self.handle.block_on(room) else { return Ok(()) };
        self.handle.block_on(self.turn());
        let (crew, lot) = (Arc::clone(self), Arc::clone(lot));
        self.handle.spawn(async move {
            let panicking = Panicking(&crew);
            let started = Instant::now();
            let mut failed = crew.failed.subscribe();
            let written = tokio::select! {
                written = crew.store.create(&name, bytes.into()) => written,
                // What waits for its turn behind a store that has failed needn't try as well.
                _ = failed.wait_for(|failed| *failed) => Ok(()),
            };
            Timing::add(&lot.timing.write, started);
            if let Err(error) = written {
                crew.fail(error);
            }
            std::mem::forget(panicking);
            drop(room);
            crew.active.fetch_sub(1, Ordering::Relaxed);
            crew.arrived.notify_one();
        });
        Ok(())
    }

    /// Waits until the store takes one more. A few more than it takes at once keep it busy; many would only queue for
    /// their turn, and behind a store that hangs each of them would find that out for itself.
    async fn turn(&self) {
        loop {
            let limit = self.store.in_flight();
            if self.active.load(Ordering::Relaxed) < limit + limit / 4 + 2 {
                break;
            }
            self.arrived.notified().await;
        }
        self.active.fetch_add(1, Ordering::Relaxed);
    }
}

/// Ends the run if it is dropped: what a thread that panicked was about is lost.
struct Panicking<'a>(&'a Crew);

impl Drop for Panicking<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // A task that is dropped with the runtime: the run is being interrupted.
            return;
        }
        self.0.fail(StoreError {
            action: "finish",
            object: "a document".to_owned(),
            reason: "a worker panicked; please report the message above".to_owned(),
            hint: None,
            is_general: true,
        });
    }
}

/// No document is larger than its template's `max_size`, which is below 4 GiB.
fn size(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
