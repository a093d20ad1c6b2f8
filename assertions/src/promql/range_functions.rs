//! Functions of the samples in a window: rate and its kin, and `*_over_time`.
//!
//! Formulas as in Prometheus' documentation and behaviour, 2.42 for dialect 2; where the two dialects differ
//! the difference is in one place and says so. `rate`, `increase`, sums, averages and counts use the window's
//! running totals; everything else walks.

use super::ast::{Dialect, Expr};
use super::eval::{
    Element, EvalError, Evaluated, Query, RangeArgument, Samples, argument, keeps_name, reject_duplicates,
};
use super::function::RangeFunction as R;
use super::{instant_functions, quantile};
use crate::series::{Compensated, Point};
use crate::time::Millis;

/// The elements of a range function at `at`.
pub(super) fn vector(
    query: &Query<'_>,
    function: R,
    arguments: &[Expr],
    at: Millis,
) -> Evaluated<Vec<Element>> {
    let range_index = arguments.iter().position(|a| matches!(a, Expr::Range { .. } | Expr::Subquery(_)));
    let range = argument(arguments, range_index.unwrap_or(0), "a range function")?;
    let argument = query.range(range, at)?;
    let parameters = Parameters::evaluate(query, function, arguments, at)?;
    let mut elements = Vec::with_capacity(argument.series.len());
    for series in &argument.series {
        if let Some(value) = value(query, function, &argument, &series.samples, &parameters, at) {
            elements.push(query.range_element(series, value, keeps_name(function)));
        }
    }
    if !argument.one_name {
        reject_duplicates(&elements)?;
    }
    Ok(elements)
}

/// The scalar arguments of those functions that have any.
#[derive(Default)]
struct Parameters {
    first: f64,
    second: f64,
}

impl Parameters {
    fn evaluate(query: &Query<'_>, function: R, arguments: &[Expr], at: Millis) -> Evaluated<Parameters> {
        let scalar = |index| query.scalar(argument(arguments, index, "the function")?, at);
        let parameters = match function {
            R::QuantileOverTime => Parameters { first: scalar(0)?, second: 0.0 },
            R::PredictLinear => Parameters { first: scalar(1)?, second: 0.0 },
            R::DoubleExponentialSmoothing => Parameters { first: scalar(1)?, second: scalar(2)? },
            _ => Parameters::default(),
        };
        let in_range = |factor: f64| factor > 0.0 && factor < 1.0;
        if function == R::DoubleExponentialSmoothing
            && !(in_range(parameters.first) && in_range(parameters.second))
        {
            let problem = "smoothing and trend factors between 0 and 1";
            return Err(EvalError::Argument { function: "double exponential smoothing", problem });
        }
        Ok(parameters)
    }
}

/// The function's value for one series; `None` if it has none, as a rate of one sample.
fn value(
    query: &Query<'_>,
    function: R,
    argument: &RangeArgument<'_>,
    samples: &Samples<'_>,
    parameters: &Parameters,
    at: Millis,
) -> Option<f64> {
    let dialect = query.settings.dialect;
    match function {
        R::Rate => extrapolated(argument, samples, dialect, Extrapolation::Rate),
        R::Increase => extrapolated(argument, samples, dialect, Extrapolation::Increase),
        R::Delta => extrapolated(argument, samples, dialect, Extrapolation::Delta),
        R::Irate => last_two(samples, true),
        R::Idelta => last_two(samples, false),
        R::AvgOverTime => Some(average(samples)),
        R::SumOverTime => Some(sum(samples)),
        R::CountOverTime => Some(count(samples) as f64),
        R::PresentOverTime => Some(1.0),
        R::LastOverTime => ends(samples).map(|(_, last)| last.value),
        R::FirstOverTime => ends(samples).map(|(first, _)| first.value),
        R::TsOfFirstOverTime => ends(samples).map(|(first, _)| first.at.seconds()),
        R::TsOfLastOverTime => ends(samples).map(|(_, last)| last.at.seconds()),
        _ => walked(function, samples, parameters, at),
    }
}

