//! What was asked of a store, and what became of it: by kind of request, and never by name.
//!
//! A request counts as sent when it is begun, and with what came of it when it is over: an answer's status, or that there was
//! none, because the store kept silent or whoever had asked would wait no longer. A folder has no statuses, so it is
//! said whether the file was there.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::{Serialize, Serializer};

use super::StoreError;

/// Counters by kind of request.
#[derive(Debug, Default)]
pub struct Counters {
    pub puts: Counter,
    pub copies: Counter,
    pub deletes: Counter,
    pub gets: Counter,
    pub heads: Counter,
    pub lists: Counter,
}

/// Requests of a kind.
#[derive(Debug, Default)]
pub struct Counter {
    sent: AtomicU64,
    over: Mutex<BTreeMap<Status, u64>>,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// It was done.
    Done,
    /// A folder hasn't the file.
    Missing,
    /// An answer with this status that isn't success.
    Code(u16),
    /// A folder's error, or an answer of success that says otherwise or can't be read.
    Failed,
    /// No answer.
    Silent,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Status::Done => f.write_str("ok"),
            Status::Missing => f.write_str("missing"),
            Status::Code(code) => code.fmt(f),
            Status::Failed => f.write_str("failed"),
            Status::Silent => f.write_str("none"),
        }
    }
}

impl Serialize for Status {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Requests so far, those that were sent again included. On a directory a put is a file written, a copy a link, a get a
/// file read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Requests {
    /// Objects written.
    pub puts: u64,
    /// Stable paths pointed at another blob.
    pub copies: u64,
    /// Objects removed.
    pub deletes: u64,
    /// Objects read.
    pub gets: u64,
    /// Objects asked for their attributes only.
    pub heads: u64,
    /// Listings.
    pub lists: u64,
}

/// How many requests that are over ended how, by kind; kinds and statuses that didn't come up are left out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub struct Answers(pub BTreeMap<&'static str, BTreeMap<Status, u64>>);

impl Counters {
    /// How many were sent.
    pub fn sent(&self) -> Requests {
        let sent = |counter: &Counter| counter.sent.load(Ordering::Relaxed);
        Requests {
            puts: sent(&self.puts),
            copies: sent(&self.copies),
            deletes: sent(&self.deletes),
            gets: sent(&self.gets),
            heads: sent(&self.heads),
            lists: sent(&self.lists),
        }
    }

    /// What became of them.
    pub fn answers(&self) -> Answers {
        let kinds = [
            ("puts", &self.puts),
            ("copies", &self.copies),
            ("deletes", &self.deletes),
            ("gets", &self.gets),
            ("heads", &self.heads),
            ("lists", &self.lists),
        ];
        let over = |counter: &Counter| counter.over.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let kinds = kinds.into_iter().map(|(kind, counter)| (kind, over(counter)));
        Answers(kinds.filter(|(_, over)| !over.is_empty()).collect())
    }
}

impl Counter {
    /// Counts a request that is begun.
    pub fn ask(&self) -> Asked<'_> {
        self.sent.fetch_add(1, Ordering::Relaxed);
        Asked { counter: self, status: Status::Silent }
    }
}

/// A request that isn't over; dropped, it got no answer.
#[derive(Debug)]
pub struct Asked<'a> {
    counter: &'a Counter,
    status: Status,
}

impl Asked<'_> {
    /// It is over.
    pub fn ended(mut self, status: Status) {
        self.status = status;
    }

    /// It is over, and what came of it is passed on.
    pub fn done<T>(self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        self.ended(if result.is_ok() { Status::Done } else { Status::Failed });
        result
    }

    /// The same for what may not be there.
    pub fn found<T>(self, result: Result<Option<T>, StoreError>) -> Result<Option<T>, StoreError> {
        self.ended(match &result {
            Ok(Some(_)) => Status::Done,
            Ok(None) => Status::Missing,
            Err(_) => Status::Failed,
        });
        result
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        let mut over = self.counter.over.lock().unwrap_or_else(PoisonError::into_inner);
        *over.entry(self.status).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_request_is_counted_once_with_what_became_of_it() {
        let counters = Counters::default();
        let failure = || StoreError {
            action: "read",
            object: "x".to_owned(),
            reason: "y".to_owned(),
            hint: None,
            is_general: false,
        };
        assert!(counters.gets.ask().found(Ok(Some(1))).is_ok());
        assert!(counters.gets.ask().found::<()>(Ok(None)).is_ok());
        assert!(counters.gets.ask().found::<()>(Err(failure())).is_err());
        assert!(counters.puts.ask().done(Ok(())).is_ok());
        assert!(counters.puts.ask().done::<()>(Err(failure())).is_err());
        counters.puts.ask().ended(Status::Code(503));
        drop(counters.puts.ask());
        let under_way = counters.heads.ask();
        assert_eq!(counters.sent(), Requests { gets: 3, puts: 4, heads: 1, ..Requests::default() });
        let over = json!({
            "gets": { "ok": 1, "missing": 1, "failed": 1 },
            "puts": { "ok": 1, "failed": 1, "503": 1, "none": 1 },
        });
        assert_eq!(serde_json::to_value(counters.answers()).unwrap(), over);
        drop(under_way);
    }
}
