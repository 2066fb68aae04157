//! Samples against servers that answer as they are told.

use super::wire::WriteRequest;
use super::*;
use crate::http::auth::Authorization;
use crate::relabel::{RelabelConfig, Verbatim};
use crate::testing::{Process, Seen, Server, status, until};
use model::Labels;
use prost::Message;
use runtime::settings::{Secret, SecretUrl};
use std::path::Path;

/// The process's time, in milliseconds.
const NOW_MS: i64 = 1_767_225_600_000;

fn settings(url: &str, queue_config: QueueConfig) -> RemoteWriteSettings {
    let client = RemoteWriteClient { url: SecretUrl::new(url), queue_config, ..RemoteWriteClient::default() };
    RemoteWriteSettings {
        clients: [("one".to_string(), client)].into(),
        add_org_id_header: true,
        wal_dir: None,
        wal_max_age: Duration::from_secs(3600),
    }
}

/// Sends at once and soon again.
fn quick() -> QueueConfig {
    let soon = Duration::from_millis(1);
    QueueConfig { batch_send_deadline: soon, min_backoff: soon, max_backoff: 4 * soon, ..QueueConfig::default() }
}

fn writer(process: &Process, settings: RemoteWriteSettings) -> (RemoteWriter, Arc<Mutex<Arc<RemoteWriteSettings>>>) {
    let current = Arc::new(Mutex::new(Arc::new(settings)));
    let of: SettingsOf = {
        let current = current.clone();
        Arc::new(move |_| current.lock().clone())
    };
    let writer = RemoteWriter::new(of, process.clock.clone(), &process.tasks, &process.reloader, &process.metrics);
    (writer, current)
}

fn tenant(id: &str) -> TenantId {
    TenantId::parse(id).unwrap()
}

fn sample(name: &str, after_ms: i64) -> Sample {
    let labels = Labels::new([("__name__", name), ("rule", "r")]);
    Sample { labels, timestamp_ms: NOW_MS + after_ms, value: after_ms as f64 }
}

fn samples(count: i64) -> Vec<Sample> {
    (0..count).map(|n| sample("x", n)).collect()
}

fn decoded(seen: &Seen) -> Vec<Sample> {
    super::wire::decode(&snap::raw::Decoder::new().decompress_vec(&seen.body).unwrap()).unwrap()
}

/// The samples' times in all requests.
fn times(seen: &[Seen]) -> Vec<Vec<i64>> {
    let time = |sample: Sample| sample.timestamp_ms - NOW_MS;
    seen.iter().map(|seen| decoded(seen).into_iter().map(time).collect()).collect()
}

fn metric(name: &str, server: &Server) -> String {
    let of = format!("tenant=\"acme\",remote_name=\"acme-rw-one\",url=\"{}/\"", server.url());
    format!("loki_ruler_wal_prometheus_remote_storage_{name}{{{of}}}")
}

