//! Drafts: the release that a run would commit, put together in memory from the committed one and what the run saw.
//!
//! A draft can be made again on another base, because others may commit between the build and the commit. Making one
//! writes nothing; `write` stages its objects, each under a name that holds the run and the attempt.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::base::Base;
use super::build::{Built, Seen};
use super::catalogue;
use super::clock;
use super::growing::Growing;
use super::guard::{Case, accept, judge};
use super::head::FORMAT;
use super::id::ReleaseId;
use super::lines::write_list;
use super::manifest::{Change, ChangeKind, ChangeList, Manifest, Root, policy_hash};
use super::merge::{Merged, Observation, merge};
use super::mixture::refuse_mixture;
use super::publish::{Job, Outcome};
use super::purge::Purged;
use super::refresh::Refreshed;
use super::report::{Report, Seconds, TemplateReport, counts, differences};
use super::restore::Restoring;
use super::row::Row;
use super::shards::{Writing, shard_name};
use super::staged::{Staged, StagedTemplate};
use super::table::Tabled;
use crate::diagnostic::Diagnostic;
use crate::error::Error;
use crate::snapshot::Digest;
use crate::store::Store;
use crate::template::Template;
use chrono::{DateTime, TimeDelta, Utc};

mod index;
mod runs;

pub use index::committed_catalogue;

/// A replica may be a day behind its primary, and clocks an hour apart. An instant that is farther ahead of what a run saw
/// than this, beyond the time since it began, was written while a clock was wrong.
pub const CLOCKS_APART: TimeDelta = TimeDelta::hours(25);
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
    pub reports: Vec<TemplateReport>,
    orphans: Vec<String>,
    /// What refresh queries answered before complete reads, for the head.
    refreshed: BTreeMap<String, Refreshed>,
}

/// What becomes of a template that a guard refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refused {
    /// It keeps its last good rows.
    Kept,
    /// It gets the rows that were refused, because the release is only staged.
    Taken,
}

