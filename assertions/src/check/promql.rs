//! Expressions that mean something else than they look: rates of gauges, raw counters, windows.

use super::lints::{self, Level};
use super::metrics::{BY_NAME, Known, SeriesKind, kind_of};
use super::rules::{Expression, RuleView};
use super::tree::{self, Visit};
use super::{Context, Finding, Report};
use crate::promql::ast::{AggregateOperator, Comparison, Expr, Operator, SetOperator};
use crate::promql::function::{Function, OtherFunction, RangeFunction};
use scenarios::units::format_duration;
use std::time::Duration;

/// What Prometheus keeps where nothing is set.
const RETENTION_DEFAULT: Duration = Duration::from_secs(15 * 86_400);
/// Scrapes that a window should hold, so that one may fail.
const SCRAPES_PER_WINDOW: u32 = 4;

pub(super) fn check(context: &Context<'_>, findings: &mut Vec<Finding>) {
    for rule in context.all_rules() {
        let Some(expression) = &rule.expr else { continue };
        let mut report = rule.report(findings);
        expression_only(context, expression, &mut report);
        if rule.is_alert {
            raw_counters(context, expression, &mut report);
        }
        retention(context, rule, expression, &mut report);
    }
}

/// What is wrong with an expression wherever it stands: in a rule or on a dashboard.
pub(super) fn expression_only(context: &Context<'_>, expression: &Expression, report: &mut Report<'_>) {
    for visit in tree::visits(&expression.expr) {
        rate_of_gauge(context, expression, &visit, report);
        rate_of_sum(expression, &visit, report);
        no_name(expression, &visit, report);
        short_window(context, expression, &visit, report);
    }
}

/// The function's name, if it takes a counter for granted.
fn counting(function: RangeFunction) -> Option<&'static str> {
    match function {
        RangeFunction::Rate => Some("rate"),
        RangeFunction::Increase => Some("increase"),
        RangeFunction::Irate => Some("irate"),
        _ => None,
    }
}

fn rate_of_gauge(
    context: &Context<'_>,
    expression: &Expression,
    visit: &Visit<'_>,
    report: &mut Report<'_>,
) -> Option<()> {
    let (function, arguments) = tree::range_call(visit.node)?;
    let function = counting(function)?;
    let (selector, _) = tree::range(arguments.first()?)?;
    let name = selector.name.as_deref()?;
    let Known { kind: SeriesKind::Gauge, from } = kind_of(name, context.metrics)? else { return None };
    let summary = match steady_fires(visit) {
        true => format!(
            "`{function}` of the gauge {name} ({from}): it is near 0 as long as the gauge is steady, so this holds almost always"
        ),
        false => format!("`{function}` of the gauge {name} ({from}): every fall is taken for a restart"),
    };
    let fix = format!("compare `{name}` itself, or its trend with `deriv` or `delta`");
    // A name is a guess.
    let level = if from == BY_NAME { Level::Warning } else { Level::Error };
    report.add_as(level, &lints::RATE_OF_GAUGE, expression.place(visit.node), summary, fix);
    Some(())
}

/// Whether it is asked to be small: then a steady gauge fulfils it.
fn steady_fires(visit: &Visit<'_>) -> bool {
    visit.above.iter().filter_map(|above| tree::limit(above)).any(|limit| limit.is_lower())
}

fn rate_of_sum(expression: &Expression, visit: &Visit<'_>, report: &mut Report<'_>) -> Option<()> {
    let (function, arguments) = tree::range_call(visit.node)?;
    let function = counting(function)?;
    let Expr::Subquery(subquery) = arguments.first()? else { return None };
    let Expr::Aggregate(aggregate) = &subquery.expr else { return None };
    let adds = matches!(aggregate.op, AggregateOperator::Sum | AggregateOperator::Avg);
    let has_rate = tree::any(&aggregate.expr, |node| tree::range_call(node).is_some());
    if !adds || has_rate {
        return None;
    }
    let summary = format!(
        "`{function}` of a sum: when one of the counters restarts, the sum falls and all of it counts as new"
    );
    let fix = format!("take the {function} first and add then: `sum({function}(x[5m]))`");
    report.add(&lints::RATE_OF_SUM, expression.place(visit.node), summary, fix);
    Some(())
}

fn no_name(expression: &Expression, visit: &Visit<'_>, report: &mut Report<'_>) -> Option<()> {
    let selector = tree::selector(visit.node)?;
    let named =
        selector.name.is_some() || selector.matchers.iter().any(|matcher| &*matcher.name == "__name__");
    if named
        || matches!(visit.parent().and_then(tree::call), Some((Function::Other(OtherFunction::Absent), _)))
    {
        return None;
    }
    let summary = format!("`{selector}` names no metric: it reads every series that has the labels");
    let fix = "put the metric's name before the brace; a log query belongs into the log system's rules";
    report.add(&lints::NO_NAME, expression.whole(), summary, fix);
    Some(())
}

