//! Cases: every request of every kind of run, times everything that can happen to it, over data that comes back to what
//! it was. Without that nearly every hole heals by luck.

use super::actors::Actor;
use super::data::Data;
use super::plan::{HOUR, LEASE_OVER, LEASE_SOON_OVER, Step, WEEKS};
use crate::store::{Fault, Place};

/// A past, and what the database holds at each later moment.
#[derive(Debug, Clone, Copy)]
pub struct History {
    pub name: &'static str,
    /// What has happened on the site so far.
    pub past: &'static [Step],
    /// What the run sees that something happens to.
    pub seen: Data,
    /// What those see who act while it is stopped.
    pub meanwhile: Data,
    /// What everybody sees who comes later.
    pub after: Data,
}

use Actor::{Editor, Guarded, Nightly, Prune, Resume, Rollback};
use Step::{Begin, Deliver, Interrupt, Kill, Pass, Run, Rush, Wake, WakeBeside};

const fn half(actor: Actor) -> Step {
    // The first document is shown, and the process dies before the second.
    Begin(actor, Place::Show(1), Fault::StopBefore)
}

/// The histories. Every key comes back to a value that it had, or goes and comes back, or comes and goes again.
pub const HISTORIES: &[History] = &[
    History { name: "first", past: &[], seen: "AB-", meanwhile: "BB-", after: "-BA" },
    History { name: "revert", past: &[Step::Data("AAA"), Run(Nightly)], seen: "BAB", meanwhile: "AAA", after: "AAA" },
    History {
        name: "there and back",
        past: &[Step::Data("AA-"), Run(Nightly), Step::Data("BB-"), Run(Nightly)],
        seen: "AB-",
        meanwhile: "BB-",
        after: "BA-",
    },
    History { name: "gone", past: &[Step::Data("AAB"), Run(Nightly)], seen: "-AB", meanwhile: "AAB", after: "AAB" },
    History {
        name: "deleted meanwhile",
        past: &[Step::Data("AAA"), Run(Nightly)],
        seen: "BAB",
        meanwhile: "-AB",
        after: "BAA",
    },
    History { name: "come", past: &[Step::Data("-A-"), Run(Nightly)], seen: "BAB", meanwhile: "-A-", after: "-A-" },
    History {
        name: "unchanged",
        past: &[Step::Data("AB-"), Run(Nightly)],
        seen: "AB-",
        meanwhile: "BB-",
        after: "AB-",
    },
    History {
        name: "half",
        past: &[Step::Data("AA-"), Run(Nightly), Step::Data("BBA"), half(Nightly), Kill(1), Pass(LEASE_SOON_OVER)],
        seen: "AA-",
        meanwhile: "BBA",
        after: "AB-",
    },
    History {
        name: "half, long ago",
        past: &[Step::Data("ABA"), Run(Nightly), Step::Data("BA-"), half(Nightly), Kill(1), Pass(LEASE_OVER)],
        seen: "BAA",
        meanwhile: "ABA",
        after: "ABA",
    },
    History {
        name: "in doubt",
        past: &[
            Step::Data("AAA"),
            Run(Nightly),
            Step::Data("BBB"),
            Begin(Nightly, Place::Show(0), Fault::Twice),
            Step::Data("AAA"),
            Run(Nightly),
            Deliver,
            Pass(HOUR),
        ],
        seen: "ABA",
        meanwhile: "AAA",
        after: "BAA",
    },
    History {
        name: "old",
        past: &[
            Step::Data("AAA"),
            Run(Nightly),
            Pass(WEEKS),
            Step::Data("BAB"),
            Run(Nightly),
            Pass(WEEKS),
            Step::Data("ABA"),
            Run(Nightly),
        ],
        seen: "AAB",
        meanwhile: "BAB",
        after: "BAA",
    },
    History {
        name: "edited",
        past: &[Step::Data("AAA"), Run(Nightly), Step::Data("B-A"), Run(Editor)],
        seen: "A-A",
        meanwhile: "B-A",
        after: "AAA",
    },
    History {
        name: "rolled back",
        past: &[Step::Data("AA-"), Run(Nightly), Step::Data("BAB"), Run(Nightly), Run(Rollback)],
        seen: "BAB",
        meanwhile: "AA-",
        after: "AA-",
    },
];

