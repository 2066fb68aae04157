//! Traces of two real processes arrive at a collector as one tree, from the caller's span down to the ingester's log.

use crate::client::now_ns;
use crate::ports::free_port;
use crate::process::Node;
use crate::roles;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use lokirs::otlp::encode::{ExportRequest, Span};
use prost::Message;
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// What a collector was sent: bodies and headers.
#[derive(Clone, Default)]
pub struct Heard {
    pub bodies: Arc<Mutex<Vec<Bytes>>>,
    pub headers: Arc<Mutex<Vec<HeaderMap>>>,
}

impl Heard {
    /// A collector on a free port.
    pub async fn start() -> (u16, Heard) {
        let heard = Heard::default();
        let take = async |State(heard): State<Heard>, headers: HeaderMap, body: Bytes| {
            heard.bodies.lock().unwrap().push(body);
            heard.headers.lock().unwrap().push(headers);
            StatusCode::OK
        };
        let routes = Router::new().fallback(take).with_state(heard.clone());
        let port = free_port();
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        tokio::spawn(async move { axum::serve(listener, routes).await });
        (port, heard)
    }

    fn spans(&self) -> Vec<Span> {
        let bodies = self.bodies.lock().unwrap();
        let requests = bodies.iter().map(|body| ExportRequest::decode(body.clone()).unwrap());
        requests.flat_map(|r| r.resource_spans).flat_map(|r| r.scope_spans).flat_map(|s| s.spans).collect()
    }
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn node(dir: &Path, name: &str, target: &str, collector: u16) -> Node {
    Node::new(&dir.join(name))
        .arg(format!("-target={target}"))
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://127.0.0.1:{collector}"))
        .env("OTEL_SERVICE_NAME", name)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_and_a_query_are_one_tree_each_over_both_processes() {
    let (port, heard) = Heard::start().await;
    let dir = tempfile::tempdir().unwrap();
    let ingester = node(dir.path(), "store", "ingester", port);
    let shared = roles::config(dir.path(), ingester.grpc_port);
    let mut ingester = ingester.config(&shared);
    let mut edge = node(dir.path(), "edge", "distributor,querier", port).config(&shared);
    ingester.start().await;
    edge.start().await;
    let caller = format!("00-{TRACE_ID}-00f067aa0ba902b7-01");
    let body = format!("{{\"streams\":[{{\"stream\":{{\"a\":\"b\"}},\"values\":[[\"{}\",\"x\"]]}}]}}", now_ns());
    let headers = [("Content-Type", "application/json"), ("traceparent", &caller)];
    let pushed = edge.client().post("/loki/api/v1/push", &headers, body.into_bytes()).await.unwrap();
    assert_eq!(pushed.0, 204);
    let query = format!("query=%7Ba%3D%22b%22%7D&start={}", now_ns() - 3_600_000_000_000);
    let form = [("Content-Type", "application/x-www-form-urlencoded"), ("traceparent", &caller)];
    let queried = edge.client().post("/loki/api/v1/query_range", &form, query.into_bytes()).await.unwrap();
    assert_eq!(queried.0, 200, "{}", queried.1);

    let started = Instant::now();
    let expected = [
        ("POST loki_api_v1_push", "push", "replica", "gRPC /lokirs.v1.Ingester/Push", "ingester push", "log append"),
        ("POST loki_api_v1_query_range", "query", "engine", "gRPC /lokirs.v1.Ingester/Select", "", ""),
    ];
    loop {
        let spans: Vec<Span> = heard.spans().into_iter().filter(|s| hex(&s.trace_id) == TRACE_ID).collect();
        let missing = expected.iter().find(|(a, b, c, d, e, f)| !is_chain(&spans, &[a, b, c, d, e, f]));
        let Some(missing) = missing else { return };
        let seen: Vec<&str> = spans.iter().map(|s| s.name.as_str()).collect();
        assert!(started.elapsed() < Duration::from_secs(60), "no such tree: {missing:?} in {seen:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Whether each named span is an ancestor of the next, the first being the child of the caller's.
fn is_chain(spans: &[Span], names: &[&str]) -> bool {
    let by_id: HashMap<&[u8], &Span> = spans.iter().map(|span| (span.span_id.as_slice(), span)).collect();
    let names: Vec<&str> = names.iter().copied().filter(|name| !name.is_empty()).collect();
    let last = names.last().copied().unwrap_or_default();
    spans.iter().filter(|span| span.name == last).any(|leaf| {
        let mut line = vec![leaf.name.as_str()];
        let mut at = leaf;
        while let Some(parent) = by_id.get(at.parent_span_id.as_slice()) {
            line.push(&parent.name);
            at = parent;
        }
        let mut line = line.into_iter().rev();
        hex(&at.parent_span_id) == "00f067aa0ba902b7" && names.iter().all(|name| line.any(|span| span == *name))
    })
}
