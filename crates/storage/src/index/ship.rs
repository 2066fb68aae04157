//! Shipping: flushed chunks become index files, one for each table that must list them, on the object store when it
//! answers. It must not know who flushed.

use super::{FILE_SUFFIX, IndexMetrics, Places, Uploader};
use crate::objects::Objects;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use format::ChunkRef;
use format::schema::TsdbVersion;
use format::tsdb::{IndexBuilder, TENANT_LABEL};
use futures::{StreamExt, TryStreamExt, stream};
use model::{Error, Labels, Result, TenantId};
use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashMap};
use std::hash::{Hash, Hasher};
use std::io::Write;
use std::sync::{Arc, Mutex};

/// Files put at a time: a flush touches one or two tables, seldom more.
const PARALLEL_PUTS: usize = 8;
/// Failed shipments whose names are kept for their repetition; a forgotten one gets a new name, and its rows come twice,
/// which readers are used to.
const PENDING_MAX: usize = 1024;

/// A stored chunk that the index does not list yet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IndexEntry {
    pub tenant: TenantId,
    pub labels: Labels,
    pub chunk: ChunkRef,
}

/// Writes index files of several tenants.
pub struct IndexShipper {
    places: Places,
    uploader: Arc<Uploader>,
    /// The seconds in the names of shipments that failed, by the digest of their entries.
    pending: Mutex<HashMap<u64, i64>>,
    metrics: IndexMetrics,
}

/// A file to be: where, in which version, of what.
struct Plan {
    objects: Objects,
    table: String,
    version: TsdbVersion,
    series: HashMap<(TenantId, Labels), Vec<ChunkRef>>,
}

impl IndexShipper {
    pub fn new(places: Places, uploader: Uploader, metrics: IndexMetrics) -> Self {
        IndexShipper { places, uploader: Arc::new(uploader), pending: Mutex::default(), metrics }
    }

    /// Lists the chunks in every table of their days, from first to last. `Ok` means that all files are durable; after
    /// an `Err` the same entries can be shipped again, and then use the same file names.
    pub async fn ship(&self, entries: Vec<IndexEntry>) -> Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        let digest = digest(&entries);
        let plans = self.plan(entries)?;
        let seconds = self.seconds(digest).await?;
        let name = format!("{seconds}-{}{FILE_SUFFIX}.gz", self.uploader.name());
        let puts = stream::iter(plans).map(|plan| self.put(plan, &name));
        puts.buffer_unordered(PARALLEL_PUTS).try_collect::<()>().await?;
        self.lock().remove(&digest);
        Ok(())
    }

    fn plan(&self, entries: Vec<IndexEntry>) -> Result<Vec<Plan>> {
        let mut plans: BTreeMap<(String, String), Plan> = BTreeMap::new();
        for IndexEntry { tenant, labels, chunk } in entries {
            let tables = self.places.schema.tables(chunk.from_ms, chunk.through_ms)?;
            if tables.is_empty() {
                return Err(Error::invalid(format!(
                    "no schema period holds the chunk of {labels} from {} ms",
                    chunk.from_ms
                )));
            }
            for table in tables {
                let place = (table.period.object_store.clone(), table.key());
                let plan = plans.entry(place).or_insert_with(|| Plan {
                    objects: self.places.objects(table.period).clone(),
                    table: table.key(),
                    version: table.period.schema.tsdb_version(),
                    series: HashMap::new(),
                });
                plan.series.entry((tenant.clone(), labels.clone())).or_default().push(chunk);
            }
        }
        Ok(plans.into_values().collect())
    }

    /// The seconds for the file names: those of the failed attempt, if this is a repetition.
    async fn seconds(&self, digest: u64) -> Result<i64> {
        if let Some(seconds) = self.lock().get(&digest) {
            return Ok(*seconds);
        }
        let uploader = self.uploader.clone();
        let next = tokio::task::spawn_blocking(move || uploader.next_seconds());
        let seconds = next.await.map_err(|e| Error::internal(format!("index uploader: {e}")))??;
        let mut pending = self.lock();
        if pending.len() >= PENDING_MAX {
            pending.clear();
        }
        pending.insert(digest, seconds);
        Ok(seconds)
    }

    async fn put(&self, plan: Plan, name: &str) -> Result<()> {
        let (objects, key) = (plan.objects.clone(), format!("{}/{name}", plan.table));
        let built = tokio::task::spawn_blocking(move || plan.build()).await;
        let object = built.map_err(|e| Error::internal(format!("index file {key}: {e}")))??;
        let bytes = object.len() as u64;
        objects.put(&key, object).await?;
        self.metrics.shipped.inc();
        self.metrics.shipped_bytes.inc_by(bytes);
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, i64>> {
        self.pending.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Plan {
    /// The compressed file. The same entries give the same bytes.
    fn build(self) -> Result<Bytes> {
        let mut builder = IndexBuilder::new(self.version);
        for ((tenant, labels), chunks) in self.series {
            let with_tenant = std::iter::once((TENANT_LABEL.into(), tenant.as_str().into()));
            let labels = Labels::new(labels.iter().map(|l| (l.name.clone(), l.value.clone())).chain(with_tenant));
            for of_one in chunks.chunk_by(|a, b| a.fingerprint == b.fingerprint) {
                builder.add(labels.clone(), of_one[0].fingerprint, of_one.iter().copied());
            }
        }
        let file = builder.build()?;
        let mut gzip = GzEncoder::new(Vec::with_capacity(file.len() / 2), Compression::default());
        let compressed = gzip.write_all(&file).and_then(|()| gzip.finish());
        Ok(compressed.map_err(|e| Error::internal(format!("gzip: {e}")))?.into())
    }
}

/// Tells shipments apart, within the process.
fn digest(entries: &[IndexEntry]) -> u64 {
    let mut hasher = DefaultHasher::new();
    entries.hash(&mut hasher);
    hasher.finish()
}
