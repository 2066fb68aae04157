//! Numbers, durations and byte sizes inside label values, read as Go reads them, with Go's error texts.
//! It must not know labels.

use model::quote::quote;
use std::borrow::Cow;

/// Reads a float as Go's `strconv.ParseFloat` does: decimal, hexadecimal with exponent, `_` between digits, infinities, NaN.
pub fn float(text: &str) -> Result<f64, String> {
    let fail = |what: &str| Err(format!("strconv.ParseFloat: parsing {}: {what}", quote(text)));
    match parse_float(text) {
        Some(v) if v.is_infinite() && !is_special(text) => fail("value out of range"),
        Some(v) => Ok(v),
        None => fail("invalid syntax"),
    }
}

fn unsigned(text: &str) -> &str {
    text.strip_prefix(['+', '-']).unwrap_or(text)
}

fn is_special(text: &str) -> bool {
    let body = unsigned(text);
    ["inf", "infinity"].iter().any(|s| body.eq_ignore_ascii_case(s)) || text.eq_ignore_ascii_case("nan")
}

fn parse_float(text: &str) -> Option<f64> {
    if is_special(text) {
        return text.parse().ok();
    }
    let body = unsigned(text);
    let plain: Cow<'_, str> = if body.contains('_') {
        if !underscores_separate_digits(body) {
            return None;
        }
        body.replace('_', "").into()
    } else {
        body.into()
    };
    let magnitude = match plain.get(..2) {
        Some("0x" | "0X") => hex_float(&plain[2..])?,
        _ if plain.starts_with(|c: char| c.is_ascii_digit() || c == '.')
            && plain.bytes().any(|b| b.is_ascii_digit())
            && plain.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-')) =>
        {
            plain.parse().ok()?
        }
        _ => return None,
    };
    Some(if text.starts_with('-') { -magnitude } else { magnitude })
}

/// Go's rule: an underscore stands between digits, or between a base prefix and a digit.
fn underscores_separate_digits(body: &str) -> bool {
    let hex = matches!(body.get(..2), Some("0x" | "0X"));
    let mut last = if hex { '0' } else { '^' };
    for c in body.chars().skip(if hex { 2 } else { 0 }) {
        last = match c {
            _ if c.is_ascii_digit() || (hex && c.is_ascii_hexdigit()) => '0',
            '_' if last == '0' => '_',
            '_' => return false,
            _ if last == '_' => return false,
            _ => '!',
        };
    }
    last != '_'
}

/// `h.hhp±d` after the `0x`; the exponent is mandatory.
fn hex_float(body: &str) -> Option<f64> {
    let (mantissa, exponent) = body.split_once(['p', 'P'])?;
    let exponent: i32 = exponent.parse().ok()?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut value = 0f64;
    for c in whole.chars().chain(fraction.chars()) {
        value = value * 16.0 + f64::from(c.to_digit(16)?);
    }
    let scale = exponent.saturating_sub(4 * i32::try_from(fraction.len()).ok()?);
    Some(value * 2f64.powi(scale))
}

/// Nanoseconds of a duration as Go's `time.ParseDuration` reads it.
pub fn duration_ns(text: &str) -> Result<i64, String> {
    let invalid = || format!("time: invalid duration {}", quote(text));
    let mut rest = unsigned(text);
    let negative = text.starts_with('-');
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
        let (number, after) = rest.split_at(digits);
        let unit_len = after.bytes().take_while(|b| *b != b'.' && !b.is_ascii_digit()).count();
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(invalid());
        }
        let unit = &after[..unit_len];
        if unit.is_empty() {
            return Err(format!("time: missing unit in duration {}", quote(text)));
        }
        let scale =
            unit_ns(unit).ok_or_else(|| format!("time: unknown unit {} in duration {}", quote(unit), quote(text)))?;
        let part = part_ns(whole, fraction, scale).ok_or_else(invalid)?;
        total = total.checked_add(part).filter(|t| *t <= 1 << 63).ok_or_else(invalid)?;
        rest = &after[unit_len..];
    }
    match (negative, i64::try_from(total)) {
        (true, _) => Ok((total as i64).wrapping_neg()),
        (false, Ok(total)) => Ok(total),
        (false, Err(_)) => Err(invalid()),
    }
}

fn part_ns(whole: &str, fraction: &str, scale: u64) -> Option<u64> {
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let mut part = whole.checked_mul(scale)?;
    if !fraction.is_empty() {
        let fraction: f64 = format!("0.{fraction}").parse().ok()?;
        part = part.checked_add((fraction * scale as f64) as u64)?;
    }
    Some(part)
}

