//! Quantiles of histograms: whose they are, and what they can be compared with.

use super::lints;
use super::rules::Expression;
use super::tree::{self, Limit, Visit};
use super::{Context, Finding, Report};
use crate::promql::ast::{AggregateOperator, Dialect, Expr, MatchOp, Selector};
use crate::promql::function::{OtherFunction, RangeFunction};

pub(super) fn check(context: &Context<'_>, findings: &mut Vec<Finding>) {
    for rule in context.all_rules() {
        let Some(expression) = &rule.expr else { continue };
        let mut report = rule.report(findings);
        expression_only(context, expression, &mut report);
        if rule.is_alert {
            for visit in tree::visits(&expression.expr) {
                per_series(expression, &visit, &mut report);
            }
            let limits = tree::limits(&expression.expr);
            for limit in limits {
                bounds(context, expression, &limit, &mut report);
            }
        }
    }
}

/// What is wrong with quantiles wherever they stand: in a rule or on a dashboard.
pub(super) fn expression_only(context: &Context<'_>, expression: &Expression, report: &mut Report<'_>) {
    for visit in tree::visits(&expression.expr) {
        range(expression, &visit, report);
        without_le(expression, &visit, report);
        averaged(expression, &visit, report);
        bucket(context, expression, &visit, report);
    }
}

/// The arguments of `histogram_quantile`.
fn quantile(expr: &Expr) -> Option<(&Expr, &Expr)> {
    let (_, arguments) = tree::call(expr)?;
    match arguments {
        [share, buckets] if tree::is_call(expr, OtherFunction::HistogramQuantile) => Some((share, buckets)),
        _ => None,
    }
}

fn range(expression: &Expression, visit: &Visit<'_>, report: &mut Report<'_>) -> Option<()> {
    let (share, _) = quantile(visit.node)?;
    let share = tree::number(share)?;
    if (0.0..=1.0).contains(&share) {
        return None;
    }
    let always = if share > 1.0 { "+Inf" } else { "-Inf" };
    let fix = match share {
        share if share > 1.0 && share <= 100.0 => {
            format!("write `{}` for the {share}th percentile", share / 100.0)
        }
        _ => "write a number from 0 to 1".to_owned(),
    };
    let summary = format!("a quantile of {share} is always {always}");
    report.add(&lints::QUANTILE_OUT_OF_RANGE, expression.place(visit.node), summary, fix);
    Some(())
}

fn without_le(expression: &Expression, visit: &Visit<'_>, report: &mut Report<'_>) -> Option<()> {
    let (_, buckets) = quantile(visit.node)?;
    if tree::labels(buckets).may_have("le") || !reads_buckets(buckets) {
        return None;
    }
    let summary = "the buckets have lost their `le`, so there is no quantile: this never has a value";
    let fix = "keep it: `histogram_quantile(0.99, sum by (le) (rate(x_bucket[5m])))`";
    report.add(&lints::QUANTILE_WITHOUT_LE, expression.place(buckets), summary, fix);
    Some(())
}

/// Whether it reads classic buckets; native histograms have no `le`.
fn reads_buckets(expr: &Expr) -> bool {
    bucket_selector(expr).is_some()
}

fn bucket_selector(expr: &Expr) -> Option<&Selector> {
    let is_bucket =
        |selector: &&Selector| selector.name.as_deref().is_some_and(|name| name.ends_with("_bucket"));
    tree::selectors(expr).into_iter().find(is_bucket)
}

/// A quantile for each instance and each other label, in an alert.
fn per_series(expression: &Expression, visit: &Visit<'_>, report: &mut Report<'_>) -> Option<()> {
    let (_, buckets) = quantile(visit.node)?;
    let selector = bucket_selector(buckets)?;
    let is_bare = matches!(
        tree::range_call(buckets),
        Some((RangeFunction::Rate | RangeFunction::Increase | RangeFunction::Irate, _))
    );
    if !is_bare && !matches!(buckets, Expr::Selector(_)) {
        return None;
    }
    let name = selector.name.as_deref().unwrap_or_default();
    let summary =
        "a quantile of each series: one instance with a handful of slow requests fires for the whole service";
    let fix =
        format!("put the buckets together first: `histogram_quantile(0.99, sum by (le) (rate({name}[5m])))`");
    report.add(&lints::QUANTILE_PER_SERIES, expression.place(visit.node), summary, fix);
    Some(())
}

