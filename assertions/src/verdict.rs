//! The verdict on alerts: what the scenario expects against what happened.
//!
//! Start at [`judge`]. It reads an [`Observed`] run and gives [`Check`]s: data with times, bounds and reasons,
//! no prose, so that every report tells the same. It neither knows how the run was driven nor evaluates rules.

use crate::exit::Finding;
use crate::slo::Outcome;
use crate::time::Millis;
use crate::timeline::AlertEvent;
use scenarios::scenario::{Expect, UnlistedPending};
use scenarios::span::Spanned;
use std::time::Duration;

mod check;
mod episode;
mod fires;
mod observed;
mod silence;
mod told;
mod words;

pub use check::{Bound, Check, Kind, Seen, Why};
pub use episode::{Episode, episodes};
pub use fires::EVENTS_NEEDED;
pub use observed::{FaultSpan, Nearest, Observed, PhaseSpan, RuleSeen, Tolerance};

/// How a verdict was obtained; it stands beside every claim.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Honesty {
    /// The clock.
    pub clock: ClockUsed,
    /// How much of the past was laid, not lived; `None` if nothing was.
    pub synthetic_history: Option<Duration>,
}

/// The clock a run used.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ClockUsed {
    /// Rule time is wall time.
    Real,
    /// Rule time passes faster, at most by this factor.
    Stretched(f64),
    /// Everything is simulated.
    Virtual,
}

impl ClockUsed {
    /// Whether a run may claim a time to detect: not on a stretched clock.
    pub fn may_claim_detection_time(self) -> bool {
        !matches!(self, ClockUsed::Stretched(_))
    }
}

/// All checks about alerts, and how they were obtained.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// How far it can be trusted.
    pub honesty: Honesty,
    /// In the order of the scenario: each entry of `fires`, the background, all else.
    pub checks: Vec<Check>,
}

impl Verdict {
    /// [`Finding::AlertsFailed`] if a check failed or had no data.
    pub fn finding(&self) -> Option<Finding> {
        let failed = self.checks.iter().any(|check| check.outcome.fails_the_run());
        failed.then_some(Finding::AlertsFailed)
    }
}

/// Judges every expectation about alerts.
pub fn judge(
    expect: &Expect,
    background: &[Spanned<String>],
    observed: &Observed<'_>,
    honesty: Honesty,
) -> Verdict {
    let episodes = episodes(observed.events);
    let fires = expect.fires.iter();
    let mut checks: Vec<Check> =
        fires.flat_map(|entry| fires::judge(observed, entry, &expect.fires, &episodes)).collect();
    checks.extend(silence::background(observed, background, &episodes));
    checks.push(silence::judge(observed, expect, background, &episodes));
    Verdict { honesty, checks }
}

/// Alerts that make a run with faults meaningless: pending or firing at `due`, when the first fault would go in,
/// and not in the background. The run must stop before the fault: 111 on a target of ours, 113 on an attached stack.
pub fn active_before_fault(
    events: &[AlertEvent],
    due: Millis,
    background: &[Spanned<String>],
) -> Vec<Episode> {
    let known = events.iter().take_while(|event| event.at <= due).cloned().collect::<Vec<_>>();
    let mut active = episodes(&known);
    active.retain(|episode| {
        episode.is_active_at(due) && !background.iter().any(|name| name.value == episode.name())
    });
    active
}

/// The exit finding of a run that [`active_before_fault`] stopped.
pub fn stopped_before_fault(target_is_ours: bool) -> Finding {
    if target_is_ours { Finding::AlertsFailed } else { Finding::Preflight }
}

/// Whether judging has to go on, up to `settle`: an alert whose pending could still become a failure is pending.
pub fn is_undecided(events: &[AlertEvent], expect: &Expect, background: &[Spanned<String>]) -> bool {
    let may = |name: &str| {
        background.iter().any(|listed| listed.value == name)
            || expect.may_fire.iter().any(|entry| entry.alert.value == name)
    };
    expect.unlisted_pending == UnlistedPending::Report
        && episodes(events)
            .iter()
            .any(|episode| episode.end.is_none() && episode.firing.is_none() && !may(episode.name()))
}

impl Outcome {
    /// No data instead of passed; a failure stays one.
    #[must_use]
    pub(crate) fn or_no_data(self) -> Outcome {
        if self == Outcome::Passed { Outcome::NoData } else { self }
    }
}

#[cfg(test)]
mod tests;
