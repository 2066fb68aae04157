//! Chunks on the object store: named, put, and fetched through a bounded cache, each verified against its reference.
//! It must not know the index.

use crate::chunk_caches::ChunkCaches;
use crate::decompressed::{Decompressed, DecompressedMetrics};
use crate::objects::Objects;
use bytes::Bytes;
use format::ChunkRef;
use format::chunk::{Chunk, OBJECT_BYTES_MAX};
use format::crc::crc32c;
use format::schema::{Period, Schema};
use model::{Error, Kind, RawBlock, Result, TenantId};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};
use runtime::metrics::Registry;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// The cache is one part so that a chunk may take any share of it; lookups are few beside what they fetch.
const CACHE_SHARDS: usize = 1;
/// Half a gigabyte of logs as zstd packs them. With 256 MiB a scan of a gigabyte took 6 % less CPU and 80 MiB more memory.
const CACHE_BYTES_DEFAULT: u64 = 160 << 20;
/// A usual chunk's object, for the cache's first table.
const CHUNK_BYTES_USUAL: u64 = 512 << 10;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkStoreSettings {
    /// Memory for opened chunks, whose blocks stay compressed.
    pub cache_bytes: u64,
    /// Memory for blocks that are read again and again, decompressed; 0: none is kept.
    pub decompressed_bytes: u64,
    /// Fetches under way at a time, as Loki's `max_parallel_get_chunk`.
    pub parallel_fetches_max: usize,
}

impl Default for ChunkStoreSettings {
    fn default() -> Self {
        ChunkStoreSettings { cache_bytes: CACHE_BYTES_DEFAULT, decompressed_bytes: 0, parallel_fetches_max: 150 }
    }
}

/// What became of the chunks asked for.
#[derive(Clone, Debug, Default)]
pub struct ChunkMetrics {
    cache_hits: Counter,
    fetched: Counter,
    fetched_bytes: Counter,
    corrupt: Counter,
    cache_corrupt: Counter,
    stored: Counter,
    deduped: Counter,
    deduped_bytes: Counter,
    cached_bytes: Gauge,
    decompressed: DecompressedMetrics,
}

impl ChunkMetrics {
    /// `cached_bytes` is what the chunks in memory take.
    pub fn register(registry: &mut Registry, cached_bytes: Gauge) -> Self {
        let decompressed = DecompressedMetrics::register(registry);
        let metrics = ChunkMetrics { cached_bytes, decompressed, ..ChunkMetrics::default() };
        registry.register("loki_chunk_store_cache_hits", "Chunks answered from memory", metrics.cache_hits.clone());
        registry.register("loki_chunk_store_fetched_chunks", "Chunks fetched and verified", metrics.fetched.clone());
        registry.register(
            "loki_chunk_store_fetched_chunk_bytes",
            "Bytes of fetched chunks",
            metrics.fetched_bytes.clone(),
        );
        registry.register(
            "loki_chunk_store_corrupt_chunks",
            "Chunks that did not verify, twice fetched",
            metrics.corrupt.clone(),
        );
        registry.register(
            "loki_chunk_store_cache_corrupt",
            "Chunks that a cache gave back as something else; they were fetched from the object store",
            metrics.cache_corrupt.clone(),
        );
        registry.register("loki_chunk_store_stored_chunks", "Chunks put", metrics.stored.clone());
        registry.register(
            "loki_chunk_store_deduped_chunks",
            "Chunks that another replica had stored already",
            metrics.deduped.clone(),
        );
        registry.register(
            "loki_chunk_store_deduped_bytes",
            "Bytes of chunks that another replica had stored already",
            metrics.deduped_bytes.clone(),
        );
        metrics
    }
}

/// Every chunk of the schema's periods. A cheap handle: clones share the memory.
#[derive(Clone)]
pub struct ChunkStore {
    shared: Arc<Shared>,
    /// Asked before the object store.
    caches: Option<ChunkCaches>,
    /// Others put the same chunks.
    replicated: bool,
}

struct Shared {
    schema: Arc<Schema>,
    /// By the name in a period's `object_store`.
    stores: HashMap<String, Objects>,
    cache: Cache<String, Arc<Chunk>, Weight>,
    decompressed: Decompressed,
    fetches: Semaphore,
    metrics: ChunkMetrics,
}

#[derive(Clone)]
struct Weight;

