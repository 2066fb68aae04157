//! Settings that were left open take their value from others: directories from `common.path_prefix`, stores from
//! `common.storage`, addresses from `common`. What was set stays.

use super::Settings;
use super::storage::{Period, PeriodIndex, S3};
use runtime::limits::{AttributesConfig, OtlpAction};
use runtime::settings::Secret;
use std::time::Duration;

/// Where everything local lives when nobody says where.
const DATA_DIR: &str = "data";

/// Loki's default, where there are so many members.
const REPLICATION_FACTOR: usize = 3;

pub fn derive(settings: &mut Settings, has_file: bool) -> Result<(), String> {
    settings.auth_enabled.get_or_insert(has_file);
    let replicas = settings.common.replication_factor.or(settings.ingester.lifecycler.ring.replication_factor);
    let members = match settings.memberlist.join_members.is_empty() {
        true => settings.common.ring.static_members.len().max(1),
        false => REPLICATION_FACTOR,
    };
    let replicas = replicas.unwrap_or(REPLICATION_FACTOR.min(members));
    settings.common.replication_factor = Some(replicas);
    settings.ingester.lifecycler.ring.replication_factor = Some(replicas);
    directories(settings);
    addresses(settings);
    for s3 in [&mut settings.storage_config.aws, &mut settings.common.storage.s3, &mut settings.ruler.storage.s3] {
        read_s3_url(s3)?;
    }
    schema(settings);
    otlp_defaults(settings);
    Ok(())
}

fn directories(settings: &mut Settings) {
    let fill = |path: &mut String, value: String| {
        if path.is_empty() {
            *path = value;
        }
    };
    fill(&mut settings.common.path_prefix, DATA_DIR.into());
    let below = |name: &str| format!("{}/{name}", settings.common.path_prefix.trim_end_matches('/'));
    let directory = &mut settings.common.storage.filesystem;
    fill(&mut directory.chunks_directory, settings.storage_config.filesystem.directory.clone());
    fill(&mut directory.chunks_directory, below("chunks"));
    fill(&mut directory.rules_directory, below("rules"));
    fill(&mut settings.storage_config.filesystem.directory, directory.chunks_directory.clone());
    fill(&mut settings.ruler.storage.local.directory, directory.rules_directory.clone());
    fill(&mut settings.ruler.wal.dir, below("ruler-wal"));
    fill(&mut settings.ingester.wal.dir, below("wal"));
    fill(&mut settings.ingester.shutdown_marker_path, settings.common.path_prefix.clone());
    fill(&mut settings.compactor.working_directory, below("compactor"));
    fill(&mut settings.storage_config.tsdb_shipper.active_index_directory, below("tsdb-shipper-active"));
    fill(&mut settings.storage_config.tsdb_shipper.cache_location, below("tsdb-shipper-cache"));
}

fn addresses(settings: &mut Settings) {
    let common = &settings.common;
    let address = if common.ring.instance_addr.is_empty() { &common.instance_addr } else { &common.ring.instance_addr };
    let lifecycler = &mut settings.ingester.lifecycler;
    if lifecycler.address.is_empty() {
        lifecycler.address.clone_from(address);
    }
    if lifecycler.port == 0 {
        lifecycler.port = common.ring.instance_port;
    }
    for names in [&common.ring.instance_interface_names, &common.instance_interface_names] {
        if lifecycler.interface_names.is_empty() {
            lifecycler.interface_names.clone_from(names);
        }
    }
    lifecycler.ring.heartbeat_timeout.get_or_insert(common.ring.heartbeat_timeout);
    if lifecycler.availability_zone.is_empty() {
        lifecycler.availability_zone.clone_from(&common.ring.instance_availability_zone);
    }
    lifecycler.ring.zone_awareness_enabled |= common.ring.zone_awareness_enabled;
}

/// One period from long ago, where no schema is given.
fn schema(settings: &mut Settings) {
    let store = super::store::common_store(&settings.common.storage).unwrap_or("filesystem");
    if settings.schema_config.configs.is_empty() {
        settings.schema_config.configs.push(Period {
            from: "2020-01-01".into(),
            store: "tsdb".into(),
            object_store: store.into(),
            schema: "v13".into(),
            index: PeriodIndex { prefix: "index_".into(), ..PeriodIndex::default() },
            ..Period::default()
        });
    }
    for period in &mut settings.schema_config.configs {
        if period.index.period.is_zero() {
            period.index.period = Duration::from_secs(86_400);
        }
        if period.object_store.is_empty() {
            period.object_store = store.into();
        }
    }
}

/// `distributor.otlp_config` replaces the built-in list, which each tenant's rules then extend: said as rules here, so
/// that nobody else has to know.
fn otlp_defaults(settings: &mut Settings) {
    let Some(names) = &settings.distributor.otlp_config.default_resource_attributes_as_index_labels else { return };
    let resource = &mut settings.limits_config.otlp_config.resource_attributes;
    if resource.ignore_defaults {
        return;
    }
    resource.ignore_defaults = true;
    if !names.is_empty() {
        let rule = AttributesConfig { action: OtlpAction::IndexLabel, attributes: names.clone(), regex: None };
        resource.attributes_config.push(rule);
    }
}

/// Puts what the URL form says where nothing else is said: `s3://key:secret@region-or-host/bucket`.
fn read_s3_url(s3: &mut S3) -> Result<(), String> {
    if s3.s3.is_empty() {
        return Ok(());
    }
    let url = s3.s3.expose().to_string();
    let (scheme, rest) = url.split_once("://").ok_or("s3: the URL has no scheme")?;
    let (user, place) = rest.rsplit_once('@').unwrap_or(("", rest));
    let (host, bucket) = place.split_once('/').unwrap_or((place, ""));
    if scheme != "s3" {
        let insecure = scheme == "http";
        s3.insecure |= insecure;
    }
    if host.contains(['.', ':']) || host == "localhost" {
        // The URL form's endpoint is spoken to without TLS.
        s3.insecure |= s3.endpoint.is_empty();
        fill(&mut s3.endpoint, host);
    } else {
        fill(&mut s3.region, host);
    }
    if s3.bucketnames.is_empty() {
        s3.bucketnames = bucket.split(',').filter(|b| !b.is_empty()).map(str::to_string).collect();
    }
    if let Some((key, secret)) = user.split_once(':') {
        fill(&mut s3.access_key_id, &percent_decoded(key)?);
        if s3.secret_access_key.is_empty() {
            s3.secret_access_key = Secret::new(percent_decoded(secret)?);
        }
    }
    Ok(())
}

fn fill(into: &mut String, value: &str) {
    if into.is_empty() {
        *into = value.to_string();
    }
}

/// The error does not hold the text: it is a secret.
fn percent_decoded(text: &str) -> Result<String, String> {
    let fault = || "s3: the URL's user information is not percent-encoded".to_string();
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|b| (b as char).to_digit(16)).ok_or_else(fault);
        let (high, low) = (digit()?, digit()?);
        bytes.push((high * 16 + low) as u8);
    }
    String::from_utf8(bytes).map_err(|_| fault())
}
