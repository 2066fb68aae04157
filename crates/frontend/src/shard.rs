//! Queries by streams: as many shards as make each read `tsdb_max_bytes_per_shard`, as the index tells.

use crate::merge::{Parts, parallelism};
use async_trait::async_trait;
use logql::engine::Params;
use logql::rewrite::{SHARDS_MAX, shard};
use model::Result;
use rpc::call::{Call, Calls, Reply, ask};
use rpc::queries::{Queries, QueryRequest, QueryResponse, Tenants};
use rpc::{read_limits, selections};
use runtime::clock::SharedClock;
use runtime::limits::{Limits, Overrides};
use runtime::memory::Budget;
use std::sync::Arc;

pub struct Shard {
    pub next: Arc<dyn Queries>,
    pub limits: Arc<Overrides>,
    pub budget: Arc<Budget>,
    pub clock: SharedClock,
}

#[async_trait]
impl Calls for Shard {
    async fn call(&self, tenants: &Tenants, call: Call) -> Result<Reply> {
        match call {
            Call::Query(request) => self.query(tenants, request).await.map(Reply::Query),
            other => ask(&*self.next, tenants, other).await,
        }
    }
}

impl Shard {
    async fn query(&self, tenants: &Tenants, request: QueryRequest) -> Result<QueryResponse> {
        let limits: Vec<Arc<Limits>> = tenants.ids.iter().map(|tenant| self.limits.tenant(tenant)).collect();
        let expr = logql::parse::parse(&request.query)?;
        let bytes_max = limits.iter().map(|l| l.tsdb_max_bytes_per_shard).filter(|bytes| *bytes > 0).min();
        let (Some(bytes_max), Some(_)) = (bytes_max, shard(&expr, 2)) else {
            return self.next.query(tenants, request).await;
        };
        let at_once = parallelism(&limits, |l| l.tsdb_max_query_parallelism);
        let bytes = selections::bytes(&*self.next, tenants, &expr, &request).await?;
        let Some(sharded) = shard(&expr, shards_of(bytes, bytes_max, at_once)) else {
            return self.next.query(tenants, request).await;
        };
        let params = request.params(read_limits::aligns_to_step(&limits), self.clock.now_ns());
        let pieces = sharded.pieces().into_iter().map(|piece| {
            let part = request.part(&Params { shard: piece.shard, ..params.clone() });
            QueryRequest { query: piece.expr.to_string(), ..part }
        });
        let mut answers = Parts::new(&self.budget);
        answers.ask(&*self.next, tenants, pieces.collect(), at_once).await?;
        let engine_limits = read_limits::engine_limits(&request, &limits);
        let mut response = answers.response(|values| sharded.merge(&params, &engine_limits, values))?;
        (response.stats.shards, response.stats.splits) = (response.stats.splits, 1);
        Ok(response)
    }
}

/// A power of two, so that shards of one query are parts of those of a smaller one.
fn shards_of(bytes: u64, bytes_max: u64, at_once: usize) -> u32 {
    let at_most = (at_once as u64).clamp(1, u64::from(SHARDS_MAX));
    let wanted = bytes.div_ceil(bytes_max).max(1).checked_next_power_of_two().unwrap_or(u64::MAX);
    wanted.min(1 << at_most.ilog2()) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_grow_with_the_bytes_up_to_what_may_run_at_once() {
        const MIB: u64 = 1 << 20;
        for (bytes, at_once, shards) in [
            (0, 128, 1),
            (600 * MIB, 128, 1),
            (600 * MIB + 1, 128, 2),
            (1800 * MIB, 128, 4),
            (1 << 40, 128, 128),
            (1 << 40, 100, 64),
            (1 << 40, 1, 1),
            (u64::MAX, 1 << 20, 128),
        ] {
            assert_eq!(shards_of(bytes, 600 * MIB, at_once), shards, "{bytes} {at_once}");
        }
    }
}
