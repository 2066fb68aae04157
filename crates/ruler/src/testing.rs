//! For the tests of what is sent: a server that answers as it is told and remembers what it was asked.

mod by_expression;

use crate::http::tls::Certificates;
use axum::Router;
use axum::body::Bytes;
use axum::extract::Request;
use axum::response::Response;
use parking_lot::Mutex;
use reqwest::header::HeaderMap;
use runtime::clock::{ManualClock, SharedClock};
use runtime::listen::{ConnectionGauges, ListenLimits, Listener};
use runtime::metrics::Metrics;
use runtime::reload::Reloader;
use runtime::tasks::Tasks;
use runtime::tls::ServerTls;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

pub use by_expression::ByExpression;

/// The largest body that the server takes.
const BODY_BYTES_MAX: usize = 16 << 20;

/// What a process has, for one test.
pub struct Process {
    pub metrics: Metrics,
    pub tasks: Tasks,
    pub reloader: Reloader,
    pub clock: SharedClock,
}

impl Process {
    pub fn new() -> Process {
        let metrics = Metrics::default();
        let tasks = Tasks::new(&metrics);
        let reloader = Reloader::new(&tasks, &metrics);
        // 2026-01-01T00:00:00Z
        Process { metrics, reloader, tasks, clock: ManualClock::at(1_767_225_600_000_000_000) }
    }

    pub fn certificates(&self) -> Certificates {
        Certificates::new(&self.reloader)
    }

    /// Waits until the metrics hold a line.
    pub async fn until_metric(&self, line: &str) {
        let has = || self.metrics.print_classic().lines().any(|l| l == line);
        let shown = || self.metrics.print_classic();
        until(has, || format!("{line} in\n{}", shown())).await;
    }
}

pub async fn until(holds: impl Fn() -> bool, what: impl Fn() -> String) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(tokio::time::Instant::now() < deadline, "never: {}", what());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[derive(Clone, Debug)]
pub struct Seen {
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Seen {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }
}

/// Status, headers, body.
pub type Answer = (u16, Vec<(&'static str, String)>, String);

pub fn status(status: u16) -> Answer {
    (status, vec![], String::new())
}

pub struct Server {
    pub port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
    answers: Arc<Mutex<VecDeque<Answer>>>,
    gate: Arc<Semaphore>,
    tasks: Tasks,
}

impl Server {
    pub async fn start() -> Server {
        Server::start_with(None).await
    }

    pub async fn start_with(tls: Option<ServerTls>) -> Server {
        let metrics = Metrics::default();
        let tasks = Tasks::new(&metrics);
        let gauges = ConnectionGauges::new(&metrics);
        let address = "127.0.0.1:0".parse().unwrap();
        let listener = Listener::bind(address, "http", ListenLimits::default(), &gauges).await.unwrap();
        let tls = tls.map(|tls| tls.load("test", &Reloader::new(&tasks, &metrics)).unwrap());
        let port = listener.address().unwrap().port();
        let server = Server {
            port,
            seen: Arc::default(),
            answers: Arc::default(),
            gate: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
            tasks: tasks.clone(),
        };
        let (seen, answers, gate) = (server.seen.clone(), server.answers.clone(), server.gate.clone());
        let router = Router::new().fallback(move |request: Request| {
            let (seen, answers, gate) = (seen.clone(), answers.clone(), gate.clone());
            async move { answer(request, &seen, &answers, &gate).await }
        });
        tasks.spawn("server", listener.with_tls(tls).serve(router, tasks.stopping()));
        server
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The next answers; afterwards it is 200.
    pub fn answer(&self, answers: impl IntoIterator<Item = Answer>) {
        self.answers.lock().extend(answers);
    }

    /// No request is answered until [`Server::open`].
    pub fn shut(&self) {
        self.gate.forget_permits(Semaphore::MAX_PERMITS);
    }
    pub fn open(&self) {
        self.gate.add_permits(Semaphore::MAX_PERMITS);
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().clone()
    }

    /// Waits for so many requests.
    pub async fn requests(&self, count: usize) -> Vec<Seen> {
        until(|| self.seen.lock().len() >= count, || format!("{count} requests, but {:?}", self.seen())).await;
        self.seen()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.tasks.stopping().cancel();
    }
}

async fn answer(
    request: Request,
    seen: &Mutex<Vec<Seen>>,
    answers: &Mutex<VecDeque<Answer>>,
    gate: &Semaphore,
) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, BODY_BYTES_MAX).await.unwrap();
    seen.lock().push(Seen { path: parts.uri.path().to_string(), headers: parts.headers, body });
    let _open = gate.acquire().await.unwrap();
    let (status, headers, body) = answers.lock().pop_front().unwrap_or_else(|| self::status(200));
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(name, value);
    }
    response.body(body.into()).unwrap()
}
