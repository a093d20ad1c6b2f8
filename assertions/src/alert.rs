//! One alerting rule's alerts: inactive, pending, firing, resolved.
//!
//! Pure bookkeeping of one evaluation after another, as Prometheus' rule manager does it; it evaluates nothing.
//! Source of the rules: behaviour of Prometheus 2.42 to 3.x (pending, `for`, `keep_firing_for`, 15 minutes of memory of
//! resolved alerts, resending), checked against promtool.

use crate::labels::Labels;
use crate::time::Millis;
use crate::timeline::{AlertEvent, ResolveReason, Transition};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// How long a resolved alert is remembered, and reported as resolved.
pub const RESOLVED_RETENTION: Duration = Duration::from_secs(15 * 60);

/// Texts of an alert, by name.
pub type Annotations = Arc<BTreeMap<String, String>>;

/// Where an alert stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The condition holds, not yet for long enough.
    Pending,
    /// It has held for long enough.
    Firing,
    /// It ended; remembered to be reported.
    Resolved,
}

/// One alert.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    /// Its identity: `alertname`, the rule's labels and the element's.
    pub labels: Labels,
    /// The labels of the expression's element, without the metric's name.
    pub element: Labels,
    /// Annotations as last rendered.
    pub annotations: Annotations,
    /// The expression's value when last seen.
    pub value: f64,
    /// Where it stands.
    pub state: State,
    /// Since when the condition holds.
    pub active_at: Millis,
    /// When it fired.
    pub fired_at: Option<Millis>,
    /// When it resolved.
    pub resolved_at: Option<Millis>,
    /// When it was last sent to Alertmanager.
    last_sent_at: Option<Millis>,
    /// Since when it fires only because of `keep_firing_for`.
    kept_since: Option<Millis>,
}

/// What an evaluation found for one alert.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The alert's identity.
    pub labels: Labels,
    /// The labels of the expression's element, without the metric's name.
    pub element: Labels,
    /// Annotations as rendered now.
    pub annotations: Annotations,
    /// The expression's value.
    pub value: f64,
}

/// What Prometheus would send to Alertmanager.
#[derive(Debug, Clone, PartialEq)]
pub struct SentAlert {
    /// Index of the rule.
    pub rule: usize,
    /// The alert's labels, external labels included.
    pub labels: Labels,
    /// The alert's annotations.
    pub annotations: Annotations,
    /// When it fired.
    pub starts_at: Millis,
    /// When it resolved; of a firing one, when Alertmanager may take it for resolved if it hears nothing more.
    pub ends_at: Millis,
    /// Whether it is over.
    pub resolved: bool,
}

/// What the state machine needs of a rule.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// Index of the rule.
    pub rule: usize,
    /// How long the expression must hold before the alert fires.
    pub hold: Duration,
    /// How long it goes on firing afterwards.
    pub keep_firing: Duration,
    /// Most alerts of the rule; 0 is no limit.
    pub limit: usize,
    /// Whether a firing alert that is younger than `hold`, because a reload has raised it, is pending again: so in
    /// Prometheus 3; before that it goes on firing.
    pub falls_back: bool,
}

/// More alerts than the group's `limit`; the rule's alerts are dropped, as Prometheus does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{found} alerts are more than the limit of {limit}")]
pub struct OverLimit {
    /// Alerts found.
    pub found: usize,
    /// The limit.
    pub limit: usize,
}

/// The alerts of one rule.
#[derive(Debug, Clone, Default)]
pub struct AlertStates {
    alerts: BTreeMap<Labels, Alert>,
}

impl AlertStates {
    /// One evaluation at `at` that found `seen`, no two with the same labels. `why_gone` says why an alert that fired is
    /// no longer found. Errors: more alerts than the limit; then there are none.
    pub fn step(
        &mut self,
        timing: Timing,
        at: Millis,
        seen: Vec<Seen>,
        mut why_gone: impl FnMut(&Alert) -> ResolveReason,
    ) -> Result<Vec<AlertEvent>, OverLimit> {
        let mut events = Vec::new();
        let mut missing: BTreeSet<Labels> = self.alerts.keys().cloned().collect();
        for seen in seen {
            missing.remove(&seen.labels);
            self.found(seen, at, timing, &mut events);
        }
        for labels in &missing {
            self.not_found(labels, at, timing, &mut why_gone, &mut events);
        }
        let found = self.active().count();
        if timing.limit > 0 && found > timing.limit {
            self.alerts.clear();
            return Err(OverLimit { found, limit: timing.limit });
        }
        Ok(events)
    }

