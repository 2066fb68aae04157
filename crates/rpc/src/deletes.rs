//! The delete service: tenants ask that lines be deleted, queries ask which lines to hide until that is done.
//! It must not know how requests are kept or lines removed.

use async_trait::async_trait;
use logql::ast::Stage;
use logql::parse::parse_log;
use logql::pipeline::Pipeline;
use logql::pipeline::hints::Hints;
use model::time::NANOS_PER_MILLI;
use model::{Error, Matcher, Result, TenantId, TimeRange};

/// Delete requests of a tenant. `Forbidden` where the tenant's `deletion_mode` is `disabled`.
#[async_trait]
pub trait Deletes: Send + Sync {
    /// Takes a request; durable when it answers. From then on [`Deletes::filters`] hide what it names. Answers its id.
    async fn create(&self, tenant: &TenantId, request: NewDelete) -> Result<String>;
    /// All requests, oldest first.
    async fn list(&self, tenant: &TenantId) -> Result<Vec<DeleteRequest>>;
    /// Takes a request back: `NotFound` for an unknown id, `Invalid` when it is processed, or when it may be under way
    /// and `force` is not set.
    async fn cancel(&self, tenant: &TenantId, id: &str, force: bool) -> Result<()>;
    /// What a query of `range` must not show; nothing for a tenant whose `deletion_mode` is `disabled`.
    async fn filters(&self, tenant: &TenantId, range: TimeRange) -> Result<Vec<DeleteFilter>>;
    /// Changes whenever [`Deletes::filters`] may: what was cached under another generation must not be used. Empty for
    /// a tenant that never asked for a deletion.
    async fn generation(&self, tenant: &TenantId) -> Result<String>;
}

/// A request that can be carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDelete {
    query: String,
    start_ms: i64,
    end_ms: i64,
}

impl NewDelete {
    /// A selector and perhaps a pipeline: what it keeps of the lines from `start_ms` to `end_ms`, both inclusive, is to
    /// be deleted.
    pub fn parse(query: &str, start_ms: i64, end_ms: i64, now_ms: i64) -> Result<Self> {
        DeleteFilter::parse(query, start_ms, end_ms).map_err(|_| Error::invalid("invalid query expression"))?;
        if end_ms > now_ms {
            return Err(Error::invalid("deletes in the future are not allowed"));
        }
        if start_ms >= end_ms {
            return Err(Error::invalid("start time can't be greater than end time"));
        }
        Ok(NewDelete { query: query.to_string(), start_ms, end_ms })
    }

    pub fn query(&self) -> &str {
        &self.query
    }
    pub fn start_ms(&self) -> i64 {
        self.start_ms
    }
    pub fn end_ms(&self) -> i64 {
        self.end_ms
    }
}

/// A request as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteRequest {
    /// Eight hexadecimal digits.
    pub id: String,
    pub query: String,
    /// Both inclusive.
    pub start_ms: i64,
    pub end_ms: i64,
    pub created_ms: i64,
    pub status: DeleteStatus,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeleteStatus {
    /// The lines are hidden from queries.
    Received,
    /// They are gone from the index as well, and from the bucket after `retention_delete_delay`.
    Processed,
}

/// Lines that are deleted: those of streams that satisfy `matchers`, from `start_ns` to `end_ns` (both inclusive),
/// that the pipeline of `stages` keeps.
#[derive(Clone, Debug, PartialEq)]
pub struct DeleteFilter {
    pub matchers: Vec<Matcher>,
    pub stages: Vec<Stage>,
    pub start_ns: i64,
    pub end_ns: i64,
}

impl DeleteFilter {
    /// `Invalid` when `query` is no log query, or one whose stages do not compile.
    pub fn parse(query: &str, start_ms: i64, end_ms: i64) -> Result<Self> {
        let log = parse_log(query)?;
        Pipeline::compile(&log.stages, &Hints::default())?;
        Ok(DeleteFilter {
            matchers: log.matchers,
            stages: log.stages,
            start_ns: start_ms.saturating_mul(NANOS_PER_MILLI),
            end_ns: end_ms.saturating_mul(NANOS_PER_MILLI),
        })
    }

    /// Whether it speaks of entries at `ts_ns`.
    pub fn contains(&self, ts_ns: i64) -> bool {
        (self.start_ns..=self.end_ns).contains(&ts_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_refused_in_loki_s_words() {
        let check = |query: &str, start_ms: i64, end_ms: i64, expected: Result<(), &str>| {
            let got = NewDelete::parse(query, start_ms, end_ms, 1000).map(|_| ()).map_err(|e| e.message);
            assert_eq!(got, expected.map_err(String::from), "{query} {start_ms}..{end_ms}");
        };
        check(r#"{app="a"}"#, 1, 1000, Ok(()));
        check(r#"{app="a"} |= "x" | json | level="debug""#, 1, 2, Ok(()));
        check(r#"{app="a"}"#, 1, 1001, Err("deletes in the future are not allowed"));
        check(r#"{app="a"}"#, 2, 2, Err("start time can't be greater than end time"));
        for bad in ["", "{", r#"count_over_time({app="a"}[1m])"#, r#"{app="a"} |~ "(""#, "{}"] {
            check(bad, 1, 2, Err("invalid query expression"));
        }
    }

    #[test]
    fn both_ends_of_a_filter_are_inside() {
        let filter = DeleteFilter::parse(r#"{app="a"}"#, 1, 2).unwrap();
        for (ts_ns, inside) in [(999_999, false), (1_000_000, true), (2_000_000, true), (2_000_001, false)] {
            assert_eq!(filter.contains(ts_ns), inside, "{ts_ns}");
        }
    }
}
