//! Between the nouns and their messages. What comes from the wire is checked: a message of another version is an error.

use super::error::{kind_name, kind_of_name};
use super::proto;
use crate::ingester::{
    DroppedEntries, OfferedBlock, PushOutcome, RecentBlock, RecentRequest, RecentStream, Rejection, StreamSize, Tailed,
};
use format::{ChunkRef, Codec};
use logql::source::Shard;
use model::{Error, Fingerprint, Kind, Labels, Layout, MatchOp, Matcher, Result, Symbols, TenantId, TimeRange};
use std::sync::Arc;

pub fn matcher_to_wire(m: &Matcher) -> proto::Matcher {
    proto::Matcher { name: m.name.to_string(), op: m.op.as_str().into(), value: m.value.to_string() }
}

pub fn matcher_of_wire(m: proto::Matcher) -> Result<Matcher> {
    let op = match m.op.as_str() {
        "=" => MatchOp::Eq,
        "!=" => MatchOp::Ne,
        "=~" => MatchOp::Re,
        "!~" => MatchOp::NotRe,
        other => return Err(unknown("matcher", other)),
    };
    Matcher::new(m.name, op, m.value)
}

pub fn recent_to_wire(request: &RecentRequest) -> proto::Recent {
    proto::Recent {
        matchers: request.matchers.iter().map(matcher_to_wire).collect(),
        start_ns: request.range.start_ns,
        end_ns: request.range.end_ns,
        shard: shard_to_wire(request.shard),
    }
}

pub fn recent_of_wire(tenant: TenantId, recent: proto::Recent) -> Result<RecentRequest> {
    let shard = shard_of_wire(recent.shard)?;
    Ok(RecentRequest {
        tenant,
        matchers: recent.matchers.into_iter().map(matcher_of_wire).collect::<Result<_>>()?,
        range: TimeRange::new(recent.start_ns, recent.end_ns),
        shard,
    })
}

pub fn labels_to_wire(labels: &Labels) -> Vec<proto::Label> {
    labels.iter().map(|l| proto::Label { name: l.name.to_string(), value: l.value.to_string() }).collect()
}

pub fn labels_of_wire(labels: Vec<proto::Label>) -> Labels {
    Labels::new(labels.into_iter().map(|l| (l.name, l.value)))
}

pub fn outcome_to_wire(outcome: PushOutcome) -> proto::PushAnswer {
    let rejection = |r: Rejection| proto::Rejection {
        kind: kind_name(r.kind).into(),
        reason: r.reason,
        message: r.message,
        entries: r.entries,
        bytes: r.bytes,
    };
    proto::PushAnswer { rejected: outcome.rejected.into_iter().map(rejection).collect() }
}

pub fn outcome_of_wire(answer: proto::PushAnswer) -> PushOutcome {
    let rejection = |r: proto::Rejection| Rejection {
        kind: kind_of_name(&r.kind).unwrap_or(Kind::Invalid),
        reason: r.reason,
        message: r.message,
        entries: r.entries,
        bytes: r.bytes,
    };
    PushOutcome { rejected: answer.rejected.into_iter().map(rejection).collect() }
}

pub fn chunk_to_wire(chunk: &ChunkRef) -> proto::Chunk {
    proto::Chunk {
        fingerprint: chunk.fingerprint.0,
        from_ms: chunk.from_ms,
        through_ms: chunk.through_ms,
        checksum: chunk.checksum,
        kb: chunk.kb,
        entries: chunk.entries,
    }
}

pub fn chunk_of_wire(chunk: proto::Chunk) -> ChunkRef {
    ChunkRef {
        fingerprint: Fingerprint(chunk.fingerprint),
        from_ms: chunk.from_ms,
        through_ms: chunk.through_ms,
        checksum: chunk.checksum,
        kb: chunk.kb,
        entries: chunk.entries,
    }
}

/// `previous` are the symbols that the receiver has already.
pub fn block_to_wire(block: RecentBlock, previous: &mut Option<Arc<Symbols>>) -> proto::Block {
    let known = previous.as_ref().is_some_and(|p| Arc::ptr_eq(p, &block.symbols));
    let symbols = (!known).then(|| proto::Symbols { symbols: block.symbols.iter().map(str::to_string).collect() });
    *previous = Some(block.symbols);
    proto::Block {
        codec: block.codec as u32,
        metadata: block.layout == Layout::Metadata,
        payload: block.payload,
        symbols,
        entries: block.entries,
        min_ts_ns: block.min_ts_ns,
        max_ts_ns: block.max_ts_ns,
        raw_bytes: block.raw_bytes,
    }
}

