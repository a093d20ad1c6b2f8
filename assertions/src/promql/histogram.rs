//! Quantiles of classic histograms, as Prometheus computes them.

use super::eval::{Element, nameless};
use crate::labels::Labels;
use std::collections::BTreeMap;

/// Differences between neighbouring buckets below this share are noise of floating point, not observations.
const RELATIVE_NOISE: f64 = 1e-12;

/// `histogram_quantile(q, elements)`: one value per label set without `le`.
pub(super) fn quantiles(q: f64, elements: Vec<Element>) -> Vec<Element> {
    let mut histograms: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
    for element in elements {
        let Some(bound) = bound(element.labels.get("le")) else { continue };
        let labels = nameless(&element.labels).filter(|name| name != "le");
        histograms.entry(labels).or_default().push((bound, element.value));
    }
    histograms.into_iter().map(|(labels, buckets)| Element { labels, value: quantile(q, buckets) }).collect()
}

fn bound(text: &str) -> Option<f64> {
    match text {
        "+Inf" | "Inf" => Some(f64::INFINITY),
        text => text.parse().ok(),
    }
}

/// The quantile of cumulative buckets (upper bound, count). Linear inside a bucket; in the highest one, its lower bound.
fn quantile(q: f64, mut buckets: Vec<(f64, f64)>) -> f64 {
    if q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    if buckets.last().is_none_or(|(bound, _)| *bound != f64::INFINITY) {
        return f64::NAN;
    }
    merge_equal_bounds(&mut buckets);
    make_monotonic(&mut buckets);
    let (Some(&(_, observations)), true) = (buckets.last(), buckets.len() >= 2) else { return f64::NAN };
    if observations == 0.0 || observations.is_nan() {
        return f64::NAN;
    }
    let rank = q * observations;
    let last = buckets.len() - 1;
    let index = buckets[..last].partition_point(|(_, count)| *count < rank);
    if index == last {
        return buckets[last - 1].0;
    }
    let (end, count) = buckets[index];
    if index == 0 && end <= 0.0 {
        return end;
    }
    let (begin, before) = if index == 0 { (0.0, 0.0) } else { buckets[index - 1] };
    begin + (end - begin) * ((rank - before) / (count - before))
}

fn merge_equal_bounds(buckets: &mut Vec<(f64, f64)>) {
    buckets.dedup_by(|next, kept| {
        let same = next.0 == kept.0;
        if same {
            kept.1 += next.1;
        }
        same
    });
}

fn make_monotonic(buckets: &mut [(f64, f64)]) {
    let mut highest = f64::NEG_INFINITY;
    for (_, count) in buckets {
        let noise = (*count - highest).abs() <= RELATIVE_NOISE * count.abs().min(highest.abs());
        if *count < highest || (highest.is_finite() && noise) {
            *count = highest;
        } else {
            highest = *count;
        }
    }
}
