//! Rules over time: recording rules, and the life of alerts, evaluation by evaluation, as Prometheus has it.

use crate::labels::Labels;
use crate::promql::Dialect;
use crate::promql::eval::{Element, EvalError, Evaluator, Value};
use crate::rule::{Group, Rule, RuleKind};
use crate::store::Store;
use crate::time::Millis;
use crate::timeline::{AlertEvent, ResolveReason, Transition};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// How long Prometheus goes on sending a resolved alert.
const RESOLVED_RETENTION: Duration = Duration::from_secs(15 * 60);
/// How often a firing alert is sent again.
const RESEND_DELAY: Duration = Duration::from_secs(60);
/// How old a series' latest sample may be.
const LOOKBACK: Duration = Duration::from_secs(300);

/// An alert as Prometheus sends it to Alertmanager.
#[derive(Debug, Clone, PartialEq)]
pub struct SentAlert {
    /// Its identity.
    pub labels: Labels,
    /// Texts for people.
    pub annotations: Arc<BTreeMap<String, String>>,
    /// When it fired.
    pub starts_at: Millis,
    /// When it ended, or when it ends if nothing more is heard of it.
    pub ends_at: Millis,
    /// Whether it has ended.
    pub resolved: bool,
}

/// A rule that could not be evaluated; its alerts stay as they were.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleError {
    /// When.
    pub at: Millis,
    /// The rule, by its place over all groups.
    pub rule: usize,
    /// Why.
    pub error: EvalError,
}

/// What one evaluation brought.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Evaluation {
    /// Transitions, in order of rules.
    pub events: Vec<AlertEvent>,
    /// What goes to Alertmanager.
    pub sends: Vec<SentAlert>,
    /// Rules that failed.
    pub errors: Vec<RuleError>,
}

/// An alert that is pending or firing, or ended lately.
#[derive(Debug, Clone)]
struct Active {
    state: State,
    annotations: Arc<BTreeMap<String, String>>,
    value: f64,
    active_at: Millis,
    fired_at: Millis,
    resolved_at: Option<Millis>,
    /// The first evaluation at which the condition was missing, while it keeps firing.
    missing_since: Option<Millis>,
    last_sent: Option<Millis>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Pending,
    Firing,
    Resolved,
}

/// A group and when it is due.
#[derive(Debug)]
struct Scheduled {
    group: Group,
    interval: Duration,
    /// Number of its first rule over all groups.
    first: usize,
    /// Series that its rules wrote at the last evaluation.
    written: BTreeSet<Labels>,
}

/// Evaluates rules.
#[derive(Debug)]
pub struct Engine {
    groups: Vec<Scheduled>,
    /// Alerts by rule.
    active: Vec<BTreeMap<Labels, Active>>,
    dialect: Dialect,
    default_interval: Duration,
}

impl Engine {
    /// An engine for `groups`; those without an interval of their own are evaluated every `default_interval`.
    pub fn new(groups: Vec<Group>, default_interval: Duration, dialect: Dialect) -> Engine {
        let mut first = 0;
        let groups: Vec<_> = groups
            .into_iter()
            .map(|group| {
                let scheduled = Scheduled {
                    interval: group.interval.unwrap_or(default_interval),
                    first,
                    written: BTreeSet::new(),
                    group,
                };
                first += scheduled.group.rules.len();
                scheduled
            })
            .collect();
        Engine { groups, active: vec![BTreeMap::new(); first], dialect, default_interval }
    }