#[tokio::test]
async fn a_sample_arrives_as_prometheus_takes_it() {
    let (process, server) = (Process::new(), Server::start().await);
    let mut settings = settings(&format!("{}/api/v1/write?x=y", server.url()), quick());
    let client = settings.clients.get_mut("one").unwrap();
    client.headers = [("x-extra", "1"), ("x-scope-orgid", "forged")].map(|(k, v)| (k.into(), Secret::new(v))).into();
    client.authorization = Authorization { credentials: Secret::new("hunter2"), ..Authorization::default() };
    client.name = "far".into();
    client.write_relabel_configs = vec![
        RelabelConfig {
            source_labels: vec!["__name__".into()],
            regex: Verbatim::new("private_.*"),
            action: "drop".into(),
            ..RelabelConfig::default()
        },
        RelabelConfig { target_label: "cluster".into(), replacement: Verbatim::new("c1"), ..RelabelConfig::default() },
    ];
    let (writer, _) = writer(&process, settings);
    writer.append(&tenant("acme"), vec![sample("private_x", 1), sample("x", 1500)]);
    let seen = server.requests(1).await;
    for (header, value) in [
        ("content-type", "application/x-protobuf"),
        ("content-encoding", "snappy"),
        ("x-prometheus-remote-write-version", "0.1.0"),
        ("x-scope-orgid", "acme"),
        ("x-extra", "1"),
        ("authorization", "Bearer hunter2"),
    ] {
        assert_eq!(seen[0].header(header), value);
    }
    assert_eq!(seen[0].headers.get_all("x-scope-orgid").iter().count(), 1);
    assert_eq!(seen[0].path, "/api/v1/write");
    let body = snap::raw::Decoder::new().decompress_vec(&seen[0].body).unwrap();
    let request = WriteRequest::decode(body.as_slice()).unwrap();
    let [series] = request.timeseries.as_slice() else { panic!("{request:?}") };
    let labels: Vec<_> = series.labels.iter().map(|pair| (pair.name.as_str(), pair.value.as_str())).collect();
    assert_eq!(labels, [("__name__", "x"), ("cluster", "c1"), ("rule", "r")]);
    assert_eq!((series.samples[0].timestamp, series.samples[0].value), (NOW_MS + 1500, 1500.0));
    let of = format!("tenant=\"acme\",remote_name=\"far\",url=\"{}/api/v1/write?x=y\"", server.url());
    for (name, labels, value) in [
        ("samples_total", of.clone(), "1"),
        ("samples_pending", of.clone(), "0"),
        ("samples_dropped_total", format!("{of},reason=\"dropped_series\""), "1"),
        ("queue_highest_sent_timestamp_seconds", of.clone(), "1767225601.5"),
        ("highest_timestamp_in_seconds", "tenant=\"acme\"".into(), "1767225601.5"),
    ] {
        process.until_metric(&format!("loki_ruler_wal_prometheus_remote_storage_{name}{{{labels}}} {value}")).await;
    }
}

#[tokio::test]
async fn what_fails_is_sent_again_only_where_it_may_help() {
    let wait = (503, vec![("retry-after", "0".to_string())], String::new());
    let impatient = QueueConfig { retry_on_http_429: false, ..quick() };
    for (answers, config, requests, failed, retried) in [
        (vec![status(500), status(502), wait], quick(), 4, 0, 30),
        (vec![status(429)], quick(), 2, 0, 10),
        (vec![status(408)], quick(), 2, 0, 10),
        (vec![status(429)], impatient, 1, 10, 0),
        (vec![status(400)], quick(), 1, 10, 0),
        (vec![status(307)], quick(), 1, 10, 0),
    ] {
        let (process, server) = (Process::new(), Server::start().await);
        server.answer(answers.clone());
        let (writer, _) = writer(&process, settings(&server.url(), config));
        writer.append(&tenant("acme"), samples(10));
        for (name, count) in [
            ("samples_total", 10),
            ("samples_failed_total", failed),
            ("samples_retried_total", retried),
            ("samples_pending", 0),
        ] {
            process.until_metric(&format!("{} {count}", metric(name, &server))).await;
        }
        assert_eq!(server.seen().len(), requests, "{answers:?}");
    }
}

