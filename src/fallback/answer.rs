//! The way of a request: memory, the store, the table, the database, and what is left over.
//!
//! Each step costs more than the one before, and a request takes the next only if the one before had nothing. What may
//! reach a database is limited three times over: by client, by flight (one for each path) and by the pool, which makes
//! nobody wait for more than a second. If nothing answers, an older answer does, and without one the reader is told when
//! to come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::Fallback;
use super::client::Client;
use super::figures::Shed;
use super::keys::{self, Meaning, Named};
use super::limit::{Limited, UNNAMED};
use super::listen::TAKEN_AT_ONCE;
use super::memory::{Entry, Kept};
use super::site::Site;
use crate::release::Row;

mod database;
mod failures;
mod store;
mod table;
mod wanted;

pub use failures::{Failure, TOLD};
use wanted::Wanted;

/// Longest time of a whole answer.
const LONGEST: Duration = Duration::from_secs(7);
/// How long a reader is told to wait where nothing better is known.
pub const COME_BACK: Duration = Duration::from_secs(2);

/// How often a reader joins others whose share it turned out to be, before it is sent away like them.
const FLIGHTS: usize = 3;

/// Where a document came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The memory.
    Memory,
    /// The store.
    Store,
    /// The fallback table.
    Table,
    /// The database, now.
    Live,
    /// The memory, though it may have changed since: nothing newer could be had.
    Stale,
}

/// An answer.
#[derive(Debug, Clone)]
pub enum Answer {
    /// A document.
    Document(Arc<Entry>, Source),
    /// There is none at this path, as far as anybody knows.
    Unknown,
    /// The client has had its share of the database.
    Limited(Limited),
    /// Nobody can answer right now.
    Unavailable {
        /// When to come back.
        retry_after: Duration,
        /// Why, in a word.
        why: Shed,
    },
}

/// What came of asking a source.
#[derive(Debug, Clone)]
pub enum Landed {
    /// A document.
    Document(Arc<Entry>, Source),
    /// It has none.
    Missing,
    /// It can't say.
    Failed { retry_after: Duration, why: Shed },
    /// Only the database has it, of which who sent for it has had the share.
    Limited(Limited),
}

/// What came of asking, and what it cost.
struct Tried {
    landed: Landed,
    /// Whether it is of the client's share; not if nobody was asked, because no lease was to be had for example.
    is_due: bool,
}

impl Tried {
    fn at_no_cost(landed: Landed) -> Tried {
        Tried { landed, is_due: false }
    }

    fn over_a_lease(landed: Landed) -> Tried {
        Tried { landed, is_due: true }
    }
}

/// Why a flight isn't begun.
enum Refused {
    /// The client has had its share.
    Limited(Limited),
    /// It has just landed.
    Known(Arc<Entry>),
    /// The client has enough on their way.
    Crowded,
}

impl Fallback {
    /// Answers a request for an object path.
    pub async fn answer(self: &Arc<Self>, path: &str, client: Client) -> Answer {
        let kept = || self.kept(path);
        if let Kept::Fresh(entry) = kept() {
            return Answer::Document(entry, Source::Memory);
        }
        let answer = tokio::time::timeout(LONGEST, self.ask(path, client)).await;
        let answer = answer.unwrap_or(Answer::Unavailable { retry_after: COME_BACK, why: Shed::Slow });
        let is_momentary = match &answer {
            Answer::Document(..) | Answer::Unknown => return answer,
            Answer::Limited(_) | Answer::Unavailable { why: Shed::Busy | Shed::Memory, .. } => true,
            Answer::Unavailable { .. } => false,
        };
        // Who only has to wait for a moment isn't sent what a later release may have replaced.
        if is_momentary && self.followed.overtaken(self.followed.site().as_deref()).is_some() {
            return answer;
        }
        // Who may cost the database nothing more may still have what is there, unless a release has removed it meanwhile.
        match kept() {
            Kept::Fresh(entry) | Kept::Stale(entry) => Answer::Document(entry, Source::Stale),
            Kept::Nothing => answer,
        }
    }

