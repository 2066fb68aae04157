//! Chunks in memcached and in Redis: a query reads them from there, and a cache that is empty, lies, hangs or is killed costs
//! a query nothing but its help.

use crate::cache_servers::{self, Server};
use crate::client::{encode, now_ns};
use crate::process::Node;
use crate::store::Store;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

const STREAMS: usize = 20;
const LINES: usize = 200;
/// Characters of a line, which no codec makes much shorter: together more than the memory for chunks holds.
const LINE_BYTES: usize = 1000;
const MINUTE_NS: i64 = 60_000_000_000;
/// How long a cache may be waited for.
const CACHE_TIMEOUT: Duration = Duration::from_millis(250);
const WITHIN: Duration = Duration::from_secs(30);

#[derive(Clone, Copy)]
enum Kind {
    Memcached,
    Redis,
}

impl Kind {
    fn start(self, dir: &Path) -> Server {
        match self {
            Kind::Memcached => cache_servers::memcached(&[]),
            Kind::Redis => cache_servers::redis(dir, &[]),
        }
    }

    /// The name of the cache in metrics.
    fn name(self) -> &'static str {
        match self {
            Kind::Memcached => "chunksmemcache",
            Kind::Redis => "chunksredis",
        }
    }

    fn yaml(self, server: &Server) -> String {
        let (address, timeout) = (server.address(), CACHE_TIMEOUT.as_millis());
        match self {
            Kind::Memcached => format!("memcached_client: {{addresses: \"{address}\", timeout: {timeout}ms}}"),
            Kind::Redis => format!("redis: {{endpoint: \"{address}\", timeout: {timeout}ms, expiration: 6h}}"),
        }
    }

    /// Writes `value` under the key, as anybody can who reaches the server.
    fn poison(self, server: &Server, key: &str, value: &[u8]) {
        let mut stream = std::net::TcpStream::connect(server.address()).unwrap();
        let (head, done) = match self {
            Kind::Memcached => (format!("set {key} 0 0 {}\r\n", value.len()), "STORED"),
            Kind::Redis => (format!("*3\r\n$3\r\nSET\r\n${}\r\n{key}\r\n${}\r\n", key.len(), value.len()), "+OK"),
        };
        stream.write_all(&[head.as_bytes(), value, b"\r\n"].concat()).unwrap();
        let mut answer = [0; 64];
        let n = stream.read(&mut answer).unwrap();
        assert!(answer[..n].starts_with(done.as_bytes()), "{}", String::from_utf8_lossy(&answer[..n]));
    }
}

/// Characters that a seed decides (xorshift).
fn noise(mut seed: u64, bytes: usize) -> String {
    const SIGNS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-";
    let sign = |_| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        SIGNS[(seed >> 20) as usize % 64] as char
    };
    (0..bytes).map(sign).collect()
}

/// What was written, and the process that has it.
struct Logs {
    node: Node,
    store: Store,
    start_ns: i64,
    end_ns: i64,
    lines: BTreeSet<String>,
}

impl Logs {
    /// A process whose chunks are stored, and which has stopped.
    async fn written(dir: &Path, cache: &str) -> Logs {
        let store = Store::directory(dir);
        let chunks = format!(
            "chunk_store_config: {{chunk_cache_config: {{embedded_cache: {{enabled: true, max_size_mb: 1}}, {cache}}}}}\n"
        );
        let mut node = Node::new(&dir.join("node")).config(&store.config(&chunks));
        node.start().await;
        let end_ns = now_ns();
        let start_ns = end_ns - 10 * MINUTE_NS;
        let mut lines = BTreeSet::new();
        for stream in 0..STREAMS {
            let line = |i: usize| {
                let text = format!("{stream} {i} {}", noise((stream * LINES + i + 1) as u64, LINE_BYTES));
                (start_ns + i as i64 * 1_000_000_000, text)
            };
            let batch: Vec<(i64, String)> = (0..LINES).map(line).collect();
            let number = stream.to_string();
            assert_eq!(node.client().push(&[("job", "cache"), ("stream", &number)], &batch).await, Some(204));
            lines.extend(batch.into_iter().map(|(_, text)| text));
        }
        tokio::task::block_in_place(|| node.stop());
        Logs { node, store, start_ns, end_ns, lines }
    }

    /// Empties the memory, and nothing else.
    async fn restart(&mut self) {
        tokio::task::block_in_place(|| self.node.stop());
        self.node.start().await;
    }

    /// Every line is there and right.
    async fn all_there(&self) {
        let found = self.node.client().all_lines("{job=\"cache\"}", self.start_ns, self.end_ns).await;
        assert_eq!(found.len(), self.lines.len());
        assert!(found.iter().all(|line| self.lines.contains(&line.text)), "a line is not one that was written");
    }

