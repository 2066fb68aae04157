//! The overrides file (`runtime_config.file`): what single tenants have instead of the defaults.
//! A file with anything wrong in it is refused as a whole, as in Loki.

use super::{LimitSet, Limits};
use crate::settings::{Reader, Reference, Setting, Tree, Value};
use std::collections::HashMap;
use std::sync::Arc;

/// The path of a limit in the reference of keys.
const LIMITS: &str = "limits_config";

/// What an overrides file may hold beside `overrides`: accepted, without a meaning here.
const OTHER_SECTIONS: [&str; 3] = ["configs", "default", "multi_kv_config"];

/// Lays the overrides of each file in turn over `defaults`. The error names every fault of the first bad file.
pub fn parse_overrides(
    files: &[String],
    defaults: &Limits,
    reference: &dyn Reference,
) -> Result<LimitSet, Vec<String>> {
    let mut tenants: HashMap<String, Limits> = HashMap::new();
    for yaml in files {
        let tree = Tree::parse(yaml).map_err(|e| vec![e])?;
        let mut reader = Reader::at("", reference);
        let own: Vec<&str> = OTHER_SECTIONS.into_iter().chain(["overrides"]).collect();
        let mut overrides = Tree::default();
        reader.block(&tree, &own, |key, child, _| {
            if key == "overrides" {
                overrides = child.clone();
            }
        });
        let mut limits_reader = Reader::at(LIMITS, reference);
        match &overrides.value {
            Value::Null => {}
            Value::Map(entries) => {
                for (tenant, tree) in entries {
                    let limits = tenants.entry(tenant.clone()).or_insert_with(|| defaults.clone());
                    limits.read(tree, &mut limits_reader);
                    check(limits).into_iter().for_each(|fault| limits_reader.error(tree, format!("{tenant}: {fault}")));
                }
            }
            _ => reader.error(&overrides, "overrides: expected a mapping of tenants"),
        }
        reader.errors.append(&mut limits_reader.errors);
        if !reader.errors.is_empty() {
            return Err(reader.errors);
        }
    }
    let tenants = tenants.into_iter().map(|(tenant, limits)| (tenant, Arc::new(limits))).collect();
    Ok(LimitSet { defaults: Arc::new(defaults.clone()), tenants })
}

/// What is wrong with a set of limits as a whole.
pub fn check(limits: &Limits) -> Vec<String> {
    const DAY_SECONDS: u64 = 86_400;
    let mut faults = vec![];
    let seconds = limits.retention_period.as_secs();
    if seconds != 0 && seconds < DAY_SECONDS {
        faults.push("retention period must be >= 24h".to_string());
    }
    for rule in &limits.retention_stream {
        if rule.period.as_secs() < DAY_SECONDS {
            faults.push(format!("retention period must be >= 24h for stream {}", rule.selector));
        }
    }
    for block in &limits.blocked_queries {
        let unknown = block.types.iter().find(|word| !matches!(word.as_str(), "filter" | "limited" | "metric"));
        if let Some(word) = unknown {
            faults.push(format!("blocked_queries: unknown query type {word:?}"));
        }
    }
    let otlp = &limits.otlp_config;
    let all = [&otlp.resource_attributes.attributes_config, &otlp.scope_attributes, &otlp.log_attributes];
    for rule in all.into_iter().flatten() {
        if rule.regex.is_some() != rule.attributes.is_empty() {
            faults.push("otlp_config: a rule needs either attributes or regex".to_string());
        }
    }
    if otlp.scope_attributes.iter().chain(&otlp.log_attributes).any(|rule| rule.action == super::OtlpAction::IndexLabel)
    {
        faults.push("otlp_config: only resource attributes can be index labels".to_string());
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::NoReference;
    use std::time::Duration;

    fn parse(yaml: &str) -> Result<LimitSet, Vec<String>> {
        let defaults = Limits { max_query_series: 7, ..Limits::default() };
        parse_overrides(&[yaml.to_string()], &defaults, &NoReference)
    }

    #[test]
    fn a_tenant_starts_from_the_defaults() {
        let set = parse(
            "overrides:\n  a:\n    max_line_size: 1KB\n    discover_service_name: []\n    retention_stream:\n    \
             - {selector: '{x=\"y\"}', priority: 2, period: 30d}\n    block_ingestion_until: 2030-01-01T00:00:00Z\n  b:\n\
             configs: {a: {log_push_request: true}}\n",
        )
        .unwrap();
        let a = &set.tenants["a"];
        assert_eq!((a.max_line_size, a.max_query_series, a.discover_service_name.len()), (1024, 7, 0));
        assert_eq!(a.retention_stream[0].period, Duration::from_secs(30 * 86_400));
        assert_eq!(a.block_ingestion_until, 1_893_456_000_000_000_000);
        assert_eq!(*set.tenants["b"], *set.defaults);
    }

    #[test]
    fn one_fault_refuses_the_file() {
        for (yaml, error) in [
            (
                "overrides:\n  a:\n    max_line_sizes: 1\n",
                "line 3: field max_line_sizes not found in limits_config; did you mean max_line_size?",
            ),
            ("override: {}\n", "line 1: field override not found in the configuration; did you mean overrides?"),
            (
                "overrides:\n  a:\n    deletion_mode: maybe\n",
                "line 3: limits_config.deletion_mode: expected one of disabled filter-only filter-and-delete",
            ),
            ("overrides: 5\n", "line 1: overrides: expected a mapping of tenants"),
            ("overrides:\n  a: {retention_period: 1h}\n", "line 2: limits_config: a: retention period must be >= 24h"),
        ] {
            assert_eq!(parse(yaml).err().unwrap_or_default(), [error]);
        }
    }

    #[test]
    fn the_defaults_print_and_read_back() {
        let limits = Limits::default();
        let mut again = Limits { max_query_series: 1, ..Limits::default() };
        let mut reader = Reader::at("", &NoReference);
        again.read(&Tree::parse(&limits.write().print()).unwrap(), &mut reader);
        assert_eq!((reader.errors, again), (vec![], limits));
    }
}
