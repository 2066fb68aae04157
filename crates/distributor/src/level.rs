//! The level of an entry (`detected_level`): from a label of the stream, structured metadata, a field of the line, or
//! the first level word in the line, in this order. It must not know batches or tenants.

mod fields;
mod words;

use rpc::pusher::Pairs;
use std::borrow::Cow;

/// The name under which a level is stored as structured metadata.
pub const DETECTED_LEVEL: &str = "detected_level";
/// The structured metadata in which OTLP keeps a record's severity.
const SEVERITY_NUMBER: &str = "severity_number";
const UNKNOWN: &str = "unknown";

/// What to look for, from a tenant's limits.
#[derive(Clone, Debug)]
pub struct LevelDetector {
    fields: fields::LevelFields,
}

impl LevelDetector {
    /// `fields` are names of labels, metadata and fields of a line, the preferred first. Objects in JSON lines are
    /// looked into down to `json_depth_max`, 0 meaning any depth.
    pub fn new(fields: &[String], json_depth_max: usize) -> Self {
        LevelDetector { fields: fields::LevelFields::new(fields, json_depth_max) }
    }

    /// The level that a stream's labels give to all its entries.
    pub fn of_labels(&self, labels: &model::Labels) -> Option<Cow<'static, str>> {
        self.fields.names().find_map(|name| labels.get(name)).map(normal_or_owned)
    }

    /// Puts the level of an entry into its metadata; `of_labels` comes from the stream.
    pub fn annotate(&self, of_labels: Option<&Cow<'static, str>>, line: &[u8], metadata: &mut Pairs<'_>) {
        if let Some((_, value)) = metadata.iter_mut().find(|(name, _)| name == DETECTED_LEVEL) {
            if let Some(level) = normal(value.as_bytes()) {
                *value = Cow::Borrowed(level);
            }
            return;
        }
        let level = match of_labels {
            Some(level) => level.clone(),
            None => self.of_metadata(metadata).unwrap_or_else(|| Cow::Borrowed(self.of_line(line))),
        };
        metadata.push((Cow::Borrowed(DETECTED_LEVEL), level));
    }

    fn of_metadata(&self, metadata: &Pairs<'_>) -> Option<Cow<'static, str>> {
        if metadata.is_empty() {
            return None;
        }
        let get = |name: &str| metadata.iter().find(|(n, _)| n == name).map(|(_, v)| &**v);
        if let Some(level) = self.fields.names().find_map(get) {
            return Some(normal_or_owned(level));
        }
        get(SEVERITY_NUMBER).filter(|v| !v.is_empty()).map(|number| Cow::Borrowed(of_severity(number)))
    }

    /// The level that a line speaks of.
    pub fn of_line(&self, line: &[u8]) -> &'static str {
        self.fields.value_in(line).and_then(normal).or_else(|| words::first(line)).unwrap_or(UNKNOWN)
    }
}

/// A level's one spelling, if `level` is a known one.
fn normal(level: &[u8]) -> Option<&'static str> {
    const SPELLINGS: [(&str, &str); 14] = [
        ("info", "info"),
        ("inf", "info"),
        ("information", "info"),
        ("debug", "debug"),
        ("dbg", "debug"),
        ("warn", "warn"),
        ("wrn", "warn"),
        ("warning", "warn"),
        ("error", "error"),
        ("err", "error"),
        ("trace", "trace"),
        ("trc", "trace"),
        ("critical", "critical"),
        ("fatal", "fatal"),
    ];
    SPELLINGS.iter().find(|(spelling, _)| level.eq_ignore_ascii_case(spelling.as_bytes())).map(|(_, level)| *level)
}

fn normal_or_owned(level: &str) -> Cow<'static, str> {
    normal(level.as_bytes()).map_or_else(|| Cow::Owned(level.to_string()), Cow::Borrowed)
}

/// OTLP's severity numbers: four to a level. A text that is no number counts as information, as in Loki.
fn of_severity(number: &str) -> &'static str {
    match number.parse::<i64>() {
        Err(_) => "info",
        Ok(0) => UNKNOWN,
        Ok(..=4) => "trace",
        Ok(5..=8) => "debug",
        Ok(9..=12) => "info",
        Ok(13..=16) => "warn",
        Ok(17..=20) => "error",
        Ok(21..=24) => "fatal",
        Ok(25..) => UNKNOWN,
    }
}

#[cfg(test)]
mod tests;
