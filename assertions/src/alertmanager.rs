//! The operators' alertmanager.yml, unmodified, as data: routes, receivers, inhibitions, intervals.
//!
//! Reading reports every problem at once, each at its place. What decides nothing about *who is told when*
//! (URLs, tokens, templates) is accepted and not kept. Defaults and inheritance follow Alertmanager's own
//! documentation of its configuration; they are resolved here, so that a [`Route`] is complete in itself.

use crate::interval::TimeInterval;
use crate::matcher::Matcher;
use scenarios::problem::Problem;
use scenarios::span::{Source, Span};
use scenarios::yaml;
use std::sync::Arc;
use std::time::Duration;

mod keys;
mod reader;
mod routes;

/// A whole alertmanager.yml.
#[derive(Debug, Clone)]
pub struct Alertmanager {
    /// How long an alert that is posted without an end counts as firing; 5 minutes by default.
    pub resolve_timeout: Duration,
    /// All routes, parents before children, siblings in the order written; the first is the root.
    pub routes: Vec<Route>,
    /// In the order written.
    pub receivers: Vec<Receiver>,
    /// In the order written.
    pub inhibit_rules: Vec<InhibitRule>,
    /// `time_intervals` and the older `mute_time_intervals`, in the order written.
    pub intervals: Vec<TimeInterval>,
}

/// One node of the routing tree, with what it inherits filled in.
#[derive(Debug, Clone)]
pub struct Route {
    /// Where it is written: its conditions if it has any, else its first line.
    pub span: Span,
    /// All must hold. Empty for the root.
    pub matchers: Vec<Matcher>,
    /// Index into [`Alertmanager::receivers`].
    pub receiver: usize,
    /// Whether later siblings are asked after this one matched.
    pub goes_on: bool,
    /// What makes a group.
    pub group_by: GroupBy,
    /// From a group's first alert to its first notification.
    pub group_wait: Duration,
    /// Between two looks at a group.
    pub group_interval: Duration,
    /// How old a notification must be before it is repeated unchanged.
    pub repeat_interval: Duration,
    /// Nobody is told inside of these: indices into [`Alertmanager::intervals`]. Not inherited.
    pub mute_intervals: Vec<usize>,
    /// If there are any, nobody is told outside of them. Not inherited.
    pub active_intervals: Vec<usize>,
    /// Index of the parent; `None` for the root.
    pub parent: Option<usize>,
    /// Indices of the children, in the order written.
    pub children: Vec<usize>,
    /// The matchers from the root down to here, as Alertmanager names the groups of its notification log.
    pub key: String,
}

/// By which labels a route gathers alerts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupBy {
    /// `['...']`: every alert alone.
    All,
    /// These labels; none means one group for the whole route.
    Labels(Vec<String>),
}

/// A named set of integrations.
#[derive(Debug, Clone)]
pub struct Receiver {
    /// Its name.
    pub name: Arc<str>,
    /// Where the name stands.
    pub span: Span,
    /// In the order written.
    pub integrations: Vec<Integration>,
}

/// One way of telling.
#[derive(Debug, Clone)]
pub struct Integration {
    /// `slack`, `pagerduty`, `webhook`, `email` …: the key without `_configs`.
    pub kind: Arc<str>,
    /// Whether it tells of the end of alerts: as written, else the kind's default (off for slack, email, wechat and rocketchat).
    pub send_resolved: bool,
    /// Where it stands.
    pub span: Span,
}

/// While a source fires, targets with the same `equal` labels are not told of.
#[derive(Debug, Clone)]
pub struct InhibitRule {
    /// Where it stands.
    pub span: Span,
    /// What the inhibiting alert must fulfil.
    pub source: Vec<Matcher>,
    /// What the inhibited alert must fulfil.
    pub target: Vec<Matcher>,
    /// Labels that must be the same on both; absent on both counts as the same.
    pub equal: Vec<String>,
}

impl Alertmanager {
    /// Reads a configuration.
    ///
    /// Errors: all problems found, at least one of them an error. A file with warnings only is read; they are
    /// the second value.
    pub fn parse(source: Arc<Source>) -> Result<(Alertmanager, Vec<Problem>), Vec<Problem>> {
        let root = yaml::parse(source)?;
        reader::read(&root)
    }

    /// The index of the receiver of that name.
    pub fn receiver(&self, name: &str) -> Option<usize> {
        self.receivers.iter().position(|receiver| &*receiver.name == name)
    }
}

#[cfg(test)]
mod tests;
