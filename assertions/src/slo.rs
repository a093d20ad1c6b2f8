//! Service level objectives over what clients saw: `latency p99 < 200ms`, `loss < 0.01%`.
//!
//! Each phase is judged by itself; the objective holds if it holds in all of them. No data fails.

use crate::figures::{ClientFigures, Figures};
use scenarios::scenario::PhaseSet;
use scenarios::slo::{Objective, Ratio};

/// Passed, failed, or nothing to judge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// As expected.
    Passed,
    /// Not as expected.
    Failed,
    /// Nothing was seen that could be judged. Counts as failed.
    NoData,
    /// Another failure made it meaningless, or nothing was asked. Does not count.
    NotJudged,
}

impl Outcome {
    /// Whether the run cannot pass with it.
    pub fn fails_the_run(self) -> bool {
        matches!(self, Outcome::Failed | Outcome::NoData)
    }
}

/// An indicator's value with the counts behind it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Value {
    /// Milliseconds for latency, else a share from 0 to 1.
    pub value: f64,
    /// Messages behind the value: the share's numerator, or the latencies above the quantile's rank.
    pub numerator: u64,
    /// The share's denominator, or the number of latencies.
    pub denominator: u64,
}

/// One phase of an objective.
#[derive(Debug, Clone, PartialEq)]
pub struct PhaseResult {
    /// The phase.
    pub phase: String,
    /// What was seen; `None` without data.
    pub seen: Option<Value>,
    /// Whether it was to be judged, and how that went; `None` for a phase that is only shown.
    pub outcome: Option<Outcome>,
}

/// An objective's verdict.
#[derive(Debug, Clone, PartialEq)]
pub struct SloResult {
    /// The worst of the judged phases; no data if none was judged.
    pub outcome: Outcome,
    /// Every phase of the run, in order.
    pub phases: Vec<PhaseResult>,
}

/// Judges one objective phase by phase. `figures` has the phases of the scenario, in its order, from the source that
/// the scenario names.
pub fn judge(figures: &ClientFigures, objective: &Objective, judged: &PhaseSet) -> SloResult {
    let mut phases = Vec::new();
    for (index, phase) in figures.phases.iter().enumerate() {
        let seen = measure(&phase.figures, objective);
        let outcome = judged.contains(index).then(|| match seen {
            None => Outcome::NoData,
            Some(seen) if holds(objective, seen.value) => Outcome::Passed,
            Some(_) => Outcome::Failed,
        });
        phases.push(PhaseResult { phase: phase.name.clone(), seen, outcome });
    }
    let outcomes: Vec<Outcome> = phases.iter().filter_map(|phase| phase.outcome).collect();
    SloResult { outcome: worst(&outcomes).unwrap_or(Outcome::NoData), phases }
}

fn holds(objective: &Objective, value: f64) -> bool {
    match objective {
        Objective::Latency { comparison, bound, .. } => comparison.holds(value, bound.as_secs_f64() * 1000.0),
        Objective::Ratio { comparison, bound, .. } => comparison.holds(value, bound.0),
    }
}

/// Failed before no data before passed; `None` for an empty list.
pub fn worst(outcomes: &[Outcome]) -> Option<Outcome> {
    [Outcome::Failed, Outcome::NoData, Outcome::Passed].into_iter().find(|outcome| outcomes.contains(outcome))
}