    /// All rules, in the order of their numbers.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.groups.iter().flat_map(|scheduled| &scheduled.group.rules)
    }

    /// Evaluates every group that is due at `at`: those whose interval divides it.
    pub fn evaluate(&mut self, store: &mut Store, at: Millis) -> Evaluation {
        let mut evaluation = Evaluation::default();
        for group in &mut self.groups {
            let interval = i64::try_from(group.interval.as_millis()).unwrap_or(i64::MAX).max(1);
            if at.0.rem_euclid(interval) != 0 {
                continue;
            }
            let mut written = BTreeSet::new();
            for (index, rule) in group.group.rules.iter().enumerate() {
                let number = group.first + index;
                let mut step = Step {
                    store: &mut *store,
                    at,
                    dialect: self.dialect,
                    default_step: self.default_interval,
                    interval: group.interval,
                    limit: group.group.limit,
                    number,
                    written: &mut written,
                    evaluation: &mut evaluation,
                };
                let result = match &rule.kind {
                    RuleKind::Record => step.record(rule),
                    RuleKind::Alert { .. } => step.alert(rule, &mut self.active[number]),
                };
                if let Err(error) = result {
                    evaluation.errors.push(RuleError { at, rule: number, error });
                }
            }
            for vanished in group.written.difference(&written) {
                store.series_mut(vanished).mark_stale(at);
            }
            group.written = written;
        }
        evaluation
    }

    /// The values that rule `rule` compares with its threshold, at `at`; none where it cannot be evaluated.
    pub fn observe(&self, store: &Store, rule: usize, at: Millis) -> Vec<Element> {
        let Some(rule) = self.rules().nth(rule) else { return Vec::new() };
        let evaluator = evaluator(store, self.dialect, self.default_interval, at);
        evaluator.vector(rule.observed()).unwrap_or_default()
    }

    /// Names of the alerts whose condition holds at `at`, whatever their `for`. Changes nothing.
    pub fn conditions(&self, store: &Store, at: Millis) -> Vec<String> {
        let evaluator = evaluator(store, self.dialect, self.default_interval, at);
        let holds = |rule: &&Rule| evaluator.vector(&rule.expr).is_ok_and(|elements| !elements.is_empty());
        self.rules().filter(|rule| rule.is_alert()).filter(holds).map(|rule| rule.name.clone()).collect()
    }

    /// Alerts of rule `rule` that are pending or firing.
    pub fn is_active(&self, rule: usize) -> bool {
        self.active
            .get(rule)
            .is_some_and(|alerts| alerts.values().any(|alert| alert.state != State::Resolved))
    }
}

fn evaluator(store: &Store, dialect: Dialect, default_step: Duration, at: Millis) -> Evaluator<'_> {
    Evaluator { store, dialect, lookback: LOOKBACK, default_step, at }
}

/// One rule at one evaluation.
struct Step<'a> {
    store: &'a mut Store,
    at: Millis,
    dialect: Dialect,
    default_step: Duration,
    interval: Duration,
    limit: usize,
    number: usize,
    written: &'a mut BTreeSet<Labels>,
    evaluation: &'a mut Evaluation,
}

