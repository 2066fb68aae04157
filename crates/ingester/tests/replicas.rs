//! Replicas of a stream: chunks that hold the same entries are the same bytes under the same name.

mod support;

use format::ChunkRef;
use ingester::{ChunkSync, Compressor, Compressors};
use model::{Batch, BatchBuilder, Labels};
use rpc::ingester::Ingester;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use support::*;

const MINUTES: usize = 8 * 60;
/// Streams by how often they have lines, in minutes, and how many at a time.
const STREAMS: [(&str, usize, usize); 4] =
    [(r#"{app="hot"}"#, 1, 40), (r#"{app="warm"}"#, 2, 5), (r#"{app="slow"}"#, 20, 1), (r#"{app="seldom"}"#, 95, 1)];

/// What all replicas get in the minute; `None` when that is nothing.
fn push_of(minute: usize) -> Option<Batch> {
    let mut batch = BatchBuilder::default();
    for (labels, every, lines) in STREAMS {
        if minute.is_multiple_of(every) {
            let labels = Labels::parse(labels).unwrap();
            for i in 0..lines {
                let ts_ns = NOW + minute as i64 * 60 * SECOND + i as i64;
                let line = format!("minute {minute} line {i} of {labels} {:x}", (minute * 77 + i).pow(3));
                batch.entry(ts_ns, line.as_bytes(), [("level", "info")].into_iter().take(i % 2));
            }
            batch.end_stream(&labels.to_string(), labels.fingerprint());
        }
    }
    Some(batch.finish()).filter(|batch| !batch.is_empty())
}

/// One of the replicas, with `seal_workers` threads, that looks at its streams every `sweeps` minutes and is away before
/// minute `from`.
async fn replica(
    sync: Option<ChunkSync>,
    seal_workers: usize,
    sweeps: usize,
    from: usize,
) -> BTreeSet<(String, ChunkRef)> {
    let mut world = World::new();
    world.settings.chunk_block_size = 1500;
    world.settings.chunk_target_size = 4000;
    world.settings.seal_workers = seal_workers;
    world.settings.sync = sync;
    let node = world.ready().await;
    for minute in from..MINUTES {
        if let Some(batch) = push_of(minute) {
            assert_eq!(node.ingester.push(&acme(), batch).await.unwrap().rejected, []);
        }
        world.clock.advance(60 * SECOND);
        if minute % sweeps == 0 {
            node.ingester.sweep();
        }
    }
    node.ingester.flush().await.unwrap();
    let pushed: usize = (from..MINUTES)
        .filter_map(push_of)
        .map(|b| b.streams().map(|s| s.unwrap().entries as usize).sum::<usize>())
        .sum();
    assert_eq!(world.store.lines().len(), pushed, "nothing is lost");
    let shipped = world.store.shipped.lock();
    shipped.iter().map(|(_, labels, chunk)| (labels.to_string(), *chunk)).collect()
}

fn hourly() -> Option<ChunkSync> {
    Some(ChunkSync { period: Duration::from_secs(3600), min_utilization: 0.1 })
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_of_the_same_entries_store_the_same_chunks() {
    let first = replica(hourly(), 1, 1, 0).await;
    let of = |app: &str| first.iter().filter(|(labels, _)| labels.contains(app)).count();
    assert!(of("hot") > MINUTES / 60 * 2 && of("warm") >= MINUTES / 60 && of("slow") >= 3, "{first:?}");
    for (seal_workers, sweeps) in [(4, 7), (2, 45), (1, 20)] {
        assert_eq!(replica(hourly(), seal_workers, sweeps, 0).await, first, "{seal_workers} threads, {sweeps} minutes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_was_away_stores_the_same_chunks_from_the_next_moment_on() {
    let (whole, late) = (replica(hourly(), 2, 5, 0).await, replica(hourly(), 2, 5, 200).await);
    for (labels, _, _) in STREAMS {
        let of = |set: &BTreeSet<(String, ChunkRef)>| -> Vec<ChunkRef> {
            set.iter().filter(|(of, _)| of == labels).map(|(_, chunk)| *chunk).collect()
        };
        let (whole, late) = (of(&whole), of(&late));
        let common: Vec<_> = late.iter().filter(|chunk| whole.contains(chunk)).collect();
        let synced_ms = common.iter().map(|chunk| chunk.from_ms).min().unwrap_or(i64::MAX);
        // At most two hours after it came back: the age at which a chunk that is hardly used ends.
        assert!(synced_ms < NOW / 1_000_000 + (200 + 2 * 60) * 60_000, "{labels}: {whole:?} {late:?}");
        let after = |chunks: &[ChunkRef]| chunks.iter().filter(|c| c.from_ms >= synced_ms).copied().collect::<Vec<_>>();
        assert_eq!(after(&late), after(&whole), "{labels}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_such_moments_a_replica_that_was_away_stays_apart() {
    let (whole, late) = (replica(None, 2, 5, 0).await, replica(None, 2, 5, 201).await);
    let hot = |chunk: &&(String, ChunkRef)| chunk.0.contains("hot");
    let common = late.iter().filter(hot).filter(|chunk| whole.contains(chunk)).count();
    assert!(common < late.iter().filter(hot).count() / 2, "{common} of {late:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_replica_compresses_for_the_other() {
    let world = |compressors: Compressors| {
        let mut world = World::new();
        world.settings.chunk_block_size = 1500;
        world.settings.sync = hourly();
        world.compressors = compressors;
        world
    };
    let other = world(Arc::new(|_| Compressor::Elsewhere));
    let other_node = other.ready().await;
    let offered_to: Arc<dyn Ingester> = other_node.ingester.clone();
    let first = world(Arc::new(move |_| Compressor::Here(vec![offered_to.clone()])));
    let first_node = first.ready().await;
    for batch in (0..MINUTES).filter_map(push_of) {
        first_node.ingester.push(&acme(), batch.clone()).await.unwrap();
        other_node.ingester.push(&acme(), batch).await.unwrap();
    }
    let settled = || {
        let metric = |name| other_node.metric(name);
        (metric("lokirs_ingester_blocks_adopted_total"), metric("loki_ingester_blocks_sealed_total"))
    };
    // By then everything that waits is taken or given up.
    let mut before = (f64::NAN, f64::NAN);
    while before != settled() {
        before = settled();
        tokio::time::sleep(Duration::from_millis(1200)).await;
    }
    let (adopted, compressed) = settled();
    // Who waits too long, on a busy machine, compresses by itself.
    assert!(adopted > compressed, "{adopted} adopted, {compressed} compressed");
    assert_eq!(other_node.metric("lokirs_ingester_block_offers_refused_total"), 0.0);
    first_node.ingester.flush().await.unwrap();
    other_node.ingester.flush().await.unwrap();
    assert_eq!(*first.store.objects.lock(), *other.store.objects.lock());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_gets_no_offer_compresses_by_itself() {
    let mut world = World::new();
    world.settings.chunk_block_size = 1500;
    world.compressors = Arc::new(|_| Compressor::Elsewhere);
    let node = world.ready().await;
    for batch in (0..60).filter_map(push_of) {
        node.ingester.push(&acme(), batch).await.unwrap();
    }
    let compressed = async {
        while node.metric("loki_ingester_blocks_sealed_total") < 20.0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), compressed).await.expect("nobody else compresses them");
}
