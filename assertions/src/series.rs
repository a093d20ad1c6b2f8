//! One series in memory: synthetic runs in constant space, raw runs with prefix sums.
//!
//! A rule over 30 days looks at 172,800 samples a series on every evaluation. So what a window needs
//! (count, sum, what counter resets took away) is kept as running totals every 64 samples and
//! subtracted, and a synthetic history is one straight line. It knows nothing of labels, queries or scrapes.

use crate::time::Millis;
use std::cmp::Ordering;

mod totals;
mod window;

pub use totals::Compensated;
pub use window::Window;

use totals::Totals;

/// The bits that mark "this series ended here", as Prometheus writes them; an ordinary NaN has others.
pub const STALE_BITS: u64 = 0x7ff0_0000_0000_0002;

/// Samples between two stored totals.
const BLOCK: usize = 64;

/// The marker that ends a series until its next sample.
pub fn stale_marker() -> f64 {
    f64::from_bits(STALE_BITS)
}

/// Whether a value is the marker; compares bits, because every NaN is unequal to itself.
pub fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE_BITS
}

/// A sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// When, in rule time.
    pub at: Millis,
    /// The value; never the stale marker.
    pub value: f64,
    /// The counter was reset between the sample before and this one, whatever the two values say.
    pub reset: bool,
}

/// A sample that is not newer than the newest one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("sample at {} ms is not newer than the one at {} ms", at.0, newest.0)]
pub struct OutOfOrder {
    /// The refused sample's time.
    pub at: Millis,
    /// The newest time stored.
    pub newest: Millis,
}

/// Samples in time order, in runs.
#[derive(Debug, Clone, Default)]
pub struct Series {
    runs: Vec<Run>,
}

/// Consecutive samples kept the same way.
#[derive(Debug, Clone)]
struct Run {
    first_at: i64,
    last_at: i64,
    points: Points,
    /// Totals over all samples of earlier runs.
    before: Totals,
    /// The counter was reset before the first sample, whatever the values say.
    reset: bool,
    /// What the reset before the first sample took away; 0 if there was none.
    entry_drop: f64,
}

#[derive(Debug, Clone)]
enum Points {
    /// A straight line: sample i is `first + increment * i`, at `first_at + step * i`.
    Line { step: i64, count: usize, first: f64, increment: f64 },
    /// Every sample, the totals before each `BLOCK`th, and those through the last.
    Raw { times: Vec<i64>, values: Vec<f64>, blocks: Vec<Totals>, through: Totals },
    /// A stale marker.
    Stale,
}

/// Where a sample stands: run, and index within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Position {
    run: usize,
    index: usize,
}

impl Series {
    /// Adds a sample, which may be a stale marker. Errors: it is not newer than the newest.
    pub fn push(&mut self, at: Millis, value: f64) -> Result<(), OutOfOrder> {
        self.check_newer(at)?;
        if is_stale(value) {
            self.push_stale(at.0);
        } else {
            self.push_value(at.0, value);
        }
        Ok(())
    }

    /// Adds a sample before which the counter was reset, though the values may not show it.
    pub fn push_reset(&mut self, at: Millis, value: f64) -> Result<(), OutOfOrder> {
        self.check_newer(at)?;
        self.start_raw(at.0, value, true);
        Ok(())
    }

    /// Adds `count` samples `step` ms apart from `start` on, the first `first`, each `increment` above the one
    /// before. Constant space, unless the line falls: a falling line is stored sample by sample.
    ///
    /// Errors: it does not start after the newest sample. Without samples or step: nothing happens.
    pub fn push_line(
        &mut self,
        start: Millis,
        step: i64,
        count: usize,
        first: f64,
        increment: f64,
    ) -> Result<(), OutOfOrder> {
        if count == 0 || step <= 0 {
            return Ok(());
        }
        self.check_newer(start)?;
        if !(increment >= 0.0 && first.is_finite() && increment.is_finite()) {
            return (0..count).try_for_each(|i| {
                self.push(Millis(start.0 + step * i as i64), first + increment * i as f64)
            });
        }
        let (before, entry_drop) = self.entering(first, false);
        self.runs.push(Run {
            first_at: start.0,
            last_at: start.0 + step * (count as i64 - 1),
            points: Points::Line { step, count, first, increment },
            before,
            reset: false,
            entry_drop,
        });
        Ok(())
    }

    /// Time of the newest sample or marker.
    pub fn newest(&self) -> Option<Millis> {
        self.runs.last().map(|run| Millis(run.last_at))
    }

    /// The newest value, which may be the stale marker, and its time, at or before `at`.
    pub fn latest(&self, at: Millis) -> Option<(Millis, f64)> {
        let run = self.runs.partition_point(|run| run.first_at <= at.0).checked_sub(1)?;
        let found = &self.runs[run];
        let index = found.index_through(at.0)?;
        Some((Millis(found.time(index)), found.value(index)))
    }