#[tokio::test]
async fn requests_are_full_and_as_many_at_once_as_the_backlog_fills_with_series_in_order() {
    let (process, server) = (Process::new(), Server::start().await);
    let config = QueueConfig {
        max_samples_per_send: 10,
        max_shards: 4,
        batch_send_deadline: Duration::from_secs(3600),
        ..quick()
    };
    let (writer, _) = writer(&process, settings(&server.url(), config));
    writer.append(&tenant("acme"), samples(9));
    writer.append(&tenant("acme"), vec![sample("x", 9)]);
    assert_eq!(times(&server.requests(1).await), [(0..10).collect::<Vec<_>>()]);
    server.shut();
    let many = (0..8).flat_map(|time| (0..5).map(move |name| sample(&format!("x{name}"), time)));
    writer.append(&tenant("acme"), many.collect());
    process.until_metric(&format!("{} 40", metric("samples_pending", &server))).await;
    let waiting = server.requests(3).await.len() - 1;
    assert!((2..=4).contains(&waiting), "{waiting}");
    server.open();
    process.until_metric(&format!("{} 50", metric("samples_total", &server))).await;
    let seen = server.seen();
    assert!(seen.iter().all(|seen| decoded(seen).len() <= 10));
    for name in 0..5 {
        let name = format!("x{name}");
        let all = seen.iter().flat_map(decoded).filter(|sample| sample.labels.get("__name__") == Some(&name));
        assert_eq!(all.map(|sample| sample.timestamp_ms - NOW_MS).collect::<Vec<_>>(), (0..8).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn of_more_samples_than_may_wait_the_oldest_are_dropped_and_counted() {
    let (process, server) = (Process::new(), Server::start().await);
    server.shut();
    let config = QueueConfig { capacity: 5, max_shards: 1, ..quick() };
    let (writer, _) = writer(&process, settings(&server.url(), config));
    writer.append(&tenant("acme"), vec![sample("x", 0)]);
    server.requests(1).await;
    writer.append(&tenant("acme"), (1..9).map(|n| sample("x", n)).collect());
    let full = metric("samples_dropped_total", &server).replace('}', ",reason=\"queue_full\"}");
    process.until_metric(&format!("{full} 3")).await;
    server.open();
    assert_eq!(times(&server.requests(2).await), [vec![0], vec![4, 5, 6, 7, 8]]);
}

fn on_disk(server: &Server, dir: &Path) -> RemoteWriteSettings {
    RemoteWriteSettings { wal_dir: Some(dir.to_path_buf()), ..settings(&server.url(), quick()) }
}

/// Settings under which nothing is sent before the stop.
fn lazy_on_disk(server: &Server, dir: &Path) -> RemoteWriteSettings {
    let lazy = QueueConfig { batch_send_deadline: Duration::from_secs(3600), ..quick() };
    RemoteWriteSettings { wal_dir: Some(dir.to_path_buf()), ..settings(&server.url(), lazy) }
}

/// The directory as a process leaves it that is killed at this moment.
fn killed(dir: &Path) -> tempfile::TempDir {
    let left = tempfile::tempdir().unwrap();
    for (tenant, client) in clients(dir) {
        let copied = left.path().join(&tenant).join(&client);
        std::fs::create_dir_all(&copied).unwrap();
        for file in std::fs::read_dir(dir.join(&tenant).join(&client)).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), copied.join(file.file_name())).unwrap();
        }
    }
    left
}

fn clients(dir: &Path) -> Vec<(String, String)> {
    let names = |dir: &Path| -> Vec<String> {
        let entries = std::fs::read_dir(dir).unwrap();
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
    };
    names(dir).into_iter().flat_map(|t| names(&dir.join(&t)).into_iter().map(move |c| (t.clone(), c))).collect()
}

/// Samples on disk of a client of `acme`.
fn waits_on_disk(dir: &Path, client: &str) -> u64 {
    let left = killed(dir);
    super::spool::Spool::open(&left.path().join("acme").join(client)).unwrap().len()
}

#[tokio::test]
async fn what_was_recorded_is_on_disk_before_it_is_sent_and_sent_after_a_kill_though_nothing_is_recorded_again() {
    let (dir, server, first) = (tempfile::tempdir().unwrap(), Server::start().await, Process::new());
    let mut settings = lazy_on_disk(&server, dir.path());
    let queue = &mut settings.clients.get_mut("one").unwrap().queue_config;
    (queue.capacity, queue.max_shards) = (1, 1);
    let (before, _) = writer(&first, settings);
    before.append(&tenant("acme"), samples(3));
    before.append(&tenant("other"), samples(1));
    until(|| waits_on_disk(dir.path(), "one") == 3, || "three samples on disk".into()).await;
    until(|| clients(dir.path()).len() == 2, || "two tenants".into()).await;
    before.append(&tenant("acme"), vec![sample("x", 3)]);
    until(|| waits_on_disk(dir.path(), "one") == 4, || "four samples on disk".into()).await;
    let (left, works, second) = (killed(dir.path()), Server::start().await, Process::new());
    let (after, _) = writer(&second, on_disk(&works, left.path()));
    Arc::new(after).resume(left.path().to_path_buf(), Duration::from_secs(3600));
    second.until_metric(&format!("{} 4", metric("samples_total", &works))).await;
    second.until_metric(&format!("{} 1", metric("samples_total", &works).replace("acme", "other"))).await;
    let mut sent: Vec<i64> = times(&works.seen()).concat();
    sent.sort_unstable();
    assert_eq!(sent, [0, 0, 1, 2, 3]);
    until(|| waits_on_disk(left.path(), "one") == 0, || "nothing on disk".into()).await;
    assert_eq!(server.seen().len(), 0);
}

