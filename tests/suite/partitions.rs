//! A cluster whose network falls apart: real processes in namespaces of their own, under load. Who has the majority goes
//! on, who has not refuses, answers are whole or say that they are not, and when the network is whole again so is
//! everything that was acknowledged on either side.

use crate::client::{encode, now_ns};
use crate::cluster::{Cluster, Setup, finish};
use crate::ledger::ONE_STREAM;
use crate::network::Network;
use std::time::{Duration, Instant};

const TARGETS: [&str; 4] = ["write", "write", "write", "read"];
const READER: usize = 3;
/// A partition lasts longer than it takes to believe it.
const APART: Duration = Duration::from_secs(7);
const LOAD: Duration = Duration::from_secs(1);

/// Changes of the network: every pair of a host of `left` and another one, in both directions.
fn around(left: &[usize]) -> Vec<(usize, usize)> {
    let all = 0..TARGETS.len();
    let pairs = left.iter().flat_map(|l| all.clone().filter(|r| !left.contains(r)).map(|r| (*l, r)));
    pairs.flat_map(|(l, r)| [(l, r), (r, l)]).collect()
}

fn cut(network: &Network, pairs: &[(usize, usize)]) {
    pairs.iter().for_each(|(from, to)| network.cut(*from, *to));
}

fn heal(network: &Network, pairs: &[(usize, usize)]) {
    pairs.iter().for_each(|(from, to)| network.heal(*from, *to));
}

/// Asks the reader again and again for so long; answers how many of its answers were whole, partial and refused.
async fn ask(cluster: &Cluster, length: Duration) -> [usize; 3] {
    let path = format!("/loki/api/v1/query_range?query={}&since=1m&limit=100", encode("{job=\"ledger\"}"));
    let (started, mut seen) = (Instant::now(), [0; 3]);
    while started.elapsed() < length {
        let (status, body) = cluster.client(READER).get(&path).await;
        seen[match status {
            200 if body.contains("\"warnings\"") => 1,
            200 => 0,
            _ => 2,
        }] += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_outlives_every_partition() {
    let Some(network) = Network::new(TARGETS.len()) else { return };
    let dir = tempfile::tempdir().unwrap();
    let yaml = format!("ingester: {{chunk_idle_period: 2s, flush_check_period: 500ms}}\n{ONE_STREAM}");
    let setup = Setup { label: "partitions", replication_factor: 3, yaml: &yaml };
    let cluster = Cluster::start_on(dir.path(), &TARGETS, &setup, &network.hosts()).await;
    let since = now_ns();
    let whole = || cluster.wait_for_members(&[0, 1, 2, READER], TARGETS.len());
    // To the first writer everybody pushes all the time; to the others those who repeat what is refused.
    let producers = cluster.produce(&[0, 1, 2]);
    tokio::time::sleep(LOAD).await;

    let alone = around(&[2]);
    cut(&network, &alone);
    cluster.wait_for_state(0, "node-2", "Unhealthy").await;
    let [answered, partial, refused] = ask(&cluster, APART).await;
    assert!(answered > 5 && (partial, refused) == (0, 0), "a replica is cut off: {answered} {partial} {refused}");
    heal(&network, &alone);
    whole().await;

    // The first writer hears everybody, and nobody hears it.
    let mute: Vec<_> = (1..TARGETS.len()).map(|to| (0, to)).collect();
    cut(&network, &mute);
    cluster.wait_for_state(1, "node-0", "Unhealthy").await;
    let [answered, partial, refused] = ask(&cluster, APART).await;
    assert!(answered > 5 && (partial, refused) == (0, 0), "a replica is mute: {answered} {partial} {refused}");
    heal(&network, &mute);
    whole().await;

    // The reader is left with one replica of three: it must not pretend.
    let split = around(&[0, 1]);
    cut(&network, &split);
    cluster.wait_for_state(READER, "node-0", "Unhealthy").await;
    cluster.wait_for_state(READER, "node-1", "Unhealthy").await;
    let [answered, ..] = ask(&cluster, LOAD).await;
    assert_eq!(answered, 0, "one replica of three is no whole answer");
    tokio::time::sleep(LOAD).await;
    heal(&network, &split);
    whole().await;

    // Cut and whole again each second.
    let flapping = around(&[1]);
    for _ in 0..4 {
        cut(&network, &flapping);
        tokio::time::sleep(LOAD).await;
        heal(&network, &flapping);
        tokio::time::sleep(LOAD).await;
    }
    whole().await;
    tokio::time::sleep(LOAD).await;

    let written = finish(producers).await;
    let lines = cluster.check_ledgers(&[READER], since, &written).await;
    let each: Vec<_> = written.iter().map(|(_, written)| written.acknowledged.len()).collect();
    eprintln!("4 partitions: {lines} acknowledged lines ({each:?}), each returned once");
    assert!(each.iter().all(|lines| *lines > 1000), "{each:?}");
}
