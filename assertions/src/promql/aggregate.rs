//! Aggregations: many elements into few.

use super::ast::{Aggregate, AggregateOperator as Op, Dialect, Expr, Grouping};
use super::eval::{Element, EvalError, Evaluated, Query, without_name};
use super::function::Function;
use super::sums::{self, Kahan};
use super::{quantile, range_functions};
use crate::labels::Labels;
use crate::store::METRIC_NAME;
use crate::template::go_float;
use crate::time::Millis;
use rustc_hash::FxHashMap;
use std::cmp::Ordering;
use std::sync::Arc;

/// The elements that have the same grouping labels.
struct Group {
    labels: Labels,
    nameless: bool,
    members: Vec<Element>,
}

/// The elements of an aggregation at `at`; groups in the order in which they were met.
pub(super) fn vector(query: &Query<'_>, aggregate: &Aggregate, at: Millis) -> Evaluated<Vec<Element>> {
    if let Some(elements) = all_in_one(query, aggregate, at)? {
        return Ok(elements);
    }
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
            query.annotate_quantile(q, aggregate.parameter.as_ref().unwrap_or(&aggregate.expr));
            Ok(reduced(groups, |values| quantile::quantile(q, values.to_vec())))
        }
        op => Ok(reduced(groups, |values| reduce(op, values, query.settings.dialect))),
    }
}

/// `sum(rate(x[5m]))` and the like, which most rules are made of: no label of `x` matters, so none is looked at.
fn all_in_one(query: &Query<'_>, aggregate: &Aggregate, at: Millis) -> Evaluated<Option<Vec<Element>>> {
    let is_simple = matches!(&aggregate.grouping, Grouping::By(names) if names.is_empty())
        && matches!(aggregate.op, Op::Sum | Op::Avg | Op::Min | Op::Max | Op::Count | Op::Group);
    let Expr::Call(call) = &aggregate.expr else { return Ok(None) };
    let Function::Range(function) = call.function else { return Ok(None) };
    // What is odd is told with the metric's name, which is among the labels.
    if !is_simple || query.annotations.is_some() {
        return Ok(None);
    }
    let Some(values) = range_functions::values(query, function, &call.arguments, at)? else {
        return Ok(None);
    };
    if values.is_empty() {
        return Ok(Some(Vec::new()));
    }
    let value = reduce(aggregate.op, &values, query.settings.dialect);
    Ok(Some(vec![Element::new(Labels::default(), value)]))
}

fn parameter(query: &Query<'_>, aggregate: &Aggregate, at: Millis) -> Evaluated<f64> {
    let missing = EvalError::Argument { function: "the aggregation", problem: "a parameter" };
    query.scalar(aggregate.parameter.as_ref().ok_or(missing)?, at)
}

/// How many elements a parameter means: none if it is below 1. Errors: NaN, or beyond what Prometheus counts with.
fn count(k: f64, dialect: Dialect) -> Evaluated<usize> {
    // The largest number below 2^63: 2.x still counts to it. 3.x does not, and takes anything below 1 for none.
    const MOST: f64 = 9_223_372_036_854_774_784.0;
    let counts = match dialect {
        Dialect::V2 => (-9_223_372_036_854_775_808.0..=MOST).contains(&k),
        Dialect::V3 => k < MOST,
    };
    match counts {
        _ if k.is_nan() => Err(EvalError::CountIsNan),
        true => Ok(if k >= 1.0 { k as usize } else { 0 }),
        false => Err(EvalError::Count(go_float(k))),
    }
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
        Op::Sum if dialect == Dialect::V2 => each().reduce(|sum, value| sum + value).unwrap_or_default(),
        Op::Sum => Kahan::of(each(), dialect).value(),
        Op::Avg if dialect == Dialect::V2 => sums::running_mean(each()),
        Op::Avg => sums::mean_by_sum(each()),
        Op::Min => sums::extreme(each(), |best, value| value < best),
        Op::Max => sums::extreme(each(), |best, value| value > best),
        Op::Count => values.len() as f64,
        Op::Stdvar => sums::plain_variance(values, dialect),
        Op::Stddev => sums::plain_variance(values, dialect).sqrt(),
        // Group answers 1; the others are not reductions and never come here.
        _ => 1.0,
    }
}

