//! Bytes that may be forgotten at any time, by key: in this process, in memcached, in Redis. It must not know what the
//! bytes are, nor who keeps them.

mod background;
mod breaker;
mod embedded;
mod layers;
mod memcached;
pub mod metrics;
mod redis;
pub mod settings;

use crate::layers::{Counted, Snappy, Tiered};
use async_trait::async_trait;
use bytes::Bytes;
use runtime::clock::SharedClock;
use runtime::reload::Reloader;
use runtime::tasks::Tasks;
use std::sync::Arc;

pub use metrics::Metrics;
pub use settings::Settings;

/// The largest value that is read or stored: the largest object of a chunk.
pub const VALUE_BYTES_MAX: usize = 256 << 20;

/// A cache. What goes wrong behind it is a miss, counted in metrics, and never an error of who asks.
#[async_trait]
pub trait Cache: Send + Sync {
    /// The values of `keys`, in their order; `None` where there is none, or none in time.
    async fn fetch(&self, keys: &[String]) -> Vec<Option<Bytes>>;
    /// Hands entries over to be stored; what does not fit the bounded queue is dropped and counted. Does not wait.
    fn store(&self, entries: Vec<(String, Bytes)>);
}

/// What caches are built with; clones are the same.
#[derive(Clone)]
pub struct Parts {
    pub metrics: Metrics,
    pub tasks: Tasks,
    pub reloader: Reloader,
    pub clock: SharedClock,
}

/// The cache that the settings ask for, if they ask for one. `name` stands in metrics and the log. Servers that are away
/// are no error: they may come.
pub fn build(name: &str, settings: &Settings, parts: &Parts) -> Result<Option<Arc<dyn Cache>>, String> {
    if let Some(fault) = settings.faults().into_iter().next() {
        return Err(fault);
    }
    Ok(match (near(name, settings, parts)?, far(name, settings, parts)?) {
        (Some(near), Some(far)) => Some(Arc::new(Tiered::new(near, far))),
        (near, far) => near.or(far),
    })
}

/// The same with its values compressed by snappy (`compression: snappy`).
pub fn compressed(name: &str, cache: Arc<dyn Cache>, parts: &Parts) -> Arc<dyn Cache> {
    Arc::new(Snappy::new(cache, parts.metrics.of(name)))
}

fn near(name: &str, settings: &Settings, parts: &Parts) -> Result<Option<Arc<dyn Cache>>, String> {
    let own = &settings.embedded_cache;
    if !own.enabled {
        return Ok(None);
    }
    let bytes = parts.metrics.embedded_bytes(name);
    let cache = embedded::Embedded::new(own, settings.validity(own.ttl), bytes)?;
    Ok(Some(counted(Arc::new(cache), &format!("{name}embedded-cache"), parts)))
}

fn far(name: &str, settings: &Settings, parts: &Parts) -> Result<Option<Arc<dyn Cache>>, String> {
    let (behind, tasks) = (&settings.background, &parts.tasks);
    if settings.memcached_client.is_set() {
        let name = format!("{name}memcache");
        let counts = parts.metrics.of(&name);
        let remote = memcached::Memcached::start(&name, settings, counts.clone(), parts)?;
        return Ok(Some(counted(Arc::new(background::Background::new(remote, behind, counts, tasks)), &name, parts)));
    }
    if settings.redis.is_set() {
        let name = format!("{name}redis");
        let counts = parts.metrics.of(&name);
        let remote = redis::Redis::new(settings, counts.clone())?;
        return Ok(Some(counted(Arc::new(background::Background::new(remote, behind, counts, tasks)), &name, parts)));
    }
    Ok(None)
}

fn counted(cache: Arc<dyn Cache>, name: &str, parts: &Parts) -> Arc<dyn Cache> {
    Arc::new(Counted::new(cache, parts.metrics.of(name)))
}
