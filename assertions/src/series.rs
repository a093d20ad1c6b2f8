//! One series in memory: a synthetic past as a straight line, then samples with prefix sums.
//!
//! A window over thirty days costs two binary searches: sums and counter resets are folded into prefix sums as samples come.

use crate::time::Millis;

/// Evenly spaced samples on a straight line: the healthy past, in a few bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Line {
    /// Time of the first sample.
    pub first: Millis,
    /// Distance of samples, milliseconds; above 0.
    pub step_ms: i64,
    /// Number of samples.
    pub count: usize,
    /// First value.
    pub value: f64,
    /// Growth from sample to sample; not negative for counters.
    pub increment: f64,
}

/// Samples of one series in order of time.
#[derive(Debug, Clone, Default)]
pub struct Series {
    history: Option<Line>,
    times: Vec<i64>,
    values: Vec<f64>,
    /// Sum of the values before each reset, up to and including this sample.
    corrections: Vec<f64>,
    /// Sum of all values before this sample.
    sums: Vec<f64>,
    resets: Vec<usize>,
    /// When the series was marked stale.
    stale: Vec<i64>,
}

impl Series {
    /// A series with a synthetic past.
    pub fn with_history(line: Line) -> Series {
        Series { history: Some(line), ..Series::default() }
    }

    fn history_len(&self) -> usize {
        self.history.map_or(0, |line| line.count)
    }

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.history_len() + self.times.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Time of sample `index`, milliseconds.
    pub fn time(&self, index: usize) -> i64 {
        match self.history {
            Some(line) if index < line.count => line.first.0 + line.step_ms * index as i64,
            _ => self.times[index - self.history_len()],
        }
    }

    /// Value of sample `index`.
    pub fn value(&self, index: usize) -> f64 {
        match self.history {
            Some(line) if index < line.count => line.value + line.increment * index as f64,
            _ => self.values[index - self.history_len()],
        }
    }

    /// What resets up to sample `index` have taken off.
    fn correction(&self, index: usize) -> f64 {
        index.checked_sub(self.history_len()).map_or(0.0, |raw| self.corrections[raw])
    }

    /// Sum of all values before sample `index`.
    fn sum_before(&self, index: usize) -> f64 {
        let line_sum = |line: Line, count: usize| {
            let n = count as f64;
            n * line.value + line.increment * n * (n - 1.0) / 2.0
        };
        match (self.history, index.checked_sub(self.history_len())) {
            (Some(line), None) => line_sum(line, index),
            (history, Some(raw)) => {
                let before = history.map_or(0.0, |line| line_sum(line, line.count));
                before
                    + self.sums.get(raw).copied().unwrap_or_else(|| {
                        self.sums.last().zip(self.values.last()).map_or(0.0, |(sum, value)| sum + value)
                    })
            }
            (None, None) => 0.0,
        }
    }

    /// Adds a sample; a value below the last counts as a reset where that matters. Times must grow; others are ignored.
    pub fn push(&mut self, at: Millis, value: f64) {
        let dropped = self.len().checked_sub(1).is_some_and(|last| value < self.value(last));
        self.push_marked(at, value, dropped);
    }

    /// Adds a sample and says whether the counter was reset before it, whatever the values look like.
    pub fn push_marked(&mut self, at: Millis, value: f64, reset: bool) {
        let last = self.len().checked_sub(1);
        if last.is_some_and(|last| self.time(last) >= at.0) {
            return;
        }
        let (mut correction, sum) = match last {
            Some(last) => {
                (self.correction(last), self.sum_before(last + 1) - self.sum_before(self.history_len()))
            }
            None => (0.0, 0.0),
        };
        if let Some(last) = last.filter(|_| reset) {
            correction += self.value(last);
            self.resets.push(self.len());
        }
        self.times.push(at.0);
        self.values.push(value);
        self.corrections.push(correction);
        self.sums.push(sum);
    }

    /// Marks the series stale: from `at` on, until its next sample, it has no value.
    pub fn mark_stale(&mut self, at: Millis) {
        if self.stale.last().is_none_or(|last| *last < at.0) {
            self.stale.push(at.0);
        }
    }

    /// Whether the series' last entry is a stale marker.
    pub fn is_stale(&self) -> bool {
        let last = self.len().checked_sub(1).map_or(i64::MIN, |last| self.time(last));
        self.stale.last().is_some_and(|stale| *stale > last)
    }

    /// The number of samples up to and including `at`.
    fn count_until(&self, at: i64) -> usize {
        let in_history = self.history.map_or(0, |line| {
            if at < line.first.0 {
                0
            } else {
                (((at - line.first.0) / line.step_ms) as usize + 1).min(line.count)
            }
        });
        if in_history < self.history_len() {
            return in_history;
        }
        in_history + self.times.partition_point(|time| *time <= at)
    }

    /// The newest sample at or before `at` that is not older than `oldest` and not followed by a stale marker: time, value.
    pub fn latest(&self, at: Millis, oldest: i64) -> Option<(i64, f64)> {
        let index = self.count_until(at.0).checked_sub(1)?;
        let time = self.time(index);
        let stale = self.stale.partition_point(|stale| *stale <= at.0);
        let is_stale = stale.checked_sub(1).is_some_and(|stale| self.stale[stale] > time);
        (time >= oldest && !is_stale).then(|| (time, self.value(index)))
    }

