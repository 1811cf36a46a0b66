//! Dates and times as RFC 3339 tokens. PostgreSQL counts from 2000-01-01, in days or microseconds
//! (`src/include/datatype/timestamp.h`), in the proleptic Gregorian calendar as RFC 3339 does.

mod interval;
mod iso_text;

pub(super) use interval::write_interval;
pub(super) use iso_text::{write_date_text, write_timestamp_text};

use super::ValueError;

const MICROSECONDS_PER_SECOND: i64 = 1_000_000;
const MICROSECONDS_PER_DAY: i64 = 86_400 * MICROSECONDS_PER_SECOND;

/// A day of the calendar. The year is astronomical: 0 is 1 BC.
struct Civil {
    year: i64,
    month: u8,
    day: u8,
}

impl Civil {
    /// Howard Hinnant's `civil_from_days` (<https://howardhinnant.github.io/date_algorithms.html>),
    /// from days since 2000-01-01.
    fn from_days(days: i64) -> Self {
        /// 0000-03-01, where the algorithm's 400-year eras begin, to 2000-01-01.
        const DAYS_TO_2000: i64 = 730_425;
        let days = days + DAYS_TO_2000;
        let era = days.div_euclid(146_097);
        let day_of_era = days.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        // Months count from March, so that the leap day ends the year.
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = small(day_of_year - (153 * month_from_march + 2) / 5 + 1);
        let month = small(if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 });
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        Self { year, month, day }
    }

    /// `2026-11-20` for RFC 3339, whose years have four digits and begin with 1.
    fn rfc3339(&self) -> Result<[u8; 10], ValueError> {
        if !(1..=9999).contains(&self.year) {
            return Err(ValueError::Year(self.year));
        }
        let [y1, y2] = two(small(self.year / 100));
        let [y3, y4] = two(small(self.year % 100));
        let [m1, m2] = two(self.month);
        let [d1, d2] = two(self.day);
        Ok([y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2])
    }
}

/// A number that its caller's arithmetic keeps within 0–255.
fn small(value: i64) -> u8 {
    debug_assert!((0..=255).contains(&value), "{value} is not small");
    u8::try_from(value).unwrap_or(u8::MAX)
}

/// Two decimal digits of a number below 100.
fn two(value: u8) -> [u8; 2] {
    [b'0' + value / 10, b'0' + value % 10]
}

/// A time of day with its fraction: at most `24:00:00` and `.123456`.
struct Clock {
    bytes: [u8; 15],
    length: usize,
}

