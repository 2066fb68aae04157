//! What every cache does, whatever is behind it: in memory, and real servers of memcached and Redis. And what a cache does
//! when there is none, or one that hangs or lies.

#![allow(clippy::disallowed_methods, reason = "a server of the test's own, which ends with the test")]

#[path = "../../../tests/suite/cache_servers.rs"]
mod cache_servers;
#[path = "../../../tests/certificates.rs"]
mod certificates;
#[path = "../../../tests/ports.rs"]
mod ports;

use bytes::Bytes;
use cache::{Cache, Parts, Settings};
use cache_servers::{Server, memcached, redis, redis_cluster, redis_sentinel, redis_tls};
use certificates::Authority;
use runtime::clock::SystemClock;
use runtime::metrics::Metrics;
use runtime::reload::Reloader;
use runtime::settings::{NoReference, Reader, Setting, Tree};
use runtime::tasks::Tasks;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// What must happen has happened after at most this.
const WITHIN: Duration = Duration::from_secs(20);
/// More than any request may take here, and less than two would.
const PROMPT: Duration = Duration::from_millis(900);
/// The longest request: machines that run tests are slow.
const TIMEOUT: &str = "500ms";

struct Built {
    cache: Arc<dyn Cache>,
    metrics: Metrics,
    _tasks: Tasks,
}

fn build(yaml: &str) -> Built {
    let mut settings = Settings::default();
    let mut reader = Reader::at("", &NoReference);
    settings.read(&Tree::parse(yaml).unwrap(), &mut reader);
    assert_eq!(reader.errors, Vec::<String>::new(), "{yaml}");
    let metrics = Metrics::default();
    let tasks = Tasks::new(&metrics);
    let parts = Parts {
        metrics: cache::Metrics::new(&metrics),
        reloader: Reloader::new(&tasks, &metrics),
        tasks: tasks.clone(),
        clock: Arc::new(SystemClock),
    };
    let cache = cache::build("test", &settings, &parts).unwrap().expect("a cache is configured");
    Built { cache, metrics, _tasks: tasks }
}

fn of_memcached(servers: &[&Server], more: &str) -> String {
    let addresses: Vec<String> = servers.iter().map(|server| server.address()).collect();
    let addresses = addresses.join(",");
    format!("{{memcached_client: {{addresses: \"{addresses}\", timeout: {TIMEOUT}}}, {more}}}")
}

fn of_redis(servers: &[Server], own: &str, more: &str) -> String {
    let endpoints: Vec<String> = servers.iter().map(Server::address).collect();
    format!("{{redis: {{endpoint: \"{}\", timeout: {TIMEOUT}{own}}}, {more}}}", endpoints.join(","))
}

impl Built {
    async fn fetch(&self, keys: &[&str]) -> Vec<Option<Bytes>> {
        let keys: Vec<String> = keys.iter().map(|key| key.to_string()).collect();
        self.cache.fetch(&keys).await
    }

    /// Stores again and again until the value is there: a server may just be starting.
    async fn keep(&self, key: &str, value: &Bytes) {
        until(&format!("{key:?} is kept"), async || {
            self.cache.store(vec![(key.to_string(), value.clone())]);
            self.fetch(&[key]).await == [Some(value.clone())]
        })
        .await;
    }

    fn failures(&self, reason: &str) -> bool {
        self.metrics
            .print_classic()
            .lines()
            .any(|line| line.starts_with("loki_cache_failures_total") && line.contains(&format!("reason=\"{reason}\"")))
    }
}

