//! Before a run: when each expected alert can fire, be told of and end, and which bound no run could meet.
//!
//! For `loadgen explain`, and for the refusal at load. An expression's threshold is not inverted here, so the
//! moments are bounds, not predictions: at the earliest the condition holds as soon as the fault is in force, at
//! the latest when the rule's longest window lies wholly in the fault; it is over at the latest when that
//! window lies wholly behind the heal. What follows from `for`, grids, timers and lengths of phases is exact.

use crate::alertmanager::Alertmanager;
use crate::labels::Labels;
use crate::verdict::{Kind, Tolerance};
use scenarios::problem::Problem;
use scenarios::scenario::{Cause, FaultKind, Fires, Scenario};
use scenarios::span::Spanned;
use scenarios::units::format_duration;
use std::time::Duration;

mod limits;
mod names;
mod notices;

pub use names::unknown_names;

/// What the calculation needs of a rule.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleFacts {
    /// The alert's name.
    pub name: String,
    /// `alertname` and the labels that the rule sets, without templates and without the element's own labels.
    pub labels: Labels,
    /// Its `for`.
    pub hold: Duration,
    /// Its `keep_firing_for`.
    pub keep_firing_for: Duration,
    /// The longest range or subquery in the expression; zero without any.
    pub longest_window: Duration,
    /// The group's own interval, if it has one.
    pub interval: Option<Duration>,
}

/// From the first moment at which something can happen to the last; `None`: nothing says it must happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Rule time since the start of the first phase.
    pub earliest: Duration,
    /// Rule time since the start of the first phase.
    pub latest: Option<Duration>,
}

/// A notification that can come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The receiver and its integration: `on-call/slack`.
    pub who: String,
    /// When.
    pub window: Window,
}

/// A written bound beside what can be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Margin {
    /// Which check.
    pub kind: Kind,
    /// The bound.
    pub bound: Duration,
    /// The soonest, since what the bound runs from.
    pub earliest: Duration,
    /// The latest, since what the bound runs from.
    pub latest: Option<Duration>,
    /// What a stretched clock takes from the bound.
    pub tolerance: Duration,
}

impl Margin {
    /// Seconds left between the latest moment and the bound, tolerance taken; negative if it can be missed.
    pub fn seconds(&self) -> Option<f64> {
        Some(self.bound.as_secs_f64() - self.tolerance.as_secs_f64() - self.latest?.as_secs_f64())
    }
}

/// What can happen to one expected alert.
#[derive(Debug, Clone, PartialEq)]
pub struct Forecast {
    /// The alert's name.
    pub alert: String,
    /// When its cause takes effect and is healed, as planned.
    pub cause: (Duration, Duration),
    /// It goes pending; `None` for a rule without `for`.
    pub pending: Option<Window>,
    /// It fires.
    pub firing: Window,
    /// It is told of, by integration.
    pub notices: Vec<Notice>,
    /// It ends.
    pub resolved: Window,
    /// Its end is told, by integration that wants to know.
    pub resolved_notices: Vec<Notice>,
    /// Every written bound.
    pub margins: Vec<Margin>,
}

/// The forecasts of all expected alerts with a cause, and the bounds that no run could meet.
///
/// An alert that no rule has is left out; [`unknown_names`] speaks of it. In a control run without faults there
/// is nothing to forecast.
pub fn forecast(
    scenario: &Scenario,
    rules: &[RuleFacts],
    routes: Option<&Alertmanager>,
) -> (Vec<Forecast>, Vec<Problem>) {
    let mut forecasts = Vec::new();
    let mut problems = Vec::new();
    for entry in &scenario.expect.fires {
        let Some(rule) = rules.iter().find(|rule| is_meant(entry, rule)) else { continue };
        let Some(plan) = entry.cause.as_ref().and_then(|cause| Plan::new(scenario, rule, &cause.value))
        else {
            continue;
        };
        let forecast = plan.forecast(entry, routes);
        limits::check(&plan, entry, &forecast, &mut problems);
        notices::check(&plan, entry, routes, &mut problems);
        forecasts.push(forecast);
    }
    (forecasts, problems)
}

/// Whether the entry can mean the rule: a label that the rule does not set may come from the element.
fn is_meant(entry: &Fires, rule: &RuleFacts) -> bool {
    let fits = |(name, value): &(Spanned<String>, Spanned<String>)| {
        let found = rule.labels.get(&name.value);
        found.is_empty() || found == value.value
    };
    entry.alert.value == rule.name && entry.labels.iter().all(fits)
}

/// Wall time since the start of the first phase at a rule time since then; beyond the last phase at its factor.
pub fn wall_time(scenario: &Scenario, rule_time: Duration) -> Duration {
    let mut wall = Duration::ZERO;
    let mut left = rule_time;
    for phase in &scenario.phases {
        if left <= phase.stands_for {
            return wall + phase.to_wall(left);
        }
        wall += phase.real;
        left -= phase.stands_for;
    }
    wall + scenario.phases.last().map_or(left, |phase| phase.to_wall(left))
}

/// One expected alert, its cause and its rule, in rule time since the start.
struct Plan<'a> {
    rule: &'a RuleFacts,
    effective: Duration,
    healed: Duration,
    /// End of the last phase.
    end: Duration,
    scrape: Duration,
    evaluation: Duration,
    /// Until the cause is healed.
    tolerance: Duration,
    /// After it.
    tolerance_after: Duration,
}

