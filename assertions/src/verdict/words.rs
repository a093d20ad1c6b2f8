//! The reasons and the honesty label in words. One wording for every report; times as operators write them.

use super::check::{Bound, Why};
use super::{ClockUsed, Honesty, Nearest};
use scenarios::units::format_duration;
use std::fmt;
use std::time::Duration;

/// `real clock`, `stretched x60`, `virtual clock`, and the synthetic history behind it.
impl fmt::Display for Honesty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.clock {
            ClockUsed::Real => f.write_str("real clock")?,
            ClockUsed::Stretched(factor) => write!(f, "stretched x{factor}")?,
            ClockUsed::Virtual => f.write_str("virtual clock")?,
        }
        match self.synthetic_history {
            Some(length) => write!(f, ", synthetic history of {}", time(length)),
            None => Ok(()),
        }
    }
}

/// `within 8m`, `at least 50m`, `at most 1`, `exactly 2`.
impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bound::Within(bound) => write!(f, "within {}", time(*bound)),
            Bound::AtLeast(bound) => write!(f, "at least {}", time(*bound)),
            Bound::AtMost(count) => write!(f, "at most {count}"),
            Bound::Exactly(count) => write!(f, "exactly {count}"),
        }
    }
}

/// One sentence without a full stop. Moments stay out of it: reports show them on their own axis.
impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::NoEffect => f.write_str("its cause never took effect"),
            Why::NotHealed => f.write_str("the end of its cause was not proven"),
            Why::ActiveBefore { labels, fired, .. } => {
                let state = if *fired { "firing" } else { "pending" };
                write!(f, "{} was {state} before its cause took effect", shown(labels))
            }
            Why::NeverPending { nearest } => {
                f.write_str("it never went pending: the condition never held")?;
                match nearest {
                    Some(Nearest { value, threshold }) => write!(
                        f,
                        "; its value came to {}, and the rule has {}",
                        significant(*value),
                        significant(*threshold)
                    ),
                    None => Ok(()),
                }
            }
            Why::PendingTooShort { lasted, needs, .. } => {
                write!(f, "it was pending for {}, the rule needs {}", time(*lasted), time(*needs))
            }
            Why::StillPending { needs, .. } => {
                write!(f, "it was pending when the run ended, the rule needs {}", time(*needs))
            }
            Why::FiredElsewhere { phase, .. } => {
                write!(f, "it fired in {phase}, before its cause took effect")
            }
            Why::NeverFired => f.write_str("it never fired"),
            Why::TooLate => f.write_str("too late"),
            Why::TooEarly => f.write_str("too early"),
            Why::TooClose { factor } => write!(f, "too close for x{factor}"),
            Why::RunEnded => f.write_str("the run ended too early to tell"),
            Why::StillFiring => f.write_str("it fires still"),
            Why::ResolvedWithoutData => {
                f.write_str("it ended because its series vanished: nothing is known, which is no recovery")
            }
            Why::ResolvedBeforeHeal => f.write_str("it ended before its cause was healed"),
            Why::FiredAgain { .. } => f.write_str("it ended once and fired again"),
            Why::NotTold { who, because } if because.is_empty() => write!(f, "{who} was not told"),
            Why::NotTold { who, because } => write!(f, "{who} was not told: {because}"),
            Why::ToldToo { who, .. } => write!(f, "{who} was told and should not have been"),
            Why::NeverTold { who } => write!(f, "not judged for {who}, which was never told"),
            Why::NobodyWantsResolved => {
                f.write_str("no receiver that was told wants to know of the end (`send_resolved` is off)")
            }
            Why::TooFewEvents { seen, needed } => {
                write!(f, "{seen:.0} events in the rule's window, a claim needs {needed:.0}")
            }
            Why::TextMissing { field, found } => write!(f, "`{field}` says {found:?}"),
            Why::Unexpected { labels, fired, phase, value, told, .. } => {
                let state = if *fired { "fired" } else { "was pending" };
                write!(f, "{} {state} in {phase} (value {value})", shown(labels))?;
                match told.is_empty() {
                    true => Ok(()),
                    false => write!(f, "; told: {}", told.join(", ")),
                }
            }
            Why::BackgroundQuiet { .. } => f.write_str("it did not fire throughout"),
            Why::NotSignificant { alert, events } => {
                write!(f, "{alert}: not significant, its threshold means {events:.1} events at this traffic")
            }
        }
    }
}

/// `Name{severity="P1"}`.
fn shown(labels: &crate::labels::Labels) -> String {
    let rest = labels.filter(|name| name != "alertname");
    match rest.is_empty() {
        true => labels.get("alertname").to_owned(),
        false => format!("{}{rest}", labels.get("alertname")),
    }
}

/// A number with at most four digits that say something.
fn significant(value: f64) -> String {
    let magnitude = if value == 0.0 { 0.0 } else { value.abs().log10().floor() };
    let decimals = (3.0 - magnitude).clamp(0.0, 15.0) as usize;
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

fn time(duration: Duration) -> String {
    format_duration(duration)
}
