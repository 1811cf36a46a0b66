//! Limits: how many answers a minute a client may cost the database, template by template.
//!
//! Asked only by requests that would reach the database; what memory or the store answers isn't counted. As many as a
//! minute allows may come at once, and then one at a time as they come back.

use std::collections::HashMap;
use std::convert::Infallible;
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use governor::clock::{Clock as _, MonotonicClock};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use governor::state::keyed::{DashMapStateStore, ShrinkableKeyedStateStore};
use governor::{Quota, RateLimiter};

use super::client::Client;
use crate::template::Template;

/// What is asked of the table for paths that are of no template.
pub const UNNAMED: &str = "";
/// How many of those a client may cost the database in a minute.
const UNNAMED_PER_MINUTE: NonZero<u32> = NonZero::new(30).unwrap();
/// Clients that are remembered of one template. With more, all are forgotten: the limits protect the database from a few
/// greedy ones, and from a crowd the pool does.
const MAX_CLIENTS: usize = 100_000;

type Limiter = RateLimiter<Client, Had, MonotonicClock, NoOpMiddleware<std::time::Instant>>;

/// What each client has had, where both the limiter and whoever gives something back can reach it.
#[derive(Debug, Clone, Default)]
struct Had(Arc<DashMapStateStore<Client>>);

impl StateStore for Had {
    type Key = Client;

    fn measure_and_replace<T, F, E>(&self, client: &Client, measure: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        self.0.measure_and_replace(client, measure)
    }
}

impl ShrinkableKeyedStateStore<Client> for Had {
    fn retain_recent(&self, drop_below: Nanos) {
        self.0.retain_recent(drop_below);
    }

    fn shrink_to_fit(&self) {
        self.0.shrink_to_fit();
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A template's limit.
#[derive(Debug)]
struct Shares {
    limiter: Limiter,
    had: Had,
}

impl Shares {
    fn of(quota: Quota) -> Shares {
        let had = Had::default();
        Shares { limiter: RateLimiter::new(quota, had.clone(), MonotonicClock), had }
    }
}

/// The limit of a template that was read from its file, and what clients have had of it.
#[derive(Debug)]
struct Share {
    quota: Quota,
    shares: ArcSwap<Shares>,
}

impl Share {
    fn of(quota: Quota) -> Arc<Share> {
        Arc::new(Share { quota, shares: ArcSwap::from_pointee(Shares::of(quota)) })
    }
}

/// The limits of every template.
#[derive(Debug)]
pub struct Limits {
    by_template: ArcSwap<HashMap<String, Arc<Share>>>,
    refused: AtomicU64,
}

/// A client has had its share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limited {
    /// When the next one is allowed.
    pub retry_after: Duration,
}

impl Limits {
    /// As the templates say.
    pub fn new<'a>(templates: impl Iterator<Item = &'a Template>) -> Limits {
        let limits = Limits { by_template: ArcSwap::default(), refused: AtomicU64::new(0) };
        limits.renew(templates);
        limits
    }

    /// As the templates say now. Who has had something of one whose limit is the same has had it.
    pub fn renew<'a>(&self, templates: impl Iterator<Item = &'a Template>) {
        let known = self.by_template.load();
        let of = |(name, quota): (&str, Quota)| {
            let share = known.get(name).filter(|share| share.quota == quota).cloned();
            (name.to_owned(), share.unwrap_or_else(|| Share::of(quota)))
        };
        let quota = |template: &Template| NonZero::new(template.limits.per_minute).unwrap_or(NonZero::<u32>::MIN);
        let templates = templates.map(|template| (template.name.as_str(), Quota::per_minute(quota(template))));
        let unnamed = (UNNAMED, Quota::per_minute(UNNAMED_PER_MINUTE));
        self.by_template.store(Arc::new(templates.chain([unnamed]).map(of).collect()));
    }

    fn share(&self, template: &str) -> Option<Arc<Share>> {
        self.by_template.load().get(template).cloned()
    }

    /// Takes one answer of the client's share.
    pub fn take(&self, template: &str, client: Client) -> Result<(), Limited> {
        let Some(share) = self.share(template) else { return Ok(()) };
        let shares = share.shares.load();
        let limiter = &shares.limiter;
        limiter.check_key(&client).map_err(|refusal| {
            self.refused.fetch_add(1, Ordering::Relaxed);
            Limited { retry_after: refusal.wait_time_from(limiter.clock().now()) }
        })
    }

    /// Gives back one that was taken, because it cost nothing.
    pub fn give_back(&self, template: &str, client: Client) {
        let Some(share) = self.share(template) else { return };
        let one = Nanos::from(share.quota.replenish_interval());
        // What is kept of a client is the instant at which it has its whole share again, so one less of them is past
        // sooner. An instant that has passed already counts as now, so nobody gets more than a whole share.
        let sooner = |whole: Option<Nanos>| Ok::<_, Infallible>(((), whole.unwrap_or_default().saturating_sub(one)));
        let Ok(()) = share.shares.load().had.measure_and_replace(&client, sooner);
    }

    /// Forgets clients who have their whole share again; to be called every minute or so.
    pub fn sweep(&self) {
        for share in self.by_template.load().values() {
            let shares = &share.shares;
            let now = shares.load();
            let known = &now.limiter;
            known.retain_recent();
            known.shrink_to_fit();
            if known.len() > MAX_CLIENTS {
                shares.store(Arc::new(Shares::of(share.quota)));
            }
        }
    }

    /// Requests that were refused so far.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    const INTERVAL: Duration = Duration::from_secs(2);

    #[test]
    fn what_is_given_back_can_be_taken_once_more() {
        let (limits, client) = (Limits::new(std::iter::empty()), Client::from(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        let taken = || std::iter::from_fn(|| limits.take(UNNAMED, client).ok()).count();
        // What is given back to somebody who has had nothing adds nothing.
        limits.give_back(UNNAMED, client);
        assert_eq!(taken(), 30);
        for given in [1, 3, 30] {
            (0..given).for_each(|_| limits.give_back(UNNAMED, client));
            assert_eq!(taken(), given);
        }
        (0..100).for_each(|_| limits.give_back(UNNAMED, client));
        assert_eq!(taken(), 30, "never more than a whole share");
        let refused = limits.take(UNNAMED, client).unwrap_err();
        assert!(refused.retry_after <= INTERVAL, "{refused:?}");
    }
}
