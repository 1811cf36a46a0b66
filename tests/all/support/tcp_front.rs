//! A front before a PostgreSQL server that loses, delays and counts, without a word of TLS.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::postgres::runtime;

/// What becomes of a message.
#[derive(Debug, Clone, Copy)]
pub enum Loss {
    /// It is carried out, and the connection breaks before the client hears of it.
    Answer,
    /// The connection breaks, and the server never gets it.
    Message,
    /// The server gets it after this time, whether or not the client is still there; the client hears nothing.
    Late(Duration),
}

/// A front; it ends when dropped.
pub struct TcpFront {
    port: u16,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    plan: Mutex<Option<(&'static str, Loss, usize)>>,
    struck: AtomicUsize,
    open: AtomicUsize,
    peak: AtomicUsize,
    late: AtomicUsize,
}

impl TcpFront {
    /// Before the server of this URL.
    pub fn before(url: &str) -> Self {
        let url = url::Url::parse(url).expect("the server's URL is one");
        let server = format!("{}:{}", url.host_str().expect("a host"), url.port().expect("a port"));
        let server: SocketAddr = server.parse().expect("the host is an address");
        let listener = runtime().block_on(TcpListener::bind(("127.0.0.1", 0))).expect("listen");
        let port = listener.local_addr().expect("it has an address").port();
        let shared = Arc::new(Shared::default());
        let accepting = runtime().spawn({
            let shared = Arc::clone(&shared);
            async move {
                while let Ok((client, _)) = listener.accept().await {
                    tokio::spawn(serve(client, server, Arc::clone(&shared)));
                }
            }
        });
        Self { port, shared, accepting }
    }

    /// The same URL, through the front.
    pub fn url(&self, url: &str) -> String {
        let mut url = url::Url::parse(url).expect("the server's URL is one");
        url.set_port(Some(self.port)).expect("a postgres URL has a port");
        url.to_string()
    }

    /// From now on, so many messages that hold these words get lost.
    pub fn lose(&self, words: &'static str, loss: Loss, times: usize) {
        self.shared.struck.store(0, Ordering::Relaxed);
        *self.shared.plan.lock().unwrap_or_else(PoisonError::into_inner) = Some((words, loss, times));
    }

    /// How many got lost since.
    pub fn struck(&self) -> usize {
        self.shared.struck.load(Ordering::Relaxed)
    }

    /// How many late ones the server has answered.
    pub fn late(&self) -> usize {
        self.shared.late.load(Ordering::Relaxed)
    }

    /// Connections: open now, and the most at a time.
    pub fn connections(&self) -> (usize, usize) {
        (self.shared.open.load(Ordering::Relaxed), self.shared.peak.load(Ordering::Relaxed))
    }
}

impl Drop for TcpFront {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Shared {
    /// What is to become of this message.
    fn loss_of(&self, message: &[u8]) -> Option<Loss> {
        let mut plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        let (words, loss, times) = plan.as_mut()?;
        let holds = message.windows(words.len()).any(|part| part == words.as_bytes());
        if !holds || *times == 0 {
            return None;
        }
        *times -= 1;
        self.struck.fetch_add(1, Ordering::Relaxed);
        Some(*loss)
    }
}

async fn serve(client: TcpStream, server: SocketAddr, shared: Arc<Shared>) {
    let open = shared.open.fetch_add(1, Ordering::Relaxed) + 1;
    shared.peak.fetch_max(open, Ordering::Relaxed);
    if let Ok(server) = TcpStream::connect(server).await {
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        forward(from_client, to_client, from_server, to_server, &shared).await;
    }
    shared.open.fetch_sub(1, Ordering::Relaxed);
}

/// Ends with either side, or with a loss. Both halves of both sides are closed then.
async fn forward(
    mut from_client: OwnedReadHalf,
    mut to_client: OwnedWriteHalf,
    mut from_server: OwnedReadHalf,
    mut to_server: OwnedWriteHalf,
    shared: &Shared,
) {
    let (mut asked, mut said) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    loop {
        tokio::select! {
            read = from_server.read(&mut said) => match read {
                Ok(count) if count > 0 && to_client.write_all(&said[..count]).await.is_ok() => {}
                _ => return,
            },
            read = from_client.read(&mut asked) => {
                let Ok(mut count) = read else { return };
                if count == 0 {
                    return;
                }
                if let Some(loss) = shared.loss_of(&asked[..count]) {
                    // A client sends one query at a time, so that a message begins where a read does.
                    let whole = 1 + u32::from_be_bytes([asked[1], asked[2], asked[3], asked[4]]) as usize;
                    while count < whole {
                        match from_client.read(&mut asked[count..]).await {
                            Ok(more) if more > 0 => count += more,
                            _ => return,
                        }
                    }
                    return lose(loss, &asked[..count], (from_client, to_client), (from_server, to_server), shared).await;
                }
                if to_server.write_all(&asked[..count]).await.is_err() {
                    return;
                }
            }
        }
    }
}

async fn lose(
    loss: Loss,
    message: &[u8],
    client: (OwnedReadHalf, OwnedWriteHalf),
    (mut from_server, mut to_server): (OwnedReadHalf, OwnedWriteHalf),
    shared: &Shared,
) {
    let mut answer = [0; 1];
    match loss {
        Loss::Message => {}
        Loss::Answer => {
            // PostgreSQL sends a short answer in one piece, after the commit.
            if to_server.write_all(message).await.is_ok() {
                let _ = from_server.read(&mut answer).await;
            }
        }
        Loss::Late(time) => {
            tokio::time::sleep(time).await;
            if to_server.write_all(message).await.is_ok() && matches!(from_server.read(&mut answer).await, Ok(1)) {
                shared.late.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
    drop(client);
}
