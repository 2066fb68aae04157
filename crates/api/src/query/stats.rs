//! The `stats` object of a query's answer: logcli and the canary decode it as a typed structure, so every member has
//! its fixed type; counters are integers, only the members named `...Time` of seconds are fractions.

use super::json::Json;
use rpc::queries::{CacheUse, QueryStats};

/// The caches that Loki reports. What is not counted for each query is zero.
const CACHES: [&str; 8] =
    ["chunk", "index", "result", "statsResult", "volumeResult", "seriesResult", "labelResult", "instantMetricResult"];

pub fn write_stats(json: &mut Json, s: &QueryStats) {
    let seconds = s.exec_time.as_secs_f64();
    let per_second = |n: u64| if seconds > 0.0 { (n as f64 / seconds) as u64 } else { 0 };
    json.raw("{\"summary\":");
    object(
        json,
        &[
            ("bytesProcessedPerSecond", per_second(s.bytes_processed)),
            ("linesProcessedPerSecond", per_second(s.lines_processed)),
            ("totalBytesProcessed", s.bytes_processed),
            ("totalLinesProcessed", s.lines_processed),
        ],
        &[("execTime", seconds), ("queueTime", s.queue_time.as_secs_f64())],
        &[
            ("subqueries", 0),
            ("totalEntriesReturned", s.entries_returned),
            ("splits", s.splits),
            ("shards", s.shards),
            ("totalPostFilterLines", s.post_filter_lines),
            ("totalStructuredMetadataBytesProcessed", s.structured_metadata_bytes),
        ],
    );
    json.raw(",\"querier\":{\"store\":");
    write_store(json, s, s.decompressed_bytes, s.decompressed_lines);
    json.raw("},\"ingester\":{");
    for (name, n) in [
        ("totalReached", s.ingesters_reached),
        ("totalChunksMatched", s.ingester_blocks),
        ("totalBatches", s.ingester_streams),
        ("totalLinesSent", s.ingester_lines),
    ] {
        json.raw(&format!("\"{name}\":{n},"));
    }
    json.raw("\"store\":");
    write_store(json, &QueryStats::default(), s.ingester_bytes, s.ingester_lines);
    json.raw("},\"cache\":");
    json.list('{', '}', CACHES, |json, name| {
        let usage = match name {
            "result" => s.results,
            "instantMetricResult" => s.instant_results,
            _ => CacheUse::default(),
        };
        write_cache(json, name, &usage);
    });
    json.raw(&format!(
        ",\"index\":{{\"totalChunks\":{},\"postFilterChunks\":{},\"shardsDuration\":0,\"usedBloomFilters\":false}}}}",
        s.chunks_referenced, s.chunks_referenced
    ));
}

fn write_cache(json: &mut Json, name: &str, s: &CacheUse) {
    json.raw(&format!(
        "\"{name}\":{{\"entriesFound\":{},\"entriesRequested\":{},\"entriesStored\":{},\"bytesReceived\":{},\"bytesSent\":{},\"requests\":{},\"downloadTime\":{},\"queryLengthServed\":{}}}",
        s.entries_found,
        s.entries_requested,
        s.entries_stored,
        s.bytes_received,
        s.bytes_sent,
        s.requests,
        s.download_time.as_nanos(),
        s.length_served.as_nanos(),
    ));
}

fn object(json: &mut Json, first: &[(&str, u64)], seconds: &[(&str, f64)], rest: &[(&str, u64)]) {
    let integers = |list: &[(&str, u64)]| list.iter().map(|(name, n)| format!("\"{name}\":{n}")).collect::<Vec<_>>();
    let fractions = seconds.iter().map(|(name, s)| format!("\"{name}\":{s}"));
    let members = integers(first).into_iter().chain(fractions).chain(integers(rest));
    json.list('{', '}', members, |json, member| json.raw(&member));
}

fn write_store(json: &mut Json, s: &QueryStats, bytes: u64, lines: u64) {
    json.raw(&format!(
        "{{\"totalChunksRef\":{},\"totalChunksDownloaded\":{},\"chunksDownloadTime\":{},\"queryReferencedStructuredMetadata\":false,\"chunk\":{{\"headChunkBytes\":0,\"headChunkLines\":0,\"decompressedBytes\":{bytes},\"decompressedLines\":{lines},\"compressedBytes\":{},\"totalDuplicates\":{},\"postFilterLines\":{},\"headChunkStructuredMetadataBytes\":0,\"decompressedStructuredMetadataBytes\":{}}},\"chunkRefsFetchTime\":{},\"congestionControlLatency\":0,\"pipelineWrapperFilteredLines\":0}}",
        s.chunks_referenced,
        s.chunks_downloaded,
        s.chunks_download_time.as_nanos(),
        s.compressed_bytes,
        s.duplicates,
        s.post_filter_lines,
        s.structured_metadata_bytes,
        s.chunk_refs_time.as_nanos(),
    ));
}
