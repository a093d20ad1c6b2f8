//! A syntax tree and samples to values, at one moment.
//!
//! One recursive walk: rules are instant queries over at most a few thousand series in memory, so there is no
//! planner. It knows no alerts and no files; the same tree, store and moment give the same answer.

use super::annotation::{Annotation, Annotations};
use super::ast::{Call, Dialect, Expr, Kind, Span};
use super::function::{Function, OtherFunction, RangeFunction};
use super::selected::RangeSeries;
use super::{
    aggregate, binary, calendar, instant_functions, label_functions, quantile, range_functions, sums,
};
use crate::labels::Labels;
use crate::series::Point;
use crate::store::{METRIC_NAME, Store};
use crate::time::Millis;
use rustc_hash::FxHashSet;

/// How far back an instant selector looks: 5 minutes, as Prometheus does by default.
pub const LOOKBACK_MS: i64 = 5 * 60_000;

/// What an evaluation depends on besides tree, samples and moment.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Whose answers.
    pub dialect: Dialect,
    /// How far back an instant selector looks, ms.
    pub lookback: i64,
    /// Step of a subquery that names none, ms: the rules' evaluation interval.
    pub subquery_step: i64,
    /// Drop the metric's name at the end of the query instead of at each function. Prometheus has it behind a
    /// flag and its own tests switch it on.
    pub delayed_names: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { dialect: Dialect::V2, lookback: LOOKBACK_MS, subquery_step: 60_000, delayed_names: false }
    }
}

/// One value of a vector.
#[derive(Debug, Clone, PartialEq)]
pub struct Element {
    /// Its labels.
    pub labels: Labels,
    /// Its value.
    pub value: f64,
    /// The metric's name is to be dropped at the end ([`Settings::delayed_names`]).
    pub(super) nameless: bool,
}

/// What a query answers.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// One number.
    Scalar(f64),
    /// One string.
    Text(String),
    /// A number for each label set.
    Vector(Vec<Element>),
    /// Samples for each label set: a range selector or subquery as the whole query.
    Matrix(Vec<(Labels, Vec<Point>)>),
}

/// Why a query has no answer. A rule that fails so keeps its alerts as they are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum EvalError {
    #[error("two elements have the same labels {0}")]
    DuplicateLabels(Labels),
    #[error(
        "many elements on the {side} side match {group}, as {} and {}; they must be unique there",
        elements[0], elements[1]
    )]
    ManyToMany { side: &'static str, group: Labels, elements: Box<[Labels; 2]> },
    #[error("many elements match one; group_left or group_right must say so")]
    ManyToOne,
    #[error("group_left or group_right leaves two elements with the labels {0}")]
    GroupingNotUnique(Labels),
    #[error("the label `{0}` is taken: {1}")]
    LabelTaken(String, Labels),
    #[error("`{name}`, the {role} of {function}, is not a label name")]
    LabelName { function: &'static str, role: &'static str, name: String },
    #[error("topk and bottomk need a number of elements, not NaN")]
    CountIsNan,
    #[error("topk and bottomk need a number of elements that can be counted, not {0}")]
    Count(String),
    #[error("double exponential smoothing needs a {factor} factor above 0 and below 1, not {value}")]
    Smoothing { factor: &'static str, value: String },
    #[error("`{0}` is not a regular expression")]
    Regex(String),
    #[error("a subquery of {0} steps is too long")]
    TooManySteps(i64),
    #[error("a {found:?} stands where a {wanted:?} must be")]
    Kind { found: Kind, wanted: Kind },
    #[error("{function} needs {problem}")]
    Argument { function: &'static str, problem: &'static str },
}

pub(super) type Evaluated<T> = Result<T, EvalError>;

/// A query over a store.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    /// The samples.
    pub store: &'a Store,
    /// What the answer depends on besides.
    pub settings: Settings,
    /// What `@ start()` means.
    pub start: Millis,
    /// What `@ end()` means.
    pub end: Millis,
    /// Distance of a range query's moments, ms; 0 of an instant query.
    pub step: i64,
    /// The first moment of a range query or, within a subquery, of that; of an instant query its only one.
    pub first: Millis,
    /// Where to put what is odd about the answer; `None`: nobody looks for it.
    pub annotations: Option<&'a Annotations>,
}

