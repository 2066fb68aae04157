//! Kept answers: what is asked again and what is not, and that nobody can tell a kept answer from a fresh one.

mod kept;
#[path = "../../../logql/tests/memory/mod.rs"]
mod memory;
mod metadata;
mod same;
mod single;

use async_trait::async_trait;
use bytes::Bytes;
use cache::Cache;
use frontend::results::Results;
use frontend::results::generations::Generations;
use frontend::results::shelf::{Shelf, ShelfMetrics};
use model::{Result, TenantId, TimeRange};
use parking_lot::Mutex;
use rpc::deletes::{DeleteFilter, DeleteRequest, Deletes, NewDelete};
use rpc::queries::{Queries, QueryRequest, QueryTime, Tenants};
use runtime::clock::ManualClock;
use runtime::limits::{Limits, Overrides};
use runtime::memory::Budget;
use runtime::metrics::Metrics;
use std::collections::HashMap;
use std::sync::Arc;

pub const S: i64 = 1_000_000_000;
pub const MINUTE: i64 = 60 * S;
pub const HOUR: i64 = 60 * MINUTE;
pub const DAY: i64 = 24 * HOUR;

/// A cache that forgets nothing.
#[derive(Default)]
pub struct Memory(pub Mutex<HashMap<String, Bytes>>);

#[async_trait]
impl Cache for Memory {
    async fn fetch(&self, keys: &[String]) -> Vec<Option<Bytes>> {
        let entries = self.0.lock();
        keys.iter().map(|key| entries.get(key).cloned()).collect()
    }
    fn store(&self, entries: Vec<(String, Bytes)>) {
        self.0.lock().extend(entries);
    }
}

/// A delete service of which only the generations matter.
#[derive(Default)]
pub struct Requests(pub Mutex<String>);

#[async_trait]
impl Deletes for Requests {
    async fn create(&self, _: &TenantId, _: NewDelete) -> Result<String> {
        Ok(String::new())
    }
    async fn list(&self, _: &TenantId) -> Result<Vec<DeleteRequest>> {
        Ok(vec![])
    }
    async fn cancel(&self, _: &TenantId, _: &str, _: bool) -> Result<()> {
        Ok(())
    }
    async fn filters(&self, _: &TenantId, _: TimeRange) -> Result<Vec<DeleteFilter>> {
        Ok(vec![])
    }
    async fn generation(&self, _: &TenantId) -> Result<String> {
        let generation = self.0.lock().clone();
        if generation == "unknown" { Err(model::Error::unavailable("no compactor")) } else { Ok(generation) }
    }
}

/// What stages are built from.
pub struct Setup {
    pub limits: Arc<Overrides>,
    pub clock: Arc<ManualClock>,
    pub deletes: Arc<Requests>,
    pub metrics: Metrics,
}

impl Setup {
    pub fn new(limits: Limits, now_ns: i64) -> Self {
        Setup {
            limits: Arc::new(Overrides::new(limits)),
            clock: ManualClock::at(now_ns),
            deletes: Arc::default(),
            metrics: Metrics::default(),
        }
    }

    pub fn generations(&self) -> Arc<Generations> {
        Arc::new(Generations::new(Some(self.deletes.clone()), self.clock.clone()))
    }

    pub fn results(&self, next: Arc<dyn Queries>, cache: Arc<dyn Cache>) -> Results {
        let metrics = ShelfMetrics::new(&self.metrics);
        let shelf = |kind| Some(Shelf::new(kind, cache.clone(), metrics.clone()));
        Results {
            next,
            range: shelf("result"),
            instant: shelf("instant"),
            generations: self.generations(),
            limits: self.limits.clone(),
            budget: Budget::new(1 << 30),
            clock: self.clock.clone(),
        }
    }
}

pub fn tenants(name: &str) -> Tenants {
    TenantId::parse(name).unwrap().into()
}

pub fn request(query: &str, time: QueryTime) -> QueryRequest {
    QueryRequest {
        query: query.into(),
        time,
        limit: 100,
        direction: model::Direction::Backward,
        part: None,
        partial_series: false,
        no_cache: false,
        tags: vec![],
    }
}

pub fn range(start_ns: i64, end_ns: i64, step_ns: i64) -> QueryTime {
    QueryTime::Range { start_ns, end_ns, step_ns, interval_ns: 0 }
}
