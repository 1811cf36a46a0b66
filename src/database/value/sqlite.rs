//! SQLite cells. A value carries its storage class with it (<https://sqlite.org/datatype3.html>),
//! so a cell is one tag byte, then:
//!
//! | tag | storage class | payload |
//! |---|---|---|
//! | 0 | INTEGER | 8 bytes, big-endian |
//! | 1 | REAL | 8 bytes, IEEE 754 binary64, big-endian |
//! | 2 | TEXT | its UTF-8 bytes |
//! | 3 | BLOB | its bytes |
//!
//! SQL NULL is no cell (`None`). The `push_…` functions make cells, the encoder reads them.

use super::{Rule, ValueError, number, string};

const INTEGER: u8 = 0;
const REAL: u8 = 1;
const TEXT: u8 = 2;
const BLOB: u8 = 3;

/// Appends an INTEGER cell.
pub fn push_integer(value: i64, cell: &mut Vec<u8>) {
    cell.push(INTEGER);
    cell.extend_from_slice(&value.to_be_bytes());
}

/// Appends a REAL cell. (SQLite has no NaN: it stores NULL instead.)
pub fn push_real(value: f64, cell: &mut Vec<u8>) {
    cell.push(REAL);
    cell.extend_from_slice(&value.to_be_bytes());
}

/// Appends a TEXT cell. SQLite doesn't check that text is UTF-8; the encoder does.
pub fn push_text(value: &[u8], cell: &mut Vec<u8>) {
    cell.push(TEXT);
    cell.extend_from_slice(value);
}

/// True for a cell that holds a BLOB.
pub fn is_blob(cell: &[u8]) -> bool {
    cell.first() == Some(&BLOB)
}

/// Appends a BLOB cell.
pub fn push_blob(value: &[u8], cell: &mut Vec<u8>) {
    cell.push(BLOB);
    cell.extend_from_slice(value);
}

/// Appends one cell's token.
#[inline]
pub(super) fn write(cell: &[u8], rule: Rule, out: &mut Vec<u8>) -> Result<(), ValueError> {
    let malformed = ValueError::Malformed("SQLite value");
    let Some((tag, payload)) = cell.split_first() else {
        return Err(malformed);
    };
    match *tag {
        INTEGER => {
            let payload = payload.try_into().map_err(|_| malformed)?;
            number::write_integer(i64::from_be_bytes(payload), rule, out)
        }
        REAL => {
            let payload = payload.try_into().map_err(|_| malformed)?;
            number::write_float(f64::from_be_bytes(payload), rule, out)
        }
        TEXT => string::write(payload, rule, out),
        BLOB => {
            let setting = match rule {
                Rule::Plain | Rule::Text => {
                    string::write_base64(payload, out);
                    return Ok(());
                }
                Rule::Decimals(_) => "decimals",
                Rule::Bool => "bool",
                Rule::Json => "json",
            };
            Err(ValueError::Rule { class: "a BLOB", setting })
        }
        _ => Err(malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Encoder;
    use super::*;

    fn token(rule: Rule, push: impl FnOnce(&mut Vec<u8>)) -> Result<String, ValueError> {
        let (mut cell, mut out) = (Vec::new(), Vec::new());
        push(&mut cell);
        Encoder::sqlite(rule).write(Some(&cell), &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn storage_classes_by_rule() {
        let integer = |value| move |cell: &mut Vec<u8>| push_integer(value, cell);
        let real = |value| move |cell: &mut Vec<u8>| push_real(value, cell);
        let text = |value: &'static [u8]| move |cell: &mut Vec<u8>| push_text(value, cell);
        let blob = |value: &'static [u8]| move |cell: &mut Vec<u8>| push_blob(value, cell);
        assert_eq!(token(Rule::Plain, integer(-5)).unwrap(), "-5");
        assert_eq!(token(Rule::Bool, integer(1)).unwrap(), "true");
        assert_eq!(token(Rule::Text, integer(i64::MAX)).unwrap(), "\"9223372036854775807\"");
        assert!(token(Rule::Plain, integer(i64::MAX)).is_err());
        assert_eq!(token(Rule::Plain, real(1.0)).unwrap(), "1");
        assert_eq!(token(Rule::Decimals(2), real(42.36011)).unwrap(), "42.36");
        assert_eq!(token(Rule::Plain, real(f64::INFINITY)), Err(ValueError::NotFinite("Infinity")));
        assert_eq!(token(Rule::Plain, text("苏州".as_bytes())).unwrap(), "\"苏州\"");
        assert_eq!(token(Rule::Json, text(b"[1, {\"a\": 2.50}]")).unwrap(), "[1,{\"a\":2.5}]");
        assert_eq!(token(Rule::Json, integer(7)).unwrap(), "7");
        assert_eq!(token(Rule::Plain, text(b"\xff")), Err(ValueError::Utf8(0)));
        assert_eq!(token(Rule::Plain, blob(b"\0\xff")).unwrap(), "\"AP8=\"");
        assert_eq!(
            token(Rule::Json, blob(b"{}")).unwrap_err().to_string(),
            "is a BLOB, to which `json` does not apply"
        );
        let mut out = Vec::new();
        Encoder::sqlite(Rule::Plain).write(None, &mut out).unwrap();
        assert_eq!(out, b"null");
        assert_eq!(Encoder::sqlite(Rule::Plain).write(Some(b""), &mut out), Err(ValueError::Malformed("SQLite value")));
    }
}