/// A template as the run saw it and as it is committed.
struct Observed<'a> {
    template: &'a Arc<Template>,
    built: &'a Built,
    committed: &'a [Arc<Row>],
    /// When it was last read whole.
    checked: Option<DateTime<Utc>>,
    /// Every template that has a file.
    known: &'a BTreeSet<&'a str>,
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

    /// True if there is something to commit; a run of failures and refusals commits nothing.
    pub fn has_content(&self, drafted: &Drafted) -> bool {
        let mut seen = drafted.reports.iter().zip(&self.outcomes).filter(|(_, (_, seen))| seen.is_ok());
        let has_seen = seen.any(|(report, _)| !report.is_refused());
        drafted.manifest.is_some() && (has_seen || self.restoring.is_some() || !self.job.retire.is_empty())
    }

    /// Lets go of what was built: a committed release is merged no more, and activating it takes a while.
    pub fn forget(&mut self) {
        self.outcomes.clear();
    }

    /// Makes the release on a base. What a guard refuses keeps its last good rows.
    pub async fn onto(&mut self, base: &Base, store: &Store) -> Result<Drafted, Error> {
        self.drafted(base, store, Refused::Kept).await
    }

    /// Makes the release that it would be if every guard let it pass, to be staged and not committed.
    pub async fn unguarded(&mut self, base: &Base, store: &Store) -> Result<Drafted, Error> {
        self.drafted(base, store, Refused::Taken).await
    }

    async fn drafted(&mut self, base: &Base, store: &Store, refused: Refused) -> Result<Drafted, Error> {
        self.attempt += 1;
        let (head, serial, base) = (base.head(), base.next_serial(), base.manifest.as_deref());
        let mut growing = Growing::from(base);
        let known: BTreeSet<&str> = self.job.templates.iter().map(|template| template.name.as_str()).collect();
        let mut reports = Vec::new();
        for (template, seen) in &self.outcomes {
            let committed = base.and_then(|base| base.rows.get(&template.name)).map_or(&[][..], |rows| rows.as_slice());
            let checked = head.checked.get(&template.name).map(|checked| checked.as_of);
            let report = match seen {
                Ok(Seen::Built(built)) => {
                    let observed = Observed { template, built, committed, checked, known: &known };
                    self.merge_one(&mut growing, &observed, refused)
                }
                Ok(Seen::LeftOut(left_out)) => Ok(growing.leave(template, left_out)),
                Err(failure) => Err(failure.clone()),
            };
            reports.push(report.unwrap_or_else(|failure| growing.fail(template, failure)));
        }
        reports.extend(self.job.retire.iter().map(|name| growing.retire(name)));
        if let Some(restoring) = &self.restoring {
            restoring.check(head)?;
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
            .filter(|name| *name != catalogue::NAME && self.restoring.is_none() && !known.contains(name.as_str()))
            .cloned()
            .collect();
        let run = match self.attempt {
            1 => self.job.run.clone(),
            attempt => self.job.run.attempt(attempt),
        };
        let id = ReleaseId { serial, run };
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
            let mut root = self.root(&growing, id, base, catalogue, &drafted.writing);
            root.staged = (refused == Refused::Taken).then(|| self.staged(&drafted.reports));
            drafted.manifest = Some(Arc::new(Manifest { root, rows: growing.rows, patched }));
        }
        drafted.changes = growing.changes;
        Ok(drafted)
    }

    fn merge_one(
        &self,
        growing: &mut Growing,
        seen: &Observed<'_>,
        refused: Refused,
    ) -> Result<TemplateReport, Diagnostic> {
        let Observed { template, built, committed, checked, known } = *seen;
        if !built.is_whole() {
            refuse_mixture(growing.entries.get(&template.name), template, Some(&built.columns))?;
        }
        let observed = Observation {
            scope: &built.scope,
            rows: &built.rows,
            origin: Arc::clone(&built.origin),
            rewrite: self.job.rewrite,
            unhold: self.job.unhold,
            not_after: built.origin.as_of + (Utc::now() - self.job.now).max(TimeDelta::zero()) + CLOCKS_APART,
        };
        let merged = merge(committed, checked, &observed);
        let report = self.merged(growing, seen, &merged);
        if refused == Refused::Kept && report.is_refused() {
            growing.keep(&template.name);
            return Ok(report);
        }
        growing.refuse_collisions(template, &merged, known)?;
        // With rows of somebody else's later read among them, they aren't what the answer stands for.
        let record = built.consulted.record(&merged.rows).filter(|_| built.is_whole() && merged.older == 0);
        growing.refreshed.extend(record.map(|record| (template.name.clone(), record)));
        let keys = built.keys.keys(template, &merged.rows);
        growing.keys.insert(template.name.clone(), keys.columns);
        growing.files.extend(keys.files);
        growing.policies.insert(policy_hash(&template.policy).to_string(), template.policy.clone());
        growing.put(template, built, merged, report.counts, built.origin.as_of, self.job.now);
        Ok(report)
    }

    /// What a merge makes of a template, and what its guards say of that.
    fn merged(&self, growing: &Growing, seen: &Observed<'_>, merged: &Merged) -> TemplateReport {
        let Observed { template, built, committed, .. } = *seen;
        let is_listed = !self.job.commit || merged.changes.len() <= MAX_LISTED;
        let listed = if is_listed { merged.changes.as_slice() } else { &[] };
        let case = Case {
            template,
            entry: growing.entries.get(&template.name),
            before: committed,
            after: &merged.rows,
            columns: &built.columns,
            scope: &built.scope,
            answers: &built.answers,
        };
        let mut verdicts = judge(&case);
        accept(&mut verdicts, &template.name, &self.job.accept);
        TemplateReport {
            rows: built.rows_read,
            rows_skipped: built.rows_skipped,
            over_max_keys: built.over_max_keys,
            older: merged.older,
            held: merged.held,
            cost: built.cost,
            decision: Some(built.consulted.decision.clone()),
            changes: differences(listed, committed, &merged.rows, Some(&self.job.run)),
            verdicts,
            ..TemplateReport::of(&template.name, counts(merged))
        }
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
                entry.policies = growing.policies_of(name);
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
            staged: None,
            publishes: self.job.publishes.clone(),
            kind: self.job.kind,
            author: self.job.author.clone(),
            note: self.job.note.clone(),
            created_at: clock::now(),
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

    /// What publishing the release later is to take of it: what was refused, or everything where nothing was to be
    /// committed.
    fn staged(&self, reports: &[TemplateReport]) -> Staged {
        let mut staged = Staged::default();
        for (report, (_, seen)) in reports.iter().zip(&self.outcomes) {
            let (Ok(Seen::Built(built)), None) = (seen, &report.failure) else { continue };
            if report.is_refused() || self.job.stage_only {
                let is_whole = built.is_whole();
                let refused = report.verdicts.iter().filter(|verdict| verdict.refuses());
                let refused = refused.map(|verdict| verdict.guard.clone()).collect();
                let template = StagedTemplate { is_whole, refused, answers: built.answers.clone() };
                staged.templates.insert(report.name.clone(), template);
            }
        }
        staged
    }

    /// Stages what the release consists of besides the documents: catalogue, shards, changes, and last the root.
    ///
    /// The list of changes goes first and is let go of then: with a million documents it and a shard that is being
    /// compressed are the largest things in memory, and nobody needs both.
    pub async fn write(&self, drafted: &mut Drafted, store: &Store) -> Result<(), Error> {
        let Some(manifest) = &drafted.manifest else { return Ok(()) };
        let changes = std::mem::take(&mut drafted.changes);
        write_list(store, &manifest.root.changes.object, &changes).await?;
        drop(changes);
        for (name, bytes) in &drafted.blobs {
            store.create(name, bytes.clone().into()).await?;
        }
        for writing in drafted.writing.values() {
            writing.write(store).await?;
        }
        manifest.root.write(store).await
    }

    /// The report of the run, without what comes after the commit.
    pub fn report(&self, drafted: Drafted, release: Option<ReleaseId>, committed: bool) -> Report {
        Report {
            is_pending: self.has_content(&drafted),
            staged: None,
            rolled_forward: None,
            settled: None,
            purge: Purged::default(),
            table: Tabled::default(),
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
