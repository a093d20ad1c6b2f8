//! Functions.

use super::ast::{Expr, Function};
use super::eval::{Element, EvalError, Evaluator, RangeVector, Value, map, nameless, unique};
use super::histogram;
use crate::labels::Labels;
use crate::matcher::Op as MatchOp;
use crate::series::Window;
use regex::Regex;

pub(super) fn call<'a>(
    evaluator: &Evaluator<'a>,
    function: Function,
    arguments: &'a [Expr],
) -> Result<Value, EvalError> {
    use Function::*;
    let missing = EvalError::Type("another argument");
    let argument = |index: usize| arguments.get(index).ok_or_else(|| missing.clone());
    let number =
        |index: usize, default: f64| arguments.get(index).map_or(Ok(default), |expr| evaluator.scalar(expr));
    let elements = match function {
        Time => return Ok(Value::Scalar(evaluator.at.seconds())),
        Pi => return Ok(Value::Scalar(std::f64::consts::PI)),
        Vector => vec![Element { labels: Labels::default(), value: evaluator.scalar(argument(0)?)? }],
        Scalar => {
            let elements = evaluator.vector(argument(0)?)?;
            let [Element { value, .. }] = elements.as_slice() else { return Ok(Value::Scalar(f64::NAN)) };
            return Ok(Value::Scalar(*value));
        }
        Absent => absent(argument(0)?, evaluator.vector(argument(0)?)?.is_empty()),
        AbsentOverTime => absent(argument(0)?, evaluator.range(argument(0)?)?.series.is_empty()),
        Timestamp => timestamp(evaluator, argument(0)?)?,
        Sort => sorted(evaluator.vector(argument(0)?)?, |a, b| a.total_cmp(&b)),
        SortDesc => sorted(evaluator.vector(argument(0)?)?, |a, b| b.total_cmp(&a)),
        HistogramQuantile => {
            histogram::quantiles(evaluator.scalar(argument(0)?)?, evaluator.vector(argument(1)?)?)
        }
        Clamp | ClampMin | ClampMax => {
            let (min, max) = match function {
                Clamp => (number(1, 0.0)?, number(2, 0.0)?),
                ClampMin => (number(1, 0.0)?, f64::INFINITY),
                _ => (f64::NEG_INFINITY, number(1, 0.0)?),
            };
            let elements = evaluator.vector(argument(0)?)?;
            if min > max { Vec::new() } else { map(elements, |value| clamp(value, min, max)) }
        }
        Round => {
            let inverse = 1.0 / number(1, 1.0)?;
            map(evaluator.vector(argument(0)?)?, |value| (value * inverse + 0.5).floor() / inverse)
        }
        LabelReplace => label_replace(evaluator, arguments)?,
        LabelJoin => label_join(evaluator, arguments)?,
        QuantileOverTime => {
            let q = evaluator.scalar(argument(0)?)?;
            over(&evaluator.range(argument(1)?)?, false, |window| {
                Some(quantile(q, window.iter().map(|(_, value)| value).collect()))
            })?
        }
        PredictLinear => {
            let ahead = number(1, 0.0)?;
            let range = evaluator.range(argument(0)?)?;
            let now = evaluator.at.0;
            over(&range, false, |window| {
                let (slope, intercept) = regression(window, now)?;
                Some(slope * ahead + intercept)
            })?
        }
        function => match of_number(function) {
            Some(f) => map(evaluator.vector(argument(0)?)?, f),
            None => {
                let range = evaluator.range(argument(0)?)?;
                over(&range, function == LastOverTime, |window| over_time(function, window, &range))?
            }
        },
    };
    Ok(Value::Vector(elements))
}

/// Functions of a number alone.
fn of_number(function: Function) -> Option<fn(f64) -> f64> {
    use Function::*;
    Some(match function {
        Abs => f64::abs,
        Ceil => f64::ceil,
        Floor => f64::floor,
        Sqrt => f64::sqrt,
        Exp => f64::exp,
        Ln => f64::ln,
        Log2 => f64::log2,
        Log10 => f64::log10,
        Sgn => |value| {
            if value > 0.0 {
                1.0
            } else if value < 0.0 {
                -1.0
            } else {
                value
            }
        },
        Sin => f64::sin,
        Cos => f64::cos,
        Tan => f64::tan,
        Asin => f64::asin,
        Acos => f64::acos,
        Atan => f64::atan,
        Sinh => f64::sinh,
        Cosh => f64::cosh,
        Tanh => f64::tanh,
        Asinh => f64::asinh,
        Acosh => f64::acosh,
        Atanh => f64::atanh,
        Deg => f64::to_degrees,
        Rad => f64::to_radians,
        _ => return None,
    })
}

