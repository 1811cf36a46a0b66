//! Real caches from Debian, in front of a web server over a published folder, set up as the README says.

use std::fs;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::http::{self, Response};
use super::project::Project;
use super::script::Script;
use super::skip::skip;
use super::wait::wait_for;

/// What keeps documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Varnish,
    Nginx,
}

/// A cache and its origin; both end when dropped.
pub struct Edge {
    pub kind: Kind,
    /// Where readers fetch.
    pub address: SocketAddr,
    /// Where it is told to forget.
    publisher: u16,
    origin: SocketAddr,
    log: PathBuf,
    fences: AtomicU32,
    _script: Script,
}

/// A file of `tests/caches/`.
pub fn example(name: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/caches").join(name);
    fs::read_to_string(&file).unwrap_or_else(|error| panic!("cannot read {}: {error}", file.display()))
}

/// The example with addresses and folders of a test; each of them must be in it.
#[track_caller]
fn adapted(name: &str, changes: &[(&str, &str)]) -> String {
    changes.iter().fold(example(name), |text, (from, to)| {
        assert!(text.contains(from), "no `{from}` in {name}");
        text.replace(from, to)
    })
}

/// The web server that asks `tintype serve` for what a folder hasn't; it ends when dropped.
pub struct Front {
    /// Where readers fetch.
    pub address: SocketAddr,
    _script: Script,
}

impl Front {
    /// Starts it over this folder, with `serve` at that address; none, and the test is noted as skipped, where nginx
    /// isn't installed.
    pub fn start(public: &Path, serve: SocketAddr) -> Option<Front> {
        let public = public.to_str().expect("the folder's name is UTF-8");
        let changes = [
            ("listen 8080;", "listen 127.0.0.1:@ORIGIN@;"),
            ("/srv/site/public", public),
            ("127.0.0.1:8480", &serve.to_string()),
        ];
        let started = Script::start("edge.sh", &["none", &adapted("nginx-fallback.conf", &changes), ""]);
        let (script, port) = started.inspect_err(|reason| skip(reason)).ok()?;
        let address = SocketAddr::from(([127, 0, 0, 1], port.parse().expect("the script prints a port")));
        Some(Front { address, _script: script })
    }
}

impl Edge {
    /// Starts both over this folder; none, and the test is noted as skipped, where a program isn't installed.
    pub fn start(kind: Kind, public: &Path) -> Option<Edge> {
        let public = public.to_str().expect("the folder's name is UTF-8");
        let origin = adapted(
            "nginx-folder.conf",
            &[("listen 8080;", "listen 127.0.0.1:@ORIGIN@;"), ("/srv/site/public", public)],
        );
        let (name, cache) = match kind {
            Kind::Varnish => ("varnish", adapted("varnish.vcl", &[("\"8080\"", "\"@ORIGIN@\"")])),
            Kind::Nginx => {
                let changes = [
                    ("listen 80;", "listen 127.0.0.1:@CACHE@;"),
                    ("127.0.0.1:8083", "127.0.0.1:@PUBLISHER@"),
                    ("8083 ", "@PUBLISHER@ "),
                    ("127.0.0.1:8080", "127.0.0.1:@ORIGIN@"),
                    ("/var/cache/nginx/tintype", "@HOME@/tintype"),
                ];
                ("nginx", adapted("nginx-cache.conf", &changes))
            }
        };
        let started = Script::start("edge.sh", &[name, &origin, &cache]);
        let (mut script, first) = started.inspect_err(|reason| skip(reason)).ok()?;
        let port = |line: &str| line.parse::<u16>().expect("the script prints ports");
        let local = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let origin = local(port(&first));
        let address = local(port(&script.line()));
        let publisher = port(&script.line());
        let log = script.line().into();
        Some(Edge { kind, address, publisher, origin, log, fences: AtomicU32::new(0), _script: script })
    }

    /// Lets the project's readers fetch here, and the edge be told what has changed.
    pub fn in_front_of(&self, project: &Project) {
        self.told_at(project, self.publisher);
    }

    /// The same, told at another port than its own.
    pub fn told_at(&self, project: &Project, port: u16) {
        project.configure("sqlite:file.db", "");
        let config = fs::read_to_string(project.config()).expect("read tintype.toml");
        let lines = format!("url = \"http://{}\"\npurge = \"webhook\"\npurge_timeout = \"1s\"\n", self.address);
        let webhook = match self.kind {
            Kind::Varnish => {
                format!("url = \"http://127.0.0.1:{port}/{{path}}\"\neverything = \"http://127.0.0.1:{port}/\"\n")
            }
            Kind::Nginx => format!("url = \"http://127.0.0.1:{port}/{{path}}\"\nmethod = \"HEAD\"\n"),
        };
        let config = config.replace("url = \"https://cdn.example.org\"\n", &lines);
        assert!(config.contains(&lines), "the configuration has changed: {config}");
        fs::write(project.config(), format!("{config}\n[cdn.webhook]\n{webhook}")).expect("write tintype.toml");
    }

    /// What a browser gets.
    pub fn get(&self, path: &str) -> Response {
        http::get(self.address, &format!("/{path}"), &[("Accept-Encoding", "gzip")])
    }

    /// What a browser gets from the origin itself, by way of a proxy.
    pub fn origin_through_proxy(&self, path: &str) -> Response {
        let headers = [("Accept-Encoding", "gzip"), ("Via", "1.1 somebody")];
        http::get(self.origin, &format!("/{path}"), &headers)
    }

    /// The body of a document that must be there.
    #[track_caller]
    pub fn body(&self, path: &str) -> Vec<u8> {
        let answer = self.get(path);
        assert_eq!((answer.status, answer.header("content-encoding")), (200, "gzip"), "{path}: {:?}", answer.headers);
        let mut body = Vec::new();
        flate2::read::GzDecoder::new(answer.body.as_slice()).read_to_end(&mut body).expect("it is gzip");
        body
    }

    /// The paths that the origin was asked for, one by one, in the order in which they were asked.
    pub fn asked(&self) -> Vec<String> {
        // The log's line comes after the answer. A request of one's own comes behind all that were answered before it.
        let fence = format!("fence-{}", self.fences.fetch_add(1, Ordering::Relaxed));
        http::get(self.origin, &format!("/{fence}"), &[]);
        let log = wait_for("the origin's log", Duration::from_secs(30), || {
            let log = fs::read_to_string(&self.log).expect("read the origin's log");
            log.lines().any(|line| line == format!("GET /{fence} 404")).then_some(log)
        });
        let path = |line: &str| line.split(' ').nth(1).map(|path| path.trim_start_matches('/').to_owned());
        log.lines().filter_map(path).filter(|path| !path.starts_with("fence-")).collect()
    }
}
