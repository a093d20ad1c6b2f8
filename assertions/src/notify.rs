//! Alertmanager's notification pipeline on rule time: alerts in, notifications out.
//!
//! A pure state machine. Drive it with [`Pipeline::receive`] for every post and [`Pipeline::advance`] at
//! [`Pipeline::next_deadline`], times never going back. Per flush of a group the order is inhibition, active
//! and mute intervals, silences, then for each integration on its own: is it news? A post and a flush at the
//! same millisecond happen in this order: post, flush. Every integration answers at once and accepts.

use crate::alertmanager::{Alertmanager, Route};
use crate::inhibit::{Inhibitor, inhibitor};
use crate::labels::Labels;
use crate::matcher::{Matcher, all_match};
use crate::route::{decide, group_labels};
use crate::time::Millis;
use crate::timeline::Notification;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

mod group;

use group::{Entry, Group, Stored};

/// How often empty groups and long resolved alerts are collected.
const MAINTENANCE: Duration = Duration::from_secs(30);
/// How long a resolved alert can still be merged with a newer post.
const RESOLVED_KEPT: Duration = Duration::from_secs(30 * 60);

/// An alert as Prometheus posts it.
#[derive(Debug, Clone, PartialEq)]
pub struct Posted {
    /// Its identity.
    pub labels: Labels,
    /// When it fired; the moment of the post if absent.
    pub starts_at: Option<Millis>,
    /// When it ends or ended; `resolve_timeout` after the post if absent.
    pub ends_at: Option<Millis>,
}

/// A silence: matching alerts are not told of from `from` until just before `until`.
#[derive(Debug, Clone)]
pub struct Silence {
    /// All must hold.
    pub matchers: Vec<Matcher>,
    /// First moment.
    pub from: Millis,
    /// First moment after it.
    pub until: Millis,
}

/// Why an alert was left out of a flush.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// Another alert inhibits it.
    Inhibited(Inhibitor),
    /// Inside a mute interval of its route: index into [`Alertmanager::intervals`].
    Muted(usize),
    /// Outside of all active intervals of its route.
    Inactive,
    /// Silenced: index in the order added.
    Silenced(usize),
}

/// An alert that was due to be told of and was not. Recorded when it begins and when the reason changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suppression {
    /// The flush.
    pub at: Millis,
    /// The alert.
    pub labels: Labels,
    /// Index of the route.
    pub route: usize,
    /// Why.
    pub reason: Reason,
}

/// A route and the labels of one of its groups.
type GroupKey = (usize, Labels);

/// The pipeline's whole state.
#[derive(Debug)]
pub struct Pipeline {
    config: Arc<Alertmanager>,
    silences: Vec<Silence>,
    alerts: BTreeMap<Labels, Stored>,
    groups: BTreeMap<GroupKey, Group>,
    /// By the route's key, the group's labels, receiver and integration; it outlives the group.
    log: BTreeMap<(String, Labels, usize, usize), Entry>,
    maintenance: Millis,
    outbox: Vec<Notification>,
    suppressions: Vec<Suppression>,
    left_out: BTreeMap<(usize, Labels), Reason>,
}

impl Pipeline {
    /// An Alertmanager started at `start`.
    pub fn new(config: Arc<Alertmanager>, start: Millis) -> Pipeline {
        Pipeline {
            config,
            silences: Vec::new(),
            alerts: BTreeMap::new(),
            groups: BTreeMap::new(),
            log: BTreeMap::new(),
            maintenance: start.after(MAINTENANCE),
            outbox: Vec::new(),
            suppressions: Vec::new(),
            left_out: BTreeMap::new(),
        }
    }

    /// Adds a silence.
    pub fn silence(&mut self, silence: Silence) {
        self.silences.push(silence);
    }

    /// Takes a post. What was due before `at` is done first and handed out by the next [`Pipeline::advance`].
    pub fn receive(&mut self, at: Millis, posted: Posted) {
        self.run(Millis(at.0.saturating_sub(1)));
        let posted_end = posted.ends_at;
        let fresh = Stored {
            starts_at: posted.starts_at.or(posted_end).unwrap_or(at),
            ends_at: posted_end.unwrap_or(at.after(self.config.resolve_timeout)),
            times_out: posted_end.is_none(),
        };
        let merged = match self.alerts.get(&posted.labels) {
            Some(old) if old.overlaps(&fresh) => old.merge(fresh, at),
            _ => fresh,
        };
        self.alerts.insert(posted.labels.clone(), merged);
        for route in decide(&self.config, &posted.labels).takers {
            self.insert(at, route, &posted.labels, merged);
        }
    }

    fn insert(&mut self, at: Millis, index: usize, labels: &Labels, alert: Stored) {
        let route = &self.config.routes[index];
        let key = (index, group_labels(route, labels));
        let group = self.groups.entry(key).or_insert_with(|| Group::new(at.after(route.group_wait)));
        group.members.insert(labels.clone(), alert);
        // An alert older than group_wait has waited elsewhere, for instance through a restart.
        if !group.flushed && alert.starts_at.after(route.group_wait) < at {
            group.due = at;
        }
    }

    /// When something will be flushed next; `None` while every group is empty.
    pub fn next_deadline(&self) -> Option<Millis> {
        self.groups.values().filter(|group| !group.members.is_empty()).map(|group| group.due).min()
    }

