//! The plan of a purge: what is named to the CDN so that every stale document is forgotten, in as few requests as it takes.
//!
//! Exact paths are best, because an unchanged document is then never fetched again. But a CDN bounds or bills what one
//! names, so with more than [`Limits::items`] of them a template's paths give way to the folders that they lie in, or to
//! the tags that they carry: first where that forgets the fewest documents besides for every path that it saves. If even
//! that isn't enough, everything goes. A plan is plain data: it can be printed, and nothing has been sent yet.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

/// What a CDN takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most paths, folders and tags that one purge names; at least one.
    pub items: usize,
    /// The most paths in one request.
    pub paths_per_request: usize,
    /// The most folders, or tags, in one request.
    pub bulk_per_request: usize,
    /// The most folders that one purge names; none if the CDN knows no folders.
    pub folders: Option<usize>,
    /// The most tags that one purge names, where they may stand for documents.
    pub most_tags: usize,
    /// True if tags may stand for documents: the CDN knows those that the documents carry.
    pub tags: bool,
    /// True if everything can be forgotten at once. Where it can't, every path is named, however many there are.
    pub everything: bool,
}

/// Documents that belong together, a template's for one.
#[derive(Default)]
pub struct Group<'a> {
    /// Paths that an edge may show something old for, each named once.
    pub stale: Vec<Arc<str>>,
    /// Every path that shows a document now.
    pub shown: Vec<Arc<str>>,
    /// The tags that every kept copy of a path of this group carries.
    pub tags: Vec<TagOf<'a>>,
}

/// The tag that a path carries.
pub type TagOf<'a> = Box<dyn Fn(&str) -> String + 'a>;

/// What is to be named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// These object paths.
    Paths(Vec<Arc<str>>),
    /// Everything in these folders of object paths; each ends in `/`.
    Folders(Vec<String>),
    /// Everything that carries one of these tags.
    Tags(Vec<String>),
    /// Everything.
    Everything,
}

/// What is to be sent.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// In this order.
    pub requests: Vec<Request>,
    /// How many documents have to be forgotten; none if nobody knows, because everything has to.
    pub paths: Option<u64>,
    /// How many others are forgotten as well; none if that is everything, and nobody has counted.
    pub besides: Option<u64>,
}

impl std::fmt::Debug for Group<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let tags = |path: &Arc<str>| self.tags.iter().map(|tag| tag(path)).collect::<Vec<_>>();
        let tagged = |paths: &[Arc<str>]| paths.iter().map(|path| (Arc::clone(path), tags(path))).collect::<Vec<_>>();
        f.debug_struct("Group").field("stale", &tagged(&self.stale)).field("shown", &tagged(&self.shown)).finish()
    }
}

impl Limits {
    /// Whatever is named, in one request.
    pub fn unbounded() -> Limits {
        let most = usize::MAX;
        Limits {
            items: most,
            paths_per_request: most,
            bulk_per_request: most,
            folders: None,
            most_tags: most,
            tags: false,
            everything: true,
        }
    }
}

impl Plan {
    /// Forgets everything, which nobody has counted.
    pub fn everything() -> Plan {
        Plan { requests: vec![Request::Everything], paths: None, besides: None }
    }

    /// Forgets these paths and nothing else.
    pub fn exact(limits: &Limits, stale: &[Arc<str>]) -> Plan {
        let requests = stale.chunks(limits.paths_per_request).map(|paths| Request::Paths(paths.to_vec())).collect();
        Plan { requests, paths: Some(stale.len() as u64), besides: Some(0) }
    }

    /// Forgets every stale path, and as few others as the limits allow.
    pub fn new(limits: &Limits, groups: &[Group<'_>]) -> Plan {
        let stale: Vec<Arc<str>> = groups.iter().flat_map(|group| group.stale.iter().cloned()).collect();
        if stale.len() <= limits.items || (!limits.everything && limits.folders.is_none() && !limits.tags) {
            return Plan::exact(limits, &stale);
        }
        let covers: Vec<Vec<Cover>> = groups.iter().map(|group| covers(limits, groups, group)).collect();
        let paths = Some(stale.len() as u64);
        let Some(chosen) = choose(limits, &covers) else {
            if !limits.everything {
                return Plan::exact(limits, &stale);
            }
            let all: HashSet<&str> = groups.iter().flat_map(|group| &group.shown).map(AsRef::as_ref).collect();
            let stale = stale.iter().filter(|path| all.contains(path.as_ref())).count();
            return Plan { requests: vec![Request::Everything], paths, besides: Some((all.len() - stale) as u64) };
        };
        let named = Named::of(&chosen);
        let besides = groups.iter().map(|group| named.besides(group)).sum();
        Plan { requests: named.requests(limits), paths, besides: Some(besides) }
    }

    /// True if nothing has to be sent.
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }
}

/// One way of naming all stale paths of a group.
#[derive(Debug, Default)]
struct Cover {
    paths: Vec<Arc<str>>,
    folders: BTreeSet<String>,
    tags: BTreeSet<String>,
    /// Documents that it forgets and that aren't stale, in whatever group.
    besides: u64,
}

impl Cover {
    fn items(&self) -> usize {
        self.paths.len() + self.folders.len() + self.tags.len()
    }
}

