//! Asking the index: which files a request needs, what each of them answers, and one answer of all. Files that cannot
//! be read are warnings in it. It must not know how streams are queried, or what a chunk holds.

use super::files::Files;
use super::part::{Merged, Part, Selector};
use super::tables::Tables;
use super::{IndexMetrics, IndexSettings, Places};
use format::schema::Table;
use format::tsdb::{SeriesChunks, TENANT_LABEL};
use futures::future::join_all;
use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use model::time::{MILLIS_PER_DAY, NANOS_PER_MILLI};
use model::{Error, Kind, Matcher, Result, TenantId};
use rpc::queries::Answer;
use runtime::clock::SharedClock;
use smol_str::SmolStr;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;
use tracing::Instrument;

/// Tables that one request opens at a time.
const PARALLEL_TABLES: usize = 16;
/// Files up to this size together are asked on the calling thread: it is a matter of microseconds.
const INLINE_BYTES_MAX: usize = 256 << 10;
/// No stream's time is further ahead of the clock, so later tables are not looked for.
const FUTURE_MS_MAX: i64 = MILLIS_PER_DAY;

/// The reader of all tables.
pub struct IndexReader {
    places: Places,
    tables: Tables,
    files: Arc<Files>,
    clock: SharedClock,
    metrics: IndexMetrics,
    answer_chunks_max: usize,
}

impl IndexReader {
    pub fn new(places: Places, settings: &IndexSettings, clock: SharedClock, metrics: IndexMetrics) -> Result<Self> {
        let tables = Tables::new(settings, clock.clone(), metrics.clone());
        let files = Files::open(settings, clock.clone(), metrics.clone())?;
        Ok(IndexReader { places, tables, files, clock, metrics, answer_chunks_max: settings.answer_chunks_max })
    }

    /// Makes the next request list its tables anew: what was shipped until now is seen by it.
    pub fn refresh(&self) {
        self.tables.forget_all();
    }

    /// The streams of `tenant` that satisfy `matchers`, with their chunks of which the last millisecond is not before
    /// `from` and the first is before `through`; of fingerprints in the inclusive `shard`. Sorted by fingerprint, each
    /// chunk once. Matchers of the metric name are ignored.
    pub async fn series(
        &self,
        tenant: &TenantId,
        matchers: &[Matcher],
        range_ms: (i64, i64),
        shard: Option<(u64, u64)>,
    ) -> Result<Answer<Vec<SeriesChunks>>> {
        let ((from_ms, through_ms), chunks_max) = (range_ms, self.answer_chunks_max);
        let answer = self.ask("chunk_refs", tenant, matchers, range_ms, move |part, matchers, merged: &mut Merged| {
            let add = |series: format::tsdb::SeriesView<'_>| merged.add(series, chunks_max);
            part.file.for_each_series(matchers, from_ms, through_ms, shard, add)
        });
        let answer = answer.await?;
        Ok(Answer { value: answer.value.finish(), warnings: answer.warnings })
    }

    /// The label names of the streams that satisfy `matchers`, in the files that reach into the range; sorted.
    pub async fn label_names(
        &self,
        tenant: &TenantId,
        matchers: &[Matcher],
        range_ms: (i64, i64),
    ) -> Result<Answer<Vec<String>>> {
        let answer =
            self.ask("label_names", tenant, matchers, range_ms, |part, matchers, names: &mut BTreeSet<SmolStr>| {
                names.extend(part.file.label_names(matchers)?);
                names.remove(TENANT_LABEL);
                Ok(())
            });
        answer.await.map(strings)
    }

    /// The values that label `name` has in the streams that satisfy `matchers`, in the files that reach into the range;
    /// sorted.
    pub async fn label_values(
        &self,
        tenant: &TenantId,
        name: &str,
        matchers: &[Matcher],
        range_ms: (i64, i64),
    ) -> Result<Answer<Vec<String>>> {
        if name == TENANT_LABEL {
            return Ok(Answer::default());
        }
        let name = SmolStr::from(name);
        let answer = self.ask(
            "label_values",
            tenant,
            matchers,
            range_ms,
            move |part, matchers, values: &mut BTreeSet<SmolStr>| {
                values.extend(part.file.label_values(&name, matchers)?);
                Ok(())
            },
        );
        answer.await.map(strings)
    }

