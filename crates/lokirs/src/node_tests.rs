//! A whole process in the test: its admin routes, and how it stops.

use super::*;
use crate::log::LogLevel;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

/// A node that is ready, with its data in a directory that goes with the second half; `common` is added to that block.
async fn node(common: &str) -> (Node, tempfile::TempDir) {
    let keys = Arc::new(Keys::of_loki());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.yaml");
    let listen = "server: {http_listen_address: 127.0.0.1, http_listen_port: 0, grpc_listen_address: 127.0.0.1, grpc_listen_port: 0}\n";
    let data = dir.path().join("data");
    let yaml = format!("{listen}common: {{path_prefix: '{}'{common}}}\n", data.display());
    std::fs::write(&path, yaml).unwrap();
    let arguments = [format!("-config.file={}", path.display())];
    let flags = crate::flags::Flags::parse(&arguments, &keys).unwrap();
    let config = crate::config::load(&flags, &|_| None, &keys).unwrap();
    let node = Node::assemble(config, keys, LogLevel::detached(), None).await.unwrap();
    while ask(node.http_address(), "GET", "/ready", "\r\n").await.0 != 200 {
        tokio::task::yield_now().await;
    }
    (node, dir)
}

/// Status line and body of one request.
async fn ask(address: SocketAddr, method: &str, path: &str, more: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{more}");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_string())
}

#[tokio::test]
async fn admin_routes_answer_as_loki_does() {
    let (node, _dir) = node(", storage: {s3: {s3: 's3://key:hunter2@eu/bucket'}}").await;
    let address = node.http_address();
    for (method, path, more, status, holds) in [
        ("GET", "/ready", "\r\n", 200, "ready\n"),
        ("GET", "/services", "\r\n", 200, "ingester => Running\n"),
        ("GET", "/config", "\r\n", 200, "s3://********@eu/bucket"),
        ("GET", "/config?mode=diff", "\r\n", 200, "http_listen_port: 0"),
        ("GET", "/log_level", "\r\n", 200, r#"{"message":"Current log level is info"}"#),
        (
            "POST",
            "/log_level",
            "content-type: application/x-www-form-urlencoded\r\ncontent-length: 15\r\n\r\nlog_level=debug",
            200,
            r#""Log level set to debug""#,
        ),
        ("GET", "/loki/api/v1/status/buildinfo", "\r\n", 200, "\"version\":"),
        ("GET", "/nope", "\r\n", 404, "404 page not found"),
        ("POST", "/ready", "content-length: 0\r\n\r\n", 405, ""),
        ("HEAD", "/ready", "\r\n", 405, ""),
        ("GET", "/metrics", "\r\n", 200, "loki_request_duration_seconds_count{method=\"GET\",route=\"ready\""),
    ] {
        let (got, body) = ask(address, method, path, more).await;
        assert_eq!(got, status, "{method} {path}");
        assert!(body.contains(holds), "{method} {path}: {body}");
        assert!(!body.contains("hunter2"), "{path}");
    }
}

#[tokio::test]
async fn a_node_stops_when_told_and_in_reverse() {
    let (mut node, _dir) = node("").await;
    let address = node.http_address();
    let order = Arc::new(parking_lot::Mutex::new(vec![]));
    let mut parts = Parts::default();
    for name in ["first", "second"] {
        let order = order.clone();
        parts.on_stop(name, async move {
            let (status, body) = ask(address, "GET", "/ready", "\r\n").await;
            assert_eq!((status, body.as_str()), (503, "Application is stopping\n"));
            order.lock().push(name);
        });
    }
    node.stops = parts.stops;
    let (tell, told) = oneshot::channel::<()>();
    tell.send(()).unwrap();
    assert!(
        node.run(async {
            told.await.unwrap();
        })
        .await
    );
    assert_eq!(*order.lock(), ["second", "first"]);
    assert!(TcpStream::connect(address).await.is_err());
}
