//! All figures of a moment, merged over the shards: what every export, pulled or pushed, is made from.

use super::cell::Distribution;
use super::labels::LabelValue;
use std::sync::Arc;

/// What is exported at a moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The node that all families with [`Family::is_of_node`] are of.
    pub node: Arc<str>,
    /// Families, each once.
    pub families: Vec<Family>,
}

/// One metric: all series of a name.
#[derive(Debug, Clone)]
pub struct Family {
    /// The name without the suffixes of its samples, such as `_total`.
    pub name: &'static str,
    /// What is counted: one line without a full stop.
    pub help: &'static str,
    /// Whether its series carry the label `node`. Those of the process don't: their names are common to all programs.
    pub is_of_node: bool,
    /// Its series, of one type; at least one.
    pub points: Points,
}

impl Family {
    /// The unit that the name ends in: `seconds` or `bytes`.
    pub fn unit(&self) -> Option<&'static str> {
        ["seconds", "bytes"]
            .into_iter()
            .find(|unit| self.name.strip_suffix(unit).is_some_and(|rest| rest.ends_with('_')))
    }
}

/// The series of a family.
#[derive(Debug, Clone)]
pub enum Points {
    /// Only grow while the process lives.
    Counter(Vec<Point<f64>>),
    /// Go up and down.
    Gauge(Vec<Point<f64>>),
    /// Distributions, which only grow.
    Histogram(Vec<Point<Distribution>>),
}

/// One series' value.
#[derive(Debug, Clone)]
pub struct Point<V> {
    /// Names and values of its labels beside `node`, in the same order for all points of a family.
    pub labels: Vec<(&'static str, &'static str)>,
    /// The value.
    pub value: V,
}

/// One point for each value of a label.
///
/// All label sets are exposed from the start: a counter born at its first failure hides that failure from `rate`.
pub(super) fn by<L: LabelValue, V>(label: &'static str, value: impl Fn(L) -> V) -> Vec<Point<V>> {
    L::ALL.iter().map(|&each| Point { labels: vec![(label, each.text())], value: value(each) }).collect()
}

/// The same for each pair of values of two labels.
pub(super) fn by_both<L: LabelValue, M: LabelValue, V>(
    labels: (&'static str, &'static str),
    value: impl Fn(L, M) -> V,
) -> Vec<Point<V>> {
    let pairs = L::ALL.iter().flat_map(|&first| M::ALL.iter().map(move |&second| (first, second)));
    let point = |(first, second): (L, M)| Point {
        labels: vec![(labels.0, first.text()), (labels.1, second.text())],
        value: value(first, second),
    };
    pairs.map(point).collect()
}

/// Point of a series without labels of its own.
fn alone<V>(value: V) -> Vec<Point<V>> {
    vec![Point { labels: Vec::new(), value }]
}

/// Families as they are collected.
#[derive(Debug, Default)]
pub(super) struct Families(pub(super) Vec<Family>);

impl Families {
    pub(super) fn counter(&mut self, name: &'static str, help: &'static str, count: u64) {
        self.counters(name, help, alone(count));
    }

    pub(super) fn counters(&mut self, name: &'static str, help: &'static str, points: Vec<Point<u64>>) {
        let exact = |Point { labels, value }| Point { labels, value: value as f64 };
        self.push(name, help, Points::Counter(points.into_iter().map(exact).collect()));
    }

    pub(super) fn gauge(&mut self, name: &'static str, help: &'static str, level: i64) {
        self.gauges(name, help, alone(level as f64));
    }

    pub(super) fn gauges(&mut self, name: &'static str, help: &'static str, points: Vec<Point<f64>>) {
        self.push(name, help, Points::Gauge(points));
    }

    pub(super) fn histogram(&mut self, name: &'static str, help: &'static str, value: Distribution) {
        self.histograms(name, help, alone(value));
    }

    pub(super) fn histograms(
        &mut self,
        name: &'static str,
        help: &'static str,
        points: Vec<Point<Distribution>>,
    ) {
        self.push(name, help, Points::Histogram(points));
    }

    fn push(&mut self, name: &'static str, help: &'static str, points: Points) {
        self.0.push(Family { name, help, is_of_node: true, points });
    }

    /// A family of the process, without the label `node`.
    pub(super) fn of_process(
        &mut self,
        name: &'static str,
        help: &'static str,
        points: fn(Vec<Point<f64>>) -> Points,
        value: f64,
    ) {
        self.0.push(Family { name, help, is_of_node: false, points: points(alone(value)) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Histogram;

    #[test]
    fn a_distribution_is_the_sum_of_its_parts() {
        const BOUNDS: [f64; 2] = [1.0, 2.0];
        let parts = [Histogram::default(), Histogram::default()];
        for (part, value) in [(0, 1.0), (1, 1.5), (1, 2.0), (0, 2.5)] {
            parts[part].observe(value, &BOUNDS);
        }
        let merged = Distribution::merge(&BOUNDS, parts.iter());
        assert_eq!(merged, Distribution { bounds: &BOUNDS, counts: vec![1, 2, 1], sum: 7.0 });
        assert_eq!(merged.count(), 4);
    }

    #[test]
    fn the_unit_is_the_last_word_of_the_name() {
        for (name, unit) in [
            ("process_cpu_seconds", Some("seconds")),
            ("process_resident_memory_bytes", Some("bytes")),
            ("im_gateway_cache_size", None),
            ("seconds", None),
            ("microseconds", None),
        ] {
            let family = Family { name, help: "", is_of_node: true, points: Points::Gauge(Vec::new()) };
            assert_eq!(family.unit(), unit, "{name}");
        }
    }
}
