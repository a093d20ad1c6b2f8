//! Error budgets: burn rates, their windows and their texts, and objectives that a quantile cannot tell.
//!
//! A burn alert compares the share of bad events with `factor * budget`, such as `14.4 * 0.001`. In `window` it spends
//! factor × window ÷ period of the budget (Site Reliability Workbook, chapter 5).

use super::lints;
use super::rules::{Expression, RuleView, Text};
use super::share;
use super::tree::{self, Limit};
use super::{Context, Finding, Report, promql};
use crate::duration;
use crate::promql::ast::{Arithmetic, Expr, Operator, SetOperator};
use crate::promql::function::OtherFunction;
use crate::promql::ratio::Ratio;
use scenarios::units::format_duration;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

pub(super) fn check(context: &Context<'_>, findings: &mut Vec<Finding>) {
    for rule in context.all_rules().filter(|rule| rule.is_alert) {
        let Some(expression) = &rule.expr else { continue };
        let mut report = rule.report(findings);
        unreachable(expression, &mut report);
        one_window(rule, expression, &mut report);
        texts(rule, expression, &mut report);
        latency_quantile(context, rule, expression, &mut report);
    }
}

/// A burn rate in an expression.
struct Burn<'e> {
    limit: Limit<'e>,
    /// Times faster than the budget allows; `None` where the threshold is one number.
    factor: Option<f64>,
    window: Option<Duration>,
}

/// Factor and budget of a threshold written as their product.
fn product(bound: &Expr) -> Option<(f64, f64)> {
    let Expr::Binary(binary) = bound else { return None };
    if binary.op != Operator::Arithmetic(Arithmetic::Multiply) {
        return None;
    }
    let (left, right) = (tree::number(&binary.left)?, tree::number(&binary.right)?);
    let (factor, budget) = if left >= right { (left, right) } else { (right, left) };
    ((0.5..=1000.0).contains(&factor) && budget > 0.0 && budget < 1.0).then_some((factor, budget))
}

/// Whether a threshold is a burn rate times a budget.
pub(super) fn is_product(bound: &Expr) -> bool {
    product(bound).is_some()
}

/// The factor of a threshold that is one number, if it is a usual one times a usual budget: `0.00144` is 14.4 × 0.0001.
fn guessed_factor(threshold: f64) -> Option<f64> {
    const FACTORS: [f64; 4] = [14.4, 6.0, 3.0, 1.0];
    const BUDGETS: [f64; 6] = [0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05];
    let is_close =
        |factor: f64| BUDGETS.iter().any(|budget| (factor * budget / threshold - 1.0).abs() < 1e-6);
    FACTORS.into_iter().find(|factor| is_close(*factor))
}

