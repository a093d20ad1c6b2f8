//! An expression at a moment.

use super::ast::{Expr, Selector, Shift};
use super::{Dialect, aggregate, binary, functions};
use crate::labels::Labels;
use crate::series::{Series, Window};
use crate::store::Store;
use crate::time::Millis;
use std::time::Duration;

/// One element of a vector.
#[derive(Debug, Clone, PartialEq)]
pub struct Element {
    /// Its labels; `__name__` where the metric's name is kept.
    pub labels: Labels,
    /// Its value.
    pub value: f64,
}

/// What an expression comes to.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A number.
    Scalar(f64),
    /// A text.
    Text(String),
    /// Elements, each with a label set of its own.
    Vector(Vec<Element>),
}

/// Why an evaluation failed. The rule's state stays as it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    /// An operand or argument of another type than needed.
    #[error("{0} expected")]
    Type(&'static str),
    /// Two elements of the "one" side for one of the other.
    #[error("many-to-many matching not allowed: {labels} matches several elements on the {side} side")]
    ManyToMany {
        /// The labels that they share.
        labels: Labels,
        /// Which side.
        side: &'static str,
    },
    /// Two elements of the result have the same labels.
    #[error("several elements of the result have the labels {0}")]
    Duplicate(Labels),
    /// An argument out of its bounds.
    #[error("{0}")]
    Argument(String),
}

/// Evaluates expressions over a store.
#[derive(Debug, Clone, Copy)]
pub struct Evaluator<'a> {
    /// The samples.
    pub store: &'a Store,
    /// Whose edges apply.
    pub dialect: Dialect,
    /// How old the latest sample of a series may be.
    pub lookback: Duration,
    /// Step of subqueries that give none.
    pub default_step: Duration,
    /// The moment.
    pub at: Millis,
}

/// Samples over a range: stored, or computed by a subquery.
pub(super) enum Samples<'a> {
    Stored(Window<'a>),
    Computed(Series),
}

impl Samples<'_> {
    pub(super) fn window(&self) -> Window<'_> {
        match self {
            Samples::Stored(window) => *window,
            Samples::Computed(series) => series.window(i64::MIN, i64::MAX),
        }
    }
}

/// Samples over `from..=to`, by series.
pub(super) struct RangeVector<'a> {
    pub(super) from: i64,
    pub(super) to: i64,
    pub(super) range: Duration,
    pub(super) series: Vec<(Labels, Samples<'a>)>,
}

impl<'a> Evaluator<'a> {
    /// The value of `expr` at this evaluator's moment.
    pub fn eval(&self, expr: &Expr) -> Result<Value, EvalError> {
        Ok(match expr {
            Expr::Number(number) => Value::Scalar(*number),
            Expr::Text(text) => Value::Text(text.clone()),
            Expr::Vector(selector) => {
                Value::Vector(self.select(selector).map(|(element, _)| element).collect())
            }
            Expr::Range(..) | Expr::Subquery { .. } => return Err(EvalError::Type("an instant vector")),
            Expr::Negative(expr) => match self.eval(expr)? {
                Value::Scalar(number) => Value::Scalar(-number),
                Value::Vector(elements) => Value::Vector(map(elements, |value| -value)),
                Value::Text(_) => return Err(EvalError::Type("a number or a vector")),
            },
            Expr::Call(function, arguments) => return functions::call(self, *function, arguments),
            Expr::Aggregate { op, parameter, expr, grouping } => {
                return aggregate::aggregate(self, *op, parameter.as_deref(), expr, grouping);
            }
            Expr::Binary(binary) => return binary::binary(self, binary),
        })
    }

    /// The value of `expr`, which must be a vector; a number becomes one element without labels.
    pub fn vector(&self, expr: &Expr) -> Result<Vec<Element>, EvalError> {
        match self.eval(expr)? {
            Value::Vector(elements) => Ok(elements),
            _ => Err(EvalError::Type("an instant vector")),
        }
    }

    /// The value of `expr`, which must be a number.
    pub(super) fn scalar(&self, expr: &Expr) -> Result<f64, EvalError> {
        match self.eval(expr)? {
            Value::Scalar(number) => Ok(number),
            _ => Err(EvalError::Type("a number")),
        }
    }

