//! A collector in the test: spans arrive over HTTP and over gRPC with what was asked for, and no secret is printed.

use super::encode::{ExportRequest, OneValue};
use super::*;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;
use axum::routing::post;
use parking_lot::Mutex;
use runtime::clock::ManualClock;
use runtime::listen::{ConnectionGauges, ListenLimits, Listener};
use runtime::tasks::Tasks;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use tracing::info_span;
use tracing_subscriber::layer::SubscriberExt;

type Heard = Arc<Mutex<Vec<(HeaderMap, ExportRequest)>>>;

async fn over_http(State(heard): State<Heard>, headers: HeaderMap, body: Bytes) -> StatusCode {
    heard.lock().push((headers, ExportRequest::decode(body).unwrap()));
    StatusCode::OK
}

/// A message of gRPC stands behind a byte that says it is plain and four of its length.
async fn over_grpc(State(heard): State<Heard>, headers: HeaderMap, body: Bytes) -> axum::response::Response {
    heard.lock().push((headers, ExportRequest::decode(body.slice(5..)).unwrap()));
    let headers = [("content-type", "application/grpc"), ("grpc-status", "0")];
    (headers, vec![0u8, 0, 0, 0, 0]).into_response()
}

async fn collector(tasks: &Tasks) -> (SocketAddr, Heard) {
    let heard = Heard::default();
    let routes = Router::new()
        .route("/v1/traces", post(over_http))
        .route("/opentelemetry.proto.collector.trace.v1.TraceService/Export", post(over_grpc))
        .with_state(heard.clone());
    let gauges = ConnectionGauges::new(&Metrics::default());
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), "http", ListenLimits::default(), &gauges).await;
    let listener = listener.unwrap();
    let address = listener.address().unwrap();
    tasks.spawn("collector", listener.serve(routes, tasks.stopping()));
    (address, heard)
}

fn of(variables: &[(&str, &str)]) -> Result<Option<Collector>, String> {
    let variables: HashMap<String, String> =
        variables.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    Collector::of_environment(&|name| variables.get(name).cloned())
}

#[tokio::test]
async fn spans_arrive_over_both_protocols() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    for protocol in ["http/protobuf", "grpc"] {
        let metrics = Metrics::default();
        let (tasks, exporting) = (Tasks::new(&metrics), Tasks::new(&Metrics::default()));
        let (address, heard) = collector(&tasks).await;
        let settings = of(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{address}")),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", protocol),
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=hunter%32"),
            ("OTEL_RESOURCE_ATTRIBUTES", "zone=a"),
        ]);
        let (spans, exporter) = traces(settings.unwrap(), ManualClock::at(7));
        let exporter = exporter.unwrap();
        exporter.register(&metrics);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(spans), || {
            info_span!("query", tenant = "acme", lines = 3).in_scope(|| drop(info_span!("fetch")));
        });
        exporting.spawn("export", exporter.run(exporting.stopping()));
        // What is queued is sent before the end.
        assert!(exporting.stop(Duration::from_secs(20)).await.is_empty());
        let heard = heard.lock().clone();
        let (headers, request) = &heard[0];
        assert_eq!((heard.len(), headers["x-key"].to_str().unwrap()), (1, "hunter2"), "{protocol}");
        let resource = request.resource_spans[0].resource.as_ref().unwrap();
        let described: Vec<&str> = resource.attributes.iter().map(|a| a.key.as_str()).collect();
        assert_eq!(described, ["zone", "service.name"]);
        let spans = &request.resource_spans[0].scope_spans[0].spans;
        let (inner, outer) = (&spans[0], &spans[1]);
        assert_eq!((inner.name.as_str(), outer.name.as_str()), ("fetch", "query"));
        assert_eq!((&inner.parent_span_id, &inner.trace_id), (&outer.span_id, &outer.trace_id));
        assert_eq!((outer.start_time_unix_nano, outer.trace_id.len(), outer.span_id.len()), (7, 16, 8));
        let value = outer.attributes[0].value.as_ref().unwrap().value.as_ref().unwrap();
        assert_eq!((outer.attributes[0].key.as_str(), value), ("tenant", &OneValue::Text("acme".into())));
        assert!(metrics.print_classic().contains("lokirs_trace_spans_sent_total 2"));
        assert!(tasks.stop(Duration::from_secs(5)).await.is_empty());
    }
}

#[test]
fn the_environment_is_read_as_the_standard_says() {
    assert_eq!(of(&[]).unwrap(), None);
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318/");
    for off in [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")] {
        assert_eq!(of(&[endpoint, off]).unwrap(), None);
    }
    let url = |variables: &[(&str, &str)]| of(variables).unwrap().unwrap().endpoint.expose().to_string();
    assert_eq!(url(&[endpoint]), "http://c:4318/v1/traces");
    assert_eq!(url(&[endpoint, ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://t/x")]), "https://t/x");
    for (sampler, argument, expected) in [
        ("always_on", "", (1.0, false)),
        ("parentbased_traceidratio", "0.25", (0.25, true)),
        ("traceidratio", "0", (0.0, false)),
        ("always_off", "", (0.0, false)),
    ] {
        let collector = of(&[endpoint, ("OTEL_TRACES_SAMPLER", sampler), ("OTEL_TRACES_SAMPLER_ARG", argument)]);
        let collector = collector.unwrap().unwrap();
        assert_eq!((collector.ratio, collector.follows_caller), expected, "{sampler}");
    }
}

#[test]
fn what_cannot_work_is_refused_and_no_secret_is_printed() {
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:hunter2@c:4318");
    for (variable, value) in [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "user:hunter2@c"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "hunter2"),
        ("OTEL_TRACES_EXPORTER", "zipkin"),
        ("OTEL_TRACES_SAMPLER", "xray"),
    ] {
        let error = of(&[endpoint, (variable, value)]).expect_err(variable);
        assert!(error.contains("OTEL_") && !error.contains("hunter2"), "{error}");
    }
    let collector = of(&[endpoint, ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=hunter2")]).unwrap().unwrap();
    assert!(!format!("{collector:?}").contains("hunter2"), "{collector:?}");
}
