//! `[retention]`: how much of the history a prune keeps.

use std::time::Duration;

use super::{DAY, Key, Kind};

/// How many releases are kept.
pub static RETENTION_RELEASES: Key = Key {
    section: "retention",
    name: "releases",
    kind: Kind::Number { min: 1, max: 100_000 },
    default: Some("10"),
    shown: "10",
    comment: &[
        "`tintype prune` keeps at least so many releases that changed data, whatever their age. Too few: a mistake that",
        "is noticed late can't be rolled back. Too many: the store grows by what has changed in each.",
    ],
};

/// For how long they are kept.
pub static RETENTION_AGE: Key = Key {
    section: "retention",
    name: "age",
    kind: Kind::Duration { min: Duration::ZERO, max: Duration::from_secs(DAY.as_secs() * 3650) },
    default: Some("7d"),
    shown: "\"7d\"",
    comment: &["And every state that the site has had for so long: \"7d\" lets you go back to last week's."],
};
