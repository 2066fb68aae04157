//! The answer does not change with the split interval or the number of shards: every query of the recorded corpus, run
//! whole and run in parts.

use crate::{TENANTS, cases, dataset, memory::MemorySource, request};
use logql::ast::Expr;
use logql::engine::{EngineLimits, Outcome, Params, run};
use logql::parse::parse;
use logql::rewrite::{join, keeps_labels, shard, split};
use logql::value::QueryValue;
use model::Result;

const SECOND: i64 = 1_000_000_000;
const INTERVALS_NS: [i64; 4] = [7 * SECOND, 300 * SECOND, 1000 * SECOND, 3600 * SECOND];
const SHARDS: [u32; 2] = [2, 16];
/// Of what is added in another order.
const RELATIVE_ERROR_MAX: f64 = 1e-12;

fn parts_limits(limits: &EngineLimits) -> EngineLimits {
    EngineLimits { max_series: 0, max_entries: 0, ..limits.clone() }
}

/// As a frontend does it: each part of time asks its shards.
fn in_parts(
    expr: &Expr,
    params: &Params,
    source: &MemorySource,
    limits: &EngineLimits,
    (interval_ns, shards): (i64, u32),
) -> Result<(QueryValue, usize)> {
    let mut questions = 0;
    let mut answers = vec![];
    let mut left = params.limit as usize;
    for mut part in split(expr, params, interval_ns) {
        if let Expr::Log(log) = expr
            && !keeps_labels(log)
        {
            part.limit = left as u32;
        }
        let (value, asked) = sharded(expr, &part, source, limits, shards)?;
        questions += asked;
        if let QueryValue::Streams(streams) = &value {
            left = left.saturating_sub(streams.iter().map(|stream| stream.entries.len()).sum());
        }
        answers.push(value);
        if matches!(expr, Expr::Log(_)) && left == 0 {
            break;
        }
    }
    Ok((
        if answers.len() == 1 { answers.remove(0) } else { join(params, &parts_limits(limits), answers)?.value },
        questions,
    ))
}

fn sharded(
    expr: &Expr,
    params: &Params,
    source: &MemorySource,
    limits: &EngineLimits,
    shards: u32,
) -> Result<(QueryValue, usize)> {
    let Some(sharded) = shard(expr, shards) else {
        return Ok((run(expr, params, source, &parts_limits(limits))?.value, 1));
    };
    let mut answers = vec![];
    for piece in sharded.pieces() {
        // As it travels: text.
        let sent = parse(&piece.expr.to_string()).expect("what is printed is parsed");
        assert_eq!(sent, piece.expr);
        let params = Params { shard: piece.shard, ..params.clone() };
        answers.push(run(&sent, &params, source, &parts_limits(limits))?.value);
    }
    let asked = answers.len();
    Ok((sharded.merge(params, &parts_limits(limits), answers)?.value, asked))
}

/// Equal but for the last bits of numbers.
fn is_same(a: &QueryValue, b: &QueryValue) -> bool {
    let near = |a: f64, b: f64| {
        a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= RELATIVE_ERROR_MAX * a.abs().max(b.abs())
    };
    match (a, b) {
        (QueryValue::Matrix(a), QueryValue::Matrix(b)) => {
            let points = |a: &[(i64, f64)], b: &[(i64, f64)]| {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.0 == b.0 && near(a.1, b.1))
            };
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.labels == b.labels && points(&a.points, &b.points))
        }
        (QueryValue::Vector(a), QueryValue::Vector(b)) => {
            a.len() == b.len()
                && a.iter()
                    .zip(b)
                    .all(|(a, b)| a.labels == b.labels && a.time_ns == b.time_ns && near(a.value, b.value))
        }
        (a, b) => format!("{a:?}") == format!("{b:?}"),
    }
}

#[test]
fn an_answer_does_not_change_with_interval_and_shards() {
    let sources = dataset::load(&format!("{}/dataset", crate::CORPUS));
    let (mut compared, mut rewritten, mut differences) = (0, 0, vec![]);
    for case in cases() {
        let Some(request) = request::request(&case).filter(|r| TENANTS.contains(&r.tenant.as_str())) else { continue };
        let (Ok(expr), Some(source)) = (parse(&request.query), sources.get(&request.tenant)) else { continue };
        let limits = EngineLimits { max_series: 0, ..request::limits(&request.tenant, 1) };
        let Ok(Outcome { value: whole, .. }) = run(&expr, &request.params, source, &limits) else { continue };
        for way in ways() {
            let (parts, questions) = match in_parts(&expr, &request.params, source, &limits, way) {
                Ok(parts) => parts,
                Err(error) => {
                    differences.push(format!("{way:?} {}: {error}", request.query));
                    continue;
                }
            };
            compared += 1;
            rewritten += usize::from(questions > 1);
            if !is_same(&whole, &parts) {
                differences.push(format!("{way:?} {}:\n  {whole:?}\n  {parts:?}", request.query));
            }
        }
    }
    let shown: Vec<String> = differences.iter().take(5).map(|text| text.chars().take(1500).collect()).collect();
    assert!(differences.is_empty(), "{} of {compared} differ:\n{}", differences.len(), shown.join("\n"));
    assert!(compared > 5000 && rewritten > 3000, "{compared} compared, {rewritten} of them in parts");
}

fn ways() -> impl Iterator<Item = (i64, u32)> {
    let split = INTERVALS_NS.into_iter().map(|interval_ns| (interval_ns, 1));
    let sharded = SHARDS.into_iter().map(|shards| (0, shards));
    split.chain(sharded).chain([(300 * SECOND, 4), (60 * SECOND, 2)])
}
