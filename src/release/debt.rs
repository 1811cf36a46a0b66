//! The debt: what the edges weren't told yet.
//!
//! An edge that isn't told keeps a document for a day, and whoever activates may die before it tells anybody. So the head
//! says up to which release the edges were told, and of which CDN they are, since what one was told says nothing of
//! another. Owed is the union of the changes of all releases after that one, never the difference of two manifests,
//! because an edge may have kept what was there only in between. Besides there are paths that no release changed and that
//! showed something wrong for a while; they are named in the head before anybody mends them.
//!
//! Payments may overlap. Two that only move the cursor forward are both right, and the further one counts. But one that
//! began before something told became owed again says nothing of that; so the head counts how often that has happened,
//! and a payment is good only if the number is what it was when the payer began.
//!
//! A payment of many requests that ends before its last one isn't lost: the head names the plan and how far it got, and as
//! long as nothing else has changed, the next payer goes on there.

use std::sync::Arc;

use super::activate::Changed;
use super::broken::{Safeguard, is_out};
use super::head::{Head, Sending};
use super::id::ReleaseId;
use super::manifest::{Manifest, Root};
use crate::cdn::{Cdn, Plan};
use crate::error::Error;
use crate::snapshot::Digest;
use crate::store::Store;

/// The head names this many mended paths and no more. After the repair of a whole site everything is forgotten instead.
const NAMED: usize = 1000;
/// So many leftovers at most may go before a CDN knows of them that can't forget everything at once: half a megabyte of head.
const LEFTOVERS: usize = 10_000;
/// A debt over more releases than this isn't counted where nobody pays it.
const COUNTED_RELEASES: u64 = 50;

/// What the edges weren't told yet.
#[derive(Debug)]
pub struct Debt {
    /// The release up to which they know everything; none if they have never been told anything, or nobody knows any more.
    pub since: Option<ReleaseId>,
    /// How many paths that is, if it was counted.
    pub paths: Option<u64>,
}

impl Head {
    /// The release up to which the edges of this CDN know what releases changed; none if nobody knows.
    pub fn told(&self, cdn: &Cdn) -> Option<&ReleaseId> {
        let told = self.purged.as_ref().filter(|_| self.cdn.as_deref() == Some(cdn.identity().as_str()))?;
        // Behind the floor nobody remembers what was changed.
        self.floor.as_ref().is_none_or(|floor| told.serial >= floor.serial).then_some(told)
    }

    /// True if the edges of this CDN don't know everything that led to this release.
    pub fn owes(&self, cdn: &Cdn, shown: &ReleaseId) -> bool {
        self.told(cdn) != Some(shown) || !self.mended.is_empty()
    }

    /// True if they don't know everything that is shown now, and are there at all.
    pub fn is_owed(&self, cdn: &Cdn) -> bool {
        self.active.as_ref().is_some_and(|active| !cdn.is_none() && self.owes(cdn, active))
    }

    /// How many of a plan's requests were carried out by an earlier payer, for the same debt.
    pub fn sent(&self, cdn: &Cdn, plan: &Plan) -> usize {
        let name = self.name(cdn, plan);
        self.sending.as_ref().filter(|sending| sending.plan == name).map_or(0, |sending| sending.requests)
    }

    /// Notes how many of a plan's requests were carried out, by a payer to whom the head once said this, so that the next
    /// goes on there; says whether that changes anything.
    pub fn note_sent(&mut self, cdn: &Cdn, read: &Head, plan: &Plan, requests: usize) -> bool {
        // What is still being activated, or mended, may be kept in its old form once more.
        let is_settled = read.active == read.desired && read.lease.is_none();
        let is_same = self.debts == read.debts && self.active == read.active && self.told(cdn) == read.told(cdn);
        let sending = Sending { plan: read.name(cdn, plan), requests };
        let is_news = is_settled && is_same && requests > self.sent(cdn, plan);
        if is_news {
            self.sending = Some(sending);
        }
        is_news
    }

    /// A name for what a plan does now: the same requests mean something else once anything has changed.
    fn name(&self, cdn: &Cdn, plan: &Plan) -> String {
        let state = (self.debts, &self.active, self.told(cdn), cdn.identity());
        Digest::of(format!("{state:?}\n{:?}", plan.requests).as_bytes()).to_string()[..16].to_owned()
    }

    /// Notes paths that edges may have kept something wrong of, although no release changed them.
    pub fn owe_paths(&mut self, cdn: &Cdn, paths: &[Arc<str>], is_document: impl Fn(&str) -> bool) {
        self.debts += 1;
        self.mended.extend(paths.iter().cloned());
        if self.mended.len() > NAMED {
            self.purged = None;
            // The release tells its documents, and nobody tells what was left over of none.
            self.mended.retain(|path| !cdn.limits().everything && !is_document(path));
        }
        // Where nobody is told, nobody would ever take the paths from the list.
        if cdn.is_none() {
            self.purged = None;
            self.mended.clear();
        }
    }

