//! Label names, values, series, sizes: answered from the index and the ingesters' label sets, no chunk is read.

use crate::ingesters::Calls;
use crate::notes::Notes;
use crate::source::Stores;
use crate::tenants;
use futures::FutureExt;
use model::{Error, Labels, Matcher, Result, TenantId, TimeRange};
use rpc::ingester::RecentRequest;
use rpc::queries::{Answer, IndexStats, MetadataRequest, Tenants, Volume, VolumeRequest};
use smol_str::SmolStr;
use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap, HashSet};

/// Series of one answer; more are refused rather than collected.
const SERIES_MAX: usize = 1_000_000;

/// The metadata questions of one query service. Over several tenants each is asked with the same matchers: unlike in
/// queries, `__tenant_id__` in a selector is a label like any other, as it is in Loki.
pub struct Metadata {
    pub stores: Stores,
    pub notes: Notes,
}

impl Metadata {
    pub async fn labels(
        self,
        asked: Tenants,
        request: MetadataRequest,
        name: Option<String>,
    ) -> Result<Answer<Vec<String>>> {
        let mut strings = BTreeSet::new();
        for selector in alternatives(request.selectors.clone()) {
            for tenant in &asked.ids {
                if let (true, Some(tenants::TENANT_LABEL)) = (asked.labelled, name.as_deref()) {
                    strings.insert(tenant.to_string());
                    continue;
                }
                let recent = RecentRequest {
                    tenant: tenant.clone(),
                    matchers: selector.clone(),
                    range: request.range,
                    shard: None,
                };
                let calls = Calls::new(&*self.stores.ingesters, |i| {
                    let (recent, name) = (recent.clone(), name.clone());
                    async move { i.labels(recent, name).await }.boxed()
                });
                strings.extend(calls.gather(&self.notes).await?.into_iter().flatten());
                let stored = self.stores.index.labels(recent, name.clone()).await?;
                stored.warnings.into_iter().for_each(|w| self.notes.warn(w));
                strings.extend(stored.value);
            }
        }
        if name.is_none() && asked.labelled && !strings.is_empty() {
            strings.insert(tenants::TENANT_LABEL.to_string());
        }
        Ok(Answer { value: strings.into_iter().collect(), warnings: self.notes.warnings() })
    }

    pub async fn series(self, asked: Tenants, request: MetadataRequest) -> Result<Answer<Vec<Labels>>> {
        let mut all = BTreeSet::new();
        for selector in alternatives(request.selectors.clone()) {
            for tenant in &asked.ids {
                for labels in self.tenant_series(tenant, &selector, request.range).await? {
                    all.insert(if asked.labelled { tenants::label(tenant, &labels) } else { labels });
                }
                if all.len() > SERIES_MAX {
                    return Err(Error::invalid(format!(
                        "more than {SERIES_MAX} series match; use a narrower selector"
                    )));
                }
            }
        }
        Ok(Answer { value: all.into_iter().collect(), warnings: self.notes.warnings() })
    }

    async fn tenant_series(
        &self,
        tenant: &TenantId,
        matchers: &[Matcher],
        range: TimeRange,
    ) -> Result<HashSet<Labels>> {
        let recent = RecentRequest { tenant: tenant.clone(), matchers: matchers.to_vec(), range, shard: None };
        let calls = Calls::new(&*self.stores.ingesters, |i| {
            let recent = recent.clone();
            async move { i.series(recent).await }.boxed()
        });
        let answers = calls.gather(&self.notes).await?;
        let mut all: HashSet<Labels> = answers.into_iter().flatten().collect();
        let stored = self.stores.index.series(recent).await?;
        stored.warnings.into_iter().for_each(|w| self.notes.warn(w));
        all.extend(stored.value);
        Ok(all)
    }

    pub async fn stats(self, asked: Tenants, request: MetadataRequest) -> Result<Answer<IndexStats>> {
        let mut total = IndexStats::default();
        for selector in alternatives(request.selectors.clone()) {
            for tenant in &asked.ids {
                let sizes = self.sizes(tenant, &selector, request.range).await?;
                total.streams += sizes.len() as u64;
                for size in sizes.values() {
                    total.chunks += size.chunks;
                    total.entries += size.entries;
                    total.bytes += size.bytes;
                }
            }
        }
        Ok(Answer { value: total, warnings: self.notes.warnings() })
    }

    pub async fn volume(self, asked: Tenants, request: VolumeRequest) -> Result<Answer<Vec<Volume>>> {
        let mut groups: HashMap<Labels, u64> = HashMap::new();
        for tenant in &asked.ids {
            for (labels, size) in self.sizes(tenant, &request.matchers, request.range).await? {
                for group in volume_groups(&request, &labels) {
                    *groups.entry(group).or_default() += size.bytes;
                }
            }
        }
        let mut volumes: Vec<Volume> = groups.into_iter().map(|(labels, bytes)| Volume { labels, bytes }).collect();
        volumes.sort_by_cached_key(|v| (Reverse(v.bytes), v.labels.to_string()));
        volumes.truncate(request.limit as usize);
        Ok(Answer { value: volumes, warnings: self.notes.warnings() })
    }

    /// What each stream holds in the range, in the index and in memory. A chunk that reaches out of the range counts
    /// with the part of its bytes and entries that its time inside has of all its time.
    async fn sizes(
        &self,
        tenant: &TenantId,
        matchers: &[Matcher],
        range: TimeRange,
    ) -> Result<HashMap<Labels, IndexStats>> {
        let recent = RecentRequest { tenant: tenant.clone(), matchers: matchers.to_vec(), range, shard: None };
        let calls = Calls::new(&*self.stores.ingesters, |i| {
            let recent = recent.clone();
            async move { i.sizes(recent).await }.boxed()
        });
        let answers = calls.gather(&self.notes).await?;
        let stored = self.stores.index.sizes(recent).await?;
        stored.warnings.into_iter().for_each(|w| self.notes.warn(w));
        let mut sizes: HashMap<Labels, IndexStats> = HashMap::new();
        for size in answers.into_iter().flatten().chain(stored.value) {
            let s = sizes.entry(size.labels).or_default();
            s.chunks += size.chunks;
            s.entries += size.entries;
            s.bytes += size.bytes;
        }
        Ok(sizes)
    }
}

/// The groups in which a stream's volume counts.
fn volume_groups(request: &VolumeRequest, labels: &Labels) -> Vec<Labels> {
    let named: Vec<&str> = if request.target_labels.is_empty() {
        request.matchers.iter().map(|m| m.name.as_str()).collect()
    } else {
        request.target_labels.iter().map(String::as_str).collect()
    };
    let every = named.is_empty();
    let wanted = |name: &str| every || named.contains(&name);
    if request.by_label_name {
        let by_target = !request.target_labels.is_empty();
        let names = labels.iter().filter(|l| !by_target || wanted(&l.name));
        return names.map(|l| Labels::new([(l.name.clone(), SmolStr::default())])).collect();
    }
    let kept: Vec<_> = labels.iter().filter(|l| wanted(&l.name)).collect();
    let complete = every || request.target_labels.iter().all(|t| labels.get(t).is_some());
    if kept.is_empty() || !complete {
        return vec![];
    }
    vec![Labels::new(kept.into_iter().map(|l| (l.name.clone(), l.value.clone())))]
}

/// No selector asks for every stream.
fn alternatives(selectors: Vec<Vec<Matcher>>) -> Vec<Vec<Matcher>> {
    if selectors.is_empty() { vec![vec![]] } else { selectors }
}
