//! Reads over several tenants: the label `__tenant_id__` tells their streams apart.

use model::{Labels, Matcher, TenantId};

pub const TENANT_LABEL: &str = "__tenant_id__";
/// What a stream's own `__tenant_id__` is called in an answer over several tenants.
const ORIGINAL_TENANT_LABEL: &str = "original___tenant_id__";

/// The tenants that the matchers of `__tenant_id__` leave, and the other matchers. For one tenant the label has no
/// special meaning.
pub fn select(tenants: &[TenantId], matchers: &[Matcher]) -> (Vec<TenantId>, Vec<Matcher>) {
    if tenants.len() < 2 {
        return (tenants.to_vec(), matchers.to_vec());
    }
    let (about_tenant, others): (Vec<&Matcher>, Vec<&Matcher>) = matchers.iter().partition(|m| m.name == TENANT_LABEL);
    let chosen = tenants.iter().filter(|t| about_tenant.iter().all(|m| m.matches(t.as_str()))).cloned().collect();
    (chosen, others.into_iter().cloned().collect())
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
        let tenants = ["east", "west"].map(|t| TenantId::parse(t).unwrap());
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
        let marked = label(&tenants[0], &Labels::new([("a", "1"), (TENANT_LABEL, "pretend")]));
        assert_eq!(marked.to_string(), r#"{__tenant_id__="east", a="1", original___tenant_id__="pretend"}"#);
    }
}
