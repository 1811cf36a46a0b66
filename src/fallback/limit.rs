//! Limits: how many answers a minute a client may cost the database, template by template.
//!
//! Asked only by requests that would reach the database; what memory or the store answers isn't counted. As many as a
//! minute allows may come at once, and then one at a time as they come back.

use std::collections::HashMap;
use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use governor::clock::{Clock as _, MonotonicClock};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::DashMapStateStore;
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

type Limiter = RateLimiter<Client, DashMapStateStore<Client>, MonotonicClock, NoOpMiddleware<std::time::Instant>>;

/// The limits of every template.
#[derive(Debug)]
pub struct Limits {
    by_template: HashMap<String, (Quota, ArcSwap<Limiter>)>,
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
        let of = |template: &Template| {
            let quota = Quota::per_minute(NonZero::new(template.limits.per_minute).unwrap_or(NonZero::<u32>::MIN));
            (template.name.clone(), (quota, ArcSwap::from_pointee(limiter(quota))))
        };
        let mut by_template: HashMap<_, _> = templates.map(of).collect();
        let quota = Quota::per_minute(UNNAMED_PER_MINUTE);
        by_template.insert(UNNAMED.to_owned(), (quota, ArcSwap::from_pointee(limiter(quota))));
        Limits { by_template, refused: AtomicU64::new(0) }
    }

    /// Takes one answer of the client's share.
    pub fn take(&self, template: &str, client: Client) -> Result<(), Limited> {
        let Some((_, limiter)) = self.by_template.get(template) else { return Ok(()) };
        let limiter = limiter.load();
        limiter.check_key(&client).map_err(|refusal| {
            self.refused.fetch_add(1, Ordering::Relaxed);
            Limited { retry_after: refusal.wait_time_from(limiter.clock().now()) }
        })
    }

    /// Forgets clients who have their whole share again; to be called every minute or so.
    pub fn sweep(&self) {
        for (quota, limiter) in self.by_template.values() {
            let known = limiter.load();
            known.retain_recent();
            known.shrink_to_fit();
            if known.len() > MAX_CLIENTS {
                limiter.store(limiter_of(*quota));
            }
        }
    }

    /// Requests that were refused so far.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

fn limiter(quota: Quota) -> Limiter {
    RateLimiter::new(quota, DashMapStateStore::default(), MonotonicClock)
}

fn limiter_of(quota: Quota) -> std::sync::Arc<Limiter> {
    std::sync::Arc::new(limiter(quota))
}
