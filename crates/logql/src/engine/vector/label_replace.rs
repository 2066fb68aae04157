//! `label_replace(v, dst, replacement, src, regex)`: the regex must match the whole value of `src`.

use super::{StepSeries, with_label};
use crate::ast::LabelReplace;
use model::{Error, Result};

pub fn apply(replace: &LabelReplace, mut series: Vec<StepSeries>) -> Result<Vec<StepSeries>> {
    let regex = model::pattern::anchored(&replace.regex)
        .map_err(|e| Error::invalid(format!("parse error : invalid regex in label_replace: {}", e.message)))?;
    let mut value = String::new();
    for one in &mut series {
        if let Some(captures) = regex.captures(one.labels.get(&replace.src).unwrap_or("")) {
            value.clear();
            captures.expand(&replace.replacement, &mut value);
            one.labels = with_label(&one.labels, &replace.dst, &value);
        }
    }
    Ok(series)
}