fn short_window(
    context: &Context<'_>,
    expression: &Expression,
    visit: &Visit<'_>,
    report: &mut Report<'_>,
) -> Option<()> {
    let interval = context.settings.scrape_interval?;
    let (selector, window) = tree::range(visit.node)?;
    if selector.name.as_deref().is_some_and(|name| name.contains(':')) {
        return None;
    }
    let window = millis(window);
    if window >= interval * SCRAPES_PER_WINDOW {
        return None;
    }
    let (shown, every) = (format_duration(window), format_duration(interval));
    let fix = format!("make it {} or longer", format_duration(interval * SCRAPES_PER_WINDOW));
    let Expr::Range { window: brackets, .. } = visit.node else { return None };
    let span = expression.piece(*brackets);
    if window < interval * 2 {
        let summary =
            format!("[{shown}] holds fewer than two scrapes of {every}: there is no value most of the time");
        report.add_as(Level::Error, &lints::RANGE_TOO_SHORT, span, summary, fix);
    } else {
        let summary = format!(
            "[{shown}] holds fewer than {SCRAPES_PER_WINDOW} scrapes of {every}: one failed scrape and there is no value"
        );
        report.add(&lints::RANGE_TOO_SHORT, span, summary, fix);
    }
    Some(())
}

pub(super) fn millis(millis: i64) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

/// A window longer than samples are kept. Where the retention is not told, only alerts are held against the default: a
/// recording over less history is a less exact figure, an alert is a wrong verdict.
fn retention(
    context: &Context<'_>,
    rule: &RuleView,
    expression: &Expression,
    report: &mut Report<'_>,
) -> Option<()> {
    let kept = match context.settings.retention {
        Some(kept) => kept,
        None if rule.is_alert => RETENTION_DEFAULT,
        None => return None,
    };
    let (selector, window) = tree::visits(&expression.expr)
        .into_iter()
        .filter_map(|visit| match visit.node {
            Expr::Subquery(subquery) => Some((visit.node, millis(subquery.range + subquery.time.offset))),
            node => tree::range(node).map(|(selector, range)| (node, millis(range + selector.time.offset))),
        })
        .max_by_key(|(_, window)| *window)?;
    if window <= kept {
        return None;
    }
    let (shown, have) = (format_duration(window), format_duration(kept));
    let assumed = if context.settings.retention.is_none() { " (the default)" } else { "" };
    let summary = format!(
        "it looks back {shown}, and samples are kept for {have}{assumed}: it answers for {have} without a word"
    );
    let fix = format!(
        "keep them longer (`--storage.tsdb.retention.time`), and tell: `--retention {shown}` or more here"
    );
    let level = if assumed.is_empty() { Level::Error } else { Level::Warning };
    report.add_as(level, &lints::RANGE_BEYOND_RETENTION, expression.place(selector), summary, fix);
    Some(())
}

/// Counters compared as they are.
fn raw_counters(context: &Context<'_>, expression: &Expression, report: &mut Report<'_>) {
    for limit in tree::limits(&expression.expr) {
        for visit in tree::visits(limit.value) {
            if let Some(name) = raw_counter(context, &visit) {
                let equal = matches!(limit.op, Comparison::Equal | Comparison::NotEqual);
                if equal && limit.threshold != 0.0 {
                    continue;
                }
                let summary = format!(
                    "{name} is a counter: it only grows, so once over the threshold this holds until a restart"
                );
                let fix = format!("ask for what came lately: `increase({name}[5m])` or `rate({name}[5m])`");
                report.add(&lints::COUNTER_WITHOUT_RATE, expression.place(visit.node), summary, fix);
            }
        }
    }
}

/// The counter that this node selects with its value in play.
fn raw_counter<'e>(context: &Context<'_>, visit: &Visit<'e>) -> Option<&'e str> {
    let Expr::Selector(selector) = visit.node else { return None };
    let name = selector.name.as_deref()?;
    let Known { kind: SeriesKind::Counter, .. } = kind_of(name, context.metrics)? else { return None };
    // A difference of two times is a rate of its own making, a set operation only asks whether it is there.
    let harmless = visit.above.iter().any(|above| match above {
        Expr::Subquery(_) => true,
        Expr::Aggregate(aggregate) => matches!(
            aggregate.op,
            AggregateOperator::Count | AggregateOperator::Group | AggregateOperator::CountValues
        ),
        Expr::Binary(binary) => match binary.op {
            Operator::Set(SetOperator::Or) | Operator::Comparison(_) => false,
            Operator::Set(_) => true,
            Operator::Arithmetic(_) => tree::selectors(above).len() > 1,
        },
        node => tree::call(node).is_some_and(|(function, _)| {
            !matches!(
                function,
                Function::Other(
                    OtherFunction::Scalar
                        | OtherFunction::Sort
                        | OtherFunction::SortDesc
                        | OtherFunction::Round
                )
            )
        }),
    });
    (!harmless).then_some(name)
}
