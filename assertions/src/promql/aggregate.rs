//! Aggregations: many elements to one per group.

use super::ast::{Aggregation, Expr, Grouping};
use super::eval::{Element, EvalError, Evaluator, Value};
use super::functions::{quantile, variance};
use crate::labels::Labels;
use std::collections::BTreeMap;

pub(super) fn aggregate(
    evaluator: &Evaluator<'_>,
    op: Aggregation,
    parameter: Option<&Expr>,
    expr: &Expr,
    grouping: &Grouping,
) -> Result<Value, EvalError> {
    let mut groups: BTreeMap<Labels, Vec<Element>> = BTreeMap::new();
    for element in evaluator.vector(expr)? {
        groups.entry(group(&element.labels, grouping)).or_default().push(element);
    }
    let number = || match parameter {
        Some(parameter) => evaluator.scalar(parameter),
        None => Err(EvalError::Type("a parameter")),
    };
    let elements = match op {
        Aggregation::Topk => best(groups, number()?, |a, b| b.total_cmp(&a)),
        Aggregation::Bottomk => best(groups, number()?, |a, b| a.total_cmp(&b)),
        Aggregation::CountValues => {
            let parameter = parameter.ok_or(EvalError::Type("a label's name"))?;
            count_values(groups, &evaluator.text(parameter)?)
        }
        Aggregation::Quantile => {
            let q = number()?;
            each(groups, |values| quantile(q, values.to_vec()))
        }
        Aggregation::Sum => each(groups, sum),
        Aggregation::Avg => each(groups, |values| sum(values) / values.len() as f64),
        Aggregation::Min => each(groups, |values| extreme(values, |a, b| a < b)),
        Aggregation::Max => each(groups, |values| extreme(values, |a, b| a > b)),
        Aggregation::Count => each(groups, |values| values.len() as f64),
        Aggregation::Group => each(groups, |_| 1.0),
        Aggregation::Stddev => each(groups, |values| variance(values).sqrt()),
        Aggregation::Stdvar => each(groups, variance),
    };
    Ok(Value::Vector(elements))
}

fn group(labels: &Labels, grouping: &Grouping) -> Labels {
    match grouping {
        Grouping::By(names) => labels.filter(|name| names.iter().any(|kept| kept == name)),
        Grouping::Without(names) => {
            labels.filter(|name| name != "__name__" && !names.iter().any(|dropped| dropped == name))
        }
    }
}

fn each(groups: BTreeMap<Labels, Vec<Element>>, f: impl Fn(&[f64]) -> f64) -> Vec<Element> {
    groups
        .into_iter()
        .map(|(labels, elements)| {
            let values: Vec<f64> = elements.iter().map(|element| element.value).collect();
            Element { labels, value: f(&values) }
        })
        .collect()
}

fn sum(values: &[f64]) -> f64 {
    values.iter().sum()
}

/// The smallest or largest; a value that is no number loses against any number.
fn extreme(values: &[f64], beats: impl Fn(f64, f64) -> bool) -> f64 {
    values
        .iter()
        .copied()
        .fold(f64::NAN, |best, value| if best.is_nan() || beats(value, best) { value } else { best })
}

/// The first `k` of each group by `order`; values that are no number come last.
fn best(
    groups: BTreeMap<Labels, Vec<Element>>,
    k: f64,
    order: impl Fn(f64, f64) -> std::cmp::Ordering,
) -> Vec<Element> {
    let k = if k >= 1.0 { k as usize } else { 0 };
    let mut kept = Vec::new();
    for mut elements in groups.into_values() {
        elements
            .sort_by(|a, b| a.value.is_nan().cmp(&b.value.is_nan()).then_with(|| order(a.value, b.value)));
        elements.truncate(k);
        kept.append(&mut elements);
    }
    kept
}

fn count_values(groups: BTreeMap<Labels, Vec<Element>>, label: &str) -> Vec<Element> {
    let mut counts: BTreeMap<Labels, f64> = BTreeMap::new();
    for (labels, elements) in groups {
        for element in elements {
            *counts.entry(labels.with(label, &super::functions::format(element.value))).or_default() += 1.0;
        }
    }
    counts.into_iter().map(|(labels, value)| Element { labels, value }).collect()
}