/// The ways of naming a group: its paths first, then those that take fewer items.
fn covers(limits: &Limits, groups: &[Group<'_>], group: &Group<'_>) -> Vec<Cover> {
    let exact = Cover { paths: group.stale.clone(), ..Cover::default() };
    let most = exact.items();
    let mut found = vec![exact];
    if let Some(most_folders) = limits.folders {
        let deepest = group.stale.iter().map(|path| path.matches('/').count()).max().unwrap_or(0);
        found.extend((1..=deepest).rev().map(|depth| in_folders(group, depth)).filter(|cover| {
            // Whatever else is chosen, more than so many can't be sent.
            cover.folders.len() <= most_folders
        }));
    }
    if limits.tags {
        let tagged =
            |tag: &TagOf<'_>| Cover { tags: group.stale.iter().map(|path| tag(path)).collect(), ..Cover::default() };
        found.extend(group.tags.iter().map(tagged).filter(|cover| cover.tags.len() <= limits.most_tags));
    }
    for cover in found.iter_mut().skip(1) {
        let named = Named::of(&[&*cover]);
        cover.besides = groups.iter().map(|group| named.besides(group)).sum();
    }
    let mut is_first = true;
    found.retain(|cover| std::mem::take(&mut is_first) || cover.items() < most);
    found
}

/// The folders of this depth that stale paths lie in, and the paths that don't lie so deep.
fn in_folders(group: &Group<'_>, depth: usize) -> Cover {
    let mut cover = Cover::default();
    for path in &group.stale {
        match path.match_indices('/').nth(depth - 1) {
            Some((end, _)) => drop(cover.folders.insert(path[..=end].to_owned())),
            None => cover.paths.push(Arc::clone(path)),
        }
    }
    cover
}

/// A way of naming for every group, so that together they keep within the limits; none if there is no such choice.
fn choose<'a>(limits: &Limits, covers: &'a [Vec<Cover>]) -> Option<Vec<&'a Cover>> {
    let mut chosen: Vec<&Cover> = covers.iter().map(|covers| &covers[0]).collect();
    while Named::of(&chosen).items() > limits.items {
        // What each other way costs in documents, for every item that it saves.
        let mut best: Option<(f64, usize, &Cover)> = None;
        for (group, covers) in covers.iter().enumerate() {
            let now = chosen[group];
            for other in covers.iter().filter(|other| other.items() < now.items()) {
                let mut then = chosen.clone();
                then[group] = other;
                let named = Named::of(&then);
                if named.folders.len() > limits.folders.unwrap_or(0) || named.tags.len() > limits.most_tags {
                    continue;
                }
                let saved = (now.items() - other.items()) as f64;
                let cost = (other.besides as f64 - now.besides as f64) / saved;
                if best.as_ref().is_none_or(|(least, ..)| cost < *least) {
                    best = Some((cost, group, other));
                }
            }
        }
        let (_, group, other) = best?;
        chosen[group] = other;
    }
    Some(chosen)
}

/// What several covers name together.
struct Named<'a> {
    /// Of every group its own, so that none is named twice.
    paths: Vec<&'a [Arc<str>]>,
    folders: BTreeSet<&'a str>,
    tags: BTreeSet<&'a str>,
}

impl<'a> Named<'a> {
    fn of(covers: &[&'a Cover]) -> Named<'a> {
        Named {
            paths: covers.iter().map(|cover| cover.paths.as_slice()).collect(),
            folders: covers.iter().flat_map(|cover| &cover.folders).map(String::as_str).collect(),
            tags: covers.iter().flat_map(|cover| &cover.tags).map(String::as_str).collect(),
        }
    }

    fn items(&self) -> usize {
        self.paths.iter().map(|paths| paths.len()).sum::<usize>() + self.folders.len() + self.tags.len()
    }

    /// How many documents of a group are forgotten although they aren't stale.
    fn besides(&self, group: &Group<'_>) -> u64 {
        let stale: HashSet<&str> = group.stale.iter().map(AsRef::as_ref).collect();
        let lies_in = |path: &str| path.match_indices('/').any(|(end, _)| self.folders.contains(&path[..=end]));
        let carries = |path: &str| group.tags.iter().any(|tag| self.tags.contains(tag(path).as_str()));
        let is_named = |path: &str| lies_in(path) || (!self.tags.is_empty() && carries(path));
        group.shown.iter().filter(|path| !stale.contains(path.as_ref()) && is_named(path)).count() as u64
    }

    fn requests(&self, limits: &Limits) -> Vec<Request> {
        let paths: Vec<Arc<str>> = self.paths.iter().copied().flatten().cloned().collect();
        let folders: Vec<String> = self.folders.iter().map(|&folder| folder.to_owned()).collect();
        let tags: Vec<String> = self.tags.iter().map(|&tag| tag.to_owned()).collect();
        let mut requests = Vec::new();
        requests.extend(paths.chunks(limits.paths_per_request).map(|part| Request::Paths(part.to_vec())));
        requests.extend(folders.chunks(limits.bulk_per_request).map(|part| Request::Folders(part.to_vec())));
        requests.extend(tags.chunks(limits.bulk_per_request).map(|part| Request::Tags(part.to_vec())));
        requests
    }
}

#[cfg(test)]
mod tests;
