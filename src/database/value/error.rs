//! Why a column or a cell has no JSON token, as fragments for "column `lat` of template …
//! `{error}`".

use super::type_oid;

/// A column whose type has no JSON token, or to which the rule of the front matter does not apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnsupportedType {
    type_oid: u32,
    reason: Reason,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reason {
    Type,
    /// The name of the front matter's setting.
    Rule(&'static str),
}

/// The first OID that PostgreSQL gives to an object that a user creates (`FirstNormalObjectId` in
/// `src/include/access/transam.h`).
const FIRST_USER_OID: u32 = 16_384;

impl UnsupportedType {
    pub(super) fn new(type_oid: u32) -> Self {
        Self { type_oid, reason: Reason::Type }
    }

    pub(super) fn rule(type_oid: u32, setting: &'static str) -> Self {
        Self { type_oid, reason: Reason::Rule(setting) }
    }

    /// What the author can write instead, for the result column of this name.
    pub fn hint(&self, column: &str) -> String {
        let column = quote_identifier(column);
        let name = type_oid::name(self.type_oid).unwrap_or("");
        match self.reason {
            Reason::Rule(setting) => {
                format!("take the column out of `{setting}`, or cast it to a type that it applies to")
            }
            Reason::Type if name == "money" => format!("cast it: {column}::numeric"),
            Reason::Type if name == "money[]" => format!("cast it: {column}::numeric[]"),
            Reason::Type if name == "record" => {
                format!("select its fields one by one, or write it as JSON: to_jsonb({column})")
            }
            Reason::Type if name == "record[]" => format!("write it as JSON: to_jsonb({column})"),
            Reason::Type if name == "void" => "select a column that has a value".to_owned(),
            Reason::Type if name.ends_with("[]") => format!("cast it: {column}::text[]"),
            Reason::Type => format!("cast it: {column}::text"),
        }
    }
}

impl std::fmt::Display for UnsupportedType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let oid = self.type_oid;
        let name = type_oid::name(oid);
        if let Reason::Rule(setting) = self.reason {
            return match name {
                Some(name) => write!(f, "has the type {name}, to which `{setting}` does not apply"),
                None => write!(f, "has the type with the OID {oid}, to which `{setting}` does not apply"),
            };
        }
        match name {
            Some("money" | "money[]") => write!(
                f,
                "has the type {} ({oid}), whose text depends on the server's locale",
                name.unwrap_or_default()
            ),
            Some(name) if name.starts_with("reg") => {
                write!(f, "has the type {name} ({oid}), which is an OID on the wire and a name only on its own server")
            }
            Some(name) => write!(f, "has the type {name} ({oid}), which has no JSON form of its own"),
            None if oid >= FIRST_USER_OID => {
                write!(f, "has a user-defined type (enum, composite or extension type); cast it to text")
            }
            None => write!(f, "has the type with the OID {oid}, which tintype does not know"),
        }
    }
}

impl std::error::Error for UnsupportedType {}

/// `column` as it must stand in SQL: as it is where PostgreSQL would read it back so, else in
/// double quotes.
fn quote_identifier(column: &str) -> String {
    let plain = !column.is_empty()
        && !column.starts_with(|c: char| c.is_ascii_digit())
        && column.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if plain { column.to_owned() } else { format!("\"{}\"", column.replace('"', "\"\"")) }
}

/// A cell that has no JSON token. The texts are fragments that follow the column's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// `NaN`, `Infinity` or `-Infinity` as a number.
    #[error("is {0}, which JSON cannot express")]
    NotFinite(&'static str),
    /// An integer that a double cannot hold exactly, with its (shortened) digits.
    #[error("is {0}, beyond ±9007199254740991")]
    BeyondSafeInteger(Box<str>),
    /// The same within a JSON value, where `text` does not reach.
    #[error("holds the integer {0}, beyond ±9007199254740991")]
    BeyondSafeIntegerInJson(Box<str>),
    /// Bytes that are not UTF-8, with the offset of the first such byte.
    #[error("is not valid UTF-8 at byte {0}")]
    Utf8(usize),
    /// `infinity` or `-infinity` as a date, timestamp or interval.
    #[error("is {0}, which is no point in time that JSON's readers know")]
    InfiniteTime(&'static str),
    /// A year (astronomical: 0 is 1 BC) that RFC 3339's four digits cannot express.
    #[error("lies in the year {0}, outside 0001–9999")]
    Year(i64),
    /// Neither of the values that `bool` turns into false and true.
    #[error("is {0}, which is neither 0 nor 1, so that `bool` cannot apply")]
    NotBoolean(Box<str>),
    /// Text under `decimals` that is no decimal number.
    #[error("is the text {0}, which is not a decimal number, so that `decimals` cannot apply")]
    NotDecimal(Box<str>),
    /// An SQLite value of a storage class to which the rule does not apply.
    #[error("is {class}, to which `{setting}` does not apply")]
    Rule {
        /// `a BLOB`, `a REAL`, …
        class: &'static str,
        /// The front matter's setting.
        setting: &'static str,
    },
    /// Text that should hold JSON and does not.
    #[error("is not valid JSON at byte {at}: {reason}")]
    Json {
        /// Offset of the byte that cannot stand there.
        at: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// JSON nested too deep for many readers, and for this writer's stack.
    #[error("is JSON nested deeper than 128 levels")]
    JsonDepth,
    /// A wire value that is not what its type's `send` function writes: a defect of the server, a
    /// proxy or tintype.
    #[error("is not a binary {0} as PostgreSQL sends it")]
    Malformed(&'static str),
}

impl ValueError {
    /// What the author can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::BeyondSafeInteger(_) => {
                "JavaScript would change it: list the column under `text`, so that it is a string"
            }
            Self::NotFinite(_) => "turn it into NULL: NULLIF(value, 'NaN'), or a CASE for the infinities",
            Self::BeyondSafeIntegerInJson(_) => "write it as a JSON string within the value",
            Self::InfiniteTime(_) => "turn it into NULL: NULLIF(value, 'infinity')",
            Self::Year(_) => "select it as text: to_char(value, 'YYYY-MM-DD BC')",
            Self::Utf8(_) => "repair the text, or select it as a BLOB or bytea, which is published as base64",
            Self::NotBoolean(_) => "compare it in the query: value <> 0",
            Self::NotDecimal(_) | Self::Rule { .. } => "cast the column in the query, or take it out of the setting",
            Self::Json { .. } | Self::JsonDepth => "only strict RFC 8259 JSON can be published as JSON",
            Self::Malformed(_) => "please report it, with the column's type and the server's version",
        }
    }

    /// `text` short enough for an error message.
    pub(super) fn excerpt(text: &str) -> Box<str> {
        const MAX_CHARACTERS: usize = 40;
        match text.char_indices().nth(MAX_CHARACTERS) {
            None => text.into(),
            Some((end, _)) => format!("{}…", &text[..end]).into(),
        }
    }
}
