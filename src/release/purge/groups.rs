//! Stale paths by template, with what a purge can name instead of them.
//!
//! A tag stands for a document only if every copy that an edge may have kept carries it. Tags come from the template's
//! header policy, and a copy carries those of the release that it was fetched from; so tags are trusted only as long as no
//! release since the last purge had other policies. Folders are part of the path, and can be trusted always.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::activate::filled;
use super::super::catalogue;
use super::super::id::ReleaseId;
use super::super::manifest::{Manifest, Root};
use crate::cdn::{Group, TagOf};
use crate::error::Error;
use crate::key::PathPattern;
use crate::store::Store;

/// Whether tags stand for documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Kept copies may carry others.
    None,
    /// Kept copies carry those of the release that is shown.
    Tags,
}

impl Trust {
    /// Looks at every release whose documents an edge may have kept.
    pub async fn since(store: &Store, known: Option<&ReleaseId>, shown: &Root) -> Result<Trust, Error> {
        let Some(known) = known else { return Ok(Trust::None) };
        let mut parent = shown.parent.clone();
        while let Some(id) = parent.filter(|id| id.serial >= known.serial) {
            let root = Root::read(store, &id).await?;
            if !root.policies.keys().eq(shown.policies.keys()) {
                return Ok(Trust::None);
            }
            parent = root.parent;
        }
        Ok(Trust::Tags)
    }
}

/// Divides stale paths among the templates; those of templates that are gone make a group of their own.
pub fn groups(manifest: &Manifest, stale: Vec<Arc<str>>, trust: Trust) -> Vec<Group<'_>> {
    let mut left = stale;
    let mut groups = Vec::new();
    for (name, entry) in &manifest.root.templates {
        let pattern = PathPattern::parse(&entry.path).ok();
        let is_own = |path: &str| match &pattern {
            _ if name == catalogue::NAME => path == catalogue::PATH || path.starts_with(catalogue::FOLDER),
            Some(pattern) => pattern.slugs(path).is_some(),
            None => false,
        };
        let (own, others): (Vec<_>, Vec<_>) = left.into_iter().partition(|path| is_own(path));
        left = others;
        let rows = manifest.rows.get(name).map_or(&[][..], |rows| rows.as_slice());
        let shown = rows.iter().filter(|row| row.document.is_some());
        let policies: BTreeSet<&str> = shown.clone().map(|row| row.origin.policy.as_ref()).collect();
        let tags = match trust {
            Trust::None => Vec::new(),
            Trust::Tags => tags(&manifest.root, &policies, pattern.as_ref()),
        };
        groups.push(Group { stale: own, shown: shown.map(|row| Arc::clone(&row.path)).collect(), tags });
    }
    groups.push(Group { stale: left, ..Group::default() });
    groups
}

/// The tags that all of these policies have in common.
fn tags<'a>(root: &'a Root, policies: &BTreeSet<&str>, pattern: Option<&PathPattern>) -> Vec<TagOf<'a>> {
    let mut each = policies.iter().map(|hash| root.policies.get(*hash).map(|policy| &policy.cache_tags));
    let Some(Some(first)) = each.next() else { return Vec::new() };
    let others: Vec<_> = each.collect();
    let is_common = |tag: &&String| others.iter().all(|tags| tags.is_some_and(|tags| tags.contains(tag)));
    let tag_of = |tag: &'a String| {
        let pattern = pattern.cloned();
        Box::new(move |path: &str| filled(pattern.as_ref(), tag, path)) as TagOf<'a>
    };
    first.iter().filter(is_common).map(tag_of).collect()
}