impl<'a> Query<'a> {
    /// An instant query at `at`.
    pub fn instant(store: &'a Store, settings: Settings, at: Millis) -> Query<'a> {
        Query { store, settings, start: at, end: at, step: 0, first: at, annotations: None }
    }

    /// The value of `expr` at `at`.
    pub fn evaluate(&self, expr: &Expr, at: Millis) -> Result<Value, EvalError> {
        match expr.kind() {
            Kind::Scalar => self.scalar(expr, at).map(Value::Scalar),
            Kind::Text => self.text(expr).map(|text| Value::Text(text.to_string())),
            Kind::Vector => self.finished_vector(expr, at).map(Value::Vector),
            Kind::Matrix => {
                let argument = self.range(expr, at)?;
                let labels = |series: &RangeSeries<'_>| match series.nameless {
                    true => without_name(&series.labels),
                    false => series.labels.clone(),
                };
                let points = |series: &RangeSeries<'_>| series.samples.points().collect();
                Ok(Value::Matrix(argument.series.iter().map(|s| (labels(s), points(s))).collect()))
            }
        }
    }

    /// The elements of `expr` at `at`; of a scalar the one element without labels.
    pub fn elements(&self, expr: &Expr, at: Millis) -> Result<Vec<Element>, EvalError> {
        match expr.kind() {
            Kind::Scalar => Ok(vec![Element::new(Labels::default(), self.scalar(expr, at)?)]),
            Kind::Vector => self.finished_vector(expr, at),
            found => Err(EvalError::Kind { found, wanted: Kind::Vector }),
        }
    }

    /// A vector with delayed names dropped.
    fn finished_vector(&self, expr: &Expr, at: Millis) -> Evaluated<Vec<Element>> {
        let mut elements = self.vector(expr, at)?;
        if self.settings.delayed_names {
            for element in elements.iter_mut().filter(|element| element.nameless) {
                element.labels = without_name(&element.labels);
                element.nameless = false;
            }
            reject_duplicates(&elements)?;
        }
        Ok(elements)
    }

    pub(super) fn vector(&self, expr: &Expr, at: Millis) -> Evaluated<Vec<Element>> {
        match expr {
            Expr::Selector(selector) => Ok(self.selected(selector, at, |_, value| value)),
            Expr::Negate(inner, _) => {
                let mut elements = self.vector(inner, at)?;
                elements.iter_mut().for_each(|element| element.value = -element.value);
                self.drop_names(elements)
            }
            Expr::Binary(binary) => binary::vector(self, binary, at),
            Expr::Aggregate(aggregate) => aggregate::vector(self, aggregate, at),
            Expr::Call(call) => self.call(call, at),
            _ => Err(EvalError::Kind { found: expr.kind(), wanted: Kind::Vector }),
        }
    }

    pub(super) fn scalar(&self, expr: &Expr, at: Millis) -> Evaluated<f64> {
        match expr {
            Expr::Number(number, _) => Ok(*number),
            Expr::Negate(inner, _) => Ok(-self.scalar(inner, at)?),
            Expr::Binary(binary) => {
                let (left, right) = (self.scalar(&binary.left, at)?, self.scalar(&binary.right, at)?);
                binary::scalars(binary.op, left, right)
            }
            Expr::Call(call) => match call.function {
                Function::Other(function) => self.number(function, &call.arguments, at),
                _ => Err(EvalError::Kind { found: expr.kind(), wanted: Kind::Scalar }),
            },
            _ => Err(EvalError::Kind { found: expr.kind(), wanted: Kind::Scalar }),
        }
    }

    /// Functions that answer with one number.
    fn number(&self, function: OtherFunction, arguments: &[Expr], at: Millis) -> Evaluated<f64> {
        use OtherFunction as O;
        let of_two = |pick: fn(f64, f64) -> f64| {
            let scalar = |index| self.scalar(argument(arguments, index, "the function")?, at);
            Ok(pick(scalar(0)?, scalar(1)?))
        };
        match function {
            O::Time => Ok(at.seconds()),
            O::Pi => Ok(std::f64::consts::PI),
            O::Scalar => {
                let elements = self.vector(argument(arguments, 0, "scalar")?, at)?;
                Ok(if elements.len() == 1 { elements[0].value } else { f64::NAN })
            }
            O::Start => Ok(self.start.seconds()),
            O::End => Ok(self.end.seconds()),
            O::Step => Ok(Millis(self.step).seconds()),
            O::Range => Ok(Millis(self.end.0 - self.start.0).seconds()),
            O::MaxOf => of_two(sums::larger),
            O::MinOf => of_two(sums::smaller),
            _ => Err(EvalError::Kind { found: Kind::Vector, wanted: Kind::Scalar }),
        }
    }

