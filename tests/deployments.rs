//! The files that deploy lokirs, held to what the binary and each other say. They are only read here: `tests/compose/run`
//! runs the compose cluster.

use lokirs::node::STOP_WITHIN;
use lokirs::targets::{self, Role};
use serde_json::Value;
use std::collections::BTreeSet;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

fn text(path: &str) -> String {
    std::fs::read_to_string(format!("{ROOT}/{path}")).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn yaml(path: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(&text(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn json(path: &str) -> Value {
    serde_json::from_str(&text(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The target of an environment, as a map or as a list of names and values.
fn target(environment: &Value) -> Option<String> {
    let named = |entry: &&Value| entry["name"] == "LOKIRS_TARGET";
    let value = match environment.as_array() {
        Some(entries) => &entries.iter().find(named)?["value"],
        None => &environment["LOKIRS_TARGET"],
    };
    value.as_str().map(str::to_string)
}

/// Together these targets are a whole cluster, and each is one that the binary knows.
fn check_complete(file: &str, targets: &[String]) {
    assert_eq!(targets::faults(targets), Vec::<String>::new(), "{file}");
    let every: BTreeSet<Role> = targets::roles(&["all".to_string()]);
    assert!(targets::roles(targets).is_superset(&every), "{file} has no process for some role: {targets:?}");
}

/// Every name that a deployment sets is one that the configuration file reads.
fn check_read(file: &str, names: &[String]) {
    let cluster = text("config/cluster.yaml");
    for name in names.iter().filter(|name| !name.starts_with("LOKIRS_")) {
        assert!(
            cluster.contains(&format!("${{{name}:-")),
            "{file} sets {name}, which config/cluster.yaml does not read"
        );
    }
}

#[test]
fn the_compose_file_is_a_cluster_behind_its_gateway() {
    let compose = yaml("docker-compose.yml").remove(0);
    let services = compose["services"].as_object().unwrap();
    let targets: Vec<String> = services.values().filter_map(|service| target(&service["environment"])).collect();
    check_complete("docker-compose.yml", &targets);
    assert_eq!(targets.iter().filter(|target| *target == "ingester").count(), 3);
    let names: Vec<String> = compose["x-environment"].as_object().unwrap().keys().cloned().collect();
    check_read("docker-compose.yml", &names);
    for line in text("config/compose/gateway.conf").lines().filter(|line| line.trim().starts_with("set $")) {
        let host = line.split_whitespace().nth(2).unwrap().split(':').next().unwrap();
        assert!(services.contains_key(host), "the gateway sends to {host}, which is no service");
    }
    let cache = compose["x-environment"]["CHUNKS_CACHE"].as_str().unwrap();
    let host = cache.trim_start_matches("dns+").split(':').next().unwrap();
    assert!(services.contains_key(host), "chunks are cached in {cache}, which is no service");
    let grace =
        compose["x-lokirs"]["stop_grace_period"].as_str().unwrap().trim_end_matches('s').parse::<u64>().unwrap();
    assert!(grace > STOP_WITHIN.as_secs(), "a stop is cut off");
}

#[test]
fn the_kubernetes_manifests_are_a_cluster_that_is_given_time_to_stop() {
    let manifests = yaml("config/kubernetes/lokirs.yaml");
    let of_kind = |kind: &str| manifests.iter().filter(|m| m["kind"] == kind).cloned().collect::<Vec<_>>();
    let diskless = yaml("config/kubernetes/diskless.yaml");
    let mut workloads = of_kind("StatefulSet");
    workloads.extend(of_kind("Deployment"));
    workloads.extend(diskless.clone());
    let mut found = vec![];
    for workload in &workloads {
        let pod = &workload["spec"]["template"];
        let name = &workload["metadata"]["name"];
        assert_eq!(workload["spec"]["selector"]["matchLabels"], pod["metadata"]["labels"], "{name}");
        assert!(pod["spec"]["terminationGracePeriodSeconds"].as_u64().unwrap() > STOP_WITHIN.as_secs(), "{name}");
        let container = &pod["spec"]["containers"][0];
        assert_eq!(container["readinessProbe"]["httpGet"]["path"], "/ready", "{name}");
        found.extend(target(&container["env"]));
        let names = container["env"].as_array().unwrap().iter().filter_map(|e| e["name"].as_str().map(str::to_string));
        check_read("config/kubernetes", &names.collect::<Vec<_>>());
    }
    check_complete("config/kubernetes", &found);
    assert_eq!(diskless[0]["spec"]["template"]["spec"]["containers"][0]["env"][1]["value"], "false", "no log");
    let seeds = of_kind("Service").into_iter().find(|s| s["metadata"]["name"] == "gossip-ring").unwrap();
    assert_eq!(
        (&seeds["spec"]["clusterIP"], &seeds["spec"]["publishNotReadyAddresses"]),
        (&"None".into(), &true.into())
    );
    let map = of_kind("ConfigMap").into_iter().find(|m| m["metadata"]["name"] == "lokirs").unwrap();
    check_read("config/kubernetes", &map["data"].as_object().unwrap().keys().cloned().collect::<Vec<_>>());
}

#[test]
fn the_ecs_task_keeps_nothing_on_a_disk_and_is_given_time_to_stop() {
    let task = json("config/ecs/task-definition.json");
    let container = &task["containerDefinitions"][0];
    assert!(container["stopTimeout"].as_u64().unwrap() > STOP_WITHIN.as_secs());
    let environment = container["environment"].as_array().unwrap();
    let names: Vec<String> = environment.iter().filter_map(|e| e["name"].as_str().map(str::to_string)).collect();
    check_read("config/ecs", &names);
    assert!(environment.iter().any(|e| e["name"] == "WAL" && e["value"] == "false"));
    assert_eq!(targets::faults(&[target(&container["environment"]).unwrap()]), Vec::<String>::new());
    let service = json("config/ecs/service.json");
    assert_eq!(service["taskDefinition"], task["family"]);
    let discovery = json("config/ecs/service-discovery.json");
    let seeds = environment.iter().find(|e| e["name"] == "JOIN_MEMBERS").unwrap()["value"].as_str().unwrap();
    assert!(seeds.starts_with(&format!("dns+{}.", discovery["Name"].as_str().unwrap())), "{seeds}");
}
