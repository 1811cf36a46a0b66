//! Comparing two releases: which keys one has and the other doesn't, and which documents differ.
//!
//! The rows of the manifests tell all of that but the contents. What has changed within a document takes reading its
//! blob in either release, and is done only for those that somebody wants to look into.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Serialize;

use super::catalogue;
use super::manifest::{Manifest, TemplateEntry};
use super::row::Row;
use super::side_by_side::side_by_side;
use crate::template::Shape;

mod contents;

pub use contents::{Contents, contents};

/// A template in two releases.
#[derive(Debug)]
pub struct Compared {
    /// Its name.
    pub name: String,
    /// The shape of its documents in the release that has it, the later one before the other.
    pub shape: Shape,
    /// How many documents it had.
    pub before: u64,
    /// How many it has.
    pub after: u64,
    /// Columns that only the later release has.
    pub columns_added: Vec<String>,
    /// Columns that only the earlier release has.
    pub columns_removed: Vec<String>,
    /// The documents that differ, in the order of their paths.
    pub differences: Vec<Differing>,
}

/// A document that differs; at least one of the two is there.
#[derive(Debug, Clone)]
pub struct Differing {
    /// The document's row in the earlier release.
    pub before: Option<Arc<Row>>,
    /// In the later one.
    pub after: Option<Arc<Row>>,
}

/// How a document differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// Only the later release has it.
    Added,
    /// It has other bytes.
    Changed,
    /// It has the same bytes and other headers.
    Headers,
    /// Only the earlier release has it.
    Removed,
}

impl Differing {
    /// How it differs.
    pub fn how(&self) -> How {
        match (&self.before, &self.after) {
            (Some(before), Some(after)) if before.digest() == after.digest() => How::Headers,
            (Some(_), Some(_)) => How::Changed,
            (None, _) => How::Added,
            (_, None) => How::Removed,
        }
    }

    /// Its object path.
    pub fn path(&self) -> &str {
        self.after.as_ref().or(self.before.as_ref()).map_or("", |row| &row.path)
    }
}

impl Compared {
    /// How many documents differ in this way.
    pub fn count(&self, how: How) -> u64 {
        self.differences.iter().filter(|differing| differing.how() == how).count() as u64
    }
}

/// Compares two releases, template by template; those without any difference are left out. The catalogue is too: it
/// differs with every release.
pub fn compare(before: &Manifest, after: &Manifest) -> Vec<Compared> {
    let names: BTreeSet<&String> = before.root.templates.keys().chain(after.root.templates.keys()).collect();
    let compared = names.into_iter().filter(|name| *name != catalogue::NAME).filter_map(|name| {
        let entries = (before.root.templates.get(name), after.root.templates.get(name));
        let shape = entries.1.or(entries.0)?.shape;
        let columns = |entry: Option<&TemplateEntry>| entry.map_or(Vec::new(), |entry| entry.columns.clone());
        let (old, new) = (columns(entries.0), columns(entries.1));
        let without = |some: &[String], others: &[String]| -> Vec<String> {
            some.iter().filter(|column| !others.contains(column)).cloned().collect()
        };
        let is_in_both = entries.0.is_some() && entries.1.is_some();
        Some(Compared {
            name: name.clone(),
            shape,
            before: entries.0.map_or(0, |entry| entry.count),
            after: entries.1.map_or(0, |entry| entry.count),
            columns_added: if is_in_both { without(&new, &old) } else { Vec::new() },
            columns_removed: if is_in_both { without(&old, &new) } else { Vec::new() },
            differences: differences(documents(before, name), documents(after, name)),
        })
    });
    compared.filter(|compared| !compared.differences.is_empty()).collect()
}

fn documents<'a>(manifest: &'a Manifest, name: &str) -> impl Iterator<Item = &'a Arc<Row>> {
    let rows = manifest.rows.get(name).map_or(&[][..], |rows| rows.as_slice());
    rows.iter().filter(|row| row.document.is_some())
}

/// Walks along the documents of both releases, which are in the order of their paths.
fn differences<'a>(
    before: impl Iterator<Item = &'a Arc<Row>>,
    after: impl Iterator<Item = &'a Arc<Row>>,
) -> Vec<Differing> {
    let is_same = |(old, new): &(Option<&Arc<Row>>, Option<&Arc<Row>>)| {
        matches!((old, new), (Some(old), Some(new))
            if old.digest() == new.digest() && old.origin.policy == new.origin.policy)
    };
    let differing = side_by_side(before, after).filter(|pair| !is_same(pair));
    differing.map(|(old, new)| Differing { before: old.cloned(), after: new.cloned() }).collect()
}
