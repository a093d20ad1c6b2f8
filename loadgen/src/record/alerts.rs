//! What the rules did, and who was told.

use crate::conduct::Facts;
use crate::prepare::Prepared;
use assertions::labels::Labels;
use assertions::time::Millis;
use assertions::timeline::{ResolveReason, Transition};
use reports::record::{self, AlertInstance, AlertRecord, AlertState, Expected};
use scenarios::scenario::Notifies;
use std::collections::BTreeMap;

/// Seconds of rule time since the first phase, and of wall time since the first connect.
fn moments(facts: &Facts, at: Millis) -> (f64, f64) {
    let first = facts.phases.first().map_or(facts.start, |log| log.begin);
    let rule = at.0.saturating_sub(facts.clock.rule_time(first).0) as f64 / 1000.0;
    let wall = facts.clock.wall_time(at).map_or(0.0, |wall| wall.since(facts.start).as_secs_f64());
    (rule, wall)
}

fn map(labels: &Labels) -> BTreeMap<String, String> {
    labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

pub(super) fn alerts(prepared: &Prepared, facts: &Facts) -> Vec<AlertRecord> {
    let mut records = Vec::new();
    for (rule, alert) in prepared.alerts() {
        let mut instances: Vec<(&Labels, AlertInstance)> = Vec::new();
        for event in facts.watch.events.iter().filter(|event| event.rule == rule.index) {
            let state = match event.transition {
                Transition::Pending => AlertState::Pending,
                Transition::Firing => AlertState::Firing,
                Transition::Dropped => AlertState::Dropped,
                Transition::Resolved(ResolveReason::Condition) => AlertState::Resolved,
                Transition::Resolved(ResolveReason::NoData) => AlertState::ResolvedWithoutData,
            };
            let (rule_seconds, wall_seconds) = moments(facts, event.at);
            let value = event.value.is_finite().then_some(event.value);
            let transition = record::Transition { state, rule_seconds, wall_seconds, value };
            match instances.iter_mut().find(|(labels, _)| *labels == &event.labels) {
                Some((_, instance)) => instance.transitions.push(transition),
                None => {
                    let labels = map(&event.labels.filter(|name| name != "alertname"));
                    instances.push((&event.labels, AlertInstance { labels, transitions: vec![transition] }));
                }
            }
        }
        records.push(AlertRecord {
            name: alert.name.value.clone(),
            severity: rule.labels.get("severity").and_then(|severity| severity.constant()).map(str::to_owned),
            place: alert.name.span.as_ref().map(ToString::to_string).unwrap_or_default(),
            for_seconds: alert.hold.as_secs_f64(),
            expected: expected(prepared, &alert.name.value),
            instances: instances.into_iter().map(|(_, instance)| instance).collect(),
        });
    }
    records
}

fn expected(prepared: &Prepared, name: &str) -> Expected {
    let scenario = prepared.scenario();
    if scenario.expect.fires.iter().any(|entry| entry.alert.value == name) {
        Expected::Fires
    } else if scenario.expect.may_fire.iter().any(|entry| entry.alert.value == name) {
        Expected::MayFire
    } else if scenario.alerts.background.iter().any(|alert| alert.value == name) {
        Expected::Background
    } else {
        Expected::Silent
    }
}

/// Receivers that were told, or should have been, in the order of the routes' file.
pub(super) fn receivers(prepared: &Prepared, facts: &Facts) -> Vec<String> {
    let Some(routes) = &prepared.routes else { return Vec::new() };
    let wanted = |name: &str| {
        prepared.scenario().expect.fires.iter().any(|entry| match &entry.notifies {
            Some(Notifies::Exactly(receivers)) => {
                receivers.iter().any(|receiver| receiver.value.receiver == name)
            }
            _ => false,
        })
    };
    let told = |name: &str| facts.watch.notifications.iter().any(|told| &*told.receiver == name);
    let names = routes.receivers.iter().map(|receiver| receiver.name.to_string());
    names.filter(|name| wanted(name) || told(name)).collect()
}

pub(super) fn notifications(facts: &Facts) -> Vec<record::Notification> {
    let told = |told: &assertions::timeline::Notification| {
        let (rule_seconds, wall_seconds) = moments(facts, told.at);
        record::Notification {
            rule_seconds,
            wall_seconds,
            receiver: told.receiver.to_string(),
            integration: told.integration.to_string(),
            firing: told.firing.iter().map(map).collect(),
            resolved: told.resolved.iter().map(map).collect(),
        }
    };
    facts.watch.notifications.iter().map(told).collect()
}