    /// How many leftovers may be removed before the edges are told again.
    pub fn room_for_leftovers(&self, cdn: &Cdn) -> usize {
        if cdn.limits().everything { usize::MAX } else { LEFTOVERS.saturating_sub(self.mended.len()) }
    }

    /// Notes that edges may have kept something wrong of whatever releases after this one changed.
    pub fn owe_since(&mut self, release: Option<ReleaseId>) {
        self.debts += 1;
        self.purged = self.purged.take().min(release);
    }

    /// Notes what the edges were told by a payer to whom the head once said this; says whether that changes anything.
    pub fn pay(&mut self, cdn: &Cdn, read: &Head) -> bool {
        // Who held a lease then may have mended a path only after the edges had forgotten it.
        let is_mended = read.lease.is_none() && !self.mended.is_empty();
        let is_further = self.told(cdn) < read.active.as_ref();
        if self.debts != read.debts || !(is_mended || is_further) {
            return false;
        }
        if is_further {
            self.purged.clone_from(&read.active);
            self.cdn = Some(cdn.identity());
        }
        if is_mended {
            self.mended.clear();
        }
        self.sending = None;
        true
    }
}

/// The paths that edges may show something old for, up to the release that is shown; all if nobody knows.
pub async fn owed(store: &Store, cdn: &Cdn, head: &Head, shown: &Root) -> Result<Changed, Error> {
    if is_out(Safeguard::PurgeCursor) {
        return Changed::since(store, shown.parent.as_ref(), shown).await;
    }
    let Some(told) = head.told(cdn) else { return Ok(Changed::All) };
    let changed = match *told == shown.id {
        true => Changed::Paths(Vec::new()),
        false => Changed::since(store, Some(told), shown).await?,
    };
    Ok(match changed {
        Changed::All => Changed::All,
        Changed::Paths(paths) => Changed::Paths(united(paths, head.mended.iter().cloned())),
    })
}

/// Every path that an edge may show something for: the documents of a release, and what it was ever told or is to be told
/// of those that went, as far as anybody remembers.
pub async fn everything(store: &Store, cdn: &Cdn, head: &Head, shown: &Manifest) -> Result<Vec<Arc<str>>, Error> {
    let since = head.told(cdn).or(head.floor.as_ref());
    let rows = shown.rows.values().flat_map(|rows| rows.iter());
    let documents = rows.filter(|row| row.document.is_some()).map(|row| Arc::clone(&row.path));
    let paths = documents.chain(head.mended.iter().cloned()).collect();
    Ok(match Changed::since(store, since, &shown.root).await? {
        Changed::All => united(paths, []),
        Changed::Paths(changed) => united(paths, changed),
    })
}

/// Those of some paths that neither the active release shows nor any change that is remembered was about.
pub async fn forgotten(store: &Store, head: &Head, shown: &Manifest, paths: &[String]) -> Result<Vec<String>, Error> {
    let is_shown = |path: &&String| shown.row(path).is_some_and(|row| row.document.is_some());
    let mut left: Vec<String> = paths.iter().filter(|path| !is_shown(path)).cloned().collect();
    left.retain(|path| !head.mended.contains(path.as_str()));
    if left.is_empty() {
        return Ok(left);
    }
    if let Changed::Paths(changed) = Changed::since(store, head.floor.as_ref(), &shown.root).await? {
        left.retain(|path| changed.binary_search_by(|changed| changed.as_ref().cmp(path)).is_err());
    }
    Ok(left)
}

/// What the edges weren't told yet, if there is anything.
pub async fn debt(store: &Store, cdn: &Cdn, head: &Head) -> Result<Option<Debt>, Error> {
    let Some(active) = head.active.as_ref().filter(|active| !cdn.is_none() && head.owes(cdn, active)) else {
        return Ok(None);
    };
    let since = head.told(cdn).cloned();
    let paths = match &since {
        Some(since) if active.serial.saturating_sub(since.serial) <= COUNTED_RELEASES => {
            let root = Root::read(store, active).await?;
            match owed(store, cdn, head, &root).await? {
                Changed::Paths(paths) => Some(paths.len() as u64),
                Changed::All => None,
            }
        }
        _ => None,
    };
    Ok(Some(Debt { since, paths }))
}

