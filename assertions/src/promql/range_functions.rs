//! Functions of the samples in a window: rate and its kin, and `*_over_time`.
//!
//! Formulas as in Prometheus' documentation and behaviour, 2.42 for dialect 2; where the two dialects differ
//! the difference is in one place and says so. Of a long window `rate`, `increase`, sums, averages and counts use
//! the running totals; everything else walks.

use super::annotation::Annotation;
use super::ast::{Dialect, Expr, Selector};
use super::eval::{Element, EvalError, Evaluated, Query, argument, keeps_name, reject_duplicates};
use super::extrapolate::{Extrapolation, extrapolated, last_two};
use super::function::{Function, OtherFunction, RangeFunction as R};
use super::selected::{Samples, Span};
use super::sums::{self, Kahan};
use super::{instant_functions, quantile};
use crate::series::Point;
use crate::store::METRIC_NAME;
use crate::template::go_float;
use crate::time::Millis;

/// The elements of a range function at `at`.
pub(super) fn vector(
    query: &Query<'_>,
    function: R,
    arguments: &[Expr],
    at: Millis,
) -> Evaluated<Vec<Element>> {
    let range = range_argument(arguments)?;
    let argument = query.late_range(range, at, lateness(query, function, arguments, range, at))?;
    let window = Windowed::new(query, function, arguments, argument.span, at)?;
    if argument.series.is_empty() {
        // Prometheus asks the function for each series, so its other arguments are judged only if there are some.
        return Ok(Vec::new());
    }
    window.check_factors()?;
    if function == R::QuantileOverTime {
        query.annotate_quantile(window.first, self::argument(arguments, 0, "quantile_over_time")?);
    }
    let of_counter = matches!(function, R::Rate | R::Increase);
    let mut elements = Vec::with_capacity(argument.series.len());
    for series in &argument.series {
        if let Some(value) = window.value(&series.samples) {
            elements.push(query.range_element(series, value, keeps_name(function)));
            if of_counter && query.annotations.is_some() {
                doubt_counter(query, series.labels.get(METRIC_NAME), range);
            }
        }
    }
    if !argument.one_name {
        reject_duplicates(&elements)?;
    }
    Ok(elements)
}

/// The values of a range function over the series of one metric, without their labels.
///
/// None: it is no function of such a range, so that labels may decide whether there is an answer at all.
pub(super) fn values(
    query: &Query<'_>,
    function: R,
    arguments: &[Expr],
    at: Millis,
) -> Evaluated<Option<Vec<f64>>> {
    let argument = range_argument(arguments)?;
    let Expr::Range { selector: selector @ Selector { name: Some(_), .. }, range, .. } = argument else {
        return Ok(None);
    };
    if lateness(query, function, arguments, argument, at) != 0 {
        return Ok(None);
    }
    let span = query.span(selector.time, *range, at);
    let windowed = Windowed::new(query, function, arguments, span, at)?;
    let mut values = Vec::new();
    query
        .for_each_window(selector, span, |_, window| values.extend(windowed.value(&Samples::Stored(window))));
    Ok(Some(values))
}

/// How much of a range's beginning is lost, ms.
///
/// 2.x selects a range with `@` once for all steps of a subquery (or range query), but lets its beginning go on with them where
/// the function cannot be answered once for all, because it or one of its other arguments depends on the step.
fn lateness(query: &Query<'_>, function: R, arguments: &[Expr], range: &Expr, at: Millis) -> i64 {
    if query.settings.dialect == Dialect::V3 || at == query.first || !is_fixed(range) {
        return 0;
    }
    let once_for_all = function != R::PredictLinear && arguments.iter().all(is_fixed);
    if once_for_all { 0 } else { at.0 - query.first.0 }
}

/// Whether an expression means the same at every step, as 2.x finds it: the parameter of an aggregation is not looked at.
fn is_fixed(expr: &Expr) -> bool {
    match expr {
        Expr::Number(..) | Expr::Text(..) => true,
        Expr::Selector(selector) | Expr::Range { selector, .. } => selector.time.at.is_some(),
        Expr::Subquery(subquery) => subquery.time.at.is_some(),
        Expr::Negate(inner, _) => is_fixed(inner),
        Expr::Binary(binary) => is_fixed(&binary.left) && is_fixed(&binary.right),
        Expr::Aggregate(aggregate) => is_fixed(&aggregate.expr),
        Expr::Call(call) => {
            let depends = matches!(
                call.function,
                Function::Calendar(_)
                    | Function::Range(R::PredictLinear)
                    | Function::Other(OtherFunction::Time | OtherFunction::Timestamp)
            );
            !depends && call.arguments.iter().all(is_fixed)
        }
    }
}

/// Tells that a metric has not the name of a counter. One without a name is nothing to go by.
fn doubt_counter(query: &Query<'_>, metric: &str, range: &Expr) {
    let is_counter = ["_total", "_sum", "_count", "_bucket"].iter().any(|suffix| metric.ends_with(suffix));
    if !metric.is_empty() && !is_counter {
        query.annotate(range.span(), || Annotation::MaybeNoCounter { metric: metric.to_owned() });
    }
}

fn range_argument(arguments: &[Expr]) -> Evaluated<&Expr> {
    let index = arguments.iter().position(|a| matches!(a, Expr::Range { .. } | Expr::Subquery(_)));
    argument(arguments, index.unwrap_or(0), "a range function")
}

/// A range function at a moment, to be asked series by series.
struct Windowed {
    function: R,
    dialect: Dialect,
    span: Span,
    at: Millis,
    /// The scalar arguments of those functions that have any.
    first: f64,
    second: f64,
}