impl Step<'_> {
    fn elements(&self, rule: &Rule) -> Result<Vec<Element>, EvalError> {
        match evaluator(self.store, self.dialect, self.default_step, self.at).eval(&rule.expr)? {
            Value::Vector(elements) => Ok(elements),
            Value::Scalar(value) => Ok(vec![Element { labels: Labels::default(), value }]),
            Value::Text(_) => Err(EvalError::Type("a number or a vector")),
        }
    }

    fn check_limit(&self, count: usize) -> Result<(), EvalError> {
        if self.limit > 0 && count > self.limit {
            return Err(EvalError::Argument(format!(
                "{count} elements, more than the group's limit of {}",
                self.limit
            )));
        }
        Ok(())
    }

    fn write(&mut self, labels: Labels, value: f64) {
        self.store.series_mut(&labels).push(self.at, value);
        self.written.insert(labels);
    }

    fn record(&mut self, rule: &Rule) -> Result<(), EvalError> {
        let elements = self.elements(rule)?;
        self.check_limit(elements.len())?;
        let named = |element: Element| {
            let labels = element.labels.with("__name__", &rule.name);
            let add = |labels: Labels, (name, value): &(String, crate::template::Template)| {
                labels.with(name, value.plain().unwrap_or_default())
            };
            Element { labels: rule.labels.iter().fold(labels, add), value: element.value }
        };
        let elements: Vec<_> = elements.into_iter().map(named).collect();
        for element in crate::promql::eval::unique(elements)? {
            self.write(element.labels, element.value);
        }
        Ok(())
    }

    fn alert(&mut self, rule: &Rule, alerts: &mut BTreeMap<Labels, Active>) -> Result<(), EvalError> {
        let RuleKind::Alert { hold, keep_firing, annotations } = &rule.kind else { return Ok(()) };
        let mut found: BTreeMap<Labels, (f64, Arc<BTreeMap<String, String>>)> = BTreeMap::new();
        for element in self.elements(rule)? {
            let plain = element.labels.filter(|name| name != "__name__");
            let expand = |template: &crate::template::Template| template.expand(&plain, element.value);
            let labels = rule
                .labels
                .iter()
                .fold(plain.clone(), |labels, (name, value)| labels.with(name, &expand(value)));
            let labels = labels.with("alertname", &rule.name);
            let texts = annotations.iter().map(|(name, value)| (name.clone(), expand(value))).collect();
            if found.insert(labels.clone(), (element.value, Arc::new(texts))).is_some() {
                return Err(EvalError::Duplicate(labels));
            }
        }
        if let Err(error) = self.check_limit(found.len()) {
            alerts.clear();
            return Err(error);
        }
        for (labels, (value, annotations)) in &found {
            match alerts.get_mut(labels).filter(|alert| alert.state != State::Resolved) {
                Some(alert) => {
                    (alert.value, alert.annotations, alert.missing_since) =
                        (*value, Arc::clone(annotations), None);
                }
                None => {
                    alerts.insert(labels.clone(), Active::new(self.at, *value, Arc::clone(annotations)));
                    self.event(labels, &alerts[labels], Transition::Pending);
                }
            }
        }
        let data_is_there = self.has_data(rule);
        for (labels, alert) in alerts.iter_mut() {
            self.age(labels, alert, found.contains_key(labels), *hold, *keep_firing, data_is_there);
        }
        let at = self.at;
        alerts.retain(|_, alert| alert.is_kept(at));
        for (labels, alert) in alerts.iter_mut() {
            self.publish(labels, alert);
        }
        Ok(())
    }

    /// Whether what the rule compares has any value at all: an alert that ends without data has not recovered.
    fn has_data(&self, rule: &Rule) -> bool {
        let observed = evaluator(self.store, self.dialect, self.default_step, self.at).eval(rule.observed());
        match observed {
            Ok(Value::Vector(elements)) => elements.iter().any(|element| !element.value.is_nan()),
            Ok(Value::Scalar(value)) => !value.is_nan(),
            _ => false,
        }
    }

    fn age(
        &mut self,
        labels: &Labels,
        alert: &mut Active,
        is_found: bool,
        hold: Duration,
        keep_firing: Duration,
        data_is_there: bool,
    ) {
        match alert.state {
            State::Pending if !is_found => {
                alert.state = State::Resolved;
                self.event(labels, alert, Transition::Dropped);
            }
            State::Firing if !is_found => {
                let since = *alert.missing_since.get_or_insert(self.at);
                if keep_firing > self.at.since(since) {
                    return;
                }
                alert.state = State::Resolved;
                alert.resolved_at = Some(self.at);
                let reason = if data_is_there { ResolveReason::Condition } else { ResolveReason::NoData };
                self.event(labels, alert, Transition::Resolved(reason));
            }
            State::Pending if self.at.since(alert.active_at) >= hold => {
                alert.state = State::Firing;
                alert.fired_at = self.at;
                self.event(labels, alert, Transition::Firing);
            }
            _ => {}
        }
    }

    fn event(&mut self, labels: &Labels, alert: &Active, transition: Transition) {
        self.evaluation.events.push(AlertEvent {
            at: self.at,
            rule: self.number,
            labels: labels.clone(),
            annotations: Arc::clone(&alert.annotations),
            value: alert.value,
            transition,
        });
    }

    /// Writes the alert's own series and sends it if it is time.
    fn publish(&mut self, labels: &Labels, alert: &mut Active) {
        if alert.state != State::Resolved {
            let state = if alert.state == State::Firing { "firing" } else { "pending" };
            self.write(labels.with("__name__", "ALERTS").with("alertstate", state), 1.0);
            self.write(labels.with("__name__", "ALERTS_FOR_STATE"), (alert.active_at.0 / 1000) as f64);
        }
        if !alert.needs_sending(self.at) {
            return;
        }
        alert.last_sent = Some(self.at);
        let firing_until = self.at.after(RESEND_DELAY.max(self.interval) * 4);
        self.evaluation.sends.push(SentAlert {
            labels: labels.clone(),
            annotations: Arc::clone(&alert.annotations),
            starts_at: alert.fired_at,
            ends_at: alert.resolved_at.unwrap_or(firing_until),
            resolved: alert.resolved_at.is_some(),
        });
    }
}