#[tokio::test]
async fn what_cannot_be_sent_waits_on_disk_over_a_restart_and_is_sent_first() {
    let (dir, server, first) = (tempfile::tempdir().unwrap(), Server::start().await, Process::new());
    server.answer(vec![status(500); 100_000]);
    let (before, _) = writer(&first, on_disk(&server, dir.path()));
    for n in 0..3 {
        before.append(&tenant("acme"), vec![sample("x", n)]);
        server.requests(server.seen().len() + 2).await;
    }
    first.until_metric(&format!("{} 3", metric("samples_pending", &server))).await;
    until(|| waits_on_disk(dir.path(), "one") == 3, || "three samples on disk".into()).await;
    let (left, works, second) = (killed(dir.path()), Server::start().await, Process::new());
    let (after, _) = writer(&second, on_disk(&works, left.path()));
    after.append(&tenant("acme"), vec![sample("x", 3)]);
    second.until_metric(&format!("{} 4", metric("samples_total", &works))).await;
    assert_eq!(times(&works.seen()).concat(), [0, 1, 2, 3]);
    second.until_metric(&format!("{} 0", metric("samples_pending", &works))).await;
    assert_eq!(first.tasks.stop(Duration::from_secs(20)).await, Vec::<&str>::new());
}

#[tokio::test]
async fn what_is_recorded_while_a_request_hangs_outlives_a_kill() {
    let (dir, server, first) = (tempfile::tempdir().unwrap(), Server::start().await, Process::new());
    server.shut();
    let (before, _) = writer(&first, on_disk(&server, dir.path()));
    before.append(&tenant("acme"), samples(1));
    server.requests(1).await;
    before.append(&tenant("acme"), vec![sample("x", 1)]);
    until(|| waits_on_disk(dir.path(), "one") == 2, || "two samples on disk".into()).await;
    // The answer to the first takes the first alone from disk.
    server.open();
    first.until_metric(&format!("{} 2", metric("samples_total", &server))).await;
    assert_eq!(times(&server.seen()), [[0], [1]]);
    until(|| waits_on_disk(dir.path(), "one") == 0, || "nothing on disk".into()).await;
}

#[tokio::test]
async fn all_that_waits_is_bounded_and_the_oldest_goes_first_also_what_nobody_sends() {
    let (dir, server, process) = (tempfile::tempdir().unwrap(), Server::start().await, Process::new());
    let (writer, _) = writer(&process, lazy_on_disk(&server, dir.path()));
    let hours_ago = |hours: u64| std::time::UNIX_EPOCH + Duration::from_secs(NOW_MS as u64 / 1000 - hours * 3600);
    for (client, hours) in [("acme/gone", 9), ("acme/one", 3), ("acme/left", 2)] {
        let path = dir.path().join(client);
        super::spool::Spool::open(&path).unwrap().append(&samples(5)).unwrap();
        let file = std::fs::File::options().append(true).open(path.join("000000000001.samples")).unwrap();
        file.set_modified(hours_ago(hours)).unwrap();
    }
    let bytes = std::fs::metadata(dir.path().join("acme/one/000000000001.samples")).unwrap().len();
    let mut shown = BTreeMap::new();
    let mut look = async |bytes: u64| {
        let bounds = Bounds { bytes, age: Duration::from_secs(8 * 3600) };
        writer.look_through(dir.path(), bounds, &mut shown).await.unwrap();
    };
    // The first look starts the tenant's part; later ones find it running.
    look(2 * bytes).await;
    process.until_metric(&format!("{} 5", metric("samples_pending", &server))).await;
    let dropped = |client: &str, url: &str, reason: &str, count: u64| {
        let name = "loki_ruler_wal_prometheus_remote_storage_samples_dropped_total";
        format!("{name}{{tenant=\"acme\",remote_name=\"{client}\",url=\"{url}\",reason=\"{reason}\"}} {count}")
    };
    process.until_metric(&dropped("gone", "", "too_old", 5)).await;
    let size = |bytes: u64| format!("loki_ruler_wal_disk_size{{tenant=\"acme\"}} {bytes}");
    process.until_metric(&size(2 * bytes)).await;
    process.until_metric("loki_ruler_wal_appender_ready{tenant=\"acme\"} 1").await;
    look(bytes).await;
    process.until_metric(&dropped("acme-rw-one", &format!("{}/", server.url()), "wal_full", 5)).await;
    process.until_metric(&format!("{} 0", metric("samples_pending", &server))).await;
    process.until_metric(&size(bytes)).await;
    look(0).await;
    process.until_metric(&dropped("left", "", "wal_full", 5)).await;
    assert_eq!(["gone", "one", "left"].map(|client| waits_on_disk(dir.path(), client)), [0, 0, 0]);
    std::fs::remove_dir_all(dir.path().join("acme")).unwrap();
    look(0).await;
    assert!(!process.metrics.print_classic().contains("loki_ruler_wal_disk_size{"));
}

