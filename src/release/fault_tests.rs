//! The proof of the publish protocol: whatever happens to whichever request, the site heals by itself, and readers never
//! notice.
//!
//! The product's own publish, republish, rollback and prune run here, over a store that does what a script says and a
//! database that is a few letters. A *case* lets something happen to one request of one run (`cases`), after a past and
//! before a next run, with data that comes back to what it was. Then everything comes to rest, the site recovers, two
//! clean nights pass over unchanged data, and the `judge` goes through everything that has happened. Time is simulated, so that a case of
//! several days takes a millisecond.
//!
//! A proof that can't fail is none: `variants` takes one safeguard of the protocol out at a time, and each time some
//! promise is found broken.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::num::NonZero;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::runtime::Builder;

mod actors;
mod cases;
mod data;
mod judge;
mod plan;
mod random;
mod rest;
mod trace;
mod variants;

pub use variants::{activate_too_early, difference_of_the_ends};

use actors::{Actor, Site, locked};
use cases::{Case, HISTORIES};
use judge::{Promise, Violation, judge};
use plan::{Stage, Step};

use super::broken::{Safeguard, without};

/// The seed of the random plans, and how many there are.
const SEED: u64 = 20_261_121;
const CHANCES: u64 = 6_000;
/// As many requests as the run after a disturbed one sends, or a few more.
const NEXT_REQUESTS: usize = 24;

/// What a thread needs to play cases: the sites with their pasts, prepared once.
struct Theatre {
    sites: Vec<Site>,
}

impl Theatre {
    async fn open() -> Theatre {
        let mut sites = Vec::new();
        for history in HISTORIES {
            let mut stage = Stage::new(Site::new("---"));
            stage.play(history.past).await;
            assert!(!stage.hangs, "{}", history.name);
            locked(&stage.site.world).keep();
            sites.push(Site::clone(&stage.site));
        }
        Theatre { sites }
    }

    /// How many requests a run sends to which nothing happens.
    async fn requests(&self, history: usize, actor: Actor) -> usize {
        let mut stage = Stage::new(self.sites[history].clone());
        stage.play(&[Step::Data(HISTORIES[history].seen), Step::Run(actor)]).await;
        stage.sent[0]
    }

    /// Plays a case to its end; what it broke, if anything.
    async fn play(&self, case: Case) -> Option<Broken> {
        let mut stage = Stage::new(self.sites[case.history].clone());
        stage.play(&case.steps).await;
        stage.settle().await;
        let violations = judge(&stage.site, stage.hangs).await;
        let trace = || trace::trace(&locked(&stage.site.world));
        (!violations.is_empty()).then(|| Broken { trace: trace(), case, violations })
    }
}

/// Runs something with simulated time.
fn simulated<T>(future: impl Future<Output = T>) -> T {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(future)
}

/// A case that broke promises.
struct Broken {
    case: Case,
    violations: Vec<Violation>,
    /// What happened, event by event.
    trace: String,
}

/// What came of many cases.
#[derive(Default)]
struct Outcome {
    /// How many there were of each kind.
    played: BTreeMap<&'static str, usize>,
    /// Those that broke a promise.
    broken: Vec<Broken>,
}

