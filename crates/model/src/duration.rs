//! Durations as Go (`time.Duration`) and as Prometheus (`model.Duration`) print and parse them, in nanoseconds, with the
//! errors of theirs.

use crate::quote::quote;

const GO_UNITS: [(&str, i64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000), // U+00B5
    ("μs", 1_000), // U+03BC
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

const MILLI: i64 = 1_000_000;
/// Prometheus' units and their milliseconds, largest first: they must come in this order.
const UNITS: [(&str, i64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

/// Go's form: `721h0m0s`, `1m30s`, `1.5s`, `250ms`, `0s`.
pub fn go_string(ns: i64) -> String {
    let sign = if ns < 0 { "-" } else { "" };
    let n = ns.unsigned_abs();
    if n < 1_000_000_000 {
        return match n {
            0 => "0s".to_string(),
            1..1000 => format!("{sign}{n}ns"),
            1000..1_000_000 => format!("{sign}{}µs", decimal(n, 1000)),
            _ => format!("{sign}{}ms", decimal(n, 1_000_000)),
        };
    }
    let minutes = n / 60_000_000_000;
    let seconds = decimal(n % 60_000_000_000, 1_000_000_000);
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{sign}{seconds}s"),
        (0, m) => format!("{sign}{m}m{seconds}s"),
        (h, m) => format!("{sign}{h}h{m}m{seconds}s"),
    }
}

/// `n / unit` with as many decimals as it takes.
fn decimal(n: u64, unit: u64) -> String {
    let (whole, fraction) = (n / unit, n % unit);
    if fraction == 0 {
        return whole.to_string();
    }
    let width = unit.ilog10() as usize;
    let text = format!("{whole}.{fraction:0width$}");
    text.trim_end_matches('0').to_string()
}

/// Prometheus' form: `30d1h`, `5m`, `1h30m`, `0s`; below a millisecond is cut off.
pub fn prometheus_string(ns: i64) -> String {
    let mut rest = ns / MILLI;
    if rest == 0 {
        return "0s".to_string();
    }
    let mut out = String::new();
    if rest < 0 {
        out.push('-');
        rest = -rest;
    }
    for (unit, ms) in UNITS {
        // Years, weeks and days are printed only where nothing is left over, as Prometheus does.
        if (unit == "y" || unit == "w") && rest % ms != 0 {
            continue;
        }
        if rest >= ms {
            out.push_str(&format!("{}{unit}", rest / ms));
            rest %= ms;
        }
    }
    out
}

/// As `time.ParseDuration`: signed, fractions, `ns us ms s m h`.
pub fn parse_go(text: &str) -> Result<i64, String> {
    let invalid = || format!("time: invalid duration {}", quote(text));
    let is_negative = text.starts_with('-');
    let mut rest = text.strip_prefix(['+', '-']).unwrap_or(text);
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (whole, after) = rest.split_at(digits);
        let fraction = after.strip_prefix('.').map_or("", |f| &f[..f.len() - trim_digits(f).len()]);
        let after = after.strip_prefix('.').map_or(after, |f| &f[fraction.len()..]);
        if whole.is_empty() && fraction.is_empty() {
            return Err(invalid());
        }
        let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| invalid())? };
        let end = after.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, next) = after.split_at(end);
        if unit.is_empty() {
            return Err(format!("time: missing unit in duration {}", quote(text)));
        }
        let Some((_, unit_ns)) = GO_UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(format!("time: unknown unit {} in duration {}", quote(unit), quote(text)));
        };
        let part = whole.checked_mul(*unit_ns as u64).and_then(|w| w.checked_add(fraction_ns(fraction, *unit_ns)));
        total = part.and_then(|p| total.checked_add(p)).filter(|t| *t <= 1 << 63).ok_or_else(invalid)?;
        rest = next;
    }
    if is_negative {
        return Ok((total as i64).wrapping_neg());
    }
    i64::try_from(total).map_err(|_| invalid())
}

fn trim_digits(text: &str) -> &str {
    text.trim_start_matches(|c: char| c.is_ascii_digit())
}

fn fraction_ns(digits: &str, unit_ns: i64) -> u64 {
    let mut value: u64 = 0;
    let mut scale: f64 = 1.0;
    for digit in digits.bytes() {
        // Further digits change nothing that an i64 of nanoseconds shows.
        let Some(next) = value.checked_mul(10).and_then(|v| v.checked_add(u64::from(digit - b'0'))) else { break };
        value = next;
        scale *= 10.0;
    }
    (value as f64 * (unit_ns as f64 / scale)) as u64
}

