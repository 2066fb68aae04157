//! Who may reach a process: certificates between its nodes and on its ports, credentials, operators' own port.

use crate::certificates::{Authority, Identity};
use crate::client::{Client, now_ns};
use crate::ports::free_port;
use crate::process::Node;
use crate::roles;
use reqwest::header::WWW_AUTHENTICATE;
use std::path::Path;
use std::time::{Duration, Instant};

const SECRET_OF_ACME: &str = "token-of-acme-0123456789abcdef";
/// `printf %s token-of-acme-0123456789abcdef | sha256sum`.
const SHA256_OF_ACME: &str = "cdc6633563b40a9f0194bd97ce94150fb3a153ad956aba23c8b20f762c811106";

fn server_tls(authority: &Authority, server: &Identity) -> String {
    format!(
        "{{cert_file: {}, key_file: {}, client_ca_file: {}, client_auth_type: RequireAndVerifyClientCert}}",
        server.cert_file.display(),
        server.key_file.display(),
        authority.ca_file.display()
    )
}

/// The lines of a cluster's file that make its calls mutually authenticated; `client` is what this node shows.
fn mutual_tls(authority: &Authority, server: &Identity, client: Option<&Identity>) -> String {
    let shown =
        client.map(|c| format!("tls_cert_path: {}, tls_key_path: {}, ", c.cert_file.display(), c.key_file.display()));
    format!(
        "server:\n  grpc_tls_config: {}\ningester_client:\n  grpc_client_config: {{tls_enabled: true, {}tls_ca_path: {}, \
         tls_server_name: localhost}}\n",
        server_tls(authority, server),
        shown.unwrap_or_default(),
        authority.ca_file.display()
    )
}

async fn push_status(client: &Client) -> Option<u16> {
    client.push(&[("app", "tls")], &[(now_ns(), "a line".into())]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_with_certificates_work_together_and_one_without_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (ours, strangers) = (Authority::new(dir.path(), "ours"), Authority::new(dir.path(), "strangers"));
    let (server, good) = (ours.sign("server"), ours.sign("good"));
    let (stranger, expired) = (strangers.sign("stranger"), ours.sign_expired("expired"));
    let mut ingester = Node::new(&dir.path().join("ingester")).arg("-target=ingester");
    let shared = roles::config(dir.path(), ingester.grpc_port);
    ingester = ingester.config(&format!("{shared}{}", mutual_tls(&ours, &server, None)));
    ingester.start().await;
    for (name, shown, expected) in [
        ("good", Some(&good), 204),
        ("none", None, 503),
        ("stranger", Some(&stranger), 503),
        ("expired", Some(&expired), 503),
    ] {
        let config = format!("{shared}{}", mutual_tls(&ours, &server, shown));
        let mut node = Node::new(&dir.path().join(name)).arg("-target=distributor,querier").config(&config);
        node.start().await;
        let status = push_status(&node.client()).await;
        assert_eq!(status, Some(expected), "{name}: {}", node.log());
        if expected == 204 {
            let lines = node.client().all_lines("{app=\"tls\"}", now_ns() - 3_600_000_000_000, now_ns()).await;
            assert_eq!(lines.len(), 1);
        }
    }
}

/// A client of an HTTPS port.
fn https(authority: &Authority, identity: Option<&Identity>) -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let ca = std::fs::read(&authority.ca_file).unwrap();
    let mut builder = reqwest::Client::builder().add_root_certificate(reqwest::Certificate::from_pem(&ca).unwrap());
    if let Some(identity) = identity {
        let mut pem = std::fs::read(&identity.cert_file).unwrap();
        pem.extend(std::fs::read(&identity.key_file).unwrap());
        builder = builder.identity(reqwest::Identity::from_pem(&pem).unwrap());
    }
    builder.timeout(Duration::from_secs(20)).build().unwrap()
}

