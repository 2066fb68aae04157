//! The object stores of the schema, opened, and what stands on them: chunks, index, shipping.

use crate::config::storage::{Azure, Gcs, S3};
use crate::config::{Backend, Settings, Store};
use crate::members::own_id;
use crate::node::Base;
use format::schema::{Period, Schema, SchemaVersion};
use model::Layout;
use runtime::settings::Secret;
use runtime::settings::units::parse_moment_ns;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use storage::chunk_caches::ChunkCaches;
use storage::chunks::{ChunkMetrics, ChunkStore, ChunkStoreSettings};
use storage::index::{IndexMetrics, IndexReader, IndexSettings, IndexShipper, Places, Uploader};
use storage::objects::{
    AzureSettings, Backoff, FilesystemSettings, GcsSettings, HttpSettings, ObjectMetrics, ObjectSettings, Objects,
    Place, S3Settings, SseSettings, open,
};

/// How long a listing of an index table is believed. A stopping ingester answers for a little longer than this after it
/// has shipped its index, so that no reader misses what it held.
pub const RESYNC_INTERVAL: Duration = Duration::from_secs(1);

/// Of the memory that the process plans with, blocks that are kept decompressed take one in so many parts at most.
const DECOMPRESSED_PARTS_OF_MEMORY: u64 = 16;

/// Where everything is stored.
pub struct Stores {
    pub schema: Arc<Schema>,
    pub places: Places,
    /// Chunks as the object store has them: for those who change it.
    pub chunks: Arc<ChunkStore>,
    /// The same behind the configured caches, if there are any: for those who write and read logs.
    pub cached_chunks: Arc<ChunkStore>,
    index_metrics: IndexMetrics,
    object_metrics: ObjectMetrics,
}

impl Stores {
    /// `uses_caches`: a role of the process writes or reads logs.
    pub fn open(base: &Base, uses_caches: bool) -> Result<Stores, String> {
        let settings = &base.settings;
        let object_metrics = base.metrics.with_registry(ObjectMetrics::register);
        let (schema, objects) = opened(settings, Some(&object_metrics))?;
        let cache = &settings.chunk_store_config.chunk_cache_config.embedded_cache;
        let decompressed_max = base.memory.limit_bytes() / DECOMPRESSED_PARTS_OF_MEMORY;
        let decompressed = settings.chunk_store_config.decompressed_cache_size_mb.saturating_mul(1 << 20);
        let mut chunk_settings = ChunkStoreSettings {
            parallel_fetches_max: settings.storage_config.max_parallel_get_chunk,
            decompressed_bytes: decompressed.min(decompressed_max),
            ..ChunkStoreSettings::default()
        };
        if cache.enabled {
            chunk_settings.cache_bytes = cache.max_size_mb << 20;
        }
        let in_memory = base.caches.metrics.embedded_bytes("chunks");
        let chunk_metrics = base.metrics.with_registry(|registry| ChunkMetrics::register(registry, in_memory));
        let chunks =
            ChunkStore::new(schema.clone(), objects.clone(), &chunk_settings, chunk_metrics).map_err(|e| e.message)?;
        let cached_chunks = match if uses_caches { chunk_caches(base)? } else { None } {
            Some(caches) => chunks.cached_in(caches),
            None => chunks.clone(),
        };
        let places = Places::new(schema.clone(), objects).map_err(|e| e.message)?;
        let index_metrics = base.metrics.with_registry(IndexMetrics::register);
        let (chunks, cached_chunks) = (Arc::new(chunks), Arc::new(cached_chunks));
        Ok(Stores { schema, places, chunks, cached_chunks, index_metrics, object_metrics })
    }

    pub fn reader(&self, base: &Base) -> Result<Arc<IndexReader>, String> {
        let shipper = &base.settings.storage_config.tsdb_shipper;
        let defaults = IndexSettings::default();
        let settings = IndexSettings {
            cache_dir: shipper.cache_location.clone().into(),
            resync_interval: shipper.resync_interval.min(RESYNC_INTERVAL),
            ..defaults
        };
        let reader = IndexReader::new(self.places.clone(), &settings, base.clock.clone(), self.index_metrics.clone());
        Ok(Arc::new(reader.map_err(|e| e.message)?))
    }

    pub fn shipper(&self, base: &Base) -> Result<IndexShipper, String> {
        let dir = Path::new(&base.settings.storage_config.tsdb_shipper.active_index_directory);
        let uploader = Uploader::open(dir, &own_id(&base.settings), base.clock.clone()).map_err(|e| e.message)?;
        Ok(IndexShipper::new(self.places.clone(), uploader, self.index_metrics.clone()))
    }

    /// A bucket beside those of the schema.
    pub fn bucket(&self, name: &str, store: Store) -> Result<Objects, String> {
        open(name, &object_settings(store), Some(&self.object_metrics)).map_err(|e| e.message)
    }

    /// Whether chunks written now carry structured metadata: the newest period decides.
    pub fn layout(&self) -> Layout {
        self.schema.periods().last().map_or(Layout::Metadata, |p| p.schema.chunk_layout())
    }
}

