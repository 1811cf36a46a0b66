//! What is known of a store that failed to give documents: which of them, and whether it is the store as a whole.
//!
//! One document that can't be read says little about the others, so it is left alone by itself, for longer each time. Is
//! it the first, the store is *in doubt* for a moment, until something else was read from it. If that fails too, or
//! several documents in a row do, the store is *away*: nobody waits for it any more. From then on every now and then a
//! document that is asked for is read on the side, and the first that comes in time brings the store back.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use moka::sync::Cache;
use tokio::time::Instant;

/// How many different documents in a row must fail.
const ENOUGH: usize = 3;
/// How long a store that is away isn't asked again.
const REST: Duration = Duration::from_secs(2);
/// The first and the last wait before a document that failed is tried again; it doubles from the one to the other.
const PATH_RESTS: (Duration, Duration) = (REST, Duration::from_secs(30));
/// How many documents are left alone.
const MAX_PATHS: u64 = 10_000;

/// Whom a store keeps waiting.
#[derive(Debug)]
pub struct Silence {
    state: Mutex<State>,
    paths: Cache<Box<str>, PathRest>,
    /// Documents whose read hasn't ended, whoever waits for it.
    at_work: Arc<Mutex<HashSet<Box<str>>>>,
}

#[derive(Debug, Default)]
struct State {
    /// The different documents that failed since one was given.
    failed: Vec<Box<str>>,
    is_in_doubt: bool,
    /// When the store that is away is asked again.
    away_until: Option<Instant>,
    /// The document that failed last, and why.
    last: Option<(Box<str>, Box<str>)>,
}

#[derive(Debug, Clone, Copy)]
struct PathRest {
    until: Instant,
    length: Duration,
}

/// Whether the store is asked for a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It is.
    Ask,
    /// It isn't.
    Leave,
    /// It is, by somebody whom no reader waits for.
    Probe,
}

/// What a failure says about the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// Nothing new.
    Nothing,
    /// Whether it is there has to be found out.
    Doubt,
    /// It is away, since just now.
    Away,
}

/// A document whose read hasn't ended.
#[derive(Debug)]
pub struct AtWork {
    all: Arc<Mutex<HashSet<Box<str>>>>,
    path: Box<str>,
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.path);
    }
}

impl Default for Silence {
    fn default() -> Silence {
        let paths = Cache::builder().max_capacity(MAX_PATHS).time_to_live(4 * PATH_RESTS.1).build();
        Silence { state: Mutex::default(), paths, at_work: Arc::default() }
    }
}

impl Silence {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the store is asked for the document at a path.
    pub fn turn(&self, path: &str) -> Turn {
        let mut state = self.state();
        let now = Instant::now();
        match state.away_until {
            Some(until) if now < until => return Turn::Leave,
            Some(_) => {
                state.away_until = Some(now + REST);
                return Turn::Probe;
            }
            None if state.is_in_doubt => return Turn::Leave,
            None => {}
        }
        match self.paths.get(path) {
            Some(rest) if now < rest.until => Turn::Leave,
            _ => Turn::Ask,
        }
    }

    /// Whether those who wait for a turn to ask it wait in vain.
    pub fn is_in_doubt_or_away(&self) -> bool {
        let state = self.state();
        state.is_in_doubt || state.away_until.is_some()
    }

    /// Why the store is away, if it is.
    pub fn trouble(&self) -> Option<String> {
        let state = self.state();
        state.away_until?;
        state.last.as_ref().map(|(_, reason)| reason.to_string())
    }

    /// The document to try a store with that is away, if it is time for that: where memory has all that readers ask for,
    /// none of them would find out that it is back. It is the one that failed last, because others may be well.
    pub fn to_be_tried(&self) -> Option<Box<str>> {
        let mut state = self.state();
        let now = Instant::now();
        state.away_until.filter(|until| *until <= now)?;
        state.away_until = Some(now + REST);
        state.last.as_ref().map(|(path, _)| path.clone())
    }

    /// Notes that the document at a path is being read, until what is returned is dropped; none if it still is.
    pub fn begin(&self, path: &str) -> Option<AtWork> {
        let mut all = self.at_work.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(path.into()).then(|| AtWork { all: Arc::clone(&self.at_work), path: path.into() })
    }

    /// Notes that the store gave a document. True if it was away.
    pub fn gave(&self, path: &str) -> bool {
        self.paths.invalidate(path);
        let mut state = self.state();
        state.failed.clear();
        state.is_in_doubt = false;
        state.away_until.take().is_some()
    }

