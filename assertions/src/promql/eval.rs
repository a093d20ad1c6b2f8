//! A syntax tree and samples to values, at one moment.
//!
//! One recursive walk: rules are instant queries over at most a few thousand series in memory, so there is no
//! planner. It knows no alerts and no files; the same tree, store and moment give the same answer.

use super::ast::{At, Dialect, Expr, Kind, Selector, Subquery, TimeShift};
use super::function::{Function, OtherFunction, RangeFunction};
use super::{aggregate, binary, calendar, instant_functions, label_functions, quantile, range_functions};
use crate::labels::Labels;
use crate::series::{Point, Window, is_stale};
use crate::store::{METRIC_NAME, Named, Store};
use crate::time::Millis;
use rustc_hash::FxHashSet;

/// How far back an instant selector looks: 5 minutes, as Prometheus does by default.
pub const LOOKBACK_MS: i64 = 5 * 60_000;
/// Most steps of one subquery.
const STEPS_MAX: i64 = 1_000_000;

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
    #[error("many elements on the {side} side match {group}; they must be unique there")]
    ManyToMany { side: &'static str, group: Labels },
    #[error("many elements match one; group_left or group_right must say so")]
    ManyToOne,
    #[error("group_left or group_right leaves two elements with the labels {0}")]
    GroupingNotUnique(Labels),
    #[error("`{0}` is not a label name")]
    LabelName(String),
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
}

/// Samples a range function works on.
pub(super) enum Samples<'a> {
    /// In the store.
    Stored(Window<'a>),
    /// Evaluated by a subquery; never empty.
    Computed(Vec<Point>),
}

/// The samples of one series in a range, and the range.
pub(super) struct RangeSeries<'a> {
    pub(super) labels: Labels,
    /// The labels without the metric's name, where they are at hand.
    pub(super) unnamed: Option<Labels>,
    pub(super) nameless: bool,
    pub(super) samples: Samples<'a>,
}

/// A range argument: its series, and where it begins and ends.
pub(super) struct RangeArgument<'a> {
    pub(super) series: Vec<RangeSeries<'a>>,
    pub(super) from: Millis,
    pub(super) until: Millis,
    /// Whether all series have the same metric name, so that dropping it keeps them apart.
    pub(super) one_name: bool,
}

