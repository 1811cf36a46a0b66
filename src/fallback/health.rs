//! How the server is, for load balancers, for people and for Prometheus.
//!
//! *Live* is the process alone. *Ready* means that requests are worth sending here: a release was seen, or the keys are
//! known, and the end wasn't asked for; a database that is down makes nobody unready who can still answer. The other two
//! say what dashboards of connection pools have always asked for, and which of the sources are away. They and a scrape of
//! the figures ask the database and the table at most once in half a minute each, so that an outage shows before a reader
//! has met it, and try a store that readers found away.

use hyper::StatusCode;
use serde_json::{Value, json};

use super::Fallback;
use super::respond::{self, Reply};
use super::site::Trouble;
use crate::database::Pool;

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
    pub(super) async fn look_around(&self) {
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
        tokio::join!(database, table, self.look_at_store());
    }

    /// Why the store is away: its head can't be read, or the documents of its release can't.
    fn store_trouble(&self) -> Option<Trouble> {
        let of_bodies = |reason| {
            let hint = "its head can be read: is it slow, or a part of it away? `tintype verify` looks at all of it";
            Trouble { reason: format!("it gives no documents: {reason}"), hint: Some(hint.to_owned()) }
        };
        self.followed.trouble().or_else(|| self.silence.trouble().map(of_bodies))
    }

    /// Whether the store says what is live, and gives it; none before the first look at it has ended.
    pub(super) fn store_is_up(&self) -> Option<bool> {
        self.followed.is_up().map(|_| self.store_trouble().is_none())
    }

    /// How the store is. One that waits for its first release is there, and of no use yet.
    fn store(&self, asker: For) -> Value {
        let waits = || {
            let (reason, hint) = (
                "there is no release yet",
                "`tintype status` tells whether there ever was one, and `tintype publish` makes the first",
            );
            json!({ "status": word_of(Some(true)), "reason": reason, "hint": hint })
        };
        match (self.store_trouble(), asker) {
            (Some(Trouble { reason, hint }), For::Operator) => {
                json!({ "status": word_of(Some(false)), "reason": reason, "hint": hint })
            }
            (None, _) if self.followed.is_up().is_some() && self.followed.site().is_none() => waits(),
            _ => json!({ "status": word_of(self.store_is_up()) }),
        }
    }

    /// How it is as a whole: degraded while one of its sources is away or has no release, and unhealthy where none is left but
    /// what it remembers.
    fn health(&self) -> (StatusCode, &'static str) {
        let sources = [self.store_is_up(), self.word.last(), self.table_word.last()];
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
}

fn word_of(is_up: Option<bool>) -> &'static str {
    match is_up {
        Some(true) => "healthy",
        Some(false) => "unhealthy",
        None => "unknown",
    }
}
