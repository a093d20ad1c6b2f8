//! Conditions that can hold and end, and mean something else than the alert tells.

use super::{Alert, is_rate, subtracts};
use crate::check::lints::{self, Level};
use crate::check::{Report, promql, tree};
use crate::promql::ast::{Comparison, Expr, MatchOp, Selector};
use crate::promql::function::{Function, RangeFunction};
use scenarios::units::format_duration;
use std::time::Duration;

impl Alert<'_> {
    /// A share of failures that a single one can make 100 %.
    pub(super) fn minimum_traffic(&self, report: &mut Report<'_>) -> Option<()> {
        let (part, whole) = tree::quotient(self.core())?;
        let counts =
            |side: &Expr| tree::any(side, |node| tree::range_call(node).is_some_and(|(f, _)| is_rate(f)));
        let window = tree::longest_window(whole).map(promql::millis)?;
        // A limit on the traffic itself stands beside it.
        let guarded = tree::limits(&self.expression.expr).iter().any(|limit| {
            limit.is_upper()
                && tree::quotient(tree::without_constants(limit.value)).is_none()
                && counts(limit.value)
        });
        let is_latency = part_of_mean(part, whole);
        if !self.limit.is_upper() || guarded || is_latency || !counts(part) || !counts(whole) {
            return None;
        }
        // The share of budget that a month or an hour has lost is not made by one event.
        if window >= Duration::from_secs(1800) || subtracts(self.limit.value) {
            return None;
        }
        let is_traffic = self.names().iter().any(|name| TRAFFIC.iter().any(|word| name.contains(word)));
        let is_failure = tree::selectors(part).into_iter().any(counts_failures);
        // One event is in the window for less than the window.
        let one_suffices = self.rule.hold <= window;
        let level = if is_traffic && is_failure && one_suffices { Level::Warning } else { Level::Note };
        let summary = "no minimum of traffic: at night a single failure among few events is a large share";
        let fix = format!("ask for traffic too: `… and sum(rate(all[{}])) > 1`", format_duration(window));
        report.add_as(level, &lints::MINIMUM_TRAFFIC, self.span(), summary, fix);
        Some(())
    }

    pub(super) fn mean(&self, report: &mut Report<'_>) -> Option<()> {
        let (sum, count) = tree::quotient(self.core())?;
        if !part_of_mean(sum, count) || !self.limit.is_upper() {
            return None;
        }
        let is_time = self.names().iter().any(|name| name.contains("seconds") || name.contains("latency"));
        let summary = "a mean hides the tail: it stays low while one request in a hundred takes a minute";
        let fix = "alert on a quantile, `histogram_quantile(0.99, sum by (le) (rate(x_bucket[5m])))`, or on the share of slow ones";
        let level = if is_time { Level::Warning } else { Level::Note };
        report.add_as(level, &lints::MEAN_LATENCY, self.span(), summary, fix);
        Some(())
    }

    /// A rate that each of many series must reach alone.
    pub(super) fn per_series(&self, report: &mut Report<'_>) -> Option<()> {
        let (function, arguments) = tree::range_call(self.limit.value)?;
        let (selector, _) = arguments.first().and_then(tree::range)?;
        let name = selector.name.as_deref()?;
        if !is_rate(function) || !self.limit.is_upper() || self.limit.threshold <= 0.0 {
            return None;
        }
        let many = self.metrics.is_some_and(|metrics| metrics.series(name) > 1);
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

    /// One state of several, to hold for a while: a change to the next one begins `for` again.
    pub(super) fn state(&self, report: &mut Report<'_>) -> Option<()> {
        let selector = match self.limit.value {
            Expr::Aggregate(aggregate) => tree::selector(&aggregate.expr),
            value => tree::selector(value),
        }?;
        let name = selector.name.as_deref()?;
        let by_label =
            selector.matchers.iter().any(|matcher| ["state", "status", "phase"].contains(&&*matcher.name));
        let is_one = self.limit.op == Comparison::Equal && self.limit.threshold >= 1.0;
        if !is_one || by_label || self.rule.hold.is_zero() || !name.ends_with("_state") {
            return None;
        }
        let summary = format!(
            "{name} has more states than {}: one that flaps to another begins `for: {}` again each time",
            self.limit.threshold,
            format_duration(self.rule.hold)
        );
        let fix =
            format!("ask for everything that is not well: `max_over_time({name}[5m]) > 0`, or `{name} != 0`");
        report.add(&lints::STATE_EQUALITY, self.span(), summary, fix);
        Some(())
    }

    /// How large something is, where the alert tells of how much of it is left.
    pub(super) fn size(&self, report: &mut Report<'_>) -> Option<()> {
        let selector = tree::selectors(self.limit.value).into_iter().next()?;
        let name = selector.name.as_deref()?;
        let is_size =
            ["_pool_size", "_size", "_max", "_capacity", "_limit"].iter().any(|end| name.ends_with(end));
        let words = self.rule.words();
        let tells_of_rest = ["exhaust", "available", "free", "left", "remaining", "used up"]
            .iter()
            .any(|w| words.contains(w));
        let is_alone = tree::selectors(self.limit.value).len() == 1;
        if !is_size || !tells_of_rest || !is_alone || !self.limit.is_lower() {
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
        || selector
            .matchers
            .iter()
            .any(|matcher| CLASSES.contains(&&*matcher.name) || &*matcher.name == "outcome")
}

/// Labels that split one stream of events.
const CLASSES: &[&str] =
    &["code", "status", "status_code", "method", "path", "reason", "result", "error_type", "type"];

fn short(function: RangeFunction) -> &'static str {
    Function::Range(function).name().unwrap_or("rate")
}

/// Whether a quotient is a histogram's or summary's sum over its count.
fn part_of_mean(sum: &Expr, count: &Expr) -> bool {
    let name = |expr: &Expr| tree::selectors(expr).first().and_then(|selector| selector.name.clone());
    match (name(sum), name(count)) {
        (Some(sum), Some(count)) => {
            sum.strip_suffix("_sum").is_some_and(|base| count.strip_suffix("_count") == Some(base))
        }
        _ => false,
    }
}