impl Weighter<String, Arc<Chunk>> for Weight {
    fn weight(&self, key: &String, chunk: &Arc<Chunk>) -> u64 {
        (key.len() + chunk.memory_bytes()) as u64
    }
}

impl ChunkStore {
    /// `stores` must hold every object store that `schema` names.
    pub fn new(
        schema: Arc<Schema>,
        stores: HashMap<String, Objects>,
        settings: &ChunkStoreSettings,
        metrics: ChunkMetrics,
    ) -> Result<Self> {
        if let Some(period) = schema.periods().iter().find(|p| !stores.contains_key(&p.object_store)) {
            return Err(Error::invalid(format!(
                "schema_config: object store {:?} is not configured",
                period.object_store
            )));
        }
        let options = OptionsBuilder::new()
            .shards(CACHE_SHARDS)
            .weight_capacity(settings.cache_bytes)
            .estimated_items_capacity((settings.cache_bytes / CHUNK_BYTES_USUAL).max(16) as usize)
            .build()
            .map_err(|e| Error::internal(format!("chunk cache: {e}")))?;
        let cache = Cache::with_options(options, Weight, DefaultHashBuilder::default(), DefaultLifecycle::default());
        let fetches = Semaphore::new(settings.parallel_fetches_max.clamp(1, Semaphore::MAX_PERMITS));
        let decompressed = Decompressed::new(settings.decompressed_bytes, metrics.decompressed.clone());
        let shared = Arc::new(Shared { schema, stores, cache, decompressed, fetches, metrics });
        Ok(ChunkStore { shared, caches: None, replicated: false })
    }

    /// The same chunks, read from and kept in `caches` as well. What must know that a chunk is in the object store asks a
    /// store without them.
    pub fn cached_in(&self, caches: ChunkCaches) -> Self {
        ChunkStore { caches: Some(caches), ..self.clone() }
    }

    /// The same chunks for one of several replicas: before one is put, the object store is asked whether it has it already,
    /// which costs a request and saves an upload.
    pub fn replicated(&self) -> Self {
        ChunkStore { replicated: true, ..self.clone() }
    }

    /// One store for every period, as most configurations have.
    pub fn single(
        schema: Arc<Schema>,
        objects: Objects,
        settings: &ChunkStoreSettings,
        metrics: ChunkMetrics,
    ) -> Result<Self> {
        let stores = schema.periods().iter().map(|p| (p.object_store.clone(), objects.clone())).collect();
        Self::new(schema, stores, settings, metrics)
    }

    /// The chunk's object key.
    pub fn key(&self, tenant: &TenantId, chunk: &ChunkRef) -> String {
        // A chunk from before the first period has no schema; the first one's is the best guess for a message.
        let schema = &self.shared.schema;
        let period = schema.period_at(chunk.from_ms).or(schema.periods().first());
        period.map(|p| chunk.key(tenant, p.schema)).unwrap_or_default()
    }

    /// Stores the chunk; durable when it answers. `object` must be what `chunk`'s checksum was made of.
    pub async fn put(&self, tenant: &TenantId, chunk: &ChunkRef, object: Bytes) -> Result<()> {
        let (period, objects) = self.home(chunk)?;
        let key = chunk.key(tenant, period.schema);
        if crc32c(&object) != chunk.checksum {
            return Err(Error::internal(format!("put {key}: the object is not the one that the reference names")));
        }
        let (name, bytes) = (objects.chunk_name(&key), object.len() as u64);
        // A store that cannot tell is asked to put.
        let stored = self.replicated && objects.size(&name).await.is_ok_and(|size| size == Some(bytes));
        if stored {
            self.shared.metrics.deduped.inc();
            self.shared.metrics.deduped_bytes.inc_by(bytes);
        } else {
            objects.put(&name, object.clone()).await?;
            self.shared.metrics.stored.inc();
        }
        if let Some(caches) = &self.caches {
            caches.stored(&key, chunk, object);
        }
        Ok(())
    }

