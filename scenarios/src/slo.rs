//! What clients must have seen: `latency p99 < 200ms`, `loss < 0.01%`.

use std::fmt;
use std::time::Duration;

use crate::threshold::{Comparison, SyntaxError};
use crate::units::{self, Share, UnitError, format_duration};

/// A figure, a comparison and a bound with its unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Objective {
    /// Delivery latency from the intended send time.
    Latency {
        /// Percentile, 0 to 100.
        percentile: f64,
        /// How it is compared.
        comparison: Comparison,
        /// With what.
        bound: Duration,
    },
    /// A share of messages or of time.
    Ratio {
        /// Of what.
        figure: Ratio,
        /// How it is compared.
        comparison: Comparison,
        /// With what.
        bound: Share,
    },
}

/// Figures that are shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ratio {
    /// Confirmed messages never delivered, of the confirmed.
    Loss,
    /// Planned messages delivered, of the planned.
    Availability,
    /// Messages refused or not sent, of the planned.
    Errors,
}

impl Ratio {
    fn word(self) -> &'static str {
        match self {
            Ratio::Loss => "loss",
            Ratio::Availability => "availability",
            Ratio::Errors => "errors",
        }
    }
}

impl fmt::Display for Objective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Objective::Latency { percentile, comparison, bound } => {
                write!(f, "latency p{percentile} {comparison} {}", format_duration(*bound))
            }
            Objective::Ratio { figure, comparison, bound } => {
                write!(f, "{} {comparison} {bound}", figure.word())
            }
        }
    }
}

const FORM: &str = "SLOs look like `latency p99 < 200ms`, `loss < 0.01%` or `availability >= 99.9%`";

/// Reads an objective.
///
/// Errors: an unknown figure, no comparison or `==`, a bound without its unit.
pub fn objective(text: &str) -> Result<Objective, SyntaxError> {
    let whole = 0..text.len();
    let read = text.find(['<', '>', '=', '!']).and_then(|at| Some((at, Comparison::read(&text[at..])?)));
    let Some((at, (comparison, rest))) = read else {
        return Err(SyntaxError::new(format!("SLO `{text}` compares nothing"), whole, FORM));
    };
    if matches!(comparison, Comparison::Equal | Comparison::NotEqual) {
        return Err(SyntaxError::new("an SLO is a bound: `==` and `!=` are none", whole, FORM));
    }
    let bound = rest.trim();
    let start = text.len() - rest.trim_start().len();
    let place = start..start + bound.len();
    let unit = |error: UnitError| SyntaxError::new(error.summary, place.clone(), error.hint);
    let words: Vec<_> = text[..at].split_whitespace().collect();
    let figure = match words.as_slice() {
        ["latency", percentile] => {
            let percentile =
                percentile.strip_prefix('p').and_then(units::plain_number).filter(|p| *p <= 100.0);
            let Some(percentile) = percentile else {
                let summary = "latency needs a percentile between p0 and p100";
                return Err(SyntaxError::new(summary, 0..at, "write `latency p99 < 200ms`"));
            };
            let bound = units::duration(bound).map_err(unit)?;
            return Ok(Objective::Latency { percentile, comparison, bound });
        }
        ["loss"] => Ratio::Loss,
        ["availability"] => Ratio::Availability,
        ["errors"] => Ratio::Errors,
        _ => {
            let summary = format!("unknown SLO `{}`", text[..at].trim());
            return Err(SyntaxError::new(summary, 0..text[..at].trim_end().len(), FORM));
        }
    };
    Ok(Objective::Ratio { figure, comparison, bound: units::share(bound).map_err(unit)? })
}

#[cfg(test)]
mod tests {
    use super::objective;

    #[test]
    fn objectives() {
        let check = |text: &str, expected: &str| {
            let shown = match objective(text) {
                Ok(objective) => objective.to_string(),
                Err(error) => format!("{} @{}", error.summary, &text[error.range]),
            };
            assert_eq!(shown, expected);
        };
        check("latency p99.9<200ms", "latency p99.9 < 200ms");
        check("loss < 0.01%", "loss < 0.01%");
        check("availability >= 99.95%", "availability >= 99.95%");
        check("latency < 200ms", "unknown SLO `latency` @latency");
        check("latency p99 < 200", "time `200` has no unit @200");
        check("loss < 0.01", "share `0.01` has no `%` @0.01");
        check("loss == 0%", "an SLO is a bound: `==` and `!=` are none @loss == 0%");
        check("fast", "SLO `fast` compares nothing @fast");
    }
}
