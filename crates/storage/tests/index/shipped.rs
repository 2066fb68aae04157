//! What we ship is found, in every table that must list it, under names that are never used twice.

use crate::fixture::*;
use format::ChunkRef;
use format::schema::Schema;
use model::{Kind, Labels, TenantId};
use runtime::clock::ManualClock;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use storage::index::{IndexEntry, IndexMetrics, IndexShipper, Places, Uploader};
use storage::objects::Objects;
use storage::testing::{Faults, Faulty};

fn entry(tenant: &str, stream: &str, from_ms: i64, through_ms: i64) -> IndexEntry {
    let labels = Labels::new([("app", stream), ("service_name", stream)]);
    let fingerprint = labels.fingerprint();
    let checksum = from_ms as u32 ^ through_ms as u32;
    let chunk = ChunkRef { fingerprint, from_ms, through_ms, checksum, kb: 7, entries: 9 };
    IndexEntry { tenant: TenantId::parse(tenant).unwrap(), labels, chunk }
}

fn shipper(objects: Objects, schema: Arc<Schema>, dir: &Path, clock: &Arc<ManualClock>) -> IndexShipper {
    let uploader = Uploader::open(dir, "vm", clock.clone()).unwrap();
    IndexShipper::new(Places::single(schema, objects).unwrap(), uploader, IndexMetrics::default())
}

#[tokio::test]
async fn what_is_shipped_is_found_in_every_table_of_its_days() {
    let (objects, dir) = (Objects::memory(), tempfile::tempdir().unwrap());
    let fixture = Fixture::new(objects.clone(), three_periods());
    let shipper = shipper(objects.clone(), three_periods(), dir.path(), &fixture.clock);
    let border_ms = 20_150 * DAY;
    let entries = vec![
        entry("a", "one", border_ms - 5000, border_ms),
        entry("a", "one", border_ms + 1, border_ms + DAY - 2),
        entry("b", "one", border_ms - 2 * DAY, border_ms - 2 * DAY + 5),
        entry("b", "two", border_ms - DAY - 1, border_ms - DAY),
        entry("a", "long", border_ms, border_ms + 3 * DAY),
    ];
    assert_eq!(fixture.series("a", "{}", EVERYTHING).await, []);
    shipper.ship(entries.clone()).await.unwrap();
    shipper.ship(vec![]).await.unwrap();
    assert_eq!(fixture.series("a", "{}", EVERYTHING).await, [], "listings are remembered");
    fixture.reader.refresh();
    for tenant in ["a", "b"] {
        let found = fixture.series(tenant, "{}", EVERYTHING).await;
        let expected = entries.iter().filter(|e| e.tenant.as_str() == tenant).map(|e| e.chunk);
        let expected: BTreeSet<_> = expected.map(|c| (c.fingerprint.0, c.from_ms, c.through_ms, c.checksum)).collect();
        assert_eq!(chunks(&found), expected);
    }
    let keys: Vec<String> = objects.list("").await.unwrap().into_iter().map(|o| o.key).collect();
    let name = "1795409560-vm-1795409560000000000.tsdb.gz";
    let tables = ["i12_20148", "i12_20149", "i13_20150", "i13_20151", "i13_20152", "i13_20153"];
    assert_eq!(keys, tables.map(|table| format!("index/{table}/{name}")));
    let before_the_first = entry("a", "old", 19_000 * DAY, 19_000 * DAY + 1);
    assert_eq!(shipper.ship(vec![before_the_first]).await.unwrap_err().kind, Kind::Invalid);
}

#[tokio::test]
async fn a_shipment_is_repeated_under_its_name_and_no_other_takes_it() {
    let mut faulty = None;
    let objects = Objects::memory().wrapped(|inner| {
        let bucket = Arc::new(Faulty::new(inner, Faults { fail_next: 1, ..Faults::default() }));
        faulty = Some(bucket.clone());
        bucket
    });
    let (dir, clock) = (tempfile::tempdir().unwrap(), ManualClock::at(NOW_NS));
    let shipping = shipper(objects.clone(), one_period(), dir.path(), &clock);
    let midnight_ms = 20_149 * DAY;
    let first = vec![entry("a", "one", midnight_ms - 1, midnight_ms)];
    let second = vec![entry("a", "two", midnight_ms, midnight_ms + 1)];
    assert_eq!(shipping.ship(first.clone()).await.unwrap_err().kind, Kind::Unavailable);
    clock.advance(5_000_000_000);
    shipping.ship(second.clone()).await.unwrap();
    shipping.ship(first.clone()).await.unwrap();
    let names = || async {
        let keys = objects.list("index/index_20149").await.unwrap();
        keys.iter().map(|o| o.key["index/index_20149/".len()..][..10].to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names().await, ["1795409560", "1795409565"]);
    assert_eq!(objects.list("index/index_20148").await.unwrap().len(), 1);
    drop(shipping);
    // Another process on the same directory, within the same second.
    let shipping = shipper(objects.clone(), one_period(), dir.path(), &clock);
    for _ in 0..3 {
        shipping.ship(second.clone()).await.unwrap();
    }
    assert_eq!(names().await, ["1795409560", "1795409565", "1795409566", "1795409567", "1795409568"]);
    let fixture = Fixture::new(objects.clone(), one_period());
    let found = fixture.series("a", "{}", EVERYTHING).await;
    assert_eq!(found.iter().map(|s| s.chunks.len()).collect::<Vec<_>>(), [1, 1], "repeated rows are one");
}
