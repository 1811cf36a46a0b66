//! Figures of serving: counted on the way of every request, and written for Prometheus.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use hyper::StatusCode;

use super::answer::{Answer, Source};

/// Why a request wasn't answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shed {
    /// Every lease is out, and enough others wait for one.
    Busy,
    /// The database can't be reached.
    Down,
    /// The statement or the whole answer took too long.
    Slow,
    /// The statement failed.
    Failed,
    /// The store can't be reached, and there is nothing behind it.
    Store,
    /// Which keys are valid isn't known yet.
    Unsettled,
    /// Readers who are still being sent large documents hold as many bytes as there may be.
    Memory,
}

impl Shed {
    const ALL: [Shed; 7] =
        [Shed::Busy, Shed::Down, Shed::Slow, Shed::Failed, Shed::Store, Shed::Unsettled, Shed::Memory];

    /// In a word.
    pub fn name(self) -> &'static str {
        match self {
            Shed::Busy => "busy",
            Shed::Down => "down",
            Shed::Slow => "slow",
            Shed::Failed => "failed",
            Shed::Store => "store",
            Shed::Unsettled => "unsettled",
            Shed::Memory => "memory",
        }
    }
}

impl Source {
    const ALL: [Source; 5] = [Source::Memory, Source::Store, Source::Table, Source::Live, Source::Stale];

    /// In a word, as `X-Tintype-Source` says it.
    pub fn name(self) -> &'static str {
        match self {
            Source::Memory => "memory",
            Source::Store => "store",
            Source::Table => "table",
            Source::Live => "live",
            Source::Stale => "stale",
        }
    }
}

/// Upper bounds of the histogram of answers, in seconds.
const BOUNDS: [f64; 10] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];

/// What was answered since the start.
#[derive(Debug, Default)]
pub struct Figures {
    /// Documents by source: sent whole, and as 304.
    documents: [[AtomicU64; 2]; Source::ALL.len()],
    unknown: AtomicU64,
    limited: AtomicU64,
    shed: [AtomicU64; Shed::ALL.len()],
    /// Requests that don't say for whom they are.
    unaddressed: AtomicU64,
    /// Requests by methods that documents don't know.
    other_methods: AtomicU64,
    /// Questions of browsers whether a page may ask.
    preflights: AtomicU64,
    seconds: [AtomicU64; BOUNDS.len() + 1],
    micros: AtomicU64,
}

impl Figures {
    /// Counts an answer that took since `begun`.
    pub fn count(&self, answer: &Answer, is_not_modified: bool, begun: Instant) {
        let counter = match answer {
            Answer::Document(_, source) => &self.documents[*source as usize][usize::from(is_not_modified)],
            Answer::Unknown => &self.unknown,
            Answer::Limited(_) => &self.limited,
            Answer::Unavailable { why, .. } => &self.shed[*why as usize],
        };
        counter.fetch_add(1, Ordering::Relaxed);
        let took = begun.elapsed();
        let bucket = BOUNDS.iter().position(|bound| took.as_secs_f64() <= *bound).unwrap_or(BOUNDS.len());
        self.seconds[bucket].fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Counts a request for no document, by how it is answered.
    pub fn count_other(&self, status: StatusCode) {
        let counter = match status {
            StatusCode::METHOD_NOT_ALLOWED => &self.other_methods,
            StatusCode::NO_CONTENT => &self.preflights,
            _ => &self.unaddressed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Writes them in Prometheus's text format.
    pub fn write(&self, text: &mut String) {
        let name = "tintype_fallback_requests_total";
        let _ =
            writeln!(text, "# HELP {name} Requests answered, by where the answer came from.\n# TYPE {name} counter");
        let mut sample = |source: &str, code: u16, counter: &AtomicU64| {
            let count = counter.load(Ordering::Relaxed);
            let _ = writeln!(text, "{name}{{source=\"{source}\",code=\"{code}\"}} {count}");
        };
        for source in Source::ALL {
            let [whole, not_modified] = &self.documents[source as usize];
            sample(source.name(), 200, whole);
            sample(source.name(), 304, not_modified);
        }
        sample("none", 404, &self.unknown);
        sample("none", 429, &self.limited);
        let shed = AtomicU64::new(self.shed.iter().map(|count| count.load(Ordering::Relaxed)).sum());
        sample("none", 503, &shed);
        sample("none", 204, &self.preflights);
        sample("none", 400, &self.unaddressed);
        sample("none", 405, &self.other_methods);
        let name = "tintype_fallback_shed_total";
        let _ = writeln!(text, "# HELP {name} Requests that nobody could answer, by reason.\n# TYPE {name} counter");
        for why in Shed::ALL {
            let count = self.shed[why as usize].load(Ordering::Relaxed);
            let _ = writeln!(text, "{name}{{reason=\"{}\"}} {count}", why.name());
        }
        self.write_seconds(text);
    }

    fn write_seconds(&self, text: &mut String) {
        let name = "tintype_fallback_request_seconds";
        let _ = writeln!(text, "# HELP {name} Time from a request to its answer.\n# TYPE {name} histogram");
        let mut count = 0;
        for (bound, bucket) in BOUNDS.iter().map(ToString::to_string).chain(["+Inf".to_owned()]).zip(&self.seconds) {
            count += bucket.load(Ordering::Relaxed);
            let _ = writeln!(text, "{name}_bucket{{le=\"{bound}\"}} {count}");
        }
        let sum = self.micros.load(Ordering::Relaxed) as f64 / 1e6;
        let _ = writeln!(text, "{name}_sum {sum}\n{name}_count {count}");
    }
}
