//! Reads over several tenants: the label `__tenant_id__` tells their streams apart.

use logql::ast::{Expr, LabelFilter, MetricExpr, Stage};
use model::{Labels, Matcher, TenantId};
use rpc::queries::Tenants;

pub const TENANT_LABEL: &str = "__tenant_id__";
/// What a stream's own `__tenant_id__` is called in an answer over several tenants.
const ORIGINAL_TENANT_LABEL: &str = "original___tenant_id__";

/// The tenants that a query's matchers of `__tenant_id__` leave, and the other matchers. Where answers are not labelled
/// the label has no special meaning.
pub fn select(tenants: &Tenants, matchers: &[Matcher]) -> (Vec<TenantId>, Vec<Matcher>) {
    if !tenants.labelled {
        return (tenants.ids.clone(), matchers.to_vec());
    }
    let (about_tenant, others): (Vec<&Matcher>, Vec<&Matcher>) = matchers.iter().partition(|m| m.name == TENANT_LABEL);
    let chosen = tenants.ids.iter().filter(|t| about_tenant.iter().all(|m| m.matches(t.as_str()))).cloned().collect();
    (chosen, others.into_iter().cloned().collect())
}

/// Label filters see a stream as its tenant stored it, without the label that tells the tenant: in an answer over several
/// tenants the stream's own `__tenant_id__` has another name.
pub fn hide_label(expr: &mut Expr) {
    match expr {
        Expr::Log(log) => hide_in_stages(&mut log.stages),
        Expr::Metric(metric) => hide_in_metric(metric),
    }
}

fn hide_in_metric(metric: &mut MetricExpr) {
    match metric {
        MetricExpr::Literal(_) | MetricExpr::Vector(_) => {}
        MetricExpr::Range(range) => hide_in_stages(&mut range.range.log.stages),
        MetricExpr::Aggregate(aggregation) => hide_in_metric(&mut aggregation.inner),
        MetricExpr::Binary(binary) => {
            hide_in_metric(&mut binary.left);
            hide_in_metric(&mut binary.right);
        }
        MetricExpr::LabelReplace(replace) => hide_in_metric(&mut replace.inner),
        MetricExpr::Variants { variants, of } => {
            variants.iter_mut().for_each(hide_in_metric);
            hide_in_stages(&mut of.log.stages);
        }
    }
}

fn hide_in_stages(stages: &mut [Stage]) {
    for stage in stages {
        if let Stage::LabelFilter(filter) = stage {
            hide_in_filter(filter);
        }
    }
}

fn hide_in_filter(filter: &mut LabelFilter) {
    match filter {
        LabelFilter::String(Matcher { name, .. })
        | LabelFilter::Number { name, .. }
        | LabelFilter::Duration { name, .. }
        | LabelFilter::Bytes { name, .. }
        | LabelFilter::Ip { name, .. } => {
            if name == TENANT_LABEL {
                *name = ORIGINAL_TENANT_LABEL.into();
            }
        }
        LabelFilter::And(a, b) | LabelFilter::Or(a, b) => {
            hide_in_filter(a);
            hide_in_filter(b);
        }
    }
}

/// A stream's labels as an answer over several tenants shows them.
pub fn label(tenant: &TenantId, labels: &Labels) -> Labels {
    let own = labels.iter().map(|l| {
        let name = if l.name == TENANT_LABEL { ORIGINAL_TENANT_LABEL.into() } else { l.name.clone() };
        (name, l.value.clone())
    });
    Labels::new(own.chain([(TENANT_LABEL.into(), tenant.as_str().into())]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::MatchOp;

    #[test]
    fn the_tenant_label_selects_and_marks() {
        let ids = ["east", "west"].map(|t| TenantId::parse(t).unwrap()).to_vec();
        let tenants = Tenants { ids, labelled: true };
        for (op, value, chosen) in [
            (MatchOp::Eq, "east", vec!["east"]),
            (MatchOp::Ne, "east", vec!["west"]),
            (MatchOp::Re, "w.*|e.*", vec!["east", "west"]),
            (MatchOp::Eq, "south", vec![]),
        ] {
            let matchers = [Matcher::new(TENANT_LABEL, op, value).unwrap(), Matcher::equal("app", "x")];
            let (tenants, rest) = select(&tenants, &matchers);
            assert_eq!(tenants.iter().map(|t| t.as_str()).collect::<Vec<_>>(), chosen);
            assert_eq!(rest, [Matcher::equal("app", "x")]);
        }
        let marked = label(&tenants.ids[0], &Labels::new([("a", "1"), (TENANT_LABEL, "pretend")]));
        assert_eq!(marked.to_string(), r#"{__tenant_id__="east", a="1", original___tenant_id__="pretend"}"#);
        let one = Tenants::from(tenants.ids[0].clone());
        let matchers = [Matcher::equal(TENANT_LABEL, "west")];
        assert_eq!(select(&one, &matchers), (one.ids.clone(), matchers.to_vec()));
    }

    #[test]
    fn label_filters_do_not_see_the_added_label() {
        for (query, expected) in [
            (r#"{a="b"} | __tenant_id__="x""#, r#"{a="b"} | original___tenant_id__="x""#),
            (
                r#"sum by (__tenant_id__) (rate({a="b", __tenant_id__="x"} | c="d" or __tenant_id__>1 [1m])) > 1"#,
                r#"sum by (__tenant_id__) (rate({a="b", __tenant_id__="x"} | c="d" or original___tenant_id__>1 [1m])) > 1"#,
            ),
        ] {
            let mut expr = logql::parse::parse(query).unwrap();
            hide_label(&mut expr);
            assert_eq!(expr, logql::parse::parse(expected).unwrap());
        }
    }
}
