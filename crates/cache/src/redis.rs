//! Values in Redis: one server, a cluster, or the master that sentinels name. The protocol, redirects and sentinels are the
//! `redis` crate's; what is here is how long it may take, how much is asked at a time, and when a server is left alone. It
//! must not know who asks.

mod links;

use crate::VALUE_BYTES_MAX;
use crate::background::Remote;
use crate::breaker::{Breaker, BreakerSettings};
use crate::metrics::{Counts, Failed};
use crate::settings::Settings;
use ::redis::{Cmd, ErrorKind, Pipeline, RedisError, cmd};
use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use futures::future::join_all;
use links::{Link, Links};
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// Keys that one request asks for.
const REQUEST_KEYS_MAX: usize = 64;
/// Bytes that one request stores, unless one value is larger.
const REQUEST_BYTES_MAX: usize = 1 << 20;
/// Requests that one look-up has under way.
const PARALLELISM: usize = 4;
/// When Redis is left alone: Loki has settings for it only of memcached, and these are their defaults.
const BREAKER: BreakerSettings = BreakerSettings {
    consecutive_failures: 10,
    open_for: Duration::from_secs(10),
    forget_after: Duration::from_secs(10),
};

pub struct Redis {
    links: Links,
    timeout: Duration,
    validity: Duration,
    breaker: Breaker,
    counts: Counts,
}

impl Redis {
    /// `settings` must have no faults.
    pub fn new(settings: &Settings, counts: Counts) -> Result<Self, String> {
        let own = &settings.redis;
        Ok(Redis {
            links: Links::new(own)?,
            timeout: own.timeout,
            validity: settings.validity(own.expiration),
            breaker: Breaker::new(BREAKER),
            counts,
        })
    }

    /// One request over a connection, within the timeout.
    async fn call<T, F>(&self, method: &str, request: impl FnOnce(Link) -> F) -> Result<T, Failed>
    where
        F: Future<Output = Result<T, Failed>>,
    {
        let Some(turn) = self.breaker.enter() else {
            self.counts.failed(Failed::Open);
            return Err(Failed::Open);
        };
        let began = Instant::now();
        let (opening, id) = self.links.take();
        let answered = timeout(self.timeout, async { request(opening.await?).await }).await;
        let answered = answered.unwrap_or(Err(Failed::Timeout));
        self.counts.redis(method, answered.is_ok(), began.elapsed());
        match &answered {
            Ok(_) => turn.succeeded(),
            // It works, and says what it does not do: it is full, or still loading.
            Err(Failed::Refused) => {
                turn.succeeded();
                self.counts.failed(Failed::Refused);
            }
            Err(why) => {
                turn.failed();
                self.counts.failed(*why);
                // What is left of the answer would come on it, before the answers to other requests.
                self.links.discard(id);
            }
        }
        answered
    }

    /// The values of a part of a look-up, unless another part was slow.
    async fn fetch_part(&self, keys: &[String], slow: &AtomicBool) -> Vec<Option<Bytes>> {
        if slow.load(Ordering::Relaxed) {
            return vec![None; keys.len()];
        }
        let answered = self.call("MGet", |link| get(link, keys)).await;
        if answered.as_ref().is_err_and(|why| *why == Failed::Timeout) {
            slow.store(true, Ordering::Relaxed);
        }
        let mut values = answered.unwrap_or_default();
        values.resize(keys.len(), None);
        values
    }

    fn set(&self, key: &str, value: &[u8]) -> Cmd {
        let mut set = cmd("SET");
        set.arg(key).arg(value);
        if !self.validity.is_zero() {
            set.arg("PX").arg(self.validity.as_millis().clamp(1, i64::MAX as u128) as i64);
        }
        set
    }
}

fn failure(error: RedisError) -> Failed {
    match error.kind() {
        ErrorKind::Server(_) | ErrorKind::Extension => Failed::Refused,
        _ if error.is_timeout() => Failed::Timeout,
        ErrorKind::Parse | ErrorKind::UnexpectedReturnType => Failed::Answer,
        _ => Failed::Connection,
    }
}

/// The keys of a cluster are on different servers: each is asked for by itself, so that a server that is away costs its
/// own keys alone.
async fn get(link: Link, keys: &[String]) -> Result<Vec<Option<Bytes>>, Failed> {
    let values: Vec<Option<Vec<u8>>> = match link {
        Link::Single(mut link) => cmd("MGET").arg(keys).query_async(&mut link).await.map_err(failure)?,
        Link::Cluster(link) => {
            let gets = keys.iter().map(|key| {
                let mut link = link.clone();
                async move { cmd("GET").arg(key).query_async(&mut link).await.map_err(failure) }
            });
            let answers: Vec<Result<Option<Vec<u8>>, Failed>> = join_all(gets).await;
            let all_failed = answers.iter().all(Result::is_err);
            let values = answers.into_iter().map(|answer| if all_failed { answer } else { Ok(answer.ok().flatten()) });
            values.collect::<Result<_, _>>()?
        }
    };
    if values.len() != keys.len() {
        return Err(Failed::Answer);
    }
    let fits = |value: &Vec<u8>| value.len() <= VALUE_BYTES_MAX;
    Ok(values.into_iter().map(|value| value.filter(fits).map(Bytes::from)).collect())
}

async fn put(link: Link, sets: &[Cmd]) -> Result<(), Failed> {
    match link {
        Link::Single(mut link) => {
            let mut pipeline = Pipeline::with_capacity(sets.len());
            for set in sets {
                pipeline.add_command(set.clone()).ignore();
            }
            pipeline.exec_async(&mut link).await.map_err(failure)
        }
        Link::Cluster(link) => {
            let sets = sets.iter().map(|set| {
                let mut link = link.clone();
                async move { set.exec_async(&mut link).await.map_err(failure) }
            });
            join_all(sets).await.into_iter().collect()
        }
    }
}

#[async_trait]
impl Remote for Redis {
    async fn fetch(&self, keys: &[String]) -> Vec<Option<Bytes>> {
        // Slow once in a look-up, it is not waited for again in it.
        let slow = &AtomicBool::new(false);
        let parts: Vec<&[String]> = keys.chunks(REQUEST_KEYS_MAX).collect();
        let requests = futures::stream::iter((0..parts.len()).map(|i| self.fetch_part(parts[i], slow)));
        requests.buffered(PARALLELISM).concat().await
    }

    async fn store(&self, entries: Vec<(String, Bytes)>) {
        let (mut sets, mut bytes) = (vec![], 0);
        for (key, value) in entries {
            if bytes > 0 && bytes + value.len() > REQUEST_BYTES_MAX {
                let full = std::mem::take(&mut sets);
                let _ = self.call("Set", |link| async move { put(link, &full).await }).await;
                bytes = 0;
            }
            if value.len() > VALUE_BYTES_MAX {
                self.counts.failed(Failed::TooLarge);
                continue;
            }
            bytes += value.len();
            sets.push(self.set(&key, &value));
        }
        if !sets.is_empty() {
            let _ = self.call("Set", |link| async move { put(link, &sets).await }).await;
        }
    }
}
