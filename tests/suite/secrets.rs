//! Canaries: secrets in the configuration, the environment, requests and credentials come out nowhere, be it in a log, an
//! answer, a metric, a trace or an error.

use crate::client::{encode, now_ns};
use crate::ports::free_port;
use crate::process::Node;
use crate::traces::{Heard, hex};
use std::cell::Cell;
use std::path::Path;
use std::process::Command;

/// What all canaries have in common, and nothing else has.
const MARK: &str = "c4n4ry";
/// The least that must be planted, so that the test does not become empty.
const CANARIES_MIN: usize = 50;

/// Numbers the canaries that it gives out.
#[derive(Default)]
struct Canaries(Cell<usize>);

impl Canaries {
    fn next(&self) -> String {
        self.0.set(self.0.get() + 1);
        format!("{MARK}{}", self.0.get())
    }
}

/// One block for each cloud, with a canary at each of its secrets.
fn stores(c: &Canaries, indent: &str) -> String {
    let next = || c.next();
    format!(
        "{indent}s3: {{s3: 's3://id:{}@eu-1/bucket', secret_access_key: {}, session_token: {}}}\n\
         {indent}gcs: {{bucket_name: b, service_account: '{{\"private_key\":\"{}\"}}'}}\n\
         {indent}azure: {{account_key: {}, connection_string: 'AccountKey={}', client_secret: {}}}\n",
        next(),
        next(),
        next(),
        next(),
        next(),
        next(),
        next()
    )
}

fn thanos_stores(c: &Canaries, indent: &str) -> String {
    let next = || c.next();
    format!(
        "{indent}s3: {{endpoint: 'https://u:{}@minio', secret_access_key: {}, session_token: {}}}\n\
         {indent}gcs: {{bucket_name: b, service_account: {}}}\n\
         {indent}azure: {{account_key: {}, connection_string: {}, client_secret: {}}}\n",
        next(),
        next(),
        next(),
        next(),
        next(),
        next(),
        next()
    )
}

fn ruler(c: &Canaries) -> String {
    let next = || c.next();
    let client = || {
        format!(
            "{{url: 'https://u:{}@write/api', headers: {{Authorization: 'Bearer {}'}}, basic_auth: {{password: {}}}}}",
            next(),
            next(),
            next()
        )
    };
    let (first, second) = (client(), client());
    format!(
        "ruler:\n  external_url: 'https://u:{}@ruler'\n  alertmanager_url: 'http://u:{}@am:9093'\n  alertmanager_client: \
         {{basic_auth_password: {}}}\n  remote_write:\n    client: {first}\n    clients:\n      other: {second}\n  storage:\n",
        next(),
        next(),
        next()
    )
}

/// A file that starts, with a canary at every key that may hold a secret, those included that mean nothing here.
fn config(c: &Canaries, auth_file: &Path) -> String {
    let mut text = format!(
        "auth_enabled: true\nserver: {{log_level: debug, auth_file: '{}'}}\ncommon:\n  path_prefix: ${{DIR}}/data\n  storage:\n    \
         filesystem: {{chunks_directory: '${{DIR}}/chunks', rules_directory: '${{DIR}}/rules'}}\n",
        auth_file.display()
    );
    let aws = stores(c, "  ").replacen("s3:", "aws:", 1);
    text += &format!("storage_config:\n{aws}  object_store:\n{}", thanos_stores(c, "    "));
    text += &format!("{}{}", ruler(c), stores(c, "    "));
    text += &format!("ruler_storage:\n{}", thanos_stores(c, "  "));
    text += &format!(
        "chunk_store_config: {{chunk_cache_config: {{redis: {{password: {}}}}}}}\n\
         frontend: {{downstream_url: 'http://u:{}@down', tail_proxy_url: 'http://u:{}@tail'}}\n\
         memberlist: {{join_members: []}}\nanalytics: {{usage_stats_url: 'http://u:{}@stats'}}\n",
        c.next(),
        c.next(),
        c.next(),
        c.next()
    );
    text += &format!(
        "kafka_config: {{sasl_password: {}}}\npattern_ingester: {{metric_aggregation: {{basic_auth: {{password: {}}}}}}}\n\
         ingester: {{lifecycler: {{ring: {{kvstore: {{store: inmemory, etcd: {{password: {}}}, consul: {{acl_token: {}}}}}}}}}}}\n\
         compactor: {{compactor_ring: {{kvstore: {{etcd: {{password: {}}}, consul: {{acl_token: {}}}}}}}}}\n\
         query_scheduler: {{scheduler_ring: {{kvstore: {{etcd: {{password: {}}}, consul: {{acl_token: {}}}}}}}}}\n",
        c.next(),
        c.next(),
        c.next(),
        c.next(),
        c.next(),
        c.next(),
        c.next(),
        c.next()
    );
    text += &format!(
        "limits_config:\n  ruler_alertmanager_config: {{alertmanager_url: 'http://u:{}@am:9093', alertmanager_client: \
         {{credentials: {}}}}}\n  ruler_remote_write_headers: {{Authorization: '{}'}}\n",
        c.next(),
        c.next(),
        c.next()
    );
    text += &format!("query_range: {{results_cache: {{cache: {{redis: {{password: '${{REDIS_{MARK}}}'}}}}}}}}\n");
    text
}

