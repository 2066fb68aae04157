//! Requests against routes behind the guard: who gets in, as which tenant, and what the others are told.

use super::*;
use axum::body::Body;
use axum::routing::{any, get};
use runtime::tasks::Tasks;
use std::time::Duration;
use tower::ServiceExt;

// Of the secrets "sender-secret", "reader-secret" and "root-secret".
const FILE: &str = "\
credentials:
  - {name: sender, secret_sha256: SENDER, tenants: [acme], permissions: [push]}
  - {name: reader, secret_sha256: READER, tenants: [acme, globex], permissions: [read]}
  - {name: root, secret_sha256: ROOT, tenants: ['*'], permissions: [push, read, delete, rules, metrics, admin]}
";

fn hex(secret: &str) -> String {
    ring::digest::digest(&ring::digest::SHA256, secret.as_bytes()).as_ref().iter().map(|b| format!("{b:02x}")).collect()
}

fn file() -> String {
    FILE.replace("SENDER", &hex("sender-secret"))
        .replace("READER", &hex("reader-secret"))
        .replace("ROOT", &hex("root-secret"))
}

fn basic(user: &str, password: &str) -> String {
    use base64::Engine;
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}")))
}

/// Answers the tenant that the request arrived with, and whether its secret did, too.
async fn echo(headers: HeaderMap) -> String {
    let tenant = headers.get(TENANT_HEADER).map_or("none", |v| v.to_str().unwrap());
    format!("{tenant}{}", if headers.contains_key(header::AUTHORIZATION) { " and a secret" } else { "" })
}

fn routes(guard: &Guard) -> Router {
    let route = |path: &str| Router::new().route(path, any(echo));
    guard
        .pushers(route("/loki/api/v1/push"))
        .merge(guard.readers(
            route("/loki/api/v1/query").merge(route("/loki/api/v1/delete")).merge(route("/loki/api/v1/rules/x")),
        ))
        .merge(guard.operators(route("/config")))
        .merge(guard.public(Router::new().route("/ready", get(echo)).route("/metrics", get(echo))))
}

