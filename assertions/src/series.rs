//! One series in memory: synthetic runs in constant space, raw runs with prefix sums.
//!
//! A rule over 30 days looks at 172,800 samples a series on every evaluation. So what a window needs
//! (count, sum, what counter resets took away) is kept as running totals every 64 samples and
//! subtracted, least and greatest values stand in a tree, and a synthetic history is one straight line. Times that are
//! evenly spaced, as those of scrapes are, are not stored. It knows nothing of labels, queries or scrapes.

use crate::time::Millis;

mod extremes;
mod run;
mod times;
mod totals;
mod window;
pub(crate) mod work;

pub use times::Hint;
pub use window::Window;

use run::{Points, Raw, Run};
use totals::Totals;

/// The bits that mark "this series ended here", as Prometheus writes them; an ordinary NaN has others.
pub const STALE_BITS: u64 = 0x7ff0_0000_0000_0002;

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
        self.window_near(from, until, &mut Hint::default())
    }

    /// The same, looked for first where the window of the series before was: series of one target have their samples at
    /// the same times.
    pub fn window_near(&self, from: Millis, until: Millis, hint: &mut Hint) -> Option<Window<'_>> {
        let (first, last) = match self.runs.as_slice() {
            [Run { points: Points::Raw(raw), .. }] => {
                let (first, end) = hint.ends(&raw.times, from.0, until.0);
                let last = end.checked_sub(1)?;
                (Position { run: 0, index: first }, Position { run: 0, index: last })
            }
            _ => (self.position_from(from.0)?, self.position_through(until.0)?),
        };
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
        let points = Points::Raw(Raw::one(at, value, before, entry_drop));
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

#[cfg(test)]
mod tests;