impl Active {
    fn new(at: Millis, value: f64, annotations: Arc<BTreeMap<String, String>>) -> Active {
        Active {
            state: State::Pending,
            annotations,
            value,
            active_at: at,
            fired_at: at,
            resolved_at: None,
            missing_since: None,
            last_sent: None,
        }
    }

    /// A pending alert that ended is gone; one that fired is remembered for a while.
    fn is_kept(&self, at: Millis) -> bool {
        match (self.state, self.resolved_at) {
            (State::Resolved, None) => false,
            (State::Resolved, Some(resolved)) => at.since(resolved) <= RESOLVED_RETENTION,
            _ => true,
        }
    }

    /// A pending alert is never sent; a change at once; the rest when more than the resend delay has passed.
    fn needs_sending(&self, at: Millis) -> bool {
        match (self.state, self.last_sent) {
            (State::Pending, _) => false,
            (_, None) => true,
            (_, Some(sent)) => {
                self.resolved_at.is_some_and(|resolved| resolved > sent) || sent.after(RESEND_DELAY) < at
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use scenarios::span::Source;

    /// Evaluates one rule every 15 s over values of `x`, one a step; `_` is a gap, `s` a stale marker.
    fn check(rule: &str, values: &str, expected: &[&str]) {
        let text = format!("groups: [{{name: g, rules: [{{{rule}}}]}}]");
        let source = Arc::new(Source { name: "r".into(), text });
        let (groups, _) = crate::rule::read(source).unwrap();
        let mut engine = Engine::new(groups, Duration::from_secs(15), Dialect::Two);
        let mut store = Store::default();
        let series = Labels::from_pairs([("__name__", "x"), ("job", "j")]);
        let mut found = Vec::new();
        for (step, value) in values.split_whitespace().enumerate() {
            let at = Millis(step as i64 * 15_000);
            match value {
                "_" => {}
                "s" => store.series_mut(&series).mark_stale(at),
                value => store.series_mut(&series).push(at, value.parse().unwrap()),
            }
            let evaluation = engine.evaluate(&mut store, at);
            for event in evaluation.events {
                found.push(format!("{}s {:?}", at.0 / 1000, event.transition));
            }
            for sent in evaluation.sends {
                let what = if sent.resolved { "resolved" } else { "firing" };
                found.push(format!("{}s sent {what} since {}s", at.0 / 1000, sent.starts_at.0 / 1000));
            }
        }
        assert_eq!(found, expected, "{rule}: {values}");
    }

    #[test]
    fn fires_after_its_for_and_is_sent_again_after_more_than_a_minute() {
        check(
            "alert: A, expr: x > 1, for: 30s",
            "0 2 2 2 2 2 2 2 2 0 0 0",
            &[
                "15s Pending",
                "45s Firing",
                "45s sent firing since 45s",
                "120s sent firing since 45s",
                "135s Resolved(Condition)",
                "135s sent resolved since 45s",
            ],
        );
    }

    #[test]
    fn without_for_it_fires_at_once_and_a_gap_in_the_condition_starts_anew() {
        check(
            "alert: A, expr: x > 1",
            "2 0",
            &[
                "0s Pending",
                "0s Firing",
                "0s sent firing since 0s",
                "15s Resolved(Condition)",
                "15s sent resolved since 0s",
            ],
        );
        check(
            "alert: A, expr: x > 1, for: 30s",
            "2 2 0 2 2 0",
            &["0s Pending", "30s Dropped", "45s Pending", "75s Dropped"],
        );
    }

    #[test]
    fn vanished_series_and_nan_are_no_recovery() {
        for end in ["s", "NaN"] {
            check(
                "alert: A, expr: x > 1",
                &format!("2 {end}"),
                &[
                    "0s Pending",
                    "0s Firing",
                    "0s sent firing since 0s",
                    "15s Resolved(NoData)",
                    "15s sent resolved since 0s",
                ],
            );
        }
    }

    #[test]
    fn keeps_firing_for_as_long_as_it_says() {
        check(
            "alert: A, expr: x > 1, keep_firing_for: 30s",
            "2 0 0 0 0",
            &[
                "0s Pending",
                "0s Firing",
                "0s sent firing since 0s",
                "45s Resolved(Condition)",
                "45s sent resolved since 0s",
            ],
        );
    }

    #[test]
    fn rules_see_what_earlier_rules_wrote_and_alerts_are_series() {
        let text = "groups: [{name: g, rules: [{record: y, expr: x * 2, labels: {l: v}}, {alert: A, expr: y > 3}, {alert: B, expr: 'ALERTS{alertname=\"A\"} == 1'}]}]";
        let (groups, _) =
            crate::rule::read(Arc::new(Source { name: "r".into(), text: text.into() })).unwrap();
        let mut engine = Engine::new(groups, Duration::from_secs(15), Dialect::Two);
        let mut store = Store::default();
        let series = Labels::from_pairs([("__name__", "x")]);
        store.series_mut(&series).push(Millis(0), 2.0);
        let evaluation = engine.evaluate(&mut store, Millis(0));
        let fired: Vec<_> = evaluation.sends.iter().map(|sent| sent.labels.to_string()).collect();
        assert_eq!(fired, [r#"{alertname="A", l="v"}"#, r#"{alertname="B", alertstate="firing", l="v"}"#]);
        store.series_mut(&series).push(Millis(15_000), 1.0);
        engine.evaluate(&mut store, Millis(15_000));
        let alerts = Labels::from_pairs([
            ("__name__", "ALERTS"),
            ("alertname", "A"),
            ("alertstate", "firing"),
            ("l", "v"),
        ]);
        assert!(store.get(&alerts).unwrap().is_stale());
    }

    #[test]
    fn an_error_freezes_the_rule() {
        let text = "groups: [{name: g, rules: [{alert: A, expr: 'x > 1 and on () (x / on () y)'}]}]";
        let (groups, _) =
            crate::rule::read(Arc::new(Source { name: "r".into(), text: text.into() })).unwrap();
        let mut engine = Engine::new(groups, Duration::from_secs(15), Dialect::Two);
        let mut store = Store::default();
        let push = |store: &mut Store, name: &str, label: &str, at: i64, value: f64| {
            store.series_mut(&Labels::from_pairs([("__name__", name), ("l", label)])).push(Millis(at), value);
        };
        push(&mut store, "x", "1", 0, 2.0);
        push(&mut store, "y", "1", 0, 2.0);
        assert_eq!(engine.evaluate(&mut store, Millis(0)).events.len(), 2);
        push(&mut store, "y", "2", 15_000, 2.0);
        let evaluation = engine.evaluate(&mut store, Millis(15_000));
        assert_eq!((evaluation.events.len(), evaluation.sends.len(), evaluation.errors.len()), (0, 0, 1));
        assert!(engine.is_active(0));
    }
}
