//! Tests on the engine: what promtool does with a test file.
//!
//! Every group is evaluated at every step of the file's interval, whatever its own; samples are fed as far as the step;
//! queries are asked at the end. An alert check looks at the evaluation at or before its time.

use super::difference::{self, Answer};
use super::{AlertCheck, Filter, InputSeries, QueryCheck, Test, TestFile};
use crate::alert::State;
use crate::engine::{Engine, EngineSettings};
use crate::labels::Labels;
use crate::promql::ast::{Dialect, Selector};
use crate::promql::eval::{Query, Settings};
use crate::promql::selection;
use crate::rule::{RuleKind, RuleSet};
use crate::rule_test::ExpectedAlert;
use crate::store::{METRIC_NAME, Store};
use crate::time::Millis;
use scenarios::span::Span;
use scenarios::units::format_duration;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub use super::difference::{series as shown_series, value as shown_number};

/// How one test went.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The test's name; its place where it has none.
    pub name: String,
    /// Its place.
    pub span: Span,
    /// Checks that were judged.
    pub judged: usize,
    /// What is not as expected.
    pub failures: Vec<Failure>,
    /// Checks that could not be judged: native histograms.
    pub not_judged: Vec<Span>,
}

/// A check that failed, or an evaluation.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// The check's place; of a rule that could not be evaluated, the rule's.
    pub span: Option<Span>,
    /// What was checked, and when: `alertname: InstanceDown, time: 5m`.
    pub title: String,
    /// What was expected and what was found, or why there is no answer; several lines.
    pub text: String,
}

/// Runs the tests that `filter` wants, each on rules of its own.
pub fn run(file: &TestFile, rules: &RuleSet, dialect: Dialect, filter: &Filter) -> Vec<Outcome> {
    let rules = &ordered(rules, file);
    let wanted = file.tests.iter().filter(|test| filter.wants(test));
    wanted.map(|test| Run::new(file, test, rules, dialect).outcome()).collect()
}

/// The groups in the order the file wants; those it does not name come with the first, as promtool has it.
fn ordered(rules: &RuleSet, file: &TestFile) -> RuleSet {
    let place = |name: &str| {
        let found = file.group_eval_order.iter().position(|wanted| wanted.value == name);
        found.unwrap_or(0)
    };
    let mut rules = rules.clone();
    rules.groups.sort_by_key(|group| place(&group.name.value));
    rules
}

/// The series of a test; of one that stands twice the later.
fn last_of_each_name(test: &Test) -> Vec<&InputSeries> {
    let by_labels: BTreeMap<&Labels, &InputSeries> =
        test.series.iter().map(|series| (&series.labels, series)).collect();
    by_labels.into_values().collect()
}

/// One test on its way.
struct Run<'t> {
    file: &'t TestFile,
    test: &'t Test,
    dialect: Dialect,
    engine: Engine,
    store: Store,
    /// The series that are fed, and how many of their points are.
    fed: Vec<(&'t InputSeries, usize)>,
    beyond: Beyond<'t>,
    outcome: Outcome,
}

