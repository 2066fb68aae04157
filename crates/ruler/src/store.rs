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

    /// What every store that is written gives back.
    async fn check(store: &dyn RuleStore) {
        let (a, b) = (tenant("a"), tenant("b"));
        for (of, namespace, name, expr) in [
            (&a, "team/one", "g 1", "vector(1)"),
            (&a, "team/one", "g/2", "vector(2)"),
            (&a, "100%.yaml", "g", "vector(3)"),
            (&a, ".hidden", "g", "vector(3)"),
            (&b, "two", "g", "vector(4)"),
            (&a, "100%.yaml", "g", "vector(5)"),
        ] {
            store.set(of, namespace, &group(name, expr)).await.unwrap();
        }
        assert_eq!(store.tenants().await.unwrap(), [a.clone(), b.clone()]);
        let groups = store.groups(&a).await.unwrap();
        let expected = BTreeMap::from([
            ("team/one".to_string(), vec![group("g 1", "vector(1)"), group("g/2", "vector(2)")]),
            ("100%.yaml".to_string(), vec![group("g", "vector(5)")]),
            (".hidden".to_string(), vec![group("g", "vector(3)")]),
        ]);
        assert_eq!(groups, expected);
        for _ in 0..2 {
            store.delete(&a, "team/one", "g/2").await.unwrap();
            store.delete(&a, ".hidden", "g").await.unwrap();
        }
        let left = store.groups(&a).await.unwrap();
        assert_eq!((left.len(), left["team/one"].len()), (2, 1));
        assert_eq!(store.groups(&b).await.unwrap()["two"], [group("g", "vector(4)")]);
        assert_eq!(store.groups(&tenant("c")).await.unwrap(), Namespaces::new());
    }

    #[tokio::test]
    async fn what_was_put_comes_back() {
        check(&BucketStore::new(Objects::memory())).await;
        let dir = tempfile::tempdir().unwrap();
        check(&LocalStore::writable(&dir.path().join("rules"))).await;
        let again = LocalStore::read_only(&dir.path().join("rules"));
        assert_eq!(again.groups(&tenant("b")).await.unwrap()["two"], [group("g", "vector(4)")]);
    }

    #[tokio::test]
    async fn rule_files_are_read_and_broken_ones_left_alone() {
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
        let store = LocalStore::read_only(dir.path());
        assert_eq!(store.tenants().await.unwrap(), [tenant("a")]);
        let groups = store.groups(&tenant("a")).await.unwrap();
        assert_eq!(groups, BTreeMap::from([("rules.yaml".to_string(), vec![group("g", "vector(1)")])]));
        let refused = store.set(&tenant("a"), "n", &group("g", "vector(1)")).await.unwrap_err();
        assert!(refused.message.contains("SetRuleGroup unsupported in rule local store"), "{refused}");
        assert!(LocalStore::read_only(&dir.path().join("none")).tenants().await.unwrap().is_empty());
        let store = LocalStore::writable(dir.path());
        assert!(store.set(&tenant("a"), "broken.yaml", &group("g", "vector(1)")).await.is_err());
        assert_eq!(std::fs::read_to_string(dir.path().join("a/broken.yaml")).unwrap(), "groups: [{name: g");
        assert!(store.set(&tenant("a"), &"n".repeat(300), &group("g", "vector(1)")).await.is_err());
    }
}
