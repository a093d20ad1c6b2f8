//! Questions about an expression's tree that several checks ask.
//!
//! It knows no file and no finding. What a node is, who stands above it, and its text without what two alerts may differ in.

use crate::promql::ast::{
    Arithmetic, Cardinality, Comparison, Expr, Grouping, Kind, MatchLabels, Operator, Selector, SetOperator,
};
use crate::promql::function::{Function, OtherFunction, RangeFunction};
use crate::promql::selection;
use std::collections::BTreeSet;

/// A node and the nodes above it, the root first.
pub(super) struct Visit<'e> {
    pub(super) node: &'e Expr,
    pub(super) above: Vec<&'e Expr>,
}

impl<'e> Visit<'e> {
    /// The nearest node above.
    pub(super) fn parent(&self) -> Option<&'e Expr> {
        self.above.last().copied()
    }
}

/// All nodes, parents before children.
pub(super) fn visits(root: &Expr) -> Vec<Visit<'_>> {
    let mut found = Vec::new();
    gather(root, &mut Vec::new(), &mut found);
    found
}

fn gather<'e>(node: &'e Expr, above: &mut Vec<&'e Expr>, found: &mut Vec<Visit<'e>>) {
    found.push(Visit { node, above: above.clone() });
    above.push(node);
    node.children().into_iter().for_each(|child| gather(child, above, found));
    above.pop();
}

/// A call's function and arguments.
pub(super) fn call(expr: &Expr) -> Option<(Function, &[Expr])> {
    match expr {
        Expr::Call(call) => Some((call.function, &call.arguments)),
        _ => None,
    }
}

/// A function over a window, and its arguments.
pub(super) fn range_call(expr: &Expr) -> Option<(RangeFunction, &[Expr])> {
    match call(expr)? {
        (Function::Range(function), arguments) => Some((function, arguments)),
        _ => None,
    }
}

/// Whether it is a call of this function.
pub(super) fn is_call(expr: &Expr, wanted: OtherFunction) -> bool {
    matches!(call(expr), Some((Function::Other(found), _)) if found == wanted)
}

/// The number that it always is.
pub(super) fn number(expr: &Expr) -> Option<f64> {
    selection::constant(expr)
}

/// A range selector and its window, ms.
pub(super) fn range(expr: &Expr) -> Option<(&Selector, i64)> {
    match expr {
        Expr::Range { selector, range, .. } => Some((selector, *range)),
        _ => None,
    }
}

/// The selector of a node that is one, with or without a window.
pub(super) fn selector(expr: &Expr) -> Option<&Selector> {
    match expr {
        Expr::Selector(selector) => Some(selector),
        _ => range(expr).map(|(selector, _)| selector),
    }
}

/// All selectors, in the order written.
pub(super) fn selectors(expr: &Expr) -> Vec<&Selector> {
    visits(expr).into_iter().filter_map(|visit| selector(visit.node)).collect()
}

/// The longest window in it, subqueries too, ms.
pub(super) fn longest_window(expr: &Expr) -> Option<i64> {
    let of = |visit: Visit<'_>| match visit.node {
        Expr::Subquery(subquery) => Some(subquery.range),
        node => range(node).map(|(_, window)| window),
    };
    visits(expr).into_iter().filter_map(of).max()
}

/// Whether a node of that kind is in it.
pub(super) fn any(expr: &Expr, wanted: impl Fn(&Expr) -> bool) -> bool {
    visits(expr).iter().any(|visit| wanted(visit.node))
}

/// Whether it is `absent` or `absent_over_time`, or has one inside.
pub(super) fn asserts_absence(expr: &Expr) -> bool {
    selection::asserts_absence(expr)
}

/// A comparison of a vector with a number, read so that the vector stands left.
#[derive(Clone, Copy)]
pub(super) struct Limit<'e> {
    /// The comparison itself.
    pub(super) node: &'e Expr,
    /// What is compared.
    pub(super) value: &'e Expr,
    /// How, with the value on the left.
    pub(super) op: Comparison,
    /// With what, as written.
    pub(super) bound: &'e Expr,
    /// With what, [`tidy`].
    pub(super) threshold: f64,
}

impl Limit<'_> {
    /// Whether it holds for large values.
    pub(super) fn is_upper(&self) -> bool {
        matches!(self.op, Comparison::Greater | Comparison::GreaterOrEqual)
    }

    /// Whether it holds for small values.
    pub(super) fn is_lower(&self) -> bool {
        matches!(self.op, Comparison::Less | Comparison::LessOrEqual)
    }
}

/// A number without the dust of binary fractions: 0.144 for `14.4 * 0.01`.
pub(super) fn tidy(number: f64) -> f64 {
    format!("{number:.11e}").parse().unwrap_or(number)
}

/// The limit that this node is.
pub(super) fn limit(node: &Expr) -> Option<Limit<'_>> {
    let Expr::Binary(binary) = node else { return None };
    let Operator::Comparison(op) = binary.op else { return None };
    if binary.left.kind() == Kind::Vector {
        let threshold = tidy(number(&binary.right)?);
        return Some(Limit { node, value: &binary.left, op, bound: &binary.right, threshold });
    }
    let threshold = tidy(number(&binary.left)?);
    Some(Limit { node, value: &binary.right, op: mirrored(op), bound: &binary.left, threshold })
}

/// All limits in it.
pub(super) fn limits(expr: &Expr) -> Vec<Limit<'_>> {
    visits(expr).into_iter().filter_map(|visit| limit(visit.node)).collect()
}

