//! Conditions that are right while there is traffic, and wrong when there is little or none.

use super::meaning::{CLASSES, part_of_mean};
use super::{Alert, is_rate, subtracts, words};
use crate::check::lints::{self, Level};
use crate::check::tree::{self, Limit, Visit};
use crate::check::{Report, promql, share};
use crate::promql::ast::{AggregateOperator, Arithmetic, Comparison, Expr, Operator, Selector, SetOperator};
use crate::promql::function::{OtherFunction, RangeFunction};
use scenarios::units::format_duration;
use std::time::Duration;

/// A window in which one failure is not everything, even at night.
const LONG: Duration = Duration::from_secs(1800);
/// Events a second below which hardly any is meant.
const HARDLY_ANY: f64 = 0.01;
/// A share that a failure among few events does not make.
const HALF: f64 = 0.5;

impl Alert<'_> {
    /// A share of good events below a threshold: without any events it is 0/0, and that is below nothing.
    pub(super) fn silent(&self, report: &mut Report<'_>) -> Option<()> {
        let (_, whole) = tree::quotient(self.core())?;
        let covers = tree::any(&self.expression.full, |node| {
            tree::asserts_absence(node)
                || tree::is_call(node, OtherFunction::Vector)
                || asks_for_traffic(node)
        });
        let share = share::of(self.limit.value);
        let falls = match share {
            Some(share) if share.is_rest => self.limit.is_upper(),
            _ => self.limit.is_lower(),
        };
        let is_rest_of_quotient = self.limit.is_upper() && subtracts(self.limit.value);
        if !counts(whole) || covers || !falls && !is_rest_of_quotient {
            return None;
        }
        let summary = "without events this is 0/0, which is above and below nothing: in an outage the alert is silent, and one that fires ends";
        let fix = "alert on missing traffic too: `… or (sum(rate(all[5m])) or vector(0)) == 0`, or an alert of its own";
        report.add(&lints::SILENT_WITHOUT_TRAFFIC, self.span(), summary, fix);
        Some(())
    }

    /// A count that should be 0 at the least, of a series that goes away with its target.
    pub(super) fn absent(&self, report: &mut Report<'_>) -> Option<()> {
        let (selector, counting) = emptied(self.core())?;
        let threshold = self.limit.threshold;
        let few = match counting {
            Some(RangeFunction::Rate | RangeFunction::Irate) => HARDLY_ANY,
            _ => 1.0,
        };
        let asks_for_none = match self.limit.op {
            Comparison::Equal | Comparison::LessOrEqual => threshold == 0.0,
            Comparison::Less => threshold > 0.0 && threshold <= few,
            _ => false,
        };
        let has_fallback =
            tree::any(&self.expression.full, |node| tree::is_call(node, OtherFunction::Vector));
        if !asks_for_none || has_fallback || self.has_condition() {
            return None;
        }
        let name = selector.name.as_deref()?;
        let is_flag = name == "up"
            || name.ends_with("_up")
            || FLAGS.iter().any(|word| name.contains(word)) && counting.is_none();
        // A Prometheus that is gone evaluates no rule about itself; of a recording the series stays as long as its expression.
        if is_flag || name.starts_with("prometheus_") || name.contains(':') {
            return None;
        }
        // A counter as it is has a graver fault.
        if counting.is_none() && name.ends_with("_total") {
            return None;
        }
        let summary = format!(
            "when the target that exports {name} is gone, so is the series, and `{} {threshold}` is not asked",
            words(self.limit.op)
        );
        let fix = format!("add `or absent({selector})`, or an alert on `up == 0`");
        report.add(&lints::ABSENT, self.span(), summary, fix);
        Some(())
    }

    /// Whether it only matters while something else is there: `… and sum(connections) > 0`.
    fn has_condition(&self) -> bool {
        let visits = tree::visits(&self.expression.full);
        let own = visits.iter().find(|visit| std::ptr::eq(visit.node, self.limit.node));
        own.is_some_and(|own| {
            own.above.iter().any(|above| match above {
                Expr::Binary(binary) => {
                    binary.op == Operator::Set(SetOperator::And)
                        && [&binary.left, &binary.right]
                            .into_iter()
                            .all(|side| !tree::selectors(side).is_empty())
                }
                _ => false,
            })
        })
    }

    /// A share of failures that a single one can make 100 %.
    pub(super) fn minimum_traffic(&self, report: &mut Report<'_>) -> Option<()> {
        let (part, whole) = tree::quotient(self.core())?;
        let window = tree::longest_window(whole).map(promql::millis)?;
        let is_latency = part_of_mean(part, whole);
        // A share of good events falls where that of failures rises.
        let is_rising = self.limit.is_upper();
        let is_falling =
            self.limit.is_lower() && share::of(self.limit.value).is_some_and(|share| !share.is_rest);
        if !is_rising && !is_falling || is_latency || !counts(part) || !counts(whole) {
            return None;
        }
        // The share of budget that a month or an hour has lost is not made by one event.
        if window >= LONG || self.is_guarded(whole) {
            return None;
        }
        let is_traffic = self.names().iter().any(|name| TRAFFIC.iter().any(|word| name.contains(word)));
        let is_failure = tree::selectors(part).into_iter().any(counts_failures);
        // One event is in the window for less than the window.
        let one_suffices = self.rule.hold <= window;
        // Who asks for half of everything does not fire for one among a few.
        let threshold = share::of_whole(self.limit.threshold, self.limit.value);
        let is_small = if is_rising { threshold < HALF } else { threshold > HALF };
        let is_surely = is_traffic && is_failure && one_suffices && is_small;
        let level = if is_surely { Level::Warning } else { Level::Note };
        let summary = "no minimum of traffic: at night a single failure among few events is a large share";
        let fix = format!("ask for traffic too: `… and sum(rate(all[{}])) > 1`", format_duration(window));
        report.add_as(level, &lints::MINIMUM_TRAFFIC, self.span(), summary, fix);
        Some(())
    }

    /// Whether something asks that there be enough events: beside the share or in its denominator.
    fn is_guarded(&self, whole: &Expr) -> bool {
        let expr = &self.expression.full;
        tree::visits(expr).iter().any(guards) || tree::any(whole, keeps_apart)
    }
}

