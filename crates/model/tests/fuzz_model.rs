//! Mutated texts of labels, quoted strings, durations and patterns, and mutated batches: read or refused, never a panic; what
//! is read is written, and means the same when it is read again.

#[path = "../../../tests/fuzz/mod.rs"]
mod fuzz;

use fuzz::fuzz;
use model::{
    Batch, BatchBuilder, Fingerprint, Labels, MatchOp, Matcher, TenantId, duration, label_text, pattern, quote,
};

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

#[test]
fn label_texts_are_read_or_refused() {
    let seeds = texts(&[
        r#"{app="a", env='it\'s', path=`C:\x`, "quoted"="\u00fc\x41\101"}"#,
        "up{job=\"x\",\n instance = \"1\" # comment\n, }",
        r#"{__name__="x", b="", c="\U0010ffff\ufeff\a\b"}"#,
        "metric:name",
    ]);
    let pieces: [&[u8]; 8] = [b"\"", b"'", b"`", b"\\", b"\\x4", b"\\ud800", b"=~", "ü\u{2028}😀".as_bytes()];
    fuzz(&seeds, &pieces, |input, _| {
        let Ok(text) = std::str::from_utf8(input) else { return false };
        let quoted = quote::quote(text);
        assert_eq!(quote::unquote_prefix(&quoted), Some((text.to_string(), quoted.len())));
        let _ = TenantId::parse(text);
        let Ok(pairs) = label_text::parse(text) else { return false };
        if let Ok(labels) = Labels::parse(text) {
            let again = Labels::parse(&labels.to_string()).unwrap();
            assert_eq!((&again, again.fingerprint()), (&labels, labels.fingerprint()));
        }
        assert_eq!(label_text::parse(&label_text::canonical(&pairs)).unwrap(), pairs, "{text}");
        true
    });
}

#[test]
fn durations_are_read_or_refused() {
    let seeds =
        texts(&["1h30m", "1.5s", "-250ms", "30d1h", "2y5w", "9223372036854775807ns", "100us", "5µs", "0", "+1m"]);
    fuzz(&seeds, &[b"99999999999999999999", b".", b"-", b"ms", b"y"], |input, _| {
        let Ok(text) = std::str::from_utf8(input) else { return false };
        let Ok(ns) = duration::parse_literal(text) else { return false };
        assert_eq!(duration::parse_go(&duration::go_string(ns)), Ok(ns), "{text}");
        let whole_ms = ns - ns % 1_000_000;
        assert!(ns < 0 || duration::parse_prometheus(&duration::prometheus_string(ns)) == Ok(whole_ms), "{text}");
        true
    });
}

#[test]
fn patterns_are_compiled_or_refused() {
    let seeds = texts(&[r"(?i)a.*|b+?[^\d[:alpha:]]{2,5}$", r"\bx\b(?P<n>\pL|\x{10FFFF})", r"(a|ab)(c|bcd)*\Qx.y\E"]);
    let pieces: [&[u8]; 7] = [b"(", b"[", b"{1000}", b"\\", b"(?s)", b"*", b"(a*)*"];
    fuzz(&seeds, &pieces, |input, _| {
        let Ok(text) = std::str::from_utf8(input) else { return false };
        let is_bytes = pattern::compile_bytes(text).is_ok();
        let Ok(matcher) = Matcher::new("a", MatchOp::Re, text) else { return false };
        for value in ["", "a", "abc\n", text] {
            let unlike = Matcher::new("a", MatchOp::NotRe, text).unwrap();
            assert_ne!(matcher.matches(value), unlike.matches(value));
        }
        if let Some(values) = matcher.values() {
            assert!(values.iter().all(|value| matcher.matches(value)), "{text}");
        }
        is_bytes
    });
}

#[test]
fn batches_are_walked_or_refused() {
    let mut builder = BatchBuilder::default();
    for n in 0..3 {
        builder.entry(n - 1, b"a line", [("id", "1"), ("b", "")].into_iter());
        builder.entry(i64::MAX, b"", [].into_iter());
        builder.end_stream("{app=\"a\"}", Fingerprint(n as u64));
    }
    let seeds = [builder.finish().data.to_vec()];
    fuzz(&seeds, &[b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x80"], |input, _| {
        let batch = Batch { data: input.to_vec().into() };
        batch.streams().all(|stream| {
            let Ok(stream) = stream else { return false };
            let walked = stream.for_each(|entry| assert!(entry.metadata().count() <= input.len()));
            walked.is_ok()
        })
    });
}
