//! The write path of a process: ingester and distributor.

use super::lifecycle::lifecycle;
use super::ring::IngesterRing;
use super::stores::{RESYNC_INTERVAL, Stores};
use crate::config::roles::Wal;
use crate::node::{Base, Parts};
use api::push::{BodyLimits, PushApi};
use async_trait::async_trait;
use bytes::Bytes;
use cluster::members::{Member, MemberState};
use distributor::Distributor;
use format::{ChunkRef, Codec};
use ingester::wal::disk::{FileSystem, Nowhere};
use ingester::{ChunkSink, ChunkSync, Compressor, Compressors, Ingester, PatternSettings, Settings, WalSettings};
use model::{Labels, Result, TenantId};
use std::sync::Arc;
use storage::chunks::ChunkStore;
use storage::index::{IndexEntry, IndexReader, IndexShipper};

/// Chunks and index rows of the ingester go to the object stores.
struct StoredChunks {
    chunks: Arc<ChunkStore>,
    shipper: IndexShipper,
    /// The reader of this process, which sees what was shipped at once.
    reader: Option<Arc<IndexReader>>,
}

#[async_trait]
impl ChunkSink for StoredChunks {
    async fn put(&self, tenant: &TenantId, _labels: &Labels, chunk: &ChunkRef, object: Bytes) -> Result<()> {
        self.chunks.put(tenant, chunk, object).await
    }

    async fn ship(&self, entries: Vec<(TenantId, Labels, ChunkRef)>) -> Result<()> {
        let rows = entries.into_iter().map(|(tenant, labels, chunk)| IndexEntry { tenant, labels, chunk });
        self.shipper.ship(rows.collect()).await?;
        if let Some(reader) = &self.reader {
            reader.refresh();
        }
        Ok(())
    }
}

/// Starts the ingester: it recovers its log in the background and is ready when that is done.
pub async fn ingester(
    base: &Base,
    stores: &Stores,
    reader: Option<Arc<IndexReader>>,
    parts: &mut Parts,
) -> Result<Arc<Ingester>, String> {
    let has_reader = reader.is_some();
    let members = base.members.clone();
    let replication = base.settings.common.replication_factor.unwrap_or(1);
    let chunks = &stores.cached_chunks;
    let chunks = if replication > 1 { Arc::new(chunks.replicated()) } else { chunks.clone() };
    let share = move || share_of_streams(members.playing("ingester").len(), replication);
    let ingester = Ingester::start(ingester::Parts {
        settings: ingester_settings(base, stores, replication)?,
        clock: base.clock.clone(),
        budget: base.memory.clone(),
        limits: base.limits.clone(),
        stream_share: Arc::new(share),
        compressors: compressors(base, replication),
        sink: Arc::new(StoredChunks { chunks, shipper: stores.shipper(base)?, reader }),
        disk: if base.settings.ingester.wal.enabled { Arc::new(FileSystem) } else { Arc::new(Nowhere) },
        metrics: base.metrics.with_registry(ingester::metrics::Metrics::new),
    });
    let ingester = ingester.await.map_err(|e| e.message)?;
    if !base.settings.ingester.wal.enabled {
        let copies = replication / 2 + 1;
        tracing::warn!(
            copies,
            "ingester.wal.enabled is false: until it is stored, an acknowledged line is in memory only"
        );
    }
    let service = base.services.add("ingester");
    service.starting("recovering the write-ahead log");
    let (recovering, recovered) = (ingester.clone(), service.clone());
    base.tasks.spawn("ingester recovery", async move {
        recovering.recovered().await;
        recovered.running();
    });
    parts.serve_grpc(rpc::wire::ingester_server(ingester.clone()));
    let stopping = lifecycle(base, ingester.clone(), service, parts);
    let members = base.members.clone();
    parts.on_stop("ingester", async move {
        stopping.stop(true).await;
        let alone = has_reader && members.all().len() < 2;
        if !alone {
            tokio::time::sleep(2 * RESYNC_INTERVAL).await;
        }
    });
    Ok(ingester)
}

