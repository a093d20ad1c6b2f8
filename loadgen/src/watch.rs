//! What the operators would see: scrapes on the rule-time grid, rules evaluated on them, and who is told.

use assertions::alertmanager::Alertmanager;
use assertions::engine::{Engine, EngineSettings, RuleError};
use assertions::exposition::{self, Format};
use assertions::grid::{Grid, HistoryPlan, Outcome, Scrape};
use assertions::matcher::Matcher;
use assertions::notify::{Pipeline, Posted, Silence, Suppression};
use assertions::promql::ast::{Dialect, Selector};
use assertions::promql::parse::{ParseOptions, parse};
use assertions::promql::selection;
use assertions::rule::{RuleKind, RuleSet};
use assertions::store::Store;
use assertions::time::Millis;
use assertions::timeline::{AlertEvent, Notification, Transition};
use assertions::verdict::Nearest;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Rules and routes at work on a target's samples.
pub struct Watch {
    store: Store,
    grid: Grid,
    /// As it was before anything was recorded.
    new_grid: Grid,
    failed: u64,
    engine: Engine,
    pipeline: Option<Pipeline>,
    /// Every transition so far.
    pub events: Vec<AlertEvent>,
    /// Every notification so far.
    pub notifications: Vec<Notification>,
    /// Evaluations that failed.
    pub errors: Vec<RuleError>,
    /// Scrapes that could not be read.
    pub unreadable: Vec<(Millis, String)>,
    /// Scrapes done.
    pub scrapes: u64,
    /// Slots without a scrape.
    pub gaps: u64,
    /// The last evaluation.
    pub last: Millis,
    /// Most events of the numerator seen behind an alert that fired, by rule.
    pub numerator_events: BTreeMap<usize, f64>,
    factor: f64,
    /// Length of the synthetic past, once it is laid.
    pub history: Option<Duration>,
}

/// Metrics that count failures: the healthy past has none of them.
const FAILURES: &str = ".*_(failed|errors|timeout|expired|duplication|refused)(_total)?";

/// Any metric of a failure. The selector is read from PromQL, so that it means what it would mean in a rule.
fn failures() -> Result<Vec<Selector>, String> {
    let text = format!("{{__name__=~\"{FAILURES}\"}}");
    let options = ParseOptions { dialect: Dialect::V2, experimental: false };
    let expr = parse(&text, options).map_err(|error| error.to_string())?;
    Ok(selection::windows(&expr).selectors)
}

/// Two expositions of a healthy target.
#[derive(Debug, Clone, Copy)]
pub struct WarmUp<'a> {
    /// The earlier.
    pub begin: &'a str,
    /// The later.
    pub end: &'a str,
    /// Wall time between them.
    pub span: Duration,
}

/// How the past is laid.
#[derive(Debug, Clone, Copy)]
pub struct Past {
    /// Its end, which is the begin of the first phase.
    pub until: Millis,
    /// Its length.
    pub length: Duration,
    /// Distance of its samples.
    pub step: Duration,
}

impl Watch {
    /// Watches a target by `rules` and `routes`, from `start` on.
    pub fn new(
        rules: RuleSet,
        routes: Option<Arc<Alertmanager>>,
        evaluation_interval: Duration,
        start: Millis,
        grid: Grid,
    ) -> Watch {
        Watch {
            store: Store::new(),
            new_grid: grid.clone(),
            grid,
            failed: 0,
            engine: Engine::new(rules, EngineSettings { evaluation_interval, ..EngineSettings::default() }),
            numerator_events: BTreeMap::new(),
            pipeline: routes.map(|routes| Pipeline::new(routes, start)),
            events: Vec::new(),
            notifications: Vec::new(),
            errors: Vec::new(),
            unreadable: Vec::new(),
            scrapes: 0,
            gaps: 0,
            last: start,
            history: None,
            factor: 1.0,
        }
    }

