//! The listener of spans: it gives identities, keeps fields, and hands finished spans on.

use super::ids::Ids;
use super::{TEXT_BYTES_MAX, TRACEPARENT, TraceContext};
use crate::clock::SharedClock;
use crate::metrics::Counter;
use std::fmt::Debug;
use tokio::sync::mpsc::Sender;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

/// A span that has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct FinishedSpan {
    pub context: TraceContext,
    /// 0: none.
    pub parent_id: u64,
    pub name: String,
    pub kind: Kind,
    pub start_ns: i64,
    pub end_ns: i64,
    pub attributes: Vec<(&'static str, Value)>,
    /// Something in it was logged as an error.
    pub failed: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    #[default]
    Internal,
    /// Answers a request of another process.
    Server,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Text(String),
    Number(i64),
    Fraction(f64),
    Flag(bool),
}

/// Fields with a meaning: `traceparent` is the caller's context, `otel.name` and `otel.kind` (`server`) what they say.
pub struct Spans {
    ids: Ids,
    clock: SharedClock,
    /// The part of the traces that begin here and are exported.
    ratio: f64,
    /// Whether the caller's decision counts.
    follows_caller: bool,
    export: Option<Export>,
}

struct Export {
    queue: Sender<FinishedSpan>,
    dropped: Counter,
}

impl Spans {
    /// Identities only: what logs and other processes need.
    pub fn new(clock: SharedClock) -> Self {
        Spans { ids: Ids::new(), clock, ratio: 0.0, follows_caller: true, export: None }
    }

    /// Spans of `ratio` of the traces go to `queue`; those for which it has no room count in `dropped`.
    pub fn exported(self, ratio: f64, follows_caller: bool, queue: Sender<FinishedSpan>, dropped: Counter) -> Self {
        Spans { ratio, follows_caller, export: Some(Export { queue, dropped }), ..self }
    }

    fn begin(&self, caller: Option<TraceContext>, parent: Option<TraceContext>) -> (TraceContext, u64) {
        let span_id = self.ids.span_id();
        if let Some(parent) = parent {
            return (TraceContext { span_id, ..parent }, parent.span_id);
        }
        let trace_id = caller.map_or_else(|| self.ids.trace_id(), |caller| caller.trace_id);
        let sampled = match caller {
            Some(caller) if self.follows_caller => caller.sampled,
            // The lower half of the identity decides, so that all processes decide alike.
            _ => (trace_id as u64 as f64) <= self.ratio * u64::MAX as f64,
        };
        (TraceContext { trace_id, span_id, sampled }, caller.map_or(0, |caller| caller.span_id))
    }
}

