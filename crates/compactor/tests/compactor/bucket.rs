//! A bucket under test: a copy of a golden one in memory, a compactor on it, and what queries would see.

use compactor::{Compactor, DeleteRequests, Metrics, Parts, Settings, Turn};
use format::ChunkRef;
use format::key::parse_key;
use format::schema::{Period, Schema, SchemaVersion};
use format::tsdb::SeriesChunks;
use model::time::MILLIS_PER_DAY;
use model::{Result, TenantId};
use runtime::clock::ManualClock;
use runtime::limits::{Limits, Overrides};
use runtime::metrics::Registry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use storage::chunks::{ChunkMetrics, ChunkStore, ChunkStoreSettings};
use storage::index::{IndexMetrics, IndexReader, IndexSettings, Places};
use storage::objects::Objects;

pub const DAY_MS: i64 = MILLIS_PER_DAY;
pub const DAY: Duration = Duration::from_secs(86_400);
/// After everything in the golden buckets was written.
pub const NOW_NS: i64 = 1_795_410_500_000_000_000;
const EVERYTHING: (i64, i64) = (1_700_000_000_000, 1_790_000_000_000);

/// Time, line and structured metadata of entries, below the tenant and labels of their stream.
pub type Lines = BTreeMap<(String, String), BTreeSet<(i64, String, Vec<(String, String)>)>>;

pub fn tenant(name: &str) -> TenantId {
    TenantId::parse(name).unwrap()
}

/// The bucket's objects by key, chunks without the filesystem's base64.
pub async fn copied(name: &str) -> Objects {
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden");
    let (from, to) = (Objects::local(Path::new(golden).join(name)).unwrap(), Objects::memory());
    for object in from.list("").await.unwrap() {
        // A chunk's file is named in base64; index files are not.
        let key = from.chunk_key(&object.key).filter(|key| parse_key(key).is_ok()).unwrap_or(object.key.clone());
        to.put(&key, from.get(&object.key).await.unwrap()).await.unwrap();
    }
    to
}

pub async fn keys(objects: &Objects, prefix: &str) -> Vec<String> {
    objects.list(prefix).await.unwrap().into_iter().map(|o| o.key).collect()
}

pub fn schema(periods: &[(i64, SchemaVersion, &str, &str)]) -> Arc<Schema> {
    let period = |(day, schema, prefix, store): &(i64, SchemaVersion, &str, &str)| Period {
        from_ms: day * DAY_MS,
        schema: *schema,
        index_prefix: prefix.to_string(),
        path_prefix: "index/".into(),
        object_store: store.to_string(),
    };
    Arc::new(Schema::new(periods.iter().map(period).collect()).unwrap())
}

pub fn one_period() -> Arc<Schema> {
    schema(&[(19_723, SchemaVersion::V13, "index_", "s")])
}

/// A compactor and what it works on.
pub struct Bench {
    pub schema: Arc<Schema>,
    pub stores: HashMap<String, Objects>,
    pub compactor: Compactor,
    pub deletes: Arc<DeleteRequests>,
    pub clock: Arc<ManualClock>,
    pub limits: Arc<Overrides>,
    registry: Registry,
}

impl Bench {
    pub fn new(objects: Objects) -> Self {
        Self::with(one_period(), HashMap::from([("s".to_string(), objects)]), Limits::default(), true)
    }

    pub fn retaining(objects: Objects, limits: Limits) -> Self {
        Self::with(one_period(), HashMap::from([("s".to_string(), objects)]), limits, true)
    }

    pub fn with(
        schema: Arc<Schema>,
        stores: HashMap<String, Objects>,
        limits: Limits,
        retention_enabled: bool,
    ) -> Self {
        Self::taking_turns(schema, stores, limits, retention_enabled, "", Arc::new(|| true))
    }

    /// The compactor `id` beside others on the same bucket.
    pub fn beside(objects: Objects, id: &str) -> Self {
        let stores = HashMap::from([("s".to_string(), objects)]);
        Self::taking_turns(one_period(), stores, Limits::default(), true, id, Arc::new(|| true))
    }

    pub fn taking_turns(
        schema: Arc<Schema>,
        stores: HashMap<String, Objects>,
        limits: Limits,
        retention_enabled: bool,
        id: &str,
        turn: Turn,
    ) -> Self {
        let settings = Settings { retention_enabled, ..Settings::default() };
        Self::built(schema, stores, limits, settings, id, turn)
    }

    /// Nothing expires, but small chunks are merged.
    pub fn merging(objects: Objects, merge_chunks_below_bytes: u64) -> Self {
        let settings = Settings { merge_chunks_below_bytes, ..Settings::default() };
        let stores = HashMap::from([("s".to_string(), objects)]);
        Self::built(one_period(), stores, Limits::default(), settings, "", Arc::new(|| true))
    }

