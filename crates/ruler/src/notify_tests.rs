//! Alerts against servers that answer as they are told.

use super::discovery::{Found, Lookup};
use super::*;
use crate::relabel::{RelabelConfig, Verbatim};
use crate::testing::{Answer, Process, Seen, Server, status};
use model::Labels;
use runtime::settings::{Secret, SecretUrl};
use serde_json::{Value, json};

fn settings(urls: &[String]) -> NotifySettings {
    let alertmanager = AlertmanagerConfig {
        alertmanager_url: urls.iter().map(SecretUrl::new).collect(),
        notification_timeout: Duration::from_secs(5),
        ..AlertmanagerConfig::default()
    };
    NotifySettings { alertmanager, ..NotifySettings::default() }
}

/// A notifier whose settings may be changed.
fn notifier(process: &Process, settings: NotifySettings) -> (Notifier, Arc<Mutex<Arc<NotifySettings>>>) {
    let current = Arc::new(Mutex::new(Arc::new(settings)));
    let of: SettingsOf = {
        let current = current.clone();
        Arc::new(move |_| current.lock().clone())
    };
    let notifier = Notifier::new(of, process.clock.clone(), &process.tasks, &process.reloader, &process.metrics);
    (notifier, current)
}

fn tenant(id: &str) -> TenantId {
    TenantId::parse(id).unwrap()
}

fn alert(name: &str) -> Alert {
    Alert {
        labels: Labels::new([("alertname", name), ("env", "prod")]),
        annotations: Labels::new([("summary", "it \"burns\"")]),
        starts_at_ns: 1_767_225_600_500_000_000,
        ends_at_ns: 1_767_225_840_000_000_000,
        generator_url: "http://grafana/explore?left=%7B".into(),
    }
}

fn bodies(seen: &[Seen]) -> Vec<Value> {
    seen.iter().map(|seen| serde_json::from_slice(&seen.body).unwrap()).collect()
}

