//! Brings back what the log holds, segment by segment, while reads are served. Everything logged is taken: what a push
//! refuses was never logged. An entry that was stored before the crash comes back too; it has the same identity, and
//! readers see it once.

use crate::core::Core;
use crate::wal::replay::replay;
use crate::wal::segment::Hold;
use model::{Batch, Labels, Result, TenantId};
use runtime::memory::Reservation;
use std::sync::Arc;
use std::time::Duration;

/// How long replay waits for flushes to free memory before it looks again.
const MEMORY_POLL: Duration = Duration::from_millis(20);

/// Blocks. A segment that cannot be read, or that a stop comes before, stays in `unread` and so on disk.
pub fn recover(core: &Core) {
    core.metrics.wal_replay_active.set(1);
    let segments = core.unread.lock().clone();
    for hold in segments {
        let path = hold.segment().path.display().to_string();
        let outcome = replay(
            &hold,
            |tenant, batch| take(core, &tenant, &batch, &hold),
            |damage| {
                core.metrics.wal_corruptions.inc();
                tracing::error!(segment = %path, ?damage, "a damaged place in the write-ahead log is passed over");
            },
        );
        if core.stop.is_cancelled() {
            break;
        }
        match outcome {
            Ok(()) => core.unread.lock().retain(|h| h.segment().sequence != hold.segment().sequence),
            Err(e) => {
                core.metrics.wal_corruptions.inc();
                tracing::error!(segment = %path, error = %e, "a segment of the log is not replayed; it is kept");
            }
        }
    }
    core.metrics.wal_replay_active.set(0);
}

fn take(core: &Core, tenant: &TenantId, batch: &Batch, hold: &Hold) -> Result<()> {
    let Some(mut memory) = reserve(core, batch.data.len() as u64) else {
        return Err(model::Error::unavailable("the ingester is stopping"));
    };
    let tenant = core.tenants.get_or_insert(tenant, &core.metrics);
    for part in batch.streams() {
        let outcome = part.and_then(|part| {
            let stream = match tenant.find(part.fingerprint, part.labels) {
                Some(stream) => stream,
                None => core.stream(&tenant, &part, Labels::parse(part.labels)?, true)?,
            };
            let memory = memory.split(part.body_bytes() as u64);
            core.seals.submit_blocking(core.apply_part(&tenant, &part, stream, hold, memory)?);
            core.metrics.wal_recovered_entries.inc_by(part.entries);
            Ok(())
        });
        if let Err(e) = outcome {
            core.metrics.wal_corruptions.inc();
            tracing::error!(error = %e, "a stream of a logged batch is passed over");
        }
    }
    core.metrics.wal_recovered_bytes.inc_by(batch.data.len() as u64);
    Ok(())
}

/// Waits until there is memory under the ceiling; `None` when the ingester stops first.
fn reserve(core: &Core, bytes: u64) -> Option<Reservation> {
    while !core.stop.is_cancelled() {
        if core.budget.used_bytes() <= core.settings.replay_memory_ceiling
            && let Ok(memory) = core.reserve(bytes, "replay")
        {
            return Some(memory);
        }
        core.pressure.notify_one();
        std::thread::sleep(MEMORY_POLL);
    }
    None
}

/// [`recover`] on a thread that may block.
pub async fn recover_aside(core: Arc<Core>) {
    if let Err(e) = tokio::task::spawn_blocking(move || recover(&core)).await {
        tracing::error!(error = %e, "replay ended early; the log is kept");
    }
}
