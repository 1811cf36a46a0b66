//! Restoring: the rows of an older release in place of the committed ones, from what the store still has.
//!
//! A document that the committed release shows with the same bytes and headers stays as it is, with the newer instant
//! that it was seen at. Everything else comes back with the blob that the older release names.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::catalogue::{self, Catalogue};
use super::growing::Growing;
use super::head::Head;
use super::id::ReleaseId;
use super::manifest::{Change, ChangeKind, Manifest, RowsAt, TemplateEntry};
use super::merge::Merged;
use super::report::{TemplateReport, counts, differences, listed};
use super::rollback::is_kept;
use super::row::{Origin, Row};
use super::side_by_side::side_by_side;
use crate::error::Error;

/// What is to come back.
pub struct Restoring {
    /// The release that is to be shown again.
    pub target: Arc<Manifest>,
    /// What its catalogue says of the keys.
    pub catalogue: Option<Catalogue>,
    /// The release that is to go; if another is committed by then, nothing happens.
    pub replaces: ReleaseId,
    /// Keep later publishes off what changes.
    pub hold: bool,
    /// When it was ordered.
    pub now: DateTime<Utc>,
}

impl Restoring {
    /// Refuses a committed release that isn't the one which the order was about, and a target that is no longer kept.
    pub fn check(&self, head: &Head) -> Result<(), Error> {
        let (now, target) = (head.desired.as_ref(), &self.target.root.id);
        if !is_kept(head, target) {
            return Err(Error::Overtaken { reason: format!("the release {target} has been pruned meanwhile") });
        }
        if now == Some(&self.replaces) {
            return Ok(());
        }
        let now = now.map_or_else(|| "nothing".to_owned(), |now| format!("the release {now}"));
        let reason =
            format!("the rollback was ordered over the release {}, and by now {now} is committed", self.replaces);
        Err(Error::Overtaken { reason })
    }

    /// Replaces the rows of every template; what becomes of each.
    pub fn onto(&self, growing: &mut Growing) -> Vec<TemplateReport> {
        let target = &self.target.root;
        growing.policies.extend(target.policies.clone());
        let names: BTreeSet<String> = growing.entries.keys().chain(target.templates.keys()).cloned().collect();
        let mut reports = Vec::new();
        for name in names {
            let committed = growing.rows.get(&name).cloned().unwrap_or_default();
            let wanted = self.target.rows.get(&name).map_or(&[][..], |rows| rows.as_slice());
            let merged = self.merge(&name, &committed, wanted);
            if name == catalogue::NAME {
                growing.rows.insert(name, Arc::new(merged.rows));
                growing.changes.extend(merged.changes);
                continue;
            }
            let (counts, held) = (counts(&merged), merged.held);
            reports.push(TemplateReport {
                held,
                changes: differences(listed(&merged.changes), &committed, &merged.rows, None),
                ..TemplateReport::of(&name, counts)
            });
            self.put(growing, name, merged);
        }
        reports
    }

    fn put(&self, growing: &mut Growing, name: String, merged: Merged) {
        let before = growing.entries.get(&name);
        let mut entry = match (self.target.root.templates.get(&name), before) {
            (Some(wanted), _) => wanted.clone(),
            (None, Some(before)) if !merged.rows.is_empty() => before.clone(),
            _ => {
                growing.changes.extend(merged.changes);
                return growing.forget(&name);
            }
        };
        entry.rows = before.map(|entry| entry.rows.clone()).unwrap_or_default();
        entry.policies = before.map(|entry| entry.policies.clone()).unwrap_or_default();
        entry.count = merged.rows.iter().filter(|row| row.document.is_some()).count() as u64;
        entry.held = merged.rows.iter().filter(|row| row.origin.held).count() as u64;
        let timeless = |entry: &TemplateEntry| TemplateEntry {
            rows: RowsAt::default(),
            as_of: DateTime::default(),
            changed_at: DateTime::default(),
            ..entry.clone()
        };
        let is_same = merged.changes.is_empty() && before.is_some_and(|before| timeless(before) == timeless(&entry));
        if is_same {
            return;
        }
        entry.changed_at = self.now;
        growing.shards.insert(name.clone());
        growing.entries.insert(name.clone(), entry);
        growing.rows.insert(name, Arc::new(merged.rows));
        growing.changes.extend(merged.changes);
    }

    /// Walks along the committed rows and the wanted ones, both in the order of their paths.
    fn merge(&self, name: &str, committed: &[Arc<Row>], wanted: &[Arc<Row>]) -> Merged {
        let mut merging = Walk { restoring: self, merged: Merged::default(), restored: HashMap::new() };
        let wanted = wanted.iter().filter(|row| row.document.is_some());
        for (before, after) in side_by_side(committed, wanted) {
            // The catalogue itself names the release that it belongs to, so it is made anew.
            let is_made_anew =
                name == catalogue::NAME && before.or(after).is_some_and(|row| *row.path == *catalogue::PATH);
            match (is_made_anew, before) {
                (true, Some(before)) => merging.merged.rows.push(Arc::clone(before)),
                (true, None) => {}
                (false, _) => merging.one(before, after),
            }
        }
        merging.merged
    }
}

/// A walk along the rows of a template.
struct Walk<'a> {
    restoring: &'a Restoring,
    merged: Merged,
    /// The origins of rows that come back, by what they were and whether they are held.
    restored: HashMap<(*const Origin, bool), Arc<Origin>>,
}

impl Walk<'_> {
    fn one(&mut self, before: Option<&Arc<Row>>, after: Option<&Arc<Row>>) {
        let shown = before.filter(|row| row.document.is_some());
        let was_held = before.is_some_and(|row| row.origin.held);
        let hold = self.restoring.hold || was_held;
        match (shown, after) {
            (Some(before), Some(after)) if is_same(before, after) => {
                self.merged.unchanged += 1;
                self.merged.rows.push(Arc::clone(before));
            }
            (_, Some(after)) => {
                let change = if shown.is_some() { ChangeKind::Changed } else { ChangeKind::Added };
                let origin = Arc::clone(self.origin(&after.origin, hold));
                self.put(after.from(&origin), change);
            }
            (Some(before), None) => {
                self.merged.changes.push(Change { path: Arc::clone(&before.path), change: ChangeKind::Removed });
                if hold {
                    self.merged.held += 1;
                    let origin = Arc::clone(self.origin(&before.origin, true));
                    let gone = Row { document: None, ..before.from(&origin) };
                    self.merged.rows.push(Arc::new(gone));
                }
            }
            // A rollback is a barrier to whatever a tombstone keeps out; a hold outlives it.
            (None, None) => self.merged.rows.extend(before.filter(|_| was_held).cloned()),
        }
    }

    fn put(&mut self, row: Row, change: ChangeKind) {
        self.merged.held += u64::from(row.origin.held);
        self.merged.changes.push(Change { path: Arc::clone(&row.path), change });
        self.merged.rows.push(Arc::new(row));
    }

    fn origin(&mut self, origin: &Arc<Origin>, held: bool) -> &Arc<Origin> {
        let changed_at = self.restoring.now;
        let restored = || Arc::new(Origin { changed_at, held, ..origin.as_ref().clone() });
        self.restored.entry((Arc::as_ptr(origin), held)).or_insert_with(restored)
    }
}

fn is_same(before: &Row, after: &Row) -> bool {
    before.digest() == after.digest() && before.origin.policy == after.origin.policy && before.key == after.key
}
