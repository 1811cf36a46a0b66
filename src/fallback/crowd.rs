//! A crowd: there is room for no more connections, and somebody waits to be let in.
//!
//! Then one on which nothing happens must go: one that is kept for a request that may never come, whose request never ends,
//! or whose reader takes nothing. Without that some who do nothing at all could keep everybody else waiting for as long as
//! each of them may take its time. Nobody goes whose answer is being made, or is taken bit by bit, and without a crowd
//! nobody goes at all. Who asks for more all the time makes room after each answer: it is his last on that connection.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep};

use super::rest::Rest;

/// How long nothing happens on a connection that must go. A reader's first bytes are there sooner from anywhere on earth.
const IDLE: Duration = Duration::from_secs(3);
/// The same of one whose answer isn't taken. The system has a good part of it already, so who takes it slowly seems to take
/// nothing for a while.
const IDLE_IN_ANSWER: Duration = Duration::from_secs(10);

/// How often the log is told that there is none.
const TOLD: Duration = Duration::from_secs(10);

/// The room for connections.
#[derive(Debug)]
pub struct Crowd {
    room: Arc<Semaphore>,
    /// Whether somebody waits for it.
    is_full: AtomicBool,
    /// Wakes those who may go, one after the other.
    go: Notify,
    gone: AtomicU64,
    most: usize,
    told: Rest,
}

/// What happens on a connection.
#[derive(Debug)]
pub struct Doing {
    began: Instant,
    /// When something last happened, in milliseconds since it began.
    last: AtomicU64,
    /// True while an answer is being made.
    is_served: AtomicBool,
    /// True while there is more to send than is taken.
    is_full: AtomicBool,
}

/// A stream that notes when its other end takes something.
#[derive(Debug)]
pub struct Watched<S> {
    stream: S,
    doing: Arc<Doing>,
}

impl Crowd {
    /// Room for so many.
    pub fn of(connections: usize) -> Arc<Crowd> {
        let room = Arc::new(Semaphore::new(connections));
        let (is_full, go, gone) = (AtomicBool::new(false), Notify::new(), AtomicU64::new(0));
        Arc::new(Crowd { room, is_full, go, gone, most: connections, told: Rest::default() })
    }

    /// Waits for room, for one at a time.
    pub async fn enter(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(&self.room).try_acquire_owned() {
            return Some(permit);
        }
        self.is_full.store(true, Ordering::SeqCst);
        if self.told.once_in(TOLD) {
            tracing::warn!(
                connections = self.most,
                hint = "more [fallback] connections, or a proxy in front that bounds them for each address",
                "there is room for no more connections; those on which nothing happens are closed"
            );
        }
        self.go.notify_one();
        let permit = Arc::clone(&self.room).acquire_owned().await;
        self.is_full.store(false, Ordering::SeqCst);
        permit.ok()
    }

    /// Says whether somebody waits for room, so that whoever has had an answer should come again for the next.
    pub fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Relaxed)
    }

    /// Comes back when this connection must go.
    pub async fn must_go(&self, doing: &Doing) {
        loop {
            self.go.notified().await;
            if !self.is_full.load(Ordering::SeqCst) {
                continue;
            }
            let wait = doing.still_has();
            if wait.is_zero() && self.is_full.swap(false, Ordering::SeqCst) {
                self.gone.fetch_add(1, Ordering::Relaxed);
                return;
            }
            // The next one may.
            self.go.notify_one();
            sleep(wait).await;
        }
    }

    /// Connections that had to go so far.
    pub fn gone(&self) -> u64 {
        self.gone.load(Ordering::Relaxed)
    }
}

impl Doing {
    /// A connection that begins.
    pub fn begin() -> Arc<Doing> {
        let no = || AtomicBool::new(false);
        Arc::new(Doing { began: Instant::now(), last: AtomicU64::new(0), is_served: no(), is_full: no() })
    }

    /// For as long as an answer is being made.
    pub async fn serving<T>(&self, answer: impl Future<Output = T>) -> T {
        self.is_served.store(true, Ordering::Relaxed);
        let answer = answer.await;
        self.happens();
        self.is_served.store(false, Ordering::Relaxed);
        answer
    }

