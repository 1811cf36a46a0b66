//! Key values: what a key column may hold, and what it may not.

use std::fmt;
use std::sync::Arc;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize};

use super::slug::slug;

/// Longest text of a key value in bytes; an S3 object key has at most 1,024.
pub const MAX_VALUE_LEN: usize = 1024;

/// One value of a key column, typed as it was queried.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(untagged)]
pub enum KeyValue {
    /// `true` or `false`.
    Bool(bool),
    /// A whole number within ±(2⁵³−1).
    Integer(i64),
    /// A text, and anything that JSON shows as one: a date, a uuid. It is shared by the keys that have it.
    Text(Arc<str>),
}

/// Why a value can't be a key value. Each text completes "the key column … ".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// SQL NULL.
    #[error("is NULL")]
    Null,
    /// A text without characters, or of white space only.
    #[error("is empty")]
    Empty,
    /// Over [`MAX_VALUE_LEN`].
    #[error("has {0} bytes, more than the {MAX_VALUE_LEN} of a key value")]
    TooLong(usize),
    /// A control character, which no page could show and no log could print.
    #[error("holds the control character U+{0:04X}")]
    Control(u32),
    /// A `..` between separators: somebody's attempt to leave the folder.
    #[error("holds the path `..`")]
    Traversal,
    /// A number with a fraction, an array, JSON, bytes.
    #[error("holds {0}, which is neither text, nor a whole number, nor a boolean")]
    Kind(String),
}

impl KeyError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            KeyError::Null | KeyError::Empty => {
                "leave such rows out in the SQL (WHERE … IS NOT NULL AND … <> ''), or name them: coalesce(…, 'unknown')"
            }
            KeyError::TooLong(_) => "use a shorter column as the key, an id or a code",
            KeyError::Control(_) | KeyError::Traversal => "clean the value in the SQL, or leave such rows out",
            KeyError::Kind(_) => {
                "cast the column in the SQL: column::text on PostgreSQL, CAST(column AS TEXT) on SQLite"
            }
        }
    }
}

impl KeyValue {
    /// Reads a value from its canonical JSON token.
    pub fn from_token(token: &[u8]) -> Result<KeyValue, KeyError> {
        let value: KeyValue = match serde_json::from_slice(token) {
            Ok(value) => value,
            Err(_) if token == b"null" => return Err(KeyError::Null),
            Err(_) => {
                let shown: String = String::from_utf8_lossy(token).chars().take(40).collect();
                return Err(KeyError::Kind(shown));
            }
        };
        value.check()?;
        Ok(value)
    }

    /// Says whether the value may be a key value.
    pub fn check(&self) -> Result<(), KeyError> {
        let KeyValue::Text(text) = self else { return Ok(()) };
        if text.trim().is_empty() {
            return Err(KeyError::Empty);
        }
        if text.len() > MAX_VALUE_LEN {
            return Err(KeyError::TooLong(text.len()));
        }
        if let Some(c) = text.chars().find(|c| c.is_control()) {
            return Err(KeyError::Control(c.into()));
        }
        if matches!(text.trim(), "." | "..")
            || (text.contains(['/', '\\']) && text.split(['/', '\\']).any(|part| part.trim() == ".."))
        {
            return Err(KeyError::Traversal);
        }
        Ok(())
    }

    /// What kind of value it is, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            KeyValue::Text(_) => "text",
            KeyValue::Integer(_) => "whole numbers",
            KeyValue::Bool(_) => "booleans",
        }
    }

    /// The values of other kinds that are shown with the same letters.
    pub fn lookalikes(&self) -> Vec<KeyValue> {
        match self {
            KeyValue::Text(text) => {
                let number = text.parse().ok().map(KeyValue::Integer);
                let boolean = text.parse().ok().map(KeyValue::Bool);
                number.into_iter().chain(boolean).filter(|other| other.to_string() == **text).collect()
            }
            other => vec![KeyValue::Text(other.to_string().into())],
        }
    }

    /// Returns the value's slug by the default rule.
    pub fn slug(&self) -> String {
        match self {
            KeyValue::Text(text) => slug(text),
            // The sign of a number is part of it, so it isn't trimmed away as a separator would be.
            KeyValue::Integer(number) => number.to_string(),
            KeyValue::Bool(value) => value.to_string(),
        }
    }
}

/// What serde derives for an untagged enum reads every value twice; there are three a document, and a release may have a
/// million documents.
impl<'de> Deserialize<'de> for KeyValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<KeyValue, D::Error> {
        struct OfKey;

        impl Visitor<'_> for OfKey {
            type Value = KeyValue;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a whole number or a boolean")
            }

            fn visit_bool<E>(self, value: bool) -> Result<KeyValue, E> {
                Ok(KeyValue::Bool(value))
            }

            fn visit_i64<E>(self, number: i64) -> Result<KeyValue, E> {
                Ok(KeyValue::Integer(number))
            }

            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<KeyValue, E> {
                i64::try_from(number).map(KeyValue::Integer).map_err(|_| E::custom("the number is too large"))
            }

            fn visit_str<E>(self, text: &str) -> Result<KeyValue, E> {
                Ok(KeyValue::Text(text.into()))
            }
        }

        deserializer.deserialize_any(OfKey)
    }
}

impl fmt::Display for KeyValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyValue::Bool(value) => value.fmt(f),
            KeyValue::Integer(number) => number.fmt(f),
            KeyValue::Text(text) => f.write_str(text),
        }
    }
}

/// One value for every key column of a template, in the order in which the path names them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Key(pub Vec<KeyValue>);

impl Key {
    /// Shows the key with its column names: `region = United States, topic = crispr`.
    pub fn describe(&self, columns: &[String]) -> String {
        if self.0.is_empty() {
            return "(the template's only document)".to_owned();
        }
        let pairs: Vec<String> =
            columns.iter().zip(&self.0).map(|(column, value)| format!("{column} = {value}")).collect();
        pairs.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens() {
        assert_eq!(KeyValue::from_token(br#""low""#), Ok(KeyValue::Text("low".into())));
        assert_eq!(KeyValue::from_token(b"2024"), Ok(KeyValue::Integer(2024)));
        assert_eq!(KeyValue::from_token(b"true"), Ok(KeyValue::Bool(true)));
        assert_eq!(KeyValue::from_token(b"null"), Err(KeyError::Null));
        assert!(matches!(KeyValue::from_token(b"1.5"), Err(KeyError::Kind(_))));
        assert!(matches!(KeyValue::from_token(b"[1]"), Err(KeyError::Kind(_))));
    }

    #[test]
    fn refused_texts() {
        let check = |text: &str| KeyValue::Text(text.into()).check();
        assert_eq!(check(""), Err(KeyError::Empty));
        assert_eq!(check("  "), Err(KeyError::Empty));
        assert_eq!(check("../"), Err(KeyError::Traversal));
        assert_eq!(check("a/../b"), Err(KeyError::Traversal));
        assert_eq!(check(".."), Err(KeyError::Traversal));
        assert_eq!(check("a\u{7}b"), Err(KeyError::Control(7)));
        assert_eq!(check(&"x".repeat(10_240)), Err(KeyError::TooLong(10_240)));
        assert_eq!(check("AC/DC"), Ok(()));
        assert_eq!(check("and so on..."), Ok(()));
    }

    #[test]
    fn slugs_of_numbers_keep_the_sign() {
        assert_eq!(KeyValue::Integer(-5).slug(), "-5");
        assert_eq!(KeyValue::Bool(true).slug(), "true");
    }
}
