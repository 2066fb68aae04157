//! Validation: a request is walked once, and what is valid of it becomes a batch. It must not know HTTP, rates or where
//! batches go.

use crate::discard::{Discards, Offence};
use crate::hot::Spread;
use crate::level::{DETECTED_LEVEL, LevelDetector};
use crate::stream::{BadStream, Stream, Streams};
use crate::{metadata, policy};
use model::{Batch, BatchBuilder, Error, Result, TenantId};
use rpc::pusher::{Pairs, PushError, Sink};
use runtime::buffers::{Buffers, Lent};
use runtime::limits::Limits;
use std::sync::Arc;

/// How large a batch may grow while its request is read, in bytes: room for the largest body and what is added per entry.
const BATCH_BYTES_MAX: usize = 128 << 20;
/// What a batch is expected to take: agents push a megabyte of lines at most.
const BATCH_BYTES_USUAL: usize = 5 << 18;

/// What is valid of a request.
#[derive(Debug, Default)]
pub struct Valid {
    pub batch: Batch,
    /// The ring token of each stream of the batch, in its order.
    pub tokens: Vec<u32>,
    pub streams: u64,
    pub lines: u64,
    /// Line and metadata bytes, without what the server adds.
    pub bytes: u64,
    pub metadata_bytes: u64,
    pub truncated: Truncated,
    pub discards: Discards,
    /// Streams that were spread over several.
    pub spread: u64,
    /// Why streams of a blocked policy are not kept.
    pub policy_blocked: Option<Offence>,
}

impl Valid {
    /// What the client is told of what is not kept. A blocked policy has a status of its own.
    pub fn complaint(&self, limits: &Limits) -> Option<PushError> {
        match &self.policy_blocked {
            Some(offence) => {
                let status = limits.block_ingestion_status_code;
                Some(PushError::Blocked { status, message: offence.message("") })
            }
            None => self.discards.error().map(PushError::from),
        }
    }
}

/// Lines that were cut instead of refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Truncated {
    pub lines: u64,
    pub bytes: u64,
}

/// Whose push it is, and what else is said of it beside its streams.
#[derive(Clone, Copy)]
pub struct Origin<'a> {
    pub tenant: &'a TenantId,
    /// The ingestion policy that the client names, or nothing.
    pub policy: &'a str,
    /// How many distributors share the tenant's pushes.
    pub distributors: usize,
}

/// Takes a walk and sorts out what is valid.
pub struct Intake<'a> {
    origin: Origin<'a>,
    limits: &'a Arc<Limits>,
    streams: &'a Streams,
    levels: &'a LevelDetector,
    now_ns: i64,
    oldest_ns: i64,
    newest_ns: i64,
    builder: BatchBuilder,
    /// What the builder's buffer goes back into.
    buffer: Lent,
    batch_bytes: usize,
    valid: Valid,
    key: Vec<u8>,
    line: Vec<u8>,
    current: Current,
}

/// The stream that is being walked.
#[derive(Default)]
struct Current {
    stream: Option<Result<Arc<Stream>, BadStream>>,
    number: u32,
    /// Entries that wait for [`BatchBuilder::end_stream`], and the bytes of their lines.
    kept: u64,
    kept_bytes: u64,
    /// Of the first of them.
    first_ts_ns: i64,
    previous: Option<Previous>,
    /// Of a hot stream.
    spread: Option<Spread>,
    bytes: u64,
    pieces: u32,
}

/// The entry before, for `increment_duplicate_timestamp`.
struct Previous {
    pushed_ns: i64,
    kept_ns: i64,
    line: Vec<u8>,
}

impl<'a> Intake<'a> {
    pub fn new(
        origin: Origin<'a>,
        limits: &'a Arc<Limits>,
        streams: &'a Streams,
        levels: &'a LevelDetector,
        buffers: &Arc<Buffers>,
        now_ns: i64,
    ) -> Self {
        let mut buffer = buffers.take(BATCH_BYTES_USUAL);
        let age_max = i64::try_from(limits.reject_old_samples_max_age.as_nanos()).unwrap_or(i64::MAX);
        let grace = i64::try_from(limits.creation_grace_period.as_nanos()).unwrap_or(i64::MAX);
        Intake {
            origin,
            limits,
            streams,
            levels,
            now_ns,
            oldest_ns: if limits.reject_old_samples { now_ns.saturating_sub(age_max) } else { i64::MIN },
            newest_ns: now_ns.saturating_add(grace),
            builder: BatchBuilder::in_buffer(std::mem::take(&mut *buffer)),
            buffer,
            batch_bytes: 0,
            valid: Valid::default(),
            key: Vec::new(),
            line: Vec::new(),
            current: Current::default(),
        }
    }

