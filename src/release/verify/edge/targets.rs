//! What is looked at: by default what an edge may be behind with.

use std::sync::Arc;

use super::super::super::activate::Changed;
use super::super::super::catalogue;
use super::super::super::head::Head;
use super::super::super::id::ReleaseId;
use super::super::super::manifest::Manifest;
use super::super::super::row::DocumentRow;
use super::super::parity::pick;
use super::Edge;
use crate::cdn::Cdn;
use crate::error::Error;

/// What somebody wants looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// What the active release changed or removed, and the releases before it whose changes the edges weren't told of.
    Changed,
    /// That, and every document of the release.
    All,
    /// These object paths.
    Paths(Vec<String>),
}

/// What is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// Which paths.
    pub choice: Choice,
    /// No more of them than this; they are picked by chance, with the catalogue's first file always among them.
    pub most: Option<usize>,
    /// What they are picked by.
    pub seed: u64,
}

/// A path and what is to be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub path: Arc<str>,
    /// None if nothing is to be there.
    pub document: Option<DocumentRow>,
}

impl Target {
    pub fn of(manifest: &Manifest, path: &Arc<str>) -> Target {
        Target { path: Arc::clone(path), document: manifest.row(path).and_then(|row| row.document) }
    }
}

/// The paths to look at, and of how many they were picked.
pub async fn find(
    edge: Edge<'_>,
    head: &Head,
    manifest: &Manifest,
    scope: &Scope,
) -> Result<(Vec<Target>, u64), Error> {
    let mut paths: Vec<Arc<str>> = match &scope.choice {
        Choice::Paths(paths) => paths.iter().map(|path| Arc::from(path.as_str())).collect(),
        choice => {
            let (since, nobody_knows) = since(edge.cdn, head, manifest);
            let mut paths: Vec<Arc<str>> = head.mended.iter().cloned().collect();
            match Changed::since(edge.store, since, &manifest.root).await? {
                Changed::All => paths.extend(documents(manifest)),
                Changed::Paths(changed) => paths.extend(changed),
            }
            if *choice == Choice::All || nobody_knows {
                paths.extend(documents(manifest));
            }
            paths
        }
    };
    paths.sort_unstable();
    paths.dedup();
    let in_scope = paths.len() as u64;
    let paths = some_of(paths, scope);
    Ok((paths.iter().map(|path| Target::of(manifest, path)).collect(), in_scope))
}

/// The release since which changes count: the one before the active, or an earlier one up to which the edges were told.
/// Where nobody knows what they were told (true), it is the oldest that is remembered, and every document may be stale.
fn since<'a>(cdn: &Cdn, head: &'a Head, manifest: &'a Manifest) -> (Option<&'a ReleaseId>, bool) {
    let parent = manifest.root.parent.as_ref();
    match head.told(cdn) {
        _ if cdn.is_none() => (parent, false),
        Some(told) => (parent.map(|parent| parent.min(told)), false),
        None => (head.floor.as_ref(), true),
    }
}

fn documents(manifest: &Manifest) -> impl Iterator<Item = Arc<str>> {
    let rows = manifest.rows.values().flat_map(|rows| rows.iter());
    rows.filter(|row| row.document.is_some()).map(|row| Arc::clone(&row.path))
}

fn some_of(paths: Vec<Arc<str>>, scope: &Scope) -> Vec<Arc<str>> {
    let Some(most) = scope.most.filter(|most| *most < paths.len()) else { return paths };
    let mut picked: Vec<Arc<str>> =
        pick(paths.len(), most, scope.seed).into_iter().map(|at| Arc::clone(&paths[at])).collect();
    // Everything that a frontend does begins with it.
    let is_first = |path: &&Arc<str>| path.as_ref() == catalogue::PATH;
    if let Some(first) = paths.iter().find(is_first)
        && !picked.iter().any(|path| is_first(&path))
        && let Some(last) = picked.last_mut()
    {
        *last = Arc::clone(first);
    }
    picked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_keeps_the_catalogue() {
        let paths: Vec<Arc<str>> =
            (0..100).map(|n| Arc::from(format!("a/{n:03}.json"))).chain([Arc::from("index.json")]).collect();
        for seed in 0..50 {
            let scope = Scope { choice: Choice::Changed, most: Some(5), seed };
            let some = some_of(paths.clone(), &scope);
            assert_eq!(some.len(), 5);
            assert!(some.iter().any(|path| path.as_ref() == "index.json"), "{some:?}");
            assert!(some.iter().collect::<std::collections::BTreeSet<_>>().len() == 5, "{some:?}");
        }
        assert_eq!(some_of(paths.clone(), &Scope { choice: Choice::All, most: None, seed: 1 }), paths);
    }
}
