//! Operators between numbers and vectors.

use super::ast::{Binary, Matching, Op, Side};
use super::eval::{Element, EvalError, Evaluator, Value, nameless, unique};
use crate::labels::Labels;
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn binary(evaluator: &Evaluator<'_>, binary: &Binary) -> Result<Value, EvalError> {
    let Binary { op, returns_bool, matching, .. } = binary;
    let (op, returns_bool) = (*op, *returns_bool);
    match (evaluator.eval(&binary.left)?, evaluator.eval(&binary.right)?) {
        (Value::Scalar(left), Value::Scalar(right)) => Ok(Value::Scalar(number(op, left, right))),
        (Value::Vector(left), Value::Scalar(right)) => {
            Ok(Value::Vector(filter_map(left, op, returns_bool, |value| (value, right))))
        }
        (Value::Scalar(left), Value::Vector(right)) => {
            Ok(Value::Vector(filter_map(right, op, returns_bool, |value| (left, value))))
        }
        (Value::Vector(left), Value::Vector(right)) if op.is_set() => {
            Ok(Value::Vector(sets(op, matching, left, right)))
        }
        (Value::Vector(left), Value::Vector(right)) => vectors(op, returns_bool, matching, left, right),
        _ => Err(EvalError::Type("a number or a vector")),
    }
}

/// The operator on two numbers; a comparison gives 1 or 0.
fn number(op: Op, left: f64, right: f64) -> f64 {
    match op {
        Op::Add => left + right,
        Op::Subtract => left - right,
        Op::Multiply => left * right,
        Op::Divide => left / right,
        Op::Modulo => left % right,
        Op::Power => left.powf(right),
        Op::Atan2 => left.atan2(right),
        comparison => f64::from(compares(comparison, left, right)),
    }
}

fn compares(op: Op, left: f64, right: f64) -> bool {
    match op {
        Op::Equal => left == right,
        Op::NotEqual => left != right,
        Op::Greater => left > right,
        Op::Less => left < right,
        Op::GreaterOrEqual => left >= right,
        Op::LessOrEqual => left <= right,
        _ => false,
    }
}

/// A vector against a number: a comparison keeps the elements for which it holds, as they are.
fn filter_map(
    elements: Vec<Element>,
    op: Op,
    returns_bool: bool,
    sides: impl Fn(f64) -> (f64, f64),
) -> Vec<Element> {
    let apply = |element: Element| {
        let (left, right) = sides(element.value);
        if op.is_comparison() && !returns_bool {
            return compares(op, left, right).then_some(element);
        }
        Some(Element { labels: nameless(&element.labels), value: number(op, left, right) })
    };
    elements.into_iter().filter_map(apply).collect()
}

/// The labels by which elements find each other.
fn signature(labels: &Labels, matching: &Matching) -> Labels {
    labels.filter(|name| {
        let listed = matching.labels.iter().any(|label| label == name);
        if matching.on { listed } else { !listed && name != "__name__" }
    })
}

fn sets(op: Op, matching: &Matching, left: Vec<Element>, right: Vec<Element>) -> Vec<Element> {
    let signatures = |elements: &[Element]| -> BTreeSet<Labels> {
        elements.iter().map(|element| signature(&element.labels, matching)).collect()
    };
    match op {
        Op::Or => {
            let known = signatures(&left);
            let more =
                right.into_iter().filter(|element| !known.contains(&signature(&element.labels, matching)));
            left.into_iter().chain(more).collect()
        }
        _ => {
            let known = signatures(&right);
            let wanted = op == Op::And;
            left.into_iter()
                .filter(|element| known.contains(&signature(&element.labels, matching)) == wanted)
                .collect()
        }
    }
}

fn vectors(
    op: Op,
    returns_bool: bool,
    matching: &Matching,
    left: Vec<Element>,
    right: Vec<Element>,
) -> Result<Value, EvalError> {
    // "One" is the side of which each element may serve several of the other.
    let (many, one, one_side, swapped) = match matching.side {
        Side::Right(_) => (right, left, "left", true),
        Side::None | Side::Left(_) => (left, right, "right", false),
    };
    let mut ones: BTreeMap<Labels, Element> = BTreeMap::new();
    for element in one {
        let labels = signature(&element.labels, matching);
        if ones.insert(labels.clone(), element).is_some() {
            return Err(EvalError::ManyToMany { labels, side: one_side });
        }
    }
    let mut used = BTreeSet::new();
    let mut results = Vec::new();
    for element in many {
        let labels = signature(&element.labels, matching);
        let Some(other) = ones.get(&labels) else { continue };
        if matching.side == Side::None && !used.insert(labels.clone()) {
            return Err(EvalError::ManyToMany { labels, side: "left" });
        }
        let (left, right) = if swapped { (other.value, element.value) } else { (element.value, other.value) };
        let filters = op.is_comparison() && !returns_bool;
        if filters && !compares(op, left, right) {
            continue;
        }
        let value = if filters { left } else { number(op, left, right) };
        results.push(Element { labels: result_labels(op, returns_bool, matching, &element, other), value });
    }
    unique(results).map(Value::Vector)
}

fn result_labels(op: Op, returns_bool: bool, matching: &Matching, many: &Element, one: &Element) -> Labels {
    let keeps_name = op.is_comparison() && !returns_bool;
    let labels = if keeps_name { many.labels.clone() } else { nameless(&many.labels) };
    match &matching.side {
        Side::None => labels.filter(|name| {
            let listed = matching.labels.iter().any(|label| label == name);
            if matching.on { listed } else { !listed }
        }),
        Side::Left(include) | Side::Right(include) => {
            include.iter().fold(labels, |labels, name| labels.with(name, one.labels.get(name)))
        }
    }
}
