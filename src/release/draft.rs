//! Drafts: the release that a run would commit, put together in memory from the committed one and what the run saw.
//!
//! A draft can be made again on another base, because others may commit between the build and the commit. Making one
//! writes nothing; `write` stages its objects, each under a name that holds the run and the attempt.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::base::Base;
use super::build::{Built, Seen};
use super::catalogue::{self, Catalogue};
use super::commit::Runs;
use super::growing::Growing;
use super::head::{Checked, FORMAT, Failed};
use super::id::ReleaseId;
use super::lines::write_list;
use super::manifest::{Change, ChangeKind, ChangeList, Manifest, Root, RowsAt, Status, TemplateEntry, policy_hash};
use super::merge::{Observation, merge};
use super::mixture::refuse_mixture;
use super::publish::{Job, Outcome};
use super::refresh::Refreshed;
use super::report::{Report, Seconds, TemplateReport, counts, differences};
use super::restore::Restoring;
use super::row::{DocumentRow, Origin, Row, blob_name, find};
use super::shards::{Writing, shard_name};
use crate::diagnostic::Diagnostic;
use crate::error::Error;
use crate::key::Key;
use crate::snapshot::{Digest, Gzip, gunzip};
use crate::store::Store;
use crate::template::{HeaderPolicy, OnMiss, Shape, Template};
use chrono::{DateTime, Utc};

/// Largest catalogue that is read back.
const MAX_CATALOGUE_BYTES: u64 = 1 << 30;
/// A publish reports its changes one by one up to this number; `releases ID` lists them all.
const MAX_LISTED: usize = 10_000;
/// The name of the list of changes among the shards of a run; no template can be called so.
const CHANGES: &str = "-changes";

/// What a run is to make of the committed release.
pub struct Draft {
    job: Job,
    as_of: Option<DateTime<Utc>>,
    /// What it built, to be merged.
    outcomes: Vec<Outcome>,
    /// What it brings back, if it is a rollback.
    restoring: Option<Restoring>,
    attempt: u32,
}

/// A release in memory.
pub struct Drafted {
    /// The release; none if nothing changes.
    pub manifest: Option<Arc<Manifest>>,
    /// Documents of the committed release that it was made on.
    base_count: u64,
    changes: Vec<Change>,
    /// The rows to be written, by template.
    writing: BTreeMap<String, Writing>,
    blobs: Vec<(String, Vec<u8>)>,
    reports: Vec<TemplateReport>,
    orphans: Vec<String>,
    /// What refresh queries answered before complete reads, for the head.
    refreshed: BTreeMap<String, Refreshed>,
}

impl Draft {
    /// Takes what a run built.
    pub fn new(job: &Job, as_of: Option<DateTime<Utc>>, outcomes: Vec<Outcome>) -> Draft {
        Draft { job: job.clone(), as_of, outcomes, restoring: None, attempt: 0 }
    }

    /// Takes what a rollback is to bring back.
    pub fn restore(job: &Job, restoring: Restoring) -> Draft {
        let as_of = restoring.target.root.as_of;
        Draft { job: job.clone(), as_of, outcomes: Vec::new(), restoring: Some(restoring), attempt: 0 }
    }

    /// True if there is something to commit; a run of failures commits nothing.
    pub fn has_content(&self) -> bool {
        let has_seen = self.outcomes.iter().any(|(_, seen)| seen.is_ok());
        has_seen || self.restoring.is_some() || !self.job.retire.is_empty()
    }

    /// Lets go of what was built: a committed release is merged no more, and activating it takes a while.
    pub fn forget(&mut self) {
        self.outcomes.clear();
    }

    /// Which templates were read whole, and which failed, in the build or in the merge; for the head.
    pub fn runs(&self, drafted: &Drafted) -> Runs {
        let at = Utc::now();
        let mut runs = Runs { retired: self.job.retire.clone(), restores: self.restoring.is_some(), ..Runs::default() };
        for (report, (_, seen)) in drafted.reports.iter().zip(&self.outcomes) {
            let name = report.name.clone();
            match (&report.failure, seen) {
                (Some(failure), _) => {
                    runs.failed.insert(name, Failed { at, reason: failure.to_string() });
                }
                (None, Ok(Seen::Built(built))) if built.is_whole() => {
                    let refresh = drafted.refreshed.get(&name).cloned();
                    let as_of = self.as_of.unwrap_or(at);
                    runs.checked.insert(name, Checked { as_of, at, looked_at: None, refresh });
                }
                (None, Ok(Seen::LeftOut(left_out))) => {
                    runs.looked.extend(left_out.decision.since().map(|since| (name, (since, at))));
                }
                (None, _) => {}
            }
        }
        runs
    }

