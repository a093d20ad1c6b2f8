//! What a run left behind, as the judge reads it.

use crate::alertmanager::Alertmanager;
use crate::notify::Suppression;
use crate::time::Millis;
use crate::timeline::{AlertEvent, Notification};
use std::time::Duration;

/// A run's record. All moments are rule time.
#[derive(Debug, Clone, Copy)]
pub struct Observed<'a> {
    /// In the order of the scenario; never empty.
    pub phases: &'a [PhaseSpan],
    /// Every transition of every alert, in order of time.
    pub events: &'a [AlertEvent],
    /// Every notification, in order of time.
    pub notifications: &'a [Notification],
    /// Decisions of the router not to tell, in order of time.
    pub suppressions: &'a [Suppression],
    /// The rules, by the index that [`AlertEvent::rule`] holds.
    pub rules: &'a [RuleSeen],
    /// The routes in force; `None` where nobody is told of anything.
    pub routes: Option<&'a Alertmanager>,
    /// The last evaluation, settling included.
    pub end: Millis,
    /// What a stretched time may be off by.
    pub tolerance: Tolerance,
}

/// One phase as it was.
#[derive(Debug, Clone, PartialEq)]
pub struct PhaseSpan {
    /// Its name.
    pub name: String,
    /// Its first moment.
    pub begin: Millis,
    /// The first moment after it.
    pub end: Millis,
    /// Rule time per wall time; 1 where nothing is stretched.
    pub factor: f64,
    /// Its faults, in the order of the scenario.
    pub faults: Vec<FaultSpan>,
}

/// One fault as it was.
#[derive(Debug, Clone, PartialEq)]
pub struct FaultSpan {
    /// Its name.
    pub name: String,
    /// When it took effect, as proxy, kernel or daemon acknowledged it; `None` if it never did.
    pub effective: Option<Millis>,
    /// When its end was proven; `None` if it was not.
    pub healed: Option<Millis>,
    /// Longest time by which it holds a message back on the socket, in wall time; zero if it does not.
    pub socket_delay: Duration,
}

/// What is known of one rule.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleSeen {
    /// The alert's name.
    pub name: String,
    /// Its `for`.
    pub hold: Duration,
    /// Most events of the numerator seen in the rule's window while an instance fired; `None` if it counts none.
    pub numerator_events: Option<f64>,
    /// Events of the numerator that its threshold means at this run's traffic; `None` if it counts none.
    pub threshold_events: Option<f64>,
    /// Of the values that it compares with a number, the nearest to it; `None` if it compares none, had no value, or was not
    /// looked at because it went pending.
    pub nearest: Option<Nearest>,
}

/// How near a condition came to holding.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Nearest {
    /// The value.
    pub value: f64,
    /// What it is compared with.
    pub threshold: f64,
}

/// What a stretched time may be off by: scrape + evaluation + socket delay × factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tolerance {
    /// Rule time between scrapes.
    pub scrape: Duration,
    /// Rule time between evaluations.
    pub evaluation: Duration,
}

impl Tolerance {
    /// In rule time, for a phase of that factor; none on an unstretched clock.
    pub fn at(&self, factor: f64, socket_delay: Duration) -> Duration {
        match factor > 1.0 {
            true => self.scrape + self.evaluation + socket_delay.mul_f64(factor.min(1e6)),
            false => Duration::ZERO,
        }
    }
}

impl Observed<'_> {
    /// The phase in which a moment lies; before the first it is the first, after the last the last.
    pub fn phase_at(&self, at: Millis) -> usize {
        let after = self.phases.iter().position(|phase| at < phase.end);
        after.unwrap_or(self.phases.len().saturating_sub(1))
    }

    /// Rule time per wall time at a moment.
    pub fn factor_at(&self, at: Millis) -> f64 {
        self.phases.get(self.phase_at(at)).map_or(1.0, |phase| phase.factor)
    }
}