fn assert_silent(where_from: &str, text: &str) {
    if let Some(at) = text.find(MARK) {
        let around = &text[text.floor_char_boundary(at.saturating_sub(200))..text.ceil_char_boundary(at + 40)];
        panic!("{where_from} tells a secret: {around}");
    }
}

/// What the binary says to a configuration, with some flags, and whether it accepts it.
fn said(dir: &Path, yaml: &str, flags: &[&str]) -> (bool, String) {
    let file = dir.join("asked.yaml");
    std::fs::write(&file, yaml).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_lokirs"))
        .arg(format!("-config.file={}", file.display()))
        .arg("-config.expand-env")
        .args(flags)
        .current_dir(dir)
        .env("DIR", dir)
        .env(format!("REDIS_{MARK}"), format!("{MARK}-env"))
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).replace(&format!("REDIS_{MARK}"), "REDIS"))
}

#[test]
fn printing_and_checking_the_configuration_tells_no_secret() {
    let dir = tempfile::tempdir().unwrap();
    let canaries = Canaries::default();
    let auth = dir.path().join("auth.yaml");
    let good = config(&canaries, &auth);
    assert!(canaries.0.get() >= CANARIES_MIN, "only {} canaries are planted", canaries.0.get());
    for flags in [
        &["-verify-config"][..],
        &["-verify-config", "-print-config-stderr"],
        &["-verify-config", "-log-config-reverse-order"],
    ] {
        let (accepted, text) = said(dir.path(), &good, flags);
        assert!(accepted, "{flags:?}: {text}");
        assert_silent(&format!("{flags:?}"), &text);
        assert!(flags.len() == 1 || text.contains("********"), "{flags:?} prints the configuration");
    }
}

#[test]
fn a_refused_configuration_tells_no_secret() {
    let dir = tempfile::tempdir().unwrap();
    let secret = format!("{MARK}0");
    for yaml in [
        format!("storage_config: {{aws: {{secret_access_key: [{secret}]}}}}"),
        format!("storage_config: {{aws: {{s3: 'no-scheme:{secret}@x'}}}}"),
        format!("storage_config: {{aws: {{s3: 's3://id:%zz{secret}@x/b'}}}}"),
        format!("storage_config: {{aws: {{secret_acces_key: {secret}}}}}"),
        format!("storage_config: {{aws: {{secret_access_key: {secret}}}"),
        format!("ruler: {{alertmanager_client: {{basic_auth_password: {{a: {secret}}}}}}}"),
        format!("ruler: {{alertmanager_client: {{basic_auth_password: \"{secret}}}}}"),
        format!("ruler:\n  alertmanager_client:\n  basic_auth_password: {secret}\n"),
        "ruler: {external_url: \"${NOPE-x}\"}".to_string(),
        format!(
            "schema_config: {{configs: [{{from: 2020-01-01, store: tsdb, schema: v13, object_store: s3}}]}}\nstorage_config: {{aws: {{secret_access_key: {secret}}}}}\n"
        ),
    ] {
        let (accepted, text) = said(dir.path(), &yaml, &["-verify-config", "-print-config-stderr"]);
        assert!(!accepted, "{yaml} is no configuration");
        assert_silent(&yaml.replace(MARK, "canary"), &text);
    }
}

const PATHS: [&str; 26] = [
    "/",
    "/ready",
    "/metrics",
    "/config",
    "/config?mode=diff",
    "/config?mode=defaults",
    "/services",
    "/log_level",
    "/runtime_config",
    "/memberlist",
    "/ring",
    "/debug/tasks",
    "/debug/memory",
    "/debug/pprof/heap",
    "/debug/pprof/profile?seconds=0",
    "/loki/api/v1/status/buildinfo",
    "/loki/api/v1/labels",
    "/loki/api/v1/label/a/values",
    "/loki/api/v1/series?match[]={a=\"b\"}",
    "/loki/api/v1/index/stats?query={a=\"b\"}",
    "/loki/api/v1/query_range?query={a=",
    "/loki/api/v1/query_range?query={a=\"b\"}",
    "/loki/api/v1/delete",
    "/loki/api/v1/rules",
    "/prometheus/api/v1/rules",
    "/nowhere",
];

