//! Five fields of a crontab, read as vixie cron reads them.
//!
//! Minute, hour, day of the month, month, day of the week; numbers, the first three letters of a month or a day, ranges
//! `a-b`, lists, steps behind `*` or a range, Sunday as 0 or 7, and `@daily` and the like. Names may stand in ranges and
//! lists too, which the manual doesn't promise and every cron does.
//!
//! If neither of the two day fields starts with `*`, a day matches when *one* of them does; otherwise both have to. It
//! is the first character that counts, so `*/2` among the days is such a star: `0 0 */2 * 1` means Mondays with an odd
//! date, and `0 0 1-31/2 * 1` odd dates and Mondays.
//!
//! The `cron` crate does the matching, of plain lists of numbers that were checked here: it wants six fields, counts
//! Sunday as 1, always asks both day fields, and never says that a 31 February won't come. It is shown civil times under
//! the name of UTC, which has no gaps and no repetitions, so that its own idea of them doesn't matter; ours is in `due`.

use std::collections::BTreeSet;
use std::ops::{Range, RangeInclusive};
use std::str::FromStr as _;
use std::sync::Arc;

use chrono::{NaiveDateTime, Timelike as _};

use crate::diagnostic::did_you_mean;

mod field;
#[cfg(test)]
mod tests;

use field::{FIELDS, Field, WEEKDAYS};

/// The names that stand for five fields. `@reboot` is an event, not a time.
const NICKNAMES: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];
/// The most days that each month has.
const DAYS: [u8; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/// Civil times, as five fields of a crontab name them.
#[derive(Debug, Clone)]
pub struct Crontab {
    text: String,
    /// A time matches if one of these does.
    matchers: Vec<cron::Schedule>,
    fields: Arc<[Field; 5]>,
}

/// What is wrong with an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// The bytes that it is about.
    pub span: Range<usize>,
    /// A lower-case sentence without a full stop.
    pub message: String,
    /// What to write instead.
    pub hint: String,
}

impl Wrong {
    fn new(span: Range<usize>, message: impl Into<String>, hint: impl Into<String>) -> Wrong {
        Wrong { span, message: message.into(), hint: hint.into() }
    }
}

impl Crontab {
    /// Reads an expression; one that never comes true is refused too.
    pub fn parse(text: &str) -> Result<Crontab, Wrong> {
        let start = text.len() - text.trim_start().len();
        let whole = start..start + text.trim().len();
        if text[whole.clone()].starts_with('@') {
            let fields = nickname(&text[whole.clone()]).map_err(|(message, hint)| Wrong::new(whole, message, hint))?;
            return Crontab::parse(fields);
        }
        let words = words(text);
        if words.len() != FIELDS.len() {
            return Err(Wrong::new(whole, count(words.len()), "write for example 30 2 * * * for every day at 02:30"));
        }
        let [minute, hour, day, month, weekday] = [0, 1, 2, 3, 4].map(|at: usize| {
            let span = words[at].clone();
            Field::parse(&text[span.clone()], &FIELDS[at])
                .map_err(|wrong| Wrong { span: span.start + wrong.span.start..span.start + wrong.span.end, ..wrong })
        });
        let fields = [minute?, hour?, day?, month?, weekday?];
        if let Some(wrong) = never(&fields, words[2].start..words[3].end) {
            return Err(wrong);
        }
        let matchers = matchers(&fields).map_err(|error| {
            Wrong::new(whole, format!("can't be understood: {error}"), "write for example 30 2 * * *")
        })?;
        let text = words.into_iter().map(|span| &text[span]).collect::<Vec<_>>().join(" ");
        Ok(Crontab { text, matchers, fields: Arc::new(fields) })
    }

    /// The five fields, one blank between them.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// True if the hour field starts with `*`: such times are a rhythm, and not an hour of the day.
    pub fn is_every_hour(&self) -> bool {
        self.fields[1].is_star
    }

    /// The same for systemd's `OnCalendar`; a time matches if one of them does.
    pub fn calendars(&self) -> Vec<String> {
        let [minute, hour, day, month, weekday] = &*self.fields;
        let two = |values: &BTreeSet<u8>, all| listed(values, all, |value| format!("{value:02}"));
        let (days, months) = (two(&day.values, 1..=31), two(&month.values, 1..=12));
        let time = format!("{}:{}:00", two(&hour.values, 0..=23), two(&minute.values, 0..=59));
        let sundays: BTreeSet<u8> = weekday.values.iter().map(|value| value % 7).collect();
        let weekdays = match listed(&sundays, 0..=6, |value| WEEKDAYS[usize::from(value)].to_owned()) {
            all if all == "*" => String::new(),
            some => format!("{some} "),
        };
        match day.is_star || weekday.is_star {
            true => vec![format!("{weekdays}*-{months}-{days} {time}")],
            false => vec![format!("*-{months}-{days} {time}"), format!("{weekdays}*-{months}-* {time}")],
        }
    }

