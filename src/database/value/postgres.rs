//! PostgreSQL cells: from a type OID to the writer of that type's binary format.

use super::geometry::{self, Shape};
use super::json::{self, write_string, write_string_part};
use super::range::{self, Bound};
use super::wire::{Reader, exactly};
use super::{Rule, UnsupportedType, ValueError, array, network, number, numeric, string, text_search, time, type_oid};

/// A result column.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    kind: Kind,
    /// `kind` is the type of the elements.
    is_array: bool,
    rule: Rule,
}

/// How a type is written; types with one binary format and one form share a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bool,
    Int2,
    Int4,
    Int8,
    /// `oid`, `xid`, `cid`.
    Uint4,
    Xid8,
    Float4,
    Float8,
    Numeric,
    /// Also `varchar`, `name`, `unknown`, `refcursor`.
    Text,
    BlankPadded,
    Char,
    Xml,
    Date,
    Time,
    TimeTz,
    Timestamp,
    TimestampTz,
    Interval,
    Uuid,
    Bytea,
    Json,
    Jsonb,
    JsonPath,
    Address,
    Mac,
    Mac8,
    Bits,
    Lsn,
    Tid,
    Int2Vector,
    OidVector,
    Snapshot,
    TsVector,
    TsQuery,
    Geometry(Shape),
    Range(Bound),
    Multirange(Bound),
}

impl Kind {
    fn from_oid(oid: u32) -> Option<Self> {
        Some(match oid {
            16 => Self::Bool,
            17 => Self::Bytea,
            18 => Self::Char,
            20 => Self::Int8,
            21 => Self::Int2,
            22 => Self::Int2Vector,
            23 => Self::Int4,
            19 | 25 | 705 | 1043 | 1790 => Self::Text,
            26 | 28 | 29 => Self::Uint4,
            27 => Self::Tid,
            30 => Self::OidVector,
            114 => Self::Json,
            142 => Self::Xml,
            600 => Self::Geometry(Shape::Point),
            601 => Self::Geometry(Shape::LineSegment),
            602 => Self::Geometry(Shape::Path),
            603 => Self::Geometry(Shape::Box),
            604 => Self::Geometry(Shape::Polygon),
            628 => Self::Geometry(Shape::Line),
            650 | 869 => Self::Address,
            700 => Self::Float4,
            701 => Self::Float8,
            718 => Self::Geometry(Shape::Circle),
            774 => Self::Mac8,
            829 => Self::Mac,
            1042 => Self::BlankPadded,
            1082 => Self::Date,
            1083 => Self::Time,
            1114 => Self::Timestamp,
            1184 => Self::TimestampTz,
            1186 => Self::Interval,
            1266 => Self::TimeTz,
            1560 | 1562 => Self::Bits,
            1700 => Self::Numeric,
            2950 => Self::Uuid,
            2970 | 5038 => Self::Snapshot,
            3220 => Self::Lsn,
            3614 => Self::TsVector,
            3615 => Self::TsQuery,
            3802 => Self::Jsonb,
            3904 => Self::Range(Bound::Int4),
            3906 => Self::Range(Bound::Numeric),
            3908 => Self::Range(Bound::Timestamp),
            3910 => Self::Range(Bound::TimestampTz),
            3912 => Self::Range(Bound::Date),
            3926 => Self::Range(Bound::Int8),
            4072 => Self::JsonPath,
            4451 => Self::Multirange(Bound::Int4),
            4532 => Self::Multirange(Bound::Numeric),
            4533 => Self::Multirange(Bound::Timestamp),
            4534 => Self::Multirange(Bound::TimestampTz),
            4535 => Self::Multirange(Bound::Date),
            4536 => Self::Multirange(Bound::Int8),
            5069 => Self::Xid8,
            _ => return None,
        })
    }

    fn is_number(self) -> bool {
        self.is_integer() || matches!(self, Self::Float4 | Self::Float8 | Self::Numeric)
    }

    fn is_integer(self) -> bool {
        matches!(self, Self::Int2 | Self::Int4 | Self::Int8 | Self::Uint4 | Self::Xid8)
    }

    fn is_text(self) -> bool {
        matches!(self, Self::Text | Self::BlankPadded)
    }

    fn is_json(self) -> bool {
        matches!(self, Self::Json | Self::Jsonb)
    }
}

