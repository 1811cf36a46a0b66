//! The keys of `[fallback]`.

use std::time::Duration;

use super::{Key, Kind};

/// Whether a table is left behind.
pub static TABLE: Key = Key {
    section: "fallback",
    name: "table",
    kind: Kind::Switch,
    default: Some("true"),
    shown: "true",
    comment: &[
        "Leave the documents in a table too, for an API that answers while the store or the CDN is down: in table_url, or",
        "without one in .tintype/fallback.db, if the database is a SQLite file and the store a folder. false: no table.",
    ],
};

/// Where the table is.
pub static TABLE_URL: Key = Key {
    section: "fallback",
    name: "table_url",
    kind: Kind::Secret,
    default: None,
    shown: "\"postgres://tintype@host:5432/database\"",
    comment: &[
        "The database with the table: any primary, or sqlite:FILE. To let tintype make the table, and an API read it:",
        "GRANT CREATE ON SCHEMA public TO tintype; GRANT SELECT ON tintype_snapshot, tintype_release TO api;",
    ],
};

/// How long it is waited for.
pub static TABLE_TIMEOUT: Key = Key {
    section: "fallback",
    name: "table_timeout",
    kind: Kind::Duration { min: Duration::from_millis(100), max: Duration::from_hours(1) },
    default: Some("10s"),
    shown: "\"10s\"",
    comment: &[
        "The longest wait for a connection to that database; a statement gets three times as long. Too short: under load the",
        "table stays behind, with exit code 4, until the next run. Too long: a publish ends late where the database is away.",
    ],
};
