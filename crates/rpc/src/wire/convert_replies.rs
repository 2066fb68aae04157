//! Answers of the query service between the nouns and their messages: a head, then items of bounded size.

use super::convert::{labels_of_wire, labels_to_wire};
use super::convert_calls::{broken, nanos};
use super::proto;
use super::proto::reply_head::Shape;
use super::proto::reply_item::Item;
use crate::call::Reply;
use crate::queries::{Answer, IndexStats, PatternSeries, QueryResponse, QueryStats, Volume};
use logql::value::{LogEntry, LogStream, QueryValue, Sample, Series};
use model::{Labels, Result};
use prost::Message;
use std::time::Duration;

/// What a message holds, but for one item that is larger.
const PART_BYTES: usize = 1 << 20;
/// Points of one item: 128 KiB.
const POINTS_PER_ITEM: usize = 8192;
/// Bytes that an entry has beside its line, labels not counted.
const ENTRY_BYTES: usize = 16;

type Items = Box<dyn Iterator<Item = Item> + Send>;

/// The head of an answer and the parts with its items, made when they are sent. Warnings first: who sees the end of the
/// answer has seen them.
pub fn reply_to_wire(reply: Reply) -> (proto::ReplyHead, impl Iterator<Item = proto::ReplyItems> + Send) {
    let (shape, stats, warnings, items) = take_apart(reply);
    let items = warnings.into_iter().map(Item::Warning).chain(items);
    (proto::ReplyHead { shape: Some(shape), stats }, parts(items.map(|item| proto::ReplyItem { item: Some(item) })))
}

fn take_apart(reply: Reply) -> (Shape, Option<proto::QueryStats>, Vec<String>, Items) {
    match reply {
        Reply::Query(QueryResponse { value, warnings, stats }) => {
            let (shape, items) = value_to_wire(value);
            (shape, Some(stats_to_wire(&stats)), warnings, items)
        }
        Reply::Labels(Answer { value, warnings }) => {
            (Shape::Names(proto::NamesHead {}), None, warnings, Box::new(value.into_iter().map(Item::Name)))
        }
        Reply::Series(Answer { value, warnings }) => {
            let item = |labels: Labels| Item::Labels(proto::LabelSet { labels: labels_to_wire(&labels) });
            (Shape::Series(proto::SeriesHead {}), None, warnings, Box::new(value.into_iter().map(item)))
        }
        Reply::Stats(Answer { value: IndexStats { streams, chunks, bytes, entries }, warnings }) => {
            let shape = Shape::IndexStats(proto::IndexStats { streams, chunks, bytes, entries });
            (shape, None, warnings, Box::new(std::iter::empty()))
        }
        Reply::Volume(Answer { value, warnings }) => {
            let item = |Volume { labels, bytes }: Volume| {
                Item::Volume(proto::LabelledBytes { labels: labels_to_wire(&labels), bytes })
            };
            (Shape::Volumes(proto::VolumesHead {}), None, warnings, Box::new(value.into_iter().map(item)))
        }
        Reply::Patterns(Answer { value, warnings }) => {
            let sample = |s: patterns::Sample| proto::PatternSample { time_ns: s.time_ns, lines: s.lines };
            let item = move |PatternSeries { pattern, level, samples }: PatternSeries| {
                let samples = samples.into_iter().map(sample).collect();
                Item::Patterns(proto::PatternSeries { pattern, level, samples })
            };
            (Shape::Patterns(proto::PatternsHead {}), None, warnings, Box::new(value.into_iter().map(item)))
        }
    }
}

fn value_to_wire(value: QueryValue) -> (Shape, Items) {
    match value {
        QueryValue::Streams(streams) => {
            (Shape::Streams(proto::StreamsHead {}), Box::new(streams.into_iter().flat_map(items_of_stream)))
        }
        QueryValue::Matrix(series) => {
            (Shape::Matrix(proto::MatrixHead {}), Box::new(series.into_iter().flat_map(items_of_series)))
        }
        QueryValue::Vector(samples) => {
            let item = |Sample { labels, time_ns, value }: Sample| {
                Item::Sample(proto::MetricSample { labels: labels_to_wire(&labels), time_ns, value: Some(value) })
            };
            (Shape::Vector(proto::VectorHead {}), Box::new(samples.into_iter().map(item)))
        }
        QueryValue::Scalar { time_ns, value } => {
            (Shape::Scalar(proto::Scalar { time_ns, value: Some(value) }), Box::new(std::iter::empty()))
        }
    }
}

/// A stream as items of about [`PART_BYTES`]; one without entries is an item too.
fn items_of_stream(LogStream { labels, entries }: LogStream) -> impl Iterator<Item = Item> {
    let mut entries = entries.into_iter().peekable();
    let mut first = true;
    std::iter::from_fn(move || {
        if !first && entries.peek().is_none() {
            return None;
        }
        let (mut taken, mut bytes) = (vec![], 0);
        while let Some(entry) = entries.next_if(|entry| taken.is_empty() || bytes + entry_bytes(entry) <= PART_BYTES) {
            bytes += entry_bytes(&entry);
            taken.push(entry_to_wire(entry));
        }
        let continued = !std::mem::take(&mut first);
        let labels = if continued { vec![] } else { labels_to_wire(&labels) };
        Some(Item::Stream(proto::LogStream { labels, entries: taken, continued }))
    })
}

