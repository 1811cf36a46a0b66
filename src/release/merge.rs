//! Merging what a run saw into the committed release: per key, the newer observation wins.
//!
//! Absence is an observation too. A committed row is as old as the newer of its own `as_of` and the last complete read
//! of its template, because a row that was seen again unchanged counts as observed then. So an editor's republish in
//! the middle of a nightly build keeps its value, whichever of the two commits first.
//!
//! A key that a rollback holds stays as the rollback left it, gone or there, until somebody republishes it by name.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::broken::{Safeguard, is_out};
use super::manifest::{Change, ChangeKind};
use super::row::{Origin, Row};
use super::side_by_side::side_by_side;
use crate::template::scope::Scope;

/// What a run saw of one template.
#[derive(Debug)]
pub struct Observation<'a> {
    /// The keys that it asked for.
    pub scope: &'a Scope,
    /// Documents in the order of their paths.
    pub rows: &'a [Arc<Row>],
    /// What its rows have in common. Documents that were found unchanged are rows of the base with theirs.
    pub origin: Arc<Origin>,
    /// Write what was seen even if nothing changed.
    pub rewrite: bool,
    /// Also where a rollback holds the key, which ends that.
    pub unhold: bool,
    /// No clock can have come so far by now: a later instant was written while one was wrong, and counts for nothing.
    pub not_after: DateTime<Utc>,
}

/// The outcome for one template.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// The template's rows in the order of their paths.
    pub rows: Vec<Arc<Row>>,
    /// What changes, in the order of the paths.
    pub changes: Vec<Change>,
    /// Documents that stay as they are.
    pub unchanged: u64,
    /// Those among them that the run saw differently or was to write again, but at an older instant.
    pub older: u64,
    /// Those that the run saw differently and that a rollback holds.
    pub held: u64,
}

/// Merges an observation into the committed rows. `checked` is when the template was last read whole.
pub fn merge(committed: &[Arc<Row>], checked: Option<DateTime<Utc>>, seen: &Observation<'_>) -> Merged {
    // Room for every row at once: what is moved while it grows is there twice.
    let most = committed.len().max(seen.rows.len());
    let new = seen.rows.len().saturating_sub(committed.len());
    let merged = Merged { rows: Vec::with_capacity(most), changes: Vec::with_capacity(new), ..Merged::default() };
    let mut merging =
        Merging { seen, merged, observed: HashMap::new(), rewritten: HashMap::new(), let_go: HashMap::new() };
    for (before, after) in side_by_side(committed, seen.rows) {
        merging.one(before, after, checked);
    }
    merging.merged
}

/// A merge at work.
struct Merging<'a> {
    seen: &'a Observation<'a>,
    merged: Merged,
    /// The origins of rows that were found unchanged and are put with the headers of now, by what they were.
    observed: HashMap<*const Origin, Arc<Origin>>,
    /// The origins of documents that are written again, by what they were.
    rewritten: HashMap<*const Origin, Arc<Origin>>,
    /// The origins of rows that were held and aren't any more, by what they were.
    let_go: HashMap<*const Origin, Arc<Origin>>,
}

impl Merging<'_> {
    fn one(&mut self, before: Option<&Arc<Row>>, after: Option<&Arc<Row>>, checked: Option<DateTime<Utc>>) {
        let digest = |row: Option<&Arc<Row>>| row?.digest();
        let in_scope = after.is_some() || before.is_some_and(|row| self.seen.scope.contains(&row.key));
        if !self.seen.unhold && before.is_some_and(|row| row.origin.held) {
            self.merged.held += u64::from(in_scope && digest(before) != digest(after));
            return self.keep(before);
        }
        let believed = |instant: &DateTime<Utc>| *instant <= self.seen.not_after;
        let row_at = before.map(|row| row.as_of()).filter(believed);
        let known_at = row_at.max(checked.filter(believed));
        let is_newer = known_at.is_none_or(|known_at| self.seen.origin.as_of >= known_at);
        if !in_scope || !is_newer {
            let differs = self.seen.rewrite || digest(before) != digest(after);
            self.merged.older += u64::from(in_scope && differs);
            return self.keep(before);
        }
        match (before, after) {
            (Some(before), Some(after)) if before.document.is_some() => self.compare(before, after),
            (_, Some(after)) => {
                let row = self.observed(after);
                self.put(row, ChangeKind::Added);
            }
            (Some(before), None) => self.absent(before),
            (None, None) => {}
        }
    }

    fn keep(&mut self, row: Option<&Arc<Row>>) {
        if let Some(row) = row {
            self.merged.unchanged += u64::from(row.document.is_some());
            self.merged.rows.push(Arc::clone(row));
        }
    }

    fn put(&mut self, row: Arc<Row>, change: ChangeKind) {
        self.merged.changes.push(Change { path: Arc::clone(&row.path), change });
        self.merged.rows.push(row);
    }

    fn compare(&mut self, before: &Arc<Row>, after: &Arc<Row>) {
        if before.digest() != after.digest() || before.origin.policy != self.seen.origin.policy {
            let row = self.observed(after);
            self.put(row, ChangeKind::Changed);
        } else if self.seen.rewrite {
            let seen = &self.seen.origin;
            let rewritten = || Arc::new(Origin { changed_at: before.origin.changed_at, ..seen.as_ref().clone() });
            let origin = self.rewritten.entry(Arc::as_ptr(&before.origin)).or_insert_with(rewritten);
            let row = Arc::new(after.from(origin));
            self.put(row, ChangeKind::Rewritten);
        } else if before.origin.held {
            self.merged.unchanged += 1;
            let row = Arc::new(before.from(self.let_go(&before.origin)));
            self.merged.rows.push(row);
        } else {
            self.keep(Some(before));
        }
    }

    /// An origin that is no longer held. The document stays as it is, so that this changes no path.
    fn let_go(&mut self, held: &Arc<Origin>) -> &Arc<Origin> {
        let let_go = || Arc::new(Origin { held: false, ..held.as_ref().clone() });
        self.let_go.entry(Arc::as_ptr(held)).or_insert_with(let_go)
    }

    /// A row as the run saw it. One that it found unchanged is a row of the release that it compared with: it keeps its
    /// blob, but it was observed now and has the headers of now.
    fn observed(&mut self, row: &Arc<Row>) -> Arc<Row> {
        let seen = &self.seen.origin;
        if Arc::ptr_eq(&row.origin, seen) {
            return Arc::clone(row);
        }
        let observed = || Arc::new(Origin { run: row.origin.run.clone(), ..seen.as_ref().clone() });
        Arc::new(row.from(self.observed.entry(Arc::as_ptr(&row.origin)).or_insert_with(observed)))
    }

    fn absent(&mut self, before: &Arc<Row>) {
        if before.document.is_some() {
            self.merged.changes.push(Change { path: Arc::clone(&before.path), change: ChangeKind::Removed });
        }
        // After a read of every key `checked` remembers the absence; after one of some keys only a tombstone does.
        if matches!(self.seen.scope, Scope::Some(_)) && !is_out(Safeguard::Tombstones) {
            self.merged.rows.push(Arc::new(Row { document: None, ..before.from(&self.seen.origin) }));
        }
    }
}

#[cfg(test)]
mod tests;