impl Column {
    pub fn new(type_oid: u32, rule: Rule) -> Result<Self, UnsupportedType> {
        let element_oid = type_oid::element(type_oid);
        let kind = Kind::from_oid(element_oid.unwrap_or(type_oid)).ok_or(UnsupportedType::new(type_oid))?;
        let (applies, setting) = match rule {
            Rule::Plain => (true, ""),
            Rule::Decimals(_) => (kind.is_number() || kind.is_text(), "decimals"),
            // What is a string anyway stays one.
            Rule::Text => (!kind.is_json(), "text"),
            Rule::Bool => (kind.is_integer() || kind.is_text() || matches!(kind, Kind::Bool | Kind::Numeric), "bool"),
            Rule::Json => (kind.is_json() || kind.is_text(), "json"),
        };
        if !applies {
            return Err(UnsupportedType::rule(type_oid, setting));
        }
        Ok(Self { kind, is_array: element_oid.is_some(), rule })
    }

    pub fn is_scalar(&self) -> bool {
        let kind_is_scalar = !matches!(
            self.kind,
            Kind::Xml
                | Kind::Bytea
                | Kind::Json
                | Kind::Jsonb
                | Kind::JsonPath
                | Kind::Int2Vector
                | Kind::OidVector
                | Kind::Snapshot
                | Kind::TsVector
                | Kind::TsQuery
                | Kind::Geometry(_)
                | Kind::Range(_)
                | Kind::Multirange(_)
        );
        kind_is_scalar && !self.is_array && self.rule != Rule::Json
    }

    #[inline]
    pub fn write(&self, cell: &[u8], out: &mut Vec<u8>) -> Result<(), ValueError> {
        if self.is_array {
            return array::write(cell, out, |element, out| self.write_one(element, out));
        }
        self.write_one(cell, out)
    }

    /// The types that fill most tables, in the loop itself; the others out of line.
    #[inline]
    fn write_one(&self, cell: &[u8], out: &mut Vec<u8>) -> Result<(), ValueError> {
        let rule = self.rule;
        match self.kind {
            Kind::Int2 => number::write_small_integer(i16::from_be_bytes(exactly(cell, "int2")?), rule, out),
            Kind::Int4 => number::write_small_integer(i32::from_be_bytes(exactly(cell, "int4")?), rule, out),
            Kind::Int8 => number::write_integer(i64::from_be_bytes(exactly(cell, "int8")?), rule, out),
            Kind::Float4 => number::write_float(f32::from_be_bytes(exactly(cell, "float4")?), rule, out),
            Kind::Float8 => number::write_float(f64::from_be_bytes(exactly(cell, "float8")?), rule, out),
            Kind::Text => string::write(cell, rule, out),
            _ => self.write_rare(cell, out),
        }
    }

    fn write_rare(&self, cell: &[u8], out: &mut Vec<u8>) -> Result<(), ValueError> {
        let rule = self.rule;
        match self.kind {
            Kind::Bool => write_bool(exactly(cell, "bool")?, rule, out),
            Kind::Uint4 => {
                number::write_small_integer(u32::from_be_bytes(exactly(cell, "oid")?), rule, out)?;
            }
            Kind::Xid8 => {
                number::write_unsigned(u64::from_be_bytes(exactly(cell, "xid8")?), rule, out)?;
            }
            Kind::Numeric => numeric::write(cell, rule, out)?,
            Kind::BlankPadded => {
                let blanks = cell.iter().rev().take_while(|&&byte| byte == b' ').count();
                string::write(&cell[..cell.len() - blanks], rule, out)?;
            }
            Kind::Char => write_char(exactly(cell, "\"char\"")?, out),
            Kind::Date => time::write_date(i32::from_be_bytes(exactly(cell, "date")?), out)?,
            Kind::Time => time::write_time(i64::from_be_bytes(exactly(cell, "time")?), out)?,
            Kind::Timestamp => {
                time::write_timestamp(i64::from_be_bytes(exactly(cell, "timestamp")?), b"", out)?;
            }
            Kind::TimestampTz => {
                time::write_timestamp(i64::from_be_bytes(exactly(cell, "timestamptz")?), b"Z", out)?;
            }
            Kind::TimeTz => {
                let mut reader = Reader::new(cell, "timetz");
                time::write_time_with_zone(reader.i64()?, reader.i32()?, out)?;
                reader.end()?;
            }
            Kind::Interval => {
                let mut reader = Reader::new(cell, "interval");
                time::write_interval(reader.i64()?, reader.i32()?, reader.i32()?, out)?;
                reader.end()?;
            }
            Kind::Uuid => write_uuid(exactly(cell, "uuid")?, out),
            Kind::Bytea => string::write_base64(cell, out),
            Kind::Json => json::write_canonical(string::utf8(cell)?, out)?,
            Kind::Jsonb => {
                json::write_canonical(string::utf8(after_version(cell, "jsonb")?)?, out)?;
            }
            Kind::JsonPath => write_string(string::utf8(after_version(cell, "jsonpath")?)?, out),
            Kind::Address => network::write_address(cell, out)?,
            Kind::Mac => network::write_mac::<6>(exactly(cell, "macaddr")?, out),
            Kind::Mac8 => network::write_mac::<8>(exactly(cell, "macaddr8")?, out),
            Kind::Bits => write_bits(cell, out)?,
            Kind::Lsn => {
                let location = u64::from_be_bytes(exactly(cell, "pg_lsn")?);
                let text = format!("{:X}/{:X}", location >> 32, location & 0xffff_ffff);
                string::write_plain(text.as_bytes(), out);
            }
            Kind::Tid => {
                let mut reader = Reader::new(cell, "tid");
                let text = format!("({},{})", reader.u32()?, reader.u16()?);
                reader.end()?;
                string::write_plain(text.as_bytes(), out);
            }
            Kind::Int2Vector => array::write_vector(cell, out, |element, out| {
                number::write_small_integer(i16::from_be_bytes(exactly(element, "int2vector")?), Rule::Plain, out)
            })?,
            Kind::OidVector => array::write_vector(cell, out, |element, out| {
                number::write_small_integer(u32::from_be_bytes(exactly(element, "oidvector")?), Rule::Plain, out)
            })?,
            Kind::Snapshot => write_snapshot(cell, out)?,
            Kind::TsVector => text_search::write_vector(cell, out)?,
            Kind::TsQuery => text_search::write_query(cell, out)?,
            Kind::Geometry(shape) => geometry::write(shape, cell, out)?,
            Kind::Range(bound) => range::write(bound, cell, out)?,
            Kind::Multirange(bound) => range::write_multirange(bound, cell, out)?,
            Kind::Xml => write_string(string::utf8(cell)?, out),
            // The hot kinds, which `write_one` has already taken.
            Kind::Int2 | Kind::Int4 | Kind::Int8 | Kind::Float4 | Kind::Float8 | Kind::Text => {
                return self.write_one(cell, out);
            }
        }
        Ok(())
    }
}