#[tokio::test]
async fn samples_on_disk_that_are_too_old_are_dropped() {
    let (dir, process, server) = (tempfile::tempdir().unwrap(), Process::new(), Server::start().await);
    let mut spool = super::spool::Spool::open(&dir.path().join("acme/one")).unwrap();
    spool.append(&[sample("x", -3_600_001), sample("x", -3_600_000)]).unwrap();
    drop(spool);
    let (writer, _) = writer(&process, on_disk(&server, dir.path()));
    writer.append(&tenant("acme"), vec![sample("x", 1)]);
    let too_old = metric("samples_dropped_total", &server).replace('}', ",reason=\"too_old\"}");
    process.until_metric(&format!("{too_old} 1")).await;
    process.until_metric(&format!("{} 2", metric("samples_total", &server))).await;
    assert_eq!(times(&server.seen()).concat(), [-3_600_000, 1]);
}

#[tokio::test]
async fn while_the_disk_fails_samples_wait_in_memory_and_go_there_once_it_works() {
    let (dir, process, server) = (tempfile::tempdir().unwrap(), Process::new(), Server::start().await);
    std::fs::write(dir.path().join("acme"), "no directory").unwrap();
    server.answer([status(500)]);
    let (writer, _) = writer(&process, on_disk(&server, dir.path()));
    writer.append(&tenant("acme"), samples(3));
    process.until_metric(&format!("{} 3", metric("samples_total", &server))).await;
    assert_eq!(times(&server.seen()), [[0, 1, 2], [0, 1, 2]]);
    let ready = async |ready: u8| {
        let bounds = Bounds { bytes: 1 << 30, age: Duration::from_secs(3600) };
        writer.look_through(dir.path(), bounds, &mut BTreeMap::new()).await.unwrap();
        process.until_metric(&format!("loki_ruler_wal_appender_ready{{tenant=\"acme\"}} {ready}")).await;
    };
    ready(0).await;
    let shown = process.metrics.print_classic();
    let failures = |line: &&str| line.starts_with("loki_ruler_wal_disk_failures_total{tenant=\"acme\"} ");
    assert!(shown.lines().filter(failures).all(|line| !line.ends_with(" 0")), "{shown}");
    std::fs::remove_file(dir.path().join("acme")).unwrap();
    server.shut();
    writer.append(&tenant("acme"), vec![sample("x", 3)]);
    until(|| clients(dir.path()).len() == 1 && waits_on_disk(dir.path(), "one") == 1, || "one on disk".into()).await;
    ready(1).await;
    server.open();
    process.until_metric(&format!("{} 4", metric("samples_total", &server))).await;
}

#[tokio::test]
async fn on_stop_what_is_queued_is_sent_or_on_disk_within_a_bounded_time() {
    let check = |disk: bool| async move {
        let (dir, process) = (tempfile::tempdir().unwrap(), Process::new());
        let (works, hangs) = (Server::start().await, Server::start().await);
        hangs.shut();
        let mut settings = lazy_on_disk(&works, dir.path());
        let client = RemoteWriteClient { url: SecretUrl::new(hangs.url()), ..settings.clients["one"].clone() };
        settings.clients.insert("two".into(), client);
        settings.wal_dir = settings.wal_dir.filter(|_| disk);
        let (writer, _) = writer(&process, settings);
        writer.append(&tenant("acme"), samples(10));
        let started = Instant::now();
        assert_eq!(process.tasks.stop(Duration::from_secs(20)).await, Vec::<&str>::new());
        assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
        assert_eq!(times(&works.seen()), [(0..10).collect::<Vec<_>>()]);
        let of = format!("tenant=\"acme\",remote_name=\"acme-rw-two\",url=\"{}/\"", hangs.url());
        let full = format!("samples_dropped_total{{{of},reason=\"queue_full\"}} {}\n", if disk { 0 } else { 10 });
        assert!(process.metrics.print_classic().contains(&full), "{}", process.metrics.print_classic());
        if disk {
            assert_eq!(waits_on_disk(dir.path(), "two"), 10);
        }
    };
    tokio::join!(check(false), check(true));
}