    /// The samples with `from <= time <= until`, stale markers left out; `None` if there is none.
    pub fn window(&self, from: Millis, until: Millis) -> Option<Window<'_>> {
        let first = self.position_from(from.0)?;
        let last = self.position_through(until.0)?;
        (first <= last).then(|| Window::new(self, first, last))
    }

    /// Bytes held, for the memory figure of a run.
    pub fn bytes(&self) -> usize {
        self.runs.iter().map(Run::bytes).sum()
    }

    fn check_newer(&self, at: Millis) -> Result<(), OutOfOrder> {
        match self.newest() {
            Some(newest) if newest >= at => Err(OutOfOrder { at, newest }),
            _ => Ok(()),
        }
    }

    fn push_stale(&mut self, at: i64) {
        let before = self.totals();
        let points = Points::Stale;
        self.runs.push(Run { first_at: at, last_at: at, points, before, reset: false, entry_drop: 0.0 });
    }

    fn push_value(&mut self, at: i64, value: f64) {
        let extended = self.runs.last_mut().is_some_and(|run| run.extend(at, value));
        if !extended {
            self.start_raw(at, value, false);
        }
    }

    fn start_raw(&mut self, at: i64, value: f64, reset: bool) {
        let (before, entry_drop) = self.entering(value, reset);
        let mut through = before;
        through.add(value, entry_drop);
        let points = Points::Raw { times: vec![at], values: vec![value], blocks: vec![before], through };
        self.runs.push(Run { first_at: at, last_at: at, points, before, reset, entry_drop });
    }

    /// Totals so far, and what a reset before a new run that starts with `value` takes away.
    fn entering(&self, value: f64, reset: bool) -> (Totals, f64) {
        let previous = self.last_value();
        let drop = previous.filter(|previous| reset || value < *previous).unwrap_or(0.0);
        (self.totals(), drop)
    }

    fn last_value(&self) -> Option<f64> {
        self.runs.iter().rev().find(|run| run.len() > 0).map(|run| run.value(run.len() - 1))
    }

    /// Totals over all samples.
    fn totals(&self) -> Totals {
        match self.runs.last() {
            None => Totals::default(),
            Some(run) if run.len() == 0 => run.before,
            Some(run) => run.totals_through(run.len() - 1),
        }
    }

    /// The first sample at or after `from`.
    fn position_from(&self, from: i64) -> Option<Position> {
        let start = self.runs.partition_point(|run| run.last_at < from);
        self.runs[start..].iter().enumerate().find_map(|(offset, run)| {
            let index = run.index_from(from);
            (index < run.len()).then_some(Position { run: start + offset, index })
        })
    }

    /// The last sample at or before `until`.
    fn position_through(&self, until: i64) -> Option<Position> {
        let end = self.runs.partition_point(|run| run.first_at <= until);
        self.runs[..end].iter().enumerate().rev().find_map(|(index, run)| {
            (run.len() > 0).then(|| run.index_through(until).map(|at| Position { run: index, index: at }))?
        })
    }
}

impl Run {
    /// Number of samples; a stale marker is none.
    fn len(&self) -> usize {
        match &self.points {
            Points::Line { count, .. } => *count,
            Points::Raw { values, .. } => values.len(),
            Points::Stale => 0,
        }
    }

    fn time(&self, index: usize) -> i64 {
        match &self.points {
            Points::Line { step, .. } => self.first_at + step * index as i64,
            Points::Raw { times, .. } => times[index],
            Points::Stale => self.first_at,
        }
    }

    fn value(&self, index: usize) -> f64 {
        match &self.points {
            Points::Line { first, increment, .. } => first + increment * index as f64,
            Points::Raw { values, .. } => values[index],
            Points::Stale => stale_marker(),
        }
    }

    /// Index of the first sample at or after `from`; the length if there is none.
    fn index_from(&self, from: i64) -> usize {
        if from <= self.first_at {
            return 0;
        }
        match &self.points {
            Points::Line { step, count, .. } => {
                let steps = (from - self.first_at).div_euclid(*step);
                let whole = self.first_at + steps * step == from;
                usize::try_from(steps + i64::from(!whole)).unwrap_or(*count).min(*count)
            }
            Points::Raw { times, .. } => first_not_before(times, from),
            Points::Stale => 0,
        }
    }

    /// Index of the last sample (or marker) at or before `until`.
    fn index_through(&self, until: i64) -> Option<usize> {
        if until < self.first_at {
            return None;
        }
        if until >= self.last_at {
            return Some(self.len().saturating_sub(1));
        }
        match &self.points {
            Points::Line { step, .. } => usize::try_from((until - self.first_at) / step).ok(),
            Points::Raw { times, .. } => first_not_before(times, until + 1).checked_sub(1),
            Points::Stale => Some(0),
        }
    }

