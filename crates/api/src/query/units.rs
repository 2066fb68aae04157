//! Times and durations as Loki's query parameters spell them.

use model::duration::parse_prometheus;
use model::{Error, Result};

const NANOS_PER_SECOND: f64 = 1e9;

/// Integer nanoseconds; an integer of at most 10 digits or a number with a point is seconds; else RFC 3339.
pub fn time_ns(name: &str, text: &str) -> Result<i64> {
    let bad = || {
        Error::invalid(format!(
            "could not parse '{name}' parameter: strconv.ParseInt: parsing \"{text}\": invalid syntax"
        ))
    };
    if text.contains('.') && is_float(text) {
        let seconds: f64 = text.parse().map_err(|_| bad())?;
        let whole = seconds.trunc();
        let fraction_ms = ((seconds - whole) * 1000.0).round();
        return Ok(((whole * NANOS_PER_SECOND) as i64).saturating_add((fraction_ms * 1e6) as i64));
    }
    if let Ok(n) = text.parse::<i64>() {
        return Ok(if text.len() <= 10 { n.saturating_mul(1_000_000_000) } else { n });
    }
    rfc3339(text).ok_or_else(bad)
}

fn is_float(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit() || b".-+eE".contains(&b))
}

fn rfc3339(text: &str) -> Option<i64> {
    if !text.contains('T') {
        return None;
    }
    let t: jiff::Timestamp = text.parse().ok()?;
    let ns = t.as_nanosecond();
    Some(ns.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64)
}

/// Seconds as a number, or a Prometheus duration.
pub fn step_ns(text: &str) -> Result<i64> {
    if let Some(seconds) = go_float(text) {
        let ns = seconds * NANOS_PER_SECOND;
        if ns.abs() > i64::MAX as f64 {
            return Err(Error::invalid(format!("cannot parse \"{text}\" to a valid duration. It overflows int64")));
        }
        return Ok(ns as i64);
    }
    parse_prometheus(text).map_err(|_| Error::invalid(format!("cannot parse \"{text}\" to a valid duration")))
}

fn go_float(text: &str) -> Option<f64> {
    let plain = text.strip_prefix(['+', '-']).unwrap_or(text).to_ascii_lowercase();
    if plain.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        || ["nan", "inf", "infinity"].contains(&plain.as_str())
    {
        return text.parse().ok();
    }
    None
}

/// `since`: a Prometheus duration.
pub fn since_ns(text: &str) -> Result<i64> {
    parse_prometheus(text).map_err(|_| {
        Error::invalid(format!("could not parse 'since' parameter: not a valid duration string: \"{text}\""))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_in_every_spelling() {
        for (text, ns) in [
            ("1768471200", 1_768_471_200_000_000_000),
            ("1768471200000000000", 1_768_471_200_000_000_000),
            ("1768471200.5", 1_768_471_200_500_000_000),
            ("2026-01-15T10:00:00Z", 1_768_471_200_000_000_000),
            ("2026-01-15T12:00:00.25+02:00", 1_768_471_200_250_000_000),
            ("-5", -5_000_000_000),
            ("768471208471200.5", i64::MAX),
        ] {
            assert_eq!(time_ns("start", text), Ok(ns), "{text}");
        }
        for bad in ["yesterday", "0x10", "NaN", "1.2.3", "", "2026-01-15"] {
            assert!(time_ns("start", bad).unwrap_err().message.contains("'start'"), "{bad}");
        }
    }

    #[test]
    fn steps_and_durations() {
        for (text, ns) in
            [("15000ms", 15e9), ("15", 15e9), ("2.5", 2.5e9), ("1m0s", 60e9), ("1h30m", 5400e9), ("-5", -5e9)]
        {
            assert_eq!(step_ns(text), Ok(ns as i64), "{text}");
        }
        for (text, message) in [
            ("-5m", "cannot parse \"-5m\" to a valid duration"),
            ("abc", "cannot parse \"abc\" to a valid duration"),
            ("1e30", "cannot parse \"1e30\" to a valid duration. It overflows int64"),
            ("1s1m", "cannot parse \"1s1m\" to a valid duration"),
        ] {
            assert_eq!(step_ns(text).unwrap_err().message, message);
        }
    }
}
