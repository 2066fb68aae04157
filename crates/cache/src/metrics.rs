//! What caches count, under Loki's names: one set for the process, each cache with its own name in the label.

use bytes::Bytes;
use runtime::metrics::{Counter, Family, Gauge, Histogram, Metrics as Registry};
use std::time::Duration;

type Name = [(&'static str, String); 1];
type Failure = [(&'static str, String); 2];
type Request = [(&'static str, String); 3];
type Seconds = Family<Request, Histogram, fn() -> Histogram>;

/// Why a cache did not do what it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failed {
    /// It did not answer in time.
    Timeout,
    /// It was left alone after failures in a row.
    Open,
    /// Nobody knows a server: the names were not looked up yet, or have no addresses.
    NoServer,
    /// No connection, or a broken one.
    Connection,
    /// It said what makes no sense, or an error.
    Answer,
    /// The value is larger than values may be.
    TooLarge,
    /// The server did not want the value.
    Refused,
    /// An entry could not be decompressed.
    Corrupt,
}

impl Failed {
    fn reason(self) -> &'static str {
        match self {
            Failed::Timeout => "timeout",
            Failed::Open => "circuit_open",
            Failed::NoServer => "no_server",
            Failed::Connection => "connection",
            Failed::Answer => "answer",
            Failed::TooLarge => "too_large",
            Failed::Refused => "refused",
            Failed::Corrupt => "corrupt",
        }
    }
}

/// A cheap handle; clones count together.
#[derive(Clone)]
pub struct Metrics {
    // Loki's names of these two have no `_total`, so they are gauges that only grow.
    hits: Family<Name, Gauge>,
    fetched_keys: Family<Name, Gauge>,
    request_seconds: Seconds,
    memcached_seconds: Seconds,
    redis_seconds: Seconds,
    failures: Family<Failure, Counter>,
    queue_length: Family<Name, Gauge>,
    queue_bytes: Family<Name, Gauge>,
    dropped: Family<Name, Counter>,
    dropped_bytes: Family<Name, Counter>,
    memcached_servers: Family<Name, Gauge>,
    embedded_bytes: Family<Name, Gauge>,
}

impl Metrics {
    /// Once in a process.
    pub fn new(registry: &Registry) -> Self {
        Metrics {
            hits: registry.gauges("cache_hits", "Keys that were found in a cache"),
            fetched_keys: registry.gauges("cache_fetched_keys", "Keys that a cache was asked for"),
            request_seconds: registry.request_seconds("cache_request_duration_seconds", "Look-ups in a cache"),
            memcached_seconds: registry
                .request_seconds("memcache_request_duration_seconds", "Requests to servers of memcached"),
            redis_seconds: registry.request_seconds("rediscache_request_duration_seconds", "Requests to Redis"),
            failures: registry.counters(
                "cache_failures",
                "What a cache did not do, by reason: timeout, circuit_open, no_server, connection, answer, too_large, refused, \
                 corrupt. Each is a miss, or an entry not stored",
            ),
            queue_length: registry.gauges("cache_background_queue_length", "Entries that wait to be written"),
            queue_bytes: registry.gauges("cache_background_queue_bytes", "Bytes that wait to be written"),
            dropped: registry.counters(
                "cache_dropped_background_writes",
                "Entries that were not written because too much waited already",
            ),
            dropped_bytes: registry.counters("cache_dropped_background_writes_bytes", "The bytes of such entries"),
            memcached_servers: registry.gauges("memcache_client_servers", "Servers of memcached that are known"),
            embedded_bytes: registry.gauges("embeddedcache_memory_bytes", "Bytes of what is kept in memory"),
        }
    }

    /// What the cache `name` counts.
    pub fn of(&self, name: &str) -> Counts {
        let gauge = |family: &Family<Name, Gauge>| family.get_or_create(&[("name", name.to_string())]).clone();
        let counter = |family: &Family<Name, Counter>| family.get_or_create(&[("name", name.to_string())]).clone();
        Counts {
            name: name.to_string(),
            hits: gauge(&self.hits),
            fetched_keys: gauge(&self.fetched_keys),
            queue_length: gauge(&self.queue_length),
            queue_bytes: gauge(&self.queue_bytes),
            dropped: counter(&self.dropped),
            dropped_bytes: counter(&self.dropped_bytes),
            all: self.clone(),
        }
    }

    /// Bytes that the cache in memory called `name` holds.
    pub fn embedded_bytes(&self, name: &str) -> Gauge {
        self.embedded_bytes.get_or_create(&[("cache", name.to_string())]).clone()
    }
}

/// What one cache counts.
#[derive(Clone)]
pub struct Counts {
    name: String,
    hits: Gauge,
    fetched_keys: Gauge,
    pub queue_length: Gauge,
    pub queue_bytes: Gauge,
    pub dropped: Counter,
    pub dropped_bytes: Counter,
    all: Metrics,
}

impl Counts {
    pub fn looked_up(&self, found: &[Option<Bytes>], took: Duration) {
        self.fetched_keys.inc_by(found.len() as i64);
        self.hits.inc_by(found.iter().flatten().count() as i64);
        self.seconds(&self.all.request_seconds, "fetch", true, took);
    }

    /// `method`: `GetMulti` or `Put`.
    pub fn memcached(&self, method: &str, done: bool, took: Duration) {
        self.seconds(&self.all.memcached_seconds, &format!("Memcache.{method}"), done, took);
    }

    /// `method`: `MGet` or `Set`.
    pub fn redis(&self, method: &str, done: bool, took: Duration) {
        self.seconds(&self.all.redis_seconds, &format!("RedisCache.{method}"), done, took);
    }

    pub fn failed(&self, why: Failed) {
        let labels = [("name", self.name.clone()), ("reason", why.reason().to_string())];
        self.all.failures.get_or_create(&labels).inc();
    }

    pub fn servers(&self, count: usize) {
        self.all.memcached_servers.get_or_create(&[("name", self.name.clone())]).set(count as i64);
    }

    fn seconds(&self, family: &Seconds, method: &str, done: bool, took: Duration) {
        let status = if done { "200" } else { "500" };
        let labels = [("name", self.name.clone()), ("method", method.to_string()), ("status_code", status.to_string())];
        family.get_or_create(&labels).observe(took.as_secs_f64());
    }
}
