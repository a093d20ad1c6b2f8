//! Functions of the elements of an instant vector.

use super::ast::{Expr, MatchOp, Matcher};
use super::eval::{Element, EvalError, Evaluated, Query, argument};
use super::function::{MathFunction as M, OtherFunction as O};
use super::sums;
use crate::labels::Labels;
use crate::store::METRIC_NAME;
use crate::time::Millis;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

/// One number from one number, for each element.
pub(super) fn math(
    query: &Query<'_>,
    function: M,
    arguments: &[Expr],
    at: Millis,
) -> Evaluated<Vec<Element>> {
    mapped(query, argument(arguments, 0, "the function")?, at, |value| math_value(function, value))
}

fn math_value(function: M, value: f64) -> f64 {
    match function {
        M::Abs => value.abs(),
        M::Ceil => value.ceil(),
        M::Floor => value.floor(),
        M::Exp => value.exp(),
        M::Sqrt => value.sqrt(),
        M::Ln => value.ln(),
        M::Log2 => value.log2(),
        M::Log10 => value.log10(),
        M::Sgn => {
            if value == 0.0 || value.is_nan() {
                value
            } else {
                value.signum()
            }
        }
        M::Degrees => value * 180.0 / std::f64::consts::PI,
        M::Radians => value * std::f64::consts::PI / 180.0,
        M::Sin => value.sin(),
        M::Cos => value.cos(),
        M::Tan => value.tan(),
        M::Asin => value.asin(),
        M::Acos => value.acos(),
        M::Atan => value.atan(),
        M::Sinh => value.sinh(),
        M::Cosh => value.cosh(),
        M::Tanh => value.tanh(),
        M::Asinh => value.asinh(),
        M::Acosh => value.acosh(),
        M::Atanh => value.atanh(),
    }
}

/// Every element with its value changed and its name dropped.
fn mapped(
    query: &Query<'_>,
    expr: &Expr,
    at: Millis,
    change: impl Fn(f64) -> f64,
) -> Evaluated<Vec<Element>> {
    let mut elements = query.vector(expr, at)?;
    elements.iter_mut().for_each(|element| element.value = change(element.value));
    query.drop_names(elements)
}

/// The other functions of an instant vector.
pub(super) fn other(
    query: &Query<'_>,
    function: O,
    arguments: &[Expr],
    at: Millis,
) -> Evaluated<Vec<Element>> {
    let first = argument(arguments, 0, "the function")?;
    let scalar = |index| query.scalar(argument(arguments, index, "the function")?, at);
    match function {
        O::Vector => Ok(vec![Element::new(Labels::default(), query.scalar(first, at)?)]),
        O::Absent => absent(query, first, at),
        O::Round => {
            let inverse = 1.0 / if arguments.len() > 1 { scalar(1)? } else { 1.0 };
            mapped(query, first, at, |value| (value * inverse + 0.5).floor() / inverse)
        }
        O::Clamp => {
            let (low, high) = (scalar(1)?, scalar(2)?);
            if high < low {
                // What is wrong with the vector is wrong whatever the bounds.
                return query.vector(first, at).map(|_| Vec::new());
            }
            mapped(query, first, at, |value| sums::larger(low, sums::smaller(high, value)))
        }
        O::ClampMin => {
            let low = scalar(1)?;
            mapped(query, first, at, |value| sums::larger(low, value))
        }
        O::ClampMax => {
            let high = scalar(1)?;
            mapped(query, first, at, |value| sums::smaller(high, value))
        }
        O::Sort => sorted(query, first, at, compare_values),
        O::SortDesc => sorted(query, first, at, |a, b| compare_values(b, a)),
        O::SortByLabel | O::SortByLabelDesc => sorted_by_label(query, function, arguments, at),
        _ => Err(EvalError::Argument { function: "the function", problem: "another kind of argument" }),
    }
}

fn absent(query: &Query<'_>, expr: &Expr, at: Millis) -> Evaluated<Vec<Element>> {
    match query.vector(expr, at)?.is_empty() {
        true => Ok(vec![Element::new(labels_of_absent(expr), 1.0)]),
        false => Ok(Vec::new()),
    }
}

/// The labels that a selector pins by `=`: what is known of a series that is not there.
pub(super) fn labels_of_absent(expr: &Expr) -> Labels {
    let (Expr::Selector(selector) | Expr::Range { selector, .. }) = expr else { return Labels::default() };
    let mut pinned: BTreeMap<&str, &str> = BTreeMap::new();
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for Matcher { name, op, .. } in selector.matchers.iter().filter(|matcher| *matcher.name != *METRIC_NAME) {
        match op {
            MatchOp::Equal(value) if seen.insert(name) => {
                pinned.insert(name, value);
            }
            _ => {
                pinned.remove(&**name);
            }
        }
    }
    Labels::from_pairs(pinned)
}

/// By value, NaN last.
fn compare_values(a: &Element, b: &Element) -> Ordering {
    a.value.partial_cmp(&b.value).unwrap_or_else(|| a.value.is_nan().cmp(&b.value.is_nan()))
}

fn sorted(
    query: &Query<'_>,
    expr: &Expr,
    at: Millis,
    compare: impl Fn(&Element, &Element) -> Ordering,
) -> Evaluated<Vec<Element>> {
    let mut elements = query.vector(expr, at)?;
    // NaN stands last in both orders.
    elements.sort_by(|a, b| a.value.is_nan().cmp(&b.value.is_nan()).then_with(|| compare(a, b)));
    Ok(elements)
}

fn sorted_by_label(
    query: &Query<'_>,
    function: O,
    arguments: &[Expr],
    at: Millis,
) -> Evaluated<Vec<Element>> {
    let mut elements = query.vector(argument(arguments, 0, "sort_by_label")?, at)?;
    let names: Vec<&str> = arguments[1..].iter().map(|a| query.text(a)).collect::<Evaluated<_>>()?;
    elements.sort_by(|a, b| {
        let by_names = names
            .iter()
            .map(|name| natural(a.labels.get(name), b.labels.get(name)))
            .find(|ordering| ordering.is_ne());
        let ordering = by_names.unwrap_or_else(|| a.labels.cmp(&b.labels));
        if function == O::SortByLabelDesc { ordering.reverse() } else { ordering }
    });
    Ok(elements)
}

/// Natural order: run by run of digits and of anything else; two runs of digits compare as numbers, others as text.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    while !a.is_empty() && !b.is_empty() {
        let (run_a, rest_a) = first_run(a);
        let (run_b, rest_b) = first_run(b);
        let are_numbers = run_a.as_bytes()[0].is_ascii_digit() && run_b.as_bytes()[0].is_ascii_digit();
        let ordering = match are_numbers {
            true => {
                let (plain_a, plain_b) = (run_a.trim_start_matches('0'), run_b.trim_start_matches('0'));
                plain_a.len().cmp(&plain_b.len()).then_with(|| plain_a.cmp(plain_b))
            }
            false => run_a.cmp(run_b),
        };
        if ordering.is_ne() {
            return ordering;
        }
        (a, b) = (rest_a, rest_b);
    }
    a.len().cmp(&b.len())
}

/// The digits at the start of a text, or what stands before the first of them; and the rest.
fn first_run(text: &str) -> (&str, &str) {
    let is_digits = text.starts_with(|c: char| c.is_ascii_digit());
    text.split_at(text.find(|c: char| c.is_ascii_digit() != is_digits).unwrap_or(text.len()))
}
