//! What the write-ahead log promises: acknowledged means on disk, and nothing but the damaged record is ever lost.

mod support;

use futures::future::join_all;
use model::Kind;
use rpc::ingester::Ingester as _;
use std::sync::atomic::Ordering;
use support::*;

const A: &str = r#"{app="a"}"#;

/// A log of 50 pushes of one line each, one segment, without the zeros at its end.
async fn fifty() -> (World, Vec<u8>, std::path::PathBuf) {
    let world = World::new();
    let node = world.ready().await;
    for i in 0..50 {
        node.push(&[(A, &[(i, &format!("line {i}"))])]).await.unwrap();
    }
    let written = node.metric("loki_ingester_wal_bytes_written_total") as usize;
    drop(node);
    wait_for_lock(&world).await;
    let segments = world.segments();
    assert_eq!(segments.len(), 1);
    let mut bytes = std::fs::read(&segments[0].0).unwrap();
    assert!(bytes.split_off(written).iter().all(|byte| *byte == 0));
    (world, bytes, segments[0].0.clone())
}

async fn wait_for_lock(world: &World) {
    drop(world.ready().await);
    for (path, bytes) in world.segments() {
        if bytes == 0 {
            std::fs::remove_file(path).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_goes_on_after_damage_and_counts_it() {
    let (world, log, path) = fifty().await;
    let record = log.len() / 50;
    for (damage, lost, corruptions) in [("none", 0, 0.0), ("a bit", 1, 1.0), ("a cut", 1, 1.0), ("zeros", 2, 1.0)] {
        let mut broken = log.clone();
        match damage {
            "a bit" => broken[20 * record + 9] ^= 4,
            "a cut" => broken.truncate(log.len() - 3),
            "zeros" => broken[10 * record + 5..11 * record + 5].fill(0),
            _ => {}
        }
        std::fs::write(&path, &broken).unwrap();
        let node = world.ready().await;
        assert_eq!(node.held().await.len(), 50 - lost, "{damage}");
        assert_eq!(node.metric("loki_ingester_wal_corruptions_total"), corruptions, "{damage}");
        node.push(&[(A, &[(100, "goes on")])]).await.unwrap();
        assert_eq!(node.held().await.len(), 51 - lost, "{damage}");
        drop(node);
        wait_for_lock(&world).await;
        for (other, _) in world.segments().iter().filter(|(p, _)| *p != path) {
            std::fs::remove_file(other).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pushes_share_their_fsync() {
    let world = World::new();
    let node = world.ready().await;
    let pushes = (0..400).map(|i| {
        let node = &node;
        async move { node.push(&[(&format!(r#"{{app="{}"}}"#, i % 40), &[(i, "x")])]).await.unwrap() }
    });
    join_all(pushes).await;
    assert_eq!(node.held().await.len(), 400);
    let syncs = world.disk.syncs.load(Ordering::SeqCst);
    assert!(syncs <= 200, "{syncs} fsyncs for 400 pushes");
    assert_eq!(node.metric("loki_ingester_wal_records_logged_total"), 400.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_volume_is_unavailable_and_nothing_acknowledged_is_lost() {
    let world = World::new();
    let node = world.ready().await;
    node.push(&[(A, &[(0, "kept")])]).await.unwrap();
    let contents = || {
        let files = world.segments().into_iter().map(|(path, _)| std::fs::read(path).unwrap());
        files
            .map(|file| file[..file.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)].to_vec())
            .collect::<Vec<_>>()
    };
    let before = contents();
    world.disk.full.store(true, Ordering::SeqCst);
    for _ in 0..3 {
        let error = node.push(&[(A, &[(1, "refused")])]).await.unwrap_err();
        assert_eq!(error.kind, Kind::Unavailable);
        let dir = world.settings.wal.dir.display().to_string();
        for part in ["wal volume full", &dir, "ingester.wal.dir"] {
            assert!(error.message.contains(part), "{}", error.message);
        }
    }
    assert_eq!(contents(), before, "what was written in part is cut away");
    assert_eq!(node.held().await, lines(A, &[(0, "kept")]));
    world.disk.full.store(false, Ordering::SeqCst);
    node.push(&[(A, &[(2, "goes on")])]).await.unwrap();
    drop(node);
    let node = world.ready().await;
    assert_eq!(node.held().await, lines(A, &[(0, "kept"), (2, "goes on")]));
    assert_eq!(node.metric("loki_ingester_wal_corruptions_total"), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_fsync_is_no_acknowledgement_and_ends_its_segment() {
    let world = World::new();
    let node = world.ready().await;
    node.push(&[(A, &[(0, "kept")])]).await.unwrap();
    world.disk.sync_fails.store(true, Ordering::SeqCst);
    assert_eq!(node.push(&[(A, &[(1, "refused")])]).await.unwrap_err().kind, Kind::Unavailable);
    world.disk.sync_fails.store(false, Ordering::SeqCst);
    let files = world.disk.files.load(Ordering::SeqCst);
    node.push(&[(A, &[(2, "goes on")])]).await.unwrap();
    assert_eq!(world.disk.files.load(Ordering::SeqCst), files + 1, "a new segment");
    drop(node);
    assert_eq!(world.ready().await.held().await, lines(A, &[(0, "kept"), (2, "goes on")]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_keeps_to_its_budget_by_storing_laggards_early() {
    let mut world = World::new();
    world.settings.wal.segment_bytes = 4 << 10;
    world.settings.wal.budget_bytes = 64 << 10;
    world.settings.chunk_target_size = 8 << 10;
    let node = world.ready().await;
    node.push(&[(r#"{app="slow"}"#, &[(0, "laggard")])]).await.unwrap();
    let line = "y".repeat(1000);
    for i in 0..40 {
        node.push(&[(A, &[(i, &line)])]).await.unwrap();
    }
    assert!(world.segments().len() > 8, "the laggard keeps every segment");
    for i in 40..50 {
        node.push(&[(A, &[(i, &line)])]).await.unwrap();
    }
    let bytes = || world.segments().iter().map(|(_, bytes)| bytes).sum::<u64>();
    while bytes() > 40 << 10 {
        node.ingester.sweep();
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    assert!(world.store.lines().contains(&lines(r#"{app="slow"}"#, &[(0, "laggard")])[0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_its_budget_the_log_takes_no_more_until_chunks_are_stored() {
    let mut world = World::new();
    world.settings.wal.segment_bytes = 4 << 10;
    world.settings.wal.budget_bytes = 32 << 10;
    world.store.put_failures.store(u64::MAX, Ordering::SeqCst);
    let node = world.ready().await;
    let line = "y".repeat(1000);
    let mut taken = 0;
    let error = loop {
        match node.push(&[(A, &[(taken, &line)])]).await {
            Ok(_) => taken += 1,
            Err(e) => break e,
        }
    };
    assert!((20..=32).contains(&taken), "{taken}");
    assert!(
        error.kind == Kind::Unavailable && error.message.contains("ingester.wal.budget_bytes"),
        "{}",
        error.message
    );
    assert_eq!(node.held().await.len() as i64, taken);
    world.store.put_failures.store(0, Ordering::SeqCst);
    node.ingester.flush().await.unwrap();
    node.push(&[(A, &[(taken, "room again")])]).await.unwrap();
    assert_eq!(world.store.lines().len() as i64, taken);
}

/// A volume of two megabytes, unmounted on drop.
struct SmallVolume(std::path::PathBuf);

impl SmallVolume {
    /// `None` where the test may not mount: the injected failure above stands for it there.
    fn mount(at: std::path::PathBuf) -> Option<SmallVolume> {
        std::fs::create_dir_all(&at).unwrap();
        let mount =
            std::process::Command::new("mount").args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"]).arg(&at).status();
        mount.is_ok_and(|s| s.success()).then_some(SmallVolume(at))
    }
}

impl Drop for SmallVolume {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_is_really_full_takes_writes_again_when_chunks_are_stored() {
    let world = World::new();
    let Some(_volume) = SmallVolume::mount(world.settings.wal.dir.clone()) else { return };
    let node = world.ready().await;
    let line = "f".repeat(70_000);
    let mut taken = 0;
    let error = loop {
        match node.push(&[(A, &[(taken, &line)])]).await {
            Ok(_) => taken += 1,
            Err(e) => break e,
        }
    };
    assert!(error.kind == Kind::Unavailable && error.message.contains("wal volume full"), "{}", error.message);
    assert!(taken > 20, "{taken}");
    drop(node);
    let node = world.ready().await;
    assert_eq!(node.held().await.len() as i64, taken, "a full volume is replayed whole");
    node.ingester.flush().await.unwrap();
    node.push(&[(A, &[(taken, "room again")])]).await.unwrap();
    assert_eq!(world.store.lines().len() as i64, taken);
    assert_eq!(node.metric("loki_ingester_wal_corruptions_total"), 0.0);
}
