//! Records become entries: attributes are sorted into labels and structured metadata, by the tenant's rules and with
//! Loki's names. It must not know how a record was written.

use super::rules::Rules;
use super::value::{Attributes, Value};
use model::labels::is_label_name;
use model::quote::quote_into;
use model::{Error, Result};
use rpc::pusher::{Pairs, Sink};
use runtime::limits::OtlpAction;
use std::borrow::Cow;

/// One log record.
#[derive(Clone, Debug, Default)]
pub struct Record<'a> {
    pub time_unix_nano: u64,
    pub observed_time_unix_nano: u64,
    pub severity_number: i32,
    pub severity_text: Cow<'a, str>,
    pub body: Value<'a>,
    pub attributes: Attributes<'a>,
    pub dropped_attributes_count: u32,
    pub flags: u32,
    /// All zero: none.
    pub trace_id: [u8; 16],
    pub span_id: [u8; 8],
}

/// The scope of records.
#[derive(Clone, Debug, Default)]
pub struct Scope<'a> {
    pub name: Cow<'a, str>,
    pub version: Cow<'a, str>,
    pub attributes: Attributes<'a>,
    pub dropped_attributes_count: u32,
}

/// Takes `resource (scope (record)*)* end_resource`, any number of times.
pub struct Emitter<'s, 'a> {
    sink: &'s mut dyn Sink,
    rules: &'s Rules,
    now_ns: i64,
    labels: Vec<(String, String)>,
    resource: Pairs<'a>,
    scope: Pairs<'a>,
    metadata: Pairs<'a>,
    /// The labels of the stream that is open in the sink.
    open: Option<String>,
}

impl<'s, 'a> Emitter<'s, 'a> {
    pub fn new(sink: &'s mut dyn Sink, rules: &'s Rules, now_ns: i64) -> Self {
        Emitter {
            sink,
            rules,
            now_ns,
            labels: Vec::new(),
            resource: Pairs::new(),
            scope: Pairs::new(),
            metadata: Pairs::new(),
            open: None,
        }
    }

    pub fn resource(&mut self, attributes: Attributes<'a>) -> Result<()> {
        self.labels.clear();
        self.resource.clear();
        self.scope.clear();
        for (name, value) in attributes {
            match self.rules.of_resource(&name) {
                OtlpAction::Drop => {}
                OtlpAction::StructuredMetadata => flatten(name, value, &mut self.resource)?,
                OtlpAction::IndexLabel => {
                    let mut labels = Pairs::new();
                    flatten(name, value, &mut labels)?;
                    for (name, value) in labels {
                        self.set_label(&name, value.into_owned());
                    }
                }
            }
        }
        self.check_shared()
    }

    pub fn scope(&mut self, scope: Scope<'a>) -> Result<()> {
        self.scope.clear();
        for (name, value) in scope.attributes {
            if self.rules.of_scope(&name) != OtlpAction::Drop {
                flatten(name, value, &mut self.scope)?;
            }
        }
        if !scope.name.is_empty() {
            self.scope.push(("scope_name".into(), scope.name));
        }
        if !scope.version.is_empty() {
            self.scope.push(("scope_version".into(), scope.version));
        }
        if scope.dropped_attributes_count != 0 {
            let count = scope.dropped_attributes_count.to_string();
            self.scope.push(("scope_dropped_attributes_count".into(), count.into()));
        }
        self.check_shared()
    }

