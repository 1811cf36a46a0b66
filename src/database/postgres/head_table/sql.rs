//! The statements. Nothing is bound in the simple protocol, so values are written out.

use std::fmt::Write as _;
use std::time::Duration;

use super::RowVersion;
use crate::database::postgres::replica::micros;

/// The table's name, found by the role's `search_path`.
pub const TABLE: &str = "tintype_head";

/// Who asks, and in which schema the table is or would be; both quoted where they need it.
pub const WHO: &str = "SELECT quote_ident(current_user), coalesce((SELECT quote_ident(nspname) FROM pg_namespace JOIN pg_class \
                       ON relnamespace = pg_namespace.oid WHERE pg_class.oid = to_regclass('tintype_head')), \
                       quote_ident(current_schema()), 'public')";

/// What holds for the message's transaction.
///
/// The limits are shorter than the client's patience, so that the server has given up by then, and says so. A swap that
/// a crash of the server could take back would be none, and a standby's row may be an old one, so it can't be read
/// there. What the role's own defaults are doesn't matter.
pub fn settings(timeout: Duration) -> String {
    let part = |of: u32| (timeout / of).as_millis().max(1);
    format!(
        "SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE; SET LOCAL synchronous_commit = on; \
         SET LOCAL bytea_output = hex; SET LOCAL statement_timeout = {}; SET LOCAL lock_timeout = {}",
        part(2),
        part(3)
    )
}

/// Makes the table; `schema` is empty or ends in a dot.
pub fn create(schema: &str) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {schema}{TABLE} (store text PRIMARY KEY, seq bigint NOT NULL, head bytea NOT NULL, \
         written_at timestamptz NOT NULL)"
    )
}

/// Lets a role use the table.
pub fn grants(schema: &str, role: &str) -> [String; 2] {
    [
        format!("GRANT USAGE ON SCHEMA {schema} TO {role}"),
        format!("GRANT SELECT, INSERT, UPDATE ON {schema}.{TABLE} TO {role}"),
    ]
}

/// Number, time of writing, bytes and age.
pub fn select(store: &str) -> String {
    let (written, age) = (micros("written_at"), micros("(clock_timestamp() - written_at)"));
    format!("SELECT seq, {written}, head, {age} FROM {TABLE} WHERE store = {}", literal(store))
}

/// Writes the first row of a store; returns its version unless there is one already.
pub fn insert(store: &str, new: &[u8]) -> String {
    let (store, new, written) = (literal(store), bytes(new), micros("written_at"));
    format!(
        "INSERT INTO {TABLE} (store, seq, head, written_at) VALUES ({store}, 1, {new}, clock_timestamp()) \
         ON CONFLICT DO NOTHING RETURNING seq, {written}"
    )
}

/// Replaces the row of a store; returns its new version unless it isn't the expected one.
pub fn update(store: &str, expected: RowVersion, new: &[u8]) -> String {
    let (store, new, written) = (literal(store), bytes(new), micros("written_at"));
    format!(
        "UPDATE {TABLE} SET seq = seq + 1, head = {new}, written_at = clock_timestamp() \
         WHERE store = {store} AND seq = {} AND {written} = {} RETURNING seq, {written}",
        expected.seq, expected.written
    )
}

/// A text, whatever `standard_conforming_strings` says.
pub fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', r"\\").replace('\'', "''"))
}

fn bytes(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2 + 16);
    text.push_str("decode('");
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text.push_str("', 'hex')");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_ends_its_own_text() {
        assert_eq!(literal(r"s3://bucket/it's \' here"), r"E's3://bucket/it''s \\'' here'");
        assert_eq!(bytes(b"{\"'\n"), "decode('7b22270a', 'hex')");
    }

    #[test]
    fn the_server_gives_up_before_the_client_does() {
        let settings = settings(Duration::from_secs(10));
        assert!(
            settings.contains("statement_timeout = 5000") && settings.contains("lock_timeout = 3333"),
            "{settings}"
        );
    }
}