/// What stands between the memory for chunks and the object store.
fn chunk_caches(base: &Base) -> Result<Option<ChunkCaches>, String> {
    let own = &base.settings.chunk_store_config;
    // The cache in memory holds opened chunks: the chunk store's own.
    let mut first = own.chunk_cache_config.clone();
    first.embedded_cache.enabled = false;
    let block = |name: &str, fault: String| format!("chunk_store_config.{name}: {fault}");
    let first = cache::build("chunks", &first, &base.caches).map_err(|e| block("chunk_cache_config", e))?;
    let mut second = None;
    if !own.l2_chunk_cache_handoff.is_zero() {
        let built = cache::build("chunksl2", &own.chunk_cache_config_l2, &base.caches);
        second = built.map_err(|e| block("chunk_cache_config_l2", e))?;
    } else if own.chunk_cache_config_l2.is_set() {
        tracing::warn!("chunk_store_config.chunk_cache_config_l2 is not used: l2_chunk_cache_handoff is 0");
    }
    Ok((first.is_some() || second.is_some()).then(|| ChunkCaches {
        first,
        second,
        handoff: own.l2_chunk_cache_handoff,
        skip_writeback_older_than: own.skip_query_writeback_cache_older_than,
        clock: base.clock.clone(),
    }))
}

/// The periods and their buckets, without anything that a role needs.
pub fn places(settings: &Settings) -> Result<Places, String> {
    let (schema, objects) = opened(settings, None)?;
    Places::new(schema, objects).map_err(|e| e.message)
}

type Opened = (Arc<Schema>, HashMap<String, Objects>);

fn opened(settings: &Settings, metrics: Option<&ObjectMetrics>) -> Result<Opened, String> {
    let schema = Arc::new(Schema::new(periods(settings)?).map_err(|e| e.message)?);
    let mut objects: HashMap<String, Objects> = HashMap::new();
    for period in schema.periods() {
        let name = &period.object_store;
        if !objects.contains_key(name) {
            let opened = open(name, &object_settings(settings.store(name)?), metrics).map_err(|e| e.message)?;
            objects.insert(name.clone(), opened);
        }
    }
    Ok((schema, objects))
}

fn periods(settings: &Settings) -> Result<Vec<Period>, String> {
    let configs = settings.schema_config.configs.iter();
    configs
        .map(|config| {
            let fault = |e: String| format!("schema_config: the period from {:?}: {e}", config.from);
            Ok(Period {
                from_ms: parse_moment_ns(&config.from).map_err(fault)?.div_euclid(1_000_000),
                schema: SchemaVersion::from_name(&config.schema).map_err(|e| fault(e.message))?,
                index_prefix: config.index.prefix.clone(),
                path_prefix: config.index.path_prefix.clone(),
                object_store: config.object_store.clone(),
            })
        })
        .collect()
}

fn object_settings(store: Store) -> ObjectSettings {
    let place = match store.backend {
        Backend::Filesystem { directory } => Place::Filesystem(FilesystemSettings { directory }),
        Backend::S3(s3) => Place::S3(Box::new(s3_settings(&s3))),
        Backend::Gcs(gcs) => Place::Gcs(gcs_settings(&gcs)),
        Backend::Azure(azure) => Place::Azure(Box::new(azure_settings(&azure))),
    };
    ObjectSettings { object_prefix: store.prefix, ..ObjectSettings::new(place) }
}

fn s3_settings(s3: &S3) -> S3Settings {
    S3Settings {
        s3: Secret::new(s3.s3.expose()),
        s3forcepathstyle: s3.s3forcepathstyle,
        bucketnames: s3.bucketnames.join(","),
        endpoint: s3.endpoint.clone(),
        region: s3.region.clone(),
        access_key_id: s3.access_key_id.clone(),
        secret_access_key: s3.secret_access_key.clone(),
        session_token: s3.session_token.clone(),
        insecure: s3.insecure,
        backoff_config: Backoff {
            min_period: s3.backoff_config.min_period,
            max_period: s3.backoff_config.max_period,
            max_retries: s3.backoff_config.max_retries,
        },
        chunk_delimiter: s3.chunk_delimiter.clone(),
        http_config: HttpSettings {
            insecure_skip_verify: s3.http_config.insecure_skip_verify,
            ca_file: s3.http_config.ca_file.clone(),
        },
        storage_class: s3.storage_class.clone(),
        sse: SseSettings { kind: s3.sse.r#type.clone(), kms_key_id: s3.sse.kms_key_id.clone() },
    }
}

fn gcs_settings(gcs: &Gcs) -> GcsSettings {
    GcsSettings { bucket_name: gcs.bucket_name.clone(), service_account: gcs.service_account.clone() }
}

fn azure_settings(azure: &Azure) -> AzureSettings {
    AzureSettings {
        account_name: azure.account_name.clone(),
        account_key: azure.account_key.clone(),
        connection_string: azure.connection_string.clone(),
        container_name: azure.container_name.clone(),
        endpoint_suffix: azure.endpoint_suffix.clone(),
        chunk_delimiter: azure.chunk_delimiter.clone(),
        use_managed_identity: azure.use_managed_identity,
        user_assigned_id: azure.user_assigned_id.clone(),
        use_service_principal: azure.use_service_principal,
        client_id: azure.client_id.clone(),
        client_secret: azure.client_secret.clone(),
        tenant_id: azure.tenant_id.clone(),
        use_federated_token: azure.use_federated_token,
    }
}
