//! How the server is, for load balancers, for people and for Prometheus.
//!
//! *Live* is the process alone. *Ready* means that requests are worth sending here: a release was seen, or the keys are
//! known, and the end wasn't asked for; a database that is down makes nobody unready who can still answer. The other two
//! say what dashboards of connection pools have always asked for, and which of the sources are away. They and a scrape of
//! the figures ask the database and the table at most once in half a minute each, so that an outage shows before a reader
//! has met it.

use std::fmt::Write as _;
use std::time::Duration;

use hyper::StatusCode;
use serde_json::{Value, json};

use super::respond::{self, Reply};
use super::site::Trouble;
use super::{Fallback, pool_metrics};
use crate::database::Pool;

/// How long a scrape waits for them.
const SCRAPE: Duration = Duration::from_secs(3);

/// The names under `/health`, and `/metrics`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// `/health/live`
    Live,
    /// `/health/ready`
    Ready,
    /// `/health`
    Health,
    /// `/health/database`
    Database,
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum For {
    /// Anybody.
    Readers,
    /// Whoever may see the second port, and what hosts and folders are called.
    Operator,
}

impl Probe {
    /// The probe at a path, also under a prefix of one's own: `/api/v1/hc/health`, `/api/v1/hc/database`.
    pub fn at(path: &str, prefix: Option<&str>) -> Option<Probe> {
        let named = |path: &str| match path {
            "/health/live" => Some(Probe::Live),
            "/health/ready" => Some(Probe::Ready),
            "/health" => Some(Probe::Health),
            "/health/database" => Some(Probe::Database),
            _ => None,
        };
        let under = |rest: &str| match rest {
            "/live" => Some(Probe::Live),
            "/ready" => Some(Probe::Ready),
            "/database" => Some(Probe::Database),
            _ => named(rest),
        };
        named(path).or_else(|| under(path.strip_prefix(prefix?)?))
    }
}

