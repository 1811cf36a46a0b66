//! The keys of `[guard]`: what every template is measured by whose own `[guard]` says nothing else.

use super::{Key, Kind};
use crate::template::guard::Guard;

/// A key of `[guard]` that sets the levels of a guard.
const fn levels(
    name: &'static str,
    default: &'static str,
    shown: &'static str,
    comment: &'static [&'static str],
) -> Key {
    Key { section: "guard", name, kind: Kind::Text, default: Some(default), shown, comment }
}

/// All rows of a template.
pub static ROWS_DROP: Key = levels(
    "rows_drop",
    "warn 10%, error 30%",
    "\"warn 10%, error 30%\"",
    &[
        "By how much all rows of a template may fall; above error it keeps its last good documents. Counts from 100 rows on.",
        "Too low: a busy night needs --accept-guard. Too high: a half-empty table is published.",
    ],
);

/// Its documents.
pub static KEYS_DROP: Key = levels(
    "keys_drop",
    "warn 5%, error 20%",
    "\"warn 5%, error 20%\"",
    &[
        "By how much its documents, or those of them with rows, may become fewer. Counts from 20 documents on.",
        "Too low: a topic that is retired needs --accept-guard. Too high: a lost region is published.",
    ],
);

/// No rows at all.
pub static EMPTY: Key = levels(
    "empty",
    "error",
    "\"error\"",
    &["Whether a template that had rows may have none: warn, error or off (for a list that may rightly be empty)."],
);

/// Documents with other bytes.
pub static CHANGED: Key = levels(
    "changed",
    "warn 60%",
    "\"warn 60%\"",
    &[
        "How many of its documents may have other bytes: the alarm for queries without a total ORDER BY, sums of floats,",
        "random() or now(). Counts from 20 documents on. Off, or higher, where every load changes nearly all of them.",
    ],
);

/// All its bytes, fallen.
pub static SIZE_DROP: Key = levels(
    "size_drop",
    "warn 20%, error 50%",
    "\"warn 20%, error 50%\"",
    &[
        "By how much all its bytes may fall, uncompressed: a column that is NULL now shows here. Counts from 100 rows on.",
        "Too low: shorter texts need --accept-guard. Too high: emptied columns are published.",
    ],
);

/// All its bytes, grown.
pub static SIZE_GROWTH: Key = levels(
    "size_growth",
    "warn 100%, error 400%",
    "\"warn 100%, error 400%\"",
    &[
        "By how much they may grow: a join that lost its condition shows here. Counts from 100 rows on.",
        "Too low: a first load of history needs --accept-guard. Too high: readers fetch every row many times over.",
    ],
);

/// Columns of its documents.
pub static COLUMNS: Key = levels(
    "columns",
    "error",
    "\"error\"",
    &[
        "Whether columns of the documents may be gone or renamed, which breaks the pages that read them: warn, error or off.",
        "New columns, and another order, warn at most.",
    ],
);

/// Its path pattern and shape.
pub static PATH: Key = levels(
    "path",
    "error",
    "\"error\"",
    &["Whether the path pattern or the shape of a template may change: every URL, or every reader of it, would break."],
);

/// The age of the newest data.
pub static SOURCE_AGE: Key = levels(
    "source_age",
    "off",
    "\"off\"",
    &[
        "How old the newest data may be, as source_age_sql says: \"2d\", or \"warn 1d, error 3d\". Without a query the age of",
        "what the server has replayed. Too low: a late load is no news. Too high: a load that died goes unnoticed.",
    ],
);

/// Documents that go.
pub static MAX_DELETE: Key = levels(
    "max_delete",
    "off",
    "\"off\"",
    &[
        "How many documents of a template one run may remove, also a run of some keys: \"500\", or \"warn 100, error 1000\".",
        "Too low: retiring a topic needs --accept-guard. Too high, or off: keys_drop alone watches.",
    ],
);

/// The query for the newest data.
pub static SOURCE_AGE_SQL: Key = Key {
    section: "guard",
    name: "source_age_sql",
    kind: Kind::Text,
    default: None,
    shown: "\"SELECT max(loaded_at) FROM load_log\"",
    comment: &[
        "A query whose one value is the instant of the newest data, for templates without one of their own; none by default.",
        "An instant without a time zone counts as UTC, a number as seconds since 1970.",
    ],
};

/// The largest document.
pub static MAX_SIZE: Key = Key {
    section: "guard",
    name: "max_size",
    kind: Kind::Text,
    default: Some("16 MiB"),
    shown: "\"16 MiB\"",
    comment: &[
        "The largest body of a document, uncompressed, at most 1 GiB. Too low: a template fails for its largest key.",
        "Too high: memory grows with it, and browsers fail far below 1 GiB.",
    ],
};

/// The key of a guard's levels.
pub static LEVELS: [(Guard, &Key); Guard::ALL.len()] = [
    (Guard::RowsDrop, &ROWS_DROP),
    (Guard::KeysDrop, &KEYS_DROP),
    (Guard::Empty, &EMPTY),
    (Guard::Changed, &CHANGED),
    (Guard::SizeDrop, &SIZE_DROP),
    (Guard::SizeGrowth, &SIZE_GROWTH),
    (Guard::Columns, &COLUMNS),
    (Guard::Path, &PATH),
    (Guard::SourceAge, &SOURCE_AGE),
    (Guard::MaxDelete, &MAX_DELETE),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::guard::Guards;

    #[test]
    fn the_table_says_what_holds_without_it() {
        for (guard, key) in LEVELS {
            assert_eq!(key.name, guard.name());
            assert_eq!(key.default, Some(guard.written(guard.default()).as_str()));
        }
        let max_size = crate::template::guard::size_bytes(MAX_SIZE.default.unwrap());
        assert_eq!(max_size, Ok(Guards::default().max_size_bytes()));
    }

    #[test]
    fn the_readme_lists_them_with_their_defaults() {
        let readme = include_str!("../../../README.md");
        let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
        let rows: Vec<Vec<String>> = readme.lines().filter(|line| line.starts_with("| `")).map(cells).collect();
        for (name, default) in
            LEVELS.iter().map(|(_, key)| (key.name, key.default)).chain([("max_size", MAX_SIZE.default)])
        {
            let row = rows.iter().find(|row| row[1] == format!("`{name}`"));
            let row = row.unwrap_or_else(|| panic!("the README doesn't list {name}"));
            assert_eq!(row[2], default.unwrap_or_default(), "{name}");
        }
    }
}
