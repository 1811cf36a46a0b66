//! One field of a crontab: the values that it names.

use std::collections::BTreeSet;
use std::ops::{Range, RangeInclusive};

use super::Wrong;
use crate::diagnostic::did_you_mean;

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
/// As crontab and systemd name them, Sunday first.
pub const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// What a field is about.
pub struct Kind {
    /// As messages call it.
    name: &'static str,
    /// Its values.
    all: RangeInclusive<u8>,
    /// Their names, from the least value on.
    names: &'static [&'static str],
}

/// The fields in their order.
pub static FIELDS: [Kind; 5] = [
    Kind { name: "a minute", all: 0..=59, names: &[] },
    Kind { name: "an hour", all: 0..=23, names: &[] },
    Kind { name: "a day of the month", all: 1..=31, names: &[] },
    Kind { name: "a month", all: 1..=12, names: &MONTHS },
    Kind { name: "a day of the week", all: 0..=7, names: &WEEKDAYS },
];

/// A field as it was understood.
#[derive(Debug, Clone)]
pub struct Field {
    /// True if it starts with `*`, which decides how the two day fields go together.
    pub is_star: bool,
    /// Its values; never empty. Sunday is 0, 7 or both.
    pub values: BTreeSet<u8>,
}

impl Field {
    /// Reads a field. The spans of what is wrong count from its start.
    pub fn parse(text: &str, kind: &Kind) -> Result<Field, Wrong> {
        let mut values = BTreeSet::new();
        let mut start = 0;
        for element in text.split(',') {
            let span = start..start + element.len();
            start = span.end + 1;
            values.extend(Element { text: element, span, kind }.values()?);
        }
        Ok(Field { is_star: text.starts_with('*'), values })
    }
}

/// One element of a field's list.
struct Element<'a> {
    text: &'a str,
    span: Range<usize>,
    kind: &'a Kind,
}

impl Element<'_> {
    fn wrong(&self, span: Range<usize>, message: impl Into<String>) -> Wrong {
        let (first, last) = (self.kind.all.start(), self.kind.all.end());
        let names = match self.kind.names {
            [] => String::new(),
            names => format!(" or {} to {}", names[0], names[names.len() - 1]),
        };
        Wrong::new(span, message, format!("{} is {first} to {last}{names}; ranges are a-b, steps */n", self.kind.name))
    }

    fn values(&self) -> Result<Vec<u8>, Wrong> {
        let (range, step) = match self.text.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (self.text, None),
        };
        let (least, most) = self.bounds(range, step.is_some())?;
        let step = step.map_or(Ok(1), |step| self.step(step, range.len() + 1))?;
        Ok((least..=most).step_by(step).collect())
    }

    /// What the element names without its step.
    fn bounds(&self, range: &str, has_step: bool) -> Result<(u8, u8), Wrong> {
        if range == "*" {
            return Ok((*self.kind.all.start(), *self.kind.all.end()));
        }
        let Some((from, to)) = range.split_once('-') else {
            let value = self.value(range, 0)?;
            if has_step {
                let hint = format!("write {value}-{}/…", self.kind.all.end());
                let message = format!("the step in `{}` stands behind a single value", self.text);
                return Err(Wrong::new(self.span.clone(), message, hint));
            }
            return Ok((value, value));
        };
        let (least, most) = (self.value(from, 0)?, self.value(to, from.len() + 1)?);
        if least > most {
            let message = format!("the range `{range}` ends before it begins");
            let hint = format!("write two ranges: {from}-{},{}-{to}", self.kind.all.end(), self.kind.all.start());
            let is_sunday = self.kind.names == WEEKDAYS && most == 0;
            let hint = if is_sunday { format!("write {from}-7") } else { hint };
            let hint =
                if self.kind.names == WEEKDAYS && !is_sunday { format!("{hint}; Sunday is 7 as well") } else { hint };
            return Err(Wrong::new(self.span.clone(), message, hint));
        }
        Ok((least, most))
    }

    fn step(&self, step: &str, at: usize) -> Result<usize, Wrong> {
        let span = self.span.start + at..self.span.end;
        match number(step) {
            Some(0) => Err(self.wrong(span, format!("the step in `{}` is 0", self.text))),
            // One as long as the field leaves its first value, as in cron.
            Some(step) if step as usize <= self.kind.all.len() => Ok(step as usize),
            Some(_) => {
                let message = format!("the step in `{}` is longer than the whole field", self.text);
                Err(self.wrong(span, message))
            }
            None => Err(self.wrong(span, format!("`{step}` isn't a step"))),
        }
    }

    /// A number or a name, so many bytes into the element.
    fn value(&self, text: &str, at: usize) -> Result<u8, Wrong> {
        let start = self.span.start + at;
        let span = start..start + text.len();
        let (all, kind) = (&self.kind.all, self.kind.name);
        if let Some(value) = number(text) {
            let found = u8::try_from(value).ok().filter(|value| all.contains(value));
            return found.ok_or_else(|| self.wrong(span, format!("{value} isn't {kind}")));
        }
        if let Some(at) = self.kind.names.iter().position(|name| name.eq_ignore_ascii_case(text)) {
            return Ok(all.start() + u8::try_from(at).unwrap_or_default());
        }
        let what = if text.is_empty() { "a value is missing".to_owned() } else { format!("`{text}` isn't {kind}") };
        let wrong = self.wrong(span, what);
        if text.contains(['?', '#', 'L', 'W']) {
            return Err(Wrong { hint: format!("a crontab knows no ?, #, L and W; {}", wrong.hint), ..wrong });
        }
        match did_you_mean(text, self.kind.names.iter().copied()).filter(|_| text.len() > 1) {
            Some(near) => Err(Wrong { hint: format!("did you mean {near}?"), ..wrong }),
            None => Err(wrong),
        }
    }
}

/// A number without a sign; one that is too long for its type is the longest.
fn number(text: &str) -> Option<u32> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u32::MAX))
}
