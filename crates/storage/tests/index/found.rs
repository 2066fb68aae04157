//! What Loki wrote is found, compacted or not, and answered as Loki answers.

use crate::fixture::*;
use format::ChunkRef;
use format::key::parse_key;
use model::TenantId;
use rpc::ingester::StreamSize;
use std::collections::BTreeSet;
use std::path::Path;

#[tokio::test]
async fn the_index_lists_exactly_the_chunks_of_each_golden_bucket() {
    for (bucket, schema, tenants) in [
        ("uncompacted", one_period(), &["acme", "globex"][..]),
        ("compacted", one_period(), &["acme", "globex"]),
        ("encodings", one_period(), &["t1"]),
        ("schemas", three_periods(), &["t1"]),
    ] {
        let objects = golden(bucket);
        let keys = objects.list("").await.unwrap().into_iter().filter_map(|o| objects.chunk_key(&o.key));
        let stored: Vec<(TenantId, ChunkRef)> = keys.filter_map(|key| parse_key(&key).ok()).collect();
        let fixture = Fixture::new(objects, schema);
        for tenant in tenants {
            let found = fixture.series(tenant, "{}", EVERYTHING).await;
            let of_tenant = stored.iter().filter(|(t, _)| t.as_str() == *tenant).map(|(_, c)| *c);
            let expected: BTreeSet<_> =
                of_tenant.map(|c| (c.fingerprint.0, c.from_ms, c.through_ms, c.checksum)).collect();
            assert!(expected.len() > 2, "{bucket} {tenant}");
            assert_eq!(chunks(&found), expected, "{bucket} {tenant}");
            assert!(found.iter().all(|s| s.labels.fingerprint() == s.fingerprint), "labels are the stream's own");
            assert_eq!(found.iter().map(|s| s.chunks.len()).sum::<usize>(), expected.len(), "no chunk comes twice");
        }
        assert_eq!(fixture.series("nobody", "{}", EVERYTHING).await, []);
    }
}

#[tokio::test]
async fn compaction_changes_no_answer() {
    let [before, after] = ["uncompacted", "compacted"].map(|bucket| Fixture::new(golden(bucket), one_period()));
    let text = std::fs::read_to_string(Path::new(GOLDEN).join("queries.json")).unwrap();
    let queries: serde_json::Value = serde_json::from_str(&text).unwrap();
    let mut compared = 0;
    for (name, query) in queries.as_object().unwrap() {
        let params = &query["params"];
        let text = params["query"].as_str().or(params["match[]"].as_str()).unwrap_or("{}");
        let selector = &text[text.find('{').unwrap()..=text.find('}').unwrap()];
        let tenant = query["tenant"].as_str().unwrap();
        let millis = |name: &str| params[name].as_i64().map(|ns| ns / 1_000_000);
        let range_ms = millis("start").zip(millis("end")).unwrap_or(RECORDED);
        let found = before.series(tenant, selector, range_ms).await;
        assert_eq!(found, after.series(tenant, selector, range_ms).await, "{name}");
        compared += usize::from(!found.is_empty());
    }
    assert!(compared >= 20, "{compared} queries with streams");
}

