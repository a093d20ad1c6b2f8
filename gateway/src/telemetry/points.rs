//! The gateway's metrics as metrics of OTLP, under the names that a scrape shows: with `_total` and units, so that the same rules
//! hold for both exports. Counters and histograms are cumulative.

use super::otlp::{
    CUMULATIVE, Data, Gauge, Histogram, HistogramDataPoint, KeyValue, Metric, Number, NumberDataPoint, Sum,
};
use super::resource::text;
use crate::metrics::{Distribution, Family, Point, Points, Snapshot};

/// Beyond it not every whole number is a double.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// Nanoseconds since the Unix epoch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    /// From when on counters count.
    pub(super) start: u64,
    /// When they were read.
    pub(super) now: u64,
}

/// Number of data points in `metrics`.
pub(super) fn count(metrics: &[Metric]) -> u64 {
    let points = |metric: &Metric| match &metric.data {
        Some(Data::Gauge(gauge)) => gauge.data_points.len(),
        Some(Data::Sum(sum)) => sum.data_points.len(),
        Some(Data::Histogram(histogram)) => histogram.data_points.len(),
        None => 0,
    };
    metrics.iter().map(points).sum::<usize>() as u64
}

/// One metric for each family.
pub(super) fn metrics(snapshot: &Snapshot, times: Times) -> Vec<Metric> {
    let metric = |family: &Family| metric(family, &snapshot.node, times);
    snapshot.families.iter().map(metric).collect()
}

fn metric(family: &Family, node: &str, times: Times) -> Metric {
    let node = family.is_of_node.then(|| text("node", node));
    let numbers = |points: &[Point<f64>]| points.iter().map(|point| number(point, &node, times)).collect();
    let (name, data) = match &family.points {
        Points::Counter(points) => {
            let sum =
                Sum { data_points: numbers(points), aggregation_temporality: CUMULATIVE, is_monotonic: true };
            (format!("{}_total", family.name), Data::Sum(sum))
        }
        Points::Gauge(points) => {
            (family.name.to_owned(), Data::Gauge(Gauge { data_points: numbers(points) }))
        }
        Points::Histogram(points) => {
            let data_points = points.iter().map(|point| distribution(point, &node, times)).collect();
            let histogram = Histogram { data_points, aggregation_temporality: CUMULATIVE };
            (family.name.to_owned(), Data::Histogram(histogram))
        }
    };
    let unit = match family.unit() {
        Some("seconds") => "s",
        Some("bytes") => "By",
        other => other.unwrap_or_default(),
    };
    Metric { name, description: family.help.to_owned(), unit: unit.to_owned(), data: Some(data) }
}

fn number(point: &Point<f64>, node: &Option<KeyValue>, times: Times) -> NumberDataPoint {
    let value = point.value;
    let is_whole = value.fract() == 0.0 && value.abs() <= EXACT_MAX;
    NumberDataPoint {
        attributes: attributes(&point.labels, node),
        start_time_unix_nano: times.start,
        time_unix_nano: times.now,
        value: Some(if is_whole { Number::Int(value as i64) } else { Number::Double(value) }),
    }
}

fn distribution(point: &Point<Distribution>, node: &Option<KeyValue>, times: Times) -> HistogramDataPoint {
    HistogramDataPoint {
        attributes: attributes(&point.labels, node),
        start_time_unix_nano: times.start,
        time_unix_nano: times.now,
        count: point.value.count(),
        sum: Some(point.value.sum),
        bucket_counts: point.value.counts.clone(),
        explicit_bounds: point.value.bounds.to_vec(),
    }
}

fn attributes(labels: &[(&'static str, &'static str)], node: &Option<KeyValue>) -> Vec<KeyValue> {
    node.iter().cloned().chain(labels.iter().map(|(name, value)| text(name, *value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Format, Kind, LATENCY_BOUNDS, Metrics};

    const TIMES: Times = Times { start: 5, now: 9 };

    fn named<'a>(metrics: &'a [Metric], name: &str) -> &'a Metric {
        metrics.iter().find(|metric| metric.name == name).unwrap_or_else(|| panic!("no {name}"))
    }

    #[test]
    fn every_series_of_a_scrape_is_a_point_under_its_name() {
        let snapshot = Metrics::new("n", 2).snapshot();
        let (metrics, scrape) = (metrics(&snapshot, TIMES), snapshot.text(Format::OpenMetrics));
        let families = scrape.lines().filter(|line| line.starts_with("# TYPE")).count();
        assert_eq!(metrics.len(), families);
        let series =
            |line: &&str| !line.starts_with('#') && !line.contains("_bucket{") && !line.contains("_sum{");
        assert_eq!(count(&metrics), scrape.lines().filter(series).count() as u64);
        for metric in &metrics {
            let of_histogram = format!("\n{}_count{{", metric.name);
            let is_scraped = ["{", " "].iter().any(|end| scrape.contains(&format!("\n{}{end}", metric.name)));
            assert!(is_scraped || scrape.contains(&of_histogram), "{}", metric.name);
        }
    }

    #[test]
    fn counters_are_cumulative_sums_in_whole_numbers() {
        let metrics_of = Metrics::new("n", 2);
        metrics_of.shard(0).ack_timeouts.add(2);
        metrics_of.shard(1).ack_timeouts.add(3);
        let metrics = metrics(&metrics_of.snapshot(), TIMES);
        let metric = named(&metrics, "im_gateway_ack_timeout_total");
        assert_eq!((&*metric.description, &*metric.unit), ("Deliveries not acknowledged in time", ""));
        let Some(Data::Sum(sum)) = &metric.data else { panic!("{metric:?}") };
        assert!(sum.is_monotonic && sum.aggregation_temporality == CUMULATIVE);
        let point = &sum.data_points[0];
        assert_eq!((point.start_time_unix_nano, point.time_unix_nano), (5, 9));
        assert_eq!((&point.value, &*point.attributes), (&Some(Number::Int(5)), &[text("node", "n")][..]));
        let cpu = named(&metrics, "process_cpu_seconds_total");
        assert_eq!(cpu.unit, "s");
        let Some(Data::Sum(sum)) = &cpu.data else { panic!("{cpu:?}") };
        assert!(sum.data_points[0].attributes.is_empty());
    }

    #[test]
    fn a_bucket_holds_its_own_and_not_those_below() {
        let metrics_of = Metrics::new("n", 1);
        for seconds in [0.0001, 0.15, 0.2, 99.0] {
            metrics_of.shard(0).latency[Kind::Group as usize].observe(seconds, &LATENCY_BOUNDS);
        }
        let metrics = metrics(&metrics_of.snapshot(), TIMES);
        let metric = named(&metrics, "im_gateway_message_delivery_latency_seconds");
        assert_eq!(metric.unit, "s");
        let Some(Data::Histogram(histogram)) = &metric.data else { panic!("{metric:?}") };
        let point = &histogram.data_points[1];
        assert_eq!(point.attributes, [text("node", "n"), text("type", "group")]);
        assert_eq!(point.explicit_bounds, LATENCY_BOUNDS);
        assert_eq!(point.bucket_counts, [1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 1]);
        assert_eq!((point.count, point.sum), (4, Some(99.3501)));
    }
}
