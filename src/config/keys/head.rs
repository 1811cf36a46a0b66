//! The keys of `[store]` for stores without conditional writes.

use super::{Key, Kind};

/// Who keeps the head.
pub static HEAD: Key = Key {
    section: "store",
    name: "head",
    kind: Kind::Word(&["store", "database"]),
    default: Some("store"),
    shown: "\"store\"",
    comment: &[
        "Who keeps head.json, the record that publishers take turns by: the store, which an s3:// store without conditional",
        "writes (Garage, B2) can't; or database, a row in PostgreSQL, which rollback, resume and status then need as well.",
    ],
};

/// The database that keeps the head.
pub static HEAD_URL: Key = Key {
    section: "store",
    name: "head_url",
    kind: Kind::Secret,
    default: None,
    shown: "\"postgres://user@host:5432/database\"",
    comment: &[
        "The database that keeps the head, with head = \"database\"; by default [database] url. Always a primary, and the",
        "same for every publisher. The table tintype_head is made there; [store] timeout is the longest wait for an answer.",
    ],
};

/// The written promise that there is one publisher only.
pub static UNSAFE_SINGLE_PUBLISHER: Key = Key {
    section: "store",
    name: "unsafe_single_publisher",
    kind: Kind::Switch,
    default: Some("false"),
    shown: "false",
    comment: &[
        "true lets an s3:// store without conditional writes keep head.json all the same. Two publishers at a time, editors",
        "and a run that still hangs among them, then undo each other's work, and readers keep wrong documents.",
    ],
};
