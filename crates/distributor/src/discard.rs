//! What a push could not keep: counted by reason, and told to the client in Loki's words. Reasons and texts are Loki's.
//! It must not know what the rules are.

use model::Error;
use std::collections::BTreeMap;

/// How many different errors of one request are told to the client in full.
const ERRORS_TOLD_MAX: usize = 10;
/// How much of a stream's labels is told: labels come from outside and may be of any length.
const STREAM_TEXT_BYTES_MAX: usize = 16 << 10;

/// The `reason` label of `loki_discarded_samples_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    RateLimited,
    LineTooLong,
    GreaterThanMaxSampleAge,
    TooFarInFuture,
    MaxLabelNamesPerSeries,
    LabelNameTooLong,
    LabelValueTooLong,
    DuplicateLabelNames,
    MissingLabels,
    MissingEnforcedLabels,
    BlockedIngestion,
    BlockedIngestionPolicy,
    DisallowedStructuredMetadata,
    StructuredMetadataTooLarge,
    StructuredMetadataTooMany,
    InvalidLabels,
}

impl Reason {
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::RateLimited => "rate_limited",
            Reason::LineTooLong => "line_too_long",
            Reason::GreaterThanMaxSampleAge => "greater_than_max_sample_age",
            Reason::TooFarInFuture => "too_far_in_future",
            Reason::MaxLabelNamesPerSeries => "max_label_names_per_series",
            Reason::LabelNameTooLong => "label_name_too_long",
            Reason::LabelValueTooLong => "label_value_too_long",
            Reason::DuplicateLabelNames => "duplicate_label_names",
            Reason::MissingLabels => "missing_labels",
            Reason::MissingEnforcedLabels => "missing_enforced_labels",
            Reason::BlockedIngestion => "blocked_ingestion",
            Reason::BlockedIngestionPolicy => "blocked_ingestion_policy",
            Reason::DisallowedStructuredMetadata => "disallowed_structured_metadata",
            Reason::StructuredMetadataTooLarge => "structured_metadata_too_large",
            Reason::StructuredMetadataTooMany => "structured_metadata_too_many",
            Reason::InvalidLabels => "invalid_labels",
        }
    }
}

/// One entry's or one stream's offence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Offence {
    TooOld { ts_ns: i64, oldest_ns: i64 },
    TooNew { ts_ns: i64 },
    LineTooLong { line_bytes: usize, max: u64 },
    MetadataDisallowed,
    MetadataTooLarge { bytes: usize, max: u64 },
    MetadataTooMany { pairs: usize, max: u64 },
    MetadataName { fault: String },
    NoLabels,
    TooManyLabels { names: usize, max: usize },
    NameTooLong { name: String },
    ValueTooLong { value: String },
    DuplicateName { name: String },
    MissingEnforced { names: Vec<String>, tenant: String, policy: String },
    PolicyBlocked { policy: String, tenant: String, until_ns: i64, status: u16 },
}

impl Offence {
    pub fn reason(&self) -> Reason {
        match self {
            Offence::TooOld { .. } => Reason::GreaterThanMaxSampleAge,
            Offence::TooNew { .. } => Reason::TooFarInFuture,
            Offence::LineTooLong { .. } => Reason::LineTooLong,
            Offence::MetadataDisallowed => Reason::DisallowedStructuredMetadata,
            Offence::MetadataTooLarge { .. } => Reason::StructuredMetadataTooLarge,
            Offence::MetadataTooMany { .. } => Reason::StructuredMetadataTooMany,
            Offence::MetadataName { .. } => Reason::InvalidLabels,
            Offence::NoLabels => Reason::MissingLabels,
            Offence::TooManyLabels { .. } => Reason::MaxLabelNamesPerSeries,
            Offence::NameTooLong { .. } => Reason::LabelNameTooLong,
            Offence::ValueTooLong { .. } => Reason::LabelValueTooLong,
            Offence::DuplicateName { .. } => Reason::DuplicateLabelNames,
            Offence::MissingEnforced { .. } => Reason::MissingEnforcedLabels,
            Offence::PolicyBlocked { .. } => Reason::BlockedIngestionPolicy,
        }
    }

