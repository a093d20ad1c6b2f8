//! One aggregation group, the alerts in it, and the question whether a flush is news to an integration.

use crate::labels::Labels;
use crate::time::Millis;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What is known of an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) starts_at: Millis,
    pub(super) ends_at: Millis,
    /// The end is `resolve_timeout`, not the sender's word.
    pub(super) times_out: bool,
}

impl Stored {
    /// Whether a newer post speaks of the same stretch of firing.
    pub(super) fn overlaps(&self, newer: &Stored) -> bool {
        let inside = |moment: Millis| self.starts_at < moment && moment < self.ends_at;
        inside(newer.ends_at) || inside(newer.starts_at)
    }

    /// The newer post, with the earliest start; an end that the sender named is not shortened by one still to come.
    pub(super) fn merge(&self, newer: Stored, now: Millis) -> Stored {
        let resolved = |alert: &Stored| alert.ends_at <= now;
        let keeps_end = match resolved(&newer) {
            true => resolved(self) && self.ends_at > newer.ends_at,
            false => !self.times_out && self.ends_at > newer.ends_at,
        };
        Stored {
            starts_at: self.starts_at.min(newer.starts_at),
            ends_at: if keeps_end { self.ends_at } else { newer.ends_at },
            times_out: newer.times_out,
        }
    }
}

/// Alerts that are told of together.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) members: BTreeMap<Labels, Stored>,
    /// The next flush.
    pub(super) due: Millis,
    /// Whether there has been one, with or without a notification.
    pub(super) flushed: bool,
}

impl Group {
    pub(super) fn new(due: Millis) -> Group {
        Group { members: BTreeMap::new(), due, flushed: false }
    }

    /// Splits the members into firing and resolved; the resolved leave, the next flush is set.
    pub(super) fn flush(&mut self, now: Millis, interval: Duration) -> (Vec<Labels>, Vec<Labels>) {
        self.due = now.after(interval);
        self.flushed = true;
        let (resolved, firing): (Vec<_>, Vec<_>) = self
            .members
            .iter()
            .map(|(labels, alert)| (labels.clone(), alert.ends_at))
            .partition(|(_, end)| *end <= now);
        self.members.retain(|_, alert| alert.ends_at > now);
        let names = |alerts: Vec<(Labels, Millis)>| alerts.into_iter().map(|(labels, _)| labels).collect();
        (names(firing), names(resolved))
    }
}

/// What an integration was told last.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) at: Millis,
    pub(super) firing: BTreeSet<Labels>,
    pub(super) resolved: BTreeSet<Labels>,
    pub(super) expires: Millis,
}

/// Whether an integration hears of this flush.
///
/// The end of all alerts is news even with `send_resolved` off: nothing is sent, but the log must forget them.
pub(super) fn is_news(
    last: Option<&Entry>,
    firing: &BTreeSet<Labels>,
    resolved: &BTreeSet<Labels>,
    send_resolved: bool,
    now: Millis,
    repeat_interval: Duration,
) -> bool {
    let Some(last) = last else { return !firing.is_empty() };
    if !firing.is_subset(&last.firing) {
        return true;
    }
    if firing.is_empty() {
        return !last.firing.is_empty();
    }
    if send_resolved && !resolved.is_subset(&last.resolved) {
        return true;
    }
    last.at < now.before(repeat_interval)
}
