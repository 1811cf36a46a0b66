//! One cell from the wire → its canonical JSON token.
//!
//! The same data must give the same bytes on every run, machine, engine and path, so this is the
//! one place that decides how a value is printed. It asks neither the server nor its settings
//! (`DateStyle`, `extra_float_digits`, the time zone) but reads the binary format and prints it
//! itself. The rules:
//!
//! - **Numbers** as ECMAScript's `Number::toString` prints them: `1` and not `1.0`, `0` and not
//!   `-0`, `1e+21`. `numeric` keeps every digit but the zeros at the end of its fraction, and never
//!   has an exponent. Integers beyond ±(2⁵³ − 1) are an error, because most JSON parsers would
//!   silently change them; a *float* beyond is none, because it is already the double that a parser
//!   will read.
//! - **[`Rule::Decimals`]** rounds half away from zero on the decimal text (for a float: on the
//!   shortest one) and prints a fraction without an exponent, so that a `numeric` of PostgreSQL and
//!   a REAL of SQLite with the same decimal text give the same bytes. (An integral float, which has
//!   nothing to round, keeps its own text.)
//! - **Instants** as RFC 3339 in UTC; without a zone no offset; an interval as ISO 8601 as
//!   `intervalstyle = iso_8601` prints it.
//! - **Binary** as base64; **JSON** re-written with sorted keys ([`json`]); **arrays** as JSON
//!   arrays.
//! - Everything else as a string, with the text of the type's own output function, which `psql`,
//!   `format('%s', v)` and `to_jsonb` show. (`inet::text` alone differs from it: the cast adds
//!   `/32`.)
//!
//! What has no faithful token (NaN, infinity, the year 10000, broken UTF-8) is a [`ValueError`],
//! never a guess.

mod array;
mod decimal;
mod error;
mod geometry;
pub mod json;
mod network;
mod number;
mod numeric;
#[cfg(test)]
mod oracle_test;
mod postgres;
mod range;
mod shortest;
pub mod sqlite;
mod string;
mod text_search;
mod time;
mod type_oid;
mod wire;

pub use error::{UnsupportedType, ValueError};

use crate::template::{ColumnRule, Template};

/// What the front matter asks of a column beyond its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rule {
    /// By its type alone.
    #[default]
    Plain,
    /// A number rounded to so many digits after the point (`decimals`).
    Decimals(u32),
    /// A number as a JSON string of its decimal text (`text`), for readers whose numbers are too
    /// small for it.
    Text,
    /// 0 and 1 as false and true (`bool`), because SQLite has no type for them.
    Bool,
    /// Text that holds JSON as the JSON value that it holds.
    Json,
}

impl Rule {
    /// The rule of a key column.
    pub fn of_key(template: &Template, column: &str) -> Rule {
        match template.rules.iter().find(|(name, _)| name == column) {
            Some((_, ColumnRule::Decimals(digits))) => Rule::Decimals(*digits),
            Some((_, ColumnRule::Text)) => Rule::Text,
            Some((_, ColumnRule::Bool)) => Rule::Bool,
            Some((_, ColumnRule::Json)) => Rule::Json,
            None => Rule::Plain,
        }
    }
}

/// Writes one column's cells as JSON tokens; made once a statement, used for every row.
#[derive(Debug, Clone)]
pub struct Encoder {
    engine: Engine,
}

#[derive(Debug, Clone)]
enum Engine {
    Postgres(postgres::Column),
    Sqlite(Rule),
}

impl Encoder {
    /// For a PostgreSQL result column, from its type OID. The cells are in the binary format that
    /// the type's `send` function writes (extended protocol with result format 1, or a field of
    /// `COPY … (FORMAT binary)`).
    pub fn postgres(type_oid: u32, rule: Rule) -> Result<Self, UnsupportedType> {
        Ok(Self { engine: Engine::Postgres(postgres::Column::new(type_oid, rule)?) })
    }

