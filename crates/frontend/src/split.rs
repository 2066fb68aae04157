//! Range queries by time (`split_queries_by_interval`): a log query reads no further than its limit asks, the parts of a
//! metric query run at once.

use crate::merge::{Parts, parallelism};
use async_trait::async_trait;
use logql::ast::Expr;
use logql::engine::Params;
use logql::rewrite::{join, keeps_labels, split};
use model::Result;
use rpc::call::{Call, Calls, Reply, ask};
use rpc::queries::{Queries, QueryRequest, QueryResponse, Tenants};
use rpc::read_limits;
use runtime::clock::SharedClock;
use runtime::limits::{Limits, Overrides};
use runtime::memory::Budget;
use std::sync::Arc;

pub struct Split {
    pub next: Arc<dyn Queries>,
    pub limits: Arc<Overrides>,
    pub budget: Arc<Budget>,
    pub clock: SharedClock,
}

#[async_trait]
impl Calls for Split {
    async fn call(&self, tenants: &Tenants, call: Call) -> Result<Reply> {
        match call {
            Call::Query(request) => self.query(tenants, request).await.map(Reply::Query),
            other => ask(&*self.next, tenants, other).await,
        }
    }
}

impl Split {
    async fn query(&self, tenants: &Tenants, request: QueryRequest) -> Result<QueryResponse> {
        let limits: Vec<Arc<Limits>> = tenants.ids.iter().map(|tenant| self.limits.tenant(tenant)).collect();
        let expr = logql::parse::parse(&request.query)?;
        let params = request.params(read_limits::aligns_to_step(&limits), self.clock.now_ns());
        let parts = split(&expr, &params, interval_ns(&limits));
        if parts.len() < 2 {
            return self.next.query(tenants, request).await;
        }
        let at_once = parallelism(&limits, |l| l.max_query_parallelism);
        let mut answers = Parts::new(&self.budget);
        match &expr {
            Expr::Metric(_) => {
                let requests = parts.iter().map(|part| request.part(part)).collect();
                answers.ask(&*self.next, tenants, requests, at_once).await?;
            }
            Expr::Log(log) => {
                let at_once = if keeps_labels(log) { at_once } else { 1 };
                self.until_full(tenants, &request, parts, at_once, &mut answers).await?;
            }
        }
        let engine_limits = read_limits::engine_limits(&request, &limits);
        answers.response(|values| join(&params, &engine_limits, values))
    }

    /// Asks part after part, more and more of them at once, until there are as many entries as the limit.
    async fn until_full(
        &self,
        tenants: &Tenants,
        request: &QueryRequest,
        parts: Vec<Params>,
        at_once: usize,
        answers: &mut Parts,
    ) -> Result<()> {
        let mut parts = parts.into_iter().peekable();
        let mut round = 1;
        while parts.peek().is_some() {
            let left = (request.limit as usize).saturating_sub(answers.entries());
            if left == 0 {
                return Ok(());
            }
            let limited = |part: Params| request.part(&Params { limit: left as u32, ..part });
            let requests = parts.by_ref().take(round).map(limited).collect();
            answers.ask(&*self.next, tenants, requests, round).await?;
            round = (round * 2).min(at_once);
        }
        Ok(())
    }
}

/// Of several tenants' intervals the shortest; 0: none splits.
fn interval_ns(limits: &[Arc<Limits>]) -> i64 {
    let intervals = limits.iter().map(|l| read_limits::nanos(l.split_queries_by_interval)).filter(|ns| *ns > 0);
    intervals.min().unwrap_or(0)
}