fn entry_bytes(entry: &LogEntry) -> usize {
    let labels = |labels: &Labels| labels.iter().map(|l| l.name.len() + l.value.len() + 8).sum::<usize>();
    ENTRY_BYTES + entry.line.len() + labels(&entry.structured_metadata) + labels(&entry.parsed)
}

fn entry_to_wire(entry: LogEntry) -> proto::LogEntry {
    proto::LogEntry {
        ts_ns: entry.ts_ns,
        line: entry.line,
        structured_metadata: labels_to_wire(&entry.structured_metadata),
        parsed: labels_to_wire(&entry.parsed),
    }
}

fn items_of_series(Series { labels, points }: Series) -> impl Iterator<Item = Item> {
    (0..points.len().div_ceil(POINTS_PER_ITEM).max(1)).map(move |i| {
        let points = &points[i * POINTS_PER_ITEM..points.len().min((i + 1) * POINTS_PER_ITEM)];
        Item::Series(proto::MetricSeries {
            labels: if i == 0 { labels_to_wire(&labels) } else { vec![] },
            times_ns: points.iter().map(|(time_ns, _)| *time_ns).collect(),
            values: points.iter().map(|(_, value)| *value).collect(),
            continued: i > 0,
        })
    })
}

/// Items in messages of about [`PART_BYTES`].
fn parts(items: impl Iterator<Item = proto::ReplyItem> + Send) -> impl Iterator<Item = proto::ReplyItems> + Send {
    let mut items = items.peekable();
    std::iter::from_fn(move || {
        let mut taken = vec![items.next()?];
        let mut bytes = taken[0].encoded_len();
        while let Some(item) = items.next_if(|item| bytes + item.encoded_len() <= PART_BYTES) {
            bytes += item.encoded_len();
            taken.push(item);
        }
        Some(proto::ReplyItems { items: taken })
    })
}

pub fn reply_of_head(head: proto::ReplyHead) -> Result<Reply> {
    let query = |value| {
        let stats = stats_of_wire(head.stats.unwrap_or_default());
        Reply::Query(QueryResponse { value, warnings: vec![], stats })
    };
    Ok(match head.shape.ok_or_else(|| broken("no shape"))? {
        Shape::Streams(_) => query(QueryValue::Streams(vec![])),
        Shape::Matrix(_) => query(QueryValue::Matrix(vec![])),
        Shape::Vector(_) => query(QueryValue::Vector(vec![])),
        Shape::Scalar(proto::Scalar { time_ns, value }) => {
            query(QueryValue::Scalar { time_ns, value: value.unwrap_or_default() })
        }
        Shape::Names(_) => Reply::Labels(Answer::default()),
        Shape::Series(_) => Reply::Series(Answer::default()),
        Shape::IndexStats(proto::IndexStats { streams, chunks, bytes, entries }) => {
            Reply::Stats(Answer { value: IndexStats { streams, chunks, bytes, entries }, warnings: vec![] })
        }
        Shape::Volumes(_) => Reply::Volume(Answer::default()),
        Shape::Patterns(_) => Reply::Patterns(Answer::default()),
    })
}

/// Adds what came after the head.
pub fn add_items(reply: &mut Reply, items: proto::ReplyItems) -> Result<()> {
    items.items.into_iter().try_for_each(|item| add_item(reply, item.item.ok_or_else(|| broken("an unknown item"))?))
}

fn add_item(reply: &mut Reply, item: Item) -> Result<()> {
    match (reply, item) {
        (reply, Item::Warning(warning)) => warnings(reply).push(warning),
        (Reply::Query(QueryResponse { value, .. }), item) => add_to_value(value, item)?,
        (Reply::Labels(answer), Item::Name(name)) => answer.value.push(name),
        (Reply::Series(answer), Item::Labels(set)) => answer.value.push(labels_of_wire(set.labels)),
        (Reply::Volume(answer), Item::Volume(proto::LabelledBytes { labels, bytes })) => {
            answer.value.push(Volume { labels: labels_of_wire(labels), bytes });
        }
        (Reply::Patterns(answer), Item::Patterns(proto::PatternSeries { pattern, level, samples })) => {
            let sample = |s: proto::PatternSample| patterns::Sample { time_ns: s.time_ns, lines: s.lines };
            answer.value.push(PatternSeries { pattern, level, samples: samples.into_iter().map(sample).collect() });
        }
        _ => return Err(broken("an item that does not fit")),
    }
    Ok(())
}

