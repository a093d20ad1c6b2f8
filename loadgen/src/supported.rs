//! What the language can say and this version does not run yet, or cannot run so large: refused with its place, never passed
//! over in silence.

use crate::gateway_flags;
use gateway::config::Limits;
use scenarios::problem::Problem;
use scenarios::scenario::{
    Phase, PopulationExecutor, Recipient, Scenario, SloSource, Target, Threshold, Traffic, TrafficExecutor,
};
use scenarios::span::Span;
use scenarios::units::Rate;
use std::time::Duration;

/// Messages a second beyond which schedules are not planned: fifty times what two cores can send.
const RATE_MAX: f64 = 1e6;
/// Traffic plans: their number is one byte of a message's key.
const TRAFFIC_PLANS_MAX: usize = 255;
/// What the protocol adds to a body, at most.
const FRAME_OVERHEAD_BYTES: usize = 1024;

/// Everything in the scenario that would be ignored or could not be. A problem whose place is not known stands at `file`.
pub fn problems(scenario: &Scenario, file: &Span) -> Vec<Problem> {
    let mut problems = Vec::new();
    match &scenario.target {
        Target::Url(target) => {
            let place = target.url.span.as_ref().unwrap_or(file).clone();
            let problem = Problem::error(
                "a target that is not our own gateway is not supported by this version",
                place,
            );
            problems.push(problem.hint("write `target: {gateway: {}}`"));
        }
        Target::Gateway { flags } => problems.extend(gateway_flags::problems(flags)),
    }
    let unrun = unrun(scenario);
    problems.extend(unrun.into_iter().map(|(place, what)| {
        let place = place.unwrap_or(file).clone();
        let problem = Problem::error(format!("{what} is not supported by this version"), place);
        problem.hint("take it out; `loadgen explain` shows what would run")
    }));
    problems.extend(scenario.traffic.iter().flat_map(|traffic| too_large(traffic, &scenario.phases, file)));
    if let Some(traffic) = scenario.traffic.get(TRAFFIC_PLANS_MAX) {
        let place = traffic.name.span.as_ref().unwrap_or(file).clone();
        let summary = format!("more than {TRAFFIC_PLANS_MAX} traffic plans");
        problems.push(
            Problem::error(summary, place).hint("join plans of the same kind, with the sum of their rates"),
        );
    }
    problems
}

/// What this version does not run, and where it stands.
fn unrun(scenario: &Scenario) -> Vec<(Option<&Span>, String)> {
    let mut found: Vec<(Option<&Span>, String)> = Vec::new();
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
    found.extend(scenario.thresholds.iter().flat_map(unrun_options));
    found
}

fn unrun_options(threshold: &Threshold) -> Vec<(Option<&Span>, String)> {
    let place = threshold.metric.span.as_ref();
    let window = threshold
        .window
        .as_ref()
        .map(|window| (window.span.as_ref().or(place), "`window` of a threshold".into()));
    let abort = threshold.abort_on_fail.then(|| (place, "`abortOnFail`".into()));
    abort.into_iter().chain(window).collect()
}

/// Rates and sizes that no run could hold.
fn too_large(traffic: &Traffic, phases: &[Phase], file: &Span) -> Vec<Problem> {
    let name = traffic.name.span.as_ref().unwrap_or(file);
    let rates: Vec<(&Rate, &Span)> = match &traffic.executor {
        TrafficExecutor::ConstantArrivalRate { rate } | TrafficExecutor::Poisson { rate } => {
            vec![(&rate.value, rate.span.as_ref().unwrap_or(name))]
        }
        TrafficExecutor::RampingArrivalRate { start_rate, stages } => {
            let stages =
                stages.iter().map(|stage| (&stage.target.value, stage.target.span.as_ref().unwrap_or(name)));
            std::iter::once((start_rate, name)).chain(stages).collect()
        }
    };
    let load = phases.iter().map(|phase| phase.load).fold(1.0, f64::max);
    let highest =
        rates.into_iter().max_by(|(one, _), (other, _)| one.per_second.total_cmp(&other.per_second));
    let rate = highest.filter(|(rate, _)| rate.per_second * load > RATE_MAX).map(|(rate, place)| {
        let summary = format!("{:.0} messages a second are more than can be planned", rate.per_second * load);
        let with_load = if load > 1.0 { ", the phases' `load` included" } else { "" };
        Problem::error(summary, place.clone()).hint(format!("{RATE_MAX:.0}/s at most{with_load}"))
    });
    let size_max = Limits::default().frame_bytes_max - FRAME_OVERHEAD_BYTES;
    let size = (traffic.size.value > size_max as u64).then(|| {
        let place = traffic.size.span.as_ref().unwrap_or(name).clone();
        let summary = format!("the gateway takes no message of {} bytes", traffic.size.value);
        Problem::error(summary, place).hint(format!("write {}KiB or less", size_max / 1024))
    });
    rate.into_iter().chain(size).collect()
}
