//! Whether a level stays flat: a line through its samples that no outlier bends, held against a bound.

use std::fmt;
use std::time::Duration;

/// How much a level may grow, as a share of itself, over a time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bound {
    pub(crate) share: f64,
    pub(crate) over: Duration,
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} % in {} s", self.share * 100.0, self.over.as_secs())
    }
}

/// What a level did.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trend {
    pub(crate) median: f64,
    pub(crate) max: f64,
    /// Growth over the bound's time, as a share of the median.
    pub(crate) growth: f64,
}

/// The trend of `samples`: (seconds, level). `None`: fewer than three, or a level of nothing.
///
/// The slope is the median of the slopes between all pairs of samples (Theil 1950, Sen 1968): up to 29 % of them may be
/// anything at all.
pub(crate) fn trend(samples: &[(f64, f64)], over: Duration) -> Option<Trend> {
    if samples.len() < 3 {
        return None;
    }
    let median_level = median(samples.iter().map(|sample| sample.1).collect())?;
    let mut slopes = Vec::new();
    for (index, early) in samples.iter().enumerate() {
        let later = samples[index + 1..].iter().filter(|late| late.0 > early.0);
        slopes.extend(later.map(|late| (late.1 - early.1) / (late.0 - early.0)));
    }
    let growth = median(slopes)? * over.as_secs_f64() / median_level;
    let max = samples.iter().map(|sample| sample.1).fold(f64::MIN, f64::max);
    (median_level > 0.0).then_some(Trend { median: median_level, max, growth })
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn growth(level: impl Fn(u32) -> f64) -> f64 {
        let samples: Vec<_> = (0..270).map(|k| (f64::from(k) * 10.0, level(k))).collect();
        trend(&samples, HOUR).unwrap().growth
    }

    #[test]
    fn a_flat_level_with_noise_and_spikes_is_flat() {
        let noise = |k: u32| f64::from(k * 7919 % 101) / 101.0;
        assert!(growth(|k| 50e6 + noise(k) * 1e6).abs() < 0.003);
        let spikes = |k: u32| if k > 200 && k.is_multiple_of(5) { 500e6 } else { 50e6 + noise(k) * 1e6 };
        assert!(growth(spikes).abs() < 0.005);
        assert!(growth(|k| if k == 269 { 900e6 } else { 50e6 }).abs() < 1e-9);
    }

    #[test]
    fn a_small_leak_under_noise_is_seen() {
        // 100 bytes for each of 2.5 visitors a second are 2 % of 45 MB in an hour.
        let leak = |k: u32| 45e6 + f64::from(k) * 10.0 * 250.0 + f64::from(k * 7919 % 101) * 1e4;
        let growth = growth(leak);
        assert!((0.015..0.025).contains(&growth), "{growth}");
    }

    #[test]
    fn too_little_is_no_trend() {
        assert!(trend(&[(0.0, 1.0), (1.0, 1.0)], HOUR).is_none());
        assert!(trend(&[(0.0, 0.0), (1.0, 0.0), (2.0, 0.0)], HOUR).is_none());
    }
}
