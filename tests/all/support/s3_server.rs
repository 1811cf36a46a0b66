//! An S3 server in this process: `s3s` over `s3s-fs`, which checks signatures, and in front of it a layer that counts and breaks things.
//!
//! It stands on nothing else of the test support, so that the benchmarks' server is made of the same file. Requests are
//! counted as the server sees them, retries of the client included.

// Each of the programs that are made of this file uses a part of it.
#![allow(dead_code, reason = "the tests use what the benchmark's server doesn't")]

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::RwLock;

#[path = "s3_server/asked.rs"]
mod asked;
#[path = "s3_server/backend.rs"]
mod backend;
#[path = "s3_server/faults.rs"]
mod faults;

pub use asked::{Asked, Counts, Kind};
use backend::Backend;
use faults::Kept;
pub use faults::{Fault, Part, What};

/// The key that the server takes.
pub const ACCESS_KEY: &str = "AKIDTINTYPETESTS";
/// The secret that goes with it.
pub const SECRET_KEY: &str = "not-a-secret-of-anybody";

/// How a server is set up.
pub struct Options {
    /// Where it listens; port 0 for any.
    pub address: SocketAddr,
    /// An existing folder that holds the objects.
    pub folder: PathBuf,
    /// The buckets to make.
    pub buckets: Vec<String>,
    /// True to let one conditional write at a time through: s3s-fs looks first and then writes, as a racy store does.
    pub atomic: bool,
    /// True to remember every request and every written object's headers, for as long as the server lives.
    pub remember: bool,
}

/// A running server; it ends when dropped.
pub struct S3Server {
    shared: Arc<Shared>,
    address: SocketAddr,
    runtime: Option<Runtime>,
}

struct Shared {
    folder: PathBuf,
    s3: S3Service,
    counts: [AtomicU64; 7],
    in_flight: AtomicUsize,
    peak: AtomicUsize,
    remember: bool,
    asked: Mutex<Vec<(Asked, u16)>>,
    headers: Mutex<BTreeMap<String, BTreeMap<String, String>>>,
    faults: Mutex<Vec<Arc<Fault>>>,
    /// The statuses of requests that were carried out late.
    late: Mutex<Vec<u16>>,
    /// Answers that are given again, by key.
    stale: Mutex<BTreeMap<String, Kept>>,
    /// Held for reading by reads, for writing by conditional writes; none on a server that is to be racy.
    conditions: Option<RwLock<()>>,
}

/// A request that is being carried out, also one whose client goes away in the middle of it.
struct Flight<'a>(&'a AtomicUsize);

impl<'a> Flight<'a> {
    fn begin(in_flight: &'a AtomicUsize) -> Flight<'a> {
        in_flight.fetch_add(1, Ordering::Relaxed);
        Flight(in_flight)
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl S3Server {
    /// Starts a server on threads of its own.
    pub fn start(options: Options) -> io::Result<S3Server> {
        for bucket in &options.buckets {
            std::fs::create_dir_all(options.folder.join(bucket))?;
        }
        let backend = Backend::new(&options.folder)?;
        let mut builder = S3ServiceBuilder::new(backend);
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let shared = Arc::new(Shared {
            folder: options.folder,
            s3: builder.build(),
            counts: [const { AtomicU64::new(0) }; 7],
            in_flight: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
            remember: options.remember,
            asked: Mutex::default(),
            headers: Mutex::default(),
            faults: Mutex::default(),
            late: Mutex::default(),
            stale: Mutex::default(),
            conditions: options.atomic.then(RwLock::default),
        });
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind(options.address))?;
        let address = listener.local_addr()?;
        runtime.spawn(accept(listener, Arc::clone(&shared)));
        Ok(S3Server { shared, address, runtime: Some(runtime) })
    }

    /// `http://127.0.0.1:port`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Requests so far.
    pub fn counts(&self) -> Counts {
        let read = |kind: Kind| self.shared.counts[kind as usize].load(Ordering::Relaxed);
        Counts {
            puts: read(Kind::Put),
            copies: read(Kind::Copy),
            gets: read(Kind::Get),
            heads: read(Kind::Head),
            deletes: read(Kind::Delete),
            lists: read(Kind::List),
            others: read(Kind::Other),
        }
    }

    /// Forgets the counts, the requests and the headers.
    pub fn reset(&self) {
        for counter in &self.shared.counts {
            counter.store(0, Ordering::Relaxed);
        }
        self.shared.peak.store(0, Ordering::Relaxed);
        lock(&self.shared.asked).clear();
        lock(&self.shared.headers).clear();
    }

    /// The most requests that were in flight at a time.
    pub fn peak_in_flight(&self) -> usize {
        self.shared.peak.load(Ordering::Relaxed)
    }

    /// Requests that are being carried out.
    pub fn in_flight(&self) -> usize {
        self.shared.in_flight.load(Ordering::Relaxed)
    }

    /// Every request with the status it got, 0 for none, in the order in which they were answered.
    pub fn asked(&self) -> Vec<(Asked, u16)> {
        lock(&self.shared.asked).clone()
    }

    /// The headers with which `bucket/key` was last written, by their names in lower case.
    pub fn headers(&self, object: &str) -> Option<BTreeMap<String, String>> {
        lock(&self.shared.headers).get(object).cloned()
    }

    /// Plays a fault from now on.
    pub fn play(&self, fault: Fault) -> Arc<Fault> {
        let fault = Arc::new(fault);
        lock(&self.shared.faults).push(Arc::clone(&fault));
        fault
    }

    /// Ends all faults.
    pub fn heal(&self) {
        lock(&self.shared.faults).clear();
    }

    /// The statuses of the requests that were carried out late.
    pub fn late(&self) -> Vec<u16> {
        lock(&self.shared.late).clone()
    }

    /// The file that holds `bucket/key`.
    pub fn file(&self, object: &str) -> PathBuf {
        self.shared.folder.join(object)
    }

    /// The folder that holds the buckets.
    pub fn folder(&self) -> &Path {
        &self.shared.folder
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        // A client that went away before it was accepted is nothing to end the server for.
        let Ok((stream, _)) = listener.accept().await else { continue };
        tokio::spawn(serve(stream, Arc::clone(&shared)));
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { shared.answer(request).await }
    });
    let http = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service);
    // Broken connections are what some of the tests are about.
    let _ = http.await;
}