impl Fallback {
    /// Answers a probe.
    pub async fn probe(&self, probe: Probe, asker: For) -> Reply {
        match probe {
            Probe::Live => respond::json(StatusCode::OK, &json!({ "status": "ok" })),
            Probe::Ready => {
                let (status, word) = match self.is_ready() {
                    true => (StatusCode::OK, "ok"),
                    false => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
                };
                respond::json(status, &json!({ "status": word, "draining": self.is_draining() }))
            }
            Probe::Health => {
                self.look_around().await;
                let (status, word) = self.health();
                let site = self.followed.site();
                let document = json!({
                    "status": word,
                    "release": site.as_ref().map(|site| site.manifest.root.id.to_string()),
                    "documents": site.as_ref().map(|site| site.manifest.count()),
                    "store": self.store(asker),
                    "table": self.table.as_ref().map(|_| json!({ "status": word_of(self.table_word.last()) })),
                    "database": self.pool.as_ref().map(|pool| self.database(pool)),
                });
                respond::json(status, &document)
            }
            Probe::Database => match &self.pool {
                None => respond::json(StatusCode::OK, &json!({ "status": "none" })),
                Some(pool) => {
                    let is_up = self.word.of_database(pool).await;
                    let status = if is_up { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
                    respond::json(status, &json!({ "status": word_of(Some(is_up)), "database": self.database(pool) }))
                }
            },
        }
    }

    /// Asks those who can say only when they are asked whether they are there.
    async fn look_around(&self) {
        let database = async {
            if let Some(pool) = &self.pool {
                self.word.of_database(pool).await;
            }
        };
        let table = async {
            if let Some(table) = self.made_table().await {
                self.table_word.of_table(table).await;
            }
        };
        tokio::join!(database, table);
    }

    /// How the store is. One that waits for its first release is there, and of no use yet.
    fn store(&self, asker: For) -> Value {
        let waits = || {
            let (reason, hint) = ("there is no release yet", "`tintype publish` makes the first one");
            json!({ "status": word_of(Some(true)), "reason": reason, "hint": hint })
        };
        match (self.followed.trouble(), asker) {
            (Some(Trouble { reason, hint }), For::Operator) => {
                json!({ "status": word_of(Some(false)), "reason": reason, "hint": hint })
            }
            (None, _) if self.followed.is_up().is_some() && self.followed.site().is_none() => waits(),
            _ => json!({ "status": word_of(self.followed.is_up()) }),
        }
    }

    /// How it is as a whole: degraded while one of its sources is away or has no release, and unhealthy where none is left but
    /// what it remembers.
    fn health(&self) -> (StatusCode, &'static str) {
        let sources = [self.followed.is_up(), self.word.last(), self.table_word.last()];
        match () {
            () if !self.is_ready() || !sources.contains(&Some(true)) => (StatusCode::SERVICE_UNAVAILABLE, "unhealthy"),
            () if sources.contains(&Some(false)) || self.followed.site().is_none() => (StatusCode::OK, "degraded"),
            () => (StatusCode::OK, "healthy"),
        }
    }

    /// The pool as such dashboards name it. There is no overflow: the pool never has more than its size.
    fn database(&self, pool: &Pool) -> Value {
        let state = pool.state();
        json!({
            "status": word_of(self.word.last()),
            "pool": {
                "pool_size": state.max,
                "checked_out": state.in_use,
                "checked_in": state.idle,
                "waiting": state.waiting,
                "overflow": 0,
                "max_overflow": 0,
                "max_connections": state.max,
                "usage_ratio": state.usage_percent(),
            },
            "pool_size": state.max,
            "max_overflow": 0,
            "checked_out": state.in_use,
            "overflow": 0,
            "pool_total": state.max,
        })
    }

    /// `/metrics`
    pub async fn metrics(&self) -> Reply {
        // Whoever hasn't said anything by then is asked on, for the next scrape.
        let _ = tokio::time::timeout(SCRAPE, self.look_around()).await;
        let mut text = String::new();
        self.figures.write(&mut text);
        let mut sample = |name: &str, kind: &str, help: &str, value: f64| {
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
        };
        let (entries, bytes) = self.memory.size();
        sample("tintype_fallback_memory_entries", "gauge", "Documents in memory.", entries as f64);
        sample("tintype_fallback_memory_bytes", "gauge", "Bytes that they take, about.", bytes as f64);
        let in_hand = self.bodies.bytes() as f64;
        sample("tintype_fallback_held_bytes", "gauge", "Bytes of documents in memory or being sent.", in_hand);
        let shared = self.flights.shared() + self.reads.shared();
        sample("tintype_fallback_flights_shared_total", "counter", "Requests that joined another's.", shared as f64);
        let flights = self.flights.count() + self.reads.count();
        sample("tintype_fallback_flights", "gauge", "Documents on their way.", flights as f64);
        let limited = self.limits.refused() as f64;
        sample("tintype_fallback_rate_limited_total", "counter", "Requests over a client's share.", limited);
        let refused = self.peers.refused() as f64;
        let help = "Connections of peers that had their share of them.";
        sample("tintype_fallback_connections_refused_total", "counter", help, refused);
        let gone = self.crowd.gone() as f64;
        let help = "Connections on which nothing happened, closed because others waited for room.";
        sample("tintype_fallback_connections_displaced_total", "counter", help, gone);
        if let Some(is_up) = self.followed.is_up() {
            let is_up = f64::from(u8::from(is_up));
            sample("tintype_store_up", "gauge", "Whether the last look at the store succeeded.", is_up);
        }
        if let Some(site) = self.followed.site() {
            let root = &site.manifest.root;
            sample("tintype_release_serial", "gauge", "The release that is served.", root.id.serial as f64);
            if let Some(as_of) = root.as_of {
                let seconds = as_of.timestamp() as f64;
                let help = "The instant whose data the release shows.";
                sample("tintype_release_as_of_timestamp_seconds", "gauge", help, seconds);
            }
        }
        if let Some(is_up) = self.word.last() {
            let is_up = f64::from(u8::from(is_up));
            sample("tintype_db_up", "gauge", "Whether the database answered when it was last asked.", is_up);
        }
        if let Some(is_up) = self.table_word.last() {
            let is_up = f64::from(u8::from(is_up));
            let help = "Whether the fallback table answered when it was last asked.";
            sample("tintype_fallback_table_up", "gauge", help, is_up);
        }
        let table = self.table.as_ref().map(|table| &table.pool);
        let pools: Vec<(&str, &Pool)> = self
            .pool
            .iter()
            .map(|pool| ("serve", pool))
            .chain(table.filter(|_| self.has_table_pool).map(|pool| ("table", pool)))
            .collect();
        pool_metrics::write(&pools, &mut text);
        respond::text(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text)
    }
}

fn word_of(is_up: Option<bool>) -> &'static str {
    match is_up {
        Some(true) => "healthy",
        Some(false) => "unhealthy",
        None => "unknown",
    }
}
