//! Live tail: what is pushed while a tail is open arrives once and in order, behind the history; endings say why.

use crate::client::{encode, now_ns};
use crate::process::Node;
use crate::roles;
use futures::{SinkExt, StreamExt};
use serde_json::Value;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

type Socket = WebSocketStream<TcpStream>;

/// Nothing that a tail tells takes longer.
const WITHIN: Duration = Duration::from_secs(20);

async fn try_tail(node: &Node, parameters: &str) -> Result<Socket, Error> {
    let address = format!("127.0.0.1:{}", node.http_port);
    let stream = TcpStream::connect(&address).await.unwrap();
    let request = format!("ws://{address}/loki/api/v1/tail?{parameters}").into_client_request().unwrap();
    client_async(request, stream).await.map(|(socket, _)| socket)
}

async fn tail(node: &Node, parameters: &str) -> Socket {
    try_tail(node, parameters).await.unwrap()
}

/// Stream (label `s`), time and line of every entry until there are `count`.
async fn entries(socket: &mut Socket, count: usize) -> Vec<(String, i64, String)> {
    let mut all = vec![];
    while all.len() < count {
        let message = tokio::time::timeout(WITHIN, socket.next()).await.expect("something in time");
        let text = match message.expect("the tail lasts").unwrap() {
            Message::Text(text) => text,
            Message::Ping(_) => continue,
            other => panic!("{other:?} after {} entries", all.len()),
        };
        let frame: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(frame.get("dropped_entries"), None);
        for stream in frame["streams"].as_array().unwrap() {
            let value = &stream["values"][0];
            let ts_ns = value[0].as_str().unwrap().parse().unwrap();
            all.push((stream["stream"]["s"].as_str().unwrap().into(), ts_ns, value[1].as_str().unwrap().into()));
        }
    }
    all
}

