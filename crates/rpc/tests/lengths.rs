//! What a message costs that says it is large and never comes.

use axum::body::Body;
use axum::extract::Request;
use futures::StreamExt;
use rpc::testing::ScriptedIngester;
use rpc::wire::ingester_server;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use tower::ServiceExt;

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

#[tokio::test]
async fn a_length_that_lies_costs_no_memory() {
    let router = ingester_server(Arc::new(ScriptedIngester::default())).into_axum_router();
    let before = resident_bytes();
    let mut calls = vec![];
    for _ in 0..200 {
        let start = [&[0][..], &(140u32 << 20).to_be_bytes(), &[10; 64 << 10]].concat();
        let parts = futures::stream::iter([Ok::<_, std::io::Error>(start)]).chain(futures::stream::pending());
        let request = Request::post("/lokirs.v1.Ingester/Push")
            .header("content-type", "application/grpc")
            .header("x-scope-orgid", "a")
            .body(Body::from_stream(parts))
            .unwrap();
        let mut call = Box::pin(router.clone().oneshot(request));
        assert!(timeout(Duration::from_millis(5), &mut call).await.is_err(), "it waits for the rest");
        calls.push(call);
    }
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 256 << 20, "{grown} bytes for {} calls of 140 MiB that never come", calls.len());
}
