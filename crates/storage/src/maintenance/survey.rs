//! What objects there are, told by their names: chunks, index files, others that are known, and strangers.
//! It must not know what is in an object.

use super::catalog::Catalog;
use super::findings::{FindingKind, Findings};
use crate::index::{Places, is_index_file};
use crate::objects::{ObjectMeta, Objects};
use format::key::parse_key;
use format::schema::TsdbVersion;
use model::time::MILLIS_PER_DAY;
use model::{Result, TenantId};
use std::collections::BTreeMap;

/// Beginnings and ends of names that Loki, its ruler or lokirs itself gives to other objects.
const OTHER_PREFIXES: [&str; 3] = ["lokirs/", "rules/", "__deletion_manifest__/"];
const OTHER_SUFFIXES: [&str; 3] = ["delete_requests.gz", "delete_requests.sqlite.gz", "loki_cluster_seed.json"];

/// One index object.
#[derive(Clone, Debug)]
pub(super) struct IndexObject {
    pub(super) key: String,
    pub(super) bytes: u64,
    /// Whose it is; `None` for a file of several tenants.
    pub(super) tenant: Option<TenantId>,
}

/// One day's table.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) objects: Objects,
    /// `<path_prefix><table>`, without a final `/`.
    pub(super) key: String,
    pub(super) version: TsdbVersion,
    pub(super) files: Vec<IndexObject>,
}

/// All objects of all buckets.
pub(super) struct Survey {
    pub(super) catalog: Catalog,
    /// By day.
    pub(super) tables: BTreeMap<i64, Table>,
}

impl Survey {
    pub(super) async fn of(places: &Places, findings: &mut Findings) -> Result<Survey> {
        let mut survey = Survey { catalog: Catalog::new(places), tables: BTreeMap::new() };
        let mut listed: Vec<&str> = Vec::new();
        for period in places.schema().periods() {
            let store = period.object_store.as_str();
            if listed.contains(&store) {
                continue;
            }
            listed.push(store);
            for object in places.objects(period).list("").await? {
                survey.enter(places, store, object, findings)?;
            }
        }
        findings.counts.tables = survey.tables.len() as u64;
        Ok(survey)
    }

    fn enter(&mut self, places: &Places, store: &str, object: ObjectMeta, findings: &mut Findings) -> Result<()> {
        if self.enter_index(places, store, &object, findings) || self.enter_chunk(places, store, &object, findings)? {
            return Ok(());
        }
        let key = object.key.as_str();
        let is_other =
            OTHER_PREFIXES.iter().any(|p| key.starts_with(p)) || OTHER_SUFFIXES.iter().any(|s| key.ends_with(s));
        match is_other {
            true => findings.counts.other_objects += 1,
            false => findings.unknown(key),
        }
        Ok(())
    }

    /// Whether the object lies in an index table.
    fn enter_index(&mut self, places: &Places, store: &str, object: &ObjectMeta, findings: &mut Findings) -> bool {
        let Some((day, mut table, inside)) = table_of(places, store, &object.key) else { return false };
        let segments: Vec<&str> = inside.split('/').collect();
        let tenant = match segments[..] {
            [name] if is_index_file(name) => None,
            [tenant, name] if is_index_file(name) => match TenantId::parse(tenant) {
                Ok(tenant) => Some(tenant),
                Err(e) => {
                    findings.add(FindingKind::IndexName, &object.key, e.message);
                    return true;
                }
            },
            [_] | [_, _] => {
                findings.unknown(&object.key);
                return true;
            }
            _ => {
                let text = "lies deeper than files of a table do: Loki cannot list the table";
                findings.add(FindingKind::IndexName, &object.key, text);
                return true;
            }
        };
        findings.counts.index_files += 1;
        let file = IndexObject { key: object.key.clone(), bytes: object.size, tenant };
        match self.tables.get_mut(&day) {
            Some(known) => known.files.push(file),
            None => {
                table.files.push(file);
                self.tables.insert(day, table);
            }
        }
        true
    }

    /// Whether the object is named as a chunk of this bucket.
    fn enter_chunk(
        &mut self,
        places: &Places,
        store: &str,
        object: &ObjectMeta,
        findings: &mut Findings,
    ) -> Result<bool> {
        let named = places.schema().periods().iter().find(|p| p.object_store == store).and_then(|p| {
            let objects = places.objects(p);
            parse_key(&objects.chunk_key(&object.key)?).ok()
        });
        let Some((tenant, chunk)) = named else { return Ok(false) };
        let Some(period) = places.schema().period_at(chunk.from_ms).filter(|p| p.object_store == store) else {
            return Ok(false);
        };
        let asked_for = places.objects(period).chunk_name(&chunk.key(&tenant, period.schema));
        if asked_for != object.key {
            findings.add(FindingKind::ChunkName, &object.key, format!("readers ask for {asked_for}"));
            return Ok(true);
        }
        findings.counts.chunks += 1;
        findings.counts.chunk_bytes += object.size;
        let id = self.catalog.id(&tenant, &chunk);
        self.catalog.known(id)?.stored_bytes = Some(object.size);
        Ok(true)
    }
}

/// The table in whose folder `key` lies, and the rest of the key.
fn table_of<'k>(places: &Places, store: &str, key: &'k str) -> Option<(i64, Table, &'k str)> {
    let schema = places.schema();
    schema.periods().iter().filter(|p| p.object_store == store).find_map(|period| {
        let (name, inside) = key.strip_prefix(period.path_prefix.as_str())?.split_once('/')?;
        let day = period.day_of_table(name)?;
        let home = schema.period_at(day.checked_mul(MILLIS_PER_DAY)?)?;
        (std::ptr::eq(home, period) && period.table(day) == name)
            .then(|| (day, table(places, day), inside))
            .and_then(|(day, table, inside)| Some((day, table?, inside)))
    })
}

/// The table of `day`, without files; `None` before the first period.
pub(super) fn table(places: &Places, day: i64) -> Option<Table> {
    let period = places.schema().period_at(day.checked_mul(MILLIS_PER_DAY)?)?;
    Some(Table {
        objects: places.objects(period).clone(),
        key: format!("{}{}", period.path_prefix, period.table(day)),
        version: period.schema.tsdb_version(),
        files: Vec::new(),
    })
}
