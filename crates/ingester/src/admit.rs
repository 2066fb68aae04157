//! Decides, before anything is logged, which entries of a push are taken. It must not know the log: what comes out is
//! what the log gets, and replay takes all of it.

use crate::core::Core;
use crate::reject::{OUT_OF_ORDER, Refused, stream_rate_exceeded, too_far_behind, too_many_streams};
use crate::stream::{Stream, StreamState, entry_bytes};
use crate::tenant::Tenant;
use model::{Batch, BatchBuilder, Kind, Labels, Result, StreamBatch};
use rpc::ingester::Rejection;
use runtime::limits::Limits;
use std::sync::Arc;

/// The part of a push that is taken.
pub struct Admitted {
    /// The batch as it came, unless something in it is refused.
    pub batch: Batch,
    /// The stream of each part of the batch, in order.
    pub streams: Vec<Arc<Stream>>,
    pub rejected: Vec<Rejection>,
}

/// Which entries of one stream's part are refused, by their place.
enum Verdict {
    All,
    Except(Vec<u64>),
    None,
}

pub fn admit(core: &Core, tenant: &Tenant, batch: &Batch) -> Result<Admitted> {
    let limits = core.limits.tenant(&tenant.id);
    let (mut streams, mut rejected, mut verdicts) = (vec![], vec![], vec![]);
    for part in batch.streams() {
        let part = part?;
        match stream_of(core, tenant, &part, &limits)? {
            Err(rejection) => {
                rejected.push(rejection);
                verdicts.push(Verdict::None);
            }
            Ok(stream) => {
                let verdict = judge(core, tenant, &stream, &part, &limits, &mut rejected)?;
                if !matches!(verdict, Verdict::None) {
                    streams.push(stream);
                }
                verdicts.push(verdict);
            }
        }
    }
    let batch = if rejected.is_empty() { batch.clone() } else { without_refused(batch, &verdicts)? };
    Ok(Admitted { batch, streams, rejected })
}

/// The stream of a part, made if the tenant may have one more.
fn stream_of(
    core: &Core,
    tenant: &Tenant,
    part: &StreamBatch<'_>,
    limits: &Limits,
) -> Result<Result<Arc<Stream>, Rejection>> {
    if let Some(stream) = tenant.find(part.fingerprint, part.labels) {
        return Ok(Ok(stream));
    }
    let refuse = |kind, reason: &str, message: String| -> Result<Result<Arc<Stream>, Rejection>> {
        let mut bytes = 0;
        part.for_each(|e| bytes += entry_bytes(&e))?;
        Ok(Err(Rejection { kind, reason: reason.into(), message, entries: part.entries, bytes }))
    };
    if core.streams_max(limits).is_some_and(|max| tenant.streams() >= max) {
        return refuse(Kind::Limited, "stream_limit", too_many_streams(&tenant.id, part.labels));
    }
    match Labels::parse(part.labels) {
        Err(e) => refuse(Kind::Invalid, "invalid_labels", e.message),
        Ok(labels) => Ok(Ok(core.stream(tenant, part, labels, false)?)),
    }
}

fn judge(
    core: &Core,
    tenant: &Tenant,
    stream: &Stream,
    part: &StreamBatch<'_>,
    limits: &Limits,
    rejected: &mut Vec<Rejection>,
) -> Result<Verdict> {
    let mut state = stream.lock();
    let mut newest = state.newest_ts_ns;
    let (mut refused, mut places, mut at, mut bytes) = (Refused::default(), vec![], 0, 0);
    part.for_each(|e| {
        let oldest = StreamState::oldest_accepted_ns(newest, &core.settings, limits.unordered_writes);
        if e.ts_ns < oldest {
            refused.add(e.ts_ns, entry_bytes(&e), || match limits.unordered_writes {
                true => too_far_behind(e.ts_ns, oldest),
                false => OUT_OF_ORDER.into(),
            });
            places.push(at);
        } else {
            newest = newest.max(e.ts_ns);
            bytes += e.line.len() as u64;
        }
        at += 1;
    })?;
    let (rate, burst) = (limits.per_stream_rate_limit, limits.per_stream_rate_limit_burst);
    let within = state.bucket.take(bytes, rate, burst, core.clock.now_ns());
    drop(state);
    if !within {
        let mut limited = Refused::default();
        part.for_each(|e| {
            limited.add(e.ts_ns, entry_bytes(&e), || stream_rate_exceeded(rate, &stream.text, bytes));
        })?;
        let rejection = limited.into_rejection(Kind::Limited, "per_stream_rate_limit", &tenant.id, &stream.text, at);
        rejected.push(rejection);
        return Ok(Verdict::None);
    }
    if refused.is_empty() {
        return Ok(Verdict::All);
    }
    let reason = if limits.unordered_writes { "too_far_behind" } else { "out_of_order" };
    rejected.push(refused.into_rejection(Kind::Invalid, reason, &tenant.id, &stream.text, at));
    Ok(if places.len() as u64 == at { Verdict::None } else { Verdict::Except(places) })
}

/// The batch without what is refused: replay must not bring back an entry that the client was told is not kept.
fn without_refused(batch: &Batch, verdicts: &[Verdict]) -> Result<Batch> {
    let mut out = BatchBuilder::with_capacity(batch.data.len());
    for (part, verdict) in batch.streams().zip(verdicts) {
        let part = part?;
        match verdict {
            Verdict::None => {}
            Verdict::All => out.copy_stream(&part),
            Verdict::Except(places) => {
                let (mut at, mut places) = (0, places.iter().peekable());
                part.for_each(|e| {
                    if places.next_if(|place| **place == at).is_none() {
                        out.entry(e.ts_ns, e.line, e.metadata().collect::<Vec<_>>().into_iter());
                    }
                    at += 1;
                })?;
                out.end_stream(part.labels, part.fingerprint);
            }
        }
    }
    Ok(out.finish())
}
