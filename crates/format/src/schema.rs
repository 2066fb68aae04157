//! Schema periods: which format, which object store and which index tables hold a moment (storage format, sections 1
//! and 5). It must not know where a period's bytes live.

use model::time::MILLIS_PER_DAY;
use model::{Error, Layout, Result};

/// The most index tables, that is days, that one request may touch: a century.
pub const TABLES_MAX: usize = 36_600;

/// A Loki schema version, from the first that a TSDB index supports on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SchemaVersion {
    V9,
    V10,
    V11,
    V12,
    V13,
}

impl SchemaVersion {
    /// Parses the `schema` setting of a period.
    pub fn from_name(name: &str) -> Result<Self> {
        let all = [Self::V9, Self::V10, Self::V11, Self::V12, Self::V13];
        all.into_iter()
            .find(|v| v.name() == name)
            .ok_or_else(|| Error::invalid(format!("invalid schema version: {name:?}")))
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::V9 => "v9",
            Self::V10 => "v10",
            Self::V11 => "v11",
            Self::V12 => "v12",
            Self::V13 => "v13",
        }
    }

    /// The version of the index files that are written for this schema.
    pub fn tsdb_version(self) -> TsdbVersion {
        if self >= Self::V13 { TsdbVersion::V3 } else { TsdbVersion::V2 }
    }

    /// The layout of the chunks that are written for this schema. Stored chunks say their own: either may occur anywhere.
    pub fn chunk_layout(self) -> Layout {
        if self >= Self::V13 { Layout::Metadata } else { Layout::Plain }
    }
}

/// The versions of TSDB index files that are written; 3 has page markers for long series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TsdbVersion {
    V2 = 2,
    V3 = 3,
}

/// One entry of `schema_config.configs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Period {
    /// Midnight UTC of the period's first day; the period ends where the next one begins.
    pub from_ms: i64,
    pub schema: SchemaVersion,
    /// What a table's name begins with, as `index_` in `index_20148`.
    pub index_prefix: String,
    /// What the keys of index objects begin with; ends in `/`. Loki's default is `index/`.
    pub path_prefix: String,
    /// The name of the object store that holds the period's chunks and index.
    pub object_store: String,
}

impl Period {
    /// The table of day `day`, counted from the Unix epoch.
    pub fn table(&self, day: i64) -> String {
        format!("{}{day}", self.index_prefix)
    }

    /// The day of a table's name; `None` for a name of other make.
    pub fn day_of_table(&self, table: &str) -> Option<i64> {
        let digits = table.strip_prefix(self.index_prefix.as_str())?;
        let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        plain.then(|| digits.parse().ok())?
    }
}

/// One day's index table as a request meets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table<'a> {
    pub period: &'a Period,
    pub day: i64,
    pub name: String,
    /// The part of the request that its period answers, both ends inclusive.
    pub from_ms: i64,
    pub through_ms: i64,
}

impl Table<'_> {
    /// What the keys of the table's index objects begin with, without a final `/`.
    pub fn key(&self) -> String {
        format!("{}{}", self.period.path_prefix, self.name)
    }
}

/// The periods in order of time; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema(Vec<Period>);

impl Schema {
    /// Checks `periods`: at least one, strictly ascending, each beginning at midnight.
    pub fn new(periods: Vec<Period>) -> Result<Self> {
        if periods.is_empty() {
            return Err(Error::invalid("schema_config: no periods"));
        }
        for pair in periods.windows(2) {
            if pair[0].from_ms >= pair[1].from_ms {
                return Err(Error::invalid("schema_config: periods must begin one after the other"));
            }
        }
        for period in &periods {
            if period.from_ms.rem_euclid(MILLIS_PER_DAY) != 0 {
                return Err(Error::invalid(format!(
                    "schema_config: a period begins at {} ms, which is no midnight",
                    period.from_ms
                )));
            }
            if !period.path_prefix.ends_with('/') || period.path_prefix.starts_with('/') {
                return Err(Error::invalid(format!(
                    "schema_config: path_prefix {:?} must end and not begin with /",
                    period.path_prefix
                )));
            }
            if period.index_prefix.contains('/') {
                return Err(Error::invalid(format!(
                    "schema_config: index prefix {:?} contains a /",
                    period.index_prefix
                )));
            }
        }
        Ok(Schema(periods))
    }

    pub fn periods(&self) -> &[Period] {
        &self.0
    }

    /// The period that holds `ms`; `None` before the first.
    pub fn period_at(&self, ms: i64) -> Option<&Period> {
        let after = self.0.partition_point(|p| p.from_ms <= ms);
        self.0[..after].last()
    }