async fn ask(routes: &Router, method: &str, path: &str, authorization: &str, tenants: &[&str]) -> (u16, String) {
    let mut request = Request::builder().method(method).uri(path);
    if !authorization.is_empty() {
        request = request.header("authorization", authorization);
    }
    for tenant in tenants {
        request = request.header("x-scope-orgid", *tenant);
    }
    let response = routes.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let status = response.status().as_u16();
    assert_eq!(response.headers().get_all("www-authenticate").iter().count(), if status == 401 { 2 } else { 0 });
    let body = axum::body::to_bytes(response.into_body(), 1000).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn a_credential_opens_what_it_permits_and_only_its_tenants() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("auth.yaml");
    std::fs::write(&path, file()).unwrap();
    let metrics = Metrics::default();
    let tasks = Tasks::new(&metrics);
    let reloader = Reloader::new(&tasks, &metrics);
    let guard = Guard::new(&path.display().to_string(), &reloader, &metrics).unwrap();
    let routes = routes(&guard);
    let (sender, reader, root) =
        ("Bearer sender-secret".to_string(), basic("reader", "reader-secret"), basic("root", "root-secret"));
    let (push, query) = ("/loki/api/v1/push", "/loki/api/v1/query");
    for (method, path, authorization, tenants, status, body) in [
        ("POST", push, sender.as_str(), &[][..], 200, "acme"),
        ("POST", push, "bearer sender-secret", &["acme"], 200, "acme"),
        ("POST", push, &sender, &["globex"], 403, "not for tenant \"globex\""),
        ("POST", push, &sender, &["acme", "globex"], 403, "not for tenant"),
        ("GET", query, &sender, &[], 403, "no permission to read"),
        ("GET", query, &reader, &["globex"], 200, "globex"),
        ("GET", query, &reader, &["acme|globex"], 200, "acme|globex"),
        ("GET", query, &reader, &["acme|initech"], 403, "not for tenant \"initech\""),
        ("GET", query, &reader, &[], 200, "none"),
        ("POST", query, &reader, &["acme"], 200, "acme"),
        ("POST", "/loki/api/v1/delete", &reader, &["acme"], 403, "no permission to delete"),
        ("POST", "/loki/api/v1/delete", &root, &["acme"], 200, "acme"),
        ("GET", "/loki/api/v1/rules/x", &reader, &["acme"], 200, "acme"),
        ("POST", "/loki/api/v1/rules/x", &reader, &["acme"], 403, "no permission to rules"),
        ("POST", push, &root, &["initech"], 200, "initech"),
        ("GET", "/config", &reader, &[], 403, "no permission to admin"),
        ("GET", "/config", &root, &[], 200, "none"),
        ("GET", "/metrics", &root, &[], 200, "none"),
        ("GET", "/metrics", "", &[], 401, "Authorization"),
        ("GET", "/ready", "", &[], 200, "none"),
        ("GET", query, "", &["acme"], 401, "Authorization"),
        ("GET", query, "Bearer wrong", &["acme"], 401, "not known"),
        ("GET", query, &basic("reader", "root-secret"), &["acme"], 401, "not known"),
        ("GET", query, &basic("reader", ""), &["acme"], 401, "not known"),
        ("GET", query, "Basic !!!", &["acme"], 401, "not known"),
        ("GET", query, "Digest reader-secret", &["acme"], 401, "not known"),
    ] {
        let (got, text) = ask(&routes, method, path, authorization, tenants).await;
        assert_eq!(got, status, "{method} {path} {authorization} {tenants:?}: {text}");
        assert!(text.contains(body) && !text.contains("secret"), "{method} {path} {authorization}: {text}");
    }
    for reason in ["permission", "tenant", "no_credential", "unknown_credential"] {
        let name = format!("loki_auth_refused_requests_total{{reason=\"{reason}\"}}");
        assert!(metrics.print_classic().contains(&name), "{name}");
    }

    std::fs::write(&path, file().replace(&hex("sender-secret"), &hex("new-secret"))).unwrap();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while ask(&routes, "POST", push, "Bearer new-secret", &[]).await.0 != 200 {
        assert!(tokio::time::Instant::now() < deadline, "the new secret is never known");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(ask(&routes, "POST", push, &sender, &[]).await.0, 401);
    assert!(tasks.stop(Duration::from_secs(5)).await.is_empty());
}

#[tokio::test]
async fn without_a_file_everybody_gets_in() {
    let metrics = Metrics::default();
    let tasks = Tasks::new(&metrics);
    let guard = Guard::new("", &Reloader::new(&tasks, &metrics), &metrics).unwrap();
    for path in ["/config", "/loki/api/v1/push", "/metrics"] {
        assert_eq!(ask(&routes(&guard), "GET", path, "", &["a"]).await, (200, "a".into()));
    }
}

#[test]
fn wrong_files_are_refused_without_their_secrets() {
    let secret = hex("x");
    for (yaml, fault) in [
        ("credentials: [{name: a, secret_sha256: hunter2}]", "secret_sha256 is not"),
        ("credentials: [{name: 'a:b', secret_sha256: HASH}]", "without colons"),
        ("credentials: [{secret_sha256: HASH}]", "needs a name"),
        ("credentials: [{name: a, secret_sha256: HASH, permissions: [fly]}]", "no permission \"fly\""),
        ("credentials: [{name: a, secret_sha256: HASH, tenants: ['a/b']}]", "unsupported character"),
        ("credentials: [{name: a, secret_sha256: HASH}, {name: b, secret_sha256: HASH}]", "another's, too"),
        ("credentials: [{name: a, secret: hunter2}]", "field secret not found"),
    ] {
        let error = Credentials::parse(&yaml.replace("HASH", &secret)).err().expect(fault);
        assert!(error.contains(fault), "{error}");
        assert!(!error.contains("hunter2") && !error.contains(&secret), "{error}");
    }
}
