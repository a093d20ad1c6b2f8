//! What happened as lanes over one time axis: faults, alerts, and who was told.
//!
//! A lane holds places in percent and plain text; the template escapes the text and draws.

use super::scale::TimeAxis;
use crate::figures;
use crate::record::{AlertInstance, AlertRecord, AlertState, Expected, Notification, RunRecord};
use std::collections::BTreeMap;

/// Rows an alert's instances may take; the rest share the last.
const INSTANCE_ROWS_MAX: usize = 4;

/// Width of a character in a bar, in percent of a lane of 560 pixels, the narrowest beside its label.
const CHARACTER_PERCENT: f64 = 1.1;

/// A span of time in a lane.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bar {
    /// `pending`, `firing`, `fault`.
    pub(super) class: &'static str,
    pub(super) left: f64,
    pub(super) width: f64,
    /// Written into the bar where it fits.
    pub(super) label: String,
    /// Shown when pointed at.
    pub(super) title: String,
}

/// A moment in a lane.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Mark {
    pub(super) left: f64,
    /// Whether it tells of something that fires, or only of what resolved.
    pub(super) firing: bool,
    pub(super) title: String,
}

/// A lane of bars, one row for each thing that may overlap another.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct BarLane {
    pub(super) name: String,
    /// Under the name: severity and what was expected.
    pub(super) note: String,
    /// Whether what it shows goes against what was expected.
    pub(super) unexpected: bool,
    pub(super) rows: Vec<Vec<Bar>>,
    /// Stands in the lane when it has no bar.
    pub(super) empty: &'static str,
}

/// A lane of notifications.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct MarkLane {
    pub(super) receiver: String,
    pub(super) integrations: String,
    pub(super) marks: Vec<Mark>,
}

/// One lane for each kind of fault.
pub(super) fn faults(record: &RunRecord, axis: &TimeAxis) -> Vec<BarLane> {
    let mut lanes: Vec<BarLane> = Vec::new();
    for fault in record.phases.iter().flat_map(|phase| &phase.faults) {
        let bar = fault.effective_wall_seconds.map(|effective| {
            let healed = fault.healed_wall_seconds;
            let end = healed.map_or_else(|| "not proven healed".to_owned(), figures::duration);
            let (long, short) = match healed {
                Some(_) => (format!("{} {}", fault.name, fault.parameters), fault.parameters.as_str()),
                None => (format!("{}, not proven healed", fault.parameters), "not proven healed"),
            };
            let title = format!(
                "{} {}: asked for at {}, in force after {}, healed: {end}; {}",
                fault.name,
                fault.parameters,
                figures::duration(fault.asked_wall_seconds),
                figures::duration(effective - fault.asked_wall_seconds),
                fault.proof
            );
            span(axis, "fault", effective, healed.unwrap_or(axis.end()), [&long, short], title)
        });
        match lanes.iter_mut().find(|lane| lane.name == fault.name) {
            Some(lane) => lane.rows[0].extend(bar),
            None => lanes.push(BarLane {
                name: fault.name.clone(),
                note: "fault in force".to_owned(),
                unexpected: false,
                rows: vec![bar.into_iter().collect()],
                empty: "never took effect",
            }),
        }
    }
    lanes
}

/// One lane for each alert that moved or had to.
pub(super) fn alerts(record: &RunRecord, axis: &TimeAxis) -> Vec<BarLane> {
    let shown = record.alerts.iter().filter(|alert| !alert.instances.is_empty() || must_fire(alert));
    shown.map(|alert| alert_lane(alert, axis)).collect()
}

/// Names of the alerts that have no lane.
pub(super) fn silent(record: &RunRecord) -> Vec<&str> {
    let silent = record.alerts.iter().filter(|alert| alert.instances.is_empty() && !must_fire(alert));
    silent.map(|alert| alert.name.as_str()).collect()
}

fn must_fire(alert: &AlertRecord) -> bool {
    matches!(alert.expected, Expected::Fires | Expected::Background)
}

fn alert_lane(alert: &AlertRecord, axis: &TimeAxis) -> BarLane {
    let fired = alert
        .instances
        .iter()
        .flat_map(|instance| &instance.transitions)
        .any(|step| step.state == AlertState::Firing);
    let expected = match alert.expected {
        Expected::Fires => "must fire",
        Expected::MayFire => "may fire",
        Expected::Silent => "must stay silent",
        Expected::Background => "must fire throughout",
    };
    let severity = alert.severity.iter().map(|severity| format!("{severity} · "));
    let mut rows: Vec<Vec<Bar>> = Vec::new();
    for (index, instance) in alert.instances.iter().enumerate() {
        let bars = instance_bars(alert, instance, axis);
        match rows.last_mut().filter(|_| index >= INSTANCE_ROWS_MAX) {
            Some(last) => last.extend(bars),
            None => rows.push(bars),
        }
    }
    BarLane {
        name: alert.name.clone(),
        note: severity.chain([expected.to_owned()]).collect(),
        unexpected: match alert.expected {
            Expected::Fires | Expected::Background => !fired,
            Expected::Silent => fired,
            Expected::MayFire => false,
        },
        rows,
        empty: "never pending, never firing",
    }
}

