//! Service level objectives over what clients saw: `latency p99 < 200ms`, `loss < 0.01%`.
//!
//! Each phase is judged by itself; the objective holds if it holds in all of them. No data fails.

use crate::figures::{ClientFigures, Figures};

/// What an objective is about.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Indicator {
    /// A quantile (0 to 1) of latency from the intended send time, in milliseconds.
    Latency {
        /// 0.99 for p99.
        quantile: f64,
    },
    /// Lost of confirmed messages, 0 to 1.
    Loss,
    /// Of the attempted messages, those that arrived or wait for an absent recipient, 0 to 1.
    Availability,
    /// Of the attempted messages, all others, 0 to 1.
    Errors,
}

/// How a value is compared with its bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    Greater,
    /// `>=`
    AtLeast,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
}

impl Comparison {
    /// Whether `value` keeps to `bound`; never for a value that is no number.
    pub fn holds(self, value: f64, bound: f64) -> bool {
        match self {
            Comparison::Less => value < bound,
            Comparison::AtMost => value <= bound,
            Comparison::Greater => value > bound,
            Comparison::AtLeast => value >= bound,
            #[expect(clippy::float_cmp, reason = "the user asked for equality; counts are exact")]
            Comparison::Equal => value == bound,
            #[expect(clippy::float_cmp, reason = "the user asked for inequality; counts are exact")]
            Comparison::NotEqual => !value.is_nan() && value != bound,
        }
    }
}

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

/// Judges one objective in the phases that `judged` wants; a wanted phase without figures is no data.
pub fn judge(
    figures: &ClientFigures,
    indicator: Indicator,
    comparison: Comparison,
    bound: f64,
    judged: impl Fn(&str) -> bool,
) -> SloResult {
    let mut phases = Vec::new();
    for phase in &figures.phases {
        let seen = measure(&phase.figures, indicator);
        let outcome = judged(&phase.name).then(|| match seen {
            None => Outcome::NoData,
            Some(seen) if comparison.holds(seen.value, bound) => Outcome::Passed,
            Some(_) => Outcome::Failed,
        });
        phases.push(PhaseResult { phase: phase.name.clone(), seen, outcome });
    }
    let outcomes: Vec<Outcome> = phases.iter().filter_map(|phase| phase.outcome).collect();
    SloResult { outcome: worst(&outcomes).unwrap_or(Outcome::NoData), phases }
}

/// Failed before no data before passed; `None` for an empty list.
pub fn worst(outcomes: &[Outcome]) -> Option<Outcome> {
    [Outcome::Failed, Outcome::NoData, Outcome::Passed].into_iter().find(|outcome| outcomes.contains(outcome))
}

/// An indicator over one stretch of time; `None` if it has nothing to divide by.
pub fn measure(figures: &Figures, indicator: Indicator) -> Option<Value> {
    let messages = &figures.messages;
    let share = |numerator: u64, denominator: u64| {
        let value = numerator as f64 / denominator as f64;
        (denominator > 0).then_some(Value { value, numerator, denominator })
    };
    match indicator {
        Indicator::Latency { quantile } => {
            let count = figures.latency.len();
            let value = figures.latency.value_at_quantile(quantile) as f64 / 1000.0;
            let above = count - ((count as f64 * quantile).ceil() as u64).min(count);
            (count > 0).then_some(Value { value, numerator: above, denominator: count })
        }
        Indicator::Loss => share(messages.lost, messages.confirmed()),
        Indicator::Availability => share(messages.attempted() - messages.failed(), messages.attempted()),
        Indicator::Errors => share(messages.failed(), messages.attempted()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::{MessageCounts, PhaseFigures};

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

    #[track_caller]
    fn check(
        figures: &ClientFigures,
        indicator: Indicator,
        op: Comparison,
        bound: f64,
        during: &[&str],
        expected: Outcome,
    ) {
        let result = judge(figures, indicator, op, bound, |name| during.contains(&name));
        assert_eq!(result.outcome, expected, "{result:?}");
    }

    #[test]
    fn each_phase_is_judged_by_itself_and_no_data_fails() {
        let good = MessageCounts { delivered: 10_000, ..MessageCounts::default() };
        let bad = MessageCounts { delivered: 9_998, lost: 2, ..MessageCounts::default() };
        let slow: Vec<u64> = vec![600; 100];
        let quick: Vec<u64> = (0..100).map(|n| if n == 99 { 600 } else { 4 }).collect();
        let figures =
            run(&[("steady", good, &quick), ("slow", bad, &slow), ("empty", MessageCounts::default(), &[])]);
        let p99 = Indicator::Latency { quantile: 0.99 };
        check(&figures, p99, Comparison::Less, 200.0, &["steady"], Outcome::Passed);
        check(&figures, p99, Comparison::Less, 200.0, &["steady", "slow"], Outcome::Failed);
        check(&figures, p99, Comparison::Less, 200.0, &["steady", "empty"], Outcome::NoData);
        check(&figures, p99, Comparison::Less, 200.0, &["slow", "empty"], Outcome::Failed);
        check(&figures, p99, Comparison::Less, 200.0, &[], Outcome::NoData);
        check(&figures, Indicator::Loss, Comparison::Less, 0.0001, &["steady"], Outcome::Passed);
        check(&figures, Indicator::Loss, Comparison::Less, 0.0001, &["slow"], Outcome::Failed);
        check(&figures, Indicator::Loss, Comparison::AtMost, 0.0002, &["slow"], Outcome::Passed);
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
        check(&figures, Indicator::Availability, Comparison::AtLeast, 0.95, &["a"], Outcome::Passed);
        check(&figures, Indicator::Availability, Comparison::Greater, 0.95, &["a"], Outcome::Failed);
        check(&figures, Indicator::Errors, Comparison::AtMost, 0.05, &["a"], Outcome::Passed);
        let offline = MessageCounts { offline: 10, ..MessageCounts::default() };
        let figures = run(&[("down", offline, &[])]);
        check(&figures, Indicator::Availability, Comparison::Greater, 0.0, &["down"], Outcome::Failed);
        check(&figures, Indicator::Loss, Comparison::Less, 0.1, &["down"], Outcome::NoData);
    }
}
