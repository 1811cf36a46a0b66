//! `[paths]`: folders that are read.

use super::{Key, Kind};

/// Where the templates are.
pub static TEMPLATES: Key = Key {
    section: "paths",
    name: "templates",
    kind: Kind::Text,
    default: Some("templates"),
    shown: "\"templates\"",
    comment: &["The folder with the templates: every .sql file directly in it is one."],
};

/// Where the schedules are.
pub static SCHEDULES: Key = Key {
    section: "paths",
    name: "schedules",
    kind: Kind::Text,
    default: Some("schedules"),
    shown: "\"schedules\"",
    comment: &["The folder with the schedules, for `tintype schedule`: every .toml file directly in it is one."],
};
