//! One index file among those that a question goes to, and how answers of several are put together.

use super::files::IndexFile;
use foldhash::fast::FixedState;
use format::ChunkRef;
use format::tsdb::{SeriesChunks, SeriesView, TENANT_LABEL};
use model::{Error, Labels, Matcher, Result, TenantId};
use std::collections::HashMap;
use std::sync::Arc;

/// An opened file.
#[derive(Clone)]
pub(super) struct Part {
    pub(super) file: Arc<IndexFile>,
    pub(super) store: String,
    pub(super) key: String,
    /// Whether series of other tenants are in it.
    pub(super) shared: bool,
}

/// A tenant's matchers: in shared files one more keeps other tenants out.
pub(super) struct Selector {
    own: Vec<Matcher>,
    shared: Vec<Matcher>,
}

impl Selector {
    pub(super) fn new(tenant: &TenantId, matchers: &[Matcher]) -> Self {
        let of_tenant = Matcher::equal(TENANT_LABEL, tenant.as_str());
        Selector { own: matchers.to_vec(), shared: matchers.iter().cloned().chain([of_tenant]).collect() }
    }

    pub(super) fn of(&self, part: &Part) -> &[Matcher] {
        if part.shared { &self.shared } else { &self.own }
    }
}

/// Series of several files, each once, without the tenant's label.
#[derive(Default)]
pub(super) struct Merged {
    /// By fingerprint; seldom do two label sets share one.
    series: HashMap<u64, Vec<SeriesChunks>, FixedState>,
    chunks: usize,
}

impl Merged {
    /// `Invalid` when that makes more than `chunks_max`.
    pub(super) fn add(&mut self, found: SeriesView<'_>, chunks_max: usize) -> Result<()> {
        self.chunks += found.chunks.len();
        if self.chunks > chunks_max {
            return Err(Error::invalid(format!(
                "the index lists more than {chunks_max} chunks for the request: narrow its time range or its selector"
            )));
        }
        let same_fingerprint = self.series.entry(found.fingerprint.0).or_default();
        match same_fingerprint
            .iter_mut()
            .find(|known| known.labels.iter().map(|l| (l.name.as_str(), l.value.as_str())).eq(visible(&found)))
        {
            Some(known) => known.chunks.extend_from_slice(found.chunks),
            None => same_fingerprint.push(SeriesChunks {
                labels: Labels::new(visible(&found)),
                fingerprint: found.fingerprint,
                chunks: found.chunks.to_vec(),
            }),
        }
        Ok(())
    }

    /// Sorted by fingerprint and labels; chunks by time, each once, however many replicas or half-finished compactions
    /// list it.
    pub(super) fn finish(self) -> Vec<SeriesChunks> {
        let mut all: Vec<SeriesChunks> = self.series.into_values().flatten().collect();
        all.sort_unstable_by(|a, b| (a.fingerprint, &a.labels).cmp(&(b.fingerprint, &b.labels)));
        let key = |c: &ChunkRef| (c.from_ms, c.through_ms, c.checksum);
        for series in &mut all {
            series.chunks.sort_by_key(key);
            series.chunks.dedup_by_key(|c| key(c));
        }
        all
    }
}

/// The labels that the stream has of its own.
fn visible<'v>(series: &'v SeriesView<'_>) -> impl Iterator<Item = (&'v str, &'v str)> {
    series.labels.iter().copied().filter(|(name, _)| *name != TENANT_LABEL)
}
