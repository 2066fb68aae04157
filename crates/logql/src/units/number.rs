//! Floating-point numbers: Go's `strconv.ParseFloat` and `%v`.

use std::borrow::Cow;
use std::fmt::Write;

/// Text after which a number is written with an exponent, as `%v` does: less than 1e-4, or 1e21 and more.
const EXPONENT_MIN: i32 = -4;
const EXPONENT_MAX: i32 = 21;

/// As `strconv.ParseFloat(text, 64)`: decimal, hexadecimal with a `p` exponent, underscores between digits, `Inf`, `NaN`.
pub fn parse(text: &str) -> Result<f64, String> {
    let failed = |what: &str| Err(format!("strconv.ParseFloat: parsing {}: {what}", model::quote::quote(text)));
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if ["inf", "infinity"].iter().any(|w| unsigned.eq_ignore_ascii_case(w)) || text.eq_ignore_ascii_case("nan") {
        return text.parse().or_else(|_| failed("invalid syntax"));
    }
    let is_hex = unsigned.starts_with("0x") || unsigned.starts_with("0X");
    if unsigned.contains('_') && !are_underscores_between_digits(unsigned, is_hex) {
        return failed("invalid syntax");
    }
    let digits: Cow<'_, str> =
        if unsigned.contains('_') { unsigned.replace('_', "").into() } else { Cow::Borrowed(unsigned) };
    let magnitude = if is_hex {
        parse_hex(&digits[2..])
    } else if digits.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'))
        && !digits.starts_with(['+', '-'])
    {
        digits.parse::<f64>().ok()
    } else {
        None
    };
    match magnitude {
        None => failed("invalid syntax"),
        Some(v) if v.is_infinite() => failed("value out of range"),
        Some(v) => Ok(if text.starts_with('-') { -v } else { v }),
    }
}

/// Every underscore has a digit before and after it, or follows the base prefix.
fn are_underscores_between_digits(text: &str, is_hex: bool) -> bool {
    let bytes = text.as_bytes();
    let is_digit = |i: usize| bytes.get(i).is_some_and(|b| b.is_ascii_digit() || (is_hex && b.is_ascii_hexdigit()));
    (0..bytes.len())
        .filter(|i| bytes[*i] == b'_')
        .all(|i| is_digit(i + 1) && i > 0 && (is_digit(i - 1) || (is_hex && i == 2)))
}

/// `1F.8p-3` behind the prefix; the exponent is required. Digits beyond 64 bits of mantissa are cut.
fn parse_hex(text: &str) -> Option<f64> {
    let (mantissa, exponent) = text.split_once(['p', 'P'])?;
    let is_exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent).bytes().all(|b| b.is_ascii_digit());
    let mut exponent: i32 = if is_exponent { exponent.parse().ok()? } else { return None };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut value: u64 = 0;
    for (i, c) in whole.chars().chain(fraction.chars()).enumerate() {
        let digit = u64::from(c.to_digit(16)?);
        let is_fraction = i >= whole.len();
        if value >> 60 == 0 {
            value = value << 4 | digit;
            exponent = exponent.saturating_sub(if is_fraction { 4 } else { 0 });
        } else {
            exponent = exponent.saturating_add(if is_fraction { 0 } else { 4 });
        }
    }
    Some(value as f64 * f64::from(exponent).exp2())
}

/// As `fmt.Sprint(v)`: the shortest digits that read back as `v`.
pub fn format(v: f64) -> String {
    if !v.is_finite() {
        return if v.is_nan() {
            "NaN"
        } else if v > 0.0 {
            "+Inf"
        } else {
            "-Inf"
        }
        .to_string();
    }
    let scientific = format!("{v:e}");
    let (digits, exponent) = scientific.split_once('e').expect("{:e} writes an exponent");
    let exponent: i32 = exponent.parse().expect("{:e} writes a decimal exponent");
    if (EXPONENT_MIN..EXPONENT_MAX).contains(&exponent) {
        return format!("{v}");
    }
    let mut out = String::from(digits);
    let sign = if exponent < 0 { '-' } else { '+' };
    write!(out, "e{sign}{:02}", exponent.abs()).expect("a String takes any text");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_go_writes_them() {
        for (v, text) in [
            (0.0, "0"),
            (1.5, "1.5"),
            (-2.0, "-2"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1.25e300, "1.25e+300"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ] {
            assert_eq!(format(v), text);
        }
    }

    #[test]
    fn numbers_are_read_as_go_reads_them() {
        for (text, v) in [
            ("1e3", 1000.0),
            ("+5", 5.0),
            (".5", 0.5),
            ("5.", 5.0),
            ("-0", 0.0),
            ("1E-2", 0.01),
            ("1_000", 1000.0),
            ("0x1p4", 16.0),
            ("-0x1F.8P-1", -15.75),
            ("0x_1p0", 1.0),
        ] {
            assert_eq!(parse(text), Ok(v), "{text}");
        }
        assert_eq!(parse("-Inf"), Ok(f64::NEG_INFINITY));
        assert!(parse("NaN").is_ok_and(f64::is_nan));
        for text in ["", "0x10", "1__0", "_1", "1_", "0xp1", "0x1p", "1e", "abc", "1 ", "0b101", "--1", "+nan", "."] {
            let expected = format!("strconv.ParseFloat: parsing \"{text}\": invalid syntax");
            assert_eq!(parse(text), Err(expected), "{text}");
        }
        assert_eq!(parse("1e400"), Err("strconv.ParseFloat: parsing \"1e400\": value out of range".into()));
    }
}
