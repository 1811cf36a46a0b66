//! Doubt of the fallback table: what it was seen not to have, though it is published.
//!
//! A look at the table costs a lease. Who finds there what the store couldn't give costs the database little, so that
//! isn't counted; but one who asks for what isn't there could go on for ever. A document that was missed is counted for a
//! while, and if several are, or if the table shows another release, all of them are.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long it lasts.
const LENGTH: Duration = Duration::from_secs(5);
/// Documents that may be missing before all may be.
const FEW: usize = 8;

/// The doubt.
#[derive(Debug, Default)]
pub struct Doubt(Mutex<Missed>);

#[derive(Debug, Default)]
struct Missed {
    paths: HashSet<String>,
    are_all: bool,
    until: Option<Instant>,
}

impl Doubt {
    /// Says whether the table may not have a document.
    pub fn is_of(&self, path: &str) -> bool {
        let missed = self.missed();
        missed.until.is_some() && (missed.are_all || missed.paths.contains(path))
    }

    /// It hasn't this one.
    pub fn of(&self, path: &str) {
        let mut missed = self.missed();
        missed.until = Some(Instant::now() + LENGTH);
        if missed.are_all || missed.paths.contains(path) {
            return;
        }
        missed.are_all = missed.paths.len() >= FEW;
        if !missed.are_all {
            missed.paths.insert(path.to_owned());
        }
    }

    /// It isn't of this release.
    pub fn of_all(&self) {
        let mut missed = self.missed();
        missed.until = Some(Instant::now() + LENGTH);
        missed.are_all = true;
    }

    /// It shows another one by now.
    pub fn end(&self) {
        *self.missed() = Missed::default();
    }

    fn missed(&self) -> MutexGuard<'_, Missed> {
        let mut missed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if missed.until.is_some_and(|until| until <= Instant::now()) {
            *missed = Missed::default();
        }
        missed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_is_missing_says_nothing_of_the_others_and_several_do() {
        let doubt = Doubt::default();
        assert!(!doubt.is_of("a"));
        for n in 0..FEW {
            doubt.of(&n.to_string());
            doubt.of("0");
        }
        assert_eq!((doubt.is_of("0"), doubt.is_of("7"), doubt.is_of("a")), (true, true, false));
        doubt.of("8");
        assert_eq!((doubt.is_of("0"), doubt.is_of("8"), doubt.is_of("a")), (true, true, true));
        doubt.missed().until = Some(Instant::now());
        assert_eq!((doubt.is_of("0"), doubt.is_of("a")), (false, false), "it is over");
        doubt.of_all();
        assert!(doubt.is_of("a"));
        doubt.end();
        assert!(!doubt.is_of("a"));
    }
}
