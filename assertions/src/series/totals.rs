//! Running totals of a series, precise enough to be subtracted.

/// A sum that carries its rounding error: about 106 bits, so that the difference of two long sums is as good
/// as the sum over the difference. Source: two-sum by Knuth; Kahan's and Neumaier's summation use the same step.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Compensated {
    high: f64,
    low: f64,
}

impl Compensated {
    /// Adds one value.
    pub(super) fn add(&mut self, value: f64) {
        let sum = self.high + value;
        let part = sum - self.high;
        let error = (self.high - (sum - part)) + (value - part);
        if sum.is_finite() {
            self.low += error;
        }
        self.high = sum;
    }

    /// This sum less `other`, rounded once.
    pub(super) fn minus(self, other: Compensated) -> f64 {
        (self.high - other.high) + (self.low - other.low)
    }

    /// The sum, rounded once; infinite or NaN as an ordinary sum would be.
    pub(super) fn value(self) -> f64 {
        self.high + self.low
    }
}

/// Count, sum and reset corrections over all samples up to some place.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Totals {
    /// Samples.
    pub(super) count: u64,
    /// Samples that are infinite or NaN; they are in no sum, so a window with one must be scanned.
    pub(super) odd: u64,
    /// Sum of the finite samples.
    pub(super) sum: Compensated,
    /// The largest the sum ever was, in absolute value.
    pub(super) peak: f64,
    /// Sum of the finite values that counter resets took away.
    pub(super) drops: Compensated,
}

impl Totals {
    /// Adds a sample and what a reset just before it took away.
    pub(super) fn add(&mut self, value: f64, drop: f64) {
        self.count += 1;
        if value.is_finite() {
            self.sum.add(value);
            self.peak = self.peak.max(self.sum.value().abs());
        } else {
            self.odd += 1;
        }
        if drop != 0.0 && drop.is_finite() {
            self.drops.add(drop);
        }
    }

    /// Adds `count` samples of a line that does not fall.
    pub(super) fn add_line(&mut self, count: usize, first: f64, increment: f64, entry_drop: f64) {
        if count == 0 {
            return;
        }
        let n = count as f64;
        self.count += count as u64;
        self.sum.add(first * n);
        self.sum.add(increment * (n * (n - 1.0) / 2.0));
        self.peak = self.peak.max(self.sum.value().abs()).max(first.abs() * n);
        if entry_drop.is_finite() {
            self.drops.add(entry_drop);
        }
    }
}