/// The `k` largest or smallest, best first; NaN only if there is nothing else.
///
/// Of equal elements at the edge those stay that stay in a heap of Go's, which is how Prometheus chooses.
fn ends(members: Vec<Element>, k: usize, op: Op) -> Vec<Element> {
    let worse = |a: &Element, b: &Element| {
        a.value.is_nan() || if op == Op::Topk { a.value < b.value } else { a.value > b.value }
    };
    let mut members = kept(members, k, worse);
    let ascending = |a: &Element, b: &Element| a.value.partial_cmp(&b.value).unwrap_or(Ordering::Equal);
    members.sort_by(|a, b| {
        let by_value = if op == Op::Topk { ascending(b, a) } else { ascending(a, b) };
        a.value.is_nan().cmp(&b.value.is_nan()).then(by_value)
    });
    members
}

/// The `k` best of `members`: a heap whose top is the worst, and the first that is better takes the top's place.
fn kept(members: Vec<Element>, k: usize, worse: impl Fn(&Element, &Element) -> bool) -> Vec<Element> {
    let mut heap: Vec<Element> = Vec::with_capacity(k.min(members.len()));
    for member in members {
        if heap.len() < k {
            heap.push(member);
            let mut child = heap.len() - 1;
            while child > 0 && worse(&heap[child], &heap[(child - 1) / 2]) {
                heap.swap(child, (child - 1) / 2);
                child = (child - 1) / 2;
            }
        } else if k > 0 && !member.value.is_nan() && worse(&heap[0], &member) {
            heap[0] = member;
            sink(&mut heap, &worse);
        }
    }
    heap
}

/// Moves the top down to where no child is worse.
fn sink(heap: &mut [Element], worse: &impl Fn(&Element, &Element) -> bool) {
    let mut parent = 0;
    loop {
        let (left, right) = (2 * parent + 1, 2 * parent + 2);
        if left >= heap.len() {
            return;
        }
        let child = if right < heap.len() && worse(&heap[right], &heap[left]) { right } else { left };
        if !worse(&heap[child], &heap[parent]) {
            return;
        }
        heap.swap(child, parent);
        parent = child;
    }
}

/// How many members have each value, the value as a label.
fn count_values(query: &Query<'_>, aggregate: &Aggregate, groups: Vec<Group>) -> Evaluated<Vec<Element>> {
    let missing = EvalError::Argument { function: "count_values", problem: "a label name" };
    let label = query.text(aggregate.parameter.as_ref().ok_or(missing)?)?;
    if !super::label_functions::is_label_name(label, query.settings.dialect) {
        let name = label.to_string();
        return Err(EvalError::LabelName { function: "count_values", role: "parameter", name });
    }
    let mut counted: Vec<Element> = Vec::new();
    let mut by_labels: FxHashMap<Labels, usize> = FxHashMap::default();
    for group in groups {
        let base = if group.nameless { without_name(&group.labels) } else { group.labels };
        for member in group.members {
            // Prometheus sets the label before it groups: `without` it takes it away again.
            let labels = match &aggregate.grouping {
                Grouping::Without(names) if is_taken_away(names, label) => base.clone(),
                _ => base.with(label, &plain_number(member.value)),
            };
            let index = *by_labels.entry(labels.clone()).or_insert_with(|| {
                counted.push(Element::new(labels, 0.0));
                counted.len() - 1
            });
            counted[index].value += 1.0;
        }
    }
    Ok(counted)
}

fn is_taken_away(names: &[Arc<str>], label: &str) -> bool {
    label == METRIC_NAME || names.iter().any(|name| **name == *label)
}

/// A number without exponent, as Go's `'f'` with the fewest digits; of two as near as each other, the even one.
fn plain_number(value: f64) -> String {
    match value {
        value if value.is_nan() => "NaN".into(),
        value if value.is_infinite() => if value > 0.0 { "+Inf" } else { "-Inf" }.into(),
        value => {
            let shortest = format!("{value}");
            let decimals = shortest.split_once('.').map_or(0, |(_, decimals)| decimals.len());
            // Rounding to that many decimals is exact, the shortest form is not where it stands halfway.
            let rounded = format!("{value:.decimals$}");
            if rounded.parse() == Ok(value) { rounded } else { shortest }
        }
    }
}
