//! Staged releases: written whole, committed by nobody, to be looked at and published later without a query.
//!
//! A run stages what its guards refuse, or everything if it was to do no more. Publishing it takes the staged rows as
//! what they are: an observation of the instant that the run saw. So they go the way of every observation. They are
//! merged onto what is committed by then, where newer rows stay, and judged again against that.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::barrier::{self, MAX_STAGING};
use super::base::Base;
use super::build::{Built, Cost};
use super::catalogue::{Described, Keys};
use super::clock;
use super::draft::committed_catalogue;
use super::guard::Answers;
use super::id::ReleaseId;
use super::inspect::document;
use super::manifest::{Change, Manifest, Root, TemplateEntry, policy_hash};
use super::progress::Progress;
use super::publish::{Job, Outcome, Read, Started};
use super::refresh::{Consulted, Why};
use super::report::{Report, Seconds};
use super::row::{Origin, Row, find};
use crate::error::Error;
use crate::key::Key;
use crate::store::Store;
use crate::template::Template;
use crate::template::scope::Scope;

/// What publishing a staged release is to take of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Staged {
    /// By template.
    pub templates: BTreeMap<String, StagedTemplate>,
}

/// A template of a staged release.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StagedTemplate {
    /// True if the run read every key of it; else it speaks only of the keys that the release changes.
    pub is_whole: bool,
    /// The guards and asserts that refused it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<String>,
    /// What its guards asked the database.
    #[serde(default)]
    pub answers: Answers,
}

/// Publishes a staged release, or shows what that would do if the job isn't to commit.
pub async fn publish_staged(
    job: &Job,
    store: &Arc<Store>,
    id: &ReleaseId,
    progress: &Progress,
) -> Result<Report, Error> {
    let root = Root::read(store, id).await?;
    let staged = root.staged.clone().ok_or_else(|| {
        Error::usage(
            format!("the release {id} wasn't staged to be published"),
            "`tintype releases` lists those that are; `tintype rollback` shows a committed one again",
        )
    })?;
    let job = Job { kind: root.kind, publishes: Some(id.clone()), ..job.clone() };
    let run = Started::begin(&job, store, progress).await?;
    refuse_old(store, &root, &run.base).await?;
    let manifest = Manifest::read(store, id).await?;
    let as_of = root.as_of.unwrap_or(root.created_at);
    let taking = Taking { job: &job, store, manifest: &manifest, changes: root.changes(store).await? };
    let mut outcomes = Vec::new();
    for (name, part) in staged.templates {
        outcomes.push(taking.outcome(&name, part).await?);
    }
    let read = Read { run: job.run.clone(), as_of, source: None, outcomes };
    run.conclude(read, Seconds::default()).await
}

/// A staged release is given up before `prune` may take its blobs, and a rollback is a barrier to it like to any run.
async fn refuse_old(store: &Store, root: &Root, base: &Base) -> Result<(), Error> {
    let id = &root.id;
    let refuse = |reason: String| Err(Error::usage(reason, "build it again: tintype publish"));
    let age = (clock::now() - root.created_at).to_std().unwrap_or_default();
    if age > MAX_STAGING {
        let shown = |age: Duration| humantime::format_duration(Duration::from_secs(age.as_secs()));
        let (age, most) = (shown(age), shown(MAX_STAGING));
        return refuse(format!("the release {id} was staged {age} ago; after {most} its documents may be pruned"));
    }
    if barrier::is_pruned(root.parent.as_ref(), base) {
        return refuse(format!("the release on which {id} was staged has been pruned meanwhile"));
    }
    match barrier::rollback_since(store, root.parent.as_ref(), base).await? {
        Some(rollback) => refuse(format!("the release {} rolled the site back after {id} was staged", rollback.id)),
        None => Ok(()),
    }
}

/// Takes templates out of a staged release.
struct Taking<'a> {
    job: &'a Job,
    store: &'a Store,
    manifest: &'a Manifest,
    /// What the release changes.
    changes: Vec<Change>,
}

impl Taking<'_> {
    /// A template as the run that staged it saw it.
    async fn outcome(&self, name: &str, part: StagedTemplate) -> Result<Outcome, Error> {
        let (Some(entry), Some(rows)) = (self.manifest.root.templates.get(name), self.manifest.rows.get(name)) else {
            let object = Root::name(&self.manifest.root.id);
            return Err(Error::Corrupt { object, reason: format!("names the template {name} and has no rows of it") });
        };
        let template = self.template(name, entry)?;
        let (scope, rows) = match part.is_whole {
            true => (Scope::All, documents(rows)),
            false => self.changed(&template, rows),
        };
        let origin = Origin {
            as_of: self.manifest.root.as_of.unwrap_or(self.manifest.root.created_at),
            changed_at: self.job.now,
            run: self.manifest.root.id.run.clone(),
            policy: policy_hash(&template.policy),
            held: false,
        };
        let built = Built {
            scope,
            rows,
            origin: Arc::new(origin),
            keys: Described::Closed(self.keys(name).await?),
            columns: entry.columns.clone(),
            rows_skipped: 0,
            over_max_keys: false,
            rows_read: 0,
            answers: part.answers,
            cost: Cost::default(),
            consulted: Consulted::unasked(Why::NoRefresh),
        };
        Ok((template, Ok(built.into())))
    }

    /// The template's file, which must be what it was as far as the documents show it.
    fn template(&self, name: &str, entry: &TemplateEntry) -> Result<Arc<Template>, Error> {
        let id = &self.manifest.root.id;
        let refuse = |what: &str| {
            let message = format!("the template {name} {what} since the release {id} was staged");
            Error::usage(message, format!("build it again: tintype publish {name}"))
        };
        let template = self.job.templates.iter().find(|template| template.name == name);
        let template = template.ok_or_else(|| refuse("has lost its file"))?;
        if entry.path != template.pattern.as_str() || entry.shape != template.shape {
            return Err(refuse("has got another path or shape"));
        }
        Ok(Arc::clone(template))
    }

    /// The keys that the release changes, and their documents.
    fn changed(&self, template: &Template, rows: &[Arc<Row>]) -> (Scope, Vec<Arc<Row>>) {
        let changed = self.changes.iter().filter_map(|change| find(rows, &change.path));
        let mut changed: Vec<Arc<Row>> = changed.map(Arc::clone).collect();
        changed.sort_by(|a, b| a.path.cmp(&b.path));
        let keys: Vec<Key> = changed.iter().map(|row| row.key.clone()).collect();
        (Scope::only(template.columns().len(), keys), documents(&changed))
    }

    /// What the catalogue is to say of the keys: what the staged one says.
    async fn keys(&self, name: &str) -> Result<Keys, Error> {
        let catalogue = committed_catalogue(Some(self.manifest), self.store).await?;
        let columns = catalogue.and_then(|catalogue| catalogue.keys(name)).unwrap_or_default();
        let mut files = Vec::new();
        for path in columns.iter().filter_map(|column| column.get("url")?.as_str()) {
            let missing = || Error::Corrupt { object: path.to_owned(), reason: "is missing".to_owned() };
            let body = document(self.store, path, Some(self.manifest)).await?.ok_or_else(missing)?;
            files.push((path.to_owned(), Arc::new(body)));
        }
        Ok(Keys { columns, files })
    }
}

/// The rows that have a document.
fn documents(rows: &[Arc<Row>]) -> Vec<Arc<Row>> {
    rows.iter().filter(|row| row.document.is_some()).map(Arc::clone).collect()
}
