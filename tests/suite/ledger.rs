//! A ledger of pushed lines under load: what was acknowledged must come back exactly once, what was refused or never
//! answered at most once, and nothing else.

use crate::client::{Client, Line, now_ns};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;

/// Hot streams are not spread: how many shards one has is forgotten with the process that measured its rate, and a push
/// that is repeated afterwards may be stored in another shard once more.
pub const ONE_STREAM: &str = "limits_config: {shard_streams: {enabled: false}}\n";

/// Lines in one push.
const LINES_PER_PUSH: usize = 20;

/// A producer of one stream: pushes until it is told to stop, repeating what nobody answered.
pub struct Producer {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Written>,
    pub name: String,
}

/// What a producer wrote.
#[derive(Default)]
pub struct Written {
    pub acknowledged: BTreeMap<i64, String>,
    /// Sent, never answered: may be there or not.
    pub unknown: BTreeMap<i64, String>,
    pub failed_pushes: u64,
}

impl Producer {
    pub fn start(client: Client, name: &str) -> Producer {
        let stop = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn(produce(client, name.to_string(), stop.clone()));
        Producer { stop, task, name: name.to_string() }
    }

    pub async fn finish(self) -> (String, Written) {
        self.stop.store(true, Ordering::SeqCst);
        (self.name, self.task.await.unwrap())
    }
}

async fn produce(client: Client, name: String, stop: Arc<AtomicBool>) -> Written {
    let mut written = Written::default();
    let mut seq = 0u64;
    while !stop.load(Ordering::SeqCst) {
        let base = now_ns();
        let lines: Vec<(i64, String)> = (0..LINES_PER_PUSH)
            .map(|i| {
                seq += 1;
                (base + i as i64, format!("producer={name} seq={seq} ts={base} {}", "x".repeat((seq % 100) as usize)))
            })
            .collect();
        loop {
            match client.push(&[("job", "ledger"), ("producer", &name)], &lines).await {
                Some(204) => {
                    written.acknowledged.extend(lines);
                    break;
                }
                _ if stop.load(Ordering::SeqCst) => {
                    written.unknown.extend(lines);
                    break;
                }
                _ => {
                    written.failed_pushes += 1;
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        }
    }
    written
}

/// Compares what a producer wrote with what a query returned; answers the number of acknowledged lines.
pub fn check(name: &str, written: &Written, returned: &[Line]) -> usize {
    let mut seen: BTreeMap<i64, &Line> = BTreeMap::new();
    for line in returned {
        let twice = seen.insert(line.ts_ns, line);
        assert!(twice.is_none(), "{name}: two lines at one time: {twice:?} and {line:?}");
        let known = written.acknowledged.get(&line.ts_ns).or_else(|| written.unknown.get(&line.ts_ns));
        assert_eq!(known.map(String::as_str), Some(line.text.as_str()), "{name}: a line that was never sent");
    }
    let lost: Vec<_> = written.acknowledged.iter().filter(|(ts, _)| !seen.contains_key(ts)).take(3).collect();
    let count = written.acknowledged.keys().filter(|ts| !seen.contains_key(ts)).count();
    assert!(
        count == 0,
        "{name}: {count} of {} acknowledged lines are lost, such as {lost:?}",
        written.acknowledged.len()
    );
    written.acknowledged.len()
}
