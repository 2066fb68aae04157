//! Traces: every span of ours gets an identity that crosses processes (W3C `traceparent`), and finished spans go to whoever
//! exports them. It must not know how they are sent.

mod context;
mod ids;
mod layer;

use tracing::Span;
use tracing_subscriber::Registry;
use tracing_subscriber::registry::LookupSpan;

pub use context::TraceContext;
pub use layer::{FinishedSpan, Kind, Spans, Value};

/// The header, and the gRPC metadata, that carries a context from process to process.
pub const TRACEPARENT: &str = "traceparent";

/// Bytes of an attribute's text.
const TEXT_BYTES_MAX: usize = 4 << 10;

/// The identity of the span that the caller is in; `None` outside all, or where nobody traces.
pub fn current() -> Option<TraceContext> {
    of(&Span::current())
}

/// The identity of a span.
pub fn of(span: &Span) -> Option<TraceContext> {
    span.with_subscriber(|(id, dispatch)| {
        let span = dispatch.downcast_ref::<Registry>()?.span(id)?;
        span.extensions().get::<TraceContext>().copied()
    })
    .flatten()
}
