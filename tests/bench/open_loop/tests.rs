//! The generator itself, before a server that does what it is told.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::Parser as _;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::outcomes::Report;
use super::{Options, timetable};

/// What a server in a test does, and what it has seen.
#[derive(Default)]
struct Server {
    /// Requests within this time are held until it is over.
    pause: Mutex<Option<(Instant, Instant)>>,
    addresses: Mutex<BTreeSet<String>>,
    paths: Mutex<Vec<String>>,
}

impl Server {
    async fn start(self: &Arc<Self>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listen");
        let url = format!("http://{}/before", listener.local_addr().expect("an address"));
        let server = Arc::clone(self);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("accept");
                let server = Arc::clone(&server);
                tokio::spawn(async move {
                    let answer = service_fn(move |request| Arc::clone(&server).answer(request));
                    let line = hyper::server::conn::http1::Builder::new();
                    drop(line.serve_connection(TokioIo::new(stream), answer).await);
                });
            }
        });
        url
    }

    /// By the path: `/503` is an answer of that status, `/hang` none, `/cut` the end of the connection.
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, std::io::Error> {
        let path = request.uri().path().to_owned();
        self.paths.lock().unwrap_or_else(PoisonError::into_inner).push(path.clone());
        let text = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner).extend(text("x-forwarded-for"));
        let pause = *self.pause.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((begin, end)) = pause.filter(|(begin, end)| (*begin..*end).contains(&Instant::now())) {
            assert!(begin < end);
            tokio::time::sleep_until(end).await;
        }
        let name = path.trim_start_matches("/before/");
        let answer = Response::builder().header("etag", "\"one\"");
        let answer = match name {
            "hang" => std::future::pending::<Result<_, Infallible>>().await.map_err(std::io::Error::other)?,
            "cut" => return Err(std::io::Error::other("cut")),
            "404" | "500" | "503" => answer.status(name.parse::<u16>().expect("a status")),
            "429" => answer.status(429).header("retry-after", "6"),
            "busy" => answer.status(503).header("retry-after", "2"),
            _ if text("if-none-match").as_deref() == Some("\"one\"") => answer.status(304),
            _ => answer,
        };
        Ok(answer.body(Full::from("body")).expect("an answer"))
    }
}

async fn run(server: &Arc<Server>, paths: &[&str], more: &str) -> Report {
    let file = tempfile::NamedTempFile::new().expect("make a file");
    std::fs::write(file.path(), paths.join("\n")).expect("write the paths");
    let url = server.start().await;
    let words = ["open-loop", "--url", &url, "--paths", file.path().to_str().expect("UTF-8")];
    let options = Options::try_parse_from(words.into_iter().chain(more.split_whitespace())).expect("options");
    timetable::run(&options).await.expect("it runs")
}

fn count(report: &Report, kind: &str) -> u64 {
    report.since_due.kinds.iter().find(|(name, _)| *name == kind).map_or(0, |(_, found)| found.count)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_would_have_come_during_a_pause_has_waited() {
    let server = Arc::new(Server::default());
    let begin = Instant::now() + Duration::from_millis(700);
    *server.pause.lock().expect("nobody panicked") = Some((begin, begin + Duration::from_secs(1)));
    let report = run(&server, &["/a"], "--connections 1 --rate 100 --seconds 2").await;
    // One answer alone came late by the clock of its connection. A hundred readers would have waited, half a second on
    // average.
    assert_eq!((report.since_due.all.count, report.unexpected()), (200, 0), "{}", report.text());
    assert!(report.since_due.all.longest > 900.0, "{}", report.text());
    assert!(report.since_due.all.p50 < 700.0 && report.since_due.all.p95 > 600.0, "{}", report.text());
    let slow = report.since_sent.all;
    assert!(slow.p95 < 100.0 && slow.longest > 900.0, "one request, by the server's clock: {}", report.text());
    assert!(report.own_delay.count < 180, "who waits for a connection isn't late by this program's fault");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_kind_of_answer_is_counted() {
    let server = Arc::new(Server::default());
    let paths = ["/a", "/429", "/503", "/busy", "/404", "/500", "/cut"];
    let report = run(&server, &paths, "--connections 10 --rate 700 --seconds 1").await;
    assert_eq!(report.since_due.all.count, 700);
    let asked = server.paths.lock().expect("nobody panicked").clone();
    let of = |name: &str| asked.iter().filter(|path| *path == &format!("/before/{name}")).count() as u64;
    assert_eq!(asked.len(), 700);
    assert!(of("a") > 50 && of("cut") > 50, "{}", report.text());
    assert_eq!((count(&report, "200"), count(&report, "429")), (of("a"), of("429")));
    assert_eq!((count(&report, "503"), report.without_retry_after), (of("503") + of("busy"), of("503")));
    assert_eq!(count(&report, "other"), of("404") + of("500"));
    assert_eq!((report.statuses[&404], report.statuses[&500]), (of("404"), of("500")));
    assert_eq!((count(&report, "lost"), report.lost["closed"]), (of("cut"), of("cut")));
    assert_eq!(report.unexpected(), of("404") + of("500") + of("cut"));
    assert!(report.reconnects > 0);
    assert_eq!(report.json()["statuses"]["200"], of("a"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_gets_no_answer_counts_as_waited_for() {
    let server = Arc::new(Server::default());
    let report = run(&server, &["/hang"], "--connections 2 --rate 20 --seconds 1 --timeout 600ms").await;
    assert_eq!(
        (report.since_due.all.count, count(&report, "lost"), report.unexpected()),
        (20, 20, 20),
        "{}",
        report.text()
    );
    assert!(report.lost["timeout"] >= 4 && report.lost["unsent"] >= 4, "{:?}", report.lost);
    assert!(report.since_due.all.p50 >= 600.0 && report.seconds < 3.0, "{}", report.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_have_addresses_and_remember_what_they_saw() {
    let server = Arc::new(Server::default());
    let report =
        run(&server, &["/a"], "--connections 300 --rate 600 --seconds 1 --own-address --conditional 0.5").await;
    let addresses = server.addresses.lock().expect("nobody panicked").clone();
    assert_eq!(addresses.len(), 300);
    assert!(addresses.contains("10.0.0.1") && addresses.contains("10.0.1.44"), "{addresses:?}");
    assert_eq!((report.since_due.all.count, report.unexpected()), (600, 0));
    assert!((200..400).contains(&count(&report, "304")), "{}", report.text());
}

#[tokio::test]
async fn a_server_that_is_away_is_named() {
    let file = tempfile::NamedTempFile::new().expect("make a file");
    std::fs::write(file.path(), "/a\n").expect("write the paths");
    let gone = TcpListener::bind("127.0.0.1:0").await.expect("listen").local_addr().expect("an address");
    let url = format!("http://{gone}");
    let words = ["open-loop", "--url", &url, "--paths", file.path().to_str().expect("UTF-8")];
    let error = timetable::run(&Options::try_parse_from(words).expect("options")).await.err().expect("an error");
    assert!(error.contains(&url) && error.contains("refused"), "{error}");
}