/// The limits that decide whether the alert's own elements are there: those joined by `and`, `or`, and left of `unless`.
pub(super) fn deciding_limits(expr: &Expr) -> Vec<Limit<'_>> {
    let Expr::Binary(binary) = expr else { return Vec::new() };
    match binary.op {
        Operator::Set(SetOperator::Unless) => deciding_limits(&binary.left),
        Operator::Set(_) => {
            [deciding_limits(&binary.left), deciding_limits(&binary.right)].into_iter().flatten().collect()
        }
        _ => limit(expr).into_iter().collect(),
    }
}

/// What is joined by `or`, at the top.
pub(super) fn alternatives(expr: &Expr) -> Vec<&Expr> {
    match expr {
        Expr::Binary(binary) if binary.op == Operator::Set(SetOperator::Or) => {
            [alternatives(&binary.left), alternatives(&binary.right)].into_iter().flatten().collect()
        }
        _ => vec![expr],
    }
}

fn mirrored(op: Comparison) -> Comparison {
    match op {
        Comparison::Less => Comparison::Greater,
        Comparison::LessOrEqual => Comparison::GreaterOrEqual,
        Comparison::Greater => Comparison::Less,
        Comparison::GreaterOrEqual => Comparison::LessOrEqual,
        same => same,
    }
}

/// The sides of a quotient of two vectors.
pub(super) fn quotient(expr: &Expr) -> Option<(&Expr, &Expr)> {
    match expr {
        Expr::Binary(binary) if binary.op == Operator::Arithmetic(Arithmetic::Divide) => {
            let both = binary.left.kind() == Kind::Vector && binary.right.kind() == Kind::Vector;
            both.then_some((&binary.left, &binary.right))
        }
        _ => None,
    }
}

/// The vector behind factors, divisors and differences with numbers: of `100 * (1 - x)`, `x`.
pub(super) fn without_constants(expr: &Expr) -> &Expr {
    let Expr::Binary(binary) = expr else { return expr };
    if !matches!(binary.op, Operator::Arithmetic(_)) {
        return expr;
    }
    match (number(&binary.left), number(&binary.right)) {
        (Some(_), None) => without_constants(&binary.right),
        (None, Some(_)) => without_constants(&binary.left),
        _ => expr,
    }
}

/// An expression as text: equal for equal meaning as written, whatever the white space and parentheses.
pub(super) fn text(expr: &Expr) -> String {
    written(expr, false)
}

/// [`text`] with a `?` for each number that something is compared with.
pub(super) fn shape(expr: &Expr) -> String {
    written(expr, true)
}

fn written(expr: &Expr, open: bool) -> String {
    let list = |items: &[Expr]| items.iter().map(|item| written(item, open)).collect::<Vec<_>>().join(", ");
    if let Some((function, arguments)) = call(expr) {
        return format!("{}({})", function.name().unwrap_or_default(), list(arguments));
    }
    if let Some(value) = number(expr) {
        return value.to_string();
    }
    match expr {
        Expr::Binary(binary) => {
            let side = |side: &Expr| match binary.op {
                Operator::Comparison(_) if open && number(side).is_some() => "?".to_owned(),
                _ => written(side, open),
            };
            let (mut op, matching) = (binary.op, &binary.matching);
            let (mut left, mut right) = (side(&binary.left), side(&binary.right));
            // `5 < x` is `x > 5`.
            if let (Operator::Comparison(comparison), Some(_)) = (op, number(&binary.left)) {
                op = Operator::Comparison(mirrored(comparison));
                (left, right) = (right, left);
            }
            let labels = match (&matching.labels, &matching.cardinality) {
                (MatchLabels::Ignoring(none), Cardinality::OneToOne) if none.is_empty() => String::new(),
                (labels, cardinality) => format!(" {labels:?} {cardinality:?}"),
            };
            let bool = if binary.returns_bool { " bool" } else { "" };
            format!("({left} {op:?}{bool}{labels} {right})")
        }
        Expr::Aggregate(aggregate) => {
            let parameter = aggregate.parameter.as_ref().map(|parameter| written(parameter, open) + ", ");
            let (op, grouping) = (aggregate.op, grouping_text(&aggregate.grouping));
            format!("{op:?} {grouping}({}{})", parameter.unwrap_or_default(), written(&aggregate.expr, open))
        }
        Expr::Subquery(subquery) => {
            let (range, step, time) = (subquery.range, subquery.step, subquery.time);
            format!("({})[{range}:{step:?}] {time:?}", written(&subquery.expr, open))
        }
        Expr::Text(text, ..) => format!("{text:?}"),
        _ => match (selector(expr), expr.children().first()) {
            (Some(selector), _) => {
                let window = range(expr).map(|(_, window)| format!("[{window}]")).unwrap_or_default();
                format!("{}{window} {:?}", selector_text(selector), selector.time)
            }
            (None, Some(inner)) => format!("-({})", written(inner, open)),
            (None, None) => String::new(),
        },
    }
}

/// A selector with its matchers in the order of their names.
pub(super) fn selector_text(selector: &Selector) -> String {
    let mut matchers: Vec<String> = selector.matchers.iter().map(ToString::to_string).collect();
    matchers.sort();
    format!("{}{{{}}}", selector.name.as_deref().unwrap_or_default(), matchers.join(", "))
}

fn grouping_text(grouping: &Grouping) -> String {
    let (word, labels) = match grouping {
        Grouping::By(labels) => ("by", labels),
        Grouping::Without(labels) => ("without", labels),
    };
    format!("{word} {:?}", labels.iter().collect::<BTreeSet<_>>())
}
