//! Guards: what a build is measured by before readers see it.
//!
//! A guard has a limit above which it warns, one above which it refuses, or both; a refused template keeps its last good
//! documents. This module says which guards there are, how their levels are written (the same in a template, in
//! `tintype.toml` and in the environment) and what they are where nobody wrote any; `release::guard` measures and judges.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

/// What `--accept-guard` takes for every guard; no assert can be called so.
pub const EVERY: &str = "all";
/// Largest body of a document where nobody wrote another.
const DEFAULT_MAX_SIZE: ByteSize = ByteSize::mib(16);
/// The largest that may be asked for; what reads documents back stops there too.
const MAX_MAX_SIZE: ByteSize = ByteSize::gib(1);
/// Largest share that a limit may be, in percent: growth by a factor of ten thousand.
const MAX_PERCENT: f64 = 1_000_000.0;
/// Longest age that a limit may be.
const MAX_AGE: Duration = Duration::from_hours(24 * 36_500);

/// A guard with a name of its own; asserts are named by those who write them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Guard {
    /// By how much the rows of all documents together fell.
    RowsDrop,
    /// By how much the number of documents fell, or that of documents with rows.
    KeysDrop,
    /// There were rows, and there are none.
    Empty,
    /// How many of the documents have other bytes: the alarm for queries that aren't deterministic.
    Changed,
    /// By how much the bytes of all documents together fell.
    SizeDrop,
    /// By how much they grew.
    SizeGrowth,
    /// Columns of the documents are gone, are new, or stand in another order.
    Columns,
    /// The path pattern or the shape is another.
    Path,
    /// How old the newest data is.
    SourceAge,
    /// How many documents go.
    MaxDelete,
}

/// What a guard's limit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Percent of what was there before.
    Percent,
    /// Nothing: it happened or it didn't.
    Event,
    /// Seconds.
    Age,
    /// A number of documents.
    Documents,
}

/// What becomes of what a guard measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// It is below every limit.
    Ok,
    /// It is told.
    Warn,
    /// The template is refused.
    Error,
}

/// The limits of a guard, in its [`Unit`]; a level without one never comes about.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Levels {
    /// Above it the guard warns.
    pub warn: Option<f64>,
    /// Above it the guard refuses.
    pub error: Option<f64>,
}

/// A query of a template that must return no rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assert {
    /// How it is called in messages and by `--accept-guard`.
    pub name: String,
    /// The query.
    pub sql: String,
    /// What rows lead to: a warning or an error. Default an error.
    pub level: Level,
    /// The bytes of the file that say so.
    pub span: Range<usize>,
}

/// What `[guard]` says in one place: in a template, or in `tintype.toml`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct GuardSettings {
    /// The levels that are written there.
    pub levels: BTreeMap<Guard, Levels>,
    /// The query for the instant of the newest data.
    pub source_age_sql: Option<String>,
    /// Largest body of a document in bytes, uncompressed; at most 1 GiB.
    pub max_size_bytes: Option<u64>,
}

/// The guards of a template.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Guards {
    /// What its own file says.
    pub own: GuardSettings,
    /// What holds for every template.
    pub common: GuardSettings,
    /// Its asserts.
    pub asserts: Vec<Assert>,
}

impl Guards {
    /// The levels of a guard: the template's, else those for every template, else the default.
    pub fn levels(&self, guard: Guard) -> Levels {
        let written = self.own.levels.get(&guard).or_else(|| self.common.levels.get(&guard));
        written.copied().unwrap_or_else(|| guard.default())
    }

    /// True if the template's own file sets the guard.
    pub fn is_own(&self, guard: Guard) -> bool {
        self.own.levels.contains_key(&guard)
    }

    /// Largest body of a document in bytes, uncompressed.
    pub fn max_size_bytes(&self) -> u64 {
        self.own.max_size_bytes.or(self.common.max_size_bytes).unwrap_or(DEFAULT_MAX_SIZE.as_u64())
    }

    /// The query for the instant of the newest data, if that is guarded and there is one.
    pub fn source_age_sql(&self) -> Option<&str> {
        let sql = self.own.source_age_sql.as_ref().or(self.common.source_age_sql.as_ref());
        sql.filter(|_| !self.levels(Guard::SourceAge).is_off()).map(String::as_str)
    }
}

impl Assert {
    /// How messages call it.
    pub fn label(&self) -> String {
        format!("the assert `{}`", self.name)
    }
}

impl Guard {
    /// All of them, in the order in which they are judged and shown.
    pub const ALL: [Guard; 10] = [
        Guard::RowsDrop,
        Guard::KeysDrop,
        Guard::Empty,
        Guard::Changed,
        Guard::SizeDrop,
        Guard::SizeGrowth,
        Guard::Columns,
        Guard::Path,
        Guard::SourceAge,
        Guard::MaxDelete,
    ];

