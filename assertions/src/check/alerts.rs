//! Alerts, each by itself: conditions that never or always hold, that fall silent, or that mean something else.

use super::lints::{self, Level};
use super::rules::{Expression, RuleView};
use super::share;
use super::tree::{self, Limit};
use super::{Context, Finding, Metrics, Report};
use crate::promql::ast::{AggregateOperator, Comparison, Expr, Operator, Selector};
use crate::promql::function::{OtherFunction, RangeFunction};
use scenarios::units::format_duration;

mod meaning;

/// How often the window must fit into `for` before a threshold on a number of events is surely a mistake.
const WINDOWS_PER_FOR: u32 = 3;

pub(super) fn check(context: &Context<'_>, findings: &mut Vec<Finding>) {
    for file in &context.rules {
        let rules = || file.groups.iter().flat_map(|group| &group.rules).filter(|rule| rule.is_alert);
        let watched = rules().any(watches_absence);
        rules().for_each(|rule| alone(context, rule, watched, findings));
    }
}

/// One alert. `watched`: another alert of its file tells that targets or series are gone.
fn alone(context: &Context<'_>, rule: &RuleView, watched: bool, findings: &mut Vec<Finding>) {
    let Some(expression) = &rule.expr else { return };
    let mut report = rule.report(findings);
    no_comparison(expression, &mut report);
    for limit in tree::deciding_limits(&expression.expr) {
        let alert = Alert { rule, expression, limit, metrics: context.metrics };
        alert.impossible(&mut report);
        alert.always(&mut report);
        alert.silent(&mut report);
        if !watched {
            alert.absent(&mut report);
        }
        alert.window_below_for(&mut report);
        alert.minimum_traffic(&mut report);
        alert.mean(&mut report);
        alert.per_series(&mut report);
        alert.state(&mut report);
        alert.size(&mut report);
    }
}

/// Whether an alert tells that targets or series are gone.
fn watches_absence(rule: &RuleView) -> bool {
    let Some(expression) = &rule.expr else { return false };
    let of_up = |limit: Limit<'_>| {
        tree::selectors(limit.value).iter().any(|selector| selector.name.as_deref() == Some("up"))
    };
    tree::asserts_absence(&expression.expr) || tree::limits(&expression.expr).into_iter().any(of_up)
}

/// Whether it is a rate that should be above something: true of missing traffic.
fn asks_for_traffic(node: &Expr) -> bool {
    tree::limit(node).is_some_and(|limit| {
        (limit.is_lower() || limit.op == Comparison::Equal)
            && tree::quotient(tree::without_constants(limit.value)).is_none()
            && tree::any(limit.value, |node| {
                tree::range_call(node).is_some_and(|(function, _)| is_rate(function))
            })
    })
}

/// An expression in which nothing takes elements away: it fires as long as there is data.
fn no_comparison(expression: &Expression, report: &mut Report<'_>) {
    let expr = &expression.expr;
    // One that reads nothing always fires, which is what a dead man's switch is for.
    if tree::selectors(expr).is_empty() || tree::asserts_absence(expr) {
        return;
    }
    let alternatives = tree::alternatives(expr);
    let always = alternatives.iter().find(|part| tree::is_call(part, OtherFunction::Vector));
    if let Some(always) = always.filter(|_| alternatives.len() > 1) {
        let summary = "`or vector(…)` beside the comparison always has a value: the alert always fires";
        let fix = "put it inside the comparison: `(x or vector(0)) > 5`";
        report.add(&lints::ALWAYS_FIRES, expression.place(always), summary, fix);
        return;
    }
    let filters = |node: &Expr| match node {
        Expr::Binary(binary) => match binary.op {
            Operator::Comparison(_) => !binary.returns_bool,
            Operator::Set(_) => true,
            Operator::Arithmetic(_) => false,
        },
        _ => false,
    };
    let reads_alerts =
        tree::selectors(expr).iter().any(|selector| selector.name.as_deref() == Some("ALERTS"));
    if reads_alerts || tree::any(expr, filters) {
        return;
    }
    let has_bool = tree::any(expr, |node| matches!(node, Expr::Binary(binary) if binary.returns_bool));
    let (summary, fix) = match has_bool {
        true => (
            "with `bool` the comparison answers 0 or 1 and takes nothing away: the alert always fires",
            "remove `bool`",
        ),
        false => (
            "the expression compares nothing: the alert fires as long as the series exists, whatever its value",
            "compare it with a threshold, such as `> 0`",
        ),
    };
    report.add(&lints::NO_COMPARISON, expression.whole(), summary, fix);
}