fn write_bool([value]: [u8; 1], rule: Rule, out: &mut Vec<u8>) {
    let token = if value != 0 { "true" } else { "false" };
    match rule {
        Rule::Text => string::write_plain(token.as_bytes(), out),
        _ => out.extend_from_slice(token.as_bytes()),
    }
}

/// `"char"` is a byte: zero is the empty string, and one beyond ASCII is `\ooo` in octal digits as
/// `charout` prints it since PostgreSQL 16 (before, it printed the byte itself, which is no UTF-8).
fn write_char([byte]: [u8; 1], out: &mut Vec<u8>) {
    out.push(b'"');
    match byte {
        0 => {}
        1..=0x7f => write_string_part(char::from(byte).encode_utf8(&mut [0; 4]), out),
        _ => write_string_part(&format!("\\{byte:03o}"), out),
    }
    out.push(b'"');
}

fn write_uuid(bytes: [u8; 16], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut text = [b'-'; 36];
    let mut at = 0;
    for (index, byte) in bytes.into_iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            at += 1;
        }
        text[at] = HEX[usize::from(byte >> 4)];
        text[at + 1] = HEX[usize::from(byte & 15)];
        at += 2;
    }
    string::write_plain(&text, out);
}

/// `jsonb` and `jsonpath` are text after a version byte.
fn after_version<'a>(cell: &'a [u8], type_name: &'static str) -> Result<&'a [u8], ValueError> {
    match cell {
        [1, text @ ..] => Ok(text),
        _ => Err(ValueError::Malformed(type_name)),
    }
}

/// `bit` and `varbit`: the number of bits, then the bits from the highest of each byte down
/// (`varbit_send`).
fn write_bits(cell: &[u8], out: &mut Vec<u8>) -> Result<(), ValueError> {
    let mut reader = Reader::new(cell, "bit");
    let bit_count = reader.count()?;
    let bytes = reader.bytes(bit_count.div_ceil(8))?;
    reader.end()?;
    out.push(b'"');
    out.extend((0..bit_count).map(|index| b'0' + (bytes[index / 8] >> (7 - index % 8) & 1)));
    out.push(b'"');
    Ok(())
}

/// `pg_snapshot`: `xmin:xmax:xip,xip` (`src/backend/utils/adt/xid8funcs.c`).
fn write_snapshot(cell: &[u8], out: &mut Vec<u8>) -> Result<(), ValueError> {
    let mut reader = Reader::new(cell, "pg_snapshot");
    let running_count = reader.count()?;
    let mut text = format!("{}:{}:", reader.u64()?, reader.u64()?);
    for index in 0..running_count {
        if index > 0 {
            text.push(',');
        }
        text.push_str(itoa::Buffer::new().format(reader.u64()?));
    }
    reader.end()?;
    string::write_plain(text.as_bytes(), out);
    Ok(())
}
