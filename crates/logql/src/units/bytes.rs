//! Sizes: `humanize.ParseBytes` and `humanize.Bytes`.

use super::number;

/// What is behind the letter of a prefix: the decimal and the binary factor.
const PREFIXES: [(&str, f64, f64); 6] = [
    ("k", 1e3, 1024.0),
    ("m", 1e6, 1048576.0),
    ("g", 1e9, 1073741824.0),
    ("t", 1e12, 1099511627776.0),
    ("p", 1e15, 1125899906842624.0),
    ("e", 1e18, 1152921504606846976.0),
];

/// As `humanize.ParseBytes`: `1KB` is 1000, `1KiB` 1024, case does not matter, commas in the number do not count.
pub fn parse(text: &str) -> Result<u64, String> {
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == ',')).unwrap_or(text.len());
    let value = number::parse(&text[..end].replace(',', ""))?;
    let unit = text[end..].trim().to_lowercase();
    let Some(factor) = factor(&unit) else { return Err(format!("unhandled size name: {unit}")) };
    let bytes = value * factor;
    if bytes >= u64::MAX as f64 {
        return Err(format!("too large: {text}"));
    }
    Ok(bytes as u64)
}

fn factor(unit: &str) -> Option<f64> {
    if matches!(unit, "" | "b") {
        return Some(1.0);
    }
    let (_, decimal, binary) = PREFIXES.iter().find(|(letter, _, _)| unit.starts_with(letter))?;
    match &unit[1..] {
        "" | "b" => Some(*decimal),
        "i" | "ib" => Some(*binary),
        _ => None,
    }
}

/// As `humanize.Bytes` without its space: `10kB`, `1.2MB`.
pub fn format(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 10 {
        return format!("{bytes}B");
    }
    let exponent = ((bytes as f64).ln() / 1000f64.ln()).floor();
    let value = (bytes as f64 / 1000f64.powf(exponent) * 10.0 + 0.5).floor() / 10.0;
    let unit = UNITS[(exponent as usize).min(UNITS.len() - 1)];
    if value < 10.0 { format!("{value:.1}{unit}") } else { format!("{value:.0}{unit}") }
}

/// [`format()`] where it keeps the value, else plain bytes; never exabytes, which LogQL has no literal for.
pub fn format_exact(bytes: u64) -> String {
    let short = format(bytes);
    let is_literal = !short.ends_with("EB") && parse(&short) == Ok(bytes);
    if is_literal { short } else { format!("{bytes}B") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_humanize_reads_them() {
        for (text, bytes) in [
            ("1", 1),
            ("1B", 1),
            ("1KB", 1000),
            ("1k", 1000),
            ("1KiB", 1024),
            ("5 kib", 5120),
            ("1,000KB", 1_000_000),
            ("1.5GB", 1_500_000_000),
            ("0.5KiB", 512),
            ("1TiB", 1 << 40),
            ("1EB", 1_000_000_000_000_000_000),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
        for (text, error) in [
            ("abc", "strconv.ParseFloat: parsing \"\": invalid syntax"),
            ("-1KB", "strconv.ParseFloat: parsing \"\": invalid syntax"),
            ("1e3B", "unhandled size name: e3b"),
            ("1h30m", "unhandled size name: h30m"),
            ("99EB", "too large: 99EB"),
            ("1é", "unhandled size name: é"),
        ] {
            assert_eq!(parse(text), Err(error.into()), "{text}");
        }
    }

    #[test]
    fn sizes_are_written_as_humanize_writes_them_unless_that_loses_bytes() {
        for (bytes, short, exact) in [
            (5, "5B", "5B"),
            (10, "10B", "10B"),
            (10_000, "10kB", "10kB"),
            (1_000, "1.0kB", "1.0kB"),
            (1_234_567, "1.2MB", "1234567B"),
            (1024, "1.0kB", "1024B"),
        ] {
            assert_eq!((format(bytes).as_str(), format_exact(bytes).as_str()), (short, exact));
        }
    }
}
