//! What index tables there are, and whose files are in them. It must not know what is in a file.

use format::schema::{Period, Schema, TsdbVersion};
use model::time::MILLIS_PER_DAY;
use model::{Result, TenantId};
use std::collections::BTreeMap;
use storage::index::Places;
use storage::objects::Objects;

/// One day's index table, with the files it had when it was listed.
#[derive(Clone, Debug)]
pub struct Table {
    pub objects: Objects,
    /// `<path_prefix><table>`, without a final `/`.
    pub key: String,
    pub day: i64,
    pub version: TsdbVersion,
    /// Keys of files of several tenants.
    pub shared: Vec<String>,
    /// Keys of files of one tenant each.
    pub own: BTreeMap<TenantId, Vec<String>>,
}

impl Table {
    /// The first and the last millisecond of the table's day.
    pub fn bounds_ms(&self) -> (i64, i64) {
        let start_ms = self.day.saturating_mul(MILLIS_PER_DAY);
        (start_ms, start_ms.saturating_add(MILLIS_PER_DAY - 1))
    }

    /// Whether a chunk with these bounds is to be listed here.
    pub fn lists(&self, from_ms: i64, through_ms: i64) -> bool {
        let (start_ms, end_ms) = self.bounds_ms();
        from_ms <= end_ms && through_ms >= start_ms
    }
}

/// All tables, newest first. Folders that are no period's table, and files that are no index files, are left out.
pub async fn discover(places: &Places) -> Result<Vec<Table>> {
    let schema = places.schema();
    let mut found: BTreeMap<i64, Table> = BTreeMap::new();
    let mut listed: Vec<(&str, &str)> = Vec::new();
    for period in schema.periods() {
        let place = (period.object_store.as_str(), period.path_prefix.as_str());
        if listed.contains(&place) {
            continue;
        }
        listed.push(place);
        let objects = places.objects(period);
        for object in objects.list(&period.path_prefix).await? {
            let Some(inside) = object.key.strip_prefix(&period.path_prefix) else { continue };
            let segments: Vec<&str> = inside.split('/').collect();
            let (Some(name), Some(file)) = (segments.first(), segments.last()) else { continue };
            let Some((home, day)) = table_of(schema, place, name) else { continue };
            if !is_index_file(file) {
                continue;
            }
            let table = found.entry(day).or_insert_with(|| Table {
                objects: objects.clone(),
                key: format!("{}{name}", home.path_prefix),
                day,
                version: home.schema.tsdb_version(),
                shared: vec![],
                own: BTreeMap::new(),
            });
            match segments[..] {
                [_, _] => table.shared.push(object.key),
                // A folder that cannot be a tenant's is nobody's: it is not read, and not touched.
                [_, tenant, _] => {
                    if let Ok(tenant) = TenantId::parse(tenant) {
                        table.own.entry(tenant).or_default().push(object.key);
                    }
                }
                _ => {}
            }
        }
    }
    Ok(found.into_values().rev().collect())
}

/// The period and the day of the table `name` in a place; `None` when the day is none of that period's.
fn table_of<'s>(schema: &'s Schema, place: (&str, &str), name: &str) -> Option<(&'s Period, i64)> {
    schema.periods().iter().find_map(|period| {
        let day = period.day_of_table(name)?;
        let home = schema.period_at(day.checked_mul(MILLIS_PER_DAY)?)?;
        let here = (period.object_store.as_str(), period.path_prefix.as_str()) == place;
        // A name that does not spell its number as we do is another folder: `index_0007`.
        (here && std::ptr::eq(home, period) && period.table(day) == name).then_some((period, day))
    })
}

/// `<number>-<anything>.tsdb`, perhaps compressed.
fn is_index_file(name: &str) -> bool {
    let base = name.strip_suffix(".gz").unwrap_or(name).strip_suffix(".tsdb");
    let number = base.and_then(|base| base.split_once('-')).map_or("", |(number, _)| number);
    !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())
}

/// The oldest and newest millisecond of the chunks in a file that a compactor named:
/// `<ns>-compactor-<from>-<through>-<crc>.tsdb.gz`.
pub fn bounds_of_name(key: &str) -> Option<(i64, i64)> {
    let name = key.rsplit('/').next()?;
    let (_, bounds) = name.split_once("-compactor-")?;
    let mut numbers = bounds.split('-');
    let (from, through) = (numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?);
    Some((from, through))
}

/// The number that a file's name begins with, in nanoseconds.
pub fn stamp_of_name(key: &str) -> Option<i64> {
    key.rsplit('/').next()?.split_once('-')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use format::schema::SchemaVersion;
    use std::sync::Arc;

    fn period(day: i64, schema: SchemaVersion) -> Period {
        let (index_prefix, path_prefix) = ("t_".to_string(), "index/".to_string());
        Period { from_ms: day * MILLIS_PER_DAY, schema, index_prefix, path_prefix, object_store: "s".into() }
    }

    #[tokio::test]
    async fn tables_are_found_newest_first_with_the_version_of_their_period() {
        let objects = Objects::memory();
        for key in [
            "index/t_10/1-a.tsdb.gz",
            "index/t_10/acme/2-compactor-1-2-3.tsdb.gz",
            "index/t_10/acme/deeper/2-x.tsdb.gz",
            "index/t_10/a b/2-x.tsdb.gz",
            "index/t_11/acme/3-x.tsdb",
            "index/t_11/acme/notes.txt",
            "index/t_9/1-a.tsdb.gz",
            "index/t_010/1-a.tsdb.gz",
            "index/delete_requests/delete_requests.gz",
        ] {
            objects.put(key, Bytes::new()).await.unwrap();
        }
        let periods = vec![period(10, SchemaVersion::V12), period(11, SchemaVersion::V13)];
        let places = Places::single(Arc::new(Schema::new(periods).unwrap()), objects).unwrap();
        let tables = discover(&places).await.unwrap();
        let (acme, found): (TenantId, Vec<_>) = (
            TenantId::parse("acme").unwrap(),
            tables.iter().map(|t| (t.key.as_str(), t.version, t.shared.len(), t.own.len())).collect(),
        );
        assert_eq!(found, [("index/t_11", TsdbVersion::V3, 0, 1), ("index/t_10", TsdbVersion::V2, 1, 1)]);
        assert_eq!(tables[1].own[&acme], ["index/t_10/acme/2-compactor-1-2-3.tsdb.gz"]);
    }

    #[test]
    fn names_tell_bounds_and_stamp() {
        for (key, bounds, stamp) in [
            ("index/t_1/a/17-compactor-5-9-ab.tsdb.gz", Some((5, 9)), Some(17)),
            ("index/t_1/17-vm-1795.tsdb.gz", None, Some(17)),
            ("index/t_1/a/17-compactor-x-9-ab.tsdb.gz", None, Some(17)),
            ("index/t_1/a/x-compactor-5-9-ab.tsdb.gz", Some((5, 9)), None),
        ] {
            assert_eq!((bounds_of_name(key), stamp_of_name(key)), (bounds, stamp), "{key}");
        }
    }
}
