//! The units of settings as Loki reads them: Go and Prometheus durations, byte sizes, moments.
//! It must not know which setting has which unit.

use std::time::Duration;

const NANOS: [(&str, i64); 11] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
    ("w", 604_800_000_000_000),
    ("y", 31_536_000_000_000_000),
];

/// Nanoseconds of `1h30m`, `1.5h`, `-1ns` (Go) or `1w`, `30d1h` (Prometheus). `0` needs no unit.
pub fn parse_nanos(text: &str) -> Result<i64, String> {
    let bad = || format!("not a valid duration: {text:?}");
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(0);
    }
    if !rest.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return Err(bad());
    }
    let mut total = 0i64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(|| {
            format!("missing unit in duration {text:?}") // as Go says it
        })?;
        let (number, tail) = rest.split_at(digits);
        let end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let scale = NANOS.iter().find(|(name, _)| *name == unit).map(|(_, scale)| *scale);
        let scale = scale.ok_or_else(|| format!("unknown unit {unit:?} in duration {text:?}"))?;
        let part = scaled(number, scale).ok_or_else(bad)?;
        total = total.checked_add(part).ok_or_else(bad)?;
        rest = tail;
    }
    Ok(if negative { -total } else { total })
}

fn scaled(number: &str, scale: i64) -> Option<i64> {
    match number.parse::<i64>() {
        Ok(whole) => whole.checked_mul(scale),
        Err(_) => {
            let nanos = number.parse::<f64>().ok()? * scale as f64;
            (nanos <= i64::MAX as f64).then_some(nanos as i64)
        }
    }
}

/// A duration that is not negative.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let nanos = parse_nanos(text)?;
    u64::try_from(nanos).map(Duration::from_nanos).map_err(|_| format!("duration must not be negative: {text:?}"))
}

/// The shortest Go spelling that reads back as the same duration: `1h30m0s`, `250ms`.
pub fn print_nanos(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let left = nanos.unsigned_abs();
    let (hours, minutes) = (left / 3_600_000_000_000, left / 60_000_000_000 % 60);
    let below_minute = left % 60_000_000_000;
    if left == 0 {
        return "0s".into();
    }
    if left < 1_000_000_000 {
        let units = [("ms", 1_000_000), ("\u{b5}s", 1_000), ("ns", 1)];
        let (unit, scale) = units.into_iter().find(|(_, scale)| left.is_multiple_of(*scale)).unwrap_or(("ns", 1));
        return format!("{sign}{}{unit}", left / scale);
    }
    let seconds = match below_minute % 1_000_000_000 {
        0 => format!("{}s", below_minute / 1_000_000_000),
        part => {
            let fraction = format!("{part:09}");
            format!("{}.{}s", below_minute / 1_000_000_000, fraction.trim_end_matches('0'))
        }
    };
    match (hours, minutes) {
        (0, 0) => format!("{sign}{seconds}"),
        (0, minutes) => format!("{sign}{minutes}m{seconds}"),
        (hours, minutes) => format!("{sign}{hours}h{minutes}m{seconds}"),
    }
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

/// Nanoseconds since the epoch of `2026-01-02` or `2026-01-02T03:04:05Z` (RFC 3339, any offset); `0` is no moment.
pub fn parse_moment_ns(text: &str) -> Result<i64, String> {
    let bad = || format!("not a valid moment (want RFC 3339): {text:?}");
    let part = |from: usize, to: usize| -> Option<i64> {
        let digits = text.get(from..to).filter(|d| d.bytes().all(|b| b.is_ascii_digit()));
        digits.and_then(|d| d.parse().ok())
    };
    let separators = |at: &[(usize, u8)]| at.iter().all(|(i, byte)| text.as_bytes().get(*i) == Some(byte));
    let date = || {
        let ok = separators(&[(4, b'-'), (7, b'-')]);
        ok.then(|| Some((part(0, 4)?, part(5, 7)?, part(8, 10)?))).flatten()
    };
    let (year, month, day) = date().ok_or_else(bad)?;
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return Err(bad());
    }
    let mut seconds = days_from_civil(year, month, day) * 86_400;
    if text.len() > 10 {
        let clock = || {
            let ok =
                separators(&[(13, b':'), (16, b':')]) && matches!(text.as_bytes().get(10), Some(b'T' | b't' | b' '));
            ok.then(|| Some(part(11, 13)? * 3600 + part(14, 16)? * 60 + part(17, 19)?)).flatten()
        };
        seconds += clock().ok_or_else(bad)?;
        seconds -= offset_seconds(text.get(19..).unwrap_or_default()).ok_or_else(bad)?;
    }
    seconds.checked_mul(1_000_000_000).ok_or_else(bad)
}

/// Seconds east of Greenwich of `Z`, `+02:00`, after an ignored fraction of a second.
fn offset_seconds(zone: &str) -> Option<i64> {
    let zone = match zone.strip_prefix('.') {
        Some(fraction) => fraction.trim_start_matches(|c: char| c.is_ascii_digit()),
        None => zone,
    };
    if matches!(zone, "Z" | "z") {
        return Some(0);
    }
    let sign = match zone.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    Some(sign * (hours.parse::<i64>().ok()? * 3600 + minutes.parse::<i64>().ok()? * 60))
}

/// Days since 1970-01-01 of a date of the Gregorian calendar, counted in eras of 400 years that begin in March.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
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
            assert_eq!(parse_nanos(&print_nanos(nanos)), Ok(nanos), "{text}");
        }
        for bad in ["", "5", "h", "1x", "--1s", "1..5h", "9999999y", "1h 2m"] {
            assert!(parse_nanos(bad).is_err(), "{bad}");
        }
        assert!(parse_duration("-1s").is_err());
        assert_eq!(print_nanos(5_400_000_000_000), "1h30m0s");
        assert_eq!(print_nanos(1_500_000_000), "1.5s");
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
        for (text, seconds) in [
            ("1970-01-01", 0),
            ("2020-10-24", 1_603_497_600),
            ("2000-03-01T00:00:00Z", 951_868_800),
            ("2026-11-24T02:00:00.5+02:00", 1_795_478_400),
        ] {
            assert_eq!(parse_moment_ns(text), Ok(seconds * 1_000_000_000), "{text}");
        }
        for bad in ["", "2020-13-01", "2020-1-1", "2020-01-01T00:00", "tomorrow", "2020-01-01T00:00:00"] {
            assert!(parse_moment_ns(bad).is_err(), "{bad}");
        }
    }
}