    pub(super) fn text<'e>(&self, expr: &'e Expr) -> Evaluated<&'e str> {
        match expr {
            Expr::Text(text, _) => Ok(text),
            _ => Err(EvalError::Kind { found: expr.kind(), wanted: Kind::Text }),
        }
    }

    fn call(&self, call: &Call, at: Millis) -> Evaluated<Vec<Element>> {
        let arguments = &call.arguments;
        if call.function.sorts() && (self.start != self.end || at != self.first) {
            self.annotate(call.span, || Annotation::SortOfRange);
        }
        match call.function {
            Function::Math(function) => instant_functions::math(self, function, arguments, at),
            Function::Calendar(part) => calendar::vector(self, part, arguments, at),
            Function::Range(function) => range_functions::vector(self, function, arguments, at),
            Function::Other(function) => self.other(function, arguments, at),
        }
    }

    fn other(&self, function: OtherFunction, arguments: &[Expr], at: Millis) -> Evaluated<Vec<Element>> {
        use OtherFunction as O;
        match function {
            O::Timestamp => self.timestamp(argument(arguments, 0, "timestamp")?, at),
            O::LabelReplace | O::LabelJoin => label_functions::vector(self, function, arguments, at),
            O::HistogramQuantiles => quantile::quantiles(self, arguments, at),
            O::HistogramQuantile | O::HistogramFraction => quantile::vector(self, function, arguments, at),
            O::AbsentOverTime => range_functions::absent_over_time(self, arguments, at),
            _ => instant_functions::other(self, function, arguments, at),
        }
    }

    /// Tells something odd, if anybody wants to know.
    pub(super) fn annotate(&self, span: Span, annotation: impl FnOnce() -> Annotation) {
        if let Some(annotations) = self.annotations {
            annotations.add(annotation(), span);
        }
    }

    /// Tells a quantile that is none.
    pub(super) fn annotate_quantile(&self, q: f64, expr: &Expr) {
        if !(0.0..=1.0).contains(&q) {
            self.annotate(expr.span(), || Annotation::Quantile(q));
        }
    }

    /// The elements without their metric's name. Errors: two become the same.
    pub(super) fn drop_names(&self, mut elements: Vec<Element>) -> Evaluated<Vec<Element>> {
        for element in &mut elements {
            self.drop_name(element);
        }
        reject_duplicates(&elements)?;
        Ok(elements)
    }

    /// Drops the name of one element, now or at the end.
    pub(super) fn drop_name(&self, element: &mut Element) {
        if self.settings.delayed_names {
            element.nameless = true;
        } else {
            element.labels = without_name(&element.labels);
        }
    }

    /// The element a range function answers for a series.
    pub(super) fn range_element(&self, series: &RangeSeries<'_>, value: f64, keeps_name: bool) -> Element {
        if keeps_name {
            return Element { labels: series.labels.clone(), value, nameless: series.nameless };
        }
        if self.settings.delayed_names {
            return Element { labels: series.labels.clone(), value, nameless: true };
        }
        let labels = series.unnamed.clone().unwrap_or_else(|| without_name(&series.labels));
        Element::new(labels, value)
    }
}

impl Element {
    pub(super) fn new(labels: Labels, value: f64) -> Element {
        Element { labels, value, nameless: false }
    }
}

/// Argument `index` of a call; the parser has checked their number, this says so if it ever did not.
pub(super) fn argument<'e>(
    arguments: &'e [Expr],
    index: usize,
    function: &'static str,
) -> Evaluated<&'e Expr> {
    arguments.get(index).ok_or(EvalError::Argument { function, problem: "more arguments" })
}

/// The labels without the metric's name.
pub(super) fn without_name(labels: &Labels) -> Labels {
    if labels.get(METRIC_NAME).is_empty() {
        labels.clone()
    } else {
        labels.filter(|name| name != METRIC_NAME)
    }
}

/// Errors if two elements have the same labels.
pub(super) fn reject_duplicates(elements: &[Element]) -> Evaluated<()> {
    if elements.len() < 2 {
        return Ok(());
    }
    let mut seen: FxHashSet<(&Labels, bool)> = FxHashSet::default();
    match elements.iter().find(|element| !seen.insert((&element.labels, element.nameless))) {
        Some(twice) => Err(EvalError::DuplicateLabels(twice.labels.clone())),
        None => Ok(()),
    }
}

/// Whether a range function keeps the metric's name: those that answer with one of the samples.
pub(super) fn keeps_name(function: RangeFunction) -> bool {
    matches!(function, RangeFunction::LastOverTime | RangeFunction::FirstOverTime)
}

#[cfg(test)]
mod tests;
