//! What a selector means at a moment: the newest sample of each series, or all samples of a window.

use super::ast::{At, Dialect, Expr, Kind, Selector, TimeShift};
use super::eval::{Element, EvalError, Evaluated, Query};
use super::sums;
use crate::labels::Labels;
use crate::series::{Hint, Point, Window, is_stale};
use crate::store::Named;
use crate::time::Millis;

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

/// Where a range begins and ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) from: Millis,
    pub(super) until: Millis,
}

/// A range argument: its series, and where it begins and ends.
pub(super) struct RangeArgument<'a> {
    pub(super) series: Vec<RangeSeries<'a>>,
    pub(super) span: Span,
    /// Whether all series have the same metric name, so that dropping it keeps them apart.
    pub(super) one_name: bool,
}

impl<'a> Query<'a> {
    /// The time of the samples of a selector; of any other expression the time of the evaluation.
    pub(super) fn timestamp(&self, expr: &Expr, at: Millis) -> Evaluated<Vec<Element>> {
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
    pub(super) fn selected(
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

    pub(super) fn for_each_series(&self, selector: &Selector, mut visit: impl FnMut(&'a Named)) {
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
    pub(super) fn shifted(&self, time: TimeShift, at: Millis) -> Millis {
        let base = match time.at {
            None => at,
            Some(At::Start) => self.start,
            Some(At::End) => self.end,
            Some(At::Moment(moment)) => moment,
        };
        Millis(base.0.saturating_sub(time.offset))
    }

    /// The earliest time that counts for a window that begins at `edge`.
    pub(super) fn left_edge(&self, edge: i64) -> i64 {
        match self.settings.dialect {
            Dialect::V2 => edge,
            Dialect::V3 => edge.saturating_add(1),
        }
    }

    /// The samples of a range selector or subquery.
    pub(super) fn range(&self, expr: &Expr, at: Millis) -> Evaluated<RangeArgument<'a>> {
        self.late_range(expr, at, 0)
    }

    /// The samples of a range selector or subquery without those less than `late` ms behind its beginning.
    pub(super) fn late_range(&self, expr: &Expr, at: Millis, late: i64) -> Evaluated<RangeArgument<'a>> {
        match expr {
            Expr::Range { selector, range, .. } => Ok(self.range_selected(selector, *range, at, late)),
            Expr::Subquery(subquery) => self.subquery(subquery, at, late),
            _ => Err(EvalError::Kind { found: expr.kind(), wanted: Kind::Matrix }),
        }
    }

    fn range_selected(&self, selector: &Selector, range: i64, at: Millis, late: i64) -> RangeArgument<'a> {
        let span = self.span(selector.time, range, at);
        let counted = Span { from: Millis(span.from.0.saturating_add(late)), ..span };
        let mut series = Vec::new();
        self.for_each_window(selector, counted, |named, window| {
            series.push(RangeSeries {
                labels: named.labels.clone(),
                unnamed: Some(named.unnamed.clone()),
                nameless: false,
                samples: Samples::Stored(window),
            });
        });
        RangeArgument { series, span, one_name: selector.name.is_some() }
    }

    /// The times of a range of `range` ms.
    pub(super) fn span(&self, time: TimeShift, range: i64, at: Millis) -> Span {
        let until = self.shifted(time, at);
        Span { from: Millis(until.0.saturating_sub(range)), until }
    }

    /// Every selected series that has samples in the span.
    pub(super) fn for_each_window(
        &self,
        selector: &Selector,
        span: Span,
        mut visit: impl FnMut(&'a Named, Window<'a>),
    ) {
        let edge = Millis(self.left_edge(span.from.0));
        if edge > span.until {
            return;
        }
        let mut hint = Hint::default();
        self.for_each_series(selector, |named| {
            if let Some(window) = named.samples.window_near(edge, span.until, &mut hint) {
                visit(named, window);
            }
        });
    }
}

/// What range functions ask of their samples.
impl Samples<'_> {
    pub(super) fn points(&self) -> Box<dyn Iterator<Item = Point> + '_> {
        match self {
            Samples::Stored(window) => Box::new(window.points()),
            Samples::Computed(points) => Box::new(points.iter().copied()),
        }
    }

    pub(super) fn values(&self) -> impl Iterator<Item = f64> {
        self.points().map(|point| point.value)
    }

    pub(super) fn count(&self) -> usize {
        match self {
            Samples::Stored(window) => window.count(),
            Samples::Computed(points) => points.len(),
        }
    }

    /// The first and the last sample.
    pub(super) fn ends(&self) -> Option<(Point, Point)> {
        match self {
            Samples::Stored(window) => Some((window.first(), window.last())),
            Samples::Computed(points) => Some((*points.first()?, *points.last()?)),
        }
    }

    /// The last two samples; `None` if there are not as many.
    pub(super) fn last_two(&self) -> Option<(Point, Point)> {
        match self {
            Samples::Stored(window) => window.last_two(),
            Samples::Computed(points) => match points.as_slice() {
                [.., before, last] => Some((*before, *last)),
                _ => None,
            },
        }
    }

    /// The sum of the values where it is at hand; `None`: it must be added up.
    pub(super) fn total(&self) -> Option<f64> {
        match self {
            Samples::Stored(window) => window.total(),
            Samples::Computed(_) => None,
        }
    }

    /// The least and the greatest value; NaN only if there is nothing else.
    pub(super) fn extremes(&self) -> (f64, f64) {
        match self {
            Samples::Stored(window) => window.extremes(),
            Samples::Computed(_) => (
                sums::extreme(self.values(), |best, value| value < best),
                sums::extreme(self.values(), |best, value| value > best),
            ),
        }
    }

    /// What a counter grew by between the first and the last sample.
    pub(super) fn increase(&self) -> f64 {
        match self {
            Samples::Stored(window) => window.increase(),
            Samples::Computed(points) => {
                let pairs = points.windows(2).filter(|pair| pair[1].value < pair[0].value);
                let change =
                    points.last().zip(points.first()).map_or(0.0, |(last, first)| last.value - first.value);
                pairs.fold(change, |change, pair| change + pair[0].value)
            }
        }
    }
}
