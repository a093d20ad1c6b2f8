//! Sums, means and variances in Prometheus' order of operations: the last digits, overflows and infinities depend on it.
//!
//! Aggregations add plainly in 2.x and with compensation from 3.x on; functions over time compensate in both.

use super::ast::Dialect;

/// A sum that carries its rounding error. Source: Neumaier's variant of Kahan's summation.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Kahan {
    pub(super) sum: f64,
    pub(super) error: f64,
}

impl Kahan {
    pub(super) fn add(&mut self, value: f64, dialect: Dialect) {
        let total = self.sum + value;
        // 2.x has the NaN that an infinite sum makes of the error; its callers look at the sum first.
        self.error = match dialect {
            Dialect::V3 if total.is_infinite() => 0.0,
            _ if self.sum.abs() >= value.abs() => self.error + ((self.sum - total) + value),
            _ => self.error + ((value - total) + self.sum),
        };
        self.sum = total;
    }

    pub(super) fn of(mut values: impl Iterator<Item = f64>, dialect: Dialect) -> Kahan {
        let mut sum = Kahan { sum: values.next().unwrap_or_default(), error: 0.0 };
        values.for_each(|value| sum.add(value, dialect));
        sum
    }

    pub(super) fn value(self) -> f64 {
        self.sum + self.error
    }

    /// The sum, infinite where the sum without its error is.
    pub(super) fn total(self) -> f64 {
        if self.sum.is_infinite() { self.sum } else { self.value() }
    }
}

/// The mean of at least one value over time.
pub(super) fn mean(values: impl Iterator<Item = f64>, dialect: Dialect) -> f64 {
    match dialect {
        Dialect::V2 => compensated_running_mean(values),
        Dialect::V3 => mean_by_sum(values),
    }
}

/// 2.x: a running mean, so that no sum overflows, with compensation.
fn compensated_running_mean(values: impl Iterator<Item = f64>) -> f64 {
    let mut mean = Kahan::default();
    for (index, value) in values.enumerate() {
        let count = (index + 1) as f64;
        if !stays_infinite(mean.sum, value) {
            mean.add(value / count - mean.sum / count, Dialect::V2);
        }
    }
    mean.total()
}

/// 3.x: the sum divided by the count; from an overflow on a running mean.
pub(super) fn mean_by_sum(values: impl Iterator<Item = f64>) -> f64 {
    let mut kept = Kahan::default();
    let mut is_mean = false;
    let mut count = 0.0;
    for value in values {
        count += 1.0;
        if count == 1.0 {
            kept.sum = value;
            continue;
        }
        if !is_mean {
            let mut sum = kept;
            sum.add(value, Dialect::V3);
            if !sum.sum.is_infinite() {
                kept = sum;
                continue;
            }
            is_mean = true;
            kept = Kahan { sum: kept.sum / (count - 1.0), error: kept.error / (count - 1.0) };
        }
        let share = (count - 1.0) / count;
        kept = Kahan { sum: share * kept.sum, error: share * kept.error };
        kept.add(value / count, Dialect::V3);
    }
    if is_mean { kept.value() } else { kept.sum / count + kept.error / count }
}

/// The plain running mean of 2.x's aggregation.
pub(super) fn running_mean(values: impl Iterator<Item = f64>) -> f64 {
    let mut mean = 0.0_f64;
    for (index, value) in values.enumerate() {
        let count = (index + 1) as f64;
        if !stays_infinite(mean, value) {
            mean += value / count - mean / count;
        }
    }
    mean
}

/// Whether an infinite mean stays as it is: unless the value is NaN or infinite the other way.
fn stays_infinite(mean: f64, value: f64) -> bool {
    mean.is_infinite() && (value.is_finite() || value == mean)
}

