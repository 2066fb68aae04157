//! Alerts and samples sent to the servers that operators run, an Alertmanager and a Prometheus, and read back from
//! them.

#[path = "../../../tests/suite/alert_servers.rs"]
mod alert_servers;
#[path = "../../../tests/ports.rs"]
mod ports;

use alert_servers::Server;
use model::{Labels, TenantId};
use ruler::alert::Alert;
use ruler::notify::{AlertmanagerConfig, Notifier, NotifySettings};
use ruler::outbound::{Alerts, Samples};
use ruler::relabel::{RelabelConfig, Verbatim};
use ruler::remote_write::{QueueConfig, RemoteWriteClient, RemoteWriteSettings, RemoteWriter};
use ruler::sample::Sample;
use runtime::clock::{Clock, SystemClock};
use runtime::metrics::Metrics;
use runtime::reload::Reloader;
use runtime::settings::SecretUrl;
use runtime::tasks::Tasks;
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, Instant};

const ARRIVES_WITHIN: Duration = Duration::from_secs(30);

struct Process {
    metrics: Metrics,
    tasks: Tasks,
    reloader: Reloader,
}

impl Process {
    fn new() -> Process {
        let metrics = Metrics::default();
        let tasks = Tasks::new(&metrics);
        Process { reloader: Reloader::new(&tasks, &metrics), tasks, metrics }
    }

    fn assert_metric(&self, line: &str) {
        let shown = self.metrics.print_classic();
        assert!(shown.lines().any(|l| l.starts_with(line)), "{line} in\n{shown}");
    }
}

fn tenant() -> TenantId {
    TenantId::parse("acme").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alertmanager_takes_alerts_and_their_ends() {
    let (process, server) = (Process::new(), Server::alertmanager().await);
    let alertmanager = AlertmanagerConfig {
        alertmanager_url: vec![SecretUrl::new(server.url())],
        alert_relabel_configs: vec![RelabelConfig {
            source_labels: vec!["alertname".into()],
            target_label: "also".into(),
            replacement: Verbatim::new("the $1"),
            ..RelabelConfig::default()
        }],
        ..AlertmanagerConfig::default()
    };
    let external_labels = [("cluster".to_string(), "c1".to_string())].into();
    let settings = Arc::new(NotifySettings { alertmanager, external_labels });
    let notifier = Notifier::new(
        Arc::new(move |_| settings.clone()),
        Arc::new(SystemClock),
        &process.tasks,
        &process.reloader,
        &process.metrics,
    );
    let now = SystemClock.now_ns();
    let alert = |name: &str, ends_at_ns: i64| Alert {
        labels: Labels::new([("alertname", name), ("app", "ünï \"x\"")]),
        annotations: Labels::new([("summary", "of\nlines")]),
        starts_at_ns: now - 60_000_000_000,
        ends_at_ns,
        generator_url: "http://grafana/explore?left=%7B%7D".into(),
    };
    notifier.send(&tenant(), (0..100).map(|n| alert(&format!("A{n:02}"), now + 600_000_000_000)).collect());
    let count = |alerts: &Value| alerts.as_array().map_or(0, Vec::len);
    let alerts = server.until("/api/v2/alerts", |alerts| count(alerts) == 100).await;
    let first = alerts.as_array().unwrap().iter().find(|alert| alert["labels"]["alertname"] == "A00").unwrap();
    let labels = serde_json::json!({"alertname": "A00", "also": "the A00", "app": "ünï \"x\"", "cluster": "c1"});
    assert_eq!(first["labels"], labels);
    assert_eq!(first["annotations"]["summary"], "of\nlines");
    assert_eq!(first["generatorURL"], "http://grafana/explore?left=%7B%7D");
    assert_eq!(first["status"]["state"], "active");
    // One that has ended is no longer among the active ones.
    notifier.send(&tenant(), vec![alert("A00", now - 1_000_000_000)]);
    server.until("/api/v2/alerts", |alerts| count(alerts) == 99).await;
    let of = format!("{{user=\"acme\",alertmanager=\"{}/api/v2/alerts\"}}", server.url());
    assert!(process.tasks.stop(Duration::from_secs(10)).await.is_empty());
    process.assert_metric(&format!("loki_prometheus_notifications_sent_total{of} 101"));
    process.assert_metric(&format!("loki_prometheus_notifications_errors_total{of} 0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prometheus_takes_samples_and_has_them_all_once_it_is_back() {
    let (process, mut server) = (Process::new(), Server::prometheus().await);
    let wal = tempfile::tempdir().unwrap();
    let client = RemoteWriteClient {
        url: SecretUrl::new(format!("{}/api/v1/write", server.url())),
        queue_config: QueueConfig {
            batch_send_deadline: Duration::from_millis(10),
            max_samples_per_send: 100,
            ..QueueConfig::default()
        },
        ..RemoteWriteClient::default()
    };
    let settings = Arc::new(RemoteWriteSettings {
        clients: [("prometheus".to_string(), client)].into(),
        add_org_id_header: true,
        wal_dir: Some(wal.path().to_path_buf()),
        wal_max_age: Duration::from_secs(3600),
    });
    let writer = RemoteWriter::new(
        Arc::new(move |_| settings.clone()),
        Arc::new(SystemClock),
        &process.tasks,
        &process.reloader,
        &process.metrics,
    );
    let from_ms = SystemClock.now_ns() / 1_000_000 - 60_000;
    let samples = |steps: std::ops::Range<i64>| -> Vec<Sample> {
        let sample = |step: i64, series: usize| Sample {
            labels: Labels::new([("__name__", "log:lines:rate1m".to_string()), ("app", format!("a{series:03}"))]),
            timestamp_ms: from_ms + step * 1000,
            value: step as f64 + 0.5,
        };
        steps.flat_map(|step| (0..500).map(move |series| sample(step, series))).collect()
    };
    let query = |expression: &str| format!("/api/v1/query?query={expression}&time={}", from_ms / 1000 + 30);
    let value = |wanted: &'static str| move |answer: &Value| answer["data"]["result"][0]["value"][1] == wanted;
    writer.append(&tenant(), samples(0..10));
    let total = "sum(count_over_time(%7B__name__%3D%22log%3Alines%3Arate1m%22%7D%5B1m%5D))";
    server.until(&query(total), value("5000")).await;
    // While it is away, samples wait on disk.
    server.kill();
    writer.append(&tenant(), samples(10..15));
    let waits = || std::fs::read_dir(wal.path().join("acme/prometheus")).is_ok_and(|files| files.count() > 0);
    let started = Instant::now();
    while !waits() {
        assert!(started.elapsed() < ARRIVES_WITHIN, "nothing is on disk");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    writer.append(&tenant(), samples(15..20));
    server.start().await;
    server.until(&query(total), value("10000")).await;
    server.until(&query("%7B__name__%3D%22log%3Alines%3Arate1m%22,app%3D%22a007%22%7D"), value("19.5")).await;
    assert!(process.tasks.stop(Duration::from_secs(10)).await.is_empty());
    let of = format!("{{tenant=\"acme\",remote_name=\"acme-rw-prometheus\",url=\"{}/api/v1/write\"}}", server.url());
    for (name, value) in [("samples_total", "10000"), ("samples_failed_total", "0"), ("samples_pending", "0")] {
        process.assert_metric(&format!("loki_ruler_wal_prometheus_remote_storage_{name}{of} {value}"));
    }
}
