//! Stale paths by template, with what a purge can name instead of them.
//!
//! A tag stands for a document only if every copy that an edge may have kept carries it. Tags come from the template's
//! header policy, and a copy carries those of the release that it was fetched from. So a template's tags are trusted only
//! if in every release since the last purge whatever template had one of its stale paths had the same policies as it has
//! now. Folders are part of the path, and can be trusted always.

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
#[derive(Debug)]
pub enum Trust {
    /// Kept copies may carry any.
    None,
    /// Kept copies carry those of one of these.
    Tags(Vec<Copies>),
}

/// The paths that a template has, or had in a release that an edge may have kept copies of.
#[derive(Debug)]
struct Family {
    path: String,
    is_catalogue: bool,
    pattern: Option<PathPattern>,
}

/// What copies of a template's documents carry.
#[derive(Debug)]
pub struct Copies {
    family: Family,
    /// Hashes of header policies; a release that doesn't tell them has none.
    policies: BTreeSet<String>,
}

impl Family {
    fn new(name: &str, path: &str) -> Family {
        let is_catalogue = name == catalogue::NAME;
        Family { path: path.to_owned(), is_catalogue, pattern: PathPattern::parse(path).ok() }
    }

    fn has(&self, path: &str) -> bool {
        match &self.pattern {
            _ if self.is_catalogue => path == catalogue::PATH || path.starts_with(catalogue::FOLDER),
            Some(pattern) => pattern.slugs(path).is_some(),
            None => false,
        }
    }
}

impl Trust {
    /// Looks at every release whose documents an edge may have kept.
    pub async fn since(store: &Store, known: Option<&ReleaseId>, shown: &Root) -> Result<Trust, Error> {
        let Some(known) = known else { return Ok(Trust::None) };
        let mut copies = Vec::new();
        add(&mut copies, shown);
        let mut parent = shown.parent.clone();
        while let Some(id) = parent.filter(|id| id.serial >= known.serial) {
            let root = Root::read(store, &id).await?;
            add(&mut copies, &root);
            parent = root.parent;
        }
        Ok(Trust::Tags(copies))
    }

    /// True if whatever copy was kept of these paths carries what a template's documents carry that has these policies.
    fn is_of(&self, family: &Family, policies: &BTreeSet<&str>, stale: &[Arc<str>]) -> bool {
        let Trust::Tags(copies) = self else { return false };
        copies.iter().all(|copies| {
            let is_same = copies.family.path == family.path && copies.policies.iter().eq(policies.iter().copied());
            is_same || !stale.iter().any(|path| copies.family.has(path))
        })
    }
}

/// Adds what the copies of a release carry, each kind once.
fn add(copies: &mut Vec<Copies>, root: &Root) {
    for (name, entry) in &root.templates {
        let is_known = |known: &Copies| known.family.path == entry.path && known.policies == entry.policies;
        if !copies.iter().any(is_known) {
            copies.push(Copies { family: Family::new(name, &entry.path), policies: entry.policies.clone() });
        }
    }
}

/// Divides stale paths among the templates; those of templates that are gone make a group of their own.
pub fn groups<'a>(manifest: &'a Manifest, stale: Vec<Arc<str>>, trust: &Trust) -> Vec<Group<'a>> {
    let mut left = stale;
    let mut groups = Vec::new();
    for (name, entry) in &manifest.root.templates {
        let family = Family::new(name, &entry.path);
        let (own, others): (Vec<_>, Vec<_>) = left.into_iter().partition(|path| family.has(path));
        left = others;
        let rows = manifest.rows.get(name).map_or(&[][..], |rows| rows.as_slice());
        let shown = rows.iter().filter(|row| row.document.is_some());
        let policies: BTreeSet<&str> = shown.clone().map(|row| row.origin.policy.as_ref()).collect();
        let tags = match trust.is_of(&family, &policies, &own) {
            true => tags(&manifest.root, &policies, family.pattern.as_ref()),
            false => Vec::new(),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn copies(path: &str, policies: &[&str]) -> Copies {
        let policies = policies.iter().map(|&policy| policy.to_owned()).collect();
        Copies { family: Family::new("t", path), policies }
    }

    #[test]
    fn tags_are_trusted_where_every_copy_has_them() {
        let family = Family::new("now", "a/{k}.json");
        let stale: Vec<Arc<str>> = vec!["a/x.json".into(), "a/y.json".into()];
        let is_trusted = |others: Vec<Copies>| {
            let all = others.into_iter().chain([copies("a/{k}.json", &["p"])]).collect();
            Trust::Tags(all).is_of(&family, &BTreeSet::from(["p"]), &stale)
        };
        assert!(is_trusted(Vec::new()));
        assert!(is_trusted(vec![copies("b/{k}.json", &["q"])]), "another's paths");
        assert!(!is_trusted(vec![copies("a/{k}.json", &["q"])]), "it had the policy of another template");
        assert!(!is_trusted(vec![copies("a/{k}.json", &["p", "q"])]), "some of its documents had");
        assert!(!is_trusted(vec![copies("a/{k}.json", &[])]), "a release that doesn't tell");
        assert!(!is_trusted(vec![copies("a/{j}.json", &["p"])]), "the tags are filled in otherwise");
        assert!(!Trust::None.is_of(&family, &BTreeSet::from(["p"]), &stale));
    }
}