    fn happens(&self) {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }

    /// For how long nothing has happened.
    fn idle(&self) -> Duration {
        self.began.elapsed().saturating_sub(Duration::from_millis(self.last.load(Ordering::Relaxed)))
    }

    /// How long it may stay though nothing happens.
    fn still_has(&self) -> Duration {
        match () {
            () if self.is_served.load(Ordering::Relaxed) => IDLE,
            () if self.is_full.load(Ordering::Relaxed) => IDLE_IN_ANSWER.saturating_sub(self.idle()),
            () => IDLE.saturating_sub(self.idle()),
        }
    }
}

impl<S> Watched<S> {
    /// Notes it there.
    pub fn new(stream: S, doing: Arc<Doing>) -> Watched<S> {
        Watched { stream, doing }
    }

    fn took(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(1..)) = written {
            self.doing.happens();
        }
        self.doing.is_full.store(written.is_pending(), Ordering::Relaxed);
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // What comes in is no sign of life: a request that comes byte by byte is what this is about.
        Pin::new(&mut self.stream).poll_read(cx, to)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.took(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.took(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
    use tokio::task::JoinHandle;
    use tokio::time::timeout;

    use super::*;

    /// Lets a connection in, which goes when it must.
    async fn enter(crowd: &Arc<Crowd>) -> (Arc<Doing>, JoinHandle<()>) {
        let permit = crowd.enter().await;
        let (crowd, doing) = (Arc::clone(crowd), Doing::begin());
        let same = Arc::clone(&doing);
        let task = tokio::spawn(async move {
            crowd.must_go(&same).await;
            drop(permit);
        });
        (doing, task)
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_nothing_goes_for_who_waits() {
        let crowd = Crowd::of(3);
        let (served, stays) = enter(&crowd).await;
        let (_, first) = enter(&crowd).await;
        let (_, second) = enter(&crowd).await;
        let answer = tokio::spawn(async move { served.serving(sleep(Duration::from_mins(1))).await });
        sleep(Duration::from_mins(1) / 2).await;
        assert_eq!(crowd.gone(), 0, "nobody waits");
        let (_, third) = timeout(IDLE, enter(&crowd)).await.expect("one goes at once");
        sleep(IDLE * 2).await;
        assert_eq!(crowd.gone(), 1, "and no other one");
        let gone: Vec<bool> = [&stays, &first, &second, &third].map(JoinHandle::is_finished).to_vec();
        assert!(!gone[0] && gone[1] != gone[2] && !gone[3], "{gone:?}");
        for _ in 0..5 {
            timeout(IDLE + Duration::from_millis(10), enter(&crowd)).await.expect("whoever comes");
        }
        assert!(!stays.is_finished(), "an answer is made for it");
        answer.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_just_come_may_say_something() {
        let crowd = Crowd::of(2);
        let _both = (enter(&crowd).await, enter(&crowd).await);
        let asked = Instant::now();
        timeout(Duration::from_mins(1), enter(&crowd)).await.expect("one of them goes");
        assert_eq!(asked.elapsed().as_secs(), IDLE.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_that_are_taken_count_and_bytes_that_come_do_not() {
        let doing = Doing::begin();
        let (ours, mut theirs) = duplex(4);
        let mut ours = Watched::new(ours, Arc::clone(&doing));
        sleep(IDLE).await;
        assert_eq!(doing.idle(), IDLE);
        theirs.write_all(b"G").await.unwrap();
        ours.read_u8().await.unwrap();
        assert_eq!(doing.idle(), IDLE);
        ours.write_all(b"HTTP").await.unwrap();
        assert_eq!(doing.idle(), Duration::ZERO);
        sleep(IDLE).await;
        assert_eq!(doing.still_has(), Duration::ZERO);
        assert!(timeout(IDLE, ours.write_all(b"/1.1")).await.is_err(), "nobody reads");
        assert_eq!((doing.idle(), doing.still_has()), (IDLE * 2, IDLE_IN_ANSWER.saturating_sub(IDLE * 2)));
    }
}
