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

/// Where documents are served.
pub static LISTEN: Key = Key {
    section: "fallback",
    name: "listen",
    kind: Kind::Text,
    default: Some("127.0.0.1:8480"),
    shown: "\"127.0.0.1:8480\"",
    comment: &[
        "Where `tintype serve` answers with documents: an address and a port. Another than this machine's own is for a CDN or",
        "a web server in front of it, which trusted_proxies then names.",
    ],
};

/// Where the operator's figures are served.
pub static ADMIN_LISTEN: Key = Key {
    section: "fallback",
    name: "admin_listen",
    kind: Kind::Text,
    default: Some("127.0.0.1:8481"),
    shown: "\"127.0.0.1:8481\"",
    comment: &[
        "Where it answers with /metrics, and with /health as well; never to be reached by readers. \"none\": nowhere.",
    ],
};

/// Whose word about clients is believed.
pub static TRUSTED_PROXIES: Key = Key {
    section: "fallback",
    name: "trusted_proxies",
    kind: Kind::Texts,
    default: None,
    shown: "[\"10.0.0.0/8\", \"2001:db8::/32\"]",
    comment: &[
        "The addresses of the CDN and of the web servers in front of `tintype serve`: their X-Forwarded-For tells clients",
        "apart, for the limits by client. []: nobody is in front. With [cdn] url it must be written, as one or the other.",
    ],
};

/// Which pages may read.
pub static CORS_ORIGINS: Key = Key {
    section: "fallback",
    name: "cors_origins",
    kind: Kind::Texts,
    default: None,
    shown: "[\"https://example.org\"]",
    comment: &["The pages whose scripts may read the documents, as browsers name them in Origin; by default any."],
};

/// How much is kept in memory.
pub static MEMORY: Key = Key {
    section: "fallback",
    name: "memory",
    kind: Kind::Text,
    default: Some("64 MiB"),
    shown: "\"64 MiB\"",
    comment: &[
        "How much of the gzipped documents is kept in memory, 1 MiB to 64 GiB. What is known of a release comes on top, about",
        "400 bytes a document.",
    ],
};

/// How many connections.
pub static CONNECTIONS: Key = Key {
    section: "fallback",
    name: "connections",
    kind: Kind::Number { min: 1, max: 1_000_000 },
    default: Some("4096"),
    shown: "4096",
    comment: &[
        "Connections of readers at a time; more wait until one of them ends. An address that isn't among trusted_proxies gets a",
        "quarter of what others leave, then 429. Fewer are held, with a warning, where few files may be open (ulimit -n).",
    ],
};

/// How long it answers on.
pub static LINGER: Key = Key {
    section: "fallback",
    name: "linger",
    kind: Kind::Duration { min: Duration::ZERO, max: Duration::from_mins(5) },
    default: None,
    shown: "\"5s\"",
    comment: &[
        "How long it answers on after SIGTERM, calling itself unready, so that balancers turn elsewhere first; by default 5s,",
        "and 0s where it listens on this machine's own address. A second signal, or Ctrl-C, ends that.",
    ],
};

/// How often the store is asked.
pub static FOLLOW: Key = Key {
    section: "fallback",
    name: "follow",
    kind: Kind::Duration { min: Duration::from_secs(1), max: Duration::from_hours(1) },
    default: Some("10s"),
    shown: "\"10s\"",
    comment: &[
        "How often it looks whether there is a new release: the longest time for which it may show the one before.",
    ],
};

/// How often the keys are read.
pub static REREAD: Key = Key {
    section: "fallback",
    name: "reread",
    kind: Kind::Duration { min: Duration::from_secs(1), max: Duration::from_hours(24) },
    default: Some("10m"),
    shown: "\"10m\"",
    comment: &[
        "How often a path that no release shows may have the domains read again, for keys that are new or gone. Names that",
        "are made up cost one reading in this time, however many they are.",
    ],
};

/// Where the health probes are besides.
pub static HEALTH_PREFIX: Key = Key {
    section: "fallback",
    name: "health_prefix",
    kind: Kind::Text,
    default: None,
    shown: "\"/api/v1/hc\"",
    comment: &[
        "A further path for the health probes, for monitors that know another: /api/v1/hc/health, /api/v1/hc/database.",
    ],
};
