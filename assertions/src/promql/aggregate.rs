//! Aggregations: many elements into few.

use super::ast::{Aggregate, AggregateOperator as Op, Dialect, Grouping};
use super::eval::{Element, EvalError, Evaluated, Query, without_name};
use super::range_functions::compensated;
use super::{instant_functions, quantile};
use crate::labels::Labels;
use crate::store::METRIC_NAME;
use crate::time::Millis;
use rustc_hash::FxHashMap;
use std::cmp::Ordering;

/// The elements that have the same grouping labels.
struct Group {
    labels: Labels,
    nameless: bool,
    members: Vec<Element>,
}

/// The elements of an aggregation at `at`; groups in the order in which they were met.
pub(super) fn vector(query: &Query<'_>, aggregate: &Aggregate, at: Millis) -> Evaluated<Vec<Element>> {
    let elements = query.vector(&aggregate.expr, at)?;
    let groups = grouped(&aggregate.grouping, elements);
    match aggregate.op {
        Op::Topk | Op::Bottomk => {
            let k = count(parameter(query, aggregate, at)?, query.settings.dialect)?;
            Ok(groups.into_iter().flat_map(|group| ends(group.members, k, aggregate.op)).collect())
        }
        Op::CountValues => count_values(query, aggregate, groups),
        Op::Quantile => {
            let q = parameter(query, aggregate, at)?;
            Ok(reduced(groups, |values| quantile::quantile(q, values.to_vec())))
        }
        op => Ok(reduced(groups, |values| reduce(op, values, query.settings.dialect))),
    }
}

fn parameter(query: &Query<'_>, aggregate: &Aggregate, at: Millis) -> Evaluated<f64> {
    let missing = EvalError::Argument { function: "the aggregation", problem: "a parameter" };
    query.scalar(aggregate.parameter.as_ref().ok_or(missing)?, at)
}

/// How many elements a parameter means: none if it is below 1. NaN is an error from 3.x on.
fn count(k: f64, dialect: Dialect) -> Evaluated<usize> {
    if k.is_nan() && dialect == Dialect::V3 {
        return Err(EvalError::Argument { function: "topk or bottomk", problem: "a number, not NaN" });
    }
    Ok(if k >= 1.0 { k as usize } else { 0 })
}

fn grouped(grouping: &Grouping, elements: Vec<Element>) -> Vec<Group> {
    if let Grouping::By(names) = grouping
        && names.is_empty()
    {
        let group = Group { labels: Labels::default(), nameless: false, members: elements };
        return if group.members.is_empty() { Vec::new() } else { vec![group] };
    }
    let mut groups: Vec<Group> = Vec::new();
    let mut by_labels: FxHashMap<Labels, usize> = FxHashMap::default();
    for element in elements {
        let labels = group_labels(grouping, &element);
        let nameless = element.nameless && !labels.get(METRIC_NAME).is_empty();
        let index = *by_labels.entry(labels.clone()).or_insert_with(|| {
            groups.push(Group { labels, nameless, members: Vec::new() });
            groups.len() - 1
        });
        groups[index].nameless |= nameless;
        groups[index].members.push(element);
    }
    groups
}

fn group_labels(grouping: &Grouping, element: &Element) -> Labels {
    match grouping {
        Grouping::By(names) => element.labels.filter(|label| names.iter().any(|name| **name == *label)),
        Grouping::Without(names) => {
            element.labels.filter(|label| label != METRIC_NAME && !names.iter().any(|name| **name == *label))
        }
    }
}

fn reduced(groups: Vec<Group>, reduce: impl Fn(&[f64]) -> f64) -> Vec<Element> {
    let of_group = |group: Group| {
        let values: Vec<f64> = group.members.iter().map(|member| member.value).collect();
        Element { labels: group.labels, value: reduce(&values), nameless: group.nameless }
    };
    groups.into_iter().map(of_group).collect()
}

/// One number from at least one.
fn reduce(op: Op, values: &[f64], dialect: Dialect) -> f64 {
    let each = || values.iter().copied();
    match op {
        // 2.x adds plainly, 3.x with compensation: the last digits differ.
        Op::Sum if dialect == Dialect::V2 => each().fold(0.0, |sum, value| sum + value),
        Op::Sum => compensated(each()),
        Op::Avg if dialect == Dialect::V2 => instant_functions::running_mean(each()),
        Op::Avg => mean(values),
        Op::Min => extreme(values, |best, value| value < best),
        Op::Max => extreme(values, |best, value| value > best),
        Op::Count => values.len() as f64,
        Op::Stdvar => instant_functions::variance(each()),
        Op::Stddev => instant_functions::variance(each()).sqrt(),
        // Group answers 1; the others are not reductions and never come here.
        _ => 1.0,
    }
}

fn mean(values: &[f64]) -> f64 {
    let sum = compensated(values.iter().copied());
    if sum.is_infinite() && values.iter().all(|value| value.is_finite()) {
        return instant_functions::running_mean(values.iter().copied());
    }
    sum / values.len() as f64
}

/// The value that no other replaces; a number always replaces NaN.
fn extreme(values: &[f64], replaces: impl Fn(f64, f64) -> bool) -> f64 {
    values.iter().copied().fold(
        f64::NAN,
        |best, value| {
            if best.is_nan() || replaces(best, value) { value } else { best }
        },
    )
}

/// The `k` largest or smallest, best first; NaN only if there is nothing else.
fn ends(mut members: Vec<Element>, k: usize, op: Op) -> Vec<Element> {
    let ascending = |a: &Element, b: &Element| a.value.partial_cmp(&b.value).unwrap_or(Ordering::Equal);
    members.sort_by(|a, b| {
        let by_value = if op == Op::Topk { ascending(b, a) } else { ascending(a, b) };
        a.value.is_nan().cmp(&b.value.is_nan()).then(by_value)
    });
    members.truncate(k);
    members
}

/// How many members have each value, the value as a label.
fn count_values(query: &Query<'_>, aggregate: &Aggregate, groups: Vec<Group>) -> Evaluated<Vec<Element>> {
    let missing = EvalError::Argument { function: "count_values", problem: "a label name" };
    let label = query.text(aggregate.parameter.as_ref().ok_or(missing)?)?;
    if !super::label_functions::is_label_name(label) {
        return Err(EvalError::LabelName(label.to_string()));
    }
    let mut counted: Vec<Element> = Vec::new();
    let mut by_labels: FxHashMap<Labels, usize> = FxHashMap::default();
    for group in groups {
        let base = if group.nameless { without_name(&group.labels) } else { group.labels };
        for member in group.members {
            let labels = base.with(label, &plain_number(member.value));
            let index = *by_labels.entry(labels.clone()).or_insert_with(|| {
                counted.push(Element::new(labels, 0.0));
                counted.len() - 1
            });
            counted[index].value += 1.0;
        }
    }
    Ok(counted)
}

/// A number without exponent, as Go's `'f'` with the fewest digits.
fn plain_number(value: f64) -> String {
    match value {
        value if value.is_nan() => "NaN".into(),
        value if value.is_infinite() => if value > 0.0 { "+Inf" } else { "-Inf" }.into(),
        value => format!("{value}"),
    }
}
