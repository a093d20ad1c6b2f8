//! Quantiles: of plain values, and of the buckets of a classic histogram.

use super::annotation::{Annotation, Fix};
use super::ast::{Dialect, Expr};
use super::eval::{Element, EvalError, Evaluated, Query, argument};
use super::function::OtherFunction;
use crate::labels::Labels;
use crate::store::METRIC_NAME;
use crate::time::Millis;
use rustc_hash::FxHashMap;
use std::cmp::Ordering;

/// The label of a bucket's upper bound.
const UPPER_BOUND: &str = "le";
/// Relative difference of two bucket counts that dialect 3 puts down to rounding.
const ROUNDING: f64 = 1e-12;

/// The q-quantile of at least one value, between the two nearest by linear interpolation. NaN counts as smallest.
pub(super) fn quantile(q: f64, mut values: Vec<f64>) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if !(0.0..=1.0).contains(&q) {
        return if q < 0.0 { f64::NEG_INFINITY } else { f64::INFINITY };
    }
    values.sort_by(|a, b| {
        a.partial_cmp(b).unwrap_or_else(|| b.is_nan().cmp(&a.is_nan()).then(Ordering::Equal))
    });
    let rank = q * (values.len() - 1) as f64;
    let lower = rank.floor() as usize;
    let upper = (lower + 1).min(values.len() - 1);
    let weight = rank - rank.floor();
    values[lower] * (1.0 - weight) + values[upper] * weight
}

/// A bucket: how many observations were at most `upper`.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Bucket {
    upper: f64,
    count: f64,
}

/// The buckets that differ in nothing but their bound.
struct Histogram {
    element: Element,
    buckets: Vec<Bucket>,
}

/// `histogram_quantile` and `histogram_fraction` at `at`.
pub(super) fn vector(
    query: &Query<'_>,
    function: OtherFunction,
    arguments: &[Expr],
    at: Millis,
) -> Evaluated<Vec<Element>> {
    let scalar = |index| query.scalar(argument(arguments, index, "the function")?, at);
    let buckets_at = arguments.len().saturating_sub(1);
    let buckets_expr = argument(arguments, buckets_at, "the function")?;
    let elements = query.vector(buckets_expr, at)?;
    let (first, second) = (scalar(0)?, if buckets_at > 1 { scalar(1)? } else { 0.0 });
    if function == OtherFunction::HistogramQuantile {
        query.annotate_quantile(first, argument(arguments, 0, "histogram_quantile")?);
    }
    let mut result = Vec::new();
    for Histogram { mut element, buckets } in histograms(query, elements, buckets_expr) {
        element.value = match function {
            OtherFunction::HistogramFraction => fraction_between(first, second, buckets),
            _ => quantile_told(query, first, &element.labels, buckets, buckets_expr, at),
        };
        query.drop_name(&mut element);
        result.push(element);
    }
    super::eval::reject_duplicates(&result)?;
    Ok(result)
}

/// `histogram_quantiles` at `at`: several quantiles, each with its number in a label. Errors: that label is there already.
pub(super) fn quantiles(query: &Query<'_>, arguments: &[Expr], at: Millis) -> Evaluated<Vec<Element>> {
    let buckets_expr = argument(arguments, 0, "histogram_quantiles")?;
    let elements = query.vector(buckets_expr, at)?;
    let label = query.text(argument(arguments, 1, "histogram_quantiles")?)?;
    let found = histograms(query, elements, buckets_expr);
    let mut result = Vec::new();
    for expr in arguments.iter().skip(2) {
        let q = query.scalar(expr, at)?;
        query.annotate_quantile(q, expr);
        for Histogram { element, buckets } in &found {
            if !element.labels.get(label).is_empty() {
                return Err(EvalError::LabelTaken(label.to_string(), element.labels.clone()));
            }
            let labels = element.labels.with(label, &decimal(q));
            let value = quantile_told(query, q, &element.labels, buckets.clone(), buckets_expr, at);
            let mut element = Element { labels, value, nameless: element.nameless };
            query.drop_name(&mut element);
            result.push(element);
        }
    }
    super::eval::reject_duplicates(&result)?;
    Ok(result)
}

/// A number as OpenMetrics writes it: with a point even if it is whole.
fn decimal(value: f64) -> String {
    match value {
        value if value.is_infinite() => if value > 0.0 { "+Inf" } else { "-Inf" }.into(),
        value if value.fract() == 0.0 => format!("{value}.0"),
        value => format!("{value}"),
    }
}

