//! The series of several index files as one list: a tenant's rows, each series and each chunk once.
//! It must not know where files live.

use format::tsdb::{SeriesChunks, TENANT_LABEL};
use model::{Error, Labels, Matcher, Result, TenantId};
use std::collections::BTreeSet;
use storage::index::file::File;

/// The tenants in a file of several. `Corrupt` when a series names none: it would be lost when the file goes.
pub fn tenants(file: &File) -> Result<BTreeSet<TenantId>> {
    let nobody = file.series(&[Matcher::equal(TENANT_LABEL, "")], i64::MIN, i64::MAX, None)?;
    if let Some(series) = nobody.first() {
        return Err(Error::corrupt(format!("the series {} names no tenant ({TENANT_LABEL})", series.labels)));
    }
    let names = file.label_values(TENANT_LABEL, &[])?;
    names.iter().map(|name| TenantId::parse(name).map_err(|e| Error::corrupt(e.message))).collect()
}

/// The series of `tenant` in files of several tenants and in files of its own; sorted by fingerprint and labels, chunks
/// by time.
pub fn merged(tenant: &TenantId, shared: &[&File], own: &[&File]) -> Result<Vec<SeriesChunks>> {
    let mut rows = Vec::new();
    for file in own {
        rows.extend(file.series(&[], i64::MIN, i64::MAX, None)?);
    }
    let of_tenant = [Matcher::equal(TENANT_LABEL, tenant.as_str())];
    for file in shared {
        file.for_each_series(&of_tenant, i64::MIN, i64::MAX, None, |series| {
            let visible = series.labels.iter().copied().filter(|(name, _)| *name != TENANT_LABEL);
            rows.push(SeriesChunks {
                labels: Labels::new(visible),
                fingerprint: series.fingerprint,
                chunks: series.chunks.to_vec(),
            });
            Ok(())
        })?;
    }
    Ok(format::tsdb::merge(rows))
}
