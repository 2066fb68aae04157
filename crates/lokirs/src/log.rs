//! The process's log: one line an event on stderr, logfmt or JSON, Loki's keys (`level ts caller msg`), and a level that
//! can be changed while it runs. It must not know who logs; a secret does not get here, because it cannot be printed.

use runtime::clock::SharedClock;
use runtime::trace::{Spans, TraceContext};
use std::fmt::{Debug, Write as _};
use std::io::Write as _;
use std::sync::Arc;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, Registry, reload};

/// Our crates: the level of settings is theirs. Libraries never speak below a warning.
const OWN_CRATES: [&str; 16] = [
    "api",
    "cache",
    "cluster",
    "compactor",
    "distributor",
    "format",
    "frontend",
    "ingester",
    "logql",
    "lokirs",
    "model",
    "querier",
    "rpc",
    "ruler",
    "runtime",
    "storage",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Logfmt,
    Json,
}

/// Reads and changes the level.
#[derive(Clone)]
pub struct LogLevel {
    current: Arc<parking_lot::Mutex<LevelFilter>>,
    change: Option<reload::Handle<Targets, Registry>>,
}

impl LogLevel {
    pub fn name(&self) -> String {
        self.current.lock().to_string()
    }

    /// False where there is no such level.
    pub fn set(&self, name: &str) -> bool {
        let Some(level) = parse_level(name) else { return false };
        let changed = self.change.as_ref().is_none_or(|handle| handle.reload(filter(level)).is_ok());
        *self.current.lock() = level;
        changed
    }

    /// A level that no log listens to: of a process in a test.
    pub fn detached() -> Self {
        LogLevel { current: Arc::new(parking_lot::Mutex::new(LevelFilter::INFO)), change: None }
    }
}

/// Loki's names of levels.
pub fn parse_level(name: &str) -> Option<LevelFilter> {
    match name {
        "debug" => Some(LevelFilter::DEBUG),
        "info" => Some(LevelFilter::INFO),
        "warn" => Some(LevelFilter::WARN),
        "error" => Some(LevelFilter::ERROR),
        _ => None,
    }
}

fn filter(level: LevelFilter) -> Targets {
    let own = OWN_CRATES.iter().map(|name| (*name, level));
    Targets::new().with_default(level.min(LevelFilter::WARN)).with_targets(own)
}

/// Starts the process's log and its traces. Called once.
pub fn start(level: &str, format: Format, clock: SharedClock, spans: Spans) -> LogLevel {
    let level = parse_level(level).unwrap_or(LevelFilter::INFO);
    let (lines_filter, handle) = reload::Layer::new(filter(level));
    let lines = Lines { format, clock };
    let spans = spans.with_filter(filter(LevelFilter::INFO));
    let subscriber = tracing_subscriber::registry().with(lines.with_filter(lines_filter)).with(spans);
    // It fails only when there is a subscriber, and then that one stays.
    let _ = tracing::subscriber::set_global_default(subscriber);
    LogLevel { current: Arc::new(parking_lot::Mutex::new(level)), change: Some(handle) }
}

struct Lines {
    format: Format,
    clock: SharedClock,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut line = Line::new(self.format);
        let meta = event.metadata();
        line.pair("level", level_name(*meta.level()));
        line.pair("ts", &timestamp(self.clock.now_ns()));
        let mut fields = Fields::default();
        event.record(&mut fields);
        line.pair("caller", &fields.caller.take().unwrap_or_else(|| place_of(meta)));
        let span = context.event_span(event);
        if let Some(trace) = span.and_then(|span| span.extensions().get::<TraceContext>().copied()) {
            line.pair("traceID", &trace.trace_id());
        }
        if !fields.message.is_empty() {
            line.pair("msg", &fields.message);
        }
        fields.others.iter().for_each(|(name, value)| line.pair(name, value));
        fields.tags().for_each(|(name, value)| line.pair(name, value));
        // A log that cannot be written has nobody to complain to.
        let _ = std::io::stderr().lock().write_all(line.finish().as_bytes());
    }
}

fn place_of(meta: &Metadata<'_>) -> String {
    let file = meta.file().and_then(|path| path.rsplit('/').next()).unwrap_or(meta.target());
    format!("{file}:{}", meta.line().unwrap_or_default())
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG | Level::TRACE => "debug",
    }
}

fn timestamp(now_ns: i64) -> String {
    let moment = jiff::Timestamp::from_nanosecond(i128::from(now_ns)).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    format!("{moment:.9}")
}

#[derive(Default)]
struct Fields {
    message: String,
    /// Instead of file and line, for lines that users look for under Loki's name.
    caller: Option<String>,
    others: Vec<(&'static str, String)>,
    /// Pairs whose names a client has chosen: `a=b,c=d`.
    tags: String,
}

/// What every line has.
const OWN_NAMES: [&str; 5] = ["level", "ts", "caller", "traceID", "msg"];

impl Fields {
    /// Each as a field of its own. A name that the line has already is not for clients to use.
    fn tags(&self) -> impl Iterator<Item = (&str, &str)> {
        let is_taken = |name: &str| OWN_NAMES.contains(&name) || self.others.iter().any(|(own, _)| *own == name);
        let is_name = |name: &str| name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
        let pairs = self.tags.split(',').filter_map(|pair| pair.split_once('='));
        pairs.filter(move |(name, _)| is_name(name) && !is_taken(name))
    }

    fn put(&mut self, field: &Field, value: String) {
        match field.name() {
            "message" => self.message = value,
            "caller" => self.caller = Some(value),
            "tags" => self.tags = value,
            name => self.others.push((name, value)),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put(field, format!("{value:?}"));
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.to_string());
    }
}

struct Line {
    format: Format,
    text: String,
}

impl Line {
    fn new(format: Format) -> Self {
        Line { format, text: String::with_capacity(256) }
    }

    fn pair(&mut self, name: &str, value: &str) {
        match self.format {
            Format::Json => {
                self.text.push(if self.text.is_empty() { '{' } else { ',' });
                json_string(&mut self.text, name);
                self.text.push(':');
                json_string(&mut self.text, value);
            }
            Format::Logfmt => {
                if !self.text.is_empty() {
                    self.text.push(' ');
                }
                self.text.push_str(name);
                self.text.push('=');
                let plain = |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, '"' | '=');
                if !value.is_empty() && value.chars().all(plain) {
                    self.text.push_str(value);
                } else {
                    json_string(&mut self.text, value);
                }
            }
        }
    }

    fn finish(mut self) -> String {
        if self.format == Format::Json {
            self.text.push('}');
        }
        self.text.push('\n');
        self.text
    }
}

fn json_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_event_is_one_line() {
        for (format, expected) in [
            (Format::Logfmt, "level=info msg=\"two\\nlines \\\"x\\\"\" n=5 empty=\"\"\n"),
            (Format::Json, "{\"level\":\"info\",\"msg\":\"two\\nlines \\\"x\\\"\",\"n\":\"5\",\"empty\":\"\"}\n"),
        ] {
            let mut line = Line::new(format);
            line.pair("level", "info");
            line.pair("msg", "two\nlines \"x\"");
            line.pair("n", "5");
            line.pair("empty", "");
            assert_eq!(line.finish(), expected);
        }
        assert_eq!(timestamp(1_500_000_000), "1970-01-01T00:00:01.500000000Z");
    }

    #[test]
    fn levels_have_lokis_names() {
        let level = LogLevel::detached();
        assert!(level.set("debug") && level.name() == "debug");
        assert!(!level.set("loud") && level.name() == "debug");
    }
}