impl History {
    /// Who something happens to.
    pub fn mains(&self) -> Vec<Actor> {
        let last = self.past.iter().rev().find_map(|step| if let Step::Data(data) = step { Some(*data) } else { None });
        let is_gone = |(before, after): (char, char)| before != '-' && after == '-';
        let removes = last.is_some_and(|last| last.chars().zip(self.seen.chars()).any(is_gone));
        // Where nothing is removed its guard refuses nothing.
        [Nightly, Editor, Rollback, Resume, Prune].into_iter().chain(removes.then_some(Guarded)).collect()
    }
}

/// Who comes in between.
const OTHERS: [Actor; 4] = [Nightly, Editor, Rollback, Prune];

/// A plan on top of a past, by its kind of fault.
#[derive(Debug, Clone)]
pub struct Case {
    pub kind: &'static str,
    /// Its place among [`HISTORIES`].
    pub history: usize,
    pub steps: Vec<Step>,
}

/// Everything that can happen to one request, with a next run behind it that sees other data.
pub fn of_request(history: usize, main: Actor, number: usize) -> Vec<Case> {
    let History { seen, meanwhile, after, .. } = HISTORIES[history];
    let mut cases = Vec::new();
    let mut add = |kind, place, fault, then: &[Step]| {
        let mut steps = vec![Step::Data(seen), Begin(main, place, fault)];
        steps.extend(then);
        steps.extend([Step::Data(after), Run(Nightly), Deliver]);
        cases.push(Case { kind, history, steps });
    };
    let (here, from_here) = (Place::Request(number), Place::WritesFrom(number));
    add("crash before", here, Fault::StopBefore, &[Kill(0)]);
    add("crash after", here, Fault::StopAfter, &[Kill(0)]);
    add("lost request", here, Fault::Lost, &[]);
    add("lost answer", here, Fault::Unheard, &[]);
    add("delivered after the next publish", here, Fault::Late, &[]);
    add("delivered before the next publish", here, Fault::Late, &[Deliver]);
    add("delivered twice", here, Fault::Twice, &[]);
    add("503", here, Fault::Unavailable, &[]);
    add("429", here, Fault::Throttled, &[]);
    add("403", here, Fault::Forbidden, &[]);
    add("Ctrl-C", here, Fault::StopBefore, &[Interrupt(0)]);
    for fault in [Fault::Lost, Fault::Unheard, Fault::Late] {
        add("no answer to any write from there on", from_here, fault, &[]);
    }
    add("no answer to any write from there on, and then they arrive", from_here, Fault::Late, &[Deliver]);
    for fault in [Fault::StopBefore, Fault::StopAfter] {
        add("delayed past the lease", here, fault, &[Pass(LEASE_OVER), Wake(0)]);
        // Whether the request was carried out before matters less than who comes in between.
        let others = if fault == Fault::StopBefore { &OTHERS[..] } else { &OTHERS[number % OTHERS.len()..][..1] };
        for &other in others {
            let meanwhile = Step::Data(meanwhile);
            add(
                "delayed past the lease, others at work",
                here,
                fault,
                &[meanwhile, Pass(LEASE_OVER), Run(other), Wake(0)],
            );
            add("another starts there and ends first", here, fault, &[meanwhile, Rush(other), Wake(0)]);
        }
    }
    for other in OTHERS {
        add("another starts there", here, Fault::StopBefore, &[Step::Data(meanwhile), WakeBeside(0, other)]);
    }
    cases
}

/// The kinds of fault after which something is left in the network, or half a release on the stable paths.
const LEFTOVERS: [(&str, Fault); 4] = [
    ("crash, and the next one dies as well", Fault::StopBefore),
    ("crash after, and the next one dies as well", Fault::StopAfter),
    ("delivered in the middle of the next publish", Fault::Late),
    ("delivered again in the middle of the next publish", Fault::Twice),
];

/// What something that happened to one request does to one of the next run.
pub fn of_next(history: usize, main: Actor, number: usize, next: usize) -> Vec<Case> {
    let History { seen, after, .. } = HISTORIES[history];
    let leftover = |(kind, fault): (&'static str, Fault)| {
        let next = Begin(Nightly, Place::Request(next), Fault::StopBefore);
        let mut steps = vec![Step::Data(seen), Begin(main, Place::Request(number), fault)];
        match fault {
            Fault::StopBefore | Fault::StopAfter => steps.extend([Kill(0), Step::Data(after), next, Kill(1)]),
            _ => steps.extend([Step::Data(after), next, Deliver, Wake(1)]),
        }
        Case { kind, history, steps }
    };
    LEFTOVERS.into_iter().map(leftover).collect()
}