fn instance_bars(alert: &AlertRecord, instance: &AlertInstance, axis: &TimeAxis) -> Vec<Bar> {
    let mut bars = Vec::new();
    for (index, step) in instance.transitions.iter().enumerate().filter(|(_, step)| !step.state.is_over()) {
        let (class, word) = match step.state {
            AlertState::Firing => ("firing", "firing"),
            _ => ("pending", "pending"),
        };
        let next = instance.transitions.get(index + 1);
        let (length, ending) = match next {
            Some(next) => (figures::duration(next.rule_seconds - step.rule_seconds), ending(next.state)),
            None => ("to the end".to_owned(), ", still so at the end"),
        };
        let value = step.value.map(|value| format!(", value {}", figures::quantity(value)));
        let title = format!(
            "{}{} {word} from {} for {length} of rule time{}{ending}",
            alert.name,
            label_text(&instance.labels),
            figures::duration(step.rule_seconds),
            value.unwrap_or_default()
        );
        let end = next.map_or(axis.end(), |next| next.wall_seconds);
        bars.push(span(axis, class, step.wall_seconds, end, [&format!("{word} {length}"), &length], title));
    }
    bars
}

fn ending(state: AlertState) -> &'static str {
    match state {
        AlertState::Pending | AlertState::Firing => "",
        AlertState::Dropped => ", then over before it fired",
        AlertState::Resolved => ", then resolved",
        AlertState::ResolvedWithoutData => ", then ended for want of data",
    }
}

/// One lane for each receiver, told or not.
pub(super) fn receivers(record: &RunRecord, axis: &TimeAxis) -> Vec<MarkLane> {
    let mut names: Vec<&str> = record.receivers.iter().map(String::as_str).collect();
    for notification in &record.notifications {
        if !names.contains(&notification.receiver.as_str()) {
            names.push(&notification.receiver);
        }
    }
    names.into_iter().map(|name| receiver_lane(record, name, axis)).collect()
}

fn receiver_lane(record: &RunRecord, name: &str, axis: &TimeAxis) -> MarkLane {
    let mut integrations: Vec<&str> = Vec::new();
    let mut marks = Vec::new();
    for one in record.notifications.iter().filter(|one| one.receiver == name) {
        if !integrations.contains(&one.integration.as_str()) {
            integrations.push(&one.integration);
        }
        marks.push(Mark {
            left: axis.percent(one.wall_seconds),
            firing: !one.firing.is_empty(),
            title: format!(
                "{name} told by {} at {} (rule time): {}",
                one.integration,
                figures::duration(one.rule_seconds),
                told(one)
            ),
        });
    }
    MarkLane { receiver: name.to_owned(), integrations: integrations.join(", "), marks }
}

/// What a notification says: `firing A, B; resolved C`.
pub(super) fn told(notification: &Notification) -> String {
    let list = |word: &str, alerts: &[BTreeMap<String, String>]| {
        let names = alerts
            .iter()
            .map(|labels| labels.get("alertname").map_or_else(|| label_text(labels), String::clone));
        let names: Vec<String> = names.collect();
        if names.is_empty() { String::new() } else { format!("{word} {}", names.join(", ")) }
    };
    let parts = [list("firing", &notification.firing), list("resolved", &notification.resolved)];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ")
}

/// `{node="a", severity="P1"}`; nothing for no labels.
fn label_text(labels: &BTreeMap<String, String>) -> String {
    if labels.is_empty() {
        return String::new();
    }
    let pairs: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{{{}}}", pairs.join(", "))
}

fn span(axis: &TimeAxis, class: &'static str, begin: f64, end: f64, labels: [&str; 2], title: String) -> Bar {
    let left = axis.percent(begin);
    let width = (axis.percent(end) - left).max(0.0);
    let fits = |label: &&str| label.chars().count() as f64 * CHARACTER_PERCENT + 1.5 <= width;
    let label = labels.into_iter().find(fits).unwrap_or_default().to_owned();
    Bar { class, left, width, label, title }
}
