//! Operators between two expressions, and which elements of two vectors meet.

use super::ast::{
    Arithmetic, Binary, Cardinality, Comparison, Dialect, Kind, MatchLabels, Matching, Operator, SetOperator,
};
use super::eval::{Element, EvalError, Evaluated, Query, reject_duplicates, without_name};
use crate::labels::Labels;
use crate::store::METRIC_NAME;
use crate::time::Millis;
use rustc_hash::{FxHashMap, FxHashSet};

/// Two numbers; a comparison answers 0 or 1.
pub(super) fn scalars(op: Operator, left: f64, right: f64) -> Evaluated<f64> {
    match op {
        Operator::Arithmetic(op) => Ok(arithmetic(op, left, right)),
        Operator::Comparison(op) => Ok(f64::from(u8::from(holds(op, left, right)))),
        Operator::Set(_) => Err(EvalError::Kind { found: Kind::Scalar, wanted: Kind::Vector }),
    }
}

/// The elements of an operation in which at least one side is a vector.
pub(super) fn vector(query: &Query<'_>, binary: &Binary, at: Millis) -> Evaluated<Vec<Element>> {
    match (binary.left.kind(), binary.right.kind()) {
        (Kind::Scalar, _) => {
            let scalar = query.scalar(&binary.left, at)?;
            with_scalar(query, binary, query.vector(&binary.right, at)?, |value| (scalar, value))
        }
        (_, Kind::Scalar) => {
            let scalar = query.scalar(&binary.right, at)?;
            with_scalar(query, binary, query.vector(&binary.left, at)?, |value| (value, scalar))
        }
        _ => {
            let left = query.vector(&binary.left, at)?;
            let right = query.vector(&binary.right, at)?;
            match binary.op {
                Operator::Set(op) => Ok(set(op, &binary.matching, left, right)),
                _ => matched(query, binary, left, right),
            }
        }
    }
}

fn arithmetic(op: Arithmetic, left: f64, right: f64) -> f64 {
    match op {
        Arithmetic::Add => left + right,
        Arithmetic::Subtract => left - right,
        Arithmetic::Multiply => left * right,
        Arithmetic::Divide => left / right,
        Arithmetic::Modulo => left % right,
        Arithmetic::Power => left.powf(right),
        Arithmetic::Atan2 => left.atan2(right),
    }
}

fn holds(op: Comparison, left: f64, right: f64) -> bool {
    match op {
        Comparison::Equal => left == right,
        Comparison::NotEqual => left != right,
        Comparison::Less => left < right,
        Comparison::LessOrEqual => left <= right,
        Comparison::Greater => left > right,
        Comparison::GreaterOrEqual => left >= right,
    }
}

/// The value of a pair: `None` if a comparison filters it out. `kept` is the value a filter lets through.
fn pair(binary: &Binary, left: f64, right: f64, kept: f64) -> Option<f64> {
    match binary.op {
        Operator::Arithmetic(op) => Some(arithmetic(op, left, right)),
        Operator::Comparison(op) if binary.returns_bool => Some(f64::from(u8::from(holds(op, left, right)))),
        Operator::Comparison(op) => holds(op, left, right).then_some(kept),
        Operator::Set(_) => None,
    }
}

/// Whether the result is another quantity, which must not carry the metric's name. 2.x forgets atan2.
fn drops_name(binary: &Binary, dialect: Dialect) -> bool {
    match binary.op {
        Operator::Arithmetic(Arithmetic::Atan2) => dialect == Dialect::V3,
        Operator::Arithmetic(_) => true,
        Operator::Comparison(_) | Operator::Set(_) => binary.returns_bool,
    }
}

fn with_scalar(
    query: &Query<'_>,
    binary: &Binary,
    elements: Vec<Element>,
    sides: impl Fn(f64) -> (f64, f64),
) -> Evaluated<Vec<Element>> {
    let mut result = Vec::with_capacity(elements.len());
    for mut element in elements {
        let (left, right) = sides(element.value);
        if let Some(value) = pair(binary, left, right, element.value) {
            element.value = value;
            if drops_name(binary, query.settings.dialect) {
                query.drop_name(&mut element);
            }
            result.push(element);
        }
    }
    if drops_name(binary, query.settings.dialect) {
        reject_duplicates(&result)?;
    }
    Ok(result)
}

/// The labels by which an element finds its partner.
fn signature(matching: &Matching, labels: &Labels) -> Labels {
    let listed = |names: &[std::sync::Arc<str>], label: &str| names.iter().any(|name| **name == *label);
    match &matching.labels {
        MatchLabels::On(names) => labels.filter(|label| listed(names, label)),
        MatchLabels::Ignoring(names) if names.is_empty() => without_name(labels),
        MatchLabels::Ignoring(names) => labels.filter(|label| label != METRIC_NAME && !listed(names, label)),
    }
}

