//! One cell from the wire → its canonical JSON token.
//!
//! The same data must give the same bytes on every run, machine, engine and path, so this is the one place that decides how a value is
//! printed. It asks neither the server nor its settings (`DateStyle`, `extra_float_digits`, the time zone) but reads the binary format
//! and prints it itself. The rules:
//!
//! - **Numbers** as ECMAScript's `Number::toString` prints them: `1` and not `1.0`, `0` and not `-0`, `1e+21`. `numeric` keeps every
//!   digit but the zeros at the end of its fraction, and never has an exponent. Integers beyond ±(2⁵³ − 1) are an error, because most
//!   JSON parsers would silently change them; a *float* beyond is none, because it is already the double that a parser will read.
//! - **[`Rule::Decimals`]** rounds half away from zero on the decimal text (for a float: on the shortest one) and prints the result
//!   without an exponent, so that a `numeric` of PostgreSQL and a REAL of SQLite with the same decimal text give the same bytes.
//! - **Instants** as RFC 3339 in UTC; without a zone no offset; an interval as ISO 8601 as `intervalstyle = iso_8601` prints it.
//! - **Binary** as base64; **JSON** re-written with sorted keys ([`json`]); **arrays** as JSON arrays.
//! - Everything else as a string, with the text of the type's own output function, which `psql`, `format('%s', v)` and `to_jsonb` show.
//!   (`inet::text` alone differs from it: the cast adds `/32`.)
//!
//! What has no faithful token (NaN, infinity, the year 10000, broken UTF-8) is a [`ValueError`], never a guess.

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

/// What the front matter asks of a column beyond its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rule {
    /// By its type alone.
    #[default]
    Plain,
    /// A number rounded to so many digits after the point (`decimals`).
    Decimals(u32),
    /// A number as a JSON string of its decimal text (`text`), for readers whose numbers are too small for it.
    Text,
    /// 0 and 1 as false and true (`bool`), because SQLite has no type for them.
    Bool,
    /// Text that holds JSON as the JSON value that it holds.
    Json,
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
    /// For a PostgreSQL result column, from its type OID. The cells are in the binary format that the type's `send` function writes
    /// (extended protocol with result format 1, or a field of `COPY … (FORMAT binary)`).
    pub fn postgres(type_oid: u32, rule: Rule) -> Result<Self, UnsupportedType> {
        Ok(Self { engine: Engine::Postgres(postgres::Column::new(type_oid, rule)?) })
    }

    /// For an SQLite result column. SQLite types each value, not the column; the cells are those of [`sqlite`].
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

    /// Whether the column can be a key column: false for JSON, arrays, `bytea`, XML and types whose equality isn't that of their text
    /// (geometry, ranges, text search). An SQLite BLOB shows itself only in its cell.
    pub fn is_scalar(&self) -> bool {
        match &self.engine {
            Engine::Postgres(column) => column.is_scalar(),
            Engine::Sqlite(rule) => *rule != Rule::Json,
        }
    }
}
