//! The history of a store, as far as a prune has to know it: which releases were committed, when, and how far down they
//! have to be kept.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use super::super::head::Head;
use super::super::id::ReleaseId;
use super::super::manifest::{ChangeList, Root};
use crate::error::Error;
use crate::store::{Part, Store};

/// How much of the history is kept: what both ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// At least so many releases that changed data, from 1 on. Default 10.
    pub releases: usize,
    /// Every state that the site has had for so long, up to 10 years. Default 7 days.
    pub age: Duration,
    /// What the edges of a CDN weren't told of yet. Where nobody tells them it would stay for ever; a CDN that is told
    /// again later begins with a purge of everything.
    pub unpurged: bool,
}

/// The roots that a store has, and its clock.
pub struct Roots {
    /// When each was written, where the store tells, and its bytes.
    pub listed: BTreeMap<ReleaseId, (Option<SystemTime>, u64)>,
    pub now: Option<SystemTime>,
}

/// Lists the roots. What isn't called like one isn't ours.
pub async fn roots(store: &Store) -> Result<Roots, Error> {
    let mut roots = Roots { listed: BTreeMap::new(), now: None };
    let mut listing = store.listing(Part::Control(Root::FOLDER));
    while let Some(page) = listing.next().await? {
        // The clock of the first page: what comes into being later is younger than it.
        roots.now = roots.now.or(page.now);
        for object in page.objects {
            if let Some(id) = Root::id_of(&object.name) {
                roots.listed.insert(id, (object.modified, object.size_bytes));
            }
        }
    }
    Ok(roots)
}

/// A release as a prune sees it.
#[derive(Debug, Clone)]
struct Known {
    id: ReleaseId,
    parent: Option<ReleaseId>,
    written: Option<SystemTime>,
    changes_data: bool,
}

/// The committed releases from the floor on, newest first.
#[derive(Debug, Default)]
pub struct History(Vec<Known>);

impl History {
    /// Reads the history down to the floor of the head.
    pub async fn read(store: &Store, head: &Head, roots: &Roots) -> Result<History, Error> {
        let floor = head.floor.as_ref().map_or(0, |floor| floor.serial);
        let wanted = roots.listed.iter().filter(|(id, _)| id.serial >= floor);
        let reads = wanted.map(|(id, (written, _))| known(store, id, *written));
        let read: Vec<Option<Known>> =
            stream::iter(reads).buffer_unordered(store.in_flight().max(1)).try_collect().await?;
        let mut known: BTreeMap<ReleaseId, Known> =
            read.into_iter().flatten().map(|known| (known.id.clone(), known)).collect();
        let mut committed = Vec::new();
        let mut next = head.desired.clone();
        while let Some(release) = next.as_ref().and_then(|id| known.remove(id)) {
            next = release.parent.clone().filter(|_| head.floor.as_ref() != Some(&release.id));
            committed.push(release);
        }
        match (committed.is_empty(), &head.desired) {
            (true, Some(desired)) => {
                Err(Error::Corrupt { object: Root::name(desired), reason: "is missing".to_owned() })
            }
            _ => Ok(History(committed)),
        }
    }

    /// The oldest release that has to stay.
    pub fn floor(&self, head: &Head, retention: &Retention, now: SystemTime) -> Option<ReleaseId> {
        let last = self.0.len().checked_sub(1)?;
        let place = |id: &ReleaseId| self.0.iter().position(|known| known.id == *id).unwrap_or(last);
        // Without an active release every path is still to be shown, from the first release on.
        let active = head.active.as_ref().map_or(last, place);
        let purged = head.purged.as_ref().filter(|_| retention.unpurged).map_or(0, place);
        // A doubt about every path needs the changes of every release.
        let suspect = head.suspect.as_ref().map_or(0, |suspect| suspect.since.as_ref().map_or(last, place));
        let data = self.0.iter().enumerate().filter(|(_, known)| known.changes_data);
        let enough = data.map(|(at, _)| at).nth(retention.releases.saturating_sub(1)).unwrap_or(last);
        // The newest that is old enough was what the site showed at the beginning of that time.
        let since = now.checked_sub(retention.age);
        let is_old = |known: &Known| known.written.zip(since).is_some_and(|(written, since)| written <= since);
        let young = self.0.iter().position(is_old).unwrap_or(last);
        let floor = active.max(purged).max(suspect).max(enough).max(young);
        Some(self.0[floor].id.clone())
    }

    /// The releases down to a floor, and those below it.
    pub fn split(&self, floor: Option<&ReleaseId>) -> (Vec<ReleaseId>, Vec<ReleaseId>) {
        let at = self.0.iter().position(|known| Some(&known.id) == floor);
        let (kept, below) = self.0.split_at(at.map_or(0, |at| at + 1));
        let ids = |known: &[Known]| known.iter().map(|known| known.id.clone()).collect();
        (ids(kept), ids(below))
    }
}

/// Reads a root; none if it has just been removed.
async fn known(store: &Store, id: &ReleaseId, written: Option<SystemTime>) -> Result<Option<Known>, Error> {
    let root = Root::read_if_there(store, id).await?;
    Ok(root.map(|root| Known {
        id: id.clone(),
        changes_data: changes_data(&root.changes),
        parent: root.parent,
        written,
    }))
}

