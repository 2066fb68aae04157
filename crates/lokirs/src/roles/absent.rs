//! An ingester that is known not to answer: it stands in its place, so that whoever asks counts it among the failed.

use async_trait::async_trait;
use futures::stream::BoxStream;
use model::{Batch, Error, Labels, Result, TenantId};
use rpc::ingester::{Ingester, PushOutcome, RecentRequest, RecentStream, StreamSize, Tailed};

pub struct Absent {
    reason: String,
}

impl Absent {
    pub fn new(reason: String) -> Self {
        Absent { reason }
    }

    fn fail<T>(&self) -> Result<T> {
        Err(Error::unavailable(self.reason.clone()))
    }
}

#[async_trait]
impl Ingester for Absent {
    async fn push(&self, _: &TenantId, _: Batch) -> Result<PushOutcome> {
        self.fail()
    }
    async fn select(&self, _: RecentRequest) -> Result<BoxStream<'static, Result<RecentStream>>> {
        self.fail()
    }
    async fn tail(&self, _: RecentRequest) -> Result<BoxStream<'static, Result<Tailed>>> {
        self.fail()
    }
    async fn labels(&self, _: RecentRequest, _: Option<String>) -> Result<Vec<String>> {
        self.fail()
    }
    async fn series(&self, _: RecentRequest) -> Result<Vec<Labels>> {
        self.fail()
    }
    async fn sizes(&self, _: RecentRequest) -> Result<Vec<StreamSize>> {
        self.fail()
    }
    async fn flush(&self) -> Result<()> {
        self.fail()
    }
}
