//! What the pools of leases have seen, under the names that dashboards of connection pools know.

use std::fmt::Write as _;

use crate::database::{Closed, Histogram, Pool, PoolFigures, PoolState};

type Gauge = (&'static str, &'static str, fn(&PoolState) -> f64);
type Counter = (&'static str, &'static str, fn(&PoolFigures) -> u64);
type Durations = (&'static str, &'static str, fn(&PoolFigures) -> &Histogram);

const GAUGES: [Gauge; 6] = [
    ("db_pool_size", "The most connections.", |state| state.max as f64),
    ("db_pool_connections_in_use", "Connections leased.", |state| state.in_use as f64),
    ("db_pool_connections_idle", "Connections open and unused.", |state| state.idle as f64),
    ("db_pool_connections_closing", "Connections that count until the server has noticed.", |state| {
        state.closing as f64
    }),
    ("db_pool_waiting", "Readers in the queue.", |state| state.waiting as f64),
    ("db_pool_usage", "Connections leased, as a part of the most.", |state| {
        state.in_use as f64 / state.max.max(1) as f64
    }),
];

const COUNTERS: [Counter; 7] = [
    ("db_pool_acquires_total", "Leases given out.", |figures| figures.acquires),
    ("db_pool_releases_total", "Leases that ended.", |figures| figures.releases),
    ("db_pool_connection_timeouts_total", "Readers that waited for a lease in vain.", |figures| figures.timeouts),
    ("db_pool_shed_total", "Readers that found the queue full.", |figures| figures.shed),
    ("db_pool_refused_total", "Readers that were told that the database is away.", |figures| figures.refused),
    ("db_pool_connections_invalid_total", "Connections found dead when they were to be used.", |figures| {
        figures.invalid
    }),
    ("db_pool_connections_opened_total", "Connections opened.", |figures| figures.opened),
];

const DURATIONS: [Durations; 2] = [
    ("db_pool_acquire_seconds", "Time from asking for a lease to having it.", |figures| &figures.wait),
    ("db_connection_hold_seconds", "Time from having a lease to its end.", |figures| &figures.hold),
];

/// Writes the figures of some pools by their names.
pub fn write(pools: &[(&str, &Pool)], text: &mut String) {
    let seen: Vec<(&str, PoolState, PoolFigures)> =
        pools.iter().map(|(name, pool)| (*name, pool.state(), pool.figures())).collect();
    if seen.is_empty() {
        return;
    }
    for (name, help, of) in GAUGES {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
        for (pool, state, _) in &seen {
            let _ = writeln!(text, "{name}{{pool=\"{pool}\"}} {}", of(state));
        }
    }
    for (name, help, of) in COUNTERS {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} counter");
        for (pool, _, figures) in &seen {
            let _ = writeln!(text, "{name}{{pool=\"{pool}\"}} {}", of(figures));
        }
    }
    let name = "db_pool_connections_closed_total";
    let _ = writeln!(text, "# HELP {name} Connections closed, by reason.\n# TYPE {name} counter");
    for (pool, _, figures) in &seen {
        for reason in Closed::ALL {
            let count = figures.closed(reason);
            let _ = writeln!(text, "{name}{{pool=\"{pool}\",reason=\"{}\"}} {count}", reason.name());
        }
    }
    for (name, help, of) in DURATIONS {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} histogram");
        for (pool, _, figures) in &seen {
            histogram(name, pool, of(figures), text);
        }
    }
}

fn histogram(name: &str, pool: &str, histogram: &Histogram, text: &mut String) {
    for (bound, count) in histogram.cumulative() {
        let _ = writeln!(text, "{name}_bucket{{pool=\"{pool}\",le=\"{bound}\"}} {count}");
    }
    let count = histogram.count();
    let _ = writeln!(text, "{name}_bucket{{pool=\"{pool}\",le=\"+Inf\"}} {count}");
    let _ = writeln!(text, "{name}_sum{{pool=\"{pool}\"}} {}\n{name}_count{{pool=\"{pool}\"}} {count}", histogram.sum);
}