impl Clock {
    /// From microseconds since midnight, 24:00:00 included.
    fn new(microseconds: i64) -> Self {
        let seconds = microseconds / MICROSECONDS_PER_SECOND;
        let mut fraction = microseconds % MICROSECONDS_PER_SECOND;
        let [h1, h2] = two(small(seconds / 3600));
        let [m1, m2] = two(small(seconds / 60 % 60));
        let [s1, s2] = two(small(seconds % 60));
        let mut bytes = [h1, h2, b':', m1, m2, b':', s1, s2, b'.', 0, 0, 0, 0, 0, 0];
        let mut length = 8;
        if fraction != 0 {
            for digit in bytes[9..].iter_mut().rev() {
                *digit = b'0' + small(fraction % 10);
                fraction /= 10;
            }
            length = bytes.iter().rposition(|&digit| digit != b'0').map_or(8, |last| last + 1);
        }
        Self { bytes, length }
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// The name of a date or timestamp at either end of its type's range.
fn infinity<T: PartialEq>(value: &T, minimum: &T, maximum: &T) -> Option<&'static str> {
    if value == maximum {
        Some("infinity")
    } else if value == minimum {
        Some("-infinity")
    } else {
        None
    }
}

/// `date`: days since 2000-01-01.
pub(super) fn write_date(days: i32, out: &mut Vec<u8>) -> Result<(), ValueError> {
    if let Some(name) = infinity(&days, &i32::MIN, &i32::MAX) {
        return Err(ValueError::InfiniteTime(name));
    }
    let date = Civil::from_days(i64::from(days)).rfc3339()?;
    super::string::write_plain(&date, out);
    Ok(())
}

/// `timestamp`, with the suffix `""`, and `timestamptz`, with `Z`: microseconds since 2000-01-01,
/// there in UTC.
#[inline]
pub(super) fn write_timestamp(microseconds: i64, suffix: &[u8], out: &mut Vec<u8>) -> Result<(), ValueError> {
    if let Some(name) = infinity(&microseconds, &i64::MIN, &i64::MAX) {
        return Err(ValueError::InfiniteTime(name));
    }
    let date = Civil::from_days(microseconds.div_euclid(MICROSECONDS_PER_DAY)).rfc3339()?;
    let clock = Clock::new(microseconds.rem_euclid(MICROSECONDS_PER_DAY));
    out.push(b'"');
    out.extend_from_slice(&date);
    out.push(b'T');
    out.extend_from_slice(clock.as_bytes());
    out.extend_from_slice(suffix);
    out.push(b'"');
    Ok(())
}

/// `time`: microseconds since midnight.
pub(super) fn write_time(microseconds: i64, out: &mut Vec<u8>) -> Result<(), ValueError> {
    if !(0..=MICROSECONDS_PER_DAY).contains(&microseconds) {
        return Err(ValueError::Malformed("time"));
    }
    super::string::write_plain(Clock::new(microseconds).as_bytes(), out);
    Ok(())
}

/// `timetz`: microseconds since midnight and seconds *west* of UTC. The offset is `+02:00`, with
/// seconds only where it has some; zero is `+00:00`, so that every value has the same form.
pub(super) fn write_time_with_zone(microseconds: i64, seconds_west: i32, out: &mut Vec<u8>) -> Result<(), ValueError> {
    let offset = i64::from(seconds_west).abs();
    if !(0..=MICROSECONDS_PER_DAY).contains(&microseconds) || offset >= 86_400 {
        return Err(ValueError::Malformed("timetz"));
    }
    out.push(b'"');
    out.extend_from_slice(Clock::new(microseconds).as_bytes());
    out.push(if seconds_west > 0 { b'-' } else { b'+' });
    out.extend_from_slice(&two(small(offset / 3600)));
    out.push(b':');
    out.extend_from_slice(&two(small(offset / 60 % 60)));
    if offset % 60 != 0 {
        out.push(b':');
        out.extend_from_slice(&two(small(offset % 60)));
    }
    out.push(b'"');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(write: impl FnOnce(&mut Vec<u8>) -> Result<(), ValueError>) -> Result<String, ValueError> {
        let mut out = Vec::new();
        write(&mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn dates() {
        for (days, expected) in [
            (0, "\"2000-01-01\""),
            (-1, "\"1999-12-31\""),
            (59, "\"2000-02-29\""),
            (60, "\"2000-03-01\""),
            (-730_119, "\"0001-01-01\""),
            (2_921_939, "\"9999-12-31\""),
        ] {
            assert_eq!(token(|out| write_date(days, out)).unwrap(), expected);
        }
        assert_eq!(token(|out| write_date(-730_120, out)), Err(ValueError::Year(0)));
        assert_eq!(token(|out| write_date(2_921_940, out)), Err(ValueError::Year(10_000)));
        assert_eq!(token(|out| write_date(i32::MAX, out)), Err(ValueError::InfiniteTime("infinity")));
    }

    #[test]
    fn every_day_of_the_calendar_follows_the_one_before() {
        let mut before = Civil::from_days(-730_120);
        for days in -730_119..=2_921_939 {
            let civil = Civil::from_days(days);
            let next_day = (civil.year, civil.month, civil.day) == (before.year, before.month, before.day + 1);
            let next_month = civil.day == 1 && (civil.year, civil.month) == (before.year, before.month + 1);
            let next_year = civil.day == 1 && civil.month == 1 && civil.year == before.year + 1 && before.month == 12;
            assert!(next_day || (next_month && before.day >= 28) || (next_year && before.day == 31), "{days}");
            before = civil;
        }
    }

    #[test]
    fn timestamps() {
        let noon = 12 * 3600 * MICROSECONDS_PER_SECOND;
        assert_eq!(token(|out| write_timestamp(noon, b"Z", out)).unwrap(), "\"2000-01-01T12:00:00Z\"");
        assert_eq!(token(|out| write_timestamp(noon + 500_000, b"", out)).unwrap(), "\"2000-01-01T12:00:00.5\"");
        assert_eq!(token(|out| write_timestamp(-1, b"Z", out)).unwrap(), "\"1999-12-31T23:59:59.999999Z\"");
        assert_eq!(token(|out| write_timestamp(10, b"Z", out)).unwrap(), "\"2000-01-01T00:00:00.00001Z\"");
        assert_eq!(
            token(|out| write_timestamp(i64::MIN, b"Z", out)).unwrap_err().to_string(),
            "is -infinity, which is no point in time that JSON's readers know"
        );
        assert!(matches!(token(|out| write_timestamp(i64::MAX - 1, b"", out)), Err(ValueError::Year(_))));
    }

    #[test]
    fn times() {
        assert_eq!(token(|out| write_time(0, out)).unwrap(), "\"00:00:00\"");
        assert_eq!(token(|out| write_time(MICROSECONDS_PER_DAY, out)).unwrap(), "\"24:00:00\"");
        assert!(token(|out| write_time(-1, out)).is_err());
        assert_eq!(token(|out| write_time_with_zone(1_500_000, -7200, out)).unwrap(), "\"00:00:01.5+02:00\"");
        assert_eq!(token(|out| write_time_with_zone(0, 12_600, out)).unwrap(), "\"00:00:00-03:30\"");
        assert_eq!(token(|out| write_time_with_zone(0, 0, out)).unwrap(), "\"00:00:00+00:00\"");
        assert_eq!(token(|out| write_time_with_zone(0, -1, out)).unwrap(), "\"00:00:00+00:00:01\"");
    }
}