/// The names of a request's alerts.
fn names(body: &Value) -> Vec<&str> {
    body.as_array().unwrap().iter().map(|alert| alert["labels"]["alertname"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn an_alert_arrives_as_alertmanagers_take_it() {
    let (process, server) = (Process::new(), Server::start().await);
    let mut settings = settings(&[format!("http://us:hunter2@127.0.0.1:{}/prefix/", server.port)]);
    settings.external_labels = [("env", "other"), ("cluster", "c1")].map(|(k, v)| (k.into(), v.into())).into();
    settings.alertmanager.alert_relabel_configs = vec![
        RelabelConfig {
            source_labels: vec!["cluster".into()],
            target_label: "at".into(),
            replacement: Verbatim::new("in $1"),
            ..RelabelConfig::default()
        },
        RelabelConfig {
            source_labels: vec!["alertname".into()],
            regex: Verbatim::new("Quiet"),
            action: "drop".into(),
            ..RelabelConfig::default()
        },
    ];
    let (notifier, _) = notifier(&process, settings);
    notifier.send(&tenant("acme"), vec![alert("Quiet"), alert("Loud")]);
    let seen = server.requests(1).await;
    assert_eq!(seen[0].path, "/prefix/api/v2/alerts");
    for (header, value) in
        [("content-type", "application/json"), ("x-scope-orgid", "acme"), ("authorization", "Basic dXM6aHVudGVyMg==")]
    {
        assert_eq!(seen[0].header(header), value);
    }
    let expected = json!([{
        "labels": {"alertname": "Loud", "at": "in c1", "cluster": "c1", "env": "prod"},
        "annotations": {"summary": "it \"burns\""},
        "startsAt": "2026-01-01T00:00:00.5Z",
        "endsAt": "2026-01-01T00:04:00Z",
        "generatorURL": "http://grafana/explore?left=%7B",
    }]);
    assert_eq!(bodies(&seen), [expected]);
    let of = format!("{{user=\"acme\",alertmanager=\"http://127.0.0.1:{}/prefix/api/v2/alerts\"}}", server.port);
    process.until_metric(&format!("loki_prometheus_notifications_sent_total{of} 1")).await;
    process.until_metric(&format!("loki_prometheus_notifications_queue_capacity{of} 10000")).await;
    process.until_metric("loki_prometheus_notifications_alertmanagers_discovered{user=\"acme\"} 1").await;
    assert!(!process.metrics.print_classic().contains("hunter2"));
}

#[tokio::test]
async fn an_alertmanager_that_hangs_delays_no_other_and_batches_are_bounded() {
    let (process, hangs, works) = (Process::new(), Server::start().await, Server::start().await);
    hangs.shut();
    let (notifier, _) = notifier(&process, settings(&[hangs.url(), works.url(), "http://127.0.0.1:1".into()]));
    notifier.send(&tenant("a"), (0..100).map(|n| alert(&format!("{n:03}"))).collect());
    let seen = bodies(&works.requests(2).await);
    assert_eq!((names(&seen[0]).len(), names(&seen[1]).len()), (64, 36));
    assert_eq!(names(&seen[1])[0], "064");
    assert_eq!(hangs.requests(1).await.len(), 1);
    // What comes meanwhile replaces what waits, and what was on its way.
    notifier.send(&tenant("a"), vec![Alert { ends_at_ns: 1, ..alert("099") }, alert("100")]);
    hangs.answer([status(500)]);
    hangs.open();
    let seen = bodies(&hangs.requests(3).await);
    assert_eq!((names(&seen[1]).len(), names(&seen[2]).len()), (64, 37));
    assert_eq!(names(&seen[2])[35..], ["099", "100"]);
    assert_eq!(seen[2][35]["endsAt"], "1970-01-01T00:00:00.000000001Z");
}

#[tokio::test]
async fn what_fails_is_tried_again_only_where_it_may_help() {
    let wait = |seconds: &str| -> Answer { (503, vec![("retry-after", seconds.into())], String::new()) };
    for (answers, requests, errors, dropped) in [
        (vec![status(500), wait("0")], 3, 2, 0),
        (vec![status(429)], 2, 1, 0),
        (vec![status(400)], 1, 1, 1),
        (vec![status(302)], 1, 1, 1),
    ] {
        let (process, server) = (Process::new(), Server::start().await);
        server.answer(answers.clone());
        let (notifier, _) = notifier(&process, settings(&[server.url()]));
        notifier.send(&tenant("a"), vec![alert("A")]);
        let of = format!("{{user=\"a\",alertmanager=\"{}/api/v2/alerts\"}}", server.url());
        let sent = 1 - dropped;
        for (name, count) in [("errors", errors), ("dropped", dropped), ("sent", sent)] {
            process.until_metric(&format!("loki_prometheus_notifications_{name}_total{of} {count}")).await;
        }
        assert_eq!(server.seen().len(), requests, "{answers:?}");
    }
}

#[tokio::test]
async fn of_more_alerts_than_may_wait_the_oldest_are_dropped_and_counted() {
    let (process, server) = (Process::new(), Server::start().await);
    server.shut();
    let mut settings = settings(&[server.url()]);
    settings.alertmanager.notification_queue_capacity = 3;
    let (notifier, _) = notifier(&process, settings);
    let send = |names: &[&str]| notifier.send(&tenant("a"), names.iter().map(|name| alert(name)).collect());
    send(&["first"]);
    server.requests(1).await;
    send(&["a", "b", "c", "d", "e"]);
    let of = format!("{{user=\"a\",alertmanager=\"{}/api/v2/alerts\"}}", server.url());
    process.until_metric(&format!("loki_prometheus_notifications_dropped_total{of} 2")).await;
    server.open();
    assert_eq!(names(&bodies(&server.requests(2).await)[1]), ["c", "d", "e"]);
}

#[tokio::test]
async fn names_are_looked_up_again_and_alerts_wait_for_the_first_answer() {
    let (process, one, two) = (Process::new(), Server::start().await, Server::start().await);
    let mut settings = settings(&["http://_web._tcp.am/p".to_string()]);
    settings.alertmanager.enable_alertmanager_discovery = true;
    settings.alertmanager.alertmanager_refresh_interval = Duration::from_millis(10);
    let (mut notifier, _) = notifier(&process, settings);
    let found: Arc<Mutex<Result<Vec<u16>, String>>> = Arc::new(Mutex::new(Err("no such name".into())));
    let answer = found.clone();
    notifier.context.look_up = Arc::new(move |lookup| {
        assert_eq!(lookup, Lookup::Services("_web._tcp.am".into()));
        let answer = answer.lock().clone();
        let services =
            |ports: Vec<u16>| ports.into_iter().map(|port| Found::Service("127.0.0.1.".into(), port)).collect();
        Box::pin(async move { answer.map(services) })
    });
    notifier.send(&tenant("a"), vec![alert("A")]);
    *found.lock() = Ok(vec![one.port]);
    assert_eq!(one.requests(1).await[0].path, "/p/api/v2/alerts");
    *found.lock() = Ok(vec![one.port, two.port]);
    let discovered =
        |count: usize| format!("loki_prometheus_notifications_alertmanagers_discovered{{user=\"a\"}} {count}");
    process.until_metric(&discovered(2)).await;
    notifier.send(&tenant("a"), vec![alert("B")]);
    assert_eq!((one.requests(2).await.len(), two.requests(1).await.len()), (2, 1));
    *found.lock() = Ok(vec![two.port]);
    process.until_metric(&discovered(1)).await;
    // A failing look-up changes nothing.
    *found.lock() = Err("no answer".into());
    notifier.send(&tenant("a"), vec![alert("C")]);
    assert_eq!((two.requests(2).await.len(), one.seen().len()), (2, 2));
    assert!(!process.metrics.print_classic().contains(&format!("127.0.0.1:{}/", one.port)));
}

#[tokio::test]
async fn changed_settings_count_from_the_next_alert_on_and_bad_ones_do_not() {
    let (process, one, two) = (Process::new(), Server::start().await, Server::start().await);
    let (notifier, current) = notifier(&process, settings(&[one.url()]));
    notifier.send(&tenant("a"), vec![alert("A")]);
    one.requests(1).await;
    let mut changed = settings(&[two.url()]);
    changed.alertmanager.alertmanager_client.credentials = Secret::new("hunter2");
    *current.lock() = Arc::new(changed.clone());
    notifier.send(&tenant("a"), vec![alert("B")]);
    assert_eq!(two.requests(1).await[0].header("authorization"), "Bearer hunter2");
    changed.alertmanager.alertmanager_url = vec![SecretUrl::new("am:9093")];
    *current.lock() = Arc::new(changed);
    notifier.send(&tenant("a"), vec![alert("C")]);
    assert_eq!(names(&bodies(&two.requests(2).await)[1]), ["C"]);
    assert_eq!(one.seen().len(), 1);
}

#[tokio::test]
async fn what_waits_for_an_alertmanager_that_stays_is_sent_as_changed_settings_say() {
    let (process, stays, goes) = (Process::new(), Server::start().await, Server::start().await);
    stays.shut();
    goes.shut();
    let (notifier, current) = notifier(&process, settings(&[stays.url(), goes.url()]));
    let send = |name: &str| notifier.send(&tenant("a"), vec![alert(name)]);
    send("sent");
    stays.requests(1).await;
    goes.requests(1).await;
    send("waits");
    let mut changed = settings(&[stays.url()]);
    changed.alertmanager.alertmanager_client.credentials = Secret::new("hunter2");
    *current.lock() = Arc::new(changed);
    send("new");
    // What was on its way is not known to have arrived.
    let seen = stays.requests(2).await;
    assert_eq!(seen[1].header("authorization"), "Bearer hunter2");
    stays.open();
    goes.open();
    let of = format!("{{user=\"a\",alertmanager=\"{}/api/v2/alerts\"}}", stays.url());
    process.until_metric(&format!("loki_prometheus_notifications_sent_total{of} 3")).await;
    let seen = bodies(&stays.seen());
    let mut sent: Vec<&str> = seen[1..].iter().flat_map(names).collect();
    sent.sort_unstable();
    assert_eq!(sent, ["new", "sent", "waits"]);
    let seen = bodies(&goes.requests(2).await);
    assert_eq!((names(&seen[0]), names(&seen[1])), (vec!["sent"], vec!["waits"]));
}

#[tokio::test]
async fn what_waits_for_a_name_that_stays_is_sent_though_it_cannot_be_looked_up_now() {
    let (process, server) = (Process::new(), Server::start().await);
    server.shut();
    let settings = settings(&["http://dnssrv+_web._tcp.am".to_string()]);
    let (mut notifier, current) = notifier(&process, settings.clone());
    let found: Arc<Mutex<Result<Vec<Found>, String>>> =
        Arc::new(Mutex::new(Ok(vec![Found::Service("127.0.0.1.".into(), server.port)])));
    let answer = found.clone();
    notifier.context.look_up = Arc::new(move |_| {
        let answer = answer.lock().clone();
        Box::pin(async move { answer })
    });
    notifier.send(&tenant("a"), vec![alert("sent")]);
    server.requests(1).await;
    notifier.send(&tenant("a"), vec![alert("waits")]);
    *found.lock() = Err("no answer".into());
    let mut changed = settings;
    changed.alertmanager.notification_queue_capacity = 3;
    *current.lock() = Arc::new(changed);
    notifier.send(&tenant("a"), vec![alert("new")]);
    server.requests(2).await;
    server.open();
    let of = format!("{{user=\"a\",alertmanager=\"http://127.0.0.1:{}/api/v2/alerts\"}}", server.port);
    process.until_metric(&format!("loki_prometheus_notifications_sent_total{of} 3")).await;
}

#[tokio::test]
async fn what_waits_for_the_first_answer_waits_on_when_settings_change() {
    let (process, server) = (Process::new(), Server::start().await);
    let (mut notifier, current) = notifier(&process, settings(&["http://dnssrv+_web._tcp.am".to_string()]));
    notifier.context.look_up = Arc::new(|_| Box::pin(async { Err("no answer".to_string()) }));
    notifier.send(&tenant("a"), vec![alert("A")]);
    *current.lock() = Arc::new(settings(&[server.url()]));
    notifier.send(&tenant("a"), vec![alert("B")]);
    let of = format!("{{user=\"a\",alertmanager=\"{}/api/v2/alerts\"}}", server.url());
    process.until_metric(&format!("loki_prometheus_notifications_sent_total{of} 2")).await;
}

#[tokio::test]
async fn on_stop_what_is_queued_is_sent_and_a_dead_alertmanager_delays_the_end_for_a_bounded_time() {
    let (process, server, hangs) = (Process::new(), Server::start().await, Server::start().await);
    server.shut();
    hangs.shut();
    let mut settings = settings(&[server.url(), "http://127.0.0.1:1".into(), hangs.url()]);
    settings.alertmanager.notification_timeout = Duration::from_secs(60);
    let (notifier, _) = notifier(&process, settings);
    notifier.send(&tenant("a"), (0..200).map(|n| alert(&n.to_string())).collect());
    server.requests(1).await;
    hangs.requests(1).await;
    process.tasks.stopping().cancel();
    server.open();
    let started = Instant::now();
    assert_eq!(process.tasks.stop(Duration::from_secs(20)).await, Vec::<&str>::new());
    assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
    let sent: usize = bodies(&server.seen()).iter().map(|body| names(body).len()).sum();
    assert_eq!(sent, 200);
    for url in ["http://127.0.0.1:1".to_string(), hangs.url()] {
        let of = format!("{{user=\"a\",alertmanager=\"{url}/api/v2/alerts\"}}");
        process.until_metric(&format!("loki_prometheus_notifications_dropped_total{of} 200")).await;
    }
}

#[test]
fn settings_that_cannot_be_used_are_named() {
    let with = |change: fn(&mut AlertmanagerConfig)| {
        let mut settings = settings(&["http://am".to_string()]);
        change(&mut settings.alertmanager);
        settings.check()
    };
    for (change, error) in [
        ((|_| {}) as fn(&mut AlertmanagerConfig), ""),
        (|c| c.enable_alertmanager_v2 = false, "enable_alertmanager_v2: false: version 1 of the API is not spoken"),
        (|c| c.notification_queue_capacity = 0, "notification_queue_capacity must be above 0"),
        (
            |c| c.alertmanager_url.push(SecretUrl::new("http//am")),
            "alertmanager_url: http//am: relative URL without a base",
        ),
        (
            |c| c.alert_relabel_configs.push(RelabelConfig::default()),
            "alert_relabel_configs: rule 1: action replace needs target_label",
        ),
        (
            |c| c.alertmanager_client.tls_cert_path = "x".into(),
            "alertmanager_client: a certificate and its key are only of use together",
        ),
    ] {
        assert_eq!(with(change).err().unwrap_or_default(), error);
    }
}