/// A quantile; tells of buckets that had to be changed for it.
fn quantile_told(
    query: &Query<'_>,
    q: f64,
    labels: &Labels,
    buckets: Vec<Bucket>,
    expr: &Expr,
    at: Millis,
) -> f64 {
    let (value, fall) = histogram_quantile(q, buckets, query.settings.dialect);
    if let Some(Fall { lowest, highest, lacking }) = fall {
        query.annotate(expr.span(), || Annotation::FallingBuckets {
            metric: labels.get(METRIC_NAME).to_owned(),
            fix: Fix { lowest, highest, lacking, from: at, until: at, count: 1 },
        });
    }
    value
}

/// Elements with a readable bound, by their other labels; tells of the others.
fn histograms(query: &Query<'_>, elements: Vec<Element>, expr: &Expr) -> Vec<Histogram> {
    let mut found: Vec<Histogram> = Vec::new();
    let mut by_labels: FxHashMap<Labels, usize> = FxHashMap::default();
    for element in elements {
        let Some(upper) = bound(element.labels.get(UPPER_BOUND)) else {
            query.annotate(expr.span(), || Annotation::BucketBound {
                metric: element.labels.get(METRIC_NAME).to_owned(),
                bound: element.labels.get(UPPER_BOUND).to_owned(),
            });
            continue;
        };
        let labels = element.labels.filter(|name| name != UPPER_BOUND);
        let index = *by_labels.entry(labels.clone()).or_insert_with(|| {
            let element = Element { labels, value: 0.0, nameless: element.nameless };
            found.push(Histogram { element, buckets: Vec::new() });
            found.len() - 1
        });
        found[index].buckets.push(Bucket { upper, count: element.value });
    }
    found
}

fn bound(text: &str) -> Option<f64> {
    text.parse().ok()
}

/// The buckets in order, no bound twice. None: no +Inf bucket.
fn coalesced(mut buckets: Vec<Bucket>) -> Option<Vec<Bucket>> {
    buckets.sort_by(|a, b| a.upper.total_cmp(&b.upper));
    if buckets.last()?.upper != f64::INFINITY {
        return None;
    }
    buckets.dedup_by(|next, kept| {
        let same = next.upper == kept.upper;
        if same {
            kept.count += next.count;
        }
        same
    });
    Some(buckets)
}

/// Buckets whose count had fallen below one before.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Fall {
    /// Upper bounds of the first and the last of them.
    lowest: f64,
    highest: f64,
    /// The most that one lacked.
    lacking: f64,
}

/// The buckets made fit to interpolate in: in order, no bound twice, counts never falling; and where they fell.
///
/// None: no +Inf bucket, or no observations.
fn prepared(buckets: Vec<Bucket>, dialect: Dialect) -> Option<(Vec<Bucket>, Option<Fall>)> {
    let mut buckets = coalesced(buckets)?;
    let fall = make_monotonic(&mut buckets, dialect);
    (buckets.last()?.count != 0.0).then_some((buckets, fall))
}

/// Counts of a scrape between two updates, or of aggregated rates, may fall: a bucket then gets the count of
/// the one below. 3.x also levels what differs by rounding only.
fn make_monotonic(buckets: &mut [Bucket], dialect: Dialect) -> Option<Fall> {
    let mut highest = buckets[0].count;
    let mut fall: Option<Fall> = None;
    for bucket in &mut buckets[1..] {
        let rounding = dialect == Dialect::V3
            && (bucket.count - highest).abs() <= ROUNDING * (bucket.count.abs() + highest.abs());
        if bucket.count < highest || rounding {
            if !rounding {
                let Fall { lowest, lacking, .. } =
                    fall.unwrap_or(Fall { lowest: bucket.upper, highest: bucket.upper, lacking: 0.0 });
                let lacking = lacking.max(highest - bucket.count);
                fall = Some(Fall { lowest, highest: bucket.upper, lacking });
            }
            bucket.count = highest;
        } else if bucket.count > highest {
            highest = bucket.count;
        }
    }
    fall
}

/// The q-quantile by linear interpolation within a bucket; the lowest begins at 0 if its bound is above.
///
/// In the +Inf bucket it is the highest finite bound: a quantile never exceeds that. With it come the buckets that had to be
/// changed for it.
fn histogram_quantile(q: f64, buckets: Vec<Bucket>, dialect: Dialect) -> (f64, Option<Fall>) {
    if q.is_nan() || !(0.0..=1.0).contains(&q) {
        return if q < 0.0 {
            (f64::NEG_INFINITY, None)
        } else if q > 1.0 {
            (f64::INFINITY, None)
        } else {
            (f64::NAN, None)
        };
    }
    match prepared(buckets, dialect) {
        Some((buckets, fall)) if buckets.len() >= 2 => (quantile_in(q, &buckets), fall),
        _ => (f64::NAN, None),
    }
}

