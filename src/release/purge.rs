//! Purging: step 9 of the protocol, which makes the edges forget what stable paths showed before.
//!
//! A purge isn't part of a release but pays a debt of the site (see `debt`): every run pays whatever is owed, also one
//! that changes nothing. The cursor in the head moves only after the CDN has promised, and needs no lease.
//!
//! Without a CDN the cursor stays where it is, and costs no request. A CDN that is configured later begins with one purge
//! of everything, since nobody knows what its edges have kept until then.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::activate::{Activated, Changed};
use super::broken::{Safeguard, is_out};
use super::debt;
use super::head::{Head, HeadRead, Lease};
use super::manifest::{Manifest, Root};
use super::progress::{Phase, Progress};
use crate::cdn::{Cdn, CdnError, Plan};
use crate::error::Error;
use crate::store::Store;

mod groups;

use groups::{Trust, groups};

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

/// Whom to tell, and for what.
struct Telling<'a> {
    store: &'a Store,
    cdn: &'a Cdn,
    /// False if it is only to be found out what would be sent.
    pay: bool,
    /// True if what is sent is the debt, which the next run pays if this one can't.
    is_owed: bool,
    progress: &'a Progress,
}

impl Purged {
    /// Of a purge that couldn't even be planned, or not be noted.
    pub fn failed(error: Error) -> Purged {
        Purged::pending(None, error)
    }

    fn pending(plan: Option<Plan>, error: impl Into<Option<Error>>) -> Purged {
        Purged { outcome: PurgeOutcome::Pending, plan, error: error.into() }
    }

    fn done(plan: Plan) -> Purged {
        Purged { outcome: PurgeOutcome::Done, plan: Some(plan), error: None }
    }
}

/// Purges what is owed, after a run that has activated this much; with `pay` false it is only found out.
pub async fn catch_up(store: &Store, cdn: &Cdn, pay: bool, activated: &Activated, progress: &Progress) -> Purged {
    if cdn.is_none() {
        return Purged::default();
    }
    let telling = Telling { store, cdn, pay, is_owed: true, progress };
    let purged = Box::pin(telling.settle(Some(activated))).await.unwrap_or_else(Purged::failed);
    if purged.error.is_none() {
        progress.leave(Phase::Purge);
    }
    purged
}

/// Purges what somebody asks for; with `pay` false only plans it. Without a release there is nothing to purge.
pub async fn purge(store: &Store, cdn: &Cdn, wanted: &Wanted, pay: bool, progress: &Progress) -> Result<Purged, Error> {
    let telling = Telling { store, cdn, pay, is_owed: matches!(wanted, Wanted::Owed), progress };
    match wanted {
        Wanted::Owed | Wanted::Everything => Box::pin(telling.settle(None)).await,
        Wanted::Paths(paths) => telling.name(paths).await,
    }
}

