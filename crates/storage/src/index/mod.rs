//! The index on the object store: one table per day, each a handful of TSDB files that are never changed once written.
//! `file` is one of them; `ship` adds files; `tables` lists them, `files` keeps local copies, `lookup` asks them, `serve` answers with that as the index's service. It must not know LogQL, nor
//! what is in a chunk.

pub mod file;
mod files;
mod lookup;
mod map;
mod metrics;
mod part;
mod serve;
mod ship;
mod tables;
mod uploader;

pub(crate) use tables::is_index_file;

pub use lookup::IndexReader;
pub use metrics::IndexMetrics;
pub use ship::{IndexEntry, IndexShipper};
pub use uploader::Uploader;

use crate::objects::Objects;
use format::schema::{Period, Schema};
use model::{Error, Result};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// What index files are named after their number and uploader; `.gz` may follow.
const FILE_SUFFIX: &str = ".tsdb";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexSettings {
    /// Local copies of index files, as Loki's `tsdb_shipper.cache_location`. Its content is disposable.
    pub cache_dir: PathBuf,
    /// Disk that the copies may take. Files in use beyond it stay readable until they are let go.
    pub cache_bytes: u64,
    /// How long a listing of a table counts as fresh: a file shipped elsewhere is seen after at most this.
    pub resync_interval: Duration,
    /// Downloads and listings under way at a time.
    pub parallel_fetches_max: usize,
    /// Chunk references that one answer may have before duplicates are dropped: a bound on its memory, 48 bytes each.
    pub answer_chunks_max: usize,
}

impl Default for IndexSettings {
    fn default() -> Self {
        IndexSettings {
            cache_dir: PathBuf::from("tsdb-cache"),
            cache_bytes: 10 << 30,
            resync_interval: Duration::from_secs(60),
            parallel_fetches_max: 32,
            answer_chunks_max: 10_000_000,
        }
    }
}

/// The periods, and the bucket of each.
#[derive(Clone, Debug)]
pub struct Places {
    schema: Arc<Schema>,
    /// By the name in a period's `object_store`.
    stores: HashMap<String, Objects>,
}

impl Places {
    /// `stores` must hold every object store that `schema` names.
    pub fn new(schema: Arc<Schema>, stores: HashMap<String, Objects>) -> Result<Self> {
        for period in schema.periods() {
            let name = &period.object_store;
            if !stores.contains_key(name) {
                return Err(Error::invalid(format!("schema_config: object store {name:?} is not configured")));
            }
            // The name is a directory below the cache directory.
            if name.is_empty() || name.starts_with('.') || name.contains(['/', '\\', '\0']) {
                return Err(Error::invalid(format!(
                    "schema_config: object store {name:?} cannot be a directory's name"
                )));
            }
        }
        Ok(Places { schema, stores })
    }

    /// One store for every period, as most configurations have.
    pub fn single(schema: Arc<Schema>, objects: Objects) -> Result<Self> {
        let stores = schema.periods().iter().map(|p| (p.object_store.clone(), objects.clone())).collect();
        Self::new(schema, stores)
    }

    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// The bucket that holds index and chunks of `period`, which must be one of the schema's.
    pub fn objects(&self, period: &Period) -> &Objects {
        self.stores.get(&period.object_store).expect("the constructor saw a store for every period")
    }
}
