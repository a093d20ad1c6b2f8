//! A server's life as its alerts see it: it ends and begins anew, or reads other rules.
//!
//! Source of the behaviour: Prometheus' rule manager, 2.42 to 3.x. What a restart leaves is what the rules wrote: since when an
//! alert has been active is read back from `ALERTS_FOR_STATE`. `keep_firing_for` and what was sent are not written anywhere.

use super::{Engine, GroupRun, RuleState, since_series};
use crate::alert::Alert;
use crate::labels::Labels;
use crate::rule::{Rule, RuleKind, RuleSet};
use crate::series::{is_stale, stale_marker};
use crate::store::Store;
use crate::time::Millis;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// Evaluations that a group of a fresh server makes before it restores: the first scrapes may not be in yet, nor what earlier
/// rules record.
const EVALUATIONS_UNTIL_RESTORED: u8 = 2;

/// Intervals after which the series of a removed group end, so that a renamed group can go on writing them.
const INTERVALS_UNTIL_DEPARTED: u32 = 2;

/// What is remembered of a group.
#[derive(Debug, Clone, Default)]
pub(super) struct GroupState {
    /// Evaluations until its alerts are restored; 0: they are.
    restores_in: u8,
    /// Series of rules that it no longer has; they end with its next evaluation.
    orphans: BTreeSet<Labels>,
}

/// The series of a group that was removed.
#[derive(Debug, Clone)]
pub(super) struct Departed {
    /// When it was.
    at: Millis,
    /// When the series end, as of `at`, unless somebody has written them since.
    due: Millis,
    series: BTreeSet<Labels>,
}

impl GroupState {
    pub(super) fn is_restored(&self) -> bool {
        self.restores_in == 0
    }
}

impl Engine {
    /// The server ends, and another one begins with the same rules and the same store.
    ///
    /// All that it knew of its alerts is gone. The first two evaluations of a group write no `ALERTS`; then an alert with a long
    /// `for` ([`super::EngineSettings::for_grace_period`]) that is active again gets back since when it was, without the outage.
    /// One with a shorter `for` has to hold for all of it again. Series that end meanwhile get no stale marker.
    pub fn restart(&mut self) {
        for rule in self.rules.groups.iter().flat_map(|group| &group.rules) {
            self.states[rule.index] = RuleState::of(rule);
        }
        for group in &mut self.groups {
            *group = GroupState { restores_in: EVALUATIONS_UNTIL_RESTORED, ..GroupState::default() };
        }
        self.departed.clear();
    }

    /// The server takes other rules at `at`, as when it is told to reload.
    ///
    /// A group goes on in the one of its name, the n-th of a name in the n-th; in it a rule in the one of its name and labels. Rules
    /// that are new begin without alerts; those that are gone take theirs along, and their series end.
    pub fn reload(&mut self, rules: RuleSet, at: Millis) {
        let mut old = std::mem::replace(self, Engine::new(rules, self.settings.clone()));
        self.departed = std::mem::take(&mut old.departed);
        let mut by_name: BTreeMap<&str, VecDeque<usize>> = BTreeMap::new();
        for (index, group) in old.rules.groups.iter().enumerate() {
            by_name.entry(&group.name.value).or_default().push_back(index);
        }
        for (index, group) in self.rules.groups.iter().enumerate() {
            let before = by_name.get_mut(group.name.value.as_str()).and_then(VecDeque::pop_front);
            let Some(before) = before else { continue };
            let mut state = old.groups[before].clone();
            let taken =
                take_over(&old.rules.groups[before].rules, &mut old.states, &group.rules, &mut self.states);
            state.orphans.extend(taken);
            self.groups[index] = state;
        }
        for index in by_name.into_values().flatten() {
            let group = &old.rules.groups[index];
            let written =
                group.rules.iter().flat_map(|rule| std::mem::take(&mut old.states[rule.index].written));
            let series = written.chain(std::mem::take(&mut old.groups[index].orphans)).collect();
            let due = at.after(old.settings.interval(group).saturating_mul(INTERVALS_UNTIL_DEPARTED));
            self.departed.push(Departed { at, due, series });
        }
    }

