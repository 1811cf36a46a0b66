//! A release while it is put together: entries, rows and changes, template by template.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::build::{Built, Cost};
use super::catalogue;
use super::manifest::{Change, ChangeKind, Manifest, Row, Status, TemplateEntry, find};
use super::merge::Merged;
use super::publish::{Counts, TemplateReport};
use crate::diagnostic::Diagnostic;
use crate::template::{HeaderPolicy, Template};

/// The release as it grows, template by template.
pub struct Growing {
    pub entries: BTreeMap<String, TemplateEntry>,
    pub rows: BTreeMap<String, Vec<Row>>,
    pub keys: BTreeMap<String, Vec<Value>>,
    pub files: BTreeMap<String, Value>,
    pub changes: Vec<Change>,
    pub shards: BTreeSet<String>,
    pub policies: BTreeMap<String, HeaderPolicy>,
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
        }
    }

    /// Two templates can't share a path. One whose file is gone gives its paths up: it was probably renamed.
    pub fn refuse_collisions(
        &mut self,
        template: &Template,
        merged: &Merged,
        known: &BTreeSet<&str>,
    ) -> Result<(), Diagnostic> {
        for change in merged.changes.iter().filter(|change| change.change == ChangeKind::Added) {
            let has = |rows: &Vec<Row>| find(rows, &change.path).is_some_and(|row| row.document.is_some());
            let other = self
                .rows
                .iter()
                .find(|(name, rows)| **name != template.name && has(rows))
                .map(|(name, _)| name.clone());
            let Some(other) = other else { continue };
            if known.contains(other.as_str()) {
                let describe = |row: Option<&Row>, columns: &[String]| {
                    row.map(|row| row.key.describe(columns)).unwrap_or_default()
                };
                let theirs = describe(find(&self.rows[&other], &change.path), &self.entries[&other].key_columns);
                let ours = describe(find(&merged.rows, &change.path), template.columns());
                return Err(template
                    .error(format!(
                        "two keys have one object path `{}`: {ours}, and {theirs} of the template {other}",
                        change.path
                    ))
                    .hint("give the templates different paths"));
            }
            if let Some(rows) = self.rows.get_mut(&other) {
                rows.retain(|row| row.path != change.path);
                let count = rows.iter().filter(|row| row.document.is_some()).count() as u64;
                self.shards.insert(other.clone());
                match self.entries.get_mut(&other) {
                    Some(entry) if count > 0 => entry.count = count,
                    _ => self.forget(&other),
                }
            }
        }
        Ok(())
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
            shard: before.as_ref().map(|entry| entry.shard.clone()).unwrap_or_default(),
            path: template.pattern.as_str().to_owned(),
            shape: template.shape,
            on_miss: template.on_miss,
            key_columns: template.columns().to_vec(),
            columns: built.summary.columns.clone(),
            count: counts.keys,
            as_of: before.as_ref().map_or(as_of, |entry| entry.as_of),
            changed_at: before.as_ref().map_or(now, |entry| entry.changed_at),
            status: Status::Ok,
        };
        let same_rows = self.rows.get(name).is_some_and(|rows| *rows == merged.rows);
        if before.as_ref() == Some(&entry) && same_rows {
            return;
        }
        let changes = !merged.changes.is_empty() || before.is_none();
        let (as_of, changed_at) = if changes { (as_of, now) } else { (entry.as_of, entry.changed_at) };
        self.entries.insert(name.clone(), TemplateEntry { as_of, changed_at, ..entry });
        if !same_rows || before.is_none() {
            self.shards.insert(name.clone());
        }
        self.rows.insert(name.clone(), merged.rows);
        self.changes.extend(merged.changes);
    }

    /// A template that failed keeps its last good rows, and the catalogue says so.
    pub fn fail(&mut self, template: &Template, failure: Diagnostic) -> TemplateReport {
        let mut counts = Counts::default();
        if let Some(entry) = self.entries.get_mut(&template.name) {
            entry.status = Status::LastGood;
            counts.keys = entry.count;
            counts.unchanged = entry.count;
        }
        TemplateReport {
            name: template.name.clone(),
            failure: Some(failure),
            counts,
            rows: 0,
            rows_skipped: 0,
            over_max_keys: false,
            cost: Cost::default(),
            changes: Vec::new(),
        }
    }

    /// Catalogue files that no template's keys refer to any more.
    pub fn stale_files(&self, committed: &[Row]) -> Vec<Box<str>> {
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
