//! The cells that are counted in: a counter, a gauge, a histogram. Each has a single writer, so none needs a locked instruction.
//!
//! A sum over shards never goes back between two scrapes of which one knows of the other; `tests/scrape` shows it on this source.

use super::atomic::{AtomicI64, AtomicU64, Ordering};

/// A counter with a single writer.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// The count.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A level with a single writer. A shard's share may be negative where another shard's is positive.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// Adds `n`, which may be negative.
    pub fn add(&self, n: i64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// Sets the level.
    pub fn set(&self, level: usize) {
        self.0.store(i64::try_from(level).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    /// The level.
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A histogram with `BOUNDS` finite buckets and a single writer. The count is derived from the buckets.
#[derive(Debug)]
pub struct Histogram<const BOUNDS: usize> {
    pub(super) buckets: [Counter; BOUNDS],
    /// What no finite bucket holds.
    pub(super) above: Counter,
    /// In millionths of the unit, so that it is an integer.
    pub(super) sum_millionths: Counter,
}

impl<const BOUNDS: usize> Default for Histogram<BOUNDS> {
    fn default() -> Self {
        let buckets = std::array::from_fn(|_| Counter::default());
        Histogram { buckets, above: Counter::default(), sum_millionths: Counter::default() }
    }
}

impl<const BOUNDS: usize> Histogram<BOUNDS> {
    /// Counts `value` in the first bucket of `bounds` that holds it.
    pub fn observe(&self, value: f64, bounds: &[f64; BOUNDS]) {
        match bounds.iter().position(|bound| value <= *bound) {
            Some(index) => self.buckets[index].increment(),
            None => self.above.increment(),
        }
        self.sum_millionths.add((value * 1e6) as u64);
    }
}

/// A histogram's value.
#[derive(Debug, Clone, PartialEq)]
pub struct Distribution {
    /// Upper bounds of the finite buckets, ascending; each holds values up to and including its bound.
    pub bounds: &'static [f64],
    /// Values in each bucket alone; one more than `bounds`, the last for what is above all bounds.
    pub counts: Vec<u64>,
    /// Sum of all values, in the family's unit, to a millionth.
    pub sum: f64,
}

impl Distribution {
    /// The values of all `parts` together.
    pub(super) fn merge<'a, const BOUNDS: usize>(
        bounds: &'static [f64; BOUNDS],
        parts: impl Iterator<Item = &'a Histogram<BOUNDS>>,
    ) -> Distribution {
        let (mut counts, mut sum_millionths) = (vec![0; BOUNDS + 1], 0);
        for part in parts {
            let buckets = part.buckets.iter().chain([&part.above]).map(Counter::get);
            counts.iter_mut().zip(buckets).for_each(|(count, bucket)| *count += bucket);
            sum_millionths += part.sum_millionths.get();
        }
        Distribution { bounds, counts, sum: sum_millionths as f64 / 1e6 }
    }

    /// Number of values.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}
