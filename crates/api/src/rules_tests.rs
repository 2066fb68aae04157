//! The rules API over a service that knows one group.

use super::*;
use async_trait::async_trait;
use model::{Kind, Labels};
use rpc::rules::{AlertState, Alerting, Health, RuleState};
use std::sync::Mutex;
use std::time::Duration;
use tower::ServiceExt;

/// Knows one group of the tenant `a`, and remembers what is written.
#[derive(Default)]
struct Known(Mutex<Vec<String>>);

impl Known {
    fn note(&self, call: String) -> model::Result<()> {
        self.0.lock().unwrap().push(call);
        Ok(())
    }
}

#[async_trait]
impl Rules for Known {
    async fn list(&self, tenant: &TenantId, namespace: Option<&str>) -> model::Result<String> {
        match namespace.unwrap_or("n") {
            "n" if tenant.as_str() == "a" => Ok("n: []\n".into()),
            _ => Err(Error::new(Kind::NotFound, "no rule groups found")),
        }
    }
    async fn group(&self, _: &TenantId, namespace: &str, group: &str) -> model::Result<String> {
        match (namespace, group) {
            ("n", "a/b c") => Ok("name: a/b c\n".into()),
            _ => Err(Error::new(Kind::NotFound, "group does not exist")),
        }
    }
    async fn set(&self, tenant: &TenantId, namespace: &str, group: &str) -> model::Result<()> {
        if group.is_empty() {
            return Err(Error::invalid("group 0: Groupname must not be empty"));
        }
        self.note(format!("{tenant} {namespace} {group}"))
    }
    async fn delete_group(&self, tenant: &TenantId, namespace: &str, group: &str) -> model::Result<()> {
        self.note(format!("{tenant} {namespace} {group} gone"))
    }
    async fn delete_namespace(&self, tenant: &TenantId, namespace: &str) -> model::Result<()> {
        self.note(format!("{tenant} {namespace} gone"))
    }
    async fn states(&self, tenant: &TenantId) -> model::Result<Vec<GroupState>> {
        Ok(vec![state(tenant)])
    }
}

fn state(tenant: &TenantId) -> GroupState {
    let of_tenant = Labels::new([("tenant", tenant.as_str())]);
    let alert = AlertState {
        labels: of_tenant.clone(),
        annotations: Labels::new([("text", "t")]),
        firing: true,
        active_since_ns: 1_795_410_352_500_000_000,
        value: 15.0,
    };
    let alerting = Alerting {
        hold: Duration::from_secs(60),
        keep_firing: Duration::ZERO,
        annotations: Labels::default(),
        alerts: vec![alert],
    };
    let rule = |name: &str, alerting| RuleState {
        name: name.into(),
        query: "vector(1)".into(),
        labels: of_tenant.clone(),
        alerting,
        health: Health::Err,
        last_error: "e".into(),
        evaluated_ns: 0,
        evaluation_time: Duration::from_millis(500),
    };
    GroupState {
        namespace: "n".into(),
        name: "g".into(),
        interval: Duration::from_secs(30),
        limit: 7,
        rules: vec![rule("A", Some(alerting)), rule("r", None)],
        evaluated_ns: 1_795_410_352_000_000_000,
        evaluation_time: Duration::from_millis(1500),
    }
}

async fn ask(api: &RulesApi, method: &str, path: &str, tenant: &str, body: &str) -> (u16, String, String) {
    let request = Request::builder().method(method).uri(path).header("X-Scope-OrgID", tenant);
    let response = router(api.clone()).oneshot(request.body(Body::from(body.to_string())).unwrap()).await.unwrap();
    let status = response.status().as_u16();
    let kind = response.headers().get(header::CONTENT_TYPE).map(|kind| kind.to_str().unwrap().to_string());
    let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, kind.unwrap_or_default(), String::from_utf8_lossy(&body).into_owned())
}

