//! Measuring: both sets of rows are walked once, side by side, and counted within the scope of the run.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::row::{DocumentRow, Row};
use super::super::side_by_side::side_by_side;
use crate::template::guard::Guard;
use crate::template::scope::Scope;

/// How many documents a verdict names.
const MAX_MOVED: usize = 10;

/// What a guard measured.
pub struct Measured {
    /// In the guard's unit, to be compared with its limits.
    pub value: f64,
    /// The number before, or what else was there.
    pub before: Value,
    /// The number after.
    pub after: Value,
    /// Both in words.
    pub message: String,
    /// False for what is told at most, whatever the levels.
    pub may_refuse: bool,
}

/// A document that moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// Its object path.
    pub path: Arc<str>,
    /// Its rows before, or its bytes where bytes are guarded; zero if it wasn't there.
    pub before: u64,
    /// The same afterwards.
    pub after: u64,
    /// `rows` or `bytes`.
    pub unit: MovedUnit,
}

/// What of a document moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MovedUnit {
    /// Rows.
    Rows,
    /// Bytes of the body.
    Bytes,
}

/// Documents of a set of rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    pub documents: u64,
    /// Documents that aren't empty.
    pub with_rows: u64,
    pub rows: u64,
    pub size_bytes: u64,
}

/// What walking both sets found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Walk {
    pub before: Totals,
    pub after: Totals,
    /// Documents that are there before and after, with other bytes.
    pub changed: u64,
    /// Those among them that have the same number of rows and bytes as before.
    pub changed_alike: u64,
    /// Documents that go.
    pub removed: u64,
}

impl Totals {
    fn add(&mut self, document: &DocumentRow) {
        self.documents += 1;
        self.with_rows += u64::from(document.rows > 0);
        self.rows += u64::from(document.rows);
        self.size_bytes += u64::from(document.size_bytes);
    }
}

impl Walk {
    /// Walks the rows of a scope; both in the order of their paths.
    pub fn over(before: &[Arc<Row>], after: &[Arc<Row>], scope: &Scope) -> Walk {
        let mut walk = Walk::default();
        pairs(before, after, scope, |_, old, new| {
            if let Some(old) = old {
                walk.before.add(old);
            }
            if let Some(new) = new {
                walk.after.add(new);
            }
            match (old, new) {
                (Some(old), Some(new)) if old.digest != new.digest => {
                    walk.changed += 1;
                    walk.changed_alike += u64::from((old.rows, old.size_bytes) == (new.rows, new.size_bytes));
                }
                (Some(_), None) => walk.removed += 1,
                _ => {}
            }
        });
        walk
    }
}

/// Shows every path of a scope with its document before and after; a tombstone is no document.
fn pairs<'a>(
    before: &'a [Arc<Row>],
    after: &'a [Arc<Row>],
    scope: &Scope,
    mut show: impl FnMut(&'a Arc<str>, Option<&'a DocumentRow>, Option<&'a DocumentRow>),
) {
    for (before, after) in side_by_side(before, after) {
        let Some(row) = after.or(before) else { return };
        if scope.contains(&row.key) {
            let document = |row: Option<&'a Arc<Row>>| row.and_then(|row| row.document.as_ref());
            show(&row.path, document(before), document(after));
        }
    }
}

/// The documents that moved most in what a guard measures, the farthest first.
pub fn moved_most(guard: Guard, before: &[Arc<Row>], after: &[Arc<Row>], scope: &Scope) -> Vec<Moved> {
    let unit = match guard {
        Guard::Changed | Guard::SizeDrop | Guard::SizeGrowth => MovedUnit::Bytes,
        _ => MovedUnit::Rows,
    };
    let number = |document: Option<&DocumentRow>| match unit {
        MovedUnit::Rows => document.map_or(0, |document| u64::from(document.rows)),
        MovedUnit::Bytes => document.map_or(0, |document| u64::from(document.size_bytes)),
    };
    let mut most = BTreeSet::new();
    pairs(before, after, scope, |path, old, new| {
        let (from, to) = (number(old), number(new));
        let counts = match guard {
            Guard::RowsDrop | Guard::KeysDrop | Guard::SizeDrop | Guard::Empty => {
                to < from || (old.is_some() && new.is_none())
            }
            Guard::SizeGrowth => to > from,
            Guard::Changed => old.zip(new).is_some_and(|(old, new)| old.digest != new.digest),
            Guard::MaxDelete => old.is_some() && new.is_none(),
            Guard::Columns | Guard::Path | Guard::SourceAge => false,
        };
        if counts {
            most.insert((Reverse(from.abs_diff(to)), path, from, to));
            if most.len() > MAX_MOVED {
                most.pop_last();
            }
        }
    });
    most.into_iter().map(|(_, path, before, after)| Moved { path: Arc::clone(path), before, after, unit }).collect()
}
