//! Text columns: UTF-8 checked, then by the rule a JSON string, a JSON value, a boolean or a
//! rounded decimal.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::json::{self, write_string};
use super::{Rule, ValueError, decimal};

pub(super) fn utf8(bytes: &[u8]) -> Result<&str, ValueError> {
    std::str::from_utf8(bytes).map_err(|error| ValueError::Utf8(error.valid_up_to()))
}

/// One text cell.
#[inline]
pub(super) fn write(cell: &[u8], rule: Rule, out: &mut Vec<u8>) -> Result<(), ValueError> {
    let text = utf8(cell)?;
    match rule {
        Rule::Plain | Rule::Text => {
            write_string(text, out);
            Ok(())
        }
        Rule::Json => json::write_canonical(text, out),
        Rule::Decimals(_) => decimal::write_text(text, rule, out),
        Rule::Bool => {
            let token: &[u8] = match text {
                "t" | "true" | "1" => b"true",
                "f" | "false" | "0" => b"false",
                _ => {
                    return Err(ValueError::NotBoolean(ValueError::excerpt(&format!("{text:?}"))));
                }
            };
            out.extend_from_slice(token);
            Ok(())
        }
    }
}

/// `bytea` and BLOB: base64 with the standard alphabet and padding (RFC 4648 §4).
pub(super) fn write_base64(cell: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let start = out.len();
    // An encoded length beyond `usize` cannot happen: the cell itself is in memory, and no address
    // space is filled to three quarters.
    let length = cell.len().div_ceil(3) * 4;
    out.resize(start + length, 0);
    let written = STANDARD.encode_slice(cell, &mut out[start..]).unwrap_or_default();
    debug_assert_eq!(written, length, "base64 with padding has a fixed length");
    out.push(b'"');
}

/// Bytes that are known to be ASCII without quotes, back slashes and control characters, as a JSON
/// string.
pub(super) fn write_plain(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(text);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn token(cell: &[u8], rule: Rule) -> Result<String, ValueError> {
        let mut out = Vec::new();
        write(cell, rule, &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn text_by_rule() {
        assert_eq!(token(b"a\"b", Rule::Plain).unwrap(), r#""a\"b""#);
        assert_eq!(token(b"t", Rule::Bool).unwrap(), "true");
        assert_eq!(token(b"f", Rule::Bool).unwrap(), "false");
        assert_eq!(token(b"1.2350", Rule::Decimals(2)).unwrap(), "1.24");
        assert_eq!(token(br#"{"b":1,"a":[1.0]}"#, Rule::Json).unwrap(), r#"{"a":[1],"b":1}"#);
        assert_eq!(
            token(b"yes", Rule::Bool).unwrap_err().to_string(),
            "is \"yes\", which is neither 0 nor 1, so that `bool` cannot apply"
        );
        assert_eq!(token(b"abc\xff", Rule::Plain).unwrap_err().to_string(), "is not valid UTF-8 at byte 3");
    }

    proptest! {
        #[test]
        fn base64_decodes_to_the_same_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut out = b"x".to_vec();
            write_base64(&bytes, &mut out);
            prop_assert_eq!(out[1], b'"');
            prop_assert_eq!(out[out.len() - 1], b'"');
            prop_assert_eq!(STANDARD.decode(&out[2..out.len() - 1]).unwrap(), bytes);
        }
    }
}