/// Whether a release changed more than the catalogue, which is written anew with every release. Documents that were
/// only written again don't count: of ten editors' republishes none could be gone back from.
fn changes_data(changes: &ChangeList) -> bool {
    let ChangeList { added, changed, removed, rewritten, .. } = changes;
    added + removed > 0 || *changed > 1 || *rewritten == 0
}

/// True if two heads name the same releases, so that the same floor comes of them.
pub fn pins_alike(a: &Head, b: &Head) -> bool {
    let since = |head: &Head| head.suspect.as_ref().map(|suspect| suspect.since.clone());
    let same = a.desired == b.desired && a.active == b.active && a.purged == b.purged && a.floor == b.floor;
    same && since(a) == since(b)
}

#[cfg(test)]
mod tests {
    use super::super::super::head::Suspect;
    use super::super::super::id::RunId;
    use super::*;
    use chrono::DateTime;

    const DAY: Duration = Duration::from_hours(24);

    fn id(serial: u64) -> ReleaseId {
        ReleaseId { serial, run: RunId::new(DateTime::default(), 0) }
    }

    /// Releases `1..=days.len()`, each so many days old, oldest first; the first word says whether it changed data.
    fn history(releases: &[(bool, u32)], now: SystemTime) -> History {
        let known = |(serial, (changes_data, days)): (u64, &(bool, u32))| Known {
            id: id(serial),
            parent: None,
            written: now.checked_sub(DAY * *days),
            changes_data: *changes_data,
        };
        let mut committed: Vec<Known> = (1..).zip(releases).map(known).collect();
        committed.reverse();
        History(committed)
    }

    fn floor(releases: &[(bool, u32)], head: &Head, keep: usize, days: u32) -> u64 {
        let now = SystemTime::UNIX_EPOCH + DAY * 20_000;
        let retention = Retention { releases: keep, age: DAY * days, unpurged: true };
        history(releases, now).floor(head, &retention, now).unwrap().serial
    }

    fn head(active: u64) -> Head {
        Head { active: Some(id(active)), ..Head::default() }
    }

    #[test]
    fn so_many_data_changes_are_kept_whatever_their_age() {
        let old = [(true, 90), (true, 80), (false, 70), (true, 60), (false, 50)];
        assert_eq!(floor(&old, &head(5), 1, 0), 4);
        assert_eq!(floor(&old, &head(5), 2, 0), 2);
        assert_eq!(floor(&old, &head(5), 3, 0), 1);
        assert_eq!(floor(&old, &head(5), 10, 0), 1);
    }

    #[test]
    fn what_the_site_showed_is_kept_for_so_long() {
        let days = [(true, 9), (true, 8), (true, 6), (true, 1)];
        // On the seventh day before now the site showed the second.
        assert_eq!(floor(&days, &head(4), 1, 7), 2);
        assert_eq!(floor(&days, &head(4), 1, 1), 4);
        assert_eq!(floor(&days, &head(4), 1, 30), 1);
        assert_eq!(floor(&days, &head(4), 3, 1), 2);
    }

    #[test]
    fn what_the_head_still_needs_is_kept() {
        let old = [(true, 90), (true, 80), (true, 70), (true, 60)];
        assert_eq!(floor(&old, &head(4), 1, 0), 4);
        assert_eq!(floor(&old, &head(2), 1, 0), 2);
        assert_eq!(floor(&old, &Head { purged: Some(id(3)), ..head(4) }, 1, 0), 3);
        let suspect = |since| Some(Suspect { since, not_before: DateTime::default() });
        assert_eq!(floor(&old, &Head { suspect: suspect(Some(id(2))), ..head(4) }, 1, 0), 2);
        assert_eq!(floor(&old, &Head { suspect: suspect(None), ..head(4) }, 1, 0), 1);
        assert_eq!(floor(&old, &Head::default(), 1, 0), 1, "nothing is active yet");
        let now = SystemTime::UNIX_EPOCH + DAY * 20_000;
        let untold = Retention { releases: 1, age: Duration::ZERO, unpurged: false };
        let head = Head { purged: Some(id(2)), ..head(4) };
        assert_eq!(history(&old, now).floor(&head, &untold, now).unwrap().serial, 4, "nobody tells the edges any more");
        // A cursor that nobody knows any more is at least as old as everything.
        assert_eq!(floor(&old, &Head { purged: Some(id(77)), ..head }, 1, 0), 1);
    }

    #[test]
    fn a_release_of_unknown_age_is_young() {
        let now = SystemTime::UNIX_EPOCH + DAY * 20_000;
        let mut history = history(&[(true, 90), (true, 80)], now);
        history.0[0].written = None;
        let retention = Retention { releases: 1, age: DAY, unpurged: true };
        assert_eq!(history.floor(&head(2), &retention, now), Some(id(1)));
        history.0.clear();
        assert_eq!(history.floor(&head(2), &retention, now), None);
    }
}
