//! Judging a build before anything of it is visible.
//!
//! A pure function over what is committed and what the merge would make of it: it says of every guard how the numbers
//! compare with its limits, and which documents moved most. What refuses a template is the draft's business, and what the
//! database was asked besides the rows (asserts, the newest data) comes in as its answers.
//!
//! A share of little means little: of ten documents one is 10 %. So a limit in percent counts from [`MIN_DOCUMENTS`]
//! documents, or [`MIN_ROWS`] rows, on; one that a template's own file sets counts always, because its author knows the
//! template. A run of some keys is measured within its scope, and there the minimum always holds: an editor who
//! republishes a document that is empty now is right, and twenty emptied at once are worth a question. Whether many
//! documents changed is no question for such a run, which is ordered because they did. Before a template's first release
//! there is nothing to compare with.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::manifest::TemplateEntry;
use super::row::Row;
use crate::template::Template;
use crate::template::guard::{EVERY, Guard, Level};
use crate::template::scope::Scope;

mod answers;
mod ask;
mod measure;
mod words;

pub use answers::Answers;
pub use ask::{ask, check};
pub use measure::{Moved, MovedUnit};
pub use words::grouped;

use measure::{Measured, Walk};

/// From so many documents on a share of them counts: one of them is then no more than the lowest default limit.
pub const MIN_DOCUMENTS: u64 = 20;
/// From so many rows on a share of them, or of their bytes, counts.
pub const MIN_ROWS: u64 = 100;

/// A template before and after, as far as it is judged.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// The template, whose guards count.
    pub template: &'a Template,
    /// What the committed release says of it; none before its first.
    pub entry: Option<&'a TemplateEntry>,
    /// Its committed rows, in the order of their paths.
    pub before: &'a [Arc<Row>],
    /// Its rows as they would be, in the order of their paths.
    pub after: &'a [Arc<Row>],
    /// The columns that its documents would have.
    pub columns: &'a [String],
    /// The keys that the run asked for.
    pub scope: &'a Scope,
    /// What the database was asked besides.
    pub answers: &'a Answers,
}

/// What one guard says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The guard's name, or the assert's.
    pub guard: String,
    /// Whether it is fine, worth a warning, or an error.
    pub level: Level,
    /// What was found, with numbers: a lower-case fragment.
    pub message: String,
    /// What was measured in the committed release; null where there is nothing to compare with.
    pub before: Value,
    /// What was measured in the build.
    pub after: Value,
    /// Its levels, as they are written.
    pub limit: String,
    /// True if the run was told to let it pass.
    pub accepted: bool,
    /// The documents that moved most, at most ten, where it isn't fine.
    pub keys: Vec<Moved>,
}

impl Verdict {
    /// True if it stops its template.
    pub fn refuses(&self) -> bool {
        self.level == Level::Error && !self.accepted
    }
}

/// Judges a template by every guard that applies.
pub fn judge(case: &Case<'_>) -> Vec<Verdict> {
    let walk = Walk::over(case.before, case.after, case.scope);
    let guards = Guard::ALL.into_iter().filter_map(|guard| case.verdict(guard, &walk));
    guards.chain(case.answers.asserts.iter().map(answers::Asserted::verdict)).collect()
}

/// Lets verdicts pass: a name is that of a guard or an assert, alone or behind `template/`, or `all`.
pub fn accept(verdicts: &mut [Verdict], template: &str, names: &[String]) {
    let means = |name: &String, guard: &str| {
        name == EVERY
            || name == guard
            || name.strip_prefix(template).is_some_and(|rest| rest.strip_prefix('/') == Some(guard))
    };
    for verdict in verdicts.iter_mut().filter(|verdict| verdict.level == Level::Error) {
        verdict.accepted = names.iter().any(|name| means(name, &verdict.guard));
    }
}

/// Why a template is refused, in a line; none if it isn't.
pub fn refusal(verdicts: &[Verdict]) -> Option<String> {
    let said = verdicts.iter().filter(|verdict| verdict.refuses());
    let said: Vec<String> = said.map(|verdict| format!("guard {}: {}", verdict.guard, verdict.message)).collect();
    (!said.is_empty()).then(|| said.join("; "))
}

impl Case<'_> {
    /// What a guard says; none if it is off or doesn't apply.
    fn verdict(&self, guard: Guard, walk: &Walk) -> Option<Verdict> {
        let levels = self.template.guards.levels(guard);
        if levels.is_off() {
            return None;
        }
        let measured = self.measured(guard, walk)?;
        let (mut level, limit) = levels.of(measured.value);
        if !measured.may_refuse {
            level = level.min(Level::Warn);
        }
        let keys = match level {
            Level::Ok => Vec::new(),
            _ => measure::moved_most(guard, self.before, self.after, self.scope),
        };
        let Measured { before, after, message, .. } = measured;
        let message = if level == Level::Ok { message } else { words::with_limit(guard, &message, limit) };
        let guard_name = guard.name().to_owned();
        let limit = guard.written(levels);
        Some(Verdict { guard: guard_name, level, message, before, after, limit, accepted: false, keys })
    }

    fn measured(&self, guard: Guard, walk: &Walk) -> Option<Measured> {
        let is_whole = matches!(self.scope, Scope::All);
        match guard {
            Guard::SourceAge => self.answers.source.as_ref().map(answers::SourceAge::measured),
            Guard::Path | Guard::Columns => {
                let entry = self.entry.filter(|_| is_whole)?;
                Some(match guard {
                    Guard::Path => words::path(entry, self.template),
                    _ => words::columns(&entry.columns, self.columns),
                })
            }
            Guard::MaxDelete => self.entry.map(|_| words::removed(walk)),
            Guard::Changed if !is_whole => None,
            _ if self.entry.is_none() || !self.counts(guard, walk, is_whole) => None,
            Guard::RowsDrop => Some(words::rows(walk)),
            Guard::KeysDrop => Some(words::documents(walk)),
            Guard::Empty => Some(words::empty(walk)),
            Guard::Changed => Some(words::changed(walk)),
            Guard::SizeDrop | Guard::SizeGrowth => Some(words::size(guard, walk)),
        }
    }

    /// Whether there is enough to compare with.
    fn counts(&self, guard: Guard, walk: &Walk, is_whole: bool) -> bool {
        let before = &walk.before;
        let is_enough = match guard {
            Guard::KeysDrop | Guard::Changed => before.documents >= MIN_DOCUMENTS,
            // That everything went is clear whatever there was, and of some keys if they are many.
            Guard::Empty => is_whole || before.documents >= MIN_DOCUMENTS,
            _ => before.rows >= MIN_ROWS,
        };
        is_enough || (is_whole && self.template.guards.is_own(guard))
    }
}

#[cfg(test)]
mod tests;