/// One alert and one of the comparisons that decide it.
struct Alert<'c> {
    rule: &'c RuleView,
    expression: &'c Expression,
    limit: Limit<'c>,
    metrics: Option<&'c Metrics>,
}

impl Alert<'_> {
    fn span(&self) -> scenarios::span::Span {
        self.expression.place(self.limit.node)
    }

    /// The value without factors.
    fn core(&self) -> &Expr {
        tree::without_constants(self.limit.value)
    }

    fn names(&self) -> Vec<&str> {
        let selectors = tree::selectors(self.limit.value);
        selectors.into_iter().filter_map(|selector| selector.name.as_deref()).collect()
    }

    /// The lowest and highest value there can be; `None` where nothing is known.
    fn reach(&self) -> Option<(f64, f64)> {
        if let Some(share) = share::of(self.limit.value) {
            return Some((0.0, share.scale));
        }
        let is_up = |selector: &Selector| selector.name.as_deref() == Some("up");
        match self.limit.value {
            Expr::Selector(selector) if is_up(selector) => return Some((0.0, 1.0)),
            value => match tree::range_call(value) {
                Some((
                    RangeFunction::AvgOverTime | RangeFunction::MinOverTime | RangeFunction::MaxOverTime,
                    arguments,
                )) if arguments.first().and_then(tree::selector).is_some_and(is_up) => {
                    return Some((0.0, 1.0));
                }
                Some((
                    RangeFunction::Rate
                    | RangeFunction::Increase
                    | RangeFunction::Irate
                    | RangeFunction::Changes
                    | RangeFunction::Resets,
                    _,
                )) => return Some((0.0, f64::INFINITY)),
                _ => {}
            },
        }
        match self.limit.value {
            Expr::Aggregate(aggregate) if aggregate.op == AggregateOperator::Count => {
                Some((1.0, f64::INFINITY))
            }
            Expr::Aggregate(aggregate)
                if tree::range_call(&aggregate.expr).is_some_and(|(f, _)| is_rate(f)) =>
            {
                let adds = !matches!(aggregate.op, AggregateOperator::CountValues | AggregateOperator::Group);
                adds.then_some((0.0, f64::INFINITY))
            }
            _ => None,
        }
    }

    fn impossible(&self, report: &mut Report<'_>) -> Option<()> {
        let (low, high) = self.reach()?;
        let threshold = self.limit.threshold;
        let never = match self.limit.op {
            Comparison::Greater => threshold >= high,
            Comparison::GreaterOrEqual => threshold > high,
            Comparison::Less => threshold <= low,
            Comparison::LessOrEqual => threshold < low,
            Comparison::Equal => threshold < low || threshold > high,
            Comparison::NotEqual => false,
        };
        // Burn rates have a check of their own.
        if !never || super::burn::is_product(self.limit.bound) {
            return None;
        }
        let range = match high.is_finite() {
            true => format!("between {low} and {high}"),
            false => format!("at least {low}"),
        };
        let summary =
            format!("the value is always {range}, so it is never {} {threshold}", words(self.limit.op));
        let fix = match high == 1.0 && threshold > 1.0 && threshold <= 100.0 {
            true => format!("{threshold} % is `{}`", threshold / 100.0),
            false if low == 1.0 => {
                "counting nothing gives no value, not 0: write `(count(…) or vector(0)) == 0`, or ask `absent(…)`".to_owned()
            }
            false => "choose a threshold inside of that".to_owned(),
        };
        report.add(&lints::IMPOSSIBLE_THRESHOLD, self.span(), summary, fix);
        Some(())
    }

    fn always(&self, report: &mut Report<'_>) -> Option<()> {
        let (low, high) = self.reach()?;
        let threshold = self.limit.threshold;
        let always = match self.limit.op {
            Comparison::Greater => threshold < low,
            Comparison::GreaterOrEqual => threshold <= low,
            Comparison::Less => threshold > high,
            Comparison::LessOrEqual => threshold >= high,
            Comparison::Equal => false,
            Comparison::NotEqual => threshold < low || threshold > high,
        };
        // `count(x) >= 1` asks whether there is any.
        if !always || low == 1.0 && threshold >= 0.0 {
            return None;
        }
        let summary = format!(
            "the value is always {} {threshold}: the alert fires as long as there is data",
            words(self.limit.op)
        );
        let fix = match self.limit.is_lower() && high == 1.0 && threshold <= 100.0 {
            true => format!("{threshold} % is `{}`", threshold / 100.0),
            false => "write the threshold that it should cross".to_owned(),
        };
        report.add(&lints::ALWAYS_FIRES, self.span(), summary, fix);
        Some(())
    }

    /// A share of good events below a threshold: without any events it is 0/0, and that is below nothing.
    fn silent(&self, report: &mut Report<'_>) -> Option<()> {
        let (_, whole) = tree::quotient(self.core())?;
        let counts =
            tree::any(whole, |node| tree::range_call(node).is_some_and(|(function, _)| is_rate(function)));
        let covers = tree::any(&self.expression.expr, |node| {
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
        if !counts || covers || !falls && !is_rest_of_quotient {
            return None;
        }
        let summary = "without events this is 0/0, which is above and below nothing: in an outage the alert is silent, and one that fires ends";
        let fix = "alert on missing traffic too: `… or sum(rate(all[5m])) == 0`, or an alert of its own";
        report.add(&lints::SILENT_WITHOUT_TRAFFIC, self.span(), summary, fix);
        Some(())
    }

    /// A count that should be 0 at the least, of a series that goes away with its target.
    fn absent(&self, report: &mut Report<'_>) -> Option<()> {
        let asks_for_none = match self.limit.op {
            Comparison::Equal | Comparison::LessOrEqual => self.limit.threshold == 0.0,
            Comparison::Less => self.limit.threshold == 1.0,
            _ => false,
        };
        if !asks_for_none
            || tree::any(&self.expression.expr, |node| tree::is_call(node, OtherFunction::Vector))
        {
            return None;
        }
        let selector = match self.limit.value {
            Expr::Aggregate(aggregate)
                if matches!(aggregate.op, AggregateOperator::Sum | AggregateOperator::Max) =>
            {
                tree::selector(&aggregate.expr)
            }
            value => tree::selector(value),
        }?;
        let name = selector.name.as_deref()?;
        let is_flag =
            FLAGS.iter().any(|word| name.contains(word)) || name.ends_with("up") || name.contains(':');
        if is_flag {
            return None;
        }
        let summary = format!(
            "when the target that exports {name} is gone, so is the series, and `{} {}` is not asked",
            words(self.limit.op),
            self.limit.threshold
        );
        let fix = format!("add `or absent({})`, or an alert on `up == 0`", selector);
        report.add(&lints::ABSENT, self.span(), summary, fix);
        Some(())
    }

    /// A number of events in a window, to hold for longer than an event stays in it.
    fn window_below_for(&self, report: &mut Report<'_>) -> Option<()> {
        let value = match self.core() {
            Expr::Aggregate(aggregate) => &aggregate.expr,
            value => value,
        };
        let (function, arguments) = tree::range_call(value)?;
        if !matches!(function, RangeFunction::Increase | RangeFunction::Changes | RangeFunction::Resets) {
            return None;
        }
        let (_, window) = arguments.first().and_then(tree::range)?;
        let (window, hold) = (super::promql::millis(window), self.rule.hold);
        if !self.limit.is_upper() || hold < window || hold.is_zero() {
            return None;
        }
        // Any event at all, again and again, is a common way to ask for trouble that stays.
        let is_mistake = self.limit.threshold > 0.0 && hold > window * WINDOWS_PER_FOR;
        let level = if is_mistake { Level::Warning } else { Level::Note };
        let (shown, wanted) = (format_duration(window), format_duration(hold));
        let summary = format!(
            "an event counts for {shown}, and the condition must hold for {wanted}: it takes a steady stream of events to fire"
        );
        let fix = format!(
            "if one burst should fire, make the window longer than `for`, or `for` shorter than {shown}"
        );
        report.add_as(level, &lints::WINDOW_BELOW_FOR, self.span(), summary, fix);
        Some(())
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

pub(super) fn is_rate(function: RangeFunction) -> bool {
    matches!(function, RangeFunction::Rate | RangeFunction::Increase | RangeFunction::Irate)
}

/// Whether it is a number minus something: `1 - x`.
fn subtracts(expr: &Expr) -> bool {
    let is_rest = |node: &Expr| {
        matches!(node, Expr::Binary(binary)
            if binary.op == Operator::Arithmetic(crate::promql::ast::Arithmetic::Subtract)
                && tree::number(&binary.left).is_some())
    };
    tree::any(expr, is_rest)
}

fn words(op: Comparison) -> &'static str {
    match op {
        Comparison::Equal => "==",
        Comparison::NotEqual => "!=",
        Comparison::Less => "<",
        Comparison::LessOrEqual => "<=",
        Comparison::Greater => ">",
        Comparison::GreaterOrEqual => ">=",
    }
}
