//! Alerts held against each other: the same twice, one that another covers, and severities in the wrong order.

use super::lints::{self, Level};
use super::rules::{Expression, RuleView};
use super::tree::{self, Limit};
use super::{Context, Finding};
use crate::promql::ast::{Arithmetic, Expr, Operator};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub(super) fn check(context: &Context<'_>, findings: &mut Vec<Finding>) {
    let mut groups: BTreeMap<String, Vec<Alert<'_>>> = BTreeMap::new();
    for rule in context.all_rules().filter(|rule| rule.is_alert) {
        let Some(expression) = &rule.expr else { continue };
        groups.entry(tree::shape(&expression.full)).or_default().push(Alert { rule, expression });
    }
    for alike in groups.values() {
        for (index, later) in alike.iter().enumerate() {
            // The nearest fault of each alert is enough.
            alike[..index].iter().any(|earlier| pair(earlier, later, findings));
        }
    }
}

/// Alerts of one name on the same series, written differently: only the order of their severities is asked for.
pub(super) fn of_one_name(context: &Context<'_>, findings: &mut Vec<Finding>) {
    let mut groups: BTreeMap<(String, BTreeSet<String>), Vec<Alert<'_>>> = BTreeMap::new();
    for rule in context.all_rules().filter(|rule| rule.is_alert) {
        let Some(expression) = &rule.expr else { continue };
        let selected = tree::selectors(&expression.full).into_iter().map(tree::selector_text).collect();
        groups.entry((rule.name.clone(), selected)).or_default().push(Alert { rule, expression });
    }
    for alike in groups.values() {
        for (index, later) in alike.iter().enumerate() {
            alike[..index].iter().any(|earlier| differently_written(earlier, later, findings));
        }
    }
}

fn differently_written(earlier: &Alert<'_>, later: &Alert<'_>, findings: &mut Vec<Finding>) -> bool {
    let (one, other) = (&earlier.expression.full, &later.expression.full);
    let (left, right) = (tree::limits(one), tree::limits(other));
    let ([left], [right]) = (left.as_slice(), right.as_slice()) else { return false };
    let (left, right) = (unscaled(*left), unscaled(*right));
    let same_way = left.is_upper() == right.is_upper() && numbers(&left) == numbers(&right);
    let holds = order(&right, &left).filter(|_| same_way && tree::shape(one) != tree::shape(other));
    holds.is_some_and(|holds| contradictory(earlier, later, holds, findings))
}

/// The limit without the factor of its value: of `1000 * x > 500`, `x > 0.5`.
fn unscaled(limit: Limit<'_>) -> Limit<'_> {
    let Expr::Binary(binary) = limit.value else { return limit };
    let (value, by) = match (binary.op, tree::number(&binary.left), tree::number(&binary.right)) {
        (Operator::Arithmetic(Arithmetic::Multiply), Some(by), _) => (&binary.right, by),
        (Operator::Arithmetic(Arithmetic::Multiply), _, Some(by)) => (&binary.left, by),
        (Operator::Arithmetic(Arithmetic::Divide), None, Some(by)) => (&binary.left, 1.0 / by),
        _ => return limit,
    };
    if !(by > 0.0 && by.is_finite()) {
        return limit;
    }
    unscaled(Limit { value, threshold: limit.threshold / by, ..limit })
}

/// The numbers of a value, such as which quantile it is: without them two thresholds say nothing of each other.
fn numbers(limit: &Limit<'_>) -> Vec<String> {
    let numbers = tree::visits(limit.value).into_iter().filter_map(|visit| tree::number(visit.node));
    numbers.map(|number| number.to_string()).collect()
}

struct Alert<'c> {
    rule: &'c RuleView,
    expression: &'c Expression,
}

/// How far the condition of one alert lies inside the other's.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holds {
    /// Whenever the other one's does, and only then.
    Together,
    /// Whenever the other one's does, and sometimes alone.
    Sooner,
    /// Only when the other one's does, and not always then.
    Later,
}

fn pair(earlier: &Alert<'_>, later: &Alert<'_>, findings: &mut Vec<Finding>) -> bool {
    let Some(holds) = compare(&later.expression.full, &earlier.expression.full) else { return false };
    duplicate(earlier, later, holds, findings)
        || contradictory(earlier, later, holds, findings)
        || shadowed(earlier, later, holds, findings)
}

/// When `left` holds against `right`, of the same shape; `None` if neither lies within the other.
fn compare(left: &Expr, right: &Expr) -> Option<Holds> {
    let (left, right) = (tree::limits(left), tree::limits(right));
    let mut orders = left.iter().zip(&right).map(|(left, right)| order(left, right));
    orders.try_fold(Holds::Together, |all, one| match (all, one?) {
        (all, Holds::Together) => Some(all),
        (Holds::Together, one) => Some(one),
        (all, one) => (all == one).then_some(all),
    })
}

