//! The write-ahead log's volume: full, it refuses and says so; with room again, it resumes by itself.
//! Corrupted while the process is down, it costs at most the record that was hit.

use crate::client::now_ns;
use crate::ledger::{Written, check};
use crate::process::Node;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// A small file system of its own, unmounted on drop.
struct Tmpfs(PathBuf);

impl Tmpfs {
    fn mount(path: &Path, size: &str) -> Tmpfs {
        std::fs::create_dir_all(path).unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(path).status();
        assert!(mounted.unwrap().success(), "the suite runs as root, which may mount a tmpfs");
        Tmpfs(path.to_path_buf())
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

const CONFIG: &str =
    "auth_enabled: false\ncommon:\n  path_prefix: ${DIR}/data\ningester:\n  wal:\n    dir: ${DIR}/wal\n";

fn push_lines(seq: u64) -> Vec<(i64, String)> {
    let base = now_ns();
    (0..50).map(|i| (base + i, format!("seq={seq} i={i} {}", "payload ".repeat(40)))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_volume_refuses_and_recovers_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let volume = Tmpfs::mount(&dir.path().join("wal"), "24m");
    let ballast = volume.0.join("ballast");
    std::fs::write(&ballast, vec![0u8; 20 << 20]).unwrap();
    let mut node = Node::new(dir.path()).config(CONFIG);
    let start = now_ns();
    node.start().await;
    let client = node.client();
    let mut written = Written::default();
    let refused = loop {
        let lines = push_lines(written.acknowledged.len() as u64);
        let values: Vec<_> = lines.iter().map(|(ts, l)| serde_json::json!([ts.to_string(), l])).collect();
        let body = serde_json::json!({"streams": [{"stream": {"job": "wal"}, "values": values}]}).to_string();
        let answer =
            client.post("/loki/api/v1/push", &[("Content-Type", "application/json")], body.into()).await.unwrap();
        if answer.0 == 204 {
            written.acknowledged.extend(lines);
        } else {
            written.unknown.extend(lines);
            break answer;
        }
        assert!(written.acknowledged.len() < 1_000_000, "the volume never fills");
    };
    assert_eq!(refused.0, 503, "{}", refused.1);
    assert!(refused.1.contains("wal volume full"), "{}", refused.1);
    std::fs::remove_file(&ballast).unwrap();
    let freed = Instant::now();
    loop {
        let lines = push_lines(u64::MAX);
        if client.push(&[("job", "wal")], &lines).await == Some(204) {
            written.acknowledged.extend(lines);
            break;
        }
        written.unknown.extend(lines);
        assert!(freed.elapsed() < Duration::from_secs(30), "writes resume when there is room");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    node.kill();
    node.start().await;
    let lines = node.client().all_lines("{job=\"wal\"}", start, now_ns() + 1).await;
    assert!(check("wal", &written, &lines) > 0);
    drop(node);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_bit_costs_at_most_the_record_it_hits() {
    for seed in 0..5u64 {
        let dir = tempfile::tempdir().unwrap();
        let mut node = Node::new(dir.path()).config(CONFIG);
        let start = now_ns();
        node.start().await;
        let mut pushed = vec![];
        for seq in 0..100 {
            let lines = push_lines(seq);
            assert_eq!(node.client().push(&[("job", "wal")], &lines).await, Some(204));
            pushed.push(lines);
        }
        node.kill();
        flip_a_bit(&dir.path().join("wal"), seed);
        node.start().await;
        let lines = node.client().all_lines("{job=\"wal\"}", start, now_ns() + 1).await;
        let lost =
            pushed.iter().filter(|batch| !batch.iter().all(|(ts, _)| lines.iter().any(|l| l.ts_ns == *ts))).count();
        assert!(lost <= 1, "seed {seed}: one bit cost {lost} of {} records", pushed.len());
        let metrics = node.client().get("/metrics").await.1;
        let counted =
            metrics.lines().any(|l| l.starts_with("loki_ingester_wal_corruptions_total") && !l.ends_with(" 0"));
        assert_eq!(counted, lost == 1, "seed {seed}: a lost record is counted\n{}", node.log());
    }
}

/// Flips one bit somewhere in the written part of the largest segment.
fn flip_a_bit(wal: &Path, seed: u64) {
    let segments = std::fs::read_dir(wal).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_file());
    let written = |p: &PathBuf| std::fs::read(p).unwrap().iter().rposition(|b| *b != 0).map_or(0, |end| end + 1);
    let segment = segments.max_by_key(written).unwrap();
    let mut bytes = std::fs::read(&segment).unwrap();
    let end = written(&segment);
    let at = (seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 11) as usize % end;
    bytes[at] ^= 1 << (seed % 8);
    std::fs::write(&segment, bytes).unwrap();
}
