//! Servers of memcached and Redis that answer with mutated bytes: each answer is values or misses, one for each key, in time.

#![allow(clippy::disallowed_methods, reason = "a server of the test's own, which ends with the test")]

#[path = "../../../tests/fuzz/mod.rs"]
mod fuzz;

use cache::{Cache, Parts, Settings};
use fuzz::fuzz;
use runtime::clock::SystemClock;
use runtime::metrics::Metrics;
use runtime::reload::Reloader;
use runtime::settings::{NoReference, Reader, Setting, Tree};
use runtime::tasks::Tasks;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

/// More than a request and its repetition over a new connection may take.
const PROMPT: Duration = Duration::from_secs(3);

/// Answers each connection with the bytes that are to be sent now, and hangs up.
fn liar() -> (u16, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer: Arc<Mutex<Vec<u8>>> = Arc::default();
    let says = answer.clone();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let Ok(mut client) = client else { continue };
            let says = says.lock().unwrap().clone();
            if client.read(&mut [0; 4096]).is_ok_and(|n| n > 0) {
                let _ = client.write_all(&says);
            }
        }
    });
    (port, answer)
}

fn build(yaml: &str, tasks: &Tasks) -> Arc<dyn Cache> {
    let mut settings = Settings::default();
    settings.read(&Tree::parse(yaml).unwrap(), &mut Reader::at("", &NoReference));
    let metrics = Metrics::default();
    let parts = Parts {
        metrics: cache::Metrics::new(&metrics),
        reloader: Reloader::new(tasks, &metrics),
        tasks: tasks.clone(),
        clock: Arc::new(SystemClock),
    };
    cache::build("test", &settings, &parts).unwrap().expect("a cache is configured")
}

/// `caches` gives the cache that is asked next, with the port of its server.
fn fuzz_server(seeds: &[&[u8]], pieces: &[&[u8]], caches: impl Fn(u16, &Tasks) -> Arc<dyn Cache>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (port, says) = liar();
    let seeds: Vec<Vec<u8>> = seeds.iter().map(|seed| seed.to_vec()).collect();
    fuzz(&seeds, pieces, |input, _| {
        *says.lock().unwrap() = input.to_vec();
        runtime.block_on(async {
            let tasks = Tasks::new(&Metrics::default());
            let cache = caches(port, &tasks);
            let began = Instant::now();
            let found = cache.fetch(&["a".to_string(), "b".to_string()]).await;
            assert!(began.elapsed() < PROMPT, "{:?}", began.elapsed());
            assert_eq!(found.len(), 2);
            tasks.stop(Duration::from_secs(1)).await;
            found.iter().any(Option::is_some)
        })
    });
}

#[test]
fn answers_of_memcached_are_values_or_misses() {
    let seeds: [&[u8]; 4] = [
        b"VALUE a 0 3\r\nxyz\r\nVALUE b 0 0\r\n\r\nEND\r\n",
        b"VALUE b 4294967295 12\r\nEND\r\nVALUE a\r\nEND\r\n",
        b"END\r\n",
        b"SERVER_ERROR out of memory\r\n",
    ];
    let pieces: [&[u8]; 6] = [b"VALUE ", b"\r\n", b"END\r\n", b" 99999999", b" 18446744073709551615", b" 0 -1\r\n"];
    // Its server is looked up once, and is never left alone.
    let tasks = Tasks::new(&Metrics::default());
    let once = OnceLock::new();
    fuzz_server(&seeds, &pieces, |port, _| {
        let own = "timeout: 500ms, circuit_breaker_consecutive_failures: 0";
        let yaml = format!("memcached_client: {{addresses: \"127.0.0.1:{port}\", {own}}}");
        once.get_or_init(|| build(&yaml, &tasks)).clone()
    });
}

#[test]
fn answers_of_redis_are_values_or_misses() {
    let seeds: [&[u8]; 5] = [
        b"*2\r\n$3\r\nxyz\r\n$-1\r\n",
        b"*2\r\n$0\r\n\r\n$2\r\n\r\n\r\n",
        b"-LOADING Redis is loading\r\n",
        b"%1\r\n+a\r\n:5\r\n",
        b"~2\r\n,1.5\r\n(12345678901234567890\r\n=7\r\ntxt:abc\r\n",
    ];
    let pieces: [&[u8]; 7] = [
        b"*1\r\n",
        b"$99999999999\r\n",
        b"*2147483647\r\n",
        b"%-1\r\n",
        b">3\r\n",
        b"|1\r\n",
        b"-MOVED 1 127.0.0.1:1\r\n",
    ];
    // It is left alone after some failures, so each answer is one to a new cache.
    fuzz_server(&seeds, &pieces, |port, tasks| {
        build(&format!("redis: {{endpoint: \"127.0.0.1:{port}\", timeout: 500ms}}"), tasks)
    });
}