/// Plays the cases of every part on every core, with one safeguard out if that is to be shown, until there are enough
/// violations of a promise.
fn play_all(parts: &[Part], out: Option<(Safeguard, Promise)>) -> Outcome {
    let next = AtomicUsize::new(0);
    let outcome = Mutex::new(Outcome::default());
    let work = async || {
        let _guard = without(out.map(|(safeguard, _)| safeguard));
        let theatre = Theatre::open().await;
        while let Some(part) = parts.get(next.fetch_add(1, Ordering::Relaxed)) {
            for case in part.cases() {
                let kind = case.kind;
                let broken = theatre.play(case).await;
                let mut outcome = locked(&outcome);
                *outcome.played.entry(kind).or_insert(0) += 1;
                if out.is_some_and(|(_, promise)| broken.as_ref().is_some_and(|broken| broken.breaks(promise))) {
                    next.store(parts.len(), Ordering::Relaxed);
                }
                outcome.broken.extend(broken);
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    std::thread::scope(|scope| {
        (0..threads).for_each(|_| drop(scope.spawn(|| simulated(work()))));
    });
    outcome.into_inner().unwrap_or_default()
}

/// A part of the work.
#[derive(Debug, Clone, Copy)]
enum Part {
    /// Everything that can happen to one request of a run, by the place of the history among [`HISTORIES`].
    Request(usize, Actor, usize),
    /// What that leaves behind, and one request of the next run.
    Next(usize, Actor, usize, usize),
    /// A plan of chance.
    Random(u64),
}

impl Broken {
    fn breaks(&self, promise: Promise) -> bool {
        self.violations.iter().any(|violation| violation.promise == promise)
    }
}

impl Part {
    fn cases(self) -> Vec<Case> {
        match self {
            Part::Request(history, main, request) => cases::of_request(history, main, request),
            Part::Next(history, main, request, next) => cases::of_next(history, main, request, next),
            Part::Random(seed) => vec![random::case(seed)],
        }
    }
}

/// Every request of every kind of run.
fn requests() -> Vec<(usize, Actor, usize)> {
    simulated(async {
        let theatre = Theatre::open().await;
        let mut found = Vec::new();
        for (at, history) in HISTORIES.iter().enumerate() {
            for main in history.mains() {
                let requests = theatre.requests(at, main).await;
                found.extend((0..requests).map(|request| (at, main, request)));
            }
        }
        found
    })
}

/// Says it even if the test passes: how much was tried is part of the proof.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Plays cases that are all to end well.
fn all_is_well(parts: &[Part]) {
    let started = std::time::Instant::now();
    let Outcome { played, broken } = play_all(parts, None);
    say(&format!("{} cases in {:.0?}: {played:#?}", played.values().sum::<usize>(), started.elapsed()));
    assert!(broken.is_empty(), "{}", told(broken));
}

#[test]
fn whatever_happens_to_a_request_heals() {
    // All of them are some thirty thousand cases; which requests are left out moves on from kind to kind of run.
    let every = if std::env::var_os("FAULT_ALL").is_some() { 1 } else { 4 };
    let part = |(history, main, request)| Part::Request(history, main, request);
    all_is_well(&requests().into_iter().step_by(every).map(part).collect::<Vec<_>>());
}

#[test]
fn what_is_left_behind_harms_no_request_of_the_next_run() {
    // Every pair would be too many; with a step that shares no factor with the numbers of requests, all kinds meet.
    let pairs = requests().into_iter().enumerate();
    let part = |(at, (history, main, request)): (usize, (usize, Actor, usize))| {
        Part::Next(history, main, request, at * 7 % NEXT_REQUESTS)
    };
    all_is_well(&pairs.map(part).collect::<Vec<_>>());
}

#[test]
fn chance_breaks_nothing() {
    let seed = std::env::var("FAULT_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(SEED);
    say(&format!("seed {seed}; FAULT_SEED=… takes another"));
    all_is_well(&(0..CHANCES).map(|number| Part::Random(seed + number)).collect::<Vec<_>>());
}

/// How often each promise was broken, and the shortest story of each.
fn told(mut broken: Vec<Broken>) -> String {
    broken.sort_by_key(|broken| broken.trace.len());
    let mut promises: BTreeMap<Promise, BTreeMap<&str, usize>> = BTreeMap::new();
    let mut stories = String::new();
    for Broken { case, violations, trace } in &broken {
        for Violation { promise, what } in violations {
            let kinds = promises.entry(*promise).or_default();
            if kinds.is_empty() {
                stories.push_str(&format!("\n{promise:?} is broken: {what}\n{case:?}\n{trace}"));
            }
            *kinds.entry(case.kind).or_default() += 1;
        }
    }
    format!("{} cases broke promises: {promises:#?}\n{stories}", broken.len())
}
