//! JSON text: strings escaped as little as RFC 8259 allows, and values re-written in one canonical
//! form.

mod canonical;

pub use canonical::write_canonical;

/// Nested arrays and objects beyond this depth are refused (`ValueError::JsonDepth`).
pub const MAX_DEPTH: usize = 128;

/// Appends `text` as a JSON string. Escaped are `"`, `\` and the control characters below U+0020
/// (as `\b \f \n \r \t`, else `\u00xx` in lower-case hexadecimal digits); everything else stays
/// UTF-8, U+007F, U+2028 and U+2029 among it.
#[inline]
pub fn write_string(text: &str, out: &mut Vec<u8>) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    write_string_part(text, out);
    out.push(b'"');
}

/// [`write_string`] without the quotes, for a string that is written in parts.
#[inline]
pub(super) fn write_string_part(text: &str, out: &mut Vec<u8>) {
    let mut rest = text.as_bytes();
    loop {
        let run = plain_prefix(rest);
        out.extend_from_slice(&rest[..run]);
        let Some(&byte) = rest.get(run) else { return };
        write_escape(byte, out);
        rest = &rest[run + 1..];
    }
}

fn write_escape(byte: u8, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let short = match byte {
        b'"' | b'\\' => byte,
        0x08 => b'b',
        0x0c => b'f',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        _ => {
            let (high, low) = (usize::from(byte >> 4), usize::from(byte & 15));
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', HEX[high], HEX[low]]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

/// How many bytes at the start need no escape.
#[inline]
fn plain_prefix(bytes: &[u8]) -> usize {
    let mut index = 0;
    while let Some((chunk, _)) = bytes[index..].split_first_chunk::<8>() {
        if has_escape(u64::from_le_bytes(*chunk)) {
            break;
        }
        index += 8;
    }
    bytes[index..].iter().position(|&byte| must_escape(byte)).map_or(bytes.len(), |offset| index + offset)
}

pub(super) fn must_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// Whether one of the eight bytes must be escaped, eight at a time: `(x − 0x01…) & !x & 0x80…`
/// marks a zero byte (Hacker's Delight §6-1). A borrow can mark a byte too many beside a true one,
/// never one where there is none.
#[inline]
fn has_escape(word: u64) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let zero_byte = |x: u64| x.wrapping_sub(ONES) & !x;
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    let quote = zero_byte(word ^ (ONES * u64::from(b'"')));
    let back_slash = zero_byte(word ^ (ONES * u64::from(b'\\')));
    (control | quote | back_slash) & HIGH != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn string(text: &str) -> String {
        let mut out = Vec::new();
        write_string(text, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn escapes_are_minimal() {
        assert_eq!(string(""), r#""""#);
        assert_eq!(string("a\"b\\c/d"), r#""a\"b\\c/d""#);
        assert_eq!(string("\u{8}\u{c}\n\r\t\0\u{1f}"), r#""\b\f\n\r\t\u0000\u001f""#);
        assert_eq!(string("\u{7f}\u{2028}\u{2029}苏州é😀"), "\"\u{7f}\u{2028}\u{2029}苏州é😀\"");
    }

    #[test]
    fn every_byte_at_every_offset() {
        for byte in 0..128_u8 {
            for offset in 0..20 {
                let mut text = vec![b'x'; 20];
                text[offset] = byte;
                let text = String::from_utf8(text).unwrap();
                let read: String = serde_json::from_str(&string(&text)).unwrap();
                assert_eq!(read, text);
            }
        }
    }

    proptest! {
        #[test]
        fn agrees_with_serde_json(text in any::<String>()) {
            prop_assert_eq!(string(&text), serde_json::to_string(&text).unwrap());
        }
    }
}
