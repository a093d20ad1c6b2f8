//! Conditions that can hold and end, and mean something else than the alert tells.

use super::{Alert, is_rate};
use crate::check::lints::{self, Level};
use crate::check::rules::{Expression, RuleView};
use crate::check::{Report, tree};
use crate::promql::ast::{AggregateOperator, Comparison, Expr, MatchOp, Matcher, Selector};
use crate::promql::function::{Function, RangeFunction};
use scenarios::units::format_duration;

impl Alert<'_> {
    pub(super) fn mean(&self, report: &mut Report<'_>) -> Option<()> {
        let sides = tree::quotient(behind(self.core()));
        let is_mean =
            sides.is_some_and(|(sum, count)| part_of_mean(sum, count)) || is_named_mean(self.core());
        if !is_mean || !self.limit.is_upper() {
            return None;
        }
        let is_time = self.names().iter().any(|name| TIMES.iter().any(|word| name.contains(word)));
        let summary = "a mean hides the tail: it stays low while one request in a hundred takes a minute";
        let fix = "alert on a quantile, `histogram_quantile(0.99, sum by (le) (rate(x_bucket[5m])))`, or on the share of slow ones";
        let level = if is_time { Level::Warning } else { Level::Note };
        report.add_as(level, &lints::MEAN_LATENCY, self.span(), summary, fix);
        Some(())
    }

    /// A rate that each of many series must reach alone.
    pub(super) fn per_series(&self, report: &mut Report<'_>) -> Option<()> {
        let (function, arguments) = tree::range_call(self.core())?;
        let (selector, _) = arguments.first().and_then(tree::range)?;
        let name = selector.name.as_deref()?;
        if !is_rate(function) || !self.limit.is_upper() || self.limit.threshold <= 0.0 {
            return None;
        }
        let is_pinned = |label: &str| {
            let pins = |matcher: &Matcher| &*matcher.name == label && matches!(matcher.op, MatchOp::Equal(_));
            selector.matchers.iter().any(pins)
        };
        let mut classes = CLASSES.iter().chain(PLACES);
        let many = classes.any(|class| {
            !is_pinned(class) && self.metrics.is_some_and(|metrics| metrics.varies(name, class))
        });
        let is_class = |selector: &Selector| {
            selector.matchers.iter().any(|matcher| {
                let many =
                    matches!(matcher.op, MatchOp::Match(..) | MatchOp::NotMatch(..) | MatchOp::NotEqual(_));
                many && CLASSES.contains(&&*matcher.name)
            })
        };
        let of_requests =
            ["requests_total", "request_total", "messages_total"].iter().any(|end| name.ends_with(end));
        let level = if many || is_class(selector) || of_requests { Level::Warning } else { Level::Note };
        let summary = format!(
            "no aggregation: each series of {name}, by instance, path and status, has the threshold for itself"
        );
        let fix = format!(
            "add them up: `sum({}(…)) > {}`, by (job) or (instance) if that is meant",
            short(function),
            self.limit.threshold
        );
        report.add_as(level, &lints::PER_SERIES, self.span(), summary, fix);
        Some(())
    }

    /// How large something is, where the alert tells of how much of it is left.
    pub(super) fn size(&self, report: &mut Report<'_>) -> Option<()> {
        let selector = tree::selectors(self.limit.value).into_iter().next()?;
        let name = selector.name.as_deref()?;
        let is_size =
            ["_pool_size", "_size", "_max", "_capacity", "_limit"].iter().any(|end| name.ends_with(end));
        let words = self.rule.words();
        let tells_of_rest = REST.iter().any(|word| words.contains(word));
        // Nobody watches whether a pool was made smaller.
        let is_pool = name.ends_with("_pool_size");
        let is_alone = tree::selectors(self.limit.value).len() == 1;
        let asks_for_few =
            self.limit.is_lower() || self.limit.op == Comparison::Equal && self.limit.threshold == 0.0;
        if !is_size || !tells_of_rest && !is_pool || !is_alone || !asks_for_few {
            return None;
        }
        let summary = format!(
            "{name} says how many there are, not how many are free: a pool that is used up keeps its size"
        );
        let fix = "compare what is in use with the size: `in_use / size > 0.9`";
        report.add(&lints::SIZE_AS_FREE, self.span(), summary, fix);
        Some(())
    }
}

