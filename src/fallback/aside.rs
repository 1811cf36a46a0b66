//! Threads of their own for what a folder may keep waiting for good: a disk that hangs, a share whose server is gone.
//!
//! Such a read can't be given up; whoever began it waits until the system answers. On the threads that answer readers it
//! would stop everything, and among the runtime's helpers it would take those that the documents of the database need. So
//! there are some for it alone, as many as may ever be asked for, and what hangs in them keeps the process from nothing,
//! its end included.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::time::timeout;

use super::flight::Flights;
use crate::store::Store;

/// Longest wait for the word whether a file is there.
const LOOK: Duration = Duration::from_millis(250);

/// The threads.
#[derive(Debug)]
pub struct Aside(Option<Runtime>);

impl Aside {
    /// So many at most, each made when it is needed.
    pub fn new(threads: usize) -> Aside {
        Aside(Builder::new_current_thread().max_blocking_threads(threads).thread_name("tintype-folder").build().ok())
    }

    /// Does something in one of them. It goes on there when nobody waits for it any more. None if it panicked, or the
    /// system gives no thread.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        self.0.as_ref()?.spawn_blocking(work).await.ok()
    }

    /// Asks a store: in one of them if it holds whoever asks, and here otherwise.
    pub async fn ask<T, F>(&self, store: &Arc<Store>, ask: impl FnOnce(Arc<Store>) -> F + Send + 'static) -> Option<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send,
    {
        let store = Arc::clone(store);
        if !store.holds_its_thread() {
            return Some(ask(store).await);
        }
        let here = Handle::current();
        self.run(move || here.block_on(ask(store))).await
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        // Nothing is waited for.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Whether a file is there, as a folder that may hang tells it.
#[derive(Debug, Default)]
pub struct Presence {
    looking: Flights<bool>,
    /// When the look began that hasn't ended.
    since: Arc<Mutex<Option<Instant>>>,
}

impl Presence {
    /// Whether the file is there; no if the folder doesn't say so soon, and at once while it is known to hang.
    pub async fn of(&self, file: &Path, aside: &Arc<Aside>) -> bool {
        if lock(&self.since).is_some_and(|since| since.elapsed() >= LOOK) {
            return false;
        }
        let look = || {
            let (file, aside, since) = (file.to_owned(), Arc::clone(aside), Arc::clone(&self.since));
            *lock(&since) = Some(Instant::now());
            async move {
                let is_there = aside.run(move || file.exists()).await;
                *lock(&since) = None;
                is_there.unwrap_or(false)
            }
        };
        let anyone = || Ok::<_, std::convert::Infallible>(());
        matches!(timeout(LOOK, self.looking.join("file", anyone, look)).await, Ok(Ok(Some(true))))
    }
}

fn lock(since: &Mutex<Option<Instant>>) -> std::sync::MutexGuard<'_, Option<Instant>> {
    since.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn what_hangs_holds_up_nobody() {
        let aside = Arc::new(Aside::new(1));
        let (go, wait) = mpsc::channel::<()>();
        let hanging = aside.run(move || wait.recv().is_ok());
        assert!(timeout(Duration::from_millis(20), hanging).await.is_err());
        // The only thread is taken, so the look at a file that is there hangs as well, and the next isn't even begun.
        let presence = Presence::default();
        let here = std::env::current_exe().unwrap();
        assert!(!presence.of(&here, &aside).await);
        let begun = Instant::now();
        assert!(!presence.of(&here, &aside).await);
        assert!(begun.elapsed() < LOOK, "a look that can't end is waited for twice");
        go.send(()).unwrap();
        while !presence.of(&here, &aside).await {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // The end waits for nothing.
        let (_never, wait) = mpsc::channel::<()>();
        assert!(timeout(Duration::from_millis(20), aside.run(move || wait.recv().is_ok())).await.is_err());
        drop(aside);
    }
}
