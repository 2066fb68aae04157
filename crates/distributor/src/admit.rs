//! Admission: the ingestion rate of each tenant, a bucket of bytes that fills with time. It must not know what the bytes
//! are.

use model::TenantId;
use parking_lot::Mutex;
use runtime::limits::{Limits, RateStrategy};
use std::collections::HashMap;

const MB: f64 = (1 << 20) as f64;
/// Tenants whose rate is remembered. Beyond it full buckets, which remember nothing, are dropped.
const TENANTS_MAX: usize = 100_000;
const NANOS_PER_SECOND: f64 = 1e9;

/// A tenant's rate was exceeded.
#[derive(Debug, PartialEq)]
pub struct RateExceeded {
    /// The rate of this distributor, in bytes per second.
    pub limit_bytes_per_second: u64,
}

#[derive(Default)]
pub struct Rates {
    buckets: Mutex<HashMap<TenantId, Bucket>>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    bytes: f64,
    at_ns: i64,
    full_bytes: f64,
}

impl Rates {
    /// Takes `bytes` at `now_ns`, all or nothing. More than a burst is never admitted. `distributors` share a global rate.
    pub fn admit(
        &self,
        tenant: &TenantId,
        limits: &Limits,
        bytes: u64,
        now_ns: i64,
        distributors: usize,
    ) -> Result<(), RateExceeded> {
        let share = match limits.ingestion_rate_strategy {
            RateStrategy::Global => distributors.max(1) as f64,
            RateStrategy::Local => 1.0,
        };
        let rate = limits.ingestion_rate_mb * MB / share;
        let burst = limits.ingestion_burst_size_mb * MB;
        let mut buckets = self.buckets.lock();
        if buckets.len() >= TENANTS_MAX && !buckets.contains_key(tenant) {
            buckets.retain(|_, b| b.bytes < b.full_bytes);
        }
        let full = Bucket { bytes: burst, at_ns: now_ns, full_bytes: burst };
        let bucket = match buckets.get_mut(tenant) {
            Some(bucket) => bucket,
            None => buckets.entry(tenant.clone()).or_insert(full),
        };
        let elapsed = now_ns.saturating_sub(bucket.at_ns).max(0) as f64 / NANOS_PER_SECOND;
        *bucket = Bucket { bytes: (bucket.bytes + elapsed * rate).min(burst), at_ns: now_ns, full_bytes: burst };
        if bytes as f64 > bucket.bytes {
            return Err(RateExceeded { limit_bytes_per_second: rate as u64 });
        }
        bucket.bytes -= bytes as f64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_burst_then_its_rate() {
        let limits = Limits { ingestion_rate_mb: 1.0, ingestion_burst_size_mb: 2.0, ..Limits::default() };
        let rates = Rates::default();
        let tenant = TenantId::parse("a").expect("a valid name");
        let admit = |bytes: u64, seconds: i64| {
            rates.admit(&tenant, &limits, bytes, seconds * 1_000_000_000, 2).map_err(|e| e.limit_bytes_per_second)
        };
        let mb = 1 << 20;
        assert_eq!(admit(2 * mb + 1, 0), Err(mb / 2), "more than a burst");
        assert_eq!(admit(2 * mb, 0), Ok(()), "the burst");
        assert_eq!(admit(1, 0), Err(mb / 2), "the bucket is empty");
        assert_eq!(admit(mb / 2, 1), Ok(()), "half the rate, as two distributors share it");
        assert_eq!(admit(1, 1), Err(mb / 2));
        assert_eq!(admit(2 * mb, 100), Ok(()), "full again");
    }
}