fn unit_ns(unit: &str) -> Option<u64> {
    Some(match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

/// A byte size as Loki reads it: a decimal number, commas allowed, and a unit in any case, decimal or binary.
pub fn bytes(text: &str) -> Result<u64, String> {
    let digits: usize =
        text.chars().take_while(|c| c.is_ascii_digit() || matches!(c, '.' | ',')).map(char::len_utf8).sum();
    let number = text[..digits].replace(',', "");
    let value = float(&number)?;
    let unit = text[digits..].trim().to_lowercase();
    let scale = unit_bytes(&unit).ok_or_else(|| format!("unhandled size name: {unit}"))?;
    let value = value * scale;
    if value >= u64::MAX as f64 {
        return Err(format!("too large: {text}"));
    }
    Ok(value as u64)
}

fn unit_bytes(unit: &str) -> Option<f64> {
    const PREFIXES: &str = "kmgtpe";
    if matches!(unit, "" | "b") {
        return Some(1.0);
    }
    let power = PREFIXES.find(unit.get(..1)?)? as i32 + 1;
    match &unit[1..] {
        "" | "b" => Some(1000f64.powi(power)),
        "i" | "ib" => Some(1024f64.powi(power)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_go_s() {
        for (text, value) in [
            ("1", 1.0),
            ("-1.5", -1.5),
            ("+5", 5.0),
            ("1_000", 1000.0),
            ("1e3", 1000.0),
            ("1.", 1.0),
            (".5", 0.5),
            ("0x1p4", 16.0),
            ("0x1.8p1", 3.0),
            ("00012", 12.0),
            ("infinity", f64::INFINITY),
            ("-Inf", f64::NEG_INFINITY),
        ] {
            assert_eq!(float(text), Ok(value), "{text}");
        }
        assert!(float("NaN").is_ok_and(f64::is_nan));
        for bad in
            ["", "abc", "0x1F", "0b101", "1 ", " 1", "1__0", "_1", "1_", "e3", ".", "1e", "+nan", "0x", "--1", "1d"]
        {
            assert_eq!(float(bad), Err(format!("strconv.ParseFloat: parsing \"{bad}\": invalid syntax")));
        }
        assert_eq!(float("1e400").unwrap_err(), "strconv.ParseFloat: parsing \"1e400\": value out of range");
    }

    #[test]
    fn durations_are_go_s() {
        for (text, ns) in [
            ("0", 0),
            ("1h2m3.5s", 3_723_500_000_000),
            ("-5s", -5_000_000_000),
            ("+3s", 3_000_000_000),
            (".5s", 500_000_000),
            ("100ms200us", 100_200_000),
            ("1µs", 1000),
            ("9223372036s", 9_223_372_036_000_000_000),
        ] {
            assert_eq!(duration_ns(text), Ok(ns), "{text}");
        }
        for (text, error) in [
            ("xyz", "time: invalid duration \"xyz\""),
            ("", "time: invalid duration \"\""),
            ("5", "time: missing unit in duration \"5\""),
            ("1d", "time: unknown unit \"d\" in duration \"1d\""),
            ("1e3s", "time: unknown unit \"e\" in duration \"1e3s\""),
            ("1h 2m", "time: unknown unit \"h \" in duration \"1h 2m\""),
            ("9999999999999s", "time: invalid duration \"9999999999999s\""),
        ] {
            assert_eq!(duration_ns(text).unwrap_err(), error);
        }
    }

    #[test]
    fn sizes_are_humanize_s() {
        for (text, value) in [
            ("1", 1),
            ("12b", 12),
            ("1k", 1000),
            ("1Ki", 1024),
            ("5 kib", 5120),
            ("1.5GB", 1_500_000_000),
            ("1,000KB", 1_000_000),
            ("1EB", 1_000_000_000_000_000_000),
            ("0.5KiB", 512),
        ] {
            assert_eq!(bytes(text), Ok(value), "{text}");
        }
        for (text, error) in [
            ("abc", "strconv.ParseFloat: parsing \"\": invalid syntax"),
            ("-1KB", "strconv.ParseFloat: parsing \"\": invalid syntax"),
            ("1e3B", "unhandled size name: e3b"),
            ("1h30m", "unhandled size name: h30m"),
            ("100EB", "too large: 100EB"),
        ] {
            assert_eq!(bytes(text).unwrap_err(), error);
        }
    }
}
