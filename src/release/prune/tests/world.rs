//! A world of releases for the tests of a prune: builds, commits and a clock, without a database.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::sync::Arc;

use chrono::DateTime;
use tempfile::TempDir;

use super::super::super::head::{FORMAT, Head, HeadRead};
use super::super::super::id::RunId;
use super::super::super::lines::write_list;
use super::super::super::manifest::{Change, ChangeKind, ChangeList, Kind, Manifest, Root, Status, TemplateEntry};
use super::super::super::progress::Progress;
use super::super::super::row::{DocumentRow, Origin, Row, blob_name};
use super::super::super::shards::{Writing, shard_name};
use super::super::*;
use crate::key::Key;
use crate::snapshot::Digest;
use crate::store::Directory;
use crate::template::{OnMiss, Shape};

/// Few, so that data reverts.
pub const BODIES: u8 = 3;
pub const HOUR: Duration = Duration::from_hours(1);
/// After so long a run gives up before it commits.
const STAGING: Duration = Duration::from_hours(6 * 24);
pub const RETENTION: Retention = Retention { releases: 2, age: Duration::from_hours(24), unpurged: true };

/// What each key shows; a key that isn't there has no document.
pub type State = BTreeMap<usize, u8>;

/// A release, or a build on its way to one.
#[derive(Clone)]
pub struct Build {
    pub base: Option<ReleaseId>,
    run: RunId,
    began: SystemTime,
    rows: Vec<Arc<Row>>,
    blobs: Vec<String>,
}

pub struct World {
    pub folder: TempDir,
    pub store: Store,
    pub now: SystemTime,
    /// Files whose times are set already.
    dated: BTreeSet<String>,
    runs: u32,
    pub builds: Vec<Build>,
    /// What each committed release was to show.
    states: BTreeMap<ReleaseId, State>,
}

impl World {
    pub fn new() -> World {
        // Every head is synced, which takes a while on a disk.
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let directory = Directory::new(folder.path().join("public"), folder.path().join(".tintype"));
        World {
            folder,
            store: Store::Directory(directory),
            now: SystemTime::UNIX_EPOCH + Duration::from_hours(24 * 20_000),
            dated: BTreeSet::new(),
            runs: 0,
            builds: Vec::new(),
            states: BTreeMap::new(),
        }
    }

    pub async fn head(&self) -> HeadRead {
        HeadRead::read(&self.store).await.unwrap()
    }

    pub async fn manifest(&self, id: &ReleaseId) -> Manifest {
        Manifest::read(&self.store, id).await.unwrap()
    }

    /// Names and ages of all blobs, lists and roots.
    pub async fn objects(&self) -> BTreeMap<String, SystemTime> {
        let mut objects = BTreeMap::new();
        for folder in ["release/", "shard/", "blob/"] {
            let mut listing = self.store.listing(crate::store::Part::Control(folder));
            while let Some(page) = listing.next().await.unwrap() {
                objects.extend(page.objects.into_iter().map(|object| (object.name, object.modified.unwrap())));
            }
        }
        objects
    }

    /// What has just been written was written now.
    async fn date(&mut self) {
        for name in self.objects().await.into_keys() {
            if self.dated.insert(name.clone()) {
                let file = File::open(self.folder.path().join(".tintype").join(name)).unwrap();
                file.set_modified(self.now).unwrap();
            }
        }
    }

    /// Writes the blobs of a build over what is committed.
    pub async fn build(&mut self, edits: &[(usize, Option<u8>)]) -> Build {
        self.runs += 1;
        let run = RunId::new(DateTime::default(), self.runs);
        let base = self.head().await.head.desired;
        let rows = match &base {
            Some(base) => self.manifest(base).await.rows["m"].as_ref().clone(),
            None => Vec::new(),
        };
        let mut rows: BTreeMap<Arc<str>, Arc<Row>> = rows.into_iter().map(|row| (row.path.clone(), row)).collect();
        let origin = Arc::new(Origin {
            as_of: DateTime::default(),
            changed_at: DateTime::default(),
            run: run.clone(),
            policy: "p".into(),
            held: false,
        });
        let mut build = Build { base, run, began: self.now, rows: Vec::new(), blobs: Vec::new() };
        for (key, body) in edits {
            let path: Arc<str> = format!("m/k{key:02}.json").into();
            let document = body.map(|body| DocumentRow {
                digest: Digest::of(format!("{key} {body}").as_bytes()),
                size_bytes: 1,
                gzip_bytes: 1,
                rows: 1,
            });
            if rows.get(&path).and_then(|row| row.digest()) == document.map(|document| document.digest) {
                continue;
            }
            if let Some(document) = document {
                let blob = blob_name(&document.digest, &build.run);
                self.store.create(&blob, "x".into()).await.unwrap();
                build.blobs.push(blob);
            }
            let row = Row { path: Arc::clone(&path), key: Key(Vec::new()), document, origin: Arc::clone(&origin) };
            rows.insert(path, Arc::new(row));
        }
        build.rows = rows.into_values().collect();
        self.date().await;
        build
    }

