//! The last stage of a process that is a query-frontend and a querier: every part of a query waits for a place at one of
//! all queriers, itself among them.

use super::remote::Remote;
use async_trait::async_trait;
use model::Result;
use rpc::call::{Call, Calls, Reply, ask};
use rpc::queries::{Queries, Tenants};
use std::sync::Arc;

pub struct Spread {
    pub own: Arc<dyn Queries>,
    pub all: Remote,
}

#[async_trait]
impl Calls for Spread {
    /// What is not a query reads no chunk: to answer it costs less than to find somebody.
    async fn call(&self, tenants: &Tenants, call: Call) -> Result<Reply> {
        match call {
            Call::Query(_) => self.all.call(tenants, call).await,
            call => ask(&*self.own, tenants, call).await,
        }
    }
}
