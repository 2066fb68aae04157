//! A cluster under load from four producers and two readers, while its nodes are restarted one after the other, killed at
//! random, and killed all at once: every acknowledged line is returned exactly once, no push fails for good, and a rolling
//! restart fails no query. The long run: `LOKIRS_ROUNDS=5 LOKIRS_CLUSTER_KILLS=300`.

use crate::client::{Client, encode, now_ns};
use crate::cluster::{Cluster, Setup, finish};
use crate::ledger::ONE_STREAM;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

const TARGETS: [&str; 4] = ["write", "write", "write", "read"];
const WRITERS: [usize; 3] = [0, 1, 2];
const READER: usize = 3;
const ROUNDS: u64 = 1;
const KILLS: u64 = 30;
/// Between two events.
const LOAD: Duration = Duration::from_millis(500);

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |n| n.parse().unwrap())
}

/// Queries that were answered, and those that were not.
#[derive(Default)]
struct Read {
    answered: AtomicUsize,
    failed: AtomicUsize,
    partial: AtomicUsize,
}

/// Asks for the newest lines and for their number until it is told to stop.
async fn read(client: Client, stop: Arc<AtomicBool>, read: Arc<Read>) {
    let lines = encode("{job=\"ledger\"}");
    let count = encode("sum(count_over_time({job=\"ledger\"}[1m]))");
    while !stop.load(Ordering::Relaxed) {
        for path in [
            format!("/loki/api/v1/query_range?query={lines}&since=1m&limit=100"),
            format!("/loki/api/v1/query?query={count}"),
        ] {
            let (status, body) = client.get(&path).await;
            match status {
                200 if body.contains("\"warnings\"") => read.partial.fetch_add(1, Ordering::Relaxed),
                200 => read.answered.fetch_add(1, Ordering::Relaxed),
                _ => read.failed.fetch_add(1, Ordering::Relaxed),
            };
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_line_outlives_restarts_and_kills() {
    let dir = tempfile::tempdir().unwrap();
    let yaml = format!("ingester: {{chunk_idle_period: 2s, flush_check_period: 500ms}}\n{ONE_STREAM}");
    let setup = Setup { label: "faults", replication_factor: 3, yaml: &yaml };
    let mut cluster = Cluster::start(dir.path(), &TARGETS, &setup).await;
    let since = now_ns();
    let producers = cluster.produce(&[0, 1, 2, 0]);
    let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Read::default()));
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..2 {
        readers.spawn(read(cluster.client(READER), stop.clone(), seen.clone()));
    }
    tokio::time::sleep(LOAD).await;

    let rounds = setting("LOKIRS_ROUNDS", ROUNDS);
    for node in (0..rounds).flat_map(|_| WRITERS) {
        tokio::task::block_in_place(|| cluster.nodes[node].stop());
        cluster.restart(node).await;
        cluster.wait_for_members(&[0, 1, 2, READER], TARGETS.len()).await;
        tokio::time::sleep(LOAD).await;
    }
    let failed = (seen.failed.load(Ordering::Relaxed), seen.partial.load(Ordering::Relaxed));
    assert_eq!(failed, (0, 0), "queries failed or were partial in a rolling restart");
    assert!(seen.answered.load(Ordering::Relaxed) > 10);

    let kills = setting("LOKIRS_CLUSTER_KILLS", KILLS);
    let mut seed = since as u64 | 1;
    for _ in 0..kills {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let node = WRITERS[(seed >> 33) as usize % WRITERS.len()];
        cluster.nodes[node].kill();
        tokio::time::sleep(Duration::from_millis((seed >> 40) % 1000)).await;
        cluster.restart(node).await;
        tokio::time::sleep(Duration::from_millis((seed >> 50) % 1000)).await;
    }
    WRITERS.iter().for_each(|node| cluster.nodes[*node].kill());
    for node in WRITERS {
        cluster.nodes[node].spawn();
    }
    for node in WRITERS {
        cluster.nodes[node].wait_ready().await;
    }
    cluster.wait_for_members(&[0, 1, 2, READER], TARGETS.len()).await;
    tokio::time::sleep(LOAD).await;

    stop.store(true, Ordering::Relaxed);
    while let Some(done) = readers.join_next().await {
        done.unwrap();
    }
    let written = finish(producers).await;
    let lines = cluster.check_ledgers(&[READER], since, &written).await;
    let repeated: u64 = written.iter().map(|(_, written)| written.failed_pushes).sum();
    let of = |count: &AtomicUsize| count.load(Ordering::Relaxed);
    eprintln!(
        "{} restarts, {kills} kills, 1 kill of all: {lines} acknowledged lines, each returned once; {repeated} pushes repeated; \
         {} queries answered, {} partial, {} failed while nodes were killed",
        rounds * WRITERS.len() as u64,
        of(&seen.answered),
        of(&seen.partial),
        of(&seen.failed)
    );
    assert!(lines > 1000, "{lines} lines");
}
