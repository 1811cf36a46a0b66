//! Decimal numbers as digits and a point: rounding, normalising, printing. No value passes through
//! a binary float.

use super::number::MAX_SAFE_INTEGER;
use super::{Rule, ValueError};

/// A decimal number in ASCII digits. Its value is `0.DIGITS × 10^point`, with the sign.
///
/// The first digit is always an extra `0`, which takes the carry when `9.99` is rounded up; it
/// counts in `point`.
pub(super) struct Decimal<'a> {
    pub negative: bool,
    pub digits: &'a mut [u8],
    pub point: i64,
}

impl Decimal<'_> {
    /// Appends the number's token by the rule: plain decimal digits, without zeros at the end of
    /// the fraction, `0` for `-0`.
    pub fn write(self, rule: Rule, out: &mut Vec<u8>) -> Result<(), ValueError> {
        let Self { negative, digits, point } = self;
        let length = match rule {
            Rule::Decimals(places) => round(digits, point.saturating_add(i64::from(places))),
            _ => digits.len(),
        };
        let digits = digits[..length].trim_ascii_end_zeros();
        let leading = digits.iter().take_while(|&&digit| digit == b'0').count();
        let digits = &digits[leading..];
        let point = if digits.is_empty() { 1 } else { point - offset(leading) };
        let negative = negative && !digits.is_empty();
        match rule {
            Rule::Plain | Rule::Decimals(_) | Rule::Json => {
                if is_beyond_safe(digits, point) {
                    let mut text = Vec::new();
                    layout(negative, digits, point, &mut text);
                    return Err(ValueError::BeyondSafeInteger(ValueError::excerpt(&String::from_utf8_lossy(&text))));
                }
                layout(negative, digits, point, out);
            }
            Rule::Text => {
                out.push(b'"');
                layout(negative, digits, point, out);
                out.push(b'"');
            }
            Rule::Bool => match (negative, digits, point) {
                (false, b"", _) => out.extend_from_slice(b"false"),
                (false, b"1", 1) => out.extend_from_slice(b"true"),
                _ => {
                    let mut text = Vec::new();
                    layout(negative, digits, point, &mut text);
                    return Err(ValueError::NotBoolean(ValueError::excerpt(&String::from_utf8_lossy(&text))));
                }
            },
        }
        Ok(())
    }
}

trait TrimZeros {
    fn trim_ascii_end_zeros(&self) -> &[u8];
}

impl TrimZeros for [u8] {
    fn trim_ascii_end_zeros(&self) -> &[u8] {
        let zeros = self.iter().rev().take_while(|&&digit| digit == b'0').count();
        &self[..self.len() - zeros]
    }
}