/// Code and text of the close frame, pings passed over.
async fn closed(socket: &mut Socket) -> (CloseCode, String) {
    loop {
        match tokio::time::timeout(WITHIN, socket.next()).await.expect("an end in time") {
            Some(Ok(Message::Close(Some(frame)))) => return (frame.code, frame.reason.to_string()),
            Some(Ok(Message::Ping(_))) => {}
            other => panic!("{other:?} instead of a close frame"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_pushed_line_arrives_once_and_in_order() {
    const STREAMS: usize = 3;
    const LINES: usize = 400;
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::new(dir.path());
    node.start().await;
    let start = now_ns();
    let pushers: Vec<_> = (0..STREAMS)
        .map(|s| {
            let client = node.client();
            tokio::spawn(async move {
                let s = s.to_string();
                for i in 0..LINES {
                    let line = (now_ns(), format!("line {i}"));
                    assert_eq!(client.push(&[("app", "tailed"), ("s", &s)], &[line]).await, Some(204));
                }
            })
        })
        .collect();
    // Opened while lines are pushed: the history ends somewhere among them.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let parameters = format!("query={}&start={start}&limit=5000", encode("{app=\"tailed\"}"));
    let mut socket = tail(&node, &parameters).await;
    let mut quiet = tail(&node, &format!("query={}", encode("{app=\"another\"}"))).await;
    let all = entries(&mut socket, STREAMS * LINES).await;
    for pusher in pushers {
        pusher.await.unwrap();
    }
    for s in 0..STREAMS {
        let lines: Vec<&str> = all.iter().filter(|e| e.0 == s.to_string()).map(|e| e.2.as_str()).collect();
        let expected: Vec<String> = (0..LINES).map(|i| format!("line {i}")).collect();
        assert_eq!(lines, expected, "stream {s}");
    }
    // Nothing comes twice, and a tail of other streams has seen nothing but pings.
    for socket in [&mut socket, &mut quiet] {
        let mut pings = 0;
        while pings < 2 {
            match tokio::time::timeout(WITHIN, socket.next()).await.expect("a ping in time").unwrap().unwrap() {
                Message::Ping(_) => pings += 1,
                other => panic!("{other}"),
            }
        }
    }
    let stopping = tokio::task::spawn_blocking(move || node.stop());
    let (code, text) = closed(&mut socket).await;
    assert_eq!((code, text.as_str()), (CloseCode::Away, "the server is stopping"));
    drop((socket, quiet));
    stopping.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tail_follows_an_ingester_of_another_process_over_its_restart() {
    let dir = tempfile::tempdir().unwrap();
    let [write, read] = ["write", "read"].map(|t| Node::new(&dir.path().join(t)).arg(format!("-target={t}")));
    let shared = roles::config(dir.path(), write.grpc_port);
    let (mut write, mut read) = (write.config(&shared), read.config(&shared));
    write.start().await;
    read.start().await;
    let mut socket = tail(&read, &format!("query={}", encode("{app=\"far\"} |= \"line\""))).await;
    let mut pushed = 0;
    // What is pushed before the ingester is followed again is not told: lines are pushed until one comes through.
    for restart in [false, true] {
        if restart {
            write.kill();
            write.start().await;
        }
        loop {
            pushed += 1;
            let line = (now_ns(), format!("line {pushed}"));
            assert_eq!(
                write.client().push(&[("app", "far"), ("s", "0")], std::slice::from_ref(&line)).await,
                Some(204)
            );
            let read = tokio::time::timeout(Duration::from_secs(2), entries(&mut socket, 1)).await;
            if let Ok(entries) = read {
                assert_eq!(entries, [("0".to_string(), line.0, line.1)]);
                break;
            }
            assert!(restart && pushed < 10, "line {pushed} did not arrive");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_and_endings_say_why() {
    let dir = tempfile::tempdir().unwrap();
    let mut node = Node::new(dir.path()).config(
        "auth_enabled: false\ncommon: {path_prefix: \"${DIR}/data\"}\n\
         limits_config: {max_concurrent_tail_requests: 2}\nquerier: {tail_max_duration: 3s}\n",
    );
    node.start().await;
    let selector = format!("query={}", encode("{app=\"a\"}"));
    for (parameters, expected) in [
        (format!("query={}", encode("{a=\"")), "parse error"),
        (format!("query={}", encode("{a=~\".*\"}")), "queries require at least one regexp or equality matcher"),
        (format!("{selector}&delay_for=6"), "delay_for can't be greater than 5"),
        (format!("{selector}&limit=-1"), "limit must be a positive value"),
        (format!("{selector}&limit=6000"), "max entries limit per query exceeded"),
        (format!("{selector}&start=yesterday"), "could not parse 'start'"),
    ] {
        let Err(Error::Http(answer)) = try_tail(&node, &parameters).await else { panic!("{parameters} is taken") };
        assert_eq!(answer.status(), 400, "{parameters}");
        // The refusal's text, as a client without websockets sees it.
        let (status, text) = node.client().get(&format!("/loki/api/v1/tail?{parameters}")).await;
        assert_eq!(status, 400);
        assert!(text.contains(expected) || text == "Bad Request\n", "{parameters}: {text}");
    }
    assert_eq!(node.client().get(&format!("/loki/api/v1/tail?{selector}")).await, (400, "Bad Request\n".into()));
    let mut metric = tail(&node, &format!("query={}", encode("rate({app=\"a\"}[1m])"))).await;
    assert_eq!(closed(&mut metric).await, (CloseCode::Error, "only log selector is supported".into()));
    let mut first = tail(&node, &selector).await;
    let mut second = tail(&node, &selector).await;
    let Err(Error::Http(answer)) = try_tail(&node, &selector).await else { panic!("a third tail is open") };
    let text = String::from_utf8_lossy(answer.body().as_deref().unwrap_or_default()).into_owned();
    assert_eq!(
        (answer.status().as_u16(), text.as_str()),
        (400, "max concurrent tail requests limit exceeded, count > limit (3 > 2)")
    );
    assert_eq!(closed(&mut first).await, (CloseCode::Error, "reached tail max duration limit".into()));
    second.close(None).await.unwrap();
    // Places are free again.
    let mut third = tail(&node, &selector).await;
    third.send(Message::Ping("hello".into())).await.unwrap();
    loop {
        match tokio::time::timeout(WITHIN, third.next()).await.expect("an answer in time").unwrap().unwrap() {
            Message::Ping(_) => {}
            other => break assert_eq!(other, Message::Pong("hello".into())),
        }
    }
}