    /// Its name in files, on the command line and in messages.
    pub fn name(self) -> &'static str {
        match self {
            Guard::RowsDrop => "rows_drop",
            Guard::KeysDrop => "keys_drop",
            Guard::Empty => "empty",
            Guard::Changed => "changed",
            Guard::SizeDrop => "size_drop",
            Guard::SizeGrowth => "size_growth",
            Guard::Columns => "columns",
            Guard::Path => "path",
            Guard::SourceAge => "source_age",
            Guard::MaxDelete => "max_delete",
        }
    }

    /// What its limits are.
    pub fn unit(self) -> Unit {
        match self {
            Guard::Empty | Guard::Columns | Guard::Path => Unit::Event,
            Guard::SourceAge => Unit::Age,
            Guard::MaxDelete => Unit::Documents,
            _ => Unit::Percent,
        }
    }

    /// Its levels where nobody wrote any.
    ///
    /// A load of new data may rightly change every document, so `changed` only warns. How old data or how many removed
    /// documents are too many depends on the site, so these two are off.
    pub fn default(self) -> Levels {
        let of = |warn: f64, error: f64| Levels { warn: Some(warn), error: Some(error) };
        match self {
            Guard::RowsDrop => of(10.0, 30.0),
            Guard::KeysDrop => of(5.0, 20.0),
            Guard::Changed => Levels { warn: Some(60.0), error: None },
            Guard::SizeDrop => of(20.0, 50.0),
            Guard::SizeGrowth => of(100.0, 400.0),
            Guard::Empty | Guard::Columns | Guard::Path => Levels { warn: None, error: Some(0.0) },
            Guard::SourceAge | Guard::MaxDelete => Levels::default(),
        }
    }

    /// How its levels can be written, for hints.
    pub fn example(self) -> String {
        let (one, both) = match self.unit() {
            Unit::Percent => ("20%", "warn 10%, error 30%"),
            Unit::Event => ("error", "warn"),
            Unit::Age => ("2d", "warn 1d, error 3d"),
            Unit::Documents => ("500", "warn 100, error 1000"),
        };
        format!("{} = \"{one}\", \"{both}\" or \"off\"", self.name())
    }

    /// Reads levels as they are written: `20%` (an error), `warn 10%`, `warn 10%, error 30%`, `off`; where there is no
    /// limit only `warn`, `error` and `off`. What is wrong comes with a hint.
    pub fn parse(self, text: &str) -> Result<Levels, (String, String)> {
        self.understood(text).map_err(|reason| (format!("[guard] {}: {reason}", self.name()), self.hint()))
    }

    fn hint(self) -> String {
        format!("write for example {}", self.example())
    }

    fn understood(self, text: &str) -> Result<Levels, String> {
        let mut levels = Levels::default();
        if text.trim() == "off" {
            return Ok(levels);
        }
        for part in text.split(',').map(str::trim) {
            let (word, limit) = match part.split_once(char::is_whitespace) {
                Some((word, limit)) if word == "warn" || word == "error" => (word, limit.trim()),
                _ if part == "warn" || part == "error" => (part, ""),
                _ => ("error", part),
            };
            let level = if word == "warn" { &mut levels.warn } else { &mut levels.error };
            if level.replace(self.limit(limit)?).is_some() {
                return Err(format!("`{text}` says {word} twice"));
            }
        }
        match (levels.warn, levels.error) {
            (Some(warn), Some(error)) if warn >= error => {
                Err(format!("`{text}` would never warn, because it refuses at {} already", self.shown(error)))
            }
            _ => Ok(levels),
        }
    }

    fn limit(self, text: &str) -> Result<f64, String> {
        match self.unit() {
            Unit::Event if text.is_empty() => Ok(0.0),
            Unit::Event => Err(format!("`{text}` isn't a level, and it has no limit")),
            _ if text.is_empty() => Err("a limit is missing".to_owned()),
            Unit::Percent => {
                let most = if self == Guard::SizeGrowth { MAX_PERCENT } else { 100.0 };
                let percent = text.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
                match percent {
                    None => Err(format!("`{text}` isn't a percentage")),
                    Some(percent) if (0.0..=most).contains(&percent) => Ok(percent),
                    Some(_) => Err(format!("`{text}` isn't between 0% and {most}%")),
                }
            }
            Unit::Age => match humantime::parse_duration(text) {
                Err(error) => Err(format!("`{text}` isn't a duration: {error}")),
                Ok(age) if age > MAX_AGE => Err(format!("`{text}` is too long")),
                Ok(age) => Ok(age.as_secs_f64()),
            },
            Unit::Documents => {
                text.parse::<u32>().map(f64::from).map_err(|_| format!("`{text}` isn't a number of documents"))
            }
        }
    }

    /// A limit as it is written.
    pub fn shown(self, limit: f64) -> String {
        match self.unit() {
            Unit::Percent => format!("{limit}%"),
            Unit::Event => String::new(),
            Unit::Age => humantime::format_duration(Duration::from_secs_f64(limit)).to_string(),
            Unit::Documents => format!("{limit}"),
        }
    }

    /// Levels as they are written.
    pub fn written(self, levels: Levels) -> String {
        let word =
            |word: &str, limit: Option<f64>| Some(format!("{word} {}", self.shown(limit?)).trim_end().to_owned());
        let words: Vec<String> =
            [word("warn", levels.warn), word("error", levels.error)].into_iter().flatten().collect();
        if words.is_empty() { "off".to_owned() } else { words.join(", ") }
    }
}

impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Levels {
    /// True if the guard is switched off.
    pub fn is_off(self) -> bool {
        self.warn.is_none() && self.error.is_none()
    }

    /// The gravest level whose limit a value is above, and that limit; the lowest limit where it is above none.
    pub fn of(self, value: f64) -> (Level, f64) {
        match (self.warn, self.error) {
            (_, Some(error)) if value > error => (Level::Error, error),
            (Some(warn), _) if value > warn => (Level::Warn, warn),
            (warn, error) => (Level::Ok, warn.or(error).unwrap_or(f64::INFINITY)),
        }
    }
}

/// Reads `max_size`. What is wrong comes with a hint.
pub fn size_bytes(text: &str) -> Result<u64, (String, String)> {
    let size: ByteSize = text.parse().map_err(|error| {
        (format!("[guard] max_size: `{text}` isn't a size: {error}"), "write for example \"1 MiB\"".to_owned())
    })?;
    if size > MAX_MAX_SIZE {
        let reason = format!("[guard] max_size: {size} is more than {MAX_MAX_SIZE}, the most that a document may have");
        let hint = "browsers fail far below that; split the document by another key column";
        return Err((reason, hint.to_owned()));
    }
    Ok(size.as_u64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_read() {
        let cases = [
            (Guard::RowsDrop, "20%", "error 20%"),
            (Guard::RowsDrop, "error 20%", "error 20%"),
            (Guard::RowsDrop, " warn  12.5 % ", "warn 12.5%"),
            (Guard::RowsDrop, "error 30%, warn 10%", "warn 10%, error 30%"),
            (Guard::SizeGrowth, "400%", "error 400%"),
            (Guard::Empty, "warn", "warn"),
            (Guard::Path, "error", "error"),
            (Guard::SourceAge, "warn 1d, error 36h", "warn 1day, error 1day 12h"),
            (Guard::MaxDelete, "0", "error 0"),
            (Guard::Changed, "off", "off"),
        ];
        for (guard, text, written) in cases {
            let levels = guard.parse(text).unwrap_or_else(|refusal| panic!("{guard} {text}: {refusal:?}"));
            assert_eq!(guard.written(levels), written, "{guard} {text}");
        }
        for guard in Guard::ALL {
            assert_eq!(guard.parse(&guard.written(guard.default())), Ok(guard.default()), "{guard}");
        }
    }

    #[test]
    fn what_means_nothing_is_refused_with_an_example() {
        let cases = [
            (Guard::RowsDrop, "20", "`20` isn't a percentage"),
            (Guard::RowsDrop, "120%", "between 0% and 100%"),
            (Guard::RowsDrop, "-1%", "between 0% and 100%"),
            (Guard::RowsDrop, "NaN%", "between 0% and 100%"),
            (Guard::RowsDrop, "warn", "a limit is missing"),
            (Guard::RowsDrop, "", "a limit is missing"),
            (Guard::RowsDrop, "10%, 20%", "says error twice"),
            (Guard::RowsDrop, "warn 30%, error 10%", "would never warn, because it refuses at 10%"),
            (Guard::Empty, "20%", "`20%` isn't a level"),
            (Guard::SourceAge, "soon", "isn't a duration"),
            (Guard::SourceAge, "200years", "too long"),
            (Guard::MaxDelete, "-1", "isn't a number of documents"),
        ];
        for (guard, text, reason) in cases {
            let Err((said, hint)) = guard.parse(text) else { panic!("{guard} takes {text}") };
            assert!(said.starts_with(&format!("[guard] {guard}: ")) && said.contains(reason), "{guard} {text}: {said}");
            assert!(hint.contains(guard.name()), "{hint}");
        }
    }

    #[test]
    fn a_value_is_judged_by_the_gravest_limit_that_it_is_above() {
        let levels = Guard::RowsDrop.default();
        let of = |value| levels.of(value);
        assert_eq!(
            [of(0.0), of(10.0), of(10.1), of(30.0), of(30.1)],
            [(Level::Ok, 10.0), (Level::Ok, 10.0), (Level::Warn, 10.0), (Level::Warn, 10.0), (Level::Error, 30.0)]
        );
        assert_eq!(Levels::default().of(1e9).0, Level::Ok);
    }

    #[test]
    fn a_template_outranks_what_holds_for_all() {
        let set = |text: &str| GuardSettings {
            levels: [(Guard::RowsDrop, Guard::RowsDrop.parse(text).unwrap())].into(),
            ..GuardSettings::default()
        };
        let mut guards = Guards { common: set("1%"), ..Guards::default() };
        let rows_drop = |guards: &Guards| Guard::RowsDrop.written(guards.levels(Guard::RowsDrop));
        assert_eq!((rows_drop(&guards).as_str(), guards.is_own(Guard::RowsDrop)), ("error 1%", false));
        guards.own = set("off");
        assert_eq!((rows_drop(&guards).as_str(), guards.is_own(Guard::RowsDrop)), ("off", true));
        assert_eq!(guards.levels(Guard::Empty), Guard::Empty.default());
    }
}
