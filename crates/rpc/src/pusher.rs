//! The push service: what takes the lines of a client. A request is walked, not handed over: no line is copied between
//! the decompressed body and the batch. It must not know HTTP, nor in which encoding a client wrote.

use async_trait::async_trait;
use model::{Error, Result, TenantId};
use std::borrow::Cow;

#[async_trait]
pub trait Pusher: Send + Sync {
    /// Validates, admits and stores. An error may mean that a part is stored: then it names what is not.
    async fn push(&self, tenant: &TenantId, request: &dyn PushRequest) -> Result<(), PushError>;
}

/// A decoded push.
pub trait PushRequest: Send + Sync {
    /// Tells `sink` of every stream and its entries, in order. An error, of the request or of the sink, ends the walk,
    /// and nothing of the request is stored.
    fn walk(&self, sink: &mut dyn Sink) -> Result<()>;
    fn format(&self) -> Format;
    /// The ingestion policy that the client names, or nothing.
    fn policy(&self) -> &str {
        ""
    }
}

/// Structured metadata of one entry, as name and value.
pub type Pairs<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

/// What a request is walked into: `stream (entry)* end_stream`, any number of times.
pub trait Sink {
    /// A stream by the text of its labels; `Invalid` when the text cannot be read.
    fn stream(&mut self, labels: &[u8]) -> Result<()>;
    /// An entry of the stream. `metadata` may be changed by the sink; the caller clears it for the next entry.
    fn entry(&mut self, ts_ns: i64, line: &[u8], metadata: &mut Pairs<'_>) -> Result<()>;
    fn end_stream(&mut self);
}

/// The protocol of a push, as the `format` label of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    Loki,
    Otlp,
}

impl Format {
    pub fn as_str(self) -> &'static str {
        match self {
            Format::Loki => "loki",
            Format::Otlp => "otlp",
        }
    }
}

/// Why a push was not stored, or not wholly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PushError {
    Failed(Error),
    /// Ingestion is blocked for the tenant, who chose the HTTP status that clients see.
    Blocked {
        status: u16,
        message: String,
    },
}

impl From<Error> for PushError {
    fn from(error: Error) -> Self {
        PushError::Failed(error)
    }
}
