//! Values in servers of memcached: which server has which key, a few keys in each request, a few requests at a time. It
//! must not know who asks.
//!
//! The client is our own: `get` and `set` are all that a cache needs of the protocol, and what makes it safe (bounds on
//! answers, a deadline for each request, leaving broken servers alone) would have to stand around any library.

mod protocol;
mod server;
mod servers;

use crate::background::Remote;
use crate::breaker::BreakerSettings;
use crate::metrics::{Counts, Failed};
use crate::settings::Settings;
use crate::{Parts, VALUE_BYTES_MAX};
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use protocol::{expiration, wire_key};
use runtime::clock::SharedClock;
use runtime::tls::ServerName;
use server::{Manner, Request, Server};
use servers::{LookUp, Servers};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::Instant;

pub struct Memcached {
    servers: Arc<Servers>,
    batch_keys: usize,
    parallelism: usize,
    validity: Duration,
    value_bytes_max: usize,
    clock: SharedClock,
    counts: Counts,
}

/// Keys of one server that are asked for together, by their places in the request.
struct Batch {
    server: usize,
    /// The how-many-th of its server it is.
    rank: usize,
    places: Vec<usize>,
}

impl Memcached {
    /// `settings` must have no faults. `name` stands in the log.
    pub fn start(name: &str, settings: &Settings, counts: Counts, parts: &Parts) -> Result<Self, String> {
        let own = &settings.memcached_client;
        let tls = match own.tls()? {
            Some(tls) => Some(tls.load(name, &parts.reloader)?),
            None => None,
        };
        let value_bytes_max = match own.max_item_size {
            0 => VALUE_BYTES_MAX,
            bytes => bytes.min(VALUE_BYTES_MAX),
        };
        let manner = Manner {
            timeout: own.timeout,
            max_idle_conns: own.max_idle_conns,
            value_bytes_max,
            breaker: BreakerSettings {
                consecutive_failures: own.circuit_breaker_consecutive_failures,
                open_for: own.circuit_breaker_timeout,
                forget_after: own.circuit_breaker_interval,
            },
            tls,
        };
        let look_up = LookUp {
            name: name.to_string(),
            entries: own.servers(),
            interval: own.update_interval,
            server_name: server_name(&own.tls_server_name)?,
            manner: Arc::new(manner),
            counts: counts.clone(),
        };
        Ok(Memcached {
            servers: Servers::start(look_up, own.consistent_hash, &parts.tasks),
            batch_keys: settings.memcached.batch_size.max(1),
            parallelism: settings.memcached.parallelism.max(1),
            validity: settings.validity(settings.memcached.expiration),
            value_bytes_max,
            clock: parts.clock.clone(),
            counts,
        })
    }

    /// The requests for `keys`, those of different servers first.
    fn batches(&self, keys: &[Cow<str>], servers: usize) -> Vec<Batch> {
        let mut of_server: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (place, key) in keys.iter().enumerate() {
            of_server.entry(self.servers.place(key, servers)).or_default().push(place);
        }
        let cut = |(server, places): (usize, Vec<usize>)| {
            let batches = places.chunks(self.batch_keys).map(<[usize]>::to_vec).collect::<Vec<_>>();
            batches.into_iter().enumerate().map(move |(rank, places)| Batch { server, rank, places })
        };
        let mut batches: Vec<Batch> = of_server.into_iter().flat_map(cut).collect();
        batches.sort_by_key(|batch| batch.rank);
        batches
    }

    async fn get(&self, server: &Server, keys: Vec<&str>) -> Result<Vec<Option<Bytes>>, Failed> {
        let began = Instant::now();
        let answered = server.call(Request::Get(&keys)).await;
        self.count("GetMulti", &answered, began);
        answered
    }

    async fn set(&self, server: &Server, key: &str, value: &[u8]) {
        let began = Instant::now();
        let expiration = expiration(self.validity, self.clock.now_ns());
        let answered = server.call(Request::Set { key, value, expiration }).await;
        self.count("Put", &answered, began);
    }

    fn count<T>(&self, method: &str, answered: &Result<T, Failed>, began: Instant) {
        if let Err(why) = answered {
            self.counts.failed(*why);
        }
        if !matches!(answered, Err(Failed::Open)) {
            self.counts.memcached(method, answered.is_ok(), began.elapsed());
        }
    }
}

fn server_name(name: &str) -> Result<Option<ServerName<'static>>, String> {
    if name.is_empty() {
        return Ok(None);
    }
    let parsed = ServerName::try_from(name.to_string());
    parsed.map(Some).map_err(|_| format!("memcached_client.tls_server_name: {name:?} is no name of a server"))
}

#[async_trait]
impl Remote for Memcached {
    async fn fetch(&self, keys: &[String]) -> Vec<Option<Bytes>> {
        let servers = self.servers.now();
        let mut found = vec![None; keys.len()];
        if servers.is_empty() {
            self.counts.failed(Failed::NoServer);
            return found;
        }
        let wire: Vec<Cow<str>> = keys.iter().map(|key| wire_key(key)).collect();
        // A server that is slow once in a look-up is not waited for again in it.
        let slow: Vec<AtomicBool> = servers.iter().map(|_| AtomicBool::new(false)).collect();
        let batches = self.batches(&wire, servers.len());
        let (slow, wire, servers) = (&slow, &wire, &servers);
        let requests = futures::stream::iter(batches).map(|batch| async move {
            if slow[batch.server].load(Ordering::Relaxed) {
                return (batch.places, vec![]);
            }
            let keys = batch.places.iter().map(|place| wire[*place].as_ref()).collect();
            let answered = self.get(&servers[batch.server], keys).await;
            if answered.as_ref().is_err_and(|why| *why == Failed::Timeout) {
                slow[batch.server].store(true, Ordering::Relaxed);
            }
            (batch.places, answered.unwrap_or_default())
        });
        let answers: Vec<(Vec<usize>, Vec<Option<Bytes>>)> =
            requests.buffer_unordered(self.parallelism).collect().await;
        for (places, values) in answers {
            for (place, value) in places.into_iter().zip(values) {
                found[place] = value;
            }
        }
        found
    }

    async fn store(&self, entries: Vec<(String, Bytes)>) {
        let servers = self.servers.now();
        if servers.is_empty() {
            return self.counts.failed(Failed::NoServer);
        }
        let requests = futures::stream::iter(entries).for_each_concurrent(self.parallelism, |(key, value)| {
            let servers = &servers;
            async move {
                if value.len() > self.value_bytes_max {
                    return self.counts.failed(Failed::TooLarge);
                }
                let key = wire_key(&key);
                self.set(&servers[self.servers.place(&key, servers.len())], &key, &value).await;
            }
        });
        requests.await;
    }
}
