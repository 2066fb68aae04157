//! Which chunks have outlived their retention: per tenant (`retention_period`), or per stream (`retention_stream`: the
//! matching rule of the highest priority decides, of equal ones the shortest period).

use format::ChunkRef;
use format::tsdb::SeriesChunks;
use model::time::NANOS_PER_MILLI;
use model::{Labels, TenantId};
use runtime::limits::{Limits, Overrides};
use std::time::Duration;

pub struct Retention<'a> {
    pub limits: &'a Overrides,
}

impl Retention<'_> {
    /// Removes the expired chunks from `rows`, and answers them.
    pub fn take_expired(&self, tenant: &TenantId, rows: &mut [(Labels, SeriesChunks)], now_ns: i64) -> Vec<ChunkRef> {
        let limits = self.limits.tenant(tenant);
        let mut expired = vec![];
        for (labels, series) in rows {
            let period = period_of(&limits, labels);
            if period.is_zero() {
                continue;
            }
            let oldest_ms = now_ns.saturating_sub(nanos(period)).div_euclid(NANOS_PER_MILLI);
            series.chunks.retain(|chunk| {
                let keep = chunk.through_ms >= oldest_ms;
                if !keep {
                    expired.push(*chunk);
                }
                keep
            });
        }
        expired
    }
}

/// How long a stream is kept; zero is for ever.
fn period_of(limits: &Limits, labels: &Labels) -> Duration {
    let matching = limits.retention_stream.iter().filter(|r| model::matcher::all_match(&r.matchers, labels));
    let rule = matching.min_by_key(|r| (std::cmp::Reverse(r.priority), r.period));
    rule.map_or(limits.retention_period, |r| r.period)
}

fn nanos(d: Duration) -> i64 {
    i64::try_from(d.as_nanos()).unwrap_or(i64::MAX)
}