    /// Makes the release on a base.
    pub async fn onto(&mut self, base: &Base, store: &Store) -> Result<Drafted, Error> {
        self.attempt += 1;
        let (head, base) = (base.head(), base.manifest.as_deref());
        let mut growing = Growing::from(base);
        let known: BTreeSet<&str> = self.job.templates.iter().map(|template| template.name.as_str()).collect();
        let mut reports = Vec::new();
        for (template, seen) in &self.outcomes {
            let committed = base.and_then(|base| base.rows.get(&template.name)).map_or(&[][..], |rows| rows.as_slice());
            let checked = head.checked.get(&template.name).map(|checked| checked.as_of);
            let report = match seen {
                Ok(Seen::Built(built)) => self.merge_one(&mut growing, template, built, committed, checked, &known),
                Ok(Seen::LeftOut(left_out)) => Ok(growing.leave(template, left_out)),
                Err(failure) => Err(failure.clone()),
            };
            reports.push(report.unwrap_or_else(|failure| growing.fail(template, failure)));
        }
        reports.extend(self.job.retire.iter().map(|name| growing.retire(name)));
        if let Some(restoring) = &self.restoring {
            restoring.check(base)?;
            reports.extend(restoring.onto(&mut growing));
        }
        // Of templates that aren't built, or whose merge has failed, the catalogue goes on saying what it says.
        let before = match &self.restoring {
            Some(restoring) => restoring.catalogue.clone(),
            None if growing.knows_all_keys() => None,
            None => committed_catalogue(base, store).await?,
        };
        for name in growing.entries.keys().filter(|name| *name != catalogue::NAME) {
            if let Some(keys) = before.as_ref().and_then(|before| before.keys(name)) {
                growing.keys.entry(name.clone()).or_insert(keys);
            }
        }
        let orphans: Vec<String> = growing
            .entries
            .keys()
            .filter(|name| *name != catalogue::NAME && !known.contains(name.as_str()))
            .cloned()
            .collect();
        let run = match self.attempt {
            1 => self.job.run.clone(),
            attempt => self.job.run.attempt(attempt),
        };
        let id = ReleaseId { serial: base.map_or(0, |base| base.root.id.serial) + 1, run };
        let (blobs, catalogue) = self.catalogue(&mut growing, &id, base);
        let base_count = base.map_or(0, Manifest::count);
        let mut drafted = Drafted {
            manifest: None,
            base_count,
            changes: Vec::new(),
            writing: BTreeMap::new(),
            blobs,
            reports,
            orphans,
            refreshed: growing.refreshed.clone(),
        };
        if !growing.changes.is_empty() || growing.has_other_entries(base) {
            let mut patched = base.map(|base| base.patched.clone()).unwrap_or_default();
            patched.retain(|name, _| growing.rows.contains_key(name));
            for name in &growing.shards {
                let Some(rows) = growing.rows.get(name) else { continue };
                let writing = Writing::plan(name, rows, base, &id.run);
                patched.insert(name.clone(), writing.patched.clone());
                drafted.writing.insert(name.clone(), writing);
            }
            let root = self.root(&growing, id, base, catalogue, &drafted.writing);
            drafted.manifest = Some(Arc::new(Manifest { root, rows: growing.rows, patched }));
        }
        drafted.changes = growing.changes;
        Ok(drafted)
    }

