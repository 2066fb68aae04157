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
fn the_ruler_sends_where_its_block_says() {
    let yaml = r#"
ruler:
  external_labels: {cluster: c1}
  alertmanager_url: http://us:hunter2@am-1/prefix, http://am-2:9093
  enable_alertmanager_discovery: true
  alertmanager_refresh_interval: 2m
  notification_queue_capacity: 7
  notification_timeout: 3s
  alertmanager_client: {tls_server_name: am, type: Token, credentials_file: f}
  alert_relabel_configs:
    - {source_labels: [a, b], separator: ' ', regex: 1, target_label: c, replacement: ' $1', action: replace}
  wal: {max_age: 2h}
  remote_write:
    enabled: true
    client: {url: 'http://old/'}
    clients:
      far:
        url: http://far/api/v1/write
        headers: {X-One: hunter2}
        authorization: {credentials: hunter2}
        write_relabel_configs: [{regex: x, action: labeldrop}]
        queue_config: {capacity: 3, max_shards: 2, batch_send_deadline: 1m30s}
"#;
    let settings = load_text(yaml, &[], &[]).unwrap().settings;
    let notify = settings.ruler.notify_settings(&settings.limits_config).unwrap();
    let config = &notify.alertmanager;
    assert_eq!(notify.external_labels["cluster"], "c1");
    assert_eq!(
        config.alertmanager_url.iter().map(|url| url.masked()).collect::<Vec<_>>(),
        ["http://********@am-1/prefix", "http://am-2:9093"]
    );
    assert!(config.enable_alertmanager_discovery);
    assert_eq!(config.alertmanager_refresh_interval, Duration::from_secs(120));
    assert_eq!((config.notification_queue_capacity, config.notification_timeout.as_secs()), (7, 3));
    let client = &config.alertmanager_client;
    assert_eq!((client.tls_server_name.as_str(), client.r#type.as_str()), ("am", "Token"));
    assert_eq!(client.credentials_file, "f");
    let rule = &config.alert_relabel_configs[0];
    assert_eq!((rule.separator.as_str(), rule.regex.as_str(), rule.replacement.as_str()), (" ", "1", " $1"));
    let remote_write = settings.ruler.remote_write_settings(&settings.limits_config).unwrap();
    assert_eq!(remote_write.wal_dir.as_deref(), Some(std::path::Path::new("data/ruler-wal")));
    assert_eq!((remote_write.wal_max_age.as_secs(), remote_write.add_org_id_header), (7200, true));
    assert_eq!(remote_write.clients.keys().collect::<Vec<_>>(), ["default", "far"]);
    let far = &remote_write.clients["far"];
    assert_eq!((far.queue_config.capacity, far.queue_config.max_shards, far.queue_config.min_shards), (3, 2, 1));
    assert_eq!(far.queue_config.batch_send_deadline, Duration::from_secs(90));
    assert_eq!(far.write_relabel_configs[0].action, "labeldrop");
    assert_eq!(far.authorization.credentials.expose(), "hunter2");
    let shown = settings.write().print();
    assert!(!shown.contains("hunter2"), "{shown}");
    let off = load_text("ruler: {remote_write: {client: {url: 'http://old/'}}}\n", &[], &[]).unwrap().settings;
    assert!(off.ruler.remote_write_settings(&off.limits_config).unwrap().clients.is_empty());
}

#[test]
fn a_tenant_may_send_elsewhere() {
    let yaml = r#"
ruler:
  alertmanager_url: http://am
  notification_timeout: 3s
  remote_write:
    enabled: true
    clients:
      far: {url: 'http://far/', headers: {X-One: one}, queue_config: {capacity: 3, max_shards: 2}}
limits_config:
  ruler_remote_write_headers: {X-Two: two}
  ruler_remote_write_queue_capacity: 4
  ruler_remote_write_relabel_configs: [{regex: x, action: labeldrop}]
"#;
    let settings = load_text(yaml, &[], &[]).unwrap().settings;
    let of = |overrides: &str| {
        let yaml = format!("overrides: {{a: {overrides}}}");
        let set = runtime::limits::parse_overrides(&[yaml], &settings.limits_config, &Keys::of_loki()).unwrap();
        let limits = &set.tenants["a"];
        (settings.ruler.clone(), limits.clone())
    };
    let (ruler, limits) = of("{ruler_alertmanager_config: {alertmanager_url: 'http://own', alertmanager_client: \
                              {credentials: hunter2, tls_min_version: VersionTLS12}}, ruler_remote_write_config: {far: {queue_config: \
                              {max_shards: 7}}, near: {url: 'http://near/'}}}");
    let notify = ruler.notify_settings(&limits).unwrap().alertmanager;
    assert_eq!((notify.alertmanager_url[0].expose(), notify.notification_timeout.as_secs()), ("http://own", 10));
    assert_eq!(notify.alertmanager_client.credentials.expose(), "hunter2");
    let clients = ruler.remote_write_settings(&limits).unwrap().clients;
    let far = &clients["far"];
    assert_eq!((far.url.expose(), far.queue_config.capacity, far.queue_config.max_shards), ("http://far/", 4, 7));
    assert_eq!(far.headers.keys().collect::<Vec<_>>(), ["X-One", "X-Two"]);
    assert_eq!(far.write_relabel_configs.len(), 1);
    assert_eq!(clients["near"].url.expose(), "http://near/");
    assert!(!limits.write().print().contains("hunter2") && !format!("{limits:?}").contains("hunter2"));
    let (ruler, limits) = of("{ruler_remote_write_disabled: true}");
    assert!(ruler.remote_write_settings(&limits).unwrap().clients.is_empty());
    assert_eq!(ruler.notify_settings(&limits).unwrap().alertmanager.alertmanager_url[0].expose(), "http://am");
    assert_eq!(ruler.outbound_faults(&limits), Vec::<String>::new());
    for (overrides, fault) in [
        ("{ruler_alertmanager_config: {alertmanager_url: am}}", "ruler: alertmanager_url: am: relative URL"),
        (
            "{ruler_alertmanager_config: {notification_timeout: soon}}",
            "ruler_alertmanager_config.notification_timeout: ",
        ),
        (
            "{ruler_alertmanager_config: {alertmanager_urls: 'http://am'}}",
            "field alertmanager_urls not found in ruler_alertmanager_config; did you mean alertmanager_url?",
        ),
        (
            "{ruler_alertmanager_config: {alertmanager_client: {credential: x}}}",
            "field credential not found in ruler_alertmanager_config.alertmanager_client; did you mean credentials?",
        ),
        (
            "{ruler_remote_write_config: {far: {queue_config: {capacities: 5}}}}",
            "field capacities not found in ruler_remote_write_config.far.queue_config; did you mean capacity?",
        ),
        ("{ruler_remote_write_config: {far: {sigv4: {region: x}}}}", "field sigv4 not found in"),
        (
            "{ruler_remote_write_relabel_configs: [{actions: drop}]}",
            "field actions not found in ruler_remote_write_relabel_configs; did you mean action?",
        ),
        ("{ruler_remote_write_config: {b: {name: x}}}", "ruler.remote_write: client \"b\": url: "),
        ("{ruler_remote_write_url: far}", "ruler.remote_write: client \"far\": url: "),
    ] {
        let (ruler, limits) = of(overrides);
        let faults = ruler.outbound_faults(&limits);
        assert!(faults.len() == 1 && faults[0].contains(fault), "{overrides}: {faults:?}");
    }
}

#[test]
fn rules_are_where_the_settings_say_or_beside_the_chunks() {
    let of = |yaml: &str| load_text(yaml, &[], &[]).unwrap().settings.rule_storage();
    let files = |directory: &str, writable| Ok(RuleStorage::Files { directory: directory.into(), writable });
    assert_eq!(of(""), files("data/rules", true));
    let common = "common: {path_prefix: /p, storage: {filesystem: {rules_directory: /r}}}\n";
    assert_eq!(of(common), files("/r", true));
    assert_eq!(of("ruler: {storage: {type: local, local: {directory: /l}}}\n"), files("/l", false));
    assert_eq!(
        of("storage_config: {use_thanos_objstore: true}\nruler_storage: {backend: local, local: {directory: /l}}\n"),
        files("/l", false)
    );
    let bucket_of = |yaml: &str| match of(yaml).unwrap() {
        RuleStorage::Bucket(Store { backend: Backend::S3(s3), prefix }) => (s3.bucketnames.join(","), prefix),
        other => panic!("{other:?}"),
    };
    let common = "common: {storage: {s3: {bucketnames: b, endpoint: h, region: r}}}\n";
    assert_eq!(bucket_of(common), ("b".into(), String::new()));
    let own = format!("{common}ruler: {{storage: {{type: s3, s3: {{bucketnames: own}}}}}}\n");
    assert_eq!(bucket_of(&own), ("own".into(), String::new()));
    let thanos = "storage_config: {use_thanos_objstore: true}\n\
                  ruler_storage: {backend: s3, storage_prefix: x, s3: {bucket_name: t}}\n";
    assert_eq!(bucket_of(thanos), ("t".into(), "x/".into()));
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
        ("ruler: {alertmanager_url: 'am:9093'}\n", "ruler: alertmanager_url: am:9093: it must begin with http://"),
        ("ruler: {enable_alertmanager_v2: false}\n", "ruler: enable_alertmanager_v2: false: version 1"),
        ("ruler: {alert_relabel_configs: [{action: keeps}]}\n", "rule 1: unknown action \"keeps\""),
        ("ruler: {storage: {type: swift}}\n", "ruler.storage.type: unrecognized rule store \"swift\""),
        ("ruler: {remote_write: {enabled: true}}\n", "ruler.remote_write: it is enabled, and no client is configured"),
        (
            "ruler: {remote_write: {enabled: true, clients: {a: {name: x}}}}\n",
            "ruler.remote_write: client \"a\": url: ",
        ),
        ("a: [", "failed parsing config"),
        ("x: ${NOPE\n", "missing closing brace"),
        ("schema_config: {configs: [{from: 2020-01-01, store: tsdb, schema: v13, object_store: tape}]}\n", "tape"),
    ] {
        let arguments: &[&str] = if yaml.contains('$') { &["-config.expand-env"] } else { &[] };
        let error = load_text(yaml, arguments, &[]).map(|_| ()).unwrap_err();
        assert!(error.contains(fault), "{yaml}: {error}");
    }
}
