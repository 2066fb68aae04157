//! What cannot work is refused before anything starts, all of it at once.

use super::storage::Period;
use super::{Backend, Settings};
use cluster::gossip::envelope::CLUSTER_BYTES_MAX;
use compactor::MERGE_BELOW_BYTES_MAX;
use runtime::settings::units::parse_moment_ns;
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);

/// Encodings of `ingester.chunk_encoding`.
const ENCODINGS: [&str; 9] = ["none", "gzip", "snappy", "lz4", "lz4-64k", "lz4-256k", "lz4-1M", "flate", "zstd"];

pub fn check(settings: &Settings) -> Result<(), String> {
    let mut faults = crate::targets::faults(&settings.target);
    faults.extend(
        runtime::limits::check(&settings.limits_config).into_iter().map(|fault| format!("limits_config: {fault}")),
    );
    schema(settings, &mut faults);
    retention(settings, &mut faults);
    process(settings, &mut faults);
    access(settings, &mut faults);
    caches(settings, &mut faults);
    faults.extend(settings.ruler.outbound_faults(&settings.limits_config));
    faults.extend(settings.rule_storage().err());
    match faults.as_slice() {
        [] => Ok(()),
        [fault] => Err(fault.clone()),
        _ => Err(format!("MULTIPLE CONFIG ERRORS FOUND, PLEASE READ CAREFULLY\n{}", faults.join("\n"))),
    }
}

fn schema(settings: &Settings, faults: &mut Vec<String>) {
    let mut last = i64::MIN;
    for period in &settings.schema_config.configs {
        let from = period_from(period);
        match from {
            Ok(from) if from <= last => {
                faults.push(format!("schema_config: {} is not after the period before", period.from))
            }
            Ok(from) => last = from,
            Err(fault) => faults.push(fault),
        }
        if period.store != "tsdb" {
            faults.push(format!(
                "schema_config: store {:?} is not read: only tsdb is. Periods of other stores cannot be served",
                period.store
            ));
        }
        if period.index.period != DAY {
            faults.push("schema_config: index.period must be 24h".into());
        }
        match settings.store(&period.object_store).map(|store| store.backend) {
            Err(fault) => faults.push(format!("schema_config: {fault}")),
            Ok(Backend::S3(s3)) if s3.bucketnames.is_empty() => faults.push("s3: no bucket is named".into()),
            Ok(Backend::Gcs(gcs)) if gcs.bucket_name.is_empty() => faults.push("gcs: no bucket is named".into()),
            Ok(_) => {}
        }
    }
    let newest = settings.schema_config.configs.last();
    if settings.limits_config.allow_structured_metadata && newest.is_some_and(|period| period.schema != "v13") {
        faults.push(
            "CONFIG ERROR: schema v13 is required to store Structured Metadata and use native OTLP ingestion, your schema \
             version is another. Set `allow_structured_metadata: false` in the `limits_config` section or add a v13 period"
                .into(),
        );
    }
}

fn period_from(period: &Period) -> Result<i64, String> {
    parse_moment_ns(&period.from).map_err(|_| format!("schema_config: from {:?} is not a date", period.from))
}

fn retention(settings: &Settings, faults: &mut Vec<String>) {
    if settings.compactor.merge_chunks_below > MERGE_BELOW_BYTES_MAX {
        let (below, max) = (settings.compactor.merge_chunks_below, MERGE_BELOW_BYTES_MAX);
        faults.push(format!("compactor.merge_chunks_below is {below} bytes, at most {max} are possible"));
    }
    if settings.compactor.retention_enabled && settings.compactor.delete_request_store.is_empty() {
        faults.push("compactor.delete-request-store should be configured when retention is enabled".into());
    }
}