    /// The value of `expr`, which must be a text.
    pub(super) fn text(&self, expr: &Expr) -> Result<String, EvalError> {
        match self.eval(expr)? {
            Value::Text(text) => Ok(text),
            _ => Err(EvalError::Type("a text")),
        }
    }

    fn shifted(&self, shift: &Shift) -> i64 {
        shift.at_ms.unwrap_or(self.at.0) - shift.offset_ms
    }

    /// The first millisecond of a span of `length` that ends at `to`.
    fn left_edge(&self, to: i64, length: Duration) -> i64 {
        let length = i64::try_from(length.as_millis()).unwrap_or(i64::MAX);
        to.saturating_sub(length) + i64::from(self.dialect == Dialect::Three)
    }

    /// The latest samples of the selected series, with their own times.
    pub(super) fn select(&self, selector: &'a Selector) -> impl Iterator<Item = (Element, i64)> {
        let to = self.shifted(&selector.shift);
        let oldest = self.left_edge(to, self.lookback);
        self.store.select(selector.name.as_deref(), &selector.matchers).filter_map(move |(labels, series)| {
            let (time, value) = series.latest(Millis(to), oldest)?;
            Some((Element { labels: labels.clone(), value }, time))
        })
    }

    /// The samples of a range or subquery.
    pub(super) fn range(&self, expr: &'a Expr) -> Result<RangeVector<'a>, EvalError> {
        match expr {
            Expr::Range(selector, range) => {
                let to = self.shifted(&selector.shift);
                let from = self.left_edge(to, *range);
                let windows = self.store.select(selector.name.as_deref(), &selector.matchers);
                let series = windows
                    .map(|(labels, series)| (labels.clone(), series.window(from, to)))
                    .filter(|(_, window)| !window.is_empty())
                    .map(|(labels, window)| (labels, Samples::Stored(window)))
                    .collect();
                Ok(RangeVector { from: to - range.as_millis() as i64, to, range: *range, series })
            }
            Expr::Subquery { expr, range, step, shift } => {
                let to = self.shifted(shift);
                let from = self.left_edge(to, *range);
                let series = self.subquery(expr, from, to, step.unwrap_or(self.default_step))?;
                Ok(RangeVector { from: to - range.as_millis() as i64, to, range: *range, series })
            }
            _ => Err(EvalError::Type("a range vector")),
        }
    }

    /// Evaluates at every multiple of `step` within `from..=to`.
    fn subquery(
        &self,
        expr: &Expr,
        from: i64,
        to: i64,
        step: Duration,
    ) -> Result<Vec<(Labels, Samples<'a>)>, EvalError> {
        let step = i64::try_from(step.as_millis()).unwrap_or(i64::MAX).max(1);
        let mut series: std::collections::BTreeMap<Labels, Series> = Default::default();
        let mut at = from.div_euclid(step) * step;
        if at < from {
            at += step;
        }
        while at <= to {
            let elements = match (Evaluator { at: Millis(at), ..*self }).eval(expr)? {
                Value::Vector(elements) => elements,
                Value::Scalar(value) => vec![Element { labels: Labels::default(), value }],
                Value::Text(_) => return Err(EvalError::Type("a number or a vector")),
            };
            for element in elements {
                series.entry(element.labels).or_default().push(Millis(at), element.value);
            }
            at += step;
        }
        Ok(series.into_iter().map(|(labels, series)| (labels, Samples::Computed(series))).collect())
    }
}

/// Each element through `f`, without the metric's name.
pub(super) fn map(elements: Vec<Element>, f: impl Fn(f64) -> f64) -> Vec<Element> {
    elements
        .into_iter()
        .map(|element| Element { labels: nameless(&element.labels), value: f(element.value) })
        .collect()
}

/// The labels without the metric's name.
pub(super) fn nameless(labels: &Labels) -> Labels {
    if labels.get("__name__").is_empty() { labels.clone() } else { labels.filter(|name| name != "__name__") }
}

/// Fails if two elements have the same labels.
pub(crate) fn unique(mut elements: Vec<Element>) -> Result<Vec<Element>, EvalError> {
    let mut labels: Vec<&Labels> = elements.iter().map(|element| &element.labels).collect();
    labels.sort_unstable();
    if let Some(pair) = labels.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(EvalError::Duplicate(pair[0].clone()));
    }
    elements.shrink_to_fit();
    Ok(elements)
}