impl Telling<'_> {
    /// Pays the debt, or purges everything, which pays it too.
    ///
    /// Where some path couldn't be changed, what the others show is purged all the same, and owed once more: a single
    /// path that can't be written must not keep the edges from all others.
    async fn settle(&self, activated: Option<&Activated>) -> Result<Purged, Error> {
        let Telling { store, cdn, is_owed, .. } = *self;
        let read = HeadRead::read(store).await?;
        let head = read.head.clone();
        let is_complete = activated.is_none_or(Activated::is_complete);
        let shown = if is_complete { &head.active } else { &head.desired };
        let Some(shown) = shown.as_ref().filter(|shown| !is_owed || head.owes(cdn, shown)) else {
            return Ok(Purged::done(Plan::default()));
        };
        let is_idle = activated.is_some_and(|activated| activated.shown + activated.removed == 0);
        if is_out(Safeguard::PurgeCursor) && is_owed && is_idle {
            return Ok(Purged::done(Plan::default()));
        }
        let root = Root::read(store, shown).await?;
        let plan = self.plan(&head, &root).await?;
        // Who asks for everything wants everything.
        let from = if is_owed { head.sent(cdn, &plan) } else { 0 };
        let sent = self.send(plan, from).await;
        if let (Purged { plan: Some(plan), error: Some(Error::Cdn(error)), .. }, true) = (&sent, is_owed) {
            // Without the note the next payer begins anew, and is none the worse.
            let noted = read.update(store, |now| now.note_sent(cdn, &head, plan, error.done)).await;
            if let Err(error) = noted {
                tracing::debug!(%error, "how far the purge got couldn't be noted");
            }
            return Ok(sent);
        }
        if sent.outcome != PurgeOutcome::Done {
            return Ok(sent);
        }
        let paid = read.update(store, |now| now.pay(cdn, &head)).await;
        // A run that has activated something has paid for that, and the repair of another pays for itself.
        let mender = head.lease.as_ref().filter(|_| activated.is_none() && !head.mended.is_empty());
        match (paid, mender) {
            (Ok(now), Some(lease)) if !now.head.mended.is_empty() => {
                let error = being_mended(lease, &head.mended);
                Ok(Purged::pending(sent.plan, Error::from(error)))
            }
            (Ok(_), _) => Ok(sent),
            (Err(error), _) => Ok(Purged::pending(sent.plan, error)),
        }
    }

    /// How to say it. The rows of the release are read only where not every path can be named.
    async fn plan(&self, head: &Head, root: &Root) -> Result<Plan, Error> {
        let Telling { store, cdn, is_owed, .. } = *self;
        let limits = cdn.limits();
        let owed = match is_owed {
            true => debt::owed(store, cdn, head, root).await?,
            false => Changed::All,
        };
        let paths = match owed {
            Changed::All if limits.everything => return Ok(Plan::everything()),
            Changed::All => {
                let manifest = Manifest::read(store, &root.id).await?;
                return Ok(Plan::exact(&limits, &debt::everything(store, cdn, head, &manifest).await?));
            }
            Changed::Paths(paths) if paths.len() <= limits.items => return Ok(Plan::exact(&limits, &paths)),
            Changed::Paths(paths) => paths,
        };
        let trust = match limits.tags {
            true => Trust::since(store, head.told(cdn), root).await?,
            false => Trust::None,
        };
        let manifest = Manifest::read(store, &root.id).await?;
        Ok(Plan::new(&limits, &groups(&manifest, paths, &trust)))
    }

    /// Purges these paths, whatever the edges were told of them.
    async fn name(&self, paths: &[Arc<str>]) -> Result<Purged, Error> {
        let limits = self.cdn.limits();
        let plan = match (paths.len() > limits.items, HeadRead::read(self.store).await?.head.active) {
            (true, Some(active)) => {
                let manifest = Manifest::read(self.store, &active).await?;
                Plan::new(&limits, &groups(&manifest, paths.to_vec(), &Trust::None))
            }
            _ => Plan::exact(&limits, paths),
        };
        Ok(self.send(plan, 0).await)
    }

    /// Sends a plan from this request on.
    async fn send(&self, plan: Plan, from: usize) -> Purged {
        if plan.is_empty() {
            return Purged::done(plan);
        }
        if !self.pay {
            return Purged::pending(Some(plan), None);
        }
        let (phase, next) = if self.is_owed { (Phase::Purge, RESUME) } else { (Phase::PurgeNamed, AGAIN) };
        self.progress.enter(phase, 0);
        match self.cdn.purge(&plan, from).await {
            Ok(()) => Purged::done(plan),
            Err(error) => Purged::pending(Some(plan), Error::from(error.then(next))),
        }
    }
}

/// What was told of paths while somebody mends them, or died over it, says nothing of what they will show.
fn being_mended(lease: &Lease, mended: &BTreeSet<Arc<str>>) -> CdnError {
    let what = match mended.len() {
        1 => "1 mended path".to_owned(),
        paths => format!("{paths} mended paths"),
    };
    let since = lease.taken_at.format("%Y-%m-%d %H:%M UTC");
    let hint = "if it is dead, `tintype resume` ends what it was at and tells the edges, and so does the next publish";
    let reason = format!("{}, which is mending them since {since}, hasn't ended", lease.holder);
    CdnError { what, reason, hint: Some(hint.to_owned()), done: 0 }
}