    /// The tables that may list chunks of `[from_ms, through_ms]`, both inclusive, in order of time: one for each day
    /// and period. For a chunk's own bounds these are the tables that must list it.
    pub fn tables(&self, from_ms: i64, through_ms: i64) -> Result<Vec<Table<'_>>> {
        let mut tables = Vec::new();
        for (i, period) in self.0.iter().enumerate() {
            let end_ms = self.0.get(i + 1).map_or(i64::MAX, |next| next.from_ms - 1);
            let (from_ms, through_ms) = (from_ms.max(period.from_ms), through_ms.min(end_ms));
            if from_ms > through_ms {
                continue;
            }
            let days = from_ms.div_euclid(MILLIS_PER_DAY)..=through_ms.div_euclid(MILLIS_PER_DAY);
            if days.end() - days.start() >= (TABLES_MAX - tables.len()) as i64 {
                return Err(Error::invalid(format!("the time range spans more than {TABLES_MAX} days")));
            }
            tables.extend(days.map(|day| Table { period, day, name: period.table(day), from_ms, through_ms }));
        }
        Ok(tables)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = MILLIS_PER_DAY;

    fn period(day: i64, schema: SchemaVersion, prefix: &str) -> Period {
        let (index_prefix, path_prefix) = (prefix.to_string(), "index/".to_string());
        Period { from_ms: day * DAY, schema, index_prefix, path_prefix, object_store: "filesystem".into() }
    }

    fn schema() -> Schema {
        let periods = [
            (20_000, SchemaVersion::V11, "i11_"),
            (20_010, SchemaVersion::V12, "i12_"),
            (20_020, SchemaVersion::V13, "i13_"),
        ];
        Schema::new(periods.map(|(day, v, prefix)| period(day, v, prefix)).to_vec()).unwrap()
    }

    #[test]
    fn a_moment_belongs_to_the_period_that_began_last() {
        let schema = schema();
        for (ms, prefix) in [
            (20_000 * DAY - 1, None),
            (20_000 * DAY, Some("i11_")),
            (20_010 * DAY - 1, Some("i11_")),
            (20_010 * DAY, Some("i12_")),
            (i64::MAX, Some("i13_")),
            (i64::MIN, None),
        ] {
            assert_eq!(schema.period_at(ms).map(|p| p.index_prefix.as_str()), prefix, "{ms}");
        }
    }

    #[test]
    fn a_range_touches_one_table_for_each_day_and_period() {
        let schema = schema();
        let tables =
            |from, through| -> Vec<String> { schema.tables(from, through).unwrap().iter().map(Table::key).collect() };
        assert_eq!(tables(20_009 * DAY, 20_010 * DAY), ["index/i11_20009", "index/i12_20010"]);
        assert_eq!(tables(20_009 * DAY, 20_010 * DAY - 1), ["index/i11_20009"]);
        assert_eq!(tables(0, 20_000 * DAY), ["index/i11_20000"], "nothing before the first period");
        assert_eq!(tables(20_001 * DAY, 20_000 * DAY).len(), 0);
        assert!(schema.tables(0, i64::MAX).is_err());
        let all = schema.tables(20_009 * DAY + 5, 20_020 * DAY + 7).unwrap();
        assert_eq!(all.len(), 12);
        assert_eq!((all[0].from_ms, all[0].through_ms), (20_009 * DAY + 5, 20_010 * DAY - 1));
        assert_eq!((all[11].from_ms, all[11].through_ms), (20_020 * DAY, 20_020 * DAY + 7));
    }

    #[test]
    fn schemas_decide_formats_and_bad_periods_are_refused() {
        assert_eq!(
            (SchemaVersion::V12.tsdb_version(), SchemaVersion::V12.chunk_layout()),
            (TsdbVersion::V2, Layout::Plain)
        );
        assert_eq!(
            (SchemaVersion::V13.tsdb_version(), SchemaVersion::V13.chunk_layout()),
            (TsdbVersion::V3, Layout::Metadata)
        );
        assert_eq!(SchemaVersion::from_name("v12").unwrap(), SchemaVersion::V12);
        assert!(SchemaVersion::from_name("v8").is_err());
        let good = period(1, SchemaVersion::V13, "a");
        for (name, periods) in [
            ("none", vec![]),
            ("twice the same day", vec![good.clone(), good.clone()]),
            ("not midnight", vec![Period { from_ms: 1, ..good.clone() }]),
            ("no final slash", vec![Period { path_prefix: "index".into(), ..good.clone() }]),
            ("a slash in the prefix", vec![Period { index_prefix: "a/".into(), ..good.clone() }]),
        ] {
            assert!(Schema::new(periods).is_err(), "{name}");
        }
        assert_eq!(good.day_of_table("a20148"), Some(20148));
        for other in ["a", "a-1", "b1", "a1x", "a+1"] {
            assert_eq!(good.day_of_table(other), None, "{other}");
        }
    }
}