    /// The text for the client; `stream` is the canonical text of the labels.
    pub fn message(&self, stream: &str) -> String {
        let s = shortened(stream);
        match self {
            Offence::TooOld { ts_ns, oldest_ns } => format!(
                "entry for stream '{s}' has timestamp too old: {}, oldest acceptable timestamp is: {}",
                rfc3339(*ts_ns),
                rfc3339(*oldest_ns)
            ),
            Offence::TooNew { ts_ns } => format!("entry for stream '{s}' has timestamp too new: {}", rfc3339(*ts_ns)),
            Offence::LineTooLong { line_bytes, max } => format!(
                "max entry size '{max}' bytes exceeded for stream '{s}' while adding an entry with length '{line_bytes}' bytes"
            ),
            Offence::MetadataDisallowed => format!(
                "stream '{s}' includes structured metadata, but this feature is disallowed. Please see `limits_config.allow_structured_metadata` or contact your Loki administrator to enable it"
            ),
            Offence::MetadataTooLarge { bytes, max } => format!(
                "stream '{s}' has structured metadata too large: '{bytes}' bytes, limit: '{max}' bytes. Please see `limits_config.max_structured_metadata_size` or contact your Loki administrator to increase it"
            ),
            Offence::MetadataTooMany { pairs, max } => format!(
                "stream '{s}' has too many structured metadata labels: '{pairs}', limit: '{max}'. Please see `limits_config.max_structured_metadata_entries_count` or contact your Loki administrator to increase it"
            ),
            Offence::MetadataName { fault } => {
                format!("stream '{s}' has a structured metadata name that is no label name: {}", shortened(fault))
            }
            Offence::NoLabels => "error at least one label pair is required per stream".into(),
            Offence::TooManyLabels { names, max } => {
                format!("entry for stream '{s}' has {names} label names; limit {max}")
            }
            Offence::NameTooLong { name } => format!("stream '{s}' has label name too long: '{}'", shortened(name)),
            Offence::ValueTooLong { value } => format!("stream '{s}' has label value too long: '{}'", shortened(value)),
            Offence::DuplicateName { name } => format!("stream '{s}' has duplicate label name: '{name}'"),
            Offence::MissingEnforced { names, tenant, policy } => {
                let names = names.join(",");
                format!("missing required labels '{names}' for user '{tenant}' for stream '{s}' (policy: '{policy}')")
            }
            Offence::PolicyBlocked { policy, tenant, until_ns, status } => format!(
                "ingestion blocked for user {tenant} (policy: '{policy}') until '{}' with status code '{status}'",
                rfc3339(*until_ns)
            ),
        }
    }
}

/// The discards of one request.
#[derive(Debug, Default)]
pub struct Discards {
    told: Vec<Told>,
    untold: u64,
    pub counts: BTreeMap<Reason, Count>,
}

/// Entries and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    pub entries: u64,
    pub bytes: u64,
}

#[derive(Debug)]
struct Told {
    stream: u32,
    offence: Offence,
    message: String,
    times: u64,
}

impl Discards {
    /// Notes an offence in the request's stream number `stream`. Text is made once for equal offences, and only as long
    /// as it is told: a request of a million bad entries costs a million comparisons.
    pub fn tell(&mut self, stream: u32, labels: &str, offence: &Offence) {
        let known = self.told.iter_mut().rev().find(|t| t.stream == stream && t.offence == *offence);
        if let Some(told) = known {
            told.times += 1;
        } else if self.told.len() == ERRORS_TOLD_MAX {
            self.untold += 1;
        } else {
            let message = offence.message(labels);
            match self.told.iter_mut().find(|t| t.message == message) {
                Some(told) => told.times += 1,
                None => self.told.push(Told { stream, offence: offence.clone(), message, times: 1 }),
            }
        }
    }

    pub fn count(&mut self, reason: Reason, entries: u64, bytes: u64) {
        let count = self.counts.entry(reason).or_default();
        count.entries += entries;
        count.bytes += bytes;
    }

    /// The answer to the client, unless everything was kept.
    pub fn error(&self) -> Option<Error> {
        match self.told.as_slice() {
            [] => None,
            [one] if one.times == 1 && self.untold == 0 => Some(Error::invalid(one.message.clone())),
            all => {
                let mut parts: Vec<String> =
                    all.iter().map(|t| format!("{} errors like: {}", t.times, t.message)).collect();
                if self.untold > 0 {
                    parts.push(format!("{} other errors", self.untold));
                }
                Some(Error::invalid(parts.join("; ")))
            }
        }
    }
}

fn shortened(text: &str) -> &str {
    &text[..text.floor_char_boundary(STREAM_TEXT_BYTES_MAX)]
}

/// UTC, whole seconds.
pub fn rfc3339(ts_ns: i64) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(ts_ns))
        .map_or_else(|_| ts_ns.to_string(), |t| t.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}