    /// Puts one question to every file that may know something, off the async threads where that takes long.
    async fn ask<T: Default + Send + 'static>(
        &self,
        operation: &'static str,
        tenant: &TenantId,
        matchers: &[Matcher],
        range_ms: (i64, i64),
        question: impl Fn(&Part, &[Matcher], &mut T) -> Result<()> + Send + 'static,
    ) -> Result<Answer<T>> {
        let started = Instant::now();
        let answer = self.look_up(tenant, matchers, range_ms, question);
        let answer = answer.instrument(tracing::info_span!("index", operation)).await;
        self.metrics.request(operation, answer.is_ok(), started.elapsed());
        answer
    }

    async fn look_up<T: Default + Send + 'static>(
        &self,
        tenant: &TenantId,
        matchers: &[Matcher],
        range_ms: (i64, i64),
        question: impl Fn(&Part, &[Matcher], &mut T) -> Result<()> + Send + 'static,
    ) -> Result<Answer<T>> {
        let (parts, mut warnings) = self.parts(tenant, range_ms).await?;
        let selector = Selector::new(tenant, matchers);
        let bytes: usize = parts.iter().map(|part| part.file.as_bytes().len()).sum();
        let work = move || ask_parts(&parts, &selector, question);
        let (value, failed) = if bytes > INLINE_BYTES_MAX {
            tokio::task::spawn_blocking(work).await.map_err(|e| Error::internal(format!("index lookup: {e}")))??
        } else {
            work()?
        };
        for (part, error) in failed {
            self.files.suspect(&part.store, &part.key, &error);
            warnings.insert(warning(&part.key, &error));
        }
        Ok(Answer { value, warnings: warnings.into_iter().collect() })
    }

    /// The opened files that reach into the range, and a warning for each that cannot be opened.
    async fn parts(&self, tenant: &TenantId, range_ms: (i64, i64)) -> Result<(Vec<Part>, BTreeSet<String>)> {
        let (from_ms, through_ms) = range_ms;
        let latest_ms = self.clock.now_ns() / NANOS_PER_MILLI + FUTURE_MS_MAX;
        let tables = self.places.schema.tables(from_ms, through_ms.min(latest_ms))?;
        let calls: Vec<_> = tables.iter().map(|table| self.table_parts(table, tenant).boxed()).collect();
        let opened = stream::iter(calls).buffered(PARALLEL_TABLES);
        let (mut parts, mut warnings) = (Vec::new(), BTreeSet::new());
        for (of_table, of_table_warnings) in opened.try_collect::<Vec<_>>().await? {
            parts.extend(of_table.into_iter().filter(|part: &Part| part.file.overlaps(from_ms, through_ms)));
            warnings.extend(of_table_warnings);
        }
        Ok((parts, warnings))
    }

    /// The files of one table. When one is gone since it was listed, a compaction has replaced it: the table is listed
    /// once more.
    async fn table_parts(&self, table: &Table<'_>, tenant: &TenantId) -> Result<(Vec<Part>, Vec<String>)> {
        if let Some(answer) = self.try_table_parts(table, tenant, false).await? {
            return Ok(answer);
        }
        self.tables.forget(&table.period.object_store, &table.key());
        let answer = self.try_table_parts(table, tenant, true).await?;
        answer.ok_or_else(|| Error::internal("an index table that was listed twice has no answer"))
    }

    /// `None` when a listed file is gone and that is not yet to be a warning.
    async fn try_table_parts(
        &self,
        table: &Table<'_>,
        tenant: &TenantId,
        last_try: bool,
    ) -> Result<Option<(Vec<Part>, Vec<String>)>> {
        let (store, objects) = (&table.period.object_store, self.places.objects(table.period));
        let listing = self.tables.list(store, objects, &table.key()).await?;
        let files: Vec<_> = listing.files(tenant).collect();
        let opened: Vec<_> = files.iter().map(|(listed, _)| self.files.get(store, objects, listed).boxed()).collect();
        let (mut parts, mut warnings) = (Vec::new(), Vec::new());
        for ((listed, shared), file) in files.into_iter().zip(join_all(opened).await) {
            match file {
                Ok(file) => parts.push(Part { file, store: store.clone(), key: listed.key.clone(), shared }),
                Err(e) if e.kind == Kind::NotFound && !last_try => return Ok(None),
                Err(e) if matches!(e.kind, Kind::NotFound | Kind::Corrupt | Kind::TooLarge) => {
                    warnings.push(warning(&listed.key, &e));
                }
                Err(e) => return Err(e),
            }
        }
        Ok(Some((parts, warnings)))
    }
}

/// What all parts answer together, and those whose bytes were found corrupt on the way.
fn ask_parts<T: Default>(
    parts: &[Part],
    selector: &Selector,
    question: impl Fn(&Part, &[Matcher], &mut T) -> Result<()>,
) -> Result<(T, Vec<(Part, Error)>)> {
    let (mut value, mut failed) = (T::default(), Vec::new());
    for part in parts {
        match question(part, selector.of(part), &mut value) {
            Ok(()) => {}
            Err(e) if e.kind == Kind::Corrupt => failed.push((part.clone(), e)),
            Err(e) => return Err(e),
        }
    }
    Ok((value, failed))
}

fn warning(key: &str, error: &Error) -> String {
    format!("index file {key} could not be read, streams may be missing: {error}")
}

fn strings(found: Answer<BTreeSet<SmolStr>>) -> Answer<Vec<String>> {
    Answer { value: found.value.into_iter().map(String::from).collect(), warnings: found.warnings }
}
