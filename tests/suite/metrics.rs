//! The metrics that Loki's dashboards and alerts read are there, under their names, with their types and labels, in both
//! formats.

use crate::client::now_ns;
use crate::process::Node;
use std::collections::{BTreeSet, HashMap};

/// Name as a dashboard writes it, type, and the labels that it groups or filters by. A counter has its `_total`. What shows
/// only after a rare event (a store of a cloud, a deleted line) is tested beside what counts it.
const METRICS: [(&str, &str, &[&str]); 53] = [
    ("loki_request_duration_seconds", "histogram", &["method", "route", "status_code", "ws"]),
    ("loki_inflight_requests", "gauge", &["method", "route"]),
    ("loki_tcp_connections", "gauge", &["protocol"]),
    ("loki_build_info", "gauge", &["version", "revision", "branch", "goversion", "goos", "goarch", "tags"]),
    ("loki_panic_total", "counter", &[]),
    ("loki_objstore_bucket_operation_duration_seconds", "histogram", &["bucket", "operation"]),
    ("loki_objstore_bucket_operations_total", "counter", &["bucket", "operation"]),
    ("loki_index_request_duration_seconds", "histogram", &["operation", "status_code"]),
    ("loki_ingester_chunks_flushed_total", "counter", &["reason"]),
    ("loki_ingester_chunk_utilization", "histogram", &[]),
    ("loki_ingester_chunk_size_bytes", "histogram", &[]),
    ("loki_ingester_chunk_age_seconds", "histogram", &[]),
    ("loki_ingester_chunk_entries", "histogram", &[]),
    ("loki_ingester_chunk_bounds_hours", "histogram", &[]),
    ("loki_ingester_memory_streams", "gauge", &["tenant"]),
    ("loki_ingester_memory_chunks", "gauge", &[]),
    ("loki_ingester_streams_created_total", "counter", &["tenant"]),
    ("loki_ingester_flush_queue_length", "gauge", &[]),
    ("loki_ingester_wal_records_logged_total", "counter", &[]),
    ("loki_ingester_wal_bytes_written_total", "counter", &[]),
    ("loki_ingester_wal_disk_full_failures_total", "counter", &[]),
    ("loki_ingester_wal_corruptions_total", "counter", &[]),
    ("loki_ingester_wal_replay_active", "gauge", &[]),
    ("loki_ingester_wal_recovered_bytes_total", "counter", &[]),
    (
        "loki_distributor_bytes_received_total",
        "counter",
        &["tenant", "retention_hours", "is_internal_stream", "policy", "format"],
    ),
    ("loki_distributor_lines_received_total", "counter", &["tenant", "is_internal_stream", "policy", "format"]),
    (
        "loki_distributor_structured_metadata_bytes_received_total",
        "counter",
        &["tenant", "retention_hours", "is_internal_stream", "policy", "format"],
    ),
    ("loki_discarded_samples_total", "counter", &["reason", "tenant", "retention_hours", "policy", "format"]),
    ("loki_discarded_bytes_total", "counter", &["reason", "tenant", "retention_hours", "policy", "format"]),
    ("loki_embeddedcache_memory_bytes", "gauge", &["cache"]),
    ("loki_boltdb_shipper_compact_tables_operation_last_successful_run_timestamp_seconds", "gauge", &[]),
    ("loki_boltdb_shipper_compact_tables_operation_duration_seconds", "gauge", &[]),
    ("loki_boltdb_shipper_compact_tables_operation_total", "counter", &["status"]),
    ("loki_boltdb_shipper_compactor_running", "gauge", &[]),
    ("loki_compactor_apply_retention_last_successful_run_timestamp_seconds", "gauge", &[]),
    ("loki_compactor_apply_retention_operation_duration_seconds", "gauge", &[]),
    ("loki_compactor_apply_retention_operation_total", "counter", &["status"]),
    ("loki_compactor_delete_requests_received_total", "counter", &["user"]),
    ("loki_compactor_pending_delete_requests_count", "gauge", &[]),
    ("loki_compactor_oldest_pending_delete_request_age_seconds", "gauge", &[]),
    ("loki_logql_querystats_latency_seconds", "histogram", &["status_code", "type"]),
    ("loki_logql_querystats_duplicates_total", "counter", &[]),
    ("loki_logql_querystats_ingester_sent_lines_total", "counter", &[]),
    ("loki_logql_querystats_downloaded_chunk_total", "counter", &[]),
    ("loki_runtime_config_last_reload_successful", "gauge", &[]),
    ("loki_tls_handshake_failures_total", "counter", &["protocol"]),
    ("lokirs_build_info", "gauge", &["version"]),
    ("process_cpu_seconds_total", "counter", &[]),
    ("process_resident_memory_bytes", "gauge", &[]),
    ("process_virtual_memory_bytes", "gauge", &[]),
    ("process_open_fds", "gauge", &[]),
    ("process_max_fds", "gauge", &[]),
    ("process_start_time_seconds", "gauge", &[]),
];

