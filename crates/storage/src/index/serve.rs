//! The reader of all tables as the index's service. It must not know who asks, or from where.

use super::lookup::IndexReader;
use async_trait::async_trait;
use format::tsdb::SeriesChunks;
use futures::FutureExt;
use model::time::NANOS_PER_MILLI;
use model::{Labels, Result, TimeRange};
use rpc::index::{Index, IndexRequest};
use rpc::ingester::StreamSize;
use rpc::queries::Answer;

#[async_trait]
impl Index for IndexReader {
    async fn chunks(&self, request: IndexRequest) -> Result<Answer<Vec<SeriesChunks>>> {
        let shard = request.shard.map(|shard| shard.fingerprints());
        IndexReader::series(self, &request.tenant, &request.matchers, millis(request.range), shard).boxed().await
    }

    async fn series(&self, request: IndexRequest) -> Result<Answer<Vec<Labels>>> {
        let Answer { value, warnings } = self.chunks(request).await?;
        Ok(Answer { value: value.into_iter().map(|series| series.labels).collect(), warnings })
    }

    async fn labels(&self, request: IndexRequest, name: Option<String>) -> Result<Answer<Vec<String>>> {
        let (tenant, matchers, range_ms) = (&request.tenant, &request.matchers, millis(request.range));
        match name {
            None => self.label_names(tenant, matchers, range_ms).boxed().await,
            Some(name) => self.label_values(tenant, &name, matchers, range_ms).boxed().await,
        }
    }

    async fn sizes(&self, request: IndexRequest) -> Result<Answer<Vec<StreamSize>>> {
        let range = request.range;
        let Answer { value, warnings } = self.chunks(request).await?;
        Ok(Answer { value: value.into_iter().map(|series| size_inside(series, range)).collect(), warnings })
    }
}

fn size_inside(series: SeriesChunks, range: TimeRange) -> StreamSize {
    let mut size = StreamSize { labels: series.labels, chunks: series.chunks.len() as u64, entries: 0, bytes: 0 };
    for chunk in series.chunks {
        let [from_ns, through_ns] = [chunk.from_ms, chunk.through_ms].map(|ms| ms.saturating_mul(NANOS_PER_MILLI));
        let share = range.share_of(from_ns, through_ns);
        size.entries += (f64::from(chunk.entries) * share) as u64;
        size.bytes += (f64::from(chunk.kb) * 1024.0 * share) as u64;
    }
    size
}

fn millis(range: TimeRange) -> (i64, i64) {
    (range.from_ms(), range.through_ms())
}