    pub fn finish(mut self) -> Valid {
        *self.buffer = self.builder.into_data();
        Valid { batch: Batch { data: self.buffer.freeze() }, ..self.valid }
    }

    fn entry_offence(&self, ts_ns: i64, line_bytes: usize, metadata: &Pairs<'_>) -> Option<Offence> {
        let limits = self.limits;
        if ts_ns < self.oldest_ns {
            return Some(Offence::TooOld { ts_ns, oldest_ns: self.oldest_ns });
        }
        if ts_ns > self.newest_ns {
            return Some(Offence::TooNew { ts_ns });
        }
        if limits.max_line_size != 0 && line_bytes as u64 > limits.max_line_size {
            return Some(Offence::LineTooLong { line_bytes, max: limits.max_line_size });
        }
        if metadata.is_empty() {
            return None;
        }
        if !limits.allow_structured_metadata {
            return Some(Offence::MetadataDisallowed);
        }
        let (bytes, max) = (metadata::size_bytes(metadata), limits.max_structured_metadata_size);
        if max != 0 && bytes as u64 > max {
            return Some(Offence::MetadataTooLarge { bytes, max });
        }
        let (pairs, max) = (metadata.len(), limits.max_structured_metadata_entries_count);
        (max != 0 && pairs as u64 > max).then_some(Offence::MetadataTooMany { pairs, max })
    }

    /// Whether a line that is too long shall be cut; the cut line is then in `self.line`.
    fn truncates(&mut self, line: &[u8]) -> bool {
        let max = self.limits.max_line_size;
        if !self.limits.max_line_size_truncate || max == 0 || line.len() as u64 <= max {
            return false;
        }
        let mark = self.limits.max_line_size_truncate_identifier.as_bytes();
        let kept = (max as usize).saturating_sub(mark.len());
        self.line.clear();
        self.line.extend_from_slice(&line[..kept]);
        self.line.extend_from_slice(mark);
        self.valid.truncated.lines += 1;
        self.valid.truncated.bytes += (line.len() - self.line.len().min(line.len())) as u64;
        true
    }

    /// Keeps an entry whose metadata is normal.
    fn keep(&mut self, ts_ns: i64, line: &[u8], metadata: &mut Pairs<'_>, stream: &Stream) -> Result<()> {
        let metadata_bytes = counted_bytes(metadata);
        if self.limits.discover_log_levels && self.limits.allow_structured_metadata {
            self.levels.annotate(stream.level.as_ref(), line, metadata);
            metadata::in_order(metadata);
        }
        let ts_ns = match self.limits.increment_duplicate_timestamp {
            true => self.current.spread(ts_ns, line),
            false => ts_ns,
        };
        self.batch_bytes += line.len() + metadata_bytes + ENTRY_OVERHEAD_BYTES;
        if self.batch_bytes > BATCH_BYTES_MAX {
            return Err(Error::too_large(format!(
                "request body too large: the entries take more than {BATCH_BYTES_MAX} bytes, limit: {BATCH_BYTES_MAX} bytes"
            )));
        }
        self.builder.entry(ts_ns, line, metadata.iter().map(|(name, value)| (&**name, &**value)));
        if self.current.kept == 0 {
            self.current.first_ts_ns = ts_ns;
        }
        self.current.kept += 1;
        self.current.kept_bytes += (line.len() + metadata_bytes) as u64;
        self.valid.lines += 1;
        self.valid.bytes += (line.len() + metadata_bytes) as u64;
        self.valid.metadata_bytes += metadata_bytes as u64;
        if self.current.spread.is_some_and(|spread| self.current.kept_bytes >= spread.piece_bytes) {
            self.end_piece(stream);
        }
        Ok(())
    }

    /// Ends what is kept of a stream as one stream of the batch: one of its shards, if the stream is hot.
    fn end_piece(&mut self, stream: &Stream) {
        let current = &mut self.current;
        if current.kept == 0 {
            return;
        }
        let piece = current.pieces;
        (current.bytes, current.pieces) = (current.bytes + current.kept_bytes, piece + 1);
        (current.kept, current.kept_bytes) = (0, 0);
        let shard = current.spread.and_then(|spread| {
            let number = spread.shard(current.first_ts_ns, piece);
            self.streams.shard(self.origin.tenant, stream, number, &mut self.key)
        });
        let part = shard.as_deref().unwrap_or(stream);
        self.builder.end_stream(&part.text, part.fingerprint);
        self.valid.tokens.push(part.ring_token);
    }

