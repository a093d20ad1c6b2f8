//! An expression evaluated again and again over a range.

use super::ast::{Expr, Kind, Subquery};
use super::eval::{Element, EvalError, Evaluated, Query};
use super::selected::{RangeArgument, RangeSeries, Samples};
use crate::labels::Labels;
use crate::series::Point;
use crate::time::Millis;

/// Most steps of one subquery.
const STEPS_MAX: i64 = 1_000_000;

impl<'a> Query<'a> {
    /// The series of a subquery, of which nothing counts that lies less than `late` ms behind its beginning.
    pub(super) fn subquery(
        &self,
        subquery: &Subquery,
        at: Millis,
        late: i64,
    ) -> Evaluated<RangeArgument<'a>> {
        let step = subquery.step.unwrap_or(self.settings.subquery_step).max(1);
        let span = self.span(subquery.time, subquery.range, at);
        let (from, until) = (Millis(span.from.0.saturating_add(late)), span.until);
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
        let steps = Query { first: Millis(moment), ..*self };
        while moment <= until.0 {
            for element in steps.subquery_elements(&subquery.expr, Millis(moment))? {
                gathered.add(element, Millis(moment));
            }
            moment += step;
        }
        Ok(RangeArgument { series: gathered.series, span, one_name: false })
    }

    fn subquery_elements(&self, expr: &Expr, at: Millis) -> Evaluated<Vec<Element>> {
        match expr.kind() {
            Kind::Scalar => Ok(vec![Element::new(Labels::default(), self.scalar(expr, at)?)]),
            _ => self.vector(expr, at),
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