impl<'a> Query<'a> {
    /// An instant query at `at`.
    pub fn instant(store: &'a Store, settings: Settings, at: Millis) -> Query<'a> {
        Query { store, settings, start: at, end: at }
    }

    /// The value of `expr` at `at`.
    pub fn evaluate(&self, expr: &Expr, at: Millis) -> Result<Value, EvalError> {
        match expr.kind() {
            Kind::Scalar => self.scalar(expr, at).map(Value::Scalar),
            Kind::Text => self.text(expr).map(|text| Value::Text(text.to_string())),
            Kind::Vector => self.finished_vector(expr, at).map(Value::Vector),
            Kind::Matrix => {
                let argument = self.range(expr, at)?;
                let points = |samples: &Samples<'_>| samples.points().collect();
                Ok(Value::Matrix(
                    argument.series.iter().map(|s| (s.labels.clone(), points(&s.samples))).collect(),
                ))
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
            Expr::Call(call) => self.call(call.function, &call.arguments, at),
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
                Function::Other(OtherFunction::Time) => Ok(at.seconds()),
                Function::Other(OtherFunction::Pi) => Ok(std::f64::consts::PI),
                Function::Other(OtherFunction::Scalar) => {
                    let elements = self.vector(argument(&call.arguments, 0, "scalar")?, at)?;
                    Ok(if elements.len() == 1 { elements[0].value } else { f64::NAN })
                }
                _ => Err(EvalError::Kind { found: expr.kind(), wanted: Kind::Scalar }),
            },
            _ => Err(EvalError::Kind { found: expr.kind(), wanted: Kind::Scalar }),
        }
    }

    pub(super) fn text<'e>(&self, expr: &'e Expr) -> Evaluated<&'e str> {
        match expr {
            Expr::Text(text, _) => Ok(text),
            _ => Err(EvalError::Kind { found: expr.kind(), wanted: Kind::Text }),
        }
    }

    fn call(&self, function: Function, arguments: &[Expr], at: Millis) -> Evaluated<Vec<Element>> {
        match function {
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
            O::HistogramQuantile | O::HistogramFraction => quantile::vector(self, function, arguments, at),
            O::Scalar | O::Time | O::Pi => Err(EvalError::Kind { found: Kind::Scalar, wanted: Kind::Vector }),
            O::AbsentOverTime => range_functions::absent_over_time(self, arguments, at),
            _ => instant_functions::other(self, function, arguments, at),
        }
    }

    /// The time of the samples of a selector; of any other expression the time of the evaluation.
    fn timestamp(&self, expr: &Expr, at: Millis) -> Evaluated<Vec<Element>> {
        let elements = match expr {
            Expr::Selector(selector) => self.selected(selector, at, |sampled, _| sampled.seconds()),
            other => {
                let mut elements = self.vector(other, at)?;
                elements.iter_mut().for_each(|element| element.value = at.seconds());
                elements
            }
        };
        self.drop_names(elements)
    }

    /// The newest sample of each selected series, unless it is too old or a stale marker.
    fn selected(
        &self,
        selector: &Selector,
        at: Millis,
        value_of: impl Fn(Millis, f64) -> f64,
    ) -> Vec<Element> {
        let moment = self.shifted(selector.time, at);
        let oldest = self.left_edge(moment.0.saturating_sub(self.settings.lookback));
        let mut elements = Vec::new();
        self.for_each_series(selector, |named| {
            if let Some((sampled, value)) = named.samples.latest(moment)
                && sampled.0 >= oldest
                && !is_stale(value)
            {
                elements.push(Element::new(named.labels.clone(), value_of(sampled, value)));
            }
        });
        elements
    }

    fn for_each_series(&self, selector: &Selector, mut visit: impl FnMut(&'a Named)) {
        let mut visit_matching = |named: &'a Named| {
            if selector.matchers.iter().all(|matcher| matcher.matches(&named.labels)) {
                visit(named);
            }
        };
        match &selector.name {
            Some(name) => self.store.named(name).for_each(&mut visit_matching),
            None => self.store.all().for_each(&mut visit_matching),
        }
    }

    /// The moment a selector or subquery means.
    fn shifted(&self, time: TimeShift, at: Millis) -> Millis {
        let base = match time.at {
            None => at,
            Some(At::Start) => self.start,
            Some(At::End) => self.end,
            Some(At::Moment(moment)) => moment,
        };
        Millis(base.0.saturating_sub(time.offset))
    }

    /// The earliest time that counts for a window that begins at `edge`.
    fn left_edge(&self, edge: i64) -> i64 {
        match self.settings.dialect {
            Dialect::V2 => edge,
            Dialect::V3 => edge.saturating_add(1),
        }
    }

    /// The samples of a range selector or subquery.
    pub(super) fn range(&self, expr: &Expr, at: Millis) -> Evaluated<RangeArgument<'a>> {
        match expr {
            Expr::Range { selector, range, .. } => Ok(self.range_selected(selector, *range, at)),
            Expr::Subquery(subquery) => self.subquery(subquery, at),
            _ => Err(EvalError::Kind { found: expr.kind(), wanted: Kind::Matrix }),
        }
    }

    fn range_selected(&self, selector: &Selector, range: i64, at: Millis) -> RangeArgument<'a> {
        let until = self.shifted(selector.time, at);
        let from = Millis(until.0.saturating_sub(range));
        let edge = Millis(self.left_edge(from.0));
        let mut series = Vec::new();
        self.for_each_series(selector, |named| {
            if let Some(window) = named.samples.window(edge, until) {
                series.push(RangeSeries {
                    labels: named.labels.clone(),
                    unnamed: Some(named.unnamed.clone()),
                    nameless: false,
                    samples: Samples::Stored(window),
                });
            }
        });
        RangeArgument { series, from, until, one_name: selector.name.is_some() }
    }

    fn subquery(&self, subquery: &Subquery, at: Millis) -> Evaluated<RangeArgument<'a>> {
        let step = subquery.step.unwrap_or(self.settings.subquery_step).max(1);
        let until = self.shifted(subquery.time, at);
        let from = Millis(until.0.saturating_sub(subquery.range));
        // Steps lie on multiples of the step, whatever the evaluation's time.
        let mut moment = from.0.div_euclid(step) * step;
        while moment < self.left_edge(from.0) {
            moment += step;
        }
        let steps = (until.0 - moment) / step + 1;
        if steps > STEPS_MAX {
            return Err(EvalError::TooManySteps(steps));
        }
        let mut gathered = Gathered::default();
        while moment <= until.0 {
            for element in self.subquery_elements(&subquery.expr, Millis(moment))? {
                gathered.add(element, Millis(moment));
            }
            moment += step;
        }
        Ok(RangeArgument { series: gathered.series, from, until, one_name: false })
    }

    fn subquery_elements(&self, expr: &Expr, at: Millis) -> Evaluated<Vec<Element>> {
        match expr.kind() {
            Kind::Scalar => Ok(vec![Element::new(Labels::default(), self.scalar(expr, at)?)]),
            _ => self.vector(expr, at),
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

impl Samples<'_> {
    pub(super) fn points(&self) -> Box<dyn Iterator<Item = Point> + '_> {
        match self {
            Samples::Stored(window) => Box::new(window.points()),
            Samples::Computed(points) => Box::new(points.iter().copied()),
        }
    }
}

/// Series of a subquery as its steps come in.
#[derive(Default)]
struct Gathered<'a> {
    series: Vec<RangeSeries<'a>>,
    by_labels: rustc_hash::FxHashMap<Labels, usize>,
}

impl Gathered<'_> {
    fn add(&mut self, element: Element, at: Millis) {
        let index = *self.by_labels.entry(element.labels.clone()).or_insert_with(|| {
            self.series.push(RangeSeries {
                labels: element.labels,
                unnamed: None,
                nameless: element.nameless,
                samples: Samples::Computed(Vec::new()),
            });
            self.series.len() - 1
        });
        if let Samples::Computed(points) = &mut self.series[index].samples {
            points.push(Point { at, value: element.value, reset: false });
        }
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
