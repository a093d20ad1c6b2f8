//! Two sides that meet by their labels: sides that cannot, and sums that have no value while one side is unborn.

use super::labels;
use super::lints;
use super::rules::Expression;
use super::share;
use super::tree::{self, Visit};
use super::{Context, Finding, Report};
use crate::promql::ast::{Arithmetic, Cardinality, Expr, Kind, MatchLabels, Operator, SetOperator};
use crate::promql::function::OtherFunction;
use std::collections::BTreeSet;

/// Shares below this are lost in the birth of a counter.
const SMALL_SHARE: f64 = 0.01;

pub(super) fn check(context: &Context<'_>, findings: &mut Vec<Finding>) {
    for rule in context.all_rules() {
        let Some(expression) = &rule.expr else { continue };
        let mut report = rule.report(findings);
        expression_only(expression, &mut report);
        if rule.is_alert {
            unborn(expression, &mut report);
        }
    }
}

/// What is wrong wherever an expression stands: in a rule or on a dashboard.
pub(super) fn expression_only(expression: &Expression, report: &mut Report<'_>) {
    for visit in tree::visits(&expression.expr) {
        ratio_of_itself(expression, &visit, report);
    }
    for visit in tree::visits(&expression.full).iter().filter(|visit| expression.is_own(visit.node)) {
        never_matches(expression, visit, report);
    }
}

fn never_matches(expression: &Expression, visit: &Visit<'_>, report: &mut Report<'_>) -> Option<()> {
    let Expr::Binary(binary) = visit.node else { return None };
    let are_vectors = binary.left.kind() == Kind::Vector && binary.right.kind() == Kind::Vector;
    if !are_vectors || binary.op == Operator::Set(SetOperator::Or) {
        return None;
    }
    let compared = |label: &str| {
        // What a recording adds of its own is on one side, on both or on none.
        let is_compared = match &binary.matching.labels {
            MatchLabels::Ignoring(ignored) => !ignored.iter().any(|ignored| **ignored == *label),
            MatchLabels::On(on) => on.iter().any(|on| **on == *label),
        };
        is_compared && !expression.given.contains(label)
    };
    let lacks = |having: &Expr, lacking: &Expr| -> Vec<String> {
        let (present, possible) = (labels::present(having), labels::possible(lacking));
        present.into_iter().filter(|label| compared(label) && !possible.may_have(label)).collect()
    };
    let (right_lacks, left_lacks) = (lacks(&binary.left, &binary.right), lacks(&binary.right, &binary.left));
    let (one, other) = (labels::fixed(&binary.left), labels::fixed(&binary.right));
    let differs = |(label, value): (&String, &String)| {
        let other = other.get(label).filter(|other| *other != value && compared(label))?;
        Some(format!("`{label}` is \"{value}\" on the left and \"{other}\" on the right"))
    };
    let summary = match (right_lacks.is_empty(), left_lacks.is_empty()) {
        (true, true) => format!("{}: no element meets one of the other side", one.iter().find_map(differs)?),
        (is_left, _) => {
            let (side, names) = if is_left { ("left", left_lacks) } else { ("right", right_lacks) };
            let names = names.join(", ");
            format!("the {side} side has no label {names}, so its elements meet none of the other side")
        }
    };
    let fix = match (binary.op, &binary.matching.cardinality) {
        (Operator::Set(_), _) => "let both sides have the same labels, or say which ones count: `on(…)`",
        (_, Cardinality::OneToOne) => {
            "group both sides by the same labels, or say how they meet: `on(…) group_left()`"
        }
        _ => "meet on labels that both sides have",
    };
    report.add(&lints::NEVER_MATCHES, expression.place(visit.node), summary, fix);
    Some(())
}

/// `rate(x{status="500"}) / rate(x)`: each element meets the one with its own labels, which is itself.
fn ratio_of_itself(expression: &Expression, visit: &Visit<'_>, report: &mut Report<'_>) -> Option<()> {
    let Expr::Binary(binary) = visit.node else { return None };
    let (part, whole) = tree::quotient(visit.node)?;
    let (function, arguments) = tree::range_call(part)?;
    let (other, others) = tree::range_call(whole)?;
    let (selected, window) = arguments.first().and_then(tree::range)?;
    let (all, all_window) = others.first().and_then(tree::range)?;
    let is_default = matches!(&binary.matching.labels, MatchLabels::Ignoring(ignored) if ignored.is_empty());
    let same =
        function == other && window == all_window && selected.name == all.name && selected.time == all.time;
    if !same || !is_default || selected.name.is_none() || selected.matchers.len() <= all.matchers.len() {
        return None;
    }
    let summary =
        "both sides keep all labels, so each series is divided by itself: the share is 1 or nothing";
    let fix = "add both sides up before dividing: `sum(rate(x{status=~\"5..\"}[5m])) / sum(rate(x[5m]))`";
    report.add(&lints::RATIO_OF_ITSELF, expression.place(visit.node), summary, fix);
    Some(())
}

/// A share whose whole is a sum of counters: without one of them there is no whole.
fn unborn(expression: &Expression, report: &mut Report<'_>) {
    for limit in tree::limits(&expression.full) {
        let value = tree::without_constants(limit.value);
        let Some((_, whole)) = tree::quotient(value) else { continue };
        let matters = limit.is_lower() || share::of_whole(limit.threshold, limit.value) < SMALL_SHARE;
        if let Some(names) = sum_of_counters(whole).filter(|_| matters) {
            let summary = format!(
                "{} are added: before the first of each is counted the sum has no value, and `rate` does not count the first",
                names.join(" and ")
            );
            let fix = "export each counter from the start, at 0, or add `or vector(0)` to each term";
            report.add(&lints::UNBORN_COUNTER, expression.place(whole), summary, fix);
        }
    }
}

/// What is aggregated.
fn without_aggregates(expr: &Expr) -> &Expr {
    match expr {
        Expr::Aggregate(aggregate) => without_aggregates(&aggregate.expr),
        expr => expr,
    }
}

/// The metrics of a sum of at least two rates of different metrics, none of which has a fallback.
fn sum_of_counters(expr: &Expr) -> Option<Vec<String>> {
    let has_fallback = tree::any(expr, |node| {
        tree::is_call(node, OtherFunction::Vector)
            || matches!(node, Expr::Binary(binary) if binary.op == Operator::Set(SetOperator::Or))
    });
    let Expr::Binary(binary) = without_aggregates(expr) else { return None };
    if binary.op != Operator::Arithmetic(Arithmetic::Add) || has_fallback {
        return None;
    }
    let names: BTreeSet<String> = tree::selectors(expr)
        .iter()
        .filter_map(|selector| selector.name.as_deref().map(str::to_owned))
        .collect();
    let counts = |side: &Expr| tree::any(side, |node| tree::range_call(node).is_some());
    (names.len() > 1 && counts(&binary.left) && counts(&binary.right)).then(|| names.into_iter().collect())
}
