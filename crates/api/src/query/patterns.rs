//! `patterns`: which lines are alike, and how many came when.

use super::ReadApi;
use super::encode::write_warnings;
use super::handlers::{Answer, json_response, matchers};
use super::json::Json;
use super::params::{Params, check_steps};
use crate::error::ApiError;
use axum::body::Body;
use axum::extract::State;
use axum::http::Request;
use model::Result;
use rpc::queries::{PatternSeries, PatternsQuery, Tenants};
use std::time::Duration;

const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// Patterns of recent lines and how often they came.
pub async fn patterns(State(api): State<ReadApi>, request: Request<Body>) -> Answer {
    let (tenants, params) = api.read(request).await?;
    let found = find(&api, &tenants, &params).await.map_err(ApiError::query)?;
    let mut json = Json::default();
    json.raw("{\"status\":\"success\",");
    write_warnings(&mut json, &found.warnings);
    json.raw("\"data\":");
    json.list('[', ']', &found.value, write);
    json.raw("}\n");
    Ok(json_response(json.out))
}

async fn find(api: &ReadApi, tenants: &Tenants, params: &Params) -> Result<rpc::queries::Answer<Vec<PatternSeries>>> {
    let matchers = matchers(params.query())?;
    // An end before the start is no error here: it finds nothing.
    let range = params.range(api.clock.now_ns())?;
    let step_ns = params.step(range)?;
    check_steps(range, step_ns)?;
    let step = Duration::from_nanos(step_ns.unsigned_abs());
    api.queries.patterns(tenants, PatternsQuery { matchers, range, step }).await
}

/// `{"pattern","level","samples":[[<seconds>,<lines>],...]}`; Logs Drilldown reads the samples as numbers.
fn write(json: &mut Json, series: &PatternSeries) {
    json.raw("{\"pattern\":");
    json.line(series.pattern.as_bytes());
    json.raw(",\"level\":");
    json.string(&series.level);
    json.raw(",\"samples\":");
    json.list('[', ']', &series.samples, |json, sample| {
        json.raw(&format!("[{},{}]", sample.time_ns.div_euclid(NANOS_PER_SECOND), sample.lines));
    });
    json.raw("}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use patterns::Sample;

    #[test]
    fn samples_are_numbers_and_patterns_are_escaped() {
        let samples = vec![
            Sample { time_ns: 20 * NANOS_PER_SECOND, lines: 3 },
            Sample { time_ns: 30 * NANOS_PER_SECOND, lines: 1 },
        ];
        let mut json = Json::default();
        write(&mut json, &PatternSeries { pattern: "a <_>".into(), level: "info".into(), samples });
        let expected = r#"{"pattern":"a \u003c_\u003e","level":"info","samples":[[20,3],[30,1]]}"#;
        assert_eq!(String::from_utf8(json.out).unwrap(), expected);
    }
}
