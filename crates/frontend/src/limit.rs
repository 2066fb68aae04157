//! The first stage: what a tenant may not ask is refused before it is split, since every part might be allowed.

use async_trait::async_trait;
use model::Result;
use rpc::call::{Call, Calls, Reply, ask};
use rpc::queries::{Queries, QueryRequest, Tenants};
use rpc::read_limits::{self, ReadLimits};
use rpc::selections;
use runtime::limits::{Limits, Overrides};
use std::sync::Arc;

pub struct Limit {
    pub next: Arc<dyn Queries>,
    pub limits: Arc<Overrides>,
}

#[async_trait]
impl Calls for Limit {
    async fn call(&self, tenants: &Tenants, call: Call) -> Result<Reply> {
        let Call::Query(mut request) = call else { return ask(&*self.next, tenants, call).await };
        let limits: Vec<Arc<Limits>> = tenants.ids.iter().map(|tenant| self.limits.tenant(tenant)).collect();
        let expr = logql::parse::parse(&request.query)?;
        read_limits::check(&expr, &request, &limits)?;
        read_limits::clamp_lookback(&mut request, &limits);
        let work = async {
            self.check_bytes(tenants, &expr, &request, &limits).await?;
            self.next.query(tenants, request).await.map(Reply::Query)
        };
        match read_limits::timeout(&limits) {
            None => work.await,
            Some(timeout) => tokio::time::timeout(timeout, work).await.map_err(|_| read_limits::timed_out())?,
        }
    }
}

impl Limit {
    /// Refuses a query that would read more than its tenants may, by the index.
    async fn check_bytes(
        &self,
        tenants: &Tenants,
        expr: &logql::ast::Expr,
        request: &QueryRequest,
        limits: &[Arc<Limits>],
    ) -> Result<()> {
        let limits = ReadLimits {
            max_query_bytes_read: ReadLimits::strictest(limits).max_query_bytes_read,
            ..ReadLimits::default()
        };
        if limits.max_query_bytes_read == 0 {
            return Ok(());
        }
        let bytes = selections::bytes(&*self.next, tenants, expr, request).await?;
        limits.check(0, 0, bytes, &[])
    }
}