pub fn block_of_wire(block: proto::Block, previous: &mut Option<Arc<Symbols>>) -> Result<RecentBlock> {
    if let Some(symbols) = block.symbols {
        *previous = Some(Arc::new(symbols.symbols.into_iter().collect()));
    }
    let symbols = previous.clone().ok_or_else(|| Error::corrupt("a block came without symbols"))?;
    Ok(RecentBlock {
        codec: codec_of_wire(block.codec)?,
        layout: if block.metadata { Layout::Metadata } else { Layout::Plain },
        payload: block.payload,
        symbols,
        entries: block.entries,
        min_ts_ns: block.min_ts_ns,
        max_ts_ns: block.max_ts_ns,
        raw_bytes: block.raw_bytes,
    })
}

pub fn offered_to_wire(block: OfferedBlock) -> proto::OfferedBlock {
    proto::OfferedBlock { digest: block.digest, codec: block.codec as u32, payload: block.payload }
}

pub fn offered_of_wire(block: proto::OfferedBlock) -> Result<OfferedBlock> {
    Ok(OfferedBlock { digest: block.digest, codec: codec_of_wire(block.codec)?, payload: block.payload })
}

/// A stream without its blocks.
pub fn head_to_wire(stream: &RecentStream) -> proto::StreamHead {
    proto::StreamHead {
        labels: labels_to_wire(&stream.labels),
        fingerprint: stream.fingerprint.0,
        flushed: stream.flushed.iter().map(chunk_to_wire).collect(),
    }
}

pub fn stream_of_wire(head: proto::StreamHead, blocks: Vec<RecentBlock>) -> RecentStream {
    RecentStream {
        labels: labels_of_wire(head.labels),
        fingerprint: Fingerprint(head.fingerprint),
        blocks,
        flushed: head.flushed.into_iter().map(chunk_of_wire).collect(),
    }
}

pub fn tailed_to_wire(tailed: Tailed) -> proto::TailPart {
    use proto::tail_part::Part;
    let part = match tailed {
        Tailed::Pushed(stream) => {
            let (head, mut symbols) = (head_to_wire(&stream), None);
            let blocks = stream.blocks.into_iter().map(|b| block_to_wire(b, &mut symbols)).collect();
            Part::Pushed(proto::PushedEntries { head: Some(head), blocks })
        }
        Tailed::Dropped(DroppedEntries { labels, ts_ns, entries }) => {
            Part::Dropped(proto::DroppedEntries { labels: labels_to_wire(&labels), ts_ns, entries })
        }
    };
    proto::TailPart { part: Some(part) }
}

pub fn tailed_of_wire(tailed: proto::TailPart) -> Result<Tailed> {
    use proto::tail_part::Part;
    match tailed.part {
        Some(Part::Pushed(pushed)) => {
            let mut symbols = None;
            let blocks = pushed.blocks.into_iter().map(|b| block_of_wire(b, &mut symbols)).collect::<Result<_>>()?;
            Ok(Tailed::Pushed(stream_of_wire(pushed.head.unwrap_or_default(), blocks)))
        }
        Some(Part::Dropped(proto::DroppedEntries { labels, ts_ns, entries })) => {
            Ok(Tailed::Dropped(DroppedEntries { labels: labels_of_wire(labels), ts_ns, entries }))
        }
        None => Err(unknown("part of a tail", "")),
    }
}

fn codec_of_wire(codec: u32) -> Result<Codec> {
    Codec::ALL.into_iter().find(|c| *c as u32 == codec).ok_or_else(|| unknown("codec", codec))
}

pub fn size_to_wire(size: StreamSize) -> proto::StreamSize {
    let StreamSize { labels, chunks, entries, bytes } = size;
    proto::StreamSize { labels: labels_to_wire(&labels), chunks, entries, bytes }
}

pub fn size_of_wire(size: proto::StreamSize) -> StreamSize {
    let proto::StreamSize { labels, chunks, entries, bytes } = size;
    StreamSize { labels: labels_of_wire(labels), chunks, entries, bytes }
}

pub(super) fn unknown(what: &str, value: impl std::fmt::Display) -> Error {
    Error::internal(format!("unknown {what} '{value}' in a call between nodes: do their versions differ?"))
}

pub(super) fn shard_to_wire(shard: Option<Shard>) -> Option<proto::Shard> {
    shard.map(|s| proto::Shard { index: s.index, of: s.of })
}

pub(super) fn shard_of_wire(shard: Option<proto::Shard>) -> Result<Option<Shard>> {
    match shard {
        Some(s) if !s.of.is_power_of_two() || s.index >= s.of => Err(unknown("shard", s.of)),
        shard => Ok(shard.map(|s| Shard { index: s.index, of: s.of })),
    }
}