/// The q-quantile of at least two buckets fit to interpolate in.
fn quantile_in(q: f64, buckets: &[Bucket]) -> f64 {
    let last = buckets.len() - 1;
    let rank = q * buckets[last].count;
    let found = first_reaching(rank, &buckets[..last]);
    if found == last {
        return buckets[last - 1].upper;
    }
    if found == 0 && buckets[0].upper <= 0.0 {
        return buckets[0].upper;
    }
    let (start, below) = match found {
        0 => (0.0, 0.0),
        _ => (buckets[found - 1].upper, buckets[found - 1].count),
    };
    let Bucket { upper, count } = buckets[found];
    start + (upper - start) * ((rank - below) / (count - below))
}

/// The first bucket that holds `rank` observations; their number if none does.
///
/// By halving, as Prometheus does: where counts are NaN the answer depends on which buckets are looked at.
fn first_reaching(rank: f64, buckets: &[Bucket]) -> usize {
    let (mut low, mut high) = (0, buckets.len());
    while low < high {
        let middle = (low + high) / 2;
        if buckets[middle].count >= rank {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}

/// The share of observations between two values. Counts that fall are taken as they are, as Prometheus does here.
fn fraction_between(lower: f64, upper: f64, buckets: Vec<Bucket>) -> f64 {
    let Some(buckets) = coalesced(buckets) else { return f64::NAN };
    let observations = buckets[buckets.len() - 1].count;
    if lower.is_nan() || upper.is_nan() || observations == 0.0 {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let until = |value| {
        let rank = observations_until(&buckets, value);
        if rank > observations { observations } else { rank }
    };
    (until(upper) - until(lower)) / observations
}

/// How many observations are at most `value`, by linear interpolation.
fn observations_until(buckets: &[Bucket], value: f64) -> f64 {
    let last = buckets.len() - 1;
    let found = buckets.partition_point(|bucket| bucket.upper < value);
    let (start, below) = match found {
        0 if buckets[0].upper > 0.0 => (0.0, 0.0),
        0 => (f64::NEG_INFINITY, 0.0),
        _ => (buckets[found - 1].upper, buckets[found - 1].count),
    };
    match found {
        found if found > last => buckets[last].count,
        _ if buckets[found].upper == value => buckets[found].count,
        // A bucket without lower end cannot be interpolated in: all of it counts as below.
        _ if start.is_infinite() && value > start => buckets[found].count,
        _ if value <= start || found == last => below,
        _ => below + (buckets[found].count - below) * ((value - start) / (buckets[found].upper - start)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(q: f64, buckets: &[(f64, f64)], expected: f64) {
        for dialect in [Dialect::V2, Dialect::V3] {
            let buckets =
                buckets.iter().map(|(upper, count)| Bucket { upper: *upper, count: *count }).collect();
            let (found, _) = histogram_quantile(q, buckets, dialect);
            assert!(found == expected || (found.is_nan() && expected.is_nan()), "{found} is not {expected}");
        }
    }

    #[test]
    fn quantiles_of_buckets() {
        let inf = f64::INFINITY;
        check(0.5, &[(1.0, 10.0), (2.0, 20.0), (inf, 20.0)], 1.0);
        check(0.75, &[(1.0, 10.0), (2.0, 20.0), (inf, 20.0)], 1.5);
        check(0.25, &[(1.0, 10.0), (2.0, 20.0), (inf, 20.0)], 0.5);
        check(0.99, &[(1.0, 10.0), (inf, 20.0)], 1.0);
        check(0.5, &[(-1.0, 10.0), (inf, 10.0)], -1.0);
        check(0.5, &[(1.0, 0.0), (inf, 0.0)], f64::NAN);
        check(0.5, &[(1.0, 1.0), (2.0, 2.0)], f64::NAN);
        check(0.5, &[(inf, 2.0)], f64::NAN);
        check(1.5, &[(1.0, 1.0), (inf, 2.0)], inf);
        check(0.75, &[(1.0, 10.0), (2.0, 8.0), (4.0, 20.0), (inf, 20.0)], 3.0);
    }

    #[test]
    fn quantiles_of_values() {
        assert_eq!(quantile(0.5, vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(quantile(0.25, vec![1.0, 2.0]), 1.25);
        assert_eq!(quantile(2.0, vec![1.0]), f64::INFINITY);
        assert!(quantile(0.5, vec![]).is_nan());
    }
}
