//! Looks at every stream from time to time: closes chunks that are idle, span too much time, or keep memory or old log
//! segments that are needed; forgets streams and references that nobody needs.
//!
//! A slow stream keeps old log segments. When the log runs short its chunk is stored early: that costs a small chunk,
//! where logging its rest anew would cost every byte a second write, and would go on for as long as the stream is slow.

use crate::chunk::OpenChunk;
use crate::core::Core;
use crate::metrics::TenantLabel;
use crate::stream::{Stream, StreamState};
use crate::tenant::Tenant;
use std::sync::Arc;
use std::time::Duration;

/// Of the memory limit: above it chunks are closed early, down to the second.
const MEMORY_HIGH: f64 = 0.8;
const MEMORY_LOW: f64 = 0.6;
/// The least time between two sweeps that pressure asks for.
const PRESSURE_PAUSE: Duration = Duration::from_millis(200);

/// Sweeps until the ingester stops.
pub async fn work(core: Arc<Core>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(core.settings.flush_check_period) => {}
            () = core.pressure.notified() => tokio::time::sleep(PRESSURE_PAUSE).await,
            () = core.stop.cancelled() => return,
        }
        let swept = core.clone();
        // A pass over a hundred thousand streams takes too long for an async thread.
        if let Err(e) = tokio::task::spawn_blocking(move || sweep(&swept)).await {
            tracing::error!(error = %e, "a sweep failed");
        }
    }
}

/// One pass.
pub fn sweep(core: &Core) {
    let now_ns = core.clock.now_ns();
    let overdue = core.wal.overdue();
    for tenant in core.tenants.all() {
        for stream in tenant.all() {
            let mut state = stream.lock();
            let reason = state.open.as_ref().and_then(|open| due(core, open, state.appended_ns, now_ns, overdue));
            let closed = reason.and_then(|reason| state.close(reason));
            let visible_ns = core.settings.index_visible_after.as_nanos() as i64;
            state.flushed.retain(|f| f.shipped_ns.is_none_or(|at| now_ns - at < visible_ns));
            drop(state);
            if let Some(chunk) = closed {
                core.flushes.push(&tenant.id, &stream, chunk, &core.metrics);
            }
            forget_idle(core, &tenant, &stream, now_ns);
        }
    }
    if overdue.is_some() {
        core.shipments.hurry.notify_one();
    }
    core.tenants.forget_empty(&core.metrics);
    relieve_memory(core);
}

/// Why the chunk is to be closed now, in Loki's words where it has some.
fn due(core: &Core, open: &OpenChunk, appended_ns: i64, now_ns: i64, overdue: Option<u64>) -> Option<&'static str> {
    let s = &core.settings;
    if overdue.is_some_and(|newest| open.oldest_segment() <= newest) {
        Some("wal_budget")
    } else if now_ns.saturating_sub(appended_ns) >= s.chunk_idle_period.as_nanos() as i64 {
        Some("idle")
    } else if open.max_ts_ns.saturating_sub(open.min_ts_ns) > s.max_chunk_age.as_nanos() as i64 {
        Some("max_age")
    } else {
        None
    }
}

fn forget_idle(core: &Core, tenant: &Tenant, stream: &Arc<Stream>, now_ns: i64) {
    let idle_ns = core.settings.chunk_idle_period.as_nanos() as i64;
    let idle = |s: &StreamState| {
        let empty = s.open.is_none() && s.closing.is_empty() && s.flushed.is_empty();
        empty && now_ns.saturating_sub(s.appended_ns) >= idle_ns
    };
    // Looked at first without the tenant's lock: most streams are not idle.
    let maybe = idle(&stream.lock());
    if maybe && tenant.forget_if(stream, idle) {
        core.metrics.streams_removed.get_or_create(&TenantLabel { tenant: tenant.id.to_string() }).inc();
    }
}

/// Above the high mark, closes the largest chunks until the memory of the rest, without what waits to be stored, is
/// below the low one.
fn relieve_memory(core: &Core) {
    let mut limit = core.budget.limit_bytes();
    if core.metrics.wal_replay_active.get() != 0 {
        limit = limit.min(core.settings.replay_memory_ceiling);
    }
    let used = core.budget.used_bytes() as f64;
    if used <= limit as f64 * MEMORY_HIGH {
        return;
    }
    let mut excess = used - limit as f64 * MEMORY_LOW;
    let mut open: Vec<(u64, Arc<Tenant>, Arc<Stream>)> = vec![];
    for tenant in core.tenants.all() {
        for stream in tenant.all() {
            let state = stream.lock();
            excess -= state.closing.iter().map(|c| c.memory_bytes()).sum::<u64>() as f64;
            let bytes = state.open.as_ref().map_or(0, |c| c.memory_bytes());
            drop(state);
            if bytes > 0 {
                open.push((bytes, tenant.clone(), stream));
            }
        }
    }
    open.sort_by_key(|(bytes, ..)| std::cmp::Reverse(*bytes));
    for (bytes, tenant, stream) in open {
        if excess <= 0.0 {
            break;
        }
        excess -= bytes as f64;
        let closed = stream.lock().close("memory");
        if let Some(chunk) = closed {
            core.flushes.push(&tenant.id, &stream, chunk, &core.metrics);
        }
    }
}
