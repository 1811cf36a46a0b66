//! `interval` as ISO 8601 §4.4.3.2 durations, as PostgreSQL prints them under `intervalstyle =
//! iso_8601` (`EncodeInterval` in `src/backend/utils/adt/datetime.c`): each part with its own sign.

use super::super::ValueError;
use super::MICROSECONDS_PER_SECOND;

/// From microseconds, days and months, which PostgreSQL never converts into each other.
pub(in super::super) fn write_interval(
    microseconds: i64,
    days: i32,
    months: i32,
    out: &mut Vec<u8>,
) -> Result<(), ValueError> {
    // PostgreSQL 17 and later write infinity as the ends of all three ranges.
    match (microseconds, days, months) {
        (i64::MAX, i32::MAX, i32::MAX) => return Err(ValueError::InfiniteTime("infinity")),
        (i64::MIN, i32::MIN, i32::MIN) => return Err(ValueError::InfiniteTime("-infinity")),
        (0, 0, 0) => {
            out.extend_from_slice(b"\"PT0S\"");
            return Ok(());
        }
        _ => {}
    }
    out.extend_from_slice(b"\"P");
    part(i64::from(months / 12), b'Y', out);
    part(i64::from(months % 12), b'M', out);
    part(i64::from(days), b'D', out);
    if microseconds != 0 {
        out.push(b'T');
        let seconds = microseconds / MICROSECONDS_PER_SECOND;
        part(seconds / 3600, b'H', out);
        part(seconds / 60 % 60, b'M', out);
        let rest = microseconds % (60 * MICROSECONDS_PER_SECOND);
        if rest != 0 {
            write_seconds(rest, out);
        }
    }
    out.push(b'"');
    Ok(())
}

fn part(value: i64, unit: u8, out: &mut Vec<u8>) {
    if value != 0 {
        out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
        out.push(unit);
    }
}

fn write_seconds(microseconds: i64, out: &mut Vec<u8>) {
    if microseconds < 0 {
        out.push(b'-');
    }
    let microseconds = microseconds.unsigned_abs();
    let unit = MICROSECONDS_PER_SECOND.unsigned_abs();
    out.extend_from_slice(itoa::Buffer::new().format(microseconds / unit).as_bytes());
    let fraction = microseconds % unit;
    if fraction != 0 {
        // The extra one in front keeps the leading zeros of the fraction.
        let mut buffer = itoa::Buffer::new();
        let digits = buffer.format(unit + fraction)[1..].trim_end_matches('0');
        out.push(b'.');
        out.extend_from_slice(digits.as_bytes());
    }
    out.push(b'S');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_intervals() {
        let second = MICROSECONDS_PER_SECOND;
        for (microseconds, days, months, expected) in [
            (0, 0, 0, "PT0S"),
            ((4 * 3600 + 5 * 60 + 6) * second + 700_000, 3, 14, "P1Y2M3DT4H5M6.7S"),
            (-500_000, 0, 0, "PT-0.5S"),
            (-3_661 * second, 1, -13, "P-1Y-1M1DT-1H-1M-1S"),
            (1, 0, 0, "PT0.000001S"),
            (60 * second, 0, 0, "PT1M"),
            (i64::MAX, i32::MAX, 0, "P2147483647DT2562047788H54.775807S"),
        ] {
            let mut out = Vec::new();
            write_interval(microseconds, days, months, &mut out).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), format!("\"{expected}\""));
        }
        let infinite = write_interval(i64::MIN, i32::MIN, i32::MIN, &mut Vec::new());
        assert_eq!(infinite, Err(ValueError::InfiniteTime("-infinity")));
    }
}
