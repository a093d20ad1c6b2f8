//! When the routes tell of an alert and of its end, and the bounds on that which no run could meet.
//!
//! The routes see the labels that the rule and the scenario write; labels of the element may send it elsewhere.

use super::limits::{after_the_end, too_tight};
use super::{Notice, Plan, Window, at_bound, time};
use crate::alertmanager::{Alertmanager, GroupBy, Route};
use crate::route::decide;
use scenarios::problem::Problem;
use scenarios::scenario::{Fires, Notifies};
use std::time::Duration;

/// The routes that take the alert.
fn takers<'r>(plan: &Plan<'_>, entry: &Fires, routes: Option<&'r Alertmanager>) -> Vec<&'r Route> {
    let Some(routes) = routes else { return Vec::new() };
    let written = entry.labels.iter();
    let labels = written
        .fold(plan.rule.labels.clone(), |labels, (name, value)| labels.with(&name.value, &value.value));
    decide(routes, &labels).takers.into_iter().map(|taker| &routes.routes[taker]).collect()
}

/// Whether nothing but this alert can be in its group, so that its firing starts the group's clock.
fn is_alone(route: &Route) -> bool {
    match &route.group_by {
        GroupBy::All => true,
        GroupBy::Labels(names) => names.iter().any(|name| name == "alertname"),
    }
}

/// From firing to the first notice: exactly `group_wait`, unless the group may exist already.
fn wait(route: &Route) -> (Duration, Duration) {
    match is_alone(route) {
        true => (route.group_wait, route.group_wait),
        false => (Duration::ZERO, route.group_wait.max(route.group_interval)),
    }
}

/// Notices of the beginning and of the end, by integration.
pub(super) fn forecast(
    plan: &Plan<'_>,
    entry: &Fires,
    routes: Option<&Alertmanager>,
    firing: Window,
    resolved: Window,
) -> (Vec<Notice>, Vec<Notice>) {
    let (mut begins, mut ends) = (Vec::new(), Vec::new());
    let later = |window: Window, soonest: Duration, latest: Duration| Window {
        earliest: window.earliest + soonest,
        latest: window.latest.map(|moment| moment + latest),
    };
    for route in takers(plan, entry, routes) {
        let Some(receiver) = routes.map(|routes| &routes.receivers[route.receiver]) else { continue };
        let (soonest, latest) = wait(route);
        for integration in &receiver.integrations {
            let who = format!("{}/{}", receiver.name, integration.kind);
            begins.push(Notice { who: who.clone(), window: later(firing, soonest, latest) });
            if integration.send_resolved {
                let window = later(resolved, Duration::ZERO, route.group_interval);
                ends.push(Notice { who, window });
            }
        }
    }
    (begins, ends)
}

/// Bounds on notices that no run could meet.
pub(super) fn check(
    plan: &Plan<'_>,
    entry: &Fires,
    routes: Option<&Alertmanager>,
    problems: &mut Vec<Problem>,
) {
    let takers = takers(plan, entry, routes);
    let wanted = |route: &&&Route| match (&entry.notifies, routes) {
        (Some(Notifies::Exactly(wanted)), Some(routes)) => {
            wanted.iter().any(|wanted| *wanted.value.receiver == *routes.receivers[route.receiver].name)
        }
        _ => true,
    };
    let slowest = takers.iter().filter(wanted).map(|route| wait(route).0).max();
    if let (Some(bound), Some(slowest)) = (&entry.notified_within, slowest) {
        let why = format!(" (`group_wait` is {})", time(slowest));
        problems.extend(too_tight("notified_within", bound, slowest, plan.tolerance, &why).or_else(|| {
            let origin =
                plan.effective + entry.fires_within.as_ref().map_or(plan.hold(), |bound| bound.value);
            after_the_end("notified_within", plan, origin, Some(bound))
        }));
    }
    let Some(bound) = &entry.resolved_notice_within else { return };
    let interval = takers.iter().filter(wanted).map(|route| route.group_interval).max().unwrap_or_default();
    let left = plan.end.saturating_sub(plan.healed);
    let found = too_tight("resolved_notice_within", bound, Duration::ZERO, plan.tolerance_after, "")
        .or_else(|| {
            let origin =
                plan.healed + entry.resolves_within.as_ref().map_or(Duration::ZERO, |bound| bound.value);
            after_the_end("resolved_notice_within", plan, origin, Some(bound))
        })
        .or_else(|| {
            let summary = format!(
                "a notice of the end may wait {} (`group_interval`), and {} are left after the heal",
                time(interval),
                time(left)
            );
            let hint = format!("let the last phase last {} longer", time(interval.saturating_sub(left)));
            if left < interval { at_bound(bound, summary, hint) } else { None }
        });
    problems.extend(found);
}
