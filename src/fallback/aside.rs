//! A folder that may hang, asked from here: a store that lies in one, and whether a file is there.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::time::timeout;

use super::flight::Flights;
use crate::aside::Aside;
use crate::store::Store;

/// Longest wait for the word whether a file is there.
const LOOK: Duration = Duration::from_millis(250);

impl Aside {
    /// Asks a store: in one of the threads if it holds whoever asks, and here otherwise.
    pub(super) async fn ask<T, F>(
        &self,
        store: &Arc<Store>,
        ask: impl FnOnce(Arc<Store>) -> F + Send + 'static,
    ) -> Option<T>
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
        let look = |()| {
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