/// A limit on how much there is, or on a share over a time in which one event does not matter.
fn guards(visit: &Visit<'_>) -> bool {
    let Some(limit) = tree::limit(visit.node) else { return false };
    let is_excluded = visit.above.windows(2).any(|pair| is_taken_away(pair[0], pair[1]))
        || visit.above.last().is_some_and(|above| is_taken_away(above, visit.node));
    let asks_for_much = if is_excluded { !limit.is_upper() } else { limit.is_upper() };
    let is_share = tree::quotient(tree::without_constants(limit.value)).is_some();
    let is_long = || tree::longest_window(limit.value).is_some_and(|window| promql::millis(window) >= LONG);
    asks_for_much && tells_amount(&limit, is_share)
        || limit.is_upper() && is_share && !is_excluded && is_long()
}

/// Whether it is how many events or clients there are, not how they fare.
fn tells_amount(limit: &Limit<'_>, is_share: bool) -> bool {
    let is_time = tree::any(limit.value, |node| {
        tree::is_call(node, OtherFunction::Time) || tree::is_call(node, OtherFunction::HistogramQuantile)
    });
    let is_flag = tree::selectors(limit.value).iter().all(|selector| {
        selector.name.as_deref().is_none_or(|name| name == "up" || name.ends_with("_up") || name == "ALERTS")
    });
    let is_recorded_share = share::of(limit.value).is_some();
    !is_share && !is_time && !is_flag && !is_recorded_share
}

fn is_taken_away(above: &Expr, node: &Expr) -> bool {
    matches!(above, Expr::Binary(binary)
        if binary.op == Operator::Set(SetOperator::Unless) && std::ptr::eq(&binary.right, node))
}

/// What keeps a denominator from being small: a filter, a lower bound, something added.
fn keeps_apart(node: &Expr) -> bool {
    if let Some((crate::promql::function::Function::Other(function), arguments)) = tree::call(node) {
        let low = match function {
            OtherFunction::ClampMin | OtherFunction::Clamp => arguments.get(1).and_then(tree::number),
            _ => None,
        };
        return low.is_some_and(|low| low > 0.0);
    }
    let Expr::Binary(binary) = node else { return false };
    let adds = binary.op == Operator::Arithmetic(Arithmetic::Add);
    let number = tree::number(&binary.left).or(tree::number(&binary.right));
    adds && number.is_some_and(|number| number > 0.0)
}

/// Whether events are counted in it.
fn counts(expr: &Expr) -> bool {
    tree::any(expr, |node| tree::range_call(node).is_some_and(|(function, _)| is_rate(function)))
}

/// Whether it is a rate that should be above something: true of missing traffic.
fn asks_for_traffic(node: &Expr) -> bool {
    tree::limit(node).is_some_and(|limit| {
        (limit.is_lower() || limit.op == Comparison::Equal)
            && tree::quotient(tree::without_constants(limit.value)).is_none()
            && counts(limit.value)
    })
}

/// The series behind a value that is 0 when nothing happens, and the function that counts on it.
fn emptied(expr: &Expr) -> Option<(&Selector, Option<RangeFunction>)> {
    use {AggregateOperator as A, RangeFunction as R};
    match expr {
        Expr::Aggregate(aggregate) => match aggregate.op {
            A::Sum | A::Max | A::Avg | A::Min => emptied(&aggregate.expr),
            _ => None,
        },
        Expr::Subquery(subquery) => emptied(&subquery.expr),
        expr => match tree::range_call(expr) {
            Some((function @ (R::Rate | R::Irate | R::Increase), [window])) => {
                Some((tree::selector(window)?, Some(function)))
            }
            Some((R::MaxOverTime | R::AvgOverTime | R::SumOverTime | R::LastOverTime, [window])) => {
                emptied(window)
            }
            Some(_) => None,
            None => Some((tree::selector(expr)?, None)),
        },
    }
}

/// Words in names of metrics that are 0 or 1: 0 is a state then, not nothing.
const FLAGS: &[&str] = &[
    "available",
    "condition",
    "connected",
    "enabled",
    "health",
    "leader",
    "ready",
    "readonly",
    "running",
    "schedulable",
    "state",
    "status",
    "success",
    "sync",
    "valid",
];

/// Words in names of metrics that count what users do.
const TRAFFIC: &[&str] = &[
    "call",
    "connection",
    "generation",
    "grpc",
    "http",
    "message",
    "order",
    "payment",
    "request",
    "rpc",
    "webhook",
];

/// Whether a selector chooses what went wrong, by the metric's name or by a label that classes events.
fn counts_failures(selector: &Selector) -> bool {
    let name = selector.name.as_deref().unwrap_or_default();
    ["error", "fail", "lost", "reject", "drop", "timeout"].iter().any(|word| name.contains(word))
        || selector.matchers.iter().any(|matcher| CLASSES.contains(&&*matcher.name))
}
