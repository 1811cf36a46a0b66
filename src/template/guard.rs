//! Guards: what a build is measured by before readers see it.
//!
//! A guard has a limit above which it warns, one above which it refuses, or both; a refused template keeps its last good
//! documents. This module says which guards there are, how their levels are written (the same in a template, in
//! `tintype.toml` and in the environment) and what they are where nobody wrote any; `release::guard` measures and judges.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

mod written;

pub use written::size_bytes;

/// What `--accept-guard` takes for every guard; no assert can be called so.
pub const EVERY: &str = "all";
/// Largest body of a document where nobody wrote another.
const DEFAULT_MAX_SIZE: ByteSize = ByteSize::mib(16);

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

#[cfg(test)]
mod tests {
    use super::*;

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
