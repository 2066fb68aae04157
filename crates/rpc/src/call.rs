//! The calls of [`Queries`] as values: what is done alike for all of them (a queue, a repetition, a wire) is written once.

use crate::queries::{
    Answer, IndexStats, MetadataRequest, PatternSeries, PatternsQuery, Queries, QueryRequest, QueryResponse, Tenants,
    Volume, VolumeRequest,
};
use async_trait::async_trait;
use model::{Error, Labels, Result};

/// A call of [`Queries`].
#[derive(Clone, Debug, PartialEq)]
pub enum Call {
    Query(QueryRequest),
    Labels(MetadataRequest, Option<String>),
    Series(MetadataRequest),
    Stats(MetadataRequest),
    Volume(VolumeRequest),
    Patterns(PatternsQuery),
}

/// What the call of the same name is answered with.
#[derive(Clone, Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "a reply is made, moved a few times and taken apart; it is not kept in masses"
)]
pub enum Reply {
    Query(QueryResponse),
    Labels(Answer<Vec<String>>),
    Series(Answer<Vec<Labels>>),
    Stats(Answer<IndexStats>),
    Volume(Answer<Vec<Volume>>),
    Patterns(Answer<Vec<PatternSeries>>),
}

/// A query service that treats all calls alike. It is [`Queries`] by that.
#[async_trait]
pub trait Calls: Send + Sync {
    async fn call(&self, tenants: &Tenants, call: Call) -> Result<Reply>;
}

/// Makes the call that `call` is.
pub async fn ask(queries: &dyn Queries, tenants: &Tenants, call: Call) -> Result<Reply> {
    match call {
        Call::Query(request) => queries.query(tenants, request).await.map(Reply::Query),
        Call::Labels(request, name) => queries.labels(tenants, request, name).await.map(Reply::Labels),
        Call::Series(request) => queries.series(tenants, request).await.map(Reply::Series),
        Call::Stats(request) => queries.stats(tenants, request).await.map(Reply::Stats),
        Call::Volume(request) => queries.volume(tenants, request).await.map(Reply::Volume),
        Call::Patterns(query) => queries.patterns(tenants, query).await.map(Reply::Patterns),
    }
}

fn other() -> Error {
    Error::internal("a call was answered with the reply of another")
}

#[async_trait]
impl<T: Calls> Queries for T {
    async fn query(&self, tenants: &Tenants, request: QueryRequest) -> Result<QueryResponse> {
        match self.call(tenants, Call::Query(request)).await? {
            Reply::Query(response) => Ok(response),
            _ => Err(other()),
        }
    }

    async fn labels(
        &self,
        tenants: &Tenants,
        request: MetadataRequest,
        name: Option<String>,
    ) -> Result<Answer<Vec<String>>> {
        match self.call(tenants, Call::Labels(request, name)).await? {
            Reply::Labels(answer) => Ok(answer),
            _ => Err(other()),
        }
    }

    async fn series(&self, tenants: &Tenants, request: MetadataRequest) -> Result<Answer<Vec<Labels>>> {
        match self.call(tenants, Call::Series(request)).await? {
            Reply::Series(answer) => Ok(answer),
            _ => Err(other()),
        }
    }

    async fn stats(&self, tenants: &Tenants, request: MetadataRequest) -> Result<Answer<IndexStats>> {
        match self.call(tenants, Call::Stats(request)).await? {
            Reply::Stats(answer) => Ok(answer),
            _ => Err(other()),
        }
    }

    async fn volume(&self, tenants: &Tenants, request: VolumeRequest) -> Result<Answer<Vec<Volume>>> {
        match self.call(tenants, Call::Volume(request)).await? {
            Reply::Volume(answer) => Ok(answer),
            _ => Err(other()),
        }
    }

    async fn patterns(&self, tenants: &Tenants, query: PatternsQuery) -> Result<Answer<Vec<PatternSeries>>> {
        match self.call(tenants, Call::Patterns(query)).await? {
            Reply::Patterns(answer) => Ok(answer),
            _ => Err(other()),
        }
    }
}
