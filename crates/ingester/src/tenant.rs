//! A tenant's streams, found by the text of their labels. It must not know what streams hold.

use crate::index::Index;
use crate::metrics::{Metrics, TenantLabel};
use crate::stream::Stream;
use hashbrown::HashTable;
use model::{Fingerprint, Matcher, TenantId};
use parking_lot::{Mutex, RwLock};
use prometheus_client::metrics::gauge::Gauge;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Locks that a tenant's streams are spread over.
const SHARDS: usize = 16;
/// Fingerprints up to this are substitutes, as in Loki.
const SUBSTITUTE_MAX: u64 = 1 << 20;

pub struct Tenant {
    pub id: TenantId,
    shards: [Mutex<HashTable<Arc<Stream>>>; SHARDS],
    index: RwLock<Index>,
    streams: AtomicU64,
    /// The streams of all tenants.
    all_streams: Arc<AtomicU64>,
    substitutes: AtomicU64,
    gauge: Gauge,
}

impl Tenant {
    fn new(id: TenantId, all_streams: Arc<AtomicU64>, metrics: &Metrics) -> Self {
        let label = TenantLabel { tenant: id.to_string() };
        Tenant {
            gauge: metrics.memory_streams.get_or_create_owned(&label),
            id,
            shards: std::array::from_fn(|_| Mutex::new(HashTable::new())),
            index: RwLock::default(),
            streams: AtomicU64::new(0),
            all_streams,
            substitutes: AtomicU64::new(0),
        }
    }

    fn shard(&self, hash: Fingerprint) -> &Mutex<HashTable<Arc<Stream>>> {
        &self.shards[(hash.0 >> 32) as usize % SHARDS]
    }

    pub fn streams(&self) -> u64 {
        self.streams.load(Ordering::Relaxed)
    }

    pub fn find(&self, hash: Fingerprint, text: &str) -> Option<Arc<Stream>> {
        self.shard(hash).lock().find(hash.0, |s| s.hash == hash && *s.text == *text).cloned()
    }

    /// The stream of these labels, made by `make(fingerprint, id)` if it is new; the flag says so.
    pub fn find_or_insert(
        &self,
        hash: Fingerprint,
        text: &str,
        make: impl FnOnce(Fingerprint, u32) -> Stream,
    ) -> (Arc<Stream>, bool) {
        let mut shard = self.shard(hash).lock();
        if let Some(stream) = shard.find(hash.0, |s| s.hash == hash && *s.text == *text) {
            return (stream.clone(), false);
        }
        let taken = hash.0 <= SUBSTITUTE_MAX || shard.find(hash.0, |s| s.hash == hash).is_some();
        let fingerprint = if taken { self.substitute() } else { hash };
        let mut index = self.index.write();
        let stream = Arc::new(make(fingerprint, index.next_id()));
        index.insert(stream.clone());
        shard.insert_unique(hash.0, stream.clone(), |s| s.hash.0);
        self.streams.fetch_add(1, Ordering::Relaxed);
        self.all_streams.fetch_add(1, Ordering::Relaxed);
        self.gauge.inc();
        (stream, true)
    }

    /// The next small number; it begins anew after a million collisions, which no process lives to see.
    fn substitute(&self) -> Fingerprint {
        Fingerprint(self.substitutes.fetch_add(1, Ordering::Relaxed) % SUBSTITUTE_MAX + 1)
    }

    /// Removes the stream if `idle` says so under its lock. Whoever still has it sees that it is forgotten.
    pub fn forget_if(&self, stream: &Arc<Stream>, idle: impl FnOnce(&crate::stream::StreamState) -> bool) -> bool {
        let mut shard = self.shard(stream.hash).lock();
        let mut state = stream.lock();
        if state.forgotten || !idle(&state) {
            return false;
        }
        state.forgotten = true;
        if let Ok(entry) = shard.find_entry(stream.hash.0, |s| Arc::ptr_eq(s, stream)) {
            entry.remove();
        }
        self.index.write().remove(stream.id);
        self.streams.fetch_sub(1, Ordering::Relaxed);
        self.all_streams.fetch_sub(1, Ordering::Relaxed);
        self.gauge.dec();
        true
    }

    pub fn all(&self) -> Vec<Arc<Stream>> {
        self.index.read().all()
    }

    pub fn select(&self, matchers: &[Matcher]) -> Vec<Arc<Stream>> {
        self.index.read().select(matchers)
    }
}

/// The tenants with streams.
#[derive(Default)]
pub struct Tenants {
    map: RwLock<HashMap<TenantId, Arc<Tenant>>>,
    streams: Arc<AtomicU64>,
}

impl Tenants {
    pub fn get(&self, id: &TenantId) -> Option<Arc<Tenant>> {
        self.map.read().get(id).cloned()
    }

    pub fn get_or_insert(&self, id: &TenantId, metrics: &Metrics) -> Arc<Tenant> {
        if let Some(tenant) = self.get(id) {
            return tenant;
        }
        let new = || Arc::new(Tenant::new(id.clone(), self.streams.clone(), metrics));
        self.map.write().entry(id.clone()).or_insert_with(new).clone()
    }

    /// Streams in memory.
    pub fn streams(&self) -> u64 {
        self.streams.load(Ordering::Relaxed)
    }

    pub fn all(&self) -> Vec<Arc<Tenant>> {
        self.map.read().values().cloned().collect()
    }

    /// Forgets tenants without streams that nobody is using.
    pub fn forget_empty(&self, metrics: &Metrics) {
        self.map.write().retain(|id, tenant| {
            let empty = tenant.streams() == 0 && Arc::strong_count(tenant) == 1;
            if empty {
                metrics.memory_streams.remove(&TenantLabel { tenant: id.to_string() });
            }
            !empty
        });
    }
}
