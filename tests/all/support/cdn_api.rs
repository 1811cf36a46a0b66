//! The API of a CDN: a server that notes every request and answers it as a test says.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::postgres::runtime;
use super::process::Tintype;
use super::project::Project;

/// What was asked.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The method.
    pub method: String,
    /// The path as it came, without a query.
    pub path: String,
    /// Headers, their names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: String,
}

impl Asked {
    /// A header's value, empty if it isn't there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

/// What becomes of a request.
pub enum Play {
    /// This answer: status, headers, body.
    Say(u16, Vec<(&'static str, String)>, String),
    /// The connection is closed without an answer.
    Lose,
    /// Nothing, for as long as the client waits.
    Hang,
    /// This status, once there is a permit.
    Hold(Arc<Semaphore>, u16),
}

type Rule = Box<dyn FnMut(&Asked) -> Play + Send>;

/// A running API; it ends when dropped.
pub struct CdnApi {
    url: String,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    asked: Mutex<Vec<Asked>>,
    rule: Mutex<Rule>,
}

impl CdnApi {
    /// Starts one that answers by this rule.
    pub fn start(rule: impl FnMut(&Asked) -> Play + Send + 'static) -> Self {
        let listener = runtime().block_on(TcpListener::bind(("127.0.0.1", 0))).expect("listen");
        let url = format!("http://{}", listener.local_addr().expect("it has an address"));
        let shared = Arc::new(Shared { asked: Mutex::default(), rule: Mutex::new(Box::new(rule)) });
        let accepting = runtime().spawn({
            let shared = Arc::clone(&shared);
            async move {
                while let Ok((client, _)) = listener.accept().await {
                    let shared = Arc::clone(&shared);
                    tokio::spawn(async move {
                        let answer = service_fn(|request| answer(&shared, request));
                        // A connection that the rule closes ends with an error.
                        let _ = hyper::server::conn::http1::Builder::new()
                            .serve_connection(TokioIo::new(client), answer)
                            .await;
                    });
                }
            }
        });
        Self { url, shared, accepting }
    }

    /// `http://127.0.0.1:port`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Answers by this rule from now on.
    pub fn play(&self, rule: impl FnMut(&Asked) -> Play + Send + 'static) {
        *locked(&self.shared.rule) = Box::new(rule);
    }

    /// What was asked since the last call.
    pub fn take(&self) -> Vec<Asked> {
        std::mem::take(&mut *locked(&self.shared.asked))
    }

    /// How much was asked since then.
    pub fn count(&self) -> usize {
        locked(&self.shared.asked).len()
    }
}

impl Drop for CdnApi {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn locked<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn answer(shared: &Shared, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, io::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let text = |value: &hyper::header::HeaderValue| value.to_str().unwrap_or_default().to_owned();
    let asked = Asked {
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        headers: head.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    locked(&shared.asked).push(asked.clone());
    let play = (locked(&shared.rule))(&asked);
    match play {
        Play::Say(status, headers, body) => {
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(name, value);
            }
            response.body(Full::from(body)).map_err(io::Error::other)
        }
        Play::Lose => Err(io::Error::other("the answer is lost")),
        Play::Hold(until, status) => {
            let _permit = until.acquire().await.map_err(io::Error::other)?;
            Response::builder().status(status).body(Full::from(String::new())).map_err(io::Error::other)
        }
        Play::Hang => match std::future::pending::<Infallible>().await {},
    }
}

/// A project whose documents stand behind a CDN: `lines` go into `[cdn]`, after its `url`, and what follows it.
pub fn behind_cdn(project: &Project, lines: &str) {
    let text = std::fs::read_to_string(project.config()).expect("read tintype.toml");
    let (before, rest) = text.split_once("[cdn]\n").expect("there is a section for the CDN");
    let (_, after) = rest.split_once("[paths]\n").expect("and one after it");
    let text = format!("{before}[cdn]\nurl = \"https://cdn.example.org/m%C3%A4ps/\"\n{lines}\n[paths]\n{after}");
    std::fs::write(project.config(), text).expect("write tintype.toml");
}

/// A project of so many documents, `many/rN/kNNNN.json`, ten folders of them.
pub fn many(keys: usize) -> Project {
    let project = Project::sqlite(&format!(
        "CREATE TABLE t (r TEXT, k TEXT PRIMARY KEY, n INTEGER NOT NULL);
         WITH RECURSIVE s (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < {keys})
         INSERT INTO t SELECT 'r' || (i % 10), printf('k%04d', i), i FROM s"
    ));
    project.template(
        "many",
        "/*---\npath = \"many/{r}/{k}.json\"\ncache_tags = [\"many\", \"r:{r}\"]\n---*/\nSELECT r, k, n FROM t ORDER BY r, k\n",
    );
    project
}

/// What a release changes that changes the keys from 1 to this: their paths, and the catalogue, which names the release.
pub fn names(keys: usize) -> Vec<String> {
    let mut names: Vec<String> = (1..=keys).map(|i| format!("many/r{}/k{i:04}.json", i % 10)).collect();
    names.push("index.json".to_owned());
    names.sort();
    names
}

/// `tintype` for this project, with credentials for AWS.
pub fn tintype(project: &Project, arguments: &[&str]) -> Tintype {
    project.tintype(arguments).env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE").env("AWS_SECRET_ACCESS_KEY", "secret")
}

/// The document of a command that must exit with `code`.
#[track_caller]
pub fn json(project: &Project, arguments: &[&str], code: i32) -> Value {
    tintype(project, arguments).args(&["--format", "json"]).run().expect(code).json()
}

/// SHA-256 in hex digits.
pub fn hash(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Hex digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes all");
        text
    })
}

/// HMAC-SHA-256 as RFC 2104 writes it.
pub fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut block = if key.len() > 64 { Sha256::digest(key).to_vec() } else { key.to_vec() };
    block.resize(64, 0);
    let pad = |with: u8| block.iter().map(|byte| byte ^ with).collect::<Vec<u8>>();
    let inner = Sha256::digest([pad(0x36), message.to_vec()].concat());
    Sha256::digest([pad(0x5c), inner.to_vec()].concat()).to_vec()
}
