//! Ranges and multiranges as the text of their output functions
//! (`src/backend/utils/adt/{rangetypes,multirangetypes}.c`): `[1,10)`.

use super::ValueError;
use super::json::write_string;
use super::numeric;
use super::time::{write_date_text, write_timestamp_text};
use super::wire::{Reader, exactly};

/// What the range is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bound {
    Int4,
    Int8,
    Numeric,
    Date,
    Timestamp,
    TimestampTz,
}

/// The flags of `src/include/utils/rangetypes.h`.
const EMPTY: u8 = 0x01;
const LOWER_INCLUSIVE: u8 = 0x02;
const UPPER_INCLUSIVE: u8 = 0x04;
const LOWER_INFINITE: u8 = 0x08;
const UPPER_INFINITE: u8 = 0x10;

/// Appends a range as a JSON string.
pub(super) fn write(bound: Bound, cell: &[u8], out: &mut Vec<u8>) -> Result<(), ValueError> {
    let mut text = Vec::new();
    push_range(bound, cell, &mut text)?;
    write_string(super::string::utf8(&text)?, out);
    Ok(())
}

/// Appends a multirange, `{[1,3),[5,7)}`, as a JSON string.
pub(super) fn write_multirange(bound: Bound, cell: &[u8], out: &mut Vec<u8>) -> Result<(), ValueError> {
    let mut reader = Reader::new(cell, "multirange");
    let mut text = b"{".to_vec();
    for index in 0..reader.count()? {
        if index > 0 {
            text.push(b',');
        }
        let range = reader.field()?.ok_or_else(|| reader.malformed())?;
        push_range(bound, range, &mut text)?;
    }
    reader.end()?;
    text.push(b'}');
    write_string(super::string::utf8(&text)?, out);
    Ok(())
}

fn push_range(bound: Bound, cell: &[u8], text: &mut Vec<u8>) -> Result<(), ValueError> {
    let mut reader = Reader::new(cell, "range");
    let flags = reader.u8()?;
    if flags & EMPTY != 0 {
        text.extend_from_slice(b"empty");
        return reader.end();
    }
    text.push(if flags & LOWER_INCLUSIVE != 0 { b'[' } else { b'(' });
    if flags & LOWER_INFINITE == 0 {
        let lower = reader.field()?.ok_or_else(|| reader.malformed())?;
        push_bound(bound, lower, text)?;
    }
    text.push(b',');
    if flags & UPPER_INFINITE == 0 {
        let upper = reader.field()?.ok_or_else(|| reader.malformed())?;
        push_bound(bound, upper, text)?;
    }
    text.push(if flags & UPPER_INCLUSIVE != 0 { b']' } else { b')' });
    reader.end()
}

/// A bound, in double quotes where it holds a blank; none of these types prints a quote, a bracket
/// or a comma.
fn push_bound(bound: Bound, cell: &[u8], text: &mut Vec<u8>) -> Result<(), ValueError> {
    let start = text.len();
    match bound {
        Bound::Int4 => {
            let value = i32::from_be_bytes(exactly(cell, "int4range")?);
            text.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
        }
        Bound::Int8 => {
            let value = i64::from_be_bytes(exactly(cell, "int8range")?);
            text.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
        }
        Bound::Numeric => numeric::write_text(cell, text)?,
        Bound::Date => write_date_text(i32::from_be_bytes(exactly(cell, "daterange")?), text),
        Bound::Timestamp => {
            write_timestamp_text(i64::from_be_bytes(exactly(cell, "tsrange")?), b"", text);
        }
        Bound::TimestampTz => write_timestamp_text(i64::from_be_bytes(exactly(cell, "tstzrange")?), b"+00", text),
    }
    if text[start..].contains(&b' ') {
        text.insert(start, b'"');
        text.push(b'"');
    }
    Ok(())
}
