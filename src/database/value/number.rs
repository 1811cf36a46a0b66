//! Integers and floats, printed as ECMAScript's `Number::toString` prints them (ECMA-262
//! §6.1.6.1.20).

use super::decimal;
use super::{Rule, ValueError};

/// 2⁵³ − 1, the largest integer below which a double holds every integer exactly
/// (`Number.MAX_SAFE_INTEGER`).
pub(super) const MAX_SAFE_INTEGER: i64 = (1 << 53) - 1;

/// An integer of 16 or 32 bits, signed or not, which a double always holds.
#[inline]
pub(super) fn write_small_integer<I: itoa::Integer + Into<i64>>(
    value: I,
    rule: Rule,
    out: &mut Vec<u8>,
) -> Result<(), ValueError> {
    if matches!(rule, Rule::Plain | Rule::Decimals(_)) {
        out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
        return Ok(());
    }
    write_integer(value.into(), rule, out)
}

/// An integer of 64 bits.
#[inline]
pub(super) fn write_integer(value: i64, rule: Rule, out: &mut Vec<u8>) -> Result<(), ValueError> {
    let mut buffer = itoa::Buffer::new();
    match rule {
        Rule::Plain | Rule::Decimals(_) | Rule::Json => {
            let digits = buffer.format(value);
            if value.unsigned_abs() > MAX_SAFE_INTEGER.unsigned_abs() {
                return Err(ValueError::BeyondSafeInteger(digits.into()));
            }
            out.extend_from_slice(digits.as_bytes());
        }
        Rule::Text => {
            out.push(b'"');
            out.extend_from_slice(buffer.format(value).as_bytes());
            out.push(b'"');
        }
        Rule::Bool => match value {
            0 => out.extend_from_slice(b"false"),
            1 => out.extend_from_slice(b"true"),
            _ => return Err(ValueError::NotBoolean(buffer.format(value).into())),
        },
    }
    Ok(())
}

/// An unsigned integer of 64 bits (`xid8`).
pub(super) fn write_unsigned(value: u64, rule: Rule, out: &mut Vec<u8>) -> Result<(), ValueError> {
    if let Ok(value) = i64::try_from(value) {
        return write_integer(value, rule, out);
    }
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(value);
    match rule {
        Rule::Text => {
            super::string::write_plain(digits.as_bytes(), out);
            Ok(())
        }
        Rule::Bool => Err(ValueError::NotBoolean(digits.into())),
        _ => Err(ValueError::BeyondSafeInteger(digits.into())),
    }
}

/// A float of 32 or 64 bits: its own shortest digits, so that the `float4` 0.1 is `0.1`.
///
/// An integral float beyond 2⁵³ is no error: its reader gets the very same double.
#[inline]
pub(super) fn write_float<F: ryu_js::Float + Into<f64>>(
    value: F,
    rule: Rule,
    out: &mut Vec<u8>,
) -> Result<(), ValueError> {
    let wide: f64 = value.into();
    if !wide.is_finite() {
        return Err(not_finite(wide));
    }
    let mut buffer = ryu_js::Buffer::new();
    let text = buffer.format_finite(value);
    match rule {
        Rule::Plain | Rule::Json => out.extend_from_slice(text.as_bytes()),
        Rule::Text => super::string::write_plain(text.as_bytes(), out),
        Rule::Decimals(_) => {
            // Without a fraction there is nothing to round, and an exponent as of 1e+21 stays. With
            // one, the value is below 2⁵³.
            if wide.fract() == 0.0 {
                out.extend_from_slice(text.as_bytes());
            } else {
                return decimal::write_text(text, rule, out);
            }
        }
        Rule::Bool => match text {
            "0" => out.extend_from_slice(b"false"),
            "1" => out.extend_from_slice(b"true"),
            _ => return Err(ValueError::NotBoolean(text.into())),
        },
    }
    Ok(())
}

