//! Rules over samples, evaluation by evaluation: what Prometheus' rule manager does.
//!
//! The caller drives it in rule time and owns the store. Groups are evaluated at multiples of their interval (Prometheus
//! adds an offset hashed from file and group name; here it is 0, so that a run can be repeated).

use crate::alert::{Alert, AlertStates, Annotations, Seen, SentAlert, State, Timing};
use crate::labels::Labels;
use crate::promql::ast::{Dialect, Expr};
use crate::promql::eval::{Element, EvalError, Query, Settings};
use crate::promql::parse::parse;
use crate::promql::selection;
use crate::rule::{AlertRule, Group, Rule, RuleKind, RuleSet};
use crate::series::stale_marker;
use crate::store::{METRIC_NAME, Store};
use crate::template::{Facts, Template};
use crate::time::Millis;
use crate::timeline::{AlertEvent, ResolveReason};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

mod lifecycle;
mod observe;

pub use observe::Observation;

/// How the rules are evaluated.
#[derive(Debug, Clone)]
pub struct EngineSettings {
    /// Whose answers.
    pub dialect: Dialect,
    /// Interval of groups that name none; also the step of subqueries that name none.
    pub evaluation_interval: Duration,
    /// Least time between two sends of an alert.
    pub resend_delay: Duration,
    /// After a restart, alerts with a `for` this long or longer get back since when they have been active; so long at least
    /// they still wait, those that were firing before excepted.
    pub for_grace_period: Duration,
    /// The longest outage after which they do.
    pub for_outage_tolerance: Duration,
    /// Labels added to every alert sent.
    pub external_labels: Labels,
    /// Where people reach this Prometheus: `$externalURL` of templates.
    pub external_url: String,
}

impl Default for EngineSettings {
    fn default() -> EngineSettings {
        EngineSettings {
            dialect: Dialect::V2,
            evaluation_interval: Duration::from_secs(60),
            resend_delay: Duration::from_secs(60),
            for_grace_period: Duration::from_secs(10 * 60),
            for_outage_tolerance: Duration::from_secs(60 * 60),
            external_labels: Labels::default(),
            external_url: String::new(),
        }
    }
}

/// What one evaluation brought.
#[derive(Debug, Clone, Default)]
pub struct Evaluation {
    /// Steps of alerts, in the order of the rules.
    pub events: Vec<AlertEvent>,
    /// What Prometheus would send to Alertmanager now.
    pub sends: Vec<SentAlert>,
    /// Rules that could not be evaluated; their alerts stay as they were.
    pub errors: Vec<RuleError>,
}

/// A rule that could not be evaluated.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleError {
    /// When.
    pub at: Millis,
    /// Index of the rule.
    pub rule: usize,
    /// The alert's or the series' name.
    pub name: String,
    /// Why, lower case, no full stop.
    pub reason: String,
}

/// The rules and where each of their alerts stands.
#[derive(Debug, Clone)]
pub struct Engine {
    rules: RuleSet,
    settings: EngineSettings,
    /// By rule index.
    states: Vec<RuleState>,
    /// In the order of the groups.
    groups: Vec<GroupState>,
    /// Of groups that a reload removed.
    departed: Vec<Departed>,
}

/// What is remembered of a rule between evaluations.
#[derive(Debug, Clone, Default)]
struct RuleState {
    alerts: AlertStates,
    /// The series it wrote last time; those it no longer writes get a stale marker.
    written: BTreeSet<Labels>,
    /// The expression without its comparisons.
    bare: Option<Expr>,
    /// Whether the alert's end means that data came, as with `absent`.
    ends_with_data: bool,
}

use lifecycle::{Departed, GroupState};

impl Engine {
    /// An engine in which no alert is active yet, though the server has been running: see [`Engine::restart`] for one that
    /// begins.
    pub fn new(rules: RuleSet, settings: EngineSettings) -> Engine {
        // Groups may stand in another order than that in which their rules are counted.
        let mut by_index: Vec<&Rule> = rules.rules().collect();
        by_index.sort_by_key(|rule| rule.index);
        let states = by_index.into_iter().map(RuleState::of).collect();
        let groups = vec![GroupState::default(); rules.groups.len()];
        Engine { rules, settings, states, groups, departed: Vec::new() }
    }