fn set(op: SetOperator, matching: &Matching, left: Vec<Element>, right: Vec<Element>) -> Vec<Element> {
    let signatures = |elements: &[Element]| {
        elements.iter().map(|e| signature(matching, &e.labels)).collect::<FxHashSet<_>>()
    };
    match op {
        SetOperator::And => {
            let there = signatures(&right);
            left.into_iter().filter(|e| there.contains(&signature(matching, &e.labels))).collect()
        }
        SetOperator::Unless => {
            let there = signatures(&right);
            left.into_iter().filter(|e| !there.contains(&signature(matching, &e.labels))).collect()
        }
        SetOperator::Or => {
            let there = signatures(&left);
            let added = right.into_iter().filter(|e| !there.contains(&signature(matching, &e.labels)));
            left.into_iter().chain(added).collect()
        }
    }
}

/// Arithmetic or comparison of partners.
fn matched(
    query: &Query<'_>,
    binary: &Binary,
    left: Vec<Element>,
    right: Vec<Element>,
) -> Evaluated<Vec<Element>> {
    if left.is_empty() || right.is_empty() {
        return Ok(Vec::new());
    }
    // From here on `one` is the side of which each element is unique in its group.
    let many_is_right = matches!(binary.matching.cardinality, Cardinality::OneToMany(_));
    let (many, one) = if many_is_right { (right, left) } else { (left, right) };
    if let ([element], [partner]) = (many.as_slice(), one.as_slice()) {
        return Ok(matched_pair(query, binary, element, partner).into_iter().collect());
    }
    let partners = unique(&binary.matching, &one, if many_is_right { "left" } else { "right" })?;
    let mut taken: FxHashSet<Labels> = FxHashSet::default();
    let mut result = Vec::new();
    for element in many {
        let group = signature(&binary.matching, &element.labels);
        let Some(partner) = partners.get(&group) else { continue };
        let (l, r) =
            if many_is_right { (partner.value, element.value) } else { (element.value, partner.value) };
        let one_to_one = matches!(binary.matching.cardinality, Cardinality::OneToOne);
        let value = pair(binary, l, r, l);
        // 3.x refuses a second partner, or a second element of the same labels, even if the comparison is false; 2.x only if
        // both come through.
        if value.is_none() && query.settings.dialect == Dialect::V2 {
            continue;
        }
        let joined = joined(query, binary, &element, partner, value.unwrap_or_default());
        if one_to_one && !taken.insert(group) {
            return Err(EvalError::ManyToOne);
        }
        if !one_to_one && !taken.insert(joined.labels.clone()) {
            return Err(EvalError::GroupingNotUnique(joined.labels));
        }
        if value.is_some() {
            result.push(joined);
        }
    }
    // Of a name that was matched on and then dropped nothing is left to tell elements apart.
    if matches!(&binary.matching.labels, MatchLabels::On(names) if names.iter().any(|name| **name == *METRIC_NAME))
    {
        reject_duplicates(&result)?;
    }
    Ok(result)
}

/// What two elements become that are alone on their sides, as two sums are: there is nothing to look up, and nothing can be twice.
fn matched_pair(query: &Query<'_>, binary: &Binary, many: &Element, one: &Element) -> Option<Element> {
    if signature(&binary.matching, &many.labels) != signature(&binary.matching, &one.labels) {
        return None;
    }
    let many_is_right = matches!(binary.matching.cardinality, Cardinality::OneToMany(_));
    let (left, right) = if many_is_right { (one.value, many.value) } else { (many.value, one.value) };
    pair(binary, left, right, left).map(|value| joined(query, binary, many, one, value))
}

/// The elements of a side by signature. Errors: two have the same.
fn unique<'e>(
    matching: &Matching,
    elements: &'e [Element],
    side: &'static str,
) -> Evaluated<FxHashMap<Labels, &'e Element>> {
    let mut by_signature: FxHashMap<Labels, &Element> = FxHashMap::default();
    for element in elements {
        let group = signature(matching, &element.labels);
        if let Some(first) = by_signature.insert(group.clone(), element) {
            let elements = Box::new([first.labels.clone(), element.labels.clone()]);
            return Err(EvalError::ManyToMany { side, group, elements });
        }
    }
    Ok(by_signature)
}

/// The element that a pair becomes: the many side's labels, and those the other side lends.
fn joined(query: &Query<'_>, binary: &Binary, many: &Element, one: &Element, value: f64) -> Element {
    let mut element = Element { labels: many.labels.clone(), value, nameless: many.nameless };
    // Between two vectors a new quantity loses its name at once, even where names go at the end.
    if binary.returns_bool {
        query.drop_name(&mut element);
    } else if drops_name(binary, query.settings.dialect) {
        element.labels = without_name(&element.labels);
        element.nameless = false;
    }
    let (Cardinality::ManyToOne(lent) | Cardinality::OneToMany(lent)) = &binary.matching.cardinality else {
        element.labels = match &binary.matching.labels {
            MatchLabels::On(_) => signature(&binary.matching, &element.labels),
            MatchLabels::Ignoring(names) => {
                element.labels.filter(|label| !names.iter().any(|name| **name == *label))
            }
        };
        return element;
    };
    for name in lent {
        element.labels = element.labels.with(name, one.labels.get(name));
    }
    element
}