    /// The samples in `from..=to`.
    pub fn window(&self, from: i64, to: i64) -> Window<'_> {
        let begin = if from == i64::MIN { 0 } else { self.count_until(from - 1) };
        Window { series: self, begin, end: self.count_until(to).max(begin) }
    }
}

/// Samples of a series in a span of time.
#[derive(Debug, Clone, Copy)]
pub struct Window<'a> {
    series: &'a Series,
    begin: usize,
    end: usize,
}

impl Window<'_> {
    /// Number of samples.
    pub fn len(&self) -> usize {
        self.end - self.begin
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.begin == self.end
    }

    /// Sample `index` of the window: time in milliseconds, value.
    pub fn get(&self, index: usize) -> (i64, f64) {
        (self.series.time(self.begin + index), self.series.value(self.begin + index))
    }

    /// All samples in order.
    pub fn iter(&self) -> impl Iterator<Item = (i64, f64)> {
        (0..self.len()).map(|index| self.get(index))
    }

    /// First sample.
    pub fn first(&self) -> Option<(i64, f64)> {
        (!self.is_empty()).then(|| self.get(0))
    }

    /// Last sample.
    pub fn last(&self) -> Option<(i64, f64)> {
        (!self.is_empty()).then(|| self.get(self.len() - 1))
    }

    /// What the counter grew by from the first to the last sample, resets taken out.
    pub fn increase(&self) -> f64 {
        match (self.first(), self.last()) {
            (Some((_, first)), Some((_, last))) => {
                last - first + self.series.correction(self.end - 1) - self.series.correction(self.begin)
            }
            _ => 0.0,
        }
    }

    /// Sum of all values.
    pub fn sum(&self) -> f64 {
        let sum = self.series.sum_before(self.end) - self.series.sum_before(self.begin);
        // One value that is no number makes all later prefix sums none; such a window is added up.
        if sum.is_finite() { sum } else { self.iter().map(|(_, value)| value).sum() }
    }

    /// Whether the counter was reset between two samples of the window, `index` - 1 and `index`.
    pub fn is_reset(&self, index: usize) -> bool {
        self.series.resets.binary_search(&(self.begin + index)).is_ok()
    }

    /// Resets inside the window.
    pub fn resets(&self) -> usize {
        let resets = &self.series.resets;
        resets.partition_point(|reset| *reset < self.end)
            - resets.partition_point(|reset| *reset <= self.begin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() <= 1e-6 * (1.0 + a.abs().max(b.abs()))
    }

    proptest! {
        /// Prefix sums give what a scan gives, over history, raw samples and the joint between them.
        #[test]
        fn windows_equal_a_scan(
            history in prop::option::of((1usize..50, 0.0f64..100.0, 0.0f64..5.0)),
            raw in prop::collection::vec((1i64..40, 0.0f64..200.0), 0..40),
            from in -50i64..2500, length in 0i64..2500,
        ) {
            let mut series = match history {
                Some((count, value, increment)) => {
                    Series::with_history(Line { first: Millis(0), step_ms: 15, count, value, increment })
                }
                None => Series::default(),
            };
            let mut all: Vec<(i64, f64)> = (0..series.len()).map(|i| (series.time(i), series.value(i))).collect();
            let mut at = all.last().map_or(0, |(time, _)| *time);
            for (gap, value) in raw {
                at += gap;
                series.push(Millis(at), value);
                all.push((at, value));
            }
            let window = series.window(from, from + length);
            let scan: Vec<_> = all.iter().copied().filter(|(time, _)| (from..=from + length).contains(time)).collect();
            prop_assert_eq!(window.iter().collect::<Vec<_>>(), scan.clone());
            prop_assert!(close(window.sum(), scan.iter().map(|(_, value)| value).sum()));
            let grown = scan.windows(2).map(|pair| if pair[1].1 < pair[0].1 { pair[1].1 } else { pair[1].1 - pair[0].1 }).sum();
            prop_assert!(close(window.increase(), grown), "{} {}", window.increase(), grown);
            prop_assert_eq!(window.resets(), scan.windows(2).filter(|pair| pair[1].1 < pair[0].1).count());
        }
    }

    #[test]
    fn a_stale_marker_hides_what_came_before_it_only() {
        let mut series = Series::default();
        series.push(Millis(10), 1.0);
        series.mark_stale(Millis(20));
        assert_eq!(series.latest(Millis(19), 0), Some((10, 1.0)));
        assert_eq!(series.latest(Millis(20), 0), None);
        assert!(series.is_stale());
        series.push(Millis(30), 2.0);
        assert_eq!(series.latest(Millis(30), 0), Some((30, 2.0)));
        assert_eq!(series.latest(Millis(30), 31), None);
        assert_eq!(series.window(0, 40).len(), 2);
    }

    #[test]
    fn a_marked_reset_counts_even_where_the_value_grew() {
        let mut series = Series::default();
        series.push(Millis(10), 100.0);
        series.push_marked(Millis(20), 160.0, true);
        assert_eq!(series.window(0, 20).increase(), 160.0);
    }
}
