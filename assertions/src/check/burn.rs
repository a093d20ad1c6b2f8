//! Error budgets: burn rates, their windows and their texts, and objectives that a quantile cannot tell.
//!
//! A burn alert compares the share of bad events with `factor * budget`, such as `14.4 * 0.001`. In `window` it spends
//! factor × window ÷ period of the budget (Site Reliability Workbook, chapter 5).

use super::lints;
use super::quantiles::Quantile;
use super::rules::{Expression, RuleView};
use super::share;
use super::tree::{self, Limit};
use super::{Context, Finding, Report, promql};
use crate::duration;
use crate::promql::ast::{Arithmetic, Expr, Operator, SetOperator};
use crate::promql::ratio::Ratio;
use scenarios::units::format_duration;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

mod claims;

pub(super) fn check(context: &Context<'_>, findings: &mut Vec<Finding>) {
    for rule in context.all_rules().filter(|rule| rule.is_alert) {
        let Some(expression) = &rule.expr else { continue };
        let mut report = rule.report(findings);
        unreachable(expression, &mut report);
        one_window(rule, expression, &mut report);
        claims::check(rule, expression, &mut report);
        latency_quantile(context, rule, expression, &mut report);
    }
}

/// A burn rate in an expression.
struct Burn<'e> {
    limit: Limit<'e>,
    /// Times faster than the budget allows, and the budget where it is told.
    rate: Option<Rate>,
    /// What the rate may be where the threshold is one number.
    guesses: Vec<f64>,
    window: Option<Duration>,
}

#[derive(Clone, Copy)]
struct Rate {
    factor: f64,
    budget: Option<f64>,
}

/// Factor and budget of a threshold written as their product, in whatever the value is multiplied by.
fn product(bound: &Expr) -> Option<(f64, f64)> {
    let Expr::Binary(binary) = bound else { return None };
    let (left, right) = (tree::number(&binary.left)?, tree::number(&binary.right)?);
    if binary.op == Operator::Arithmetic(Arithmetic::Divide) {
        return product(&binary.left).map(|(factor, budget)| (factor, budget / right));
    }
    if binary.op != Operator::Arithmetic(Arithmetic::Multiply) {
        return None;
    }
    let (factor, budget) = if left >= right { (left, right) } else { (right, left) };
    ((0.5..=1000.0).contains(&factor) && budget > 0.0 && budget < 100.0).then_some((factor, budget))
}

/// Whether a limit is on a burn rate.
pub(super) fn is_rate(limit: Limit<'_>) -> bool {
    burn(limit).rate.is_some()
}

/// The factors of a threshold that is one number, where each is a usual one times a usual budget: `0.00144` is 14.4 × 0.0001.
fn guesses(threshold: f64) -> Vec<f64> {
    const FACTORS: [f64; 4] = [14.4, 6.0, 3.0, 1.0];
    const BUDGETS: [f64; 6] = [0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05];
    let is_close =
        |factor: f64| BUDGETS.iter().any(|budget| (factor * budget / threshold - 1.0).abs() < 1e-6);
    FACTORS.into_iter().filter(|factor| is_close(*factor)).collect()
}

fn burn(limit: Limit<'_>) -> Burn<'_> {
    let window =
        tree::longest_window(limit.value).map(promql::millis).or_else(|| recorded_window(limit.value));
    let scale = scale(limit.value);
    let rate = match (product(limit.bound), scale) {
        (Some((factor, budget)), Some(scale)) if budget < scale => {
            Some(Rate { factor, budget: Some(budget / scale) })
        }
        // A share divided by the budget is the burn rate itself.
        (None, Some(scale)) if ![60.0, 100.0, 1000.0].contains(&scale) && scale >= 5.0 => {
            Some(Rate { factor: limit.threshold, budget: Some(1.0 / scale) })
        }
        (None, _) if is_recorded_rate(limit.value) && limit.threshold >= 1.0 => {
            Some(Rate { factor: limit.threshold, budget: None })
        }
        _ => None,
    };
    let guesses = guesses(limit.threshold / scale.unwrap_or(1.0));
    Burn { limit, rate, guesses, window }
}

/// Whether a recorded name says that it is a burn rate.
fn is_recorded_rate(value: &Expr) -> bool {
    let selector = tree::selector(value);
    selector
        .and_then(|selector| selector.name.as_deref())
        .is_some_and(|name| name.replace('_', "").contains("burnrate"))
}

/// Whether the rule says that it is about a burn rate or a budget.
fn is_named(rule: &RuleView) -> bool {
    let words = rule.words();
    words.contains("burn") || words.contains("budget")
}

/// What a share of events is multiplied by; `None` of anything else, whose threshold is no burn rate.
fn scale(value: &Expr) -> Option<f64> {
    // Of a share recorded for one service there is one element.
    if let Expr::Aggregate(aggregate) = value
        && let Some(scale) = scale(&aggregate.expr)
    {
        return Some(scale);
    }
    let quotient = || Ratio::of(value).filter(|ratio| ratio.all.is_some()).map(|ratio| ratio.scale.abs());
    let with_fallbacks = || {
        let (part, whole) = tree::quotient(tree::without_constants(value))?;
        (counts(part) && counts(whole)).then(|| 1.0 / share::of_whole(1.0, value))
    };
    share::of(value).map(|share| share.scale).or_else(quotient).or_else(with_fallbacks)
}

/// The window at the end of a recorded name: `slo:burnrate1h`, `ratio_rate5m`.
fn recorded_window(expr: &Expr) -> Option<Duration> {
    let window = |name: &str| {
        let letters = name.trim_end_matches(|c: char| c.is_ascii_lowercase());
        let digits = letters.trim_end_matches(|c: char| c.is_ascii_digit());
        duration::parse(&name[digits.len()..])
    };
    tree::selectors(expr).into_iter().find_map(|selector| window(selector.name.as_deref()?))
}

fn unreachable(expression: &Expression, report: &mut Report<'_>) {
    for limit in tree::limits(&expression.full).into_iter().filter(Limit::is_upper) {
        let Some(Rate { factor, budget: Some(budget) }) = burn(limit).rate else { continue };
        if factor * budget < 1.0 - 1e-9 {
            continue;
        }
        let most = 1.0 / budget;
        let summary = format!(
            "a burn rate of {factor} on a budget of {} is a loss of {} %: more than everything cannot be lost",
            significant(budget),
            round(factor * budget * 100.0)
        );
        let fix = format!(
            "with this budget the burn rate is {} at most; choose a smaller factor over a longer window",
            round(most)
        );
        report.add(&lints::BURN_UNREACHABLE, expression.place(limit.node), summary, fix);
    }
}

/// The limits that must hold together in each alternative.
fn together(expr: &Expr) -> Vec<Limit<'_>> {
    match expr {
        Expr::Binary(binary) if matches!(binary.op, Operator::Set(SetOperator::And)) => {
            [together(&binary.left), together(&binary.right)].into_iter().flatten().collect()
        }
        _ => tree::limit(expr).into_iter().collect(),
    }
}

