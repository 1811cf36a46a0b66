//! Listening: connections with bounds on what each may send, hold and leave undone, how many one peer may have, and an
//! end that lets answers finish.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{CONNECTION, HOST, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_io_timeout::TimeoutStream;

use super::crowd::{Crowd, Doing, Watched};
use super::peers::Peers;
use super::respond::Reply;

/// Bytes of a request's head; a path of ours is at most 900 long.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// Headers of a request.
const MAX_HEADERS: usize = 64;
/// Longest time for a request's head, and between two requests of a connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest time in which a client reads nothing of its answer.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// The most bytes of an answer that the system takes beside those that are on their way. It would take megabytes, and then
/// nothing for so long that a reader on a slow line seems to have stopped reading.
const TAKEN: u32 = 256 * 1024;
/// Bytes that it takes at once in any case.
pub const TAKEN_AT_ONCE: u32 = 32 * 1024;
/// How long answers may take after the end was asked for; longer than any answer is.
const DRAIN: Duration = Duration::from_secs(8);
/// The wait after a connection couldn't be accepted, because there are no file descriptors left for example.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// Peers that are told at a time that they have their share.
const TURNED_AWAY: usize = 64;
/// Longest time that this may take.
const TURN_AWAY_TIMEOUT: Duration = Duration::from_secs(1);
const TOO_MANY: &str = r#"{"code":"too_many_connections","message":"too many connections at a time","retry_after":1}"#;

/// Who asks, and what.
pub struct Asked {
    /// The other end of the connection.
    pub peer: SocketAddr,
    /// The method.
    pub method: hyper::Method,
    /// The path as it was sent.
    pub uri: hyper::Uri,
    /// The version of HTTP.
    pub version: Version,
    /// The headers.
    pub headers: HeaderMap,
}

impl Asked {
    /// Whether it says for whom it is as HTTP demands. Two servers that choose differently among several hosts could be
    /// made to confuse readers.
    pub fn is_addressed(&self) -> bool {
        match self.headers.get_all(HOST).iter().count() {
            0 => self.version < Version::HTTP_11,
            hosts => hosts == 1,
        }
    }
}

/// Answers connections until `end` says so, then lets answers finish. Holds as many at a time as the crowd has room for;
/// more wait. A peer that has its share of them is told so.
pub async fn listen<H, F>(
    listener: TcpListener,
    crowd: Arc<Crowd>,
    peers: Arc<Peers>,
    mut end: watch::Receiver<bool>,
    handle: H,
) -> io::Result<()>
where
    H: Fn(Asked) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Reply> + Send + 'static,
{
    let turning_away = Arc::new(Semaphore::new(TURNED_AWAY));
    let graceful = GracefulShutdown::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = end.wait_for(|end| *end) => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "can't accept a connection");
                tokio::time::sleep(ACCEPT_REST).await;
                continue;
            }
        };
        let Some(seat) = peers.seat(peer.ip()) else {
            // Without a permit it is closed without a word: being polite must not cost more than answering.
            if let Ok(permit) = Arc::clone(&turning_away).try_acquire_owned() {
                tokio::spawn(async move {
                    let _ = tokio::time::timeout(TURN_AWAY_TIMEOUT, turn_away(stream)).await;
                    drop(permit);
                });
            }
            continue;
        };
        let permit = tokio::select! {
            permit = crowd.enter() => permit,
            _ = end.wait_for(|end| *end) => break,
        };
        // A proxy's next request is another reader's.
        let (handle, doing, is_proxy) = (handle.clone(), Doing::begin(), seat.is_exempt());
        prepare(&stream);
        let stream = Watched::new(stream, Arc::clone(&doing));
        let (same, around) = (Arc::clone(&doing), Arc::clone(&crowd));
        let service = service_fn(move |request: Request<Incoming>| {
            let (parts, _body) = request.into_parts();
            let (method, uri, version, headers) = (parts.method, parts.uri, parts.version, parts.headers);
            let asked = Asked { peer, method, uri, version, headers };
            let (reply, doing, crowd) = (handle(asked), Arc::clone(&same), Arc::clone(&around));
            async move {
                let mut reply = doing.serving(reply).await;
                if crowd.is_full() && !is_proxy {
                    reply.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, std::convert::Infallible>(reply)
            }
        });
        let connection = builder().serve_connection(TokioIo::new(Box::pin(bounded(stream))), service);
        let connection = graceful.watch(connection);
        let crowd = Arc::clone(&crowd);
        tokio::spawn(async move {
            tokio::select! {
                ended = connection => {
                    if let Err(error) = ended {
                        tracing::debug!(%peer, %error, "connection ended");
                    }
                }
                () = crowd.must_go(&doing) => tracing::debug!(%peer, "nothing happened on it, and others waited"),
            }
            drop((permit, seat));
        });
    }
    drop(listener);
    let _ = tokio::time::timeout(DRAIN, graceful.shutdown()).await;
    Ok(())
}

/// Tells a peer that it has as many connections as it may. What it has sent is read meanwhile: a connection that is
/// closed over unread bytes loses the answer.
async fn turn_away(mut stream: TcpStream) {
    let answer = format!(
        "HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\nCache-Control: no-store\r\nRetry-After: 1\r\n\
         Connection: close\r\nContent-Length: {}\r\n\r\n{TOO_MANY}",
        TOO_MANY.len()
    );
    let told = stream.write_all(answer.as_bytes()).await;
    if told.is_err() || stream.shutdown().await.is_err() {
        return;
    }
    let mut sent = stream.take(MAX_HEAD_BYTES as u64);
    let _ = tokio::io::copy(&mut sent, &mut tokio::io::sink()).await;
}

fn builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES)
        .max_headers(MAX_HEADERS)
        // A client that closes its half has hung up; nobody would read the answer.
        .half_close(false);
    builder
}

fn prepare(stream: &TcpStream) {
    // Answers are written at once, and a delay of Nagle's would show.
    let _ = stream.set_nodelay(true);
    #[cfg(target_os = "linux")]
    let _ = socket2::SockRef::from(stream).set_tcp_notsent_lowat(TAKEN);
}

fn bounded(stream: Watched<TcpStream>) -> TimeoutStream<Watched<TcpStream>> {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(WRITE_TIMEOUT));
    stream
}