    /// What is in memory of a path.
    fn kept(&self, path: &str) -> Kept {
        let site = self.followed.site();
        let vouches = site.as_deref().filter(|site| self.followed.overtaken(Some(site)).is_none());
        self.memory.get(path, vouches)
    }

    async fn ask(self: &Arc<Self>, path: &str, client: Client) -> Answer {
        if self.followed.is_up().is_none() {
            // The first moments of the process: the store is being looked at.
            let _ = tokio::time::timeout(store::LONGEST, self.followed.looked()).await;
        }
        let site = self.followed.site();
        let named = keys::named(self.followed.served(site.as_deref()), path);
        let later = self.followed.overtaken(site.as_deref());
        let published = site.as_ref().filter(|_| later.is_none()).and_then(|site| site.document(path));
        let (mut is_settled, mut is_crowded) = (true, false);
        let asked = match &published {
            Some((template, row, attributes)) => {
                if !self.has_room_for(row) {
                    return self.no_room(path);
                }
                match self.stored(path, row, attributes, site.as_ref()).await {
                    Landed::Document(entry, source) => return Answer::Document(entry, source),
                    Landed::Failed { why: Shed::Busy, .. } => is_crowded = true,
                    _ => {}
                }
                // Whatever other patterns fit the path, it is this template's document.
                let named = site.as_ref().and_then(|site| site.named(template, path));
                named.map(|named| named.asked(row.key.clone()))
            }
            None => match self.meaning(&named, path, site.as_deref()).await {
                Meaning::Valid(asked) => Some(asked),
                Meaning::Unknown if site.is_some() && later.is_none() => return Answer::Unknown,
                meaning => {
                    is_settled = matches!(meaning, Meaning::Unknown);
                    // Nobody here knows what is published; a table may.
                    if self.table().await.is_none() {
                        return self.nowhere(is_settled);
                    }
                    None
                }
            },
        };
        if published.is_none() && !self.bodies.has_room_for_answers() {
            self.memory.settle();
            if !self.bodies.has_room_for_answers() {
                return self.no_room(path);
            }
        }
        if let Some(resting) = self.failures.get(path).filter(|failure| Instant::now() < failure.until) {
            return Answer::Unavailable { retry_after: resting.until - Instant::now(), why: resting.why };
        }
        let served = asked.as_ref().map(|asked| &asked.served).or_else(|| Some(named.first()?.served));
        let template = served.map_or(UNNAMED, |served| &served.template.name).to_owned();
        let wanted = Wanted {
            path: path.to_owned(),
            asked,
            is_settled,
            is_crowded,
            site: site.clone(),
            later,
            client,
            template,
        };
        self.fly(Arc::new(wanted)).await
    }

    /// Sends for what is wanted, or waits for it with those who did before.
    async fn fly(self: &Arc<Self>, wanted: Arc<Wanted>) -> Answer {
        let mut limited = None;
        for _ in 0..FLIGHTS {
            let began = AtomicBool::new(false);
            limited = match self.board_in_turn(&wanted, &began).await {
                Err(Refused::Known(entry)) => return Answer::Document(entry, Source::Memory),
                Err(Refused::Limited(limited)) => return Answer::Limited(limited),
                Err(Refused::Crowded) => return Answer::Unavailable { retry_after: COME_BACK, why: Shed::Busy },
                Ok(Some(Landed::Document(entry, source))) => return Answer::Document(entry, source),
                Ok(Some(Landed::Missing)) => return Answer::Unknown,
                Ok(Some(Landed::Failed { retry_after, why })) => return Answer::Unavailable { retry_after, why },
                Ok(None) => return Answer::Unavailable { retry_after: COME_BACK, why: Shed::Failed },
                Ok(Some(Landed::Limited(limited))) if began.load(Ordering::Relaxed) => return Answer::Limited(limited),
                // It was somebody else's share.
                Ok(Some(Landed::Limited(limited))) => Some(limited),
            };
        }
        limited.map_or(Answer::Unavailable { retry_after: COME_BACK, why: Shed::Busy }, Answer::Limited)
    }