    fn merge_one(
        &self,
        growing: &mut Growing,
        template: &Arc<Template>,
        built: &Built,
        committed: &[Arc<Row>],
        checked: Option<DateTime<Utc>>,
        known: &BTreeSet<&str>,
    ) -> Result<TemplateReport, Diagnostic> {
        if !built.is_whole() {
            refuse_mixture(growing.entries.get(&template.name), template, Some(&built.columns))?;
        }
        let origin = Arc::clone(&built.origin);
        let seen = Observation {
            scope: &built.scope,
            rows: &built.rows,
            origin,
            rewrite: self.job.rewrite,
            unhold: self.job.unhold,
        };
        let merged = merge(committed, checked, &seen);
        growing.refuse_collisions(template, &merged, known)?;
        let keys = built.keys.keys(template, &merged.rows);
        growing.keys.insert(template.name.clone(), keys.columns);
        growing.files.extend(keys.files);
        growing.policies.insert(policy_hash(&template.policy).to_string(), template.policy.clone());
        let counts = counts(&merged);
        let is_listed = !self.job.commit || merged.changes.len() <= MAX_LISTED;
        let listed = if is_listed { merged.changes.as_slice() } else { &[] };
        let changes = differences(listed, committed, &merged.rows, Some(&self.job.run));
        let (older, held) = (merged.older, merged.held);
        // With rows of somebody else's later read among them, they aren't what the answer stands for.
        let record = built.consulted.record(&merged.rows).filter(|_| built.is_whole() && older == 0);
        growing.refreshed.extend(record.map(|record| (template.name.clone(), record)));
        growing.put(template, built, merged, counts, built.origin.as_of, self.job.now);
        Ok(TemplateReport {
            rows: built.rows_read,
            rows_skipped: built.rows_skipped,
            over_max_keys: built.over_max_keys,
            older,
            held,
            cost: built.cost,
            decision: Some(built.consulted.decision.clone()),
            changes,
            ..TemplateReport::of(&template.name, counts)
        })
    }

    /// Adds the catalogue and its files to the release, if they say something new or anything else changed.
    fn catalogue(
        &self,
        growing: &mut Growing,
        id: &ReleaseId,
        base: Option<&Manifest>,
    ) -> (Vec<(String, Vec<u8>)>, Digest) {
        let catalogue = Catalogue::new(id, self.as_of, self.job.now, &growing.entries, &growing.keys);
        let policy = catalogue_policy();
        let hash = policy_hash(&policy);
        let committed = growing.rows.get(catalogue::NAME).cloned().unwrap_or_default();
        let mut gzip = Gzip::default();
        let mut blobs = Vec::new();
        let as_of = self.as_of.unwrap_or(self.job.now);
        let changed_at = self.job.now;
        let origin = Origin { as_of, changed_at, run: id.run.clone(), policy: Arc::clone(&hash), held: false };
        let origin = Arc::new(origin);
        let mut rows: BTreeMap<Arc<str>, Arc<Row>> =
            committed.iter().map(|row| (row.path.clone(), row.clone())).collect();
        let mut put = |path: &str, body: &[u8], changes: &mut Vec<Change>| {
            let digest = Digest::of(body);
            let old = find(&committed, path);
            if old.is_some_and(|old| old.digest() == Some(digest) && old.origin.policy == hash) {
                return;
            }
            let bytes = gzip.compress(body);
            let document = DocumentRow { digest, size_bytes: size(body.len()), gzip_bytes: size(bytes.len()), rows: 0 };
            blobs.push((blob_name(&digest, &id.run), bytes));
            let change = if old.is_some() { ChangeKind::Changed } else { ChangeKind::Added };
            let path: Arc<str> = path.into();
            changes.push(Change { path: Arc::clone(&path), change });
            let origin = Arc::clone(&origin);
            let row = Row { path: Arc::clone(&path), key: Key(Vec::new()), document: Some(document), origin };
            rows.insert(path, Arc::new(row));
        };
        for (path, file) in &growing.files {
            put(path, file, &mut growing.changes);
        }
        let stale = growing.stale_files(&committed);
        let said = catalogue.timeless();
        let says_the_same = base.is_some_and(|base| base.root.catalogue == said);
        if !says_the_same || !growing.changes.is_empty() || !stale.is_empty() {
            put(catalogue::PATH, &catalogue.body(), &mut growing.changes);
        }
        for path in stale {
            rows.remove(&path);
            growing.changes.push(Change { path, change: ChangeKind::Removed });
        }
        if !blobs.is_empty() {
            growing.policies.insert(hash.to_string(), policy);
            growing.shards.insert(catalogue::NAME.to_owned());
            growing.entries.insert(catalogue::NAME.to_owned(), catalogue_entry(rows.len() as u64, as_of, self.job.now));
            growing.rows.insert(catalogue::NAME.to_owned(), Arc::new(rows.into_values().collect()));
        }
        (blobs, said)
    }

