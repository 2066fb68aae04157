//! Rule groups in an object store, each an object: `rules/<tenant>/<namespace>/<group>`, names in Base64, a message as
//! Loki and Cortex write it (`rulespb.RuleGroupDesc`), so that a bucket serves both.

use super::{Namespaces, RuleStore};
use crate::rule::{Group, Rule};
use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use bytes::Bytes;
use model::{Error, Kind, Result, TenantId};
use prost::Message;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use storage::objects::Objects;

const PREFIX: &str = "rules";
/// Bytes of one group's object.
const OBJECT_BYTES_MAX: u64 = 4 << 20;

pub struct BucketStore {
    objects: Objects,
}

impl BucketStore {
    pub fn new(objects: Objects) -> Self {
        BucketStore { objects }
    }

    async fn read(&self, key: &str) -> Result<Option<Group>> {
        let object = match self.objects.get_at_most(key, OBJECT_BYTES_MAX).await {
            // Deleted since it was listed.
            Err(e) if e.kind == Kind::NotFound => return Ok(None),
            object => object?,
        };
        let described = GroupDesc::decode(object).map_err(|e| Error::corrupt(format!("{key}: {e}")))?;
        Ok(Some(group_of(described)))
    }
}

fn key(tenant: &TenantId, namespace: &str, group: &str) -> String {
    format!("{PREFIX}/{tenant}/{}/{}", URL_SAFE.encode(namespace), URL_SAFE.encode(group))
}

/// Namespace and group of a key below the tenant's prefix.
fn names(key: &str) -> Option<(String, String)> {
    let mut parts = key.rsplit('/');
    let mut name = || String::from_utf8(URL_SAFE.decode(parts.next()?).ok()?).ok();
    let (group, namespace) = (name()?, name()?);
    Some((namespace, group))
}

#[async_trait]
impl RuleStore for BucketStore {
    async fn tenants(&self) -> Result<Vec<TenantId>> {
        let listed = self.objects.list(PREFIX).await?;
        let tenants: BTreeSet<&str> = listed.iter().filter_map(|object| object.key.split('/').nth(1)).collect();
        Ok(tenants.into_iter().filter_map(|name| TenantId::parse(name).ok()).collect())
    }

    async fn groups(&self, tenant: &TenantId) -> Result<Namespaces> {
        let mut namespaces = Namespaces::new();
        for object in self.objects.list(&format!("{PREFIX}/{tenant}")).await? {
            let Some((namespace, _)) = names(&object.key) else { continue };
            match self.read(&object.key).await {
                Ok(Some(group)) => namespaces.entry(namespace).or_default().push(group),
                Ok(None) => {}
                Err(e) if e.kind == Kind::Corrupt => {
                    tracing::error!(%tenant, key = object.key, error = %e, "a rule group is left out");
                }
                Err(e) => return Err(e),
            }
        }
        for groups in namespaces.values_mut() {
            groups.sort_by(|a, b| a.name.cmp(&b.name));
        }
        Ok(namespaces)
    }

    async fn set(&self, tenant: &TenantId, namespace: &str, group: &Group) -> Result<()> {
        let described = GroupDesc {
            name: group.name.clone(),
            namespace: namespace.to_string(),
            interval: Some(span(group.interval)),
            rules: group.rules.iter().map(rule_desc).collect(),
            user: tenant.to_string(),
            limit: i64::try_from(group.limit).unwrap_or(i64::MAX),
        };
        self.objects.put(&key(tenant, namespace, &group.name), Bytes::from(described.encode_to_vec())).await
    }

    async fn delete(&self, tenant: &TenantId, namespace: &str, group: &str) -> Result<()> {
        self.objects.delete(&key(tenant, namespace, group)).await
    }
}

/// `google.protobuf.Duration`.
#[derive(Clone, PartialEq, Message)]
struct Span {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

#[derive(Clone, PartialEq, Message)]
struct LabelPair {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

/// `rulespb.RuleDesc`.
#[derive(Clone, PartialEq, Message)]
struct RuleDesc {
    #[prost(string, tag = "1")]
    expr: String,
    #[prost(string, tag = "2")]
    record: String,
    #[prost(string, tag = "3")]
    alert: String,
    #[prost(message, optional, tag = "4")]
    hold: Option<Span>,
    #[prost(message, repeated, tag = "5")]
    labels: Vec<LabelPair>,
    #[prost(message, repeated, tag = "6")]
    annotations: Vec<LabelPair>,
    #[prost(message, optional, tag = "13")]
    keep_firing_for: Option<Span>,
}

/// `rulespb.RuleGroupDesc`.
#[derive(Clone, PartialEq, Message)]
struct GroupDesc {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    namespace: String,
    #[prost(message, optional, tag = "3")]
    interval: Option<Span>,
    #[prost(message, repeated, tag = "4")]
    rules: Vec<RuleDesc>,
    #[prost(string, tag = "6")]
    user: String,
    #[prost(int64, tag = "10")]
    limit: i64,
}

fn span(duration: Duration) -> Span {
    Span { seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX), nanos: duration.subsec_nanos() as i32 }
}

fn duration(span: Option<Span>) -> Duration {
    let span = span.unwrap_or_default();
    Duration::from_secs(u64::try_from(span.seconds).unwrap_or(0))
        + Duration::from_nanos(u64::try_from(span.nanos).unwrap_or(0))
}

fn pairs(texts: &BTreeMap<String, String>) -> Vec<LabelPair> {
    texts.iter().map(|(name, value)| LabelPair { name: name.clone(), value: value.clone() }).collect()
}

fn texts(pairs: Vec<LabelPair>) -> BTreeMap<String, String> {
    pairs.into_iter().map(|pair| (pair.name, pair.value)).collect()
}

fn rule_desc(rule: &Rule) -> RuleDesc {
    RuleDesc {
        expr: rule.expr.clone(),
        record: rule.record.clone(),
        alert: rule.alert.clone(),
        hold: Some(span(rule.hold)),
        labels: pairs(&rule.labels),
        annotations: pairs(&rule.annotations),
        keep_firing_for: Some(span(rule.keep_firing_for)),
    }
}

fn group_of(described: GroupDesc) -> Group {
    let rule = |rule: RuleDesc| Rule {
        record: rule.record,
        alert: rule.alert,
        expr: rule.expr,
        hold: duration(rule.hold),
        keep_firing_for: duration(rule.keep_firing_for),
        labels: texts(rule.labels),
        annotations: texts(rule.annotations),
    };
    Group {
        name: described.name,
        interval: duration(described.interval),
        limit: u64::try_from(described.limit).unwrap_or(0),
        rules: described.rules.into_iter().map(rule).collect(),
    }
}