impl<'a> Plan<'a> {
    /// `None` if the cause has no fault.
    fn new(scenario: &Scenario, rule: &'a RuleFacts, cause: &Cause) -> Option<Plan<'a>> {
        let phase = scenario.phases.get(cause.phase)?;
        let faults = match cause.fault {
            Some(index) => phase.faults.get(index..=index)?,
            None => &phase.faults,
        };
        let begin: Duration = scenario.phases[..cause.phase].iter().map(|phase| phase.stands_for).sum();
        let at = faults.iter().map(|fault| fault.at.value).min()?;
        let until = faults.iter().map(|fault| fault.at.value + fault.duration.value).max()?;
        let delay = faults.iter().map(|fault| socket_delay(&fault.kind)).max()?;
        let scrape = scenario.alerts.scrape_interval.value;
        let evaluation = rule.interval.unwrap_or(scenario.alerts.evaluation_interval.value);
        let tolerance = Tolerance { scrape, evaluation };
        let after = scenario.phases[cause.phase..].iter().map(|phase| phase.factor).fold(1.0, f64::max);
        Some(Plan {
            rule,
            effective: begin + at,
            healed: begin + until,
            end: scenario.phases.iter().map(|phase| phase.stands_for).sum(),
            scrape,
            evaluation,
            tolerance: tolerance.at(phase.factor, delay),
            tolerance_after: tolerance.at(after, delay),
        })
    }

    /// `for`, up to the next evaluation.
    fn hold(&self) -> Duration {
        self.on_grid(self.rule.hold)
    }

    fn on_grid(&self, time: Duration) -> Duration {
        let step = self.evaluation.as_millis().max(1);
        let millis = time.as_millis().div_ceil(step).saturating_mul(step);
        Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
    }

    /// From a change of the target until the rule's longest window has seen nothing else.
    fn settles(&self) -> Duration {
        self.rule.longest_window + self.scrape + self.evaluation
    }

    /// The last moment at which the condition can still hold.
    fn condition_end(&self) -> Duration {
        self.healed + self.settles()
    }

    fn forecast(&self, entry: &Fires, routes: Option<&Alertmanager>) -> Forecast {
        // A fault shorter than the window may never be seen wholly: then nothing says that the condition holds.
        let fills = self.healed.saturating_sub(self.effective) >= self.settles();
        let pending =
            Window { earliest: self.effective, latest: fills.then(|| self.effective + self.settles()) };
        let firing = Window {
            earliest: pending.earliest + self.hold(),
            latest: pending.latest.map(|latest| latest + self.hold()),
        };
        let keeps = self.on_grid(self.rule.keep_firing_for);
        let resolved =
            Window { earliest: self.healed.max(firing.earliest), latest: Some(self.condition_end() + keeps) };
        let (notices, resolved_notices) = notices::forecast(self, entry, routes, firing, resolved);
        let mut forecast = Forecast {
            alert: entry.alert.value.clone(),
            cause: (self.effective, self.healed),
            pending: (!self.rule.hold.is_zero()).then_some(pending),
            firing,
            notices,
            resolved,
            resolved_notices,
            margins: Vec::new(),
        };
        forecast.margins = self.margins(entry, &forecast);
        forecast
    }

    fn margins(&self, entry: &Fires, forecast: &Forecast) -> Vec<Margin> {
        let since = |window: Window, origin: Duration| Window {
            earliest: window.earliest.saturating_sub(origin),
            latest: window.latest.map(|latest| latest.saturating_sub(origin)),
        };
        let slowest = |notices: &[Notice], from: Window| {
            let waits = notices.iter().filter_map(|notice| {
                let latest =
                    notice.window.latest.zip(from.latest).map(|(notice, from)| notice.saturating_sub(from));
                Some((notice.window.earliest.checked_sub(from.earliest)?, latest))
            });
            waits.max().map(|(earliest, latest)| Window { earliest, latest })
        };
        let pending = forecast.pending.map(|window| since(window, self.effective));
        let written = [
            (Kind::Pending, &entry.pending_within, pending, self.tolerance),
            (Kind::Fired, &entry.fires_within, Some(since(forecast.firing, self.effective)), self.tolerance),
            (
                Kind::Notified,
                &entry.notified_within,
                slowest(&forecast.notices, forecast.firing),
                self.tolerance,
            ),
            (
                Kind::Resolved,
                &entry.resolves_within,
                Some(since(forecast.resolved, self.healed)),
                self.tolerance_after,
            ),
            (
                Kind::ResolvedNotice,
                &entry.resolved_notice_within,
                slowest(&forecast.resolved_notices, forecast.resolved),
                self.tolerance_after,
            ),
        ];
        let margin =
            |(kind, bound, window, tolerance): (_, &Option<Spanned<Duration>>, Option<Window>, _)| {
                let window = window?;
                let bound = bound.as_ref()?.value;
                Some(Margin { kind, bound, earliest: window.earliest, latest: window.latest, tolerance })
            };
        written.into_iter().filter_map(margin).collect()
    }
}

/// The time for which a fault holds a message back on the socket, in wall time.
pub fn socket_delay(kind: &FaultKind) -> Duration {
    match kind {
        FaultKind::GatewayLatency { delay, .. } => delay.value,
        _ => Duration::ZERO,
    }
}

/// A problem at a bound's place; none for a bound without one.
fn at_bound(bound: &Spanned<Duration>, summary: String, hint: String) -> Option<Problem> {
    bound.span.clone().map(|span| Problem::error(summary, span).hint(hint))
}

fn time(duration: Duration) -> String {
    format_duration(duration)
}

#[cfg(test)]
mod tests;