impl<'t> Run<'t> {
    fn new(file: &'t TestFile, test: &'t Test, rules: &RuleSet, dialect: Dialect) -> Run<'t> {
        let settings = EngineSettings {
            dialect,
            evaluation_interval: file.evaluation_interval,
            external_labels: test.external_labels.clone(),
            external_url: test.external_url.clone(),
            ..EngineSettings::default()
        };
        Run {
            file,
            test,
            dialect,
            beyond: Beyond::of(test, rules),
            engine: Engine::new(rules.clone(), settings),
            store: Store::new(),
            fed: last_of_each_name(test).into_iter().map(|series| (series, 0)).collect(),
            outcome: Outcome {
                name: test.name.clone().unwrap_or_else(|| test.span.to_string()),
                span: test.span.clone(),
                judged: 0,
                failures: Vec::new(),
                not_judged: Vec::new(),
            },
        }
    }

    fn outcome(mut self) -> Outcome {
        let mut checks: Vec<&AlertCheck> = self.test.alerts.iter().collect();
        checks.sort_by_key(|check| check.eval_time);
        let mut checks = checks.into_iter().peekable();
        let mut since = Duration::ZERO;
        while since <= self.test.length() {
            let at = self.test.start.after(since);
            self.feed(at);
            let evaluation = self.engine.evaluate_all(&mut self.store, at);
            if !evaluation.errors.is_empty() {
                self.evaluation_failed(&evaluation.errors, since);
                return self.outcome;
            }
            since += self.file.evaluation_interval;
            while let Some(check) = checks.next_if(|check| check.eval_time < since) {
                self.alert_check(check);
            }
        }
        for check in &self.test.queries {
            self.query_check(check);
        }
        self.outcome
    }

    /// Puts every point up to `at` into the store.
    fn feed(&mut self, at: Millis) {
        for (series, next) in &mut self.fed {
            let points = series.points.as_deref().unwrap_or_default();
            while let Some(point) = points.get(*next) {
                let since = self.test.interval.saturating_mul(u32::try_from(*next).unwrap_or(u32::MAX));
                let time = self.test.start.after(since);
                if time > at {
                    break;
                }
                *next += 1;
                if let Some(value) = point {
                    // Refused where a rule has written the same series before: then that one counts.
                    self.store.append(&series.labels, time, *value).ok();
                }
            }
        }
    }

    fn evaluation_failed(&mut self, errors: &[crate::engine::RuleError], since: Duration) {
        for error in errors {
            let rule = self.engine.rules().rules().find(|rule| rule.index == error.rule);
            self.outcome.failures.push(Failure {
                span: rule.and_then(|rule| rule.text.span.clone()),
                title: format!("rule: {}, time: {}", error.name, format_duration(since)),
                text: format!("err: {}", error.reason),
            });
        }
    }

    fn alert_check(&mut self, check: &AlertCheck) {
        if self.beyond.touches_alert(&check.alertname.value) {
            self.outcome.not_judged.push(check.span.clone());
            return;
        }
        let names: BTreeSet<usize> = self
            .engine
            .rules()
            .alerts()
            .filter(|(_, alert)| alert.name.value == check.alertname.value)
            .map(|(rule, _)| rule.index)
            .collect();
        let firing = self.engine.active().filter(|(rule, _)| names.contains(rule));
        let mut found: Vec<ExpectedAlert> = firing
            .filter(|(_, alert)| alert.state == State::Firing)
            .map(|(_, alert)| ExpectedAlert {
                labels: alert.labels.clone(),
                annotations: alert.annotations.as_ref().clone(),
            })
            .collect();
        let mut expected = check.expected.clone();
        found.sort();
        expected.sort();
        self.outcome.judged += 1;
        if found != expected {
            self.outcome.failures.push(Failure {
                span: Some(check.span.clone()),
                title: format!(
                    "alertname: {}, time: {}",
                    check.alertname.value,
                    format_duration(check.eval_time)
                ),
                text: difference::of_alerts(&expected, &found),
            });
        }
    }

    fn query_check(&mut self, check: &QueryCheck) {
        let selectors = selection::windows(&check.expr).selectors;
        let Some(expected) = &check.expected else {
            self.outcome.not_judged.push(check.span.clone());
            return;
        };
        if selectors.iter().any(|selector| self.beyond.touches(selector)) {
            self.outcome.not_judged.push(check.span.clone());
            return;
        }
        self.outcome.judged += 1;
        if let Err(text) = self.answers_as_expected(check, expected) {
            self.outcome.failures.push(Failure {
                span: Some(check.span.clone()),
                title: format!(
                    "expr: {}, time: {}",
                    check.text.value.trim(),
                    format_duration(check.eval_time)
                ),
                text,
            });
        }
    }

    fn answers_as_expected(&self, check: &QueryCheck, expected: &[(Labels, f64)]) -> Result<(), String> {
        let settings = Settings {
            dialect: self.dialect,
            subquery_step: i64::try_from(self.file.evaluation_interval.as_millis()).unwrap_or(i64::MAX),
            ..Settings::default()
        };
        let at = self.test.start.after(check.eval_time);
        let elements = Query::instant(&self.store, settings, at).elements(&check.expr, at);
        let elements = elements.map_err(|error| format!("err: {error}"))?;
        let mut found: Vec<Answer> =
            elements.into_iter().map(|element| (element.labels, element.value)).collect();
        let mut expected = expected.to_vec();
        let by_labels = |one: &Answer, other: &Answer| one.0.cmp(&other.0);
        found.sort_by(by_labels);
        expected.sort_by(by_labels);
        let fuzzy = self.file.fuzzy_compare;
        let same = found.len() == expected.len()
            && found.iter().zip(&expected).all(|(found, expected)| {
                found.0 == expected.0 && difference::same_value(expected.1, found.1, fuzzy)
            });
        if same { Ok(()) } else { Err(difference::of_samples(&expected, &found, fuzzy)) }
    }
}

/// What comes of native histograms, which are not evaluated: nothing that touches it is judged.
struct Beyond<'t> {
    series: Vec<&'t InputSeries>,
    /// Metrics recorded from them; `ALERTS` if an alert looks at them.
    names: BTreeSet<String>,
    alerts: BTreeSet<String>,
}

impl<'t> Beyond<'t> {
    fn of(test: &'t Test, rules: &RuleSet) -> Beyond<'t> {
        let series: Vec<_> = test.series.iter().filter(|series| series.points.is_none()).collect();
        let mut beyond = Beyond { series, names: BTreeSet::new(), alerts: BTreeSet::new() };
        // Again until nothing is added: a rule may look at what a later one records.
        let mut before = usize::MAX;
        while !beyond.series.is_empty() && before != beyond.names.len() + beyond.alerts.len() {
            before = beyond.names.len() + beyond.alerts.len();
            for rule in rules.rules() {
                if !rule.windows().selectors.iter().any(|selector| beyond.touches(selector)) {
                    continue;
                }
                let name = rule.name().value.clone();
                if matches!(rule.kind, RuleKind::Record(_)) {
                    beyond.names.insert(name);
                } else {
                    beyond.names.extend(["ALERTS".to_string(), "ALERTS_FOR_STATE".to_string()]);
                    beyond.alerts.insert(name);
                }
            }
        }
        beyond
    }

    fn touches(&self, selector: &Selector) -> bool {
        let of_series = |series: &&InputSeries| {
            let named = selector.name.as_deref().is_none_or(|name| series.labels.get(METRIC_NAME) == name);
            named && selector.matchers.iter().all(|matcher| matcher.matches(&series.labels))
        };
        let recorded = match selector.name.as_deref() {
            Some(name) => self.names.contains(name),
            None => !self.names.is_empty(),
        };
        recorded || self.series.iter().any(of_series)
    }

    fn touches_alert(&self, name: &str) -> bool {
        self.alerts.contains(name)
    }
}