fn warnings(reply: &mut Reply) -> &mut Vec<String> {
    match reply {
        Reply::Query(response) => &mut response.warnings,
        Reply::Labels(answer) => &mut answer.warnings,
        Reply::Series(answer) => &mut answer.warnings,
        Reply::Stats(answer) => &mut answer.warnings,
        Reply::Volume(answer) => &mut answer.warnings,
        Reply::Patterns(answer) => &mut answer.warnings,
    }
}

fn add_to_value(value: &mut QueryValue, item: Item) -> Result<()> {
    match (value, item) {
        (QueryValue::Streams(streams), Item::Stream(stream)) if stream.continued => {
            let before = streams.last_mut().ok_or_else(|| broken("entries before their stream"))?;
            before.entries.extend(stream.entries.into_iter().map(entry_of_wire));
        }
        (QueryValue::Streams(streams), Item::Stream(stream)) => streams.push(log_stream_of_wire(stream)),
        (QueryValue::Matrix(all), Item::Series(proto::MetricSeries { labels, times_ns, values, continued })) => {
            if times_ns.len() != values.len() {
                return Err(broken("points without times"));
            }
            let points = times_ns.into_iter().zip(values);
            match all.last_mut() {
                Some(before) if continued => before.points.extend(points),
                None if continued => return Err(broken("points before their series")),
                _ => all.push(Series { labels: labels_of_wire(labels), points: points.collect() }),
            }
        }
        (QueryValue::Vector(samples), Item::Sample(proto::MetricSample { labels, time_ns, value })) => {
            samples.push(Sample { labels: labels_of_wire(labels), time_ns, value: value.unwrap_or_default() });
        }
        _ => return Err(broken("an item that does not fit")),
    }
    Ok(())
}

fn entry_of_wire(entry: proto::LogEntry) -> LogEntry {
    LogEntry {
        ts_ns: entry.ts_ns,
        line: entry.line,
        structured_metadata: labels_of_wire(entry.structured_metadata),
        parsed: labels_of_wire(entry.parsed),
    }
}

pub fn log_stream_to_wire(stream: LogStream) -> proto::LogStream {
    let entries = stream.entries.into_iter().map(entry_to_wire).collect();
    proto::LogStream { labels: labels_to_wire(&stream.labels), entries, continued: false }
}

pub fn log_stream_of_wire(stream: proto::LogStream) -> LogStream {
    let entries = stream.entries.into_iter().map(entry_of_wire).collect();
    LogStream { labels: labels_of_wire(stream.labels), entries }
}

fn stats_to_wire(stats: &QueryStats) -> proto::QueryStats {
    proto::QueryStats {
        exec_ns: nanos(stats.exec_time),
        queue_ns: nanos(stats.queue_time),
        bytes_processed: stats.bytes_processed,
        lines_processed: stats.lines_processed,
        entries_returned: stats.entries_returned,
        post_filter_lines: stats.post_filter_lines,
        structured_metadata_bytes: stats.structured_metadata_bytes,
        splits: stats.splits,
        shards: stats.shards,
        chunks_referenced: stats.chunks_referenced,
        chunks_downloaded: stats.chunks_downloaded,
        chunks_download_ns: nanos(stats.chunks_download_time),
        chunk_refs_ns: nanos(stats.chunk_refs_time),
        compressed_bytes: stats.compressed_bytes,
        decompressed_bytes: stats.decompressed_bytes,
        decompressed_lines: stats.decompressed_lines,
        duplicates: stats.duplicates,
        ingesters_reached: stats.ingesters_reached,
        ingester_streams: stats.ingester_streams,
        ingester_blocks: stats.ingester_blocks,
        ingester_bytes: stats.ingester_bytes,
        ingester_lines: stats.ingester_lines,
    }
}

fn stats_of_wire(stats: proto::QueryStats) -> QueryStats {
    QueryStats {
        exec_time: Duration::from_nanos(stats.exec_ns),
        queue_time: Duration::from_nanos(stats.queue_ns),
        bytes_processed: stats.bytes_processed,
        lines_processed: stats.lines_processed,
        entries_returned: stats.entries_returned,
        post_filter_lines: stats.post_filter_lines,
        structured_metadata_bytes: stats.structured_metadata_bytes,
        splits: stats.splits,
        shards: stats.shards,
        chunks_referenced: stats.chunks_referenced,
        chunks_downloaded: stats.chunks_downloaded,
        chunks_download_time: Duration::from_nanos(stats.chunks_download_ns),
        chunk_refs_time: Duration::from_nanos(stats.chunk_refs_ns),
        compressed_bytes: stats.compressed_bytes,
        decompressed_bytes: stats.decompressed_bytes,
        decompressed_lines: stats.decompressed_lines,
        duplicates: stats.duplicates,
        ingesters_reached: stats.ingesters_reached,
        ingester_streams: stats.ingester_streams,
        ingester_blocks: stats.ingester_blocks,
        ingester_bytes: stats.ingester_bytes,
        ingester_lines: stats.ingester_lines,
        ..QueryStats::default()
    }
}