#[tokio::test]
async fn what_waits_on_disk_is_sent_at_once_as_changed_settings_say() {
    let (dir, process) = (tempfile::tempdir().unwrap(), Process::new());
    let (hangs, works) = (Server::start().await, Server::start().await);
    hangs.shut();
    let (writer, current) = writer(&process, on_disk(&hangs, dir.path()));
    writer.append(&tenant("acme"), samples(1));
    hangs.requests(1).await;
    writer.append(&tenant("acme"), vec![sample("x", 1)]);
    *current.lock() = Arc::new(on_disk(&works, dir.path()));
    let (started, bounds) = (Instant::now(), Bounds { bytes: 1 << 30, age: Duration::from_secs(3600) });
    writer.look_through(dir.path(), bounds, &mut BTreeMap::new()).await.unwrap();
    process.until_metric(&format!("{} 2", metric("samples_total", &works))).await;
    assert_eq!(times(&works.seen()).concat(), [0, 1]);
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
}

#[tokio::test]
async fn changed_settings_count_from_the_next_sample_on_and_bad_ones_do_not() {
    let (process, one, two) = (Process::new(), Server::start().await, Server::start().await);
    let (dir, bad) = (tempfile::tempdir().unwrap(), settings("nowhere", quick()));
    let (writer, current) = writer(&process, on_disk(&one, dir.path()));
    writer.append(&tenant("acme"), samples(1));
    one.requests(1).await;
    *current.lock() = Arc::new(on_disk(&two, dir.path()));
    writer.append(&tenant("acme"), vec![sample("x", 1)]);
    assert_eq!(times(&two.requests(1).await), [[1]]);
    *current.lock() = Arc::new(bad);
    writer.append(&tenant("acme"), vec![sample("x", 2)]);
    assert_eq!(times(&two.requests(2).await), [[1], [2]]);
    *current.lock() = Arc::new(RemoteWriteSettings::default());
    writer.append(&tenant("acme"), vec![sample("x", 3)]);
    let shown = process.metrics.print_classic();
    assert!(!shown.contains("remote_name="), "{shown}");
    assert_eq!(one.seen().len(), 1);
}

#[test]
fn settings_that_cannot_be_used_are_named() {
    for (change, error) in [
        ((|_| {}) as fn(&mut RemoteWriteClient), ""),
        (|c| c.url = SecretUrl::new(""), "url: : relative URL without a base"),
        (
            |c| c.url = SecretUrl::new("tcp://u:hunter2@h"),
            "url: tcp://********@h: it must begin with http:// or https:// and name a host",
        ),
        (
            |c| c.queue_config.capacity = 0,
            "queue_config: capacity, min_shards, max_samples_per_send and min_backoff must be above 0",
        ),
        (|c| c.queue_config.max_shards = 0, "queue_config: max_shards must be between min_shards and 1000"),
        (|c| c.queue_config.max_backoff = Duration::ZERO, "queue_config: max_backoff must not be below min_backoff"),
        (|c| c.remote_timeout = Duration::ZERO, "remote_timeout must be above 0"),
        (
            |c| c.headers = [("Content-Type".to_string(), Secret::new("x"))].into(),
            "headers: \"Content-Type\" is set by the protocol or has settings of its own",
        ),
        (
            |c| c.write_relabel_configs.push(RelabelConfig { action: "hashmod".into(), ..Default::default() }),
            "write_relabel_configs: rule 1: action hashmod needs target_label",
        ),
        (|c| c.tls_config.key_file = "x".into(), "tls_config: a certificate and its key are only of use together"),
    ] {
        let mut settings = settings("http://prometheus/api/v1/write", QueueConfig::default());
        change(settings.clients.get_mut("one").unwrap());
        let error = if error.is_empty() { String::new() } else { format!("client \"one\": {error}") };
        assert_eq!(settings.check().err().unwrap_or_default(), error);
    }
}