    /// Lays the healthy past from the warm-up's expositions, `span` apart on the wall.
    ///
    /// Gives the alerts whose condition would hold on such a past: rates of an unhealthy moment are no history, so nothing
    /// is laid then unless `regardless`.
    pub fn lay_past(
        &mut self,
        warm_up: &WarmUp<'_>,
        past: Past,
        regardless: bool,
    ) -> Result<Vec<String>, String> {
        let read = |text| exposition::parse(text, Format::OpenMetrics).map_err(|error| error.to_string());
        let (begin, end) = (read(warm_up.begin)?, read(warm_up.end)?);
        let plan = HistoryPlan {
            length: past.length,
            until: past.until,
            begin: &begin,
            end: &end,
            warmup: warm_up.span,
            failures: &failures()?,
        };
        let (mut store, mut grid) = (Store::new(), self.new_grid.clone());
        grid.lay_history(&mut store, &plan).map_err(|error| error.to_string())?;
        let unhealthy = self.engine.conditions(&store, past.until);
        if unhealthy.is_empty() || regardless {
            self.engine.lay_history(&mut store, past.length, past.until);
            (self.store, self.grid, self.history) = (store, grid, Some(past.length));
        }
        Ok(unhealthy)
    }

    /// A slot's scrape has ended: stamps it, evaluates what is due, and tells who is to be told.
    pub fn slot(&mut self, at: Millis, exposition: Option<&str>, factor: f64, took: Duration) {
        self.factor = factor;
        let samples = exposition.map(|text| exposition::parse(text, Format::OpenMetrics));
        let outcome = match &samples {
            Some(Ok(samples)) => {
                self.scrapes += 1;
                Outcome::Answered(samples)
            }
            Some(Err(error)) => {
                self.unreadable.push((at, error.to_string()));
                Outcome::Failed
            }
            None => {
                self.failed += 1;
                Outcome::Failed
            }
        };
        let scrape = Scrape { at, stretch: factor, duration: took, outcome };
        if let Err(error) = self.grid.record(&mut self.store, &scrape) {
            self.unreadable.push((at, error.to_string()));
        }
        self.evaluate(at);
    }

    /// A slot without a scrape: the last one had not ended. Rules are evaluated all the same.
    pub fn gap(&mut self, at: Millis) {
        self.gaps += 1;
        self.evaluate(at);
    }

    /// Evaluates at each moment that is due since the last slot, up to and with `at`.
    fn evaluate(&mut self, at: Millis) {
        while let Some(due) = self.engine.next_evaluation(self.last).filter(|due| *due <= at) {
            self.last = due;
            self.evaluate_at(due);
        }
        self.last = at;
        if let Some(pipeline) = &mut self.pipeline {
            self.notifications.extend(pipeline.advance(at));
        }
    }

    fn evaluate_at(&mut self, at: Millis) {
        let evaluation = self.engine.evaluate(&mut self.store, at);
        self.count_events(&evaluation.events, at);
        self.events.extend(evaluation.events);
        self.errors.extend(evaluation.errors);
        let Some(pipeline) = &mut self.pipeline else { return };
        for sent in evaluation.sends {
            pipeline.receive(
                at,
                Posted { labels: sent.labels, starts_at: Some(sent.starts_at), ends_at: Some(sent.ends_at) },
            );
        }
        self.notifications.extend(pipeline.advance(at));
    }

    /// Alerts that all `matchers` match are not told of from `from` until just before `until`.
    pub fn silence(&mut self, matchers: Vec<Matcher>, from: Millis, until: Millis) {
        if let Some(pipeline) = &mut self.pipeline {
            pipeline.silence(Silence { matchers, from, until });
        }
    }

    /// How many events stood behind each alert that fired: fewer than twenty are no ground for a claim.
    fn count_events(&mut self, events: &[AlertEvent], at: Millis) {
        for event in events.iter().filter(|event| event.transition == Transition::Firing) {
            let observed = self.engine.observations(&self.store, event.rule, at).unwrap_or_default();
            let most = observed.iter().filter_map(|observation| observation.events).fold(f64::NAN, f64::max);
            // In a stretched run each event that happened stands for as many as a second stands for seconds.
            let happened = most / self.factor;
            if happened.is_finite() {
                let known = self.numerator_events.entry(event.rule).or_insert(0.0);
                *known = known.max(happened);
            }
        }
    }