/// Population variance over time: Welford's recurrence with compensation.
pub(super) fn variance(values: impl Iterator<Item = f64>, dialect: Dialect) -> f64 {
    let mut count = 0.0;
    let (mut mean, mut squares) = (Kahan::default(), Kahan::default());
    for value in values {
        count += 1.0;
        let before = value - mean.value();
        mean.add(before / count, dialect);
        squares.add(before * (value - mean.value()), dialect);
    }
    squares.value() / count
}

/// Population variance of an aggregation: Welford's recurrence. Of one infinite value 2.x says 0, 3.x NaN.
pub(super) fn plain_variance(values: &[f64], dialect: Dialect) -> f64 {
    let Some(first) = values.first() else { return f64::NAN };
    if dialect == Dialect::V3 && !first.is_finite() {
        return f64::NAN;
    }
    let (mut mean, mut squares, mut count) = (*first, 0.0, 1.0);
    for value in &values[1..] {
        count += 1.0;
        let before = value - mean;
        mean += before / count;
        squares += before * (value - mean);
    }
    squares / count
}

/// The value that no other replaces; a number always replaces NaN.
pub(super) fn extreme(values: impl Iterator<Item = f64>, replaces: impl Fn(f64, f64) -> bool) -> f64 {
    values.fold(f64::NAN, |best, value| if best.is_nan() || replaces(best, value) { value } else { best })
}

/// The larger of two; NaN if one is, unless the other is positive infinity.
pub(super) fn larger(a: f64, b: f64) -> f64 {
    if a == f64::INFINITY || b == f64::INFINITY {
        f64::INFINITY
    } else if a.is_nan() || b.is_nan() {
        f64::NAN
    } else {
        a.max(b)
    }
}

/// The smaller of two; NaN if one is, unless the other is negative infinity.
pub(super) fn smaller(a: f64, b: f64) -> f64 {
    -larger(-a, -b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_keep_what_rounding_loses() {
        let lost = [1.0, 1e100, 1.0, -1e100];
        for dialect in [Dialect::V2, Dialect::V3] {
            assert_eq!(Kahan::of(lost.into_iter(), dialect).total(), 2.0);
            let infinite = [1.0, f64::INFINITY, 2.0];
            assert_eq!(Kahan::of(infinite.into_iter(), dialect).total(), f64::INFINITY);
        }
    }

    #[test]
    fn means_do_not_overflow() {
        for dialect in [Dialect::V2, Dialect::V3] {
            assert_eq!(mean([1.5e308, 1.5e308].into_iter(), dialect), 1.5e308);
            assert_eq!(mean([f64::INFINITY, 0.0, f64::INFINITY].into_iter(), dialect), f64::INFINITY);
            assert!(mean([f64::INFINITY, f64::NEG_INFINITY].into_iter(), dialect).is_nan());
            assert!(mean([1.0, f64::NAN].into_iter(), dialect).is_nan());
            assert_eq!(mean([52.0; 13].into_iter(), dialect), 52.0);
        }
        assert_eq!(running_mean([f64::INFINITY, 1.0].into_iter()), f64::INFINITY);
    }

    #[test]
    fn variances() {
        for dialect in [Dialect::V2, Dialect::V3] {
            let spread = variance([0.0, 8.0, 8.0, 2.0, 3.0].into_iter(), dialect);
            assert!((spread - 10.56).abs() < 1e-14, "{spread}");
            assert_eq!(variance([1.5990505637277868; 3].into_iter(), dialect), 0.0);
            assert_eq!(plain_variance(&[1.0, 3.0], dialect), 1.0);
        }
        assert_eq!(plain_variance(&[f64::INFINITY], Dialect::V2), 0.0);
        assert!(plain_variance(&[f64::INFINITY], Dialect::V3).is_nan());
    }

    #[test]
    fn infinity_goes_before_nan() {
        assert_eq!(larger(f64::NAN, f64::INFINITY), f64::INFINITY);
        assert_eq!(smaller(f64::NEG_INFINITY, f64::NAN), f64::NEG_INFINITY);
        assert!(larger(f64::NAN, 1.0).is_nan() && smaller(1.0, f64::NAN).is_nan());
    }
}
