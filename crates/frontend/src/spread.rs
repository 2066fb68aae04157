//! The last stage of a process that is a query-frontend and a querier: alone it answers by itself; where others query too,
//! every part of a query waits for a place at one of them all.

use super::remote::Remote;
use async_trait::async_trait;
use model::Result;
use rpc::call::{Call, Calls, Reply, ask};
use rpc::queries::{Queries, Tenants};
use std::sync::Arc;

pub struct Spread {
    pub own: Arc<dyn Queries>,
    pub all: Remote,
    /// Whether nobody else answers queries at this moment.
    pub is_alone: Box<dyn Fn() -> bool + Send + Sync>,
}

#[async_trait]
impl Calls for Spread {
    /// What is not a query reads no chunk: to answer it costs less than to find somebody.
    async fn call(&self, tenants: &Tenants, call: Call) -> Result<Reply> {
        match call {
            Call::Query(_) if !(self.is_alone)() => self.all.call(tenants, call).await,
            call => ask(&*self.own, tenants, call).await,
        }
    }
}
