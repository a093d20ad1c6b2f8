//! Alerts, each by itself: conditions that never or always hold, that fall silent, or that mean something else.

use super::lints::{self, Level};
use super::rules::{Expression, RuleView};
use super::share;
use super::tree::{self, Limit};
use super::{Context, Finding, Metrics, Report};
use crate::promql::ast::{AggregateOperator, Arithmetic, Comparison, Expr, Operator};
use crate::promql::function::{OtherFunction, RangeFunction};
use scenarios::units::format_duration;

mod meaning;
mod traffic;

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
    for limit in tree::deciding_limits(&expression.full) {
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
        alert.size(&mut report);
    }
    meaning::state(rule, expression, &mut report);
}

/// Whether an alert tells that targets or series are gone.
fn watches_absence(rule: &RuleView) -> bool {
    let Some(expression) = &rule.expr else { return false };
    let of_up = |limit: Limit<'_>| {
        let mut names =
            tree::selectors(limit.value).into_iter().filter_map(|selector| selector.name.as_deref());
        names.any(|name| name == "up" || name.ends_with("_up"))
    };
    tree::asserts_absence(&expression.full) || tree::limits(&expression.full).into_iter().any(of_up)
}

/// An expression in which nothing takes elements away: it fires as long as there is data.
fn no_comparison(expression: &Expression, report: &mut Report<'_>) {
    let expr = &expression.full;
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
        use RangeFunction as R;
        // A recorded burn rate is a share, or that in multiples of the budget.
        let is_multiple = self.limit.threshold >= 1.0
            && self.names().iter().any(|name| name.replace('_', "").contains("burnrate"));
        if let Some(share) = share::of(self.limit.value).filter(|_| !is_multiple) {
            return Some((0.0, share.scale));
        }
        if let Some(scale) = scale_of_up(self.limit.value) {
            return Some((0.0, scale));
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
            value => match tree::range_call(value)?.0 {
                R::Rate | R::Increase | R::Irate | R::Changes | R::Resets => Some((0.0, f64::INFINITY)),
                R::CountOverTime => Some((1.0, f64::INFINITY)),
                _ => None,
            },
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
        if !never || super::burn::is_rate(self.limit) {
            return None;
        }
        let range = match high.is_finite() {
            true => format!("between {low} and {high}"),
            false => format!("at least {low}"),
        };
        let summary =
            format!("the value is always {range}, so it is never {} {threshold}", words(self.limit.op));
        let fix = match high == 1.0 && threshold > 1.0 && threshold <= 100.0 {
            true => format!("{threshold} % is `{}`", tree::tidy(threshold / 100.0)),
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
            true => format!("{threshold} % is `{}`", tree::tidy(threshold / 100.0)),
            false => "write the threshold that it should cross".to_owned(),
        };
        report.add(&lints::ALWAYS_FIRES, self.span(), summary, fix);
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

pub(super) fn is_rate(function: RangeFunction) -> bool {
    matches!(function, RangeFunction::Rate | RangeFunction::Increase | RangeFunction::Irate)
}

/// What `up` is multiplied by, if that, a mean or an extreme of it, or the rest of one is all there is.
fn scale_of_up(expr: &Expr) -> Option<f64> {
    match expr {
        Expr::Aggregate(aggregate) => {
            use AggregateOperator as A;
            scale_of_up(&aggregate.expr).filter(|_| matches!(aggregate.op, A::Avg | A::Min | A::Max))
        }
        Expr::Binary(binary) => match (binary.op, tree::number(&binary.left), tree::number(&binary.right)) {
            (Operator::Arithmetic(Arithmetic::Multiply), Some(by), _) => {
                Some(scale_of_up(&binary.right)? * by)
            }
            (Operator::Arithmetic(Arithmetic::Multiply), _, Some(by)) => {
                Some(scale_of_up(&binary.left)? * by)
            }
            (Operator::Arithmetic(Arithmetic::Divide), None, Some(by)) => {
                Some(scale_of_up(&binary.left)? / by)
            }
            (Operator::Arithmetic(Arithmetic::Subtract), Some(whole), _) => {
                scale_of_up(&binary.right).filter(|scale| *scale == whole)
            }
            _ => None,
        },
        Expr::Subquery(subquery) => scale_of_up(&subquery.expr),
        expr => {
            use RangeFunction as R;
            if let Some((function, [window])) = tree::range_call(expr) {
                let stays =
                    matches!(function, R::AvgOverTime | R::MinOverTime | R::MaxOverTime | R::LastOverTime);
                return scale_of_up(window).filter(|_| stays);
            }
            (tree::selector(expr)?.name.as_deref() == Some("up")).then_some(1.0)
        }
    }
    .filter(|scale| *scale > 0.0)
}

/// Whether it is a number minus something: `1 - x`.
fn subtracts(expr: &Expr) -> bool {
    let is_rest = |node: &Expr| {
        matches!(node, Expr::Binary(binary)
            if binary.op == Operator::Arithmetic(Arithmetic::Subtract)
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
