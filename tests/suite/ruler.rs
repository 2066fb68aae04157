//! Rules in the real process: written through the API, evaluated on schedule, sent to a real Alertmanager and a real
//! Prometheus; alerts outlive a kill -9, and a ruler's groups its end.

use crate::alert_servers::Server;
use crate::client::{Client, encode, now_ns};
use crate::cluster::{Cluster, Setup};
use crate::process::Node;
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

const WITHIN: Duration = Duration::from_secs(30);

const GROUP: &str = r#"
name: errors/1
interval: 1s
rules:
  - record: app:errors:count10s
    expr: sum by (app) (count_over_time({app="a"} |= "error" [10s]))
    labels: {team: x}
  - alert: Errors
    expr: sum by (app) (count_over_time({app="a"} |= "error" [10s])) > 2
    for: 3s
    labels: {severity: page}
    annotations: {summary: "{{ $labels.app }} has {{ $value }} errors"}
"#;

async fn until<T>(what: &str, mut found: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = found().await {
            return found;
        }
        assert!(started.elapsed() < WITHIN, "not within {WITHIN:?}: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Pushes an error line.
async fn fail(client: &Client) {
    let now = now_ns();
    assert_eq!(client.push(&[("app", "a")], &[(now, format!("error at {now}"))]).await, Some(204));
}

/// The rules as the API tells them, by name.
async fn rule(client: &Client, name: &str) -> Option<Value> {
    let answer = client.get_json(&format!("/prometheus/api/v1/rules?rule_name[]={name}")).await;
    Some(answer["data"]["groups"].get(0)?["rules"][0].clone())
}

/// One process that sends alerts and samples to these.
fn sends_to(alertmanager: &Server, prometheus: &Server) -> String {
    format!(
        "auth_enabled: false\ncommon: {{path_prefix: '${{DIR}}/data'}}\nruler:\n  alertmanager_url: {}\n  external_url: \
         http://grafana\n  datasource_uid: logs\n  resend_delay: 1s\n  remote_write: {{enabled: true, clients: {{p: {{url: \
         '{}/api/v1/write', queue_config: {{batch_send_deadline: 100ms}}}}}}}}\n",
        alertmanager.url(),
        prometheus.url()
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alert_fires_outlives_a_kill_and_is_resolved() {
    let (alertmanager, prometheus) = tokio::join!(Server::alertmanager(), Server::prometheus());
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::new(dir.path()).config(&sends_to(&alertmanager, &prometheus));
    node.start().await;
    let client = node.client();
    let (status, body) = client.post("/loki/api/v1/rules/team%2Fa", &[], GROUP.into()).await.unwrap();
    assert_eq!(status, 202, "{body}");
    let (status, listed) = client.get("/loki/api/v1/rules/team%2Fa/errors%2F1").await;
    assert!(status == 200 && listed.contains("for: 3s"), "{listed}");

    let pushing = tokio::spawn({
        let client = client.clone();
        async move {
            for _ in 0..20 {
                fail(&client).await;
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    });
    let mut states = BTreeSet::new();
    let firing = until("the alert fires", async || {
        let rule = rule(&client, "Errors").await?;
        states.insert(rule["state"].as_str().unwrap().to_string());
        (rule["state"] == "firing").then_some(rule)
    })
    .await;
    assert!(states.contains("pending"), "{states:?}");
    assert_eq!(firing["health"], "ok");
    let since = firing["alerts"][0]["activeAt"].as_str().unwrap().to_string();
    let fires = |alerts: &Value| alerts.as_array().is_some_and(|alerts| alerts.len() == 1);
    let alerts = alertmanager.until("/api/v2/alerts?active=true", fires).await;
    assert_eq!(alerts[0]["labels"]["severity"], "page");
    let summary = alerts[0]["annotations"]["summary"].as_str().unwrap();
    assert!(summary.starts_with("a has ") && summary.ends_with(" errors"), "{summary}");
    let link = alerts[0]["generatorURL"].as_str().unwrap();
    assert!(link.starts_with("http://grafana/explore?left="), "{link}");
    let series = |query: &str| format!("/api/v1/query?query={}", encode(query));
    let is_there = |answer: &Value| answer["data"]["result"].get(0).is_some();
    prometheus.until(&series(r#"app:errors:count10s{app="a",team="x"} > 2"#), is_there).await;
    prometheus.until(&series(r#"ALERTS{alertname="Errors",alertstate="firing",app="a"}"#), is_there).await;

    pushing.await.unwrap();
    node.kill();
    let restarted = Instant::now();
    node.start().await;
    let again =
        until("the alert is known again", async || rule(&client, "Errors").await.filter(|rule| rule["health"] == "ok"))
            .await;
    // Whoever starts anew needs three seconds to let it fire.
    if restarted.elapsed() < Duration::from_secs(3) {
        assert_eq!(again["state"], "firing", "{again}\n{}", node.log());
    }
    let now = again["alerts"][0]["activeAt"].as_str().unwrap();
    assert!(now <= since.as_str() || now[..17] == since[..17], "active since {since}, now since {now}");

    let resolved = |alerts: &Value| alerts.as_array().is_some_and(Vec::is_empty);
    alertmanager.until("/api/v2/alerts?active=true", resolved).await;
    let inactive = rule(&client, "Errors").await.unwrap();
    assert_eq!((inactive["state"].as_str(), inactive["alerts"].as_array().map(Vec::len)), (Some("inactive"), Some(0)));
    let gone = |answer: &Value| answer["data"]["result"].as_array().is_some_and(Vec::is_empty);
    prometheus.until(&series(r#"ALERTS{alertname="Errors"}"#), gone).await;
    assert!(client.metric("loki_prometheus_rule_evaluations_total", "errors/1").await >= 10.0);
    assert_eq!(client.metric("loki_prometheus_rule_evaluation_failures_total", "errors/1").await, 0.0);
    assert!(client.metric("loki_ruler_wal_samples_appended_total", "").await > 10.0);
    assert_eq!(client.send("DELETE", "/loki/api/v1/rules/team%2Fa").await.0, 202);
    until("its rules are gone", async || rule(&client, "Errors").await.is_none().then_some(())).await;
    node.stop();
}

/// Groups that each ruler evaluates, as its metrics tell.
async fn evaluated(client: &Client) -> usize {
    let (_, text) = client.get("/metrics").await;
    text.lines().filter(|line| line.starts_with("loki_prometheus_rule_group_rules{")).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ruler_that_is_killed_leaves_its_groups_to_another() {
    const GROUPS: usize = 12;
    let dir = tempfile::tempdir().unwrap();
    let setup = Setup { replication_factor: 1, yaml: "ruler: {poll_interval: 1s}\n", ..Setup::default() };
    let targets = ["ingester,distributor,querier", "ruler", "ruler"];
    let mut cluster = Cluster::start(dir.path(), &targets, &setup).await;
    let (writer, first, second) = (cluster.client(0), cluster.client(1), cluster.client(2));
    for i in 0..GROUPS {
        let expr = format!("{{alert: A{i}, expr: 'count_over_time({{app=\"a\"}}[1h]) > 0'}}");
        let group = format!("name: g{i}\ninterval: 1s\nrules: [{expr}]\n");
        let (status, body) = first.post("/loki/api/v1/rules/n", &[], group.into()).await.unwrap();
        assert_eq!(status, 202, "{body}");
    }
    fail(&writer).await;
    until("each group is evaluated once", async || {
        let (one, two) = (evaluated(&first).await, evaluated(&second).await);
        (one > 0 && two > 0 && one + two == GROUPS).then_some(())
    })
    .await;
    let all_fire = async |client: &Client| {
        let answer = client.get_json("/prometheus/api/v1/rules").await;
        let groups = answer["data"]["groups"].as_array().unwrap().clone();
        let firing = groups.iter().filter(|group| group["rules"][0]["state"] == "firing").count();
        (groups.len() == GROUPS && firing == GROUPS).then_some(())
    };
    until("each ruler tells of all", async || all_fire(&first).await.and(all_fire(&second).await)).await;

    cluster.nodes[1].kill();
    until("the other has all groups", async || (evaluated(&second).await == GROUPS).then_some(())).await;
    until("all fire there", async || all_fire(&second).await).await;
    cluster.restart(1).await;
    until("they share the groups again", async || {
        let (one, two) = (evaluated(&first).await, evaluated(&second).await);
        (one > 0 && two > 0 && one + two == GROUPS).then_some(())
    })
    .await;
    until("each tells of all again", async || all_fire(&first).await.and(all_fire(&second).await)).await;
}
