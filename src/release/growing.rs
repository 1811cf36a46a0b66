//! A release while it is put together: entries, rows and changes, template by template.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::build::{Built, Cost};
use super::catalogue;
use super::manifest::{Change, ChangeKind, Manifest, RowsAt, Status, TemplateEntry};
use super::merge::Merged;
use super::refresh::{LeftOut, Refreshed};
use super::report::{Counts, TemplateReport, differences, listed};
use super::row::{Row, Rows, find};
use crate::diagnostic::Diagnostic;
use crate::template::{HeaderPolicy, Template};

/// The release as it grows, template by template.
pub struct Growing {
    pub entries: BTreeMap<String, TemplateEntry>,
    pub rows: BTreeMap<String, Rows>,
    pub keys: BTreeMap<String, Vec<Value>>,
    /// Object path and body of each further file of the catalogue.
    pub files: BTreeMap<String, Arc<Vec<u8>>>,
    pub changes: Vec<Change>,
    pub shards: BTreeSet<String>,
    pub policies: BTreeMap<String, HeaderPolicy>,
    /// What refresh queries answered before complete reads, for the head.
    pub refreshed: BTreeMap<String, Refreshed>,
}

impl Growing {
    pub fn from(base: Option<&Manifest>) -> Growing {
        Growing {
            entries: base.map(|base| base.root.templates.clone()).unwrap_or_default(),
            rows: base.map(|base| base.rows.clone()).unwrap_or_default(),
            keys: BTreeMap::new(),
            files: BTreeMap::new(),
            changes: Vec::new(),
            shards: BTreeSet::new(),
            policies: base.map(|base| base.root.policies.clone()).unwrap_or_default(),
            refreshed: BTreeMap::new(),
        }
    }

    /// True if what the catalogue is to say of every template's keys is known.
    pub fn knows_all_keys(&self) -> bool {
        self.entries.keys().all(|name| *name == catalogue::NAME || self.keys.contains_key(name))
    }

    /// Two templates can't share a path. One whose file is gone gives its paths up: it was probably renamed.
    pub fn refuse_collisions(
        &mut self,
        template: &Template,
        merged: &Merged,
        known: &BTreeSet<&str>,
    ) -> Result<(), Diagnostic> {
        let mut given_up: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
        for change in merged.changes.iter().filter(|change| change.change == ChangeKind::Added) {
            let has = |rows: &[Arc<Row>]| find(rows, &change.path).is_some_and(|row| row.document.is_some());
            let other = self.rows.iter().find(|(name, rows)| **name != template.name && has(rows));
            let Some((other, _)) = other else { continue };
            if known.contains(other.as_str()) {
                return Err(self.collision(template, merged, other, &change.path));
            }
            given_up.entry(other.clone()).or_default().insert(&change.path);
        }
        for (other, paths) in given_up {
            self.give_up(&other, &paths);
        }
        Ok(())
    }

    fn collision(&self, template: &Template, merged: &Merged, other: &str, path: &str) -> Diagnostic {
        let describe =
            |row: Option<&Arc<Row>>, columns: &[String]| row.map(|row| row.key.describe(columns)).unwrap_or_default();
        let theirs = describe(find(&self.rows[other], path), &self.entries[other].key_columns);
        let ours = describe(find(&merged.rows, path), template.columns());
        template
            .error(format!("two keys have one object path `{path}`: {ours}, and {theirs} of the template {other}"))
            .hint("give the templates different paths")
    }

    fn give_up(&mut self, other: &str, paths: &BTreeSet<&str>) {
        let rows = self.rows.get(other).map(|rows| rows.as_slice()).unwrap_or_default();
        let rows: Vec<Arc<Row>> = rows.iter().filter(|row| !paths.contains(row.path.as_ref())).cloned().collect();
        let count = rows.iter().filter(|row| row.document.is_some()).count() as u64;
        match self.entries.get_mut(other) {
            Some(entry) if count > 0 => {
                entry.count = count;
                self.rows.insert(other.to_owned(), Arc::new(rows));
                self.shards.insert(other.to_owned());
            }
            _ => self.forget(other),
        }
    }

    /// True if a template's entry says something else than in the base, apart from instants and where its rows lie.
    pub fn has_other_entries(&self, base: Option<&Manifest>) -> bool {
        let timeless = |entries: &BTreeMap<String, TemplateEntry>| {
            let mut entries = entries.clone();
            entries.remove(catalogue::NAME);
            for entry in entries.values_mut() {
                entry.rows = RowsAt::default();
                entry.as_of = DateTime::default();
                entry.changed_at = DateTime::default();
            }
            entries
        };
        base.is_none_or(|base| timeless(&base.root.templates) != timeless(&self.entries))
    }

    /// Hashes of the header policies that a template's documents have.
    pub fn policies_of(&self, name: &str) -> BTreeSet<String> {
        let rows = self.rows.get(name).map_or(&[][..], |rows| rows.as_slice());
        let shown = rows.iter().filter(|row| row.document.is_some());
        let policies: BTreeSet<&str> = shown.map(|row| row.origin.policy.as_ref()).collect();
        policies.into_iter().map(str::to_owned).collect()
    }

