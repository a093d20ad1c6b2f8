//! Facts against expectations: alert checks, SLOs, thresholds, and whether the run can be believed.

use super::figures::client_figures;
use super::validity;
use crate::conduct::{Cut, Facts};
use crate::prepare::Prepared;
use crate::run::Settings;
use assertions::exit::{self, Finding};
use assertions::figures::ClientFigures;
use assertions::rule::{Rule, RuleKind};
use assertions::slo::{self, Outcome, SloResult};
use assertions::threshold;
use assertions::verdict::{
    self, Check, ClockUsed, FaultSpan, Honesty, Kind, Observed, PhaseSpan, RuleSeen, Tolerance,
};
use reports::figures::count;
use reports::record::{self, Checks, LatencyBound, SloCheck, SloPhase, ThresholdCheck};
use scenarios::scenario::{Clock, PhaseSet, Scenario};
use scenarios::slo::Objective;
use scenarios::threshold::{Aggregation, Comparison};
use scenarios::units::format_duration;
use std::time::Duration;

/// What was judged, and what came of it.
pub(super) struct Judged {
    pub(super) checks: Checks,
    pub(super) code: u8,
    pub(super) reason: String,
}

pub(super) fn judge(prepared: &Prepared, settings: &Settings, facts: &Facts) -> Judged {
    let figures = client_figures(prepared, facts);
    let validity = validity::validity(prepared, facts, &figures);
    let (alerts, alert_finding) = alert_checks(prepared, facts);
    let (silence, alerts): (Vec<_>, Vec<_>) = alerts.into_iter().partition(|(kind, _)| *kind == Kind::Silent);
    let strip = |checks: Vec<(Kind, record::Check)>| checks.into_iter().map(|(_, check)| check).collect();
    let checks = Checks {
        alerts: strip(alerts),
        silence: strip(silence),
        slos: slos(prepared.scenario(), &figures),
        thresholds: thresholds(prepared.scenario(), &figures, settings.no_faults),
        validity: validity.iter().map(|(check, _)| check.clone()).collect(),
    };
    let mut findings: Vec<Finding> = alert_finding.into_iter().collect();
    let doubts = validity.into_iter().filter(|(check, _)| check.outcome.fails_the_run());
    findings.extend(doubts.map(|(_, finding)| finding));
    // Of a run that was cut short, what it could not measure is no failure of the target.
    let fails = |outcome: record::Outcome| {
        outcome.fails_the_run() && !(facts.cut.is_some() && outcome == record::Outcome::NoData)
    };
    let slos_failed = checks.slos.iter().any(|check| fails(check.outcome));
    if slos_failed || checks.thresholds.iter().any(|check| fails(check.outcome)) {
        findings.push(Finding::SloFailed);
    }
    match &facts.cut {
        Some(Cut::Interrupted) => findings.push(Finding::Interrupted),
        Some(Cut::ActiveBeforeFault(_)) => findings.push(verdict::stopped_before_fault(true)),
        // A doubt about the run, and one of the checks on it.
        Some(Cut::Unguarded(_)) | None => {}
    }
    let code = exit::exit_code(&findings);
    let reason = super::reason(&findings, facts, &checks);
    Judged { checks, code, reason }
}

pub(super) fn tolerance(scenario: &Scenario) -> Tolerance {
    Tolerance {
        scrape: scenario.alerts.scrape_interval.value,
        evaluation: scenario.alerts.evaluation_interval.value,
    }
}

