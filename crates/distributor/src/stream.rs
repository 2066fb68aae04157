//! A stream as a push names it: its labels read, completed (`service_name`) and checked once, then found by the text
//! that clients repeat. It must not know entries.

use crate::discard::Offence;
use crate::hot::{Rate, SHARD_LABEL, Spread, shard_labels};
use crate::level::LevelDetector;
use crate::policy::{missing_labels, policy_of};
use model::{Error, Fingerprint, Labels, Result, TenantId, label_text};
use parking_lot::Mutex;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use runtime::limits::{Limits, ShardStreams};
use smol_str::SmolStr;
use std::borrow::Cow;
use std::sync::Arc;

/// Memory that known streams may take, in bytes: some hundred thousand streams of usual size.
const CACHE_BYTES_MAX: u64 = 64 << 20;
/// Streams expected in it.
const CACHE_STREAMS: usize = 64 << 10;
/// A cached stream's cost beside its texts.
const STREAM_OVERHEAD_BYTES: usize = 512;

pub const SERVICE_NAME: &str = "service_name";
const UNKNOWN_SERVICE: &str = "unknown_service";

/// A valid stream, ready for the batch.
#[derive(Debug)]
pub struct Stream {
    /// Canonical text of the labels.
    pub text: String,
    pub fingerprint: Fingerprint,
    pub ring_token: u32,
    /// The level that the labels give to all entries.
    pub level: Option<Cow<'static, str>>,
    pub policy: SmolStr,
    /// Whether it may be spread: a shard, or what a client calls one, is not.
    spreads: bool,
    rate: Mutex<Rate>,
    /// The limits under which the stream is valid.
    limits: Arc<Limits>,
}

impl Stream {
    /// How a push of the stream is to be spread, if it is.
    pub fn spread(&self, limits: &ShardStreams, distributors: usize, now_ns: i64) -> Option<Spread> {
        if !self.spreads {
            return None;
        }
        self.rate.lock().spread(limits, distributors, now_ns)
    }

    /// Notes what a push brought.
    pub fn pushed(&self, bytes: u64, now_ns: i64) {
        self.rate.lock().add(bytes, now_ns);
    }
}

/// A stream that is not valid.
#[derive(Debug)]
pub struct BadStream {
    pub text: String,
    pub offence: Offence,
}

#[derive(Clone)]
struct ByTextBytes;

impl Weighter<Box<[u8]>, Arc<Stream>> for ByTextBytes {
    fn weight(&self, key: &Box<[u8]>, stream: &Arc<Stream>) -> u64 {
        (key.len() + 2 * stream.text.len() + STREAM_OVERHEAD_BYTES) as u64
    }
}

/// The streams of all tenants, by tenant and label text as sent.
pub struct Streams {
    known: Cache<Box<[u8]>, Arc<Stream>, ByTextBytes>,
}

impl Default for Streams {
    fn default() -> Self {
        Streams { known: Cache::with_weighter(CACHE_STREAMS, CACHE_BYTES_MAX, ByTextBytes) }
    }
}

impl Streams {
    /// The stream of a label text; an error when it cannot be read. `policy` is what the client names, `key` is a buffer
    /// for the caller to keep.
    pub fn resolve(
        &self,
        (tenant, policy): (&TenantId, &str),
        limits: &Arc<Limits>,
        levels: &LevelDetector,
        text: &[u8],
        key: &mut Vec<u8>,
    ) -> Result<Result<Arc<Stream>, BadStream>> {
        write_key(key, &[tenant.as_str().as_bytes(), policy.as_bytes(), text]);
        if let Some(stream) = self.known.get(key.as_slice()).filter(|s| Arc::ptr_eq(&s.limits, limits)) {
            return Ok(Ok(stream));
        }
        let pairs = read(text)?;
        Ok(check(pairs, (tenant, policy), limits).map(|(labels, policy)| {
            let stream = Arc::new(Stream {
                text: labels.to_string(),
                fingerprint: labels.fingerprint(),
                ring_token: labels.ring_token(tenant.as_str()),
                level: levels.of_labels(&labels),
                policy,
                spreads: labels.get(SHARD_LABEL).is_none(),
                rate: Mutex::default(),
                limits: limits.clone(),
            });
            self.known.insert(key.as_slice().into(), stream.clone());
            stream
        }))
    }