async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(started.elapsed() < Duration::from_secs(60), "{what}: it never happens");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_http_port_speaks_tls_and_shows_a_renewed_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let (ours, later) = (Authority::new(dir.path(), "ours"), Authority::new(dir.path(), "later"));
    let (server, client) = (ours.sign("server"), ours.sign("client"));
    let config = format!("auth_enabled: false\nserver:\n  http_tls_config: {}\n", server_tls(&ours, &server));
    let mut node = Node::new(&dir.path().join("node")).config(&config);
    node.spawn();
    let url = format!("https://localhost:{}/ready", node.http_port);
    let ready = async |http: &reqwest::Client| Some(http.get(&url).send().await.ok()?.status().as_u16());
    let good = https(&ours, Some(&client));
    until("ready", async || ready(&good).await.filter(|status| *status == 200)).await;
    assert_eq!(ready(&https(&ours, None)).await, None, "a client without a certificate");
    assert_eq!(ready(&https(&later, Some(&client))).await, None, "a client that trusts another authority");
    assert_eq!(node.client().status("/ready").await, None, "a client without TLS");
    let renewed = later.sign("renewed");
    std::fs::copy(&renewed.key_file, &server.key_file).unwrap();
    std::fs::copy(&renewed.cert_file, &server.cert_file).unwrap();
    until("the renewed certificate", async || ready(&https(&later, Some(&client))).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_probe_asks_an_https_port() {
    let dir = tempfile::tempdir().unwrap();
    let server = Authority::new(dir.path(), "ours").sign("server");
    let tls = format!("{{cert_file: {}, key_file: {}}}", server.cert_file.display(), server.key_file.display());
    let config = format!("auth_enabled: false\nserver: {{http_tls_config: {tls}}}\n");
    let mut node = Node::new(&dir.path().join("node")).config(&config);
    node.spawn();
    let probe = |scheme: &str| {
        let url = format!("-health.url={scheme}://localhost:{}/ready", node.http_port);
        let status = std::process::Command::new(env!("CARGO_BIN_EXE_lokirs")).args(["-health", &url]).status();
        status.unwrap().success()
    };
    until("the probe succeeds", async || probe("https").then_some(())).await;
    assert!(!probe("http"));
}

/// Status of a request with a credential and a tenant; on 401 the header that says how to do better must be there.
async fn asked(url: &str, method: &str, secret: Option<&str>, tenant: Option<&str>) -> (u16, String) {
    let mut request = reqwest::Client::new().request(method.parse().unwrap(), url);
    if let Some(secret) = secret {
        request = request.bearer_auth(secret);
    }
    if let Some(tenant) = tenant {
        request = request.header("X-Scope-OrgID", tenant);
    }
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    assert_eq!(answer.headers().contains_key(WWW_AUTHENTICATE), status == 401, "{url}");
    (status, answer.text().await.unwrap())
}

fn auth_file(dir: &Path) -> String {
    let path = dir.join("auth.yaml");
    let hash = SHA256_OF_ACME;
    let text =
        format!("credentials: [{{name: acme, secret_sha256: {hash}, tenants: [acme], permissions: [push, read]}}]");
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credential_is_its_tenant() {
    let dir = tempfile::tempdir().unwrap();
    let config = format!("auth_enabled: true\nserver: {{auth_file: {}}}\n", auth_file(dir.path()));
    let mut node = Node::new(&dir.path().join("node")).config(&config);
    node.start().await;
    let base = format!("http://127.0.0.1:{}", node.http_port);
    let acme = Some(SECRET_OF_ACME);
    for (path, secret, tenant, status) in [
        ("/loki/api/v1/labels", acme, None, 200),
        ("/loki/api/v1/labels", acme, Some("acme"), 200),
        ("/loki/api/v1/labels", acme, Some("globex"), 403),
        ("/loki/api/v1/labels", None, Some("acme"), 401),
        ("/loki/api/v1/labels", Some("wrong"), Some("acme"), 401),
        ("/config", acme, None, 403),
        ("/metrics", None, None, 401),
        ("/ready", None, None, 200),
    ] {
        let (got, text) = asked(&format!("{base}{path}"), "GET", secret, tenant).await;
        assert_eq!(got, status, "{path} {secret:?} {tenant:?}: {text}");
    }
    let body = format!("{{\"streams\":[{{\"stream\":{{\"a\":\"b\"}},\"values\":[[\"{}\",\"x\"]]}}]}}", now_ns());
    let headers = [("Content-Type", "application/json"), ("Authorization", &format!("Bearer {SECRET_OF_ACME}"))];
    let answer = node.client().post("/loki/api/v1/push", &headers, body.clone().into_bytes()).await.unwrap();
    assert_eq!(answer.0, 204, "{}", answer.1);
    let refused = node.client().post("/loki/api/v1/push", &headers[..1], body.into_bytes()).await.unwrap();
    assert_eq!(refused.0, 401);
    let (_, labels) = asked(&format!("{base}/loki/api/v1/label/a/values"), "GET", acme, None).await;
    assert!(labels.contains("\"b\""), "{labels}");
}

/// What changes a process or tells how it is set up.
const OPERATORS_ROUTES: [&str; 7] = [
    "/config",
    "/services",
    "/log_level",
    "/debug/tasks",
    "/debug/memory",
    "/debug/pprof/heap",
    "/debug/pprof/profile?seconds=0",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_routes_are_on_their_own_port() {
    let dir = tempfile::tempdir().unwrap();
    for (apart, also_on_data_port) in [(false, true), (true, false), (true, true)] {
        let admin_port = free_port();
        let mut node = Node::new(&dir.path().join(format!("{apart}-{also_on_data_port}")));
        if apart {
            node = node.arg(format!("-server.admin-listen-port={admin_port}"));
            node = node.arg(format!("-server.admin-routes-on-data-port={also_on_data_port}"));
        }
        node.start().await;
        let (data, admin) = (format!("http://127.0.0.1:{}", node.http_port), format!("http://127.0.0.1:{admin_port}"));
        for path in OPERATORS_ROUTES {
            let on_data = asked(&format!("{data}{path}"), "GET", None, None).await.0;
            assert_eq!(on_data != 404, also_on_data_port, "{path}: {on_data}");
            if apart {
                assert_ne!(asked(&format!("{admin}{path}"), "GET", None, None).await.0, 404, "{path}");
            }
        }
        if apart {
            assert_eq!(asked(&format!("{admin}/ready"), "GET", None, None).await.0, 200);
            assert_eq!(asked(&format!("{admin}/metrics"), "GET", None, None).await.0, 200);
            let pushed = asked(&format!("{admin}/loki/api/v1/push"), "POST", None, None).await.0;
            assert_eq!(pushed, 404, "data does not come in at the operators' port");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changes_a_process_is_no_get() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::new(dir.path());
    node.start().await;
    for path in ["/flush", "/ingester/shutdown", "/ingester/flush_shutdown", "/log_level?log_level=debug"] {
        let (status, text) = node.client().get(path).await;
        let harmless = matches!(status, 404 | 405) || text.contains("Current log level is info");
        assert!(harmless, "GET {path}: {status} {text}");
    }
    let (_, level) = node.client().get("/log_level").await;
    assert!(level.contains("info"), "{level}");
    assert_eq!(node.client().status("/ready").await, Some(200));
}
