//! Dates and timestamps as the bounds of ranges show them: PostgreSQL's own text under `DateStyle =
//! ISO` in UTC, where years before 1 and after 9999 and the infinities have a form.

use super::{Civil, Clock, MICROSECONDS_PER_DAY, infinity, two};

/// `2026-11-20`, `0044-03-15 BC`, `infinity`.
pub(in super::super) fn write_date_text(days: i32, out: &mut Vec<u8>) {
    if let Some(name) = infinity(&days, &i32::MIN, &i32::MAX) {
        out.extend_from_slice(name.as_bytes());
        return;
    }
    let civil = Civil::from_days(i64::from(days));
    write_civil(&civil, out);
    write_era(&civil, out);
}

/// `2026-11-20 02:10:00.5`, followed by `zone` (`+00` for `timestamptz`).
pub(in super::super) fn write_timestamp_text(microseconds: i64, zone: &[u8], out: &mut Vec<u8>) {
    if let Some(name) = infinity(&microseconds, &i64::MIN, &i64::MAX) {
        out.extend_from_slice(name.as_bytes());
        return;
    }
    let civil = Civil::from_days(microseconds.div_euclid(MICROSECONDS_PER_DAY));
    write_civil(&civil, out);
    out.push(b' ');
    out.extend_from_slice(Clock::new(microseconds.rem_euclid(MICROSECONDS_PER_DAY)).as_bytes());
    out.extend_from_slice(zone);
    write_era(&civil, out);
}

fn write_civil(civil: &Civil, out: &mut Vec<u8>) {
    // The year 0 is 1 BC.
    let year = if civil.year > 0 { civil.year } else { 1 - civil.year };
    out.extend_from_slice(format!("{year:04}-").as_bytes());
    out.extend_from_slice(&two(civil.month));
    out.push(b'-');
    out.extend_from_slice(&two(civil.day));
}

fn write_era(civil: &Civil, out: &mut Vec<u8>) {
    if civil.year <= 0 {
        out.extend_from_slice(b" BC");
    }
}
