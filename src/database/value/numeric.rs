//! `numeric` in the binary format of `numeric_send` (`src/backend/utils/adt/numeric.c`): digits in
//! base 10,000.

use super::decimal::Decimal;
use super::wire::Reader;
use super::{Rule, ValueError};

const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xc000;
const POSITIVE_INFINITY: u16 = 0xd000;
const NEGATIVE_INFINITY: u16 = 0xf000;

/// The header: how many base-10,000 digits follow, the power of 10,000 of the first, the sign, and
/// the digits after the point to show.
struct Header {
    group_count: usize,
    weight: i64,
    negative: bool,
    display_scale: usize,
}

/// Either the header or the name of a value that is no number.
fn header(reader: &mut Reader) -> Result<Result<Header, &'static str>, ValueError> {
    let group_count = usize::from(reader.u16()?);
    let weight = i64::from(reader.i16()?);
    let sign = reader.u16()?;
    let display_scale = usize::from(reader.u16()?);
    let negative = match sign {
        0 => false,
        NEGATIVE => true,
        NAN => return Ok(Err("NaN")),
        POSITIVE_INFINITY => return Ok(Err("Infinity")),
        NEGATIVE_INFINITY => return Ok(Err("-Infinity")),
        _ => return Err(reader.malformed()),
    };
    Ok(Ok(Header { group_count, weight, negative, display_scale }))
}

/// Puts the groups' decimal digits into `digits`, four each.
fn read_groups(reader: &mut Reader, digits: &mut [u8]) -> Result<(), ValueError> {
    for place in digits.chunks_exact_mut(4) {
        let group = reader.u16()?;
        let decimal = [group / 1000, group / 100 % 10, group / 10 % 10, group % 10];
        for (digit, value) in place.iter_mut().zip(decimal) {
            *digit = match u8::try_from(value) {
                Ok(value @ 0..=9) => b'0' + value,
                _ => return Err(reader.malformed()),
            };
        }
    }
    reader.end()
}

/// One cell.
pub(super) fn write(cell: &[u8], rule: Rule, out: &mut Vec<u8>) -> Result<(), ValueError> {
    // Sixteen groups hold 60 digits and more, which is nearly every numeric that there is.
    const STACK: usize = 1 + 16 * 4;
    let mut reader = Reader::new(cell, "numeric");
    let header = header(&mut reader)?.map_err(ValueError::NotFinite)?;
    let length = 1 + header.group_count * 4;
    let mut stack = [b'0'; STACK];
    let mut heap = Vec::new();
    let digits: &mut [u8] = if length <= STACK {
        &mut stack[..length]
    } else {
        heap.resize(length, b'0');
        &mut heap
    };
    read_groups(&mut reader, &mut digits[1..])?;
    Decimal { negative: header.negative, digits, point: (header.weight + 1) * 4 + 1 }.write(rule, out)
}

/// Appends the text of `numeric_out`, with the zeros of its scale, `NaN` and the infinities, as a
/// range shows its bounds.
pub(super) fn write_text(cell: &[u8], out: &mut Vec<u8>) -> Result<(), ValueError> {
    let mut reader = Reader::new(cell, "numeric");
    let header = match header(&mut reader)? {
        Ok(header) => header,
        Err(name) => {
            out.extend_from_slice(name.as_bytes());
            return Ok(());
        }
    };
    let mut digits = vec![b'0'; header.group_count * 4];
    read_groups(&mut reader, &mut digits)?;
    let point = (header.weight + 1) * 4;
    let digit = |place: i64| usize::try_from(place).ok().and_then(|place| digits.get(place)).copied().unwrap_or(b'0');
    if header.negative {
        out.push(b'-');
    }
    let first = (0..point).find(|&place| digit(place) != b'0').unwrap_or(point);
    if first >= point {
        out.push(b'0');
    }
    out.extend((first..point).map(digit));
    if header.display_scale > 0 {
        out.push(b'.');
        out.extend((point..).take(header.display_scale).map(digit));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(weight: i16, sign: u16, scale: u16, groups: &[u16]) -> Vec<u8> {
        let count = u16::try_from(groups.len()).unwrap();
        let mut cell = count.to_be_bytes().to_vec();
        cell.extend(weight.to_be_bytes());
        cell.extend(sign.to_be_bytes());
        cell.extend(scale.to_be_bytes());
        cell.extend(groups.iter().flat_map(|group| group.to_be_bytes()));
        cell
    }

    fn token(cell: &[u8], rule: Rule) -> Result<String, ValueError> {
        let mut out = Vec::new();
        write(cell, rule, &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    fn text(cell: &[u8]) -> String {
        let mut out = Vec::new();
        write_text(cell, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn known_encodings() {
        // 1.50, 1.00, -12345.6789, 0.00001234, 0.000, 1e20 and 10000, as psql's numeric_send shows
        // them.
        let one_and_a_half = cell(0, 0, 2, &[1, 5000]);
        assert_eq!(token(&one_and_a_half, Rule::Plain).unwrap(), "1.5");
        assert_eq!(text(&one_and_a_half), "1.50");
        assert_eq!(token(&cell(0, 0, 2, &[1]), Rule::Plain).unwrap(), "1");
        assert_eq!(text(&cell(0, 0, 2, &[1])), "1.00");
        let negative = cell(1, NEGATIVE, 4, &[1, 2345, 6789]);
        assert_eq!(token(&negative, Rule::Plain).unwrap(), "-12345.6789");
        assert_eq!(token(&negative, Rule::Decimals(1)).unwrap(), "-12345.7");
        assert_eq!(token(&negative, Rule::Text).unwrap(), "\"-12345.6789\"");
        assert_eq!(text(&negative), "-12345.6789");
        assert_eq!(token(&cell(-2, 0, 8, &[1234]), Rule::Plain).unwrap(), "0.00001234");
        assert_eq!(text(&cell(-2, 0, 8, &[1234])), "0.00001234");
        assert_eq!(token(&cell(0, 0, 3, &[]), Rule::Plain).unwrap(), "0");
        assert_eq!(text(&cell(0, 0, 3, &[])), "0.000");
        assert_eq!(token(&cell(1, 0, 0, &[1]), Rule::Plain).unwrap(), "10000");
        assert_eq!(text(&cell(1, 0, 0, &[1])), "10000");
        assert!(matches!(token(&cell(5, 0, 0, &[1]), Rule::Plain), Err(ValueError::BeyondSafeInteger(_))));
        let long = cell(20, 0, 1, &[[1234; 21].as_slice(), &[5000]].concat());
        assert_eq!(token(&long, Rule::Plain).unwrap(), format!("{}.5", "1234".repeat(21)));
    }

    #[test]
    fn what_is_no_number() {
        assert_eq!(token(&cell(0, NAN, 0, &[]), Rule::Plain), Err(ValueError::NotFinite("NaN")));
        assert_eq!(token(&cell(0, POSITIVE_INFINITY, 0, &[]), Rule::Text), Err(ValueError::NotFinite("Infinity")));
        assert_eq!(token(&cell(0, NEGATIVE_INFINITY, 0, &[]), Rule::Plain), Err(ValueError::NotFinite("-Infinity")));
        assert_eq!(token(&cell(0, 1, 0, &[]), Rule::Plain), Err(ValueError::Malformed("numeric")));
        assert_eq!(token(&cell(0, 0, 0, &[10_000]), Rule::Plain), Err(ValueError::Malformed("numeric")));
        assert_eq!(token(&cell(0, 0, 0, &[1])[..9], Rule::Plain), Err(ValueError::Malformed("numeric")));
    }
}
