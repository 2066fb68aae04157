//! `| drop` and `| keep`: labels by name, or only when their value matches.

use super::hints::{ERROR, ERROR_DETAILS, Interest};
use super::labels::WorkingLabels;
use super::names::NameId;
use crate::ast::LabelSelector;
use model::Matcher;

pub struct Selector {
    id: NameId,
    matcher: Option<Matcher>,
}

pub fn compile(selectors: &[LabelSelector], interest: &mut Interest) -> Vec<Selector> {
    let compile_one = |s: &LabelSelector| match s {
        LabelSelector::Name(name) => Selector { id: interest.name(name), matcher: None },
        LabelSelector::Matcher(m) => Selector { id: interest.name(&m.name), matcher: Some(m.clone()) },
    };
    selectors.iter().map(compile_one).collect()
}

pub fn drop(selectors: &[Selector], labels: &mut WorkingLabels<'_>) {
    for selector in selectors {
        let matches = |value: &str| selector.matcher.as_ref().is_none_or(|m| m.matches(value));
        match labels.name(selector.id) {
            ERROR if matches(labels.error().unwrap_or("")) => labels.clear_error(),
            ERROR_DETAILS if matches(labels.error_details().unwrap_or("")) => labels.clear_error_details(),
            ERROR | ERROR_DETAILS => {}
            _ if matches(labels.get_id(selector.id).unwrap_or("")) => labels.delete(selector.id),
            _ => {}
        }
    }
}

/// Errors stay, named or not.
pub fn keep(selectors: &[Selector], labels: &mut WorkingLabels<'_>) {
    let errors = [labels.find(ERROR), labels.find(ERROR_DETAILS)];
    let wanted = |id: NameId, value: &str| {
        errors.contains(&Some(id))
            || selectors.iter().any(|s| s.id == id && s.matcher.as_ref().is_none_or(|m| m.matches(value)))
    };
    labels.retain(wanted);
}