    fn found(&mut self, seen: Seen, at: Millis, timing: Timing, events: &mut Vec<AlertEvent>) {
        let alert = match self.alerts.get_mut(&seen.labels) {
            Some(alert) if alert.state != State::Resolved => {
                alert.value = seen.value;
                alert.annotations = seen.annotations;
                alert.kept_since = None;
                alert
            }
            _ => {
                let alert = Alert::pending(seen, at);
                if !timing.hold.is_zero() {
                    events.push(alert.event(timing.rule, at, Transition::Pending));
                }
                self.alerts.entry(alert.labels.clone()).insert_entry(alert).into_mut()
            }
        };
        let is_ripe = at.since(alert.active_at) >= timing.hold;
        if alert.state == State::Pending && is_ripe {
            alert.state = State::Firing;
            alert.fired_at = Some(at);
            events.push(alert.event(timing.rule, at, Transition::Firing));
        } else if alert.state == State::Firing && !is_ripe && timing.falls_back {
            alert.state = State::Pending;
            (alert.fired_at, alert.last_sent_at) = (None, None);
            events.push(alert.event(timing.rule, at, Transition::Pending));
        }
    }

    fn not_found(
        &mut self,
        labels: &Labels,
        at: Millis,
        timing: Timing,
        why_gone: &mut impl FnMut(&Alert) -> ResolveReason,
        events: &mut Vec<AlertEvent>,
    ) {
        let Some(alert) = self.alerts.get_mut(labels) else { return };
        match alert.state {
            State::Pending => {
                events.push(alert.event(timing.rule, at, Transition::Dropped));
                self.alerts.remove(labels);
            }
            State::Firing => {
                let kept_since = *alert.kept_since.get_or_insert(at);
                if at.since(kept_since) < timing.keep_firing {
                    return;
                }
                alert.state = State::Resolved;
                alert.resolved_at = Some(at);
                let reason = why_gone(alert);
                events.push(alert.event(timing.rule, at, Transition::Resolved(reason)));
            }
            State::Resolved => {
                let forgotten = alert.resolved_at.is_some_and(|end| at.since(end) > RESOLVED_RETENTION);
                if forgotten {
                    self.alerts.remove(labels);
                }
            }
        }
    }

    /// Pending and firing alerts.
    pub fn active(&self) -> impl Iterator<Item = &Alert> {
        self.alerts.values().filter(|alert| alert.state != State::Resolved)
    }

    /// Lets `since` say since when each active alert's condition holds; `None`: as it is known.
    pub fn restore(&mut self, since: impl Fn(&Alert) -> Option<Millis>) {
        for alert in self.alerts.values_mut().filter(|alert| alert.state != State::Resolved) {
            alert.active_at = since(alert).unwrap_or(alert.active_at);
        }
    }

    /// What is to be sent at `at`, marked as sent: what fires and what resolved, when new or not sent for longer than
    /// `resend_delay`. `interval` is the group's.
    pub fn sends(
        &mut self,
        rule: usize,
        at: Millis,
        interval: Duration,
        resend_delay: Duration,
        external_labels: &Labels,
    ) -> Vec<SentAlert> {
        let mut sends = Vec::new();
        for alert in self.alerts.values_mut().filter(|alert| alert.needs_sending(at, resend_delay)) {
            alert.last_sent_at = Some(at);
            // Four intervals: two lost evaluations or sends must not look like a resolve.
            let valid_until = at.after(4 * interval.max(resend_delay));
            sends.push(SentAlert {
                rule,
                labels: with_missing(&alert.labels, external_labels),
                annotations: alert.annotations.clone(),
                starts_at: alert.fired_at.unwrap_or(alert.active_at),
                ends_at: alert.resolved_at.unwrap_or(valid_until),
                resolved: alert.resolved_at.is_some(),
            });
        }
        sends
    }
}

/// External labels are added where an alert has none of that name.
fn with_missing(labels: &Labels, external: &Labels) -> Labels {
    if external.is_empty() {
        return labels.clone();
    }
    Labels::from_pairs(external.iter().chain(labels.iter()))
}

impl Alert {
    fn pending(seen: Seen, at: Millis) -> Alert {
        Alert {
            labels: seen.labels,
            element: seen.element,
            annotations: seen.annotations,
            value: seen.value,
            state: State::Pending,
            active_at: at,
            fired_at: None,
            resolved_at: None,
            last_sent_at: None,
            kept_since: None,
        }
    }

    fn event(&self, rule: usize, at: Millis, transition: Transition) -> AlertEvent {
        AlertEvent {
            at,
            rule,
            labels: self.labels.clone(),
            annotations: self.annotations.clone(),
            value: self.value,
            transition,
        }
    }

    fn needs_sending(&self, at: Millis, resend_delay: Duration) -> bool {
        if self.state == State::Pending {
            return false;
        }
        match (self.last_sent_at, self.resolved_at) {
            (None, _) => true,
            (Some(sent), Some(resolved)) if resolved > sent => true,
            // Strictly later: on an exact grid a delay of 1m is kept by sending every 1m15s.
            (Some(sent), _) => sent.after(resend_delay) < at,
        }
    }
}

#[cfg(test)]
mod tests;
