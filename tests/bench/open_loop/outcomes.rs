//! What became of the requests: counted by all connections at once, and told at the end.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::histogram::{Histogram, Summary};

/// The answers that a reader can do something with; all others, and none, are told apart.
const EXPECTED: [u16; 4] = [200, 304, 429, 503];
const KINDS: [&str; 6] = ["200", "304", "429", "503", "other", "lost"];
/// Where those of none of these statuses are counted.
const OTHER: usize = 4;
/// Where those without an answer are counted.
const LOST: usize = 5;

/// Why a request got no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lost {
    /// No connection could be had.
    Connect,
    /// The connection ended before the answer did, or it was none.
    Closed,
    /// The answer took longer than `--timeout`.
    Timeout,
    /// It was due, and until the end an earlier one was in its way.
    Unsent,
}

impl Lost {
    fn name(self) -> &'static str {
        match self {
            Lost::Connect => "connect",
            Lost::Closed => "closed",
            Lost::Timeout => "timeout",
            Lost::Unsent => "unsent",
        }
    }
}

/// A whole answer.
pub struct Answer {
    pub status: u16,
    /// Whether it says in how many seconds to come back.
    pub says_when: bool,
    pub bytes: u64,
}

/// How long it took to be answered, or to be given up.
#[derive(Debug, Clone, Copy)]
pub struct Took {
    /// Since the request was due: what a reader has waited.
    pub since_due: Duration,
    /// Since it was sent: what the server took for it.
    pub since_sent: Duration,
}

/// The counts.
#[derive(Default)]
pub struct Outcomes {
    since_due: [Histogram; KINDS.len()],
    since_sent: [Histogram; KINDS.len()],
    own_delay: Histogram,
    statuses: Mutex<BTreeMap<u16, u64>>,
    lost: Mutex<BTreeMap<Lost, u64>>,
    without_retry_after: AtomicU64,
    bytes: AtomicU64,
    reconnects: AtomicU64,
}

impl Outcomes {
    /// Counts an answer.
    pub fn answered(&self, answer: &Answer, took: Took) {
        let kind = EXPECTED.iter().position(|status| *status == answer.status).unwrap_or(OTHER);
        self.count(kind, took);
        *self.statuses.lock().unwrap_or_else(PoisonError::into_inner).entry(answer.status).or_default() += 1;
        self.bytes.fetch_add(answer.bytes, Ordering::Relaxed);
        if answer.status == 503 && !answer.says_when {
            self.without_retry_after.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts one that got none, with the time for which it was waited for.
    pub fn lost(&self, why: Lost, waited: Took) {
        self.count(LOST, waited);
        *self.lost.lock().unwrap_or_else(PoisonError::into_inner).entry(why).or_default() += 1;
    }

    fn count(&self, kind: usize, took: Took) {
        self.since_due[kind].count(took.since_due);
        self.since_sent[kind].count(took.since_sent);
    }

    /// Counts how late a request was sent that nothing but this program held up.
    pub fn sent(&self, delay: Duration) {
        self.own_delay.count(delay);
    }

    /// Counts a connection that took the place of one that had ended.
    pub fn reconnected(&self) {
        self.reconnects.fetch_add(1, Ordering::Relaxed);
    }

    /// All of it.
    pub fn report(&self, seconds: f64) -> Report {
        let lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        Report {
            seconds,
            since_due: Latencies::of(&self.since_due),
            since_sent: Latencies::of(&self.since_sent),
            statuses: self.statuses.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            lost: lost.iter().map(|(why, count)| (why.name(), *count)).collect(),
            without_retry_after: self.without_retry_after.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            reconnects: self.reconnects.load(Ordering::Relaxed),
            own_delay: self.own_delay.summary(),
        }
    }
}

/// Latencies in milliseconds.
pub struct Latencies {
    /// Of all requests, those that got no answer included.
    pub all: Summary,
    /// The same by `KINDS`, those that there were.
    pub kinds: Vec<(&'static str, Summary)>,
}

impl Latencies {
    fn of(kinds: &[Histogram; KINDS.len()]) -> Latencies {
        let all = Histogram::default();
        for kind in kinds {
            all.add(kind);
        }
        let kinds = KINDS.iter().zip(kinds).map(|(name, kind)| (*name, kind.summary()));
        Latencies { all: all.summary(), kinds: kinds.filter(|(_, kind)| kind.count > 0).collect() }
    }

    fn json(&self) -> Value {
        let mut all: Map<String, Value> =
            self.kinds.iter().map(|(name, kind)| ((*name).to_owned(), summary(kind))).collect();
        all.insert("all".to_owned(), summary(&self.all));
        Value::Object(all)
    }
}

/// What is told.
pub struct Report {
    /// From the first request that was due to the last answer.
    pub seconds: f64,
    /// What readers have waited.
    pub since_due: Latencies,
    /// What the server took.
    pub since_sent: Latencies,
    pub statuses: BTreeMap<u16, u64>,
    pub lost: BTreeMap<&'static str, u64>,
    /// 503s that don't say when to come back.
    pub without_retry_after: u64,
    /// Of bodies, as they were sent.
    pub bytes: u64,
    pub reconnects: u64,
    pub own_delay: Summary,
}

impl Report {
    /// Answers that are none of `EXPECTED`, and requests without one.
    pub fn unexpected(&self) -> u64 {
        let is_one = |(name, _): &&(&str, Summary)| ["other", "lost"].contains(name);
        self.since_due.kinds.iter().filter(is_one).map(|(_, kind)| kind.count).sum()
    }

    /// As one line for programs.
    pub fn json(&self) -> Value {
        let statuses: Map<String, Value> =
            self.statuses.iter().map(|(status, count)| (status.to_string(), json!(count))).collect();
        json!({
            "requests": self.since_due.all.count,
            "seconds": self.seconds,
            "statuses": statuses,
            "lost": self.lost,
            "unexpected": self.unexpected(),
            "without_retry_after": self.without_retry_after,
            "since_due_ms": self.since_due.json(),
            "since_sent_ms": self.since_sent.json(),
            "longest_ms": self.since_due.all.longest,
            "own_delay_ms": summary(&self.own_delay),
            "reconnects": self.reconnects,
            "bytes": self.bytes,
        })
    }

    /// As a few lines for people.
    pub fn text(&self) -> String {
        let mut text =
            format!("{} requests in {:.1} s, {} bytes\n", self.since_due.all.count, self.seconds, self.bytes);
        let line = |text: &mut String, name: &str, found: &Summary| {
            let Summary { count, p50, p95, p99, longest } = found;
            let _ = writeln!(
                text,
                "{name:>10} {count:>9}   p50 {p50:.1}   p95 {p95:.1}   p99 {p99:.1}   longest {longest:.1} ms"
            );
        };
        for (title, latencies) in [("since due", &self.since_due), ("since sent", &self.since_sent)] {
            line(&mut text, title, &latencies.all);
            latencies.kinds.iter().for_each(|(name, kind)| line(&mut text, name, kind));
        }
        line(&mut text, "own delay", &self.own_delay);
        let _ = writeln!(
            text,
            "statuses {:?}, lost {:?}, {} of 503 without Retry-After, {} reconnects",
            self.statuses, self.lost, self.without_retry_after, self.reconnects
        );
        text
    }
}

fn summary(of: &Summary) -> Value {
    json!({ "count": of.count, "p50": of.p50, "p95": of.p95, "p99": of.p99, "longest": of.longest })
}
