//! When a schedule is due: civil times of its time zone become instants.
//!
//! On most days each civil time is one instant. Where a zone changes its offset, some come twice and some not at all, and
//! this is the rule:
//!
//! - A time that doesn't exist is due at the first instant after the gap; several of them are due once. So no day goes by
//!   without its run: `30 2 * * *` in New York runs at 03:00 on the second Sunday in March.
//! - A time that comes twice is due the first time only. If the hour field starts with `*`, it is due both times: such an
//!   expression is a rhythm (`*/20 * * * *`), which must not pause for an hour.
//! - Due times strictly increase.
//!
//! Cron on Debian does much the same, by another way: it watches the clock, runs what a jump of less than three hours has
//! skipped, and repeats nothing that has a fixed hour *and* a fixed minute.

use std::collections::VecDeque;

use chrono::{DateTime, MappedLocalTime, NaiveDateTime, Offset as _, TimeDelta, TimeZone as _, Utc};
use chrono_tz::Tz;

use super::crontab::Crontab;

/// No zone ever changed its offset by more than this; the largest jump, over the date line, was of a day.
const REACH: TimeDelta = TimeDelta::hours(26);

/// One due time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// The instant.
    pub at: DateTime<Utc>,
    /// The civil time that the expression names.
    pub civil: NaiveDateTime,
    /// How the two belong together.
    pub kind: Kind,
}

/// What a zone does with a civil time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It comes once.
    Usual,
    /// It doesn't come; this is the first instant after it.
    Gap,
    /// It comes twice, and this is the first time.
    First,
    /// This is the second time.
    Second,
}

impl Kind {
    /// What it means, behind the civil time; nothing for the usual.
    pub fn note(self, due: &DueTimes) -> &'static str {
        match self {
            Kind::Usual => "",
            Kind::Gap => "doesn't come, and is due right after the clocks went forward",
            Kind::First if due.crontab.is_every_hour() => "comes twice, and is due both times",
            Kind::First => "comes twice, and is due the first time only",
            Kind::Second => "comes twice, and this is the second time",
        }
    }
}

/// The due times of an expression in a zone.
#[derive(Debug, Clone)]
pub struct DueTimes {
    /// Which civil times.
    pub crontab: Crontab,
    /// Where.
    pub zone: Tz,
}

impl DueTimes {
    /// The first due time after an instant.
    pub fn after(&self, instant: DateTime<Utc>) -> Option<Due> {
        self.from(instant).next()
    }

    /// The due times after an instant, one after the other.
    pub fn from(&self, instant: DateTime<Utc>) -> impl Iterator<Item = Due> {
        let mut at = instant;
        let mut near: VecDeque<Due> = VecDeque::new();
        std::iter::from_fn(move || {
            loop {
                if let Some(due) = near.pop_front() {
                    return Some(due);
                }
                if self.offset(at - REACH) == self.offset(at + REACH) {
                    // No change is near, so that civil times come in the order of the instants.
                    let due = self.instants(self.crontab.after(self.civil(at))?).into_iter().flatten().next()?;
                    at = due.at;
                    return Some(due);
                }
                near = self.near(at).into();
                at += REACH;
            }
        })
    }

    /// The due times within the reach after an instant, where a change may have put them out of order. They are sorted
    /// once, because many of them may be near.
    fn near(&self, instant: DateTime<Utc>) -> Vec<Due> {
        let start = self.civil(instant);
        let civil = std::iter::successors(self.crontab.after(start - REACH), |civil| self.crontab.after(*civil));
        let civil = civil.take_while(|civil| *civil <= start + REACH * 2);
        let is_near = |due: &Due| instant < due.at && due.at <= instant + REACH;
        let mut near: Vec<Due> = civil.flat_map(|civil| self.instants(civil)).flatten().filter(is_near).collect();
        // Of several at one instant, the one that names it itself counts.
        near.sort_by_key(|due| (due.at, due.kind != Kind::Usual, due.civil));
        near.dedup_by_key(|due| due.at);
        near
    }

    /// The next due times, up to `until`, that don't come exactly once.
    pub fn unusual(&self, from: DateTime<Utc>, until: DateTime<Utc>) -> Vec<Due> {
        let mut found: Vec<Due> = Vec::new();
        let mut at = from;
        while at < until {
            let next = at + REACH;
            if self.offset(at) != self.offset(next) {
                let near = self.from(at - REACH).take_while(|due| due.at <= next + REACH && due.at <= until);
                let unusual = near.filter(|due| due.kind != Kind::Usual && due.at > from);
                found.extend(unusual.filter(|due| found.iter().all(|known| known.at != due.at)).collect::<Vec<_>>());
            }
            at = next;
        }
        found
    }

    /// An instant in the zone.
    pub fn local(&self, instant: DateTime<Utc>) -> DateTime<Tz> {
        instant.with_timezone(&self.zone)
    }

    /// What the clocks of the zone show.
    fn civil(&self, instant: DateTime<Utc>) -> NaiveDateTime {
        instant.with_timezone(&self.zone).naive_local()
    }

    fn offset(&self, instant: DateTime<Utc>) -> i32 {
        self.zone.offset_from_utc_datetime(&instant.naive_utc()).fix().local_minus_utc()
    }

    /// The instants at which a civil time is due, the earlier first.
    fn instants(&self, civil: NaiveDateTime) -> [Option<Due>; 2] {
        let due = |at: DateTime<Utc>, kind| Some(Due { at, civil, kind });
        match self.zone.from_local_datetime(&civil) {
            MappedLocalTime::Single(at) => [due(at.to_utc(), Kind::Usual), None],
            MappedLocalTime::Ambiguous(first, second) => {
                let second = self.crontab.is_every_hour().then(|| due(second.to_utc(), Kind::Second)).flatten();
                [due(first.to_utc(), Kind::First), second]
            }
            MappedLocalTime::None => [due(self.end_of_gap(civil), Kind::Gap), None],
        }
    }

    /// The first instant at which the clocks show more than a time that they leave out.
    fn end_of_gap(&self, civil: NaiveDateTime) -> DateTime<Utc> {
        let (mut before, mut after) = (civil.and_utc() - REACH, civil.and_utc() + REACH);
        while after - before > TimeDelta::seconds(1) {
            let middle = before + TimeDelta::seconds((after - before).num_seconds() / 2);
            match self.civil(middle) > civil {
                true => after = middle,
                false => before = middle,
            }
        }
        after
    }
}