    fn discard(&mut self, labels: &str, offence: &Offence, bytes: usize) {
        self.valid.discards.tell(self.current.number, labels, offence);
        self.valid.discards.count(offence.reason(), 1, bytes as u64);
    }
}

/// Timestamp, lengths and the level of one entry in a batch, in bytes.
const ENTRY_OVERHEAD_BYTES: usize = 40;

/// Metadata as rates and sizes count it: a level that a client sends is not counted, as it is not when we add it.
fn counted_bytes(metadata: &Pairs<'_>) -> usize {
    metadata.iter().filter(|(name, _)| name != DETECTED_LEVEL).map(|(n, v)| n.len() + v.len()).sum()
}

impl Sink for Intake<'_> {
    fn stream(&mut self, labels: &[u8]) -> Result<()> {
        let Origin { tenant, policy, distributors } = self.origin;
        let mut stream = self.streams.resolve((tenant, policy), self.limits, self.levels, labels, &mut self.key)?;
        let mut spread = None;
        if let Ok(good) = &stream {
            spread = good.spread(&self.limits.shard_streams, distributors, self.now_ns);
            if let Some(offence) = policy::blocked(&good.policy, tenant, self.limits, self.now_ns) {
                self.valid.policy_blocked = Some(offence.clone());
                stream = Err(BadStream { text: good.text.clone(), offence });
            }
        }
        self.valid.spread += u64::from(spread.is_some());
        let number = self.current.number.wrapping_add(1);
        self.current = Current { stream: Some(stream), number, spread, ..Current::default() };
        self.valid.streams += 1;
        Ok(())
    }

    fn entry(&mut self, ts_ns: i64, line: &[u8], metadata: &mut Pairs<'_>) -> Result<()> {
        let stream = match &self.current.stream {
            Some(Ok(stream)) => stream.clone(),
            Some(Err(bad)) => {
                // A bad stream is told once, however many entries it has.
                if self.current.kept == 0 {
                    self.valid.discards.tell(self.current.number, &bad.text, &bad.offence);
                }
                self.current.kept += 1;
                let bytes = (line.len() + metadata::size_bytes(metadata)) as u64;
                self.valid.discards.count(bad.offence.reason(), 1, bytes);
                return Ok(());
            }
            None => return Err(Error::internal("an entry before its stream")),
        };
        if self.truncates(line) {
            let cut = std::mem::take(&mut self.line);
            let kept = self.checked_entry(ts_ns, &cut, metadata, &stream);
            self.line = cut;
            return kept;
        }
        self.checked_entry(ts_ns, line, metadata, &stream)
    }

    fn end_stream(&mut self) {
        if let Some(Ok(stream)) = self.current.stream.take() {
            self.end_piece(&stream);
            stream.pushed(self.current.bytes, self.now_ns);
        }
    }
}

impl Intake<'_> {
    fn checked_entry(&mut self, ts_ns: i64, line: &[u8], metadata: &mut Pairs<'_>, stream: &Stream) -> Result<()> {
        let bytes = line.len() + metadata::size_bytes(metadata);
        let offence = self.entry_offence(ts_ns, line.len(), metadata);
        let nameless = || metadata::normalise(metadata).err().map(|fault| Offence::MetadataName { fault });
        match offence.or_else(nameless) {
            Some(offence) => {
                self.discard(&stream.text, &offence, bytes);
                Ok(())
            }
            None => self.keep(ts_ns, line, metadata, stream),
        }
    }
}

impl Current {
    /// Another line at the timestamp of the entry before gets the nanosecond after it; an equal line stays, and is one
    /// entry with it.
    fn spread(&mut self, pushed_ns: i64, line: &[u8]) -> i64 {
        let kept_ns = match &self.previous {
            Some(p) if p.pushed_ns == pushed_ns && p.line != line => p.kept_ns.saturating_add(1),
            _ => pushed_ns,
        };
        let previous = self.previous.get_or_insert_with(|| Previous { pushed_ns, kept_ns, line: Vec::new() });
        previous.pushed_ns = pushed_ns;
        previous.kept_ns = kept_ns;
        previous.line.clear();
        previous.line.extend_from_slice(line);
        kept_ns
    }
}
