//! Bytes that may be forgotten at any time, by key: in this process, in memcached, in Redis. It must not know what the
//! bytes are, nor who keeps them.

use async_trait::async_trait;
use bytes::Bytes;

/// A cache. What goes wrong behind it is a miss, counted in metrics, and never an error of who asks.
#[async_trait]
pub trait Cache: Send + Sync {
    /// The values of `keys`, in their order; `None` where there is none, or none in time.
    async fn fetch(&self, keys: &[String]) -> Vec<Option<Bytes>>;
    /// Hands entries over to be stored; what does not fit the bounded queue is dropped and counted. Does not wait.
    fn store(&self, entries: Vec<(String, Bytes)>);
}