    fn root(
        &self,
        growing: &Growing,
        id: ReleaseId,
        base: Option<&Manifest>,
        catalogue: Digest,
        writing: &BTreeMap<String, Writing>,
    ) -> Root {
        let mut templates = growing.entries.clone();
        for (name, writing) in writing {
            if let Some(entry) = templates.get_mut(name) {
                entry.rows = writing.at.clone();
            }
        }
        let rows = growing.rows.values().flat_map(|rows| rows.iter());
        let used: BTreeSet<&str> = rows.map(|row| row.origin.policy.as_ref()).collect();
        let policies = growing.policies.iter().filter(|(hash, _)| used.contains(hash.as_str()));
        let count = |kind| growing.changes.iter().filter(|change| change.change == kind).count() as u64;
        Root {
            format: FORMAT,
            parent: base.map(|base| base.root.id.clone()),
            restores: self.restoring.as_ref().map(|restoring| restoring.target.root.id.clone()),
            kind: self.job.kind,
            author: self.job.author.clone(),
            note: self.job.note.clone(),
            created_at: Utc::now(),
            as_of: self.as_of,
            tintype: env!("CARGO_PKG_VERSION").to_owned(),
            policies: policies.map(|(hash, policy)| (hash.clone(), policy.clone())).collect(),
            templates,
            changes: ChangeList {
                object: shard_name(&id.run, CHANGES),
                added: count(ChangeKind::Added),
                changed: count(ChangeKind::Changed),
                removed: count(ChangeKind::Removed),
                rewritten: count(ChangeKind::Rewritten),
            },
            catalogue,
            id,
        }
    }

    /// Stages what the release consists of besides the documents: catalogue, shards, changes, and last the root.
    pub async fn write(&self, drafted: &Drafted, store: &Store) -> Result<(), Error> {
        let Some(manifest) = &drafted.manifest else { return Ok(()) };
        for (name, bytes) in &drafted.blobs {
            store.create(name, bytes.clone().into()).await?;
        }
        for writing in drafted.writing.values() {
            writing.write(store).await?;
        }
        write_list(store, &manifest.root.changes.object, &drafted.changes).await?;
        manifest.root.write(store).await
    }

    /// The report of the run, without what comes after the commit.
    pub fn report(&self, drafted: Drafted, release: Option<ReleaseId>, committed: bool) -> Report {
        Report {
            is_pending: drafted.manifest.is_some(),
            rolled_forward: None,
            unfinished: None,
            release,
            committed,
            as_of: self.as_of,
            source: None,
            templates: drafted.reports,
            orphans: drafted.orphans,
            activated: super::activate::Activated::default(),
            documents_before: drafted.base_count,
            seconds: Seconds::default(),
        }
    }
}

/// The catalogue of a release, as its blob says it.
pub async fn committed_catalogue(base: Option<&Manifest>, store: &Store) -> Result<Option<Catalogue>, Error> {
    let row = base.and_then(|base| find(base.rows.get(catalogue::NAME)?, catalogue::PATH));
    let Some(blob) = row.and_then(|row| row.blob()) else { return Ok(None) };
    let bytes = store.read(&blob).await?.unwrap_or_default();
    let read = gunzip(&bytes, MAX_CATALOGUE_BYTES).ok().and_then(|body| Catalogue::parse(&body));
    let reason = || "is missing or broken; republish every template whole, which makes the catalogue anew".to_owned();
    read.map(Some).ok_or_else(|| Error::Corrupt { object: blob, reason: reason() })
}

fn size(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// The catalogue changes with every release, so browsers and the edge keep it for minutes only.
fn catalogue_policy() -> HeaderPolicy {
    let seconds = std::time::Duration::from_secs;
    HeaderPolicy::new(
        seconds(60),
        seconds(300),
        seconds(3600),
        seconds(7 * 24 * 3600),
        vec![catalogue::NAME.to_owned()],
    )
}

fn catalogue_entry(count: u64, as_of: DateTime<Utc>, now: DateTime<Utc>) -> TemplateEntry {
    TemplateEntry {
        rows: RowsAt::default(),
        path: catalogue::PATH.to_owned(),
        shape: Shape::Json,
        on_miss: OnMiss::NotFound,
        key_columns: Vec::new(),
        columns: Vec::new(),
        count,
        held: 0,
        as_of,
        changed_at: now,
        status: Status::Ok,
    }
}
