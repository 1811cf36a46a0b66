//! `float8` as PostgreSQL's own text, which geometric types are made of (`src/common/d2s.c`).
//!
//! It differs from ECMAScript's in three ways: an exponent of at least two digits stands below 1e-4
//! and from 1e15 on, `-0` keeps its sign, and a decimal that lies exactly on the border to the next
//! float isn't used (`acceptBounds = false`): 1e23 is `9.999999999999999e+22`.

/// Appends the text of `float8out` under `extra_float_digits = 1`, the default.
pub(super) fn write_float8_text(value: f64, out: &mut Vec<u8>) {
    if value.is_nan() {
        out.extend_from_slice(b"NaN");
        return;
    }
    if value.is_sign_negative() {
        out.push(b'-');
    }
    let value = value.abs();
    if value.is_infinite() {
        out.extend_from_slice(b"Infinity");
        return;
    }
    if value == 0.0 {
        out.push(b'0');
        return;
    }
    let (digits, exponent) = digits(value);
    let digits = digits.as_bytes();
    if !(-4..15).contains(&exponent) {
        out.push(digits[0]);
        if digits.len() > 1 {
            out.push(b'.');
            out.extend_from_slice(&digits[1..]);
        }
        let sign = if exponent < 0 { '-' } else { '+' };
        out.extend_from_slice(format!("e{sign}{:02}", exponent.abs()).as_bytes());
    } else if let Ok(exponent) = usize::try_from(exponent) {
        let (whole, fraction) = digits.split_at(digits.len().min(exponent + 1));
        out.extend_from_slice(whole);
        out.resize(out.len() + exponent + 1 - whole.len(), b'0');
        if !fraction.is_empty() {
            out.push(b'.');
            out.extend_from_slice(fraction);
        }
    } else {
        out.extend_from_slice(b"0.");
        for _ in exponent..-1 {
            out.push(b'0');
        }
        out.extend_from_slice(digits);
    }
}

/// The shortest digits that lie within the float's interval, its borders excluded, and the decimal
/// exponent of the first.
fn digits(value: f64) -> (String, i32) {
    let shortest = split(&format!("{value:e}"));
    let mut precision = shortest.0.len() - 1;
    let mut candidate = split(&format!("{value:.precision$e}"));
    // The nearest decimal of the shortest length is the one to take, and of two equally near ones
    // the even one. It can lie outside below a power of two, where the interval is half as wide as
    // above.
    if !is_inside(&candidate, value) {
        candidate = shortest;
    }
    // What lies on the border needs more digits.
    while !is_inside(&candidate, value) && precision < 17 {
        precision += 1;
        candidate = split(&format!("{value:.precision$e}"));
    }
    let (digits, exponent) = candidate;
    (digits.trim_end_matches('0').to_owned(), exponent)
}

fn split(scientific: &str) -> (String, i32) {
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    (mantissa.replace('.', ""), exponent.parse().unwrap_or(0))
}

/// Whether a decimal a little smaller and one a little larger are still read as the same float.
fn is_inside((digits, exponent): &(String, i32), value: f64) -> bool {
    /// More digits than any decimal of 17 digits needs to come off the border of a float.
    const FILL: usize = 40;
    let first = exponent + 1;
    let above = format!("0.{digits}{}1e{first}", "0".repeat(FILL));
    let below: String = decrement(digits) + &"9".repeat(FILL);
    let below = format!("0.{below}e{first}");
    above.parse() == Ok(value) && below.parse() == Ok(value)
}

/// The digits of the integer one below, which is above zero.
fn decrement(digits: &str) -> String {
    let kept = digits.trim_end_matches('0');
    let (head, last) = kept.split_at(kept.len().saturating_sub(1));
    let last = last.bytes().next().map_or('0', |digit| char::from(digit.max(b'1') - 1));
    format!("{head}{last}{}", "9".repeat(digits.len() - kept.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_texts() {
        for (value, expected) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-1.5, "-1.5"),
            (100.0, "100"),
            (123_456_789_012_345.0, "123456789012345"),
            (1e15, "1e+15"),
            (1.25e15, "1.25e+15"),
            (0.0001, "0.0001"),
            (0.001_25, "0.00125"),
            (0.000_01, "1e-05"),
            (1e23, "9.999999999999999e+22"),
            (5e-324, "5e-324"),
            (2_f64.powi(-25), "2.9802322387695312e-08"),
            (2_f64.powi(-1017), "7.120236347223045e-307"),
            (9_007_199_254_740_992.0, "9.007199254740992e+15"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            let mut out = Vec::new();
            write_float8_text(value, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
