//! Expressions that mean something else than they look: rates of gauges, raw counters, windows.

use super::lints::{self, Level};
use super::metrics::{BY_NAME, Known, SeriesKind, kind_of};
use super::rules::{Expression, RuleView};
use super::tree::{self, Visit};
use super::{Context, Finding, Report, quantiles};
use crate::promql::ast::{AggregateOperator, Expr};
use crate::promql::function::{Function, OtherFunction, RangeFunction};
use scenarios::units::format_duration;
use std::time::Duration;

/// What Prometheus keeps where nothing is set.
const RETENTION_DEFAULT: Duration = Duration::from_secs(15 * 86_400);
/// Scrapes that a window should hold, so that one may fail.
const SCRAPES_PER_WINDOW: u32 = 4;

mod counters;

pub(super) fn check(context: &Context<'_>, findings: &mut Vec<Finding>) {
    for rule in context.all_rules() {
        let Some(expression) = &rule.expr else { continue };
        let mut report = rule.report(findings);
        expression_only(context, expression, &mut report);
        if rule.is_alert {
            counters::check(context, expression, &mut report);
        }
        retention(context, rule, expression, &mut report);
    }
}

/// What is wrong with an expression wherever it stands: in a rule or on a dashboard.
pub(super) fn expression_only(context: &Context<'_>, expression: &Expression, report: &mut Report<'_>) {
    for visit in tree::visits(&expression.expr) {
        no_name(expression, &visit, report);
        short_window(context, expression, &visit, report);
    }
    for visit in tree::visits(&expression.full).iter().filter(|visit| expression.is_own(visit.node)) {
        rate_of_gauge(context, expression, visit, report);
        rate_of_sum(expression, visit, report);
        rate_of_rate(expression, visit, report);
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
    let selector = match arguments.first()? {
        // Of a recording that only gives it another name, too.
        Expr::Subquery(subquery) => tree::selector(&subquery.expr)?,
        window => tree::range(window)?.0,
    };
    let name = selector.name.as_deref()?;
    let is_counted = name.ends_with("_sum") || name.ends_with("_count");
    let from = match kind_of(name, context.metrics) {
        _ if quantiles::of_summary(selector) && !is_counted => "it is a summary's quantile",
        Some(Known { kind: SeriesKind::Gauge, from }) => from,
        _ => return None,
    };
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

/// `rate` of what is a rate already, written out or by the name that it was recorded under.
fn rate_of_rate(expression: &Expression, visit: &Visit<'_>, report: &mut Report<'_>) -> Option<()> {
    let (function, arguments) = tree::range_call(visit.node)?;
    let function = counting(function)?;
    let level = match arguments.first()? {
        Expr::Subquery(subquery) => {
            let inner = match &subquery.expr {
                Expr::Aggregate(aggregate) => &aggregate.expr,
                inner => inner,
            };
            tree::range_call(inner).and_then(|(function, _)| counting(function)).map(|_| Level::Error)
        }
        window => {
            let name = tree::range(window)?.0.name.as_deref()?;
            let operation = name.rsplit_once(':')?.1;
            let is_rate = |word: &&&str| {
                let window = operation.strip_prefix(**word);
                window.is_some_and(|window| window.starts_with(|c: char| c.is_ascii_digit()))
            };
            // A name is a guess.
            ["rate", "irate", "increase"].iter().find(is_rate).map(|_| Level::Warning)
        }
    }?;
    let summary =
        format!("`{function}` of a rate: a rate rises and falls, and every fall is taken for a restart");
    let fix = "use it as it is, take `avg_over_time` of it, or its trend with `deriv`";
    report.add_as(level, &lints::RATE_OF_GAUGE, expression.place(visit.node), summary, fix);
    Some(())
}

fn no_name(expression: &Expression, visit: &Visit<'_>, report: &mut Report<'_>) -> Option<()> {
    let selector = tree::selector(visit.node)?;
    let named =
        selector.name.is_some() || selector.matchers.iter().any(|matcher| &*matcher.name == "__name__");
    if named
        || matches!(
            visit.parent().and_then(tree::call),
            Some((Function::Other(OtherFunction::Absent | OtherFunction::AbsentOverTime), _))
        )
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
    let Reach { node, back, newest } = reach(&expression.full)?;
    let (back, newest) = (millis(back), millis(newest));
    if back <= kept {
        return None;
    }
    let (shown, have) = (format_duration(back), format_duration(kept));
    let assumed = if context.settings.retention.is_none() { " (the default)" } else { "" };
    let answer = match newest >= kept {
        true => "there is no value".to_owned(),
        false => format!("it answers for {have} without a word"),
    };
    let summary = format!("it looks back {shown}, and samples are kept for {have}{assumed}: {answer}");
    let fix = format!(
        "keep them longer (`--storage.tsdb.retention.time`), and tell: `--retention {shown}` or more here"
    );
    let level = if assumed.is_empty() { Level::Error } else { Level::Warning };
    report.add_as(level, &lints::RANGE_BEYOND_RETENTION, expression.place(node), summary, fix);
    Some(())
}

/// How far back a part of an expression looks, ms.
struct Reach<'e> {
    node: &'e Expr,
    /// At its oldest sample.
    back: i64,
    /// At its newest.
    newest: i64,
}

/// The part that looks back the farthest: windows and offsets inside each other add up.
fn reach(expr: &Expr) -> Option<Reach<'_>> {
    let inner = expr.children().into_iter().filter_map(reach).max_by_key(|reach| reach.back);
    let (range, time) = match expr {
        Expr::Selector(selector) => (0, selector.time),
        Expr::Range { selector, range, .. } => (*range, selector.time),
        Expr::Subquery(subquery) => (subquery.range, subquery.time),
        _ => return inner,
    };
    // A fixed moment is as old as it is whenever it is asked for.
    if time.at.is_some() {
        return None;
    }
    let (back, newest) = inner.map_or((0, 0), |inner| (inner.back, inner.newest));
    Some(Reach { node: expr, back: back + range + time.offset, newest: newest + time.offset })
}