    /// For an SQLite result column. SQLite types each value, not the column; the cells are those of
    /// [`sqlite`].
    pub fn sqlite(rule: Rule) -> Self {
        Self { engine: Engine::Sqlite(rule) }
    }

    /// Appends the JSON token of one cell; `None` is SQL NULL → `null`.
    ///
    /// After an error `out` may hold a part of a token: cut it back to its old length.
    #[inline]
    pub fn write(&self, cell: Option<&[u8]>, out: &mut Vec<u8>) -> Result<(), ValueError> {
        let Some(cell) = cell else {
            out.extend_from_slice(b"null");
            return Ok(());
        };
        match &self.engine {
            Engine::Postgres(column) => column.write(cell, out),
            Engine::Sqlite(rule) => sqlite::write(cell, *rule, out),
        }
    }

    /// Whether the column can be a key column: false for JSON, arrays, `bytea`, XML and types whose
    /// equality isn't that of their text (geometry, ranges, text search). An SQLite BLOB shows
    /// itself only in its cell.
    pub fn is_scalar(&self) -> bool {
        match &self.engine {
            Engine::Postgres(column) => column.is_scalar(),
            Engine::Sqlite(rule) => *rule != Rule::Json,
        }
    }

    /// Whether this very cell can't be a key's although its column may: a BLOB in SQLite, which a text wouldn't equal.
    pub fn is_bytes(&self, cell: Option<&[u8]>) -> bool {
        matches!(self.engine, Engine::Sqlite(_)) && cell.is_some_and(sqlite::is_blob)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_scalars() {
        let scalar = |oid, rule| Encoder::postgres(oid, rule).unwrap().is_scalar();
        for oid in [16, 20, 21, 23, 25, 700, 1042, 1043, 1082, 1184, 1700, 2950, 869] {
            assert!(scalar(oid, Rule::Plain), "{oid}");
        }
        // json, jsonb, bytea, int8[], point, int4range
        for oid in [114, 3802, 17, 1016, 600, 3904] {
            assert!(!scalar(oid, Rule::Plain), "{oid}");
        }
        assert!(!scalar(25, Rule::Json));
        assert!(Encoder::sqlite(Rule::Bool).is_scalar());
        assert!(!Encoder::sqlite(Rule::Json).is_scalar());
    }

    #[test]
    fn rules_apply_to_the_types_they_are_for() {
        for (oid, rule, applies) in [
            (1184, Rule::Decimals(2), false),
            (701, Rule::Decimals(2), true),
            (1022, Rule::Decimals(2), true),
            (701, Rule::Bool, false),
            (23, Rule::Bool, true),
            (23, Rule::Json, false),
            (3802, Rule::Json, true),
            (3802, Rule::Text, false),
            (25, Rule::Text, true),
        ] {
            assert_eq!(Encoder::postgres(oid, rule).is_ok(), applies, "{oid} {rule:?}");
        }
        let error = Encoder::postgres(1184, Rule::Decimals(2)).unwrap_err();
        assert_eq!(error.to_string(), "has the type timestamptz, to which `decimals` does not apply");
        let error = Encoder::postgres(790, Rule::Plain).unwrap_err();
        assert_eq!(error.hint("Amount paid"), "cast it: \"Amount paid\"::numeric");
        let error = Encoder::postgres(16_385, Rule::Plain).unwrap_err();
        assert_eq!(error.to_string(), "has a user-defined type (enum, composite or extension type); cast it to text");
    }

    #[test]
    fn cells_of_a_wrong_length_are_errors_and_never_panics() {
        for oid in 1..7000 {
            let Ok(encoder) = Encoder::postgres(oid, Rule::Plain) else {
                continue;
            };
            for length in 0..40 {
                for byte in [0, 1, 2, 4, 0x7f, 0xff] {
                    // Whether it is an error depends on the type; that it returns is the point.
                    let _ = encoder.write(Some(&vec![byte; length]), &mut Vec::new());
                }
            }
        }
    }
}