/// A finite double that was written as decimal text with an exponent: an integer beyond 2⁵³ may
/// have lost digits and is an error.
pub(super) fn write_integral_checked(value: f64, out: &mut Vec<u8>) -> Result<(), ValueError> {
    const FIRST_UNSAFE: f64 = 9_007_199_254_740_992.0;
    if value.abs() >= FIRST_UNSAFE {
        return Err(ValueError::BeyondSafeInteger(ryu_js::Buffer::new().format_finite(value).into()));
    }
    write_float(value, Rule::Plain, out)
}

pub(super) fn not_finite(value: f64) -> ValueError {
    ValueError::NotFinite(if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn float(value: f64, rule: Rule) -> Result<String, ValueError> {
        let mut out = Vec::new();
        write_float(value, rule, &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    fn integer(value: i64, rule: Rule) -> Result<String, ValueError> {
        let mut out = Vec::new();
        write_integer(value, rule, &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn floats_as_ecmascript() {
        for (value, expected) in [
            (1.0, "1"),
            (-0.0, "0"),
            (0.1, "0.1"),
            (1e21, "1e+21"),
            (1e20, "100000000000000000000"),
            (1.5e-7, "1.5e-7"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (9_007_199_254_740_993.0, "9007199254740992"),
        ] {
            assert_eq!(float(value, Rule::Plain).unwrap(), expected);
        }
        let mut out = Vec::new();
        write_float(0.1_f32, Rule::Plain, &mut out).unwrap();
        assert_eq!(out, b"0.1");
        assert_eq!(float(f64::NAN, Rule::Text).unwrap_err().to_string(), "is NaN, which JSON cannot express");
        assert_eq!(float(f64::INFINITY, Rule::Plain), Err(ValueError::NotFinite("Infinity")));
        assert_eq!(float(f64::NEG_INFINITY, Rule::Plain), Err(ValueError::NotFinite("-Infinity")));
    }

    #[test]
    fn floats_by_rule() {
        // 1.005 is a little less than 1.005 in binary: the decimal text decides.
        assert_eq!(float(1.005, Rule::Decimals(2)).unwrap(), "1.01");
        assert_eq!(float(-1e-9, Rule::Decimals(3)).unwrap(), "0");
        assert_eq!(float(1.5e-7, Rule::Decimals(7)).unwrap(), "0.0000002");
        assert_eq!(float(1e21, Rule::Decimals(2)).unwrap(), "1e+21");
        assert_eq!(float(2.5, Rule::Decimals(0)).unwrap(), "3");
        assert_eq!(float(2.5, Rule::Text).unwrap(), "\"2.5\"");
        assert_eq!(float(1.0, Rule::Bool).unwrap(), "true");
    }

    #[test]
    fn integers_by_rule() {
        assert_eq!(integer(i64::MIN, Rule::Text).unwrap(), "\"-9223372036854775808\"");
        assert_eq!(integer(MAX_SAFE_INTEGER, Rule::Plain).unwrap(), "9007199254740991");
        assert_eq!(integer(-MAX_SAFE_INTEGER, Rule::Plain).unwrap(), "-9007199254740991");
        assert!(integer(MAX_SAFE_INTEGER + 1, Rule::Plain).is_err());
        assert!(integer(i64::MIN, Rule::Decimals(2)).is_err());
        assert_eq!(integer(0, Rule::Bool).unwrap(), "false");
        assert_eq!(integer(2, Rule::Bool), Err(ValueError::NotBoolean("2".into())));
    }

    proptest! {
        #[test]
        fn tokens_parse_back_to_the_same_float(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            let token = float(value, Rule::Plain).unwrap();
            let parsed: f64 = token.parse().unwrap();
            prop_assert_eq!(parsed.to_bits(), (value + 0.0).to_bits());
        }

        #[test]
        fn small_floats_parse_back_too(bits in any::<u32>()) {
            let value = f32::from_bits(bits);
            prop_assume!(value.is_finite());
            let mut out = Vec::new();
            write_float(value, Rule::Plain, &mut out).unwrap();
            let parsed: f32 = std::str::from_utf8(&out).unwrap().parse().unwrap();
            prop_assert_eq!(parsed.to_bits(), (value + 0.0).to_bits());
        }
    }
}
