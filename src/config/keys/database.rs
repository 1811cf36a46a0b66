//! The keys of `[database]` and `[database.build]`.

use std::time::Duration;

use super::{DAY, Key, Kind};

/// Where the data is.
pub static DATABASE_URL: Key = Key {
    section: "database",
    name: "url",
    kind: Kind::Secret,
    default: None,
    shown: "\"sqlite:demo.db\"",
    comment: &["Where the data is: postgres://user@host:5432/database?sslmode=verify-full, or sqlite:file.db."],
};

/// Standbys to read instead.
pub static REPLICAS: Key = Key {
    section: "database",
    name: "replicas",
    kind: Kind::Secrets,
    default: None,
    shown: "[\"postgres://user@replica-1/database\"]",
    comment: &[
        "Standbys of that server, which builds read in this order; none by default. One that can't be reached, receives",
        "nothing from its primary or lags behind it is passed over. `republish` and `get --from live` read the primary.",
    ],
};

/// Which of the servers builds read.
pub static READ: Key = Key {
    section: "database",
    name: "read",
    kind: Kind::Word(&["prefer-replica", "replica", "primary"]),
    default: None,
    shown: "\"prefer-replica\"",
    comment: &[
        "Where builds read: prefer-replica (the default with replicas) takes the primary where no replica is fit, which",
        "may load it at a bad time; replica fails instead, and the documents grow old; primary leaves the replicas out.",
    ],
};

/// How far behind a replica may be.
pub static MAX_LAG: Key = Key {
    section: "database",
    name: "max_lag",
    kind: Kind::Duration { min: Duration::from_secs(1), max: DAY },
    default: Some("5m"),
    shown: "\"5m\"",
    comment: &[
        "How far behind its primary a replica may be. Too short: a bulk load sends every build to the primary.",
        "Too long: what is published is that much older than it says on the primary.",
    ],
};

/// How long to wait for a connection.
pub static ACQUIRE_TIMEOUT: Key = Key {
    section: "database.build",
    name: "acquire_timeout",
    kind: Kind::Duration { min: Duration::from_millis(1), max: DAY },
    default: Some("30s"),
    shown: "\"30s\"",
    comment: &[
        "How long to try to get a connection, also from a server that restarts or has none free. Too short: a build fails",
        "because the server or a pooler is busy. Too long: a server that is down goes unnoticed.",
    ],
};

/// How long one statement may take. PostgreSQL counts it in milliseconds in 31 bits, which is nearly 25 days.
pub static STATEMENT_TIMEOUT: Key = Key {
    section: "database.build",
    name: "statement_timeout",
    kind: Kind::Duration { min: Duration::ZERO, max: Duration::from_hours(576) },
    default: Some("30m"),
    shown: "\"30m\"",
    comment: &[
        "How long one template's query may take; \"0s\" is without limit. Too short: the heaviest template fails and",
        "keeps its last rows. Too long: a runaway query holds back VACUUM for as long as it runs.",
    ],
};

/// Further settings of the build's transaction.
pub static SETTINGS: Key = Key {
    section: "database.build",
    name: "settings",
    kind: Kind::Table,
    default: None,
    shown: "{ work_mem = \"64MB\" }",
    comment: &[
        "PostgreSQL settings for the build's transaction only; none by default. Too little work_mem: sorts and hashes",
        "go to disk. Too much: every sort of every parallel worker may take it, and the server runs out of memory.",
    ],
};