    /// Notes that it failed to, and why; `is_general` if that says nothing about the document.
    pub fn failed(&self, path: &str, reason: &str, is_general: bool) -> Said {
        let before = self.paths.get(path).map_or(PATH_RESTS.0 / 2, |rest| rest.length);
        let length = (before * 2).min(PATH_RESTS.1);
        self.paths.insert(path.into(), PathRest { until: Instant::now() + length, length });
        let mut state = self.state();
        state.last = Some((path.into(), reason.into()));
        if state.away_until.is_some() {
            state.away_until = Some(Instant::now() + REST);
            return Said::Nothing;
        }
        if !state.failed.iter().any(|failed| **failed == *path) {
            state.failed.push(path.into());
        }
        if is_general || state.failed.len() >= ENOUGH {
            return state.leave();
        }
        let said = if state.is_in_doubt { Said::Nothing } else { Said::Doubt };
        state.is_in_doubt = true;
        said
    }

    /// Ends the doubt. True if the store is away from now on.
    pub fn settle(&self, is_there: bool) -> bool {
        let mut state = self.state();
        let was_in_doubt = std::mem::take(&mut state.is_in_doubt);
        was_in_doubt && !is_there && state.leave() == Said::Away
    }
}

impl State {
    fn leave(&mut self) -> Said {
        self.is_in_doubt = false;
        self.failed.clear();
        match self.away_until.replace(Instant::now() + REST) {
            Some(_) => Said::Nothing,
            None => Said::Away,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_document_is_left_alone_by_itself_and_for_longer_each_time() {
        let silence = Silence::default();
        for seconds in [2, 4, 8, 16, 30, 30] {
            assert_eq!((silence.turn("a"), silence.failed("a", "slow", false)), (Turn::Ask, Said::Doubt));
            assert_eq!(silence.turn("b"), Turn::Leave, "in doubt");
            assert!(!silence.settle(true));
            assert_eq!((silence.turn("a"), silence.turn("b")), (Turn::Leave, Turn::Ask));
            tokio::time::advance(Duration::from_millis(seconds * 1000 - 1)).await;
            assert_eq!(silence.turn("a"), Turn::Leave, "{seconds} seconds");
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        assert!(!silence.gave("a"));
        assert_eq!(silence.turn("a"), Turn::Ask);
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_is_away_is_waited_for_by_nobody_until_it_gives_something() {
        let away = |silence: &Silence| {
            assert_eq!((silence.turn("x"), silence.turn("y")), (Turn::Leave, Turn::Leave));
            tokio::time::advance(REST)
        };
        // A doubt that was justified, a failure that isn't the document's, and several in a row.
        for why in 0..3 {
            let silence = Silence::default();
            if why == 0 {
                assert_eq!(silence.failed("a", "slow", false), Said::Doubt);
                assert!(silence.settle(false));
            } else if why == 1 {
                assert_eq!(silence.failed("a", "slow", true), Said::Away);
            } else {
                for (path, said) in [("a", Said::Doubt), ("a", Said::Doubt), ("b", Said::Doubt), ("c", Said::Away)] {
                    assert_eq!(silence.failed(path, "slow", false), said);
                    assert!(!silence.settle(true));
                }
            }
            away(&silence).await;
            assert_eq!((silence.turn("x"), silence.turn("y")), (Turn::Probe, Turn::Leave), "one tries it");
            assert_eq!(silence.failed("x", "slow", false), Said::Nothing);
            away(&silence).await;
            assert_eq!(silence.turn("y"), Turn::Probe);
            assert_eq!((silence.to_be_tried(), silence.trouble()), (None, Some("slow".to_owned())), "one at a time");
            away(&silence).await;
            assert_eq!(silence.to_be_tried().as_deref(), Some("x"), "also where nobody asks for anything");
            assert_eq!((silence.turn("y"), silence.to_be_tried()), (Turn::Leave, None));
            assert!(silence.gave("y"));
            assert_eq!((silence.to_be_tried(), silence.trouble()), (None, None));
            assert_eq!((silence.turn("y"), silence.turn("z")), (Turn::Ask, Turn::Ask));
        }
    }

    #[tokio::test]
    async fn a_document_given_in_between_ends_doubts_and_rows() {
        let silence = Silence::default();
        for path in ["a", "b", "c", "d"] {
            assert_eq!(silence.failed(path, "slow", false), Said::Doubt);
            assert!(!silence.gave("z"));
            assert!(!silence.settle(false), "it was given something meanwhile");
        }
        let held = silence.begin("a").expect("nobody reads it");
        assert!(silence.begin("a").is_none() && silence.begin("b").is_some());
        drop(held);
        assert!(silence.begin("a").is_some());
    }
}