    /// The rules.
    pub fn rules(&self) -> &RuleSet {
        &self.rules
    }

    /// Pending and firing alerts of all rules, with the rule's index.
    pub fn active(&self) -> impl Iterator<Item = (usize, &Alert)> {
        self.states
            .iter()
            .enumerate()
            .flat_map(|(rule, state)| state.alerts.active().map(move |alert| (rule, alert)))
    }

    /// Names of the alerts whose condition holds at `at`, whatever their `for`. Changes nothing.
    pub fn conditions(&self, store: &Store, at: Millis) -> Vec<String> {
        let mut names = Vec::new();
        for group in &self.rules.groups {
            let run = GroupRun::of(&self.settings, group, at);
            let query = run.query(store);
            let holds =
                |rule: &&Rule| query.elements(&rule.expr, at).is_ok_and(|elements| !elements.is_empty());
            let alerts = group.rules.iter().filter(|rule| matches!(rule.kind, RuleKind::Alert(_)));
            names.extend(alerts.filter(holds).map(|rule| rule.name().value.clone()));
        }
        names
    }

    /// The interval of a group.
    pub fn interval(&self, group: &Group) -> Duration {
        self.settings.interval(group)
    }

    /// The first moment after `after` at which a group is due; `None` without rules.
    pub fn next_evaluation(&self, after: Millis) -> Option<Millis> {
        let next = |group: &Group| {
            let interval = millis(self.interval(group));
            Millis((after.0.div_euclid(interval) + 1) * interval)
        };
        self.rules.groups.iter().map(next).min()
    }

    /// Gives every recorded series a constant past of `length` up to `until`, at its present value: rules over recorded
    /// series need one as much as those over scraped ones. To be called once, after the targets' histories are laid.
    pub fn lay_history(&mut self, store: &mut Store, length: Duration, until: Millis) {
        for group in &self.rules.groups {
            let run = GroupRun::of(&self.settings, group, until);
            for rule in &group.rules {
                let RuleKind::Record(name) = &rule.kind else { continue };
                // A rule that cannot be evaluated has no past; its first evaluation says why.
                let Ok(samples) = run.record(rule, &name.value, store) else { continue };
                let step = millis(run.interval);
                let steps = millis(length) / step;
                let last = until.0.div_euclid(step) * step;
                for (labels, value) in samples {
                    let id = store.series_id(&labels);
                    let start = Millis(last - steps * step);
                    store.samples_mut(id).push_line(start, step, steps as usize + 1, value, 0.0).ok();
                    self.states[rule.index].written.insert(labels);
                }
            }
        }
    }

    /// Evaluates the groups that are due at `at`, in order; recorded series and `ALERTS` go into the store.
    ///
    /// Every sample stamped `at` or earlier must be in the store before.
    pub fn evaluate(&mut self, store: &mut Store, at: Millis) -> Evaluation {
        self.evaluate_groups(store, at, |interval| at.0.rem_euclid(millis(interval)) == 0)
    }

    /// Evaluates all groups at `at`, whatever their intervals, as rule unit tests do; otherwise as [`Engine::evaluate`].
    pub fn evaluate_all(&mut self, store: &mut Store, at: Millis) -> Evaluation {
        self.evaluate_groups(store, at, |_| true)
    }

    fn evaluate_groups(
        &mut self,
        store: &mut Store,
        now: Millis,
        is_due: impl Fn(Duration) -> bool,
    ) -> Evaluation {
        let mut evaluation = Evaluation::default();
        self.end_departed(store, now);
        for (group, state) in self.rules.groups.iter().zip(&mut self.groups) {
            let run = GroupRun::of(&self.settings, group, now);
            if !is_due(run.interval) {
                continue;
            }
            let run =
                GroupRun { at: now.before(group.query_offset), is_restored: state.is_restored(), ..run };
            for rule in &group.rules {
                run.rule(rule, &mut self.states[rule.index], store, &mut evaluation);
            }
            run.finish(state, &mut self.states, store);
        }
        evaluation
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX).max(1)
}