/// Families by name: type, and the labels that any of their samples has.
fn families(text: &str) -> HashMap<String, (String, BTreeSet<String>)> {
    let mut found: HashMap<String, (String, BTreeSet<String>)> = HashMap::new();
    let mut name = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (family, kind) = rest.split_once(' ').unwrap();
            name = family.to_string();
            found.insert(name.clone(), (kind.to_string(), BTreeSet::new()));
        } else if let Some((sample, labels)) = line.split_once('{').filter(|_| !line.starts_with('#')) {
            assert!(sample.starts_with(&name), "{sample} stands under {name}");
            let labels = labels.rsplit_once('}').unwrap().0;
            let names =
                labels.split("\",").filter_map(|pair| pair.split_once("=\"")).map(|(label, _)| label.to_string());
            found.get_mut(&name).unwrap().1.extend(names.filter(|label| label != "le"));
        }
    }
    found
}

async fn scrape(node: &Node, accept: &str) -> (String, String) {
    let url = format!("http://127.0.0.1:{}/metrics", node.http_port);
    let answer = reqwest::Client::new().get(url).header("Accept", accept).send().await.unwrap();
    let kind = answer.headers()["content-type"].to_str().unwrap().to_string();
    (kind, answer.text().await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dashboards_find_their_metrics() {
    let dir = tempfile::tempdir().unwrap();
    let overrides = dir.path().join("overrides.yaml");
    std::fs::write(&overrides, "overrides: {}\n").unwrap();
    let config = format!(
        "auth_enabled: false\ncommon: {{path_prefix: '${{DIR}}/data'}}\nruntime_config: {{file: '{}'}}\n\
         ingester: {{chunk_idle_period: 1s, flush_check_period: 100ms}}\n\
         compactor: {{retention_enabled: true, delete_request_store: filesystem}}\n",
        overrides.display()
    );
    let mut node = Node::new(&dir.path().join("node")).config(&config);
    node.start().await;
    let old = now_ns() - 30 * 24 * 3_600_000_000_000;
    let client = node.client();
    assert_eq!(client.push(&[("a", "b")], &[(now_ns(), "x".into())]).await, Some(204));
    assert_eq!(client.push(&[("a", "b")], &[(old, "too old".into())]).await, Some(400));
    let delete = format!("/loki/api/v1/delete?query=%7Ba%3D%22b%22%7D&start={}", old / 1_000_000_000);
    assert_eq!(client.post(&delete, &[], vec![]).await.map(|(status, _)| status), Some(204));
    let started = std::time::Instant::now();
    while !scrape(&node, "text/plain").await.1.contains("loki_ingester_chunks_flushed_total{") {
        assert!(started.elapsed().as_secs() < 60, "the chunk is never flushed");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    client.all_lines("{a=\"b\"}", now_ns() - 3_600_000_000_000, now_ns()).await;

    let (kind, classic) = scrape(&node, "text/plain").await;
    assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
    let found = families(&classic);
    let mut faults = vec![];
    for (name, kind, labels) in METRICS {
        match found.get(name) {
            None => faults.push(format!("{name} is not there")),
            Some((is, _)) if is != kind => faults.push(format!("{name} is a {is}, not a {kind}")),
            Some((_, has)) => {
                let missing = labels.iter().filter(|label| !has.contains(**label));
                faults.extend(missing.map(|label| format!("{name} has no label {label}: {has:?}")));
            }
        }
    }
    assert!(faults.is_empty(), "{}\n\n{classic}", faults.join("\n"));

    let (kind, open) = scrape(&node, "application/openmetrics-text;version=1.0.0,text/plain;q=0.5").await;
    assert!(kind.starts_with("application/openmetrics-text") && open.ends_with("# EOF\n"), "{kind}");
    let open = families(&open);
    for (name, kind, _) in METRICS {
        // A counter's family has no suffix there.
        let family = if kind == "counter" { name.trim_end_matches("_total") } else { name };
        assert!(open.contains_key(family), "{family} is not in the other format");
    }
}
