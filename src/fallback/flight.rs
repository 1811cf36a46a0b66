//! Single flight: however many ask for one thing at a time, it is fetched once.
//!
//! The fetching is a task of its own. Whoever asked first may hang up: the others get their answer all the same, and so
//! does the memory.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

type Landing<T> = watch::Receiver<Option<T>>;

/// Things on their way, by name.
#[derive(Debug)]
pub struct Flights<T>(Arc<Inner<T>>);

#[derive(Debug)]
struct Inner<T> {
    at_work: Mutex<HashMap<Box<str>, Landing<T>>>,
    /// Those who joined a flight of somebody else's.
    shared: AtomicU64,
}

impl<T> Default for Flights<T> {
    fn default() -> Flights<T> {
        Flights(Arc::new(Inner { at_work: Mutex::default(), shared: AtomicU64::new(0) }))
    }
}

/// Takes a flight off the list, also where its task was cut off.
struct Landed<T> {
    inner: Arc<Inner<T>>,
    name: Box<str>,
}

impl<T> Drop for Landed<T> {
    fn drop(&mut self) {
        self.inner.at_work.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }
}

impl<T: Clone + Send + Sync + 'static> Flights<T> {
    /// Waits for what is on its way under this name, or sends for it if `may_begin` allows that, with what that gives.
    ///
    /// `None` means that the flight ended without an answer, because it panicked or the runtime ends.
    pub async fn join<B, E, F>(
        &self,
        name: &str,
        may_begin: impl FnOnce() -> Result<B, E>,
        fetch: impl FnOnce(B) -> F,
    ) -> Result<Option<T>, E>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut landing = self.board(name, may_begin, fetch)?;
        let landed = landing.wait_for(Option::is_some).await;
        Ok(landed.ok().and_then(|landed| landed.clone()))
    }

    fn board<B, E, F>(
        &self,
        name: &str,
        may_begin: impl FnOnce() -> Result<B, E>,
        fetch: impl FnOnce(B) -> F,
    ) -> Result<Landing<T>, E>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut at_work = self.0.at_work.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(landing) = at_work.get(name) {
            self.0.shared.fetch_add(1, Ordering::Relaxed);
            return Ok(landing.clone());
        }
        let begun = may_begin()?;
        let (land, landing) = watch::channel(None);
        let landed = Landed { inner: Arc::clone(&self.0), name: name.into() };
        at_work.insert(name.into(), landing.clone());
        let work = fetch(begun);
        tokio::spawn(async move {
            let fetched = work.await;
            // Those who have joined get the answer; who comes later finds it in the memory.
            drop(landed);
            land.send_replace(Some(fetched));
        });
        Ok(landing)
    }

    /// Flights at this moment.
    pub fn count(&self) -> usize {
        self.0.at_work.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Those who joined a flight of somebody else's, so far.
    pub fn shared(&self) -> u64 {
        self.0.shared.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::AtomicUsize;

    use futures_util::FutureExt as _;
    use tokio::sync::Notify;

    use super::*;

    const ANYONE: fn() -> Result<(), Infallible> = || Ok(());

    #[tokio::test]
    async fn many_share_one_flight_and_the_first_may_leave() {
        let flights = Flights::default();
        let (begun, go) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let fetch = || {
            let (begun, go) = (Arc::clone(&begun), Arc::clone(&go));
            move |()| async move {
                begun.fetch_add(1, Ordering::Relaxed);
                go.notified().await;
                7
            }
        };
        let mut first = Box::pin(flights.join("x", ANYONE, fetch()));
        assert_eq!((&mut first).now_or_never(), None);
        let others: Vec<_> = (0..10).map(|_| flights.join("x", || Err("not allowed"), fetch())).collect();
        let others = futures_util::future::join_all(others);
        tokio::pin!(others);
        assert_eq!((&mut others).now_or_never(), None);
        drop(first);
        go.notify_one();
        assert_eq!(others.await, vec![Ok(Some(7)); 10]);
        assert_eq!((begun.load(Ordering::Relaxed), flights.shared(), flights.count()), (1, 10, 0));
    }

    #[tokio::test]
    async fn one_that_panics_or_is_refused_blocks_nobody() {
        let flights = Flights::<u8>::default();
        assert_eq!(flights.join("x", ANYONE, |()| async { panic!("on purpose") }).await, Ok(None));
        assert_eq!(flights.join("x", || Err("no"), |()| async { 1 }).await, Err("no"));
        assert_eq!(flights.join("x", ANYONE, |()| async { 2 }).await, Ok(Some(2)));
        assert_eq!(flights.count(), 0);
    }
}