    fn built(
        schema: Arc<Schema>,
        stores: HashMap<String, Objects>,
        limits: Limits,
        settings: Settings,
        id: &str,
        turn: Turn,
    ) -> Self {
        let (clock, limits, mut registry) =
            (ManualClock::at(NOW_NS), Arc::new(Overrides::new(limits)), Registry::default());
        let metrics = Metrics::register(&mut registry);
        let last = schema.periods().last().unwrap();
        let state = stores[&last.object_store].clone();
        let deletes = Arc::new(DeleteRequests::new(
            state.clone(),
            limits.clone(),
            clock.clone(),
            settings.delete_request_cancel_period,
            metrics.clone(),
        ));
        let parts = Parts {
            places: Places::new(schema.clone(), stores.clone()).unwrap(),
            chunks: Arc::new(chunk_store(&schema, &stores)),
            state,
            limits: limits.clone(),
            deletes: deletes.clone(),
            clock: clock.clone(),
            metrics,
            turn,
            id: id.to_string(),
        };
        Bench { schema, stores, compactor: Compactor::new(parts, settings), deletes, clock, limits, registry }
    }

    pub fn objects(&self) -> &Objects {
        &self.stores[&self.schema.periods().last().unwrap().object_store]
    }

    pub async fn round(&self) -> Result<()> {
        self.compactor.round().await
    }

    pub fn advance(&self, by: Duration) {
        self.clock.advance(by.as_nanos() as i64);
    }

    pub fn metric(&self, name: &str) -> u64 {
        let text = self.registry.print();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
    }

    pub async fn series(&self, of: &str) -> Vec<SeriesChunks> {
        series(&self.schema, &self.stores, of).await
    }

    pub async fn chunks(&self, of: &str) -> BTreeSet<ChunkRef> {
        self.series(of).await.into_iter().flat_map(|s| s.chunks).collect()
    }

    /// The chunk objects of a tenant.
    pub async fn stored(&self, of: &str) -> BTreeSet<String> {
        keys(self.objects(), of).await.into_iter().collect()
    }

    pub async fn lines(&self, tenants: &[&str]) -> Lines {
        lines(&self.schema, &self.stores, tenants).await
    }
}

/// What the index answers for a tenant, in full.
pub async fn series(schema: &Arc<Schema>, stores: &HashMap<String, Objects>, of: &str) -> Vec<SeriesChunks> {
    let cache = tempfile::tempdir().unwrap();
    let settings = IndexSettings { cache_dir: cache.path().into(), ..IndexSettings::default() };
    let places = Places::new(schema.clone(), stores.clone()).unwrap();
    let metrics = IndexMetrics::register(&mut Registry::default());
    let reader = IndexReader::new(places, &settings, ManualClock::at(NOW_NS), metrics).unwrap();
    let found = reader.series(&tenant(of), &[], EVERYTHING, None).await.unwrap();
    assert_eq!(found.warnings, [""; 0]);
    found.value
}

/// Every line that the index leads to.
pub async fn lines(schema: &Arc<Schema>, stores: &HashMap<String, Objects>, tenants: &[&str]) -> Lines {
    let chunks = chunk_store(schema, stores);
    let mut lines = Lines::new();
    for of in tenants {
        for row in series(schema, stores, of).await {
            let stream = lines.entry((of.to_string(), row.labels.to_string())).or_default();
            for chunk in &row.chunks {
                let opened = chunks.get(&tenant(of), chunk).await.unwrap();
                for i in 0..opened.blocks().len() {
                    let block = opened.block(i).unwrap();
                    let mut entries = block.entries();
                    while let Some(entry) = entries.try_next().unwrap() {
                        let line = String::from_utf8(entry.line.to_vec()).unwrap();
                        let metadata = entry.metadata.iter().map(|(n, v)| (n.to_string(), v.to_string()));
                        stream.insert((entry.ts_ns, line, metadata.collect()));
                    }
                }
            }
        }
    }
    lines
}

/// The same without structured metadata.
pub fn bare(lines: &Lines) -> BTreeMap<&(String, String), BTreeSet<(i64, &str)>> {
    lines
        .iter()
        .map(|(stream, lines)| (stream, lines.iter().map(|(ts_ns, line, _)| (*ts_ns, line.as_str())).collect()))
        .collect()
}

fn chunk_store(schema: &Arc<Schema>, stores: &HashMap<String, Objects>) -> ChunkStore {
    let metrics = ChunkMetrics::default();
    ChunkStore::new(schema.clone(), stores.clone(), &ChunkStoreSettings::default(), metrics).unwrap()
}
