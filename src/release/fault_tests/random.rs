//! Random plans: several processes, several faults, in whatever order. What nobody has thought of is in here, if
//! anywhere; the cases that have a name are easier to understand.

use super::actors::Actor;
use super::cases::{Case, HISTORIES};
use super::data::Data;
use super::plan::{DAY, HOUR, LEASE_OVER, Step, WEEKS};
use crate::store::{Fault, Place};

/// Numbers that look random and are the same for the same seed (`SplitMix64`).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap_or(0)
    }

    fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

const DATA: [Data; 7] = ["AAA", "BAA", "BBA", "-AA", "AB-", "A-B", "--B"];
const ACTORS: [Actor; 10] = [
    Actor::Nightly,
    Actor::Nightly,
    Actor::Nightly,
    Actor::Guarded,
    Actor::Staged,
    Actor::Editor,
    Actor::Rollback,
    Actor::Hold,
    Actor::Resume,
    Actor::Prune,
];
const FAULTS: [Fault; 13] = [
    Fault::StopBefore,
    Fault::StopBefore,
    Fault::StopBefore,
    Fault::StopAfter,
    Fault::StopAfter,
    Fault::Lost,
    Fault::Unheard,
    Fault::Late,
    Fault::Late,
    Fault::Twice,
    Fault::Unavailable,
    Fault::Throttled,
    Fault::Forbidden,
];
/// More requests than most runs send.
const REQUESTS: usize = 24;
/// More paths than most runs change.
const SHOWS: usize = 5;

/// The plan of a seed.
pub fn case(seed: u64) -> Case {
    let mut random = Random(seed);
    let history = random.below(HISTORIES.len());
    let mut steps = vec![Step::Data(HISTORIES[history].seen)];
    let mut begun = 0;
    for _ in 0..4 + random.below(8) {
        let process = random.below(begun + 1);
        let step = match random.below(16) {
            0..=4 => Step::Begin(random.one(&ACTORS), place(&mut random), random.one(&FAULTS)),
            5 => Step::Run(random.one(&ACTORS)),
            6..=8 => Step::Wake(process),
            9 => Step::WakeBeside(process, random.one(&ACTORS)),
            10 => Step::Interrupt(process),
            11 | 12 => Step::Data(random.one(&DATA)),
            13 => Step::Pass(random.one(&[LEASE_OVER, LEASE_OVER, HOUR, DAY, WEEKS])),
            _ => Step::Deliver,
        };
        begun += usize::from(matches!(step, Step::Begin(..) | Step::Run(_) | Step::WakeBeside(..)));
        steps.push(step);
    }
    Case { kind: "random", history, steps }
}

fn place(random: &mut Random) -> Place {
    match random.below(8) {
        0 => Place::WritesFrom(random.below(REQUESTS)),
        1..=3 => Place::Show(random.below(SHOWS)),
        _ => Place::Request(random.below(REQUESTS)),
    }
}
