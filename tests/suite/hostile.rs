//! Hostile pushes are refused quickly, at Loki's status, with little memory, and the process serves on.

use crate::process::Node;
use std::io::Write;
use std::time::{Duration, Instant};

const REFUSED_WITHIN: Duration = Duration::from_millis(500);
/// Above what was resident before, at the peak.
const GROWTH_BYTES_MAX: u64 = 64 << 20;

fn gzip(size: usize) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(vec![], flate2::Compression::best());
    write_json_bomb(&mut out, size);
    out.finish().unwrap()
}

fn deflate(size: usize) -> Vec<u8> {
    let mut out = flate2::write::DeflateEncoder::new(vec![], flate2::Compression::best());
    write_json_bomb(&mut out, size);
    out.finish().unwrap()
}

fn zstd(size: usize) -> Vec<u8> {
    let mut out = zstd::stream::Encoder::new(vec![], 1).unwrap();
    write_json_bomb(&mut out, size);
    out.finish().unwrap()
}

/// A push whose one line never ends.
fn write_json_bomb(out: &mut impl Write, size: usize) {
    out.write_all(br#"{"streams":[{"stream":{"a":"b"},"values":[["1","#).unwrap();
    let chunk = vec![b'a'; 1 << 20];
    for _ in 0..size >> 20 {
        out.write_all(&chunk).unwrap();
    }
}

/// A snappy block that claims four gigabytes.
fn lying_snappy() -> Vec<u8> {
    vec![0xff, 0xff, 0xff, 0xff, 0x0f, 0x00, b'a']
}

fn json(stream: &str, values: &str) -> Vec<u8> {
    format!(r#"{{"streams":[{{"stream":{stream},"values":{values}}}]}}"#).into_bytes()
}

fn million_labels() -> Vec<u8> {
    let labels: Vec<String> = (0..1_000_000).map(|i| format!("\"l{i}\":\"v\"")).collect();
    json(&format!("{{{}}}", labels.join(",")), "[]")
}

fn million_empty_entries() -> Vec<u8> {
    json("{\"a\":\"b\"}", &format!("[{}]", vec!["[\"1\",\"\"]"; 1_000_000].join(",")))
}

type Attack = (&'static str, &'static [(&'static str, &'static str)], Vec<u8>, &'static [u16]);

fn attacks() -> Vec<Attack> {
    const JSON: (&str, &str) = ("Content-Type", "application/json");
    const PROTOBUF: (&str, &str) = ("Content-Type", "application/x-protobuf");
    vec![
        ("a gzip bomb", &[JSON, ("Content-Encoding", "gzip")], gzip(1 << 30), &[413, 400]),
        ("a deflate bomb", &[JSON, ("Content-Encoding", "deflate")], deflate(1 << 30), &[413, 400]),
        ("a zstd bomb", &[JSON, ("Content-Encoding", "zstd")], zstd(1 << 30), &[413, 400]),
        ("a lying snappy length", &[PROTOBUF], lying_snappy(), &[413, 400]),
        ("an absurd timestamp", &[JSON], json("{\"a\":\"b\"}", "[[\"99999999999999999999\",\"x\"]]"), &[400]),
        ("the year 1677", &[JSON], json("{\"a\":\"b\"}", "[[\"-9223372036854775808\",\"x\"]]"), &[400]),
        ("a million labels", &[JSON], million_labels(), &[400, 204]),
        ("a million empty entries", &[JSON], million_empty_entries(), &[400]),
        (
            "invalid UTF-8 in labels",
            &[JSON],
            b"{\"streams\":[{\"stream\":{\"a\":\"\xff\"},\"values\":[[\"1\",\"x\"]]}]}".to_vec(),
            &[400, 204],
        ),
        ("no JSON", &[JSON], vec![b'['; 100_000], &[400]),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_pushes_are_refused_fast_and_small() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::new(dir.path());
    node.start().await;
    let client = node.client();
    assert_eq!(client.push(&[("a", "warm")], &[(crate::client::now_ns(), "x".into())]).await, Some(204));
    for (name, headers, body, allowed) in attacks() {
        node.forget_peak();
        let before = node.resident_bytes();
        let started = Instant::now();
        let answer = client.post("/loki/api/v1/push", headers, body).await;
        let took = started.elapsed();
        if let Some((status, text)) = &answer {
            assert!(allowed.contains(status), "{name}: {status}: {text:.200}");
        }
        assert!(took < REFUSED_WITHIN * crate::process::debug_factor(), "{name}: refused after {took:?}");
        let growth = node.peak_bytes().saturating_sub(before);
        eprintln!("{name}: {took:?}, {} MiB more at the peak", growth >> 20);
        assert!(growth <= GROWTH_BYTES_MAX, "{name}: memory grew by {} MiB at the peak", growth >> 20);
        assert_eq!(client.status("/ready").await, Some(200), "{name}: the process serves on");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tenants_that_are_no_tenants_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::new(dir.path()).config("auth_enabled: true\ncommon:\n  path_prefix: ${DIR}/data\n");
    node.start().await;
    let body = json("{\"a\":\"b\"}", "[]");
    for (tenants, status) in [
        (&["a/b"][..], 400),
        (&[".."], 400),
        (&["%2e%2e"], 400),
        (&["a b"], 400),
        (&["a", "b"], 400),
        (&[""], 401),
        (&[], 401),
        (&["good-tenant"], 204),
    ] {
        let mut headers = vec![("Content-Type", "application/json")];
        headers.extend(tenants.iter().map(|t| ("X-Scope-OrgID", *t)));
        let answer = node.client().post("/loki/api/v1/push", &headers, body.clone()).await.unwrap();
        assert_eq!(answer.0, status, "{tenants:?}: {}", answer.1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_is_no_name_costs_its_entry_or_stream_and_is_no_server_error() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::new(dir.path());
    node.start().await;
    let client = node.client();
    let start = crate::client::now_ns();
    for (name, app) in [("ключ", "a"), ("", "b"), ("_", "c"), ("...", "d")] {
        let values = format!(r#"[["{start}","bad",{{"{name}":"v"}}],["{start}","good",{{"ok":"v"}}]]"#);
        let body = json(&format!("{{\"app\":\"{app}\"}}"), &values);
        let (status, text) =
            client.post("/loki/api/v1/push", &[("Content-Type", "application/json")], body).await.unwrap();
        assert_eq!(status, 400, "metadata {name:?}: {text}");
        assert!(text.contains("structured metadata name") && text.contains(&format!("{{app=\"{app}\"")), "{text}");
        let kept = client.all_lines(&format!("{{app=\"{app}\"}}"), start, start + 1).await;
        assert_eq!(kept.iter().map(|l| l.text.as_str()).collect::<Vec<_>>(), ["good"], "{name:?}");
    }
    for name in ["ключ", "", "a-b", "a b", "1a", "\\u0000"] {
        let body = json(&format!("{{\"{name}\":\"v\"}}"), &format!("[[\"{start}\",\"x\"]]"));
        let (status, text) =
            client.post("/loki/api/v1/push", &[("Content-Type", "application/json")], body).await.unwrap();
        assert_eq!(status, 400, "label {name:?}: {text}");
        assert!(text.contains("couldn't parse labels"), "label {name:?}: {text}");
    }
}