/// Functions that look at each sample.
fn walked(function: R, samples: &Samples<'_>, parameters: &Parameters, at: Millis) -> Option<f64> {
    let points: Vec<Point> = samples.points().collect();
    let first = points.first()?;
    match function {
        R::Deriv => regression(&points, first.at).map(|line| line.slope),
        R::PredictLinear => {
            regression(&points, at).map(|line| line.slope * parameters.first + line.intercept)
        }
        R::DoubleExponentialSmoothing => smoothed(&points, parameters.first, parameters.second),
        R::Changes => {
            Some(count_pairs(&points, |a, b| a.value != b.value && !(a.value.is_nan() && b.value.is_nan())))
        }
        R::Resets => Some(count_pairs(&points, |a, b| b.reset || b.value < a.value)),
        R::MinOverTime => Some(extreme(&points, |best, value| value < best).value),
        R::MaxOverTime => Some(extreme(&points, |best, value| value > best).value),
        R::TsOfMinOverTime => Some(extreme(&points, |best, value| value <= best).at.seconds()),
        R::TsOfMaxOverTime => Some(extreme(&points, |best, value| value >= best).at.seconds()),
        R::StdvarOverTime => Some(variance(&points)),
        R::StddevOverTime => Some(variance(&points).sqrt()),
        R::QuantileOverTime => Some(quantile::quantile(parameters.first, values(&points))),
        R::MadOverTime => {
            let median = quantile::quantile(0.5, values(&points));
            Some(quantile::quantile(0.5, points.iter().map(|p| (p.value - median).abs()).collect()))
        }
        _ => None,
    }
}

fn values(points: &[Point]) -> Vec<f64> {
    points.iter().map(|point| point.value).collect()
}

/// Which of the three extrapolating functions.
#[derive(Clone, Copy, PartialEq)]
enum Extrapolation {
    Rate,
    Increase,
    Delta,
}

/// `rate`, `increase`, `delta`: the change between the samples, stretched to the window's edges.
///
/// An edge nearer than 1.1 mean distances is reached, a farther one by half a mean distance; a counter is not
/// stretched back beyond the moment at which it would have been zero. 2.42 compares with 1.1 distances after
/// that moment has shortened the distance, 3 before. None: fewer than two samples.
fn extrapolated(
    argument: &RangeArgument<'_>,
    samples: &Samples<'_>,
    dialect: Dialect,
    kind: Extrapolation,
) -> Option<f64> {
    let (first, last) = ends(samples)?;
    let count = count(samples);
    if count < 2 {
        return None;
    }
    let is_counter = kind != Extrapolation::Delta;
    let mut change = last.value - first.value;
    if is_counter {
        change += drops(samples);
    }
    let sampled = (last.at.0 - first.at.0) as f64 / 1000.0;
    let mean_distance = sampled / (count - 1) as f64;
    let threshold = mean_distance * 1.1;
    let bridge = |distance: f64| if distance < threshold { distance } else { mean_distance / 2.0 };
    let to_start = (first.at.0 - argument.from.0) as f64 / 1000.0;
    let to_end = (argument.until.0 - last.at.0) as f64 / 1000.0;
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
        factor /= (argument.until.0 - argument.from.0) as f64 / 1000.0;
    }
    Some(change * factor)
}

/// `irate` (per second, a reset counts from zero) and `idelta`, from the last two samples.
fn last_two(samples: &Samples<'_>, is_rate: bool) -> Option<f64> {
    let points: Vec<Point> = samples.points().collect();
    let [.., before, last] = points.as_slice() else { return None };
    let reset = is_rate && (last.reset || last.value < before.value);
    let change = if reset { last.value } else { last.value - before.value };
    match last.at.0 - before.at.0 {
        0 => None,
        millis if is_rate => Some(change / (millis as f64 / 1000.0)),
        _ => Some(change),
    }
}

fn ends(samples: &Samples<'_>) -> Option<(Point, Point)> {
    match samples {
        Samples::Stored(window) => Some((window.first(), window.last())),
        Samples::Computed(points) => Some((*points.first()?, *points.last()?)),
    }
}

fn count(samples: &Samples<'_>) -> usize {
    match samples {
        Samples::Stored(window) => window.count(),
        Samples::Computed(points) => points.len(),
    }
}