/// As `model.ParseDuration`: whole numbers of `y w d h m s ms` in this order, or `0`.
pub fn parse_prometheus(text: &str) -> Result<i64, String> {
    match text {
        "0" => return Ok(0),
        "" => return Err("empty duration string".into()),
        _ => {}
    }
    let invalid = || format!("not a valid duration string: {}", quote(text));
    let mut rest = text;
    let mut total_ms: i64 = 0;
    let mut next_unit = 0;
    while !rest.is_empty() {
        let after = trim_digits(rest);
        let digits = &rest[..rest.len() - after.len()];
        let end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, next) = after.split_at(end);
        if digits.is_empty() || unit.is_empty() {
            return Err(invalid());
        }
        let Some(at) = UNITS.iter().position(|(name, _)| *name == unit) else {
            return Err(format!("unknown unit {} in duration {}", quote(unit), quote(text)));
        };
        if at < next_unit {
            return Err(invalid());
        }
        next_unit = at + 1;
        let part = digits.parse::<i64>().ok().and_then(|d| d.checked_mul(UNITS[at].1));
        total_ms = part.and_then(|p| total_ms.checked_add(p)).ok_or("duration out of range")?;
        rest = next;
    }
    total_ms.checked_mul(MILLI).ok_or_else(|| "duration out of range".into())
}

/// A literal of a query: Prometheus' form or else Go's.
pub fn parse_literal(text: &str) -> Result<i64, String> {
    parse_prometheus(text).or_else(|_| parse_go(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_printed_as_go_and_prometheus_print_them() {
        const S: i64 = 1_000_000_000;
        for (ns, go, prometheus) in [
            (0, "0s", "0s"),
            (721 * 3600 * S, "721h0m0s", "30d1h"),
            (90 * S, "1m30s", "1m30s"),
            (31 * 60 * S, "31m0s", "31m"),
            (3600 * S, "1h0m0s", "1h"),
            (7 * 86_400 * S, "168h0m0s", "1w"),
            (S / 4, "250ms", "250ms"),
            (1_500_000_000, "1.5s", "1s500ms"),
            (1_500, "1.5µs", "0s"),
            (-5 * S, "-5s", "-5s"),
            (i64::MAX, "2562047h47m16.854775807s", "106751d23h47m16s854ms"),
        ] {
            assert_eq!(go_string(ns), go);
            assert_eq!(prometheus_string(ns), prometheus);
        }
    }

    #[test]
    fn go_durations() {
        for (text, ns, written) in [
            ("1ns", 1, "1ns"),
            ("1us", 1_000, "1µs"),
            ("1.5ms", 1_500_000, "1.5ms"),
            ("1h30m", 5_400_000_000_000, "1h30m0s"),
            ("-5s", -5_000_000_000, "-5s"),
            ("+3s", 3_000_000_000, "3s"),
            (".5s", 500_000_000, "500ms"),
            ("100ms200us", 100_200_000, "100.2ms"),
            ("0", 0, "0s"),
            ("2562047h47m16.854775807s", i64::MAX, "2562047h47m16.854775807s"),
            ("1.000000001s", 1_000_000_001, "1.000000001s"),
        ] {
            assert_eq!(parse_go(text), Ok(ns), "{text}");
            assert_eq!(go_string(ns), written);
        }
        for (text, error) in [
            ("", "time: invalid duration \"\""),
            ("abc", "time: invalid duration \"abc\""),
            ("5", "time: missing unit in duration \"5\""),
            ("-1", "time: missing unit in duration \"-1\""),
            ("1d", "time: unknown unit \"d\" in duration \"1d\""),
            ("1e3s", "time: unknown unit \"e\" in duration \"1e3s\""),
            ("1h 2m", "time: unknown unit \"h \" in duration \"1h 2m\""),
            ("9999999999999s", "time: invalid duration \"9999999999999s\""),
            ("1.s.", "time: invalid duration \"1.s.\""),
        ] {
            assert_eq!(parse_go(text), Err(error.into()), "{text}");
        }
    }

    #[test]
    fn prometheus_durations() {
        for (text, seconds, written) in [
            ("90s", 90, "1m30s"),
            ("0", 0, "0s"),
            ("0s", 0, "0s"),
            ("1d", 86_400, "1d"),
            ("24h", 86_400, "1d"),
            ("1w", 604_800, "1w"),
            ("8d", 691_200, "8d"),
            ("25h", 90_000, "1d1h"),
            ("365d", 31_536_000, "1y"),
        ] {
            assert_eq!(parse_prometheus(text), Ok(seconds * 1_000_000_000), "{text}");
            assert_eq!(prometheus_string(seconds * 1_000_000_000), written);
        }
        assert_eq!(parse_prometheus("1h1ms"), Ok(3_600_001_000_000));
        for (text, error) in [
            ("m", "not a valid duration string: \"m\""),
            ("-5m", "not a valid duration string: \"-5m\""),
            ("5", "not a valid duration string: \"5\""),
            ("1m1h", "not a valid duration string: \"1m1h\""),
            ("5m:1m", "unknown unit \"m:\" in duration \"5m:1m\""),
            ("", "empty duration string"),
            ("300y", "duration out of range"),
            ("99999999999999999999s", "duration out of range"),
        ] {
            assert_eq!(parse_prometheus(text), Err(error.into()), "{text}");
        }
    }
}