    pub fn record(&mut self, record: Record<'a>) -> Result<()> {
        self.metadata.clear();
        for (name, value) in record.attributes {
            if self.rules.of_record(&name) != OtlpAction::Drop {
                flatten(name, value, &mut self.metadata)?;
            }
        }
        let severity_label = match self.rules.severity_text_as_label {
            true => Some(&*record.severity_text).filter(|t| !t.is_empty()),
            false => None,
        };
        self.open_stream(severity_label)?;
        let mut add = |name: &'static str, value: Cow<'a, str>| self.metadata.push((name.into(), value));
        if record.dropped_attributes_count != 0 {
            add("dropped_attributes_count", record.dropped_attributes_count.to_string().into());
        }
        if record.flags != 0 {
            add("flags", record.flags.to_string().into());
        }
        if record.time_unix_nano != 0 && record.observed_time_unix_nano != 0 {
            add("observed_timestamp", record.observed_time_unix_nano.to_string().into());
        }
        if record.severity_number != 0 {
            add("severity_number", record.severity_number.to_string().into());
        }
        if !self.rules.severity_text_as_label && !record.severity_text.is_empty() {
            add("severity_text", record.severity_text);
        }
        if record.span_id != [0; 8] {
            add("span_id", hex(&record.span_id).into());
        }
        if record.trace_id != [0; 16] {
            add("trace_id", hex(&record.trace_id).into());
        }
        // Of a name that occurs several times the last counts: the scope's before the resource's before the record's.
        self.metadata.extend(self.resource.iter().chain(&self.scope).cloned());
        let ts_ns = match (record.time_unix_nano, record.observed_time_unix_nano) {
            (0, 0) => self.now_ns,
            (0, observed) => i64::try_from(observed).unwrap_or(i64::MAX),
            (time, _) => i64::try_from(time).unwrap_or(i64::MAX),
        };
        self.sink.entry(ts_ns, record.body.into_text().as_bytes(), &mut self.metadata)
    }

    pub fn end_resource(&mut self) {
        if self.open.take().is_some() {
            self.sink.end_stream();
        }
    }

    /// A stream is opened by its first record, so that a resource without records is none.
    fn open_stream(&mut self, severity: Option<&str>) -> Result<()> {
        if severity.is_none() && self.open.is_some() && !self.rules.severity_text_as_label {
            return Ok(());
        }
        let mut text = String::from("{");
        let severity = severity.map(|s| ("severity_text", s));
        let labels = self
            .labels
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_str()))
            .filter(|(n, _)| severity.is_none_or(|s| s.0 != *n));
        for (name, value) in labels.chain(severity) {
            text.push_str(if text.len() > 1 { ", " } else { "" });
            text.push_str(name);
            text.push('=');
            quote_into(&mut text, value);
        }
        text.push('}');
        if self.open.as_ref() == Some(&text) {
            return Ok(());
        }
        self.end_resource();
        self.sink.stream(text.as_bytes())?;
        self.open = Some(text);
        Ok(())
    }

    fn set_label(&mut self, name: &str, value: String) {
        match self.labels.iter_mut().find(|(n, _)| n == name) {
            Some((_, old)) => *old = value,
            None => self.labels.push((name.to_string(), value)),
        }
    }

    /// What a resource and its scope give to every record must fit a record: else none of them would be kept, and a small
    /// body would be multiplied.
    fn check_shared(&self) -> Result<()> {
        let (pairs, max) = (self.resource.len() + self.scope.len(), self.rules.shared_max);
        if pairs <= max && self.labels.len() <= model::label_text::LABELS_MAX {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "a resource has too many structured metadata labels: '{pairs}', limit: '{max}'. Please see `limits_config.max_structured_metadata_entries_count` or contact your Loki administrator to increase it"
        )))
    }
}

/// The pairs of one attribute: nested maps are joined by `_`, other values are text.
fn flatten<'a>(name: Cow<'a, str>, value: Value<'a>, into: &mut Pairs<'a>) -> Result<()> {
    let name = match is_label_name(&name) && !name.contains("__") {
        true => name,
        false => Cow::Owned(label_name(&name)?),
    };
    push_flat(name, value, into)
}

fn push_flat<'a>(name: Cow<'a, str>, value: Value<'a>, into: &mut Pairs<'a>) -> Result<()> {
    let Value::Map(pairs) = value else {
        into.push((name, value.into_text()));
        return Ok(());
    };
    for (key, value) in pairs {
        push_flat(Cow::Owned(label_name(&format!("{name}_{key}"))?), value, into)?;
    }
    Ok(())
}

fn label_name(name: &str) -> Result<String> {
    model::labels::normalised_name(name).map_err(|what| Error::invalid(format!("symbolizer lookup: {what}")))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, b| {
        write!(text, "{b:02x}").expect("a String takes any text");
        text
    })
}
