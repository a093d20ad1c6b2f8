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

/// From when on a gateway with a store is judged: `warm`, or the moment of the largest pile after it, where a third of the time is
/// still left from there. `piles`: (seconds, deliveries under way).
///
/// When the disk stands still messages pile up. What the largest pile took stays taken, for the store uses its pages again and
/// gives none back, and neither does the allocator: that is a step, and a leak goes on growing after it.
pub(crate) fn after_largest_pile(piles: &[(f64, f64)], warm: f64) -> f64 {
    let Some(&(end, _)) = piles.last() else { return warm };
    let judged = piles.iter().filter(|(at, _)| *at >= warm);
    let largest = judged.max_by(|one, other| one.1.total_cmp(&other.1)).map_or(warm, |(at, _)| *at);
    // The pile itself takes until the next sample to be gone.
    if (end - largest) * 3.0 >= end - warm { largest } else { warm }
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
    fn what_a_pile_took_is_no_leak_and_a_leak_is_found_after_it() {
        let pile = |k: u32| if (40..44).contains(&k) { 50_000.0 } else { f64::from(k % 7) * 100.0 };
        let piles: Vec<_> = (0..150).map(|k| (f64::from(k) * 10.0, pile(k))).collect();
        let from = after_largest_pile(&piles, 300.0);
        assert_eq!(from, 430.0);
        let growth = |leak: f64| {
            let level = |at: f64| if at < 410.0 { 60e6 } else { 130e6 } + leak * at;
            let judged = piles.iter().filter(|(at, _)| *at >= from);
            trend(&judged.map(|(at, _)| (*at, level(*at))).collect::<Vec<_>>(), HOUR).unwrap().growth
        };
        assert!(growth(0.0) == 0.0 && growth(1000.0) > 0.02, "{} {}", growth(0.0), growth(1000.0));
        let late: Vec<_> = (0..150).map(|k| (f64::from(k), f64::from(k))).collect();
        assert_eq!(after_largest_pile(&late, 50.0), 50.0, "too little would be left");
    }

    #[test]
    fn too_little_is_no_trend() {
        assert!(trend(&[(0.0, 1.0), (1.0, 1.0)], HOUR).is_none());
        assert!(trend(&[(0.0, 0.0), (1.0, 0.0), (2.0, 0.0)], HOUR).is_none());
    }
}
