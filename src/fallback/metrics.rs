//! What Prometheus reads on the operator's port. Labels are sources, codes, reasons and names of pools: never a key.

use std::fmt::Write as _;
use std::time::Duration;

use hyper::StatusCode;

use super::respond::{self, Reply};
use super::{Fallback, pool_metrics};
use crate::database::Pool;
use crate::store::Answers;

/// How long a scrape waits for the database and the table.
const SCRAPE: Duration = Duration::from_secs(3);

/// Text in Prometheus's format.
#[derive(Default)]
struct Page(String);

impl Page {
    fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.sample(name, "gauge", help, value);
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.sample(name, "counter", help, value as f64);
    }

    fn sample(&mut self, name: &str, kind: &str, help: &str, value: f64) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
    }

    /// Whether a source is there, if that is known.
    fn is_up(&mut self, name: &str, help: &str, is_up: Option<bool>) {
        if let Some(is_up) = is_up {
            self.gauge(name, help, f64::from(u8::from(is_up)));
        }
    }

    fn store_requests(&mut self, Answers(answers): &Answers) {
        let name = "tintype_store_requests_total";
        let help = "Requests to the store that are over, by what came of them.";
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} counter");
        for (op, statuses) in answers {
            for (status, count) in statuses {
                let _ = writeln!(self.0, "{name}{{op=\"{op}\",status=\"{status}\"}} {count}");
            }
        }
    }
}

impl Fallback {
    /// `/metrics`
    pub async fn metrics(&self) -> Reply {
        // Whoever hasn't said anything by then is asked on, for the next scrape.
        let _ = tokio::time::timeout(SCRAPE, self.look_around()).await;
        let mut page = Page::default();
        self.figures.write(&mut page.0);
        self.write_serving(&mut page);
        self.write_sources(&mut page);
        pool_metrics::write(&self.pools(), &mut page.0);
        respond::text(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", page.0)
    }

    /// What is at hand, and what was kept off.
    fn write_serving(&self, page: &mut Page) {
        let (entries, bytes) = self.memory.size();
        page.gauge("tintype_fallback_memory_entries", "Documents in memory.", entries as f64);
        page.gauge("tintype_fallback_memory_bytes", "Bytes that they take, about.", bytes as f64);
        let in_hand = self.bodies.bytes() as f64;
        page.gauge("tintype_fallback_held_bytes", "Bytes of documents in memory or being sent.", in_hand);
        let shared = self.flights.shared() + self.reads.shared();
        page.counter("tintype_fallback_flights_shared_total", "Requests that joined another's.", shared);
        let flights = self.flights.count() + self.reads.count();
        page.gauge("tintype_fallback_flights", "Documents on their way.", flights as f64);
        let limited = self.limits.refused();
        page.counter("tintype_fallback_rate_limited_total", "Requests over a client's share.", limited);
        let help = "Connections of peers that had their share of them.";
        page.counter("tintype_fallback_connections_refused_total", help, self.peers.refused());
        let help = "Connections on which nothing happened, closed because others waited for room.";
        page.counter("tintype_fallback_connections_displaced_total", help, self.crowd.gone());
    }

    /// Whether the sources are there, and what the store was asked for.
    fn write_sources(&self, page: &mut Page) {
        page.is_up("tintype_store_up", "Whether the store says what is live, and gives it.", self.store_is_up());
        page.store_requests(&self.store.answers());
        if let Some(site) = self.followed.site() {
            let root = &site.manifest.root;
            page.gauge("tintype_release_serial", "The release that is served.", root.id.serial as f64);
            if let Some(as_of) = self.followed.as_of() {
                let help =
                    "The instant whose data the release shows, or of the last run since that found it unchanged.";
                page.gauge("tintype_release_as_of_timestamp_seconds", help, as_of as f64);
            }
        }
        page.is_up("tintype_db_up", "Whether the database answered when it was last asked.", self.word.last());
        let help = "Whether the fallback table answered when it was last asked.";
        page.is_up("tintype_fallback_table_up", help, self.table_word.last());
    }

    /// The pools by their names; one that answers for both database and table is the database's.
    fn pools(&self) -> Vec<(&str, &Pool)> {
        let table = self.table.as_ref().filter(|_| self.has_table_pool).map(|table| ("table", &table.pool));
        self.pool.iter().map(|pool| ("serve", pool)).chain(table).collect()
    }
}