/// An objective's figure over one stretch of time; `None` if it has nothing to divide by.
///
/// Loss is lost of confirmed. Availability and errors are shares of the attempted messages: what the generator
/// missed is not the target's doing, a full socket and an absent connection are. Queued for an absent recipient is no error.
pub fn measure(figures: &Figures, objective: &Objective) -> Option<Value> {
    let messages = &figures.messages;
    let share = |numerator: u64, denominator: u64| {
        let value = numerator as f64 / denominator as f64;
        (denominator > 0).then_some(Value { value, numerator, denominator })
    };
    match objective {
        Objective::Latency { percentile, .. } => {
            let quantile = percentile / 100.0;
            let count = figures.latency.len();
            let value = figures.latency.value_at_quantile(quantile) as f64 / 1000.0;
            let above = count - ((count as f64 * quantile).ceil() as u64).min(count);
            (count > 0).then_some(Value { value, numerator: above, denominator: count })
        }
        Objective::Ratio { figure: Ratio::Loss, .. } => share(messages.lost, messages.confirmed()),
        Objective::Ratio { figure: Ratio::Availability, .. } => {
            share(messages.attempted() - messages.failed(), messages.attempted())
        }
        Objective::Ratio { figure: Ratio::Errors, .. } => share(messages.failed(), messages.attempted()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::{MessageCounts, PhaseFigures};
    use scenarios::span::Spanned;

    fn run(phases: &[(&str, MessageCounts, &[u64])]) -> ClientFigures {
        let phases = phases.iter().map(|(name, messages, latencies_ms)| {
            let mut figures = Figures { messages: *messages, ..Figures::empty() };
            for latency in *latencies_ms {
                figures.latency.record(latency * 1000).expect("in range");
            }
            PhaseFigures { name: (*name).to_owned(), figures }
        });
        ClientFigures { phases: phases.collect(), total: Figures::empty() }
    }

    /// `during`: indices of phases.
    #[track_caller]
    fn check(figures: &ClientFigures, slo: &str, during: &[usize], expected: Outcome) {
        let objective = scenarios::slo::objective(slo).expect("an objective");
        let during = during.iter().map(|index| Spanned::default_value(*index)).collect();
        let result = judge(figures, &objective, &PhaseSet::These(during));
        assert_eq!(result.outcome, expected, "{slo}: {result:?}");
    }

    #[test]
    fn each_phase_is_judged_by_itself_and_no_data_fails() {
        let good = MessageCounts { delivered: 10_000, ..MessageCounts::default() };
        let bad = MessageCounts { delivered: 9_998, lost: 2, ..MessageCounts::default() };
        let slow: Vec<u64> = vec![600; 100];
        let quick: Vec<u64> = (0..100).map(|n| if n == 99 { 600 } else { 4 }).collect();
        let figures =
            run(&[("steady", good, &quick), ("slow", bad, &slow), ("empty", MessageCounts::default(), &[])]);
        check(&figures, "latency p99 < 200ms", &[0], Outcome::Passed);
        check(&figures, "latency p99 < 200ms", &[0, 1], Outcome::Failed);
        check(&figures, "latency p99 < 200ms", &[0, 2], Outcome::NoData);
        check(&figures, "latency p99 < 200ms", &[1, 2], Outcome::Failed);
        check(&figures, "latency p99 < 200ms", &[], Outcome::NoData);
        check(&figures, "loss < 0.01%", &[0], Outcome::Passed);
        check(&figures, "loss < 0.01%", &[1], Outcome::Failed);
        check(&figures, "loss <= 0.02%", &[1], Outcome::Passed);
    }

    #[test]
    fn what_the_generator_missed_is_not_the_targets_error() {
        let counts = MessageCounts {
            missed: 50,
            delivered: 90,
            queued: 5,
            offline: 3,
            refused: 2,
            ..MessageCounts::default()
        };
        let figures = run(&[("a", counts, &[])]);
        assert_eq!((counts.planned(), counts.attempted(), counts.confirmed()), (150, 100, 95));
        check(&figures, "availability >= 95%", &[0], Outcome::Passed);
        check(&figures, "availability > 95%", &[0], Outcome::Failed);
        check(&figures, "errors <= 5%", &[0], Outcome::Passed);
        let offline = MessageCounts { offline: 10, ..MessageCounts::default() };
        let figures = run(&[("down", offline, &[])]);
        check(&figures, "availability > 0%", &[0], Outcome::Failed);
        check(&figures, "loss < 10%", &[0], Outcome::NoData);
    }
}