#[tokio::test]
async fn groups_are_read_and_written_as_yaml() {
    let known = Arc::new(Known::default());
    let api = RulesApi { rules: known.clone(), auth_enabled: true };
    let done = r#"{"data":null,"error":"","errorType":"","status":"success"}"#;
    let large = "x".repeat(GROUP_BYTES_MAX + 1);
    for prefix in ["/loki/api/v1/rules", "/api/prom/rules"] {
        for (method, path, tenant, body, status, expected) in [
            ("GET", "", "a", "", 200, "n: []\n"),
            ("GET", "", "b", "", 404, "no rule groups found\n"),
            ("GET", "/n", "a", "", 200, "n: []\n"),
            ("GET", "/m", "a", "", 404, "no rule groups found\n"),
            ("GET", "/n/a%2Fb%20c", "a", "", 200, "name: a/b c\n"),
            ("GET", "/n/x", "a", "", 404, "group does not exist\n"),
            ("POST", "/n%2Fm", "a", "name: g", 202, done),
            ("POST", "/n", "a", "", 400, "group 0: Groupname must not be empty\n"),
            ("POST", "/n", "a", &large, 413, "the rule group is larger than 1048576 bytes\n"),
            ("POST", "/n", "a|b", "name: g", 400, "multiple org IDs present\n"),
            ("POST", "/n", "", "name: g", 401, "no org id\n"),
            ("DELETE", "/n/g%2F1", "a", "", 202, done),
            ("DELETE", "/n", "b", "", 202, done),
        ] {
            let (got, kind, text) = ask(&api, method, &format!("{prefix}{path}"), tenant, body).await;
            assert_eq!((got, text.as_str()), (status, expected), "{method} {path}");
            if (method, got) == ("GET", 200) {
                assert_eq!(kind, "application/yaml");
            }
        }
        let noted = std::mem::take(&mut *known.0.lock().unwrap());
        assert_eq!(noted, ["a n/m name: g", "a n g/1 gone", "b n gone"]);
    }
}

#[tokio::test]
async fn states_are_prometheus_json() {
    let api = RulesApi { rules: Arc::new(Known::default()), auth_enabled: true };
    let data = async |path: &str| {
        let (status, _, body) = ask(&api, "GET", path, "a|b", "").await;
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str::<Value>(&body).unwrap()["data"].clone()
    };
    let alert = json!({
        "labels": {"tenant": "a"}, "annotations": {"text": "t"}, "state": "firing",
        "activeAt": "2026-11-23T05:05:52.5Z", "value": "1.5e+01",
    });
    let groups = data("/prometheus/api/v1/rules").await;
    assert_eq!(groups["groups"].as_array().unwrap().len(), 2, "of both tenants");
    let zero = "0001-01-01T00:00:00Z";
    assert_eq!(
        groups["groups"][0],
        json!({
            "name": "g", "file": "n", "interval": 30.0, "limit": 7, "lastEvaluation": "2026-11-23T05:05:52Z",
            "evaluationTime": 1.5,
            "rules": [
                {"state": "firing", "name": "A", "query": "vector(1)", "duration": 60.0, "keepFiringFor": 0.0,
                 "labels": {"tenant": "a"}, "annotations": {}, "alerts": [alert], "health": "err", "lastError": "e",
                 "type": "alerting", "lastEvaluation": zero, "evaluationTime": 0.5},
                {"name": "r", "query": "vector(1)", "labels": {"tenant": "a"}, "health": "err", "lastError": "e",
                 "type": "recording", "lastEvaluation": zero, "evaluationTime": 0.5},
            ],
        })
    );
    assert_eq!(data("/prometheus/api/v1/alerts").await["alerts"][0], alert);
    for (params, names) in [
        ("type=alert", vec!["A", "A"]),
        ("type=record", vec!["r", "r"]),
        ("rule_name[]=r&rule_name[]=x", vec!["r", "r"]),
        ("file[]=n&rule_group[]=g&rule_name[]=A", vec!["A", "A"]),
        ("file[]=m", vec![]),
        ("rule_group=h", vec![]),
    ] {
        let groups = data(&format!("/prometheus/api/v1/rules?{params}")).await;
        let rules = groups["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap());
        assert_eq!(rules.map(|rule| rule["name"].as_str().unwrap().to_string()).collect::<Vec<_>>(), names, "{params}");
    }
    let (status, _, body) = ask(&api, "GET", "/prometheus/api/v1/rules?type=x", "a", "").await;
    assert!(status == 400 && body.contains(r#"\"x\" of type: want alert or record"#), "{body}");
}