async fn until<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    let deadline = Instant::now() + WITHIN;
    while !condition().await {
        assert!(Instant::now() < deadline, "it never happens that {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What holds for every cache. `lasting` keeps its entries for an hour, `brief` for a second.
async fn contract(lasting: Built, brief: Built) {
    let text = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    assert_eq!(lasting.fetch(&["none"]).await, [None]);
    assert_eq!(lasting.fetch(&[]).await, []);
    let long = "k".repeat(3000);
    let odd = ["plain", "with space", "line\r\nflush_all\r\n", "grüße", "tenant/8f1e/18c:18d:ab12", &long, ""];
    for (i, key) in odd.iter().enumerate() {
        lasting.keep(key, &text(&i.to_string())).await;
    }
    let expected: Vec<Option<Bytes>> = (0..odd.len()).map(|i| Some(text(&i.to_string()))).collect();
    assert_eq!(lasting.fetch(&odd).await, expected, "every key has its own value, in the order of the request");
    for value in [Bytes::new(), text("\r\nEND\r\n"), Bytes::from(vec![0xff; 900_000])] {
        lasting.keep("value", &value).await;
    }
    let many: Vec<(String, Bytes)> = (0..500).map(|i| (format!("many{i}"), text(&format!("value{i}")))).collect();
    lasting.cache.store(many.clone());
    let mut keys: Vec<String> = many.iter().map(|(key, _)| key.clone()).collect();
    keys.insert(250, "none".into());
    keys.push("many7".into());
    let mut values: Vec<Option<Bytes>> = many.iter().map(|(_, value)| Some(value.clone())).collect();
    values.insert(250, None);
    values.push(Some(text("value7")));
    until("many entries are there, in order", async || lasting.cache.fetch(&keys).await == values).await;

    brief.keep("brief", &text("x")).await;
    until("an entry expires", async || brief.fetch(&["brief"]).await == [None]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_keeps_the_contract() {
    contract(build("embedded_cache: {enabled: true}"), build("embedded_cache: {enabled: true, ttl: 1s}")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memcached_keeps_the_contract() {
    let servers: Vec<Server> = (0..3).map(|_| memcached(&[])).collect();
    let servers: Vec<&Server> = servers.iter().collect();
    for (hash, count) in [(true, 1), (true, 3), (false, 3)] {
        let yaml = |more: &str| {
            let hash = format!("timeout: {TIMEOUT}, consistent_hash: {hash}");
            of_memcached(&servers[..count], more).replace(&format!("timeout: {TIMEOUT}"), &hash)
        };
        contract(build(&yaml("")), build(&yaml("memcached: {expiration: 1s}"))).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    let servers = [redis(dir.path(), &["--requirepass", "hunter2"])];
    let own = ", password: hunter2, db: 3, pool_size: 2, max_connection_age: 300ms";
    contract(build(&of_redis(&servers, own, "")), build(&of_redis(&servers, own, "default_validity: 1s"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_of_redis_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    let nodes = redis_cluster(dir.path());
    contract(build(&of_redis(&nodes, "", "")), build(&of_redis(&nodes, ", expiration: 1s", ""))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_master_that_a_sentinel_names_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    let master = redis(dir.path(), &[]);
    let sentinels = [redis_sentinel(dir.path(), &master)];
    let own = ", master_name: cache";
    contract(
        build(&of_redis(&sentinels, own, "")),
        build(&of_redis(&sentinels, &format!("{own}, expiration: 1s"), "")),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_before_memcached_keeps_the_contract() {
    let server = memcached(&[]);
    let memory = |ttl: &str| of_memcached(&[&server], &format!("embedded_cache: {{enabled: true, ttl: {ttl}}}"));
    contract(build(&memory("1h")), build(&memory("1s").replace("embedded", "memcached: {expiration: 1s}, embedded")))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_are_verified_with_tls() {
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new(dir.path(), "own");
    let identity = authority.sign("server");
    let (cert, key) = (identity.cert_file.display(), identity.key_file.display());
    let server = memcached(&["-Z", "-o", &format!("ssl_chain_cert={cert},ssl_key={key}")]);
    let (port, ca) = (server.port, authority.ca_file.display());
    let client = |own: &str| {
        let address = format!("addresses: \"localhost:{port}\", timeout: 2s, tls_enabled: true");
        build(&format!("memcached_client: {{{address}, {own}}}"))
    };
    let value = Bytes::from_static(b"v");
    client(&format!("tls_ca_path: {ca}")).keep("a", &value).await;
    client("tls_insecure_skip_verify: true").keep("b", &value).await;
    for own in [format!("tls_ca_path: {ca}, tls_server_name: elsewhere"), format!("tls_ca_path: {cert}")] {
        let built = client(&own);
        until("a server that is another is refused", async || {
            assert_eq!(built.fetch(&["a"]).await, [None], "{own}");
            built.failures("connection")
        })
        .await;
    }

    let server = redis_tls(dir.path(), &identity.cert_file, &identity.key_file);
    let yaml = |own: &str| of_redis(std::slice::from_ref(&server), &format!(", tls_enabled: true{own}"), "");
    build(&yaml(", tls_insecure_skip_verify: true")).keep("a", &value).await;
    let built = build(&yaml(""));
    until("a server that nobody vouches for is refused", async || {
        assert_eq!(built.fetch(&["a"]).await, [None]);
        built.failures("connection")
    })
    .await;
}

/// The server dies, hangs and comes back: a look-up always comes back in time, without an error, and the cache works again
/// when the server does.
async fn survives(mut server: Server, built: Built) {
    let value = Bytes::from_static(b"v");
    built.keep("a", &value).await;
    server.pause();
    let began = Instant::now();
    assert_eq!(built.fetch(&["a"]).await, [None]);
    assert!(began.elapsed() < PROMPT, "{:?} for a server that hangs", began.elapsed());
    assert!(built.failures("timeout"));
    // After failures in a row nobody waits for it any more.
    until("the server is left alone", async || {
        built.fetch(&["a"]).await;
        built.failures("circuit_open")
    })
    .await;
    let began = Instant::now();
    for _ in 0..100 {
        assert_eq!(built.fetch(&["a"]).await, [None]);
    }
    assert!(began.elapsed() < 2 * PROMPT, "{:?} for a hundred look-ups", began.elapsed());
    server.resume();
    server.kill();
    assert_eq!(built.fetch(&["a"]).await, [None]);
    built.cache.store(vec![("b".into(), value.clone())]);
    server.restart();
    built.keep("a", &value).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_memcached_that_hangs_dies_and_comes_back_costs_misses_only() {
    let server = memcached(&[]);
    let breaker = format!("timeout: {TIMEOUT}, circuit_breaker_consecutive_failures: 3, circuit_breaker_timeout: 2s");
    let yaml = of_memcached(&[&server], "").replace(&format!("timeout: {TIMEOUT}"), &breaker);
    let built = build(&yaml);
    survives(server, built).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_hangs_dies_and_comes_back_costs_misses_only() {
    let dir = tempfile::tempdir().unwrap();
    let servers = [redis(dir.path(), &[])];
    let built = build(&of_redis(&servers, "", ""));
    let [server] = servers;
    survives(server, built).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_without_one_node_loses_that_node_s_keys_only() {
    let dir = tempfile::tempdir().unwrap();
    let mut nodes = redis_cluster(dir.path());
    let built = build(&of_redis(&nodes, "", ""));
    let keys: Vec<String> = (0..60).map(|i| i.to_string()).collect();
    let value = Bytes::from_static(b"v");
    until("all are kept", async || {
        built.cache.store(keys.iter().map(|key| (key.clone(), value.clone())).collect());
        built.cache.fetch(&keys).await.iter().all(Option::is_some)
    })
    .await;
    nodes[1].kill();
    let began = Instant::now();
    built.cache.fetch(&keys).await;
    assert!(began.elapsed() < PROMPT, "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_memcached_does_not_want_is_counted_and_hurts_nothing() {
    let server = memcached(&[]);
    let built = build(&of_memcached(&[&server], ""));
    let value = Bytes::from_static(b"v");
    built.keep("a", &value).await;
    for _ in 0..20 {
        built.cache.store(vec![("large".into(), Bytes::from(vec![1; 2 << 20]))]);
    }
    until("refusals are counted", async || built.failures("refused")).await;
    assert_eq!(built.fetch(&["a", "large"]).await, [Some(value), None]);
    assert!(!built.failures("circuit_open"));
    let small = format!("timeout: {TIMEOUT}, max_item_size: 1000");
    let built = build(&of_memcached(&[&server], "").replace(&format!("timeout: {TIMEOUT}"), &small));
    until("values beyond max_item_size are not sent", async || {
        built.cache.store(vec![("b".into(), Bytes::from(vec![1; 1001]))]);
        built.failures("too_large")
    })
    .await;
}

/// Answers whatever it is asked with the same bytes.
async fn liar(answer: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut asked = [0; 4096];
                while client.read(&mut asked).await.is_ok_and(|n| n > 0) && client.write_all(answer).await.is_ok() {}
            });
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_lies_costs_misses_only() {
    for answer in [
        &b"VALUE a 0 18446744073709551615\r\n"[..],
        b"VALUE a 0 99999999\r\nx",
        b"VALUE other 0 1\r\nx\r\nEND\r\n",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"$99999999999\r\nx",
        b"*99999999\r\n$1\r\n",
        b"*1\r\n*1\r\n*1\r\n$-1\r\n",
        b"$-5\r\n",
        b"\x00\xff\x00\xff",
    ] {
        let port = liar(answer).await;
        for yaml in [
            format!("memcached_client: {{addresses: \"127.0.0.1:{port}\", timeout: {TIMEOUT}}}"),
            format!("redis: {{endpoint: \"127.0.0.1:{port}\", timeout: {TIMEOUT}}}"),
        ] {
            let built = build(&yaml);
            let reasons = ["timeout", "answer", "connection", "too_large"];
            until(&format!("{yaml} notices {:?}", String::from_utf8_lossy(answer)), async || {
                let began = Instant::now();
                assert_eq!(built.fetch(&["a"]).await, [None], "{yaml}");
                assert!(began.elapsed() < PROMPT, "{:?}: {yaml}", began.elapsed());
                reasons.iter().any(|reason| built.failures(reason))
            })
            .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_costs_misses_only() {
    for yaml in [
        "memcached_client: {addresses: '127.0.0.1:1'}",
        "memcached_client: {addresses: 'dns+no-such-host.invalid'}",
        "memcached_client: {host: no-such-host.invalid}",
        "redis: {endpoint: '127.0.0.1:1'}",
        "redis: {endpoint: '127.0.0.1:1,127.0.0.1:2'}",
        "redis: {endpoint: '127.0.0.1:1', master_name: x}",
    ] {
        let built = build(yaml);
        built.cache.store(vec![("a".into(), Bytes::from_static(b"v"))]);
        let began = Instant::now();
        assert_eq!(built.fetch(&["a"]).await, [None], "{yaml}");
        assert!(began.elapsed() < PROMPT, "{:?}: {yaml}", began.elapsed());
    }
}