/// Each series' samples through `f`; where it gives nothing, the series is left out.
fn over(
    range: &RangeVector<'_>,
    keeps_name: bool,
    f: impl Fn(&Window<'_>) -> Option<f64>,
) -> Result<Vec<Element>, EvalError> {
    let elements = range.series.iter().filter_map(|(labels, samples)| {
        let labels = if keeps_name { labels.clone() } else { nameless(labels) };
        Some(Element { labels, value: f(&samples.window())? })
    });
    unique(elements.collect())
}

fn over_time(function: Function, window: &Window<'_>, range: &RangeVector<'_>) -> Option<f64> {
    use Function::*;
    let values = || window.iter().map(|(_, value)| value);
    Some(match function {
        Rate => extrapolated(window, range, true)? / range.range.as_secs_f64(),
        Increase => extrapolated(window, range, true)?,
        Delta => extrapolated(window, range, false)?,
        Irate | Idelta => instant(window, function == Irate)?,
        Deriv => regression(window, window.first()?.0)?.0,
        Changes => (1..window.len()).filter(|index| changed(window, *index)).count() as f64,
        Resets => window.resets() as f64,
        SumOverTime => window.sum(),
        AvgOverTime => window.sum() / window.len() as f64,
        CountOverTime => window.len() as f64,
        MinOverTime => values().fold(f64::NAN, f64::min),
        MaxOverTime => values().fold(f64::NAN, f64::max),
        LastOverTime => window.last()?.1,
        PresentOverTime => 1.0,
        StdvarOverTime => variance(&values().collect::<Vec<_>>()),
        StddevOverTime => variance(&values().collect::<Vec<_>>()).sqrt(),
        _ => return None,
    })
}

fn changed(window: &Window<'_>, index: usize) -> bool {
    let (before, after) = (window.get(index - 1).1, window.get(index).1);
    before != after && !(before.is_nan() && after.is_nan())
}

/// Growth over the range, extended from the samples to the range's edges as Prometheus does.
///
/// The extension goes half a sample distance beyond a sample that is farther than 1.1 distances from its edge, else to the
/// edge; a counter is not extended below zero.
fn extrapolated(window: &Window<'_>, range: &RangeVector<'_>, is_counter: bool) -> Option<f64> {
    if window.len() < 2 {
        return None;
    }
    let ((first_time, first), (last_time, last)) = (window.first()?, window.last()?);
    let growth = if is_counter { window.increase() } else { last - first };
    let sampled = (last_time - first_time) as f64 / 1000.0;
    let distance = sampled / (window.len() - 1) as f64;
    let mut to_start = (first_time - range.from) as f64 / 1000.0;
    let to_end = (range.to - last_time) as f64 / 1000.0;
    if is_counter && growth > 0.0 && first >= 0.0 {
        to_start = to_start.min(sampled * (first / growth));
    }
    let extended = |gap: f64| if gap < distance * 1.1 { gap } else { distance / 2.0 };
    Some(growth * ((sampled + extended(to_start) + extended(to_end)) / sampled))
}

/// From the last two samples.
fn instant(window: &Window<'_>, is_rate: bool) -> Option<f64> {
    let last = window.len().checked_sub(1).filter(|last| *last > 0)?;
    let ((before_time, before), (time, value)) = (window.get(last - 1), window.get(last));
    if !is_rate {
        return Some(value - before);
    }
    let growth = if window.is_reset(last) || value < before { value } else { value - before };
    Some(growth / ((time - before_time) as f64 / 1000.0))
}

/// Least squares: slope per second, and the value at `at_ms`.
fn regression(window: &Window<'_>, at_ms: i64) -> Option<(f64, f64)> {
    if window.len() < 2 {
        return None;
    }
    let n = window.len() as f64;
    let points = || window.iter().map(|(time, value)| ((time - at_ms) as f64 / 1000.0, value));
    let sum_x: f64 = points().map(|(x, _)| x).sum();
    let sum_y: f64 = points().map(|(_, y)| y).sum();
    let sum_xy: f64 = points().map(|(x, y)| x * y).sum();
    let sum_xx: f64 = points().map(|(x, _)| x * x).sum();
    let slope = (sum_xy - sum_x * sum_y / n) / (sum_xx - sum_x * sum_x / n);
    Some((slope, sum_y / n - slope * sum_x / n))
}

/// The population variance, by Welford's method.
pub(super) fn variance(values: &[f64]) -> f64 {
    let (mut mean, mut squares) = (0.0, 0.0);
    for (index, value) in values.iter().enumerate() {
        let delta = value - mean;
        mean += delta / (index + 1) as f64;
        squares += delta * (value - mean);
    }
    squares / values.len() as f64
}

/// The `q`-quantile of the values, linear between neighbours.
pub(super) fn quantile(q: f64, mut values: Vec<f64>) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    values.sort_by(f64::total_cmp);
    let rank = q * (values.len() - 1) as f64;
    let (lower, weight) = (rank.floor() as usize, rank - rank.floor());
    let upper = (lower + 1).min(values.len() - 1);
    values[lower] * (1.0 - weight) + values[upper] * weight
}

