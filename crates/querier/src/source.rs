//! Recent and stored data as one source of streams. Ingesters are asked before the index: what an ingester has dropped
//! by then is in the index already, so there is no gap between the two.

use crate::hidden::without_deleted;
use crate::ingesters::{Calls, Ingesters};
use crate::notes::{Notes, add};
use crate::recent::RecentPart;
use crate::stored::{Fetcher, StoredPart};
use crate::tenants;
use format::ChunkRef;
use futures::{FutureExt, TryStreamExt};
use logql::source::{Block, Selection, Source, StreamBlocks, Streams};
use model::time::NANOS_PER_MILLI;
use model::{Direction, Fingerprint, Labels, Matcher, Result, TenantId, TimeRange};
use parking_lot::Mutex;
use rpc::deletes::{DeleteFilter, Deletes};
use rpc::index::{Index, IndexRequest};
use rpc::ingester::{RecentRequest, RecentStream};
use rpc::queries::Tenants;
use rpc::read_limits::ReadLimits;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;
use storage::chunks::ChunkStore;

/// Everything that holds data: the ingesters that may have recent entries, the index and the chunks.
#[derive(Clone)]
pub struct Stores {
    pub ingesters: Arc<dyn Ingesters>,
    pub index: Arc<dyn Index>,
    pub chunks: Arc<ChunkStore>,
    /// What tenants asked to delete, where that is known.
    pub deletes: Option<Arc<dyn Deletes>>,
}

/// In which order the engine reads chunks, so that the right ones are fetched ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadOrder {
    /// Stream by stream, oldest first: metric queries.
    ByStream,
    /// Over all streams by time: log queries, which stop at their limit.
    ByTime(Direction),
}

/// The source of one query.
pub struct QuerySource {
    pub stores: Stores,
    pub tenants: Tenants,
    pub notes: Arc<Notes>,
    pub order: ReadOrder,
    pub chunks_ahead: usize,
    pub limits: ReadLimits,
    pub runtime: tokio::runtime::Handle,
}

impl Source for QuerySource {
    fn select(&self, selection: &Selection) -> Result<Box<dyn Streams>> {
        let found = self.runtime.block_on(self.find(selection))?;
        let hidden = self.runtime.block_on(self.hidden(selection.range))?;
        let _entered = self.runtime.enter();
        Ok(Box::new(Queue(Mutex::new(self.plan(found, hidden, selection.range)?))))
    }
}

/// What is known of one stream before any chunk is read.
#[derive(Default)]
struct Found {
    fingerprint: Fingerprint,
    recent: Vec<RecentPart>,
    stored: BTreeSet<ChunkRef>,
}

impl Found {
    /// What is to be read of the stream: chunks count with the part of their time that lies in the range.
    fn bytes_in(&self, range: TimeRange) -> u64 {
        let stored = self.stored.iter().map(|c| {
            let [from_ns, through_ns] = [c.from_ms, c.through_ms].map(|ms| ms.saturating_mul(NANOS_PER_MILLI));
            (f64::from(c.kb) * 1024.0 * range.share_of(from_ns, through_ns)) as u64
        });
        let recent = self.recent.iter().map(|part| {
            let (min_ns, max_ns) = part.bounds_ns();
            (part.block.raw_bytes as f64 * range.share_of(min_ns, max_ns)) as u64
        });
        stored.chain(recent).sum()
    }
}

/// What of each tenant's data is not to be seen.
type Hidden = HashMap<TenantId, Arc<Vec<DeleteFilter>>>;
type FoundStreams = HashMap<(TenantId, Labels), Found>;

impl QuerySource {
    async fn hidden(&self, range: TimeRange) -> Result<Hidden> {
        let mut hidden = Hidden::new();
        let Some(deletes) = &self.stores.deletes else { return Ok(hidden) };
        for tenant in &self.tenants.ids {
            let filters = deletes.filters(tenant, range).await?;
            if !filters.is_empty() {
                hidden.insert(tenant.clone(), Arc::new(filters));
            }
        }
        Ok(hidden)
    }

    async fn find(&self, selection: &Selection) -> Result<FoundStreams> {
        let (chosen, matchers) = tenants::select(&self.tenants, &selection.matchers);
        let mut found = FoundStreams::new();
        for tenant in chosen {
            self.find_recent(&tenant, &matchers, selection, &mut found).await?;
            self.find_stored(&tenant, &matchers, selection, &mut found).await?;
        }
        let chunks: usize = found.values().map(|f| f.stored.len()).sum();
        add(&self.notes.chunks_referenced, chunks as u64);
        let bytes = found.values().map(|f| f.bytes_in(selection.range)).sum();
        // A query may select several times, and all of it is read.
        let before = self.notes.bytes_selected.fetch_add(bytes, Ordering::Relaxed);
        self.limits.check(found.len() as u64, chunks as u64, before.saturating_add(bytes), &matchers)?;
        Ok(found)
    }

