//! Configurations of real deployments load unchanged; wrong ones are refused with words that help.

use super::*;
use std::collections::HashMap;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

fn load_text(text: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Result<Config, String> {
    let keys = Keys::of_loki();
    let arguments: Vec<String> = arguments.iter().map(|a| a.to_string()).collect();
    let flags = Flags::parse(&arguments, &keys).unwrap();
    let environment: HashMap<&str, &str> = environment.iter().copied().collect();
    parse(text, true, &flags, &|name| environment.get(name).map(|v| v.to_string()), &keys)
}

fn yaml_files(dir: &str) -> Vec<(String, String)> {
    let files = std::fs::read_dir(format!("{ROOT}/{dir}")).unwrap().map(|entry| entry.unwrap().path());
    let yaml = files.filter(|path| path.extension().is_some_and(|e| e == "yaml"));
    yaml.map(|path| (path.display().to_string(), std::fs::read_to_string(&path).unwrap())).collect()
}

#[test]
fn configurations_of_deployments_load() {
    let golden: Vec<_> = yaml_files("tests/golden").into_iter().filter(|(name, _)| name.contains("config-")).collect();
    let deployments = yaml_files("tests/config");
    assert!(golden.len() >= 7 && deployments.len() >= 3);
    for (name, text) in golden.into_iter().chain(deployments) {
        let arguments = ["-config.expand-env"];
        if let Err(fault) = load_text(&text, &arguments, &[("S3_SECRET", "hunter2")]) {
            panic!("{name}: {fault}");
        }
    }
}

#[test]
fn the_recorded_loki_configuration_means_the_same() {
    let text = std::fs::read_to_string(format!("{ROOT}/tests/conformance/config/loki.yaml")).unwrap();
    let environment = [("DATA_DIR", "/var/x"), ("CONFIG_DIR", "/etc/x")];
    let config = load_text(&text, &["-config.expand-env=true"], &environment).unwrap();
    let settings = &config.settings;
    assert_eq!(settings.server.http_listen_port, 3100);
    assert_eq!(settings.ingester.wal.dir, "/var/x/wal");
    assert_eq!(settings.runtime_config.file, ["/etc/x/overrides.yaml"]);
    assert_eq!(settings.limits_config.per_stream_rate_limit, 1 << 30);
    assert_eq!(
        settings.store("filesystem").unwrap().backend,
        Backend::Filesystem { directory: "/var/x/chunks".into() }
    );
    assert!(config.ignored.contains(&"limits_config.metric_aggregation_enabled".to_string()), "{:?}", config.ignored);
    let overrides = std::fs::read_to_string(format!("{ROOT}/tests/conformance/config/overrides.yaml")).unwrap();
    runtime::limits::parse_overrides(&[overrides], &settings.limits_config, &Keys::of_loki()).unwrap();
}

#[test]
fn our_own_examples_use_only_what_has_a_meaning() {
    let mut examples = yaml_files("config");
    examples.sort();
    let names: Vec<&str> = examples.iter().filter_map(|(path, _)| path.rsplit('/').next()).collect();
    assert_eq!(names, ["cluster.yaml", "limits.yaml", "local.yaml"]);
    for (name, text) in examples {
        if name.ends_with("limits.yaml") {
            runtime::limits::parse_overrides(&[text], &Limits::default(), &runtime::settings::NoReference).unwrap();
        } else {
            let config =
                load_text(&text, &["-config.expand-env"], &[]).unwrap_or_else(|fault| panic!("{name}: {fault}"));
            assert!(config.ignored.is_empty(), "{name}: {:?}", config.ignored);
        }
    }
}

#[test]
fn nothing_at_all_is_a_configuration() {
    let keys = Keys::of_loki();
    let config = parse("", false, &Flags::default(), &|_| None, &keys).unwrap();
    let settings = &config.settings;
    assert_eq!((settings.auth_enabled, settings.common.replication_factor), (Some(false), Some(1)));
    assert_eq!((settings.server.http_listen_port, settings.server.grpc_listen_port), (3100, 9095));
    assert_eq!((settings.ingester.wal.dir.as_str(), settings.ingester.chunk_encoding.as_str()), ("data/wal", "zstd"));
    let period = &settings.schema_config.configs[0];
    assert_eq!((period.schema.as_str(), period.index.prefix.as_str()), ("v13", "index_"));
    assert!(config.ignored.is_empty());
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let target = |text: &str, arguments: &[&str], environment: &[(&str, &str)]| {
        load_text(text, arguments, environment).unwrap().settings.target
    };
    let file = "target: read\n";
    assert_eq!(target(file, &[], &[]), ["read"]);
    assert_eq!(target(file, &[], &[("LOKI_TARGET", "write")]), ["write"]);
    assert_eq!(
        target(file, &["-target=ingester,distributor"], &[("LOKI_TARGET", "write")]),
        ["ingester", "distributor"]
    );
    let expanded = "target: ${LOKI_T:-all}\n";
    assert_eq!(target(expanded, &["-config.expand-env"], &[("LOKI_T", "backend")]), ["backend"]);
    let flagged = load_text("", &["-ingester.chunks-idle-period=5m", "-data.dir", "/d"], &[]).unwrap().settings;
    assert_eq!(flagged.ingester.chunk_idle_period, Duration::from_secs(300));
    assert_eq!(flagged.compactor.working_directory, "/d/compactor");
}

#[test]
fn secrets_do_not_come_out() {
    let yaml = "chunk_store_config: {chunk_cache_config: {redis: {endpoint: r, password: hunter2}}}\nstorage_config:\n  aws:\n    s3: s3://AKIA:hunter%2F2@minio.local:9000/logs\n    secret_access_key: null\n\
                common: {ring: {kvstore: {store: inmemory}}}\nruler: {alertmanager_client: {basic_auth_password: hunter2}}\n";
    let settings = load_text(yaml, &[], &[]).unwrap().settings;
    let aws = &settings.storage_config.aws;
    assert_eq!((aws.secret_access_key.expose(), aws.access_key_id.as_str()), ("hunter/2", "AKIA"));
    assert_eq!((aws.endpoint.as_str(), aws.bucketnames[0].as_str()), ("minio.local:9000", "logs"));
    assert!(aws.insecure, "as in Loki, the host of the URL form is spoken to over plain HTTP");
    for shown in [settings.write().print(), format!("{settings:?}")] {
        assert!(!shown.contains("hunter") && shown.contains("********"), "{shown}");
    }
}

#[test]
fn flags_reach_every_cache() {
    let flags = [
        "-store.chunks-cache.memcached.addresses=dns+a:1,b",
        "-store.chunks-cache-l2.redis.endpoint=c:2",
        "-frontend.memcached.hostname=d",
        "-frontend.label-results-cache.embedded-cache.enabled",
        "-frontend.volume-results-cache.compression=snappy",
        "-store.chunks-cache-l2.handoff=4d",
    ];
    let settings = load_text("", &flags, &[]).unwrap().settings;
    let (chunks, range) = (&settings.chunk_store_config, &settings.query_range);
    assert_eq!(chunks.chunk_cache_config.memcached_client.addresses, ["dns+a:1", "b"]);
    assert_eq!(chunks.chunk_cache_config_l2.redis.endpoint, ["c:2"]);
    assert_eq!(chunks.l2_chunk_cache_handoff, Duration::from_secs(4 * 86_400));
    assert_eq!(range.results_cache.cache.memcached_client.host, "d");
    assert!(
        range.label_results_cache.cache.embedded_cache.enabled && !range.results_cache.cache.embedded_cache.enabled
    );
    assert_eq!(range.volume_results_cache.compression, "snappy");
}

#[test]
fn what_cannot_work_is_refused() {
    for (yaml, fault) in [
        ("target: nope\n", "unrecognised module name: nope"),
        (
            "server:\n  http_listen_prot: 1\n",
            "line 2: field http_listen_prot not found in server; did you mean http_listen_port?",
        ),
        ("querier: {engine: {}, max_concurent: 1}\n", "did you mean max_concurrent?"),
        ("ingester: {chunk_encoding: brotli}\n", "invalid encoding: brotli"),
        (
            "schema_config: {configs: [{from: 2020-01-01, store: boltdb-shipper, schema: v11}]}\n",
            "MULTIPLE CONFIG ERRORS",
        ),
        ("compactor: {retention_enabled: true}\n", "delete-request-store should be configured"),
        ("common: {ring: {kvstore: {store: consul}}}\n", "consul has no client here"),
        ("server: {http_tls_config: {cert_file: x}}\n", "server.http_tls_config: cert_file and key_file are both"),
        ("server: {grpc_tls_config: {cert_file: x, key_file: y, client_auth_type: Z}}\n", "invalid client_auth_type"),
        ("server: {http_tls_config: {cert: x, key: y}}\n", "are read from files"),
        ("ingester_client: {grpc_client_config: {tls_enabled: true, tls_key_path: x}}\n", "only of use together"),
        ("auth_enabled: false\nserver: {auth_file: x}\n", "auth_enabled must be true"),
        ("limits_config: {retention_period: 1h}\n", "retention period must be >= 24h"),
        (
            "chunk_store_config: {chunk_cache_config: {memcached_client: {host: a}, redis: {endpoint: b}}}\n",
            "chunk_store_config.chunk_cache_config: use of multiple cache storage systems is not supported",
        ),
        (
            "query_range: {label_results_cache: {cache: {redis: {endpoint: 'a:b'}}}}\n",
            "label_results_cache.cache: redis",
        ),
        ("query_range: {results_cache: {compression: gzip}}\n", "unsupported compression type \"gzip\""),
        ("a: [", "failed parsing config"),
        ("x: ${NOPE\n", "missing closing brace"),
        ("schema_config: {configs: [{from: 2020-01-01, store: tsdb, schema: v13, object_store: tape}]}\n", "tape"),
    ] {
        let arguments: &[&str] = if yaml.contains('$') { &["-config.expand-env"] } else { &[] };
        let error = load_text(yaml, arguments, &[]).map(|_| ()).unwrap_err();
        assert!(error.contains(fault), "{yaml}: {error}");
    }
}