/// Asks every path with every kind of credential; all carry canaries in headers and parameters.
async fn ask_everything(node: &Node, good_secret: &str) -> String {
    let mut heard = String::new();
    let base = format!("http://127.0.0.1:{}", node.http_port);
    let http = reqwest::Client::new();
    for path in PATHS {
        for method in ["GET", "POST", "DELETE", "PATCH"] {
            for authorization in
                [format!("Bearer {good_secret}"), format!("Bearer {MARK}-wrong"), format!("Basic {MARK}")]
            {
                let (path, query) = path.split_once('?').unwrap_or((path, ""));
                let query = query.split_once('=').map(|(k, v)| format!("{k}={}&", encode(v))).unwrap_or_default();
                let url = format!("{base}{path}?{query}token={MARK}-url");
                let request = http.request(method.parse().unwrap(), url);
                let request = request
                    .header("Authorization", authorization)
                    .header("Cookie", format!("session={MARK}-cookie"))
                    .header("X-Api-Key", format!("{MARK}-key"))
                    .header("X-Scope-OrgID", "acme");
                let answer = request.send().await.unwrap();
                heard.push_str(&format!("{method} {path}: {:?}\n", answer.headers()));
                heard.push_str(&answer.text().await.unwrap());
            }
        }
    }
    heard
}

/// As `sha256sum` prints it.
fn sha256_hex(text: &str) -> String {
    hex(ring::digest::digest(&ring::digest::SHA256, text.as_bytes()).as_ref())
}

fn credentials(dir: &Path, secret: &str) -> std::path::PathBuf {
    let path = dir.join("auth.yaml");
    let hash = sha256_hex(secret);
    let permissions = "[push, read, delete, rules, metrics, admin]";
    let text =
        format!("credentials: [{{name: all, secret_sha256: {hash}, tenants: ['*'], permissions: {permissions}}}]");
    std::fs::write(&path, text).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_process_tells_no_secret() {
    let dir = tempfile::tempdir().unwrap();
    let (collector, traces) = Heard::start().await;
    let canaries = Canaries::default();
    let secret = canaries.next();
    let config = config(&canaries, &credentials(dir.path(), &secret));
    let mut node = Node::new(&dir.path().join("node"))
        .config(&config)
        .arg("-print-config-stderr")
        .env(&format!("REDIS_{MARK}"), format!("{MARK}-env"))
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://u:{MARK}-otlp@127.0.0.1:{collector}"))
        .env("OTEL_EXPORTER_OTLP_HEADERS", format!("x-key={MARK}-otlp-header"))
        .env("OTEL_TRACES_SAMPLER", "always_on");
    node.start().await;
    let bearer = format!("Bearer {secret}");
    let body = format!("{{\"streams\":[{{\"stream\":{{\"a\":\"b\"}},\"values\":[[\"{}\",\"x\"]]}}]}}", now_ns());
    let headers = [("Content-Type", "application/json"), ("Authorization", &bearer), ("X-Scope-OrgID", "acme")];
    let pushed = node.client().post("/loki/api/v1/push", &headers, body.into_bytes()).await.unwrap();
    assert_eq!(pushed.0, 204, "{}", pushed.1);
    let answers = ask_everything(&node, &secret).await;
    assert!(answers.contains("********") && answers.contains("loki_request_duration_seconds"), "the answers are real");
    assert_silent("an answer", &answers);
    tokio::task::block_in_place(|| node.stop());
    let log = std::fs::read_to_string(node.dir.join("lokirs.log")).unwrap();
    assert!(log.contains("metrics.go") && log.contains("request answered"), "the log is a debug log");
    assert_silent("the log", &log);
    let bodies = traces.bodies.lock().unwrap();
    let sent: String = bodies.iter().map(|body| String::from_utf8_lossy(body).into_owned()).collect();
    assert!(sent.contains("loki_api_v1_query_range"), "traces are sent");
    assert_silent("a trace", &sent);
    let carried = traces.headers.lock().unwrap().iter().all(|h| h["x-key"].to_str().unwrap().contains("otlp-header"));
    assert!(carried, "the collector gets its header");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stores_and_files_that_fail_tell_no_secret() {
    let dir = tempfile::tempdir().unwrap();
    let dead = free_port();
    let config = format!(
        "auth_enabled: false\ncommon:\n  path_prefix: ${{DIR}}/data\n  storage:\n    s3:\n      s3: \
         's3://id:{MARK}-url@127.0.0.1:{dead}/bucket'\n      s3forcepathstyle: true\n      session_token: {MARK}-session\n      \
         backoff_config: {{max_retries: 1}}\n"
    );
    let mut node = Node::new(&dir.path().join("node")).config(&config).arg("-log.level=debug");
    node.start().await;
    assert_eq!(node.client().push(&[("a", "b")], &[(now_ns(), "x".into())]).await, Some(204));
    let mut heard = String::new();
    for path in ["/loki/api/v1/query_range?query=%7Ba%3D%22b%22%7D", "/loki/api/v1/labels", "/config", "/metrics"] {
        let (status, text) = node.client().get(path).await;
        heard.push_str(&format!("{path} {status} {text}\n"));
    }
    assert!(heard.contains("127.0.0.1"), "the store is named: {heard:.500}");
    assert_silent("an answer", &heard);
    let log = std::fs::read_to_string(node.dir.join("lokirs.log")).unwrap();
    assert_silent("the log", &log);
}