#[tokio::test]
async fn metadata_is_what_loki_answered() {
    for bucket in ["uncompacted", "compacted"] {
        let fixture = Fixture::new(golden(bucket), one_period());
        let [acme, globex] = ["acme", "globex"].map(|t| TenantId::parse(t).unwrap());
        let names = fixture.reader.label_names(&acme, &[], RECORDED).await.unwrap();
        assert_eq!(names.value, ["app", "env", "host", "job", "region"]);
        let values = fixture.reader.label_values(&globex, "pod", &[], RECORDED).await.unwrap();
        assert_eq!(values.value, ["api-0", "api-1", "api-2"]);
        let values =
            fixture.reader.label_values(&acme, "app", &matchers(r#"{env="staging"}"#), RECORDED).await.unwrap();
        assert_eq!(values.value, ["checkout"]);
        let names = fixture.reader.label_names(&acme, &matchers(r#"{job=~".+"}"#), RECORDED).await.unwrap();
        assert_eq!(names.value, ["host", "job"]);
        for name in ["__loki_tenant__", "missing"] {
            assert_eq!(fixture.reader.label_values(&acme, name, &[], RECORDED).await.unwrap().value, [""; 0]);
        }
        let series: BTreeSet<String> =
            fixture.series("acme", r#"{env=~".+"}"#, RECORDED).await.iter().map(|s| s.labels.to_string()).collect();
        let expected = [
            r#"{app="checkout", env="prod", region="eu-1"}"#,
            r#"{app="checkout", env="staging", region="eu-1"}"#,
            r#"{app="gateway", env="prod"}"#,
        ];
        assert!(series.iter().eq(expected), "{series:?}");
        let volume = fixture.sizes(&globex, r#"{service_name=~".+"}"#, RECORDED).await;
        let of = |service: &str| -> u64 {
            volume.iter().filter(|size| size.labels.get("service_name") == Some(service)).map(|size| size.bytes).sum()
        };
        assert_eq!((of("api"), of("checkout")), (18_432, 2_048));
        let sizes = fixture.sizes(&acme, r#"{app="checkout"}"#, RECORDED).await;
        assert_eq!(total(&sizes), (2, 6, 65_536, 820));
        // The last chunk spans 1740884401113 to 1740884573387: 120 entries and 9 KiB.
        let part = (1_740_884_401_113 + 57_425, 1_740_884_401_113 + 143_562);
        let sizes = fixture.sizes(&acme, r#"{app="checkout"}"#, part).await;
        assert_eq!(total(&sizes), (1, 1, 4608, 60), "half of its time");
    }
}

/// Streams, chunks, bytes and entries.
fn total(sizes: &[StreamSize]) -> (usize, u64, u64, u64) {
    let sum = |of: fn(&StreamSize) -> u64| sizes.iter().map(of).sum();
    (sizes.len(), sum(|s| s.chunks), sum(|s| s.bytes), sum(|s| s.entries))
}

#[tokio::test]
async fn a_chunk_across_midnight_and_periods_is_found_from_both_sides_and_once() {
    let fixture = Fixture::new(golden("uncompacted"), one_period());
    let midnight_ms = 20_149 * DAY;
    for (range_ms, found) in [
        ((midnight_ms - 1000, midnight_ms), true),
        ((midnight_ms, midnight_ms + 1000), true),
        ((midnight_ms - 1000, midnight_ms + 1000), true),
        ((midnight_ms + 2 * 3_600_000, midnight_ms + 3 * 3_600_000), false),
    ] {
        let series = fixture.series("acme", r#"{job="nightly"}"#, range_ms).await;
        assert_eq!(
            series.iter().map(|s| s.chunks.len()).collect::<Vec<_>>(),
            vec![1; usize::from(found)],
            "{range_ms:?}"
        );
    }
    let fixture = Fixture::new(golden("schemas"), three_periods());
    for (stream, border_ms) in [("cross11_12", 20_148 * DAY), ("cross12_13", 20_150 * DAY)] {
        let selector = format!("{{a=\"{stream}\"}}");
        let all = fixture.series("t1", &selector, EVERYTHING).await;
        assert_eq!(all.len(), 1, "{stream}");
        let crossing = |c: &&ChunkRef| c.from_ms < border_ms && c.through_ms >= border_ms;
        assert_eq!(all[0].chunks.iter().filter(crossing).count(), 1, "{stream}");
        for range_ms in [(border_ms - 1, border_ms), (border_ms, border_ms + 1)] {
            let found = fixture.series("t1", &selector, range_ms).await;
            assert_eq!(found.iter().flat_map(|s| &s.chunks).filter(crossing).count(), 1, "{stream} {range_ms:?}");
        }
    }
}
