//! The answer given against the answer wanted.

use super::{Eval, Expected, Grid, Outcome, ScriptFailure};
use crate::labels::Labels;
use crate::notation::NotedPoint;
use crate::promql::eval::Value;
use crate::series::is_stale;
use crate::store::METRIC_NAME;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Relative difference that counts as equal, as in Prometheus' runner.
const TOLERANCE: f64 = 1e-6;

/// What a query answered at each moment.
pub(super) struct Answers {
    pub(super) grid: Grid,
    pub(super) is_range: bool,
    pub(super) values: Vec<(i64, Value)>,
}

/// Values by moment, of each label set.
type Series = BTreeMap<Labels, BTreeMap<i64, f64>>;

/// Holds the values, or the failure, against what is wanted.
pub(super) fn judge(eval: &Eval, answers: Result<&Answers, &ScriptFailure>) -> Outcome {
    let failed = |expected: String, got: String| Outcome::Failed { expected, got };
    let answers = match (answers, &eval.expected) {
        (Err(failure), Expected::Failure(wording)) if wording.fits_failure(failure) => {
            return Outcome::Passed;
        }
        (Err(failure), expected) => return failed(described(expected), failure.to_string()),
        (Ok(answers), _) => answers,
    };
    let same = match (&eval.expected, answers.single()) {
        (Expected::Scalar(wanted), Some(Value::Scalar(value))) => close(*wanted, *value),
        (Expected::Text(wanted), Some(Value::Text(text))) => wanted == text,
        (_, Some(Value::Scalar(_) | Value::Text(_))) => false,
        (Expected::Elements(wanted), value) if !matches!(value, Some(Value::Matrix(_))) => {
            let ordered = !eval.ordered
                || answers.order() == wanted.iter().map(|(labels, _)| labels).collect::<Vec<_>>();
            ordered
                && on_grid(wanted, answers.grid).is_some_and(|wanted| same_series(&wanted, &answers.series()))
        }
        (Expected::Samples(grid, wanted), Some(Value::Matrix(_))) => {
            on_grid(wanted, *grid).is_some_and(|wanted| same_series(&wanted, &answers.series()))
        }
        _ => false,
    };
    match same {
        true => Outcome::Passed,
        false => failed(described(&eval.expected), answers.described(eval.ordered)),
    }
}

impl Answers {
    /// The value of an instant query.
    fn single(&self) -> Option<&Value> {
        match self.values.as_slice() {
            [(_, value)] if !self.is_range => Some(value),
            _ => None,
        }
    }

    fn series(&self) -> Series {
        let mut series = Series::new();
        for (at, value) in &self.values {
            let mut put = |labels: &Labels, at: i64, value: f64| {
                series.entry(labels.clone()).or_default().insert(at, value);
            };
            match value {
                Value::Scalar(value) => put(&Labels::default(), *at, *value),
                Value::Vector(elements) => elements.iter().for_each(|e| put(&e.labels, *at, e.value)),
                Value::Matrix(ranges) => ranges
                    .iter()
                    .for_each(|(labels, points)| points.iter().for_each(|p| put(labels, p.at.0, p.value))),
                Value::Text(_) => {}
            }
        }
        series
    }

    /// The label sets of an instant query, in the order answered.
    fn order(&self) -> Vec<&Labels> {
        match self.single() {
            Some(Value::Vector(elements)) => elements.iter().map(|element| &element.labels).collect(),
            _ => Vec::new(),
        }
    }

    fn described(&self, ordered: bool) -> String {
        match self.single() {
            Some(Value::Scalar(value)) => format!("the number {}", number(*value)),
            Some(Value::Text(text)) => format!("the string {text:?}"),
            Some(Value::Vector(elements)) if ordered => {
                lines(elements.iter().map(|element| (&element.labels, number(element.value))))
            }
            Some(Value::Vector(_)) => lines_of(&self.series(), false),
            _ => lines_of(&self.series(), true),
        }
    }
}

/// The points wanted at a grid's moments; `None` if they are more than those.
fn on_grid(wanted: &[(Labels, Vec<NotedPoint>)], grid: Grid) -> Option<Series> {
    let mut series = Series::new();
    for (labels, points) in wanted {
        let moments: Vec<i64> = grid.moments().take(points.len()).collect();
        if moments.len() < points.len() {
            return None;
        }
        let points = moments.into_iter().zip(points).filter_map(|(at, value)| Some((at, (*value)?)));
        series.insert(labels.clone(), points.collect());
    }
    Some(series)
}

fn same_series(wanted: &Series, got: &Series) -> bool {
    let same_points = |a: &BTreeMap<i64, f64>, b: &BTreeMap<i64, f64>| {
        a.len() == b.len() && a.iter().all(|(at, value)| b.get(at).is_some_and(|other| close(*value, *other)))
    };
    wanted.len() == got.len()
        && wanted
            .iter()
            .all(|(labels, points)| got.get(labels).is_some_and(|other| same_points(points, other)))
}

/// Equal, both NaN, or nearly equal; stale markers equal nothing but themselves.
fn close(a: f64, b: f64) -> bool {
    if is_stale(a) || is_stale(b) {
        return is_stale(a) && is_stale(b);
    }
    let sum = a.abs() + b.abs();
    let is_near = || match a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        true => (a - b).abs() < TOLERANCE * f64::MIN_POSITIVE,
        false => (a - b).abs() / sum.min(f64::MAX) < TOLERANCE,
    };
    a == b || (a.is_nan() && b.is_nan()) || is_near()
}

fn described(expected: &Expected) -> String {
    match expected {
        Expected::Failure(wording) => format!("an error {wording}"),
        Expected::Scalar(value) => format!("the number {}", number(*value)),
        Expected::Text(text) => format!("the string {text:?}"),
        Expected::Native => "a native histogram".into(),
        Expected::Elements(wanted) | Expected::Samples(_, wanted) => {
            let text = |point: &NotedPoint| point.map_or("_".to_string(), number);
            lines(
                wanted
                    .iter()
                    .map(|(labels, points)| (labels, points.iter().map(text).collect::<Vec<_>>().join(" "))),
            )
        }
    }
}

fn lines_of(series: &Series, timed: bool) -> String {
    lines(series.iter().map(|(labels, points)| {
        let text = |(at, value): (&i64, &f64)| match timed {
            true => format!("{} @{}s", number(*value), *at as f64 / 1000.0),
            false => number(*value),
        };
        (labels, points.iter().map(text).collect::<Vec<_>>().join(" "))
    }))
}

fn lines<'l>(series: impl Iterator<Item = (&'l Labels, String)>) -> String {
    let mut text = String::new();
    for (labels, values) in series {
        let name = labels.get(METRIC_NAME);
        let others = labels.filter(|label| label != METRIC_NAME);
        let separator = if text.is_empty() { "" } else { "\n" };
        let _infallible = write!(text, "{separator}{name}{others} {values}");
    }
    if text.is_empty() { "nothing".into() } else { text }
}

/// A number as scripts write it.
fn number(value: f64) -> String {
    match value {
        value if is_stale(value) => "stale".into(),
        value if value.is_nan() => "NaN".into(),
        value if value.is_infinite() => if value > 0.0 { "+Inf" } else { "-Inf" }.into(),
        value if value != 0.0 && !(1e-5..1e17).contains(&value.abs()) => format!("{value:e}"),
        value => format!("{value}"),
    }
}
