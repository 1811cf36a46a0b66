//! Merging what a run saw into the committed release: per key, the newer observation wins.
//!
//! Absence is an observation too. A committed row is as old as the newer of its own `as_of` and the last complete read
//! of its template, because a row that was seen again unchanged counts as observed then. So an editor's republish in
//! the middle of a nightly build keeps its value, whichever of the two commits first.

use std::cmp::Ordering;

use chrono::{DateTime, Utc};

use super::manifest::{Change, ChangeKind, Row};
use crate::template::scope::Scope;

/// What a run saw of one template.
#[derive(Debug)]
pub struct Observation<'a> {
    /// The keys that it asked for.
    pub scope: &'a Scope,
    /// Documents in the order of their paths.
    pub rows: &'a [Row],
    /// The instant whose data it saw.
    pub as_of: DateTime<Utc>,
    /// Write what was seen even if nothing changed.
    pub rewrite: bool,
}

/// The outcome for one template.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// The template's rows in the order of their paths.
    pub rows: Vec<Row>,
    /// What changes, in the order of the paths.
    pub changes: Vec<Change>,
    /// Documents that stay as they are.
    pub unchanged: u64,
    /// Those among them that the run saw differently or was to write again, but at an older instant.
    pub older: u64,
}

/// Merges an observation into the committed rows. `checked` is when the template was last read whole.
pub fn merge(committed: &[Row], checked: Option<DateTime<Utc>>, seen: &Observation<'_>) -> Merged {
    let mut merged = Merged::default();
    let (mut old, mut new) = (committed.iter().peekable(), seen.rows.iter().peekable());
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return merged,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => old.path.cmp(&new.path),
        };
        let before = (order != Ordering::Greater).then(|| old.next()).flatten();
        let after = (order != Ordering::Less).then(|| new.next()).flatten();
        merged.one(before, after, checked, seen);
    }
}

impl Merged {
    fn one(
        &mut self,
        before: Option<&Row>,
        after: Option<&Row>,
        checked: Option<DateTime<Utc>>,
        seen: &Observation<'_>,
    ) {
        let known_at = before.map(|row| row.as_of).max(checked);
        let is_newer = known_at.is_none_or(|known_at| seen.as_of >= known_at);
        let in_scope = after.is_some() || before.is_some_and(|row| seen.scope.contains(&row.key));
        if !in_scope || !is_newer {
            let digest = |row: Option<&Row>| row?.document.as_ref().map(|document| document.digest);
            self.older += u64::from(in_scope && (seen.rewrite || digest(before) != digest(after)));
            return self.keep(before);
        }
        match (before, after) {
            (Some(before), Some(after)) if before.document.is_some() => self.compare(before, after, seen.rewrite),
            (_, Some(after)) => self.put(after.clone(), ChangeKind::Added),
            (Some(before), None) => self.absent(before, seen),
            (None, None) => {}
        }
    }

    fn keep(&mut self, row: Option<&Row>) {
        if let Some(row) = row {
            self.unchanged += u64::from(row.document.is_some());
            self.rows.push(row.clone());
        }
    }

    fn put(&mut self, row: Row, change: ChangeKind) {
        self.changes.push(Change { path: row.path.clone(), change });
        self.rows.push(row);
    }

    fn compare(&mut self, before: &Row, after: &Row, rewrite: bool) {
        let same = |old: &Row, new: &Row| match (&old.document, &new.document) {
            (Some(old), Some(new)) => old.digest == new.digest && old.policy == new.policy,
            _ => false,
        };
        if !same(before, after) {
            self.put(after.clone(), ChangeKind::Changed);
        } else if rewrite {
            let mut row = after.clone();
            if let (Some(new), Some(old)) = (&mut row.document, &before.document) {
                new.changed_at = old.changed_at;
            }
            self.put(row, ChangeKind::Rewritten);
        } else {
            self.keep(Some(before));
        }
    }

    fn absent(&mut self, before: &Row, seen: &Observation<'_>) {
        if before.document.is_some() {
            self.changes.push(Change { path: before.path.clone(), change: ChangeKind::Removed });
        }
        // After a read of every key `checked` remembers the absence; after one of some keys only a tombstone does.
        if matches!(seen.scope, Scope::Some(_)) {
            self.rows.push(Row { document: None, as_of: seen.as_of, ..before.clone() });
        }
    }
}

#[cfg(test)]
mod tests;
