//! Compressed blocks beside the log: read and stored as those in memory are, and gone after a crash.

mod support;

use rpc::ingester::Ingester as _;
use support::*;

const A: &str = r#"{app="a"}"#;

/// A world in which every block is spilled as soon as it is compressed.
fn spilling() -> World {
    let mut world = World::new();
    world.settings.chunk_block_size = 500;
    world.settings.spill_above = 0;
    world
}

/// Pushes lines until `blocks` more blocks are compressed and whatever becomes of them has become.
async fn fill(node: &Node, from: i64, blocks: u64) -> Vec<Line> {
    let settled =
        |node: &Node| node.metric("lokirs_ingester_spills_total") + node.metric("lokirs_ingester_spill_failures_total");
    let (end, mut pushed) = (settled(node) + blocks as f64, vec![]);
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(20);
    while settled(node) < end {
        let at = from + pushed.len() as i64;
        let line = format!("line {at} {}", "z".repeat(at as usize % 50));
        node.push(&[(A, &[(at, &line)])]).await.unwrap();
        pushed.push((A.to_string(), NOW + at * SECOND, line));
        assert!(tokio::time::Instant::now() < deadline, "blocks are not compressed");
    }
    pushed
}

fn files(world: &World) -> Vec<String> {
    let names = std::fs::read_dir(world.dir.path().join("wal")).unwrap();
    names.map(|e| e.unwrap().file_name().into_string().unwrap()).filter(|n| !n.ends_with(".wal")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn spilled_blocks_are_answered_stored_and_forgotten_by_a_crash() {
    let world = spilling();
    let node = world.ready().await;
    let mut pushed = fill(&node, 0, 20).await;
    assert_eq!(node.metric("lokirs_ingester_spill_failures_total"), 0.0);
    assert_eq!(node.metric("lokirs_ingester_spill_files"), 1.0);
    assert_eq!(node.held().await, pushed);
    assert_eq!(files(&world), ["lock"], "a spill file has no name");
    let streams = node.select(request(&[])).await;
    node.ingester.flush().await.unwrap();
    assert_eq!(world.store.lines(), pushed);
    assert_eq!(block_lines(&streams[0]), pushed, "who reads keeps the file");
    drop(streams);
    let after = fill(&node, pushed.len() as i64, 5).await;
    drop(node);
    let node = world.ready().await;
    assert_eq!(node.held().await, after, "from the log");
    node.ingester.flush().await.unwrap();
    pushed.extend(after);
    assert_eq!(world.store.lines(), pushed);
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_that_no_file_takes_stay_in_memory() {
    let world = spilling();
    let node = world.ready().await;
    let blocked = world.dir.path().join("wal/spill");
    std::fs::create_dir(&blocked).unwrap();
    let mut pushed = fill(&node, 0, 5).await;
    assert!(node.metric("lokirs_ingester_spill_failures_total") >= 5.0);
    assert_eq!(node.metric("lokirs_ingester_spill_files"), 0.0);
    std::fs::remove_dir(&blocked).unwrap();
    pushed.extend(fill(&node, pushed.len() as i64, 5).await);
    assert_eq!(node.metric("lokirs_ingester_spill_files"), 1.0, "room is found again");
    assert_eq!(node.held().await, pushed);
    node.ingester.flush().await.unwrap();
    assert_eq!(world.store.lines(), pushed);
}
