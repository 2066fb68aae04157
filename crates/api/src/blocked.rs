//! `blocked_queries`: a tenant's queries that are refused by their text, hash, type or tags. It must not know how a query
//! runs.

use crate::query::tags::tags;
use axum::http::HeaderMap;
use logql::ast::{Expr, Stage};
use model::{Error, Result, pattern};
use rpc::queries::query_hash;
use runtime::limits::{BlockedQuery, Limits};
use std::sync::Arc;

/// Refuses a query that one of the tenants blocks. A text that is no query is left to those who read it.
pub fn check(query: &str, headers: &HeaderMap, limits: &[Arc<Limits>]) -> Result<()> {
    let mut rules = limits.iter().flat_map(|l| &l.blocked_queries).peekable();
    if rules.peek().is_none() {
        return Ok(());
    }
    let Ok(expr) = logql::parse::parse(query) else { return Ok(()) };
    let (kind, tags) = (kind(&expr), tags(headers));
    match rules.any(|rule| blocks(rule, query.trim(), kind, &tags)) {
        true => Err(Error::invalid("query blocked by policy")),
        false => Ok(()),
    }
}

fn blocks(rule: &BlockedQuery, query: &str, kind: &str, tags: &[(String, String)]) -> bool {
    let pattern = rule.pattern.trim();
    let has_tag = |name: &String, value: &String| {
        tags.iter().any(|(n, v)| n.eq_ignore_ascii_case(name) && v.eq_ignore_ascii_case(value))
    };
    let of_text = if pattern.is_empty() {
        true
    } else if rule.regex {
        // An expression that cannot be read blocks nothing.
        pattern::compile(pattern).is_ok_and(|expression| expression.is_match(query))
    } else {
        pattern == query
    };
    of_text
        && (rule.hash == 0 || rule.hash == query_hash(query))
        && (rule.types.is_empty() || rule.types.iter().any(|t| t == kind))
        && rule.query_tags.iter().all(|(name, value)| has_tag(name, value))
}

/// The type of a query as `types` names it: a metric query, a log query with filters, or one that only its limit bounds.
fn kind(expr: &Expr) -> &'static str {
    match expr {
        Expr::Metric(_) => "metric",
        Expr::Log(log) if log.stages.iter().any(is_filter) => "filter",
        Expr::Log(_) => "limited",
    }
}

fn is_filter(stage: &Stage) -> bool {
    matches!(stage, Stage::LineFilter(_) | Stage::LabelFilter(_))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn queries_are_blocked_by_text_hash_type_and_tags() {
        let rule = |pattern: &str| BlockedQuery { pattern: pattern.into(), ..BlockedQuery::default() };
        let regex = |pattern: &str| BlockedQuery { regex: true, ..rule(pattern) };
        let types = |types: &[&str], rule: BlockedQuery| BlockedQuery {
            types: types.iter().map(|t| t.to_string()).collect(),
            ..rule
        };
        let tags = BTreeMap::from([("source".to_string(), "grafana".to_string())]);
        const METRIC: &str = r#"sum(rate({env="prod"}[5m]))"#;
        const FILTER: &str = r#"{env="prod"} |= "x""#;
        const LIMITED: &str = r#"{env="prod"}"#;
        for (rule, query, blocked) in [
            (rule(METRIC), METRIC, true),
            (rule(METRIC), FILTER, false),
            (rule("  {env=\"prod\"} "), LIMITED, true),
            (regex(".*env=\"prod\".*"), FILTER, true),
            (regex("rate\\("), METRIC, true),
            (regex("("), METRIC, false),
            (types(&["metric"], regex(".*")), METRIC, true),
            (types(&["metric"], regex(".*")), FILTER, false),
            (types(&["filter", "limited"], rule("")), LIMITED, true),
            (types(&["filter"], rule("")), LIMITED, false),
            (BlockedQuery { hash: query_hash(LIMITED), ..rule("") }, LIMITED, true),
            (BlockedQuery { hash: query_hash(LIMITED), ..rule("") }, FILTER, false),
            (BlockedQuery { query_tags: tags.clone(), ..rule("") }, LIMITED, false),
            (rule("{"), "{", false),
        ] {
            let limits = Arc::new(Limits { blocked_queries: vec![rule.clone()], ..Limits::default() });
            let expected = if blocked { Err(Error::invalid("query blocked by policy")) } else { Ok(()) };
            assert_eq!(check(query, &HeaderMap::new(), &[limits]), expected, "{rule:?} {query}");
        }
        let limits = Arc::new(Limits {
            blocked_queries: vec![BlockedQuery { query_tags: tags, ..rule("") }],
            ..Limits::default()
        });
        let headers = HeaderMap::from_iter([("x-query-tags".parse().unwrap(), "Source=Grafana,x=y".parse().unwrap())]);
        assert!(check(LIMITED, &headers, &[limits]).is_err());
    }
}