    /// The same as `board` for a client with enough on their way, who waits a moment for one of these to land.
    async fn board_in_turn(
        self: &Arc<Self>,
        wanted: &Arc<Wanted>,
        began: &AtomicBool,
    ) -> Result<Option<Landed>, Refused> {
        let since = Instant::now();
        let until = since + self.turn;
        let mut waiting = None;
        loop {
            // Before the look, so that nobody's leaving is missed.
            let left = self.at_work.left(wanted.client);
            let left = left.as_ref().map(|left| left.notified());
            match self.board(wanted, began, since).await {
                Err(Refused::Crowded) => {}
                boarded => return boarded,
            }
            waiting = waiting.or_else(|| self.in_line.seat_of(wanted.client));
            let is_over = match left {
                _ if waiting.is_none() => true,
                Some(left) => tokio::time::timeout_at(until, left).await.is_err(),
                None => Instant::now() >= until,
            };
            if is_over {
                return Err(Refused::Crowded);
            }
        }
    }

    /// Waits for the flight, which `began` says was begun here, for somebody who has been waiting `since` an instant.
    async fn board(
        self: &Arc<Self>,
        wanted: &Arc<Wanted>,
        began: &AtomicBool,
        since: Instant,
    ) -> Result<Option<Landed>, Refused> {
        // What is published costs its readers nothing, unless the template's own query has to be run for it. Where the table
        // was seen not to have it, a look at it is what costs, so the share is taken before.
        let is_counted = !wanted.may_be_in_table() || self.table_doubt.is_of(&wanted.path);
        // Where nobody knows whether it is published, whoever has a share left may find out, and pays if it isn't.
        let is_on_trust = !is_counted && !wanted.is_published();
        let may_begin = || {
            // Looked at while nobody else can begin: what has just landed isn't fetched again.
            if let Kept::Fresh(entry) = self.kept(&wanted.path) {
                return Err(Refused::Known(entry));
            }
            if is_counted || is_on_trust {
                self.limits.take(&wanted.template, wanted.client).map_err(Refused::Limited)?;
            }
            // Behind the share, because whoever leaves a place again wakes those who wait for one.
            let seat = self.at_work.seat_of(wanted.client);
            if is_on_trust || (is_counted && seat.is_none()) {
                self.limits.give_back(&wanted.template, wanted.client);
            }
            let seat = seat.ok_or(Refused::Crowded)?;
            began.store(true, Ordering::Relaxed);
            Ok(seat)
        };
        let fetch = |seat| {
            let (fallback, wanted) = (Arc::clone(self), Arc::clone(wanted));
            async move {
                let Tried { landed, is_due } = fallback.fetch(&wanted, is_counted, since).await;
                if is_counted && !is_due {
                    fallback.limits.give_back(&wanted.template, wanted.client);
                }
                drop(seat);
                landed
            }
        };
        self.flights.join(&wanted.path, may_begin, fetch).await
    }

    /// The answer where there is no release and no table: a store that is there and empty publishes nothing.
    fn nowhere(&self, is_settled: bool) -> Answer {
        match is_settled && self.followed.is_up() == Some(true) && self.followed.site().is_none() {
            true => Answer::Unknown,
            false => Answer::Unavailable { retry_after: COME_BACK, why: Shed::Unsettled },
        }
    }

    /// Says whether another document may be fetched beside those that are in memory or being sent.
    fn has_room(&self) -> bool {
        if !self.bodies.has_room() {
            self.memory.settle();
        }
        self.bodies.has_room()
    }

    /// The same of what a release shows. What is held already takes no more, nor does what the system's own buffers take from
    /// us at once.
    fn has_room_for(&self, row: &Row) -> bool {
        let is_small = row.document.as_ref().is_none_or(|document| document.gzip_bytes <= TAKEN_AT_ONCE);
        is_small || self.has_room() || row.digest().is_some_and(|digest| self.bodies.find(&digest).is_some())
    }

