//! What happened, in order: the alert state machine and the router write it, the verdict reads it.

use crate::labels::Labels;
use crate::time::Millis;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Why a firing alert ended.
#[derive(Debug, Clone, PartialEq)]
pub enum ResolveReason {
    /// The expression was evaluated over present data and gave no element: the condition is over.
    Condition,
    /// The series behind the alert vanished or became NaN: nothing is known, which is not recovery.
    NoData,
}

/// A step of one alert's life.
#[derive(Debug, Clone, PartialEq)]
pub enum Transition {
    /// The condition began to hold.
    Pending,
    /// It has held for as long as the rule's `for`.
    Firing,
    /// A pending alert whose condition ended before it fired.
    Dropped,
    /// A firing alert ended.
    Resolved(ResolveReason),
}

/// One transition of one alert.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertEvent {
    /// The evaluation at which it happened.
    pub at: Millis,
    /// Index of the rule, in the order in which the rule files list them.
    pub rule: usize,
    /// The alert's identity: `alertname`, the rule's labels and the element's.
    pub labels: Labels,
    /// Annotations as rendered at this evaluation.
    pub annotations: Arc<BTreeMap<String, String>>,
    /// The expression's value; for `Resolved` and `Dropped` the last one seen.
    pub value: f64,
    /// What happened.
    pub transition: Transition,
}

/// A notification that reached one integration of one receiver.
#[derive(Debug, Clone, PartialEq)]
pub struct Notification {
    /// When it was sent.
    pub at: Millis,
    /// The receiver's name in alertmanager.yml.
    pub receiver: Arc<str>,
    /// The integration: `slack`, `pagerduty`, `webhook`, `email` ….
    pub integration: Arc<str>,
    /// Labels of the aggregation group.
    pub group: Labels,
    /// Alerts that fire in it.
    pub firing: Vec<Labels>,
    /// Alerts that it reports as resolved; empty where `send_resolved` is off.
    pub resolved: Vec<Labels>,
}
