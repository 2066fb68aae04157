//! Durations as Go (`time.Duration`) and as Prometheus print and parse them, in nanoseconds.

const MILLI: i64 = 1_000_000;
/// Prometheus' units and their milliseconds, largest first.
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

/// Parses Prometheus' form: integers with units, each unit at most once, largest first; also `0`.
pub fn parse_prometheus(text: &str) -> Option<i64> {
    if text == "0" {
        return Some(0);
    }
    let mut rest = text;
    let mut next_unit = 0;
    let mut total_ms = 0i64;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let unit_len = rest[digits..].bytes().take_while(u8::is_ascii_alphabetic).count();
        let (number, unit) = (&rest[..digits], &rest[digits..digits + unit_len]);
        let at = next_unit + UNITS[next_unit..].iter().position(|(name, _)| *name == unit)?;
        next_unit = at + 1;
        total_ms = total_ms.checked_add(number.parse::<i64>().ok()?.checked_mul(UNITS[at].1)?)?;
        rest = &rest[digits + unit_len..];
    }
    if text.is_empty() { None } else { total_ms.checked_mul(MILLI) }
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
    fn prometheus_durations_are_parsed_strictly() {
        for (text, ns) in [("0", 0), ("5m", 300), ("1h30m", 5400), ("1w", 604_800), ("30d1h", 2_595_600)] {
            assert_eq!(parse_prometheus(text), Some(ns * 1_000_000_000), "{text}");
        }
        for bad in ["", "5", "m", "-5m", "1m1h", "1m1m", "1.5h", "5x", "999999999999y"] {
            assert_eq!(parse_prometheus(bad), None, "{bad}");
        }
    }
}