/// In order, each once.
fn united(mut paths: Vec<Arc<str>>, others: impl IntoIterator<Item = Arc<str>>) -> Vec<Arc<str>> {
    paths.extend(others);
    paths.sort_unstable();
    paths.dedup();
    paths
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chrono::DateTime;

    use super::super::head::Lease;
    use super::super::id::RunId;
    use super::*;

    fn id(serial: u64) -> ReleaseId {
        ReleaseId { serial, run: RunId::new(DateTime::default(), 7) }
    }

    fn edge() -> Cdn {
        Cdn::Edge(Arc::new(Store::Faulty(crate::store::Faulty::new(
            &Arc::default(),
            0,
            crate::store::Script::default(),
        ))))
    }

    fn head(purged: u64, active: u64) -> Head {
        Head { purged: Some(id(purged)), active: Some(id(active)), cdn: Some("edge".to_owned()), ..Head::default() }
    }

    #[test]
    fn of_payments_that_overlap_the_further_one_counts() {
        let (first, later) = (head(1, 2), head(1, 3));
        let mut now = later.clone();
        assert!(now.pay(&edge(), &first));
        assert_eq!(now.purged, Some(id(2)));
        assert!(now.pay(&edge(), &later));
        assert_eq!(now.purged, Some(id(3)));
        assert!(!now.pay(&edge(), &first), "it never goes back");
        assert!(!now.owes(&edge(), &id(3)));
    }

    #[test]
    fn what_became_owed_meanwhile_is_not_paid() {
        let read = head(1, 3);
        let mut paid = read.clone();
        assert!(paid.pay(&edge(), &read));
        for since in [Some(id(1)), Some(id(2)), None] {
            // Also where the cursor comes back to what the payer found.
            let mut now = paid.clone();
            now.owe_since(since.clone());
            assert!(!now.pay(&edge(), &read), "{since:?}");
            assert_eq!(now.purged, since);
        }
    }

    #[test]
    fn mended_paths_stay_owed_until_they_are_told_after_the_mending() {
        let mut now = head(3, 3);
        let before = now.clone();
        now.owe_paths(&edge(), &["a".into()], |_| true);
        assert!(now.owes(&edge(), &id(3)));
        assert!(!now.pay(&edge(), &before));
        let lease = Lease {
            holder: String::new(),
            epoch: 1,
            ttl_seconds: Duration::MAX.as_secs(),
            taken_at: DateTime::default(),
        };
        let during = Head { lease: Some(lease), ..now.clone() };
        assert!(!now.pay(&edge(), &during));
        let after = now.clone();
        assert!(now.pay(&edge(), &after) && !now.owes(&edge(), &id(3)));
        let many: Vec<Arc<str>> = (0..=NAMED).map(|n| n.to_string().into()).collect();
        now.owe_paths(&edge(), &many, |_| true);
        assert!(now.mended.is_empty() && now.told(&edge()).is_none(), "then everything is owed");
        let mut now = head(3, 3);
        now.owe_paths(&Cdn::None, &["a".into()], |_| true);
        assert!(now.mended.is_empty() && now.told(&edge()).is_none(), "whoever is told later is told everything");
    }

    #[test]
    fn what_one_cdn_was_told_another_does_not_know() {
        let mut now = Head { cdn: Some("another".to_owned()), ..head(3, 3) };
        assert!(now.told(&edge()).is_none() && now.owes(&edge(), &id(3)));
        let read = now.clone();
        assert!(now.pay(&edge(), &read));
        assert_eq!(now.told(&edge()), Some(&id(3)));
        now.floor = Some(id(4));
        assert!(now.told(&edge()).is_none());
    }

    #[test]
    fn how_far_a_purge_got_counts_for_the_same_debt_alone() {
        let mut limits = Cdn::None.limits();
        limits.paths_per_request = 1;
        let plan = Plan::exact(&limits, &["a".into(), "b".into()]);
        let read = Head { desired: Some(id(3)), ..head(1, 3) };
        let mut now = read.clone();
        assert_eq!(now.sent(&edge(), &plan), 0);
        assert!(now.note_sent(&edge(), &read, &plan, 1) && now.sent(&edge(), &plan) == 1);
        assert!(!now.note_sent(&edge(), &read, &plan, 1), "that is known");
        let noted = now.clone();
        // What is still being activated or mended may be kept in its old form once more.
        let activating = Head { desired: Some(id(4)), ..read.clone() };
        let lease = Lease { holder: String::new(), epoch: 1, ttl_seconds: 90, taken_at: DateTime::default() };
        let mending = Head { lease: Some(lease), ..read.clone() };
        for during in [activating, mending] {
            assert!(!during.clone().note_sent(&edge(), &during, &plan, 2));
        }
        // And what has become owed meanwhile isn't told by what was sent before.
        let mut now = noted.clone();
        now.owe_since(Some(id(1)));
        assert!(!now.note_sent(&edge(), &read, &plan, 2) && now.sent(&edge(), &plan) == 0);
        let now = Head { active: Some(id(4)), ..noted.clone() };
        assert_eq!(now.sent(&edge(), &plan), 0);
        assert_eq!(noted.sent(&edge(), &Plan::everything()), 0, "another plan");
    }
}
