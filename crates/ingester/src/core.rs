//! What every path of the ingester shares, and the two steps they have in common: find a stream, take logged entries
//! into memory. It must not know in which order the paths use it.

use crate::flush::{ChunkSink, FlushQueue};
use crate::metrics::{Metrics, TenantLabel};
use crate::patterns::Patterns;
use crate::seal::{Cut, SealQueue};
use crate::settings::Settings;
use crate::share::Compressors;
use crate::ship::Shipments;
use crate::stream::{Names, STREAM_BYTES, Stream};
use crate::tail::Tails;
use crate::tenant::{Tenant, Tenants};
use crate::wal::Wal;
use crate::wal::segment::Hold;
use model::{Batch, Labels, Result, StreamBatch};
use parking_lot::Mutex;
use runtime::clock::SharedClock;
use runtime::limits::{Limits, Overrides};
use runtime::memory::{Budget, Reservation};
use std::sync::Arc;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// The part of a tenant's global stream limit that falls to this ingester: replication factor / ingesters.
pub type StreamShare = Arc<dyn Fn() -> f64 + Send + Sync>;

pub struct Core {
    pub settings: Settings,
    pub clock: SharedClock,
    pub budget: Arc<Budget>,
    pub limits: Arc<Overrides>,
    pub stream_share: StreamShare,
    pub sink: Arc<dyn ChunkSink>,
    pub metrics: Metrics,
    pub tenants: Tenants,
    pub tails: Arc<Tails>,
    /// Where patterns of lines are found.
    pub patterns: Option<Patterns>,
    pub wal: Wal,
    /// Segments of earlier processes that are not, or not yet, in memory: they stay on disk.
    pub unread: Mutex<Vec<Hold>>,
    pub seals: SealQueue,
    pub compressors: Compressors,
    pub flushes: FlushQueue,
    pub shipments: Shipments,
    /// Memory or log run short: close chunks now.
    pub pressure: Notify,
    /// Ends the background tasks.
    pub stop: CancellationToken,
}

impl Core {
    /// The streams that a tenant may have here; `None` for any number.
    pub fn streams_max(&self, limits: &Limits) -> Option<u64> {
        let local = Some(limits.max_streams_per_user).filter(|max| *max > 0);
        let global = Some(limits.max_global_streams_per_user).filter(|max| *max > 0);
        let share = global.map(|max| (max as f64 * (self.stream_share)()).ceil() as u64);
        [local, share].into_iter().flatten().min()
    }

    /// Reserves memory, and asks for chunks to be closed when there is none.
    pub fn reserve(&self, bytes: u64, what: &str) -> Result<Reservation> {
        self.budget.reserve(bytes, what).inspect_err(|_| self.pressure.notify_one())
    }

    /// The stream of a part. A new one takes its memory from the budget; what is logged already (`must`) is taken in
    /// even without.
    pub fn stream(&self, tenant: &Tenant, part: &StreamBatch<'_>, labels: Labels, must: bool) -> Result<Arc<Stream>> {
        let memory = match self.reserve(STREAM_BYTES, "a new stream") {
            Err(e) if !must => return Err(e),
            memory => memory.ok(),
        };
        let now_ns = self.clock.now_ns();
        let (stream, new) = tenant.find_or_insert(part.fingerprint, part.labels, |fingerprint, id| {
            let token = labels.ring_token(tenant.id.as_str());
            let names = Names { labels, text: part.labels.into(), hash: part.fingerprint, fingerprint, token };
            Stream::new(names, id, now_ns, memory)
        });
        if new {
            self.metrics.streams_created.get_or_create(&TenantLabel { tenant: tenant.id.to_string() }).inc();
        }
        Ok(stream)
    }

    /// The size at which blocks are cut now.
    fn block_size(&self) -> u64 {
        let usual = self.settings.chunk_block_size;
        let growing = self.tenants.streams().saturating_mul(usual);
        if growing < self.settings.small_blocks_above { usual } else { usual.div_ceil(4) }
    }

    /// Takes a logged batch into memory; `streams` are those of its parts. The blocks that this cuts are to be sealed.
    pub fn apply(
        &self,
        tenant: &Tenant,
        batch: &Batch,
        streams: &[Arc<Stream>],
        hold: &Hold,
        mut memory: Reservation,
    ) -> Result<Vec<Cut>> {
        let mut cut = vec![];
        for (part, stream) in batch.streams().zip(streams) {
            let part = part?;
            let memory = memory.split(part.body_bytes() as u64);
            cut.extend(self.apply_part(tenant, &part, stream.clone(), hold, memory)?);
        }
        Ok(cut)
    }

    pub fn apply_part(
        &self,
        tenant: &Tenant,
        part: &StreamBatch<'_>,
        mut stream: Arc<Stream>,
        hold: &Hold,
        memory: Reservation,
    ) -> Result<Vec<Cut>> {
        loop {
            let mut state = stream.lock();
            if !state.forgotten {
                let applied =
                    state.apply(part, hold, memory, self.clock.now_ns(), &self.settings, self.block_size())?;
                drop(state);
                self.metrics.chunks_created.inc_by(applied.opened);
                self.metrics.memory_chunks.inc_by(applied.opened as i64);
                for chunk in applied.closed {
                    self.flushes.push(&tenant.id, &stream, chunk, &self.metrics);
                }
                let token = stream.token;
                return Ok(applied.cut.into_iter().map(|block| Cut { block, token }).collect());
            }
            drop(state);
            stream = self.stream(tenant, part, stream.labels.clone(), true)?;
        }
    }
}
