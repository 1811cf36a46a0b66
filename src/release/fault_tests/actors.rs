//! Who acts on the site: each runs the product's own code, as a process of its own with its own connection to the store.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::data::{Building, Data, Database, EDITED, Observation, TEMPLATE, scope};
use crate::cdn::Cdn;
use crate::error::Error;
use crate::release::activate::Activated;
use crate::release::clock;
use crate::release::head::HeadRead;
use crate::release::id::{ReleaseId, RunId};
use crate::release::manifest::Kind;
use crate::release::progress::Progress;
use crate::release::prune::{self, Retention};
use crate::release::publish::{Job, Read, Started};
use crate::release::report::{Report, Seconds};
use crate::release::resume::resume;
use crate::release::rollback::{Rollback, previous, roll_back};
use crate::release::staged::publish_staged;
use crate::store::{Faulty, Script, Sender, Store, StoreError, World};
use crate::template::scope::Scope;

/// How long a lease lives that nobody renews.
pub const LEASE_TTL: Duration = Duration::from_secs(90);

/// Somebody who changes the site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Actor {
    /// Publishes everything.
    Nightly,
    /// Publishes everything, unless a key is gone: that its guard refuses.
    Guarded,
    /// Publishes what was refused last.
    Staged,
    /// Republishes the first key.
    Editor,
    /// Goes back to the release before.
    Rollback,
    /// Goes back, and holds what changes by that.
    Hold,
    /// Finishes what is committed.
    Resume,
    /// Keeps the last release that changed data, and what is younger than a week.
    Prune,
}

/// The site with its database, and what everybody who acted on it was up to.
#[derive(Debug)]
pub struct Site {
    pub world: Arc<Mutex<World>>,
    pub database: Mutex<Database>,
    /// By the number of the sender.
    pub deeds: Mutex<Vec<Deed>>,
}

/// What somebody was up to.
#[derive(Debug, Clone)]
pub struct Deed {
    pub actor: Actor,
    pub run: RunId,
    /// How long it waits for others.
    pub patience: Duration,
    /// Where the journal was when it began.
    pub began_at: usize,
    /// What it saw of the database, and where the journal was then.
    pub seen: Option<(usize, Observation)>,
    /// The release that was committed when a rollback was ordered.
    pub replaces: Option<ReleaseId>,
    /// How it ended, if it did.
    pub end: Option<End>,
}

/// How a run ended, as its process would say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Everything is done, and this release is committed.
    Done { release: Option<ReleaseId> },
    /// It is committed or there was nothing to commit, but something is left for the next run.
    Behind { release: Option<ReleaseId>, why: String },
    /// It has committed nothing, and nothing of it will ever be seen.
    Failed(String),
    /// Nobody knows.
    Unknown,
}

impl Deed {
    /// True if a release is of this run.
    pub fn made(&self, id: &ReleaseId) -> bool {
        let (run, made) = (self.run.as_str(), id.run.as_str());
        made.strip_prefix(run).is_some_and(|attempt| attempt.is_empty() || attempt.starts_with('.'))
    }
}

impl End {
    fn of(report: Report) -> End {
        End::new(report.release, &report.activated, report.unfinished.or(report.purge.error))
    }

    fn new(release: Option<ReleaseId>, activated: &Activated, unfinished: Option<Error>) -> End {
        match unfinished {
            Some(error) => End::Behind { release, why: error.to_string() },
            None if !activated.is_complete() => End::Behind { release, why: format!("{activated:?}") },
            None => End::Done { release },
        }
    }

    /// Every error says that nothing was committed, but for the one that says that nobody knows.
    fn failed(error: &Error) -> End {
        match error {
            Error::Store(StoreError { action: "tell what became of", .. }) => End::Unknown,
            error => End::Failed(error.to_string()),
        }
    }
}

pub fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Clone for Site {
    /// A site with the same past and another future.
    fn clone(&self) -> Site {
        Site {
            world: Arc::new(Mutex::new(locked(&self.world).clone())),
            database: Mutex::new(locked(&self.database).clone()),
            deeds: Mutex::new(locked(&self.deeds).clone()),
        }
    }
}

impl Site {
    /// A site on which nothing has happened yet.
    pub fn new(data: Data) -> Site {
        Site { world: Arc::default(), database: Mutex::new(Database::new(data)), deeds: Mutex::default() }
    }

    /// Lets somebody begin: their connection, on which the script's faults happen.
    pub fn enter(&self, actor: Actor, script: Script, patience: Duration) -> Arc<Store> {
        let mut deeds = locked(&self.deeds);
        let sender = Sender::try_from(deeds.len()).unwrap();
        let run = RunId::new(locked(&self.database).tick(), sender);
        let mut world = locked(&self.world);
        world.note(format!("{actor:?} begins as {sender}, run {run}, {script:?}"));
        deeds.push(Deed {
            actor,
            run,
            patience,
            began_at: world.journal().len(),
            seen: None,
            replaces: None,
            end: None,
        });
        drop(world);
        Arc::new(Store::Faulty(Faulty::new(&self.world, sender, script)))
    }

    /// What the sender of a connection is up to.
    pub fn deed(&self, sender: Sender) -> Deed {
        locked(&self.deeds)[sender as usize].clone()
    }