    /// Does what is due up to and including `to`; returns the notifications since the last call, in order.
    pub fn advance(&mut self, to: Millis) -> Vec<Notification> {
        self.run(to);
        std::mem::take(&mut self.outbox)
    }

    /// Every decision not to tell, in order.
    pub fn suppressions(&self) -> &[Suppression] {
        &self.suppressions
    }

    fn run(&mut self, to: Millis) {
        // At the end of time moments saturate, and would be due for ever.
        let to = to.min(Millis(i64::MAX - 1));
        loop {
            let next = self.groups.iter().map(|(key, group)| (group.due, key)).min();
            let next = next.map(|(due, key)| (due, key.clone()));
            match next {
                Some((due, key)) if due <= to && due <= self.maintenance => self.flush(&key),
                Some(_) if self.maintenance <= to => self.collect(),
                None if self.maintenance <= to => self.collect_until(to),
                _ => return,
            }
        }
    }

    /// Removes what is empty or long over; a group that is removed loses its tick.
    fn collect(&mut self) {
        let now = self.maintenance;
        self.groups.retain(|_, group| !group.members.is_empty());
        self.alerts.retain(|_, alert| alert.ends_at.after(RESOLVED_KEPT) > now);
        self.log.retain(|_, entry| entry.expires > now);
        self.maintenance = now.after(MAINTENANCE);
    }

    /// All rounds up to `to` at once: without groups nothing else happens in between.
    fn collect_until(&mut self, to: Millis) {
        let round = MAINTENANCE.as_millis() as i64;
        let rounds = to.0.saturating_sub(self.maintenance.0) / round;
        self.maintenance = Millis(self.maintenance.0.saturating_add(rounds * round));
        self.collect();
    }

    fn flush(&mut self, key: &GroupKey) {
        let config = self.config.clone();
        let route = &config.routes[key.0];
        let Some(group) = self.groups.get_mut(key) else { return };
        let now = group.due;
        let (firing, resolved) = group.flush(now, route.group_interval);
        let firing = self.audible(now, key.0, firing);
        let resolved = self.audible(now, key.0, resolved);
        if firing.is_empty() && resolved.is_empty() {
            return;
        }
        for index in 0..config.receivers[route.receiver].integrations.len() {
            self.tell(now, key, index, &firing, &resolved);
        }
    }

    /// Tells one integration, if there is something new for it or its last notification is too old.
    fn tell(
        &mut self,
        now: Millis,
        (route, group): &GroupKey,
        index: usize,
        firing: &BTreeSet<Labels>,
        resolved: &BTreeSet<Labels>,
    ) {
        let route = &self.config.routes[*route];
        let receiver = &self.config.receivers[route.receiver];
        let integration = &receiver.integrations[index];
        let log_key = (route.key.clone(), group.clone(), route.receiver, index);
        let last = self.log.get(&log_key);
        if !group::is_news(last, firing, resolved, integration.send_resolved, now, route.repeat_interval) {
            return;
        }
        let sent_resolved = if integration.send_resolved { resolved.clone() } else { BTreeSet::new() };
        if !firing.is_empty() || !sent_resolved.is_empty() {
            self.outbox.push(Notification {
                at: now,
                receiver: receiver.name.clone(),
                integration: integration.kind.clone(),
                group: group.clone(),
                firing: firing.iter().cloned().collect(),
                resolved: sent_resolved.into_iter().collect(),
            });
        }
        let entry = Entry {
            at: now,
            firing: firing.clone(),
            resolved: resolved.clone(),
            expires: now.after(route.repeat_interval.saturating_mul(2)),
        };
        self.log.insert(log_key, entry);
    }

    /// The alerts of a flush that may be told of; the others are recorded with their reason.
    fn audible(&mut self, now: Millis, route: usize, alerts: Vec<Labels>) -> BTreeSet<Labels> {
        let mut audible = BTreeSet::new();
        for labels in alerts {
            let reason = self.reason(now, route, &labels);
            let seen = (route, labels.clone());
            match reason {
                None => {
                    self.left_out.remove(&seen);
                    audible.insert(labels);
                }
                Some(reason) => {
                    if self.left_out.get(&seen) != Some(&reason) {
                        self.left_out.insert(seen, reason.clone());
                        self.suppressions.push(Suppression { at: now, labels, route, reason });
                    }
                }
            }
        }
        audible
    }

    fn reason(&self, now: Millis, route: usize, labels: &Labels) -> Option<Reason> {
        let firing = self.alerts.iter().filter(|(_, alert)| alert.ends_at > now).map(|(labels, _)| labels);
        let silenced = |silence: &Silence| {
            silence.from <= now && now < silence.until && all_match(&silence.matchers, labels)
        };
        inhibitor(&self.config.inhibit_rules, labels, firing)
            .map(Reason::Inhibited)
            .or_else(|| self.closed(now, &self.config.routes[route]))
            .or_else(|| self.silences.iter().position(silenced).map(Reason::Silenced))
    }

    /// Why the route tells nobody at this hour.
    fn closed(&self, now: Millis, route: &Route) -> Option<Reason> {
        let contains = |index: &usize| self.config.intervals[*index].contains(now);
        if !route.active_intervals.is_empty() && !route.active_intervals.iter().any(contains) {
            return Some(Reason::Inactive);
        }
        route.mute_intervals.iter().copied().find(|index| contains(index)).map(Reason::Muted)
    }
}

#[cfg(test)]
mod tests;