/// A slice's length or index as a place of digits; no slice in memory is longer than `i64` counts.
fn offset(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

/// Rounds to the first `keep` digits, half away from zero, and returns how many are left.
fn round(digits: &mut [u8], keep: i64) -> usize {
    let Ok(keep) = usize::try_from(keep) else {
        return 0;
    };
    let Some(&next) = digits.get(keep) else {
        return digits.len();
    };
    if next >= b'5' {
        for digit in digits[..keep].iter_mut().rev() {
            if *digit == b'9' {
                *digit = b'0';
            } else {
                *digit += 1;
                break;
            }
        }
    }
    keep
}

/// Whether it is an integer beyond ±(2⁵³ − 1).
fn is_beyond_safe(digits: &[u8], point: i64) -> bool {
    /// 9007199254740991 has sixteen digits.
    const SAFE_DIGITS: i64 = 16;
    if offset(digits.len()) > point || point < SAFE_DIGITS {
        return false;
    }
    if point > SAFE_DIGITS {
        return true;
    }
    let value = digits.iter().fold(0_i64, |value, &digit| value * 10 + i64::from(digit - b'0'));
    let zeros = SAFE_DIGITS - offset(digits.len());
    (0..zeros).fold(value, |value, _| value * 10) > MAX_SAFE_INTEGER
}

/// Prints digits without leading and trailing zeros.
fn layout(negative: bool, digits: &[u8], point: i64, out: &mut Vec<u8>) {
    if digits.is_empty() {
        out.push(b'0');
        return;
    }
    if negative {
        out.push(b'-');
    }
    let zeros = |count: i64, out: &mut Vec<u8>| {
        let count = usize::try_from(count).unwrap_or(0);
        out.resize(out.len() + count, b'0');
    };
    if let Ok(whole @ 1..) = usize::try_from(point) {
        let (integer, fraction) = digits.split_at(whole.min(digits.len()));
        out.extend_from_slice(integer);
        if fraction.is_empty() {
            zeros(point - offset(integer.len()), out);
        } else {
            out.push(b'.');
            out.extend_from_slice(fraction);
        }
    } else {
        out.extend_from_slice(b"0.");
        zeros(-point, out);
        out.extend_from_slice(digits);
    }
}

/// Appends a number given as decimal text: an optional sign, digits, an optional fraction, an
/// optional exponent.
pub(super) fn write_text(text: &str, rule: Rule, out: &mut Vec<u8>) -> Result<(), ValueError> {
    const STACK: usize = 64;
    let not_decimal = || ValueError::NotDecimal(ValueError::excerpt(&format!("{text:?}")));
    // One place for the carry besides the text's own digits.
    let mut stack = [b'0'; STACK];
    let mut heap = Vec::new();
    let buffer: &mut [u8] = if text.len() < STACK {
        &mut stack
    } else {
        heap.resize(text.len() + 1, b'0');
        &mut heap
    };
    let negative = text.starts_with('-');
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text).as_bytes();
    let mut length = 1;
    let mut point = None;
    let mut exponent = 0;
    for (index, &byte) in unsigned.iter().enumerate() {
        match byte {
            b'0'..=b'9' => {
                buffer[length] = byte;
                length += 1;
            }
            b'.' if point.is_none() => point = Some(length),
            b'e' | b'E' => {
                let digits = std::str::from_utf8(&unsigned[index + 1..]).map_err(|_| not_decimal())?;
                exponent = digits.parse::<i64>().map_err(|_| not_decimal())?;
                // Beyond this no engine has a number, and the zeros alone would fill the memory.
                if exponent.abs() > 20_000 {
                    return Err(not_decimal());
                }
                break;
            }
            _ => return Err(not_decimal()),
        }
    }
    if length == 1 {
        return Err(not_decimal());
    }
    Decimal { negative, digits: &mut buffer[..length], point: offset(point.unwrap_or(length)) + exponent }
        .write(rule, out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn token(text: &str, rule: Rule) -> Result<String, ValueError> {
        let mut out = Vec::new();
        write_text(text, rule, &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn plain() {
        for (text, expected) in [
            ("1.50", "1.5"),
            ("1.00", "1"),
            ("-0.00", "0"),
            ("0", "0"),
            ("100", "100"),
            ("0.001", "0.001"),
            ("-12.0340", "-12.034"),
            ("0012.5", "12.5"),
            ("12345678901234567890.5", "12345678901234567890.5"),
            ("9007199254740991", "9007199254740991"),
            ("-9007199254740991.00", "-9007199254740991"),
            ("1.5e3", "1500"),
            ("1.5e-7", "0.00000015"),
            (".5", "0.5"),
        ] {
            assert_eq!(token(text, Rule::Plain).unwrap(), expected, "{text}");
        }
        for text in ["", "-", ".", "1.2.3", "abc", "1e", "0x10", "1 ", "NaN", "1e99999999999"] {
            assert!(matches!(token(text, Rule::Plain), Err(ValueError::NotDecimal(_))), "{text}");
        }
    }

    #[test]
    fn half_away_from_zero() {
        for (text, places, expected) in [
            ("0.5", 0, "1"),
            ("-0.5", 0, "-1"),
            ("0.4999", 0, "0"),
            ("-0.4", 0, "0"),
            ("2.5", 0, "3"),
            ("1.005", 2, "1.01"),
            ("9.995", 2, "10"),
            ("99.5", 0, "100"),
            ("0.0004", 3, "0"),
            ("0.0005", 3, "0.001"),
            ("0.05", 0, "0"),
            ("1.5", 10, "1.5"),
            ("12", 4_000_000_000, "12"),
            ("1.5e-7", 7, "0.0000002"),
            ("9007199254740990.5", 0, "9007199254740991"),
        ] {
            assert_eq!(token(text, Rule::Decimals(places)).unwrap(), expected, "{text} to {places}");
        }
    }

    #[test]
    fn integers_beyond_a_double() {
        assert_eq!(
            token("9007199254740993", Rule::Plain).unwrap_err().to_string(),
            "is 9007199254740993, beyond ±9007199254740991"
        );
        assert!(token("9007199254740991.5", Rule::Decimals(0)).is_err());
        assert!(token("9007199254740992.0", Rule::Plain).is_err());
        assert!(token("10000000000000000", Rule::Plain).is_err());
        assert_eq!(token("9007199254740993.0", Rule::Text).unwrap(), "\"9007199254740993\"");
        assert!(token(&"9".repeat(1000), Rule::Plain).unwrap_err().to_string().len() < 200);
    }

    #[test]
    fn boolean() {
        assert_eq!(token("0.00", Rule::Bool).unwrap(), "false");
        assert_eq!(token("1.0", Rule::Bool).unwrap(), "true");
        for text in ["-1", "2", "0.1", "10", "1.1"] {
            assert!(token(text, Rule::Bool).is_err(), "{text}");
        }
    }

    /// Rounds `mantissa × 10^-scale` by integer arithmetic alone.
    fn oracle(mantissa: i128, scale: u32, places: u32) -> String {
        let (mut rounded, mut scale) = (mantissa.abs(), scale);
        if places < scale {
            let unit = 10_i128.pow(scale - places);
            rounded = (rounded + unit / 2) / unit;
            scale = places;
        }
        let unit = 10_i128.pow(scale);
        let fraction = format!("{:0width$}", rounded % unit, width = scale as usize);
        let fraction = if scale == 0 { "" } else { fraction.trim_end_matches('0') };
        let sign = if mantissa < 0 && rounded != 0 { "-" } else { "" };
        let point = if fraction.is_empty() { "" } else { "." };
        format!("{sign}{}{point}{fraction}", rounded / unit)
    }

    proptest! {
        #[test]
        fn rounding_equals_integer_arithmetic(
            mantissa in prop_oneof![-10_i128.pow(30)..10_i128.pow(30), -2000_i128..2000, Just(999_999_999), Just(-99_995)],
            scale in 0_u32..30,
            places in 0_u32..32,
        ) {
            let digits = format!("{:0width$}", mantissa.abs(), width = scale as usize + 1);
            let (whole, fraction) = digits.split_at(digits.len() - scale as usize);
            let sign = if mantissa < 0 { "-" } else { "" };
            let text = format!("{sign}{whole}.{fraction}0");
            let expected = oracle(mantissa, scale, places);
            let exponent_form = format!("{mantissa}e-{scale}");
            for text in [text, exponent_form] {
                if let Ok(token) = token(&text, Rule::Decimals(places)) {
                    prop_assert_eq!(&token, &expected);
                } else {
                    prop_assert!(!expected.contains('.'));
                    prop_assert!(expected.parse::<i128>().unwrap().abs() > i128::from(MAX_SAFE_INTEGER));
                }
            }
            // Rounding what is rounded changes nothing.
            if let Ok(token_once) = token(&expected, Rule::Decimals(places)) {
                prop_assert_eq!(token_once, expected);
            }
        }
    }
}
