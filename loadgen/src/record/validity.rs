//! Whether the run itself is to be believed, and whether all of it took place.

use super::figures::SEND_LAG_P99_MAX;
use crate::conduct::{Cut, Facts};
use crate::machine::Shares;
use crate::prepare::Prepared;
use assertions::exit::Finding;
use assertions::figures::ClientFigures;
use reports::figures::count;
use reports::record::{Check, Outcome};
use scenarios::units::format_duration;
use std::time::Duration;

/// Share of attempts that may come more than 100 ms late.
const LATE_ATTEMPTS_MAX: f64 = 0.001;
/// Share of the CPUs' time from which what the host took is named as the cause of a late generator.
const STOLEN_TOLD_MIN: f64 = 0.02;
/// Share of the CPUs' time from which their load is.
const BUSY_TOLD_MIN: f64 = 0.85;
/// Share of scrape slots that may be missed.
const GAPS_MAX: f64 = 0.05;
/// Most examples shown of things that failed alike.
const EXAMPLES_MAX: usize = 3;

/// The checks, each with what its failure means.
pub(super) fn validity(prepared: &Prepared, facts: &Facts, figures: &ClientFigures) -> Vec<(Check, Finding)> {
    let mut checks = generator(prepared, facts, figures);
    checks.extend(samples(prepared, facts));
    checks.extend(took_place(prepared, facts));
    checks
}

fn check(name: &str, passed: bool, observed: String, bound: &str, details: Vec<String>) -> Check {
    Check {
        name: name.into(),
        alert: None,
        cause: None,
        outcome: if passed { Outcome::Passed } else { Outcome::Failed },
        observed,
        bound: bound.into(),
        details,
        place: None,
    }
}

/// Whether the generator kept its schedule, and lost no message in its books.
fn generator(prepared: &Prepared, facts: &Facts, figures: &ClientFigures) -> Vec<(Check, Finding)> {
    let mut checks = Vec::new();
    let worst = prepared.scenario().phases.iter().enumerate().filter_map(|(index, phase)| {
        let lag = facts.figures.phases.get(index + 1)?.1.send_lag.histogram();
        (!lag.is_empty()).then(|| (lag.value_at_quantile(0.99), phase.name.value.clone(), index))
    });
    if let Some((lag, phase, index)) = worst.max() {
        let passed = Duration::from_micros(lag) <= SEND_LAG_P99_MAX;
        let observed = format!("p99 {:.2}ms in {phase}", lag as f64 / 1000.0);
        let machine = facts.phases.get(index).and_then(|phase| phase.machine);
        let details = if passed { vec![] } else { vec![late_because(machine)] };
        let bound = format!("at most {}", format_duration(SEND_LAG_P99_MAX));
        checks.push((check("send lag", passed, observed, &bound, details), Finding::Void));
    }
    let planned = figures.total.messages.planned();
    let late: u64 = facts.figures.phases.iter().skip(1).map(|(_, phase)| phase.attempted_late).sum();
    if planned > 0 {
        let passed = late as f64 <= planned as f64 * LATE_ATTEMPTS_MAX;
        let observed = format!("{} of {} more than 100ms late", count(late), count(planned));
        checks.push((check("attempts", passed, observed, "at most 0.1%", Vec::new()), Finding::Void));
    }
    let (tally, classes) = (facts.figures.tally, facts.figures.tally_of_classes());
    if tally.planned > 0 {
        let passed = tally == classes;
        let observed = format!("{} planned", count(tally.planned));
        let details =
            if passed { vec![] } else { vec![format!("counted {tally:?}"), format!("classes {classes:?}")] };
        checks.push((check("classes add up", passed, observed, "", details), Finding::ToolFailed));
    }
    if let Some(broken) = &facts.broken {
        checks.push((check("figures", false, broken.clone(), "", Vec::new()), Finding::ToolFailed));
    }
    checks
}

