//! `[budget]`: how many connections there are, and who else takes them.

use super::{Key, Kind};

/// The most connections that one process may be said to have; far above what a server could bear.
pub const MOST: usize = 100_000;

/// How many connections there are.
pub static LIMIT: Key = Key {
    section: "budget",
    name: "limit",
    kind: Kind::Number { min: 1, max: MOST },
    default: None,
    shown: "120",
    comment: &[
        "How many of the server's connections all processes below and tintype may share; by default as many as the server",
        "has. Set it where the server is shared with other sites or where a pooler hides the server's own limit.",
    ],
};

/// What is left to others.
pub static RESERVED: Key = Key {
    section: "budget",
    name: "reserved",
    kind: Kind::Number { min: 0, max: MOST },
    default: Some("0"),
    shown: "0",
    comment: &[
        "How many of them are kept for others: psql, backups, monitoring. Too few: an administrator is locked out while the",
        "site is busy. The server's own superuser_reserved_connections are kept besides.",
    ],
};

/// Who else takes connections.
pub static PROCESSES: Key = Key {
    section: "budget",
    name: "processes",
    kind: Kind::Processes,
    default: None,
    shown: "[{ name = \"api\", count = 4, pool = 8 }]",
    comment: &[
        "The other programs that connect: how many processes each has, and the most connections of one (pool and overflow",
        "together), also as [[budget.processes]] tables. `tintype db budget` refuses more of them than there is room for.",
    ],
};
