//! The samples of one series between two times, with what a query asks of them.

use super::{Point, Position, Series, totals::Totals};

/// Up to this many samples are cheaper to walk over than to subtract totals.
const WALK_MAX: usize = 96;
/// A difference of totals below this share of the largest total is not exact to the last digit: totals have 106 bits, a
/// value 53.
const PRECISION: f64 = 1.0 / (1_u64 << 48) as f64;

/// At least one sample of one series, in time order, without stale markers.
#[derive(Debug, Clone, Copy)]
pub struct Window<'a> {
    series: &'a Series,
    first: Position,
    last: Position,
    count: usize,
}

impl<'a> Window<'a> {
    pub(super) fn new(series: &'a Series, first: Position, last: Position) -> Window<'a> {
        let count = match first.run == last.run {
            true => last.index - first.index + 1,
            false => {
                let index_in_all = |at: Position| series.runs[at.run].before.count as usize + at.index;
                index_in_all(last) - index_in_all(first) + 1
            }
        };
        Window { series, first, last, count }
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
        self.count
    }

    /// The last two samples; `None` if there is only one.
    pub fn last_two(&self) -> Option<(Point, Point)> {
        if self.count() < 2 {
            return None;
        }
        let runs = &self.series.runs;
        let before = match self.last.index {
            0 => {
                let run = runs[..self.last.run].iter().rev().find(|run| run.len() > 0)?;
                run.point(run.len() - 1)
            }
            index => runs[self.last.run].point(index - 1),
        };
        Some((before, self.last()))
    }

    /// Sum of the values from the running totals.
    ///
    /// None: it must be added up. The samples are few; or one is infinite or NaN; or what came before is so much larger
    /// that the difference of two totals would not have all its digits.
    pub fn total(&self) -> Option<f64> {
        if self.count() <= WALK_MAX {
            return None;
        }
        let (before, through) = self.ends();
        let sum = through.sum.minus(before.sum);
        (through.odd == before.odd && sum.abs() >= through.peak * PRECISION).then_some(sum)
    }

    /// What a counter grew by between the first and the last sample: after a reset it counts from zero.
    ///
    /// A reset is a value below the one before it, or one marked as such.
    pub fn increase(&self) -> f64 {
        let runs = &self.series.runs;
        let (first_run, last_run) = (&runs[self.first.run], &runs[self.last.run]);
        if self.first.run == self.last.run && first_run.is_unbroken_from(self.first.index) {
            return last_run.value(self.last.index) - first_run.value(self.first.index);
        }
        if self.count() <= WALK_MAX {
            return self.walked_increase();
        }
        let (before, _) = first_run.around(self.first.index);
        let (_, through) = last_run.around(self.last.index);
        if before.odd != through.odd {
            return self.walked_increase();
        }
        let change = last_run.value(self.last.index) - first_run.value(self.first.index);
        // Whole blocks around the window: nearly always no reset lies in them. A run's own first sample may be one.
        if self.first.run == self.last.run && before.drops == through.drops {
            return change;
        }
        let first = first_run.drops_through(self.first.index);
        let last = last_run.drops_through(self.last.index);
        let drops = last.minus(first);
        match first == last || drops.abs() >= last.value().abs().max(first.value().abs()) * PRECISION {
            true => change + drops,
            false => self.walked_increase(),
        }
    }

    /// The least and the greatest value; NaN only if there is nothing else. Whole blocks are not walked over.
    pub fn extremes(&self) -> (f64, f64) {
        let runs = self.first.run..=self.last.run;
        let mut found = (f64::NAN, f64::NAN);
        for index in runs {
            let run = &self.series.runs[index];
            let first = if index == self.first.run { self.first.index } else { 0 };
            let end = if index == self.last.run { self.last.index + 1 } else { run.len() };
            // A stale marker is a run without samples.
            if first < end {
                let (least, greatest) = run.extremes(first, end - 1);
                found = (found.0.min(least), found.1.max(greatest));
            }
        }
        found
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

    fn walked_increase(&self) -> f64 {
        let first = self.first();
        let mut increase = self.last().value - first.value;
        let mut previous = first.value;
        for point in self.points().skip(1) {
            if point.reset || point.value < previous {
                increase += previous;
            }
            previous = point.value;
        }
        increase
    }
}
