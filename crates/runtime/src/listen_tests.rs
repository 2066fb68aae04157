//! A real socket against the listener: slow peers are let go, running requests are answered before the end.

use super::*;
use axum::routing::{get, post};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

async fn start(limits: ListenLimits) -> (SocketAddr, CancellationToken, tokio::task::JoinHandle<()>) {
    let gauges = ConnectionGauges::new(&Metrics::default());
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), "http", limits, &gauges).await.unwrap();
    let address = listener.address().unwrap();
    let slow = || async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        "slow"
    };
    let router = Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/slow", get(slow))
        .route("/body", post(|body: String| async move { body }));
    let stop = CancellationToken::new();
    let serving = listener.serve(router, stop.clone());
    #[allow(clippy::disallowed_methods, reason = "a test's server")]
    let task = tokio::spawn(serving);
    (address, stop, task)
}

fn quick() -> ListenLimits {
    let short = Duration::from_millis(100);
    ListenLimits { read_timeout: short, idle_timeout: short, ..ListenLimits::default() }
}

/// What the server says to `request` until it closes the connection.
async fn say(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![];
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer));
    // A reset is an end too: the server did not read what was left.
    let _ = read.await.expect("the server closes the connection");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn slow_peers_are_let_go() {
    let (address, ..) = start(quick()).await;
    assert_eq!(say(address, "").await, "");
    assert_eq!(say(address, "PRI * HT").await, "");
    assert!(!say(address, "GET / HTTP/1.1\r\nhost:").await.contains("200"));
    let stalled = say(address, "POST /body HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nabc").await;
    assert!(stalled.starts_with("HTTP/1.1 400"), "{stalled}");
    assert!(say(address, "GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.ends_with("hello"));
}

#[tokio::test]
async fn a_running_request_is_answered_before_the_end() {
    let (address, stop, task) = start(ListenLimits::default()).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    stop.cancel();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("slow"), "{answer}");
    tokio::time::timeout(Duration::from_secs(5), task).await.unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn connections_are_bounded() {
    let (address, ..) = start(ListenLimits { connections_max: 1, ..quick() }).await;
    let _holder = TcpStream::connect(address).await.unwrap();
    // Served only when the holder, which says nothing, has been let go.
    assert!(say(address, "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.ends_with("hello"));
}
