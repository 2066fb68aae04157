//! Which aggregation takes a parameter, a grouping, an unwrapped value.

use crate::ast::{Grouping, RangeAggregation, RangeOp, VectorOp};
use crate::parse::ParseError;

pub fn check_range(aggregation: &RangeAggregation) -> Result<(), ParseError> {
    let op = aggregation.op;
    let name = op.as_str();
    if op == RangeOp::Quantile && aggregation.parameter.is_none() {
        return Err(ParseError::new(format_args!("parameter required for operation {name}")));
    }
    if aggregation.grouping.is_some() && !op.allows_grouping() {
        return Err(ParseError::new(format_args!("grouping not allowed for {name} aggregation")));
    }
    match &aggregation.range.unwrap {
        Some(_) if !op.allows_unwrap() => Err(ParseError::new(format_args!("invalid aggregation {name} with unwrap"))),
        None if op.needs_unwrap() => Err(ParseError::new(format_args!("invalid aggregation {name} without unwrap"))),
        _ => Ok(()),
    }
}

/// The parameter of a vector aggregation from its text.
pub fn vector_parameter(
    op: VectorOp,
    text: Option<&str>,
    grouping: Option<&Grouping>,
) -> Result<Option<u64>, ParseError> {
    let name = op.as_str();
    let parameter = match text {
        None if op.takes_parameter() => {
            return Err(ParseError::new(format_args!("parameter required for operation {name}")));
        }
        None => None,
        Some(text) if !op.takes_parameter() => {
            return Err(ParseError::new(format_args!("unsupported parameter for operation {name}({text},")));
        }
        Some(text) => match text.parse::<i64>() {
            Ok(0) => {
                return Err(ParseError::new(format_args!("invalid parameter (must be greater than 0) {name}({text}")));
            }
            Ok(k) if k > 0 => Some(k.unsigned_abs()),
            _ => return Err(ParseError::new(format_args!("invalid parameter {name}({text},"))),
        },
    };
    match (op, grouping) {
        (VectorOp::Sort | VectorOp::SortDesc, Some(_)) => {
            Err(ParseError::new("sort and sort_desc doesn't allow grouping by "))
        }
        (VectorOp::ApproxTopK, Some(_)) => {
            Err(ParseError::new(format_args!("grouping not allowed for {name} aggregation")))
        }
        _ => Ok(parameter),
    }
}
