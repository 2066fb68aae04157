//! `X-Loki-Query-Limits`: limits that a request brings for itself, beside those of its tenants. They only refuse more. It
//! must not know what tenants may read.

use axum::http::HeaderMap;
use logql::ast::Expr;
use logql::engine::EngineLimits;
use model::{Error, Result};
use rpc::queries::{Queries, QueryRequest, Tenants};
use rpc::read_limits::{self, ReadLimits};
use rpc::selections;
use runtime::limits::Limits;
use runtime::settings::units::parse_bytes;
use serde_json::Value;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

const HEADER: &str = "x-loki-query-limits";
/// Bytes of the header: a few numbers and label names.
const HEADER_BYTES_MAX: usize = 16 << 10;

/// The limits of one request.
#[derive(Clone, Debug, PartialEq)]
pub struct RequestLimits(Arc<Limits>);

impl RequestLimits {
    /// `None` without the header. One that cannot be read is refused: a limit that is dropped protects nobody.
    pub fn of(headers: &HeaderMap) -> Result<Option<Self>> {
        let Some(text) = headers.get(HEADER) else { return Ok(None) };
        let bad = |e: &dyn std::fmt::Display| Error::invalid(format!("invalid header X-Loki-Query-Limits: {e}"));
        if text.len() > HEADER_BYTES_MAX {
            return Err(bad(&format!("it is larger than {HEADER_BYTES_MAX} bytes")));
        }
        let members: serde_json::Map<String, Value> = serde_json::from_slice(text.as_bytes()).map_err(|e| bad(&e))?;
        let mut limits = unlimited();
        for (name, value) in &members {
            set(&mut limits, name, value).ok_or_else(|| bad(&format!("{name}: {value}")))?;
        }
        Ok(Some(RequestLimits(Arc::new(limits))))
    }

    /// Refuses what the limits forbid, in Loki's words; moves a start that lies too far back.
    pub async fn apply(
        &self,
        queries: &dyn Queries,
        tenants: &Tenants,
        expr: &Expr,
        request: &mut QueryRequest,
    ) -> Result<()> {
        let limits = std::slice::from_ref(&self.0);
        read_limits::check(expr, request, limits)?;
        if let Expr::Log(_) = expr {
            read_limits::check_entries(request, &self.0)?;
        }
        EngineLimits { variants: true, ..read_limits::engine_limits(request, limits) }.check_expr(expr)?;
        read_limits::clamp_lookback(request, limits);
        let allowed = ReadLimits::strictest(limits);
        if allowed.max_query_bytes_read == 0 {
            return Ok(());
        }
        allowed.check(0, 0, selections::bytes(queries, tenants, expr, request).await?, &[])
    }

    /// `work`, if it is done within `maxQueryTime`.
    pub async fn within<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        match read_limits::timeout(std::slice::from_ref(&self.0)) {
            None => work.await,
            Some(timeout) => tokio::time::timeout(timeout, work).await.map_err(|_| read_limits::timed_out())?,
        }
    }

    pub fn limits(&self) -> &Arc<Limits> {
        &self.0
    }
}

/// Limits that refuse nothing which reading is about.
fn unlimited() -> Limits {
    Limits {
        max_query_length: Duration::ZERO,
        max_query_lookback: Duration::ZERO,
        max_query_range: Duration::ZERO,
        max_entries_limit_per_query: 0,
        max_query_series: 0,
        query_timeout: Duration::ZERO,
        max_streams_matchers_per_query: 0,
        max_chunks_per_query: 0,
        cardinality_limit: 0,
        max_query_bytes_read: 0,
        max_querier_bytes_read: 0,
        required_labels: vec![],
        minimum_labels_number: 0,
        ..Limits::default()
    }
}

/// Takes a member of the header; `None` for a value of another kind. Members that are not known are left, as Loki does.
fn set(limits: &mut Limits, name: &str, value: &Value) -> Option<()> {
    match name {
        "maxQueryLength" => limits.max_query_length = duration(value)?,
        "maxQueryLookback" => limits.max_query_lookback = duration(value)?,
        "maxQueryInterval" => limits.max_query_range = duration(value)?,
        "maxQueryTime" => limits.query_timeout = duration(value)?,
        "maxEntriesLimitPerQuery" => limits.max_entries_limit_per_query = value.as_u64()?,
        "maxQueryBytesRead" => {
            limits.max_query_bytes_read = match value {
                Value::String(text) => parse_bytes(text).ok()?,
                number => number.as_u64()?,
            };
        }
        "requiredLabels" => {
            let names = value.as_array()?.iter().map(|name| name.as_str().map(str::to_string));
            limits.required_labels = names.collect::<Option<_>>()?;
        }
        "minimumLabelsNumber" => limits.minimum_labels_number = usize::try_from(value.as_u64()?).ok()?,
        _ => {}
    }
    Some(())
}

/// `1h30m`, as Prometheus writes durations.
fn duration(value: &Value) -> Option<Duration> {
    let nanos = model::duration::parse_prometheus(value.as_str()?).ok()?;
    u64::try_from(nanos).ok().map(Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(header: &str) -> Result<Option<RequestLimits>> {
        RequestLimits::of(&HeaderMap::from_iter([(HEADER.parse().unwrap(), header.parse().unwrap())]))
    }

    #[test]
    fn the_header_is_read_as_loki_writes_it_and_refused_when_it_cannot_be_read() {
        assert_eq!(RequestLimits::of(&HeaderMap::new()), Ok(None));
        let header = r#"{"maxQueryLength":"1h30m","maxQueryInterval":"5m","maxQueryLookback":"2w","maxQueryTime":"10s",
            "maxEntriesLimitPerQuery":100,"maxQueryBytesRead":"1GB","requiredLabels":["app"],"minimumLabelsNumber":2,"new":1}"#;
        let limits = of(&header.replace('\n', " ")).unwrap().unwrap();
        let minutes = |n: u64| Duration::from_secs(60 * n);
        let expected = Limits {
            max_query_length: minutes(90),
            max_query_range: minutes(5),
            max_query_lookback: minutes(14 * 24 * 60),
            query_timeout: Duration::from_secs(10),
            max_entries_limit_per_query: 100,
            max_query_bytes_read: 1 << 30,
            required_labels: vec!["app".into()],
            minimum_labels_number: 2,
            ..unlimited()
        };
        assert_eq!(*limits.0, expected);
        assert_eq!(of(r#"{"maxQueryBytesRead":5}"#).unwrap().unwrap().0.max_query_bytes_read, 5);
        for bad in [
            "",
            "[]",
            "{",
            r#"{"maxQueryLength":5}"#,
            r#"{"maxQueryLength":"soon"}"#,
            r#"{"maxQueryBytesRead":"much"}"#,
            r#"{"maxQueryBytesRead":-1}"#,
            r#"{"requiredLabels":"app"}"#,
            r#"{"minimumLabelsNumber":"2"}"#,
        ] {
            let e = of(bad).expect_err(bad);
            assert!(e.kind == model::Kind::Invalid && e.message.contains("X-Loki-Query-Limits"), "{bad}: {e}");
        }
    }
}
