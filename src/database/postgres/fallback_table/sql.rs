//! The statements for PostgreSQL. Nothing is bound in the simple protocol, so there values are written out.

use std::time::Duration;

use super::literal;
use crate::database::fallback_table::sql::{COLUMNS, RELEASE, SNAPSHOTS, first_row, over_what_is_there};
use crate::database::fallback_table::{PATIENCE, TableMark};
use crate::database::postgres::replica::micros;

/// Who asks, and in which schema the tables are or would be; both quoted where they need it.
pub const WHO: &str = "SELECT quote_ident(current_user), coalesce((SELECT quote_ident(nspname) FROM pg_namespace JOIN pg_class \
                       ON relnamespace = pg_namespace.oid WHERE pg_class.oid = to_regclass('tintype_snapshot')), \
                       quote_ident(current_schema()), 'public')";

/// The server gives up before the client does, and says so; on a lock before that, to say what it waited for.
fn limits(timeout: Duration) -> String {
    let limit = (timeout * PATIENCE).as_millis();
    let lock = limit.saturating_sub(timeout.as_millis() / 4);
    format!("SET LOCAL statement_timeout = {limit}; SET LOCAL lock_timeout = {lock}")
}

/// What holds for a message's transaction.
pub fn to_ask(timeout: Duration) -> String {
    format!(
        "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; SET LOCAL bytea_output = hex; \
         {}",
        limits(timeout)
    )
}

/// What holds while the whole table is read.
pub fn to_read(limit: Duration) -> String {
    format!(
        "SET TRANSACTION READ ONLY; SET LOCAL bytea_output = hex; SET LOCAL statement_timeout = {}",
        limit.as_millis()
    )
}

/// Begins to write, and waits for the one row. A writer that hangs mustn't keep the others out for ever.
pub fn begin(timeout: Duration) -> String {
    let limit = (timeout * PATIENCE).as_millis();
    format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; {}; SET LOCAL idle_in_transaction_session_timeout = {limit}; {}",
        limits(timeout),
        state(" FOR UPDATE")
    )
}

/// What the table says of itself.
pub fn state(lock: &str) -> String {
    format!(
        "SELECT serial, release, site, format::int8, {}, NOT EXISTS (SELECT FROM {SNAPSHOTS}) FROM {RELEASE} WHERE id = 1{lock}",
        micros("written_at")
    )
}

/// Makes the tables; `schema` is empty or ends in a dot. Bodies are gzipped, so that trying to compress them again would
/// only cost time.
pub fn create(schema: &str) -> [String; 4] {
    [
        format!(
            "CREATE TABLE IF NOT EXISTS {schema}{SNAPSHOTS} (path text COLLATE \"C\" PRIMARY KEY, template text NOT NULL, \
             key jsonb NOT NULL, body_gzip bytea NOT NULL, digest text NOT NULL, cache_control text NOT NULL, \
             cache_tags text NOT NULL, release text NOT NULL, as_of timestamptz NOT NULL)"
        ),
        format!("ALTER TABLE {schema}{SNAPSHOTS} ALTER COLUMN body_gzip SET STORAGE EXTERNAL"),
        format!(
            "CREATE TABLE IF NOT EXISTS {schema}{RELEASE} (id integer PRIMARY KEY CHECK (id = 1), serial bigint NOT NULL, \
             release text NOT NULL, site text NOT NULL, format integer NOT NULL, written_at timestamptz NOT NULL)"
        ),
        first_row("clock_timestamp()").replacen(RELEASE, &format!("{schema}{RELEASE}"), 1),
    ]
}

/// Lets a role write the tables.
pub fn grants(schema: &str, role: &str) -> [String; 2] {
    [
        format!("GRANT USAGE ON SCHEMA {schema} TO {role}"),
        format!("GRANT SELECT, INSERT, UPDATE, DELETE ON {schema}.{SNAPSHOTS}, {schema}.{RELEASE} TO {role}"),
    ]
}

/// Every row, in the order of the paths' bytes.
pub fn rows(bodies: bool) -> String {
    let body = if bodies { ", body_gzip" } else { "" };
    format!(
        "SELECT path, digest, cache_control, cache_tags, {}{body} FROM {SNAPSHOTS} ORDER BY path COLLATE \"C\"",
        micros("as_of")
    )
}

/// The paths and keys of a template.
pub fn keys(template: &str) -> String {
    let template = literal(template);
    format!("SELECT path, key::text FROM {SNAPSHOTS} WHERE template = {template} ORDER BY path COLLATE \"C\"")
}

/// The body at a path.
pub fn body(path: &str) -> String {
    format!("SELECT body_gzip FROM {SNAPSHOTS} WHERE path = {}", literal(path))
}

/// The rights that are missing, by name.
pub fn rights() -> String {
    let pairs = [SNAPSHOTS, RELEASE]
        .iter()
        .flat_map(|table| ["SELECT", "INSERT", "UPDATE", "DELETE"].map(|right| format!("('{table}', '{right}')")));
    let pairs: Vec<String> = pairs.collect();
    format!(
        "SELECT the_right || ' on ' || the_table FROM (VALUES {}) AS t (the_table, the_right) \
         WHERE NOT has_table_privilege(the_table, the_right)",
        pairs.join(", ")
    )
}

/// Writes documents, bound column by column as arrays; the release is bound as the ninth.
pub fn upsert() -> String {
    format!(
        "INSERT INTO {SNAPSHOTS} ({}) SELECT path, template, key::jsonb, body_gzip, digest, cache_control, cache_tags, $9, \
         as_of::timestamptz FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[], $5::text[], $6::text[], $7::text[], \
         $8::text[]) AS new (path, template, key, body_gzip, digest, cache_control, cache_tags, as_of) {}",
        COLUMNS.join(", "),
        over_what_is_there()
    )
}

/// Removes documents, their paths bound as an array.
pub fn remove() -> String {
    format!("DELETE FROM {SNAPSHOTS} WHERE path = ANY ($1::text[])")
}

/// Says what the table shows, and commits.
pub fn commit(mark: &TableMark) -> String {
    let (serial, release, site) = (mark.serial, literal(&mark.release), literal(&mark.site));
    format!(
        "UPDATE {RELEASE} SET serial = {serial}, release = {release}, site = {site}, written_at = clock_timestamp() \
         WHERE id = 1; COMMIT"
    )
}