impl Shared {
    async fn answer(self: &Arc<Self>, request: Request<Incoming>) -> io::Result<Response<s3s::Body>> {
        let asked = Asked::of(&request);
        self.counts[asked.kind as usize].fetch_add(1, Ordering::Relaxed);
        let flight = Flight::begin(&self.in_flight);
        let now = self.in_flight.load(Ordering::Relaxed);
        self.peak.fetch_max(now, Ordering::Relaxed);
        let headers = self.remember.then(|| request.headers().clone());
        let answer = self.faulty(&asked, request).await;
        drop(flight);
        if let Some(headers) = headers {
            let status = answer.as_ref().map_or(0, |answer| answer.status().as_u16());
            if status == 200 && matches!(asked.kind, Kind::Put | Kind::Copy) {
                lock(&self.headers).insert(format!("{}/{}", asked.bucket, asked.key), texts(&headers));
            }
            lock(&self.asked).push((asked, status));
        }
        answer
    }

    async fn faulty(self: &Arc<Self>, asked: &Asked, request: Request<Incoming>) -> io::Result<Response<s3s::Body>> {
        let faults = lock(&self.faults).clone();
        let fault = faults.iter().find(|fault| fault.strikes(asked));
        let Some(fault) = fault else { return self.carry_out(asked, request.map(s3s::Body::from)).await };
        match &fault.what {
            What::Answer { status, code, message, more } => {
                // A connection that is closed on an unread body would look like a broken one to the client.
                let _ = request.into_body().collect().await;
                Ok(faults::error_answer(*status, code, message, more))
            }
            What::Say(xml) => {
                let _ = request.into_body().collect().await;
                Ok(faults::success(xml))
            }
            What::Wait(time) => {
                tokio::time::sleep(*time).await;
                self.carry_out(asked, request.map(s3s::Body::from)).await
            }
            What::Late(time) => {
                let (time, shared, asked) = (*time, Arc::clone(self), asked.clone());
                let (parts, body) = request.into_parts();
                let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
                let late = tokio::spawn(async move {
                    tokio::time::sleep(time).await;
                    let answer = shared.carry_out(&asked, Request::from_parts(parts, s3s::Body::from(body))).await;
                    let status = answer.as_ref().map_or(0, |answer| answer.status().as_u16());
                    lock(&shared.late).push(status);
                    answer
                });
                late.await.map_err(io::Error::other)?
            }
            What::BreakOff => {
                let _ = request.into_body().frame().await;
                Err(io::Error::other("broken off as the test wants it"))
            }
            What::LoseAnswer => {
                self.carry_out(asked, request.map(s3s::Body::from)).await?;
                Err(io::Error::other("the answer is lost as the test wants it"))
            }
            What::Headers(change) => {
                let mut answer = self.carry_out(asked, request.map(s3s::Body::from)).await?;
                change(answer.headers_mut());
                Ok(answer)
            }
            What::Body(body) => {
                let answer = self.carry_out(asked, request.map(s3s::Body::from)).await?;
                Ok(Kept::of(answer).await?.with(body).answer())
            }
            What::Ignore(part) => {
                let mut request = request.map(s3s::Body::from);
                request.extensions_mut().insert(*part);
                self.carry_out(asked, request).await
            }
            What::Stale => {
                let known = lock(&self.stale).get(&asked.key).cloned();
                let kept = match known {
                    Some(kept) => kept,
                    None => Kept::of(self.carry_out(asked, request.map(s3s::Body::from)).await?).await?,
                };
                lock(&self.stale).insert(asked.key.clone(), kept.clone());
                Ok(kept.answer())
            }
            What::CutBody => faults::cut(self.carry_out(asked, request.map(s3s::Body::from)).await?).await,
        }
    }

    /// Carries a request out to its end, also when its client goes away: s3s-fs writes an object in several steps, and a
    /// store writes it whole or not at all.
    async fn carry_out(
        self: &Arc<Self>,
        asked: &Asked,
        request: Request<s3s::Body>,
    ) -> io::Result<Response<s3s::Body>> {
        let (shared, kind, conditional) = (Arc::clone(self), asked.kind, asked.conditional);
        let carried_out = tokio::spawn(async move { shared.call(kind, conditional, request).await });
        carried_out.await.map_err(io::Error::other)?
    }

    async fn call(
        &self,
        kind: Kind,
        conditional: bool,
        request: Request<s3s::Body>,
    ) -> io::Result<Response<s3s::Body>> {
        let call = self.s3.call(request);
        let answer = match &self.conditions {
            Some(lock) if conditional && kind == Kind::Put => {
                let _alone = lock.write().await;
                call.await
            }
            // s3s-fs reads an object and its ETag in two steps.
            Some(lock) if kind == Kind::Get => {
                let _shared = lock.read().await;
                call.await
            }
            _ => call.await,
        };
        answer.map_err(|error| io::Error::other(format!("{error:?}")))
    }
}

fn texts(headers: &HeaderMap) -> BTreeMap<String, String> {
    let text = |value: &hyper::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect()
}
