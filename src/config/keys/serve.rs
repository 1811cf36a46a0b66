//! The keys of `[database.serve]`: the connections that `serve` keeps.

use std::time::Duration;

use super::{DAY, Key, Kind};

/// How many connections.
pub static SERVE_MAX: Key = Key {
    section: "database.serve",
    name: "max",
    kind: Kind::Number { min: 1, max: 1000 },
    default: Some("4"),
    shown: "4",
    comment: &[
        "The most connections of `tintype serve`; DB_POOL_SIZE sets it too. Too few: readers queue while the database is",
        "idle. Too many: it does more at a time than it can do well, and its other clients find no connection.",
    ],
};

/// How many wait.
pub static SERVE_QUEUE: Key = Key {
    section: "database.serve",
    name: "queue",
    kind: Kind::Number { min: 0, max: 100_000 },
    default: Some("16"),
    shown: "16",
    comment: &[
        "The most readers that wait for one of them; more are sent away at once, with what was published last where there is",
        "something. Too short: a small burst is refused. Too long: whoever is at its end waits in vain.",
    ],
};

/// How long they wait.
pub static SERVE_ACQUIRE_TIMEOUT: Key = Key {
    section: "database.serve",
    name: "acquire_timeout",
    kind: Kind::Duration { min: Duration::from_millis(10), max: Duration::from_mins(1) },
    default: Some("1s"),
    shown: "\"1s\"",
    comment: &[
        "How long a reader waits for a connection. Too short: a busy moment is told as a failure. Too long: readers hang",
        "where the database can't keep up.",
    ],
};

/// How long opening one may take.
pub static SERVE_CONNECT_TIMEOUT: Key = Key {
    section: "database.serve",
    name: "connect_timeout",
    kind: Kind::Duration { min: Duration::from_millis(100), max: Duration::from_mins(1) },
    default: Some("5s"),
    shown: "\"5s\"",
    comment: &[
        "How long opening a connection may take; it goes on behind a reader who has left after acquire_timeout. Too short: a",
        "busy server is never reached. Too long: an attempt that hangs keeps its place among the max for so long.",
    ],
};

/// How long one statement may take.
pub static SERVE_STATEMENT_TIMEOUT: Key = Key {
    section: "database.serve",
    name: "statement_timeout",
    kind: Kind::Duration { min: Duration::from_millis(10), max: Duration::from_hours(1) },
    default: Some("5s"),
    shown: "\"5s\"",
    comment: &[
        "How long one document's query may take. Too short: heavy documents are never answered from the database. Too long:",
        "a few of them hold all connections.",
    ],
};

/// How old one gets.
pub static SERVE_MAX_LIFETIME: Key = Key {
    section: "database.serve",
    name: "max_lifetime",
    kind: Kind::Duration { min: Duration::from_secs(1), max: Duration::from_hours(168) },
    default: Some("30m"),
    shown: "\"30m\"",
    comment: &[
        "The age at which a connection is closed, ten per cent more or less. Too short: readers wait for new ones. Too long:",
        "a server that a name or a balancer has replaced is asked on.",
    ],
};

/// How long one lies unused.
pub static SERVE_IDLE_TIMEOUT: Key = Key {
    section: "database.serve",
    name: "idle_timeout",
    kind: Kind::Duration { min: Duration::from_secs(1), max: DAY },
    default: Some("3m"),
    shown: "\"3m\"",
    comment: &[
        "How long a connection may lie unused before it is closed. Too short: the next burst opens it again. Too long: the",
        "server keeps connections that nobody needs, and a firewall may have dropped them.",
    ],
};

/// Further settings of its transactions.
pub static SERVE_SETTINGS: Key = Key {
    section: "database.serve",
    name: "settings",
    kind: Kind::Table,
    default: None,
    shown: "{ work_mem = \"16MB\" }",
    comment: &["PostgreSQL settings for its transactions only, as for builds; none by default."],
};