    /// Writes lists and root of a build onto what is committed; none if it has to give up.
    pub async fn stage(&mut self, build: &Build) -> Option<(HeadRead, ReleaseId)> {
        let read = self.head().await;
        let serial = |id: &Option<ReleaseId>| id.as_ref().map_or(0, |id| id.serial);
        let is_below = serial(&build.base) < serial(&read.head.floor);
        if is_below || self.now.duration_since(build.began).unwrap() > STAGING {
            return None;
        }
        // What the build saw of every key wins, also where it found what its base shows: then that row comes back, with a
        // blob that the committed release may not name any more.
        let parent = match &read.head.desired {
            Some(parent) => Some(self.manifest(parent).await),
            None => None,
        };
        let committed = parent.iter().flat_map(|parent| parent.rows["m"].iter());
        let mut rows: BTreeMap<Arc<str>, Arc<Row>> = committed.map(|row| (row.path.clone(), row.clone())).collect();
        let mut changes = Vec::new();
        for row in &build.rows {
            if rows.get(&row.path).and_then(|row| row.digest()) != row.digest() {
                changes.push(Change { path: Arc::clone(&row.path), change: ChangeKind::Changed });
                rows.insert(Arc::clone(&row.path), Arc::clone(row));
            }
        }
        let id = ReleaseId { serial: serial(&read.head.desired) + 1, run: build.run.clone() };
        self.write(&id, parent.as_ref(), rows.into_values().collect(), &changes).await;
        Some((read, id))
    }

    async fn write(&mut self, id: &ReleaseId, parent: Option<&Manifest>, rows: Vec<Arc<Row>>, changes: &[Change]) {
        let writing = Writing::plan("m", &Arc::new(rows), parent, &id.run);
        writing.write(&self.store).await.unwrap();
        let list = shard_name(&id.run, "-changes");
        write_list(&self.store, &list, changes).await.unwrap();
        let entry = TemplateEntry {
            rows: writing.at,
            path: "m/{k}.json".to_owned(),
            shape: Shape::Rows,
            on_miss: OnMiss::default(),
            key_columns: vec!["k".to_owned()],
            columns: Vec::new(),
            policies: BTreeSet::new(),
            count: 0,
            held: 0,
            as_of: DateTime::default(),
            changed_at: DateTime::default(),
            status: Status::Ok,
        };
        let root = Root {
            format: FORMAT,
            id: id.clone(),
            parent: parent.map(|parent| parent.root.id.clone()),
            restores: None,
            staged: None,
            publishes: None,
            kind: Kind::Publish,
            author: None,
            note: None,
            created_at: DateTime::default(),
            as_of: None,
            tintype: String::new(),
            policies: BTreeMap::new(),
            templates: BTreeMap::from([("m".to_owned(), entry)]),
            changes: ChangeList { object: list, added: 0, changed: changes.len() as u64 + 1, removed: 0, rewritten: 0 },
            catalogue: Digest::of(b""),
        };
        root.write(&self.store).await.unwrap();
        self.date().await;
    }

    pub async fn commit(&mut self, build: &Build) {
        if let Some((read, id)) = self.stage(build).await {
            let next = Head { desired: Some(id.clone()), active: Some(id.clone()), ..read.head.clone() };
            assert!(read.swap(&self.store, next).await.unwrap().is_some());
            let state = self.state(&id).await;
            self.states.insert(id, state);
        }
    }

    pub async fn publish(&mut self, edits: &[(usize, Option<u8>)]) {
        let build = self.build(edits).await;
        self.commit(&build).await;
    }

