//! The judge: what must be true of a site, whatever has happened to it.
//!
//! It reads the journal of the world from the beginning and knows at every moment which releases were committed, what
//! readers could see and when each key was last looked at in the database; what the protocol writes down about that
//! itself is not believed. At the end it compares store, release, database and edge.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::actors::{Actor, Deed, End, Site, locked};
use super::data::{EDITED, KEYS, digest, path, value};
use super::rest;
use crate::release::head::{Head, parse};
use crate::release::id::ReleaseId;
use crate::release::manifest::{Kind, Manifest, Root};
use crate::snapshot::{Digest, gunzip};
use crate::store::{Document, Event, Faulty, Script, Sender, Store, World};

/// A promise that can be broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    /// After two clean nights the stable paths show what the committed release says.
    StoreShowsTheRelease,
    /// After two clean nights the committed release is what the database holds.
    ReleaseIsTheDatabase,
    /// Every object that a kept release names is there.
    ObjectsAreThere,
    /// What was seen later is never replaced by what was seen earlier, nor does it lose against it.
    NewerWins,
    /// Every release builds on the one before.
    NothingIsLost,
    /// A run that says that it committed nothing has committed nothing, and never will.
    FailuresStayUnseen,
    /// A run that says that a release is committed is right.
    SuccessIsCommitted,
    /// Readers see whole documents that some committed release contains, and nothing else.
    ReadersSeeReleases,
    /// After two clean nights no edge holds anything else than the store.
    EdgesAreFresh,
    /// The site comes to rest by itself.
    RestIsReached,
    /// An unchanged night changes nothing.
    RestIsKept,
    /// A name belongs to one object.
    NamesAreUnique,
}

/// A broken promise, and how it shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub promise: Promise,
    pub what: String,
}

/// A release of the history.
pub struct Committed {
    pub manifest: Manifest,
    /// By path.
    documents: BTreeMap<String, Digest>,
}

impl Committed {
    pub fn id(&self) -> &ReleaseId {
        &self.manifest.root.id
    }

    /// True if it can still be gone back to.
    pub fn is_kept(&self, head: &Head) -> bool {
        head.floor.as_ref().is_none_or(|floor| self.id().serial >= floor.serial)
    }

    /// Every object that it consists of.
    pub fn names(&self) -> impl Iterator<Item = String> {
        let root = &self.manifest.root;
        let lists = root.templates.values().flat_map(|entry| [entry.rows.shard.clone(), entry.rows.patch.clone()]);
        let rows = self.manifest.rows.values().flat_map(|rows| rows.iter());
        let named = lists.flatten().chain(rows.filter_map(|row| row.blob()));
        named.chain([Root::name(&root.id), root.changes.object.clone()])
    }
}

/// The judge at work.
pub struct Judge {
    pub world: World,
    pub deeds: Vec<Deed>,
    pub releases: Vec<Committed>,
    pub head: Head,
    pub found: Vec<Violation>,
    /// When the committed value of each key was last seen in the database, as a place in the journal.
    seen_at: BTreeMap<&'static str, usize>,
    /// A store in which nothing was ever deleted.
    archive: Store,
}

/// The keys that no rollback holds.
pub fn free(manifest: &Manifest) -> Vec<&'static str> {
    let is_free = |key: &&str| manifest.row(&path(key)).is_none_or(|row| !row.origin.held);
    KEYS.into_iter().filter(is_free).collect()
}

/// What is wrong with a site after everything has come to rest.
pub async fn judge(site: &Site, hangs: bool) -> Vec<Violation> {
    let world = locked(&site.world).clone();
    let archive = Arc::new(Mutex::new(world.with_all_that_ever_was()));
    let mut judge = Judge {
        deeds: locked(&site.deeds).clone(),
        releases: Vec::new(),
        head: Head::default(),
        found: Vec::new(),
        seen_at: BTreeMap::new(),
        archive: Store::Faulty(Faulty::new(&archive, Sender::MAX, Script::default())),
        world,
    };
    if hangs {
        judge.find(Promise::RestIsReached, "somebody waits for ever".to_owned());
    }
    for (at, event) in judge.world.journal().to_vec().into_iter().enumerate() {
        judge.event(at, event).await;
    }
    judge.words();
    rest::check(&mut judge, locked(&site.database).data());
    judge.found
}

impl Judge {
    pub fn find(&mut self, promise: Promise, what: impl Into<String>) {
        self.found.push(Violation { promise, what: what.into() });
    }

    async fn event(&mut self, at: usize, event: Event) {
        match event {
            Event::Head { by, bytes } => match parse::<Head>("head.json", &bytes) {
                Ok(head) => self.head(at, by, head).await,
                Err(error) => self.find(Promise::NothingIsLost, error.to_string()),
            },
            Event::Public { path, shown, .. } => self.public(&path, shown.as_ref()),
            Event::NameUsedTwice { by, name } => {
                self.find(Promise::NamesAreUnique, format!("{by} wrote {name}, which was there before"));
            }
            Event::Endless { by } => self.find(Promise::RestIsReached, format!("{by} goes round in circles")),
            Event::Deleted { by, name } => self.deleted(by, &name),
            Event::Note(_) => {}
        }
    }