    fn note(&self, sender: Sender, change: impl FnOnce(&mut Deed)) {
        change(&mut locked(&self.deeds)[sender as usize]);
    }

    /// Does it, to its end.
    pub async fn act(&self, store: &Arc<Store>, progress: &Arc<Progress>) {
        let sender = store.faulty().sender();
        let deed = self.deed(sender);
        let job = Site::job(&deed, store);
        let end = match deed.actor {
            Actor::Nightly | Actor::Guarded | Actor::Editor => self.publish(&job, store, sender, progress).await,
            Actor::Staged => self.publish_staged(&job, store, sender, progress).await,
            Actor::Rollback | Actor::Hold => self.roll_back(&job, store, sender, progress).await,
            Actor::Prune => Site::prune(store, progress).await,
            Actor::Resume => resume(&job, store, false, progress)
                .await
                .map(|resumed| End::new(resumed.release, &resumed.activated, resumed.purge.error)),
        };
        let end = end.unwrap_or_else(|error| End::failed(&error));
        locked(&self.world).note(format!("{sender} ends: {end:?}"));
        self.note(sender, |deed| deed.end = Some(end));
    }

    /// What `publish::run` does, with another database.
    async fn publish(
        &self,
        job: &Job,
        store: &Arc<Store>,
        sender: Sender,
        progress: &Arc<Progress>,
    ) -> Result<End, Error> {
        let run = Started::begin(job, store, progress).await?;
        let seen = locked(&self.database).observe();
        let seen_at = locked(&self.world).observe(format!("{sender} sees {}", seen.data));
        self.note(sender, |deed| deed.seen = Some((seen_at, seen)));
        let scope = if self.deed(sender).actor == Actor::Editor { scope(&[EDITED]) } else { Scope::All };
        let base = run.base.manifest.as_deref();
        let building = Building { store, base, run: &job.run, now: job.now, scope, rewrite: job.rewrite };
        let outcomes = vec![(Arc::clone(&TEMPLATE), Ok(building.build(seen).await?.into()))];
        let read = Read { run: job.run.clone(), as_of: seen.as_of, source: None, outcomes };
        let report = run.conclude(read, Seconds::default()).await?;
        Ok(match report.staged {
            Some(_) if !report.committed => End::Failed("refused".to_owned()),
            _ => End::of(report),
        })
    }

    async fn publish_staged(
        &self,
        job: &Job,
        store: &Arc<Store>,
        sender: Sender,
        progress: &Arc<Progress>,
    ) -> Result<End, Error> {
        let nothing = || Ok(End::Failed("nothing was refused".to_owned()));
        let head = HeadRead::read(store).await?.head;
        let Some(id) = head.failed.get(&TEMPLATE.name).and_then(|failed| failed.staged.clone()) else {
            return nothing();
        };
        let seen = locked(&self.deeds).iter().find(|deed| deed.made(&id)).and_then(|deed| deed.seen);
        self.note(sender, |deed| deed.seen = seen);
        let report = publish_staged(job, store, &id, progress).await?;
        Ok(End::of(report))
    }

    async fn prune(store: &Store, progress: &Progress) -> Result<End, Error> {
        let retention = Retention { releases: 1, age: Duration::ZERO, unpurged: true };
        let plan = prune::plan(store, &retention, None).await?;
        let pruned = prune::execute(store, &retention, plan, None, progress).await?;
        Ok(match pruned.swept.failures {
            0 => End::Done { release: None },
            failures => End::Behind { release: None, why: format!("{failures} objects are still there") },
        })
    }

    async fn roll_back(
        &self,
        job: &Job,
        store: &Arc<Store>,
        sender: Sender,
        progress: &Arc<Progress>,
    ) -> Result<End, Error> {
        let nothing = || Ok(End::Failed("there is nothing to go back to".to_owned()));
        let Some(replaces) = HeadRead::read(store).await?.head.desired else { return nothing() };
        let Some(target) = previous(store, &replaces).await? else { return nothing() };
        self.note(sender, |deed| deed.replaces = Some(replaces.clone()));
        let order = Rollback { target, replaces, hold: self.deed(sender).actor == Actor::Hold };
        let report = roll_back(job, store, &order, progress).await?;
        Ok(End::of(report))
    }

    fn job(deed: &Deed, store: &Arc<Store>) -> Job {
        let is_editor = deed.actor == Actor::Editor;
        Job {
            templates: vec![Arc::clone(&TEMPLATE)],
            selectors: Vec::new(),
            kind: match deed.actor {
                Actor::Editor => Kind::Republish,
                Actor::Rollback | Actor::Hold => Kind::Rollback,
                _ => Kind::Publish,
            },
            rewrite: is_editor,
            unhold: is_editor,
            retire: Vec::new(),
            accept: if deed.actor == Actor::Guarded { Vec::new() } else { vec!["all".to_owned()] },
            publishes: None,
            stage_only: false,
            begin_anew: false,
            commit: true,
            author: None,
            note: None,
            now: clock::now(),
            cdn: Cdn::Edge(Arc::clone(store)),
            purge: true,
            table: None,
            lease_wait: deed.patience,
            lease_ttl: LEASE_TTL,
            holder: deed.run.to_string(),
            run: deed.run.clone(),
        }
    }
}
