//! `rate`, `increase`, `delta`, and their kin of the last two samples.

use super::ast::Dialect;
use super::selected::{Samples, Span};

/// Which of the three extrapolating functions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Extrapolation {
    Rate,
    Increase,
    Delta,
}

/// The change between the samples, stretched to the window's edges.
///
/// An edge nearer than 1.1 mean distances is reached, a farther one by half a mean distance; a counter is not
/// stretched back beyond the moment at which it would have been zero. 2.42 compares with 1.1 distances after
/// that moment has shortened the distance, 3 before. None: fewer than two samples.
pub(super) fn extrapolated(
    span: Span,
    samples: &Samples<'_>,
    dialect: Dialect,
    kind: Extrapolation,
) -> Option<f64> {
    let count = samples.count();
    if count < 2 {
        return None;
    }
    let (first, last) = samples.ends()?;
    let is_counter = kind != Extrapolation::Delta;
    let change = if is_counter { samples.increase() } else { last.value - first.value };
    let sampled = (last.at.0 - first.at.0) as f64 / 1000.0;
    let mean_distance = sampled / (count - 1) as f64;
    let threshold = mean_distance * 1.1;
    let bridge = |distance: f64| if distance < threshold { distance } else { mean_distance / 2.0 };
    let to_start = (first.at.0 - span.from.0) as f64 / 1000.0;
    let to_end = (span.until.0 - last.at.0) as f64 / 1000.0;
    let to_zero = if is_counter && change > 0.0 && first.value >= 0.0 {
        sampled * (first.value / change)
    } else {
        f64::INFINITY
    };
    let before = match dialect {
        Dialect::V2 => bridge(to_start.min(to_zero)),
        Dialect::V3 => bridge(to_start).min(to_zero),
    };
    let mut factor = (sampled + before + bridge(to_end)) / sampled;
    if kind == Extrapolation::Rate {
        factor /= (span.until.0 - span.from.0) as f64 / 1000.0;
    }
    Some(change * factor)
}

/// `irate` (per second, a reset counts from zero) and `idelta`, from the last two samples.
pub(super) fn last_two(samples: &Samples<'_>, is_rate: bool) -> Option<f64> {
    let (before, last) = samples.last_two()?;
    let reset = is_rate && (last.reset || last.value < before.value);
    let change = if reset { last.value } else { last.value - before.value };
    match last.at.0 - before.at.0 {
        0 => None,
        millis if is_rate => Some(change / (millis as f64 / 1000.0)),
        _ => Some(change),
    }
}
