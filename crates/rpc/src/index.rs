//! The index's service: which streams are stored, in which chunks, and how large they are. It must not know index files.

use crate::ingester::{RecentRequest, StreamSize};
use crate::queries::Answer;
use async_trait::async_trait;
use format::tsdb::SeriesChunks;
use model::{Labels, Result};

/// The streams that a call is about: the same question goes to ingesters and to the index.
pub type IndexRequest = RecentRequest;

/// What is stored. An index file that cannot be read is a warning in the answer.
#[async_trait]
pub trait Index: Send + Sync {
    /// The streams with those of their chunks that may have entries in the range, sorted by fingerprint, each chunk once.
    /// `Invalid` when there are too many for one answer.
    async fn chunks(&self, request: IndexRequest) -> Result<Answer<Vec<SeriesChunks>>>;

    /// The label sets of the streams that have such chunks.
    async fn series(&self, request: IndexRequest) -> Result<Answer<Vec<Labels>>>;

    /// Label names, or the values of one label, in the files that reach into the range; sorted. The shard does not matter.
    async fn labels(&self, request: IndexRequest, name: Option<String>) -> Result<Answer<Vec<String>>>;

    /// The size of each stream. Of a chunk that reaches out of the range counts the part that its time inside has of all
    /// its time, as in Loki.
    async fn sizes(&self, request: IndexRequest) -> Result<Answer<Vec<StreamSize>>>;
}
