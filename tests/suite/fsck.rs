//! `lokirs fsck` finds what is wrong with a bucket and nothing else; `lokirs rebuild-index` gives a bucket whose index was
//! deleted its answers back. `LOKIRS_CORRUPTIONS=1000` is the long run.

use crate::client::now_ns;
use crate::golden::{CASES, DAMAGED_CHUNK, copy, prepare, replay};
use crate::process::Node;
use crate::store::Store;
use flate2::read::MultiGzDecoder;
use serde_json::Value;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Corruptions of a bucket in one run.
const CORRUPTIONS: u64 = 40;

/// Runs a command of the binary on the node's configuration; its exit code and what it printed, a value a line.
fn run(node: &Node, arguments: &[&str]) -> (i32, Vec<Value>) {
    let output = Command::new(env!("CARGO_BIN_EXE_lokirs"))
        .args(arguments)
        .arg("-output=json")
        .arg(format!("-config.file={}", node.dir.join("lokirs.yaml").display()))
        .arg("-config.expand-env=true")
        .env("DIR", &node.dir)
        .output()
        .unwrap();
    let code = output.status.code().unwrap();
    assert!(code < 2, "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    (code, text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

fn findings(lines: &[Value]) -> Vec<String> {
    let found = lines.iter().filter_map(|line| line.get("finding"));
    found.map(|f| format!("{} {} {}", f["kind"].as_str().unwrap(), f["object"], f["detail"])).collect()
}

/// A bucket of two tenants, with index files of one tenant and of several, made by the real binary.
async fn written(dir: &Path, store: &Store) -> Node {
    let config =
        store.config("ingester: {chunk_encoding: snappy}\n").replace("auth_enabled: false", "auth_enabled: true");
    let mut node = Node::new(dir).config(&config);
    for round in 0..2 {
        node.start().await;
        for tenant in ["a", "b"] {
            let lines: Vec<(i64, String)> =
                (0..50).map(|i| (now_ns() - i * 1_000_000, format!("{round} {tenant} {i}"))).collect();
            for stream in ["x", "y"] {
                let client = node.client().tenant(tenant);
                assert_eq!(client.push(&[("app", "fsck"), ("stream", stream)], &lines).await, Some(204));
            }
        }
        tokio::task::block_in_place(|| node.stop());
    }
    node
}

fn objects(dir: &Path) -> Vec<PathBuf> {
    let mut all = vec![];
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        if entry.path().is_dir() { all.extend(objects(&entry.path())) } else { all.push(entry.path()) }
    }
    all.sort();
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sound_buckets_are_sound_and_what_loki_damaged_is_found() {
    for (bucket, schema, _) in CASES {
        let dir = tempfile::tempdir().unwrap();
        let node = prepare(bucket, schema, dir.path(), &Store::directory(dir.path())).await;
        let (code, lines) = run(&node, &["fsck"]);
        let found = findings(&lines);
        let summary = &lines.last().unwrap()["summary"];
        assert!(summary["chunks"].as_u64() > Some(0) && summary["rows"].as_u64() > Some(0), "{bucket}: {summary}");
        if bucket == "after-deletes" {
            // Loki's own rewrite of a chunk broke its structured metadata.
            let name = DAMAGED_CHUNK.split('/').nth(1).unwrap();
            assert!(code == 1 && found.iter().all(|f| f.contains(name)), "{bucket}: {found:#?}");
        } else {
            assert!(code == 0 && found.is_empty(), "{bucket}: {found:#?}");
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let node = written(dir.path(), &Store::directory(dir.path())).await;
    let (code, lines) = run(&node, &["fsck"]);
    assert_eq!((code, findings(&lines)), (0, vec![]));
}

/// What an object says, whatever its envelope says of when and where it was compressed.
fn content(path: &Path, bytes: &[u8]) -> Option<Vec<u8>> {
    if path.extension().is_none_or(|e| e != "gz") {
        return Some(bytes.to_vec());
    }
    let mut out = vec![];
    MultiGzDecoder::new(bytes).read_to_end(&mut out).ok().map(|_| out)
}

/// Damages one object in a way that `seed` decides; what was done, or nothing where the object still says the same.
fn corrupt(objects: &[PathBuf], seed: u64) -> Option<String> {
    let mix = |n: u64| (n ^ (n >> 31)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16;
    let (a, b, c) = (mix(seed + 1), mix(seed + 1001), mix(seed + 2001));
    let path = &objects[a as usize % objects.len()];
    let before = std::fs::read(path).unwrap();
    let mut after = before.clone();
    let (at, name) = (b as usize % before.len(), path.display());
    let what = match c % 8 {
        0 => {
            std::fs::remove_file(path).unwrap();
            return Some(format!("{name}: deleted"));
        }
        1 => {
            after.truncate(at);
            format!("{name}: cut to {at} bytes")
        }
        2 => {
            let other =
                objects.iter().cycle().skip(a as usize % objects.len() + 1).find(|other| *other != path).unwrap();
            after = std::fs::read(other).unwrap();
            format!("{name}: what {} says", other.display())
        }
        _ => {
            after[at] ^= 1 << (b % 8);
            format!("{name}: a bit of byte {at} of {}", before.len())
        }
    };
    std::fs::write(path, &after).unwrap();
    // A date or a file system's name in gzip's head is read by nobody.
    (content(path, &after) != content(path, &before)).then_some(what)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_corruption_is_found() {
    let corruptions = std::env::var("LOKIRS_CORRUPTIONS").map_or(CORRUPTIONS, |n| n.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let store = Store::directory(&dir.path().join("node"));
    let node = written(&dir.path().join("node"), &store).await;
    let Store::Directory(bucket) = &store else { unreachable!() };
    let sound = dir.path().join("sound");
    copy(bucket, &sound);
    let is_ours = |path: &PathBuf| path.starts_with(bucket.join("lokirs"));
    let (mut found, mut without_meaning) = (0, 0);
    for seed in 0..corruptions {
        std::fs::remove_dir_all(bucket).unwrap();
        copy(&sound, bucket);
        let mut all = objects(bucket);
        all.retain(|path| !is_ours(path) && !path.ends_with("loki_cluster_seed.json"));
        let Some(what) = corrupt(&all, seed) else {
            without_meaning += 1;
            continue;
        };
        let (code, lines) = run(&node, &["fsck"]);
        assert!(code == 1 && !findings(&lines).is_empty(), "seed {seed}: {what} is not found");
        found += 1;
    }
    eprintln!("{found} corruptions, all found; {without_meaning} changed nothing that is read");
    assert!(found * 10 >= corruptions * 9, "{found} of {corruptions}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_whose_index_was_deleted_gets_its_answers_back() {
    for (bucket, schema, queries) in CASES.into_iter().filter(|(bucket, ..)| *bucket != "after-deletes") {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::directory(dir.path());
        let mut node = prepare(bucket, schema, dir.path(), &store).await;
        let Store::Directory(to) = &store else { unreachable!() };
        std::fs::remove_dir_all(to.join("index")).unwrap();
        assert_eq!(run(&node, &["fsck"]).0, 1, "{bucket}: chunks that no table lists");
        let before = objects(to);
        let (code, told) = run(&node, &["rebuild-index"]);
        assert!(code == 0 && told.iter().any(|line| line.get("built").is_some()), "{bucket}: {told:?}");
        assert_eq!(objects(to), before, "{bucket}: without -write nothing is written");
        let (code, told) = run(&node, &["rebuild-index", "-write"]);
        assert_eq!(code, 0, "{bucket}: {told:?}");
        let (code, lines) = run(&node, &["fsck"]);
        assert_eq!((code, findings(&lines)), (0, vec![]), "{bucket}");
        let (_, again) = run(&node, &["rebuild-index", "-write"]);
        assert_eq!(again.last().unwrap()["summary"]["built"], 0, "{bucket}: there is nothing left to do");
        node.start().await;
        let differences = replay(&node, queries).await;
        assert!(differences.is_empty(), "{bucket}: {} differences:\n{}", differences.len(), differences.join("\n"));
    }
}