fn drops(samples: &Samples<'_>) -> f64 {
    match samples {
        Samples::Stored(window) => window.drops(),
        Samples::Computed(points) => {
            points.windows(2).filter(|pair| pair[1].value < pair[0].value).map(|pair| pair[0].value).sum()
        }
    }
}

fn sum(samples: &Samples<'_>) -> f64 {
    match samples {
        Samples::Stored(window) => window.sum(),
        Samples::Computed(points) => compensated(points.iter().map(|point| point.value)),
    }
}

/// The mean; through a running mean where the sum overflows though no sample is infinite.
fn average(samples: &Samples<'_>) -> f64 {
    let total = sum(samples);
    if total.is_infinite() && samples.points().all(|point| point.value.is_finite()) {
        return instant_functions::running_mean(samples.points().map(|point| point.value));
    }
    total / count(samples) as f64
}

/// A sum whose rounding errors are added up and put back.
pub(super) fn compensated(values: impl Iterator<Item = f64>) -> f64 {
    let mut sum = Compensated::default();
    values.for_each(|value| sum.add(value));
    sum.value()
}

fn count_pairs(points: &[Point], counts: impl Fn(Point, Point) -> bool) -> f64 {
    points.windows(2).filter(|pair| counts(pair[0], pair[1])).count() as f64
}

/// The sample that no other replaces; a number always replaces NaN.
fn extreme(points: &[Point], replaces: impl Fn(f64, f64) -> bool) -> Point {
    let mut best = points[0];
    for point in &points[1..] {
        if best.value.is_nan() || replaces(best.value, point.value) {
            best = *point;
        }
    }
    best
}

/// Population variance by Welford's recurrence.
fn variance(points: &[Point]) -> f64 {
    instant_functions::variance(points.iter().map(|point| point.value))
}

/// A straight line through samples.
struct Line {
    /// Per second.
    slope: f64,
    /// Value at the moment asked for.
    intercept: f64,
}

/// Least squares, with x in seconds from `origin`. None: fewer than two samples.
fn regression(points: &[Point], origin: Millis) -> Option<Line> {
    let first = points.first()?;
    if points.len() < 2 {
        return None;
    }
    // A constant series must give exactly zero, whatever rounding says.
    if points.iter().all(|point| point.value == first.value) {
        let slope = if first.value.is_infinite() { f64::NAN } else { 0.0 };
        let intercept = if first.value.is_infinite() { f64::NAN } else { first.value };
        return Some(Line { slope, intercept });
    }
    let x = |point: &Point| (point.at.0 - origin.0) as f64 / 1000.0;
    let n = points.len() as f64;
    let sum_x = compensated(points.iter().map(x));
    let sum_y = compensated(points.iter().map(|p| p.value));
    let sum_xy = compensated(points.iter().map(|p| x(p) * p.value));
    let sum_xx = compensated(points.iter().map(|p| x(p) * x(p)));
    let slope = (sum_xy - sum_x * sum_y / n) / (sum_xx - sum_x * sum_x / n);
    Some(Line { slope, intercept: sum_y / n - slope * (sum_x / n) })
}

/// Holt's double exponential smoothing. None: fewer than two samples.
fn smoothed(points: &[Point], smoothing: f64, trend_factor: f64) -> Option<f64> {
    if points.len() < 2 {
        return None;
    }
    let mut level = points[0].value;
    let mut trend = points[1].value - points[0].value;
    let mut previous = 0.0;
    for (index, point) in points.iter().enumerate().skip(1) {
        if index > 1 {
            trend = trend_factor * (level - previous) + (1.0 - trend_factor) * trend;
        }
        let next = smoothing * point.value + (1.0 - smoothing) * (level + trend);
        previous = level;
        level = next;
    }
    Some(level)
}

/// `absent_over_time`: one element if the range has no sample at all.
pub(super) fn absent_over_time(query: &Query<'_>, arguments: &[Expr], at: Millis) -> Evaluated<Vec<Element>> {
    let range = argument(arguments, 0, "absent_over_time")?;
    if !query.range(range, at)?.series.is_empty() {
        return Ok(Vec::new());
    }
    Ok(vec![Element::new(instant_functions::labels_of_absent(range), 1.0)])
}
