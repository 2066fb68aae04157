//! Where rules are kept. It must not know who evaluates them.

mod bucket;
mod local;

pub use bucket::BucketStore;
pub use local::LocalStore;

use crate::rule::Group;
use async_trait::async_trait;
use model::{Result, TenantId};
use std::collections::BTreeMap;

/// Groups by namespace, in the order of their names.
pub type Namespaces = BTreeMap<String, Vec<Group>>;

#[async_trait]
pub trait RuleStore: Send + Sync {
    /// Every tenant that has rules, in order.
    async fn tenants(&self) -> Result<Vec<TenantId>>;
    /// What cannot be read is left out and logged: one broken group does not stop the others.
    async fn groups(&self, tenant: &TenantId) -> Result<Namespaces>;
    /// Writes or replaces; stored when it answers.
    async fn set(&self, tenant: &TenantId, namespace: &str, group: &Group) -> Result<()>;
    /// Removes a group; one that is not there counts as removed.
    async fn delete(&self, tenant: &TenantId, namespace: &str, group: &str) -> Result<()>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use storage::objects::Objects;

    fn tenant(name: &str) -> TenantId {
        TenantId::parse(name).unwrap()
    }

    fn group(name: &str, expr: &str) -> Group {
        Group::parse(&format!("name: {name:?}\ninterval: 30s\nrules: [{{alert: A, expr: {expr:?}, for: 1m}}]")).unwrap()
    }

    #[tokio::test]
    async fn a_bucket_gives_back_what_was_put() {
        let store = BucketStore::new(Objects::memory());
        let (a, b) = (tenant("a"), tenant("b"));
        store.set(&a, "team/one", &group("g 1", "vector(1)")).await.unwrap();
        store.set(&a, "team/one", &group("g/2", "vector(2)")).await.unwrap();
        store.set(&a, "two", &group("g", "vector(3)")).await.unwrap();
        store.set(&b, "two", &group("g", "vector(4)")).await.unwrap();
        store.set(&a, "two", &group("g", "vector(5)")).await.unwrap();
        assert_eq!(store.tenants().await.unwrap(), [a.clone(), b.clone()]);
        let groups = store.groups(&a).await.unwrap();
        let expected = BTreeMap::from([
            ("team/one".to_string(), vec![group("g 1", "vector(1)"), group("g/2", "vector(2)")]),
            ("two".to_string(), vec![group("g", "vector(5)")]),
        ]);
        assert_eq!(groups, expected);
        store.delete(&a, "team/one", "g/2").await.unwrap();
        store.delete(&a, "team/one", "g/2").await.unwrap();
        assert_eq!(store.groups(&a).await.unwrap()["team/one"].len(), 1);
        assert_eq!(store.groups(&b).await.unwrap()["two"], [group("g", "vector(4)")]);
        assert_eq!(store.groups(&tenant("c")).await.unwrap(), Namespaces::new());
    }

    #[tokio::test]
    async fn a_directory_is_read_and_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("a/rules.yaml", "groups: [{name: g, interval: 30s, rules: [{alert: A, expr: vector(1), for: 1m}]}]");
        write("a/broken.yaml", "groups: [{name: g");
        write("a/.hidden", "nothing");
        write("not|a|tenant/rules.yaml", "groups: []");
        let store = LocalStore::new(dir.path());
        assert_eq!(store.tenants().await.unwrap(), [tenant("a")]);
        let groups = store.groups(&tenant("a")).await.unwrap();
        assert_eq!(groups, BTreeMap::from([("rules.yaml".to_string(), vec![group("g", "vector(1)")])]));
        let refused = store.set(&tenant("a"), "n", &group("g", "vector(1)")).await.unwrap_err();
        assert!(refused.message.contains("unsupported in rule local store"), "{refused}");
        assert!(LocalStore::new(&dir.path().join("none")).tenants().await.unwrap().is_empty());
    }
}