    /// How many events of this run the threshold of rule number `rule` means at the end, at the last phase's factor.
    pub fn threshold_events(&self, rule: usize) -> Option<f64> {
        let events = self.engine.threshold_events(&self.store, rule, self.last).ok()?;
        events.map(|events| events / self.factor)
    }

    /// Of the values that rule number `rule` has compared with a number since `from`, the nearest to it.
    pub fn nearest(&self, rule: usize, from: Millis) -> Option<Nearest> {
        let due = |at: &Millis| self.engine.next_evaluation(*at).filter(|due| *due <= self.last);
        let moments = std::iter::successors(due(&from), due);
        let observed =
            moments.flat_map(|at| self.engine.observations(&self.store, rule, at).unwrap_or_default());
        let compared = observed
            .filter_map(|observed| Some(Nearest { value: observed.value, threshold: observed.threshold? }));
        let distance = |nearest: &Nearest| (nearest.value - nearest.threshold).abs();
        let finite = compared.filter(|nearest| distance(nearest).is_finite());
        finite.min_by(|one, other| distance(one).total_cmp(&distance(other)))
    }

    /// Alerts, each with a metric that it reads and that neither the target has ever exposed nor a rule has recorded. Those
    /// that wait for an absence are left out.
    pub fn reads_nothing(&self) -> Vec<(String, String)> {
        let rules = self.engine.rules();
        let is_made = |name: &str| {
            name.starts_with("ALERTS")
                || self.store.named(name).next().is_some()
                || rules
                    .rules()
                    .any(|rule| matches!(&rule.kind, RuleKind::Record(made) if made.value == name))
        };
        let mut found = Vec::new();
        for (rule, alert) in rules.alerts().filter(|(rule, _)| !selection::asserts_absence(&rule.expr)) {
            for name in rule.windows().selectors.into_iter().filter_map(|selector| selector.name) {
                let pair = (alert.name.value.clone(), name.to_string());
                if !is_made(&pair.1) && !found.contains(&pair) {
                    found.push(pair);
                }
            }
        }
        found
    }

    /// Decisions not to tell.
    pub fn suppressions(&self) -> &[Suppression] {
        self.pipeline.as_ref().map_or(&[], Pipeline::suppressions)
    }

    /// Scrapes that failed.
    pub fn failed_scrapes(&self) -> u64 {
        self.failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use assertions::rule;
    use scenarios::span::Source;

    #[test]
    fn an_alert_on_a_metric_that_is_not_there_is_named() {
        let text = "groups: [{name: g, rules: [
            {record: 'made:rate', expr: 'rate(there_total[1m])'},
            {alert: Typo, expr: 'rate(there_totl[1m]) > 0 or rate(there_total[1m]) > 1'},
            {alert: Sound, expr: 'rate(there_total[1m]) > 0 and made:rate > 0 and up == 1'},
            {alert: Gone, expr: 'absent(gone_total)'},
            {alert: High, expr: 'there_total > 500'}]}]";
        let source = Arc::new(Source { name: "r.yml".into(), text: text.into() });
        let rules = rule::load(&[source], Dialect::V2.into()).expect("readable").rules;
        let second = Duration::from_secs(1);
        let grid = Grid::new("gw", "a:1", second);
        let mut watch = Watch::new(rules, None, second, Millis(0), grid);
        watch.slot(Millis(1000), Some("# TYPE there counter\nthere_total 1\n# EOF\n"), 1.0, Duration::ZERO);
        let near = Nearest { value: 1.0, threshold: 500.0 };
        assert_eq!((watch.nearest(4, Millis(0)), watch.nearest(1, Millis(0))), (Some(near), None));
        assert_eq!(watch.reads_nothing(), [("Typo".to_owned(), "there_totl".to_owned())]);
    }
}