    /// The shard number `shard` of a stream; `None` when its labels cannot be read again.
    pub fn shard(&self, tenant: &TenantId, stream: &Stream, shard: u32, key: &mut Vec<u8>) -> Option<Arc<Stream>> {
        let number = shard.to_be_bytes();
        // The first part is no tenant: no text of a client makes this key.
        write_key(key, &[b"", tenant.as_str().as_bytes(), stream.policy.as_bytes(), stream.text.as_bytes(), &number]);
        if let Some(known) = self.known.get(key.as_slice()).filter(|s| Arc::ptr_eq(&s.limits, &stream.limits)) {
            return Some(known);
        }
        let labels = shard_labels(&Labels::parse(&stream.text).ok()?, shard);
        let stream = Arc::new(Stream {
            text: labels.to_string(),
            fingerprint: labels.fingerprint(),
            ring_token: labels.ring_token(tenant.as_str()),
            level: stream.level.clone(),
            policy: stream.policy.clone(),
            spreads: false,
            rate: Mutex::default(),
            limits: stream.limits.clone(),
        });
        self.known.insert(key.as_slice().into(), stream.clone());
        Some(stream)
    }
}

/// Parts with a zero byte between them, which no label text has.
fn write_key(key: &mut Vec<u8>, parts: &[&[u8]]) {
    key.clear();
    for part in parts {
        key.extend_from_slice(part);
        key.push(0);
    }
}

fn read(text: &[u8]) -> Result<Vec<(SmolStr, SmolStr)>> {
    let text = std::str::from_utf8(text)
        .map_err(|e| Error::invalid(format!("1:{}: parse error: invalid UTF-8 rune", e.valid_up_to() + 1)));
    text.and_then(label_text::parse).map_err(|e| e.context("couldn't parse labels"))
}

/// Adds `service_name` and applies the limits of labels, in Loki's order. Answers the policy as well.
fn check(
    mut pairs: Vec<(SmolStr, SmolStr)>,
    (tenant, named): (&TenantId, &str),
    limits: &Limits,
) -> Result<(Labels, SmolStr), BadStream> {
    discover_service(&mut pairs, &limits.discover_service_name);
    if let Some(offence) = offence(&pairs, limits) {
        return Err(BadStream { text: label_text::canonical(&pairs), offence });
    }
    let labels = Labels::new(pairs);
    let policy = policy_of(&labels, named, limits);
    let names = missing_labels(&labels, &policy, limits);
    if names.is_empty() {
        return Ok((labels, policy));
    }
    let offence = Offence::MissingEnforced { names, tenant: tenant.to_string(), policy: policy.to_string() };
    Err(BadStream { text: labels.to_string(), offence })
}

fn discover_service(pairs: &mut Vec<(SmolStr, SmolStr)>, candidates: &[String]) {
    if candidates.is_empty() || pairs.iter().any(|(name, _)| name == SERVICE_NAME) {
        return;
    }
    let value_of = |candidate: &String| pairs.iter().find(|(name, _)| name == candidate).map(|(_, value)| value);
    let service = candidates.iter().find_map(value_of).cloned().unwrap_or(SmolStr::new_static(UNKNOWN_SERVICE));
    let at = pairs.partition_point(|(name, _)| name.as_str() < SERVICE_NAME);
    pairs.insert(at, (SmolStr::new_static(SERVICE_NAME), service));
}

fn offence(pairs: &[(SmolStr, SmolStr)], limits: &Limits) -> Option<Offence> {
    if pairs.is_empty() {
        return Some(Offence::NoLabels);
    }
    // The label that the server itself adds does not count.
    let names = pairs.iter().filter(|(name, _)| name != SERVICE_NAME).count();
    if names > limits.max_label_names_per_series {
        return Some(Offence::TooManyLabels { names, max: limits.max_label_names_per_series });
    }
    for (i, (name, value)) in pairs.iter().enumerate() {
        if name.len() > limits.max_label_name_length {
            return Some(Offence::NameTooLong { name: name.to_string() });
        }
        if value.len() > limits.max_label_value_length {
            return Some(Offence::ValueTooLong { value: value.to_string() });
        }
        if i > 0 && pairs[i - 1].0 == *name {
            return Some(Offence::DuplicateName { name: name.to_string() });
        }
    }
    None
}