    /// Takes one more sample if it belongs to this run: any for a raw run, the next on the line for a line.
    fn extend(&mut self, at: i64, value: f64) -> bool {
        let extended = match &mut self.points {
            Points::Line { step, count, first, increment } => {
                let next = *first + *increment * *count as f64;
                let fits = at == self.last_at + *step && value.to_bits() == next.to_bits();
                *count += usize::from(fits);
                fits
            }
            Points::Raw { .. } => {
                self.extend_raw(at, value);
                true
            }
            Points::Stale => false,
        };
        if extended {
            self.last_at = at;
        }
        extended
    }

    fn extend_raw(&mut self, at: i64, value: f64) {
        if let Points::Raw { times, values, blocks, through } = &mut self.points {
            if values.len().is_multiple_of(BLOCK) {
                blocks.push(*through);
            }
            let previous = values.last().copied().unwrap_or(value);
            through.add(value, if value < previous { previous } else { 0.0 });
            times.push(at);
            values.push(value);
        }
    }

    /// Totals over all samples before `index`.
    fn totals_before(&self, index: usize) -> Totals {
        match &self.points {
            Points::Line { first, increment, .. } => {
                let mut totals = self.before;
                totals.add_line(index, *first, *increment, self.entry_drop);
                totals
            }
            Points::Raw { values, blocks, through, .. } => {
                let block = index / BLOCK;
                let Some(start) = blocks.get(block) else { return *through };
                let mut totals = *start;
                for (at, value) in values.iter().enumerate().take(index).skip(block * BLOCK) {
                    totals.add(*value, self.drop_at(at));
                }
                totals
            }
            Points::Stale => self.before,
        }
    }

    /// Totals before the block of sample `index`, and through the end of that block.
    fn around(&self, index: usize) -> (Totals, Totals) {
        match &self.points {
            Points::Raw { blocks, through, .. } => {
                let block = index / BLOCK;
                let start = blocks.get(block).copied().unwrap_or(*through);
                (start, blocks.get(block + 1).copied().unwrap_or(*through))
            }
            Points::Line { .. } | Points::Stale => (self.before, self.before),
        }
    }

    /// What resets took away up to and including sample `index`. Nearly always no reset lies in its block, and then
    /// nothing is walked over.
    fn drops_through(&self, index: usize) -> Compensated {
        let (start, end) = self.around(index);
        let mut drops = start.drops;
        match &self.points {
            Points::Raw { .. } if start.drops == end.drops => {}
            Points::Raw { .. } => {
                let walked = index / BLOCK * BLOCK..=index;
                walked
                    .map(|at| self.drop_at(at))
                    .filter(|drop| drop.is_finite())
                    .for_each(|drop| drops.add(drop));
            }
            Points::Line { .. } if self.entry_drop.is_finite() => drops.add(self.entry_drop),
            Points::Line { .. } | Points::Stale => {}
        }
        drops
    }

    /// Totals over all samples up to and including `index`.
    fn totals_through(&self, index: usize) -> Totals {
        let mut totals = self.totals_before(index);
        totals.add(self.value(index), self.drop_at(index));
        totals
    }

    /// What a counter reset just before sample `index` took away; 0 if there was none.
    fn drop_at(&self, index: usize) -> f64 {
        match &self.points {
            _ if index == 0 => self.entry_drop,
            Points::Raw { values, .. } => match values[index].partial_cmp(&values[index - 1]) {
                Some(Ordering::Less) => values[index - 1],
                _ => 0.0,
            },
            Points::Line { .. } | Points::Stale => 0.0,
        }
    }

    fn point(&self, index: usize) -> Point {
        Point { at: Millis(self.time(index)), value: self.value(index), reset: index == 0 && self.reset }
    }

    fn bytes(&self) -> usize {
        let points = match &self.points {
            Points::Raw { times, values, blocks, .. } => {
                times.capacity() * 8 + values.capacity() * 8 + blocks.capacity() * size_of::<Totals>()
            }
            Points::Line { .. } | Points::Stale => 0,
        };
        points + size_of::<Run>()
    }
}

/// Index of the first time not before `wanted`. Scrapes are evenly spaced, so a guess nearly always hits.
fn first_not_before(times: &[i64], wanted: i64) -> usize {
    let (Some(first), Some(last)) = (times.first(), times.last()) else { return 0 };
    if wanted > *first && wanted <= *last {
        let share = (wanted - first) as f64 / (last - first) as f64;
        let guess = (share * (times.len() - 1) as f64).ceil() as usize;
        for index in guess.saturating_sub(1).max(1)..(guess + 2).min(times.len()) {
            if times[index - 1] < wanted && wanted <= times[index] {
                return index;
            }
        }
    }
    times.partition_point(|time| *time < wanted)
}

#[cfg(test)]
mod tests;