/// With replicas, the first of a stream's ingesters compresses for all of them.
fn compressors(base: &Base, replication: usize) -> Compressors {
    if replication == 1 {
        return Arc::new(|_| Compressor::Here(vec![]));
    }
    let (ring, own_id) = (IngesterRing::new(base, None), base.id.clone());
    Arc::new(move |token| ring.compressor(&own_id, token))
}

/// The part of a tenant's streams that one of `ingesters` holds.
fn share_of_streams(ingesters: usize, replication: usize) -> f64 {
    (replication as f64 / ingesters.max(1) as f64).min(1.0)
}

fn ingester_settings(base: &Base, stores: &Stores, replication: usize) -> Result<Settings, String> {
    let own = &base.settings.ingester;
    let defaults = Settings::default();
    let sync = ChunkSync { period: own.sync_period, min_utilization: own.sync_min_utilization };
    let settings = Settings {
        chunk_block_size: own.chunk_block_size as u64,
        chunk_target_size: own.chunk_target_size as u64,
        chunk_idle_period: own.chunk_idle_period,
        max_chunk_age: own.max_chunk_age,
        chunk_encoding: Codec::from_name(&own.chunk_encoding).map_err(|e| e.message)?,
        chunk_layout: stores.layout(),
        sync: (replication > 1 && !sync.period.is_zero()).then_some(sync),
        flush_check_period: own.flush_check_period,
        concurrent_flushes: own.concurrent_flushes,
        replay_memory_ceiling: own.wal.replay_memory_ceiling,
        patterns: own_patterns(base),
        wal: wal_settings(&own.wal),
        ..defaults
    };
    settings.check().map_err(|e| e.message)?;
    Ok(settings)
}

/// Patterns are found where lines are held.
fn own_patterns(base: &Base) -> Option<PatternSettings> {
    let own = &base.settings.pattern_ingester;
    let stream = patterns::Settings {
        max_clusters: own.max_clusters,
        max_eviction_ratio: own.max_eviction_ratio,
        max_allowed_line_length: own.max_allowed_line_length,
        sample_interval: own.pattern_sample_interval,
        retain_for: own.retain_for,
    };
    own.enabled.then(|| PatternSettings { stream, ..PatternSettings::default() })
}

/// Without a log there is nothing to be bounded but memory, and the memory budget does that.
fn wal_settings(own: &Wal) -> WalSettings {
    let defaults = WalSettings::default();
    let budget_bytes = if own.enabled { defaults.budget_bytes } else { u64::MAX };
    WalSettings { dir: own.dir.clone().into(), budget_bytes, ..defaults }
}

/// The distributor and the push API.
pub fn distributor(base: &Base, ring: Arc<IngesterRing>, parts: &mut Parts) {
    let distributors = base.members.clone();
    let healthy = |member: &Member| member.state != MemberState::Unhealthy;
    let count = move || distributors.playing("distributor").into_iter().filter(healthy).count().max(1);
    let distributor = Arc::new(Distributor::new(base.limits.clone(), base.clock.clone(), ring, Arc::new(count)));
    base.metrics.with_registry(|registry| distributor.metrics().register(registry));
    let api = PushApi {
        pusher: distributor.clone(),
        limits: base.limits.clone(),
        budget: base.memory.clone(),
        buffers: Arc::default(),
        clock: base.clock.clone(),
        auth_enabled: base.settings.auth_enabled.unwrap_or(true),
        body: body_limits(base),
    };
    parts.writes = std::mem::take(&mut parts.writes).merge(api::push::routes(Arc::new(api)));
    parts.on_stop("distributor", async move { distributor.stop().await });
    base.services.add("distributor").running();
}

fn body_limits(base: &Base) -> BodyLimits {
    let own = &base.settings.distributor;
    BodyLimits {
        received_bytes_max: own.max_recv_msg_size as usize,
        decompressed_bytes_max: own.max_decompressed_size as usize,
    }
}