    /// Ends the series of removed groups whose time has come.
    pub(super) fn end_departed(&mut self, store: &mut Store, now: Millis) {
        for departed in self.departed.extract_if(.., |departed| departed.due <= now) {
            end(&departed.series, store, departed.at);
        }
    }
}

/// A rule by what it is known by across a reload: its name and its labels as written.
fn identity(rule: &Rule) -> (&str, Vec<(&str, &str)>) {
    let labels = rule.labels.iter().map(|(name, template)| (name.as_str(), template.text()));
    (&rule.name().value, labels.collect())
}

/// Gives each new rule what was known of its predecessor. Returns the series of the rules that have no successor.
fn take_over(
    old: &[Rule],
    old_states: &mut [RuleState],
    new: &[Rule],
    new_states: &mut [RuleState],
) -> BTreeSet<Labels> {
    let mut by_identity: BTreeMap<_, VecDeque<&Rule>> = BTreeMap::new();
    for rule in old {
        by_identity.entry(identity(rule)).or_default().push_back(rule);
    }
    for rule in new {
        let before = by_identity.get_mut(&identity(rule)).and_then(VecDeque::pop_front);
        let Some(before) = before else { continue };
        let from = std::mem::take(&mut old_states[before.index]);
        let state = &mut new_states[rule.index];
        state.written = from.written;
        if matches!((&before.kind, &rule.kind), (RuleKind::Alert(_), RuleKind::Alert(_))) {
            state.alerts = from.alerts;
        }
    }
    by_identity
        .into_values()
        .flatten()
        .flat_map(|gone| std::mem::take(&mut old_states[gone.index].written))
        .collect()
}

fn end(series: &BTreeSet<Labels>, store: &mut Store, at: Millis) {
    for labels in series {
        // A refused marker means that another rule goes on writing the series.
        let _refused = store.append(labels, at, stale_marker());
    }
}

impl GroupRun<'_> {
    /// What comes after the last rule of an evaluation.
    pub(super) fn finish(&self, state: &mut super::GroupState, rules: &mut [RuleState], store: &mut Store) {
        end(&std::mem::take(&mut state.orphans), store, self.at);
        if state.restores_in == 0 {
            return;
        }
        state.restores_in -= 1;
        if state.restores_in > 0 {
            return;
        }
        for rule in &self.group.rules {
            let RuleKind::Alert(alert) = &rule.kind else { continue };
            if alert.hold >= self.settings.for_grace_period {
                rules[rule.index].alerts.restore(|active| self.active_since(active, alert.hold, store));
            }
        }
    }

    /// Since when an alert counts as active after a restart; `None` where nothing is known of it.
    fn active_since(&self, alert: &Alert, hold: Duration, store: &Store) -> Option<Millis> {
        let id = store.find(&since_series(alert))?;
        let (last, since) = store.get(id).samples.latest(self.now)?;
        if last < self.now.before(self.settings.for_outage_tolerance) || is_stale(since) {
            return None;
        }
        // Both in whole seconds, as Prometheus reads them.
        let since = Millis((since as i64).saturating_mul(1000));
        let ended = Millis(last.0.div_euclid(1000) * 1000);
        let length = |duration: Duration| Millis(0).after(duration).0;
        let (hold, grace) = (length(hold), length(self.settings.for_grace_period));
        let left = hold.saturating_sub(ended.0.saturating_sub(since.0));
        Some(if left <= 0 {
            // It was firing, and does so again at the next evaluation that finds it.
            since
        } else if left < grace {
            Millis(self.now.0.saturating_add(grace).saturating_sub(hold))
        } else {
            Millis(since.0.saturating_add(self.now.0.saturating_sub(ended.0)))
        })
    }
}
