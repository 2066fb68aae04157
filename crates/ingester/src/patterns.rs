//! Patterns of what is pushed: batches are looked at behind the push, on a thread of its own, a bounded number of lines a
//! second. A batch that finds no room is left out, and of a tenant in a hurry every n-th line stands for n. It must not
//! know how patterns are found, nor who asks.

mod store;

use crate::metrics::Metrics;
use crate::stream::Stream;
use model::{Batch, Error, Result, TenantId};
use parking_lot::Mutex;
use patterns::Scratch;
use rpc::ingester::{PatternsRequest, StreamPatterns};
use runtime::clock::SharedClock;
use runtime::limits::{Limits, Overrides};
use runtime::memory::{Budget, Reservation};
use std::sync::Arc;
use std::time::Duration;
use store::{Lines, Store};
use tokio::sync::mpsc;

/// Batches that wait to be looked at.
const QUEUE_BATCHES: usize = 64;
/// Bytes of a batch that may wait: of a larger one nothing is looked at.
const BATCH_BYTES_MAX: usize = 16 << 20;
/// The most lines that one stands for.
const STRIDE_MAX: u64 = 1 << 10;
/// How often what is old is forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(60);

/// `pattern_ingester`.
#[derive(Clone, Debug)]
pub struct PatternSettings {
    pub stream: patterns::Settings,
    /// Lines looked at a second, of all tenants; a second's worth may come at once.
    pub lines_per_second: u64,
    /// Memory of all patterns, in bytes: streams that were pushed to the longest ago give way.
    pub memory_bytes_max: usize,
}

impl Default for PatternSettings {
    fn default() -> Self {
        PatternSettings { stream: patterns::Settings::default(), lines_per_second: 20_000, memory_bytes_max: 64 << 20 }
    }
}

/// The patterns of an ingester.
pub struct Patterns {
    jobs: mpsc::Sender<Job>,
    store: Arc<Mutex<Store>>,
    budget: Arc<Budget>,
    metrics: Metrics,
}

/// A batch that is in memory and logged, and the streams of its parts.
struct Job {
    tenant: TenantId,
    batch: Batch,
    streams: Vec<Arc<Stream>>,
    _memory: Reservation,
}

impl Patterns {
    /// Its thread ends when it is dropped.
    pub fn start(
        settings: PatternSettings,
        clock: SharedClock,
        limits: Arc<Overrides>,
        budget: Arc<Budget>,
        metrics: Metrics,
    ) -> Result<Patterns> {
        let (jobs, queue) = mpsc::channel(QUEUE_BATCHES);
        let store = Arc::new(Mutex::new(Store::new(settings.clone())));
        let observer = Observer {
            allowance: Allowance { lines: settings.lines_per_second, filled_ns: clock.now_ns() },
            settings,
            clock,
            limits,
            store: store.clone(),
            metrics: metrics.clone(),
            scratch: Scratch::default(),
            forgot_ns: 0,
        };
        let thread = std::thread::Builder::new().name("patterns".into()).spawn(move || observer.work(queue));
        thread.map_err(|e| Error::unavailable(format!("no thread to find patterns: {e}")))?;
        Ok(Patterns { jobs, store, budget, metrics })
    }

    /// Hands over a batch, or leaves it out when too many wait: a push does not wait for patterns.
    pub fn observe(&self, tenant: &TenantId, batch: &Batch, streams: &[Arc<Stream>]) {
        let memory = match self.jobs.try_reserve() {
            Ok(place) if batch.data.len() <= BATCH_BYTES_MAX => {
                self.budget.reserve(batch.data.len() as u64, "the search for patterns").map(|memory| (place, memory))
            }
            _ => Err(Error::unavailable("too many batches wait to be searched for patterns")),
        };
        match memory {
            Ok((place, _memory)) => {
                place.send(Job { tenant: tenant.clone(), batch: batch.clone(), streams: streams.to_vec(), _memory })
            }
            Err(_) => {
                self.metrics.pattern_batches_dropped.inc();
            }
        }
    }

    pub fn answer(&self, request: &PatternsRequest) -> Vec<StreamPatterns> {
        self.store.lock().answer(request)
    }
}

/// What the thread works with.
struct Observer {
    settings: PatternSettings,
    clock: SharedClock,
    limits: Arc<Overrides>,
    store: Arc<Mutex<Store>>,
    metrics: Metrics,
    allowance: Allowance,
    scratch: Scratch,
    forgot_ns: i64,
}

impl Observer {
    fn work(mut self, mut queue: mpsc::Receiver<Job>) {
        while let Some(job) = queue.blocking_recv() {
            // What admission walked is walked again: it cannot be malformed here.
            if let Err(e) = self.take(&job) {
                tracing::error!(error = %e, "a batch is not searched for patterns");
            }
        }
    }

    fn take(&mut self, job: &Job) -> Result<()> {
        let now_ns = self.clock.now_ns();
        let fields = message_fields(&self.limits.tenant(&job.tenant));
        let lines: u64 = job.batch.streams().map(|part| part.map_or(0, |part| part.entries)).sum();
        let stride = self.allowance.stride(lines, self.settings.lines_per_second, now_ns);
        for (part, stream) in job.batch.streams().zip(&job.streams) {
            let lines = Lines { part: part?, stride, now_ns, message_fields: &fields };
            let counted = self.store.lock().learn(&job.tenant, stream, &lines, &mut self.scratch)?;
            self.metrics.pattern_lines.inc_by(counted);
        }
        let mut store = self.store.lock();
        if now_ns.saturating_sub(self.forgot_ns) >= FORGET_EVERY.as_nanos() as i64 {
            self.forgot_ns = now_ns;
            store.forget_old(now_ns);
        }
        store.make_room();
        self.metrics.pattern_bytes.set(store.bytes() as i64);
        Ok(())
    }
}

/// Which fields of a JSON line hold its message, for a tenant.
fn message_fields(limits: &Limits) -> Vec<String> {
    let without = &limits.pattern_ingester_tokenizable_json_fields_delete;
    let with = limits.pattern_ingester_tokenizable_json_fields_default.iter();
    let with = with.chain(&limits.pattern_ingester_tokenizable_json_fields_append);
    with.filter(|field| !without.contains(field)).cloned().collect()
}

/// Lines that may be looked at.
struct Allowance {
    lines: u64,
    filled_ns: i64,
}

impl Allowance {
    /// Of `lines` every so manyth is looked at.
    fn stride(&mut self, lines: u64, per_second: u64, now_ns: i64) -> u64 {
        let elapsed_ns = now_ns.saturating_sub(self.filled_ns).clamp(0, 1_000_000_000) as u64;
        let grown = per_second.saturating_mul(elapsed_ns) / 1_000_000_000;
        if grown > 0 {
            self.lines = (self.lines + grown).min(per_second);
            self.filled_ns = now_ns;
        }
        let stride = lines.div_ceil(self.lines.max(1)).clamp(1, STRIDE_MAX);
        self.lines = self.lines.saturating_sub(lines.div_ceil(stride));
        stride
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_beyond_the_allowance_stand_for_several() {
        let mut allowance = Allowance { lines: 100, filled_ns: 0 };
        for (at_ms, lines, stride) in
            [(0, 60, 1), (0, 80, 2), (0, 50, 50), (500, 50, 1), (2000, 1000, 10), (2000, 1 << 40, 1 << 10)]
        {
            assert_eq!(allowance.stride(lines, 100, at_ms * 1_000_000), stride, "{lines} lines at {at_ms} ms");
        }
    }
}
