//! One table (one day's index): its files of several tenants and its files of single tenants become one file per
//! tenant. Sources are deleted only after their successor has been read back and verified.

use crate::index_file::{self, TENANT_LABEL};
use crate::retention::Retention;
use format::tsdb::{Index, IndexBuilder};
use format::{ChunkRef, TsdbVersion};
use model::{Error, Labels, Result, TenantId};
use std::collections::BTreeMap;
use storage::objects::Objects;

/// What one table is made of.
pub struct Table<'a> {
    pub objects: &'a Objects,
    /// `<path_prefix><table>/`
    pub prefix: String,
    pub version: TsdbVersion,
    pub now_ns: i64,
}

/// The files of a table, by their place.
#[derive(Default)]
struct Files {
    shared: Vec<String>,
    tenants: BTreeMap<String, Vec<String>>,
}

/// What a round did to a table.
#[derive(Debug, Default, PartialEq)]
pub struct Compacted {
    pub files_merged: usize,
    pub files_written: usize,
    /// Chunks whose index rows are gone, to be deleted later.
    pub expired: Vec<(TenantId, ChunkRef)>,
}

impl Table<'_> {
    /// Merges what there is to merge; with `retention`, drops expired rows as well.
    pub async fn compact(&self, retention: Option<&Retention<'_>>) -> Result<Compacted> {
        let files = self.files().await?;
        let mut done = Compacted::default();
        let mut shared: BTreeMap<String, Vec<(Labels, format::tsdb::SeriesChunks)>> = BTreeMap::new();
        for key in &files.shared {
            for series in all_series(&index_file::read(self.objects, key).await?)? {
                let (tenant, labels) = split_tenant(&series.labels).ok_or_else(|| no_tenant(key, &series.labels))?;
                shared.entry(tenant).or_default().push((labels, series));
            }
        }
        let none = vec![];
        let tenants: Vec<&String> = shared.keys().chain(files.tenants.keys()).collect();
        let mut seen = std::collections::BTreeSet::new();
        for tenant in tenants.into_iter().filter(|t| seen.insert(t.as_str())) {
            let own = files.tenants.get(tenant).unwrap_or(&none);
            let from_shared = shared.get(tenant).map_or(&[][..], Vec::as_slice);
            self.compact_tenant(tenant, own, from_shared, retention, &mut done).await?;
        }
        for key in &files.shared {
            self.objects.delete(key).await?;
        }
        done.files_merged += files.shared.len();
        Ok(done)
    }

    async fn compact_tenant(
        &self,
        tenant: &str,
        own: &[String],
        from_shared: &[(Labels, format::tsdb::SeriesChunks)],
        retention: Option<&Retention<'_>>,
        done: &mut Compacted,
    ) -> Result<()> {
        let tenant = TenantId::parse(tenant).map_err(|e| e.context(&self.prefix))?;
        let mut rows: Vec<(Labels, format::tsdb::SeriesChunks)> = from_shared.to_vec();
        for key in own {
            let series = all_series(&index_file::read(self.objects, key).await?)?;
            rows.extend(series.into_iter().map(|s| (s.labels.clone(), s)));
        }
        let expired = retention.map_or(vec![], |r| r.take_expired(&tenant, &mut rows, self.now_ns));
        if from_shared.is_empty() && own.len() < 2 && expired.is_empty() {
            return Ok(());
        }
        let mut builder = IndexBuilder::new(self.version);
        for (labels, series) in rows.into_iter().filter(|(_, s)| !s.chunks.is_empty()) {
            builder.add(labels, series.fingerprint, series.chunks);
        }
        let mut successor = None;
        if !builder.is_empty() {
            let name = |index: &Index<Vec<u8>>| {
                let (from, through, crc) = (index.from_ms(), index.through_ms(), index.toc_checksum());
                format!("{}{tenant}/{}-compactor-{from}-{through}-{crc:x}.tsdb.gz", self.prefix, self.now_ns)
            };
            successor = Some(index_file::write(self.objects, builder, name).await?);
            done.files_written += 1;
        }
        for key in own.iter().filter(|key| Some(*key) != successor.as_ref()) {
            self.objects.delete(key).await?;
        }
        done.files_merged += own.len();
        done.expired.extend(expired.into_iter().map(|chunk| (tenant.clone(), chunk)));
        Ok(())
    }

    async fn files(&self) -> Result<Files> {
        let mut files = Files::default();
        for object in self.objects.list(&self.prefix).await? {
            let rest = object.key.strip_prefix(&self.prefix).unwrap_or(&object.key);
            match rest.split_once('/') {
                _ if !(rest.ends_with(".tsdb.gz") || rest.ends_with(".tsdb")) => {}
                None => files.shared.push(object.key),
                Some((tenant, _)) => files.tenants.entry(tenant.to_string()).or_default().push(object.key),
            }
        }
        Ok(files)
    }
}

fn all_series(index: &Index<Vec<u8>>) -> Result<Vec<format::tsdb::SeriesChunks>> {
    index.series(&[], i64::MIN, i64::MAX, None)
}

/// The tenant of a row of a shared file, and the stream's own labels.
fn split_tenant(labels: &Labels) -> Option<(String, Labels)> {
    let tenant = labels.get(TENANT_LABEL)?.to_string();
    let own = labels.iter().filter(|l| l.name != TENANT_LABEL).map(|l| (l.name.clone(), l.value.clone()));
    Some((tenant, Labels::new(own)))
}

fn no_tenant(key: &str, labels: &Labels) -> Error {
    Error::corrupt(format!("{key}: the series {labels} names no tenant ({TENANT_LABEL})"))
}