    /// The first matching civil time after this one, in whole minutes; none before the year 2100 is none.
    pub fn after(&self, civil: NaiveDateTime) -> Option<NaiveDateTime> {
        let minute = civil.with_second(0).and_then(|civil| civil.with_nanosecond(0)).unwrap_or(civil).and_utc();
        let first = |matcher: &cron::Schedule| matcher.after(&minute).next();
        self.matchers.iter().filter_map(first).min().map(|found| found.naive_utc())
    }
}

/// The five fields that a name stands for.
fn nickname(name: &str) -> Result<&'static str, (String, String)> {
    if let Some((_, fields)) = NICKNAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
        return Ok(fields);
    }
    let names = || NICKNAMES.iter().map(|(known, _)| *known);
    let hint = did_you_mean(name, names()).map_or_else(
        || format!("known are {}", names().collect::<Vec<_>>().join(", ")),
        |near| format!("did you mean {near}?"),
    );
    let reason = if name.eq_ignore_ascii_case("@reboot") { "is an event and no time" } else { "isn't known" };
    Err((format!("`{name}` {reason}"), hint))
}

fn count(fields: usize) -> String {
    match fields {
        0 => "the expression is empty".to_owned(),
        6 | 7 => format!("a crontab has five fields, and these are {fields}: it knows neither seconds nor years"),
        _ => format!("a crontab has five fields (minute, hour, day, month, day of the week), and these are {fields}"),
    }
}

/// Where the words of a text are.
fn words(text: &str) -> Vec<Range<usize>> {
    let mut words = Vec::new();
    let mut start = None;
    for (at, character) in text.char_indices().chain([(text.len(), ' ')]) {
        match (character.is_whitespace(), start) {
            (false, None) => start = Some(at),
            (true, Some(begun)) => {
                words.push(begun..at);
                start = None;
            }
            _ => {}
        }
    }
    words
}

/// Refuses days that no month of the expression has, where the day of the week can't stand in for them.
fn never(fields: &[Field; 5], span: Range<usize>) -> Option<Wrong> {
    let [_, _, day, month, weekday] = fields;
    let is_either = !day.is_star && !weekday.is_star;
    let longest = month.values.iter().map(|month| DAYS[usize::from(*month) - 1]).max().unwrap_or(0);
    let first = *day.values.first()?;
    (!is_either && first > longest).then(|| {
        let months = match month.values.len() {
            1 => "that month has",
            _ => "these months have",
        };
        let message = format!("day {first} never comes: {months} {longest} days at most");
        Wrong::new(span, message, format!("name a day up to {longest}, or another month"))
    })
}

/// The same as the `cron` crate takes it: seconds first, Sunday as 1, and both day fields asked.
fn matchers(fields: &[Field; 5]) -> Result<Vec<cron::Schedule>, cron::error::Error> {
    let [minute, hour, day, month, weekday] = fields;
    let listed = |values: &BTreeSet<u8>, all| listed(values, all, |value| value.to_string());
    let (days, months) = (listed(&day.values, 1..=31), listed(&month.values, 1..=12));
    let weekdays = listed(&weekday.values.iter().map(|value| value % 7 + 1).collect(), 1..=7);
    let (minutes, hours) = (listed(&minute.values, 0..=59), listed(&hour.values, 0..=23));
    let matcher = |days: &str, weekdays: &str| {
        cron::Schedule::from_str(&format!("0 {minutes} {hours} {days} {months} {weekdays}"))
    };
    match day.is_star || weekday.is_star {
        true => Ok(vec![matcher(&days, &weekdays)?]),
        false => Ok(vec![matcher(&days, "*")?, matcher("*", &weekdays)?]),
    }
}

/// The values as a list; `*` for all.
fn listed(values: &BTreeSet<u8>, mut all: RangeInclusive<u8>, shown: impl Fn(u8) -> String) -> String {
    match all.all(|value| values.contains(&value)) {
        true => "*".to_owned(),
        false => values.iter().map(|value| shown(*value)).collect::<Vec<_>>().join(","),
    }
}
