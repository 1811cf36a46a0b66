//! What both engines are told in the same words.

/// The version of the two tables.
pub const FORMAT: u32 = 1;

/// The documents.
pub const SNAPSHOTS: &str = "tintype_snapshot";
/// Which release they are.
pub const RELEASE: &str = "tintype_release";

/// The columns of a document, in order.
pub const COLUMNS: [&str; 9] =
    ["path", "template", "key", "body_gzip", "digest", "cache_control", "cache_tags", "release", "as_of"];

/// What happens where the path is there already.
pub fn over_what_is_there() -> String {
    let columns: Vec<String> = COLUMNS[1..].iter().map(|column| format!("{column} = excluded.{column}")).collect();
    format!("ON CONFLICT (path) DO UPDATE SET {}", columns.join(", "))
}

/// The one row before the first release; `now` is the engine's word for the time.
pub fn first_row(now: &str) -> String {
    format!(
        "INSERT INTO {RELEASE} (id, serial, release, site, format, written_at) VALUES (1, 0, '', '', {FORMAT}, {now}) \
         ON CONFLICT DO NOTHING"
    )
}
