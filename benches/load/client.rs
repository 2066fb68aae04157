//! Pushes over HTTP/1.1 connections of its own and notes how long each answer took. It must not know what a push holds.

use super::pushes::Push;
use std::io::{BufRead, BufReader, Error, ErrorKind, Read, Result, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How often a push that the server has no room for is tried again, and how long to wait.
const ATTEMPTS_MAX: usize = 200;
const RETRY_AFTER: Duration = Duration::from_millis(50);

/// What became of a load.
#[derive(Debug, Default)]
pub struct Pushed {
    pub lines: u64,
    pub line_bytes: u64,
    /// Answers that said "later".
    pub retries: u64,
    pub wall: Duration,
    /// Of each acknowledged push from its first byte to its answer, ascending.
    pub latencies: Vec<Duration>,
}

impl Pushed {
    /// The latency that a share of the pushes stayed within.
    pub fn latency(&self, share: f64) -> Duration {
        let at = (self.latencies.len().saturating_sub(1) as f64 * share) as usize;
        self.latencies.get(at).copied().unwrap_or_default()
    }
}

/// Sends every push once, in order, over `connections` at a time. Panics when one is refused for good.
pub fn push_all(port: u16, pushes: &[Push], connections: usize) -> Pushed {
    let next = AtomicUsize::new(0);
    let started = Instant::now();
    let mut all = Pushed::default();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..connections).map(|_| scope.spawn(|| work(port, pushes, &next))).collect();
        for worker in workers {
            let part = worker.join().expect("every push is taken");
            all.lines += part.lines;
            all.line_bytes += part.line_bytes;
            all.retries += part.retries;
            all.latencies.extend(part.latencies);
        }
    });
    all.wall = started.elapsed();
    all.latencies.sort();
    all
}

fn work(port: u16, pushes: &[Push], next: &AtomicUsize) -> Pushed {
    let connection = TcpStream::connect(("127.0.0.1", port)).expect("the server listens");
    connection.set_nodelay(true).expect("a TCP connection");
    let mut connection = BufReader::new(connection);
    let mut pushed = Pushed::default();
    while let Some(push) = pushes.get(next.fetch_add(1, Ordering::Relaxed)) {
        let (latency, retries) = send_until_taken(&mut connection, push);
        pushed.latencies.push(latency);
        pushed.retries += retries;
        pushed.lines += push.lines;
        pushed.line_bytes += push.line_bytes;
    }
    pushed
}

fn send_until_taken(connection: &mut BufReader<TcpStream>, push: &Push) -> (Duration, u64) {
    let mut refused = String::new();
    for retries in 0..ATTEMPTS_MAX {
        let started = Instant::now();
        let (status, text) = send(connection, &push.body).expect("the server answers");
        match status {
            200..=299 => return (started.elapsed(), retries as u64),
            429 | 500..=599 => {
                refused = format!("{status} {text}");
                std::thread::sleep(RETRY_AFTER);
            }
            _ => panic!("a push is refused: {status} {text}"),
        }
    }
    panic!("a push is refused {ATTEMPTS_MAX} times: {refused}");
}

fn send(connection: &mut BufReader<TcpStream>, body: &[u8]) -> Result<(u16, String)> {
    let head = format!(
        "POST /loki/api/v1/push HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-protobuf\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    connection.get_mut().write_all(head.as_bytes())?;
    connection.get_mut().write_all(body)?;
    let mut line = String::new();
    connection.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| Error::new(ErrorKind::InvalidData, format!("no status: {line:?}")))?;
    let mut length = 0;
    loop {
        line.clear();
        connection.read_line(&mut line)?;
        let header = line.trim_end().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().map_err(|_| Error::from(ErrorKind::InvalidData))?;
        }
    }
    let mut text = vec![0; length];
    connection.read_exact(&mut text)?;
    Ok((status, String::from_utf8_lossy(&text).into_owned()))
}