/// Whether it asks for a number of events, which is no burn rate.
fn is_traffic(limit: &Limit<'_>) -> bool {
    counts(limit.value) && !tree::any(limit.value, |node| tree::quotient(node).is_some())
}

fn counts(expr: &Expr) -> bool {
    tree::any(expr, |node| tree::range_call(node).is_some_and(|(f, _)| super::alerts::is_rate(f)))
}

fn one_window(rule: &RuleView, expression: &Expression, report: &mut Report<'_>) {
    let is_named = is_named(rule);
    for alternative in tree::alternatives(&expression.full) {
        let limits = together(alternative).into_iter().filter(Limit::is_upper);
        let burns: Vec<Burn<'_>> = limits
            .filter(|limit| !is_traffic(limit))
            .map(burn)
            .filter(|burn| burn.window.is_some())
            .collect();
        let [only] = burns.as_slice() else { continue };
        let Some(window) = only.window.filter(|window| *window >= HOUR / 2) else { continue };
        // A burn rate below 1 loses no budget, and one number is a burn rate where the rule says so.
        let is_burn = match only.rate {
            Some(rate) => rate.factor >= 1.0,
            None => is_named && (!only.guesses.is_empty() || rule.name.to_lowercase().contains("burn")),
        };
        // What is spent of a whole period has no second window.
        if !is_burn || window >= 7 * DAY {
            continue;
        }
        let shown = format_duration(window);
        let short = format_duration(window / 12);
        let summary = format!(
            "one window of {shown}: after recovery the alert goes on firing until the loss has left it"
        );
        let fix = format!(
            "let a short window of {short} be over the threshold too, joined by `and`: then it ends minutes after the loss"
        );
        report.add(&lints::BURN_ONE_WINDOW, expression.place(only.limit.node), summary, fix);
    }
}

/// Six digits of it.
fn significant(value: f64) -> f64 {
    format!("{value:.5e}").parse().unwrap_or(value)
}

fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// "99 % of requests under 200 ms" is a share of requests; a quantile answers something else.
fn latency_quantile(
    context: &Context<'_>,
    rule: &RuleView,
    expression: &Expression,
    report: &mut Report<'_>,
) {
    let severity = rule.label("severity").unwrap_or_default().to_lowercase();
    let name = rule.name.to_lowercase();
    let without_slow = name.replace("slow", "");
    let has_label = rule.label("slo").or(rule.label("sli")).or(rule.label("objective")).is_some();
    let is_objective =
        severity == "slo" || without_slow.contains("slo") || name.contains("objective") || has_label;
    for limit in tree::limits(&expression.full) {
        let Some(quantile) = Quantile::of(limit.value) else { continue };
        // Nobody asks for the quantile of weeks but for an objective.
        let is_long =
            tree::longest_window(quantile.buckets).is_some_and(|window| promql::millis(window) >= 7 * DAY);
        if !is_objective && !is_long {
            continue;
        }
        let bucket = tree::selectors(limit.value).into_iter().find_map(|selector| selector.name.clone());
        let bound = quantile.threshold(&limit);
        let bounds = bucket.as_ref().and_then(|bucket| context.metrics?.bounds(bucket));
        let needs = match bounds {
            Some(bounds) if super::quantiles::is_bound(bounds, bound) => String::new(),
            _ => format!("; the histogram needs a bucket at {bound}"),
        };
        let summary = "an objective is a share of requests, and a quantile is not: it is interpolated, and it cannot be added up over 30 days";
        let bucket = bucket.as_deref().unwrap_or("x_bucket");
        let fix = format!(
            "compare the share within the bound: `sum(rate({bucket}{{le=\"{bound}\"}}[5m])) / sum(rate({}_count[5m])) < 0.99`{needs}",
            bucket.trim_end_matches("_bucket")
        );
        report.add(&lints::LATENCY_QUANTILE, expression.place(limit.node), summary, fix);
    }
}
