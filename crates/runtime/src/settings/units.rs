//! The units of settings as Loki reads them: Go and Prometheus durations, byte sizes, moments.
//! It must not know which setting has which unit.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use model::duration;
use std::time::Duration;

/// A date without a time of day: `2026-01-02`.
const DATE_LEN: usize = 10;

/// Nanoseconds of `1h30m`, `1.5h`, `-1ns` (Go) or `1w`, `30d1h` (Prometheus). `0` needs no unit.
fn parse_nanos(text: &str) -> Result<i64, String> {
    duration::parse_prometheus(text).or_else(|_| duration::parse_go(text))
}

/// A duration that is not negative.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let nanos = parse_nanos(text)?;
    u64::try_from(nanos).map(Duration::from_nanos).map_err(|_| format!("duration must not be negative: {text:?}"))
}

/// Bytes of `4MB`, `256KB`, `1048576`: powers of 1024 whatever the spelling (`KB`, `KiB`, `k`), as in Loki.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let bad = || format!("not a valid size: {text:?}");
    let upper = text.trim().to_ascii_uppercase();
    let digits = upper.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(upper.len());
    let (number, unit) = upper.split_at(digits);
    let power = match unit.trim() {
        "" | "B" => 0,
        "K" | "KB" | "KIB" => 1,
        "M" | "MB" | "MIB" => 2,
        "G" | "GB" | "GIB" => 3,
        "T" | "TB" | "TIB" => 4,
        "P" | "PB" | "PIB" => 5,
        "E" | "EB" | "EIB" => 6,
        _ => return Err(bad()),
    };
    let scale = 1u64 << (10 * power);
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(scale).ok_or_else(bad);
    }
    let bytes = number.parse::<f64>().map_err(|_| bad())? * scale as f64;
    if bytes < u64::MAX as f64 { Ok(bytes as u64) } else { Err(bad()) }
}

/// Nanoseconds since the epoch of `2026-01-02` or `2026-01-02T03:04:05Z` (RFC 3339, any offset).
pub fn parse_moment_ns(text: &str) -> Result<i64, String> {
    let bad = |_| format!("not a valid moment (want RFC 3339): {text:?}");
    let moment = match text.parse::<Date>() {
        Ok(date) if text.len() == DATE_LEN => date.to_zoned(TimeZone::UTC).map_err(bad)?.timestamp(),
        _ => text.parse::<Timestamp>().map_err(bad)?,
    };
    i64::try_from(moment.as_nanosecond()).map_err(|_| format!("the moment {text:?} is out of range"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_and_prometheus_read_them() {
        for (text, nanos) in [
            ("0", 0),
            ("1h30m", 5_400_000_000_000),
            ("1.5h", 5_400_000_000_000),
            ("-1ns", -1),
            ("250ms", 250_000_000),
            ("1w", 604_800_000_000_000),
            ("30d1h", 2_595_600_000_000_000),
            ("3\u{b5}s", 3_000),
        ] {
            assert_eq!(parse_nanos(text), Ok(nanos), "{text}");
        }
        for bad in ["", "5", "h", "1x", "--1s", "1..5h", "9999999y", "1h 2m"] {
            assert!(parse_nanos(bad).is_err(), "{bad}");
        }
        assert!(parse_duration("-1s").is_err());
    }

    #[test]
    fn a_megabyte_is_1024_times_1024() {
        for (text, bytes) in
            [("4MB", 4 << 20), ("256KB", 256 << 10), ("1KiB", 1024), ("1.5GB", 3 << 29), ("7", 7), ("2 gb", 2 << 30)]
        {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        for bad in ["", "MB", "4XB", "-1", "99999999EB"] {
            assert!(parse_bytes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn moments_are_rfc_3339() {
        for (text, millis) in [
            ("1970-01-01", 0),
            ("2020-10-24", 1_603_497_600_000),
            ("2000-03-01T00:00:00Z", 951_868_800_000),
            ("2026-11-24T02:00:00.5+02:00", 1_795_478_400_500),
        ] {
            assert_eq!(parse_moment_ns(text), Ok(millis * 1_000_000), "{text}");
        }
        for bad in ["", "2020-13-01", "2020-1-1", "2020-01-01T00:00", "tomorrow", "2020-01-01T00:00:00"] {
            assert!(parse_moment_ns(bad).is_err(), "{bad}");
        }
    }
}
