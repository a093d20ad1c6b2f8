//! What the rules did and who was told.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One alerting rule and what its instances did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AlertRecord {
    /// `alertname`.
    pub name: String,
    /// The rule's `severity` label, if it has one.
    pub severity: Option<String>,
    /// Where the rule stands: `rules.yml:41`.
    pub place: String,
    /// The rule's `for`.
    pub for_seconds: f64,
    /// What the scenario expects of it.
    pub expected: Expected,
    /// Label sets that went at least pending, in order of their first transition; empty if it stayed silent.
    pub instances: Vec<AlertInstance>,
}

/// In which of the scenario's sets an alert is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Expected {
    /// Must fire, for its cause.
    Fires,
    /// May fire where the scenario allows it.
    MayFire,
    /// Must stay silent: listed as such, or not listed at all.
    Silent,
    /// Must fire throughout.
    Background,
}

/// One label set of an alert.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AlertInstance {
    /// All labels but `alertname`.
    pub labels: BTreeMap<String, String>,
    /// In order of time.
    pub transitions: Vec<Transition>,
}

/// A step in an alert's life.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Transition {
    /// The state entered.
    pub state: AlertState,
    /// The evaluation at which it was, in rule time.
    pub rule_seconds: f64,
    /// The same moment on the wall.
    pub wall_seconds: f64,
    /// The expression's value then, or the last one seen; `None` if it is not a finite number.
    pub value: Option<f64>,
}

/// The state an alert entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AlertState {
    /// The condition holds, not yet for long enough.
    Pending,
    /// It has held for the rule's `for`.
    Firing,
    /// Pending ended without firing.
    Dropped,
    /// Firing ended because the condition did.
    Resolved,
    /// Firing ended because the data did: nothing is known, which is no recovery.
    ResolvedWithoutData,
}

impl AlertState {
    /// Whether the alert is neither pending nor firing in this state.
    pub fn is_over(self) -> bool {
        !matches!(self, AlertState::Pending | AlertState::Firing)
    }
}

/// A notification that reached one integration of one receiver.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Notification {
    /// When, in rule time.
    pub rule_seconds: f64,
    /// When, on the wall.
    pub wall_seconds: f64,
    /// The receiver's name in alertmanager.yml.
    pub receiver: String,
    /// `slack`, `pagerduty`, `webhook`, `email`.
    pub integration: String,
    /// Labels of the alerts it reports as firing, `alertname` included.
    pub firing: Vec<BTreeMap<String, String>>,
    /// Labels of the alerts it reports as resolved.
    pub resolved: Vec<BTreeMap<String, String>>,
}