impl EngineSettings {
    fn interval(&self, group: &Group) -> Duration {
        group.interval.filter(|interval| !interval.is_zero()).unwrap_or(self.evaluation_interval)
    }
}

impl RuleState {
    fn of(rule: &Rule) -> RuleState {
        RuleState {
            bare: Some(selection::without_comparisons(&rule.expr)),
            ends_with_data: selection::asserts_absence(&rule.expr),
            ..RuleState::default()
        }
    }
}

/// One evaluation of one group.
struct GroupRun<'e> {
    settings: &'e EngineSettings,
    group: &'e Group,
    interval: Duration,
    /// The moment that is asked about, and that samples are stamped with.
    at: Millis,
    /// The evaluation's own moment, later by the group's `query_offset`: the alerts' clock.
    now: Millis,
    /// Whether alerts are written as series: not while a server that began anew has not restored them.
    is_restored: bool,
}

/// A sample that a rule writes.
type Written = (Labels, f64);

impl<'e> GroupRun<'e> {
    /// At a moment, whatever the group's `query_offset`.
    fn of(settings: &'e EngineSettings, group: &'e Group, at: Millis) -> GroupRun<'e> {
        GroupRun { settings, group, interval: settings.interval(group), at, now: at, is_restored: true }
    }
}

impl GroupRun<'_> {
    fn rule(&self, rule: &Rule, state: &mut RuleState, store: &mut Store, evaluation: &mut Evaluation) {
        let outcome = match &rule.kind {
            RuleKind::Record(name) => self.record(rule, &name.value, store),
            RuleKind::Alert(alert) => self.alert(rule, alert, state, store, evaluation),
        };
        match outcome {
            Ok(samples) => {
                self.write(samples, state, store);
                let alerts = &mut state.alerts;
                let external = &self.settings.external_labels;
                evaluation.sends.extend(alerts.sends(
                    rule.index,
                    self.now,
                    self.interval,
                    self.settings.resend_delay,
                    external,
                ));
            }
            Err(reason) => evaluation.errors.push(RuleError {
                at: self.now,
                rule: rule.index,
                name: rule.name().value.clone(),
                reason,
            }),
        }
    }

    fn query<'s>(&self, store: &'s Store) -> Query<'s> {
        let settings = Settings {
            dialect: self.settings.dialect,
            subquery_step: millis(self.settings.evaluation_interval),
            ..Settings::default()
        };
        Query::instant(store, settings, self.at)
    }

    fn record(&self, rule: &Rule, name: &str, store: &Store) -> Result<Vec<Written>, String> {
        let elements = self.elements(rule, store)?;
        let mut samples: BTreeMap<Labels, f64> = BTreeMap::new();
        for element in elements {
            let mut labels = element.labels.with(METRIC_NAME, name);
            for (label, template) in &rule.labels {
                // A recording rule's labels are no templates.
                labels = labels.with(label, template.text());
            }
            if samples.insert(labels.clone(), element.value).is_some() {
                return Err(format!(
                    "two elements have the same labels {labels} once the rule's labels are added"
                ));
            }
        }
        match self.group.limit {
            limit if limit > 0 && samples.len() > limit => {
                Err(format!("{} series are more than the limit of {limit}", samples.len()))
            }
            _ => Ok(samples.into_iter().collect()),
        }
    }

    fn elements(&self, rule: &Rule, store: &Store) -> Result<Vec<Element>, String> {
        self.query(store).elements(&rule.expr, self.at).map_err(|error: EvalError| error.to_string())
    }

    fn alert(
        &self,
        rule: &Rule,
        alert: &AlertRule,
        state: &mut RuleState,
        store: &Store,
        evaluation: &mut Evaluation,
    ) -> Result<Vec<Written>, String> {
        let elements = self.elements(rule, store)?;
        let mut identities = BTreeSet::new();
        let mut seen = Vec::with_capacity(elements.len());
        for element in elements {
            let found = self.seen(rule, alert, element, store);
            if !identities.insert(found.labels.clone()) {
                return Err(format!("two elements make the same alert {}", found.labels));
            }
            seen.push(found);
        }
        let timing = Timing {
            rule: rule.index,
            hold: alert.hold,
            keep_firing: alert.keep_firing,
            limit: self.group.limit,
            falls_back: self.settings.dialect == Dialect::V3,
        };
        let RuleState { alerts, bare, ends_with_data, .. } = state;
        let why_gone = |gone: &Alert| self.why_gone(gone, bare.as_ref(), *ends_with_data, store);
        let events = alerts.step(timing, self.now, seen, why_gone).map_err(|over| over.to_string())?;
        evaluation.events.extend(events);
        let shown = alerts.active().filter(|_| self.is_restored);
        Ok(shown.flat_map(alert_series).collect())
    }

    fn seen(&self, rule: &Rule, alert: &AlertRule, element: Element, store: &Store) -> Seen {
        let own = element.labels.filter(|name| name != METRIC_NAME);
        let facts = Facts {
            alert: &alert.name.value,
            value: element.value,
            labels: &element.labels,
            external_labels: &self.settings.external_labels,
            external_url: &self.settings.external_url,
            now: self.now,
            query: &|text| self.asked_by_template(text, store),
        };
        let filled = |template: &Template| template.fill(&facts);
        let added = rule.labels.iter().map(|(name, template)| (name.clone(), filled(template)));
        let name = ("alertname".to_string(), alert.name.value.clone());
        let kept = own.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        let labels = Labels::from_pairs(kept.chain(added).chain([name]));
        let annotations: Annotations =
            Arc::new(alert.annotations.iter().map(|(name, text)| (name.clone(), filled(text))).collect());
        Seen { labels, element: own, annotations, value: element.value }
    }

    /// The answer to a query inside a template; it is asked at the evaluation's own moment.
    fn asked_by_template(&self, text: &str, store: &Store) -> Result<Vec<(Labels, f64)>, String> {
        let expr = parse(text, self.settings.dialect.into()).map_err(|error| error.to_string())?;
        let query = Query::instant(store, self.query(store).settings, self.now);
        let elements = query.elements(&expr, self.now).map_err(|error| error.to_string())?;
        Ok(elements.into_iter().map(|element| (element.labels, element.value)).collect())
    }

    /// Whether the condition ended or its data vanished: asks the expression without its comparisons.
    fn why_gone(
        &self,
        gone: &Alert,
        bare: Option<&Expr>,
        ends_with_data: bool,
        store: &Store,
    ) -> ResolveReason {
        if ends_with_data {
            return ResolveReason::Condition;
        }
        let present = bare
            .and_then(|bare| self.query(store).elements(bare, self.at).ok())
            .is_some_and(|elements| elements.iter().any(|element| is_of(element, gone)));
        if present { ResolveReason::Condition } else { ResolveReason::NoData }
    }

    /// Stores what a rule made, and ends the series it no longer makes.
    fn write(&self, samples: Vec<Written>, state: &mut RuleState, store: &mut Store) {
        let mut written = BTreeSet::new();
        for (labels, value) in samples {
            // Refused only if another rule writes the same series: the first one counts, as in Prometheus.
            if store.append(&labels, self.at, value).is_ok() {
                written.insert(labels);
            }
        }
        for ended in state.written.difference(&written) {
            // A refused marker means that another rule goes on writing the series.
            let _refused = store.append(ended, self.at, stale_marker());
        }
        state.written = written;
    }
}

/// Whether an element is the one behind an alert and has a value. It may have more labels than the alert kept:
/// a comparison `on(...)` drops the others.
fn is_of(element: &Element, alert: &Alert) -> bool {
    let same = alert.element.iter().all(|(name, value)| element.labels.get(name) == value);
    same && !element.value.is_nan()
}

/// `ALERTS` and `ALERTS_FOR_STATE` of one alert.
fn alert_series(alert: &Alert) -> [Written; 2] {
    let state = if alert.state == State::Pending { "pending" } else { "firing" };
    let alerts = alert.labels.with(METRIC_NAME, "ALERTS").with("alertstate", state);
    [(alerts, 1.0), (since_series(alert), alert.active_at.0.div_euclid(1000) as f64)]
}

/// The series that remembers since when an alert has been active.
fn since_series(alert: &Alert) -> Labels {
    alert.labels.with(METRIC_NAME, "ALERTS_FOR_STATE")
}

#[cfg(test)]
mod tests;