fn burn(limit: Limit<'_>) -> Burn<'_> {
    let window =
        tree::longest_window(limit.value).map(promql::millis).or_else(|| recorded_window(limit.value));
    let factor = product(limit.bound).filter(|_| scale(limit.value).is_some()).map(|(factor, _)| factor);
    Burn { limit, factor, window }
}

/// What a share of events is multiplied by; `None` of anything else, whose threshold is no burn rate.
fn scale(value: &Expr) -> Option<f64> {
    let quotient = || Ratio::of(value).filter(|ratio| ratio.all.is_some()).map(|ratio| ratio.scale.abs());
    share::of(value).map(|share| share.scale).or_else(quotient)
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
    for limit in tree::limits(&expression.expr).into_iter().filter(Limit::is_upper) {
        let Some((factor, budget)) = product(limit.bound) else { continue };
        let Some(scale) = scale(limit.value) else { continue };
        if limit.threshold < scale {
            continue;
        }
        let most = scale / budget;
        let summary = format!(
            "a burn rate of {factor} on a budget of {budget} is a loss of {} %: more than everything cannot be lost",
            round(factor * budget / scale * 100.0)
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

fn one_window(rule: &RuleView, expression: &Expression, report: &mut Report<'_>) {
    let is_named = rule.name.to_lowercase().contains("burn");
    for alternative in tree::alternatives(&expression.expr) {
        let limits = together(alternative).into_iter().filter(Limit::is_upper);
        let burns: Vec<Burn<'_>> = limits.map(burn).filter(|burn| burn.window.is_some()).collect();
        let [only] = burns.as_slice() else { continue };
        let Some(window) = only.window.filter(|window| *window >= HOUR / 2) else { continue };
        let is_burn = is_named || only.factor.is_some_and(|factor| factor >= 1.0);
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

fn texts(rule: &RuleView, expression: &Expression, report: &mut Report<'_>) {
    let limits = tree::limits(&expression.expr).into_iter().filter(Limit::is_upper);
    let is_named = rule.name.to_lowercase().contains("burn");
    let factor =
        |burn: &Burn<'_>| burn.factor.or_else(|| guessed_factor(burn.limit.threshold).filter(|_| is_named));
    let burns = limits.map(burn).filter_map(|burn| Some((factor(&burn)?, burn.window?)));
    let Some((factor, window)) = burns.max_by_key(|(_, window)| *window) else { return };
    for annotation in &rule.annotations {
        let Some(claim) = claim(annotation) else { continue };
        let spent = factor * window.as_secs_f64() / claim.period.as_secs_f64() * 100.0;
        if (claim.percent - spent).abs() <= 0.05 * spent.max(claim.percent) {
            continue;
        }
        let (shown, days) = (format_duration(window), claim.period.as_secs() / 86_400);
        let summary = format!(
            "the text says {} % of the budget; {factor} × {shown} is {} % of {days} days",
            claim.percent,
            round(spent)
        );
        let fix = format!(
            "write {} %, or let the burn rate be {}",
            round(spent),
            round(factor * claim.percent / spent)
        );
        report.add(&lints::BURN_TEXT, annotation.within(claim.range), summary, fix);
    }
}

/// A share of the budget that a text speaks of.
struct Claim {
    percent: f64,
    period: Duration,
    range: std::ops::Range<usize>,
}

/// The first number with a percent sign whose sentence speaks of a budget, after it or just before.
fn claim(annotation: &Text) -> Option<Claim> {
    let text = &annotation.text;
    let lower = text.to_ascii_lowercase();
    for (sign, _) in text.match_indices('%') {
        let before = text[..sign].trim_end();
        let start = before
            .rfind(|c: char| !c.is_ascii_digit() && c != '.')
            .map_or(0, |at| at + before[at..].chars().next().map_or(1, char::len_utf8));
        let Ok(percent) = before[start..].parse::<f64>() else { continue };
        let sentence = lower[sign..].split(". ").next().unwrap_or_default();
        let near = sentence.char_indices().nth(60).map_or(sentence, |(end, _)| &sentence[..end]);
        let earlier = lower[..start].rsplit(". ").next().unwrap_or_default();
        let tail = earlier.char_indices().rev().nth(40).map_or(earlier, |(from, _)| &earlier[from..]);
        // An objective stands beside its budget too.
        let speaks = near.contains("budget") || tail.contains("budget") && percent < 90.0;
        if speaks {
            return Some(Claim { percent, period: period(&lower), range: start..sign + 1 });
        }
    }
    None
}

/// The period that a text speaks of; 30 days where it does not.
fn period(text: &str) -> Duration {
    const PERIODS: &[(&str, u32)] = &[
        ("week", 7),
        ("7 day", 7),
        ("7-day", 7),
        ("7d", 7),
        ("28 day", 28),
        ("28-day", 28),
        ("28d", 28),
        ("quarter", 90),
        ("90 day", 90),
    ];
    let found = PERIODS.iter().find(|(word, _)| text.contains(word));
    DAY * found.map_or(30, |(_, days)| *days)
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
    let is_objective = severity == "slo" || name.contains("slo") || name.contains("objective");
    let is_slow = name.contains("slow") && !name.replace("slow", "").contains("slo");
    if !is_objective || is_slow {
        return;
    }
    for limit in tree::limits(&expression.expr) {
        if !tree::is_call(limit.value, OtherFunction::HistogramQuantile) {
            continue;
        }
        let bucket = tree::selectors(limit.value).into_iter().find_map(|selector| selector.name.clone());
        let bounds = bucket.as_ref().and_then(|bucket| context.metrics?.bounds(bucket));
        let needs = match bounds {
            Some(bounds) if super::quantiles::is_bound(bounds, limit.threshold) => String::new(),
            _ => format!("; the histogram needs a bucket at {}", limit.threshold),
        };
        let summary = "an objective is a share of requests, and a quantile is not: it is interpolated, and it cannot be added up over 30 days";
        let bucket = bucket.as_deref().unwrap_or("x_bucket");
        let fix = format!(
            "compare the share within the bound: `sum(rate({bucket}{{le=\"{}\"}}[5m])) / sum(rate({}_count[5m])) < 0.99`{needs}",
            limit.threshold,
            bucket.trim_end_matches("_bucket")
        );
        report.add(&lints::LATENCY_QUANTILE, expression.place(limit.node), summary, fix);
    }
}