    async fn head(&mut self, at: usize, by: Sender, head: Head) {
        let before = std::mem::replace(&mut self.head, head);
        let deed = self.deeds[by as usize].clone();
        if before.desired != self.head.desired
            && let Some(id) = self.head.desired.clone()
        {
            match Manifest::read(&self.archive, &id).await {
                Ok(manifest) => self.commit(at, &deed, before.desired.as_ref(), manifest),
                Err(error) => self.find(Promise::ObjectsAreThere, format!("{id} was committed: {error}")),
            }
        } else if before.checked != self.head.checked {
            // Nothing has changed, says the run.
            let documents = self.documents().cloned().unwrap_or_default();
            let free = self.releases.last().map(|release| free(&release.manifest)).unwrap_or_default();
            self.observations(&deed, &free, &documents, &documents);
        }
    }

    fn documents(&self) -> Option<&BTreeMap<String, Digest>> {
        self.releases.last().map(|release| &release.documents)
    }

    /// A release was committed.
    fn commit(&mut self, at: usize, deed: &Deed, before: Option<&ReleaseId>, manifest: Manifest) {
        let root = &manifest.root;
        if root.parent.as_ref() != before {
            self.find(Promise::NothingIsLost, format!("{} was committed over {before:?}, and not its parent", root.id));
        }
        let rows = manifest.rows.values().flat_map(|rows| rows.iter());
        let documents = rows.filter_map(|row| Some((row.path.to_string(), row.digest()?))).collect();
        let old = self.documents().cloned().unwrap_or_default();
        if root.kind == Kind::Rollback {
            if deed.replaces.as_ref() != before {
                self.find(Promise::NewerWins, format!("{} rolled back what its order didn't know", root.id));
            }
            // Whoever looked before that wants something that was given up on purpose.
            self.seen_at = KEYS.into_iter().map(|key| (key, at)).collect();
        } else {
            self.observations(deed, &free(&manifest), &old, &documents);
        }
        self.releases.push(Committed { manifest, documents });
    }

    /// A run's observations became the committed state, or were found to be it already.
    fn observations(
        &mut self,
        deed: &Deed,
        keys: &[&'static str],
        old: &BTreeMap<String, Digest>,
        new: &BTreeMap<String, Digest>,
    ) {
        let Some((seen_at, seen)) = deed.seen else { return };
        let is_gone = |key: &&str| old.contains_key(&path(key)) && value(seen.data, key).is_none();
        if deed.actor == Actor::Guarded && keys.iter().any(is_gone) {
            if keys.iter().any(|key| old.get(&path(key)) != new.get(&path(key))) {
                self.find(Promise::FailuresStayUnseen, format!("{} became what its guard refuses", deed.run));
            }
            return;
        }
        for &key in keys {
            let path = path(key);
            let (old, new, seen) = (old.get(&path), new.get(&path), digest(seen.data, key));
            let is_in_scope = deed.actor != Actor::Editor || key == EDITED;
            let known_at = self.seen_at.get(key).copied().unwrap_or(0);
            let wrong = match (is_in_scope, old == new, new == seen.as_ref()) {
                (true, true, true) => {
                    self.seen_at.insert(key, known_at.max(seen_at));
                    None
                }
                (true, false, true) => {
                    self.seen_at.insert(key, seen_at);
                    (seen_at < known_at).then_some("replaced a later observation")
                }
                (true, true, false) => (seen_at > known_at).then_some("lost against an earlier observation"),
                (true, false, false) => Some("became what the run didn't see"),
                (false, same, _) => (!same).then_some("changed in a run that wasn't about it"),
            };
            if let Some(wrong) = wrong {
                self.find(Promise::NewerWins, format!("{key} {wrong}, in {}", deed.run));
            }
        }
    }

    /// A control object is gone, which no release may need that can still be shown.
    fn deleted(&mut self, by: Sender, name: &str) {
        let kept = self.releases.iter().filter(|release| release.is_kept(&self.head));
        let mut needs =
            kept.filter(|release| release.names().any(|named| named == name)).map(|release| release.id().clone());
        if let Some(id) = needs.next_back() {
            self.find(Promise::ObjectsAreThere, format!("{by} deleted {name}, which {id} names"));
        }
    }

    /// A stable path came to show something.
    fn public(&mut self, path: &str, shown: Option<&Document>) {
        let body = shown.map(|shown| gunzip(&shown.bytes, 1 << 20));
        let digest = match body {
            None => None,
            Some(Ok(body)) => Some(Digest::of(&body)),
            Some(Err(error)) => return self.find(Promise::ReadersSeeReleases, format!("{path}: {error}")),
        };
        let is_known = self.releases.iter().any(|release| release.documents.get(path).copied() == digest);
        if !is_known {
            self.find(Promise::ReadersSeeReleases, format!("{path} shows what no release contains"));
        }
        if let (Some(shown), Some(digest)) = (shown, digest)
            && shown.attributes.digest != digest.to_string()
        {
            self.find(Promise::ReadersSeeReleases, format!("{path} has the metadata of another document"));
        }
    }

    /// What each run said of itself, against what was committed.
    fn words(&mut self) {
        for deed in self.deeds.clone() {
            let is_committed = self.releases.iter().any(|release| deed.made(release.id()));
            match &deed.end {
                Some(End::Failed(why)) if is_committed => {
                    self.find(Promise::FailuresStayUnseen, format!("{} said: {why}", deed.run));
                }
                Some(End::Done { release: Some(id) } | End::Behind { release: Some(id), .. })
                    if self.releases.iter().all(|release| release.id() != id) =>
                {
                    self.find(Promise::SuccessIsCommitted, format!("{} said that {id} was", deed.run));
                }
                _ => {}
            }
        }
    }
}