fn alert_checks(prepared: &Prepared, facts: &Facts) -> (Vec<(Kind, record::Check)>, Option<Finding>) {
    let scenario = prepared.scenario();
    if prepared.rules.groups.is_empty() || facts.phases.is_empty() {
        return (Vec::new(), None);
    }
    let phases: Vec<PhaseSpan> = scenario
        .phases
        .iter()
        .zip(&facts.phases)
        .map(|(phase, log)| PhaseSpan {
            name: phase.name.value.clone(),
            begin: facts.clock.rule_time(log.begin),
            end: facts.clock.rule_time(log.end),
            factor: phase.factor,
            faults: phase
                .faults
                .iter()
                .zip(&log.faults)
                .map(|(fault, log)| FaultSpan {
                    name: fault.name.value.clone(),
                    effective: log.effective.map(|at| facts.clock.rule_time(at)),
                    healed: log.healed.map(|at| facts.clock.rule_time(at)),
                    socket_delay: crate::faults::socket_delay(&fault.kind),
                })
                .collect(),
        })
        .collect();
    let begin = phases.first().map_or(facts.watch.last, |phase| phase.begin);
    let missed = |rule: &Rule| {
        scenario.expect.fires.iter().any(|entry| entry.alert.value == rule.name().value)
            && facts.watch.events.iter().all(|event| event.rule != rule.index)
    };
    let rules: Vec<RuleSeen> = prepared
        .rules
        .rules()
        .map(|rule| RuleSeen {
            name: rule.name().value.clone(),
            hold: match &rule.kind {
                RuleKind::Alert(alert) => alert.hold,
                RuleKind::Record(_) => Duration::ZERO,
            },
            numerator_events: facts.watch.numerator_events.get(&rule.index).copied(),
            threshold_events: facts.watch.threshold_events(rule.index),
            nearest: missed(rule).then(|| facts.watch.nearest(rule.index, begin)).flatten(),
        })
        .collect();
    let observed = Observed {
        phases: &phases,
        events: &facts.watch.events,
        notifications: &facts.watch.notifications,
        suppressions: facts.watch.suppressions(),
        rules: &rules,
        routes: prepared.routes.as_deref(),
        end: facts.watch.last,
        tolerance: tolerance(scenario),
    };
    let factor = scenario.phases.iter().map(|phase| phase.factor).fold(1.0, f64::max);
    let clock = match scenario.clock.value {
        Clock::Real => ClockUsed::Real,
        Clock::Stretched => ClockUsed::Stretched(factor),
    };
    let honesty = Honesty { clock, synthetic_history: facts.watch.history };
    let verdict = verdict::judge(&scenario.expect, &scenario.alerts.background, &observed, honesty);
    let finding = verdict.finding();
    let checks = verdict.checks.iter().map(|check| (check.kind, tell(check))).collect();
    (checks, finding)
}

fn tell(check: &Check) -> record::Check {
    let seen: Vec<String> = check.seen.iter().map(|seen| seen_words(check.kind, seen)).collect();
    record::Check {
        name: check.kind.words().into(),
        alert: check.alert.clone(),
        cause: check.cause.clone(),
        outcome: outcome(check.outcome),
        observed: seen.join(", "),
        bound: check.bound.map(|bound| bound.to_string()).unwrap_or_default(),
        details: check.why.iter().map(ToString::to_string).collect(),
        place: check.span.as_ref().map(ToString::to_string),
    }
}

fn seen_words(kind: Kind, seen: &assertions::verdict::Seen) -> String {
    let who = if seen.who.is_empty() { String::new() } else { format!("{} ", seen.who) };
    if let Some(count) = seen.count {
        return format!("{who}{count}");
    }
    let after = format_duration(Duration::from_secs(seen.after.as_secs_f64().round() as u64));
    let value = seen.value.map(|value| format!(" (value {value:.4})")).unwrap_or_default();
    match kind {
        Kind::Notified | Kind::ResolvedNotice | Kind::Escalated => format!("{who}+{after}"),
        Kind::Held => format!("{who}for {after}"),
        Kind::Resolved => format!("{who}{after} after healing{value}"),
        _ => format!("{who}after {after}{value}"),
    }
}

fn outcome(outcome: Outcome) -> record::Outcome {
    match outcome {
        Outcome::Passed => record::Outcome::Passed,
        Outcome::Failed => record::Outcome::Failed,
        Outcome::NoData => record::Outcome::NoData,
        Outcome::NotJudged => record::Outcome::NotJudged,
    }
}