impl Windowed {
    fn new(
        query: &Query<'_>,
        function: R,
        arguments: &[Expr],
        span: Span,
        at: Millis,
    ) -> Evaluated<Windowed> {
        let scalar = |index| query.scalar(argument(arguments, index, "the function")?, at);
        let (first, second) = match function {
            R::QuantileOverTime => (scalar(0)?, 0.0),
            R::PredictLinear => (scalar(1)?, 0.0),
            R::HoltWinters | R::DoubleExponentialSmoothing => (scalar(1)?, scalar(2)?),
            _ => (0.0, 0.0),
        };
        Ok(Windowed { function, dialect: query.settings.dialect, span, at, first, second })
    }

    /// Errors: a factor of the smoothing is none. NaN is one to Prometheus.
    fn check_factors(&self) -> Evaluated<()> {
        let smooths = matches!(self.function, R::HoltWinters | R::DoubleExponentialSmoothing);
        let outside = |factor: f64| factor <= 0.0 || factor >= 1.0;
        let named = [("smoothing", self.first), ("trend", self.second)];
        match named.into_iter().find(|(_, value)| outside(*value)) {
            Some((factor, value)) if smooths => Err(EvalError::Smoothing { factor, value: go_fixed(value) }),
            _ => Ok(()),
        }
    }

    /// The function's value for one series; `None` if it has none, as a rate of one sample.
    fn value(&self, samples: &Samples<'_>) -> Option<f64> {
        let extrapolated = |kind| extrapolated(self.span, samples, self.dialect, kind);
        match self.function {
            R::Rate => extrapolated(Extrapolation::Rate),
            R::Increase => extrapolated(Extrapolation::Increase),
            R::Delta => extrapolated(Extrapolation::Delta),
            R::Irate => last_two(samples, true),
            R::Idelta => last_two(samples, false),
            R::AvgOverTime => Some(match samples.total() {
                Some(total) => total / samples.count() as f64,
                None => sums::mean(samples.values(), self.dialect),
            }),
            R::SumOverTime => {
                Some(samples.total().unwrap_or_else(|| Kahan::of(samples.values(), self.dialect).total()))
            }
            R::CountOverTime => Some(samples.count() as f64),
            R::PresentOverTime => Some(1.0),
            R::LastOverTime => samples.ends().map(|(_, last)| last.value),
            R::FirstOverTime => samples.ends().map(|(first, _)| first.value),
            R::TsOfFirstOverTime => samples.ends().map(|(first, _)| first.at.seconds()),
            R::TsOfLastOverTime => samples.ends().map(|(_, last)| last.at.seconds()),
            R::MinOverTime => Some(samples.extremes().0),
            R::MaxOverTime => Some(samples.extremes().1),
            R::StdvarOverTime => Some(sums::variance(samples.values(), self.dialect)),
            R::StddevOverTime => Some(sums::variance(samples.values(), self.dialect).sqrt()),
            R::QuantileOverTime => Some(quantile::quantile(self.first, samples.values().collect())),
            _ => self.walked(&samples.points().collect::<Vec<Point>>()),
        }
    }

    /// Functions that look at samples and their neighbours.
    fn walked(&self, points: &[Point]) -> Option<f64> {
        let first = points.first()?;
        match self.function {
            R::Deriv => regression(points, first.at, self.dialect).map(|line| line.slope),
            R::PredictLinear => {
                regression(points, self.at, self.dialect).map(|line| line.slope * self.first + line.intercept)
            }
            R::HoltWinters | R::DoubleExponentialSmoothing => smoothed(points, self.first, self.second),
            R::Changes => {
                let differ =
                    |a: Point, b: Point| a.value != b.value && !(a.value.is_nan() && b.value.is_nan());
                Some(count_pairs(points, differ))
            }
            R::Resets => Some(count_pairs(points, |a, b| b.reset || b.value < a.value)),
            R::TsOfMinOverTime => Some(extreme(points, |best, value| value <= best).at.seconds()),
            R::TsOfMaxOverTime => Some(extreme(points, |best, value| value >= best).at.seconds()),
            R::MadOverTime => {
                let median = quantile::quantile(0.5, points.iter().map(|p| p.value).collect());
                Some(quantile::quantile(0.5, points.iter().map(|p| (p.value - median).abs()).collect()))
            }
            _ => None,
        }
    }
}

/// `%f` of Go.
fn go_fixed(value: f64) -> String {
    if value.is_finite() { format!("{value:.6}") } else { go_float(value) }
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

/// A straight line through samples.
struct Line {
    /// Per second.
    slope: f64,
    /// Value at the moment asked for.
    intercept: f64,
}

/// Least squares, with x in seconds from `origin`. None: fewer than two samples.
fn regression(points: &[Point], origin: Millis, dialect: Dialect) -> Option<Line> {
    let first = points.first()?;
    if points.len() < 2 {
        return None;
    }
    // A constant series must give exactly zero, whatever rounding says.
    if points.iter().all(|point| point.value == first.value) {
        let (slope, intercept) =
            if first.value.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, first.value) };
        return Some(Line { slope, intercept });
    }
    let x = |point: &Point| (point.at.0 - origin.0) as f64 / 1000.0;
    let sum = |term: &dyn Fn(&Point) -> f64| Kahan::of(points.iter().map(term), dialect).value();
    let n = points.len() as f64;
    let (sum_x, sum_y) = (sum(&x), sum(&|p| p.value));
    let (sum_xy, sum_xx) = (sum(&|p| x(p) * p.value), sum(&|p| x(p) * x(p)));
    let slope = (sum_xy - sum_x * sum_y / n) / (sum_xx - sum_x * sum_x / n);
    Some(Line { slope, intercept: sum_y / n - slope * sum_x / n })
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