fn process(settings: &Settings, faults: &mut Vec<String>) {
    let replicas = settings.common.replication_factor.unwrap_or(1);
    if replicas == 0 {
        faults.push("common.replication_factor must be at least 1".into());
    }
    for store in [&settings.common.ring.kvstore.store, &settings.ingester.lifecycler.ring.kvstore.store] {
        if !matches!(store.as_str(), "" | "inmemory" | "memberlist") {
            faults.push(format!("ring.kvstore.store: {store} has no client here: use memberlist or inmemory"));
        }
    }
    let gateway = &settings.index_gateway;
    if !matches!(gateway.mode.as_str(), "simple" | "ring") {
        faults.push(format!("index_gateway.mode: {:?} is neither simple nor ring", gateway.mode));
    }
    if gateway.ring.replication_factor == 0 {
        faults.push("index_gateway.ring.replication_factor must be at least 1".into());
    }
    for member in &settings.common.ring.static_members {
        if member.id.is_empty() || member.address.is_empty() {
            faults.push("common.ring.static_members: every member needs an id and an address".into());
        }
        faults.extend(crate::targets::faults(&member.roles));
    }
    cluster(settings, faults);
    if !ENCODINGS.contains(&settings.ingester.chunk_encoding.as_str()) {
        let encoding = &settings.ingester.chunk_encoding;
        faults.push(format!("invalid encoding: {encoding}, supported: {}", ENCODINGS.join(", ")));
    }
    if crate::log::parse_level(&settings.server.log_level).is_none() {
        faults.push(format!("unrecognized log level {:?}", settings.server.log_level));
    }
    if !matches!(settings.server.log_format.as_str(), "logfmt" | "json") {
        faults.push(format!("unrecognized log format {:?}", settings.server.log_format));
    }
}

/// What cannot be a cluster.
fn cluster(settings: &Settings, faults: &mut Vec<String>) {
    let memberlist = &settings.memberlist;
    let label = &memberlist.cluster_label;
    if label.len() > CLUSTER_BYTES_MAX || !label.bytes().all(|byte| byte.is_ascii_graphic()) {
        faults.push(format!(
            "memberlist.cluster_label: at most {CLUSTER_BYTES_MAX} visible ASCII characters, not {label:?}"
        ));
    }
    if memberlist.join_members.is_empty() {
        return;
    }
    if !settings.common.ring.static_members.is_empty() {
        faults.push("memberlist.join_members and common.ring.static_members exclude each other".into());
    }
    if memberlist.bind_addr.len() > 1 {
        faults.push("memberlist.bind_addr: gossip listens on one address, or on all".into());
    }
    if memberlist.bind_port == 0 {
        faults.push("memberlist.bind_port must be set: others have to find it".into());
    }
    let fastest = Duration::from_millis(10);
    if memberlist.gossip_interval < fastest || memberlist.rejoin_interval.is_zero() {
        faults
            .push(format!("memberlist: gossip_interval must be at least {fastest:?} and rejoin_interval more than 0"));
    }
}

/// Certificates of both sides, and who is let in.
fn access(settings: &Settings, faults: &mut Vec<String>) {
    let server = &settings.server;
    for (block, tls) in [("http_tls_config", &server.http_tls_config), ("grpc_tls_config", &server.grpc_tls_config)] {
        if let Err(fault) = server.tls(tls) {
            faults.push(format!("server.{block}: {fault}"));
        }
    }
    for (block, client) in crate::connect::blocks(settings) {
        if let Err(fault) = client.tls() {
            faults.push(format!("{block}: {fault}"));
        }
    }
    if !server.auth_file.is_empty() && settings.auth_enabled == Some(false) {
        faults.push("server.auth_file: credentials belong to tenants, so auth_enabled must be true".into());
    }
}

/// Caches that contradict themselves.
fn caches(settings: &Settings, faults: &mut Vec<String>) {
    let (chunks, range) = (&settings.chunk_store_config, &settings.query_range);
    let results = [
        ("results_cache", &range.results_cache),
        ("index_stats_results_cache", &range.index_stats_results_cache),
        ("volume_results_cache", &range.volume_results_cache),
        ("series_results_cache", &range.series_results_cache),
        ("label_results_cache", &range.label_results_cache),
        ("instant_metric_results_cache", &range.instant_metric_results_cache),
    ];
    let of_chunks = [
        ("chunk_store_config.chunk_cache_config".to_string(), &chunks.chunk_cache_config),
        ("chunk_store_config.chunk_cache_config_l2".to_string(), &chunks.chunk_cache_config_l2),
    ];
    let of_results = results.map(|(block, own)| (format!("query_range.{block}.cache"), &own.cache));
    for (block, cache) in of_chunks.into_iter().chain(of_results) {
        faults.extend(cache.faults().into_iter().map(|fault| format!("{block}: {fault}")));
    }
    for (block, own) in results.iter().filter(|(_, own)| !matches!(own.compression.as_str(), "" | "snappy")) {
        let compression = &own.compression;
        faults
            .push(format!("query_range.{block}.compression: unsupported compression type {compression:?}: use snappy"));
    }
}
