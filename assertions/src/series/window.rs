//! The samples of one series between two times, with what a query asks of them.

use super::{Point, Position, Series, totals::Totals};

/// Up to this many samples are cheaper to walk over than to subtract totals.
const WALK_MAX: usize = 96;

/// At least one sample of one series, in time order, without stale markers.
#[derive(Debug, Clone, Copy)]
pub struct Window<'a> {
    series: &'a Series,
    first: Position,
    last: Position,
}

impl<'a> Window<'a> {
    pub(super) fn new(series: &'a Series, first: Position, last: Position) -> Window<'a> {
        Window { series, first, last }
    }

    /// The earliest sample.
    pub fn first(&self) -> Point {
        self.series.runs[self.first.run].point(self.first.index)
    }

    /// The latest sample.
    pub fn last(&self) -> Point {
        self.series.runs[self.last.run].point(self.last.index)
    }

    /// Number of samples, at least 1.
    pub fn count(&self) -> usize {
        let index_in_all = |at: Position| self.series.runs[at.run].before.count as usize + at.index;
        index_in_all(self.last) - index_in_all(self.first) + 1
    }

    /// Sum of the values.
    pub fn sum(&self) -> f64 {
        if self.count() <= WALK_MAX {
            return self.walked_sum();
        }
        let (before, through) = self.ends();
        match through.odd - before.odd {
            0 => through.sum.minus(before.sum),
            _ => self.walked_sum(),
        }
    }

    /// Sum of what counter resets took away between the first and the last sample.
    ///
    /// A reset is a value below the one before it, or one marked as such.
    pub fn drops(&self) -> f64 {
        if self.count() <= WALK_MAX || self.may_have_odd() {
            return self.walked_drops();
        }
        let runs = &self.series.runs;
        let first = runs[self.first.run].drops_through(self.first.index);
        runs[self.last.run].drops_through(self.last.index).minus(first)
    }

    /// Whether an infinite sample or NaN may be among them, seen by whole blocks.
    fn may_have_odd(&self) -> bool {
        let runs = &self.series.runs;
        let (before, _) = runs[self.first.run].around(self.first.index);
        let (_, through) = runs[self.last.run].around(self.last.index);
        before.odd != through.odd
    }

    /// Every sample, in time order.
    pub fn points(&self) -> impl Iterator<Item = Point> + use<'a> {
        let (first, last) = (self.first, self.last);
        self.series.runs[first.run..=last.run].iter().enumerate().flat_map(move |(offset, run)| {
            let from = if offset == 0 { first.index } else { 0 };
            let until = if first.run + offset == last.run { last.index + 1 } else { run.len() };
            (from..until).map(|index| run.point(index))
        })
    }

    /// Totals before the first sample, and through the last.
    fn ends(&self) -> (Totals, Totals) {
        let runs = &self.series.runs;
        let before = runs[self.first.run].totals_before(self.first.index);
        (before, runs[self.last.run].totals_through(self.last.index))
    }

    fn walked_sum(&self) -> f64 {
        let mut sum = super::Compensated::default();
        self.points().for_each(|point| sum.add(point.value));
        sum.value()
    }

    fn walked_drops(&self) -> f64 {
        let mut points = self.points();
        let Some(first) = points.next() else { return 0.0 };
        let mut previous = first.value;
        let mut drops = 0.0;
        for point in points {
            if point.reset || point.value < previous {
                drops += previous;
            }
            previous = point.value;
        }
        drops
    }
}