fn clamp(value: f64, min: f64, max: f64) -> f64 {
    if value.is_nan() { value } else { value.max(min).min(max) }
}

fn sorted(mut elements: Vec<Element>, order: impl Fn(f64, f64) -> std::cmp::Ordering) -> Vec<Element> {
    elements.sort_by(|a, b| order(a.value, b.value));
    elements
}

/// One element with value 1 and the labels that the selector's equalities name, if there was none.
fn absent(expr: &Expr, is_absent: bool) -> Vec<Element> {
    if !is_absent {
        return Vec::new();
    }
    let matchers = match expr {
        Expr::Vector(selector) | Expr::Range(selector, _) => selector.matchers.as_slice(),
        _ => &[],
    };
    let equal = matchers.iter().filter(|matcher| matcher.op == MatchOp::Equal);
    // A label named twice is not sure to be either.
    let once =
        equal.filter(|matcher| matchers.iter().filter(|other| other.name == matcher.name).count() == 1);
    let labels = Labels::from_pairs(once.map(|matcher| (matcher.name.as_str(), matcher.value.as_str())));
    vec![Element { labels, value: 1.0 }]
}

fn timestamp<'a>(evaluator: &Evaluator<'a>, expr: &'a Expr) -> Result<Vec<Element>, EvalError> {
    let seconds = |time: i64| time as f64 / 1000.0;
    if let Expr::Vector(selector) = expr {
        let selected = evaluator.select(selector);
        return Ok(selected
            .map(|(element, time)| Element { labels: nameless(&element.labels), value: seconds(time) })
            .collect());
    }
    let now = seconds(evaluator.at.0);
    Ok(map(evaluator.vector(expr)?, |_| now))
}

fn label_replace(evaluator: &Evaluator<'_>, arguments: &[Expr]) -> Result<Vec<Element>, EvalError> {
    let [vector, target, replacement, source, pattern] = arguments else {
        return Err(EvalError::Type("five arguments"));
    };
    let (target, replacement) = (evaluator.text(target)?, evaluator.text(replacement)?);
    let (source, pattern) = (evaluator.text(source)?, evaluator.text(pattern)?);
    let regex =
        Regex::new(&format!("^(?s:{pattern})$")).map_err(|error| EvalError::Argument(error.to_string()))?;
    let replaced = evaluator.vector(vector)?.into_iter().map(|element| {
        let labels = match regex.captures(element.labels.get(&source)) {
            Some(captures) => {
                let mut value = String::new();
                captures.expand(&replacement, &mut value);
                element.labels.with(&target, &value)
            }
            None => element.labels,
        };
        Element { labels, value: element.value }
    });
    unique(replaced.collect())
}

fn label_join(evaluator: &Evaluator<'_>, arguments: &[Expr]) -> Result<Vec<Element>, EvalError> {
    let [vector, target, separator, sources @ ..] = arguments else {
        return Err(EvalError::Type("at least three arguments"));
    };
    let (target, separator) = (evaluator.text(target)?, evaluator.text(separator)?);
    let sources: Vec<String> =
        sources.iter().map(|source| evaluator.text(source)).collect::<Result<_, _>>()?;
    let joined = evaluator.vector(vector)?.into_iter().map(|element| {
        let values: Vec<&str> = sources.iter().map(|source| element.labels.get(source)).collect();
        Element { labels: element.labels.with(&target, &values.join(&separator)), value: element.value }
    });
    unique(joined.collect())
}

/// A number as Prometheus writes it into labels.
pub(super) fn format(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "+Inf".into() } else { "-Inf".into() };
    }
    value.to_string()
}
