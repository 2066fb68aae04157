//! What goes over the wire to S3, and what its answers become, against a server that follows a script.

use bytes::Bytes;
use model::Kind;
use runtime::settings::Secret;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use storage::objects::{Backoff, ObjectSettings, Objects, Place, S3Settings, open};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

struct Server {
    port: u16,
    requests: Arc<Mutex<Vec<String>>>,
    _tasks: JoinSet<()>,
}

/// Answers each request with the next of `answers`, one request per connection.
async fn serve(answers: Vec<String>) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, requests) = (listener.local_addr().unwrap().port(), Arc::new(Mutex::new(vec![])));
    let log = requests.clone();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut answers = VecDeque::from(answers);
        while let Some(answer) = answers.pop_front() {
            let (mut socket, _) = listener.accept().await.unwrap();
            let text = request(&mut socket).await;
            log.lock().unwrap().push(text);
            socket.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    Server { port, requests, _tasks: tasks }
}

/// One request, head and body.
async fn request(socket: &mut TcpStream) -> String {
    let mut text = String::new();
    let mut buffer = [0; 4096];
    loop {
        let n = socket.read(&mut buffer).await.unwrap();
        text.push_str(std::str::from_utf8(&buffer[..n]).unwrap());
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let head = head.to_lowercase();
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
        if body.len() >= length.map_or(0, |l| l.trim().parse().unwrap()) {
            return text;
        }
    }
}

fn answer(status: &str, body: &str) -> String {
    let modified = "last-modified: Tue, 01 Nov 2022 00:00:00 GMT\r\netag: \"e\"";
    format!("HTTP/1.1 {status}\r\n{modified}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn objects(port: u16) -> Objects {
    let settings = S3Settings {
        s3: Secret::new(format!("s3://AKIA:hunter2@127.0.0.1:{port}/chunks")),
        s3forcepathstyle: true,
        backoff_config: Backoff {
            min_period: Duration::from_millis(1),
            max_period: Duration::from_millis(2),
            max_retries: 2,
        },
        ..Default::default()
    };
    let mut settings = ObjectSettings::new(Place::S3(Box::new(settings)));
    settings.object_prefix = "logs/".into();
    open("s3", &settings, None).unwrap()
}

#[tokio::test]
async fn puts_are_signed_and_keep_keys_and_bodies() {
    let server = serve(vec![answer("200 OK", "")]).await;
    objects(server.port).put("t1/7c/1:2:3", Bytes::from_static(b"a chunk")).await.unwrap();
    let request = server.requests.lock().unwrap()[0].clone();
    assert!(request.starts_with("PUT /chunks/logs/t1/7c/1%3A2%3A3 HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("AWS4-HMAC-SHA256 Credential=AKIA/") && !request.contains("hunter2"), "{request}");
    assert!(request.ends_with("\r\n\r\na chunk"), "{request}");
}

#[tokio::test]
async fn a_store_is_checked_without_writing_to_it() {
    let error = |status: &str, code: &str| answer(status, &format!("<Error><Code>{code}</Code></Error>"));
    for (reply, usable) in [
        (answer("200 OK", "{}"), true),
        (error("404 Not Found", "NoSuchKey"), true),
        (error("404 Not Found", "NoSuchBucket"), false),
        (error("403 Forbidden", "InvalidAccessKeyId"), false),
    ] {
        let server = serve(vec![reply]).await;
        let checked = objects(server.port).check().await;
        assert_eq!(checked.is_ok(), usable, "{checked:?}");
        assert!(server.requests.lock().unwrap()[0].starts_with("GET /chunks/logs/loki_cluster_seed.json "));
    }
}

#[tokio::test]
async fn answers_become_what_the_caller_should_do() {
    let missing = |code: &str| answer("404 Not Found", &format!("<Error><Code>{code}</Code></Error>"));
    let down = || answer("503 Slow Down", "<Error><Code>SlowDown</Code></Error>");
    let cut = answer("200 OK", "body").trim_end_matches('y').to_string();
    let rest = answer("206 Partial Content\r\ncontent-range: bytes 3-3/4", "y");
    for (name, answers, expected) in [
        ("found", vec![answer("200 OK", "body")], Ok(())),
        ("found after retries", vec![down(), down(), answer("200 OK", "body")], Ok(())),
        ("down for longer than the retries", vec![down(), down(), down()], Err(Kind::Unavailable)),
        ("no such object", vec![missing("NoSuchKey")], Err(Kind::NotFound)),
        ("no such bucket", vec![missing("NoSuchBucket")], Err(Kind::Unavailable)),
        (
            "not allowed",
            vec![answer("403 Forbidden", "<Error><Code>AccessDenied</Code></Error>")],
            Err(Kind::Unavailable),
        ),
        ("cut short and resumed", vec![cut.clone(), rest], Ok(())),
        ("cut short twice", vec![cut.clone(), cut], Err(Kind::Unavailable)),
    ] {
        let (server, count) = (serve(answers.clone()).await, answers.len());
        let got = tokio::time::timeout(Duration::from_secs(20), objects(server.port).get("t1/1")).await.expect(name);
        assert_eq!(got.as_ref().map(|b| assert_eq!(b, "body")).map_err(|e| e.kind), expected, "{name}: {got:?}");
        assert_eq!(server.requests.lock().unwrap().len(), count, "{name}");
    }
}