/// Why the generator may have been late, and what would help, by what the machine's CPUs did meanwhile.
fn late_because(machine: Option<Shares>) -> String {
    let late = "the generator could not keep its schedule";
    match machine {
        Some(Shares { stolen, .. }) if stolen >= STOLEN_TOLD_MIN => format!(
            "{late}: the machine's host took {:.0}% of its CPU time for others (steal); run again, or on a machine of its own",
            stolen * 100.0
        ),
        Some(Shares { busy, .. }) if busy >= BUSY_TOLD_MIN => format!(
            "{late}: the CPUs were {:.0}% busy; end what else runs, give it more cores, or lower the rate",
            busy * 100.0
        ),
        Some(Shares { busy, .. }) => format!(
            "{late}, though the CPUs were only {:.0}% busy: something held it up for moments; run again, or lower the rate",
            busy * 100.0
        ),
        None => format!("{late}: give it more CPU, or lower the rate"),
    }
}

/// Whether the rules saw what they should have.
fn samples(prepared: &Prepared, facts: &Facts) -> Vec<(Check, Finding)> {
    let mut checks = Vec::new();
    let slots = facts.watch.scrapes + facts.watch.gaps + facts.watch.failed_scrapes();
    if slots > 0 {
        let passed = facts.watch.gaps as f64 <= slots as f64 * GAPS_MAX;
        let observed = format!("{} of {} slots missed", count(facts.watch.gaps), count(slots));
        checks.push(check("scrapes", passed, observed, "at most 5%", Vec::new()));
    }
    let unreadable = &facts.watch.unreadable;
    if !unreadable.is_empty() {
        let examples = unreadable.iter().take(EXAMPLES_MAX).map(|(_, error)| error.clone()).collect();
        let observed = format!("{} scrapes could not be read", unreadable.len());
        checks.push(check("exposition", false, observed, "", examples));
    }
    let errors = &facts.watch.errors;
    if !errors.is_empty() {
        let examples = errors.iter().take(EXAMPLES_MAX);
        let examples = examples.map(|error| format!("{}: {}", error.name, error.reason)).collect();
        checks.push(check("evaluation", false, format!("{} evaluations failed", errors.len()), "", examples));
    }
    if let Some(why) = facts.no_past.as_ref().filter(|_| !prepared.rules.groups.is_empty()) {
        let help = "without a past the rules' windows are shorter than they say, and fire too easily";
        checks.push(check("history", false, why.clone(), "laid before the first phase", vec![help.into()]));
    }
    checks.into_iter().map(|check| (check, Finding::Void)).collect()
}

/// Whether clients, faults and the target were there as planned.
fn took_place(prepared: &Prepared, facts: &Facts) -> Vec<(Check, Finding)> {
    let mut checks = Vec::new();
    let clients = facts.clients_planned;
    if facts.clients_in < clients && facts.cut.is_none() {
        let observed = format!("{} of {} connected", count(facts.clients_in), count(clients));
        let help = "the others had no session when the first phase began, so nothing is known of them";
        checks.push((check("clients", false, observed, "all", vec![help.into()]), Finding::SloFailed));
    }
    let faults: usize = prepared.scenario().phases.iter().map(|phase| phase.faults.len()).sum();
    if !facts.not_in_force.is_empty() {
        let observed = format!("{} of {faults} never took effect", facts.not_in_force.len());
        checks.push((
            check("faults in force", false, observed, "all", facts.not_in_force.clone()),
            Finding::Void,
        ));
    }
    if let Some(Cut::Unguarded(why)) = &facts.cut {
        checks.push((check("guarded", false, why.clone(), "all along", Vec::new()), Finding::Void));
    }
    if facts.target_died {
        checks.push((check("target", false, "ended by itself".into(), "", Vec::new()), Finding::SloFailed));
    }
    if !facts.unhealed.is_empty() {
        let observed = "not proven".into();
        checks
            .push((check("faults healed", false, observed, "", facts.unhealed.clone()), Finding::NotHealed));
    }
    checks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_generator_is_told_what_held_it_up() {
        let of = |busy, stolen| late_because(Some(Shares { busy, stolen }));
        assert!(of(0.5, 0.1).contains("host took 10% of its CPU time"));
        assert!(of(0.97, 0.01).contains("CPUs were 97% busy; end what else runs"));
        assert!(of(0.4, 0.0).contains("only 40% busy"));
        assert!(late_because(None).contains("give it more CPU"));
    }
}