    pub fn forget(&mut self, name: &str) {
        self.entries.remove(name);
        self.rows.remove(name);
        self.keys.remove(name);
        self.shards.remove(name);
    }

    pub fn put(
        &mut self,
        template: &Template,
        built: &Built,
        merged: Merged,
        counts: Counts,
        as_of: DateTime<Utc>,
        now: DateTime<Utc>,
    ) {
        let name = &template.name;
        let before = self.entries.get(name).cloned();
        let entry = TemplateEntry {
            rows: before.as_ref().map(|entry| entry.rows.clone()).unwrap_or_default(),
            path: template.pattern.as_str().to_owned(),
            shape: template.shape,
            on_miss: template.on_miss,
            key_columns: template.columns().to_vec(),
            columns: built.columns.clone(),
            policies: before.as_ref().map(|entry| entry.policies.clone()).unwrap_or_default(),
            count: counts.keys,
            held: merged.rows.iter().filter(|row| row.origin.held).count() as u64,
            as_of: before.as_ref().map_or(as_of, |entry| entry.as_of),
            changed_at: before.as_ref().map_or(now, |entry| entry.changed_at),
            status: before.as_ref().filter(|_| !built.is_whole()).map_or(Status::Ok, |entry| entry.status),
        };
        let same_rows = self.rows.get(name).is_some_and(|rows| **rows == merged.rows);
        if before.as_ref() == Some(&entry) && same_rows {
            return;
        }
        let differs = |change: &Change| change.change != ChangeKind::Rewritten;
        let changes = merged.changes.iter().any(differs) || before.is_none();
        let changed_at = if changes { now } else { entry.changed_at };
        // Some keys that are new don't make the others so: only a whole read moves the template's instant.
        let as_of = if changes && built.is_whole() { as_of } else { entry.as_of };
        self.entries.insert(name.clone(), TemplateEntry { as_of, changed_at, ..entry });
        if !same_rows || before.is_none() {
            self.shards.insert(name.clone());
        }
        self.rows.insert(name.clone(), Arc::new(merged.rows));
        if self.changes.is_empty() {
            self.changes = merged.changes;
        } else {
            self.changes.extend(merged.changes);
        }
    }

    /// A template that failed keeps its last good rows, and the catalogue says so.
    pub fn fail(&mut self, template: &Template, failure: Diagnostic) -> TemplateReport {
        let keys = self.keep(&template.name);
        let counts = Counts { keys, unchanged: keys, ..Counts::default() };
        TemplateReport { failure: Some(failure), ..TemplateReport::of(&template.name, counts) }
    }

    /// A template whose query was left out keeps its rows.
    pub fn leave(&mut self, template: &Template, left_out: &LeftOut) -> TemplateReport {
        let name = &template.name;
        let mut counts = Counts::default();
        let mut held = 0;
        if let Some(entry) = self.entries.get(name) {
            (counts.keys, counts.unchanged, held) = (entry.count, entry.count, entry.held);
        }
        // Others may have committed keys since that it couldn't know; then the catalogue itself tells what it says.
        if self.rows.get(name).is_some_and(|rows| Arc::ptr_eq(rows, &left_out.rows)) {
            self.keys.insert(name.clone(), left_out.keys.columns.clone());
            self.files.extend(left_out.keys.files.clone());
        }
        let cost = Cost { queries: left_out.queries, ..Cost::default() };
        let decision = Some(left_out.decision.clone());
        TemplateReport { held, cost, decision, ..TemplateReport::of(name, counts) }
    }

    /// Notes that a template keeps its last good rows; returns how many documents those are.
    pub fn keep(&mut self, name: &str) -> u64 {
        self.entries.get_mut(name).map_or(0, |entry| {
            entry.status = Status::LastGood;
            entry.count
        })
    }

    /// Takes a template out of the release, with all its documents.
    pub fn retire(&mut self, name: &str) -> TemplateReport {
        let rows = self.rows.get(name).cloned().unwrap_or_default();
        let gone = rows.iter().filter(|row| row.document.is_some());
        let changes: Vec<Change> =
            gone.map(|row| Change { path: Arc::clone(&row.path), change: ChangeKind::Removed }).collect();
        let counts = Counts { removed: changes.len() as u64, ..Counts::default() };
        let differences = differences(listed(&changes), &rows, &[], None);
        self.changes.extend(changes);
        self.forget(name);
        TemplateReport { changes: differences, ..TemplateReport::of(name, counts) }
    }

    /// Catalogue files that no template's keys refer to any more.
    pub fn stale_files(&self, committed: &[Arc<Row>]) -> Vec<Arc<str>> {
        let referred = |path: &str| {
            self.keys.values().flatten().any(|column| column.get("url").and_then(Value::as_str) == Some(path))
        };
        committed
            .iter()
            .filter(|row| *row.path != *catalogue::PATH && !referred(&row.path))
            .map(|row| row.path.clone())
            .collect()
    }
}