    /// The answer while readers hold as much as they may.
    pub(super) fn no_room(&self, path: &str) -> Answer {
        if self.told_room.once_in(TOLD) {
            let (bytes, hint) = (self.bodies.bytes(), "a larger [fallback] memory has room for more of them");
            tracing::warn!(
                path,
                bytes,
                hint,
                "readers are slow to take what they are being sent; nothing more is fetched"
            );
        }
        Answer::Unavailable { retry_after: COME_BACK, why: Shed::Memory }
    }

    async fn meaning(&self, named: &[Named<'_>], path: &str, site: Option<&Site>) -> Meaning {
        let Some(pool) = &self.pool else { return Meaning::Unknown };
        keys::meaning(named, path, pool, site).await
    }

    /// Asks the table, then the database. `is_counted` says whether a share was taken for it.
    async fn fetch(&self, wanted: &Wanted, is_counted: bool, since: Instant) -> Tried {
        let table = self.ask_table(wanted, since).await;
        match table.landed {
            Landed::Document(..) => return table,
            // The database is behind the same pool: there is nothing else to wait for.
            Landed::Failed { why: Shed::Busy | Shed::Down, .. } if !self.has_table_pool => return table,
            // The table may well have it, when fewer ask; the template's query would cost a database much more.
            Landed::Failed { why: Shed::Busy, .. } if wanted.may_be_in_table() => return table,
            // So may the store.
            _ if wanted.is_crowded => {
                return Tried { landed: Landed::Failed { retry_after: COME_BACK, why: Shed::Busy }, ..table };
            }
            Landed::Failed { .. } | Landed::Missing | Landed::Limited(_) => {}
        }
        let (Some(asked), Some(pool)) = (&wanted.asked, &self.pool) else {
            if !is_counted && table.is_due && !wanted.is_published() {
                let _ = self.limits.take(&wanted.template, wanted.client);
            }
            // Nothing but the table could have it, and that knows all of the release that it shows.
            let is_none = table.is_due && wanted.later.is_some() && wanted.is_settled;
            if is_none && matches!(table.landed, Landed::Missing) {
                return table;
            }
            return Tried { landed: self.without_database(wanted, table.landed), ..table };
        };
        let share = (!is_counted).then(|| self.limits.take(&wanted.template, wanted.client));
        if let Some(Err(limited)) = share {
            return Tried { landed: Landed::Limited(limited), ..table };
        }
        // A look at the table that was had is no part of the wait for the database.
        let since = if table.is_due { Instant::now() } else { since };
        let database = self.ask_database(wanted, asked, pool, since).await;
        let was_in_vain = table.is_due && !wanted.is_published();
        if !is_counted && !database.is_due && !was_in_vain {
            self.limits.give_back(&wanted.template, wanted.client);
        }
        Tried { is_due: table.is_due || database.is_due, ..database }
    }

    /// What is left where the table had nothing, and there is no database to ask.
    fn without_database(&self, wanted: &Wanted, from_table: Landed) -> Landed {
        match from_table {
            Landed::Missing if wanted.is_published() => Landed::Failed { retry_after: COME_BACK, why: Shed::Store },
            Landed::Missing => match self.nowhere(wanted.is_settled) {
                Answer::Unavailable { retry_after, why } => Landed::Failed { retry_after, why },
                _ => Landed::Missing,
            },
            failed => self.rest(&wanted.path, failed),
        }
    }

    /// Keeps what was fetched.
    fn landed(&self, wanted: &Wanted, entry: Entry, source: Source) -> Landed {
        let (path, entry) = (wanted.path.as_str(), Arc::new(entry));
        self.memory.put(path, &entry);
        let site = self.followed.site();
        let number = |site: Option<&Arc<Site>>| site.map(|site| site.number);
        let is_same = number(site.as_ref()) == number(wanted.site.as_ref());
        if !is_same || self.followed.overtaken(site.as_deref()) != wanted.later {
            // A release that came meanwhile may have removed it, or changed its template. It was right when it was asked for.
            self.memory.forget(path);
        }
        self.failures.invalidate(path);
        Landed::Document(entry, source)
    }
}
