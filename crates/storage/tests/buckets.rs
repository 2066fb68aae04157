//! Every bucket, and every decorator around one, keeps the same contract.

use std::sync::Arc;
use storage::objects::{
    Bucket, FilesystemSettings, Limited, Metered, ObjectMetrics, ObjectSettings, Objects, Place, Spread, StoreKind,
    open,
};
use storage::testing::{Faults, Faulty, bucket_contract};

fn decorated(wrap: impl FnOnce(Arc<dyn Bucket>) -> Arc<dyn Bucket>) -> Objects {
    Objects::memory().wrapped(wrap)
}

#[tokio::test]
async fn memory_keeps_the_contract() {
    bucket_contract(&Objects::memory()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    bucket_contract(&Objects::local(dir.path()).unwrap()).await;
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left behind");
}

#[tokio::test]
async fn decorators_keep_the_contract() {
    let metrics = ObjectMetrics::register(&mut Default::default());
    bucket_contract(&decorated(|inner| Arc::new(Limited::new(inner, 1)))).await;
    bucket_contract(&decorated(|inner| Arc::new(Metered::new(inner, "m", StoreKind::Local, metrics)))).await;
    bucket_contract(&decorated(|inner| Arc::new(Faulty::new(inner, Faults::default())))).await;
}

#[tokio::test]
async fn several_buckets_keep_the_contract_of_one() {
    let mut parts: Vec<Arc<dyn Bucket>> = vec![];
    for _ in 0..3 {
        Objects::memory().wrapped(|inner| {
            parts.push(inner.clone());
            inner
        });
    }
    let spread = Arc::new(Spread::new(parts.clone()).unwrap());
    bucket_contract(&decorated(|_| spread.clone())).await;
    for i in 0..30 {
        spread.put(&format!("t/{i}"), bytes::Bytes::new()).await.unwrap();
    }
    for part in &parts {
        assert!(!part.list("").await.unwrap().is_empty(), "each bucket takes its share");
    }
}

#[tokio::test]
async fn a_store_opened_from_settings_keeps_the_contract_under_its_prefix() {
    let dir = tempfile::tempdir().unwrap();
    let directory = dir.path().to_str().unwrap().to_string();
    let settings = ObjectSettings::new(Place::Filesystem(FilesystemSettings { directory }));
    bucket_contract(&open("filesystem", &settings, None).unwrap()).await;
}
