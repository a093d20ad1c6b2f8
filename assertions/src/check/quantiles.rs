//! Quantiles of histograms: whose they are, and what they can be compared with.

use super::labels;
use super::lints;
use super::rules::Expression;
use super::tree::{self, Limit, Visit};
use super::{Context, Finding, Report};
use crate::promql::ast::{
    AggregateOperator, Arithmetic, Comparison, Dialect, Expr, MatchOp, Matcher, Operator, Selector,
    SetOperator,
};
use crate::promql::function::{Function, OtherFunction, RangeFunction};

pub(super) fn check(context: &Context<'_>, findings: &mut Vec<Finding>) {
    for rule in context.all_rules() {
        let Some(expression) = &rule.expr else { continue };
        let mut report = rule.report(findings);
        expression_only(context, expression, &mut report);
        if rule.is_alert {
            for visit in tree::visits(&expression.full) {
                per_series(expression, &visit, &mut report);
            }
            let limits = tree::limits(&expression.full);
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
        bucket(context, expression, &visit, report);
    }
    for visit in tree::visits(&expression.full).iter().filter(|visit| expression.is_own(visit.node)) {
        without_le(expression, visit, report);
        averaged(expression, visit, report);
    }
}

/// The quantile that a value is: of which buckets, times what.
pub(super) struct Quantile<'e> {
    pub(super) buckets: &'e Expr,
    scale: f64,
}

impl<'e> Quantile<'e> {
    /// What the quantile itself is compared with.
    pub(super) fn threshold(&self, limit: &Limit<'_>) -> f64 {
        rounded(limit.threshold / self.scale)
    }

    /// The quantile behind factors, extremes and means of quantiles: none of these is above the largest of them.
    pub(super) fn of(expr: &'e Expr) -> Option<Quantile<'e>> {
        if let Some((_, buckets)) = quantile(expr) {
            return Some(Quantile { buckets, scale: 1.0 });
        }
        match expr {
            Expr::Aggregate(aggregate) => {
                use AggregateOperator as A;
                let stays =
                    matches!(aggregate.op, A::Avg | A::Min | A::Max | A::Topk | A::Bottomk | A::Quantile);
                Quantile::of(&aggregate.expr).filter(|_| stays)
            }
            Expr::Binary(binary) => match binary.op {
                Operator::Arithmetic(op) => {
                    let (left, right) = (tree::number(&binary.left), tree::number(&binary.right));
                    let (inner, by) = match (op, left, right) {
                        (Arithmetic::Multiply, Some(by), None) => (&binary.right, by),
                        (Arithmetic::Multiply, None, Some(by)) => (&binary.left, by),
                        (Arithmetic::Divide, None, Some(by)) => (&binary.left, 1.0 / by),
                        _ => return None,
                    };
                    let inner = Quantile::of(inner).filter(|_| by > 0.0 && by.is_finite())?;
                    Some(Quantile { scale: inner.scale * by, ..inner })
                }
                Operator::Comparison(_) if binary.returns_bool => None,
                Operator::Comparison(_) => tree::limit(expr).and_then(|limit| Quantile::of(limit.value)),
                Operator::Set(SetOperator::Or) => None,
                Operator::Set(_) => Quantile::of(&binary.left),
            },
            Expr::Subquery(subquery) => Quantile::of(&subquery.expr),
            expr => {
                use {OtherFunction as O, RangeFunction as R};
                let (function, arguments) = tree::call(expr)?;
                let argument = match function {
                    Function::Range(R::AvgOverTime | R::MinOverTime | R::MaxOverTime | R::LastOverTime) => 0,
                    Function::Range(R::QuantileOverTime) => 1,
                    Function::Other(O::Sort | O::SortDesc | O::LabelReplace | O::LabelJoin | O::Round) => 0,
                    _ => return None,
                };
                Quantile::of(arguments.get(argument)?)
            }
        }
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
    let always = match share {
        share if share.is_nan() => "NaN",
        share if share > 1.0 => "+Inf",
        _ => "-Inf",
    };
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
    if labels::possible(buckets).may_have("le") || !reads_buckets(buckets) {
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
    let (word, inner) = match visit.node {
        Expr::Aggregate(aggregate) => match aggregate.op {
            AggregateOperator::Avg => ("average", &aggregate.expr),
            AggregateOperator::Sum => ("sum", &aggregate.expr),
            _ => return None,
        },
        node => match tree::range_call(node)? {
            (RangeFunction::AvgOverTime, [window]) => ("average", window),
            (RangeFunction::SumOverTime, [window]) => ("sum", window),
            _ => return None,
        },
    };
    if !is_quantile(inner) {
        return None;
    }
    let summary = format!("the {word} of quantiles is no quantile of anything");
    let fix = "add the buckets and take one quantile, over a longer window if need be; of quantiles that are exported take `max`";
    report.add(&lints::AVERAGE_OF_QUANTILES, expression.place(visit.node), summary, fix);
    Some(())
}

/// Whether each element is a quantile: of a histogram, of a summary, or by its name.
fn is_quantile(expr: &Expr) -> bool {
    if let Some(selector) = tree::selector(expr) {
        let name = selector.name.as_deref().unwrap_or_default();
        let is_counted = name.ends_with("_sum") || name.ends_with("_count");
        return !is_counted && (of_summary(selector) || is_named_quantile(name));
    }
    match expr {
        Expr::Subquery(subquery) => is_quantile(&subquery.expr),
        Expr::Binary(binary) if tree::number(&binary.left).is_some() => is_quantile(&binary.right),
        Expr::Binary(binary) if tree::number(&binary.right).is_some() && tree::limit(expr).is_none() => {
            is_quantile(&binary.left)
        }
        expr => quantile(expr).is_some(),
    }
}

/// Whether it selects quantiles of a summary.
pub(super) fn of_summary(selector: &Selector) -> bool {
    let asks = |matcher: &&Matcher| matches!(matcher.op, MatchOp::Equal(_) | MatchOp::Match(..));
    selector.matchers.iter().filter(asks).any(|matcher| &*matcher.name == "quantile")
}

/// `job:latency_seconds:p99`, `latency:99quantile`.
fn is_named_quantile(name: &str) -> bool {
    let is_quantile = |word: &str| {
        let digits = word.strip_prefix('p').or_else(|| word.strip_suffix("quantile"));
        digits.is_some_and(|digits| digits.len() >= 2 && digits.chars().all(|c| c.is_ascii_digit()))
    };
    name.split([':', '_']).any(is_quantile)
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

/// Without what a division leaves behind.
fn rounded(value: f64) -> f64 {
    format!("{value:.12e}").parse().unwrap_or(value)
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
    let quantile = Quantile::of(limit.value)?;
    let name = bucket_selector(quantile.buckets)?.name.as_deref()?;
    let bounds = context.metrics?.bounds(name)?;
    let top = *bounds.last()?;
    let (threshold, span) = (quantile.threshold(limit), expression.place(limit.node));
    let at_top = is_bound(&[top], threshold);
    // Above the top there is no value, at the top there is one.
    let beyond = match limit.op {
        Comparison::Greater | Comparison::LessOrEqual => at_top || threshold > top,
        _ => !at_top && threshold > top,
    };
    if beyond {
        let verdict = match limit.op {
            Comparison::Greater | Comparison::GreaterOrEqual | Comparison::Equal => "this cannot fire",
            _ => "this holds as long as there is data",
        };
        let summary = format!("the quantile is never above {top}, the largest bucket of {name}: {verdict}");
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
