//! One connection: sends what is due, one request after the other, and takes another line where one has ended.

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{ACCEPT_ENCODING, ETAG, HOST, HeaderName, HeaderValue, IF_NONE_MATCH, RETRY_AFTER};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::choice::Random;
use super::outcomes::{Answer, Lost, Took};
use super::timetable::Plan;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// The system's number of the error that no more files may be open.
const TOO_MANY_FILES: i32 = 24;

/// The server.
pub struct Target {
    address: SocketAddr,
    host: HeaderValue,
    /// What comes before every path.
    prefix: String,
}

impl Target {
    /// Looks its address up.
    pub async fn of(url: &url::Url) -> Result<Target, String> {
        let (Some(host), Some(port), "http") = (url.host_str(), url.port_or_known_default(), url.scheme()) else {
            return Err(format!("{url} is no http:// URL with a host"));
        };
        let name = format!("{host}:{port}");
        let mut found =
            tokio::net::lookup_host(&name).await.map_err(|error| format!("cannot look up {name}: {error}"))?;
        let address = found.next().ok_or_else(|| format!("{name} has no address"))?;
        let host = HeaderValue::from_str(&name).map_err(|error| format!("{name}: {error}"))?;
        Ok(Target { address, host, prefix: url.path().trim_end_matches('/').to_owned() })
    }
}

/// An open connection. It ends when dropped, whatever is under way on it.
pub struct Line {
    sender: SendRequest<Empty<Bytes>>,
    task: JoinHandle<()>,
}

impl Line {
    /// Opens one.
    pub async fn open(target: &Target, wait: Duration) -> Result<Line, String> {
        let opened = timeout(wait, TcpStream::connect(target.address)).await;
        let stream = opened.map_err(|_| format!("no answer for {}", humantime::format_duration(wait)))?;
        let stream = stream.map_err(|error| match error.raw_os_error() {
            Some(TOO_MANY_FILES) => format!("{error}; raise `ulimit -n`"),
            _ => error.to_string(),
        })?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        let (sender, line) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        // What ends it is told to whoever waits for an answer on it.
        let task = tokio::spawn(async move { drop(line.await) });
        Ok(Line { sender, task })
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One of the connections.
pub struct Client {
    plan: Arc<Plan>,
    number: u32,
    line: Option<Line>,
    random: Random,
    address: HeaderValue,
}

impl Client {
    /// The connection of this number.
    pub fn new(plan: Arc<Plan>, number: u32, line: Line) -> Client {
        let [_, a, b, c] = (number + 1).to_be_bytes();
        let address = format!("10.{a}.{b}.{c}");
        let address = HeaderValue::from_str(&address).unwrap_or(HeaderValue::from_static("10.0.0.0"));
        let random = Random::new(plan.options.seed, number);
        Client { plan, number, line: Some(line), random, address }
    }

    /// Sends all that is due, until the last is answered or everything ends.
    pub async fn ask_all(mut self) {
        let plan = Arc::clone(&self.plan);
        for round in 0.. {
            let Some(due) = plan.due(self.number, round) else { return };
            let is_free = Instant::now() <= due;
            sleep_until(due).await;
            // Chosen though it may come too late, so that what is asked for doesn't depend on the answers.
            let rank = plan.choice.next(&mut self.random);
            let is_conditional = self.random.share() < plan.options.conditional;
            if Instant::now() >= plan.stop {
                plan.outcomes.lost(Lost::Unsent, Took { since_due: due.elapsed(), since_sent: Duration::ZERO });
                continue;
            }
            if is_free {
                plan.outcomes.sent(due.elapsed());
            }
            let sent = Instant::now();
            let until = plan.stop.min(sent + plan.options.timeout);
            let asked = timeout_at(until, self.ask(rank, is_conditional)).await;
            let took = Took { since_due: due.elapsed(), since_sent: sent.elapsed() };
            match asked.unwrap_or(Err(Lost::Timeout)) {
                Ok(answer) => plan.outcomes.answered(&answer, took),
                Err(why) => {
                    self.line = None;
                    plan.outcomes.lost(why, took);
                }
            }
        }
    }

    async fn ask(&mut self, rank: usize, is_conditional: bool) -> Result<Answer, Lost> {
        let etag = &self.plan.etags[rank];
        let known = match is_conditional {
            true => etag.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            false => None,
        };
        let request = self.request(rank, known)?;
        let is_open = match &mut self.line {
            Some(line) => line.sender.ready().await.is_ok(),
            None => false,
        };
        if !is_open {
            self.plan.outcomes.reconnected();
            let opened = Line::open(&self.plan.target, self.plan.options.timeout).await;
            self.line = Some(opened.map_err(|_| Lost::Connect)?);
        }
        let line = self.line.as_mut().ok_or(Lost::Connect)?;
        let answer = line.sender.send_request(request).await.map_err(|_| Lost::Closed)?;
        if let Some(seen) = answer.headers().get(ETAG).filter(|_| answer.status() == StatusCode::OK) {
            *etag.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen.clone());
        }
        whole(answer).await
    }

    fn request(&self, rank: usize, known: Option<HeaderValue>) -> Result<Request<Empty<Bytes>>, Lost> {
        let Plan { target, choice, options, .. } = self.plan.as_ref();
        let mut request = Request::get(format!("{}{}", target.prefix, choice.path(rank)))
            .header(HOST, &target.host)
            .header(ACCEPT_ENCODING, "gzip");
        if options.own_address {
            request = request.header(FORWARDED_FOR, &self.address);
        }
        if let Some(known) = known {
            request = request.header(IF_NONE_MATCH, known);
        }
        request.body(Empty::new()).map_err(|_| Lost::Closed)
    }
}

/// Reads an answer to its end.
async fn whole(answer: Response<hyper::body::Incoming>) -> Result<Answer, Lost> {
    let (head, mut body) = answer.into_parts();
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Lost::Closed)?;
        bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
    }
    let retry_after = head.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    let says_when = retry_after.is_some_and(|seconds| seconds.parse::<u32>().is_ok());
    Ok(Answer { status: head.status.as_u16(), says_when, bytes })
}
