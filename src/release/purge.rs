//! Purging: step 9 of the protocol, which makes the edges forget what stable paths showed before.
//!
//! A purge isn't part of a release but a debt of the site: whoever activates may die before it, the CDN may be away for
//! an hour, and an edge that isn't told keeps a document for a day. So the head says up to which release the edges were
//! told, and every run, also one that changes nothing, pays whatever is owed since: the union of the changes of all
//! releases after that one, never the difference of two manifests, because an edge may have kept what was there only in
//! between. The cursor moves forward only, after the CDN has promised, and needs no lease.
//!
//! Without a CDN the cursor stays where it is, and costs no request. A CDN that is configured later begins with one purge
//! of everything, since nobody knows what its edges have kept until then.

use std::sync::Arc;

use super::activate::{Activated, Changed};
use super::broken::{Safeguard, is_out};
use super::head::{Head, HeadRead};
use super::id::ReleaseId;
use super::manifest::{Manifest, Root};
use super::progress::{Phase, Progress};
use crate::cdn::{Cdn, Limits, Plan};
use crate::error::Error;
use crate::store::Store;

mod groups;

use groups::{Trust, groups};

/// A debt over more releases than this isn't counted where nobody pays it.
const COUNTED_RELEASES: u64 = 50;
/// What to do about a debt that couldn't be paid.
const RESUME: &str = "`tintype purge --resume` tells the edges what they have missed, and so does the next publish";
/// What to do about a purge that somebody asked for.
const AGAIN: &str = "run the command again";

/// What became of a purge.
#[derive(Debug, Default)]
pub struct Purged {
    /// How it ended.
    pub outcome: PurgeOutcome,
    /// What was to be sent, as far as it was known.
    pub plan: Option<Plan>,
    /// Why it is still to be done.
    pub error: Option<Error>,
}

/// How a purge ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PurgeOutcome {
    /// There is no CDN, or the run had nothing to do with it.
    #[default]
    None,
    /// The edges know everything.
    Done,
    /// Something is owed to them.
    Pending,
}

/// What is to be purged.
#[derive(Debug, Clone)]
pub enum Wanted {
    /// What the edges weren't told yet.
    Owed,
    /// Every document.
    Everything,
    /// These paths of the active release, each named once, in order.
    Paths(Vec<Arc<str>>),
}

/// What the edges weren't told yet.
#[derive(Debug)]
pub struct Debt {
    /// The release up to which they know everything; none if they have never been told anything.
    pub since: Option<ReleaseId>,
    /// How many paths that is, if it was counted.
    pub paths: Option<u64>,
}

impl Purged {
    fn pending(plan: Option<Plan>, error: impl Into<Option<Error>>) -> Purged {
        Purged { outcome: PurgeOutcome::Pending, plan, error: error.into() }
    }

    fn done(plan: Plan) -> Purged {
        Purged { outcome: PurgeOutcome::Done, plan: Some(plan), error: None }
    }
}

/// Purges what is owed, after a run that has activated this much; with `pay` false it is only found out.
///
/// Where some path couldn't be changed, what the others show is purged all the same, and owed once more: a single path
/// that can't be written must not keep the edges from all others.
pub async fn catch_up(store: &Store, cdn: &Cdn, pay: bool, activated: &Activated, progress: &Progress) -> Purged {
    if cdn.is_none() {
        return Purged::default();
    }
    let is_idle = activated.shown + activated.removed == 0;
    let paid = settle(store, cdn, &Wanted::Owed, pay, activated.is_complete(), is_idle, progress).await;
    paid.unwrap_or_else(|error| Purged::pending(None, error))
}

/// Purges what somebody asks for; with `pay` false only plans it. Without a release there is nothing to purge.
pub async fn purge(store: &Store, cdn: &Cdn, wanted: &Wanted, pay: bool, progress: &Progress) -> Result<Purged, Error> {
    let Wanted::Paths(paths) = wanted else { return settle(store, cdn, wanted, pay, true, false, progress).await };
    let limits = cdn.limits();
    let plan = match (paths.len() > limits.items, HeadRead::read(store).await?.head.active) {
        (true, Some(active)) => {
            let manifest = Manifest::read(store, &active).await?;
            Plan::new(&limits, &groups(&manifest, paths.clone(), Trust::None))
        }
        _ => Plan::exact(&limits, paths),
    };
    Ok(send(cdn, plan, pay, AGAIN, progress).await)
}