/// A span under way.
struct Open {
    parent_id: u64,
    start_ns: i64,
    fields: Fields,
    failed: bool,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Spans {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        let parent = span.parent().and_then(|parent| parent.extensions().get::<TraceContext>().copied());
        let (identity, parent_id) = self.begin(fields.caller, parent);
        let mut extensions = span.extensions_mut();
        extensions.insert(identity);
        if identity.sampled && self.export.is_some() {
            extensions.insert(Open { parent_id, start_ns: self.clock.now_ns(), fields, failed: false });
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(open) = span.extensions_mut().get_mut::<Open>() {
            values.record(&mut open.fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if *event.metadata().level() != Level::ERROR {
            return;
        }
        let Some(span) = context.event_span(event) else { return };
        if let Some(open) = span.extensions_mut().get_mut::<Open>() {
            open.failed = true;
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let (Some(export), Some(span)) = (&self.export, context.span(&id)) else { return };
        let mut extensions = span.extensions_mut();
        let (Some(identity), Some(open)) = (extensions.get_mut::<TraceContext>().copied(), extensions.remove::<Open>())
        else {
            return;
        };
        let finished = FinishedSpan {
            context: identity,
            parent_id: open.parent_id,
            name: open.fields.name.unwrap_or_else(|| span.name().to_string()),
            kind: open.fields.kind,
            start_ns: open.start_ns,
            end_ns: self.clock.now_ns(),
            attributes: open.fields.others,
            failed: open.failed,
        };
        if export.queue.try_send(finished).is_err() {
            export.dropped.inc();
        }
    }
}

#[derive(Default)]
struct Fields {
    caller: Option<TraceContext>,
    name: Option<String>,
    kind: Kind,
    others: Vec<(&'static str, Value)>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        self.others.retain(|(name, _)| *name != field.name());
        self.others.push((field.name(), value));
    }

    fn text(&mut self, field: &Field, text: &str) {
        match field.name() {
            TRACEPARENT => self.caller = TraceContext::parse(text),
            "otel.name" => self.name = Some(text.to_string()),
            "otel.kind" if text == "server" => self.kind = Kind::Server,
            _ => self.put(field, Value::Text(text[..text.floor_char_boundary(TEXT_BYTES_MAX)].to_string())),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.text(field, &format!("{value:?}"));
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value);
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, Value::Number(value));
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, Value::Number(i64::try_from(value).unwrap_or(i64::MAX)));
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, Value::Fraction(value));
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, Value::Flag(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::ManualClock;
    use tokio::sync::mpsc;
    use tracing::{Span, error, info_span};
    use tracing_subscriber::layer::SubscriberExt;

    /// The spans that `work` leaves behind, innermost first.
    fn traced(ratio: f64, queue: usize, work: impl FnOnce()) -> (Vec<FinishedSpan>, u64) {
        let (sender, mut receiver) = mpsc::channel(queue);
        let dropped = Counter::default();
        let layer = Spans::new(ManualClock::at(5)).exported(ratio, true, sender, dropped.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), work);
        let spans = std::iter::from_fn(|| receiver.try_recv().ok()).collect();
        (spans, dropped.get())
    }

    #[test]
    fn spans_know_their_parent_their_caller_and_their_fields() {
        let caller = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let (spans, dropped) = traced(0.0, 10, || {
            let request =
                info_span!("http", otel.name = "GET /x", otel.kind = "server", traceparent = caller, status = 0);
            request.in_scope(|| {
                let inner = info_span!("query", tenant = "a", hit = true, seconds = 0.5, count = u64::MAX);
                inner.in_scope(|| {
                    let context = super::super::current().unwrap();
                    assert_eq!(context.trace_id, TraceContext::parse(caller).unwrap().trace_id);
                    error!("it fails");
                });
            });
            request.record("status", 200);
        });
        assert_eq!((spans.len(), dropped), (2, 0));
        let (inner, outer) = (&spans[0], &spans[1]);
        assert_eq!((outer.name.as_str(), outer.kind, outer.parent_id), ("GET /x", Kind::Server, 0x00f0_67aa_0ba9_02b7));
        assert_eq!((inner.name.as_str(), inner.parent_id, inner.failed), ("query", outer.context.span_id, true));
        assert_eq!(inner.context.trace_id, outer.context.trace_id);
        assert_eq!(
            (outer.start_ns, outer.failed, &outer.attributes),
            (5, false, &vec![("status", Value::Number(200))])
        );
        let expected = vec![
            ("tenant", Value::Text("a".into())),
            ("hit", Value::Flag(true)),
            ("seconds", Value::Fraction(0.5)),
            ("count", Value::Number(i64::MAX)),
        ];
        assert_eq!(inner.attributes, expected);
    }

    #[test]
    fn what_is_not_sampled_is_not_exported_and_a_full_queue_drops() {
        let unsampled = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
        for (ratio, caller, queue, exported, lost) in [
            (1.0, "", 10, 4, 0),
            (0.0, "", 10, 0, 0),
            (1.0, unsampled, 10, 0, 0),
            (1.0, "junk", 10, 4, 0),
            (1.0, "", 1, 1, 3),
        ] {
            let (spans, dropped) = traced(ratio, queue, || {
                for _ in 0..4 {
                    drop(info_span!("http", traceparent = caller));
                }
            });
            assert_eq!((spans.len(), dropped), (exported, lost), "{ratio} {caller:?}");
        }
    }

    #[test]
    fn identities_are_there_without_an_exporter() {
        let subscriber = tracing_subscriber::registry().with(Spans::new(ManualClock::at(0)));
        tracing::subscriber::with_default(subscriber, || {
            assert_eq!(super::super::current(), None);
            let (first, second) = (info_span!("a"), info_span!("b"));
            let identity = |span: &Span| super::super::of(span).unwrap();
            assert_ne!(identity(&first).trace_id, identity(&second).trace_id);
        });
    }
}