fn order(left: &Limit<'_>, right: &Limit<'_>) -> Option<Holds> {
    let sooner =
        if left.is_upper() { left.threshold < right.threshold } else { left.threshold > right.threshold };
    match left.threshold == right.threshold {
        true => Some(Holds::Together),
        false if !left.is_upper() && !left.is_lower() => None,
        false => Some(if sooner { Holds::Sooner } else { Holds::Later }),
    }
}

fn labels(alert: &Alert<'_>) -> BTreeSet<(String, String)> {
    alert.rule.labels.iter().map(|label| (label.name.clone(), label.text.clone())).collect()
}

fn first_place(alert: &Alert<'_>) -> scenarios::span::Span {
    alert.rule.name_span.clone()
}

fn duplicate(earlier: &Alert<'_>, later: &Alert<'_>, holds: Holds, findings: &mut Vec<Finding>) -> bool {
    let same = labels(earlier) == labels(later) && earlier.rule.hold == later.rule.hold;
    if !same || holds != Holds::Together {
        return false;
    }
    let (one, other) = (&earlier.rule.name, &later.rule.name);
    let (level, summary, fix) = match one == other {
        true => (
            Level::Error,
            format!("{other} is here twice, with the same condition and labels"),
            "remove one of them",
        ),
        // Without labels their names may be what tells them apart on the way.
        false if labels(later).is_empty() => return false,
        false => (
            Level::Warning,
            format!("{other} has condition, labels and `for` of {one}: whoever is told is told twice"),
            "remove one of them, or write the condition that was meant",
        ),
    };
    let mut report = later.rule.report(findings);
    let problem = report.add_as(level, &lints::DUPLICATE, first_place(later), summary, fix);
    problem.related.push((first_place(earlier), "the first".to_owned()));
    true
}

/// Of two alerts on one figure, the graver one fires first.
fn contradictory(earlier: &Alert<'_>, later: &Alert<'_>, holds: Holds, findings: &mut Vec<Finding>) -> bool {
    let (Some(one), Some(other)) = (rank(earlier), rank(later)) else { return false };
    let (grave, light) = match one.cmp(&other) {
        std::cmp::Ordering::Equal => return false,
        std::cmp::Ordering::Greater => (earlier, later),
        std::cmp::Ordering::Less => (later, earlier),
    };
    let grave_sooner = match holds {
        Holds::Together => false,
        Holds::Sooner => std::ptr::eq(grave, later),
        Holds::Later => std::ptr::eq(grave, earlier),
    };
    if !grave_sooner || grave.rule.hold > light.rule.hold {
        return false;
    }
    let severity = |alert: &Alert<'_>| alert.rule.label("severity").unwrap_or_default().to_owned();
    let (grave_word, light_word) = (severity(grave), severity(light));
    let summary = format!(
        "the {grave_word} {} has the lower threshold: it fires before the {light_word} {}",
        grave.rule.name, light.rule.name
    );
    let fix = "exchange thresholds or severities; two alerts of one name need severities in the order of their thresholds";
    let mut report = later.rule.report(findings);
    let problem = report.add(&lints::CONTRADICTORY_SEVERITY, first_place(later), summary, fix);
    problem.related.push((first_place(earlier), "the other one".to_owned()));
    true
}

/// How grave a severity is, of the words that people use.
fn rank(alert: &Alert<'_>) -> Option<u8> {
    Some(match alert.rule.label("severity")?.to_ascii_lowercase().as_str() {
        "none" => 0,
        "info" | "informational" | "p5" => 1,
        "low" | "p4" => 2,
        "warning" | "warn" | "medium" | "ticket" | "p3" => 3,
        "high" | "major" | "p2" | "error" => 4,
        "critical" | "crit" | "page" | "p1" | "emergency" | "disaster" => 5,
        _ => return None,
    })
}

/// Same labels, so one alert to everybody: the one that fires later and under fewer circumstances adds nothing.
fn shadowed(earlier: &Alert<'_>, later: &Alert<'_>, holds: Holds, findings: &mut Vec<Finding>) -> bool {
    let (one, other): (Duration, Duration) = (earlier.rule.hold, later.rule.hold);
    let (inner, outer) = match holds {
        Holds::Together if one != other => {
            if one > other {
                (earlier, later)
            } else {
                (later, earlier)
            }
        }
        Holds::Together => return false,
        Holds::Sooner => (earlier, later),
        Holds::Later => (later, earlier),
    };
    let same_name = inner.rule.name == outer.rule.name;
    // Of two names without labels each may go its own way.
    let same_labels = labels(inner) == labels(outer) && (same_name || !labels(inner).is_empty());
    // Another name that takes its time is told of what goes on for long.
    let takes_time = !same_name && inner.rule.hold > outer.rule.hold;
    if !same_labels || inner.rule.hold < outer.rule.hold || takes_time {
        return false;
    }
    let mut report = inner.rule.report(findings);
    let summary = format!("whenever this fires, {} with the same labels fires already", outer.rule.name);
    let fix = "remove it, or give it a severity of its own";
    let problem = report.add(&lints::SHADOWED, first_place(inner), summary, fix);
    problem.related.push((first_place(outer), "this one covers it".to_owned()));
    true
}