    /// The chunk, verified against `chunk`. An error names the object key: `NotFound`, `Corrupt` or `Unavailable`.
    /// Concurrent calls for one chunk share one fetch.
    pub async fn get(&self, tenant: &TenantId, chunk: &ChunkRef) -> Result<Arc<Chunk>> {
        let (period, objects) = self.home(chunk)?;
        let key = chunk.key(tenant, period.schema);
        let mut fetched = false;
        let answer = self
            .shared
            .cache
            .get_or_insert_async(&key, async {
                fetched = true;
                match self.cached_chunk(&key, tenant, chunk).await {
                    Some(chunk) => Ok(Arc::new(chunk)),
                    None => self.fetch(objects, &key, tenant, chunk).await,
                }
            })
            .await;
        if fetched {
            self.shared.metrics.cached_bytes.set(self.shared.cache.weight() as i64);
        } else {
            self.shared.metrics.cache_hits.inc();
        }
        answer
    }

    /// The chunk if it is in memory: what [`ChunkStore::get`] answers without waiting.
    pub fn cached(&self, tenant: &TenantId, chunk: &ChunkRef) -> Option<Arc<Chunk>> {
        let (period, _) = self.home(chunk).ok()?;
        let found = self.shared.cache.get(&chunk.key(tenant, period.schema))?;
        self.shared.metrics.cache_hits.inc();
        Some(found)
    }

    /// Block `block` of `opened`, the chunk that `chunk` refers to; decompressed into `memory` if it is not kept decompressed.
    pub fn block(
        &self,
        tenant: &TenantId,
        chunk: &ChunkRef,
        opened: &Chunk,
        block: usize,
        memory: Vec<u8>,
    ) -> Result<RawBlock> {
        self.shared.decompressed.load(tenant, chunk, opened, block, memory)
    }

    /// Removes the chunk; one that is not there counts as removed.
    pub async fn delete(&self, tenant: &TenantId, chunk: &ChunkRef) -> Result<()> {
        let (period, objects) = self.home(chunk)?;
        let key = chunk.key(tenant, period.schema);
        objects.delete(&objects.chunk_name(&key)).await?;
        self.shared.cache.remove(&key);
        Ok(())
    }

    fn home(&self, chunk: &ChunkRef) -> Result<(&Period, &Objects)> {
        let period = self.shared.schema.period_at(chunk.from_ms);
        let period = period.ok_or_else(|| Error::invalid(format!("no schema period holds {} ms", chunk.from_ms)))?;
        let objects = self.shared.stores.get(&period.object_store);
        Ok((period, objects.ok_or_else(|| Error::internal("a period without its object store"))?))
    }

    /// From a cache, if it is what `chunk` refers to. Whatever else a cache says is as if it said nothing.
    async fn cached_chunk(&self, key: &str, tenant: &TenantId, chunk: &ChunkRef) -> Option<Chunk> {
        let object = self.caches.as_ref()?.fetch(key, chunk).await?;
        let opened = Chunk::open(object, tenant, chunk);
        if opened.is_err() {
            self.shared.metrics.cache_corrupt.inc();
        }
        opened.ok()
    }

    /// Fetches and verifies. A chunk that does not verify is fetched once more, which tells a damaged transfer from a
    /// damaged object.
    async fn fetch(&self, objects: &Objects, key: &str, tenant: &TenantId, chunk: &ChunkRef) -> Result<Arc<Chunk>> {
        let _turn = self.shared.fetches.acquire().await.map_err(|e| Error::internal(e.to_string()))?;
        let name = objects.chunk_name(key);
        let mut opened = self.fetch_once(objects, &name, (key, tenant, chunk)).await;
        if opened.as_ref().is_err_and(|e| e.kind == Kind::Corrupt) {
            opened = self.fetch_once(objects, &name, (key, tenant, chunk)).await;
        }
        if opened.as_ref().is_err_and(|e| e.kind == Kind::Corrupt) {
            self.shared.metrics.corrupt.inc();
        }
        opened.map(Arc::new).map_err(|e| e.context(format!("chunk {key}")))
    }

    async fn fetch_once(
        &self,
        objects: &Objects,
        name: &str,
        (key, tenant, chunk): (&str, &TenantId, &ChunkRef),
    ) -> Result<Chunk> {
        let object = objects.get_at_most(name, OBJECT_BYTES_MAX as u64).await?;
        let opened = Chunk::open(object.clone(), tenant, chunk)?;
        self.shared.metrics.fetched.inc();
        self.shared.metrics.fetched_bytes.inc_by(object.len() as u64);
        if let Some(caches) = &self.caches {
            caches.fetched(key, chunk, object);
        }
        Ok(opened)
    }
}