    async fn find_recent(
        &self,
        tenant: &TenantId,
        matchers: &[Matcher],
        selection: &Selection,
        found: &mut FoundStreams,
    ) -> Result<()> {
        let request = RecentRequest {
            tenant: tenant.clone(),
            matchers: matchers.to_vec(),
            range: selection.range,
            shard: selection.shard,
        };
        let calls = Calls::new(&*self.stores.ingesters, |ingester| {
            let request = request.clone();
            async move { ingester.select(request).await?.try_collect::<Vec<RecentStream>>().await }.boxed()
        });
        add(&self.notes.ingesters_reached, calls.count());
        let answers = calls.gather(&self.notes).await?;
        for stream in answers.into_iter().flatten() {
            add(&self.notes.ingester_streams, 1);
            add(&self.notes.ingester_blocks, stream.blocks.len() as u64);
            let f = found.entry((tenant.clone(), stream.labels)).or_default();
            f.fingerprint = stream.fingerprint;
            f.stored.extend(stream.flushed);
            f.recent.extend(stream.blocks.into_iter().map(|block| RecentPart { block, notes: self.notes.clone() }));
        }
        Ok(())
    }

    async fn find_stored(
        &self,
        tenant: &TenantId,
        matchers: &[Matcher],
        selection: &Selection,
        found: &mut FoundStreams,
    ) -> Result<()> {
        let start = Instant::now();
        let request = IndexRequest {
            tenant: tenant.clone(),
            matchers: matchers.to_vec(),
            range: selection.range,
            shard: selection.shard,
        };
        let answer = self.stores.index.chunks(request).await?;
        answer.warnings.into_iter().for_each(|w| self.notes.warn(w));
        for series in answer.value {
            let f = found.entry((tenant.clone(), series.labels)).or_default();
            f.fingerprint = series.fingerprint;
            f.stored.extend(series.chunks);
        }
        add(&self.notes.chunk_refs_nanos, start.elapsed().as_nanos() as u64);
        Ok(())
    }

    /// Orders the chunks as they will be read, and gives each stream its blocks.
    fn plan(&self, found: FoundStreams, hidden: Hidden, range: TimeRange) -> Result<VecDeque<StreamBlocks>> {
        let mut streams: Vec<_> = found.into_iter().collect();
        streams.sort_by(|a, b| a.0.cmp(&b.0));
        let mut wanted: Vec<(usize, TenantId, ChunkRef)> = vec![];
        for (i, ((tenant, _), f)) in streams.iter().enumerate() {
            let overlapping = f.stored.iter().filter(|c| {
                range.overlaps(c.from_ms.saturating_mul(NANOS_PER_MILLI), c.through_ms.saturating_mul(NANOS_PER_MILLI))
            });
            wanted.extend(overlapping.map(|c| (i, tenant.clone(), *c)));
        }
        match self.order {
            ReadOrder::ByStream => {}
            ReadOrder::ByTime(Direction::Backward) => wanted.sort_by_key(|(_, _, c)| std::cmp::Reverse(c.through_ms)),
            ReadOrder::ByTime(Direction::Forward) => wanted.sort_by_key(|(_, _, c)| c.from_ms),
        }
        let refs = wanted.iter().map(|(_, tenant, chunk)| (tenant.clone(), *chunk)).collect();
        let fetcher = Fetcher::new(self.stores.chunks.clone(), self.notes.clone(), self.chunks_ahead, refs);
        let mut parts: HashMap<usize, Vec<Arc<dyn Block>>> = HashMap::new();
        for (index, (stream, _, _)) in wanted.iter().enumerate() {
            parts.entry(*stream).or_default().push(Arc::new(StoredPart { fetcher: fetcher.clone(), index }));
        }
        let blocks = streams.into_iter().enumerate().map(|(i, ((tenant, labels), f))| {
            let mut blocks = parts.remove(&i).unwrap_or_default();
            blocks.extend(f.recent.into_iter().map(|p| Arc::new(p) as Arc<dyn Block>));
            blocks.sort_by_key(|b| b.bounds_ns());
            if let Some(filters) = hidden.get(&tenant) {
                blocks = blocks.into_iter().map(|b| without_deleted(b, &labels, filters)).collect();
            }
            let labels = if self.tenants.labelled { tenants::label(&tenant, &labels) } else { labels };
            StreamBlocks { labels, fingerprint: f.fingerprint, blocks }
        });
        Ok(blocks.filter(|s| !s.blocks.is_empty()).collect())
    }
}

/// Streams in order, pulled by several workers.
struct Queue(Mutex<VecDeque<StreamBlocks>>);

impl Streams for Queue {
    fn next(&self) -> Option<Result<StreamBlocks>> {
        self.0.lock().pop_front().map(Ok)
    }
}
