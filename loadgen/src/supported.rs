//! What the language can say and this version does not run yet: refused with its place, never passed over in silence.

use scenarios::problem::Problem;
use scenarios::scenario::{PopulationExecutor, Recipient, Scenario, SloSource, Target};
use scenarios::span::Span;
use std::time::Duration;

/// Everything in the scenario that would be ignored.
pub fn problems(scenario: &Scenario) -> Vec<Problem> {
    let mut found: Vec<(Option<&Span>, String)> = Vec::new();
    if let Target::Url(target) = &scenario.target {
        found.push((target.url.span.as_ref(), "a target that is not our own gateway".into()));
    }
    for population in &scenario.population {
        let place = population.name.span.as_ref();
        if matches!(population.executor, PopulationExecutor::RampingVus { .. }) {
            found.push((place, "the executor `ramping-vus`".into()));
        }
        if population.churn.0 > 0.0 {
            found.push((place, "`churn`".into()));
        }
    }
    for population in scenario.population.iter().skip(1) {
        found.push((population.name.span.as_ref(), "a second population".into()));
    }
    for traffic in scenario.traffic.iter().filter(|traffic| matches!(traffic.to, Recipient::Group(_))) {
        found.push((traffic.name.span.as_ref(), "traffic to a group".into()));
    }
    for phase in scenario.phases.iter().filter(|phase| phase.ignore_first > Duration::ZERO) {
        found.push((phase.name.span.as_ref(), "`ignore_first`".into()));
    }
    for (receiver, _) in &scenario.alerts.receivers {
        found.push((receiver.span.as_ref(), "a receiver that answers with an error".into()));
    }
    for slo in scenario.expect.slos.iter().filter(|slo| slo.from == SloSource::Metrics) {
        found.push((slo.objective.span.as_ref(), "an SLO from the target's metrics".into()));
    }
    for threshold in &scenario.thresholds {
        let place = threshold.metric.span.as_ref();
        if threshold.abort_on_fail {
            found.push((place, "`abortOnFail`".into()));
        }
        if let Some(window) = &threshold.window {
            found.push((window.span.as_ref().or(place), "`window` of a threshold".into()));
        }
    }
    let problem = |(place, what): (Option<&Span>, String)| {
        let problem = Problem::error(format!("{what} is not supported by this version"), place?.clone());
        Some(problem.hint("take it out; `loadgen explain` shows what would run"))
    };
    found.into_iter().filter_map(problem).collect()
}