fn averaged(expression: &Expression, visit: &Visit<'_>, report: &mut Report<'_>) -> Option<()> {
    let Expr::Aggregate(aggregate) = visit.node else { return None };
    let word = match aggregate.op {
        AggregateOperator::Avg => "average",
        AggregateOperator::Sum => "sum",
        _ => return None,
    };
    let of_summary = |selector: &Selector| {
        selector
            .matchers
            .iter()
            .any(|matcher| &*matcher.name == "quantile" && matches!(matcher.op, MatchOp::Equal(_)))
    };
    let is_quantile = quantile(&aggregate.expr).is_some()
        || matches!(&aggregate.expr, Expr::Selector(selector) if of_summary(selector));
    if !is_quantile {
        return None;
    }
    let summary = format!("the {word} of quantiles is no quantile of anything");
    let fix = "add the buckets and take one quantile; of a summary's quantiles take `max`";
    report.add(&lints::AVERAGE_OF_QUANTILES, expression.place(visit.node), summary, fix);
    Some(())
}

/// A bucket chosen by a bound that the histogram does not have, or that is spelt as Prometheus does not store it.
fn bucket(
    context: &Context<'_>,
    expression: &Expression,
    visit: &Visit<'_>,
    report: &mut Report<'_>,
) -> Option<()> {
    let selector = tree::selector(visit.node)?;
    let name = selector.name.as_deref().filter(|name| name.ends_with("_bucket"))?;
    let matcher = selector.matchers.iter().find(|matcher| &*matcher.name == "le")?;
    let MatchOp::Equal(written) = &matcher.op else { return None };
    let bound: f64 = written.parse().ok().filter(|bound: &f64| bound.is_finite())?;
    if context.settings.dialect == Some(Dialect::V3) && !written.contains(['.', 'e', 'E']) {
        let summary =
            format!("`le=\"{written}\"` finds nothing: Prometheus 3 stores the bound as `{bound:.1}`");
        let fix = format!("write `le=\"{bound:.1}\"`, or `le=~\"{written}(\\\\.0)?\"` for both versions");
        report.add(&lints::INTEGER_LE, expression.place(visit.node), summary, fix);
    }
    let bounds = context.metrics?.bounds(name)?;
    if is_bound(bounds, bound) {
        return None;
    }
    let summary = format!("{name} has no bucket `{written}`: this reads nothing");
    let fix = format!("its bounds are {}", listed(bounds));
    report.add(&lints::UNKNOWN_BUCKET, expression.place(visit.node), summary, fix);
    Some(())
}

pub(super) fn is_bound(bounds: &[f64], value: f64) -> bool {
    bounds.iter().any(|bound| (bound - value).abs() <= 1e-9 * bound.abs().max(value.abs()))
}

pub(super) fn listed(bounds: &[f64]) -> String {
    bounds.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// A quantile's threshold against the bounds of its histogram.
fn bounds(
    context: &Context<'_>,
    expression: &Expression,
    limit: &Limit<'_>,
    report: &mut Report<'_>,
) -> Option<()> {
    let (_, buckets) = quantile(limit.value)?;
    let name = bucket_selector(buckets)?.name.as_deref()?;
    let bounds = context.metrics?.bounds(name)?;
    let top = *bounds.last()?;
    let (threshold, span) = (limit.threshold, expression.place(limit.node));
    let beyond = match limit.op {
        crate::promql::ast::Comparison::Greater => threshold >= top,
        _ => threshold > top,
    };
    if limit.is_upper() && beyond {
        let summary =
            format!("the quantile is never above {top}, the largest bucket of {name}: this cannot fire");
        let fix = format!("add buckets above {threshold} to the histogram, or lower the threshold");
        report.add(&lints::ABOVE_TOP_BUCKET, span, summary, fix);
    } else if !is_bound(bounds, threshold) {
        let below = bounds.iter().rev().find(|bound| **bound < threshold).copied().unwrap_or(0.0);
        let above = bounds.iter().find(|bound| **bound > threshold).map_or("+Inf".to_owned(), f64::to_string);
        let summary = format!(
            "{threshold} is no bucket bound of {name}: between {below} and {above} the quantile is a guess on a straight line"
        );
        let fix = format!("give the histogram a bucket at {threshold}, or compare with {below} or {above}");
        report.add(&lints::OFF_BUCKET, span, summary, fix);
    }
    Some(())
}