/// Pays the debt, or purges everything, which pays it too.
async fn settle(
    store: &Store,
    cdn: &Cdn,
    wanted: &Wanted,
    pay: bool,
    is_complete: bool,
    is_idle: bool,
    progress: &Progress,
) -> Result<Purged, Error> {
    let read = HeadRead::read(store).await?;
    let Head { active, desired, purged, floor, suspect, .. } = read.head.clone();
    let Some(shown) = (if is_complete { &active } else { &desired }) else { return Ok(Purged::done(Plan::default())) };
    let is_owed = matches!(wanted, Wanted::Owed);
    if is_owed && (purged.as_ref() == Some(shown) || (is_out(Safeguard::PurgeCursor) && is_idle)) {
        return Ok(Purged::done(Plan::default()));
    }
    // Behind the floor nobody remembers what was changed.
    let known = purged.clone().filter(|purged| is_owed && floor.is_none_or(|floor| purged.serial >= floor.serial));
    let root = Root::read(store, shown).await?;
    let changed = owed(store, known.as_ref(), &root, is_owed).await?;
    let plan = plan(store, &cdn.limits(), changed, known.as_ref(), &root).await?;
    let next = if is_owed { RESUME } else { AGAIN };
    let sent = send(cdn, plan, pay, next, progress).await;
    if sent.outcome != PurgeOutcome::Done {
        return Ok(sent);
    }
    let forward = |head: &mut Head| {
        // Another run may have got further meanwhile, or have found that something is owed once more.
        let is_behind = head.purged < active && head.purged == purged && head.suspect == suspect;
        if is_behind {
            head.purged.clone_from(&active);
        }
        is_behind
    };
    match read.update(store, forward).await {
        Ok(_) => Ok(sent),
        Err(error) => Ok(Purged::pending(sent.plan, error)),
    }
}

async fn send(cdn: &Cdn, plan: Plan, pay: bool, next: &str, progress: &Progress) -> Purged {
    if plan.is_empty() {
        return Purged::done(plan);
    }
    if !pay {
        return Purged::pending(Some(plan), None);
    }
    progress.enter(Phase::Purge, 0);
    match cdn.purge(&plan).await {
        Ok(()) => Purged::done(plan),
        Err(error) => Purged::pending(Some(plan), Error::from(error.then(next))),
    }
}

/// What the releases after `purged` changed, up to the one whose documents are shown.
async fn owed(store: &Store, purged: Option<&ReleaseId>, root: &Root, is_owed: bool) -> Result<Changed, Error> {
    match purged {
        _ if is_owed && is_out(Safeguard::PurgeCursor) => Changed::since(store, root.parent.as_ref(), root).await,
        Some(purged) => Changed::since(store, Some(purged), root).await,
        None => Ok(Changed::All),
    }
}

/// How to say it. The rows of the release are read only where not every path can be named.
async fn plan(
    store: &Store,
    limits: &Limits,
    owed: Changed,
    known: Option<&ReleaseId>,
    root: &Root,
) -> Result<Plan, Error> {
    let paths = match owed {
        Changed::All if limits.everything => return Ok(Plan::everything()),
        Changed::All => {
            let manifest = Manifest::read(store, &root.id).await?;
            let rows = manifest.rows.values().flat_map(|rows| rows.iter());
            let paths: Vec<_> = rows.filter(|row| row.document.is_some()).map(|row| Arc::clone(&row.path)).collect();
            return Ok(Plan::exact(limits, &paths));
        }
        Changed::Paths(paths) if paths.len() <= limits.items => return Ok(Plan::exact(limits, &paths)),
        Changed::Paths(paths) => paths,
    };
    let trust = match limits.tags {
        true => Trust::since(store, known, root).await?,
        false => Trust::None,
    };
    let manifest = Manifest::read(store, &root.id).await?;
    Ok(Plan::new(limits, &groups(&manifest, paths, trust)))
}

/// What the edges weren't told yet, if there is anything.
pub async fn debt(store: &Store, head: &Head) -> Result<Option<Debt>, Error> {
    let Some(active) = head.active.as_ref().filter(|active| head.purged.as_ref() != Some(active)) else {
        return Ok(None);
    };
    let known =
        head.purged.clone().filter(|purged| head.floor.as_ref().is_none_or(|floor| purged.serial >= floor.serial));
    let paths = match &known {
        Some(purged) if active.serial.saturating_sub(purged.serial) <= COUNTED_RELEASES => {
            let root = Root::read(store, active).await?;
            match Changed::since(store, Some(purged), &root).await? {
                Changed::Paths(paths) => Some(paths.len() as u64),
                Changed::All => None,
            }
        }
        _ => None,
    };
    Ok(Some(Debt { since: known, paths }))
}