/// One state of several, to hold for a while: a change to the next one begins `for` again.
pub(super) fn state(rule: &RuleView, expression: &Expression, report: &mut Report<'_>) {
    for limit in tree::limits(&expression.full) {
        let is_one = limit.op == Comparison::Equal && limit.threshold >= 1.0;
        let Some(selector) = tree::selector(behind(limit.value)).filter(|_| is_one && !rule.hold.is_zero())
        else {
            continue;
        };
        let Some(name) = selector.name.as_deref() else { continue };
        let by_label =
            selector.matchers.iter().any(|matcher| ["state", "status", "phase"].contains(&&*matcher.name));
        let is_state = name.ends_with("_state") || name.contains("breaker") && name.ends_with("_status");
        if by_label || !is_state {
            continue;
        }
        let summary = format!(
            "{name} has more states than {}: one that flaps to another begins `for: {}` again each time",
            limit.threshold,
            format_duration(rule.hold)
        );
        let fix =
            format!("ask for everything that is not well: `max_over_time({name}[5m]) > 0`, or `{name} != 0`");
        report.add(&lints::STATE_EQUALITY, expression.place(limit.node), summary, fix);
    }
}

/// What is aggregated, over series or over time.
pub(super) fn behind(expr: &Expr) -> &Expr {
    use RangeFunction as R;
    match expr {
        Expr::Aggregate(aggregate) if aggregate.op != AggregateOperator::Count => behind(&aggregate.expr),
        Expr::Subquery(subquery) => behind(&subquery.expr),
        expr => match tree::range_call(expr) {
            Some((
                R::AvgOverTime | R::MinOverTime | R::MaxOverTime | R::SumOverTime | R::LastOverTime,
                [window],
            )) => behind(window),
            _ => expr,
        },
    }
}

/// Words in names of metrics that are durations.
const TIMES: &[&str] = &["seconds", "latency", "duration", "response_time", "_ms", "millis"];

/// Words of a text that tells what is left of something.
const REST: &[&str] =
    &["exhaust", "available", "free", "left", "remaining", "running low", "running out", "used up"];

/// Whether a metric is a mean by its name, and a duration.
fn is_named_mean(expr: &Expr) -> bool {
    let Some(name) = tree::selector(behind(expr)).and_then(|selector| selector.name.as_deref()) else {
        return false;
    };
    let is_mean = name.split(['_', ':']).any(|word| ["avg", "average", "mean"].contains(&word));
    is_mean && TIMES.iter().any(|word| name.contains(word))
}

/// Labels that split one stream of events.
pub(super) const CLASSES: &[&str] = &[
    "class",
    "code",
    "error_type",
    "grpc_code",
    "http_status",
    "method",
    "outcome",
    "path",
    "reason",
    "response_code",
    "result",
    "status",
    "status_class",
    "status_code",
    "type",
];

/// Labels that say where in a service an event was.
const PLACES: &[&str] = &["endpoint", "handler", "operation", "route", "uri", "url"];

fn short(function: RangeFunction) -> &'static str {
    Function::Range(function).name().unwrap_or("rate")
}

/// Whether a quotient is a histogram's or summary's sum over its count.
pub(super) fn part_of_mean(sum: &Expr, count: &Expr) -> bool {
    let name = |expr: &Expr| tree::selectors(expr).first().and_then(|selector| selector.name.clone());
    match (name(sum), name(count)) {
        (Some(sum), Some(count)) => {
            sum.strip_suffix("_sum").is_some_and(|base| count.strip_suffix("_count") == Some(base))
        }
        _ => false,
    }
}
