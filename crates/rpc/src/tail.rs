//! The tail service: the newest lines of a log query, and then those that come.

use crate::ingester::DroppedEntries;
use async_trait::async_trait;
use futures::stream::BoxStream;
use logql::value::LogStream;
use model::{Result, TenantId};
use std::time::Duration;

#[async_trait]
pub trait Tails: Send + Sync {
    /// History first, oldest first, then what is pushed. `Invalid`, before anything is sent, for what the tenant may not
    /// ask. An `Err` is the last item, its message is for the user.
    async fn tail(&self, tenant: &TenantId, request: TailRequest) -> Result<BoxStream<'static, Result<TailFrame>>>;
}

#[derive(Clone, Debug, PartialEq)]
pub struct TailRequest {
    /// LogQL, a log query.
    pub query: String,
    /// Where the history begins.
    pub start_ns: i64,
    /// The most lines of history; the newest ones count.
    pub limit: u32,
    /// How long an entry is held back, so that older ones of slower senders may come before it.
    pub delay_for: Duration,
}

/// What is sent at once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TailFrame {
    /// One entry each, in the order in which they are shown.
    pub streams: Vec<LogStream>,
    pub dropped: Vec<DroppedEntries>,
}
