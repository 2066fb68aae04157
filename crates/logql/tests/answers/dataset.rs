//! The data set of the recorded answers as sources in memory, one per tenant. Every stream is stored twice, in blocks of
//! different sizes, as two replicas hold it: the answers must be those of one copy.

use crate::memory::MemorySource;
use serde_json::Value;
use std::collections::BTreeMap;

/// Entries per block of the two copies.
const COPIES: [usize; 2] = [40, 64];

type Metadata = BTreeMap<String, String>;
type Streams = BTreeMap<String, Vec<(i64, String, Metadata)>>;

/// Sources by tenant, of the files that are JSON pushes.
pub fn load(folder: &str) -> BTreeMap<String, MemorySource> {
    let mut tenants: BTreeMap<String, Streams> = BTreeMap::new();
    let mut files: Vec<_> =
        std::fs::read_dir(folder).expect("the data set is there").map(|f| f.expect("a file").path()).collect();
    files.sort();
    for file in files {
        let text = std::fs::read_to_string(file).expect("a readable file");
        let document: Value = serde_json::from_str(&text).expect("a JSON document");
        if document["kind"] != "push" {
            continue;
        }
        let streams = tenants.entry(document["tenant"].as_str().expect("a tenant").into()).or_default();
        for stream in
            document["requests"].as_array().expect("requests").iter().flat_map(|r| r["streams"].as_array()).flatten()
        {
            let entries = streams.entry(labels_text(&stream["stream"])).or_default();
            entries.extend(stream["values"].as_array().expect("values").iter().map(entry));
        }
    }
    tenants.into_iter().map(|(tenant, streams)| (tenant, source(streams))).collect()
}

fn labels_text(labels: &Value) -> String {
    let pairs = labels.as_object().expect("labels").iter();
    model::Labels::new(pairs.map(|(name, value)| (name.as_str(), value.as_str().expect("text")))).to_string()
}

fn entry(value: &Value) -> (i64, String, Metadata) {
    let text = |v: &Value| v.as_str().expect("text").to_string();
    let metadata = value.get(2).and_then(Value::as_object).into_iter().flatten();
    (
        text(&value[0]).parse().expect("nanoseconds"),
        text(&value[1]),
        metadata.map(|(name, value)| (name.clone(), text(value))).collect(),
    )
}

fn source(streams: Streams) -> MemorySource {
    let mut source = MemorySource::default();
    for (labels, mut entries) in streams {
        entries.sort_by_key(|e| e.0);
        let mut kept: Vec<(i64, String, Metadata)> = Vec::new();
        for entry in entries {
            // The ingester keeps equal entries once.
            if !kept.iter().rev().take_while(|k| k.0 == entry.0).any(|k| *k == entry) {
                kept.push(entry);
            }
        }
        for block_entries in COPIES {
            for block in kept.chunks(block_entries) {
                let pairs: Vec<Vec<(&str, &str)>> =
                    block.iter().map(|e| e.2.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect()).collect();
                let entries = block.iter().zip(&pairs).map(|(e, pairs)| (e.0, e.1.as_str(), pairs.as_slice()));
                source.block(&labels, entries);
            }
        }
    }
    source
}