fn slos(scenario: &Scenario, figures: &ClientFigures) -> Vec<SloCheck> {
    let judged = |entry: &scenarios::scenario::Slo| {
        let objective = &entry.objective.value;
        let SloResult { outcome: worst, phases } = slo::judge(figures, objective, &entry.during);
        SloCheck {
            slo: objective.to_string(),
            outcome: outcome(worst),
            phases: phases
                .into_iter()
                .map(|phase| SloPhase {
                    observed: phase.seen.map_or("no data".into(), |seen| slo_value(objective, seen)),
                    outcome: phase.outcome.map_or(record::Outcome::NotJudged, outcome),
                    phase: phase.phase,
                })
                .collect(),
            latency_bound: latency_bound(scenario, entry),
            details: Vec::new(),
            place: entry.objective.span.as_ref().map(ToString::to_string),
        }
    };
    scenario.expect.slos.iter().map(judged).collect()
}

fn slo_value(objective: &Objective, seen: slo::Value) -> String {
    match objective {
        Objective::Latency { .. } => format!("{:.1}ms", seen.value),
        Objective::Ratio { .. } => format!("{} of {}", count(seen.numerator), count(seen.denominator)),
    }
}

fn latency_bound(scenario: &Scenario, entry: &scenarios::scenario::Slo) -> Option<LatencyBound> {
    let Objective::Latency { percentile, bound, .. } = entry.objective.value else { return None };
    let phases = match &entry.during {
        PhaseSet::All => Vec::new(),
        PhaseSet::These(phases) => phases
            .iter()
            .filter_map(|phase| scenario.phases.get(phase.value))
            .map(|phase| phase.name.value.clone())
            .collect(),
    };
    Some(LatencyBound {
        percentile: format!("p{percentile}"),
        limit_ms: bound.as_secs_f64() * 1000.0,
        phases,
    })
}

/// In the control run a threshold about a phase whose fault was taken out, or without data, says nothing: it is there to prove
/// that the fault reached the clients.
fn thresholds(scenario: &Scenario, figures: &ClientFigures, is_control: bool) -> Vec<ThresholdCheck> {
    let causes: Vec<&str> = scenario
        .expect
        .fires
        .iter()
        .filter_map(|entry| scenario.phases.get(entry.cause.as_ref()?.value.phase))
        .map(|phase| phase.name.value.as_str())
        .collect();
    let is_about_fault = |entry: &scenarios::scenario::Threshold| {
        entry.metric.value.tags.iter().any(|(_, phase)| causes.contains(&phase.as_str()))
    };
    let judged = |entry: &scenarios::scenario::Threshold| {
        let (mut result, seen) = threshold::judge(figures, entry);
        if is_control && (result == Outcome::NoData || is_about_fault(entry)) {
            result = Outcome::NotJudged;
        }
        let expression = &entry.expression.value;
        let bounds_latency = entry.metric.value.name == "ws_msg_latency"
            && matches!(expression.comparison, Comparison::Less | Comparison::LessOrEqual);
        let percentile = match expression.aggregation {
            Aggregation::Percentile(percent) => Some(format!("p{percent}")),
            _ => None,
        };
        let phases = entry.metric.value.tags.iter().map(|(_, phase)| phase.clone()).collect();
        ThresholdCheck {
            metric: entry.metric.value.to_string(),
            expression: expression.to_string(),
            observed: seen
                .map_or("no data".into(), |value| format!("{}={}", expression.aggregation, figure(value))),
            outcome: outcome(result),
            latency_bound: percentile.filter(|_| bounds_latency).map(|percentile| LatencyBound {
                percentile,
                limit_ms: expression.value,
                phases,
            }),
            details: Vec::new(),
            place: entry.expression.span.as_ref().map(ToString::to_string),
        }
    };
    scenario.thresholds.iter().map(judged).collect()
}

fn figure(value: f64) -> String {
    if value == value.trunc() {
        format!("{value}")
    } else {
        format!("{value:.4}").trim_end_matches('0').to_owned()
    }
}
