//! The JSON header of a chunk object: tenant, fingerprint, bounds and labels, in Loki's order and spelling.

use model::labels::METRIC_NAME;
use model::{Error, Fingerprint, Labels, Result};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::fmt::Write;

/// The value of `__name__` that Loki adds to a chunk's labels when it flushes it.
const METRIC_NAME_VALUE: &str = "logs";
/// The outer encoding "Loki chunk".
const ENCODING: u64 = 129;
/// The same, as old writers numbered it.
const ENCODING_LEGACY: u64 = 128;

#[derive(Debug, PartialEq)]
pub(super) struct Header {
    pub(super) fingerprint: Fingerprint,
    pub(super) tenant: String,
    pub(super) from_ms: i64,
    pub(super) through_ms: i64,
    /// Without `__name__`.
    pub(super) labels: Labels,
}

/// The header's text, with the line feed that Loki's JSON encoder ends it with.
pub(super) fn encode(tenant: &str, fingerprint: Fingerprint, from_ms: i64, through_ms: i64, labels: &Labels) -> String {
    let mut out = String::with_capacity(160 + labels.iter().map(|l| l.name.len() + l.value.len() + 6).sum::<usize>());
    out.push_str("{\"fingerprint\":");
    write!(out, "{}", fingerprint.0).expect("a String takes any text");
    out.push_str(",\"userID\":");
    put_string(&mut out, tenant);
    out.push_str(",\"from\":");
    put_seconds(&mut out, from_ms);
    out.push_str(",\"through\":");
    put_seconds(&mut out, through_ms);
    out.push_str(",\"metric\":{");
    put_metric(&mut out, labels);
    writeln!(out, "}},\"encoding\":{ENCODING}}}").expect("a String takes any text");
    out
}

fn put_metric(out: &mut String, labels: &Labels) {
    let own = labels.iter().map(|l| (l.name.as_str(), l.value.as_str())).filter(|(name, _)| *name != METRIC_NAME);
    let mut pairs: Vec<(&str, &str)> = own.chain([(METRIC_NAME, METRIC_NAME_VALUE)]).collect();
    pairs.sort_unstable();
    for (i, (name, value)) in pairs.into_iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        put_string(out, name);
        out.push(':');
        put_string(out, value);
    }
}

/// Only quotes, backslashes and control characters are escaped; everything else stays as it is.
fn put_string(out: &mut String, s: &str) {
    out.push('"');
    for c in s.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' => write!(out, "\\u{:04x}", c as u32).expect("a String takes any text"),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Whole seconds, or seconds with exactly three decimals.
fn put_seconds(out: &mut String, ms: i64) {
    let (seconds, millis) = (ms.unsigned_abs() / 1000, ms.unsigned_abs() % 1000);
    if ms < 0 {
        out.push('-');
    }
    write!(out, "{seconds}").expect("a String takes any text");
    if millis != 0 {
        write!(out, ".{millis:03}").expect("a String takes any text");
    }
}

#[derive(Deserialize)]
struct Wire<'a> {
    fingerprint: u64,
    #[serde(rename = "userID")]
    tenant: String,
    #[serde(borrow)]
    from: &'a RawValue,
    #[serde(borrow)]
    through: &'a RawValue,
    metric: BTreeMap<String, String>,
    encoding: u64,
}

pub(super) fn decode(json: &[u8]) -> Result<Header> {
    let wire: Wire<'_> = serde_json::from_slice(json).map_err(|e| Error::corrupt(format!("chunk header: {e}")))?;
    if wire.encoding != ENCODING && wire.encoding != ENCODING_LEGACY {
        return Err(Error::corrupt(format!("chunk header: unknown encoding {}", wire.encoding)));
    }
    let ms = |raw: &RawValue| {
        seconds(raw.get()).ok_or_else(|| Error::corrupt(format!("chunk header: {} is no time in seconds", raw.get())))
    };
    Ok(Header {
        fingerprint: Fingerprint(wire.fingerprint),
        tenant: wire.tenant,
        from_ms: ms(wire.from)?,
        through_ms: ms(wire.through)?,
        labels: Labels::new(wire.metric.into_iter().filter(|(name, _)| name != METRIC_NAME)),
    })
}

/// Milliseconds of a decimal number of seconds. Read as decimal, not as a float: Loki's own floats are off by one
/// millisecond for some times of 2004 and 2038.
fn seconds(text: &str) -> Option<i64> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) || fraction.len() > 9 {
        return None;
    }
    let millis: String = fraction.chars().chain("000".chars()).take(3).collect();
    let ms = whole.parse::<i64>().ok()?.checked_mul(1000)?.checked_add(millis.parse().ok()?)?;
    Some(if negative { -ms } else { ms })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_written_in_loki_s_spelling_and_read_back() {
        let labels = Labels::new([("Zone", "a"), ("app", "q\"\\\n\u{1}<&>\u{2028}ü"), ("__name__", "other")]);
        let text = encode("t1", Fingerprint(u64::MAX), 1_740_867_136_330, -1_500, &labels);
        let expected = "{\"fingerprint\":18446744073709551615,\"userID\":\"t1\",\"from\":1740867136.330,\"through\":-1.500,\
            \"metric\":{\"Zone\":\"a\",\"__name__\":\"logs\",\"app\":\"q\\\"\\\\\\n\\u0001<&>\u{2028}ü\"},\"encoding\":129}\n";
        assert_eq!(text, expected);
        let header = decode(text.as_bytes()).unwrap();
        assert_eq!((header.from_ms, header.through_ms), (1_740_867_136_330, -1_500));
        assert_eq!((header.fingerprint.0, header.tenant.as_str()), (u64::MAX, "t1"));
        assert_eq!(header.labels, Labels::new([("Zone", "a"), ("app", "q\"\\\n\u{1}<&>\u{2028}ü")]));
    }

    #[test]
    fn seconds_are_decimals() {
        for (text, ms) in [
            ("0", Some(0)),
            ("1740867136", Some(1_740_867_136_000)),
            ("1740867136.330", Some(1_740_867_136_330)),
            ("1740867136.33", Some(1_740_867_136_330)),
            ("2147483647.001", Some(2_147_483_647_001)),
            ("-1.5", Some(-1500)),
            ("1e9", None),
            (".5", None),
            ("\"1\"", None),
            ("9223372036854775807", None),
        ] {
            assert_eq!(seconds(text), ms, "{text}");
        }
    }

    #[test]
    fn headers_that_say_too_little_or_another_encoding_are_refused() {
        let good = r#"{"fingerprint":1,"userID":"t","from":1,"through":2,"metric":{"a":"b"},"encoding":128}"#;
        assert!(decode(good.as_bytes()).is_ok(), "the legacy number, no __name__, no line feed");
        for (from, to) in
            [("128", "127"), ("\"userID\":\"t\",", ""), ("\"from\":1", "\"from\":\"1\""), ("},", ","), ("1,", "-1,")]
        {
            assert!(decode(good.replacen(from, to, 1).as_bytes()).is_err(), "{from} -> {to}");
        }
    }
}
