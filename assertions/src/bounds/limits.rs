//! Bounds on the alert itself that no run could meet.

use super::{Forecast, Plan, at_bound, time};
use scenarios::problem::Problem;
use scenarios::scenario::Fires;
use scenarios::span::Spanned;
use std::time::Duration;

type Bound<'a> = Option<&'a Spanned<Duration>>;

pub(super) fn check(plan: &Plan<'_>, entry: &Fires, forecast: &Forecast, problems: &mut Vec<Problem>) {
    let found = [
        never_fires(plan, entry),
        pending(plan, entry.pending_within.as_ref()),
        fires(plan, entry.fires_within.as_ref()),
        holds(plan, entry.holds_for.as_ref(), forecast),
        after_the_end("fires_not_before", plan, plan.effective, entry.fires_not_before.as_ref()),
        resolves(plan, entry.resolves_within.as_ref()),
    ];
    problems.extend(found.into_iter().flatten());
}

/// The condition cannot hold for as long as the rule wants.
fn never_fires(plan: &Plan<'_>, entry: &Fires) -> Option<Problem> {
    let longest = plan.condition_end().min(plan.end).saturating_sub(plan.effective);
    if longest >= plan.hold() {
        return None;
    }
    let span = entry.cause.as_ref()?.span.clone()?;
    let summary = format!(
        "`{}` cannot fire: its condition can hold for {} at most, the rule wants {}",
        entry.alert.value,
        time(longest),
        time(plan.rule.hold)
    );
    Some(Problem::error(summary, span).hint(format!("let the fault last {} or longer", time(plan.hold()))))
}

fn pending(plan: &Plan<'_>, bound: Bound<'_>) -> Option<Problem> {
    let bound = bound?;
    if plan.rule.hold.is_zero() {
        let summary = format!("`{}` has no `for`: it is never pending", plan.rule.name);
        return at_bound(bound, summary, "write `fires_within` instead".to_owned());
    }
    too_tight("pending_within", bound, Duration::ZERO, plan.tolerance, "")
        .or_else(|| after_the_end("pending_within", plan, plan.effective, Some(bound)))
}

fn fires(plan: &Plan<'_>, bound: Bound<'_>) -> Option<Problem> {
    let bound = bound?;
    let why = format!(" (`for` is {})", time(plan.rule.hold));
    too_tight("fires_within", bound, plan.hold(), plan.tolerance, &why)
        .or_else(|| after_the_end("fires_within", plan, plan.effective, Some(bound)))
}

fn holds(plan: &Plan<'_>, bound: Bound<'_>, forecast: &Forecast) -> Option<Problem> {
    let bound = bound?;
    let last = forecast.resolved.latest.unwrap_or(plan.end).min(plan.end);
    let longest = last.saturating_sub(forecast.firing.earliest);
    if bound.value + plan.tolerance <= longest {
        return None;
    }
    let summary =
        format!("`holds_for: {}` cannot be met: it fires for {} at most", time(bound.value), time(longest));
    at_bound(bound, summary, longer("let the fault last longer, or ask for less", plan.tolerance))
}

fn resolves(plan: &Plan<'_>, bound: Bound<'_>) -> Option<Problem> {
    let bound = bound?;
    too_tight("resolves_within", bound, Duration::ZERO, plan.tolerance_after, "")
        .or_else(|| after_the_end("resolves_within", plan, plan.healed, Some(bound)))
}

/// The bound leaves no room for the soonest moment and the tolerance.
pub(super) fn too_tight(
    key: &str,
    bound: &Spanned<Duration>,
    soonest: Duration,
    tolerance: Duration,
    why: &str,
) -> Option<Problem> {
    if soonest + tolerance <= bound.value {
        return None;
    }
    let summary =
        format!("`{key}: {}` cannot be met: {}{why} at the soonest", time(bound.value), time(soonest));
    at_bound(bound, summary, longer(&format!("{} is the least", time(soonest + tolerance)), tolerance))
}

/// The bound ends after the run, so that a miss could not be told from an early end.
pub(super) fn after_the_end(
    key: &str,
    plan: &Plan<'_>,
    origin: Duration,
    bound: Bound<'_>,
) -> Option<Problem> {
    let bound = bound?;
    let left = plan.end.saturating_sub(origin);
    if bound.value <= left {
        return None;
    }
    let summary =
        format!("`{key}: {}` is longer than what is left of the run, {}", time(bound.value), time(left));
    at_bound(bound, summary, format!("let the last phase last {} longer", time(bound.value - left)))
}

fn longer(hint: &str, tolerance: Duration) -> String {
    match tolerance.is_zero() {
        true => hint.to_owned(),
        false => format!("{hint}, {} of it the tolerance of the stretched clock", time(tolerance)),
    }
}