    /// One query over every chunk; how long it took. Its answer must be right.
    async fn count(&self) -> Duration {
        let query = encode("sum(count_over_time({job=\"cache\"}[30m]))");
        let began = Instant::now();
        let (status, body) =
            self.node.client().get(&format!("/loki/api/v1/query?query={query}&time={}", self.end_ns)).await;
        assert_eq!(status, 200, "{body}");
        let answer: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(answer.get("warnings"), None, "{body}");
        assert_eq!(answer["data"]["result"][0]["value"][1], (STREAMS * LINES).to_string(), "{body}");
        began.elapsed()
    }

    async fn hits(&self, kind: Kind) -> f64 {
        self.node.client().metric("loki_cache_hits", kind.name()).await
    }

    async fn fetched(&self) -> f64 {
        self.node.client().metric("loki_chunk_store_fetched_chunks_total", "").await
    }

    /// Waits until nothing waits to be written to the cache.
    async fn written_back(&self) {
        let began = Instant::now();
        while self.node.client().metric("loki_cache_background_queue_length", "").await > 0.0 {
            assert!(began.elapsed() < WITHIN, "the cache is not written\n{}", self.node.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The keys of all chunks in the store.
    async fn keys(&self) -> Vec<String> {
        let objects = self.store.objects();
        let listed = objects.list("").await.unwrap();
        listed
            .iter()
            .filter_map(|object| objects.chunk_key(&object.key))
            .filter(|key| key.starts_with("fake/"))
            .collect()
    }
}

async fn chunks_come_from_the_cache(kind: Kind) {
    let dir = tempfile::tempdir().unwrap();
    let mut server = kind.start(dir.path());
    let mut logs = Logs::written(dir.path(), &kind.yaml(&server)).await;
    let chunks = logs.keys().await.len() as f64;
    assert!(chunks >= STREAMS as f64);
    // What is flushed is in the cache as well.
    logs.node.start().await;
    logs.count().await;
    assert!(logs.hits(kind).await >= chunks, "{}", logs.node.log());
    assert_eq!(logs.fetched().await, 0.0);
    // What a query fetches of the store is in the cache the next time.
    server.restart();
    logs.restart().await;
    logs.count().await;
    assert!(logs.fetched().await >= chunks);
    logs.written_back().await;
    logs.restart().await;
    logs.all_there().await;
    assert!(logs.hits(kind).await >= chunks);
    assert_eq!(logs.fetched().await, 0.0);
}

async fn a_poisoned_cache_changes_no_answer(kind: Kind) {
    let dir = tempfile::tempdir().unwrap();
    let server = kind.start(dir.path());
    let mut logs = Logs::written(dir.path(), &kind.yaml(&server)).await;
    let keys = logs.keys().await;
    let objects = logs.store.objects();
    let other = objects.get(&objects.chunk_name(&keys[0])).await.unwrap();
    for (i, key) in keys.iter().enumerate() {
        // Noise, nothing, a whole chunk of another stream, the right one without its end.
        let own = objects.get(&objects.chunk_name(key)).await.unwrap();
        let value = match i % 4 {
            0 => noise(i as u64 + 1, 5000).into_bytes(),
            1 => vec![],
            2 => other.to_vec(),
            _ => own[..own.len() - 1].to_vec(),
        };
        kind.poison(&server, key, &value);
    }
    logs.node.start().await;
    logs.all_there().await;
    let corrupt = logs.node.client().metric("loki_chunk_store_cache_corrupt_total", "").await;
    assert!(corrupt >= keys.len() as f64 - 1.0, "{corrupt}");
    logs.written_back().await;
    logs.restart().await;
    logs.all_there().await;
    assert_eq!(
        logs.node.client().metric("loki_chunk_store_cache_corrupt_total", "").await,
        0.0,
        "the right chunks were written back"
    );
}

async fn queries_go_on_without_the_cache(kind: Kind) {
    let dir = tempfile::tempdir().unwrap();
    let mut server = kind.start(dir.path());
    let mut logs = Logs::written(dir.path(), &kind.yaml(&server)).await;
    logs.node.start().await;
    let usual = logs.count().await.max(logs.count().await);
    // One wait for a cache that hangs, and the time of a busy machine.
    let most = 4 * usual + 2 * CACHE_TIMEOUT + Duration::from_millis(500);
    for round in 0..6 {
        let killed = async {
            tokio::time::sleep(usual / 3).await;
            match round {
                1 => server.kill(),
                3 => server.restart(),
                4 => server.pause(),
                _ => {}
            }
        };
        let (took, ()) = tokio::join!(logs.count(), killed);
        assert!(took < most, "round {round}: {took:?}, usually {usual:?}");
    }
    server.resume();
    logs.all_there().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_come_from_memcached() {
    chunks_come_from_the_cache(Kind::Memcached).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_come_from_redis() {
    chunks_come_from_the_cache(Kind::Redis).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poisoned_memcached_changes_no_answer() {
    a_poisoned_cache_changes_no_answer(Kind::Memcached).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poisoned_redis_changes_no_answer() {
    a_poisoned_cache_changes_no_answer(Kind::Redis).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queries_go_on_without_memcached() {
    queries_go_on_without_the_cache(Kind::Memcached).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queries_go_on_without_redis() {
    queries_go_on_without_the_cache(Kind::Redis).await;
}