    /// A release with the rows of a kept one, so many releases back.
    pub async fn roll_back(&mut self, back: usize) {
        let kept = self.kept().await;
        let (Some(target), Some(current)) = (kept.get(back), kept.first()) else { return };
        self.runs += 1;
        let run = RunId::new(DateTime::default(), self.runs);
        let (target, current) = (self.manifest(target).await, self.manifest(current).await);
        let paths = target.rows["m"].iter().chain(current.rows["m"].iter()).map(|row| row.path.clone());
        let paths: BTreeSet<Arc<str>> = paths.collect();
        let changes: Vec<Change> = paths.into_iter().map(|path| Change { path, change: ChangeKind::Changed }).collect();
        let id = ReleaseId { serial: current.root.id.serial + 1, run };
        self.write(&id, Some(&current), target.rows["m"].as_ref().clone(), &changes).await;
        let read = self.head().await;
        let next = Head { desired: Some(id.clone()), active: Some(id.clone()), ..read.head.clone() };
        assert!(read.swap(&self.store, next).await.unwrap().is_some());
        self.states.insert(id, self.states[&target.root.id].clone());
    }

    /// The committed releases down to the floor, newest first.
    pub async fn kept(&self) -> Vec<ReleaseId> {
        let head = self.head().await.head;
        let mut kept = Vec::new();
        let mut next = head.desired.clone();
        while let Some(id) = next {
            next = Root::read(&self.store, &id).await.unwrap().parent.filter(|_| head.floor.as_ref() != Some(&id));
            kept.push(id);
        }
        kept
    }

    pub async fn state(&self, id: &ReleaseId) -> State {
        let manifest = self.manifest(id).await;
        let documents = manifest.rows["m"].iter().filter(|row| row.document.is_some());
        let of = |row: &Arc<Row>| {
            let key: usize = row.path[3..5].parse().unwrap();
            let body = (0..BODIES).find(|body| row.digest() == Some(Digest::of(format!("{key} {body}").as_bytes())));
            (key, body.unwrap())
        };
        documents.map(of).collect()
    }

    pub async fn prune(&mut self, meanwhile: Option<Build>) -> Pruned {
        let plan = plan(&self.store, &RETENTION, Some(self.now)).await.unwrap();
        if let Some(build) = &meanwhile {
            self.commit(build).await;
        }
        let planned = plan.tally;
        let pruned = execute(&self.store, &RETENTION, plan, Some(self.now), &Progress::default()).await.unwrap();
        if meanwhile.is_none() {
            assert_eq!(pruned.swept.tally, planned, "what went is what was announced");
        }
        assert_eq!(pruned.swept.failures, 0);
        pruned
    }

    /// What has to be there, told by other code than a prune's.
    async fn needed(&self) -> BTreeSet<String> {
        let objects = self.objects().await;
        let young = |name: &str| self.now.duration_since(objects[name]).unwrap() < LEFT_ALONE;
        let kept = self.kept().await;
        let staged = objects.keys().filter_map(|name| Root::id_of(name)).filter(|id| !self.states.contains_key(id));
        let staged = staged.filter(|id| young(&Root::name(id)));
        // A root below the floor goes whatever its age.
        let below =
            |name: &str| Root::id_of(name).is_some_and(|id| self.states.contains_key(&id) && !kept.contains(&id));
        let alone = objects.keys().filter(|name| young(name) && !below(name));
        let mut needed: BTreeSet<String> = alone.cloned().collect();
        for id in kept.iter().cloned().chain(staged) {
            let manifest = self.manifest(&id).await;
            needed.extend([Root::name(&id), manifest.root.changes.object.clone()]);
            let at = &manifest.root.templates["m"].rows;
            needed.extend(at.shard.iter().chain(&at.patch).cloned());
            needed.extend(manifest.rows["m"].iter().filter_map(|row| row.blob()));
        }
        let floor = self.head().await.head.floor.map_or(0, |floor| floor.serial);
        for build in &self.builds {
            let is_alive = self.now.duration_since(build.began).unwrap() <= STAGING
                && build.base.as_ref().map_or(0, |base| base.serial) >= floor;
            if is_alive {
                needed.extend(build.blobs.iter().cloned());
            }
        }
        needed
    }

    pub async fn check(&self) {
        let (needed, there) = (self.needed().await, self.objects().await);
        let there: BTreeSet<String> = there.into_keys().collect();
        let (lost, left): (Vec<_>, Vec<_>) = (needed.difference(&there).collect(), there.difference(&needed).collect());
        assert!(lost.is_empty(), "lost: {lost:#?}");
        assert!(left.is_empty(), "left: {left:#?}");
        for id in self.kept().await {
            assert_eq!(self.state(&id).await, self.states[&id], "{id} says something else");
        }
    }
}
